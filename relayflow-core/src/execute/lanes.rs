//! All lanes: who may be committed leased, what runs next, what is renewed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Notify;

use super::gate::{Breaker, Call};
use super::lane::{Lane, Renewal, Start, bytes_of, sooner};
use super::lease::Lease;
use crate::id::TaskId;
use crate::store::{LeasedTask, Store};
use crate::task::Slot;

/// Why a task that was leased did not run.
pub(super) const STOPPED: &str = "the daemon stopped before it ran";
pub(super) const PAUSED: &str = "its queue was paused before it ran";

/// How much this process takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls in flight per destination.
    pub concurrency: usize,
    /// Tasks per destination that a commit may lease to this process.
    pub fresh_max: usize,
    /// Tasks per destination that were claimed. Apart from `fresh_max`, so that neither new events
    /// nor what waits in the store can keep the other out.
    pub claimed_max: usize,
    /// Waiting tasks in all lanes, and the bytes of their events. Each lane may have
    /// `2 * concurrency` whatever the others have, so that none can starve another.
    pub tasks_max: usize,
    pub bytes_max: usize,
    /// Lanes at once; idle ones are forgotten beyond it.
    pub lanes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 16,
            fresh_max: 1024,
            claimed_max: 1024,
            tasks_max: 8192,
            bytes_max: 64 << 20,
            lanes_max: 1024,
        }
    }
}

/// One lane as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// The destination.
    pub name: Arc<str>,
    /// Tasks that this process holds and that wait.
    pub waiting: usize,
    pub running: usize,
    pub breaker: Breaker,
    pub concurrency: usize,
    /// Whether an operator wants nothing new to start.
    pub is_paused: bool,
}

/// Per destination: waiting tasks, concurrency, circuit breaker.
#[derive(Debug)]
pub struct Lanes {
    limits: Limits,
    by_name: RwLock<HashMap<Arc<str>, Arc<Cell>>>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    is_draining: AtomicBool,
    /// Queues that stand still, by destination.
    pauses: RwLock<HashSet<String>>,
    /// Somebody paused a queue or let it go on: it is looked at now, not at the next poll.
    pub(super) pauses_changed: Notify,
    /// Where a circuit that opens or closes is put on the timeline; tests have none.
    pub(super) store: Option<Store>,
    /// A lane changes by itself sooner than was known.
    pub(super) timers: Notify,
    /// A lane for which the store has more ran low.
    pub(super) hunger: Notify,
}

/// A lane with its lock, and with what can be asked without it.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) name: Arc<str>,
    lane: Mutex<Lane>,
    fresh: Arc<AtomicUsize>,
    claimed: Arc<AtomicUsize>,
    /// Whether a commit may lease tasks to it.
    takes_fresh: AtomicBool,
}

impl Cell {
    fn new(name: Arc<str>, concurrency: usize, is_paused: bool) -> Self {
        let mut lane = Lane::new(concurrency, now());
        lane.is_paused = is_paused;
        Self {
            name,
            lane: Mutex::new(lane),
            fresh: Arc::default(),
            claimed: Arc::default(),
            takes_fresh: AtomicBool::new(!is_paused),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> usize {
        self.fresh.load(Ordering::Relaxed) + self.claimed.load(Ordering::Relaxed)
    }
}

/// The moment on tokio's clock, so that a test that stops it stops the lanes too.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Lanes {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_name: RwLock::default(),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            pauses: RwLock::default(),
            pauses_changed: Notify::new(),
            store: None,
            timers: Notify::new(),
            hunger: Notify::new(),
        }
    }

    /// A place for a task that is about to be committed: it will be handed over without being read
    /// back. `None` if the lane is full or paused or its circuit is not closed, or this process stops:
    /// the task is committed `queued` then.
    #[must_use]
    pub fn reserve(&self, destination: &str) -> Option<Slot> {
        if self.is_draining.load(Ordering::Relaxed) {
            return None;
        }
        let cell = self.cell(destination)?;
        if !cell.takes_fresh.load(Ordering::Relaxed) || self.room(&cell) == 0 {
            return None;
        }
        Slot::take(&cell.fresh, self.limits.fresh_max)
    }

    /// Every lane, by name.
    #[must_use]
    pub fn state(&self) -> Vec<LaneState> {
        let mut states: Vec<LaneState> = self
            .cells()
            .iter()
            .map(|cell| {
                let lane = cell.lock();
                LaneState {
                    name: Arc::clone(&cell.name),
                    waiting: lane.waiting(),
                    running: lane.running(),
                    breaker: lane.gate.breaker(),
                    concurrency: self.limits.concurrency,
                    is_paused: lane.is_paused,
                }
            })
            .collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }

    /// Calls at once to one destination, at most.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.limits.concurrency
    }

    /// The lane of `destination`, made if it is new. `None` if there are too many.
    pub(super) fn cell(&self, destination: &str) -> Option<Arc<Cell>> {
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.get(destination) {
            return Some(Arc::clone(cell));
        }
        drop(known);
        let mut lanes = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if self.limits.lanes_max <= lanes.len() && !lanes.contains_key(destination) {
            lanes.retain(|_, cell| 0 < cell.taken() || !cell.lock().is_idle());
            if self.limits.lanes_max <= lanes.len() {
                return None;
            }
        }
        let name: Arc<str> = destination.into();
        let cell = lanes.entry(Arc::clone(&name));
        let new = || {
            // Under the lock of all lanes: whoever changes the pauses finds this lane, or it them.
            let is_paused = self.pauses().contains(destination);
            Arc::new(Cell::new(name, self.limits.concurrency, is_paused))
        };
        Some(Arc::clone(cell.or_insert_with(new)))
    }

    fn cells(&self) -> Vec<Arc<Cell>> {
        let lanes = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        lanes.values().cloned().collect()
    }

    /// How many more tasks may wait in this lane, by what is held in all.
    fn room(&self, cell: &Cell) -> usize {
        let floor = (self.limits.concurrency * 2).saturating_sub(cell.taken());
        if self.limits.bytes_max <= self.waiting_bytes.load(Ordering::Relaxed) {
            return floor;
        }
        self.limits.tasks_max.saturating_sub(self.waiting.load(Ordering::Relaxed)).max(floor)
    }

    /// Takes in a leased task. It comes back at once if it may run, or if nothing may any more.
    pub(super) fn arrive(&self, cell: &Cell, leased: LeasedTask) -> Arrival {
        let mut lane = cell.lock();
        if self.is_draining.load(Ordering::SeqCst) {
            return Arrival::Refused(leased, STOPPED);
        }
        if lane.is_paused {
            return Arrival::Refused(leased, PAUSED);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(bytes_of(&leased), Ordering::Relaxed);
        lane.push(leased);
        let start = self.start(&mut lane, now());
        if start.is_none() && lane.wakes_at(now()).is_some() {
            self.timers.notify_one();
        }
        start.map_or(Arrival::Waits, Arrival::Runs)
    }

    fn start(&self, lane: &mut Lane, now: Instant) -> Option<Start> {
        let start = lane.start(now)?;
        self.gone(&start.leased);
        Some(start)
    }

    fn gone(&self, leased: &LeasedTask) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes_of(leased), Ordering::Relaxed);
    }

    /// What ran under `lease` ended; the next task of its lane, if one may run.
    pub(super) fn finish(&self, cell: &Cell, lease: &Arc<Lease>, call: Call) -> Option<Start> {
        let now = now();
        let mut lane = cell.lock();
        let before = lane.gate.breaker();
        lane.finish(lease, call, now);
        if self.is_draining.load(Ordering::SeqCst) {
            return None;
        }
        let start = self.start(&mut lane, now);
        self.note(cell, &mut lane, before);
        if start.is_none() && 0 < lane.waiting() {
            self.timers.notify_one();
        }
        start
    }

    /// Tells the loops and the log about a lane that has changed.
    fn note(&self, cell: &Cell, lane: &mut Lane, before: Breaker) {
        let after = lane.gate.breaker();
        if before.as_str() != after.as_str() {
            let (destination, from, to) = (&*cell.name, before.as_str(), after.as_str());
            tracing::warn!(destination, from, to, "circuit changed");
            let is_open = matches!(after, Breaker::Open { .. });
            if let Some(store) = &self.store
                && (is_open || after == Breaker::Closed)
                && !(is_open && before == Breaker::Probing)
            {
                store.note_circuit(destination, is_open);
            }
            self.timers.notify_one();
        }
        cell.takes_fresh.store(lane.takes_fresh(), Ordering::Relaxed);
        if lane.is_hungry && 0 < self.wants(cell, lane) {
            self.hunger.notify_one();
        }
    }

    /// What may run because time has passed, and when to look again.
    pub(super) fn tick(&self) -> (Vec<(Arc<Cell>, Start)>, Option<Instant>) {
        let now = now();
        let mut starts = Vec::new();
        let mut next = None;
        for cell in self.cells() {
            let mut lane = cell.lock();
            if self.is_draining.load(Ordering::SeqCst) {
                return (starts, None);
            }
            let before = lane.gate.breaker();
            while let Some(start) = self.start(&mut lane, now) {
                starts.push((Arc::clone(&cell), start));
            }
            self.note(&cell, &mut lane, before);
            next = sooner(next, lane.wakes_at(now));
        }
        (starts, next)
    }

    fn wants(&self, cell: &Cell, lane: &mut Lane) -> usize {
        let most = self.limits.claimed_max;
        let room = most.saturating_sub(cell.claimed.load(Ordering::Relaxed));
        let wanted = lane.wants(room, most, now());
        let given = wanted.min(self.room(cell));
        // Where there is little room in all, not a claim for each place that becomes free.
        let is_worth_it = given == wanted
            || self.limits.concurrency <= given
            || lane.waiting() < self.limits.concurrency;
        if is_worth_it { given } else { 0 }
    }

    /// Places for tasks of this lane that are about to be claimed, at most `most`; where there are
    /// none, the lane calls for more when it has run low.
    pub(super) fn places(&self, cell: &Cell, most: usize) -> Vec<Slot> {
        let mut lane = cell.lock();
        let wanted = self.wants(cell, &mut lane).min(most);
        lane.is_hungry = true;
        let take = |_| Slot::take(&cell.claimed, self.limits.claimed_max);
        let places: Vec<Slot> = (0..wanted).map_while(take).collect();
        if places.is_empty() {
            self.timers.notify_one();
        }
        places
    }

    /// The store has no more for this lane for now.
    pub(super) fn is_fed(&self, cell: &Cell) {
        cell.lock().is_hungry = false;
    }

    /// Lanes for which the store has more than they had room for.
    pub(super) fn hungry(&self) -> Vec<Arc<Cell>> {
        let mut cells = self.cells();
        cells.retain(|cell| cell.lock().is_hungry);
        cells
    }

    /// The leases that are held.
    pub(super) fn held(&self) -> HashSet<(TaskId, u32)> {
        let held = |cell: &Arc<Cell>| cell.lock().held().map(|h| (h.0, h.1)).collect::<Vec<_>>();
        self.cells().iter().flat_map(held).collect()
    }

    /// The leases that are due to be renewed.
    pub(super) fn to_renew(&self) -> Vec<(TaskId, u32)> {
        let now = now();
        let cells = self.cells();
        cells.iter().flat_map(|cell| cell.lock().to_renew(now).collect::<Vec<_>>()).collect()
    }

    /// Writes down what became of a renewal of `asked` that was sent at `sent_at`.
    pub(super) fn renewed(&self, asked: &[(TaskId, u32)], lost: &[TaskId], sent_at: Instant) {
        let asked: HashSet<TaskId> = asked.iter().map(|(id, _)| *id).collect();
        let lost: HashSet<TaskId> = lost.iter().copied().collect();
        let became = |id| {
            let lost = lost.contains(&id).then_some(Renewal::Lost);
            lost.or_else(|| asked.contains(&id).then_some(Renewal::Renewed))
        };
        for cell in self.cells() {
            let forgotten = cell.lock().renewed(sent_at, became);
            forgotten.iter().for_each(|leased| self.gone(leased));
        }
    }

    /// From here on nothing starts; all that waited.
    pub(super) fn close(&self) -> Vec<LeasedTask> {
        self.is_draining.store(true, Ordering::SeqCst);
        let waiting: Vec<LeasedTask> =
            self.cells().iter().flat_map(|cell| cell.lock().take_waiting()).collect();
        waiting.iter().for_each(|leased| self.gone(leased));
        waiting
    }

    /// Takes in which queues stand still now. Answers the tasks of those that were stopped by it, to
    /// be given back: they were leased, and did not start.
    pub(super) fn set_pauses(&self, pauses: HashSet<String>) -> Vec<LeasedTask> {
        *self.pauses.write().unwrap_or_else(PoisonError::into_inner) = pauses;
        let mut given_back = Vec::new();
        for cell in self.cells() {
            let is_paused = self.pauses().contains(&*cell.name);
            let mut lane = cell.lock();
            if lane.is_paused == is_paused {
                continue;
            }
            lane.is_paused = is_paused;
            cell.takes_fresh.store(lane.takes_fresh(), Ordering::Relaxed);
            if is_paused {
                given_back.extend(lane.take_waiting());
            } else {
                lane.is_hungry = true;
                self.hunger.notify_one();
                self.timers.notify_one();
            }
        }
        given_back.iter().for_each(|leased| self.gone(leased));
        given_back
    }

    fn pauses(&self) -> std::sync::RwLockReadGuard<'_, HashSet<String>> {
        self.pauses.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A queue was paused or let go on in the store: this process looks now.
    pub fn pauses_changed(&self) {
        self.pauses_changed.notify_one();
    }

    pub(super) fn stop_running(&self) {
        self.cells().iter().for_each(|cell| cell.lock().stop_running());
    }
}

/// What becomes of a leased task that arrives.
#[derive(Debug)]
pub(super) enum Arrival {
    Runs(Start),
    Waits,
    /// Nothing of this lane may start, or nothing at all: why.
    Refused(LeasedTask, &'static str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::testing;

    const LIMITS: Limits = Limits {
        concurrency: 1,
        fresh_max: 4,
        claimed_max: 4,
        tasks_max: 10,
        bytes_max: 1 << 20,
        lanes_max: 3,
    };

    fn leased(destination: &str, slot: Option<Slot>) -> LeasedTask {
        let mut leased = testing::leased(0);
        leased.task.destination = destination.into();
        LeasedTask { slot, ..leased }
    }

    /// A task arrives as a commit leaves it.
    fn arrive(lanes: &Lanes, destination: &str) -> Arrival {
        let slot = lanes.reserve(destination);
        lanes.arrive(&lanes.cell(destination).unwrap(), leased(destination, slot))
    }

    #[track_caller]
    fn runs(arrival: Arrival) -> Start {
        match arrival {
            Arrival::Runs(start) => start,
            Arrival::Waits | Arrival::Refused(..) => panic!("it does not run: {arrival:?}"),
        }
    }

    #[test]
    fn places_are_limited_and_come_back_when_tasks_start() {
        let lanes = Lanes::new(LIMITS);
        let first = runs(arrive(&lanes, "a"));
        let slots: Vec<Slot> = std::iter::from_fn(|| lanes.reserve("a")).collect();
        assert_eq!(slots.len(), LIMITS.fresh_max);
        let cell = lanes.cell("a").unwrap();
        for slot in slots {
            assert!(matches!(lanes.arrive(&cell, leased("a", Some(slot))), Arrival::Waits));
        }
        assert!(lanes.reserve("a").is_none());
        assert!(lanes.finish(&cell, &first.lease, Call::Alive).is_some());
        assert!(lanes.reserve("a").is_some());
    }

    #[test]
    fn claimed_tasks_have_places_of_their_own() {
        let lanes = Lanes::new(LIMITS);
        let fresh: Vec<Slot> = std::iter::from_fn(|| lanes.reserve("a")).collect();
        let cell = lanes.cell("a").unwrap();
        assert_eq!((fresh.len(), lanes.places(&cell, 100).len()), (4, 4));
        assert_eq!(lanes.hungry().len(), 1);
        lanes.is_fed(&cell);
        assert_eq!(lanes.hungry().len(), 0);
    }

    #[test]
    fn one_slow_destination_takes_no_place_from_another() {
        let lanes = Lanes::new(Limits { tasks_max: 3, ..LIMITS });
        let running = runs(arrive(&lanes, "slow"));
        for _ in 0..3 {
            assert!(matches!(arrive(&lanes, "slow"), Arrival::Waits));
        }
        assert!(lanes.reserve("slow").is_none(), "all that may wait waits there");
        let other = lanes.reserve("other");
        assert!(other.is_some());
        assert_eq!(lanes.places(&lanes.cell("other").unwrap(), 100).len(), 1);
        drop(running);
    }

    #[test]
    fn bytes_that_wait_are_limited_too() {
        let lanes = Lanes::new(Limits { bytes_max: 1, ..LIMITS });
        let running = runs(arrive(&lanes, "a"));
        assert!(matches!(arrive(&lanes, "a"), Arrival::Waits));
        assert!(matches!(arrive(&lanes, "a"), Arrival::Waits));
        assert!(lanes.reserve("a").is_none());
        drop(running);
    }

    #[test]
    fn nothing_is_committed_leased_while_a_circuit_is_open() {
        let lanes = Lanes::new(LIMITS);
        let cell = lanes.cell("a").unwrap();
        for _ in 0..20 {
            let start = runs(arrive(&lanes, "a"));
            lanes.finish(&cell, &start.lease, Call::Failed);
        }
        assert!(lanes.reserve("a").is_none());
        assert!(lanes.reserve("b").is_some());
        assert!(matches!(arrive(&lanes, "a"), Arrival::Waits));
        let state = lanes.state();
        assert_eq!((&*state[0].name, state[0].waiting, state[0].running), ("a", 1, 0));
        assert_eq!(state[0].breaker.as_str(), "open");
    }

    #[tokio::test(start_paused = true)]
    async fn time_alone_brings_a_destination_back() {
        let lanes = Lanes::new(LIMITS);
        let cell = lanes.cell("a").unwrap();
        for _ in 0..20 {
            let start = runs(arrive(&lanes, "a"));
            lanes.finish(&cell, &start.lease, Call::Failed);
        }
        assert!(matches!(arrive(&lanes, "a"), Arrival::Waits));
        let (starts, next) = lanes.tick();
        assert!(starts.is_empty());
        tokio::time::sleep_until(next.unwrap().into()).await;
        let (mut starts, _) = lanes.tick();
        let (cell, probe) = starts.pop().unwrap();
        lanes.finish(&cell, &probe.lease, Call::Alive);
        assert!(lanes.reserve("a").is_some(), "its concurrency is 1: it is closed again");
    }

    fn pauses(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn in_a_paused_queue_nothing_starts_and_what_runs_ends() {
        let lanes = Lanes::new(LIMITS);
        let cell = lanes.cell("a").unwrap();
        let running = runs(arrive(&lanes, "a"));
        assert!(matches!(arrive(&lanes, "a"), Arrival::Waits));
        assert_eq!(lanes.set_pauses(pauses(&["a"])).len(), 1, "what waited is given back");
        assert_eq!(lanes.waiting.load(Ordering::SeqCst), 0);
        assert!(lanes.reserve("a").is_none() && lanes.reserve("b").is_some());
        assert!(lanes.places(&cell, 100).is_empty());
        // Committed a moment before it was paused.
        assert!(matches!(lanes.arrive(&cell, leased("a", None)), Arrival::Refused(_, PAUSED)));
        assert!(lanes.finish(&cell, &running.lease, Call::Alive).is_none());
        assert!(lanes.tick().0.is_empty());
        assert!(lanes.state()[0].is_paused);

        assert!(lanes.set_pauses(pauses(&[])).is_empty());
        assert_eq!(lanes.hungry().len(), 1, "the store may have more for it");
        assert!(lanes.reserve("a").is_some());
        drop(runs(arrive(&lanes, "a")));
    }

    #[test]
    fn a_lane_that_is_made_while_its_queue_is_paused_is_paused() {
        let lanes = Lanes::new(LIMITS);
        lanes.set_pauses(pauses(&["a"]));
        assert!(lanes.reserve("a").is_none());
    }

    #[test]
    fn idle_lanes_make_way_for_new_ones() {
        let lanes = Lanes::new(LIMITS);
        let running = arrive(&lanes, "a");
        for name in ["b", "c", "d", "e"] {
            assert!(lanes.reserve(name).is_some(), "{name}");
        }
        let held: Vec<_> = ["b", "c"].map(|name| lanes.reserve(name)).into();
        assert!(lanes.reserve("f").is_none());
        assert!(lanes.state().iter().any(|lane| &*lane.name == "a"));
        drop((running, held));
    }

    #[test]
    fn a_stop_gives_back_what_waits_and_starts_nothing() {
        let lanes = Lanes::new(LIMITS);
        let cell = lanes.cell("a").unwrap();
        let running = runs(arrive(&lanes, "a"));
        assert!(matches!(arrive(&lanes, "a"), Arrival::Waits));
        assert_eq!(lanes.close().len(), 1);
        assert!(lanes.reserve("a").is_none());
        assert!(matches!(arrive(&lanes, "a"), Arrival::Refused(_, STOPPED)));
        assert!(lanes.finish(&cell, &running.lease, Call::Alive).is_none());
        assert_eq!(lanes.waiting.load(Ordering::SeqCst), 0);
        assert_eq!(lanes.waiting_bytes.load(Ordering::SeqCst), 0);
    }
}
