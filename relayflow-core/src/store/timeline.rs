//! What happened, in order. A row holds what was written down together, and is read as several
//! entries, so that the common path writes one row for an event that came in.

use rusqlite::params;
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::writer::Tx;
use super::{Store, StoreError, on_db};
use crate::clock::from_micros;
use crate::id::{EventId, ReplayId, RequestId, TaskId};
use crate::task::TaskStatus;
use crate::timeline::{ENTRIES_PER_ROW, Entry, What};

/// The tasks of an event beyond this many get timeline rows of their own.
const TASKS_PER_ROW: usize = 12;

/// A row that holds one entry.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: What,
    pub(super) request_id: Option<RequestId>,
    pub(super) event_id: Option<EventId>,
    pub(super) task_id: Option<TaskId>,
    pub(super) replay_id: Option<ReplayId>,
    pub(super) attempt: Option<u32>,
    pub(super) detail: Option<String>,
}

impl Row {
    pub(super) fn new(what: What) -> Self {
        Self {
            what,
            request_id: None,
            event_id: None,
            task_id: None,
            replay_id: None,
            attempt: None,
            detail: None,
        }
    }
}

/// A detail object as text, without what is null.
pub(super) fn detail(members: &[(&str, Value)]) -> String {
    let mut object = Map::new();
    for (name, value) in members.iter().filter(|(_, v)| !v.is_null()) {
        object.insert((*name).to_owned(), value.clone());
    }
    Value::Object(object).to_string()
}

const INSERT: &str = "
    insert into timeline (seq, at_us, what, request_id, event_id, task_id, replay_id, attempt, detail)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

pub(super) fn append(tx: &mut Tx<'_>, row: &Row) -> Result<(), StoreError> {
    let seq = tx.next_seq();
    tx.run(
        INSERT,
        params![
            seq,
            tx.now_us,
            row.what.as_str(),
            row.request_id.as_ref().map(|id| id.bytes().as_slice()),
            row.event_id.as_ref().map(|id| id.bytes().as_slice()),
            row.task_id.as_ref().map(|id| id.bytes().as_slice()),
            row.replay_id.as_ref().map(|id| id.bytes().as_slice()),
            row.attempt,
            row.detail,
        ],
    )?;
    Ok(())
}

/// All that is said of an event when it is committed.
pub(super) struct Committed<'a> {
    pub(super) request_id: RequestId,
    pub(super) event_id: EventId,
    pub(super) replay_id: Option<ReplayId>,
    pub(super) received_us: i64,
    pub(super) scheme: &'a str,
    pub(super) skew_ms: Option<i64>,
    pub(super) tasks: &'a [(TaskId, TaskStatus)],
}

/// One row for `received`, `verified`, `normalized`, `committed` and each task's first status.
pub(super) fn append_committed(tx: &mut Tx<'_>, said: &Committed<'_>) -> Result<(), StoreError> {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(96 + said.tasks.len() * 48);
    let _ = write!(text, r#"{{"received_us":{},"scheme":"#, said.received_us);
    crate::event::push_json(&mut text, said.scheme);
    if let Some(skew) = said.skew_ms {
        let _ = write!(text, r#","skew_ms":{skew}"#);
    }
    text.push_str(r#","tasks":["#);
    for (i, (id, status)) in said.tasks.iter().take(TASKS_PER_ROW).enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(text, r#"{comma}["{id}","{status}"]"#);
    }
    text.push_str("]}");
    append(
        tx,
        &Row {
            request_id: Some(said.request_id),
            event_id: Some(said.event_id),
            replay_id: said.replay_id,
            detail: Some(text),
            ..Row::new(What::Committed)
        },
    )?;
    for (id, status) in said.tasks.iter().skip(TASKS_PER_ROW) {
        append(
            tx,
            &Row {
                event_id: Some(said.event_id),
                task_id: Some(*id),
                ..Row::new(of_status(*status))
            },
        )?;
    }
    Ok(())
}

/// The entry that a task's new status is.
pub(super) fn of_status(status: TaskStatus) -> What {
    match status {
        TaskStatus::Queued => What::Queued,
        TaskStatus::Running => What::Running,
        TaskStatus::Retrying => What::Retrying,
        TaskStatus::Ok => What::Ok,
        TaskStatus::Dead => What::Dead,
        TaskStatus::Discarded => What::Discarded,
        TaskStatus::Skipped => What::Skipped,
    }
}

const COLUMNS: &str = "select seq, at_us, what, request_id, event_id, task_id, replay_id, attempt, detail from timeline";

type AnyRow = sqlx::sqlite::SqliteRow;

fn expand(row: &AnyRow) -> Result<Vec<Entry>, StoreError> {
    let seq: i64 = row.try_get(0).map_err(StoreError::Read)?;
    let at_us: i64 = row.try_get(1).map_err(StoreError::Read)?;
    let word: String = row.try_get(2).map_err(StoreError::Read)?;
    let bytes = |i: usize| row.try_get::<Option<Vec<u8>>, _>(i).map_err(StoreError::Read);
    let attempt: Option<i64> = row.try_get(7).map_err(StoreError::Read)?;
    let text: Option<String> = row.try_get(8).map_err(StoreError::Read)?;
    let what = What::from_word(&word).ok_or(StoreError::Value { what: "a timeline entry" })?;
    let entry = Entry {
        seq: seq * ENTRIES_PER_ROW,
        at: from_micros(at_us),
        what,
        request_id: bytes(3)?.and_then(|b| RequestId::from_bytes(&b)),
        event_id: bytes(4)?.and_then(|b| EventId::from_bytes(&b)),
        task_id: bytes(5)?.and_then(|b| TaskId::from_bytes(&b)),
        replay_id: bytes(6)?.and_then(|b| ReplayId::from_bytes(&b)),
        attempt: attempt.and_then(|n| u32::try_from(n).ok()),
        detail: text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default(),
    };
    Ok(if what == What::Committed {
        expand_committed(entry)
    } else if what == What::Replayed && entry.task_id.is_some() {
        let queued = Entry { seq: entry.seq + 1, what: What::Queued, detail: Map::new(), ..entry };
        vec![entry, queued]
    } else {
        vec![entry]
    })
}

fn expand_committed(row: Entry) -> Vec<Entry> {
    let received = row.detail.get("received_us").and_then(Value::as_i64);
    let received_at = received.map_or(row.at, from_micros);
    let tasks: Vec<Value> =
        row.detail.get("tasks").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut entries = Vec::with_capacity(4 + tasks.len());
    let mut push = |at, what, detail: Map<String, Value>, task_id, attempt| {
        let place = i64::try_from(entries.len()).unwrap_or(0);
        entries.push(Entry {
            seq: row.seq + place,
            at,
            what,
            task_id,
            attempt,
            detail,
            ..row.clone()
        });
    };
    let only = |names: &[&str]| -> Map<String, Value> {
        names.iter().filter_map(|n| Some(((*n).to_owned(), row.detail.get(*n)?.clone()))).collect()
    };
    push(received_at, What::Received, Map::new(), None, None);
    push(row.at, What::Verified, only(&["scheme", "skew_ms"]), None, None);
    push(row.at, What::Normalized, Map::new(), None, None);
    let mut count = Map::new();
    count.insert("tasks".to_owned(), tasks.len().into());
    push(row.at, What::Committed, count, None, None);
    for task in &tasks {
        let id = task.get(0).and_then(Value::as_str).and_then(|t| t.parse::<TaskId>().ok());
        let what = task.get(1).and_then(Value::as_str).and_then(What::from_word);
        if let (Some(id), Some(what)) = (id, what) {
            push(row.at, what, Map::new(), Some(id), (what == What::Running).then_some(1));
        }
    }
    entries
}

/// Whose entries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Event(EventId),
    /// Entries of the request itself: a rejection, a reading that failed.
    Request(RequestId),
    Replay(ReplayId),
}

impl Store {
    /// The entries of one thing, in order; at most about `limit`.
    pub async fn timeline_of(&self, of: Of, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (condition, id) = match &of {
            Of::Event(id) => ("event_id = $1", id.bytes()),
            Of::Request(id) => ("request_id = $1 and event_id is null", id.bytes()),
            Of::Replay(id) => ("replay_id = $1", id.bytes()),
        };
        let sql = format!("{COLUMNS} where {condition} order by seq limit $2");
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.as_slice()).bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        flatten(&rows)
    }

    /// Entries behind `after` (an entry's `seq`), in order.
    pub async fn timeline_after(&self, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let sql = format!("{COLUMNS} where seq >= $1 order by seq limit $2");
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(after.div_euclid(ENTRIES_PER_ROW)).bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut entries = flatten(&rows)?;
        entries.retain(|e| e.seq > after);
        Ok(entries)
    }

    /// The `seq` of the last entry that a tail which begins now has behind it.
    pub async fn timeline_end(&self) -> Result<i64, StoreError> {
        let last: i64 = on_db!(self.db(), pool => sqlx::query_scalar(
            "select coalesce(max(seq), 0) from timeline")
            .fetch_one(pool).await.map_err(StoreError::Read)?);
        Ok(last * ENTRIES_PER_ROW + ENTRIES_PER_ROW - 1)
    }

    /// The `seq` behind which a tail begins that wants what happened since `us`.
    pub async fn timeline_since(&self, us: i64) -> Result<i64, StoreError> {
        // Rows are in the order of time but for steps of the clock: a search by halves finds the place.
        let (mut low, mut high) = (0, self.timeline_end().await?.div_euclid(ENTRIES_PER_ROW));
        while low < high {
            let middle = low + (high - low) / 2;
            let at: Option<i64> = on_db!(self.db(), pool => sqlx::query_scalar(
                "select at_us from timeline where seq >= $1 order by seq limit 1")
                .bind(middle).fetch_optional(pool).await.map_err(StoreError::Read)?);
            if at.is_some_and(|at| at < us) { low = middle + 1 } else { high = middle }
        }
        Ok(low * ENTRIES_PER_ROW - 1)
    }

    /// Notes that a destination's circuit opened or closed.
    pub fn note_circuit(&self, destination: &str, is_open: bool) {
        let destination = destination.to_owned();
        let what = if is_open { What::CircuitOpen } else { What::CircuitClosed };
        self.write_later(move |tx| {
            append(
                tx,
                &Row {
                    detail: Some(detail(&[("destination", destination.as_str().into())])),
                    ..Row::new(what)
                },
            )
        });
    }
}

fn flatten(rows: &[AnyRow]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        entries.extend(expand(row)?);
    }
    Ok(entries)
}
