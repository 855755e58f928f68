//! Plans: frozen sets of exact ids, and what was said of each.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Refusal, Store, StoreError, on_db};
use crate::event::IntegrationEvent;
use crate::id::{EventId, PlanId, RequestId, TaskId};
use crate::patch;
use crate::task::Line;
use crate::timeline::What;

/// How long a plan may be run.
pub(crate) const PLAN_LIFE_US: i64 = 3_600_000_000;
/// Items written in one transaction, so that live traffic is never kept waiting for long.
pub(super) const ITEMS_PER_WRITE: usize = 2000;
/// Changed items that are named.
const CHANGES_SHOWN: i64 = 5;

/// Ids in one statement.
pub(super) const IDS_PER_READ: usize = 256;

/// The status of a planned task that does not exist yet.
pub(crate) const NEW: &str = "new";

/// A plan as it is kept.
#[derive(Debug, Clone)]
pub struct PlanRow {
    pub id: PlanId,
    pub action: String,
    pub mode: String,
    /// `none` or `received`.
    pub order: String,
    pub q: Option<String>,
    pub hash: String,
    pub who: String,
    pub created_us: i64,
    pub expires_us: i64,
    pub used_us: Option<i64>,
    /// Items with a later event already done.
    pub late: i64,
    /// What was said of it, as JSON.
    pub summary: String,
}

/// One member of a plan or a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow {
    pub place: i64,
    pub item: Item,
    /// The status and the attempt that it had when the plan was made; `new` and 0 for a task that
    /// does not exist yet.
    pub status: String,
    pub attempt: i64,
    /// `run`, `run_at_risk`, `skip` or `blocked`.
    pub would: String,
    /// Whether a replay brings it back to execution. What is blocked may be: it waits then.
    pub moves: bool,
    /// Why it is skipped or blocked.
    pub why: Option<String>,
    /// Whether a later event of its subject has that step `ok` already.
    pub is_late: bool,
    /// With order `received`: of those with the same key, one at a time.
    pub key: Option<String>,
    pub destination: Option<String>,
    pub event_id: Option<EventId>,
    pub workflow: Option<String>,
    pub step: Option<String>,
    /// Of a new task: the steps that it needs, joined by spaces.
    pub need_names: Option<String>,
    /// Where its step is ordered.
    pub line: Option<Line>,
    /// As of which revision it reads its event; 0: as it came in.
    pub revision: i64,
}

/// What is replayed: a task, or an unreadable request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    Task(TaskId),
    Request(RequestId),
}

impl Item {
    pub(super) fn bytes(&self) -> &[u8; 16] {
        match self {
            Self::Task(id) => id.bytes(),
            Self::Request(id) => id.bytes(),
        }
    }

    pub(super) fn is_request(self) -> bool {
        matches!(self, Self::Request(_))
    }

    pub(super) fn read(bytes: &[u8], is_request: bool) -> Result<Self, StoreError> {
        let item = if is_request {
            RequestId::from_bytes(bytes).map(Self::Request)
        } else {
            TaskId::from_bytes(bytes).map(Self::Task)
        };
        item.ok_or(StoreError::Value { what: "an item's id" })
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Task(id) => id.fmt(f),
            Self::Request(id) => id.fmt(f),
        }
    }
}

/// A member of a plan that is no longer as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub item: Item,
    pub was: String,
    /// `None`: it is gone.
    pub is: Option<String>,
}

/// How an event of a plan reads today.
#[derive(Debug, Clone)]
pub(crate) struct PlanReading {
    pub event_id: EventId,
    pub reading: Reading,
    /// The payload that it was mended to; `None`: as it came in.
    pub payload: Option<String>,
    /// Where that differs from what it was made of.
    pub changes: Vec<patch::Change>,
}

/// The canonical fields that a reading of an event gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub event_type: String,
    pub kind: Option<String>,
    pub subject: Option<String>,
    pub occurred_us: i64,
    pub attributes: String,
    pub contract: String,
}

impl Reading {
    #[must_use]
    pub fn of(event: &IntegrationEvent) -> Self {
        Self {
            event_type: event.event_type.clone(),
            kind: event.kind.as_deref().map(str::to_owned),
            subject: event.subject.clone(),
            occurred_us: event.occurred_at.as_microsecond(),
            attributes: event.attributes.clone(),
            contract: event.contract.to_string(),
        }
    }
}

pub(super) fn text(row: &SqliteRow, i: usize) -> Result<String, StoreError> {
    row.try_get(i).map_err(StoreError::Read)
}

fn read_plan(row: &SqliteRow) -> Result<PlanRow, StoreError> {
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    Ok(PlanRow {
        id: PlanId::from_bytes(&id).ok_or(StoreError::Value { what: "a plan's id" })?,
        action: text(row, 1)?,
        mode: text(row, 2)?,
        q: row.try_get(3).map_err(StoreError::Read)?,
        hash: text(row, 4)?,
        who: text(row, 5)?,
        created_us: row.try_get(6).map_err(StoreError::Read)?,
        expires_us: row.try_get(7).map_err(StoreError::Read)?,
        used_us: row.try_get(8).map_err(StoreError::Read)?,
        summary: text(row, 9)?,
        order: text(row, 10)?,
        late: row.try_get(11).map_err(StoreError::Read)?,
    })
}

/// A key, and whether the dead hold its line.
fn read_line(row: &SqliteRow, at: usize) -> Result<Option<Line>, StoreError> {
    let key: Option<String> = row.try_get(at).map_err(StoreError::Read)?;
    let holds: Option<i64> = row.try_get(at + 1).map_err(StoreError::Read)?;
    Ok(key.map(|key| Line { key, holds_dead: holds == Some(1) }))
}

const ITEM_COLUMNS: &str = "p.place, p.item, p.is_request, p.status, p.attempt, p.would, p.moves,
    p.why, p.late, p.order_key, p.destination, p.event_id, p.workflow, p.step, p.need_names, p.revision,
    p.line_key, p.line_holds";

fn read_item(row: &SqliteRow) -> Result<ItemRow, StoreError> {
    let item: Vec<u8> = row.try_get(1).map_err(StoreError::Read)?;
    let event: Option<Vec<u8>> = row.try_get(11).map_err(StoreError::Read)?;
    let maybe = |i: usize| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
    Ok(ItemRow {
        place: row.try_get(0).map_err(StoreError::Read)?,
        item: Item::read(&item, row.try_get(2).map_err(StoreError::Read)?)?,
        status: text(row, 3)?,
        attempt: row.try_get(4).map_err(StoreError::Read)?,
        would: text(row, 5)?,
        moves: row.try_get(6).map_err(StoreError::Read)?,
        why: maybe(7)?,
        is_late: row.try_get(8).map_err(StoreError::Read)?,
        key: maybe(9)?,
        destination: maybe(10)?,
        event_id: event.and_then(|b| EventId::from_bytes(&b)),
        workflow: maybe(12)?,
        step: maybe(13)?,
        need_names: maybe(14)?,
        line: read_line(row, 16)?,
        revision: row.try_get(15).map_err(StoreError::Read)?,
    })
}

/// `$1, $2 …` of a statement with a fixed number of places, so that it stays prepared.
fn places(count: usize) -> String {
    (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

impl Store {
    /// Keeps a plan: its items first, in several transactions, then the plan itself.
    pub(crate) async fn keep_plan(
        &self,
        plan: PlanRow,
        items: Vec<ItemRow>,
        readings: Vec<PlanReading>,
    ) -> Result<(), StoreError> {
        let total = items.len();
        let mut items = items.into_iter();
        loop {
            let (id, group) = (plan.id, items.by_ref().take(ITEMS_PER_WRITE).collect::<Vec<_>>());
            if group.is_empty() {
                break;
            }
            self.write(move |tx| insert_items(tx, id, &group)).await?;
        }
        for group in readings.chunks(ITEMS_PER_WRITE) {
            let (id, group) = (plan.id, group.to_vec());
            self.write(move |tx| insert_readings(tx, id, &group)).await?;
        }
        self.write(move |tx| {
            tx.run(
                "insert into plan (id, action, mode, q, hash, who, created_us, expires_us, summary,
                    order_by, late)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                params![
                    plan.id.bytes(),
                    plan.action,
                    plan.mode,
                    plan.q,
                    plan.hash,
                    plan.who,
                    plan.created_us,
                    plan.expires_us,
                    plan.summary,
                    plan.order,
                    plan.late,
                ],
            )?;
            timeline::append(
                tx,
                &Row {
                    detail: Some(timeline::detail(&[
                        ("plan", plan.id.to_string().into()),
                        ("who", plan.who.as_str().into()),
                        ("items", total.into()),
                        ("mode", plan.mode.as_str().into()),
                        ("q", plan.q.as_deref().into()),
                    ])),
                    ..Row::new(What::Planned)
                },
            )
        })
        .await
    }

    pub async fn plan(&self, id: PlanId) -> Result<Option<PlanRow>, StoreError> {
        let row = on_db!(self.db(), pool => sqlx::query(
            "select id, action, mode, q, hash, who, created_us, expires_us, used_us, summary,
                order_by, late
             from plan where id = $1")
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.as_ref().map(read_plan).transpose()
    }

    /// Items of a plan behind a place, in order.
    pub async fn plan_items(
        &self,
        plan: PlanId,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<ItemRow>, StoreError> {
        let sql = format!(
            "select {ITEM_COLUMNS} from plan_item p where p.plan_id = $1 and p.place > $2
             order by p.place limit $3"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(plan.bytes().as_slice()).bind(behind)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read_item).collect()
    }

    /// The same, with where the payload of each item's event is mended first.
    pub async fn plan_items_with_changes(
        &self,
        plan: PlanId,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<(ItemRow, Vec<patch::Change>)>, StoreError> {
        let sql = format!(
            "select {ITEM_COLUMNS}, r.changes from plan_item p
             left join plan_reading r on r.plan_id = p.plan_id and r.event_id = p.event_id
             where p.plan_id = $1 and p.place > $2 order by p.place limit $3"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(plan.bytes().as_slice()).bind(behind)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let changes: Option<String> = row.try_get("changes").map_err(StoreError::Read)?;
                let changes = changes.and_then(|text| serde_json::from_str(&text).ok());
                Ok((read_item(row)?, changes.unwrap_or_default()))
            })
            .collect()
    }

    /// How long calls of these tasks took that were answered, on average and in µs; at most 256 of
    /// them are asked.
    pub(crate) async fn mean_call_us(&self, tasks: &[TaskId]) -> Result<Option<f64>, StoreError> {
        let Some(first) = tasks.first() else {
            return Ok(None);
        };
        let sql = format!(
            "select avg(ended_us - started_us) from attempt
             where status in ('ok', 'failed', 'rejected') and ended_us is not null
                and task_id in ({})",
            places(IDS_PER_READ)
        );
        Ok(on_db!(self.db(), pool => {
            let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
            for place in 0..IDS_PER_READ {
                query = query.bind(tasks.get(place).unwrap_or(first).bytes().as_slice());
            }
            query.fetch_one(pool).await.map_err(StoreError::Read)?
        }))
    }

    /// Items that may move now where those of one key go one at a time: of the `ahead` places behind
    /// the cursor those that have not moved, and before which no other of their key is to move or
    /// under way.
    pub(crate) async fn next_in_order(
        &self,
        replay: &super::ReplayRow,
        ahead: i64,
        limit: usize,
    ) -> Result<Vec<ItemRow>, StoreError> {
        let sql = format!(
            "select {ITEM_COLUMNS} from plan_item p
             where p.plan_id = $1 and p.place > $3 and p.place <= $4
                and not exists (select 1 from replay_item i
                    where i.replay_id = $2 and i.place = p.place)
                and (p.order_key is null or not exists (select 1 from plan_item q
                    left join replay_item j on j.replay_id = $2 and j.place = q.place
                    where q.plan_id = p.plan_id and q.order_key = p.order_key
                        and q.place < p.place and (j.state is null or j.state = 'moved')))
             order by p.place limit $5"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(replay.plan_id.bytes().as_slice()).bind(replay.id.bytes().as_slice())
            .bind(replay.cursor).bind(replay.cursor.saturating_add(ahead))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read_item).collect()
    }

    /// How many members of a plan that would move are no longer as they were when it was made, and
    /// the first few.
    pub async fn plan_changes(&self, plan: PlanId) -> Result<(u64, Vec<Change>), StoreError> {
        const CHANGED: &str = "
            from plan_item i
            left join task t on i.is_request = 0 and t.id = i.item
            left join request r on i.is_request = 1 and r.id = i.item
            left join task n on i.status = 'new' and n.event_id = i.event_id
                and n.workflow = i.workflow and n.step = i.step
            where i.plan_id = $1 and i.moves = 1 and case when i.status = 'new'
                then n.id is not null
                else coalesce(t.status, r.status) is null
                    or coalesce(t.status, r.status) <> i.status
                    or (t.attempt is not null and t.attempt <> i.attempt)
                    or coalesce(t.revision, 0) <> i.revision end";
        let count = format!("select count(*) {CHANGED}");
        let count: i64 = on_db!(self.db(), pool => sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .bind(plan.bytes().as_slice()).fetch_one(pool).await.map_err(StoreError::Read)?);
        let count = u64::try_from(count).unwrap_or(0);
        if count == 0 {
            return Ok((0, Vec::new()));
        }
        let sql = format!(
            "select i.item, i.is_request, i.status, case when t.revision <> i.revision then 'edited'
                else coalesce(n.status, t.status, r.status) end {CHANGED}
             order by i.place limit {CHANGES_SHOWN}"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(plan.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        let changes = rows.iter().map(|row| {
            let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
            Ok(Change {
                item: Item::read(&id, row.try_get(1).map_err(StoreError::Read)?)?,
                was: text(row, 2)?,
                is: row.try_get(3).map_err(StoreError::Read)?,
            })
        });
        Ok((count, changes.collect::<Result<_, StoreError>>()?))
    }

    /// Marks a plan as used, or says why it cannot be.
    pub(crate) async fn take_plan(&self, plan: PlanId) -> Result<(), StoreError> {
        self.write(move |tx| use_plan(tx, plan)).await
    }
}

fn insert_items(tx: &Tx<'_>, plan: PlanId, items: &[ItemRow]) -> Result<(), StoreError> {
    for item in items {
        tx.run(
            "insert into plan_item (plan_id, place, item, is_request, status, attempt, would, moves,
                why, late, order_key, destination, event_id, workflow, step, need_names, revision,
                line_key, line_holds)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                $19)",
            params![
                plan.bytes(),
                item.place,
                item.item.bytes(),
                item.item.is_request(),
                item.status,
                item.attempt,
                item.would,
                item.moves,
                item.why,
                item.is_late,
                item.key,
                item.destination,
                item.event_id.as_ref().map(|id| id.bytes().as_slice()),
                item.workflow,
                item.step,
                item.need_names,
                item.revision,
                item.line.as_ref().map(|line| line.key.as_str()),
                item.line.as_ref().is_some_and(|line| line.holds_dead),
            ],
        )?;
    }
    Ok(())
}

fn insert_readings(tx: &Tx<'_>, plan: PlanId, readings: &[PlanReading]) -> Result<(), StoreError> {
    for PlanReading { event_id, reading, payload, changes } in readings {
        let changes = payload.as_ref().and_then(|_| serde_json::to_string(changes).ok());
        tx.run(
            "insert into plan_reading (plan_id, event_id, type, kind, subject, occurred_us,
                attributes, contract, payload, changes)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            params![
                plan.bytes(),
                event_id.bytes(),
                reading.event_type,
                reading.kind,
                reading.subject,
                reading.occurred_us,
                reading.attributes,
                reading.contract,
                payload,
                changes,
            ],
        )?;
    }
    Ok(())
}

pub(super) fn use_plan(tx: &Tx<'_>, plan: PlanId) -> Result<(), StoreError> {
    let found = tx
        .row(
            "select used_us is not null, expires_us from plan where id = $1",
            params![plan.bytes()],
            |r| Ok((r.get::<_, bool>(0)?, r.get::<_, i64>(1)?)),
        )?
        .ok_or_else(|| StoreError::NotFound { id: plan.to_string() })?;
    let refuse = |why: String, code| Err(StoreError::Refused { why, code });
    match found {
        (true, _) => refuse(format!("`{plan}` has been used; make a new plan"), Refusal::PlanUsed),
        (_, expires) if expires < tx.now_us => {
            refuse(format!("`{plan}` has expired; make a new plan"), Refusal::PlanExpired)
        }
        _ => {
            tx.run("update plan set used_us = $1 where id = $2", params![tx.now_us, plan.bytes()])?;
            Ok(())
        }
    }
}
