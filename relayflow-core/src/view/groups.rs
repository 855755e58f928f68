//! What dead letters are grouped by: any field that one of them has.

use std::collections::HashMap;

use serde_json::Value;

use super::convert::{self, dead_request, dead_task};
use super::dead::GROUPED_MAX;
use super::{Page, RECENT_PART_US, RECENT_PARTS, ViewError, list};
use crate::api::{DeadLetter, DeadLetterGroup, List, Total};
use crate::clock::from_micros;
use crate::event::{IntegrationEvent, micros};
use crate::filter::Filter;
use crate::id::EventId;
use crate::store::{Over, Selection, Store, Way};

/// The longest value that makes a group, in bytes.
const VALUE_BYTES_MAX: usize = 200;

/// Groups as an index has them, the most frequent first; `None` where none does.
pub(super) async fn indexed(
    store: &Store,
    filter: &Filter,
    page: &Page,
    by: &str,
) -> Result<Option<List<DeadLetterGroup>>, ViewError> {
    let Ok(tasks) = Selection::new(filter, Over::DeadTasks) else { return Ok(None) };
    let Some(of_tasks) = store.dead_groups(&tasks, by).await? else { return Ok(None) };
    // Requests are few, or asked for what they do not have.
    let mut letters = Vec::new();
    if let Ok(requests) = Selection::new(filter, Over::Requests) {
        let dead = store.dead_requests(&requests, Way::Newest, None, GROUPED_MAX).await?;
        letters.extend(dead.into_iter().filter(|row| row.status == "dead"));
    }
    let mut all = u64::try_from(of_tasks.len()).unwrap_or(0);
    let mut found = Vec::with_capacity(of_tasks.len().min(page.limit));
    for group in of_tasks.into_iter().take(page.limit) {
        let Some(row) = store.last_of_group(&tasks, by, &group).await? else { continue };
        let value = group.value.unwrap_or_else(|| "–".to_owned());
        let died = |us| micros(from_micros(us));
        let mut told = convert::group(by, value, died(group.last_us), &dead_task(&row));
        told.count = u64::try_from(group.count).unwrap_or(0);
        told.first_at = died(group.first_us);
        found.push(told);
    }
    let now_us = store.clock().now_us();
    let parts = i64::try_from(RECENT_PARTS).unwrap_or(0);
    for (value, part, count) in
        store.dead_groups_recent(&tasks, by, (now_us, RECENT_PART_US, parts)).await?
    {
        let value = value.unwrap_or_else(|| "–".to_owned());
        let group = found.iter_mut().find(|group| group.value == value);
        add_recent(group, part, u64::try_from(count).unwrap_or(0));
    }
    for row in &letters {
        let letter = dead_request(row);
        let part = (now_us - row.ended_us.unwrap_or(0)).max(0) / RECENT_PART_US;
        let died = micros(from_micros(row.ended_us.unwrap_or(0)));
        let value = values(store, &[&letter], by).await?.pop().unwrap_or_else(|| "–".to_owned());
        match found.iter_mut().find(|group| group.value == value) {
            Some(group) => {
                group.count += 1;
                group.first_at = group.first_at.clone().min(died.clone());
                group.last_at = group.last_at.clone().max(died);
                add_recent(Some(group), part, 1);
            }
            None => {
                all += 1;
                found.push(convert::group(by, value, died, &letter));
                add_recent(found.last_mut(), part, 1);
            }
        }
    }
    found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| b.last_at.cmp(&a.last_at)));
    found.truncate(page.limit);
    let total = Some(Total { value: all, exact: true });
    Ok(Some(list("dead_letter_group_list", found, None, total)))
}

/// Counts what died so many stretches ago; the latest stand last.
fn add_recent(group: Option<&mut DeadLetterGroup>, part: i64, count: u64) {
    let place = usize::try_from(part).ok().and_then(|part| RECENT_PARTS.checked_sub(part + 1));
    let slot = group.zip(place).and_then(|(group, place)| group.recent.get_mut(place));
    if let Some(slot) = slot {
        *slot += count;
    }
}

/// The value of the field `by` of each of these, `–` where it has none.
///
/// # Errors
///
/// [`ViewError::By`]: there is no such field, or it has no values that are the same twice.
pub(super) async fn values(
    store: &Store,
    letters: &[&DeadLetter],
    by: &str,
) -> Result<Vec<String>, ViewError> {
    let none = || "–".to_owned();
    if let Some(of_letter) = of_letter(by) {
        return Ok(letters.iter().map(|l| of_letter(l).unwrap_or_else(none)).collect());
    }
    let of_event = of_event(by).ok_or_else(|| ViewError::By(by.to_owned()))?;
    let id = |letter: &DeadLetter| letter.event_id.as_ref().and_then(|id| id.parse().ok());
    let mut ids: Vec<EventId> = letters.iter().filter_map(|letter| id(letter)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut found: HashMap<EventId, Option<String>> = HashMap::new();
    for group in ids.chunks(Store::KEPT_MAX) {
        for kept in store.kept_events(group).await? {
            let value = of_event(&kept.event).map(|mut value| {
                crate::ingest::truncate(&mut value, VALUE_BYTES_MAX);
                value
            });
            found.insert(kept.event.id, value);
        }
    }
    let value = |letter: &&DeadLetter| id(letter).and_then(|id| found.get(&id).cloned().flatten());
    Ok(letters.iter().map(|letter| value(letter).unwrap_or_else(none)).collect())
}

/// What a dead letter says itself.
fn of_letter(by: &str) -> Option<fn(&DeadLetter) -> Option<String>> {
    Some(match by {
        "error" => |l| l.error_id.clone(),
        "source" => |l| Some(l.source.clone()),
        "provider" => |l| Some(l.provider.clone()),
        "type" => |l| l.event_type.clone(),
        "dest" | "queue" => |l| l.destination.clone(),
        "workflow" => |l| l.workflow.clone(),
        "step" => |l| l.step.clone(),
        "reason" => |l| Some(l.reason.clone()),
        "status" => |l| Some(l.status.clone()),
        "http" => |l| l.http_status.map(|status| status.to_string()),
        "attempts" => |l| Some(l.attempts.to_string()),
        "corr" => |l| Some(l.correlation_id.clone()),
        "request" => |l| Some(l.request_id.clone()),
        "id" => |l| Some(l.id.clone()),
        _ => return None,
    })
}

type OfEvent = Box<dyn Fn(&IntegrationEvent) -> Option<String> + Send + Sync>;

/// What its event says.
fn of_event(by: &str) -> Option<OfEvent> {
    if let Some(path) = by.strip_prefix("payload.") {
        let pointer = format!("/{}", path.replace('.', "/"));
        return Some(Box::new(move |event| {
            let payload: Value = serde_json::from_str(event.payload.json()).ok()?;
            payload.pointer(&pointer).map(plain)
        }));
    }
    if let Some(name) = by.strip_prefix("attr.").map(str::to_owned) {
        return Some(Box::new(move |event| {
            let attributes: Value = serde_json::from_str(&event.attributes).ok()?;
            attributes.get(&name).map(plain)
        }));
    }
    Some(match by {
        "external" => Box::new(|event| Some(event.external_id.clone())),
        "key" => Box::new(|event| Some(event.idempotency_key())),
        "subject" => Box::new(|event| event.subject.clone()),
        "kind" => Box::new(|event| event.kind.as_deref().map(str::to_owned)),
        _ => return None,
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
