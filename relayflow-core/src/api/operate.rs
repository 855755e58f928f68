//! Operating it: queues, who works on them, what came and went, and what is wrong.

use serde::{Deserialize, Serialize};

/// One destination's queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queue {
    pub v: u32,
    /// `queue`.
    pub object: String,
    pub name: String,
    /// Tasks that wait: queued and retrying.
    pub depth: i64,
    pub running: i64,
    pub retrying: i64,
    pub dead: i64,
    pub oldest_queued_seconds: Option<f64>,
    /// `open`, `paused` or `circuit_open`.
    pub state: String,
    /// Calls in flight at most; 0 where no daemon says.
    pub concurrency: u32,
    /// `closed`, `open` or `half_open`; none where no daemon says.
    #[serde(default)]
    pub breaker: Option<String>,
    /// While its breaker is open: in how many seconds one call finds out.
    #[serde(default)]
    pub next_probe_seconds: Option<f64>,
    /// Who paused it, until when and why.
    #[serde(default)]
    pub pause: Option<QueuePause>,
    /// Tasks that came to it and tasks that ended, each second of the last minute.
    #[serde(default)]
    pub in_per_second: f64,
    #[serde(default)]
    pub out_per_second: f64,
    /// The share (0 to 1) of the last minute's attempts that are tried again; none without attempts.
    #[serde(default)]
    pub retry_ratio: Option<f64>,
    /// When it is empty at this rate; 0: it is. None: never.
    #[serde(default)]
    pub drain_seconds: Option<f64>,
}

/// A queue that stands still: nothing new starts for it, what is under way ends, what comes in waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePause {
    /// The queue.
    pub name: String,
    pub who: String,
    pub reason: String,
    pub since: String,
    /// When it goes on by itself; none: when somebody resumes it.
    pub until: Option<String>,
}

/// Pause a queue: for so long, or until somebody resumes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPause {
    /// Such as `30m`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub r#for: Option<String>,
    #[serde(default)]
    pub indefinitely: bool,
    pub reason: String,
}

/// Let a queue go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// One process that runs tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Worker {
    pub v: u32,
    /// `worker`.
    pub object: String,
    pub id: String,
    /// `live`, `silent` (not heard of for half a minute) or `gone` (killed, its leases not settled).
    #[serde(default)]
    pub state: String,
    /// Tasks that it holds leases of: those that run, and those that wait in its memory.
    #[serde(default)]
    pub leases: i64,
    /// Of those, how many ended without being renewed.
    #[serde(default)]
    pub ended_leases: i64,
    /// Tasks that it runs now; where no daemon says, as `leases`.
    pub running: i64,
    /// Since it was last heard of.
    #[serde(default)]
    pub heartbeat_seconds: f64,
    pub started_at: String,
    pub version: String,
    #[serde(default)]
    pub pid: i64,
}

/// What came and went lately.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatsFlow {
    pub since: String,
    pub until: String,
    /// `source`, `workflow` or `dest`; none: one row, of everything.
    pub by: Option<String>,
    /// How much time each number of a series stands for.
    pub step_seconds: u32,
    pub rows: Vec<StatsRow>,
}

/// The numbers of one source, workflow or destination, or of everything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatsRow {
    /// `all` where the numbers are of everything.
    pub name: String,
    /// Requests, rejected ones too; of workflows and destinations the tasks that came to them.
    pub received: i64,
    pub rejected: i64,
    pub duplicates: i64,
    /// Tasks that succeeded.
    pub ok: i64,
    /// Attempts that are tried again.
    pub retries: i64,
    /// Tasks that died.
    pub dead: i64,
    pub attempts: i64,
    /// From a request's arrival to its answer.
    pub ack: Latency,
    /// From an event's arrival to the end of a task that succeeded.
    pub end_to_end: Latency,
    pub series: StatsSeries,
}

/// Latencies, right within a tenth; none where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub count: i64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Counts step by step, the present one last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsSeries {
    pub received: Vec<i64>,
    pub ok: Vec<i64>,
    pub retries: Vec<i64>,
    pub dead: Vec<i64>,
}

/// What is wrong, and the commands that mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    pub v: u32,
    /// `doctor_report`.
    pub object: String,
    pub at: String,
    pub version: String,
    /// Checks that ended in `fail`, and in `warn`.
    pub problems: u32,
    pub warnings: u32,
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `ok`, `warn` or `fail`.
    pub level: String,
    /// What it is about: `daemon`, `version`, `clock`, `store`, `disk`, `config`, `token`, `source`,
    /// `workflow`, `queue`, `worker`, `lease`.
    pub about: String,
    /// A stable name: `queue.paused`.
    pub code: String,
    pub text: String,
    /// The command that mends it, or shows what to mend.
    pub fix: Option<String>,
}
