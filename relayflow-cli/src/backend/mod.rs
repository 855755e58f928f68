//! Where answers come from: a daemon's API, or a store opened directly. Both give the same documents.

pub(crate) mod api;
mod charts;
pub(crate) mod direct;
mod drift;
mod sse;

use std::sync::Arc;

use relayflow_core::api::{
    DeadLetter, DeadLetterGroup, Discard, Discarded, Event, Explain, Explanation, List, NewPause,
    NewPlan, NewReplay, NewRevision, Plan, PlanItem, Provider, Queue, Readmitted, Replay,
    ReplayControl, ReplayItem, Request, Resume, Revised, Source, Stats, Task, TimelineEntry, Trace,
    Verification, Worker, Workflow,
};
use relayflow_core::filter;
use relayflow_core::store::By;
use relayflow_core::verification::{self, Known};
use relayflow_core::view::{self, Page, ViewError};

use crate::context::{Target, Way};
use crate::failure::{Failure, chain};
use crate::output::Out;
pub(crate) use api::Api;
pub(crate) use charts::ChartOf;
pub(crate) use direct::Direct;
pub(crate) use sse::{Message, Parser};

/// One RelayFlow.
#[derive(Clone)]
pub(crate) enum Backend {
    Api(Api),
    Store(Arc<Direct>),
}

/// Asks either side for the same document.
macro_rules! ask {
    ($self:ident, $api:ident => $from_api:expr, $store:ident => $from_store:expr) => {
        match $self {
            Self::Api($api) => $from_api.await,
            Self::Store(direct) => {
                let $store = &direct.store;
                $from_store.await.map_err(|e| failure(&e))
            }
        }
    };
}

impl Backend {
    /// # Errors
    ///
    /// The store does not open.
    pub(crate) async fn connect(
        target: &Target,
        timeout: std::time::Duration,
        out: &Out,
    ) -> Result<Self, Failure> {
        match &target.way {
            Way::Api { endpoint, token } => {
                Ok(Self::Api(Api::new(endpoint, token.clone(), timeout, out.clone())?))
            }
            Way::Store { url } => Ok(Self::Store(Arc::new(Direct::open(url, out).await?))),
        }
    }

    pub(crate) async fn events(&self, page: &Page) -> Result<List<Event>, Failure> {
        ask!(self, api => api.list("events", page), store => view::events(store, page))
    }

    pub(crate) async fn event(&self, id: &str) -> Result<Event, Failure> {
        ask!(self, api => api.get(&["events", id]), store => view::event(store, id))
    }

    /// The exact bytes of the request `req_…`, or of that of the event `evt_…`.
    pub(crate) async fn raw(&self, id: &str) -> Result<Vec<u8>, Failure> {
        let noun = if id.starts_with("req_") { "requests" } else { "events" };
        match self {
            Self::Api(api) => api.bytes(&[noun, id, "raw"]).await,
            Self::Store(direct) => view::raw(&direct.store, id)
                .await
                .map(|raw| raw.body.to_vec())
                .map_err(|e| failure(&e)),
        }
    }

    pub(crate) async fn timeline(&self, id: &str) -> Result<List<TimelineEntry>, Failure> {
        let noun = match id.split('_').next() {
            Some("req") => "requests",
            Some("tsk") => "tasks",
            Some("rpl") => "replays",
            _ => "events",
        };
        ask!(self, api => api.get(&[noun, id, "timeline"]), store => view::timeline(store, id))
    }

    pub(crate) async fn requests(&self, page: &Page) -> Result<List<Request>, Failure> {
        ask!(self, api => api.list("requests", page), store => view::requests(store, page))
    }

    pub(crate) async fn request(&self, id: &str) -> Result<Request, Failure> {
        ask!(self, api => api.get(&["requests", id]), store => view::request(store, id))
    }

    pub(crate) async fn tasks(&self, page: &Page) -> Result<List<Task>, Failure> {
        ask!(self, api => api.list("tasks", page), store => view::tasks(store, page))
    }

    pub(crate) async fn task(&self, id: &str) -> Result<Task, Failure> {
        ask!(self, api => api.get(&["tasks", id]), store => view::task(store, id))
    }

    pub(crate) async fn dead_letters(&self, page: &Page) -> Result<List<DeadLetter>, Failure> {
        ask!(self, api => api.list("dead-letters", page), store => view::dead_letters(store, page))
    }

    pub(crate) async fn dead_letter_groups(
        &self,
        page: &Page,
        by: &str,
    ) -> Result<List<DeadLetterGroup>, Failure> {
        ask!(self, api => api.list_by("dead-letters", page, Some(by)),
             store => view::dead_letter_groups(store, page, by))
    }

    pub(crate) async fn trace(&self, key: &str) -> Result<Trace, Failure> {
        ask!(self, api => api.get(&["trace", key]), store => view::trace(store, key))
    }

    pub(crate) async fn stats(&self) -> Result<Stats, Failure> {
        match self {
            Self::Api(api) => api.get(&["stats"]).await,
            Self::Store(direct) => direct.stats().await,
        }
    }

    pub(crate) async fn queues(&self) -> Result<List<Queue>, Failure> {
        match self {
            Self::Api(api) => api.get(&["queues"]).await,
            Self::Store(direct) => direct.queues().await,
        }
    }

    pub(crate) async fn queue(&self, name: &str) -> Result<Queue, Failure> {
        match self {
            Self::Api(api) => api.get(&["queues", name]).await,
            Self::Store(_) => crate::commands::find(self.queues().await?, name),
        }
    }

    pub(crate) async fn pause_queue(&self, name: &str, new: &NewPause) -> Result<Queue, Failure> {
        self.api("a pause")?.post(&["queues", name, "pause"], new).await
    }

    pub(crate) async fn resume_queue(&self, name: &str, how: &Resume) -> Result<Queue, Failure> {
        self.api("a queue that goes on")?.post(&["queues", name, "resume"], how).await
    }

    pub(crate) async fn workers(&self) -> Result<List<Worker>, Failure> {
        match self {
            Self::Api(api) => api.get(&["workers"]).await,
            Self::Store(direct) => direct.workers().await,
        }
    }

    pub(crate) async fn worker(&self, id: &str) -> Result<Worker, Failure> {
        match self {
            Self::Api(api) => api.get(&["workers", id]).await,
            Self::Store(direct) => direct.worker(id).await,
        }
    }

    /// The numbers, with what came and went in a stretch of time such as `15m`.
    pub(crate) async fn stats_since(
        &self,
        since: &str,
        by: Option<&str>,
    ) -> Result<Stats, Failure> {
        match self {
            Self::Api(api) => {
                let mut query = vec![("since", since.to_owned())];
                query.extend(by.map(|by| ("by", by.to_owned())));
                api.get_with(&["stats"], &query).await
            }
            Self::Store(direct) => {
                let length = filter::parse_duration(since);
                let length = length.map_err(|e| Failure::usage(e.to_string()))?;
                direct.stats_since(length.as_secs(), by.and_then(By::from_word)).await
            }
        }
    }

    pub(crate) async fn plan(&self, id: &str) -> Result<Plan, Failure> {
        ask!(self, api => api.get(&["plans", id]), store => view::plan(store, id))
    }

    /// A page of a plan's items, in its order.
    pub(crate) async fn plan_items(
        &self,
        id: &str,
        page: &Page,
    ) -> Result<List<PlanItem>, Failure> {
        ask!(self, api => api.list_of(&["plans", id, "items"], page),
             store => view::plan_items(store, id, page))
    }

    pub(crate) async fn replays(&self, page: &Page) -> Result<List<Replay>, Failure> {
        ask!(self, api => api.list("replays", page), store => view::replays(store, page))
    }

    pub(crate) async fn replay(&self, id: &str) -> Result<Replay, Failure> {
        ask!(self, api => api.get(&["replays", id]), store => view::replay(store, id))
    }

    /// A page of a replay's items, in the plan's order.
    pub(crate) async fn replay_items(
        &self,
        id: &str,
        page: &Page,
    ) -> Result<List<ReplayItem>, Failure> {
        ask!(self, api => api.list_of(&["replays", id, "items"], page),
             store => view::replay_items(store, id, page))
    }

    pub(crate) async fn sources(&self) -> Result<List<Source>, Failure> {
        match self {
            Self::Api(api) => api.get(&["sources"]).await,
            Self::Store(direct) => direct.sources(),
        }
    }

    pub(crate) async fn workflows(&self) -> Result<List<Workflow>, Failure> {
        match self {
            Self::Api(api) => api.get(&["workflows"]).await,
            Self::Store(direct) => direct.workflows(),
        }
    }

    /// Which workflows want an event. A store that is opened directly is asked with the config in
    /// reach.
    pub(crate) async fn explain(&self, asked: &Explain) -> Result<Explanation, Failure> {
        match self {
            Self::Api(api) => api.post(&["workflows", "explain"], asked).await,
            Self::Store(direct) => direct.explain(asked).await,
        }
    }

    pub(crate) async fn providers(&self) -> Result<List<Provider>, Failure> {
        match self {
            Self::Api(api) => api.get(&["providers"]).await,
            Self::Store(direct) => Ok(direct.providers()),
        }
    }

    pub(crate) async fn create_plan(&self, new: &NewPlan) -> Result<Plan, Failure> {
        self.api("a plan")?.post(&["plans"], new).await
    }

    pub(crate) async fn create_replay(&self, new: &NewReplay) -> Result<Replay, Failure> {
        self.api("a replay")?.post(&["replays"], new).await
    }

    /// `pause`, `resume` or `cancel`.
    pub(crate) async fn control(
        &self,
        id: &str,
        verb: &str,
        how: &ReplayControl,
    ) -> Result<Replay, Failure> {
        self.api("a replay")?.post(&["replays", id, verb], how).await
    }

    pub(crate) async fn revise(&self, event: &str, new: &NewRevision) -> Result<Revised, Failure> {
        self.api("an edit")?.post(&["events", event, "revisions"], new).await
    }

    pub(crate) async fn discard(&self, what: &Discard) -> Result<Discarded, Failure> {
        self.api("a discard")?.post(&["dead-letters", "discard"], what).await
    }

    pub(crate) async fn readmit(
        &self,
        id: &str,
        reason: Option<&str>,
    ) -> Result<Readmitted, Failure> {
        let body = match reason {
            Some(reason) => serde_json::json!({ "reason": reason }),
            None => serde_json::json!({}),
        };
        self.api("a readmission")?.post(&["requests", id, "readmit"], &body).await
    }

    /// What verifies a request, or why nothing does. A store that is opened directly is asked with the
    /// secrets of the config in reach, which `known` gives.
    pub(crate) async fn verification(
        &self,
        id: &str,
        known: impl FnOnce() -> Known,
    ) -> Result<Verification, Failure> {
        ask!(self, api => api.get(&["requests", id, "explain"]),
             store => verification::explain(store, known(), id))
    }

    /// The daemon, for what a store alone cannot give.
    pub(crate) fn api(&self, what: &str) -> Result<&Api, Failure> {
        match self {
            Self::Api(api) => Ok(api),
            Self::Store(_) => {
                Err(Failure::new("refused.read_only", format!("{what} needs a running daemon"))
                    .why("--db opens a store for reading; nothing was changed")
                    .hint("relayflow up, and this command without --db"))
            }
        }
    }
}

pub(crate) fn failure(error: &ViewError) -> Failure {
    let text = chain(error);
    Failure::new(error.code().as_str(), text.strip_prefix("error: ").unwrap_or(&text))
}
