//! What is drawn over time. Each of these reads a bounded part of the store, the latest first, and says
//! whether that was all.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::stats::{MINUTE_US, MINUTES_KEPT};
use super::{Store, StoreError, on_db};
use crate::id::ReplayId;
use crate::timeline::ENTRIES_PER_ROW;

/// Rows of the timeline that are looked at for one destination: some are of others.
const LOOKED_AT_MAX: i64 = 200_000;

/// One attempt that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Counted from 1; of a replay from its own first.
    pub attempt: u32,
    pub ended_us: i64,
    pub latency_us: i64,
    pub is_ok: bool,
}

/// Attempts, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sampled {
    pub samples: Vec<Sample>,
    /// Whether there are no others.
    pub is_whole: bool,
}

/// One minute's counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinuteRow {
    /// When it began.
    pub at_us: i64,
    pub events: i64,
    pub ok: i64,
    pub attempts: i64,
    pub retries: i64,
    /// By how many there were more dead letters at its end.
    pub died: i64,
}

fn read(rows: &[sqlx::sqlite::SqliteRow], limit: usize) -> Result<Sampled, StoreError> {
    let sample = |row: &sqlx::sqlite::SqliteRow| {
        let attempt: i64 = row.try_get(0)?;
        Ok(Sample {
            attempt: u32::try_from(attempt).unwrap_or(1),
            ended_us: row.try_get(1)?,
            latency_us: row.try_get::<i64, _>(2)?.max(0),
            is_ok: row.try_get::<String, _>(3)? == "ok",
        })
    };
    let samples: Result<Vec<_>, sqlx::Error> = rows.iter().map(sample).collect();
    let is_whole = rows.len() < limit;
    Ok(Sampled { samples: samples.map_err(StoreError::Read)?, is_whole })
}

impl Store {
    /// Attempts at a destination that ended since `from_us`, at most `limit`.
    pub async fn attempts_at(
        &self,
        destination: &str,
        from_us: i64,
        limit: usize,
    ) -> Result<Sampled, StoreError> {
        let end = self.timeline_end().await?.div_euclid(ENTRIES_PER_ROW);
        let since = (self.timeline_since(from_us).await? + 1).div_euclid(ENTRIES_PER_ROW);
        let first = since.max(end - LOOKED_AT_MAX);
        // The timeline first: it is read backwards, and of the tasks only those that it names.
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select t.attempt, t.at_us, cast(t.detail ->> '$.latency_us' as integer), t.what
             from timeline t cross join task k on k.id = t.task_id
             where t.seq >= $1 and t.at_us >= $2 and t.what in ('ok', 'retrying', 'dead')
                 and t.attempt is not null and t.detail ->> '$.latency_us' is not null
                 and k.destination = $3
             order by t.seq desc limit $4")
            .bind(first).bind(from_us).bind(destination)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut sampled = read(&rows, limit)?;
        sampled.is_whole &= since == first;
        Ok(sampled)
    }

    /// Attempts that a replay led to and that ended until `to_us`, at most `limit`.
    pub async fn attempts_of(
        &self,
        replay: ReplayId,
        to_us: i64,
        limit: usize,
    ) -> Result<Sampled, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select a.attempt - i.attempt, a.ended_us, a.ended_us - a.started_us, a.status
             from replay_item i cross join attempt a
                 on a.task_id = i.item and a.attempt > i.attempt
             where i.replay_id = $1 and i.is_request = 0 and a.ended_us <= $2
                 and a.status in ('ok', 'failed', 'rejected')
             order by i.place desc, a.attempt desc limit $3")
            .bind(replay.bytes().as_slice()).bind(to_us)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        read(&rows, limit)
    }

    /// The last hour's minutes from the first of which anything is known, up to the present one.
    pub async fn minutes(&self) -> Result<Vec<MinuteRow>, StoreError> {
        let now = self.clock().now_us() / MINUTE_US;
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select name, of, sum(value) from counter
             where name in ('attempts', 'retries', 'minute.events', 'minute.ok', 'minute.dead')
             group by name, of")
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut minutes: BTreeMap<i64, MinuteRow> = BTreeMap::new();
        for row in &rows {
            let name: String = row.try_get(0).map_err(StoreError::Read)?;
            let of: String = row.try_get(1).map_err(StoreError::Read)?;
            let value: i64 = row.try_get(2).map_err(StoreError::Read)?;
            let Some(minute) = of.parse().ok().filter(|m| (now - MINUTES_KEPT..=now).contains(m))
            else {
                continue;
            };
            let kept = minutes.entry(minute).or_default();
            match name.as_str() {
                "attempts" => kept.attempts = value,
                "retries" => kept.retries = value,
                "minute.events" => kept.events = value,
                "minute.ok" => kept.ok = value,
                _ => kept.died = value,
            }
        }
        let Some(first) = minutes.keys().next().copied() else { return Ok(Vec::new()) };
        let minute = |minute| {
            let known = minutes.get(&minute).copied().unwrap_or_default();
            MinuteRow { at_us: minute * MINUTE_US, ..known }
        };
        Ok((first..=now).map(minute).collect())
    }
}
