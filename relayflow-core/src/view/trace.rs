//! Everything under one correlation id, as a tree.

use super::{
    ViewError, convert, event_id, replay_counts, replay_id, request_id, task_id, with_history,
};
use crate::api::{Trace, V};
use crate::event::micros;
use crate::id::{EventId, ReplayId, RequestId, TaskId};
use crate::request::CorrelationId;
use crate::store::Store;

/// The most requests and events of one tree.
const TRACE_MAX: usize = 200;

/// The tree of a correlation id, or of whatever an id names. A beginning of a correlation id that was
/// drawn here will do, if it begins only one.
///
/// # Errors
///
/// [`ViewError::NotFound`] when nothing bears it, [`ViewError::Ambiguous`] when several do.
pub async fn trace(store: &Store, key: &str) -> Result<Trace, ViewError> {
    let id = correlation_of(store, key).await?;
    let mut requests = store.requests_correlated(&id, TRACE_MAX + 1).await?;
    let mut events = store.events_correlated(&id, TRACE_MAX + 1).await?;
    if requests.is_empty() && events.is_empty() {
        return Err(ViewError::NotFound(key.to_owned()));
    }
    let truncated = requests.len() > TRACE_MAX || events.len() > TRACE_MAX;
    requests.truncate(TRACE_MAX);
    events.truncate(TRACE_MAX);
    // An event that brought its own id stands with the request that carried it.
    for event in &events {
        if !requests.iter().any(|r| r.id == event.event.request_id) {
            requests.extend(store.request(event.event.request_id).await?);
        }
    }
    let event_ids: Vec<EventId> = events.iter().map(|e| e.event.id).collect();
    let request_ids: Vec<RequestId> = requests.iter().map(|r| r.id).collect();
    let mut replays = Vec::new();
    for row in store.replays_of(&event_ids, &request_ids).await? {
        let counts = replay_counts(store, &row).await?;
        replays.push(convert::replay(&row, counts));
    }
    let mut tree = Vec::with_capacity(events.len());
    for row in &events {
        let tasks = store.tasks_of(row.event.id).await?;
        let mut event = convert::event(row);
        event.steps = Some(with_history(store, &tasks).await?);
        tree.push(event);
    }
    let requests: Vec<_> = requests.iter().map(convert::request).collect();
    let starts = requests.iter().map(|r| r.received_at.clone());
    let started_at = starts.clone().min().unwrap_or_else(|| micros(store.clock().now()));
    let ends =
        tree.iter().flat_map(|e| e.steps.iter().flatten()).filter_map(|t| t.ended_at.clone());
    let ends = ends.chain(replays.iter().filter_map(|r| r.ended_at.clone()));
    let ended_at = ends.chain(starts).max().unwrap_or_else(|| started_at.clone());
    Ok(Trace {
        v: V,
        object: "trace".to_owned(),
        correlation_id: id.to_string(),
        started_at,
        ended_at,
        requests,
        events: tree,
        replays,
        truncated,
    })
}

async fn correlation_of(store: &Store, key: &str) -> Result<CorrelationId, ViewError> {
    let not_found = || ViewError::NotFound(key.to_owned());
    if EventId::range(key).is_some() {
        let id = event_id(store, key).await?;
        return Ok(store.event_summary(id).await?.ok_or_else(not_found)?.2);
    }
    if TaskId::range(key).is_some() {
        let id = task_id(store, key).await?;
        return Ok(store.task(id).await?.ok_or_else(not_found)?.correlation_id);
    }
    if RequestId::range(key).is_some() {
        let id = request_id(store, key).await?;
        return Ok(store.request(id).await?.ok_or_else(not_found)?.correlation_id);
    }
    if ReplayId::range(key).is_some() {
        let id = replay_id(store, key).await?;
        let row = store.replay(id).await?.ok_or_else(not_found)?;
        let first = store.plan_items(row.plan_id, 0, 1).await?;
        let event = first.first().and_then(|i| i.event_id).ok_or_else(not_found)?;
        return Ok(store.event_summary(event).await?.ok_or_else(not_found)?.2);
    }
    if let Some(found) = store.correlation_beginning(key).await? {
        return found.ok_or_else(|| ViewError::Ambiguous(key.to_owned()));
    }
    CorrelationId::given(key).ok_or_else(not_found)
}
