//! Many payloads mended by expression, before any of them runs: each is read, held against its contract
//! and its workflows, and frozen in the plan.

use std::collections::{HashMap, HashSet};

use serde_json::Map;

use super::ReplayError;
use super::edit::inspect;
use crate::api::{PlanEdit, PlanEdited, PlanExample};
use crate::event::IntegrationEvent;
use crate::expr::{Expression, Scope};
use crate::id::EventId;
use crate::in_force::InForce;
use crate::ingest::truncate;
use crate::patch;
use crate::store::{KeptEvent, Picked, PlanReading, Reading, Store};
use crate::view::contracts::Expected;

/// The most members that one edit changes.
const CHANGES_MAX: usize = 64;
/// What the edited payloads of one plan may come to, in bytes.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Events whose difference is shown with the plan.
const EXAMPLES: usize = 5;
const WHY_BYTES_MAX: usize = 200;

/// What an edit makes of the events of a plan.
#[derive(Default)]
pub(super) struct Mended {
    pub(super) readings: Vec<PlanReading>,
    pub(super) edited: PlanEdited,
    /// Events in which it changes nothing.
    pub(super) unchanged: HashSet<EventId>,
}

/// An edit, its expressions compiled.
struct Edit<'a> {
    map: Vec<(&'a str, Expression)>,
    asked: &'a PlanEdit,
}

impl<'a> Edit<'a> {
    fn new(asked: &'a PlanEdit) -> Result<Self, ReplayError> {
        let count = asked.map.len() + asked.set.len() + asked.unset.len();
        if count == 0 || CHANGES_MAX < count {
            let text = format!("an edit changes between 1 and {CHANGES_MAX} members");
            return Err(ReplayError::BadRequest(text));
        }
        let compile = |path: &'a str, text: &str| {
            let wrong = |e: crate::expr::ExprError| {
                ReplayError::BadRequest(format!("edit {path}: {}", e.told_of(text)))
            };
            Expression::new(text).map(|expression| (path, expression)).map_err(wrong)
        };
        let map = asked.map.iter().map(|m| compile(&m.path, &m.expression));
        let map = map.collect::<Result<Vec<_>, _>>()?;
        for one in &asked.set {
            serde_json::from_str::<&serde_json::value::RawValue>(&one.value).map_err(|e| {
                ReplayError::BadRequest(format!("edit {}: the value is not JSON: {e}", one.path))
            })?;
        }
        Ok(Self { map, asked })
    }

    /// The payload as it would be. Every expression sees the event as it was.
    fn apply(&self, event: &IntegrationEvent, kept: &KeptEvent) -> Result<String, String> {
        let steps = Map::new();
        let scope = Scope { event, headers: &kept.request.row.headers, steps: &steps };
        let mut payload = event.payload.json().trim().to_owned();
        for (path, expression) in &self.map {
            let value = expression.eval(&scope);
            let value = value.map_err(|e| format!("{path}: {}", e.told_of(expression.text())))?;
            payload = patch::set(&payload, path, &value.to_string())?;
        }
        for one in &self.asked.set {
            payload = patch::set(&payload, &one.path, &one.value)?;
        }
        for path in &self.asked.unset {
            payload = patch::unset(&payload, path)?;
        }
        Ok(payload)
    }
}

/// Mends the events of the items that would move. Those of an event that cannot be mended, or whose
/// payload does not hold, get the reason as their fault.
///
/// # Errors
///
/// An expression that does not compile, payloads that are too many.
pub(super) async fn mend(
    store: &Store,
    asked: &PlanEdit,
    picked: &mut [Picked],
    config: &InForce,
    expected: &mut Expected,
) -> Result<Mended, ReplayError> {
    let edit = Edit::new(asked)?;
    let mut mended = Mended::default();
    mended.edited.asked = asked.clone();
    let mut faults: HashMap<EventId, String> = HashMap::new();
    let mut events: Vec<EventId> = picked.iter().filter_map(|p| p.item.event_id).collect();
    events.sort_unstable();
    events.dedup();
    let mut bytes = 0;
    for group in events.chunks(Store::KEPT_MAX) {
        let mut found = HashSet::new();
        for kept in store.kept_events(group).await? {
            let id = kept.event.id;
            found.insert(id);
            let event = as_it_reads(store, &kept).await?;
            let was = event.payload.json();
            let made = edit.apply(&event, &kept).and_then(|payload| {
                let changes = patch::changes(was, &payload)?;
                if changes.is_empty() {
                    return Ok(None);
                }
                let event = inspect(&kept, &payload, config, expected)?;
                Ok(Some((payload, changes, Reading::of(&event))))
            });
            match made {
                Ok(Some((payload, changes, reading))) => {
                    bytes += payload.len();
                    if mended.edited.examples.len() < EXAMPLES {
                        let changes = changes.clone();
                        mended.edited.examples.push(PlanExample { event: id.to_string(), changes });
                    }
                    let payload = Some(payload);
                    mended.readings.push(PlanReading { event_id: id, reading, payload, changes });
                }
                Ok(None) => {
                    mended.unchanged.insert(id);
                }
                Err(mut why) => {
                    truncate(&mut why, WHY_BYTES_MAX);
                    faults.insert(id, why);
                }
            }
        }
        for gone in group.iter().filter(|id| !found.contains(*id)) {
            faults.insert(*gone, "its payload is no longer kept".to_owned());
        }
        if BYTES_MAX < bytes {
            let text = "the edited payloads of one plan are at most 256 MiB; use a limit";
            return Err(ReplayError::BadRequest(text.to_owned()));
        }
        tokio::task::yield_now().await;
    }
    for one in picked {
        one.fault = match one.item.event_id {
            None => Some("an unreadable request has no event to edit".to_owned()),
            Some(id) => faults.get(&id).map(|why| format!("edit: {why}")),
        };
    }
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    mended.edited.changed = count(mended.readings.len());
    mended.edited.unchanged = count(mended.unchanged.len());
    mended.edited.invalid = count(faults.len());
    Ok(mended)
}

/// The event as its latest revision reads it, if somebody mended it before.
async fn as_it_reads(store: &Store, kept: &KeptEvent) -> Result<IntegrationEvent, ReplayError> {
    if kept.tasks.iter().all(|task| task.item.revision == 0) {
        return Ok(kept.event.clone());
    }
    let last =
        store.revisions(kept.event.id).await?.into_iter().rev().find(|r| r.payload.is_some());
    Ok(last.map_or_else(|| kept.event.clone(), |revision| revision.of(&kept.event)))
}
