//! What happened, in order: the append-only record that CLI, TUI and API read.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::id::{EventId, ReplayId, RequestId, TaskId};
use crate::task::words;

words! {
    /// What an entry says. A task's new status is an entry of that name.
    What {
        Received = "received",
        Verified = "verified",
        Rejected = "rejected",
        Readmitted = "readmitted",
        Reconciled = "reconciled",
        Normalized = "normalized",
        Unreadable = "unreadable",
        Duplicate = "duplicate",
        Committed = "committed",
        Drift = "drift",
        Queued = "queued",
        Running = "running",
        Retrying = "retrying",
        Ok = "ok",
        Dead = "dead",
        Skipped = "skipped",
        Interrupted = "interrupted",
        Lost = "lost",
        Planned = "planned",
        Replayed = "replayed",
        Edited = "edited",
        Discarded = "discarded",
        Paused = "paused",
        Resumed = "resumed",
        Cancelled = "cancelled",
        Accepted = "accepted",
        Exported = "exported",
        CircuitOpen = "circuit_open",
        CircuitClosed = "circuit_closed",
        ConfigLoaded = "config_loaded",
    }
}

/// How many entries one stored row can hold: what is committed together is one row, so that the
/// common path writes one row and not five.
pub const ENTRIES_PER_ROW: i64 = 16;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place in the order: the row's number times [`ENTRIES_PER_ROW`], and the place in the row.
    /// Only grows, so a tail resumes behind it.
    pub seq: i64,
    pub at: Timestamp,
    pub what: What,
    pub request_id: Option<RequestId>,
    pub event_id: Option<EventId>,
    pub task_id: Option<TaskId>,
    pub replay_id: Option<ReplayId>,
    pub attempt: Option<u32>,
    /// What else there is to say: `scheme`, `skew_ms`, `http_status`, `error`, `latency_ms`, `due_at`,
    /// `who`, `reason` …. Keys are documented at `docs/reference/timeline.md`.
    pub detail: Map<String, Value>,
}
