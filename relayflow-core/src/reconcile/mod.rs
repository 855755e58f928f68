//! Missed events: what a vendor's own API says it sent, held against what arrived; and what is missing,
//! taken in on the way of any other request.
//!
//! First the list is read to its end, and what did not arrive becomes a frozen set. Only then, and only
//! when somebody asks for that set by its hash, is it taken in, item by item: each in one transaction
//! with the note that it is done, so that a daemon that is killed goes on where it stood. The keys are
//! those of any other request: what arrives by itself meanwhile, or later, is a duplicate.

mod call;
mod job;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::call::Caller;
use crate::api::codes::Code;
use crate::api::{NewReconcile, Reconcile, RunReconcile};
use crate::clock::from_micros;
use crate::egress::Connector;
use crate::id::ReconcileId;
use crate::ingest::Ingest;
use crate::provider::Source;
use crate::store::{GapCounts, PLAN_LIFE_US, ReconcileRow, StoreError};
use crate::view::{self, ViewError};

/// The most types that may be named.
const TYPES_MAX: usize = 100;

/// Why a comparison was not begun, or not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("there is no source `{0}`")]
    NoSource(String),
    #[error(
        "source `{0}` has no access to its vendor's API: give it [sources.{0}.reconcile] with a token"
    )]
    NoAccess(String),
    #[error("{0}")]
    BadRequest(String),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReconcileError {
    /// The stable code of the problem.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoSource(_) => Code::NoSuchSource,
            Self::NoAccess(_) => Code::NotConfigured,
            Self::BadRequest(_) => Code::BadRequest,
            Self::View(error) => error.code(),
            Self::Store(error) => view::store_code(error),
        }
    }
}

/// Lists and takes in, in the background. Clones share it.
#[derive(Clone)]
pub struct Reconciler(Arc<Inner>);

struct Inner {
    ingest: Arc<Ingest>,
    caller: Caller,
    stop: CancellationToken,
    jobs: TaskTracker,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler").field("jobs", &self.0.jobs.len()).finish_non_exhaustive()
    }
}

impl Reconciler {
    /// Goes on with what a daemon before this one was at. Calls go through `connector`.
    #[must_use]
    pub fn start(ingest: Arc<Ingest>, connector: Connector, stop: CancellationToken) -> Self {
        let jobs = TaskTracker::new();
        let this = Self(Arc::new(Inner { ingest, caller: Caller::new(connector), stop, jobs }));
        let again = this.clone();
        this.0.jobs.spawn(async move {
            if let Err(error) = again.resume().await {
                tracing::warn!(%error, "comparisons with vendors could not be taken up again");
            }
        });
        this
    }

    async fn resume(&self) -> Result<(), StoreError> {
        self.0.ingest.store.tidy_reconciles().await?;
        for row in self.0.ingest.store.open_reconciles().await? {
            tracing::info!(reconcile = %row.id, source = row.source, "goes on");
            self.spawn(row.id);
        }
        Ok(())
    }

    /// Waits for what is under way, which has been told to stop.
    pub async fn stopped(&self) {
        self.0.jobs.close();
        self.0.jobs.wait().await;
    }

    fn spawn(&self, id: ReconcileId) {
        let this = self.clone();
        self.0.jobs.spawn(async move { job::run(&this.0, id).await });
    }

    fn source(&self, name: &str) -> Result<Arc<Source>, ReconcileError> {
        let in_force = self.0.ingest.current.get();
        let source = in_force.sources.get(name);
        source.map(Arc::clone).ok_or_else(|| ReconcileError::NoSource(name.to_owned()))
    }

    /// Begins to list what the vendor of a source says it sent. The answer is that it has begun: ask
    /// for it again until it is `planned`, or `failed`.
    ///
    /// # Errors
    ///
    /// See [`ReconcileError`]: nothing was begun.
    pub async fn create(&self, new: &NewReconcile, who: &str) -> Result<Reconcile, ReconcileError> {
        let bad = |text: String| ReconcileError::BadRequest(text);
        let source = self.source(&new.source)?;
        let endpoint = source.endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| ReconcileError::NoAccess(new.source.clone()))?;
        let moment = |name: &str, text: &str| {
            text.parse::<Timestamp>().map_err(|_| bad(format!("`{name}`: `{text}` is no moment")))
        };
        let store = &self.0.ingest.store;
        let now = from_micros(store.clock().now_us());
        let (earliest, back) = (now - endpoint.goes_back(), endpoint.goes_back());
        let since = match &new.since {
            None => earliest,
            Some(text) => moment("since", text)?,
        };
        let until = match &new.until {
            None => now,
            Some(text) => moment("until", text)?.min(now),
        };
        if until <= since {
            return Err(bad("the window is empty: `until` is not after `since`".to_owned()));
        }
        if since < earliest - SignedDuration::from_mins(1) {
            let days = back.as_hours() / 24;
            let message = format!(
                "the vendor's list goes back {days} days: `since` is before that; ask from --since {days}d on"
            );
            return Err(bad(message));
        }
        let types = new.types.clone().unwrap_or_else(|| endpoint.types().to_vec());
        if TYPES_MAX < types.len() {
            return Err(bad(format!("at most {TYPES_MAX} types can be named")));
        }
        let id = ReconcileId::next();
        store.tidy_reconciles().await?;
        store
            .new_reconcile(ReconcileRow {
                id,
                source: source.name.to_string(),
                provider: source.provider.name.to_string(),
                since_us: since.as_microsecond(),
                until_us: until.as_microsecond(),
                types,
                who: who.to_owned(),
                reason: None,
                created_us: now.as_microsecond(),
                expires_us: now.as_microsecond() + PLAN_LIFE_US,
                ended_us: None,
                status: "listing".to_owned(),
                hash: None,
                pages: 0,
                counts: GapCounts::default(),
                taken: 0,
                duplicate: 0,
                failed: 0,
                error: None,
            })
            .await?;
        self.spawn(id);
        Ok(view::reconcile(store, &id.to_string()).await?)
    }

    /// Begins to take in what a set holds, exactly.
    ///
    /// # Errors
    ///
    /// See [`ReconcileError`]: another set, one that is used or has expired.
    pub async fn take_in(
        &self,
        id: &str,
        run: &RunReconcile,
        who: &str,
    ) -> Result<Reconcile, ReconcileError> {
        let store = &self.0.ingest.store;
        let id = view::reconcile_id(store, id).await?;
        let (hash, reason) = (run.hash.clone(), run.reason.clone());
        store.begin_reconcile(id, hash, who.to_owned(), reason).await?;
        self.spawn(id);
        Ok(view::reconcile(store, &id.to_string()).await?)
    }
}
