//! The time: wall or manual, in whole microseconds, because that is what the store gives back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Where the present moment comes from. Decisions never ask it: they are handed a moment.
#[derive(Debug, Clone)]
pub enum Clock {
    Wall,
    /// Stands still until it is set; for tests.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that shows `start` until it is set.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.as_microsecond())))
    }

    /// The present moment in whole microseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        from_micros(self.now_us())
    }

    /// The same as microseconds since 1970.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        match self {
            Self::Wall => wall_us(),
            Self::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Sets a manual clock; the wall clock does not listen.
    pub fn set(&self, to: Timestamp) {
        if let Self::Manual(at) = self {
            at.store(to.as_microsecond(), Ordering::SeqCst);
        }
    }
}

/// A moment from the store's microseconds; what lies outside jiff's range is its nearest end.
#[must_use]
pub fn from_micros(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(if us < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn wall_us() -> i64 {
    Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_set() {
        let clock = Clock::manual(from_micros(5));
        assert_eq!(clock.now_us(), 5);
        clock.set(from_micros(9));
        assert_eq!(clock.now(), from_micros(9));
    }

    #[test]
    fn the_wall_clock_gives_whole_microseconds() {
        assert_eq!(Clock::Wall.now().as_nanosecond() % 1000, 0);
    }
}
