//! Readings of an event after the first: as another configuration reads it, or with a payload that
//! somebody mended. The event and its request stay as they are.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::plans::{Reading, text};
use super::{Store, StoreError, on_db};
use crate::clock::from_micros;
use crate::event::{IntegrationEvent, Payload};
use crate::id::{EventId, PlanId};

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
