//! Plans: frozen sets of exact ids, and what was said of each.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::query::Selection;
use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Refusal, Store, StoreError, on_db};
use crate::id::{EventId, PlanId, RequestId, TaskId};
use crate::timeline::What;

/// How long a plan may be run.
pub(crate) const PLAN_LIFE_US: i64 = 3_600_000_000;
/// Items written in one transaction, so that live traffic is never kept waiting for long.
pub(super) const ITEMS_PER_WRITE: usize = 1000;

/// A plan as it is kept.
#[derive(Debug, Clone)]
pub struct PlanRow {
    pub id: PlanId,
    pub action: String,
    pub mode: String,
    pub q: Option<String>,
    pub hash: String,
    pub who: String,
    pub created_us: i64,
    pub expires_us: i64,
    pub used_us: Option<i64>,
    /// What was said of it, as JSON.
    pub summary: String,
}

/// One member of a plan or a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow {
    pub place: i64,
    pub item: Item,
    /// The status and the attempt that it had when the plan was made.
    pub status: String,
    pub attempt: i64,
    /// `run`, `run_at_risk`, `skip` or `blocked`.
    pub would: String,
    pub destination: Option<String>,
    pub event_id: Option<EventId>,
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
    })
}

impl Store {
    /// Tasks of a selection as items of a plan, the oldest first.
    pub(crate) async fn plan_tasks(
        &self,
        selection: &Selection,
        limit: usize,
    ) -> Result<Vec<(ItemRow, i64)>, StoreError> {
        let query =
            selection.select("t.id, t.event_id, t.status, t.attempt, t.destination, e.received_us");
        let rows = query.fetch(self.db(), " order by t.id", limit).await?;
        rows.iter()
            .map(|row| {
                let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
                let event: Vec<u8> = row.try_get(1).map_err(StoreError::Read)?;
                let item = ItemRow {
                    place: 0,
                    item: Item::read(&id, false)?,
                    status: text(row, 2)?,
                    attempt: row.try_get(3).map_err(StoreError::Read)?,
                    would: String::new(),
                    destination: Some(text(row, 4)?),
                    event_id: EventId::from_bytes(&event),
                };
                Ok((item, row.try_get(5).map_err(StoreError::Read)?))
            })
            .collect()
    }

    /// Keeps a plan: its items first, in several transactions, then the plan itself.
    pub(crate) async fn keep_plan(
        &self,
        plan: PlanRow,
        items: Vec<ItemRow>,
    ) -> Result<(), StoreError> {
        for group in items.chunks(ITEMS_PER_WRITE) {
            let (id, group) = (plan.id, group.to_vec());
            self.write(move |tx| insert_items(tx, id, &group)).await?;
        }
        let total = items.len();
        self.write(move |tx| {
            tx.run(
                "insert into plan (id, action, mode, q, hash, who, created_us, expires_us, summary)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
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
                ],
            )?;
            timeline::append(
                tx,
                &Row {
                    detail: Some(timeline::detail(&[
                        ("plan", plan.id.to_string().into()),
                        ("who", plan.who.as_str().into()),
                        ("items", total.into()),
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
            "select id, action, mode, q, hash, who, created_us, expires_us, used_us, summary
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
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select place, item, is_request, status, attempt, would, destination, event_id
             from plan_item where plan_id = $1 and place > $2 order by place limit $3")
            .bind(plan.bytes().as_slice()).bind(behind)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let item: Vec<u8> = row.try_get(1).map_err(StoreError::Read)?;
                let event: Option<Vec<u8>> = row.try_get(7).map_err(StoreError::Read)?;
                Ok(ItemRow {
                    place: row.try_get(0).map_err(StoreError::Read)?,
                    item: Item::read(&item, row.try_get(2).map_err(StoreError::Read)?)?,
                    status: text(row, 3)?,
                    attempt: row.try_get(4).map_err(StoreError::Read)?,
                    would: text(row, 5)?,
                    destination: row.try_get(6).map_err(StoreError::Read)?,
                    event_id: event.and_then(|b| EventId::from_bytes(&b)),
                })
            })
            .collect()
    }

    /// How many members of a plan are no longer as they were when it was made.
    pub async fn plan_changes(&self, plan: PlanId) -> Result<u64, StoreError> {
        let count: i64 = on_db!(self.db(), pool => sqlx::query_scalar(
            "select count(*) from plan_item i
             left join task t on i.is_request = 0 and t.id = i.item
             left join request r on i.is_request = 1 and r.id = i.item
             where i.plan_id = $1 and (coalesce(t.status, r.status) is null
                or coalesce(t.status, r.status) <> i.status
                or (t.attempt is not null and t.attempt <> i.attempt))")
            .bind(plan.bytes().as_slice()).fetch_one(pool).await.map_err(StoreError::Read)?);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Marks a plan as used, or says why it cannot be.
    pub(crate) async fn take_plan(&self, plan: PlanId) -> Result<(), StoreError> {
        self.write(move |tx| use_plan(tx, plan)).await
    }
}

fn insert_items(tx: &Tx<'_>, plan: PlanId, items: &[ItemRow]) -> Result<(), StoreError> {
    for item in items {
        tx.run(
            "insert into plan_item (plan_id, place, item, is_request, status, attempt, would,
                destination, event_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            params![
                plan.bytes(),
                item.place,
                item.item.bytes(),
                item.item.is_request(),
                item.status,
                item.attempt,
                item.would,
                item.destination,
                item.event_id.as_ref().map(|id| id.bytes().as_slice()),
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
