//! Brings what waits in the store to lanes that have room: retries, overflow, replays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lane::LONGEST_SLEEP;
use super::lanes::{Cell, now};
use crate::store::StoreError;

/// The most tasks that are claimed in one statement.
const CLAIM_MAX: usize = 500;
/// How long a store that does not answer is left alone.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// The store is not asked more often than this what is due, however often that changes.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Claims until it is stopped.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut due = shared.store.due_changed();
    let (mut looked_at, mut look_at) = (now(), now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = due.changed() => {
                if changed.is_err() {
                    return;
                }
                look_at = look_at.min(looked_at + LOOK_EVERY);
            }
            () = shared.lanes.hunger.notified() => {
                match feed(&shared).await {
                    // What comes after them may be due soon: only a look finds out.
                    Ok(0) => {}
                    Ok(_) => look_at = look_at.min(looked_at + LOOK_EVERY),
                    Err(error) => {
                        tracing::error!(error = %error, "tasks cannot be claimed");
                        look_at = now() + STORE_WAIT;
                    }
                }
            }
            () = tokio::time::sleep_until(look_at.into()) => {
                looked_at = now();
                look_at = look(&shared).await;
            }
        }
    }
}

/// Asks the store what is due, claims it where there is room, and says when to look again.
async fn look(shared: &Arc<Shared>) -> Instant {
    match claim_due(shared).await {
        Ok(next) => next,
        Err(error) => {
            tracing::error!(error = %error, "the store does not say what is due");
            now() + STORE_WAIT
        }
    }
}

async fn claim_due(shared: &Arc<Shared>) -> Result<Instant, StoreError> {
    let dues = shared.store.due().await?;
    let wall = shared.store.clock().now();
    let mut next = now() + LONGEST_SLEEP;
    for due in dues {
        if let Ok(wait) = Duration::try_from(due.at.duration_since(wall))
            && !wait.is_zero()
        {
            next = next.min(now() + wait);
        } else if let Some(cell) = shared.lanes.cell(&due.destination)
            && 0 < claim(shared, &cell).await?
        {
            // The store names only the first of each destination: the next one may be due soon.
            next = next.min(now() + LOOK_EVERY);
        }
    }
    Ok(next)
}

/// Claims for lanes that are known to have more in the store; how many tasks that brought.
async fn feed(shared: &Arc<Shared>) -> Result<usize, StoreError> {
    let mut claimed = 0;
    for cell in shared.lanes.hungry() {
        claimed += claim(shared, &cell).await?;
    }
    Ok(claimed)
}

/// Claims for one lane what it has room for; how many tasks that brought.
async fn claim(shared: &Arc<Shared>, cell: &Arc<Cell>) -> Result<usize, StoreError> {
    let mut places = shared.lanes.places(cell, CLAIM_MAX);
    if places.is_empty() {
        return Ok(0);
    }
    let wanted = places.len();
    let claimed = shared.store.claim(&cell.name, wanted).await?;
    if claimed.len() < wanted {
        shared.lanes.is_fed(cell);
    }
    let count = claimed.len();
    for mut leased in claimed {
        leased.slot = places.pop();
        shared.take(leased);
    }
    Ok(count)
}
