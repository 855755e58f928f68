//! Plans and replays on the wire.

use serde::{Deserialize, Serialize};

/// What is asked of a plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// `replay` or `discard`.
    pub action: String,
    /// A filter (`cli.md`, 4), or …
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub q: Option<String>,
    /// … exact ids.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ids: Option<Vec<String>>,
    /// `resume`, `restart` or `reroute`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order: Option<String>,
    /// The oldest so many.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
    /// … the items of an earlier replay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// Of those only what died, was discarded or never ran.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<bool>,
    /// The text of a candidate configuration; such a plan never runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<String>,
    /// The candidate's own definitions of providers, in place of its `providers.dir`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub providers: Option<Vec<ProviderFile>>,
    /// Mends the payload of each event before it runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edit: Option<PlanEdit>,
}

/// What becomes of each payload, in this order. Paths are `data.object.id`, or JSON pointers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanEdit {
    /// Set to what an expression over the event gives, as it was before the edit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<EditMap>,
    /// Set to a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<EditSet>,
    /// Taken out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditMap {
    pub path: String,
    /// In the language of workflows: `event.payload.data.object.plan`.
    pub expression: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditSet {
    pub path: String,
    /// JSON text.
    pub value: String,
}

/// A provider's definition as it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderFile {
    pub name: String,
    pub text: String,
}

/// A frozen set, and what would be done with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub v: u32,
    /// `plan`.
    pub object: String,
    pub id: String,
    pub hash: String,
    pub action: String,
    pub mode: String,
    /// The filter as it was understood.
    pub q: Option<String>,
    pub created_at: String,
    pub expires_at: String,
    /// `planned`, `used` or `expired`.
    pub status: String,
    /// How many items there are, by what would happen to them.
    pub items: PlanCounts,
    /// The same per destination.
    pub groups: Vec<PlanGroup>,
    pub oldest_at: Option<String>,
    pub newest_at: Option<String>,
    pub events: u64,
    /// `none` or `received`.
    #[serde(default)]
    pub order: String,
    #[serde(default)]
    pub late: PlanLate,
    /// Whether it was made with a candidate configuration, so that it never runs.
    #[serde(default)]
    pub is_candidate: bool,
    /// Of mode `reroute`: how events read and route now, against how they did.
    #[serde(default)]
    pub difference: Option<Difference>,
    /// The workflows of its items, as they are and as they were when the items were routed.
    #[serde(default)]
    pub routing: Vec<PlanRouting>,
    #[serde(default)]
    pub contract: PlanContract,
    /// How long it may take; none if nothing moves or nothing is known.
    #[serde(default)]
    pub time: Option<PlanTime>,
    /// What becomes of payloads, where they are mended first.
    #[serde(default)]
    pub edit: Option<PlanEdited>,
    /// Whether it runs only with a reason: a restart, an edit, steps that were named.
    #[serde(default)]
    pub needs_reason: bool,
}

/// A workflow of a plan's items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRouting {
    pub workflow: String,
    /// Counted from 1; none if the config does not have it any more, or it is not known yet.
    pub revision: Option<u64>,
    /// Since when that revision has been in force.
    pub since: Option<String>,
    /// Items that were routed by this revision.
    pub same: u64,
    /// Items that came in before it: by an earlier one.
    pub earlier: u64,
}

/// How a plan's events keep their contracts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanContract {
    /// Items whose event differed from its contract, so that it breaks, when it came in.
    pub then: u64,
    /// Items whose event does today, as it would run; of those that were looked at.
    pub today: u64,
    pub looked_at: u64,
    /// Items of which it is not known: there were too many to look at all, or there is no contract.
    pub unknown: u64,
}

/// How long a plan may take, as its slowest destination goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanTime {
    pub destination: String,
    pub items: u64,
    /// Calls at once there, at most.
    pub concurrency: u64,
    /// How long a call took so far, on average; none if that is not known.
    pub call_ms: Option<f64>,
    pub seconds: Option<f64>,
}

/// What an edit makes of a plan's events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEdited {
    /// As it was asked for.
    pub asked: PlanEdit,
    /// Events whose payload differs, and may run.
    pub changed: u64,
    /// Events in which it changes nothing: they do not run.
    pub unchanged: u64,
    /// Events whose edited payload does not keep its contract, is not taken by its workflow, or could
    /// not be made: they do not run.
    pub invalid: u64,
    /// The first few of those that are changed.
    pub examples: Vec<PlanExample>,
}

/// How one event's payload changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanExample {
    pub event: String,
    pub changes: Vec<crate::patch::Change>,
}

/// One member of a plan, and what would become of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanItem {
    pub v: u32,
    /// `plan_item`.
    pub object: String,
    /// `tsk_…` or `req_…`.
    pub id: String,
    pub event_id: Option<String>,
    pub workflow: Option<String>,
    pub step: Option<String>,
    pub destination: Option<String>,
    /// As it was when the plan was made.
    pub status: String,
    /// `run`, `run_at_risk`, `skip` or `blocked`.
    pub would: String,
    /// Whether a replay brings it to execution.
    pub moves: bool,
    /// Why it is skipped or blocked.
    pub why: Option<String>,
    /// Whether a later event of its subject has that step `ok`.
    pub is_late: bool,
    /// How its event's payload is mended first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub changes: Vec<crate::patch::Change>,
}

/// Items with a later event of their subject, for which that step is `ok` already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLate {
    pub items: u64,
    pub subjects: u64,
    /// Items of which it is not known: there were too many later events to look through.
    pub unknown: u64,
}

/// How events read and route with another configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Difference {
    pub events: u64,
    /// Events that it cannot read, by why.
    pub unreadable: Vec<DifferenceCount>,
    /// Canonical fields that read otherwise.
    pub fields: Vec<FieldChange>,
    /// Events of which any field does.
    pub events_changed: u64,
    /// Steps that it asks for, for which the event has no task.
    pub routes_added: Vec<DifferenceCount>,
    /// Steps for which the event has a task, and which it asks for no more.
    pub routes_lost: Vec<DifferenceCount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceCount {
    /// `workflow/step`, or why.
    pub what: String,
    pub count: u64,
    /// One event of them.
    pub example: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// `kind`, `type`, `subject`, `occurred_at`, `contract`, `attributes.NAME`.
    pub field: String,
    pub count: u64,
    /// One event, and how the field reads there.
    pub example: String,
    pub was: Option<String>,
    pub is: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanCounts {
    pub total: u64,
    pub run: u64,
    pub run_at_risk: u64,
    pub skip: u64,
    pub blocked: u64,
    /// What a replay would bring back to execution: all of `run` and `run_at_risk`, and of `blocked`
    /// what only has to wait (for its circuit).
    #[serde(default)]
    pub moves: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanGroup {
    /// `run`, `run_at_risk`, `skip` or `blocked`.
    pub would: String,
    pub destination: String,
    pub effect: String,
    pub why: String,
    pub count: u64,
}

/// What is asked of a replay.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    pub plan: String,
    pub hash: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Items with a later event already done: `ask` (refuses if there are any), `apply` or `skip`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub late: Option<String>,
    /// Items per second.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub concurrency: Option<u32>,
    /// First only so many; then it stops if any of them failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub canary: Option<u64>,
    /// What follows a canary that went well: `go` (on), or `ask` (pause until it is resumed).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_canary: Option<String>,
    /// `N` or `N%` of its items: it pauses itself when so many failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stop_after: Option<String>,
}

/// What is said with a pause, a resumption or a cancellation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayControl {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// From here on: items per second.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f64>,
}

/// A recorded bulk operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replay {
    pub v: u32,
    /// `replay`.
    pub object: String,
    pub id: String,
    pub plan: String,
    pub action: String,
    pub mode: String,
    pub q: Option<String>,
    pub who: String,
    pub reason: Option<String>,
    pub created_at: String,
    pub ended_at: Option<String>,
    /// `running`, `paused`, `done` or `cancelled`.
    pub status: String,
    /// Why it is paused, if it paused itself.
    pub detail: Option<String>,
    pub rate: Option<f64>,
    pub items: ReplayCounts,
    /// `none` or `received`.
    #[serde(default)]
    pub order: String,
    /// `apply` or `skip`.
    #[serde(default)]
    pub late: String,
    #[serde(default)]
    pub concurrency: Option<u32>,
    #[serde(default)]
    pub canary: Option<u64>,
    /// How many failures pause it.
    #[serde(default)]
    pub stop_after: Option<u64>,
    /// `operator`, `canary` (it went well, and waits to be resumed), `canary_failed` or `stop_after`.
    #[serde(default)]
    pub paused_by: Option<String>,
    /// Of one replay alone: what its dead items died of, the most frequent first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub errors: Option<Vec<ReplayErrors>>,
}

/// Items of a replay that died of the same error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayErrors {
    /// The fingerprint: `e_…`.
    pub error_id: Option<String>,
    pub error: Option<String>,
    pub count: u64,
    /// One task of them.
    pub example: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCounts {
    pub total: u64,
    /// Not yet brought back to execution.
    pub pending: u64,
    /// Brought back, and not ended yet.
    pub moved: u64,
    pub ok: u64,
    pub dead: u64,
    pub discarded: u64,
    pub skipped: u64,
    pub cancelled: u64,
}

/// One member of a replay, with its verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayItem {
    pub v: u32,
    /// `replay_item`.
    pub object: String,
    /// `tsk_…` or `req_…`.
    pub id: String,
    pub event_id: Option<String>,
    pub destination: Option<String>,
    #[serde(default)]
    pub workflow: Option<String>,
    #[serde(default)]
    pub step: Option<String>,
    /// `pending`, `moved`, `ok`, `dead`, `discarded`, `skipped` or `cancelled`.
    pub verdict: String,
    pub why: Option<String>,
}

/// Replays by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayTotals {
    pub running: i64,
    pub paused: i64,
    pub done: i64,
    pub cancelled: i64,
}
