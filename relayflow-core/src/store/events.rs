//! Events and tasks as they are read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::picking::Picked;
use super::query::{After, Found, Page, Selection, Sort, Statement, Way};
use super::requests::RequestWithBody;
use super::{EventContext, Store, StoreError, on_db};
use crate::clock::from_micros;
use crate::event::{IntegrationEvent, Payload};
use crate::id::{EventId, RequestId, TaskId, WorkerId};
use crate::request::CorrelationId;
use crate::task::TaskStatus;

/// How long is looked where all is wanted.
const UNHURRIED: Duration = Duration::from_secs(3600);

/// An event with what became of it.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub event: IntegrationEvent,
    pub status: TaskStatus,
    pub duplicates: i64,
    /// The highest attempt of any of its tasks.
    pub attempts: i64,
    /// Its tasks by status, in the order of [`TaskStatus::ALL`].
    pub tasks: [i64; 7],
}

/// A task as it stands, with what is said of its event in a list.
#[derive(Debug, Clone)]
pub struct TaskRow {
    pub id: TaskId,
    pub event_id: EventId,
    pub request_id: RequestId,
    pub correlation_id: CorrelationId,
    pub source: String,
    pub provider: String,
    pub event_type: String,
    pub received_us: i64,
    pub workflow: String,
    pub step: String,
    pub destination: String,
    pub status: TaskStatus,
    pub attempt: i64,
    pub failures: i64,
    pub due_us: i64,
    pub created_us: i64,
    pub ended_us: Option<i64>,
    pub reason: Option<String>,
    pub error: Option<String>,
    pub error_id: Option<String>,
    pub http_status: Option<i64>,
    pub worker: Option<WorkerId>,
}

/// An event with all that reading it again needs, and its tasks.
#[derive(Debug)]
pub(crate) struct KeptEvent {
    pub(crate) event: IntegrationEvent,
    pub(crate) request: Arc<RequestWithBody>,
    pub(crate) tasks: Vec<Picked>,
}

/// One run of a task.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    pub attempt: i64,
    pub status: String,
    pub started_us: i64,
    pub ended_us: Option<i64>,
    pub http_status: Option<i64>,
    pub error: Option<String>,
    pub response: Option<String>,
    pub worker: Option<WorkerId>,
}

const EVENT_COLUMNS: &str = "
    e.id, e.request_id, e.source, e.provider, e.type, e.kind, e.external_id, e.id_is_derived,
    e.subject, e.occurred_us, e.received_us, e.correlation_id, e.attributes, e.payload_from,
    e.payload_to, e.payload, e.contract, e.status, e.duplicates, e.attempts, e.queued, e.running,
    e.retrying, e.ok, e.dead, e.discarded, e.skipped";

pub(super) const TASK_COLUMNS: &str = "
    t.id, t.event_id, e.request_id, e.correlation_id, e.source, e.provider, e.type, e.received_us,
    t.workflow, t.step, t.destination, t.status, t.attempt, t.failures, t.due_us, t.created_us,
    t.ended_us, t.reason, t.error, t.error_id, t.http_status, t.worker";

/// Reads columns one after the other, so that a column added in the middle moves the rest.
struct Columns<'r> {
    row: &'r SqliteRow,
    next: usize,
}

impl<'r> Columns<'r> {
    fn new(row: &'r SqliteRow) -> Self {
        Self { row, next: 0 }
    }

    fn take<T>(&mut self) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let value = self.row.try_get(self.next).map_err(StoreError::Read)?;
        self.next += 1;
        Ok(value)
    }

    fn id<T>(&mut self, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, StoreError> {
        let bytes: Vec<u8> = self.take()?;
        read(&bytes).ok_or(StoreError::Value { what: "an id" })
    }

    fn status(&mut self) -> Result<TaskStatus, StoreError> {
        let word: String = self.take()?;
        TaskStatus::from_word(&word).ok_or(StoreError::Value { what: "a status" })
    }
}

/// A stored correlation id: none means the request's own.
pub(super) fn correlation(stored: Option<String>, request: RequestId) -> CorrelationId {
    stored
        .and_then(|text| CorrelationId::given(&text))
        .unwrap_or_else(|| CorrelationId::of(request))
}

fn read_event(c: &mut Columns<'_>) -> Result<(EventRow, Option<(i64, i64)>), StoreError> {
    let id = c.id(EventId::from_bytes)?;
    let request_id = c.id(RequestId::from_bytes)?;
    let source: String = c.take()?;
    let provider: String = c.take()?;
    let event_type = c.take()?;
    let kind: Option<String> = c.take()?;
    let external_id = c.take()?;
    let id_is_derived: bool = c.take()?;
    let subject = c.take()?;
    let occurred_at = from_micros(c.take()?);
    let received_at = from_micros(c.take()?);
    let correlation_id = correlation(c.take()?, request_id);
    let attributes = c.take()?;
    let (from, to): (Option<i64>, Option<i64>) = (c.take()?, c.take()?);
    let payload: Option<String> = c.take()?;
    let contract: String = c.take()?;
    let event = IntegrationEvent {
        id,
        request_id,
        source: source.into(),
        provider: provider.into(),
        event_type,
        kind: kind.map(Into::into),
        external_id,
        id_is_derived,
        signed_digest: None,
        subject,
        occurred_at,
        received_at,
        correlation_id,
        attributes,
        payload: Payload::Converted(payload.unwrap_or_else(|| "null".to_owned())),
        contract: contract.into(),
    };
    let status = c.status()?;
    let (duplicates, attempts) = (c.take()?, c.take()?);
    let mut tasks = [0; 7];
    for count in &mut tasks {
        *count = c.take()?;
    }
    Ok((EventRow { event, status, duplicates, attempts, tasks }, from.zip(to)))
}

fn read_task(c: &mut Columns<'_>) -> Result<TaskRow, StoreError> {
    let id = c.id(TaskId::from_bytes)?;
    let event_id = c.id(EventId::from_bytes)?;
    let request_id = c.id(RequestId::from_bytes)?;
    Ok(TaskRow {
        id,
        event_id,
        request_id,
        correlation_id: correlation(c.take()?, request_id),
        source: c.take()?,
        provider: c.take()?,
        event_type: c.take()?,
        received_us: c.take()?,
        workflow: c.take()?,
        step: c.take()?,
        destination: c.take()?,
        status: c.status()?,
        attempt: c.take()?,
        failures: c.take()?,
        due_us: c.take()?,
        created_us: c.take()?,
        ended_us: c.take()?,
        reason: c.take()?,
        error: c.take()?,
        error_id: c.take()?,
        http_status: c.take()?,
        worker: c.take::<Option<Vec<u8>>>()?.and_then(|b| WorkerId::from_bytes(&b)),
    })
}

/// A row of [`TASK_COLUMNS`].
pub(super) fn task_of(row: &SqliteRow) -> Result<TaskRow, StoreError> {
    read_task(&mut Columns::new(row))
}

/// Gives an event the bytes of its payload.
fn with_payload(row: &mut EventRow, range: Option<(i64, i64)>, body: impl Into<Bytes>) {
    let Some((from, to)) = range else {
        return;
    };
    if let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) {
        row.event.payload = Payload::Slice { body: body.into(), from, to };
    }
}

impl Store {
    /// A page of events, newest first, without their payloads; what is found of it `within` a time.
    pub async fn events(
        &self,
        selection: &Selection,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.events_by(selection, Way::Newest, before, limit).await
    }

    /// The same, as far as it is found `within` a time.
    pub async fn events_within(
        &self,
        selection: &Selection,
        before: Option<EventId>,
        limit: usize,
        within: Duration,
    ) -> Result<Found<EventRow, EventId>, StoreError> {
        let before = before.map(|id| id.bytes().to_vec());
        let page = Page { columns: EVENT_COLUMNS, order: "", limit };
        self.search(selection, page, before, within)
            .await?
            .read(|row| Ok(read_event(&mut Columns::new(&row))?.0), EventId::from_bytes)
    }

    /// A page of events in either order, from behind an id.
    pub async fn events_by(
        &self,
        selection: &Selection,
        way: Way,
        behind: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        if way == Way::Newest {
            return Ok(self.events_within(selection, behind, limit, UNHURRIED).await?.rows);
        }
        let beyond = format!("e.id {} ", way.beyond());
        let narrow = |query: &mut Statement, id: &EventId| {
            query.and(&beyond, id.bytes().to_vec());
        };
        let cursor = |row: &SqliteRow| Columns::new(row).id(EventId::from_bytes);
        let order = format!(" order by e.id {}", way.order());
        let page = Page { columns: EVENT_COLUMNS, order: &order, limit };
        let rows = self.rows(selection, page, behind, narrow, cursor).await?;
        rows.iter().map(|row| Ok(read_event(&mut Columns::new(row))?.0)).collect()
    }

    /// A page of events in another order, each with its place in it.
    pub async fn events_sorted(
        &self,
        selection: &Selection,
        sort: Sort,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<(EventRow, After)>, StoreError> {
        let columns = (EVENT_COLUMNS, "e.id");
        let rows = self.sorted_rows(selection, columns, sort, after, limit).await?;
        rows.into_iter()
            .map(|(row, place)| Ok((read_event(&mut Columns::new(&row))?.0, place)))
            .collect()
    }

    /// A page of tasks (dead ones, if the selection is over those) in another order.
    pub async fn tasks_sorted(
        &self,
        selection: &Selection,
        sort: Sort,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<(TaskRow, After)>, StoreError> {
        let columns = (TASK_COLUMNS, "t.id");
        let rows = self.sorted_rows(selection, columns, sort, after, limit).await?;
        rows.into_iter().map(|(row, place)| Ok((task_of(&row)?, place))).collect()
    }

    /// How many events the selection has, counting no further than `most` and no longer than `within`:
    /// so many, and whether that is all.
    pub async fn count_events(
        &self,
        selection: &Selection,
        most: usize,
        within: Duration,
    ) -> Result<(usize, bool), StoreError> {
        let page = Page { columns: "e.id", order: "", limit: most + 1 };
        let found = self.search(selection, page, None, within).await?;
        let is_all = found.stopped_at.is_none() && found.rows.len() <= most;
        Ok((found.rows.len().min(most), is_all))
    }

    /// One event with its payload.
    pub async fn event(&self, id: EventId) -> Result<Option<EventRow>, StoreError> {
        let sql = format!(
            "select {EVENT_COLUMNS}, b.bytes from event e join request r on r.id = e.request_id
             join body b on b.id = r.body_id where e.id = $1"
        );
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.map(|row| {
            let mut columns = Columns::new(&row);
            let (mut event, range) = read_event(&mut columns)?;
            with_payload(&mut event, range, columns.take::<Vec<u8>>()?);
            Ok(event)
        })
        .transpose()
    }

    /// Events with their requests, bodies and tasks, to be read again. Each body is read once. Those
    /// that are gone are left out; at most [`Self::KEPT_MAX`] ids at once.
    pub(crate) async fn kept_events(&self, ids: &[EventId]) -> Result<Vec<KeptEvent>, StoreError> {
        let Some(last) = ids.last() else {
            return Ok(vec![]);
        };
        let sql = format!(
            "select {EVENT_COLUMNS} from event e where e.id in ({}) order by e.id",
            (1..=Self::KEPT_MAX).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
        );
        let rows = on_db!(self.db(), pool => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for place in 0..Self::KEPT_MAX {
                query = query.bind(ids.get(place).unwrap_or(last).bytes().to_vec());
            }
            query.fetch_all(pool).await.map_err(StoreError::Read)?
        });
        let read = rows
            .iter()
            .map(|row| read_event(&mut Columns::new(row)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let requests: Vec<RequestId> = read.iter().map(|(row, _)| row.event.request_id).collect();
        let requests = self.requests_with_bodies(&requests).await?;
        let mut tasks: HashMap<EventId, Vec<Picked>> = HashMap::new();
        for task in self.picked_of(&[], ids).await? {
            tasks.entry(task.item.event_id.unwrap_or(*last)).or_default().push(task);
        }
        let kept = read.into_iter().filter_map(|(mut row, range)| {
            let request = requests.get(&row.event.request_id)?;
            with_payload(&mut row, range, request.body.clone());
            let tasks = tasks.remove(&row.event.id).unwrap_or_default();
            Some(KeptEvent { event: row.event, request: Arc::clone(request), tasks })
        });
        Ok(kept.collect())
    }

    /// How many ids [`Self::kept_events`] takes.
    pub(crate) const KEPT_MAX: usize = 256;

    /// Events with the kept headers of their requests, as running their tasks needs them. At most 64
    /// ids at once: the statement has a fixed number of places, so that it stays prepared.
    pub(super) async fn event_contexts(
        &self,
        ids: &[EventId],
    ) -> Result<Vec<EventContext>, StoreError> {
        const PLACES: usize = 64;
        let Some(last) = ids.last() else {
            return Ok(vec![]);
        };
        let sql = format!(
            "select {EVENT_COLUMNS}, r.headers, b.bytes from event e
             join request r on r.id = e.request_id join body b on b.id = r.body_id
             where e.id in ({})",
            (1..=PLACES).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
        );
        let rows = on_db!(self.db(), pool => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for place in 0..PLACES {
                query = query.bind(ids.get(place).unwrap_or(last).bytes().to_vec());
            }
            query.fetch_all(pool).await.map_err(StoreError::Read)?
        });
        rows.iter()
            .map(|row| {
                let mut columns = Columns::new(row);
                let (mut event, range) = read_event(&mut columns)?;
                let headers: String = columns.take()?;
                with_payload(&mut event, range, columns.take::<Vec<u8>>()?);
                let headers = serde_json::from_str(&headers).unwrap_or_default();
                Ok(EventContext { event: event.event, headers: Arc::new(headers) })
            })
            .collect()
    }

    /// The events that requests brought, in their order.
    pub async fn events_of(&self, request: RequestId) -> Result<Vec<EventRow>, StoreError> {
        let sql = format!(
            "select {EVENT_COLUMNS} from event e
             where e.id = (select first_event_id from request where id = $1)
                or (e.request_id = $1 and e.place > 0)
             order by e.place limit 1000"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(request.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(|row| Ok(read_event(&mut Columns::new(row))?.0)).collect()
    }

    /// A page of tasks, newest first; what is found of it `within` a time.
    pub async fn tasks(
        &self,
        selection: &Selection,
        before: Option<TaskId>,
        limit: usize,
        within: Duration,
    ) -> Result<Found<TaskRow, TaskId>, StoreError> {
        let before = before.map(|id| id.bytes().to_vec());
        let page = Page { columns: TASK_COLUMNS, order: "", limit };
        self.search(selection, page, before, within)
            .await?
            .read(|row| task_of(&row), TaskId::from_bytes)
    }

    /// The tasks of an event, in the order of workflows and of their making.
    pub async fn tasks_of(&self, event: EventId) -> Result<Vec<TaskRow>, StoreError> {
        let sql = format!(
            "select {TASK_COLUMNS} from task t join event e on e.id = t.event_id
             where t.event_id = $1 order by t.id limit 1000"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(event.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(|row| read_task(&mut Columns::new(row))).collect()
    }

    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let sql = format!(
            "select {TASK_COLUMNS} from task t join event e on e.id = t.event_id where t.id = $1"
        );
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.map(|row| read_task(&mut Columns::new(&row))).transpose()
    }

    /// The attempts at a task, in order.
    pub async fn attempts(&self, task: TaskId) -> Result<Vec<AttemptRow>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select attempt, status, started_us, ended_us, http_status, error, response, worker
             from attempt where task_id = $1 order by attempt limit 1000")
            .bind(task.bytes().as_slice()).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let mut c = Columns::new(row);
                Ok(AttemptRow {
                    attempt: c.take()?,
                    status: c.take()?,
                    started_us: c.take()?,
                    ended_us: c.take()?,
                    http_status: c.take()?,
                    error: c.take()?,
                    response: c.take()?,
                    worker: c.take::<Option<Vec<u8>>>()?.and_then(|b| WorkerId::from_bytes(&b)),
                })
            })
            .collect()
    }

    /// Ids of events in a range, at most two: whether a prefix names one thing.
    pub async fn ids_between(
        &self,
        table: IdTable,
        low: &[u8; 16],
        high: &[u8; 16],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql = match table {
            IdTable::Event => "select id from event where id between $1 and $2 order by id limit 2",
            IdTable::Task => "select id from task where id between $1 and $2 order by id limit 2",
            IdTable::Request => {
                "select id from request where id between $1 and $2 order by id limit 2"
            }
            IdTable::Replay => {
                "select id from replay where id between $1 and $2 order by id limit 2"
            }
            IdTable::Reconcile => {
                "select id from reconcile where id between $1 and $2 order by id limit 2"
            }
            IdTable::Plan => "select id from plan where id between $1 and $2 order by id limit 2",
        };
        on_db!(self.db(), pool => sqlx::query_scalar(sql)
            .bind(low.as_slice()).bind(high.as_slice())
            .fetch_all(pool).await.map_err(StoreError::Read))
    }

    /// Source, type and correlation id of an event.
    pub async fn event_summary(
        &self,
        id: EventId,
    ) -> Result<Option<(String, String, CorrelationId)>, StoreError> {
        let row = on_db!(self.db(), pool => sqlx::query(
            "select source, type, correlation_id, request_id from event where id = $1")
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.map(|row| {
            let mut c = Columns::new(&row);
            let (source, event_type, given) = (c.take()?, c.take()?, c.take()?);
            Ok((source, event_type, correlation(given, c.id(RequestId::from_bytes)?)))
        })
        .transpose()
    }

    /// The correlation id that begins with `text`: `None` if none does, `Some(None)` if several do.
    pub async fn correlation_beginning(
        &self,
        text: &str,
    ) -> Result<Option<Option<CorrelationId>>, StoreError> {
        let mut found: Vec<CorrelationId> = Vec::new();
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (1..=32).contains(&digits.len()) {
            let bytes = |fill: char| {
                let padded: String =
                    digits.chars().chain(std::iter::repeat(fill)).take(32).collect();
                hex::decode(padded).unwrap_or_default()
            };
            let ids: Vec<Vec<u8>> = on_db!(self.db(), pool => sqlx::query_scalar(
                "select id from request where id between $1 and $2 and correlation_id is null
                 order by id limit 2")
                .bind(bytes('0')).bind(bytes('f'))
                .fetch_all(pool).await.map_err(StoreError::Read)?);
            found
                .extend(ids.iter().filter_map(|b| RequestId::from_bytes(b)).map(CorrelationId::of));
        }
        let high = format!("{text}\u{10ffff}");
        let given: Vec<String> = on_db!(self.db(), pool => sqlx::query_scalar(
            "select distinct correlation_id from request
             where correlation_id >= $1 and correlation_id < $2 order by correlation_id limit 2")
            .bind(text).bind(&high).fetch_all(pool).await.map_err(StoreError::Read)?);
        if let Some(whole) = given.iter().find(|id| *id == text) {
            return Ok(Some(CorrelationId::given(whole)));
        }
        found.extend(given.iter().filter_map(|id| CorrelationId::given(id)));
        Ok(match found.as_slice() {
            [] => None,
            [one] => Some(Some(one.clone())),
            _ => Some(None),
        })
    }

    /// Events under a correlation id, the oldest first.
    pub async fn events_correlated(
        &self,
        id: &CorrelationId,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = format!(
            "select {EVENT_COLUMNS} from event e where e.correlation_id = $1 order by e.id limit $2"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.as_str()).bind(limit).fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut events = rows
            .iter()
            .map(|row| Ok(read_event(&mut Columns::new(row))?.0))
            .collect::<Result<Vec<_>, StoreError>>()?;
        // A request that brought no id of its own is the id: its events bear none.
        if let Some(request) = RequestId::from_trace_id(id.as_str()) {
            let own = self.events_of(request).await?;
            events.extend(own.into_iter().filter(|e| e.event.correlation_id == *id));
        }
        Ok(events)
    }
}

/// Where an id can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdTable {
    Event,
    Task,
    Request,
    Replay,
    Plan,
    Reconcile,
}
