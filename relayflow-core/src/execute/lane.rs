//! The tasks of one destination that this process holds: those that wait and those that run.
//!
//! A lane is plain data: it is handed the moment, and never waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gate::{Call, Gate};
use super::lease::{Lease, RENEW_AFTER, Stop};
use crate::event::Payload;
use crate::id::TaskId;
use crate::store::LeasedTask;

/// While live tasks wait, one of so many starts is a replay's: it goes on, and they go first.
const REPLAY_TURN: u32 = 8;
/// For so long after a live task's start its kind is taken to come: replays leave it half of the places.
const LIVE_FOR: Duration = Duration::from_secs(5);

/// What a waiting task takes beside its event's text, roughly.
const TASK_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) gate: Gate,
    first: VecDeque<LeasedTask>,
    retries: VecDeque<LeasedTask>,
    /// First attempts that replays brought.
    replays: VecDeque<LeasedTask>,
    running: Vec<Arc<Lease>>,
    /// Live starts since the last of a replay's.
    live_in_a_row: u32,
    live_at: Option<Instant>,
    /// The store has tasks for this lane that it had no room for.
    pub(super) is_hungry: bool,
    /// An operator wants nothing new to start.
    pub(super) is_paused: bool,
}

/// A task that begins to run.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) leased: LeasedTask,
    pub(super) lease: Arc<Lease>,
}

impl Lane {
    pub(super) fn new(concurrency: usize, now: Instant) -> Self {
        Self {
            gate: Gate::new(concurrency, now),
            first: VecDeque::new(),
            retries: VecDeque::new(),
            replays: VecDeque::new(),
            running: Vec::new(),
            live_in_a_row: 0,
            live_at: None,
            is_hungry: false,
            is_paused: false,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.first.len() + self.retries.len() + self.replays.len()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether a commit may lease tasks to this lane.
    pub(super) fn takes_fresh(&self) -> bool {
        !self.is_paused && self.gate.is_closed()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.running.is_empty() && self.gate.is_closed()
    }

    pub(super) fn push(&mut self, leased: LeasedTask) {
        let queue = match (leased.task.failures, leased.is_replay) {
            (0, false) => &mut self.first,
            (0, true) => &mut self.replays,
            _ => &mut self.retries,
        };
        queue.push_back(leased);
    }

    /// The next task, if one may run now. Its place is free for another from here on.
    pub(super) fn start(&mut self, now: Instant) -> Option<Start> {
        if self.is_paused || self.waiting() == 0 || self.gate.most(now) <= self.running.len() {
            return None;
        }
        let mut leased = self.next(now)?;
        leased.slot = None;
        self.gate.started(leased.task.failures != 0, now);
        let mut lease = Lease::new(leased.task.id, leased.task.attempt, leased.leased_at);
        lease.is_replay = leased.is_replay;
        let lease = Arc::new(lease);
        self.running.push(Arc::clone(&lease));
        Some(Start { leased, lease })
    }

    /// Retries are older, and few: they go first while the budget has room.
    fn next(&mut self, now: Instant) -> Option<LeasedTask> {
        if !self.retries.is_empty() && self.gate.may_retry(now) {
            return self.retries.pop_front();
        }
        let may_replay = !self.replays.is_empty() && self.replays_running() < self.replays_max(now);
        if may_replay && (self.first.is_empty() || REPLAY_TURN - 1 <= self.live_in_a_row) {
            self.live_in_a_row = 0;
            return self.replays.pop_front();
        }
        let live = self.first.pop_front()?;
        self.live_in_a_row = self.live_in_a_row.saturating_add(1);
        self.live_at = Some(now);
        Some(live)
    }

    fn replays_running(&self) -> usize {
        self.running.iter().filter(|lease| lease.is_replay).count()
    }

    /// How many of a destination's places replays may have: half, while live work comes; else all but
    /// one, so that it finds a place when it does.
    fn replays_max(&self, now: Instant) -> usize {
        let is_live = |at: Instant| now.saturating_duration_since(at) < LIVE_FOR;
        let all = self.gate.concurrency();
        let most = if self.live_at.is_some_and(is_live) { all / 2 } else { all.saturating_sub(1) };
        most.max(1)
    }

    /// What ran under `lease` ended.
    pub(super) fn finish(&mut self, lease: &Arc<Lease>, call: Call, now: Instant) {
        if let Some(at) = self.running.iter().position(|held| Arc::ptr_eq(held, lease)) {
            self.running.swap_remove(at);
        }
        self.gate.ended(call, now);
    }

    /// When something that waits may run although nothing else happens.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        if self.is_paused || (self.waiting() == 0 && !self.is_hungry) {
            return None;
        }
        let is_blocked = self.first.is_empty() && self.waiting() != 0;
        match self.gate.changes_at() {
            Some(at) if now < at => Some(at),
            None if self.gate.is_closed() && !is_blocked => None,
            Some(_) | None => Some(Gate::retry_at(now)),
        }
    }

    /// How many tasks are worth claiming, given that there is room for `room` of `most`. A lane that
    /// may run at full speed is filled up when it is half empty, so that it never runs dry; one
    /// whose circuit is open gets what it needs for a probe.
    pub(super) fn wants(&mut self, room: usize, most: usize, now: Instant) -> usize {
        if self.is_paused {
            return 0;
        }
        let allowed = self.gate.most(now);
        let waiting = self.waiting();
        if self.gate.is_closed() {
            return if most <= room * 2 { room } else { 0 };
        }
        (allowed * 4).saturating_sub(waiting + self.running.len()).min(room)
    }

    /// All that waits, taken out.
    pub(super) fn take_waiting(&mut self) -> Vec<LeasedTask> {
        let live = self.first.drain(..).chain(self.retries.drain(..));
        live.chain(self.replays.drain(..)).collect()
    }

    pub(super) fn stop_running(&self) {
        self.running.iter().for_each(|lease| lease.stop(Stop::Interrupted));
    }

    /// Every lease that is held, and when it was taken or renewed last.
    pub(super) fn held(&self) -> impl Iterator<Item = (TaskId, u32, Instant)> {
        let waiting = self.first.iter().chain(&self.retries).chain(&self.replays);
        let waiting = waiting.map(|leased| (leased.task.id, leased.task.attempt, leased.leased_at));
        let running = self.running.iter();
        waiting.chain(running.map(|lease| (lease.id, lease.attempt, lease.renewed_at())))
    }

    /// Every lease that is due to be renewed at `now`.
    pub(super) fn to_renew(&self, now: Instant) -> impl Iterator<Item = (TaskId, u32)> {
        self.held()
            .filter(move |held| RENEW_AFTER <= now.saturating_duration_since(held.2))
            .map(|(id, attempt, _)| (id, attempt))
    }

    /// What became of a renewal: gives for a task whether it was renewed, lost, or not among those
    /// asked for (`None`). Lost ones that wait are forgotten, those that run are stopped. Returns
    /// what was forgotten.
    pub(super) fn renewed(
        &mut self,
        sent_at: Instant,
        became: impl Fn(TaskId) -> Option<Renewal>,
    ) -> Vec<LeasedTask> {
        for lease in &self.running {
            match became(lease.id) {
                Some(Renewal::Renewed) => lease.renewed(sent_at),
                Some(Renewal::Lost) => lease.stop(Stop::Lost),
                None => {}
            }
        }
        let mut lost = Vec::new();
        for queue in [&mut self.first, &mut self.retries, &mut self.replays] {
            for leased in std::mem::take(queue) {
                match became(leased.task.id) {
                    Some(Renewal::Lost) => lost.push(leased),
                    Some(Renewal::Renewed) => {
                        queue.push_back(LeasedTask { leased_at: sent_at, ..leased });
                    }
                    None => queue.push_back(leased),
                }
            }
        }
        lost
    }
}

/// What became of one lease in a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    Renewed,
    Lost,
}

/// What a waiting task holds in memory, in bytes. A batch's events share their request's body, and
/// each counts its own part of it.
pub(super) fn bytes_of(leased: &LeasedTask) -> usize {
    let payload = match &leased.event.event.payload {
        Payload::Slice { from, to, .. } => to.saturating_sub(*from),
        Payload::Converted(text) => text.len(),
    };
    TASK_BYTES + payload + leased.event.event.attributes.len()
}

/// The soonest of two moments that may be never.
pub(super) fn sooner(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Longest time that a loop sleeps when nothing is foreseen: a hint that was lost costs this much.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::execute::testing;
    use crate::task::Slot;

    const CONCURRENCY: usize = 2;

    fn lane(now: Instant) -> Lane {
        Lane::new(CONCURRENCY, now)
    }

    fn push(lane: &mut Lane, failures: u32) -> TaskId {
        let leased = testing::leased(failures);
        let id = leased.task.id;
        lane.push(leased);
        id
    }

    /// Starts and ends calls until the lane's breaker opens.
    fn break_down(lane: &mut Lane, now: Instant) {
        while lane.gate.is_closed() {
            push(lane, 0);
            let start = lane.start(now).unwrap();
            lane.finish(&start.lease, Call::Failed, now);
        }
    }

    #[test]
    fn tasks_run_in_their_order_and_no_more_than_its_concurrency() {
        let now = Instant::now();
        let mut lane = lane(now);
        let ids = [(); 3].map(|()| push(&mut lane, 0));
        let first = lane.start(now).unwrap();
        let second = lane.start(now).unwrap();
        assert_eq!([first.leased.task.id, second.leased.task.id], [ids[0], ids[1]]);
        assert!(lane.start(now).is_none());
        lane.finish(&first.lease, Call::Alive, now);
        assert_eq!(lane.start(now).unwrap().leased.task.id, ids[2]);
        assert_eq!((lane.waiting(), lane.running()), (0, 2));
    }

    #[test]
    fn a_task_gives_its_place_back_when_it_starts() {
        let now = Instant::now();
        let mut lane = lane(now);
        let taken = Arc::new(AtomicUsize::new(0));
        let slot = Slot::take(&taken, 1);
        lane.push(LeasedTask { slot, ..testing::leased(0) });
        assert!(Slot::take(&taken, 1).is_none());
        let start = lane.start(now).unwrap();
        assert!(Slot::take(&taken, 1).is_some());
        drop(start);
    }

    #[test]
    fn retries_go_first_until_their_budget_is_spent() {
        let now = Instant::now();
        let mut lane = Lane::new(1000, now);
        let first = push(&mut lane, 0);
        let retries: Vec<TaskId> = (0..31).map(|_| push(&mut lane, 1)).collect();
        let started: Vec<TaskId> =
            std::iter::from_fn(|| lane.start(now)).map(|start| start.leased.task.id).collect();
        assert_eq!(started[..30], retries[..30]);
        assert_eq!(started[30..], [first]);
        assert_eq!(lane.wakes_at(now), Some(now + Duration::from_secs(1)));
        assert!(lane.start(now + Duration::from_secs(31)).is_some());
    }

    #[test]
    fn a_lane_is_filled_up_when_it_is_half_empty() {
        let now = Instant::now();
        let mut lane = lane(now);
        for (room, wanted) in [(0, 0), (49, 0), (50, 50), (100, 100)] {
            assert_eq!(lane.wants(room, 100, now), wanted, "{room}");
        }
    }

    #[test]
    fn live_work_goes_before_a_replays_which_goes_on() {
        let now = Instant::now();
        let mut lane = Lane::new(4, now);
        let push_replay = |lane: &mut Lane| {
            lane.push(LeasedTask { is_replay: true, ..testing::leased(0) });
        };
        for _ in 0..20 {
            push_replay(&mut lane);
        }
        for _ in 0..20 {
            push(&mut lane, 0);
        }
        let mut started = Vec::new();
        for _ in 0..20 {
            let start = lane.start(now).unwrap();
            started.push(start.leased.is_replay);
            lane.finish(&start.lease, Call::Alive, now);
        }
        let replays = started.iter().filter(|is_replay| **is_replay).count();
        assert_eq!((replays, started[7]), (2, true), "one of eight: {started:?}");
    }

    #[test]
    fn replays_leave_places_for_live_work() {
        let now = Instant::now();
        let mut lane = Lane::new(4, now);
        for _ in 0..4 {
            lane.push(LeasedTask { is_replay: true, ..testing::leased(0) });
        }
        let starts: Vec<Start> = std::iter::from_fn(|| lane.start(now)).collect();
        assert_eq!(starts.len(), 3, "one place is left");
        push(&mut lane, 0);
        let live = lane.start(now).unwrap();
        assert!(!live.leased.is_replay);
        for start in &starts[..2] {
            lane.finish(&start.lease, Call::Alive, now);
        }
        assert!(lane.start(now).is_some(), "a second of two");
        lane.push(LeasedTask { is_replay: true, ..testing::leased(0) });
        assert!(lane.start(now).is_none(), "half of the places while live work comes");
        assert!(lane.wakes_at(now).is_some(), "it is looked at again without anything happening");
    }

    #[test]
    fn an_open_circuit_asks_for_no_more_than_a_probe_needs() {
        let now = Instant::now();
        let mut lane = lane(now);
        break_down(&mut lane, now);
        lane.is_hungry = true;
        assert_eq!(lane.wants(100, 100, now), 0);
        let probe_at = lane.wakes_at(now).unwrap();
        assert_eq!(probe_at, now + Duration::from_secs(10));
        assert_eq!(lane.wants(100, 100, probe_at), 4);
        push(&mut lane, 0);
        assert!(lane.start(now).is_none());
        let probe = lane.start(probe_at).unwrap();
        push(&mut lane, 0);
        assert!(lane.start(probe_at).is_none(), "one probe");
        lane.finish(&probe.lease, Call::Alive, probe_at);
        assert!(lane.start(probe_at).is_some());
        assert!(lane.start(probe_at).is_none(), "one call at a time");
    }

    #[test]
    fn what_nothing_waits_for_wakes_nobody() {
        let now = Instant::now();
        let mut lane = lane(now);
        assert_eq!(lane.wakes_at(now), None);
        break_down(&mut lane, now);
        assert_eq!(lane.wakes_at(now), None);
    }

    #[test]
    fn leases_are_renewed_whether_their_tasks_wait_or_run() {
        let now = testing::leased(0).leased_at;
        let mut lane = lane(now);
        let ids = [(); 4].map(|()| push(&mut lane, 0));
        let first = lane.start(now).unwrap();
        let second = lane.start(now).unwrap();
        let later = now + Duration::from_secs(9);
        let mut due: Vec<TaskId> = lane.to_renew(later).map(|(id, _)| id).collect();
        due.sort();
        assert_eq!(due, ids);
        assert_eq!(lane.to_renew(now + Duration::from_secs(7)).count(), 0);

        let lost = lane.renewed(later, |id| match ids.iter().position(|i| *i == id) {
            Some(1 | 3) => Some(Renewal::Lost),
            Some(_) => Some(Renewal::Renewed),
            None => None,
        });

        assert_eq!(lost.iter().map(|leased| leased.task.id).collect::<Vec<_>>(), [ids[3]]);
        assert_eq!((lane.waiting(), lane.to_renew(later).count()), (1, 1));
        assert_eq!(first.lease.renewed_at(), later);
        assert_eq!(second.lease.stopped(later), Some(Stop::Lost));
        lane.finish(&second.lease, Call::None, later);
        assert_eq!(lane.start(later).unwrap().lease.renewed_at(), later);
    }
}
