//! Replay that can be trusted: a plan that is frozen and says what it would do, and a durable job
//! that does exactly that, item by item.

mod candidate;
mod edit;
mod explain;
mod judge;
mod late;
mod lines;
mod made;
mod mend;
mod reroute;
mod run;
mod select;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::api::codes::Code;
use crate::api::{self, NewPlan, NewReplay, Plan};
use crate::execute::Breaker;
use crate::filter::FilterError;
use crate::id::{EventId, PlanId, ReplayId};
use crate::ingest::Ingest;
pub use crate::store::Control;
use crate::store::{
    Change, How, PLAN_LIFE_US, Picked, PlanReading, PlanRow, QueryError, ReplayRow, Store,
    StoreError,
};
use crate::view::contracts::Expected;
use crate::view::{self, ViewError};
use candidate::candidate;
pub use edit::edit;
pub use explain::{explain, explain_made};
use judge::Bench;
pub(crate) use judge::Summary;
use mend::{Mended, mend};
pub use run::run;
use select::{by_id, select};

/// The most items of one plan.
const ITEMS_MAX: usize = 1_000_000;

/// Why a plan or a replay was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("{0}")]
    BadRequest(String),
    #[error("nothing matches")]
    Empty,
    #[error("a reason is required")]
    ReasonRequired,
    #[error("the plan's hash is not `{given}`: it is another plan than the one that was shown")]
    Hash { given: String },
    #[error("{}", told_changes(*.count, .changes))]
    Changed { count: u64, changes: Vec<Change> },
    /// Late items, and nobody has said what becomes of them.
    #[error("{}", told_late(.0))]
    Late(api::PlanLate),
    /// An edited payload that cannot be run.
    #[error("{0}")]
    Invalid(String),
    /// The candidate configuration is wrong: every mistake, with its place.
    #[error("{0}")]
    Candidate(String),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReplayError {
    /// The stable code of the problem.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Filter(_) | Self::Query(_) => Code::BadFilter,
            Self::BadRequest(_) | Self::Candidate(_) | Self::Invalid(_) => Code::BadRequest,
            Self::Late(_) => Code::Late,
            Self::Empty => Code::EmptySelection,
            Self::ReasonRequired => Code::ReasonRequired,
            Self::Hash { .. } | Self::Changed { .. } => Code::PlanChanged,
            Self::View(error) => error.code(),
            Self::Store(error) => view::store_code(error),
        }
    }
}

fn told_changes(count: u64, changes: &[Change]) -> String {
    let first: Vec<String> = changes
        .iter()
        .map(|c| format!("{} was {}, is {}", c.item, c.was, c.is.as_deref().unwrap_or("gone")))
        .collect();
    let more = if u64::try_from(first.len()).is_ok_and(|n| n < count) { ", …" } else { "" };
    format!(
        "{count} of the plan's items have changed since it was made ({}{more}); make a new plan",
        first.join(", ")
    )
}

fn told_late(late: &api::PlanLate) -> String {
    let unknown = match late.unknown {
        0 => String::new(),
        count => format!(", and of {count} it is not known"),
    };
    let items = if late.items == 1 {
        "1 item has".to_owned()
    } else {
        format!("{} items have", late.items)
    };
    format!("{items} a later event already done{unknown}; say late: apply or skip")
}

/// Resolves a selection, once, to a frozen set of exact ids, and says what would become of each.
///
/// # Errors
///
/// An unknown field, an empty selection, an id that does not exist.
pub async fn create_plan(ingest: &Ingest, new: &NewPlan, who: &str) -> Result<Plan, ReplayError> {
    let asked = Asked::check(new)?;
    let store = &ingest.store;
    let config = match &new.config {
        Some(text) => Arc::new(candidate(text, new.providers.as_deref().unwrap_or_default())?),
        None => ingest.current.get(),
    };
    let mut found = select(store, new, &asked, &config).await?;
    if found.picked.is_empty() && found.rerouted.is_none() {
        return Err(ReplayError::Empty);
    }
    judge::needs_first(&mut found.picked);
    let mut expected = Expected::load(store).await?;
    let mut mended = match &new.edit {
        Some(edit) => mend(store, edit, &mut found.picked, &config, &mut expected).await?,
        None => Mended::default(),
    };
    let bench = Bench {
        asked: &asked,
        workflows: &config.workflows,
        circuits: open_circuits(ingest),
        paused: paused(store).await?,
        needed: needed(store, &found.picked).await?,
        unchanged: std::mem::take(&mut mended.unchanged),
    };
    let judged = bench.judge(&mut found.picked);
    let moving: HashSet<EventId> =
        found.picked.iter().filter(|p| p.item.moves).filter_map(|p| p.item.event_id).collect();
    mended.readings.retain(|reading| moving.contains(&reading.event_id));
    let is_replay = asked.action == "replay";
    let mut rerouted = found.rerouted.take().unwrap_or_default();
    rerouted.readings.append(&mut mended.readings);
    // Both are looked for as long as there is time: side by side.
    let (late, contract) = tokio::try_join!(
        async {
            if is_replay && new.config.is_none() {
                late::find(store, &found.picked).await
            } else {
                Ok(late::Late::default())
            }
        },
        async {
            if is_replay {
                let readings = &rerouted.readings;
                lines::contract(store, &found.picked, readings, &config, &mut expected).await
            } else {
                Ok(api::PlanContract::default())
            }
        },
    )?;
    let late = late.mark(&mut found.picked);
    let mut summary = judge::summarize(&found.picked, &judged);
    summary.late = late;
    summary.is_candidate = new.config.is_some();
    summary.difference = (asked.mode == Mode::Reroute).then_some(rerouted.difference);
    summary.needs_reason = asked.mode == Mode::Restart || new.edit.is_some() || found.names_steps;
    summary.edit = new.edit.is_some().then_some(mended.edited);
    summary.contract = contract;
    if is_replay {
        summary.routing = lines::routing(store, &found.picked, &config).await?;
        summary.time = lines::time(store, &found.picked, &ingest.lanes).await?;
    }
    for (place, one) in (1..).zip(found.picked.iter_mut()) {
        one.item.place = place;
        if asked.order == "received" && one.item.moves {
            one.item.key = late::key_of(one);
        }
    }
    let id = PlanId::next();
    let now = store.clock().now_us();
    // A candidate's plan is there to be looked at: it has expired from the start.
    let life = if summary.is_candidate { -1 } else { PLAN_LIFE_US };
    let row = PlanRow {
        id,
        action: asked.action.clone(),
        mode: asked.mode.as_str().to_owned(),
        order: asked.order.clone(),
        q: found.q,
        hash: hash_of(&asked, &found.picked, &rerouted.readings),
        who: who.to_owned(),
        created_us: now,
        expires_us: now + life,
        used_us: None,
        late: i64::try_from(late.items + late.unknown).unwrap_or(i64::MAX),
        summary: serde_json::to_string(&summary).unwrap_or_default(),
    };
    let is_candidate = summary.is_candidate;
    let items = found.picked.into_iter().map(|p| p.item);
    let (items, readings) =
        if is_candidate { (vec![], vec![]) } else { (items.collect(), rerouted.readings) };
    store.keep_plan(row, items, readings).await?;
    Ok(view::plan(store, &id.to_string()).await?)
}

/// Destinations whose circuit is open.
fn open_circuits(ingest: &Ingest) -> HashSet<String> {
    let lanes = ingest.lanes.state().into_iter();
    let open = lanes.filter(|lane| matches!(lane.breaker, Breaker::Open { .. }));
    open.map(|lane| lane.name.to_string()).collect()
}

/// Queues that stand still, and what is said of each: why an item waits.
async fn paused(store: &Store) -> Result<HashMap<String, String>, ReplayError> {
    let why = |pause: crate::store::QueuePause| {
        let until = match pause.until {
            Some(until) => format!("until {}", crate::event::micros(until)),
            None => "until it is resumed".to_owned(),
        };
        let why = format!("queue paused by {}: waits {until}", pause.who);
        (pause.name, why)
    };
    Ok(store.queue_pauses().await?.into_iter().map(why).collect())
}

/// How the tasks of those events stand whose planned tasks need others.
async fn needed(
    store: &Store,
    picked: &[Picked],
) -> Result<HashMap<(EventId, String, String), String>, ReplayError> {
    let events = picked.iter().filter(|p| p.need_names.is_some());
    let mut events: Vec<EventId> = events.filter_map(|p| p.item.event_id).collect();
    events.dedup();
    let tasks = store.picked_of(&[], &events).await?;
    let key = |p: Picked| {
        let item = p.item;
        Some(((item.event_id?, item.workflow?, item.step?), item.status))
    };
    Ok(tasks.into_iter().filter_map(key).collect())
}

/// What a replay does with its items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// Only what did not succeed.
    #[default]
    Resume,
    /// What succeeded, too.
    Restart,
    /// Read and routed again; new tasks where there are none.
    Reroute,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Reroute => "reroute",
        }
    }
}

/// What is asked of a plan, checked.
#[derive(Debug, Clone, Default)]
struct Asked {
    action: String,
    mode: Mode,
    /// `none` or `received`.
    order: String,
    limit: usize,
}

impl Asked {
    fn check(new: &NewPlan) -> Result<Self, ReplayError> {
        let bad = |text: String| Err(ReplayError::BadRequest(text));
        if new.action != "replay" && new.action != "discard" {
            return bad(format!("`{}` is no action: wanted replay or discard", new.action));
        }
        let mode = match new.mode.as_deref() {
            None | Some("resume") => Mode::Resume,
            Some("restart") => Mode::Restart,
            Some("reroute") => Mode::Reroute,
            Some(other) => {
                return bad(format!("`{other}` is no mode: wanted resume, restart or reroute"));
            }
        };
        if new.action == "discard" && mode != Mode::Resume {
            return bad("a discard has no mode".to_owned());
        }
        if new.edit.is_some() && (new.action != "replay" || mode != Mode::Resume) {
            return bad("an `edit` is for a replay in mode resume".to_owned());
        }
        if new.config.is_some() && mode != Mode::Reroute {
            return bad("a candidate `config` is for mode reroute".to_owned());
        }
        let order = new.order.as_deref().unwrap_or("none");
        if !matches!(order, "none" | "received") {
            return bad(format!("`{order}` is no order: wanted none or received"));
        }
        let limit = new.limit.map_or(ITEMS_MAX, |n| usize::try_from(n).unwrap_or(ITEMS_MAX));
        let (action, order) = (new.action.clone(), order.to_owned());
        Ok(Self { action, mode, order, limit: limit.min(ITEMS_MAX) })
    }
}

/// What a plan is, in one word: another set, another state or another action has another hash.
fn hash_of(asked: &Asked, picked: &[Picked], readings: &[PlanReading]) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{} {} {}\n", asked.action, asked.mode.as_str(), asked.order));
    let mut line = String::new();
    for one in picked {
        let item = &one.item;
        line.clear();
        let _ = writeln!(
            line,
            "{} {} {} {} {}",
            item.item, item.status, item.attempt, item.would, item.is_late
        );
        digest.update(&line);
    }
    for reading in readings {
        if let Some(payload) = &reading.payload {
            digest.update(format!("{} {payload}\n", reading.event_id));
        }
    }
    format!("sha256:{}", hex::encode(&digest.finalize()[..16]))
}

/// Begins the replay of a plan. It runs on the daemon from here on, whatever becomes of the caller.
///
/// # Errors
///
/// A plan that is used, expired, or whose items have changed; a restart without a reason; late items
/// of which nothing is said.
pub async fn create_replay(
    ingest: &Ingest,
    new: &NewReplay,
    who: &str,
) -> Result<api::Replay, ReplayError> {
    if new.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(ReplayError::BadRequest("`rate` is items per second, above 0".to_owned()));
    }
    let store = &ingest.store;
    let plan = plan_to_use(store, &new.plan, Some(&new.hash)).await?;
    if plan.action != "replay" {
        return Err(ReplayError::BadRequest(format!("`{}` is a plan to {}", plan.id, plan.action)));
    }
    let reason = new.reason.clone().filter(|reason| !reason.trim().is_empty());
    let summary: Option<Summary> = serde_json::from_str(&plan.summary).ok();
    let needs_reason = plan.mode == Mode::Restart.as_str()
        || summary.as_ref().is_none_or(|summary| summary.needs_reason);
    if needs_reason && reason.is_none() {
        return Err(ReplayError::ReasonRequired);
    }
    let counts = summary.as_ref().map(|s| s.counts).unwrap_or_default();
    let late = summary.map(|s| s.late).unwrap_or_default();
    let how = how(new, &plan, counts.moves, late)?;
    let id = ReplayId::next();
    store
        .begin_replay(ReplayRow {
            id,
            plan_id: plan.id,
            action: plan.action,
            mode: plan.mode,
            q: plan.q,
            who: who.to_owned(),
            reason,
            created_us: store.clock().now_us(),
            ended_us: None,
            status: "running".to_owned(),
            detail: None,
            rate: new.rate,
            cursor: 0,
            total: i64::try_from(counts.total).unwrap_or(0),
            how,
            moved: 0,
            failed: 0,
            forgiven: 0,
            canary_is_over: false,
            paused_by: None,
        })
        .await?;
    Ok(view::replay(store, &id.to_string()).await?)
}

/// How the replay goes about its items, checked.
fn how(
    new: &NewReplay,
    plan: &PlanRow,
    moves: u64,
    late: api::PlanLate,
) -> Result<How, ReplayError> {
    let bad = |text: &str| ReplayError::BadRequest(text.to_owned());
    let some = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let late = match new.late.as_deref() {
        None | Some("ask") if plan.late == 0 => "apply",
        None | Some("ask") => return Err(ReplayError::Late(late)),
        Some(word @ ("apply" | "skip")) => word,
        Some(_) => return Err(bad("`late` is ask, apply or skip")),
    };
    let after_canary = match new.after_canary.as_deref() {
        None | Some("go") => "go",
        Some("ask") => "ask",
        Some(_) => return Err(bad("`after_canary` is go or ask")),
    };
    if new.concurrency == Some(0) || new.canary == Some(0) {
        return Err(bad("`concurrency` and `canary` are above 0"));
    }
    let stop_after = new.stop_after.as_deref().map(|text| stop_after(text, moves)).transpose()?;
    Ok(How {
        order: plan.order.clone(),
        late: late.to_owned(),
        concurrency: new.concurrency.map(i64::from),
        canary: new.canary.map(some),
        after_canary: after_canary.to_owned(),
        stop_after,
    })
}

/// `N`, or `N%` of what moves: at least one.
fn stop_after(text: &str, moves: u64) -> Result<i64, ReplayError> {
    let count = match text.strip_suffix('%') {
        None => text.parse::<u64>().ok(),
        Some(share) => share
            .parse::<u64>()
            .ok()
            .filter(|share| (1..=100).contains(share))
            .map(|share| moves.saturating_mul(share).div_ceil(100).max(1)),
    };
    let count = count.filter(|count| 0 < *count);
    let bad = || ReplayError::BadRequest("`stop_after` is N or N%, above 0".to_owned());
    Ok(i64::try_from(count.ok_or_else(bad)?).unwrap_or(i64::MAX))
}

/// A plan that may be used: known, of this hash, not used, its items as they were.
async fn plan_to_use(store: &Store, id: &str, hash: Option<&str>) -> Result<PlanRow, ReplayError> {
    let id: PlanId = id.parse().map_err(|e| ReplayError::BadRequest(format!("{e}")))?;
    let plan = store.plan(id).await?.ok_or_else(|| StoreError::NotFound { id: id.to_string() })?;
    if let Some(given) = hash.filter(|given| *given != plan.hash) {
        return Err(ReplayError::Hash { given: given.to_owned() });
    }
    // Used and expired are said by the store, with the row in hand; changed must not hide them.
    if plan.used_us.is_none() && store.clock().now_us() <= plan.expires_us {
        let (count, changes) = store.plan_changes(id).await?;
        if count > 0 {
            return Err(ReplayError::Changed { count, changes });
        }
    }
    Ok(plan)
}

/// Pauses, resumes or cancels a replay. Cancelling takes nothing back.
///
/// # Errors
///
/// A replay that does not exist, or is over.
pub async fn control(
    store: &Store,
    id: &str,
    control: Control,
    who: &str,
    how: &api::ReplayControl,
) -> Result<api::Replay, ReplayError> {
    if how.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(ReplayError::BadRequest("`rate` is items per second, above 0".to_owned()));
    }
    let id = view::replay_id(store, id).await?;
    let reason = how.reason.clone();
    store.control_replay(id, control, who.to_owned(), reason, how.rate).await?;
    Ok(view::replay(store, &id.to_string()).await?)
}

/// Takes dead letters out of the queue: one by its id, more by a plan. They stay listed.
///
/// # Errors
///
/// No reason, several ids without a plan, a plan that cannot be used.
pub async fn discard(
    store: &Store,
    discard: &api::Discard,
    who: &str,
) -> Result<api::Discarded, ReplayError> {
    if discard.reason.trim().is_empty() {
        return Err(ReplayError::ReasonRequired);
    }
    let items = match (&discard.ids, &discard.plan) {
        (Some(ids), None) => {
            let [id] = ids.as_slice() else {
                return Err(ReplayError::BadRequest(
                    "one id; more are discarded by a plan with action discard".to_owned(),
                ));
            };
            by_id(store, id).await?
        }
        (None, Some(plan)) => {
            let plan = plan_to_use(store, plan, discard.hash.as_deref()).await?;
            if plan.action != "discard" {
                let text = format!("`{}` is a plan to {}", plan.id, plan.action);
                return Err(ReplayError::BadRequest(text));
            }
            store.take_plan(plan.id).await?;
            store.plan_items(plan.id, 0, ITEMS_MAX).await?
        }
        _ => return Err(ReplayError::BadRequest("give either `ids` or `plan`".to_owned())),
    };
    let asked = items.len();
    let done = store.discard_items(items, who.to_owned(), discard.reason.clone()).await?;
    Ok(api::Discarded {
        v: api::V,
        object: "discarded".to_owned(),
        discarded: done,
        skipped: u64::try_from(asked).unwrap_or(0).saturating_sub(done),
    })
}
