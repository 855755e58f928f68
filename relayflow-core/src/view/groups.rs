//! What dead letters are grouped by: any field that one of them has.

use std::collections::HashMap;

use serde_json::Value;

use super::ViewError;
use crate::api::DeadLetter;
use crate::event::IntegrationEvent;
use crate::id::EventId;
use crate::store::Store;

/// The longest value that makes a group, in bytes.
const VALUE_BYTES_MAX: usize = 200;

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
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
