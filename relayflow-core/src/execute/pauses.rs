//! Queues that stand still, as the store says: in force here, and ended when their time has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lane::LONGEST_SLEEP;
use super::lanes::{PAUSED, now};
use crate::store::StoreError;

/// Puts in force what the store says: at once where this process is told, else within
/// [`LONGEST_SLEEP`], which is as long as another process's word may take.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut look_at = now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.lanes.pauses_changed.notified() => {}
            () = tokio::time::sleep_until(look_at.into()) => {}
        }
        look_at = match look(&shared).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = %error, "the store does not say which queues are paused");
                now() + LONGEST_SLEEP
            }
        };
    }
}

/// Ends the pauses whose time has come, puts the others in force, and says when to look again.
pub(super) async fn look(shared: &Shared) -> Result<Instant, StoreError> {
    let store = &shared.store;
    let wall = store.clock().now();
    if store.has_ended_pauses().await? {
        for name in store.end_pauses().await? {
            tracing::info!(destination = name, "its queue goes on: the time of its pause is over");
        }
    }
    let pauses = store.queue_pauses().await?;
    let waits = pauses.iter().filter_map(|pause| pause.until?.duration_since(wall).try_into().ok());
    let soonest: Duration = waits.min().unwrap_or(LONGEST_SLEEP);
    let names = pauses.into_iter().map(|pause| pause.name).collect();
    for leased in shared.lanes.set_pauses(names) {
        shared.release(leased, PAUSED);
    }
    // A moment later than its end, so that it is over for the store's clock too.
    Ok(now() + soonest.min(LONGEST_SLEEP) + Duration::from_millis(1))
}
