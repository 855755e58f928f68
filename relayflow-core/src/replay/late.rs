//! Items that come late: a later event of their ordering key, else of their subject, has that step
//! `ok` already.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::ReplayError;
use crate::api::PlanLate;
use crate::id::EventId;
use crate::store::{Picked, Store};

/// Events that are looked at, and for how long: what is left out is unknown, never fine.
const EVENTS_MAX: usize = 1_000_000;
const LATER_MAX: usize = 50_000;
const TIME: Duration = Duration::from_secs(2);
const PAGE: usize = 10_000;
/// Later events of one subject that are looked into: the latest.
const PER_SUBJECT: usize = 64;
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

/// Marks the items that come late, and counts them.
pub(super) async fn mark(store: &Store, picked: &mut [Picked]) -> Result<PlanLate, ReplayError> {
    let mut late = by_line(store, picked).await?;
    let by_subject = by_subject(store, picked).await?;
    late.items += by_subject.items;
    late.subjects += by_subject.subjects;
    late.unknown += by_subject.unknown;
    Ok(late)
}

/// Of those whose step is ordered.
async fn by_line(store: &Store, picked: &mut [Picked]) -> Result<PlanLate, ReplayError> {
    let began = Instant::now();
    let mut lines: HashMap<String, Option<(Option<EventId>, bool)>> = HashMap::new();
    let mut late = PlanLate::default();
    let mut keys = HashSet::new();
    for one in picked.iter_mut().filter(|p| p.item.moves && p.item.line.is_some()) {
        let key = key_of(one).unwrap_or_default();
        let item = &mut one.item;
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
            item.is_late = true;
            late.items += 1;
            keys.insert(key);
        } else if !found.is_some_and(|(_, is_whole)| is_whole) {
            late.unknown += 1;
        }
    }
    late.subjects = u64::try_from(keys.len()).unwrap_or(0);
    Ok(late)
}

/// Of the others.
async fn by_subject(store: &Store, picked: &mut [Picked]) -> Result<PlanLate, ReplayError> {
    let mut oldest: HashMap<Subject, EventId> = HashMap::new();
    for one in picked.iter().filter(|p| p.item.moves && p.item.line.is_none()) {
        if let (Some(subject), Some(event)) = (subject_of(one), one.item.event_id) {
            let first = oldest.entry(subject).or_insert(event);
            *first = (*first).min(event);
        }
    }
    let Some(start) = oldest.values().min().copied() else {
        return Ok(PlanLate::default());
    };
    let (later, is_whole) = later_events(store, &oldest, start).await?;
    let done = steps_done(store, &later).await?;
    let mut late = PlanLate::default();
    let mut subjects = HashSet::new();
    for one in picked.iter_mut().filter(|p| p.item.moves && p.item.line.is_none()) {
        let (Some(subject), Some(event)) = (subject_of(one), one.item.event_id) else { continue };
        let of_step = |id: &EventId| {
            let (workflow, step) = (&one.item.workflow, &one.item.step);
            event < *id
                && workflow.as_ref().zip(step.as_ref()).is_some_and(|(workflow, step)| {
                    done.contains(&(*id, workflow.clone(), step.clone()))
                })
        };
        if later.get(&subject).is_some_and(|ids| ids.iter().any(of_step)) {
            one.item.is_late = true;
            late.items += 1;
            subjects.insert(subject);
        } else if !is_whole {
            late.unknown += 1;
        }
    }
    late.subjects = u64::try_from(subjects.len()).unwrap_or(0);
    Ok(late)
}

/// Events of these subjects behind the oldest of the plan, and whether all of them were looked at.
async fn later_events(
    store: &Store,
    oldest: &HashMap<Subject, EventId>,
    start: EventId,
) -> Result<(HashMap<Subject, Vec<EventId>>, bool), ReplayError> {
    let began = Instant::now();
    let mut later: HashMap<Subject, Vec<EventId>> = HashMap::new();
    let (mut after, mut looked_at, mut found) = (start, 0, 0);
    let mut is_whole = true;
    loop {
        let page = store.subjects_after(after, PAGE).await?;
        let Some((last, ..)) = page.last() else { return Ok((later, is_whole)) };
        after = *last;
        looked_at += page.len();
        let is_last = page.len() < PAGE;
        for (id, source, subject) in page {
            let subject = (source, subject);
            if oldest.get(&subject).is_none_or(|first| id <= *first) {
                continue;
            }
            let ids = later.entry(subject).or_default();
            if ids.len() == PER_SUBJECT {
                ids.remove(0);
                is_whole = false;
            } else {
                found += 1;
            }
            ids.push(id);
        }
        if is_last {
            return Ok((later, is_whole));
        }
        if EVENTS_MAX <= looked_at || LATER_MAX <= found || TIME <= began.elapsed() {
            return Ok((later, false));
        }
    }
}

/// The steps of these events that are `ok`.
async fn steps_done(
    store: &Store,
    later: &HashMap<Subject, Vec<EventId>>,
) -> Result<HashSet<(EventId, String, String)>, ReplayError> {
    let ids: Vec<EventId> = later.values().flatten().copied().collect();
    let tasks = store.picked_of(&[], &ids).await?;
    let done = tasks
        .into_iter()
        .filter(|p| p.item.status == "ok")
        .filter_map(|p| Some((p.item.event_id?, p.item.workflow?, p.item.step?)));
    Ok(done.collect())
}
