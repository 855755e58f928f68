//! Items that come late: a later event of their ordering key, else of their subject, has that step
//! `ok` already.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::ReplayError;
use crate::api::PlanLate;
use crate::id::EventId;
use crate::store::{Picked, Store};

/// How long is looked for later events: what is left out is unknown, never fine.
const TIME: Duration = Duration::from_millis(200);
/// Later events that are looked into.
const LATER_MAX: usize = 10_000;
/// Events that are looked at between two looks at the clock.
const STEP: usize = if cfg!(test) { 16 } else { 8192 };
/// Subjects that the store picks out; of more, all that have one come.
const SUBJECTS_MAX: usize = 512;
/// Tasks of one ordering key that are looked at: the latest.
const PER_LINE: i64 = 1000;

type Subject = (String, String);

fn subject_of(picked: &Picked) -> Option<Subject> {
    Some((picked.source.clone(), picked.subject.clone()?))
}

/// What an item is ordered by: its step's key, else its subject.
pub(super) fn key_of(picked: &Picked) -> Option<String> {
    let item = &picked.item;
    match (&item.line, &item.workflow, &item.step) {
        (Some(line), Some(workflow), Some(step)) => {
            Some(format!("{workflow}\u{1f}{step}\u{1f}{}", line.key))
        }
        _ => picked.subject.as_ref().map(|subject| format!("{}\u{1f}{subject}", picked.source)),
    }
}

/// The items that come late.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Their places in what was asked about.
    places: Vec<usize>,
    counts: PlanLate,
}

impl Late {
    /// Marks them, and tells how many they are.
    pub(super) fn mark(self, picked: &mut [Picked]) -> PlanLate {
        for place in self.places {
            if let Some(one) = picked.get_mut(place) {
                one.item.is_late = true;
            }
        }
        self.counts
    }
}

/// Those of these items that come late.
pub(super) async fn find(store: &Store, picked: &[Picked]) -> Result<Late, ReplayError> {
    let mut late = by_line(store, picked).await?;
    let by_subject = by_subject(store, picked).await?;
    late.places.extend(by_subject.places);
    late.counts.items += by_subject.counts.items;
    late.counts.subjects += by_subject.counts.subjects;
    late.counts.unknown += by_subject.counts.unknown;
    Ok(late)
}

/// The items that move, with their places: those whose step is ordered, or the others.
fn moving(picked: &[Picked], is_ordered: bool) -> impl Iterator<Item = (usize, &Picked)> {
    let is_one = move |p: &Picked| p.item.moves && p.item.line.is_some() == is_ordered;
    picked.iter().enumerate().filter(move |(_, p)| is_one(p))
}

/// Of those whose step is ordered.
async fn by_line(store: &Store, picked: &[Picked]) -> Result<Late, ReplayError> {
    let began = Instant::now();
    let mut lines: HashMap<String, Option<(Option<EventId>, bool)>> = HashMap::new();
    let mut late = Late::default();
    let mut keys = HashSet::new();
    for (place, one) in moving(picked, true) {
        let key = key_of(one).unwrap_or_default();
        let item = &one.item;
        let (Some(line), Some(workflow), Some(step)) = (&item.line, &item.workflow, &item.step)
        else {
            continue;
        };
        if !lines.contains_key(&key) {
            let found = if began.elapsed() < TIME {
                Some(store.last_ok_in_line((workflow, step, &line.key), PER_LINE).await?)
            } else {
                None
            };
            lines.insert(key.clone(), found);
        }
        let found = lines.get(&key).copied().flatten();
        let is_late = found.is_some_and(|(last, _)| last.is_some() && item.event_id < last);
        if is_late {
            late.places.push(place);
            keys.insert(key);
        } else if !found.is_some_and(|(_, is_whole)| is_whole) {
            late.counts.unknown += 1;
        }
    }
    late.counts.items = u64::try_from(late.places.len()).unwrap_or(0);
    late.counts.subjects = u64::try_from(keys.len()).unwrap_or(0);
    Ok(late)
}

/// Of the others.
async fn by_subject(store: &Store, picked: &[Picked]) -> Result<Late, ReplayError> {
    let mut oldest: HashMap<Subject, EventId> = HashMap::new();
    for (_, one) in moving(picked, false) {
        if let (Some(subject), Some(event)) = (subject_of(one), one.item.event_id) {
            let first = oldest.entry(subject).or_insert(event);
            *first = (*first).min(event);
        }
    }
    if oldest.is_empty() {
        return Ok(Late::default());
    }
    let (later, known) = later_events(store, &oldest).await?;
    let ids: Vec<EventId> = later.values().flatten().copied().collect();
    let done = store.steps_done(&ids).await?;
    let mut late = Late::default();
    let mut subjects = HashSet::new();
    for (place, one) in moving(picked, false) {
        let (Some(subject), Some(event)) = (subject_of(one), one.item.event_id) else { continue };
        let of_step = |id: &EventId| {
            let (workflow, step) = (&one.item.workflow, &one.item.step);
            event < *id
                && workflow.as_ref().zip(step.as_ref()).is_some_and(|(workflow, step)| {
                    done.contains(&(*id, workflow.clone(), step.clone()))
                })
        };
        if later.get(&subject).is_some_and(|ids| ids.iter().any(of_step)) {
            late.places.push(place);
            subjects.insert(subject);
        } else if !known.contains(&subject) {
            late.counts.unknown += 1;
        }
    }
    late.counts.items = u64::try_from(late.places.len()).unwrap_or(0);
    late.counts.subjects = u64::try_from(subjects.len()).unwrap_or(0);
    Ok(late)
}

/// Events of these subjects behind the plan's oldest of each, and the subjects of which all are known:
/// events are looked at from the newest on, for as long as there is time.
async fn later_events(
    store: &Store,
    oldest: &HashMap<Subject, EventId>,
) -> Result<(HashMap<Subject, Vec<EventId>>, HashSet<Subject>), ReplayError> {
    let began = Instant::now();
    let mut later: HashMap<Subject, Vec<EventId>> = HashMap::new();
    let names: HashSet<&String> = oldest.keys().map(|(_, subject)| subject).collect();
    let names: Vec<&String> = names.into_iter().collect();
    let only = (names.len() <= SUBJECTS_MAX).then_some(names.as_slice());
    let first = oldest.values().min().copied();
    let mut before = None;
    let mut found = 0;
    loop {
        let (events, end) = store.events_with_subjects(only, before, STEP).await?;
        for (id, source, subject) in events {
            let subject = (source, subject);
            if oldest.get(&subject).is_some_and(|first| *first < id) {
                later.entry(subject).or_default().push(id);
                found += 1;
            }
        }
        before = end;
        let is_whole = end.is_none_or(|end| first.is_none_or(|first| end <= first));
        if is_whole || TIME <= began.elapsed() || LATER_MAX <= found {
            break;
        }
    }
    let is_known = |first: &EventId| before.is_none_or(|end| end <= *first);
    let known = oldest.iter().filter(|(_, first)| is_known(first)).map(|(s, _)| s.clone());
    Ok((later, known.collect()))
}
