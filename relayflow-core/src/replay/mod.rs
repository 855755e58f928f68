//! Replay that can be trusted: a plan that is frozen and says what it would do, and a durable job
//! that does exactly that, item by item.

mod judge;
mod run;
mod select;

use sha2::{Digest as _, Sha256};

use crate::api::codes::Code;
use crate::api::{self, NewPlan, NewReplay, Plan};
use crate::filter::FilterError;
use crate::id::{PlanId, ReplayId};
use crate::ingest::Ingest;
pub use crate::store::Control;
use crate::store::{PLAN_LIFE_US, PlanRow, QueryError, ReplayRow, Store, StoreError};
use crate::view::{self, ViewError};
pub(crate) use judge::Summary;
use judge::{summarize, would};
pub use run::run;
use select::{Found, by_filter, by_id, by_ids};

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
