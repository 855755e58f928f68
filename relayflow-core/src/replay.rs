//! Replay that can be trusted: a plan that is frozen and says what it would do, and a durable job
//! that does exactly that, item by item.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::api::codes::Code;
use crate::api::{self, NewPlan, NewReplay, Plan, PlanCounts, PlanGroup};
use crate::clock::from_micros;
use crate::event::micros;
use crate::filter::{Filter, FilterError, Now};
use crate::id::{PlanId, ReplayId, RequestId, TaskId};
use crate::ingest::{Ingest, ReadmitError};
pub use crate::store::Control;
use crate::store::{
    Item, ItemRow, Over, PLAN_LIFE_US, PlanRow, QueryError, ReplayRow, Reread, Selection, Store,
    StoreError,
};
use crate::view::{self, ViewError};

/// The most items of one plan.
const ITEMS_MAX: usize = 1_000_000;
/// The most ids that are named one by one.
const IDS_MAX: usize = 100_000;
/// Items moved at once, and how many may be under way before more are moved.
const MOVE_MAX: usize = 500;
const UNDER_WAY_MAX: i64 = 2_000;
const TICK: Duration = Duration::from_millis(100);

/// Why a plan or a replay was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    NotYet(String),
    #[error("nothing matches")]
    Empty,
    #[error("a reason is required")]
    ReasonRequired,
    #[error("the plan's hash is not `{given}`: it is another plan than the one that was shown")]
    Hash { given: String },
    #[error("{count} of the plan's items have changed since it was made; make a new plan")]
    Changed { count: u64 },
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
            Self::BadRequest(_) => Code::BadRequest,
            Self::NotYet(_) => Code::NotYet,
            Self::Empty => Code::EmptySelection,
            Self::ReasonRequired => Code::ReasonRequired,
            Self::Hash { .. } | Self::Changed { .. } => Code::PlanChanged,
            Self::View(error) => error.code(),
            Self::Store(error) => view::store_code(error),
        }
    }
}

/// Resolves a selection, once, to a frozen set of exact ids, and says what would become of each.
///
/// # Errors
///
/// An unknown field, an empty selection, an id that does not exist.
pub async fn create_plan(ingest: &Ingest, new: &NewPlan, who: &str) -> Result<Plan, ReplayError> {
    let asked = Asked::check(new)?;
    let store = &ingest.store;
    let mut found = match (&new.q, &new.ids) {
        (Some(q), None) => by_filter(store, q, asked.limit).await?,
        (None, Some(ids)) => by_ids(store, ids).await?,
        _ => return Err(ReplayError::BadRequest("give either `q` or `ids`".to_owned())),
    };
    found.rows.truncate(asked.limit);
    if found.rows.is_empty() {
        return Err(ReplayError::Empty);
    }
    for (place, (item, _)) in (1..).zip(found.rows.iter_mut()) {
        item.place = place;
        item.would = would(&asked.action, item).0.to_owned();
    }
    let id = PlanId::next();
    let now = store.clock().now_us();
    let q = found.q.clone();
    let summary = summarize(&asked, &found);
    let row = PlanRow {
        id,
        action: asked.action.clone(),
        mode: asked.mode.clone(),
        q,
        hash: hash_of(&asked, &found),
        who: who.to_owned(),
        created_us: now,
        expires_us: now + PLAN_LIFE_US,
        used_us: None,
        summary: serde_json::to_string(&summary).unwrap_or_default(),
    };
    let items = found.rows.into_iter().map(|(item, _)| item).collect();
    store.keep_plan(row, items).await?;
    Ok(view::plan(store, &id.to_string()).await?)
}

/// What is asked of a plan, checked.
struct Asked {
    action: String,
    mode: String,
    limit: usize,
}

impl Asked {
    fn check(new: &NewPlan) -> Result<Self, ReplayError> {
        let bad = |text: String| Err(ReplayError::BadRequest(text));
        if new.action != "replay" && new.action != "discard" {
            return bad(format!("`{}` is no action: wanted replay or discard", new.action));
        }
        let mode = new.mode.clone().unwrap_or_else(|| "resume".to_owned());
        match mode.as_str() {
            "resume" => {}
            "restart" | "reroute" => {
                return Err(ReplayError::NotYet(format!("mode {mode} comes in a later version")));
            }
            _ => return bad(format!("`{mode}` is no mode: wanted resume, restart or reroute")),
        }
        if new.config.is_some() {
            return Err(ReplayError::NotYet(
                "plans with a candidate configuration come in a later version".to_owned(),
            ));
        }
        match new.order.as_deref() {
            None | Some("none") => {}
            Some("received") => {
                return Err(ReplayError::NotYet(
                    "order received comes in a later version".to_owned(),
                ));
            }
            Some(other) => return bad(format!("`{other}` is no order: wanted none or received")),
        }
        let limit = new.limit.map_or(ITEMS_MAX, |n| usize::try_from(n).unwrap_or(ITEMS_MAX));
        Ok(Self { action: new.action.clone(), mode, limit: limit.min(ITEMS_MAX) })
    }
}

/// The rows of a plan with the moments at which their requests came in.
struct Found {
    q: Option<String>,
    rows: Vec<(ItemRow, i64)>,
}

async fn by_filter(store: &Store, q: &str, limit: usize) -> Result<Found, ReplayError> {
    let now = Now { now: store.clock().now(), zone: jiff::tz::TimeZone::UTC };
    let filter = Filter::parse(q, &now)?;
    if filter == Filter::All {
        return Err(ReplayError::BadRequest(
            "an empty filter selects everything; say status:dead, or a window such as since:24h"
                .to_owned(),
        ));
    }
    let tasks = Selection::new(&filter, Over::DeadTasks)?;
    let mut rows = store.plan_tasks(&tasks, limit).await?;
    // Unreadable requests are dead letters too, unless the filter asks for what only tasks have.
    if let Ok(requests) = Selection::new(&filter, Over::Requests) {
        let dead = store.dead_requests(&requests, None, limit).await?;
        rows.extend(dead.into_iter().filter(|r| r.status == "dead").map(request_item));
        rows.sort_by_key(|(_, received)| *received);
    }
    Ok(Found { q: Some(filter.to_string()), rows })
}

async fn by_ids(store: &Store, ids: &[String]) -> Result<Found, ReplayError> {
    if IDS_MAX < ids.len() {
        return Err(ReplayError::BadRequest(format!("at most {IDS_MAX} ids; use a filter")));
    }
    let mut rows: Vec<(ItemRow, i64)> = Vec::with_capacity(ids.len());
    for text in ids {
        rows.extend(by_id(store, text).await?);
    }
    rows.sort_by_key(|(_, received)| *received);
    let mut seen = std::collections::HashSet::new();
    rows.retain(|(row, _)| seen.insert(row.item));
    Ok(Found { q: None, rows })
}

async fn by_id(store: &Store, text: &str) -> Result<Vec<(ItemRow, i64)>, ReplayError> {
    if text.starts_with(RequestId::PREFIX) {
        let id = view::request_id(store, text).await?;
        let row = store.request(id).await?;
        return Ok(row.map(request_item).into_iter().collect());
    }
    let tasks = if text.starts_with(TaskId::PREFIX) {
        let id = view::task_id(store, text).await?;
        store.task(id).await?.into_iter().collect()
    } else {
        // An event stands for its tasks that did not succeed.
        let id = view::event_id(store, text).await?;
        let mut tasks = store.tasks_of(id).await?;
        tasks.retain(|t| t.status.is_ended() && t.status != crate::task::TaskStatus::Ok);
        tasks
    };
    Ok(tasks.into_iter().map(task_item).collect())
}

fn task_item(task: crate::store::TaskRow) -> (ItemRow, i64) {
    let item = ItemRow {
        place: 0,
        item: Item::Task(task.id),
        status: task.status.as_str().to_owned(),
        attempt: task.attempt,
        would: String::new(),
        destination: Some(task.destination),
        event_id: Some(task.event_id),
    };
    (item, task.received_us)
}

fn request_item(row: crate::store::RequestRow) -> (ItemRow, i64) {
    let item = ItemRow {
        place: 0,
        item: Item::Request(row.id),
        status: row.status,
        attempt: 0,
        would: String::new(),
        destination: None,
        event_id: None,
    };
    (item, row.received_us)
}

/// What a plan would do with an item, to what effect, and why.
fn would(action: &str, item: &ItemRow) -> (&'static str, &'static str, &'static str) {
    let is_command = item.destination.as_deref().is_some_and(|d| d.starts_with("command:"));
    if action == "discard" {
        return match item.status.as_str() {
            "queued" | "retrying" | "dead" => ("run", "discard", "leaves the queue, stays listed"),
            "running" => ("run", "discard", "runs now: discarded unless it succeeds"),
            _ => ("skip", "discard", "has ended already"),
        };
    }
    match item.status.as_str() {
        "ok" => ("skip", "", "already ok"),
        "queued" | "running" | "retrying" => ("skip", "", "on its way already"),
        "accepted" | "duplicate" => ("skip", "", "was read already"),
        "rejected" => ("skip", "", "not verified: mend the secret and readmit it"),
        _ if item.destination.is_none() => {
            ("run", "read again", "today's definition reads its bytes")
        }
        _ if is_command => ("run_at_risk", "run the command", "a command may not know its key"),
        _ => ("run", "call again", "the same idempotency key is sent"),
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Summary {
    pub(crate) counts: PlanCounts,
    pub(crate) groups: Vec<PlanGroup>,
    pub(crate) oldest_at: Option<String>,
    pub(crate) newest_at: Option<String>,
    pub(crate) events: u64,
}

fn summarize(asked: &Asked, found: &Found) -> Summary {
    let mut counts = PlanCounts::default();
    let mut groups: Vec<PlanGroup> = Vec::new();
    let mut events = std::collections::HashSet::new();
    for (item, _) in &found.rows {
        let (verdict, effect, why) = would(&asked.action, item);
        counts.total += 1;
        match verdict {
            "run" => counts.run += 1,
            "run_at_risk" => counts.run_at_risk += 1,
            "skip" => counts.skip += 1,
            _ => counts.blocked += 1,
        }
        events.extend(item.event_id);
        let destination = item.destination.as_deref().unwrap_or("–");
        let known = groups
            .iter_mut()
            .find(|g| g.would == verdict && g.destination == destination && g.why == why);
        match known {
            Some(group) => group.count += 1,
            None => groups.push(PlanGroup {
                would: verdict.to_owned(),
                destination: destination.to_owned(),
                effect: effect.to_owned(),
                why: why.to_owned(),
                count: 1,
            }),
        }
    }
    let moment = |us: Option<&i64>| us.map(|us| micros(from_micros(*us)));
    Summary {
        counts,
        groups,
        oldest_at: moment(found.rows.iter().map(|(_, at)| at).min()),
        newest_at: moment(found.rows.iter().map(|(_, at)| at).max()),
        events: u64::try_from(events.len()).unwrap_or(0),
    }
}

/// What a plan is, in one word: another set, another state or another action has another hash.
fn hash_of(asked: &Asked, found: &Found) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{} {}\n", asked.action, asked.mode));
    for (item, _) in &found.rows {
        digest.update(format!("{} {} {} {}\n", item.item, item.status, item.attempt, item.would));
    }
    format!("sha256:{}", hex::encode(&digest.finalize()[..16]))
}

/// Begins the replay of a plan. It runs on the daemon from here on, whatever becomes of the caller.
///
/// # Errors
///
/// A plan that is used, expired, or whose items have changed.
pub async fn create_replay(
    ingest: &Ingest,
    new: &NewReplay,
    who: &str,
) -> Result<api::Replay, ReplayError> {
    if new.canary.is_some() || new.stop_after.is_some() || new.concurrency.is_some() {
        return Err(ReplayError::NotYet(
            "canary, stop_after and concurrency come in a later version".to_owned(),
        ));
    }
    if new.late.as_deref().is_some_and(|late| late != "apply" && late != "ask") {
        return Err(ReplayError::NotYet("late comes in a later version".to_owned()));
    }
    if new.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(ReplayError::BadRequest("`rate` is items per second, above 0".to_owned()));
    }
    let store = &ingest.store;
    let plan = plan_to_use(store, &new.plan, Some(&new.hash)).await?;
    if plan.action != "replay" {
        return Err(ReplayError::BadRequest(format!("`{}` is a plan to {}", plan.id, plan.action)));
    }
    let id = ReplayId::next();
    let summary: Option<Summary> = serde_json::from_str(&plan.summary).ok();
    store
        .begin_replay(ReplayRow {
            id,
            plan_id: plan.id,
            action: plan.action,
            mode: plan.mode,
            q: plan.q,
            who: who.to_owned(),
            reason: new.reason.clone(),
            created_us: store.clock().now_us(),
            ended_us: None,
            status: "running".to_owned(),
            detail: None,
            rate: new.rate,
            cursor: 0,
            total: summary.map_or(0, |s| i64::try_from(s.counts.total).unwrap_or(0)),
        })
        .await?;
    Ok(view::replay(store, &id.to_string()).await?)
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
        let count = store.plan_changes(id).await?;
        if count > 0 {
            return Err(ReplayError::Changed { count });
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
) -> Result<api::Replay, ReplayError> {
    let id = view::replay_id(store, id).await?;
    store.control_replay(id, control, who.to_owned(), None).await?;
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
            by_id(store, id).await?.into_iter().map(|(item, _)| item).collect()
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

/// Carries out every replay that is not over, until it is told to stop. What it was doing goes on
/// where it stood when the daemon is back.
pub async fn run(ingest: Arc<Ingest>, stop: CancellationToken) {
    let mut budgets: std::collections::HashMap<ReplayId, f64> = std::collections::HashMap::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut idle_ticks = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // Without a replay a look each second is enough, unless the counters say otherwise.
        idle_ticks = idle_ticks.saturating_add(1);
        let open = match ingest.store.open_replays().await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "open replays could not be read");
                continue;
            }
        };
        for replay in open.iter().filter(|r| r.status == "running") {
            idle_ticks = 0;
            let budget = budgets.entry(replay.id).or_insert(0.0);
            if let Err(error) = advance(&ingest, replay, budget, &stop).await {
                tracing::warn!(replay_id = %replay.id, %error, "a replay could not go on");
            }
        }
        budgets.retain(|id, _| open.iter().any(|r| r.id == *id));
    }
}

/// Moves what may be moved now, and gives verdicts to what has ended.
async fn advance(
    ingest: &Ingest,
    replay: &ReplayRow,
    budget: &mut f64,
    stop: &CancellationToken,
) -> Result<(), ReplayError> {
    let store = &ingest.store;
    let under_way = store.settle_items(replay.id).await?;
    if replay.total <= replay.cursor {
        if under_way == 0 {
            store.end_replay(replay.id).await?;
        }
        return Ok(());
    }
    let room = usize::try_from(UNDER_WAY_MAX - under_way).unwrap_or(0).min(MOVE_MAX);
    let allowed = match replay.rate {
        None => room,
        Some(rate) => {
            *budget = (*budget + rate * TICK.as_secs_f64()).min(rate.max(1.0));
            whole(*budget).min(room)
        }
    };
    if allowed == 0 {
        return Ok(());
    }
    let items = store.plan_items(replay.plan_id, replay.cursor, allowed).await?;
    if replay.rate.is_some() {
        *budget -= f64::from(u32::try_from(items.len()).unwrap_or(u32::MAX));
    }
    let mut tasks: Vec<ItemRow> = Vec::new();
    for item in items {
        let Item::Request(id) = item.item else {
            tasks.push(item);
            continue;
        };
        // Items move in their order, so that the cursor never passes one that has not.
        if !move_tasks(store, replay.id, &mut tasks).await? || stop.is_cancelled() {
            return Ok(());
        }
        reread(ingest, replay, item, id).await?;
    }
    move_tasks(store, replay.id, &mut tasks).await?;
    Ok(())
}

async fn move_tasks(
    store: &Store,
    replay: ReplayId,
    tasks: &mut Vec<ItemRow>,
) -> Result<bool, ReplayError> {
    if tasks.is_empty() {
        return Ok(true);
    }
    Ok(store.move_items(replay, std::mem::take(tasks)).await?)
}

/// Reads an unreadable request again, and notes what became of it.
async fn reread(
    ingest: &Ingest,
    replay: &ReplayRow,
    item: ItemRow,
    id: RequestId,
) -> Result<(), ReplayError> {
    if !item.would.starts_with("run") {
        let why = format!("was {}", item.status);
        return Ok(ingest.store.end_request_item(replay.id, item, "skipped", why).await?);
    }
    let by = Reread {
        who: replay.who.clone(),
        reason: replay.reason.clone(),
        replay_id: Some(replay.id),
    };
    let (state, verdict) = match ingest.read_again(id, by).await {
        Ok(read) if read.status == "dead" || read.status == "rejected" => {
            ("ended", "dead".to_owned())
        }
        Ok(_) => ("ended", "ok".to_owned()),
        Err(ReadmitError::NotKept { status, .. }) => ("skipped", format!("was {status}")),
        Err(ReadmitError::Store(StoreError::Changed { found, .. })) => {
            ("skipped", format!("was {found}"))
        }
        Err(ReadmitError::Store(error)) => return Err(error.into()),
        Err(other) => ("skipped", other.to_string()),
    };
    Ok(ingest.store.end_request_item(replay.id, item, state, verdict).await?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a budget is between 0 and the rate; what is beyond usize saturates"
)]
fn whole(budget: f64) -> usize {
    budget.max(0.0).floor() as usize
}
