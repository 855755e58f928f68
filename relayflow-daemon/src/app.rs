//! What every handler may use.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use relayflow_core::api::codes::Code;
use relayflow_core::config::Config;
use relayflow_core::execute::Lanes;
use relayflow_core::id::WorkerId;
use relayflow_core::in_force::Current;
use relayflow_core::ingest::Ingest;
use relayflow_core::reconcile::Reconciler;
use relayflow_core::store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::http::auth::Auth;
use crate::learned::Learned;
use crate::metrics::Metrics;
use crate::reload::Reload;

/// The most tails at once.
pub(crate) const TAILS_MAX: usize = 64;

/// What handlers share. Cloned per request, so it is one pointer.
pub(crate) type App = Arc<AppState>;

pub(crate) struct AppState {
    pub(crate) store: Store,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) reconciler: Reconciler,
    pub(crate) current: Arc<Current>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) auth: Auth,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) worker: WorkerId,
    pub(crate) ingest_addr: SocketAddr,
    pub(crate) api_addr: SocketAddr,
    pub(crate) started_at: Timestamp,
    pub(crate) tails: Arc<Semaphore>,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) learned: Arc<Learned>,
    pub(crate) state: Arc<State>,
    /// Reads the configuration again: on HUP, and to see whether it is still what is in force.
    pub(crate) reload: Option<Reload>,
    /// The configuration in force: replaced whole on a reload.
    pub(crate) config: RwLock<Arc<Config>>,
}

impl AppState {
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_config(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Why nothing new should be sent here now, if so.
    pub(crate) fn unready(&self) -> Option<Code> {
        if self.state.stop.is_cancelled() || !self.state.is_ready.load(Ordering::Acquire) {
            Some(Code::Stopping)
        } else if self.store.failed().borrow().is_some() {
            Some(Code::Store)
        } else if self.store.is_full() {
            Some(Code::DiskFull)
        } else {
            None
        }
    }
}

/// Where the process stands in its life.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) is_ready: AtomicBool,
    /// Cancelled when it begins to stop.
    pub(crate) stop: CancellationToken,
}
