//! What a plan says beside its items: by which revision of the workflows they were routed, whether their
//! events keep their contracts, and how long it may take. What is not known is said to be so.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::ReplayError;
use super::edit::breaking;
use crate::api::{PlanContract, PlanRouting, PlanTime};
use crate::clock::from_micros;
use crate::event::micros;
use crate::execute::Lanes;
use crate::id::{EventId, TaskId};
use crate::in_force::InForce;
use crate::store::{Item, NEW, Picked, PlanReading, Store};
use crate::view::contracts::Expected;

/// Events that are held against their contracts, and for how long.
const EVENTS_MAX: usize = 2_000;
const TIME: Duration = Duration::from_millis(150);
/// Tasks of a destination whose calls are averaged.
const SAMPLE: usize = 256;

fn moving(picked: &[Picked]) -> impl Iterator<Item = &Picked> {
    picked.iter().filter(|p| p.item.moves)
}

/// The workflows of the items that move.
pub(super) async fn routing(
    store: &Store,
    picked: &[Picked],
    config: &InForce,
) -> Result<Vec<PlanRouting>, ReplayError> {
    let known = store.workflow_revisions().await?;
    let mut revisions = HashMap::new();
    let mut all: BTreeMap<&str, PlanRouting> = BTreeMap::new();
    for one in moving(picked) {
        let Some(name) = one.item.workflow.as_deref() else { continue };
        let revision = *revisions.entry(name).or_insert_with(|| {
            let workflow = config.workflows.get(name)?;
            known.get(name).filter(|r| r.digest == workflow.digest())
        });
        let of = all.entry(name).or_insert_with(|| PlanRouting {
            workflow: name.to_owned(),
            revision: revision.map(|r| r.number),
            since: revision.map(|r| micros(from_micros(r.since_us))),
            ..PlanRouting::default()
        });
        let is_same =
            revision.is_some_and(|r| one.item.status == NEW || r.since_us <= one.received_us);
        if is_same {
            of.same += 1;
        } else {
            of.earlier += 1;
        }
    }
    Ok(all.into_values().collect())
}

/// How the events of the items that move keep their contracts, as they would run.
pub(super) async fn contract(
    store: &Store,
    picked: &[Picked],
    readings: &[PlanReading],
    config: &InForce,
    expected: &mut Expected,
) -> Result<PlanContract, ReplayError> {
    let began = Instant::now();
    let mut told = PlanContract::default();
    let mut items: BTreeMap<EventId, u64> = BTreeMap::new();
    let mut mended: HashMap<EventId, &str> = HashMap::new();
    for reading in readings {
        if let Some(payload) = reading.payload.as_deref() {
            mended.insert(reading.event_id, payload);
        }
    }
    for one in moving(picked) {
        told.then += u64::from(one.is_drifted);
        match one.item.event_id {
            // As somebody mended it by hand: that was held against the contract then.
            Some(id) if one.item.revision == 0 || mended.contains_key(&id) => {
                *items.entry(id).or_default() += 1;
            }
            _ => told.unknown += 1,
        }
    }
    let events: Vec<EventId> = items.keys().copied().collect();
    for (place, group) in events.chunks(Store::KEPT_MAX).enumerate() {
        let is_over = EVENTS_MAX <= place * Store::KEPT_MAX || TIME <= began.elapsed();
        if is_over && 0 < place {
            break;
        }
        for kept in store.kept_events(group).await? {
            let Some(count) = items.remove(&kept.event.id) else { continue };
            let payload = mended.get(&kept.event.id).copied();
            let payload = payload.unwrap_or_else(|| kept.event.payload.json());
            match expected.of(config, &kept.event) {
                None => told.unknown += count,
                Some(schema) => {
                    told.looked_at += count;
                    told.today += if breaking(&schema, payload).is_empty() { 0 } else { count };
                }
            }
        }
    }
    told.unknown += items.values().sum::<u64>();
    Ok(told)
}

/// How long the slowest destination takes.
pub(super) async fn time(
    store: &Store,
    picked: &[Picked],
    lanes: &Lanes,
) -> Result<Option<PlanTime>, ReplayError> {
    let mut by_destination: BTreeMap<&str, Vec<TaskId>> = BTreeMap::new();
    for one in moving(picked) {
        if let (Some(destination), Item::Task(id)) = (&one.item.destination, one.item.item) {
            by_destination.entry(destination).or_default().push(id);
        }
    }
    let concurrency = lanes.concurrency().max(1);
    let mut slowest: Option<PlanTime> = None;
    for (destination, tasks) in by_destination {
        let every = tasks.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<TaskId> = tasks.iter().step_by(every).copied().collect();
        let call_us = store.mean_call_us(&sample).await?;
        let items = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let at_once = u32::try_from(concurrency).unwrap_or(u32::MAX);
        let rounds = items.div_ceil(at_once);
        let told = PlanTime {
            destination: destination.to_owned(),
            items: u64::from(items),
            concurrency: u64::from(at_once),
            call_ms: call_us.map(|us| us / 1e3),
            seconds: call_us.map(|us| us / 1e6 * f64::from(rounds)),
        };
        let rank = |t: &PlanTime| (t.seconds.unwrap_or(0.0), t.items);
        if slowest.as_ref().is_none_or(|slow| rank(slow) < rank(&told)) {
            slowest = Some(told);
        }
    }
    Ok(slowest)
}
