//! A payload mended by hand: validated before it is kept, kept beside the original.

use bytes::Bytes;
use serde_json::Map;

use super::ReplayError;
use super::explain::one;
use super::reroute::find;
use crate::api::{NewRevision, Revised, V};
use crate::contract::{Difference, Grade, Schema, compare};
use crate::event::{IntegrationEvent, Payload};
use crate::expr::Scope;
use crate::id::EventId;
use crate::in_force::InForce;
use crate::ingest::{Ingest, kept_request, story};
use crate::provider;
use crate::store::{Edit, KeptEvent, Reading};
use crate::task::TaskStatus;
use crate::view;
use crate::view::contracts::Expected;

/// The largest payload that is taken, in bytes.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Keeps a payload as a revision of an event, if today's definition reads it as that event, it breaks
/// no more of its contract, and the workflows of the event's unfinished tasks take it. Those tasks read it from then on; running them
/// is a replay's work.
///
/// # Errors
///
/// [`ReplayError::Invalid`] with what speaks against it; nothing is kept then.
pub async fn edit(
    ingest: &Ingest,
    id: &str,
    new: &NewRevision,
    who: &str,
) -> Result<Revised, ReplayError> {
    if new.reason.trim().is_empty() {
        return Err(ReplayError::ReasonRequired);
    }
    if PAYLOAD_BYTES_MAX < new.payload.len() {
        return Err(ReplayError::Invalid("the payload is larger than 1 MiB".to_owned()));
    }
    let payload = new.payload.trim();
    serde_json::from_str::<&serde_json::value::RawValue>(payload)
        .map_err(|e| ReplayError::Invalid(format!("the payload is not JSON: {e}")))?;
    let store = &ingest.store;
    let event_id = view::event_id(store, id).await?;
    let kept = store.kept_events(&[event_id]).await?.pop();
    let kept = kept.ok_or_else(|| view::ViewError::NotFound(id.to_owned()))?;
    let config = ingest.current.get();
    let mut expected = Expected::load(store).await?;
    let event = inspect(&kept, payload, &config, &mut expected).map_err(ReplayError::Invalid)?;
    let (number, tasks) = store
        .edit(Edit {
            event: event_id,
            who: who.to_owned(),
            reason: new.reason.clone(),
            payload: payload.to_owned(),
            reading: Reading::of(&event),
        })
        .await?;
    let revision = store.revision(event_id, number).await?;
    let revision = revision.ok_or_else(|| view::ViewError::NotFound(id.to_owned()))?;
    Ok(Revised {
        v: V,
        object: "revised".to_owned(),
        event: event_id.to_string(),
        revision: view::revision(&revision),
        tasks: tasks.iter().map(ToString::to_string).collect(),
    })
}

/// Reads the event with this payload, and holds it against today's definition, contract and workflows.
///
/// # Errors
///
/// What speaks against it.
pub(super) fn inspect(
    kept: &KeptEvent,
    payload: &str,
    config: &InForce,
    expected: &mut Expected,
) -> Result<IntegrationEvent, String> {
    if PAYLOAD_BYTES_MAX < payload.len() {
        return Err("the payload is larger than 1 MiB".to_owned());
    }
    let event = read(kept, payload, config)?;
    keeps_contract(kept, &event, payload, config, expected)?;
    validate(kept, &event, config)?;
    Ok(event)
}

/// An edit may mend what differs from the contract, and may leave it; it does not break more.
fn keeps_contract(
    kept: &KeptEvent,
    event: &IntegrationEvent,
    payload: &str,
    config: &InForce,
    expected: &mut Expected,
) -> Result<(), String> {
    let Some(schema) = expected.of(config, event) else { return Ok(()) };
    let before = breaking(&schema, kept.event.payload.json());
    let is_new = |d: &Difference| {
        !before.iter().any(|b| (&b.path, b.change, &b.is) == (&d.path, d.change, &d.is))
    };
    match breaking(&schema, payload).into_iter().find(is_new) {
        None => Ok(()),
        Some(Difference { path, was, is, .. }) => Err(format!(
            "it breaks the contract of {} {}: {path} is {is}, and should be {was}",
            event.source, event.event_type
        )),
    }
}

/// What of a payload differs from a contract so that whoever reads it may fail.
pub(super) fn breaking(schema: &Schema, payload: &str) -> Vec<Difference> {
    let Ok(value) = serde_json::from_str(payload) else { return vec![] };
    let mut differences = compare(schema, &value);
    differences.retain(|d| d.grade == Grade::Breaking);
    differences
}

/// Reads the event as if its request had come in with this payload in its place.
fn read(kept: &KeptEvent, payload: &str, config: &InForce) -> Result<IntegrationEvent, String> {
    let name = &kept.request.row.source;
    let source = config.sources.get(name).ok_or_else(|| format!("there is no source `{name}`"))?;
    let body = match &kept.event.payload {
        Payload::Slice { body, from, to } => {
            let (before, after) = (body.get(..*from), body.get(*to..));
            let parts = [before.unwrap_or_default(), payload.as_bytes(), after.unwrap_or_default()];
            Bytes::from(parts.concat())
        }
        Payload::Converted(_) => kept.request.body.clone(),
    };
    let request = kept_request(source, &kept.request.row, body);
    let (verified, at) = match &kept.event.payload {
        Payload::Slice { from, .. } => (provider::once_verified(&request), Some(*from)),
        Payload::Converted(_) => (provider::once_verified_as(&request, payload.to_owned()), None),
    };
    let raw = provider::split(source, &verified).map_err(|e| story(&e))?;
    let mut readings = Vec::with_capacity(raw.len());
    for one in raw {
        let read = provider::normalize(source, &verified, one, EventId::next());
        let read = read.map_err(|e| story(&e));
        let is_it = read.as_ref().is_ok_and(|event| match (&event.payload, at) {
            (Payload::Slice { from, .. }, Some(at)) => *from == at,
            (Payload::Converted(_) | Payload::Slice { .. }, _) => false,
        });
        if is_it {
            return same_event(kept, read?);
        }
        readings.push(read);
    }
    same_event(kept, find(kept, &readings)?)
}

/// An edit mends an event; it does not make another of it.
fn same_event(kept: &KeptEvent, event: IntegrationEvent) -> Result<IntegrationEvent, String> {
    let was = &kept.event;
    if event.external_id != was.external_id && !was.id_is_derived {
        let (id, was) = (&event.external_id, &was.external_id);
        return Err(format!("the payload is that of another event: its id is `{id}`, not `{was}`"));
    }
    if event.event_type != was.event_type {
        let (is, was) = (&event.event_type, &was.event_type);
        return Err(format!("the payload is of another type: `{is}`, not `{was}`"));
    }
    Ok(IntegrationEvent { id: was.id, external_id: was.external_id.clone(), ..event })
}

/// What speaks against running the event's unfinished tasks with this reading.
fn validate(kept: &KeptEvent, event: &IntegrationEvent, config: &InForce) -> Result<(), String> {
    let steps = Map::new();
    let scope = Scope { event, headers: &kept.request.row.headers, steps: &steps };
    for task in &kept.tasks {
        let is_open = TaskStatus::from_word(&task.item.status).is_none_or(|s| s != TaskStatus::Ok);
        let (Some(workflow), Some(step)) = (&task.item.workflow, &task.item.step) else { continue };
        if !is_open {
            continue;
        }
        let Some((found, _)) = config.workflows.step(workflow, step) else { continue };
        let told = one(found, &kept.tasks, event, &scope);
        if told.result != "match" {
            return Err(format!("{workflow} does not take it: {}", told.because));
        }
        let of_step = told.steps.into_iter().find(|s| s.step == *step);
        if let Some(error) = of_step.and_then(|s| s.error) {
            return Err(format!("{workflow}/{step} cannot be rendered with it: {error}"));
        }
    }
    Ok(())
}
