//! The bodies of `/api/v1`: the only types that cross the wire, written and read with the same
//! declaration. Requests refuse unknown fields; answers may grow.
//!
//! A list is a [`List`]. A single object bears `v` and `object`: an event has a field `kind` of its
//! own (the canonical one), so what a document is stands in `object` wherever it is not a list.

mod chart;
pub mod codes;
mod drift;
mod forensics;
mod operate;
mod reconcile;
mod replay;

pub use chart::{Bucket, Chart, Distribution, Minute, Slice};
pub use drift::{
    AcceptDrift, CheckContracts, Contract, ContractCheck, Drift, LearnContract, MissingContract,
    Violation,
};
pub use forensics::{Cause, Mend, Tried, Verification, VerifiedBy};
pub use operate::{
    Check, DoctorReport, Latency, NewPause, Queue, QueuePause, Resume, StatsFlow, StatsRow,
    StatsSeries, Worker,
};
pub use reconcile::{
    NewReconcile, Reconcile, ReconcileCounts, ReconcileError, ReconcileItem, RunReconcile,
};
pub use replay::{
    Difference, DifferenceCount, EditMap, EditSet, FieldChange, NewPlan, NewReplay, Plan,
    PlanContract, PlanCounts, PlanEdit, PlanEdited, PlanExample, PlanGroup, PlanItem, PlanLate,
    PlanRouting, PlanTime, ProviderFile, Replay, ReplayControl, ReplayCounts, ReplayErrors,
    ReplayItem, ReplayTotals,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The version of every document.
pub const V: u32 = 1;

/// A page of a list, as the API answers it and as `-o json` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct List<T> {
    pub v: u32,
    /// `event_list`, `task_list`, `dead_letter_list`, `request_list`, `timeline`, `queue_list` ….
    pub kind: String,
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
    pub total: Option<Total>,
    /// Where the time for the page was over before it was full: back to when was looked. What is older
    /// is behind `next_cursor`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub searched_to: Option<String>,
}

/// How many there are: exact, or at least so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    pub value: u64,
    pub exact: bool,
}

/// Tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    pub queued: i64,
    pub running: i64,
    pub retrying: i64,
    pub ok: i64,
    pub dead: i64,
    pub discarded: i64,
    pub skipped: i64,
}

/// One event. Lists leave out the members from `attributes` on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub v: u32,
    /// `event`.
    pub object: String,
    pub id: String,
    pub source: String,
    pub provider: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub kind: Option<String>,
    pub external_id: String,
    /// Whether `external_id` was derived from the event's bytes.
    pub external_id_derived: bool,
    pub idempotency_key: String,
    pub subject: Option<String>,
    pub correlation_id: String,
    pub request_id: String,
    pub occurred_at: String,
    pub received_at: String,
    pub status: String,
    pub duplicates: i64,
    pub tasks: TaskCounts,
    /// The highest attempt of any of its tasks.
    pub attempts: i64,
    /// The last error of its tasks, as `workflow/step message`.
    pub error: Option<String>,
    pub contract: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attributes: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<Box<RawValue>>,
    /// Its tasks, whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steps: Option<Vec<Task>>,
    /// Readings of it after the first, with which later tasks ran.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revisions: Option<Vec<Revision>>,
}

/// A reading of an event after the first: with another configuration, or of a payload that somebody
/// edited. The event itself stays as it came in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revision {
    pub number: i64,
    pub at: String,
    pub who: String,
    pub reason: Option<String>,
    /// The plan that wanted it; none if the payload was edited.
    pub plan: Option<String>,
    #[serde(rename = "type")]
    pub event_type: String,
    pub kind: Option<String>,
    pub subject: Option<String>,
    pub occurred_at: String,
    pub contract: String,
    pub attributes: Option<Box<RawValue>>,
    /// None: the payload as it came in.
    pub payload: Option<Box<RawValue>>,
}

/// A payload in place of an event's own, for its tasks that have not succeeded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRevision {
    /// The whole payload, as JSON text.
    pub payload: String,
    pub reason: String,
}

/// What became of an edit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revised {
    pub v: u32,
    /// `revised`.
    pub object: String,
    pub event: String,
    pub revision: Revision,
    /// The tasks that read it from now on. None of them has been run.
    pub tasks: Vec<String>,
}

/// One task. Lists leave out `history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub v: u32,
    /// `task`.
    pub object: String,
    pub id: String,
    pub event_id: String,
    pub correlation_id: String,
    pub source: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub workflow: String,
    pub step: String,
    pub status: String,
    pub attempt: i64,
    pub failures: i64,
    pub due_at: Option<String>,
    pub created_at: String,
    pub ended_at: Option<String>,
    /// Why it is a dead letter.
    pub reason: Option<String>,
    pub last_error: Option<String>,
    /// The fingerprint of `last_error`: `e_…`.
    pub error_id: Option<String>,
    pub http_status: Option<i64>,
    pub destination: String,
    pub worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub history: Option<Vec<Attempt>>,
    /// Of `dlq show`: the request that would be sent, as the configuration has it now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub would_send: Option<ExplainedStep>,
}

/// One run of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    pub attempt: i64,
    pub status: String,
    pub started_at: String,
    pub ended_at: Option<String>,
    pub latency_ms: Option<f64>,
    pub http_status: Option<i64>,
    pub error: Option<String>,
    /// At most 4 KiB of what the destination answered.
    pub response: Option<String>,
    pub worker: Option<String>,
}

/// One inbound request, rejected ones included.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    pub v: u32,
    /// `request`.
    pub object: String,
    pub id: String,
    pub source: String,
    pub provider: String,
    pub method: String,
    /// Path and query; parameters that carry a token are masked.
    pub target: String,
    pub received_at: String,
    /// `accepted`, `duplicate`, `dead`, `discarded` or `rejected`.
    pub status: String,
    /// Why it was rejected, or is dead.
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub correlation_id: String,
    pub body_bytes: i64,
    /// How many events of it were taken in.
    pub events: i64,
    /// The kept headers; signatures are masked, tokens are digests.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub headers: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_ids: Option<Vec<String>>,
}

/// A dead letter: a task (`tsk_…`) or an unreadable request (`req_…`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    pub v: u32,
    /// `dead_letter`.
    pub object: String,
    pub id: String,
    pub reason: String,
    pub died_at: String,
    pub received_at: String,
    pub source: String,
    pub provider: String,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub request_id: String,
    pub correlation_id: String,
    pub workflow: Option<String>,
    pub step: Option<String>,
    pub destination: Option<String>,
    pub attempts: i64,
    pub http_status: Option<i64>,
    pub error: Option<String>,
    /// The fingerprint of `error`: `e_…`.
    pub error_id: Option<String>,
    /// `dead` or `discarded`.
    pub status: String,
}

/// Dead letters with the same value of the field asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterGroup {
    pub v: u32,
    /// `dead_letter_group`.
    pub object: String,
    /// The field: `error`, `source`, `subject`, `payload.data.plan` …
    pub by: String,
    pub value: String,
    /// What `value` stands for: an error's message.
    pub title: Option<String>,
    pub count: u64,
    pub first_at: String,
    pub last_at: String,
    pub example: String,
    /// How many died in each tenth of the last 15 minutes, the oldest first.
    #[serde(default)]
    pub recent: Vec<u64>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub v: u32,
    /// `timeline_entry`.
    pub object: String,
    /// Its place in the order: what a tail resumes behind.
    pub seq: i64,
    pub at: String,
    pub what: String,
    pub correlation_id: Option<String>,
    pub request_id: Option<String>,
    pub event_id: Option<String>,
    pub task_id: Option<String>,
    pub replay_id: Option<String>,
    pub source: Option<String>,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub workflow: Option<String>,
    pub step: Option<String>,
    pub destination: Option<String>,
    pub attempt: Option<i64>,
    pub detail: Map<String, Value>,
}

/// Everything under one correlation id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trace {
    pub v: u32,
    /// `trace`.
    pub object: String,
    pub correlation_id: String,
    pub started_at: String,
    pub ended_at: String,
    pub requests: Vec<Request>,
    /// With their tasks and attempts.
    pub events: Vec<Event>,
    pub replays: Vec<Replay>,
    /// Whether something was left out, since there was more than a page holds.
    pub truncated: bool,
}

/// The numbers. Exact; no scan stands behind them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stats {
    pub v: u32,
    /// `stats`.
    pub object: String,
    pub at: String,
    pub events: i64,
    pub requests: i64,
    pub rejected: i64,
    /// Events that were known already.
    pub duplicates: i64,
    pub tasks: TaskCounts,
    /// Tasks and unreadable requests.
    pub dead_letters: i64,
    pub oldest_queued_seconds: Option<f64>,
    /// The share (0 to 1) of the last 15 minutes' attempts that ended in `retrying`.
    pub retry_rate: f64,
    pub replays: ReplayTotals,
    /// Open findings.
    #[serde(default)]
    pub drift: DriftTotals,
    /// Queues that stand still.
    #[serde(default)]
    pub paused_queues: Vec<QueuePause>,
    /// What came and went in a stretch of time that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<StatsFlow>,
}

/// Open findings of drift, by grade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftTotals {
    pub breaking: i64,
    pub additive: i64,
}

/// One configured endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    pub v: u32,
    /// `source`.
    pub object: String,
    pub name: String,
    pub provider: String,
    /// `confirmed`, `partial` or `unconfirmed`: how sure its definition is of the way to sign.
    pub provider_status: String,
    pub scheme: String,
    /// Where the vendor posts to.
    pub url: String,
    /// `sha256:` and the first eight digits of each secret's digest.
    pub secrets: Vec<String>,
    pub tolerance: String,
    /// How long the vendor waits for an answer: `3s`, or `none` where it does not say.
    pub reply_within: String,
    /// As `secrets`: what handshakes brought, and is not configured.
    pub learned: Vec<String>,
}

/// One workflow in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workflow {
    pub v: u32,
    /// `workflow`.
    pub object: String,
    pub name: String,
    pub on: Vec<String>,
    pub when: Option<String>,
    pub steps: Vec<WorkflowStep>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowStep {
    pub name: String,
    pub needs: Vec<String>,
    pub action: String,
    pub destination: String,
}

/// What is asked of an explanation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// `evt_…`, or a unique beginning of one; or …
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event: Option<String>,
    /// … an event that is made up for this: its provider, with or without one of its sources, …
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// … the provider's type, …
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
    pub event_type: Option<String>,
    /// … and the body as the vendor would send it; without one, the project's own of that type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<String>,
    /// The text of a candidate configuration, and its own definitions of providers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub providers: Option<Vec<ProviderFile>>,
}

/// How an event reads and which workflows want it, and why not the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    pub v: u32,
    /// `explanation`.
    pub object: String,
    /// Null where the event was made up.
    pub event: Option<String>,
    #[serde(rename = "type")]
    pub event_type: String,
    pub kind: Option<String>,
    /// Canonical fields that read otherwise than they were kept.
    pub fields: Vec<FieldChange>,
    pub workflows: Vec<ExplainedWorkflow>,
    /// `workflow/step` of tasks that the event has, and which nothing asks for any more.
    pub routes_lost: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedWorkflow {
    pub workflow: String,
    /// `match`, `no` or `error` (its `when` does not evaluate).
    pub result: String,
    /// The clause that decided, and what it saw.
    pub because: String,
    /// The characters of `because` that did not hold, from and to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub caret: Option<(usize, usize)>,
    pub steps: Vec<ExplainedStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    pub step: String,
    pub needs: Vec<String>,
    pub destination: Option<String>,
    /// Method and URL without its query, or the program.
    pub request: Option<String>,
    /// The headers that the step sets; those that may hold a secret are `•••`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub headers: Vec<(String, String)>,
    /// What the body is: `application/json` where the step has one of its own, else the event as a
    /// CloudEvent; null where there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_type: Option<String>,
    /// The body, cut at 4 KiB.
    pub body: Option<String>,
    /// What does not render.
    pub error: Option<String>,
    /// How the task stands that the event has for it.
    pub task: Option<String>,
}

/// One provider's definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provider {
    pub v: u32,
    /// `provider`.
    pub object: String,
    pub name: String,
    pub title: String,
    pub category: String,
    pub scheme: String,
    pub contract: String,
    /// Whether it came with RelayFlow or from `providers.dir`.
    pub built_in: bool,
    /// `confirmed` (the way to sign was read in the vendor's own words or code), `partial` (some of it
    /// from samples or from others) or `unconfirmed`.
    pub status: String,
    /// How long the vendor waits for an answer: `3s`, or `none` where it does not say.
    pub reply_within: String,
    pub types: Vec<ProviderType>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderType {
    #[serde(rename = "type")]
    pub event_type: String,
    pub kind: Option<String>,
}

/// An error of the API: RFC 9457, with a stable `code`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub problem_type: String,
    pub title: String,
    pub status: u16,
    /// One of [`codes::Code`].
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<String>,
}

/// What a reading or a discard answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hash: Option<String>,
    pub reason: String,
}

/// What a bundle is asked to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewExport {
    /// A filter over events and requests; everything without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub q: Option<String>,
    /// Only the oldest so many.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
    /// Refuse if more are selected; 10,000 if nobody says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<u64>,
    /// Why, for the record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// What became of a discard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Discarded {
    pub v: u32,
    /// `discarded`.
    pub object: String,
    pub discarded: u64,
    /// Items that had moved on.
    pub skipped: u64,
}

/// What became of a readmitted request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Readmitted {
    pub v: u32,
    /// `readmitted`.
    pub object: String,
    pub request: String,
    /// `accepted`, `duplicate`, `dead` or `rejected` (still not verified).
    pub status: String,
    pub reason: Option<String>,
    pub events: Vec<IngestedEvent>,
}

/// The answer to a vendor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingested {
    pub status: String,
    pub request: String,
    pub events: Vec<IngestedEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestedEvent {
    pub id: String,
    pub duplicate: bool,
}

/// Whose token a request bore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub v: u32,
    /// `identity`.
    pub object: String,
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// The daemon's.
    pub version: String,
}

/// What the daemon says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    pub v: u32,
    /// `health`.
    pub object: String,
    pub status: String,
    pub version: String,
    pub detail: Option<String>,
}
