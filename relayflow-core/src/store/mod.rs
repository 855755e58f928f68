//! The store: the only room that knows SQL.
//!
//! Reads go through a pool; every write goes through one writer (`writer.rs`), which commits together
//! what arrives together. What is written down here is what `guarantees.md` promises: a request, its
//! events, their tasks and their timeline in one transaction, before anybody is answered.

mod beside;
mod charts;
mod commit;
mod copy;
mod db;
mod dead;
mod dedupe;
mod discards;
mod drift;
mod error;
mod events;
mod flow;
mod health;
mod line;
mod moves;
mod pauses;
mod picking;
mod plans;
mod query;
mod readable;
mod reconciles;
mod reject;
mod replays;
mod requests;
mod revisions;
mod room;
mod settle;
mod stats;
mod tasks;
mod timeline;
mod workers;
mod workflows;
mod writer;

pub use charts::{MinuteRow, Sample, Sampled};
pub(crate) use copy::{Cell, Copied, Rows, Story, check_whole};
pub use db::{schema_version, sqlite_path};
pub use dead::DeadGroup;
pub use drift::{ContractRow, DriftRow, NewContract, WatchedRow};
pub(crate) use drift::{DriftNotes, NewDrift};
pub use error::{Refusal, StoreError};
pub(crate) use events::KeptEvent;
pub use events::{AttemptRow, EventRow, IdTable, TaskRow};
pub use flow::{By, FLOW_SECONDS, Flow, Percentiles, SLOT_SECONDS};
pub use health::{Disk, Health, Turned};
pub use pauses::QueuePause;
pub(crate) use picking::Picked;
pub use plans::{Change, Item, ItemRow, PlanRow, Reading};
pub(crate) use plans::{NEW, PLAN_LIFE_US, PlanReading};
pub use query::{After, Found, Over, QueryError, Selection, Sort, Way};
pub(crate) use query::{CONTENT_TIME, SEARCH_TIME};
use readable::Readable;
pub(crate) use readable::migrate_copy;
pub use reconciles::{Fetched, GapCounts, GapRow, ReconcileRow};
pub use replays::{Control, ErrorCount, How, ItemVerdict, ReplayRow};
pub use requests::RequestRow;
pub(crate) use requests::RequestWithBody;
pub(crate) use revisions::Edit;
pub use revisions::RevisionRow;
pub use stats::Counters;
pub use timeline::Of;
pub use workers::WorkerRow;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use sqlx::SqlitePool;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::event::IntegrationEvent;
use crate::id::{EventId, RequestId, WorkerId};
use crate::request::Request;
use crate::task::{AttemptStatus, NewTask, Slot, Task, Transition};

/// A verified request with what was read from it, to be committed whole.
#[derive(Debug)]
pub struct NewRequest {
    pub request: Request,
    pub source: Arc<str>,
    pub provider: Arc<str>,
    /// The headers that are kept, and how they are kept (`provider::keep_headers`).
    pub headers: Vec<(String, String)>,
    /// Path and query as kept: parameters that carry a token are digests.
    pub kept_target: String,
    /// How it was verified: `stripe hmac-sha256`.
    pub scheme: Arc<str>,
    /// How far the signed time lay from ours, where one is signed.
    pub skew_ms: Option<i64>,
    pub events: Vec<NewEvent>,
    /// Why the request, or the rest of it, could not be read: it is a dead letter then.
    pub unreadable: Option<String>,
    /// Set when a kept request is read again (readmitted or replayed): the row exists already.
    pub reread: Option<Reread>,
    /// Set when it did not come by itself, but was fetched from its vendor.
    pub fetched: Option<Fetched>,
}

/// Who had a kept request read again, and why.
#[derive(Debug, Clone)]
pub struct Reread {
    pub who: String,
    pub reason: Option<String>,
    pub replay_id: Option<crate::id::ReplayId>,
}

/// An event with the tasks that it calls for. Where the event is known already, they are dropped.
#[derive(Debug)]
pub struct NewEvent {
    pub event: IntegrationEvent,
    pub tasks: Vec<NewTask>,
    /// For a derived id: how long after the first an equal one is a duplicate.
    pub derived_window: SignedDuration,
}

/// What became of a committed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub request: RequestId,
    /// The event's id (the known event's, for a duplicate), and whether it was known.
    pub events: Vec<(EventId, bool)>,
    /// Whether it, or a part of it, is a dead letter.
    pub is_dead: bool,
}

/// A request that was not verified, to be kept in its source's ring.
#[derive(Debug, Clone)]
pub struct NewRejected {
    pub request: Request,
    pub source: Arc<str>,
    pub provider: Arc<str>,
    pub headers: Vec<(String, String)>,
    pub kept_target: String,
    /// A short word: `signature`, `missing_header`, `timestamp` ….
    pub reason: String,
    /// The whole story, for the operator alone.
    pub detail: String,
}

/// A task that this process may run, with all that running it needs.
#[derive(Debug)]
pub struct LeasedTask {
    pub task: Task,
    pub event: Arc<EventContext>,
    /// Whether its step needs others, whose responses it may use.
    pub has_needs: bool,
    /// Whether this attempt's start is on record already (`guarantees.md`, 4).
    pub start_on_record: bool,
    /// It died of an expression in its workflow's `when` and was replayed: ask that again first.
    pub check_when: bool,
    /// It runs for a replay: live work goes first.
    pub is_replay: bool,
    /// Whether it is known to have no ordering key.
    pub is_alone: bool,
    /// When the lease was taken, on this process's monotonic clock.
    pub leased_at: Instant,
    pub slot: Option<Slot>,
}

/// The event of a task, and the kept headers of its request.
#[derive(Debug)]
pub struct EventContext {
    pub event: IntegrationEvent,
    pub headers: Arc<Vec<(String, String)>>,
}

/// What whoever ran a task knows of it.
#[derive(Debug)]
pub struct About {
    pub source: Arc<str>,
    /// When its event was received.
    pub received_us: i64,
    pub is_replay: bool,
    /// Whether it has no ordering key.
    pub is_alone: bool,
}

/// How an attempt ended and what follows, to be written down together or not at all.
#[derive(Debug)]
pub struct Settlement {
    pub task: Task,
    /// What need not be looked up; `None`: nobody knows any more.
    pub about: Option<About>,
    pub status: AttemptStatus,
    pub transition: Transition,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub http_status: Option<u16>,
    /// A line: what went wrong.
    pub error: Option<String>,
    /// At most 4 KiB of what the destination answered.
    pub response: Option<String>,
}

/// A task whose worker is gone.
#[derive(Debug)]
pub struct Abandoned {
    pub task: Task,
    pub start_on_record: bool,
}

/// When a destination's next task is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub destination: String,
    pub at: Timestamp,
}

/// A kept request, to be read again.
#[derive(Debug)]
pub struct KeptRequest {
    pub request: Request,
    pub source: String,
    pub headers: Vec<(String, String)>,
    pub status: String,
    pub body: Bytes,
}

/// Which database is open.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    Sqlite(SqlitePool),
}

/// Runs `$body` on whichever database is open. Each copy sees its own driver's pool, so the text and
/// the binds are written once and still typed for each.
macro_rules! on_db {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            crate::store::Db::Sqlite($pool) => $body,
        }
    };
}
use on_db;

/// Rows of a table that a store of before may not have yet: it is read without being brought up to
/// date, as a backup is.
fn rows_if_there<R>(rows: Result<Vec<R>, sqlx::Error>) -> Result<Vec<R>, StoreError> {
    match rows {
        Err(sqlx::Error::Database(error)) if error.message().starts_with("no such table") => {
            Ok(Vec::new())
        }
        rows => rows.map_err(StoreError::Read),
    }
}

/// The store, open. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    clock: Clock,
    path: std::path::PathBuf,
    read_from: Readable,
    room: room::Room,
    /// `None`: opened to read.
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    door: std::sync::RwLock<Option<Arc<writer::Door>>>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
    timeline: watch::Receiver<i64>,
    due: watch::Receiver<u64>,
    failed: watch::Receiver<Option<String>>,
    digest_key: [u8; 32],
    rejected: Arc<reject::Uncounted>,
    _lock: db::Lock,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    pub url: String,
    /// A fresh one for each start of a process.
    pub worker: WorkerId,
    pub clock: Clock,
}

/// An open store, and the tasks that its commits lease to this process.
#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    pub leased: mpsc::UnboundedReceiver<LeasedTask>,
}

impl Store {
    /// Opens the store, makes it where there is none, and brings its schema up to date. This process
    /// is the only one that may write it until it is closed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if another process has it, [`StoreError::Newer`] if a later RelayFlow
    /// wrote it, [`StoreError::Corrupt`] if the file is damaged.
    pub async fn open(options: OpenOptions) -> Result<Opened, StoreError> {
        let path = sqlite_path(&options.url)?;
        db::prepare_files(&path)?;
        let lock = db::Lock::take(&path)?;
        db::migrate(&path).await?;
        let (leased, leased_out) = mpsc::unbounded_channel();
        let (timeline, timeline_out) = watch::channel(0);
        let (due, due_out) = watch::channel(0);
        let (failed, failed_out) = watch::channel(None);
        check_after_unclean_stop(&path, failed.clone()).await?;
        let worker = options.worker;
        let acks = std::cell::RefCell::default();
        let after = writer::After { leased, timeline, due, failed, worker, acks };
        let (door, thread) = writer::start(&path, options.clock.clone(), after)?;
        let read_from = Readable::own(&path);
        let store = Self(Arc::new(Inner {
            db: Db::Sqlite(db::readers(&read_from).await?),
            clock: options.clock,
            room: room::Room::of(&path),
            path,
            read_from,
            writing: Some(Writing {
                door: std::sync::RwLock::new(Some(Arc::new(door))),
                thread: std::sync::Mutex::new(Some(thread)),
                timeline: timeline_out,
                due: due_out,
                failed: failed_out,
                digest_key: [0; 32],
                rejected: Arc::default(),
                _lock: lock,
            }),
        }));
        let key = store.digest_key_kept().await?;
        let store = store.with_digest_key(key)?;
        store.mark("clean", "no").await?;
        Ok(Opened { store, leased: leased_out })
    }

    /// Opens a store to read it only: a live or a dead daemon's, or a backup. Nothing beside the file
    /// needs to be writable.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAStore`] if the file is something else, [`StoreError::Newer`] and
    /// [`StoreError::Older`] if its schema is not this version's.
    pub async fn open_read_only(url: &str) -> Result<Self, StoreError> {
        let path = sqlite_path(url)?;
        let (file, own) = (path.clone(), path.clone());
        let found = tokio::task::spawn_blocking(move || Readable::find(&file)).await;
        let read_from = found.map_err(|_| StoreError::Closed)??;
        let db = Db::Sqlite(db::readers(&read_from).await?);
        Ok(Self(Arc::new(Inner {
            db,
            clock: Clock::Wall,
            room: room::Room::of(&own),
            path,
            read_from,
            writing: None,
        })))
    }

    /// Whether what is read is a copy of the file and its log, made because nothing can be written
    /// beside them.
    #[must_use]
    pub fn reads_a_copy(&self) -> bool {
        self.0.read_from.is_copy()
    }

    fn with_digest_key(self, key: [u8; 32]) -> Result<Self, StoreError> {
        let mut inner = Arc::try_unwrap(self.0).map_err(|_| StoreError::Closed)?;
        if let Some(writing) = &mut inner.writing {
            writing.digest_key = key;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The clock whose moments the store keeps.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The file that it is in.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.0.path
    }

    /// The key under which headers that carry a token are digested before they are kept.
    #[must_use]
    pub fn digest_key(&self) -> [u8; 32] {
        self.0.writing.as_ref().map_or([0; 32], |w| w.digest_key)
    }

    /// Changes with each commit: the number of the last timeline row.
    #[must_use]
    pub fn timeline_changed(&self) -> watch::Receiver<i64> {
        self.0.writing.as_ref().map_or_else(|| watch::channel(0).1, |w| w.timeline.clone())
    }

    /// Changes when something may have become due. A hint: lost, it costs one poll.
    #[must_use]
    pub fn due_changed(&self) -> watch::Receiver<u64> {
        self.0.writing.as_ref().map_or_else(|| watch::channel(0).1, |w| w.due.clone())
    }

    /// Says why, once the store must not be used any more.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.0.writing.as_ref().map_or_else(|| watch::channel(None).1, |w| w.failed.clone())
    }

    fn db(&self) -> &Db {
        &self.0.db
    }

    fn door(&self) -> Result<Arc<writer::Door>, StoreError> {
        let writing = self.0.writing.as_ref().ok_or(StoreError::Closed)?;
        let door = writing.door.read().map_err(|_| StoreError::Closed)?;
        door.clone().ok_or(StoreError::Closed)
    }

    /// Runs `work` in the writer's next transaction, and answers once it is on stable storage. `work`
    /// may run twice; an error of it undoes what it wrote.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut writer::Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let (call, answer) = writer::Call::new(work);
        self.door()?.send(Box::new(call))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The same for what nobody waits for.
    fn write_later<F>(&self, work: F)
    where
        F: FnMut(&mut writer::Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        let (call, _) = writer::Call::new(work);
        if let Ok(door) = self.door() {
            // The process ends if the door is closed.
            let _ = door.send(Box::new(call));
        }
    }

    /// Commits a request with its events and tasks. Once it is handed over, it is committed (or not)
    /// whatever becomes of the future that waits here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when more waits than the writer can take, [`StoreError::Full`] when the
    /// disk is: nothing was written. [`StoreError::Closed`]: unknown; a repetition is a duplicate.
    pub async fn commit(&self, request: NewRequest) -> Result<Receipt, StoreError> {
        let (commit, answer) = commit::Commit::new(request);
        self.door()?.admit(Box::new(commit))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether a request would be turned away: asked before its body is read.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.door().is_ok_and(|door| door.is_full(0))
    }

    /// Whether the disk has too little room left for anything new: what is under way still ends.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.room.is_short()
    }

    /// Counts a request that was not verified, and keeps it in its source's ring as soon as the
    /// writer is idle. Under load it may be counted only.
    pub fn reject(&self, rejected: NewRejected) {
        let (Ok(door), Some(writing)) = (self.door(), self.0.writing.as_ref()) else {
            return;
        };
        // Under a flood one job carries the count of all that came until it is run.
        if let Some(count) = writing.rejected.add(&rejected.source) {
            let _ = door.send(Box::new(count));
        }
        door.send_when_idle(Box::new(reject::Reject(rejected)));
    }

    /// Everything handed over so far is on stable storage.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.wants_flow = true;
            Ok(())
        })
        .await
    }

    /// Lets go of the file that is read, so that it can be packed or removed.
    pub(crate) async fn close_reading(&self) {
        on_db!(self.db(), pool => pool.close().await);
    }

    /// Notes that somebody took a selection out of here, and whether it was masked.
    pub async fn note_exported(
        &self,
        who: String,
        q: Option<String>,
        reason: Option<String>,
        is_unmasked: bool,
        selected: u64,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let said = timeline::detail(&[
                ("who", who.as_str().into()),
                ("reason", reason.as_deref().into()),
                ("q", q.as_deref().into()),
                ("selected", selected.into()),
                ("unmasked", is_unmasked.into()),
            ]);
            let row = timeline::Row {
                detail: Some(said),
                ..timeline::Row::new(crate::timeline::What::Exported)
            };
            timeline::append(tx, &row)
        })
        .await
    }

    /// Closes the store: what was handed over is written, the log is emptied, the file is marked as
    /// cleanly left. Other clones find it closed.
    pub async fn close(&self) -> Result<(), StoreError> {
        let Some(writing) = self.0.writing.as_ref() else {
            return Ok(());
        };
        self.mark("clean", "yes").await?;
        if let Ok(mut door) = writing.door.write() {
            *door = None;
        }
        let thread = writing.thread.lock().ok().and_then(|mut thread| thread.take());
        on_db!(self.db(), pool => pool.close().await);
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(StoreError::Closed);
            }
        }
        Ok(())
    }

    async fn mark(&self, name: &'static str, value: &'static str) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run(
                "insert into meta (name, value) values ($1, $2)
                 on conflict (name) do update set value = excluded.value",
                [name, value],
            )?;
            Ok(())
        })
        .await
    }

    /// The kept digest key; drawn when the store is new.
    async fn digest_key_kept(&self) -> Result<[u8; 32], StoreError> {
        let mut fresh = [0_u8; 32];
        getrandom::fill(&mut fresh).map_err(|_| StoreError::Value { what: "no randomness" })?;
        let text = self
            .write(move |tx| {
                tx.run(
                    "insert into meta (name, value) values ('digest_key', $1) on conflict do nothing",
                    [hex::encode(fresh)],
                )?;
                tx.row("select value from meta where name = 'digest_key'", [], |r| r.get::<_, String>(0))
            })
            .await?
            .ok_or(StoreError::Value { what: "no digest key" })?;
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key)
            .map_err(|_| StoreError::Value { what: "a digest key" })?;
        Ok(key)
    }
}

/// After a stop that was not clean the file is checked: at once where that is quick, else beside the
/// daemon's work, which then ends if the file is damaged.
async fn check_after_unclean_stop(
    path: &std::path::Path,
    failed: watch::Sender<Option<String>>,
) -> Result<(), StoreError> {
    let path = path.to_owned();
    let check = move || -> Result<(), StoreError> {
        let connection = rusqlite::Connection::open(&path)?;
        let clean: Option<String> = connection
            .query_row("select value from meta where name = 'clean'", [], |r| r.get(0))
            .map(Some)
            .or_else(
                |e| if e == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(e) },
            )?;
        drop(connection);
        if clean.as_deref() != Some("no") || db::quick_check_inline(&path)?.is_some() {
            return Ok(());
        }
        std::thread::spawn(move || {
            if let Err(error) = db::quick_check(&path) {
                failed.send_replace(Some(error.to_string()));
            }
        });
        Ok(())
    };
    tokio::task::spawn_blocking(check).await.map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests;
