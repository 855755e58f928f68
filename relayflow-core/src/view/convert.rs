//! From rows to the bodies of the API: the place to look when the two differ.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::ViewError;
use crate::api::{
    Attempt, DeadLetter, DeadLetterGroup, Event, PlanItem, Replay, ReplayCounts, ReplayErrors,
    ReplayItem, Request, Revision, Task, TaskCounts, TimelineEntry, V,
};
use crate::clock::from_micros;
use crate::event::micros;
use crate::filter::{Field, Filter, Term, Test};
use crate::id::{EventId, RequestId, TaskId};
use crate::patch::Change;
use crate::request::CorrelationId;
use crate::store::{
    AttemptRow, ErrorCount, EventRow, ItemRow, ItemVerdict, QueryError, ReplayRow, RequestRow,
    RevisionRow, Store, TaskRow,
};
use crate::task::TaskStatus;
use crate::timeline::Entry;

fn moment(us: i64) -> String {
    micros(from_micros(us))
}

/// Counts in the order of [`TaskStatus::ALL`].
pub(super) fn counts(tasks: [i64; 7]) -> TaskCounts {
    let [queued, running, retrying, ok, dead, discarded, skipped] = tasks;
    TaskCounts { queued, running, retrying, ok, dead, discarded, skipped }
}

pub(super) fn event(row: &EventRow) -> Event {
    let event = &row.event;
    Event {
        v: V,
        object: "event".to_owned(),
        id: event.id.to_string(),
        source: event.source.to_string(),
        provider: event.provider.to_string(),
        event_type: event.event_type.clone(),
        kind: event.kind.as_deref().map(ToOwned::to_owned),
        external_id: event.external_id.clone(),
        external_id_derived: event.id_is_derived,
        idempotency_key: event.idempotency_key(),
        subject: event.subject.clone(),
        correlation_id: event.correlation_id.to_string(),
        request_id: event.request_id.to_string(),
        occurred_at: micros(event.occurred_at),
        received_at: micros(event.received_at),
        status: row.status.as_str().to_owned(),
        duplicates: row.duplicates,
        tasks: counts(row.tasks),
        attempts: row.attempts,
        error: None,
        contract: event.contract.to_string(),
        attributes: None,
        payload: None,
        steps: None,
        revisions: None,
    }
}

/// With attributes and payload; numbers in them keep their text.
pub(super) fn whole_event(row: &EventRow) -> Event {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    let mut event = event(row);
    event.attributes = raw(&row.event.attributes);
    event.payload = raw(row.event.payload.json().trim());
    event
}

pub(super) fn revision(row: &RevisionRow) -> Revision {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    Revision {
        number: row.number,
        at: moment(row.at_us),
        who: row.who.clone(),
        reason: row.reason.clone(),
        plan: row.plan_id.map(|id| id.to_string()),
        event_type: row.reading.event_type.clone(),
        kind: row.reading.kind.clone(),
        subject: row.reading.subject.clone(),
        occurred_at: moment(row.reading.occurred_us),
        contract: row.reading.contract.clone(),
        attributes: raw(&row.reading.attributes),
        payload: row.payload.as_deref().and_then(|text| raw(text.trim())),
    }
}

pub(super) fn task(row: &TaskRow) -> Task {
    let is_open = !row.status.is_ended() && row.status != TaskStatus::Running;
    Task {
        v: V,
        object: "task".to_owned(),
        id: row.id.to_string(),
        event_id: row.event_id.to_string(),
        correlation_id: row.correlation_id.to_string(),
        source: row.source.clone(),
        event_type: row.event_type.clone(),
        workflow: row.workflow.clone(),
        step: row.step.clone(),
        status: row.status.as_str().to_owned(),
        attempt: row.attempt,
        failures: row.failures,
        due_at: is_open.then(|| moment(row.due_us)),
        created_at: moment(row.created_us),
        ended_at: row.ended_us.map(moment),
        reason: row.reason.clone(),
        last_error: row.error.clone(),
        error_id: row.error_id.clone(),
        http_status: row.http_status,
        destination: row.destination.clone(),
        worker: row.worker.map(|w| w.to_string()),
        history: None,
        would_send: None,
    }
}

pub(super) fn attempt(row: &AttemptRow) -> Attempt {
    let latency = row.ended_us.map(|ended| {
        let us = u64::try_from(ended - row.started_us).unwrap_or(0);
        std::time::Duration::from_micros(us).as_secs_f64() * 1000.0
    });
    Attempt {
        attempt: row.attempt,
        status: row.status.clone(),
        started_at: moment(row.started_us),
        ended_at: row.ended_us.map(moment),
        latency_ms: latency,
        http_status: row.http_status,
        error: row.error.clone(),
        response: row.response.clone(),
        worker: row.worker.map(|w| w.to_string()),
    }
}

pub(super) fn request(row: &RequestRow) -> Request {
    Request {
        v: V,
        object: "request".to_owned(),
        id: row.id.to_string(),
        source: row.source.clone(),
        provider: row.provider.clone(),
        method: row.method.clone(),
        target: row.target.clone(),
        received_at: moment(row.received_us),
        status: row.status.clone(),
        reason: row.reason.clone(),
        detail: row.detail.clone(),
        correlation_id: row.correlation_id.to_string(),
        body_bytes: row.body_bytes,
        events: row.events,
        headers: None,
        event_ids: None,
    }
}

/// Headers as they are shown: signatures are masked, so that a screen or a ticket cannot be used to
/// send the request again.
pub(crate) fn shown_headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let is_signature = |name: &str| {
        ["signature", "hmac", "-sig", "token", "digest"].iter().any(|part| name.contains(part))
    };
    let shown = |(name, value): &(String, String)| {
        let value = match value.char_indices().nth(6) {
            Some((end, _)) if is_signature(name) => format!("{}•••", &value[..end]),
            _ => value.clone(),
        };
        (name.clone(), value)
    };
    headers.iter().map(shown).collect()
}

pub(super) fn dead_task(row: &TaskRow) -> DeadLetter {
    DeadLetter {
        v: V,
        object: "dead_letter".to_owned(),
        id: row.id.to_string(),
        reason: row.reason.clone().unwrap_or_default(),
        died_at: moment(row.ended_us.unwrap_or(0)),
        received_at: moment(row.received_us),
        source: row.source.clone(),
        provider: row.provider.clone(),
        event_type: Some(row.event_type.clone()),
        event_id: Some(row.event_id.to_string()),
        request_id: row.request_id.to_string(),
        correlation_id: row.correlation_id.to_string(),
        workflow: Some(row.workflow.clone()),
        step: Some(row.step.clone()),
        destination: Some(row.destination.clone()),
        attempts: row.attempt,
        http_status: row.http_status,
        error: row.error.clone(),
        error_id: row.error_id.clone(),
        status: row.status.as_str().to_owned(),
    }
}

pub(super) fn dead_request(row: &RequestRow) -> DeadLetter {
    DeadLetter {
        v: V,
        object: "dead_letter".to_owned(),
        id: row.id.to_string(),
        reason: row.reason.clone().unwrap_or_else(|| "unreadable".to_owned()),
        died_at: moment(row.ended_us.unwrap_or(0)),
        received_at: moment(row.received_us),
        source: row.source.clone(),
        provider: row.provider.clone(),
        event_type: None,
        event_id: None,
        request_id: row.id.to_string(),
        correlation_id: row.correlation_id.to_string(),
        workflow: None,
        step: None,
        destination: None,
        attempts: 0,
        http_status: None,
        error: row.detail.clone(),
        error_id: None,
        status: row.status.clone(),
    }
}

/// A group that begins with its latest member.
pub(super) fn group(by: &str, value: String, died: String, letter: &DeadLetter) -> DeadLetterGroup {
    DeadLetterGroup {
        v: V,
        object: "dead_letter_group".to_owned(),
        by: by.to_owned(),
        title: (by == "error").then(|| letter.error.clone()).flatten(),
        value,
        count: 1,
        first_at: died.clone(),
        last_at: died,
        example: letter.id.clone(),
        recent: vec![0; super::RECENT_PARTS],
    }
}

pub(super) fn replay(row: &ReplayRow, items: ReplayCounts) -> Replay {
    Replay {
        v: V,
        object: "replay".to_owned(),
        id: row.id.to_string(),
        plan: row.plan_id.to_string(),
        action: row.action.clone(),
        mode: row.mode.clone(),
        q: row.q.clone(),
        who: row.who.clone(),
        reason: row.reason.clone(),
        created_at: moment(row.created_us),
        ended_at: row.ended_us.map(moment),
        status: row.status.clone(),
        detail: row.detail.clone(),
        rate: row.rate,
        items,
        order: row.how.order.clone(),
        late: row.how.late.clone(),
        concurrency: row.how.concurrency.and_then(|n| u32::try_from(n).ok()),
        canary: row.how.canary.and_then(|n| u64::try_from(n).ok()),
        stop_after: row.how.stop_after.and_then(|n| u64::try_from(n).ok()),
        paused_by: row.paused_by.clone(),
        errors: None,
    }
}

pub(super) fn errors(row: &ErrorCount) -> ReplayErrors {
    ReplayErrors {
        error_id: row.error_id.clone(),
        error: row.error.clone(),
        count: u64::try_from(row.count).unwrap_or(0),
        example: row.example.to_string(),
    }
}

pub(super) fn plan_item(item: ItemRow, changes: Vec<Change>) -> PlanItem {
    PlanItem {
        v: V,
        object: "plan_item".to_owned(),
        id: item.item.to_string(),
        event_id: item.event_id.map(|id| id.to_string()),
        workflow: item.workflow,
        step: item.step,
        destination: item.destination,
        status: item.status,
        would: item.would,
        moves: item.moves,
        why: item.why,
        is_late: item.is_late,
        // What does not run is not mended.
        changes: if item.moves { changes } else { vec![] },
    }
}

pub(super) fn replay_item(item: &ItemVerdict) -> ReplayItem {
    let ended = item.state == "ended";
    ReplayItem {
        v: V,
        object: "replay_item".to_owned(),
        id: item.item.to_string(),
        event_id: item.event_id.map(|id| id.to_string()),
        destination: item.destination.clone(),
        workflow: item.workflow.clone(),
        step: item.step.clone(),
        verdict: if ended { item.verdict.clone().unwrap_or_default() } else { item.state.clone() },
        why: if ended { item.error.clone() } else { item.verdict.clone() },
    }
}

/// Timeline entries with what is said of their events and tasks in a list.
pub(super) async fn entries(
    store: &Store,
    entries: &[Entry],
) -> Result<Vec<TimelineEntry>, ViewError> {
    let mut events: HashMap<EventId, Option<(String, String, CorrelationId)>> = HashMap::new();
    let mut tasks: HashMap<TaskId, Option<TaskRow>> = HashMap::new();
    let mut requests: HashMap<RequestId, Option<RequestRow>> = HashMap::new();
    let mut items = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(id) = entry.task_id.filter(|id| !tasks.contains_key(id)) {
            tasks.insert(id, store.task(id).await?);
        }
        let task = entry.task_id.and_then(|id| tasks.get(&id)).and_then(Option::as_ref);
        if let Some(id) = entry.event_id.filter(|id| !events.contains_key(id)) {
            let found = match task {
                Some(t) => Some((t.source.clone(), t.event_type.clone(), t.correlation_id.clone())),
                None => store.event_summary(id).await?,
            };
            events.insert(id, found);
        }
        let event = entry.event_id.and_then(|id| events.get(&id)).and_then(Option::as_ref);
        let alone = entry.request_id.filter(|_| entry.event_id.is_none());
        if let Some(id) = alone.filter(|id| !requests.contains_key(id)) {
            requests.insert(id, store.request(id).await?);
        }
        let request = alone.and_then(|id| requests.get(&id)).and_then(Option::as_ref);
        let mut item = bare(entry);
        item.source = event.map(|e| e.0.clone()).or_else(|| request.map(|r| r.source.clone()));
        item.event_type = event.map(|e| e.1.clone());
        item.correlation_id = event
            .map(|e| e.2.to_string())
            .or_else(|| request.map(|r| r.correlation_id.to_string()));
        item.workflow = task.map(|t| t.workflow.clone());
        item.step = task.map(|t| t.step.clone());
        let of_queue = entry.detail.get("destination").and_then(Value::as_str);
        item.destination =
            task.map(|t| t.destination.clone()).or_else(|| of_queue.map(str::to_owned));
        items.push(item);
    }
    Ok(items)
}

fn bare(entry: &Entry) -> TimelineEntry {
    TimelineEntry {
        v: V,
        object: "timeline_entry".to_owned(),
        seq: entry.seq,
        at: micros(entry.at),
        what: entry.what.as_str().to_owned(),
        correlation_id: None,
        request_id: entry.request_id.map(|id| id.to_string()),
        event_id: entry.event_id.map(|id| id.to_string()),
        task_id: entry.task_id.map(|id| id.to_string()),
        replay_id: entry.replay_id.map(|id| id.to_string()),
        source: None,
        event_type: None,
        workflow: None,
        step: None,
        destination: None,
        attempt: entry.attempt.map(i64::from),
        detail: entry.detail.clone(),
    }
}

/// A request's arrival, which stands in its row.
pub(super) async fn request_entries(
    store: &Store,
    id: RequestId,
) -> Result<Vec<TimelineEntry>, ViewError> {
    let Some(row) = store.request(id).await? else {
        return Ok(vec![]);
    };
    let mut detail = serde_json::Map::new();
    detail.insert("body_bytes".to_owned(), row.body_bytes.into());
    detail.insert("target".to_owned(), Value::String(row.target.clone()));
    Ok(vec![TimelineEntry {
        v: V,
        object: "timeline_entry".to_owned(),
        seq: 0,
        at: moment(row.received_us),
        what: "received".to_owned(),
        correlation_id: Some(row.correlation_id.to_string()),
        request_id: Some(id.to_string()),
        event_id: None,
        task_id: None,
        replay_id: None,
        source: Some(row.source),
        event_type: None,
        workflow: None,
        step: None,
        destination: None,
        attempt: None,
        detail,
    }])
}

/// Refuses a filter that entries of the timeline cannot answer.
pub(super) fn check_tail_filter(filter: &Filter) -> Result<(), ViewError> {
    let empty = empty();
    match filter.terms().into_iter().find(|term| field_of(&term.field, &empty).is_none()) {
        None => Ok(()),
        Some(term) => {
            Err(QueryError::NotHere { field: term.field.name(), over: "the timeline" }.into())
        }
    }
}

fn empty() -> TimelineEntry {
    bare(&Entry {
        seq: 0,
        at: from_micros(0),
        what: crate::timeline::What::Received,
        request_id: None,
        event_id: None,
        task_id: None,
        replay_id: None,
        attempt: None,
        detail: serde_json::Map::new(),
    })
}

/// Whether an entry is one that the filter wants.
pub(super) fn entry_matches(filter: &Filter, entry: &TimelineEntry) -> bool {
    filter.holds(&|term| term_matches(term, entry))
}

fn term_matches(term: &Term, entry: &TimelineEntry) -> bool {
    let Some(values) = field_of(&term.field, entry) else {
        return false;
    };
    let mut values = values.into_iter().flatten();
    match &term.test {
        Test::OneOf(words) => values.any(|value| {
            words.iter().any(|word| {
                if matches!(term.field, Field::Id | Field::Request | Field::Replay) {
                    let text = value.get(..word.text.len());
                    return text.is_some_and(|start| start.eq_ignore_ascii_case(&word.text));
                }
                word.matches_in(&term.field, value)
            })
        }),
        Test::Between { low, high, .. } => values.any(|value| {
            let at = value.parse::<jiff::Timestamp>().map(|t| t.as_microsecond());
            let number = at.ok().or_else(|| value.parse().ok());
            number.is_some_and(|n| {
                low.is_none_or(|low| low <= n) && high.is_none_or(|high| n <= high)
            })
        }),
        Test::Matches(_) | Test::Holds(_) => false,
    }
}

/// What an entry says of a field; `None` where entries never say it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "entries say little: what is not here they do not"
)]
fn field_of<'e>(field: &Field, entry: &'e TimelineEntry) -> Option<Vec<Option<&'e str>>> {
    let one = |value: &'e Option<String>| Some(vec![value.as_deref()]);
    match field {
        Field::Id => Some(vec![
            entry.event_id.as_deref(),
            entry.task_id.as_deref(),
            entry.request_id.as_deref(),
            entry.replay_id.as_deref(),
        ]),
        Field::Request => one(&entry.request_id),
        Field::Replay => one(&entry.replay_id),
        Field::Corr => one(&entry.correlation_id),
        Field::Source => one(&entry.source),
        Field::Type => one(&entry.event_type),
        Field::Workflow => one(&entry.workflow),
        Field::Step => one(&entry.step),
        Field::Dest | Field::Queue => one(&entry.destination),
        Field::Status => Some(vec![Some(entry.what.as_str())]),
        Field::Received => Some(vec![Some(entry.at.as_str())]),
        Field::Reason => Some(vec![entry.detail.get("reason").and_then(Value::as_str)]),
        _ => None,
    }
}
