//! stub
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::config::EgressConfig;
use crate::ingest::Current;
use crate::store::{LeasedTask, Store};
use crate::task::Slot;

#[derive(Default)]
pub struct Lanes;
pub enum Breaker {
    Closed,
}
impl Breaker {
    pub fn as_str(&self) -> &'static str {
        "closed"
    }
}
pub struct LaneState {
    pub name: Arc<str>,
    pub waiting: usize,
    pub running: usize,
    pub breaker: Breaker,
    pub concurrency: usize,
}
impl Lanes {
    pub fn reserve(&self, _destination: &str) -> Option<Slot> {
        None
    }
    pub fn state(&self) -> Vec<LaneState> {
        vec![]
    }
}
#[derive(Default)]
pub struct Limits {
    pub a: u8,
}
pub struct Executor(Arc<Lanes>);
impl Executor {
    pub fn start(
        _store: Store,
        _leased: UnboundedReceiver<LeasedTask>,
        _current: Arc<Current>,
        _egress: EgressConfig,
        _limits: Limits,
    ) -> Executor {
        Executor(Arc::new(Lanes))
    }
    pub fn lanes(&self) -> Arc<Lanes> {
        self.0.clone()
    }
    pub async fn recovered(&self) {}
    pub async fn drain(self, _within: Duration) {}
}
pub mod action {
    pub mod command {
        pub fn run_guard_if_asked() {}
    }
}
