//! Contracts and drift on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A finding: how payloads differ from what is expected of them. Names of fields, types and words of
/// vocabularies; no values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drift {
    pub v: u32,
    /// `drift`.
    pub object: String,
    pub id: String,
    pub source: String,
    pub provider: String,
    /// The provider's event type; null for what is about the source.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// `field_added`, `field_gone`, `type_changed`, `newly_null`, `value_added`, `format_changed`,
    /// `type_added`, `type_gone`, `unreadable`, `header_added`, `header_gone`.
    pub change: String,
    /// `breaking` or `additive`.
    pub grade: String,
    /// The field, as a JSON Pointer with `*` for every element, or `header:name`. Empty for the
    /// payload itself.
    pub path: String,
    pub was: String,
    pub is: String,
    /// What may have become of it: `moved to /items/*/period_start`.
    pub hint: Option<String>,
    /// How many events differ so.
    pub events: i64,
    /// Their share of the events of this source and type since the first that did, 0 to 1.
    pub share: Option<f64>,
    pub first_at: String,
    pub last_at: String,
    /// Ids of the first events that differ.
    pub examples: Vec<String>,
    /// The mappings and workflows that read the field.
    pub read_by: Vec<String>,
    /// `open` or `accepted`.
    pub status: String,
    pub accepted_at: Option<String>,
    pub accepted_by: Option<String>,
    pub reason: Option<String>,
    /// The version of the contract that has it.
    pub version: Option<i64>,
}

/// Takes a finding into the contract.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptDrift {
    /// Why, for whoever reads the contract later.
    pub reason: String,
}

/// What one source's events of one type are expected to look like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contract {
    pub v: u32,
    /// `contract`.
    pub object: String,
    /// Null for one that came with a definition.
    pub source: Option<String>,
    pub provider: String,
    #[serde(rename = "type")]
    pub event_type: String,
    /// Null while it is being learned.
    pub version: Option<i64>,
    /// `shipped` with the definition, `learned` from events, `accepted` drift, `written` by a person;
    /// `learning` until it is known what to expect.
    pub origin: String,
    /// How many fields it names.
    pub fields: usize,
    /// How many events were held against it.
    pub events: i64,
    pub created_at: Option<String>,
    pub created_by: Option<String>,
    pub reason: Option<String>,
    /// JSON Schema (2020-12). Lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema: Option<Value>,
}

/// Which stored events are held against their contracts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckContracts {
    /// A filter over events.
    #[serde(default)]
    pub q: Option<String>,
    /// How many events at most, the newest first; 1,000 if nobody says, 10,000 at most.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContractCheck {
    pub v: u32,
    /// `contract_check`.
    pub object: String,
    /// How many events were held against a contract.
    pub checked: usize,
    /// How many had no contract to be held against.
    pub without_contract: usize,
    /// Of which types those are.
    #[serde(default)]
    pub missing: Vec<MissingContract>,
    /// How many kept it.
    pub kept: usize,
    pub breaking: usize,
    pub additive: usize,
    pub violations: Vec<Violation>,
}

/// A type of event that has no contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingContract {
    /// The file, or the first event's id.
    pub at: String,
    pub provider: String,
    #[serde(rename = "type")]
    pub event_type: String,
    /// How many events of the check have the type.
    pub events: usize,
}

/// One difference between one payload, or several alike, and its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    pub v: u32,
    /// `violation`.
    pub object: String,
    /// The file, or the first event's id.
    pub at: String,
    pub provider: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub change: String,
    pub grade: String,
    pub path: String,
    pub was: String,
    pub is: String,
    pub hint: Option<String>,
    /// How many events of the check differ so.
    pub events: usize,
}

/// From which stored events a contract is to be inferred.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnContract {
    pub source: String,
    #[serde(rename = "type")]
    pub event_type: String,
    /// A filter over events, such as `since:7d`.
    #[serde(default)]
    pub q: Option<String>,
    /// Keep it as the next version.
    #[serde(default)]
    pub write: bool,
    /// Why, if it is kept.
    #[serde(default)]
    pub reason: Option<String>,
}
