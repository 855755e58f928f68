//! What a vendor says it sent, against what arrived, on the wire.

use serde::{Deserialize, Serialize};

/// What is asked of a comparison.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewReconcile {
    pub source: String,
    /// RFC 3339: from when on; unless said, as far back as the vendor's list goes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<String>,
    /// RFC 3339: before when; now, unless said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<String>,
    /// Only these types, or what is a part of them; else those of the source's config.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub types: Option<Vec<String>>,
}

/// What is said when the missing ones are taken in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunReconcile {
    /// Of the set that was shown.
    pub hash: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A comparison: a frozen set, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reconcile {
    pub v: u32,
    /// `reconcile`.
    pub object: String,
    pub id: String,
    /// There once the vendor's list was read to its end.
    pub hash: Option<String>,
    pub source: String,
    pub provider: String,
    pub since_at: String,
    pub until_at: String,
    /// Only these types; none are all.
    pub types: Vec<String>,
    pub who: String,
    pub reason: Option<String>,
    pub created_at: String,
    pub expires_at: String,
    pub ended_at: Option<String>,
    /// `listing`, `planned`, `running`, `done`, `failed` or `expired`.
    pub status: String,
    /// How many pages of the vendor's list were read.
    pub pages: u64,
    pub items: ReconcileCounts,
    /// Why it failed.
    pub error: Option<ReconcileError>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileCounts {
    /// What the vendor says it sent, each event once.
    pub listed: u64,
    /// Of those: known here.
    pub arrived: u64,
    /// Never came.
    pub missing: u64,
    /// Came, and was turned away: its signature did not hold.
    pub rejected: u64,
    /// The vendor's own copy cannot be read, so it cannot be taken in.
    pub unreadable: u64,
    /// Of a type that was not asked for.
    pub ignored: u64,
    /// Of `missing` and `rejected`: not yet taken in.
    pub pending: u64,
    pub taken: u64,
    /// Had arrived by itself meanwhile.
    pub duplicate: u64,
    pub failed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileError {
    /// One of the error codes.
    pub code: String,
    pub message: String,
}

/// An event that the vendor lists and that is not here, or was not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReconcileItem {
    pub v: u32,
    /// `reconcile_item`.
    pub object: String,
    pub place: i64,
    /// The vendor's own id.
    pub external_id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened, or was sent, as the vendor has it.
    pub occurred_at: String,
    /// How the vendor says that its delivery stands, in its own words.
    pub delivery: Option<String>,
    /// `missing`, `rejected` or `unreadable`.
    pub state: String,
    /// `taken`, `duplicate` or `failed`.
    pub verdict: Option<String>,
    pub why: Option<String>,
    /// The request that was turned away, or with which it was taken in.
    pub request_id: Option<String>,
    pub event_id: Option<String>,
}
