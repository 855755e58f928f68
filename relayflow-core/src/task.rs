//! One step for one event, and what follows an attempt at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::backoff::Backoff;
use crate::id::{EventId, TaskId};

/// Declares a closed set of words that are the same in Rust, SQL, JSON and on screens.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in the order in which it is declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value whose word `text` is.
            #[must_use]
            pub fn from_word(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Where a task stands.
    TaskStatus {
        Queued = "queued",
        Running = "running",
        Retrying = "retrying",
        Ok = "ok",
        Dead = "dead",
        Discarded = "discarded",
        Skipped = "skipped",
    }
}

impl TaskStatus {
    /// Whether only a replay can move the task on.
    #[must_use]
    pub fn is_ended(self) -> bool {
        match self {
            Self::Ok | Self::Dead | Self::Discarded | Self::Skipped => true,
            Self::Queued | Self::Running | Self::Retrying => false,
        }
    }
}

words! {
    /// How one attempt ended, as it is recorded.
    AttemptStatus {
        /// Its start is on record, its end is not.
        Running = "running",
        Ok = "ok",
        Failed = "failed",
        Rejected = "rejected",
        Interrupted = "interrupted",
        Lost = "lost",
    }
}

words! {
    /// Why a task or a request is a dead letter.
    DeadReason {
        Unretryable = "unretryable",
        Exhausted = "exhausted",
        TooOld = "too_old",
        Lost = "lost",
        Expression = "expression",
        Unreadable = "unreadable",
        EgressRefused = "egress_refused",
    }
}

/// How many starts in a row may be lost before a task is taken to be what kills its worker.
pub const LOST_STARTS_MAX: u32 = 10;

/// One unit of work for one event, as the worker that runs it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub event_id: EventId,
    pub workflow: Arc<str>,
    pub step: Arc<str>,
    pub destination: Arc<str>,
    /// The attempt now running, counted from 1. It never goes back, so it is also the fence: a worker
    /// whose number is no longer the current one can change nothing.
    pub attempt: u32,
    /// How many earlier attempts failed since the commit or the last replay. Interrupted ones are
    /// not among them.
    pub failures: u32,
    /// How many starts in a row ended in a worker that vanished.
    pub lost_starts: u32,
    /// From when `give_up_after` counts: the commit, after a replay the replay.
    pub since: Timestamp,
    /// Whether other steps may wait for this one's success.
    pub may_release: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Worth another try: no answer, a 3xx, 408, 425, 429, any 5xx, any answer with `Retry-After`; a
    /// command's exit 75, signal or timeout.
    Failed {
        wait_at_least: SignedDuration,
    },
    /// No try can help: any other 4xx or exit, an expression that does not evaluate, a refused
    /// address.
    Rejected(DeadReason),
    /// The worker was told to stop, or vanished and may never have started.
    Interrupted,
    /// The worker vanished after its start was on record.
    Lost,
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Complete,
    /// Back to `queued`, due now; the attempt keeps its number, `failures` stays.
    Release,
    /// `retrying`, due at this moment; `failures` + 1.
    RetryAt(Timestamp),
    /// `dead`; `failures` + 1.
    DeadLetter(DeadReason),
}

impl Transition {
    /// The status that the task has after it.
    #[must_use]
    pub fn status(&self) -> TaskStatus {
        match self {
            Self::Complete => TaskStatus::Ok,
            Self::Release => TaskStatus::Queued,
            Self::RetryAt(_) => TaskStatus::Retrying,
            Self::DeadLetter(_) => TaskStatus::Dead,
        }
    }
}

impl Task {
    /// Decides what follows an attempt. Pure: no clock, no database, no dice.
    ///
    /// `wait_at_least` (a receiver's `Retry-After`) can lengthen the wait, never shorten it, and
    /// never past `backoff.longest`.
    #[must_use]
    pub fn after(&self, outcome: &Outcome, backoff: &Backoff, now: Timestamp) -> Transition {
        match outcome {
            Outcome::Done => Transition::Complete,
            Outcome::Interrupted => Transition::Release,
            Outcome::Rejected(reason) => Transition::DeadLetter(*reason),
            Outcome::Lost if LOST_STARTS_MAX <= self.lost_starts + 1 => {
                Transition::DeadLetter(DeadReason::Lost)
            }
            Outcome::Lost => self.retry(backoff, SignedDuration::ZERO, now),
            Outcome::Failed { wait_at_least } => self.retry(backoff, *wait_at_least, now),
        }
    }

    fn retry(
        &self,
        backoff: &Backoff,
        wait_at_least: SignedDuration,
        now: Timestamp,
    ) -> Transition {
        let failure = self.failures.saturating_add(1);
        if backoff.attempts <= failure {
            return Transition::DeadLetter(DeadReason::Exhausted);
        }
        let own = backoff.wait(failure, self.id.seed());
        let wait = own.max(wait_at_least).min(backoff.longest.max(backoff.first));
        let at = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let last = self.since.saturating_add(backoff.give_up_after).unwrap_or(Timestamp::MAX);
        if last < at { Transition::DeadLetter(DeadReason::TooOld) } else { Transition::RetryAt(at) }
    }
}

/// A task before it is committed.
#[derive(Debug)]
pub struct NewTask {
    pub id: TaskId,
    pub workflow: Arc<str>,
    pub step: Arc<str>,
    pub destination: Arc<str>,
    /// Steps of its workflow that must be `ok` first.
    pub needs: Vec<Arc<str>>,
    /// Its place among those of the same step, where that is ordered.
    pub line: Option<Line>,
    /// An expression that did not evaluate: the task is committed as a dead letter.
    pub dead: Option<(DeadReason, String)>,
    /// A place with this daemon's workers: the task is committed leased, and handed over without
    /// being read back.
    pub slot: Option<Slot>,
}

/// What a task is ordered by: those of one step with one key run one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub key: String,
    /// Whether one that is dead holds those behind it.
    pub holds_dead: bool,
}

/// A place in a lane of ready tasks, given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Takes one of `most` places that `taken` counts, if one is free.
    #[must_use]
    pub fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1))
            .ok()
            .map(|_| Self(Arc::clone(taken)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::DeadReason::{Exhausted, Lost as LostReason, TooOld, Unretryable};
    use super::Outcome::{Done, Interrupted, Lost, Rejected};
    use super::Transition::{Complete, DeadLetter, Release, RetryAt};
    use super::*;
    use crate::clock::from_micros;

    const SECOND: SignedDuration = SignedDuration::from_secs(1);
    const BACKOFF: Backoff = Backoff {
        first: SECOND,
        longest: SignedDuration::from_secs(60),
        attempts: 3,
        give_up_after: SignedDuration::from_hours(1),
    };

    fn now() -> Timestamp {
        from_micros(1_767_607_200_000_000)
    }

    fn task(failures: u32, lost_starts: u32) -> Task {
        Task {
            id: TaskId::next(),
            event_id: EventId::next(),
            workflow: "crm".into(),
            step: "upsert".into(),
            destination: "api.example.com".into(),
            attempt: 7,
            failures,
            lost_starts,
            since: now(),
            may_release: true,
        }
    }

    fn failed(seconds: i64) -> Outcome {
        Outcome::Failed { wait_at_least: SECOND * i32::try_from(seconds).unwrap() }
    }

    #[track_caller]
    fn check(failures: u32, outcome: &Outcome, expected: Transition) {
        let after = task(failures, 0).after(outcome, &BACKOFF, now());
        assert_eq!(after, expected, "{failures} failures, then {outcome:?}");
    }

    #[test]
    fn every_outcome_has_one_transition() {
        check(0, &Done, Complete);
        check(2, &Done, Complete);
        check(2, &Interrupted, Release);
        check(0, &Rejected(Unretryable), DeadLetter(Unretryable));
        check(1, &failed(9), RetryAt(now() + SECOND * 9));
        check(1, &failed(9999), RetryAt(now() + SECOND * 60));
        check(2, &failed(0), DeadLetter(Exhausted));
        check(2, &Lost, DeadLetter(Exhausted));
    }

    #[test]
    fn a_task_that_keeps_killing_its_worker_is_a_dead_letter() {
        let patient = Backoff { attempts: 1000, ..BACKOFF };
        let after = |lost| task(lost, lost).after(&Lost, &patient, now());
        assert!(matches!(after(8), RetryAt(_)));
        assert_eq!(after(9), DeadLetter(LostReason));
    }

    #[test]
    fn a_task_that_would_be_tried_too_late_is_a_dead_letter() {
        let mut old = task(0, 0);
        old.since = now() - SignedDuration::from_hours(1);
        assert_eq!(old.after(&failed(1), &BACKOFF, now()), DeadLetter(TooOld));
    }

    #[test]
    fn a_slot_is_given_back_when_it_is_dropped() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Slot::take(&taken, 1).unwrap();
        assert!(Slot::take(&taken, 1).is_none());
        drop(first);
        assert!(Slot::take(&taken, 1).is_some());
    }

    #[test]
    fn a_word_reads_back() {
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_word(status.as_str()), Some(*status));
        }
    }

    proptest! {
        #[test]
        fn a_retry_is_never_sooner_than_now_nor_later_than_the_longest_wait(
            failures in 0_u32..2, wait in 0_i64..100_000,
        ) {
            let outcome = Outcome::Failed { wait_at_least: SignedDuration::from_secs(wait) };
            match task(failures, 0).after(&outcome, &BACKOFF, now()) {
                RetryAt(at) => prop_assert!(now() < at && at <= now() + BACKOFF.longest),
                other @ (Complete | Release | DeadLetter(_)) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
