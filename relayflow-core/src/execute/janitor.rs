//! Settles for workers that are gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::action::Report;
use super::{Shared, settlement};
use crate::backoff::Backoff;
use crate::store::{Abandoned, StoreError};
use crate::task::{AttemptStatus, Outcome};

const EVERY: Duration = Duration::from_secs(10);
/// While the first pass has not gone through, readiness waits for it.
const FIRST_AGAIN: Duration = Duration::from_secs(1);
const PAGE: usize = 500;

/// Settles at start and every ten seconds what no living worker holds.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let wait = match first_and_pass(&shared).await {
            Ok(count) => {
                if 0 < count {
                    tracing::info!(count, "settled for a worker that is gone");
                }
                shared.is_recovered.send_replace(true);
                EVERY
            }
            Err(error) => {
                tracing::error!(error = %error, "abandoned tasks cannot be settled");
                if *shared.is_recovered.borrow() { EVERY } else { FIRST_AGAIN }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Before the first pass: who works here, and which queues stand still.
async fn first_and_pass(shared: &Shared) -> Result<usize, StoreError> {
    if !*shared.is_recovered.borrow() {
        shared.store.worker_began(env!("CARGO_PKG_VERSION")).await?;
        super::pauses::look(shared).await?;
    }
    pass(shared).await
}

/// One pass over all that is abandoned, in pages; gives how many there were. What this process holds
/// itself is passed over: where the wall clock has stepped forward, its leases look as if they had
/// ended until they are renewed.
async fn pass(shared: &Shared) -> Result<usize, StoreError> {
    let (mut count, mut last) = (0, None);
    loop {
        let found = shared.store.abandoned(last, PAGE).await?;
        let is_last = found.len() < PAGE;
        last = found.last().map(|abandoned| abandoned.task.id);
        let held = if found.is_empty() { HashSet::new() } else { shared.lanes.held() };
        for abandoned in found {
            if !held.contains(&(abandoned.task.id, abandoned.task.attempt)) {
                count += 1;
                settle(shared, abandoned);
            }
        }
        if is_last {
            shared.store.flush().await?;
            return Ok(count);
        }
    }
}

/// The attempt is `lost`. It counts as a failure only if its start is on record: else its worker may
/// never have begun.
fn settle(shared: &Shared, abandoned: Abandoned) {
    let Abandoned { task, start_on_record } = abandoned;
    let outcome = if start_on_record { Outcome::Lost } else { Outcome::Interrupted };
    let in_force = shared.current.get();
    let step = in_force.workflows.step(&task.workflow, &task.step);
    let backoff = step.map_or_else(Backoff::default, |(_, step)| step.backoff);
    let now = shared.store.clock().now();
    let report = Report { outcome, ..Report::interrupted("its worker vanished") };
    let mut settlement = settlement(task, None, report, &backoff, now, now);
    settlement.status = AttemptStatus::Lost;
    shared.store.settle(settlement);
}
