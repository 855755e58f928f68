//! From a query to a document: what the API answers and what `--db` prints, said once.

pub mod charts;
pub mod contracts;
mod convert;
mod dead;
pub mod doctor;
pub mod drift;
mod groups;
mod operate;
mod reconciles;
mod replays;
pub mod setup;
mod sorted;
mod trace;

use bytes::Bytes;

use crate::api::codes::Code;
use crate::api::{Event, List, Request, Task, TimelineEntry, Total, V};
use crate::event::micros;
use crate::filter::{Filter, FilterError, Now};
use crate::id::{EventId, PlanId, ReconcileId, ReplayId, RequestId, TaskId};
use crate::store::{
    CONTENT_TIME, EventRow, IdTable, Of, Over, QueryError, SEARCH_TIME, Selection, Store,
    StoreError, TaskRow, Way,
};
use crate::task::TaskStatus;
use crate::timeline::What;
pub(crate) use convert::shown_headers;
pub use dead::{dead_letter_groups, dead_letters};
pub use operate::{flow, queue_pause, queues, stats, worker, workers};
pub use reconciles::{reconcile, reconcile_items};
pub(crate) use replays::replay_counts;
pub use replays::{plan, plan_items, replay, replay_items, replays};
pub use sorted::sort_whole;
pub use trace::trace;

/// What a list counts to before it says "at least so many".
const COUNT_MAX: usize = 10_000;
/// By when a count must be there; until then it says at least how many.
const COUNT_TIME: std::time::Duration = std::time::Duration::from_millis(55);
/// The most entries of one timeline.
const TIMELINE_MAX: usize = 10_000;
/// The parts of the last while in which a group's dead letters are counted, and how long one is.
const RECENT_PARTS: usize = 10;
const RECENT_PART_US: i64 = 90_000_000;

/// A page of a list that is asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// A filter (`cli.md`, 4).
    pub q: Option<String>,
    pub limit: usize,
    /// `next_cursor` of the page before. `end`: the last page; its `next_cursor` leads to the page
    /// before it.
    pub cursor: Option<String>,
    /// A field, or `-` and a field: another order than the list's own.
    pub sort: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("`{0}` is not a cursor of this list; take `next_cursor` of the page before")]
    Cursor(String),
    #[error("`{}` is not an id{}", .0, no_id(.0))]
    Id(String),
    #[error("`{0}` does not exist")]
    NotFound(String),
    #[error("`{0}` begins more than one id; type more of it")]
    Ambiguous(String),
    #[error(
        "`{0}` is nothing to group by: wanted a field such as error, type, dest, workflow, http, \
         subject, attr.NAME or payload.PATH"
    )]
    By(String),
    #[error("`{field}` is nothing that this list can be sorted by: wanted {known}")]
    Sort { field: String, known: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a text that no id of the wanted kind is, or begins.
fn no_id(text: &str) -> &'static str {
    let known = ["evt_", "tsk_", "req_", "rpl_", "pln_", "drf_", "rcn_"];
    let Some(digits) = known.iter().find_map(|prefix| text.strip_prefix(prefix)) else {
        return ": they begin with evt_, tsk_, req_, rpl_, pln_ or drf_";
    };
    if 26 < digits.len() {
        return ": it has more than 26 digits";
    }
    if digits.is_empty() {
        return ": its digits are missing";
    }
    let is_digit = |c: char| c.is_ascii_alphanumeric() && !"ILOUilou".contains(c);
    if digits.chars().all(is_digit) {
        return ": none that is asked for here begins so";
    }
    ": its digits are 0 to 9 and A to Z, without I, L, O and U"
}

impl ViewError {
    /// The stable code of the problem.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Filter(_) | Self::Query(_) | Self::By(_) | Self::Sort { .. } => Code::BadFilter,
            Self::Cursor(_) => Code::BadCursor,
            Self::Id(_) => Code::BadId,
            Self::NotFound(_) => Code::NoSuchObject,
            Self::Ambiguous(_) => Code::Ambiguous,
            Self::Store(error) => store_code(error),
        }
    }
}

/// The stable code of a store's error.
#[must_use]
pub fn store_code(error: &StoreError) -> Code {
    use crate::store::Refusal;
    match error {
        StoreError::Busy => Code::Overloaded,
        StoreError::Full => Code::DiskFull,
        StoreError::NotFound { .. } => Code::NoSuchObject,
        StoreError::Changed { .. } => Code::StateChanged,
        StoreError::Refused { code, .. } => match code {
            Refusal::PlanUsed => Code::PlanUsed,
            Refusal::PlanExpired => Code::PlanExpired,
            Refusal::PlanChanged => Code::PlanChanged,
            Refusal::Empty => Code::EmptySelection,
            Refusal::State => Code::StateChanged,
        },
        StoreError::Url { .. }
        | StoreError::File { .. }
        | StoreError::Locked { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::NotAStore { .. }
        | StoreError::Migrate(_)
        | StoreError::OldSqlite { .. }
        | StoreError::NotDurable { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Write(_)
        | StoreError::Read(_)
        | StoreError::Value { .. }
        | StoreError::Closed => Code::Store,
    }
}

/// The filter of a page; the empty one where it has none.
fn filter_of(store: &Store, q: Option<&str>) -> Result<Filter, ViewError> {
    let now = Now { now: store.clock().now(), zone: jiff::tz::TimeZone::UTC };
    Ok(q.map_or(Ok(Filter::All), |q| Filter::parse(q, &now))?)
}

fn list<T>(
    kind: &str,
    items: Vec<T>,
    next_cursor: Option<String>,
    total: Option<Total>,
) -> List<T> {
    List { v: V, kind: kind.to_owned(), items, next_cursor, total, searched_to: None }
}

/// A page read with one row too many, so that its end is known.
fn cut<T>(rows: &mut Vec<T>, limit: usize) -> bool {
    let more = limit < rows.len();
    rows.truncate(limit);
    more
}

/// The cursor of a list's last page, and what begins the cursors that lead from there to the newest.
const END: &str = "end";
const BACK: char = '-';

/// Which way a page is read, and the page with the cursor that it begins behind.
fn turned(page: &Page) -> (Way, Page) {
    let (way, cursor) = match page.cursor.as_deref() {
        Some(END) => (Way::Oldest, None),
        Some(text) => match text.strip_prefix(BACK) {
            Some(rest) => (Way::Oldest, Some(rest.to_owned())),
            None => (Way::Newest, Some(text.to_owned())),
        },
        None => (Way::Newest, None),
    };
    (way, Page { cursor, ..page.clone() })
}

/// Rows read either way as a page, newest first, and the cursor that goes on the same way.
fn leafed<T>(
    rows: &mut Vec<T>,
    limit: usize,
    way: Way,
    cursor: impl Fn(&T) -> String,
) -> Option<String> {
    let more = cut(rows, limit);
    let next = rows.last().filter(|_| more).map(cursor);
    match way {
        Way::Newest => next,
        Way::Oldest => {
            rows.reverse();
            next.map(|cursor| format!("{BACK}{cursor}"))
        }
    }
}

fn cursor<T: std::str::FromStr>(page: &Page) -> Result<Option<T>, ViewError> {
    let parse = |text: &String| text.parse().map_err(|_| ViewError::Cursor(text.clone()));
    page.cursor.as_ref().map(parse).transpose()
}

/// A cursor of a list in the order of its ends: microseconds, `.`, id.
fn end_cursor<T: std::str::FromStr>(page: &Page) -> Result<Option<(i64, T)>, ViewError> {
    let Some(text) = &page.cursor else {
        return Ok(None);
    };
    let read = || {
        let (ended, id) = text.split_once('.')?;
        Some((ended.parse().ok()?, id.parse().ok()?))
    };
    read().map(Some).ok_or_else(|| ViewError::Cursor(text.clone()))
}

/// The id that `text` is or begins; exactly one.
macro_rules! resolver {
    ($(#[$doc:meta])* $name:ident, $id:ty, $table:expr) => {
        $(#[$doc])*
        pub async fn $name(store: &Store, text: &str) -> Result<$id, ViewError> {
            let (low, high) = <$id>::range(text).ok_or_else(|| ViewError::Id(text.to_owned()))?;
            let found = store.ids_between($table, low.bytes(), high.bytes()).await?;
            match found.as_slice() {
                [] => Err(ViewError::NotFound(text.to_owned())),
                [one] => <$id>::from_bytes(one).ok_or_else(|| ViewError::NotFound(text.to_owned())),
                _ => Err(ViewError::Ambiguous(text.to_owned())),
            }
        }
    };
}
resolver!(
    /// The event that an id or a unique prefix of one names.
    event_id, EventId, IdTable::Event);
resolver!(
    /// The task that an id or a unique prefix of one names.
    task_id, TaskId, IdTable::Task);
resolver!(
    /// The request that an id or a unique prefix of one names.
    request_id, RequestId, IdTable::Request);
resolver!(
    /// The replay that an id or a unique prefix of one names.
    replay_id, ReplayId, IdTable::Replay);
resolver!(
    /// The comparison that an id or a unique prefix of one names.
    reconcile_id, ReconcileId, IdTable::Reconcile);
resolver!(
    /// The plan that an id or a unique prefix of one names.
    plan_id, PlanId, IdTable::Plan);

/// How long a page of a filter is looked for.
fn time_for(filter: &Filter) -> std::time::Duration {
    if filter.wants_window() { CONTENT_TIME } else { SEARCH_TIME }
}

/// Where a list goes on whose rows end at `next`: behind them, or behind what was looked at when the
/// time was over, and then back to which moment that is.
fn behind<C: std::fmt::Display>(
    next: Option<String>,
    stopped_at: Option<&C>,
    bytes: impl FnOnce(&C) -> &[u8; 16],
) -> (Option<String>, Option<String>) {
    match (next, stopped_at) {
        (None, Some(id)) => (Some(id.to_string()), Some(micros(crate::id::drawn_at(bytes(id))))),
        (next, _) => (next, None),
    }
}

/// A page of events, newest first.
pub async fn events(store: &Store, page: &Page) -> Result<List<Event>, ViewError> {
    let filter = filter_of(store, page.q.as_deref())?;
    let selection = Selection::new(&filter, Over::Events)?;
    let (way, turn) = turned(page);
    let before = if page.sort.is_some() { None } else { cursor(&turn)? };
    let began = std::time::Instant::now();
    let (rows, next, searched) = match (&page.sort, way) {
        (Some(sort), _) => {
            let (rows, next) = sorted::events(store, &selection, page, sort).await?;
            (rows, next, None)
        }
        (None, Way::Newest) => {
            let time = time_for(&filter);
            let found = store.events_within(&selection, before, page.limit + 1, time).await?;
            let mut rows = found.rows;
            let next = leafed(&mut rows, page.limit, way, |row| row.event.id.to_string());
            let (next, searched) = behind(next, found.stopped_at.as_ref(), |id| id.bytes());
            (rows, next, searched)
        }
        (None, Way::Oldest) => {
            let mut rows = store.events_by(&selection, way, before, page.limit + 1).await?;
            let next = leafed(&mut rows, page.limit, way, |row| row.event.id.to_string());
            (rows, next, None)
        }
    };
    let count = if filter == Filter::All {
        let events = u64::try_from(store.counters().await?.total("events")).unwrap_or(0);
        Some(Total { value: events, exact: true })
    } else if next.is_none() && page.cursor.is_none() {
        Some(Total { value: u64::try_from(rows.len()).unwrap_or(0), exact: true })
    } else if selection.looks_into() || searched.is_some() {
        None
    } else {
        let left = COUNT_TIME.saturating_sub(began.elapsed());
        let (value, exact) = store.count_events(&selection, COUNT_MAX, left).await?;
        Some(Total { value: u64::try_from(value).unwrap_or(0), exact })
    };
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut event = convert::event(row);
        if row.tasks[2] + row.tasks[4] > 0 {
            event.error = worst_error(&store.tasks_of(row.event.id).await?);
        }
        items.push(event);
    }
    Ok(List { searched_to: searched, ..list("event_list", items, next, count) })
}

/// The error that an operator wants to see first: a dead task's, else a retrying one's.
fn worst_error(tasks: &[TaskRow]) -> Option<String> {
    let of = |status| tasks.iter().find(|t| t.status == status && t.error.is_some());
    let task = of(TaskStatus::Dead).or_else(|| of(TaskStatus::Retrying))?;
    Some(format!("{}/{} {}", task.workflow, task.step, task.error.as_deref().unwrap_or_default()))
}

async fn event_row(store: &Store, text: &str) -> Result<EventRow, ViewError> {
    let id = event_id(store, text).await?;
    store.event(id).await?.ok_or_else(|| ViewError::NotFound(text.to_owned()))
}

/// One event, whole.
pub async fn event(store: &Store, id: &str) -> Result<Event, ViewError> {
    let row = event_row(store, id).await?;
    let tasks = store.tasks_of(row.event.id).await?;
    let mut event = convert::whole_event(&row);
    event.error = worst_error(&tasks);
    event.steps = Some(with_history(store, &tasks).await?);
    let revisions = store.revisions(row.event.id).await?;
    event.revisions =
        (!revisions.is_empty()).then(|| revisions.iter().map(convert::revision).collect());
    Ok(event)
}

/// A revision as it is told.
pub(crate) fn revision(row: &crate::store::RevisionRow) -> crate::api::Revision {
    convert::revision(row)
}

async fn with_history(store: &Store, tasks: &[TaskRow]) -> Result<Vec<Task>, ViewError> {
    let mut all = Vec::with_capacity(tasks.len());
    for row in tasks {
        let mut task = convert::task(row);
        let attempts = store.attempts(row.id).await?;
        task.history = Some(attempts.iter().map(convert::attempt).collect());
        all.push(task);
    }
    Ok(all)
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Raw {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// The exact bytes of a request, or of the request that brought an event.
pub async fn raw(store: &Store, id: &str) -> Result<Raw, ViewError> {
    let request = if id.starts_with(EventId::PREFIX) {
        event_row(store, id).await?.event.request_id
    } else {
        request_id(store, id).await?
    };
    let row = store.request(request).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let body = store.body(request).await?.unwrap_or_default();
    Ok(Raw { method: row.method, target: row.target, headers: row.headers, body })
}

/// Everything that happened to an event (or to the event of a task), a request or a replay.
pub async fn timeline(store: &Store, id: &str) -> Result<List<TimelineEntry>, ViewError> {
    let mut only = None;
    let of = if id.starts_with(RequestId::PREFIX) {
        Of::Request(request_id(store, id).await?)
    } else if id.starts_with(ReplayId::PREFIX) {
        Of::Replay(replay_id(store, id).await?)
    } else if id.starts_with(TaskId::PREFIX) {
        let task = task_id(store, id).await?;
        only = Some(task);
        let row = store.task(task).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
        Of::Event(row.event_id)
    } else {
        Of::Event(event_id(store, id).await?)
    };
    let mut entries = store.timeline_of(of, TIMELINE_MAX).await?;
    entries.retain(|e| only.is_none() || e.task_id.is_none() || e.task_id == only);
    if let (Of::Event(_), Some(request)) = (of, entries.first().and_then(|e| e.request_id)) {
        // How its request was turned away and taken back is a part of an event's story.
        let mut of_request = store.timeline_of(Of::Request(request), TIMELINE_MAX).await?;
        let is_part = |what| {
            matches!(what, What::Rejected | What::Readmitted | What::Replayed | What::Reconciled)
        };
        of_request.retain(|e| is_part(e.what));
        entries.extend(of_request);
        entries.sort_by_key(|e| e.seq);
    }
    let mut items = convert::entries(store, &entries).await?;
    if let Of::Request(request) = of {
        items.splice(0..0, convert::request_entries(store, request).await?);
    }
    Ok(list("timeline", items, None, None))
}

/// A page of requests, newest first.
pub async fn requests(store: &Store, page: &Page) -> Result<List<Request>, ViewError> {
    let filter = filter_of(store, page.q.as_deref())?;
    let selection = Selection::new(&filter, Over::Requests)?;
    if let Some(sort) = &page.sort {
        return sorted::requests(store, &selection, page, sort).await;
    }
    let (way, page) = turned(page);
    let before = cursor(&page)?;
    let (mut rows, stopped_at) = match way {
        Way::Newest => {
            let time = time_for(&filter);
            let found = store.requests_within(&selection, before, page.limit + 1, time).await?;
            (found.rows, found.stopped_at)
        }
        Way::Oldest => (store.requests(&selection, way, before, page.limit + 1).await?, None),
    };
    let next = leafed(&mut rows, page.limit, way, |row| row.id.to_string());
    let (next, searched_to) = behind(next, stopped_at.as_ref(), |id| id.bytes());
    let items = rows.iter().map(convert::request).collect();
    Ok(List { searched_to, ..list("request_list", items, next, None) })
}

/// One request, with its kept headers and its events.
pub async fn request(store: &Store, id: &str) -> Result<Request, ViewError> {
    let found = request_id(store, id).await?;
    let row = store.request(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let events = store.events_of(found).await?;
    let mut request = convert::request(&row);
    request.headers = Some(convert::shown_headers(&row.headers));
    request.event_ids = Some(events.iter().map(|e| e.event.id.to_string()).collect());
    Ok(request)
}

/// A page of tasks, newest first.
pub async fn tasks(store: &Store, page: &Page) -> Result<List<Task>, ViewError> {
    let filter = filter_of(store, page.q.as_deref())?;
    let selection = Selection::new(&filter, Over::Tasks)?;
    if let Some(sort) = &page.sort {
        let (rows, next) = sorted::tasks(store, &selection, page, sort).await?;
        return Ok(list("task_list", rows.iter().map(convert::task).collect(), next, None));
    }
    let found = store.tasks(&selection, cursor(page)?, page.limit + 1, time_for(&filter)).await?;
    let mut rows = found.rows;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let (next, searched_to) = behind(next, found.stopped_at.as_ref(), |id| id.bytes());
    let items = rows.iter().map(convert::task).collect();
    Ok(List { searched_to, ..list("task_list", items, next, None) })
}

/// One task with its attempts.
pub async fn task(store: &Store, id: &str) -> Result<Task, ViewError> {
    let found = task_id(store, id).await?;
    let row = store.task(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let mut all = with_history(store, &[row]).await?;
    all.pop().ok_or_else(|| ViewError::NotFound(id.to_owned()))
}

/// What a tail has read.
#[derive(Debug, Clone)]
pub struct Tail {
    pub entries: Vec<TimelineEntry>,
    /// Where the next call goes on.
    pub last: i64,
}

/// Where a tail begins that wants only what happens from now on.
pub async fn tail_end(store: &Store) -> i64 {
    store.timeline_end().await.unwrap_or(0)
}

/// Entries behind `after` that match, of the next `limit` rows of the timeline.
pub async fn tail(
    store: &Store,
    after: i64,
    limit: usize,
    q: Option<&str>,
) -> Result<Tail, ViewError> {
    let filter = filter_of(store, q)?;
    let entries = store.timeline_after(after, limit).await?;
    let last = entries.last().map_or(after, |e| e.seq);
    let mut items = convert::entries(store, &entries).await?;
    convert::check_tail_filter(&filter)?;
    items.retain(|entry| convert::entry_matches(&filter, entry));
    Ok(Tail { entries: items, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_told_by_what_is_wrong_with_it() {
        for (text, part) in [
            ("NOPE", "they begin with evt_, tsk_"),
            ("evt_NOPE", "without I, L, O and U"),
            ("drf_", "its digits are missing"),
            ("evt_01J9ZC4K3V8XW2T5Q7R9S0ABCDE", "more than 26 digits"),
            ("tsk_01J9ZC", "none that is asked for here"),
        ] {
            let told = ViewError::Id(text.to_owned()).to_string();
            assert!(told.contains(part) && told.contains(text), "{told}");
        }
    }
}
