//! Incident bundles: a selection of a store with everything that belongs to it, in one file that
//! another machine reads with the same commands.
//!
//! A bundle is a tar in gzip. `manifest.json` says what is in it and is its first member; `relayflow.db`
//! is a fresh store of the same schema that holds the selection alone; `documents.json` is what only the
//! daemon knew (sources, workflows, providers, queues, numbers); `config.json` and `report.md` are for
//! people. Redacted unless asked otherwise, and without the configured secrets even then.

mod json;
mod mask;
mod open;
mod redact;
mod report;
mod select;
mod write;

use serde::{Deserialize, Serialize};

use crate::api::codes::Code;
use crate::api::{Contract, Drift, List, Provider, Queue, Source, Stats, Worker, Workflow};
use crate::filter::FilterError;
use crate::store::{QueryError, StoreError};
use crate::view::{ViewError, store_code};

pub use open::{Bundle, is_bundle, read_manifest};
pub use redact::{MASK, Masked, Redactor};
pub use select::{EVENTS_MAX, Selected, Wanted, select};
pub use write::{Around, Progress, write};

/// The version of the format that is written; older ones are read.
pub const FORMAT: u32 = 1;
/// What stands before each member's name.
const FOLDER: &str = "relayflow-incident/";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const STORE: &str = "relayflow.db";
pub(crate) const DOCUMENTS: &str = "documents.json";
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const REPORT: &str = "report.md";

/// What a bundle is, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub v: u32,
    /// `bundle`.
    pub object: String,
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// The RelayFlow that wrote it.
    pub version: String,
    /// The version of the store's schema.
    pub schema: i64,
    pub created_at: String,
    pub created_by: String,
    pub reason: Option<String>,
    /// The filter, resolved; null where everything was selected.
    pub q: Option<String>,
    /// When the selected events were received, as the filter bounds it.
    pub since: Option<String>,
    pub until: Option<String>,
    /// Events and requests that the filter selected; the rest belongs to them.
    pub selected: u64,
    pub counts: Counts,
    /// Null: nothing but secrets was masked.
    pub masked: Option<Masked>,
    /// Places at which a configured secret stood, masked in every bundle.
    pub secrets_masked: u64,
    pub members: Vec<Member>,
}

/// How many there are in a bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub requests: u64,
    pub rejected: u64,
    pub events: u64,
    pub tasks: u64,
    pub attempts: u64,
    pub dead_letters: u64,
    pub timeline: u64,
    pub revisions: u64,
    pub plans: u64,
    pub replays: u64,
    pub drift: u64,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub bytes: u64,
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
}

/// What a store alone does not say: as the daemon answered when the bundle was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Documents {
    pub stats: Stats,
    pub queues: List<Queue>,
    /// `None`: there was no daemon to ask.
    pub workers: Option<List<Worker>>,
    pub sources: Option<List<Source>>,
    pub workflows: Option<List<Workflow>>,
    pub providers: List<Provider>,
    #[serde(default)]
    pub contracts: Vec<Contract>,
    #[serde(default)]
    pub drift: Vec<Drift>,
}

/// Why a bundle was not written or not opened.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("nothing is selected")]
    Empty,
    #[error("more than {max} events and requests are selected")]
    TooMany { max: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("the bundle could not be written")]
    Write(#[source] std::io::Error),
    #[error("the bundle could not be read")]
    Read(#[source] std::io::Error),
    #[error("this is not a bundle: {0}")]
    NotABundle(&'static str),
    #[error("the bundle is broken off: {0}")]
    Truncated(&'static str),
    #[error("the bundle is not as it was written: {0}")]
    Damaged(String),
    #[error("the bundle holds `{0}`, which no bundle does")]
    Foreign(String),
    #[error("the bundle unpacks to more than it says or than is allowed ({0})")]
    TooLarge(&'static str),
    #[error("the bundle was written by a newer RelayFlow ({version}); upgrade this one")]
    Newer { version: String },
}

impl BundleError {
    /// The stable code of the problem, as the API answers it: bundles are written there, not read.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Filter(_) | Self::Query(_) => Code::BadFilter,
            Self::Empty => Code::EmptySelection,
            Self::TooMany { .. } => Code::OverMax,
            Self::Store(error) => store_code(error),
            Self::View(error) => error.code(),
            Self::Write(error) if error.kind() == std::io::ErrorKind::StorageFull => Code::DiskFull,
            Self::Write(_)
            | Self::NotABundle(_)
            | Self::Read(_)
            | Self::Truncated(_)
            | Self::Damaged(_)
            | Self::Foreign(_)
            | Self::TooLarge(_)
            | Self::Newer { .. } => Code::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
