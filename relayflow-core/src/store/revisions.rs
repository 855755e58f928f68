//! Readings of an event after the first: as another configuration reads it, or with a payload that
//! somebody mended. The event and its request stay as they are.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::plans::{Reading, text};
use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Refusal, Store, StoreError, on_db};
use crate::clock::from_micros;
use crate::event::{IntegrationEvent, Payload};
use crate::id::{EventId, PlanId, TaskId};
use crate::timeline::What;

/// A payload that somebody edited, and how it reads.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) event: EventId,
    pub(crate) who: String,
    pub(crate) reason: String,
    pub(crate) payload: String,
    pub(crate) reading: Reading,
}

/// A reading of an event, and who wanted it.
#[derive(Debug, Clone)]
pub struct RevisionRow {
    /// From 1.
    pub number: i64,
    pub at_us: i64,
    pub who: String,
    pub reason: Option<String>,
    /// The plan that wanted it; `None` if somebody edited the payload.
    pub plan_id: Option<PlanId>,
    pub reading: Reading,
    /// `None`: the payload as it came in.
    pub payload: Option<String>,
}

impl RevisionRow {
    /// The event as this revision reads it. What makes it that event stays: its id, key and request.
    #[must_use]
    pub fn of(self, event: &IntegrationEvent) -> IntegrationEvent {
        let reading = self.reading;
        IntegrationEvent {
            event_type: reading.event_type,
            kind: reading.kind.map(Into::into),
            subject: reading.subject,
            occurred_at: from_micros(reading.occurred_us),
            attributes: reading.attributes,
            contract: reading.contract.into(),
            payload: self.payload.map_or_else(|| event.payload.clone(), Payload::Converted),
            ..event.clone()
        }
    }
}

const COLUMNS: &str = "number, at_us, who, reason, plan_id, type, kind, subject, occurred_us,
    attributes, contract, payload";

fn read(row: &SqliteRow) -> Result<RevisionRow, StoreError> {
    let maybe = |i: usize| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
    let number = |i: usize| row.try_get::<i64, _>(i).map_err(StoreError::Read);
    let plan: Option<Vec<u8>> = row.try_get(4).map_err(StoreError::Read)?;
    Ok(RevisionRow {
        number: number(0)?,
        at_us: number(1)?,
        who: text(row, 2)?,
        reason: maybe(3)?,
        plan_id: plan.and_then(|bytes| PlanId::from_bytes(&bytes)),
        reading: Reading {
            event_type: text(row, 5)?,
            kind: maybe(6)?,
            subject: maybe(7)?,
            occurred_us: number(8)?,
            attributes: text(row, 9)?,
            contract: text(row, 10)?,
        },
        payload: maybe(11)?,
    })
}

/// What of an event has not succeeded and does not run is read as of this revision from now on.
/// Answers those tasks.
pub(super) fn read_as(tx: &Tx<'_>, event: EventId, number: i64) -> Result<Vec<TaskId>, StoreError> {
    let tasks = tx.rows(
        "update task set revision = $1 where event_id = $2
            and status in ('dead', 'discarded', 'skipped', 'queued', 'retrying')
         returning id",
        params![number, event.bytes()],
        |r| r.get::<_, Vec<u8>>(0),
    )?;
    Ok(tasks.iter().filter_map(|id| TaskId::from_bytes(id)).collect())
}

/// Puts it on the timeline that somebody mended a payload.
pub(super) fn note_edited(
    tx: &mut Tx<'_>,
    event: EventId,
    number: i64,
    who: &str,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    timeline::append(
        tx,
        &Row {
            event_id: Some(event),
            detail: Some(timeline::detail(&[
                ("who", who.into()),
                ("reason", reason.into()),
                ("revision", number.into()),
            ])),
            ..Row::new(What::Edited)
        },
    )
}

impl Store {
    /// One revision of an event.
    pub(crate) async fn revision(
        &self,
        event: EventId,
        number: i64,
    ) -> Result<Option<RevisionRow>, StoreError> {
        let sql = format!("select {COLUMNS} from revision where event_id = $1 and number = $2");
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(event.bytes().as_slice()).bind(number)
            .fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.as_ref().map(read).transpose()
    }

    /// Keeps a reading of an edited payload, with which the event's tasks that have not succeeded and
    /// do not run are read from now on. Answers its number and those tasks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if the event has no such task.
    pub(crate) async fn edit(&self, edit: Edit) -> Result<(i64, Vec<TaskId>), StoreError> {
        self.write(move |tx| {
            let event = edit.event.bytes();
            let number = tx
                .row(
                    "select 1 + coalesce(max(number), 0) from revision where event_id = $1",
                    params![event],
                    |r| r.get::<_, i64>(0),
                )?
                .unwrap_or(1);
            let reading = &edit.reading;
            tx.run(
                "insert into revision (event_id, number, at_us, who, reason, type, kind, subject,
                    occurred_us, attributes, contract, payload)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                params![
                    event,
                    number,
                    tx.now_us,
                    edit.who,
                    edit.reason,
                    reading.event_type,
                    reading.kind,
                    reading.subject,
                    reading.occurred_us,
                    reading.attributes,
                    reading.contract,
                    edit.payload,
                ],
            )?;
            let tasks = read_as(tx, edit.event, number)?;
            if tasks.is_empty() {
                return Err(StoreError::Refused {
                    why: format!("`{}` has no task that could run again", edit.event),
                    code: Refusal::State,
                });
            }
            note_edited(tx, edit.event, number, &edit.who, Some(&edit.reason))?;
            Ok((number, tasks))
        })
        .await
    }

    /// The revisions of an event, in order.
    pub async fn revisions(&self, event: EventId) -> Result<Vec<RevisionRow>, StoreError> {
        let sql = format!(
            "select {COLUMNS} from revision where event_id = $1 order by number limit 1000"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(event.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read).collect()
    }
}
