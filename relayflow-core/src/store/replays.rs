//! Replays and how their items stand.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::plans::{Item, text, use_plan};
use super::timeline::{self, Row};
use super::{Refusal, Store, StoreError, on_db};
use crate::id::{EventId, PlanId, ReplayId, RequestId};
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
    /// Every item up to this place has moved, or was passed over.
    pub cursor: i64,
    pub total: i64,
    pub how: How,
    /// Items brought back to execution, and those of them that died or were discarded.
    pub moved: i64,
    pub failed: i64,
    /// Failures up to the last time that somebody resumed it.
    pub forgiven: i64,
    pub canary_is_over: bool,
    /// `operator`, `canary` (it went well, and asks), `canary_failed` or `stop_after`.
    pub paused_by: Option<String>,
}

/// How a replay goes about its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// `none` or `received`.
    pub order: String,
    /// Items with a later event already done: `apply` or `skip`.
    pub late: String,
    /// Items at once.
    pub concurrency: Option<i64>,
    /// First only so many.
    pub canary: Option<i64>,
    /// What follows a canary that went well: `go` or `ask`.
    pub after_canary: String,
    /// How many failures pause it.
    pub stop_after: Option<i64>,
}

impl Default for How {
    fn default() -> Self {
        Self {
            order: "none".to_owned(),
            late: "apply".to_owned(),
            concurrency: None,
            canary: None,
            after_canary: "go".to_owned(),
            stop_after: None,
        }
    }
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
    pub workflow: Option<String>,
    pub step: Option<String>,
    /// Of a dead or discarded one: the last error, as it is now.
    pub error: Option<String>,
}

/// Items that died of the same error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCount {
    pub error_id: Option<String>,
    pub error: Option<String>,
    pub count: i64,
    pub example: Item,
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
        how: How {
            order: text(row, 14)?,
            late: text(row, 15)?,
            concurrency: row.try_get(16).map_err(StoreError::Read)?,
            canary: row.try_get(17).map_err(StoreError::Read)?,
            after_canary: text(row, 18)?,
            stop_after: row.try_get(19).map_err(StoreError::Read)?,
        },
        moved: row.try_get(20).map_err(StoreError::Read)?,
        failed: row.try_get(21).map_err(StoreError::Read)?,
        forgiven: row.try_get(22).map_err(StoreError::Read)?,
        canary_is_over: row.try_get(23).map_err(StoreError::Read)?,
        paused_by: row.try_get(24).map_err(StoreError::Read)?,
    })
}

const REPLAY_COLUMNS: &str =
    "id, plan_id, action, mode, q, who, reason, created_us, ended_us, status,
    detail, rate, cursor, total, order_by, late, concurrency, canary, after_canary, stop_after,
    moved, failed, forgiven, canary_is_over, paused_by";

impl Store {
    /// Begins a replay of a plan. A plan runs once.
    pub(crate) async fn begin_replay(&self, replay: ReplayRow) -> Result<(), StoreError> {
        self.write(move |tx| {
            use_plan(tx, replay.plan_id)?;
            tx.run(
                "insert into replay (id, plan_id, action, mode, q, who, reason, created_us, status,
                    rate, cursor, total, order_by, late, concurrency, canary, after_canary, stop_after)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, 'running', $9, 0, $10, $11, $12, $13, $14,
                    $15, $16)",
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
                    replay.how.order,
                    replay.how.late,
                    replay.how.concurrency,
                    replay.how.canary,
                    replay.how.after_canary,
                    replay.how.stop_after,
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
                        ("mode", replay.mode.as_str().into()),
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

    /// Replays that stand still or were cancelled, and have items under way whose ends they are to be
    /// told.
    pub(crate) async fn unsettled_replays(&self) -> Result<Vec<ReplayId>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select id from replay where status in ('paused', 'cancelled') and id in (
                select replay_id from replay_item where state = 'moved')")
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
                ReplayId::from_bytes(&id).ok_or(StoreError::Value { what: "a replay's id" })
            })
            .collect()
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

    /// What a replay's dead items died of, the most frequent first.
    pub async fn replay_errors(&self, id: ReplayId) -> Result<Vec<ErrorCount>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select t.error_id, min(coalesce(t.error, r.detail)), count(*), min(i.item), i.is_request
             from replay_item i
             left join task t on i.is_request = 0 and t.id = i.item
             left join request r on i.is_request = 1 and r.id = i.item
             where i.replay_id = $1 and i.state = 'ended' and i.verdict in ('dead', 'discarded')
             group by t.error_id, i.is_request order by 3 desc limit 100")
            .bind(id.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let item: Vec<u8> = row.try_get(3).map_err(StoreError::Read)?;
                Ok(ErrorCount {
                    error_id: row.try_get(0).map_err(StoreError::Read)?,
                    error: row.try_get(1).map_err(StoreError::Read)?,
                    count: row.try_get(2).map_err(StoreError::Read)?,
                    example: Item::read(&item, row.try_get(4).map_err(StoreError::Read)?)?,
                })
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
            "select p.place, p.item, p.is_request, p.event_id, p.destination, i.state, i.verdict,
                p.workflow, p.step,
                case when i.verdict in ('dead', 'discarded') then coalesce(t.error, r.detail) end
             from plan_item p
             left join replay_item i on i.replay_id = $1 and i.place = p.place
             left join task t on p.is_request = 0 and t.id = p.item
             left join request r on p.is_request = 1 and r.id = p.item
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
                    workflow: row.try_get(7).map_err(StoreError::Read)?,
                    step: row.try_get(8).map_err(StoreError::Read)?,
                    error: row.try_get(9).map_err(StoreError::Read)?,
                })
            })
            .collect()
    }

    /// Pauses, resumes or cancels a replay.
    pub async fn control_replay(
        &self,
        id: ReplayId,
        control: Control,
        who: String,
        why: Option<String>,
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
            let by = (control == Control::Pause).then_some("operator");
            // Whoever resumes it has seen what failed so far.
            tx.run(
                "update replay set status = $1, ended_us = $2, rate = coalesce($3, rate), detail = null,
                    paused_by = $4, forgiven = failed, canary_is_over = canary_is_over or (
                        canary is not null and moved >= canary)
                 where id = $5",
                params![to, ended, rate, by, id.bytes()],
            )?;
            tx.count(replay_counter(&was), "", -1);
            tx.count(replay_counter(to), "", 1);
            timeline::append(tx, &Row {
                replay_id: Some(id),
                detail: Some(timeline::detail(&[
                    ("who", who.as_str().into()),
                    ("reason", why.as_deref().into()),
                ])),
                ..Row::new(what)
            })
        })
        .await
    }
}

pub(super) fn replay_counter(status: &str) -> &'static str {
    match status {
        "running" => "replay.running",
        "paused" => "replay.paused",
        "done" => "replay.done",
        _ => "replay.cancelled",
    }
}
