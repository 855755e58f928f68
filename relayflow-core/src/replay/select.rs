//! Which tasks and requests a plan is about: resolved once, to exact ids.

use std::collections::HashSet;

use super::reroute::{Rerouted, reroute};
use super::{Asked, Mode, ReplayError};
use crate::api::NewPlan;
use crate::filter::{Field, Filter, Now, Term, Test, Word};
use crate::id::{EventId, ReplayId, RequestId, TaskId};
use crate::in_force::InForce;
use crate::store::{Item, ItemRow, Over, Picked, RequestRow, Selection, Store, Way};
use crate::task::TaskStatus;
use crate::view;

/// The most ids that are named one by one.
const IDS_MAX: usize = 100_000;
/// Items of an earlier replay that are read at once.
const PAGE: usize = 10_000;

/// What was selected, the oldest first.
pub(super) struct Found {
    /// The filter as it was understood.
    pub(super) q: Option<String>,
    pub(super) picked: Vec<Picked>,
    /// Of mode `reroute`.
    pub(super) rerouted: Option<Rerouted>,
    /// Whether exactly these steps were asked for, of whatever has been done before (mode `reroute`).
    pub(super) names_steps: bool,
}

impl Found {
    fn of(q: Option<String>, picked: Vec<Picked>) -> Self {
        Self { q, picked, rerouted: None, names_steps: false }
    }
}

/// What the plan is about.
pub(super) async fn select(
    store: &Store,
    new: &NewPlan,
    asked: &Asked,
    config: &InForce,
) -> Result<Found, ReplayError> {
    let mut found = match (&new.q, &new.ids, &new.from) {
        (Some(q), None, None) => by_filter(store, q, asked, config).await?,
        (None, Some(ids), None) => by_ids(store, ids, asked, config).await?,
        (None, None, Some(replay)) => {
            of_replay(store, replay, new.failed.unwrap_or(false), asked, config).await?
        }
        _ => {
            let text = "give either `q` or `ids`, or `from` a replay".to_owned();
            return Err(ReplayError::BadRequest(text));
        }
    };
    found.picked.sort_by_key(|p| (p.received_us, p.item.event_id));
    let mut seen = HashSet::new();
    found.picked.retain(|p| seen.insert(p.item.item));
    found.picked.truncate(asked.limit);
    Ok(found)
}

async fn by_filter(
    store: &Store,
    q: &str,
    asked: &Asked,
    config: &InForce,
) -> Result<Found, ReplayError> {
    let now = Now { now: store.clock().now(), zone: jiff::tz::TimeZone::UTC };
    let filter = Filter::parse(q, &now)?;
    if filter == Filter::All {
        return Err(ReplayError::BadRequest(
            "an empty filter selects everything; say status:dead, or a window such as since:24h"
                .to_owned(),
        ));
    }
    named_exist(store, &filter).await?;
    let limit = asked.limit;
    let mut found = match asked.mode {
        Mode::Resume => {
            let selection = Selection::new(&filter, Over::DeadTasks)?;
            Found::of(None, store.plan_tasks(&selection, limit).await?)
        }
        Mode::Restart => {
            let selection = Selection::new(&filter, Over::Tasks)?;
            let picked = store.plan_tasks(&selection, limit).await?;
            let names_steps =
                filter.terms().iter().any(|t| matches!(t.field, Field::Step | Field::Workflow));
            // Whole events, unless steps are named.
            let picked = if names_steps {
                picked
            } else {
                store.picked_of(&[], &events_of(&picked)).await?
            };
            Found::of(None, picked)
        }
        Mode::Reroute => {
            let (of_events, named) = apart(&filter);
            let selection = Selection::new(&of_events, Over::Events)?;
            let events = store.plan_events(&selection, limit).await?;
            reroute(store, &events, config, &named).await?.into_found(!named.is_empty())
        }
    };
    // Unreadable requests are dead letters too, unless the filter asks for what only tasks have.
    if !found.names_steps
        && let Ok(requests) = Selection::new(&filter, Over::Requests)
    {
        let dead = store.dead_requests(&requests, Way::Newest, None, limit).await?;
        found.picked.extend(dead.into_iter().filter(|r| r.status == "dead").map(picked_request));
    }
    found.q = Some(filter.to_string());
    Ok(found)
}

/// What is named must be there, and be one thing: a misspelt id is no empty selection.
async fn named_exist(store: &Store, filter: &Filter) -> Result<(), ReplayError> {
    for term in filter.terms().into_iter().filter(|term| term.field == Field::Id) {
        let Test::OneOf(words) = &term.test else { continue };
        for word in words {
            let text = word.text.as_str();
            if text.starts_with(TaskId::PREFIX) {
                view::task_id(store, text).await?;
            } else if text.starts_with(RequestId::PREFIX) {
                view::request_id(store, text).await?;
            } else if text.starts_with(EventId::PREFIX) {
                view::event_id(store, text).await?;
            } else if text.starts_with(ReplayId::PREFIX) {
                view::replay_id(store, text).await?;
            }
        }
    }
    Ok(())
}

/// To route again is about events; a `step:` beside the rest of the filter names the steps that it is
/// for. Answers the filter without those, and their words.
fn apart(filter: &Filter) -> (Filter, Vec<Word>) {
    let Filter::And(parts) = filter else {
        return (filter.clone(), vec![]);
    };
    let mut named = Vec::new();
    let mut rest = Vec::new();
    for part in parts {
        if let Filter::Term(Term { field: Field::Step, test: Test::OneOf(words) }) = part {
            named.extend(words.iter().cloned());
        } else {
            rest.push(part.clone());
        }
    }
    // Nothing else is said of the events: they are those that have a task of that step.
    if rest.is_empty() { (filter.clone(), vec![]) } else { (Filter::And(rest), named) }
}

fn events_of(picked: &[Picked]) -> Vec<EventId> {
    let mut events: Vec<EventId> = picked.iter().filter_map(|p| p.item.event_id).collect();
    events.sort_unstable();
    events.dedup();
    events
}

/// What ids stand for.
#[derive(Default)]
struct Named {
    tasks: Vec<TaskId>,
    events: Vec<EventId>,
    requests: Vec<RequestId>,
}

async fn by_ids(
    store: &Store,
    ids: &[String],
    asked: &Asked,
    config: &InForce,
) -> Result<Found, ReplayError> {
    if IDS_MAX < ids.len() {
        return Err(ReplayError::BadRequest(format!("at most {IDS_MAX} ids; use a filter")));
    }
    let mut named = Named::default();
    for text in ids {
        named.add(store, text).await?;
    }
    named.found(store, asked, config).await
}

impl Named {
    async fn add(&mut self, store: &Store, text: &str) -> Result<(), ReplayError> {
        if text.starts_with(RequestId::PREFIX) {
            self.requests.push(view::request_id(store, text).await?);
        } else if text.starts_with(TaskId::PREFIX) {
            // A whole id is not looked up twice.
            let whole = text.parse().ok();
            let id = if let Some(id) = whole { id } else { view::task_id(store, text).await? };
            self.tasks.push(id);
        } else {
            self.events.push(view::event_id(store, text).await?);
        }
        Ok(())
    }

    async fn found(
        self,
        store: &Store,
        asked: &Asked,
        config: &InForce,
    ) -> Result<Found, ReplayError> {
        let mut found = if asked.mode == Mode::Reroute {
            let mut events = events_of(&store.picked_of(&self.tasks, &[]).await?);
            events.extend(&self.events);
            reroute(store, &events, config, &[]).await?.into_found(false)
        } else {
            let mut picked = store.picked_of(&self.tasks, &[]).await?;
            if let (true, Some(gone)) = (picked.is_empty(), self.tasks.first()) {
                return Err(view::ViewError::NotFound(gone.to_string()).into());
            }
            let mut of_events = store.picked_of(&[], &self.events).await?;
            if asked.mode == Mode::Resume {
                // An event stands for its tasks that did not succeed.
                of_events.retain(|p| {
                    let status = TaskStatus::from_word(&p.item.status);
                    status.is_some_and(|s| s.is_ended() && s != TaskStatus::Ok)
                });
            }
            picked.extend(of_events);
            Found::of(None, picked)
        };
        for id in self.requests {
            found.picked.extend(store.request(id).await?.map(picked_request));
        }
        Ok(found)
    }
}

/// The one thing that `text` names, to be discarded.
pub(super) async fn by_id(store: &Store, text: &str) -> Result<Vec<ItemRow>, ReplayError> {
    let mut named = Named::default();
    named.add(store, text).await?;
    let asked = Asked { action: "discard".to_owned(), ..Asked::default() };
    let config = InForce::default();
    let found = named.found(store, &asked, &config).await?;
    Ok(found.picked.into_iter().map(|p| p.item).collect())
}

/// The items of an earlier replay: all of them, or those that died, were discarded or never ran.
async fn of_replay(
    store: &Store,
    replay: &str,
    failed: bool,
    asked: &Asked,
    config: &InForce,
) -> Result<Found, ReplayError> {
    let id = view::replay_id(store, replay).await?;
    let row = store.replay(id).await?;
    let row = row.ok_or_else(|| view::ViewError::NotFound(replay.to_owned()))?;
    let mut named = Named::default();
    let mut behind = 0;
    loop {
        let items = store.replay_items(&row, behind, PAGE).await?;
        let Some(last) = items.last() else { break };
        behind = last.place;
        for item in &items {
            let is_well = item.state == "skipped"
                || matches!(item.verdict.as_deref(), Some("ok" | "skipped"));
            if failed && is_well {
                continue;
            }
            match item.item {
                Item::Task(id) => named.tasks.push(id),
                Item::Request(id) => named.requests.push(id),
            }
        }
    }
    if named.tasks.is_empty() && named.requests.is_empty() {
        return Err(ReplayError::Empty);
    }
    let mut found = named.found(store, asked, config).await?;
    found.q = Some(format!("replay:{id}{}", if failed { " failed" } else { "" }));
    Ok(found)
}

fn picked_request(row: RequestRow) -> Picked {
    Picked {
        item: ItemRow {
            place: 0,
            item: Item::Request(row.id),
            status: row.status,
            attempt: 0,
            would: String::new(),
            moves: false,
            why: None,
            is_late: false,
            key: None,
            destination: None,
            event_id: None,
            workflow: None,
            step: None,
            need_names: None,
            line: None,
            revision: 0,
        },
        received_us: row.received_us,
        source: row.source,
        subject: None,
        need_names: None,
        may_have_effect: false,
        fault: None,
        has_succeeded: false,
        is_drifted: false,
    }
}
