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

/// What a waiting task takes beside its event's text, roughly.
const TASK_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) gate: Gate,
    first: VecDeque<LeasedTask>,
    retries: VecDeque<LeasedTask>,
    running: Vec<Arc<Lease>>,
    /// The store has tasks for this lane that it had no room for.
    pub(super) is_hungry: bool,
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
            running: Vec::new(),
            is_hungry: false,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.first.len() + self.retries.len()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.running.is_empty() && self.gate.is_closed()
    }

    pub(super) fn push(&mut self, leased: LeasedTask) {
        let queue = if leased.task.failures == 0 { &mut self.first } else { &mut self.retries };
        queue.push_back(leased);
    }

    /// The next task, if one may run now. Its place is free for another from here on.
    pub(super) fn start(&mut self, now: Instant) -> Option<Start> {
        if self.waiting() == 0 || self.gate.most(now) <= self.running.len() {
            return None;
        }
        let mut leased = self.next(now)?;
        leased.slot = None;
        self.gate.started(leased.task.failures != 0, now);
        let lease = Arc::new(Lease::new(leased.task.id, leased.task.attempt, leased.leased_at));
        self.running.push(Arc::clone(&lease));
        Some(Start { leased, lease })
    }

    /// Retries are older, and few: they go first while the budget has room.
    fn next(&mut self, now: Instant) -> Option<LeasedTask> {
        if !self.retries.is_empty() && self.gate.may_retry(now) {
            return self.retries.pop_front();
        }
        self.first.pop_front()
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
        if self.waiting() == 0 && !self.is_hungry {
            return None;
        }
        let is_blocked = self.first.is_empty() && !self.retries.is_empty();
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
        let allowed = self.gate.most(now);
        let waiting = self.waiting();
        if self.gate.is_closed() {
            return if most <= room * 2 { room } else { 0 };
        }
        (allowed * 4).saturating_sub(waiting + self.running.len()).min(room)
    }

    /// All that waits, taken out.
    pub(super) fn take_waiting(&mut self) -> Vec<LeasedTask> {
        self.first.drain(..).chain(self.retries.drain(..)).collect()
    }

    pub(super) fn stop_running(&self) {
        self.running.iter().for_each(|lease| lease.stop(Stop::Interrupted));
    }

    /// Every lease that is due to be renewed at `now`.
    pub(super) fn to_renew(&self, now: Instant) -> impl Iterator<Item = (TaskId, u32)> {
        let is_due =
            move |renewed_at: Instant| RENEW_AFTER <= now.saturating_duration_since(renewed_at);
        let waiting = self.first.iter().chain(&self.retries);
        let waiting = waiting
            .filter(move |leased| is_due(leased.leased_at))
            .map(|leased| (leased.task.id, leased.task.attempt));
        let running = self.running.iter().filter(move |lease| is_due(lease.renewed_at()));
        waiting.chain(running.map(|lease| (lease.id, lease.attempt)))
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
        for queue in [&mut self.first, &mut self.retries] {
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
