//! The right to run one attempt, as its holder sees it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::id::TaskId;

/// A lease as the store grants it is 30 s; it is renewed at a third of that. See `guarantees.md`, 4.
pub(super) const RENEW_AFTER: Duration = Duration::from_secs(8);
/// How often the held ones are looked through.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A call starts only with 10 s of the 30 s left.
const START_WITHIN: Duration = Duration::from_secs(20);
/// After this, an action is stopped whatever the store says.
const HOLD_FOR: Duration = Duration::from_secs(25);

/// A running attempt's lease.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    /// It runs for a replay.
    pub(super) is_replay: bool,
    state: Mutex<State>,
    /// Told when `stop` is set.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// When the last renewal that succeeded was sent.
    renewed_at: Instant,
    stop: Option<Stop>,
}

/// Why an action is stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody else has the task, or may have: nothing is written.
    Lost,
    /// The daemon stops.
    Interrupted,
}

impl Lease {
    pub(super) fn new(id: TaskId, attempt: u32, renewed_at: Instant) -> Self {
        let state = Mutex::new(State { renewed_at, stop: None });
        Self { id, attempt, is_replay: false, state, changed: Notify::new() }
    }

    pub(super) fn renewed_at(&self) -> Instant {
        self.lock().renewed_at
    }

    /// A renewal that was sent at `sent_at` went through.
    pub(super) fn renewed(&self, sent_at: Instant) {
        let mut state = self.lock();
        state.renewed_at = state.renewed_at.max(sent_at);
    }

    /// When the action has to be over.
    pub(super) fn ends_at(&self) -> Instant {
        self.renewed_at() + HOLD_FOR
    }

    /// Whether a call may start at `now`, or the lease has to be renewed first.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        now <= self.renewed_at() + START_WITHIN
    }

    pub(super) fn stop(&self, why: Stop) {
        self.lock().stop.get_or_insert(why);
        self.changed.notify_one();
    }

    /// Why the action has to stop at `now`, if it has to.
    pub(super) fn stopped(&self, now: Instant) -> Option<Stop> {
        let state = self.lock();
        state.stop.or_else(|| (state.renewed_at + HOLD_FOR <= now).then_some(Stop::Lost))
    }

    /// Waits until `stop` is called.
    pub(super) async fn told(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_over_before_anybody_else_can_have_its_task() {
        let taken = Instant::now();
        let after = |seconds| taken + Duration::from_secs(seconds);
        let lease = Lease::new(TaskId::next(), 1, taken);
        assert!(lease.may_start(after(20)) && !lease.may_start(after(21)));
        assert_eq!(lease.stopped(after(24)), None);
        assert_eq!(lease.stopped(after(25)), Some(Stop::Lost));

        lease.renewed(after(10));
        assert_eq!(lease.stopped(after(34)), None);
        lease.renewed(after(5));
        assert_eq!(lease.renewed_at(), after(10), "an answer that comes late takes nothing back");
    }
}
