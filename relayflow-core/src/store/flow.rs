//! What came and went lately: counts and latencies in slots of ten seconds, of sources, workflows and
//! destinations, written down at most a second after they happened. A crash loses that second of
//! them, and no more: they are for watching, and nothing is decided by them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::params;
use sqlx::Row as _;

use super::stats::{MINUTE, forget_minutes, write_minutes};
use super::writer::Tx;
use super::{Store, StoreError, on_db, rows_if_there};
use crate::clock::from_micros;
use crate::task::words;

/// The length of a slot.
pub const SLOT_SECONDS: i64 = 10;
const SLOT_US: i64 = SLOT_SECONDS * 1_000_000;
/// What is older is forgotten.
const SLOTS_KEPT: i64 = 366;
/// How far back the numbers go.
pub const FLOW_SECONDS: i64 = 3600;
/// This daemon's rows; with many daemons over one store each will have a name of its own.
const DAEMON: &str = "";
/// How long what was counted may wait to be written down, while the writer has work.
const WRITE_AFTER: Duration = Duration::from_secs(1);
/// So many names of one kind are kept from group to group.
const NAMES_KEPT: usize = 64;

words! {
    /// What the numbers are of.
    By {
        Source = "source",
        Workflow = "workflow",
        Dest = "dest",
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Measure {
    /// A verified request.
    Received,
    Rejected,
    Duplicate,
    /// A task that is to run: of a new event, or brought back by a replay.
    In,
    Attempt,
    Ok,
    Retry,
    Dead,
    /// From a request's arrival to its answer.
    Ack(Bucket),
    /// From an event's arrival to the end of a task that succeeded.
    Done(Bucket),
}

impl Measure {
    fn name(self) -> Cow<'static, str> {
        match self {
            Self::Received => "received".into(),
            Self::Rejected => "rejected".into(),
            Self::Duplicate => "duplicate".into(),
            Self::In => "in".into(),
            Self::Attempt => "attempt".into(),
            Self::Ok => "ok".into(),
            Self::Retry => "retry".into(),
            Self::Dead => "dead".into(),
            Self::Ack(bucket) => format!("ack.{}", bucket.0).into(),
            Self::Done(bucket) => format!("done.{}", bucket.0).into(),
        }
    }
}

/// A range of latencies, a fifth wide: what is read from it is right within a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket(u8);

/// The upper end of the first bucket, in milliseconds.
const FIRST_MS: f64 = 0.1;
/// Buckets per doubling.
const PER_DOUBLING: f64 = 4.0;
/// A day and more.
const LAST_BUCKET: u8 = 120;

impl Bucket {
    pub(super) fn of_us(us: i64) -> Self {
        let ms =
            std::time::Duration::from_micros(u64::try_from(us).unwrap_or(0)).as_secs_f64() * 1e3;
        let end = |place: u8| FIRST_MS * (f64::from(place) / PER_DOUBLING).exp2();
        // So few that a search by halves costs nothing.
        let (mut low, mut high) = (0, LAST_BUCKET);
        while low < high {
            let middle = low + (high - low) / 2;
            if ms <= end(middle) { high = middle } else { low = middle + 1 }
        }
        Self(low)
    }

    /// Its middle, in milliseconds.
    fn middle_ms(self) -> f64 {
        FIRST_MS * ((f64::from(self.0) - 0.5) / PER_DOUBLING).exp2()
    }
}

/// Counts by what they are of, and by name.
#[derive(Debug, Default)]
struct Counts {
    values: HashMap<(By, Measure), HashMap<String, i64>>,
    minutes: [i64; MINUTE.len()],
}

impl Counts {
    fn add(&mut self, by: By, of: &str, what: Measure, count: i64) {
        let names = self.values.entry((by, what)).or_default();
        match names.get_mut(of) {
            Some(value) => *value += count,
            None => {
                names.insert(of.to_owned(), count);
            }
        }
    }

    /// To nothing. Common names stay, so that no text is made for them again.
    fn clear(&mut self) {
        self.minutes = Default::default();
        self.values.retain(|_, names| names.len() <= NAMES_KEPT);
        if 256 < self.values.len() {
            self.values.clear();
        }
        self.values.values_mut().flat_map(HashMap::values_mut).for_each(|value| *value = 0);
    }

    fn write(&self, tx: &Tx<'_>, at_us: i64) -> Result<(), StoreError> {
        let at = at_us.div_euclid(SLOT_US);
        for ((by, what), names) in &self.values {
            for (of, value) in names.iter().filter(|(_, value)| **value != 0) {
                tx.run(
                    "insert into flow (daemon, at, dimension, of, name, value)
                     values ($1, $2, $3, $4, $5, $6)
                     on conflict (daemon, at, dimension, of, name)
                        do update set value = value + excluded.value",
                    params![DAEMON, at, by.as_str(), of, what.name(), value],
                )?;
            }
        }
        write_minutes(tx, at_us, &self.minutes)
    }
}

/// What was counted: in the transaction under way, and before it since it was last written down. To
/// write it in each would cost more than all the rest of a small one.
#[derive(Debug, Default)]
pub(super) struct Counted {
    now: Counts,
    before: Counts,
    /// When the first of `before` was counted, by the store's clock and by this process's.
    since: Option<(i64, Instant)>,
    /// The slot in which the old ones were last forgotten.
    forgot_at: i64,
}

impl Counted {
    pub(super) fn add(&mut self, by: By, of: &str, what: Measure, count: i64) {
        self.now.add(by, of, what, count);
    }

    /// Counts for the minute: `which` of [`MINUTE`].
    pub(super) fn add_minute(&mut self, which: usize, count: i64) {
        if let Some(value) = self.now.minutes.get_mut(which) {
            *value += count;
        }
    }

    /// Before a transaction.
    pub(super) fn begin(&mut self) {
        self.now.clear();
    }

    /// Whether what was counted before has waited long enough, or belongs to a slot that is over.
    pub(super) fn is_due(&self, now_us: i64) -> bool {
        self.since.is_some_and(|(at_us, since)| {
            WRITE_AFTER <= since.elapsed()
                || at_us.div_euclid(SLOT_US) != now_us.div_euclid(SLOT_US)
        })
    }

    /// Whether something is not written down.
    pub(super) fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// The transaction is committed, with what was counted or without.
    pub(super) fn committed(&mut self, now_us: i64, is_written: bool) {
        if is_written {
            self.before.clear();
            self.since = None;
            return;
        }
        let Self { now, before, .. } = self;
        let mut has_some = false;
        for ((by, what), names) in &now.values {
            for (of, value) in names.iter().filter(|(_, value)| **value != 0) {
                before.add(*by, of, *what, *value);
                has_some = true;
            }
        }
        for (sum, value) in before.minutes.iter_mut().zip(now.minutes) {
            *sum += value;
            has_some |= value != 0;
        }
        if has_some {
            self.since.get_or_insert_with(|| (now_us, Instant::now()));
        }
    }
}

/// Writes down what was counted, and forgets what is old once for each slot.
pub(super) fn write(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let at = tx.now_us.div_euclid(SLOT_US);
    if let Some((since_us, _)) = tx.flow.since {
        tx.flow.before.write(tx, since_us)?;
    }
    tx.flow.now.write(tx, tx.now_us)?;
    if tx.flow.forgot_at != at {
        tx.run("delete from flow where daemon = $1 and at < $2", params![DAEMON, at - SLOTS_KEPT])?;
        forget_minutes(tx)?;
        tx.flow.forgot_at = at;
    }
    Ok(())
}

/// The numbers of a stretch of time that ends now.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Where it begins: at the beginning of a slot.
    pub since: Timestamp,
    pub until: Timestamp,
    /// The first slot.
    from: i64,
    /// (slot, dimension, of, name) and the count.
    rows: Vec<FlowRow>,
}

#[derive(Debug, Clone)]
struct FlowRow {
    at: i64,
    by: By,
    of: String,
    name: String,
    value: i64,
}

/// Median and tails, in milliseconds; `None` where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Percentiles {
    pub count: i64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

impl Flow {
    /// How long it is, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.until.duration_since(self.since).as_secs_f64().max(1.0)
    }

    /// What the numbers are of, in order.
    #[must_use]
    pub fn names(&self, by: By) -> Vec<String> {
        let mut names: Vec<String> =
            self.rows.iter().filter(|row| row.by == by).map(|row| row.of.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// A count: of one name, or of all of that kind.
    #[must_use]
    pub fn count(&self, by: By, of: Option<&str>, name: &str) -> i64 {
        self.of(by, of).filter(|row| row.name == name).map(|row| row.value).sum()
    }

    /// The same, slot by slot from the first to the present one.
    #[must_use]
    pub fn series(&self, by: By, of: Option<&str>, name: &str) -> Vec<i64> {
        let last = self.until.as_microsecond().div_euclid(SLOT_US);
        let length = usize::try_from(last - self.from + 1).unwrap_or(0);
        let mut series = vec![0; length];
        for row in self.of(by, of).filter(|row| row.name == name) {
            if let Some(slot) =
                usize::try_from(row.at - self.from).ok().and_then(|n| series.get_mut(n))
            {
                *slot += row.value;
            }
        }
        series
    }

    /// Latencies: `ack` or `done`.
    #[must_use]
    pub fn latency(&self, by: By, of: Option<&str>, name: &str) -> Percentiles {
        let mut buckets: Vec<(Bucket, i64)> = self
            .of(by, of)
            .filter_map(|row| {
                let place = row.name.strip_prefix(name)?.strip_prefix('.')?;
                Some((Bucket(place.parse().ok()?), row.value))
            })
            .collect();
        buckets.sort_by_key(|(bucket, _)| *bucket);
        let count: i64 = buckets.iter().map(|(_, value)| value).sum();
        let at = |percent: i64| {
            let wanted = (count * percent + 99) / 100;
            let mut seen = 0;
            let found = buckets.iter().find(|(_, value)| {
                seen += value;
                0 < count && wanted <= seen
            });
            found.map(|(bucket, _)| bucket.middle_ms())
        };
        Percentiles { count, p50: at(50), p95: at(95), p99: at(99) }
    }

    fn of<'a>(&'a self, by: By, of: Option<&'a str>) -> impl Iterator<Item = &'a FlowRow> {
        self.rows.iter().filter(move |row| row.by == by && of.is_none_or(|of| row.of == of))
    }
}

impl Store {
    /// The numbers of the last `seconds`, of everything or of one kind.
    pub async fn flow(&self, seconds: i64, only: Option<By>) -> Result<Flow, StoreError> {
        let now = self.clock().now();
        let seconds = seconds.clamp(SLOT_SECONDS, FLOW_SECONDS);
        let from = (now.as_microsecond() - seconds * 1_000_000).div_euclid(SLOT_US);
        let rows = rows_if_there(on_db!(self.db(), pool => sqlx::query(
            "select at, dimension, of, name, sum(value) from flow
             where daemon = $1 and at >= $2 and ($3 is null or dimension = $3)
             group by at, dimension, of, name")
            .bind(DAEMON).bind(from).bind(only.map(By::as_str))
            .fetch_all(pool).await))?;
        let read = |row: &sqlx::sqlite::SqliteRow| -> Result<Option<FlowRow>, sqlx::Error> {
            let by: String = row.try_get(1)?;
            let Some(by) = By::from_word(&by) else { return Ok(None) };
            let (at, of, name, value) =
                (row.try_get(0)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            Ok(Some(FlowRow { at, by, of, name, value }))
        };
        let rows: Result<Vec<_>, _> = rows.iter().filter_map(|row| read(row).transpose()).collect();
        Ok(Flow {
            since: from_micros(from * SLOT_US),
            until: now,
            from,
            rows: rows.map_err(StoreError::Read)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_read_back_within_a_tenth() {
        for us in [120, 900, 4_200, 131_000, 2_100_000, 600_000_000] {
            let ms = std::time::Duration::from_micros(us).as_secs_f64() * 1e3;
            let read = Bucket::of_us(i64::try_from(us).unwrap()).middle_ms();
            assert!((read / ms - 1.0).abs() < 0.1, "{ms} read back as {read}");
        }
        assert_eq!((Bucket::of_us(-5), Bucket::of_us(i64::MAX)), (Bucket(0), Bucket(LAST_BUCKET)));
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_counted() {
        let row = |of: &str, us: i64, value: i64| FlowRow {
            at: 0,
            by: By::Source,
            of: of.to_owned(),
            name: Measure::Ack(Bucket::of_us(us)).name().into_owned(),
            value,
        };
        let rows = vec![row("a", 1_000, 90), row("a", 100_000, 9), row("b", 10_000_000, 1)];
        let flow = Flow { rows, ..Flow::default() };
        let near = |found: Option<f64>, ms: f64| (found.unwrap() / ms - 1.0).abs() < 0.1;
        let all = flow.latency(By::Source, None, "ack");
        assert_eq!(all.count, 100);
        assert!(near(all.p50, 1.0) && near(all.p95, 100.0) && near(all.p99, 100.0), "{all:?}");
        let b = flow.latency(By::Source, Some("b"), "ack");
        assert!(near(b.p50, 10_000.0) && near(b.p99, 10_000.0), "{b:?}");
        assert_eq!(flow.latency(By::Dest, None, "ack"), Percentiles::default());
    }
}
