//! The store: the only room that knows SQL.
//!
//! Reads go through a pool; every write goes through one writer ([`writer`]), which commits together
//! what arrives together. What is written down here is what `guarantees.md` promises: a request, its
//! events, their tasks and their timeline in one transaction, before anybody is answered.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::event::IntegrationEvent;
use crate::id::{EventId, RequestId, TaskId};
use crate::request::Request;
use crate::task::{AttemptStatus, DeadReason, Slot, Task, Transition};

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

/// A task before it is committed.
#[derive(Debug)]
pub struct NewTask {
    pub id: TaskId,
    pub workflow: Arc<str>,
    pub step: Arc<str>,
    pub destination: Arc<str>,
    /// Steps of its workflow that must be `ok` first.
    pub needs: Vec<Arc<str>>,
    /// An expression that did not evaluate: the task is committed as a dead letter.
    pub dead: Option<(DeadReason, String)>,
    /// A place with this daemon's workers: the task is committed leased, and handed over without
    /// being read back.
    pub slot: Option<Slot>,
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
    /// When the lease was taken, on this process's monotonic clock.
    pub leased_at: Instant,
    pub slot: Option<Slot>,
}

/// The event of a task, and the kept headers of its request.
#[derive(Debug)]
pub struct EventContext {
    pub event: IntegrationEvent,
    pub headers: Vec<(String, String)>,
}

/// How an attempt ended and what follows, to be written down together or not at all.
#[derive(Debug)]
pub struct Settlement {
    pub task: Task,
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

#[derive(Clone)]
pub struct Store;
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct StoreError;
impl Store {
    pub async fn open_read_only(_url: &str) -> Result<Store, StoreError> { Err(StoreError) }
}
