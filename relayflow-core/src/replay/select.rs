//! Which tasks and requests a plan is about: resolved once, to exact ids.

use super::ReplayError;
use crate::filter::{Filter, Now};
use crate::id::{RequestId, TaskId};
use crate::store::{Item, ItemRow, Over, Selection, Store};
use crate::view;

/// The most ids that are named one by one.
const IDS_MAX: usize = 100_000;

/// The rows of a plan with the moments at which their requests came in.
pub(super) struct Found {
    pub(super) q: Option<String>,
    pub(super) rows: Vec<(ItemRow, i64)>,
}

pub(super) async fn by_filter(store: &Store, q: &str, limit: usize) -> Result<Found, ReplayError> {
    let now = Now { now: store.clock().now(), zone: jiff::tz::TimeZone::UTC };
    let filter = Filter::parse(q, &now)?;
    if filter == Filter::All {
        return Err(ReplayError::BadRequest(
            "an empty filter selects everything; say status:dead, or a window such as since:24h"
                .to_owned(),
        ));
    }
    let tasks = Selection::new(&filter, Over::DeadTasks)?;
    let mut rows = store.plan_tasks(&tasks, limit).await?;
    // Unreadable requests are dead letters too, unless the filter asks for what only tasks have.
    if let Ok(requests) = Selection::new(&filter, Over::Requests) {
        let dead = store.dead_requests(&requests, None, limit).await?;
        rows.extend(dead.into_iter().filter(|r| r.status == "dead").map(request_item));
        rows.sort_by_key(|(_, received)| *received);
    }
    Ok(Found { q: Some(filter.to_string()), rows })
}

pub(super) async fn by_ids(store: &Store, ids: &[String]) -> Result<Found, ReplayError> {
    if IDS_MAX < ids.len() {
        return Err(ReplayError::BadRequest(format!("at most {IDS_MAX} ids; use a filter")));
    }
    let mut rows: Vec<(ItemRow, i64)> = Vec::with_capacity(ids.len());
    for text in ids {
        rows.extend(by_id(store, text).await?);
    }
    rows.sort_by_key(|(_, received)| *received);
    let mut seen = std::collections::HashSet::new();
    rows.retain(|(row, _)| seen.insert(row.item));
    Ok(Found { q: None, rows })
}

pub(super) async fn by_id(store: &Store, text: &str) -> Result<Vec<(ItemRow, i64)>, ReplayError> {
    if text.starts_with(RequestId::PREFIX) {
        let id = view::request_id(store, text).await?;
        let row = store.request(id).await?;
        return Ok(row.map(request_item).into_iter().collect());
    }
    let tasks = if text.starts_with(TaskId::PREFIX) {
        let id = view::task_id(store, text).await?;
        store.task(id).await?.into_iter().collect()
    } else {
        // An event stands for its tasks that did not succeed.
        let id = view::event_id(store, text).await?;
        let mut tasks = store.tasks_of(id).await?;
        tasks.retain(|t| t.status.is_ended() && t.status != crate::task::TaskStatus::Ok);
        tasks
    };
    Ok(tasks.into_iter().map(task_item).collect())
}

fn task_item(task: crate::store::TaskRow) -> (ItemRow, i64) {
    let item = ItemRow {
        place: 0,
        item: Item::Task(task.id),
        status: task.status.as_str().to_owned(),
        attempt: task.attempt,
        would: String::new(),
        destination: Some(task.destination),
        event_id: Some(task.event_id),
    };
    (item, task.received_us)
}

fn request_item(row: crate::store::RequestRow) -> (ItemRow, i64) {
    let item = ItemRow {
        place: 0,
        item: Item::Request(row.id),
        status: row.status,
        attempt: 0,
        would: String::new(),
        destination: None,
        event_id: None,
    };
    (item, row.received_us)
}
