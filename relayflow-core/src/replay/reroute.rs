//! Events read and routed again: what another configuration would make of them, and what it would
//! not. Without effects it is a back-test.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::ReplayError;
use super::select::Found;
use crate::api::{Difference, DifferenceCount, FieldChange};
use crate::event::{IntegrationEvent, Payload, micros};
use crate::filter::Word;
use crate::id::{EventId, RequestId};
use crate::in_force::InForce;
use crate::ingest::{kept_request, story, truncate};
use crate::provider;
use crate::route;
use crate::store::{
    Item, ItemRow, KeptEvent, NEW, Picked, PlanReading, Reading, RequestWithBody, Store,
};
use crate::task::NewTask;

/// Rows of each list of a difference.
const ROWS_MAX: usize = 200;
/// The longest value that is shown of a field, in bytes.
const VALUE_BYTES_MAX: usize = 120;

/// What routing again comes to.
#[derive(Default)]
pub(super) struct Rerouted {
    /// Tasks that there are, and tasks that there would be.
    picked: Vec<Picked>,
    /// Of the events that would get tasks and read otherwise today.
    pub(super) readings: Vec<PlanReading>,
    pub(super) difference: Difference,
}

impl Rerouted {
    pub(super) fn into_found(mut self, names_steps: bool) -> Found {
        let picked = std::mem::take(&mut self.picked);
        Found { q: None, picked, rerouted: Some(self), names_steps }
    }
}

/// Reads and routes `events` with `config`, and holds what comes of it against what they have. With
/// `named` it is about those steps alone, whatever other name they may have had.
pub(super) async fn reroute(
    store: &Store,
    events: &[EventId],
    config: &InForce,
    named: &[Word],
) -> Result<Rerouted, ReplayError> {
    let mut tally = Tally { named: named.to_vec(), ..Tally::default() };
    for group in events.chunks(Store::KEPT_MAX) {
        let kept = store.kept_events(group).await?;
        let mut readings: HashMap<RequestId, Vec<ReadResult>> = HashMap::new();
        for one in &kept {
            let request = &one.request;
            readings.entry(request.row.id).or_insert_with(|| read(request, config));
        }
        for one in kept {
            let of_request = readings.get(&one.request.row.id);
            let read = find(&one, of_request.map_or(&[], Vec::as_slice));
            tally.add(one, read, config);
        }
        // Between two reads of the store others of this thread get their turn anyway.
        tokio::task::yield_now().await;
    }
    Ok(tally.done(events.len()))
}

/// A reading of one event of a request, or why there is none.
pub(super) type ReadResult = Result<IntegrationEvent, String>;

/// Splits and normalizes a request that was verified when it came in.
pub(super) fn read(kept: &RequestWithBody, config: &InForce) -> Vec<ReadResult> {
    let Some(source) = config.sources.get(&kept.row.source) else {
        return vec![Err(format!("there is no source `{}`", kept.row.source))];
    };
    let request = kept_request(source, &kept.row, kept.body.clone());
    let verified = provider::once_verified(&request);
    match provider::split(source, &verified) {
        Err(error) => vec![Err(story(&error))],
        Ok(raw) => raw
            .into_iter()
            .map(|one| {
                let event = provider::normalize(source, &verified, one, EventId::next());
                event.map_err(|e| story(&e))
            })
            .collect(),
    }
}

/// Which of a request's readings is that event: the one of the same bytes, else of the same id, else
/// the only one.
pub(super) fn find(kept: &KeptEvent, readings: &[ReadResult]) -> ReadResult {
    let range = |event: &IntegrationEvent| match &event.payload {
        Payload::Slice { from, to, .. } => Some((*from, *to)),
        Payload::Converted(_) => None,
    };
    let of_bytes = range(&kept.event);
    let is_same_bytes = |event: &&IntegrationEvent| of_bytes.is_some() && range(event) == of_bytes;
    let is_same_id = |event: &&IntegrationEvent| event.external_id == kept.event.external_id;
    let read = || readings.iter().filter_map(|r| r.as_ref().ok());
    let found = read().find(is_same_bytes).or_else(|| read().find(is_same_id));
    match (found, readings) {
        (Some(event), _) => Ok(event.clone()),
        (None, [only]) => only.clone(),
        (None, []) => Err("its request holds no event any more".to_owned()),
        (None, _) => {
            let first = readings.iter().find_map(|r| r.as_ref().err());
            Err(first
                .cloned()
                .unwrap_or_else(|| "its request does not hold it any more".to_owned()))
        }
    }
}

/// Counts of one thing, and where it was seen first.
#[derive(Default)]
struct Counts(BTreeMap<String, (u64, Option<EventId>)>);

impl Counts {
    fn add(&mut self, what: String, example: EventId) {
        let entry = self.0.entry(what).or_default();
        entry.0 += 1;
        entry.1.get_or_insert(example);
    }

    /// The most frequent first.
    fn rows(self) -> Vec<DifferenceCount> {
        let mut rows: Vec<DifferenceCount> = self
            .0
            .into_iter()
            .map(|(what, (count, example))| DifferenceCount {
                what,
                count,
                example: example.map_or_else(String::new, |id| id.to_string()),
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows.truncate(ROWS_MAX);
        rows
    }
}

#[derive(Default)]
pub(super) struct Tally {
    picked: Vec<Picked>,
    readings: Vec<PlanReading>,
    unreadable: Counts,
    added: Counts,
    lost: Counts,
    fields: BTreeMap<String, FieldChange>,
    events_changed: u64,
    /// The only steps that it is about; empty: all.
    named: Vec<Word>,
}

impl Tally {
    fn add(&mut self, kept: KeptEvent, read: ReadResult, config: &InForce) {
        let id = kept.event.id;
        let mut event = match read {
            Ok(event) => event,
            Err(mut why) => {
                truncate(&mut why, VALUE_BYTES_MAX);
                return self.unreadable.add(why, id);
            }
        };
        // What makes it that event stays as it is.
        event.id = id;
        event.external_id.clone_from(&kept.event.external_id);
        let is_changed = self.compare(&kept.event, &event);
        let tasks = route::tasks_for(&event, &kept.request.row.headers, &config.workflows);
        let gains = self.route(&kept, tasks);
        if is_changed && gains {
            let reading = Reading::of(&event);
            let (payload, changes) = (None, vec![]);
            self.readings.push(PlanReading { event_id: id, reading, payload, changes });
        }
    }

    /// Notes every canonical field that reads otherwise. Answers whether any does.
    pub(super) fn compare(&mut self, was: &IntegrationEvent, is: &IntegrationEvent) -> bool {
        let mut any = false;
        let mut note = |field: String, was_text: Option<String>, is_text: Option<String>| {
            if was_text == is_text {
                return;
            }
            any = true;
            let shown = |text: Option<String>| {
                text.map(|mut text| {
                    truncate(&mut text, VALUE_BYTES_MAX);
                    text
                })
            };
            let change = self.fields.entry(field.clone()).or_insert_with(|| FieldChange {
                field,
                count: 0,
                example: was.id.to_string(),
                was: shown(was_text),
                is: shown(is_text),
            });
            change.count += 1;
        };
        let text = |text: &str| Some(text.to_owned());
        note("type".to_owned(), text(&was.event_type), text(&is.event_type));
        let kind = |event: &IntegrationEvent| event.kind.as_deref().map(str::to_owned);
        note("kind".to_owned(), kind(was), kind(is));
        note("subject".to_owned(), was.subject.clone(), is.subject.clone());
        let at = |event: &IntegrationEvent| Some(micros(event.occurred_at));
        note("occurred_at".to_owned(), at(was), at(is));
        note("contract".to_owned(), text(&was.contract), text(&is.contract));
        if was.attributes != is.attributes {
            let (was, is) = (members(&was.attributes), members(&is.attributes));
            let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            for name in names {
                let value = |of: &Map<String, Value>| of.get(name).map(ToString::to_string);
                note(format!("attributes.{name}"), value(&was), value(&is));
            }
        }
        self.events_changed += u64::from(any);
        any
    }

    /// Holds an event's routes against its tasks. Answers whether it gains any.
    fn route(&mut self, kept: &KeptEvent, tasks: Vec<NewTask>) -> bool {
        let is_of = |picked: &Picked, task: &NewTask| {
            picked.item.workflow.as_deref() == Some(&*task.workflow)
                && picked.item.step.as_deref() == Some(&*task.step)
        };
        let is_lost = |had: &Picked| !tasks.iter().any(|task| is_of(had, task));
        let lost: Vec<&Picked> = kept.tasks.iter().filter(|had| is_lost(had)).collect();
        for had in &kept.tasks {
            if is_lost(had) {
                let (workflow, step) = (&had.item.workflow, &had.item.step);
                let name = |part: &Option<String>| part.clone().unwrap_or_default();
                self.lost.add(format!("{}/{}", name(workflow), name(step)), kept.event.id);
            }
        }
        let mut gains = false;
        for task in &tasks {
            let is_named = self.named.iter().any(|word| word.matches(&task.step));
            if !self.named.is_empty() && !is_named {
                continue;
            }
            match kept.tasks.iter().find(|had| is_of(had, task)) {
                Some(had) => self.picked.push(had.clone()),
                None => {
                    gains = true;
                    self.added.add(format!("{}/{}", task.workflow, task.step), kept.event.id);
                    let mut new = picked(kept, task);
                    let mut others = lost.iter().filter(|had| may_be(had, task));
                    // Of several former names the one under which it was done decides.
                    let first = others.clone().next();
                    if let Some(had) = others.find(|had| is_done(had)).or(first) {
                        // Whoever names the step, with a reason, means it.
                        new.may_have_effect = true;
                        let is_meant = is_named || !is_done(had);
                        new.fault =
                            new.fault.or_else(|| (!is_meant).then(|| other_name(had, task)));
                    }
                    self.picked.push(new);
                }
            }
        }
        gains
    }

    pub(super) fn done(self, events: usize) -> Rerouted {
        let mut fields: Vec<FieldChange> = self.fields.into_values().collect();
        fields.sort_by_key(|change| std::cmp::Reverse(change.count));
        fields.truncate(ROWS_MAX);
        Rerouted {
            picked: self.picked,
            readings: self.readings,
            difference: Difference {
                events: u64::try_from(events).unwrap_or(u64::MAX),
                unreadable: self.unreadable.rows(),
                fields,
                events_changed: self.events_changed,
                routes_added: self.added.rows(),
                routes_lost: self.lost.rows(),
            },
        }
    }
}

/// Whether a task that today's config asks for may be this one under another name: the same step in
/// another workflow, or another step of the same workflow at the same destination. What may have had
/// its effect under the old name must not have it again under the new.
fn may_be(had: &Picked, task: &NewTask) -> bool {
    let item = &had.item;
    let is_same_step = item.step.as_deref() == Some(&*task.step);
    let is_same_place = item.workflow.as_deref() == Some(&*task.workflow)
        && item.destination.as_deref() == Some(&*task.destination);
    (had.may_have_effect || is_done(had)) && (is_same_step || is_same_place)
}

/// Whether it has succeeded, or may do so by itself.
fn is_done(had: &Picked) -> bool {
    let status = had.item.status.as_str();
    had.has_succeeded || matches!(status, "ok" | "queued" | "running" | "retrying")
}

fn other_name(had: &Picked, task: &NewTask) -> String {
    let name = |part: &Option<String>| part.clone().unwrap_or_default();
    let (workflow, step) = (name(&had.item.workflow), name(&had.item.step));
    format!(
        "may be {workflow}/{step} under another name, which is {}: step:{} and a reason run it",
        had.item.status, task.step
    )
}

/// A task that there is not yet. Its id is drawn here, so that the plan is as exact as any.
fn picked(kept: &KeptEvent, task: &NewTask) -> Picked {
    let need_names = (!task.needs.is_empty()).then(|| task.needs.join(" "));
    Picked {
        item: ItemRow {
            place: 0,
            item: Item::Task(task.id),
            status: NEW.to_owned(),
            attempt: 0,
            would: String::new(),
            moves: false,
            why: None,
            is_late: false,
            key: None,
            destination: Some(task.destination.to_string()),
            event_id: Some(kept.event.id),
            workflow: Some(task.workflow.to_string()),
            step: Some(task.step.to_string()),
            need_names: need_names.clone(),
            line: task.line.clone(),
            revision: 0,
        },
        received_us: kept.event.received_at.as_microsecond(),
        source: kept.event.source.to_string(),
        subject: kept.event.subject.clone(),
        need_names,
        may_have_effect: false,
        fault: task.dead.as_ref().map(|(_, why)| why.clone()),
        has_succeeded: false,
        is_drifted: false,
    }
}

fn members(attributes: &str) -> Map<String, Value> {
    serde_json::from_str(attributes).unwrap_or_default()
}
