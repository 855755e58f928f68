//! What is drawn over time, from either side.

use relayflow_core::api::{Chart, Identity, List, Minute};
use relayflow_core::view::charts;

use super::{Backend, failure};
use crate::failure::Failure;

/// What a chart is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChartOf {
    /// The attempts at a destination in the last `seconds`.
    Destination { name: String, seconds: i64 },
    /// The attempts of a replay.
    Replay(String),
}

impl Backend {
    pub(crate) async fn chart(&self, of: &ChartOf) -> Result<Chart, Failure> {
        match (self, of) {
            (Self::Api(api), ChartOf::Destination { name, seconds }) => {
                let query = [("dest", name.clone()), ("window", seconds.to_string())];
                api.get_with(&["charts"], &query).await
            }
            (Self::Api(api), ChartOf::Replay(id)) => {
                api.get_with(&["charts"], &[("replay", id.clone())]).await
            }
            (Self::Store(direct), ChartOf::Destination { name, seconds }) => {
                charts::of_destination(&direct.store, name, *seconds).await.map_err(|e| failure(&e))
            }
            (Self::Store(direct), ChartOf::Replay(id)) => {
                charts::of_replay(&direct.store, id).await.map_err(|e| failure(&e))
            }
        }
    }

    /// The last hour, minute by minute.
    pub(crate) async fn minutes(&self) -> Result<List<Minute>, Failure> {
        match self {
            Self::Api(api) => api.get(&["stats", "minutes"]).await,
            Self::Store(direct) => charts::minutes(&direct.store).await.map_err(|e| failure(&e)),
        }
    }

    /// Who the daemon takes us for.
    pub(crate) async fn whoami(&self) -> Result<Identity, Failure> {
        self.api("who asks")?.get(&["whoami"]).await
    }
}
