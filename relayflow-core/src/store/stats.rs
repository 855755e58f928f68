//! Counts and ages: sums that are kept in the transactions that change them, so that nothing an
//! operator watches scans a table.

use rusqlite::params;
use sqlx::Row as _;

use super::writer::Tx;
use super::{Due, Store, StoreError, on_db};
use crate::clock::from_micros;
use crate::task::TaskStatus;

/// This daemon's rows; with many daemons over one store each will have a name of its own.
const DAEMON: &str = "";
/// How much each of these grew within a minute: events, tasks that are ok, dead letters, attempts,
/// and those of them that ended in `retrying`.
pub(super) const MINUTE: [&str; 5] =
    ["minute.events", "minute.ok", "minute.dead", "attempts", "retries"];
/// Places in [`MINUTE`].
const EVENTS: usize = 0;
const OK: usize = 1;
const DEAD: usize = 2;
const ATTEMPTS: usize = 3;
const RETRIES: usize = 4;
/// Counters of minutes older than this are forgotten.
pub(super) const MINUTES_KEPT: i64 = 60;
/// What the retry rate looks back over.
const RATE_MINUTES: i64 = 15;
pub(super) const MINUTE_US: i64 = 60_000_000;

/// The name under which tasks of a status are counted, per destination.
pub(super) fn task_counter(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Queued => "task.queued",
        TaskStatus::Running => "task.running",
        TaskStatus::Retrying => "task.retrying",
        TaskStatus::Ok => "task.ok",
        TaskStatus::Dead => "task.dead",
        TaskStatus::Discarded => "task.discarded",
        TaskStatus::Skipped => "task.skipped",
    }
}

/// Writes what a transaction counted.
pub(super) fn write_counters(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut minute = [0; DEAD + 1];
    for (name, of, value) in tx.counted() {
        write_counter(tx, name, of, value)?;
        match name {
            "events" => minute[EVENTS] += value,
            "task.ok" => minute[OK] += value,
            "task.dead" | "dead_requests" => minute[DEAD] += value,
            _ => {}
        }
    }
    for (which, value) in minute.into_iter().enumerate() {
        tx.flow.add_minute(which, value);
    }
    Ok(())
}

/// An attempt that ended, in its minute.
pub(super) fn count_minute_of_attempt(tx: &mut Tx<'_>, is_retry: bool) {
    tx.flow.add_minute(ATTEMPTS, 1);
    tx.flow.add_minute(RETRIES, i64::from(is_retry));
}

/// Writes what was counted within the minute of a moment, in the order of [`MINUTE`].
pub(super) fn write_minutes(
    tx: &Tx<'_>,
    at_us: i64,
    counts: &[i64; MINUTE.len()],
) -> Result<(), StoreError> {
    let minute = (at_us / MINUTE_US).to_string();
    for (name, value) in MINUTE.into_iter().zip(counts).filter(|(_, value)| **value != 0) {
        write_counter(tx, name, &minute, *value)?;
    }
    Ok(())
}

fn write_counter(tx: &Tx<'_>, name: &str, of: &str, value: i64) -> Result<(), StoreError> {
    tx.run(
        "insert into counter (daemon, name, of, value) values ($1, $2, $3, $4)
         on conflict (daemon, name, of) do update set value = value + excluded.value",
        params![DAEMON, name, of, value],
    )?;
    Ok(())
}

/// Forgets the counters of minutes long past.
pub(super) fn forget_minutes(tx: &Tx<'_>) -> Result<(), StoreError> {
    let before = (tx.now_us / MINUTE_US - MINUTES_KEPT).to_string();
    tx.run(
        "delete from counter where daemon = $1 and name in ('attempts', 'retries',
            'minute.events', 'minute.ok', 'minute.dead') and of < $2",
        params![DAEMON, before],
    )?;
    Ok(())
}

/// Every counter, summed over daemons.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    rows: Vec<(String, String, i64)>,
    now_minute: i64,
}

impl Counters {
    /// The sum of a counter over everything that it is kept of.
    #[must_use]
    pub fn total(&self, name: &str) -> i64 {
        self.rows.iter().filter(|(n, ..)| n == name).map(|(.., v)| v).sum()
    }

    /// A counter, of one thing that it is kept of.
    #[must_use]
    pub fn of(&self, name: &str, of: &str) -> i64 {
        self.rows.iter().filter(|(n, o, _)| n == name && o == of).map(|(.., v)| v).sum()
    }

    /// Tasks of a status, for one destination.
    #[must_use]
    pub fn tasks_of(&self, destination: &str, status: TaskStatus) -> i64 {
        let name = task_counter(status);
        self.rows.iter().filter(|(n, of, _)| n == name && of == destination).map(|(.., v)| v).sum()
    }

    /// Tasks of a status.
    #[must_use]
    pub fn tasks(&self, status: TaskStatus) -> i64 {
        self.total(task_counter(status))
    }

    /// Every destination that ever had a task, in order.
    #[must_use]
    pub fn destinations(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .rows
            .iter()
            .filter(|(n, ..)| n.starts_with("task."))
            .map(|(_, of, _)| of.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The share of the last 15 minutes' attempts that ended in `retrying`.
    #[must_use]
    pub fn retry_rate(&self) -> f64 {
        let recent = |name: &str| -> i64 {
            let from = self.now_minute - RATE_MINUTES + 1;
            let in_window = |of: &str| of.parse::<i64>().is_ok_and(|minute| from <= minute);
            self.rows.iter().filter(|(n, of, _)| n == name && in_window(of)).map(|(.., v)| v).sum()
        };
        let attempts = recent("attempts");
        if attempts <= 0 {
            return 0.0;
        }
        ratio(recent("retries"), attempts)
    }
}

fn ratio(part: i64, whole: i64) -> f64 {
    let small = |n: i64| f64::from(i32::try_from(n).unwrap_or(i32::MAX));
    small(part) / small(whole)
}

impl Store {
    /// The counters as they are.
    pub async fn counters(&self) -> Result<Counters, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select name, of, sum(value) from counter
             where name not in ('minute.events', 'minute.ok', 'minute.dead') group by name, of")
            .fetch_all(pool).await.map_err(StoreError::Read)?
            .iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?, r.try_get(2)?)))
            .collect::<Result<Vec<(String, String, i64)>, sqlx::Error>>());
        let rows = rows.map_err(StoreError::Read)?;
        Ok(Counters { rows, now_minute: self.clock().now_us() / MINUTE_US })
    }

    /// The destinations that have tasks to claim, with the moment at which the first is due. One look
    /// into an index each.
    pub async fn due(&self) -> Result<Vec<Due>, StoreError> {
        let counters = self.counters().await?;
        let mut all = Vec::new();
        for destination in counters.destinations() {
            let waiting = counters.tasks_of(&destination, TaskStatus::Queued)
                + counters.tasks_of(&destination, TaskStatus::Retrying);
            if waiting <= 0 {
                continue;
            }
            let first: Option<i64> = on_db!(self.db(), pool => sqlx::query_scalar(
                "select due_us from task where destination = $1
                     and status in ('queued', 'retrying') and needs = 0
                 order by due_us, id limit 1")
                .bind(&destination).fetch_optional(pool).await.map_err(StoreError::Read)?);
            if let Some(us) = first {
                all.push(Due { destination, at: from_micros(us) });
            }
        }
        Ok(all)
    }

    /// When the oldest task that is queued and could run became due, for one destination or all.
    pub async fn oldest_queued(
        &self,
        counters: &Counters,
        only: Option<&str>,
    ) -> Result<Option<i64>, StoreError> {
        let mut oldest: Option<i64> = None;
        let names = only.map_or_else(|| counters.destinations(), |name| vec![name.to_owned()]);
        for destination in names {
            if counters.tasks_of(&destination, TaskStatus::Queued) <= 0 {
                continue;
            }
            let first: Option<i64> = on_db!(self.db(), pool => sqlx::query_scalar(
                "select due_us from task where destination = $1
                     and status in ('queued', 'retrying') and needs = 0 and status = 'queued'
                 order by due_us, id limit 1")
                .bind(&destination).fetch_optional(pool).await.map_err(StoreError::Read)?);
            oldest = match (oldest, first) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(oldest)
    }
}
