//! Replays and their items. An item moves together with its replay's cursor in one
//! transaction, so a replay goes on behind it after any crash.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::plans::{ITEMS_PER_WRITE, Item, ItemRow, text, use_plan};
use super::requests::discard_request;
use super::settle::{discard_task, move_event};
use super::stats::task_counter;
use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Refusal, Store, StoreError, on_db};
use crate::id::{EventId, PlanId, ReplayId, RequestId};
use crate::task::TaskStatus;
use crate::timeline::What;

/// A replay as it is kept, with its items counted.
#[derive(Debug, Clone)]
pub struct ReplayRow {
    pub id: ReplayId,
    pub plan_id: PlanId,
    pub action: String,
    pub mode: String,
    pub q: Option<String>,
    pub who: String,
    pub reason: Option<String>,
    pub created_us: i64,
    pub ended_us: Option<i64>,
    pub status: String,
    pub detail: Option<String>,
    pub rate: Option<f64>,
    pub cursor: i64,
    pub total: i64,
}

/// How an item of a replay stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemVerdict {
    pub place: i64,
    pub item: Item,
    pub event_id: Option<EventId>,
    pub destination: Option<String>,
    /// `pending`, `moved`, `ended`, `skipped` or `cancelled`.
    pub state: String,
    pub verdict: Option<String>,
}

/// What an operator does to a replay under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Pause,
    Resume,
    Cancel,
}

fn read_replay(row: &SqliteRow) -> Result<ReplayRow, StoreError> {
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    let plan: Vec<u8> = row.try_get(1).map_err(StoreError::Read)?;
    Ok(ReplayRow {
        id: ReplayId::from_bytes(&id).ok_or(StoreError::Value { what: "a replay's id" })?,
        plan_id: PlanId::from_bytes(&plan).ok_or(StoreError::Value { what: "a plan's id" })?,
        action: text(row, 2)?,
        mode: text(row, 3)?,
        q: row.try_get(4).map_err(StoreError::Read)?,
        who: text(row, 5)?,
        reason: row.try_get(6).map_err(StoreError::Read)?,
        created_us: row.try_get(7).map_err(StoreError::Read)?,
        ended_us: row.try_get(8).map_err(StoreError::Read)?,
        status: text(row, 9)?,
        detail: row.try_get(10).map_err(StoreError::Read)?,
        rate: row.try_get(11).map_err(StoreError::Read)?,
        cursor: row.try_get(12).map_err(StoreError::Read)?,
        total: row.try_get(13).map_err(StoreError::Read)?,
    })
}

const REPLAY_COLUMNS: &str =
    "id, plan_id, action, mode, q, who, reason, created_us, ended_us, status,
    detail, rate, cursor, total";

impl Store {
    /// Begins a replay of a plan. A plan runs once.
    pub(crate) async fn begin_replay(&self, replay: ReplayRow) -> Result<(), StoreError> {
        self.write(move |tx| {
            use_plan(tx, replay.plan_id)?;
            tx.run(
                "insert into replay (id, plan_id, action, mode, q, who, reason, created_us, status,
                    rate, cursor, total)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, 'running', $9, 0, $10)",
                params![
                    replay.id.bytes(),
                    replay.plan_id.bytes(),
                    replay.action,
                    replay.mode,
                    replay.q,
                    replay.who,
                    replay.reason,
                    replay.created_us,
                    replay.rate,
                    replay.total,
                ],
            )?;
            tx.count("replay.running", "", 1);
            timeline::append(
                tx,
                &Row {
                    replay_id: Some(replay.id),
                    detail: Some(timeline::detail(&[
                        ("who", replay.who.as_str().into()),
                        ("reason", replay.reason.as_deref().into()),
                        ("plan", replay.plan_id.to_string().into()),
                        ("items", replay.total.into()),
                    ])),
                    ..Row::new(What::Replayed)
                },
            )
        })
        .await
    }

    pub async fn replay(&self, id: ReplayId) -> Result<Option<ReplayRow>, StoreError> {
        let sql = format!("select {REPLAY_COLUMNS} from replay where id = $1");
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.as_ref().map(read_replay).transpose()
    }

    /// A page of replays, newest first.
    pub async fn replays(
        &self,
        before: Option<ReplayId>,
        limit: usize,
    ) -> Result<Vec<ReplayRow>, StoreError> {
        let before = before.map_or_else(|| vec![0xff; 16], |id| id.bytes().to_vec());
        let sql =
            format!("select {REPLAY_COLUMNS} from replay where id < $1 order by id desc limit $2");
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(before).bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read_replay).collect()
    }

    /// Replays that are not over.
    pub async fn open_replays(&self) -> Result<Vec<ReplayRow>, StoreError> {
        let sql = format!(
            "select {REPLAY_COLUMNS} from replay where status in ('running', 'paused') order by id"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read_replay).collect()
    }

    /// Replays that moved tasks of these events, or read these requests again.
    pub async fn replays_of(
        &self,
        events: &[EventId],
        requests: &[RequestId],
    ) -> Result<Vec<ReplayRow>, StoreError> {
        let of_event = format!(
            "select {REPLAY_COLUMNS} from replay where id in (select replay_id from timeline
                where event_id = $1 and replay_id is not null)"
        );
        let of_request = format!(
            "select {REPLAY_COLUMNS} from replay where id in (select replay_id from timeline
                where request_id = $1 and event_id is null and replay_id is not null)"
        );
        let wanted = events.iter().map(|id| (&of_event, id.bytes()));
        let wanted = wanted.chain(requests.iter().map(|id| (&of_request, id.bytes())));
        let mut found: Vec<ReplayRow> = Vec::new();
        for (sql, id) in wanted {
            let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
                .bind(id.as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
            for row in &rows {
                let replay = read_replay(row)?;
                if !found.iter().any(|r| r.id == replay.id) {
                    found.push(replay);
                }
            }
        }
        found.sort_by_key(|r| r.id);
        Ok(found)
    }

    /// How a replay's items stand: state and verdict, and how many.
    pub async fn replay_counts(
        &self,
        id: ReplayId,
    ) -> Result<Vec<(String, Option<String>, i64)>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select state, case when state = 'ended' then verdict end, count(*) from replay_item
             where replay_id = $1 group by 1, 2")
            .bind(id.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, 0)?,
                    row.try_get(1).map_err(StoreError::Read)?,
                    row.try_get(2).map_err(StoreError::Read)?,
                ))
            })
            .collect()
    }

    /// Items of a replay behind a place, with their verdicts; those that have not moved are pending.
    pub async fn replay_items(
        &self,
        replay: &ReplayRow,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<ItemVerdict>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select p.place, p.item, p.is_request, p.event_id, p.destination, i.state, i.verdict
             from plan_item p
             left join replay_item i on i.replay_id = $1 and i.place = p.place
             where p.plan_id = $2 and p.place > $3 order by p.place limit $4")
            .bind(replay.id.bytes().as_slice()).bind(replay.plan_id.bytes().as_slice()).bind(behind)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let item: Vec<u8> = row.try_get(1).map_err(StoreError::Read)?;
                let event: Option<Vec<u8>> = row.try_get(3).map_err(StoreError::Read)?;
                let state: Option<String> = row.try_get(5).map_err(StoreError::Read)?;
                let pending = if replay.status == "cancelled" { "cancelled" } else { "pending" };
                Ok(ItemVerdict {
                    place: row.try_get(0).map_err(StoreError::Read)?,
                    item: Item::read(&item, row.try_get(2).map_err(StoreError::Read)?)?,
                    event_id: event.and_then(|b| EventId::from_bytes(&b)),
                    destination: row.try_get(4).map_err(StoreError::Read)?,
                    state: state.unwrap_or_else(|| pending.to_owned()),
                    verdict: row.try_get(6).map_err(StoreError::Read)?,
                })
            })
            .collect()
    }

    /// Moves tasks back to execution, and the cursor behind them: one transaction. An item that is no
    /// longer as it was planned is passed over. Answers whether the replay still runs.
    pub(crate) async fn move_items(
        &self,
        replay: ReplayId,
        items: Vec<ItemRow>,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let Some(said) = said_of_running(tx, replay)? else {
                return Ok(false);
            };
            for item in &items {
                move_item(tx, replay, item, &said)?;
            }
            if let Some(last) = items.last() {
                tx.run(
                    "update replay set cursor = $1 where id = $2",
                    params![last.place, replay.bytes()],
                )?;
            }
            tx.has_due = true;
            Ok(true)
        })
        .await
    }

    /// Writes down how a request was read again.
    pub(crate) async fn end_request_item(
        &self,
        replay: ReplayId,
        item: ItemRow,
        state: &'static str,
        verdict: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            insert_replay_item(tx, replay, &item, state, Some(&verdict))?;
            tx.run(
                "update replay set cursor = $1 where id = $2 and cursor < $1",
                params![item.place, replay.bytes()],
            )?;
            Ok(())
        })
        .await
    }

    /// Gives moved items whose tasks have ended their verdicts. Answers how many are still under way.
    pub(crate) async fn settle_items(&self, replay: ReplayId) -> Result<i64, StoreError> {
        self.write(move |tx| {
            tx.run(
                "update replay_item set state = 'ended',
                    verdict = (select status from task where id = replay_item.item)
                 where replay_id = $1 and state = 'moved' and exists (select 1 from task t
                    where t.id = replay_item.item
                        and t.status in ('ok', 'dead', 'discarded', 'skipped'))",
                params![replay.bytes()],
            )?;
            let left = tx.row(
                "select count(*) from replay_item where replay_id = $1 and state = 'moved'",
                params![replay.bytes()],
                |r| r.get(0),
            )?;
            Ok(left.unwrap_or(0))
        })
        .await
    }

    /// Ends a replay all of whose items have their verdicts.
    pub(crate) async fn end_replay(&self, replay: ReplayId) -> Result<(), StoreError> {
        self.write(move |tx| {
            let ended = tx.run(
                "update replay set status = 'done', ended_us = $1
                 where id = $2 and status = 'running'",
                params![tx.now_us, replay.bytes()],
            )?;
            if ended == 1 {
                tx.count("replay.running", "", -1);
                tx.count("replay.done", "", 1);
            }
            Ok(())
        })
        .await
    }

    /// Pauses, resumes or cancels a replay.
    pub async fn control_replay(
        &self,
        id: ReplayId,
        control: Control,
        who: String,
        rate: Option<f64>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let was = tx
                .row("select status from replay where id = $1", params![id.bytes()], |r| {
                    r.get::<_, String>(0)
                })?
                .ok_or_else(|| StoreError::NotFound { id: id.to_string() })?;
            let (to, what) = match control {
                Control::Pause => ("paused", What::Paused),
                Control::Resume => ("running", What::Resumed),
                Control::Cancel => ("cancelled", What::Cancelled),
            };
            if was == to {
                return Ok(());
            }
            if was == "done" || was == "cancelled" {
                return Err(StoreError::Refused {
                    why: format!("`{id}` is {was} already"),
                    code: Refusal::State,
                });
            }
            let ended = (control == Control::Cancel).then_some(tx.now_us);
            tx.run(
                "update replay set status = $1, ended_us = $2, rate = coalesce($3, rate), detail = null
                 where id = $4",
                params![to, ended, rate, id.bytes()],
            )?;
            tx.count(replay_counter(&was), "", -1);
            tx.count(replay_counter(to), "", 1);
            timeline::append(tx, &Row {
                replay_id: Some(id),
                detail: Some(timeline::detail(&[("who", who.as_str().into())])),
                ..Row::new(what)
            })
        })
        .await
    }

    /// Discards tasks and requests. Answers how many were: those that moved on meanwhile are not.
    pub(crate) async fn discard_items(
        &self,
        items: Vec<ItemRow>,
        who: String,
        reason: String,
    ) -> Result<u64, StoreError> {
        let mut done = 0;
        for group in items.chunks(ITEMS_PER_WRITE) {
            let (group, who, reason) = (group.to_vec(), who.clone(), reason.clone());
            done += self.write(move |tx| discard_group(tx, &group, &reason, &who)).await?;
        }
        Ok(done)
    }
}

fn replay_counter(status: &str) -> &'static str {
    match status {
        "running" => "replay.running",
        "paused" => "replay.paused",
        "done" => "replay.done",
        _ => "replay.cancelled",
    }
}

fn discard_group(
    tx: &mut Tx<'_>,
    items: &[ItemRow],
    reason: &str,
    who: &str,
) -> Result<u64, StoreError> {
    let mut done = 0;
    for item in items {
        let discarded = match item.item {
            Item::Request(id) => discard_request(tx, id, reason, who)?,
            Item::Task(id) => match TaskStatus::from_word(&item.status) {
                Some(TaskStatus::Running) => {
                    tx.run(
                        "update task set discard = $1 where id = $2 and status = 'running'",
                        params![reason, id.bytes()],
                    )? == 1
                }
                Some(status) => discard_task(tx, id, status, reason, who)?,
                None => false,
            },
        };
        done += u64::from(discarded);
    }
    Ok(done)
}

/// Who started a replay and why, as its items' entries say it; `None` unless it is running.
fn said_of_running(tx: &Tx<'_>, replay: ReplayId) -> Result<Option<String>, StoreError> {
    let found = tx.row(
        "select who, reason from replay where id = $1 and status = 'running'",
        params![replay.bytes()],
        |r| Ok((r.get::<_, String>(0)?, r.get::<_, Option<String>>(1)?)),
    )?;
    Ok(found
        .map(|(who, reason)| timeline::detail(&[("who", who.into()), ("reason", reason.into())])))
}

fn insert_replay_item(
    tx: &Tx<'_>,
    replay: ReplayId,
    item: &ItemRow,
    state: &str,
    verdict: Option<&str>,
) -> Result<(), StoreError> {
    tx.run(
        "insert into replay_item (replay_id, place, item, is_request, state, verdict, attempt)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        params![
            replay.bytes(),
            item.place,
            item.item.bytes(),
            item.item.is_request(),
            state,
            verdict,
            item.attempt,
        ],
    )?;
    Ok(())
}

fn move_item(
    tx: &mut Tx<'_>,
    replay: ReplayId,
    item: &ItemRow,
    said: &str,
) -> Result<(), StoreError> {
    let Item::Task(id) = item.item else {
        return Ok(());
    };
    let from = TaskStatus::from_word(&item.status).filter(|s| s.is_ended() && *s != TaskStatus::Ok);
    let Some(from) = from.filter(|_| item.would.starts_with("run")) else {
        return insert_replay_item(tx, replay, item, "skipped", Some(&why_skipped(&item.status)));
    };
    let moved = tx.row(
        "update task set status = 'queued', failures = 0, lost_starts = 0, start_on_record = 0,
            due_us = $1, since_us = $1, ended_us = null, reason = null, discard = null
         where id = $2 and status = $3 and attempt = $4
         returning event_id, destination",
        params![tx.now_us, id.bytes(), item.status, item.attempt],
        |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, String>(1)?)),
    )?;
    let Some((event, destination)) = moved else {
        return insert_replay_item(tx, replay, item, "skipped", Some("no longer as planned"));
    };
    let event = EventId::from_bytes(&event).ok_or(StoreError::Value { what: "an event's id" })?;
    // What an earlier replay has still to be told of this task, it is told before the task moves on.
    tx.run(
        "update replay_item set state = 'ended', verdict = $1 where item = $2 and state = 'moved'",
        params![item.status, id.bytes()],
    )?;
    move_event(tx, event, from, TaskStatus::Queued, None)?;
    tx.count(task_counter(from), &destination, -1);
    tx.count(task_counter(TaskStatus::Queued), &destination, 1);
    insert_replay_item(tx, replay, item, "moved", None)?;
    timeline::append(
        tx,
        &Row {
            event_id: Some(event),
            task_id: Some(id),
            replay_id: Some(replay),
            detail: Some(said.to_owned()),
            // Read as two entries: `replayed`, and the task's new status.
            ..Row::new(What::Replayed)
        },
    )
}

fn why_skipped(status: &str) -> String {
    match status {
        "ok" => "already ok".to_owned(),
        other => format!("was {other}"),
    }
}
