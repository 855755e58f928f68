//! How much one destination may be asked at once: concurrency, circuit breaker, retry budget.
//!
//! All of it is a function of what was recorded and of the moment handed in.

use std::time::{Duration, Instant};

/// The breaker opens when at least half of at least this many calls in the window failed.
const CALLS_MIN: u32 = 20;
/// The window is `SLOTS` slots of `SLOT`, together 30 s.
const SLOT: Duration = Duration::from_secs(3);
const SLOTS: usize = 10;
/// While open, one call is let through this often.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// After a probe that succeeded, concurrency doubles this often, from 1.
const DOUBLE_EVERY: Duration = Duration::from_secs(5);
/// Retries a window may have whatever its calls are: one a second.
const RETRIES_FREE: u32 = 30;
/// How long a retry waits that has no budget.
const BUDGET_WAIT: Duration = Duration::from_secs(1);

/// What a call said about its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// It answered, even if it refused.
    Alive,
    Failed,
    /// There was no call, or its end says nothing about the destination.
    None,
}

/// Where a destination's circuit breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    Closed,
    /// Nothing is called, but for a probe at this moment.
    Open {
        probe_at: Instant,
    },
    /// One call finds out whether the destination is back.
    Probing,
    /// It is; so many calls at once until `double_at`.
    Reopening {
        most: usize,
        double_at: Instant,
    },
}

impl Breaker {
    /// `closed`, `open` or `half_open`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::Probing | Self::Reopening { .. } => "half_open",
        }
    }
}

/// The gate of one destination.
#[derive(Debug)]
pub(super) struct Gate {
    concurrency: usize,
    breaker: Breaker,
    window: Window,
}

impl Gate {
    pub(super) fn new(concurrency: usize, now: Instant) -> Self {
        Self { concurrency, breaker: Breaker::Closed, window: Window::new(now) }
    }

    pub(super) fn breaker(&self) -> Breaker {
        self.breaker
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency
    }

    pub(super) fn is_closed(&self) -> bool {
        self.breaker == Breaker::Closed
    }

    /// How many calls may be in flight at `now`.
    pub(super) fn most(&mut self, now: Instant) -> usize {
        self.advance(now);
        match self.breaker {
            Breaker::Closed => self.concurrency,
            Breaker::Open { probe_at } => usize::from(probe_at <= now),
            Breaker::Probing => 1,
            Breaker::Reopening { most, .. } => most,
        }
    }

    /// Whether a retry may start at `now`: at most a fifth of a destination's calls are retries,
    /// beyond one a second. A destination that answers nearly all calls is not protected from them,
    /// or what an outage left behind would take hours.
    pub(super) fn may_retry(&mut self, now: Instant) -> bool {
        let sum = self.window.sum(now);
        let is_well = CALLS_MIN <= sum.calls && sum.failed * 10 < sum.calls;
        is_well || sum.retries < RETRIES_FREE + sum.calls / 5
    }

    /// A call begins.
    pub(super) fn started(&mut self, is_retry: bool, now: Instant) {
        if let Breaker::Open { .. } = self.breaker {
            self.breaker = Breaker::Probing;
        }
        self.window.add(now, Count { retries: u32::from(is_retry), ..Count::default() });
    }

    /// A call ended. Those that began before the breaker opened no longer count.
    pub(super) fn ended(&mut self, call: Call, now: Instant) {
        match (self.breaker, call) {
            (Breaker::Open { .. }, _)
            | (Breaker::Closed | Breaker::Reopening { .. }, Call::None) => {}
            // Nothing was learnt: the next task is the probe.
            (Breaker::Probing, Call::None) => self.breaker = Breaker::Open { probe_at: now },
            (Breaker::Probing, Call::Failed) => self.open(now),
            (Breaker::Probing, Call::Alive) => {
                self.window = Window::new(now);
                self.count(call, now);
                self.breaker = Breaker::Reopening { most: 1, double_at: now + DOUBLE_EVERY };
                self.advance(now);
            }
            (Breaker::Closed, Call::Alive | Call::Failed) => self.judge(call, CALLS_MIN, now),
            (Breaker::Reopening { .. }, Call::Alive | Call::Failed) => self.judge(call, 1, now),
        }
    }

    /// When [`Self::most`] changes by itself.
    pub(super) fn changes_at(&self) -> Option<Instant> {
        match self.breaker {
            Breaker::Closed | Breaker::Probing => None,
            Breaker::Open { probe_at } => Some(probe_at),
            Breaker::Reopening { double_at, .. } => Some(double_at),
        }
    }

    /// When a retry that has no budget is worth another look.
    pub(super) fn retry_at(now: Instant) -> Instant {
        now + BUDGET_WAIT
    }

    fn judge(&mut self, call: Call, calls_min: u32, now: Instant) {
        self.count(call, now);
        let sum = self.window.sum(now);
        if call == Call::Failed && calls_min <= sum.calls && sum.calls <= sum.failed * 2 {
            self.open(now);
        }
    }

    fn count(&mut self, call: Call, now: Instant) {
        let failed = u32::from(call == Call::Failed);
        self.window.add(now, Count { calls: 1, failed, retries: 0 });
    }

    fn open(&mut self, now: Instant) {
        self.breaker = Breaker::Open { probe_at: now + PROBE_EVERY };
    }

    fn advance(&mut self, now: Instant) {
        while let Breaker::Reopening { most, double_at } = self.breaker {
            if self.concurrency <= most {
                self.breaker = Breaker::Closed;
            } else if double_at <= now {
                let most = most.saturating_mul(2);
                self.breaker = Breaker::Reopening { most, double_at: double_at + DOUBLE_EVERY };
            } else {
                break;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    calls: u32,
    failed: u32,
    retries: u32,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.retries = self.retries.saturating_add(other.retries);
    }
}

/// Counts of the last 30 s, in slots that are forgotten one by one.
#[derive(Debug)]
struct Window {
    slots: [Count; SLOTS],
    /// The slot that is being filled, and when it began.
    current: usize,
    began: Instant,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { slots: [Count::default(); SLOTS], current: 0, began: now }
    }

    fn add(&mut self, now: Instant, count: Count) {
        self.turn(now);
        self.slots[self.current].add(count);
    }

    fn sum(&mut self, now: Instant) -> Count {
        self.turn(now);
        let mut sum = Count::default();
        self.slots.iter().for_each(|slot| sum.add(*slot));
        sum
    }

    fn turn(&mut self, now: Instant) {
        if self.began + SLOT * 10 <= now {
            *self = Self::new(now);
        }
        while self.began + SLOT <= now {
            self.began += SLOT;
            self.current = (self.current + 1) % SLOTS;
            self.slots[self.current] = Count::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONCURRENCY: usize = 16;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn record(gate: &mut Gate, calls: &[Call], now: Instant) {
        for call in calls {
            gate.started(false, now);
            gate.ended(*call, now);
        }
    }

    #[test]
    fn it_opens_when_half_of_twenty_calls_failed() {
        let now = Instant::now();
        for (alive, failed, is_open) in
            [(0, 19, false), (0, 20, true), (10, 10, true), (11, 10, false), (90, 10, false)]
        {
            let mut gate = Gate::new(CONCURRENCY, now);
            record(&mut gate, &vec![Call::Alive; alive], now);
            record(&mut gate, &vec![Call::Failed; failed], now);
            assert_eq!(!gate.is_closed(), is_open, "{alive} alive, {failed} failed");
        }
    }

    #[test]
    fn what_failed_half_a_minute_ago_is_forgotten() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        record(&mut gate, &[Call::Failed; 19], now);
        record(&mut gate, &[Call::Failed; 19], now + second(31));
        assert!(gate.is_closed());
        record(&mut gate, &[Call::Failed; 1], now + second(40));
        assert!(!gate.is_closed());
    }

    #[test]
    fn an_open_breaker_lets_one_probe_through_every_ten_seconds() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        record(&mut gate, &[Call::Failed; 20], now);
        assert_eq!(gate.most(now + second(9)), 0);
        assert_eq!(gate.most(now + second(10)), 1);
        gate.started(true, now + second(10));
        assert_eq!(gate.most(now + second(10)), 1, "the probe itself");
        gate.ended(Call::Failed, now + second(12));
        assert_eq!(gate.most(now + second(21)), 0);
        assert_eq!(gate.most(now + second(22)), 1);
    }

    #[test]
    fn a_probe_that_was_no_call_is_made_up_for_at_once() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        record(&mut gate, &[Call::Failed; 20], now);
        gate.started(false, now + second(10));
        gate.ended(Call::None, now + second(10));
        assert_eq!(gate.most(now + second(10)), 1);
    }

    #[test]
    fn after_a_good_probe_concurrency_doubles_every_five_seconds() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        record(&mut gate, &[Call::Failed; 20], now);
        let back = now + second(10);
        gate.started(false, back);
        gate.ended(Call::Alive, back);
        for (after, most) in [(0, 1), (4, 1), (5, 2), (9, 2), (10, 4), (15, 8), (20, 16)] {
            assert_eq!(gate.most(back + second(after)), most, "after {after}s");
        }
        assert!(gate.is_closed());
    }

    #[test]
    fn a_destination_that_fails_again_while_it_reopens_is_left_alone() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        record(&mut gate, &[Call::Failed; 20], now);
        let back = now + second(10);
        record(&mut gate, &[Call::Alive, Call::Alive, Call::Failed], back);
        assert_eq!(gate.breaker().as_str(), "half_open");
        record(&mut gate, &[Call::Failed], back);
        assert_eq!(gate.most(back), 0);
    }

    #[test]
    fn answers_to_calls_from_before_it_opened_do_not_count() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        record(&mut gate, &[Call::Failed; 20], now);
        let probe_at = gate.changes_at();
        gate.ended(Call::Alive, now + second(1));
        gate.ended(Call::Failed, now + second(2));
        assert_eq!(gate.changes_at(), probe_at);
    }

    #[test]
    fn retries_are_a_fifth_of_the_calls_beyond_one_a_second() {
        let now = Instant::now();
        let mut gate = Gate::new(CONCURRENCY, now);
        let retries = |gate: &mut Gate, now| {
            (0..1000)
                .take_while(|_| {
                    gate.may_retry(now) && {
                        gate.started(true, now);
                        true
                    }
                })
                .count()
        };
        record(&mut gate, &[Call::Alive, Call::Alive, Call::Failed].repeat(33), now);
        assert_eq!(retries(&mut gate, now), 30 + 99 / 5);
        assert_eq!(retries(&mut gate, now + second(3)), 0);
        assert_eq!(retries(&mut gate, now + second(31)), 30);
        let mut well = Gate::new(CONCURRENCY, now);
        record(&mut well, &[Call::Alive; 20], now);
        assert_eq!(retries(&mut well, now), 1000);
    }

    proptest! {
        #[test]
        fn it_never_lets_more_through_than_its_concurrency(
            steps in prop::collection::vec((0_u8..4, 0_u64..20), 0..400)
        ) {
            let mut now = Instant::now();
            let mut gate = Gate::new(CONCURRENCY, now);
            let mut running = 0_usize;
            for (what, wait) in steps {
                now += second(wait);
                if what == 0 || running == 0 {
                    if running < gate.most(now) {
                        gate.started(false, now);
                        running += 1;
                    }
                } else {
                    let call = [Call::Alive, Call::Failed, Call::None][usize::from(what) - 1];
                    gate.ended(call, now);
                    running -= 1;
                }
                prop_assert!(gate.most(now) <= CONCURRENCY && running <= CONCURRENCY);
            }
        }
    }
}
