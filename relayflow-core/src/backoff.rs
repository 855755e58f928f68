//! How long to wait between attempts.

use jiff::SignedDuration;

/// The rule for waiting: `first · 2^(n-1)`, at most `longest`, with jitter over the upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: SignedDuration,
    pub longest: SignedDuration,
    /// How many failures end in a dead letter.
    pub attempts: u32,
    /// How long after its commit (after a replay: after that) a task is worth another try.
    pub give_up_after: SignedDuration,
}

impl Default for Backoff {
    /// About 16 hours in all: long enough for a night's outage, short enough for a day's.
    fn default() -> Self {
        Self {
            first: SignedDuration::from_secs(1),
            longest: SignedDuration::from_hours(2),
            attempts: 20,
            give_up_after: SignedDuration::from_hours(24),
        }
    }
}

impl Backoff {
    /// The wait after failure number `failure` (from 1). `seed` spreads tasks that failed together
    /// over the upper half of the wait, and gives the same task the same wait each time it is asked.
    #[must_use]
    pub fn wait(&self, failure: u32, seed: u64) -> SignedDuration {
        let first = self.first.as_micros().max(0);
        let longest = self.longest.as_micros().max(first);
        let whole = (first << failure.saturating_sub(1).min(60)).min(longest);
        let half = whole / 2;
        let spread = i128::from(mix(seed ^ u64::from(failure)) >> 32);
        let jitter = (whole - half) * spread / i128::from(u32::MAX);
        SignedDuration::from_micros(i64::try_from(half + jitter).unwrap_or(i64::MAX))
    }
}

/// splitmix64's finalizer: every bit of the seed reaches every bit of the answer.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_lies_in_the_upper_half_of_its_step(
            failure in 1_u32..100, seed: u64, first in 1_i64..10_000_000, longest in 1_i64..10_000_000_000,
        ) {
            let backoff = Backoff {
                first: SignedDuration::from_micros(first),
                longest: SignedDuration::from_micros(longest.max(first)),
                ..Backoff::default()
            };
            let step = (i128::from(first) << (failure - 1).min(60)).min(backoff.longest.as_micros());
            let wait = backoff.wait(failure, seed).as_micros();
            prop_assert!(step / 2 <= wait && wait <= step);
            prop_assert_eq!(backoff.wait(failure, seed).as_micros(), wait);
        }
    }

    #[test]
    fn the_defaults_try_for_about_sixteen_hours() {
        let backoff = Backoff::default();
        let whole: SignedDuration = (1..backoff.attempts).map(|n| backoff.wait(n, u64::MAX)).sum();
        assert!((8..=18).contains(&whole.as_hours()), "{whole:?}");
    }
}
