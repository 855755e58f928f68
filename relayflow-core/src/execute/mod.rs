//! Runs tasks: from a lease to a settled outcome.
//!
//! A leased task comes from a commit of this process or from a claim (`refill.rs`), waits in the lane
//! of its destination (`lanes.rs`), runs when the lane's gate lets it (`gate.rs`), and is settled
//! (`attempt.rs`). Leases are renewed while tasks wait and run. What follows from an outcome is
//! decided by [`Task::after`] alone. A binary that runs commands calls [`run_guard_if_asked`] first.

pub mod action;
mod attempt;
mod gate;
mod janitor;
mod lane;
mod lanes;
mod lease;
mod pauses;
mod refill;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::action::command::run_guard_if_asked;
pub use self::gate::Breaker;
pub use self::lanes::{LaneState, Lanes, Limits};

pub(crate) use self::action::client_tls;
use self::action::{Client, Report, status_of};
use self::lane::{LONGEST_SLEEP, Start};
use self::lanes::{Arrival, Cell, STOPPED, now};
use self::lease::RENEW_EVERY;
use crate::backoff::Backoff;
use crate::config::EgressConfig;
use crate::egress::{Connector, Egress, Resolver};
use crate::in_force::Current;
use crate::store::{About, LeasedTask, Settlement, Store};
use crate::task::Task;

/// How many leased tasks are taken from the channel at once.
const ARRIVALS_MAX: usize = 256;
/// How often a worker says that it is alive.
pub const BEAT_EVERY: Duration = Duration::from_secs(10);
/// How long actions have to end that are told to stop. Programs get TERM, and KILL after 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// This process's worker.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
    /// Ends what looks for more to do.
    stop: CancellationToken,
    /// Ends what is needed for as long as something runs.
    end: CancellationToken,
    loops: TaskTracker,
}

/// What all the loops and all attempts use.
struct Shared {
    store: Store,
    current: Arc<Current>,
    lanes: Arc<Lanes>,
    http: Client,
    running: TaskTracker,
    is_recovered: watch::Sender<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

impl Executor {
    /// Starts to run tasks: those that arrive on `leased`, and those that the store has. What an
    /// earlier process left behind is settled first ([`Self::recovered`]).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(
        store: Store,
        leased: UnboundedReceiver<LeasedTask>,
        current: Arc<Current>,
        egress: EgressConfig,
        limits: Limits,
    ) -> Self {
        let connector = Connector::new(Egress::new(&egress), Resolver::System);
        let mut lanes = Lanes::new(limits);
        lanes.store = Some(store.clone());
        let shared = Arc::new(Shared {
            store,
            current,
            lanes: Arc::new(lanes),
            http: Client::new(connector),
            running: TaskTracker::new(),
            is_recovered: watch::Sender::new(false),
        });
        let (stop, end) = (CancellationToken::new(), CancellationToken::new());
        let loops = TaskTracker::new();
        loops.spawn(janitor::run(Arc::clone(&shared), stop.clone()));
        loops.spawn(pauses::run(Arc::clone(&shared), stop.clone()));
        loops.spawn(refill::run(Arc::clone(&shared), stop.clone()));
        loops.spawn(timers(Arc::clone(&shared), stop.clone()));
        loops.spawn(renewals(Arc::clone(&shared), end.clone()));
        loops.spawn(arrivals(Arc::clone(&shared), leased, end.clone()));
        Self { shared, stop, end, loops }
    }

    /// Where commits reserve places, and what an operator looks at.
    #[must_use]
    pub fn lanes(&self) -> Arc<Lanes> {
        Arc::clone(&self.shared.lanes)
    }

    /// Waits until what a dead process left running is settled, and it is known which queues stand
    /// still.
    pub async fn recovered(&self) {
        // An error means that the sender is gone, which cannot be while `self` is here.
        let _ = self.shared.is_recovered.subscribe().wait_for(|is_recovered| *is_recovered).await;
    }

    /// Starts nothing more, gives what runs the time `within` to end, and has the rest run again
    /// later: it is settled as interrupted. Everything is on disk afterwards.
    pub async fn drain(self, within: Duration) {
        self.stop.cancel();
        for leased in self.shared.lanes.close() {
            self.shared.release(leased, STOPPED);
        }
        let running = &self.shared.running;
        running.close();
        if tokio::time::timeout(within, running.wait()).await.is_err() {
            self.shared.lanes.stop_running();
            let _ = tokio::time::timeout(STOP_WITHIN, running.wait()).await;
        }
        self.end.cancel();
        self.loops.close();
        self.loops.wait().await;
        if let Err(error) = self.shared.store.worker_ended().await {
            tracing::error!(error = %error, "this worker is not signed off");
        }
        if let Err(error) = self.shared.store.flush().await {
            tracing::error!(error = %error, "outcomes may not be on disk");
        }
    }
}

impl Shared {
    /// Takes in a leased task, whether it runs at once or waits.
    fn take(self: &Arc<Self>, leased: LeasedTask) {
        let Some(cell) = self.lanes.cell(&leased.task.destination) else {
            return self.release(leased, "there are too many destinations");
        };
        match self.lanes.arrive(&cell, leased) {
            Arrival::Waits => {}
            Arrival::Runs(start) => self.spawn(cell, start),
            Arrival::Refused(leased, why) => self.release(leased, why),
        }
    }

    /// Runs `start`, and then whatever its lane has next.
    fn spawn(self: &Arc<Self>, cell: Arc<Cell>, start: Start) {
        let shared = Arc::clone(self);
        self.running.spawn(async move {
            let mut next = Some(start);
            while let Some(start) = next {
                let lease = Arc::clone(&start.lease);
                let call = shared.attempt(start).await;
                next = shared.lanes.finish(&cell, &lease, call);
            }
        });
    }

    /// Gives back a task that did not run, and says why.
    fn release(&self, leased: LeasedTask, why: &str) {
        let now = self.store.clock().now();
        let report = Report::interrupted(why);
        let about = Some(about(&leased));
        self.store.settle(settlement(leased.task, about, report, &Backoff::default(), now, now));
    }
}

fn about(leased: &LeasedTask) -> About {
    About {
        source: Arc::clone(&leased.event.event.source),
        received_us: leased.event.event.received_at.as_microsecond(),
        is_replay: leased.is_replay,
        is_alone: leased.is_alone,
    }
}

/// What is written down about an attempt.
fn settlement(
    task: Task,
    about: Option<About>,
    report: Report,
    backoff: &Backoff,
    started_at: Timestamp,
    ended_at: Timestamp,
) -> Settlement {
    Settlement {
        status: status_of(&report.outcome),
        transition: task.after(&report.outcome, backoff, ended_at),
        task,
        about,
        started_at,
        ended_at,
        http_status: report.http_status,
        error: report.error,
        response: report.response,
    }
}

/// Takes in what commits leased to this process.
async fn arrivals(
    shared: Arc<Shared>,
    mut leased: UnboundedReceiver<LeasedTask>,
    end: CancellationToken,
) {
    let mut batch = Vec::with_capacity(ARRIVALS_MAX);
    loop {
        tokio::select! {
            count = leased.recv_many(&mut batch, ARRIVALS_MAX) => {
                if count == 0 {
                    return;
                }
                batch.drain(..).for_each(|leased| shared.take(leased));
            }
            () = end.cancelled() => break,
        }
    }
    while let Ok(leased) = leased.try_recv() {
        shared.take(leased);
    }
}

/// Starts what may run because time has passed: probes, reopening circuits, retries.
async fn timers(shared: Arc<Shared>, stop: CancellationToken) {
    let mut next = now() + LONGEST_SLEEP;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.lanes.timers.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
        let (starts, soonest) = shared.lanes.tick();
        for (cell, start) in starts {
            shared.spawn(cell, start);
        }
        next = soonest.unwrap_or_else(|| now() + LONGEST_SLEEP);
    }
}

/// Renews what is held for long, and closes what is idle for long, until nothing can be held any more.
async fn renewals(shared: Arc<Shared>, end: CancellationToken) {
    let mut beat_at = now();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        shared.http.tidy();
        if BEAT_EVERY <= now().saturating_duration_since(beat_at) {
            beat_at = now();
            shared.store.beat();
        }
        let held = shared.lanes.to_renew();
        if held.is_empty() {
            continue;
        }
        let sent_at = now();
        match shared.store.renew(held.clone()).await {
            Ok(lost) => {
                if !lost.is_empty() {
                    tracing::warn!(count = lost.len(), "leases lost");
                }
                shared.lanes.renewed(&held, &lost, sent_at);
            }
            // Unknown: asked again, until the local deadline of each.
            Err(error) => tracing::error!(error = %error, "leases cannot be renewed"),
        }
    }
}
