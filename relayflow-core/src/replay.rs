//! stub
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::api;
use crate::ingest::Ingest;
use crate::store::Store;

#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ReplayError;
impl ReplayError {
    pub fn code(&self) -> api::codes::Code {
        api::codes::Code::NoSuchObject
    }
}
pub enum Control {
    Pause,
    Resume,
    Cancel,
}
pub async fn create_plan(
    _ingest: &Ingest,
    _new: &api::NewPlan,
    _who: &str,
) -> Result<api::Plan, ReplayError> {
    Err(ReplayError)
}
pub async fn create_replay(
    _ingest: &Ingest,
    _new: &api::NewReplay,
    _who: &str,
) -> Result<api::Replay, ReplayError> {
    Err(ReplayError)
}
pub async fn control(
    _store: &Store,
    _id: &str,
    _control: Control,
    _who: &str,
) -> Result<api::Replay, ReplayError> {
    Err(ReplayError)
}
pub async fn discard(
    _store: &Store,
    _discard: &api::Discard,
    _who: &str,
) -> Result<api::Replay, ReplayError> {
    Err(ReplayError)
}
pub async fn run(_ingest: Arc<Ingest>, stop: CancellationToken) {
    stop.cancelled().await;
}
