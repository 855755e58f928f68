//! Why a request was not verified, on the wire.

use serde::{Deserialize, Serialize};

/// What verified a request, or why nothing does: `relayflow requests explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    pub v: u32,
    /// `verification`.
    pub object: String,
    /// `req_…`
    pub request: String,
    pub source: String,
    pub provider: String,
    pub received_at: String,
    /// How the request stands: `rejected`, `accepted` …
    pub status: String,
    /// Why it was turned away when it came.
    pub reason: Option<String>,
    pub detail: Option<String>,
    /// What verifies it today, as of its arrival; null if nothing does.
    pub verified: Option<VerifiedBy>,
    /// Why it is not verified, the likeliest first; empty if it is, unless it was turned away before.
    pub causes: Vec<Cause>,
    pub tried: Tried,
}

/// The secret and the scheme that hold. A secret is shown by its number and fingerprint only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedBy {
    /// `secret #2 sha256:9c1f03ab`; null where the vendor's own key, or nothing, was needed.
    pub secret: Option<String>,
    pub scheme: String,
    /// How far behind this machine's clock the signed time was, where one is signed.
    pub skew_ms: Option<i64>,
    /// How far it may be: `5m`, `off` or `none`.
    pub tolerance: String,
}

/// One thing that may be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// One of the words in `Blame`.
    pub cause: String,
    /// `certain` (a signature holds once this is taken back), `likely` or `possible`.
    pub confidence: String,
    /// What happened, in one sentence.
    pub says: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What mends it.
    pub mend: Vec<Mend>,
}

/// One way to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mend {
    /// `command` (to be run), `config` (a line of `relayflow.toml`) or `elsewhere` (at the vendor, in a
    /// proxy, on a host).
    pub at: String,
    pub text: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub secrets: u64,
    pub sources: u64,
    /// Ways to sign, of all providers that were asked.
    pub schemes: u64,
    /// Forms of the body, and of the URL.
    pub bodies: u64,
    pub urls: u64,
    /// Signatures that were worked out.
    pub signatures: u64,
    /// Whether there was more to try than is worth the time.
    pub is_cut: bool,
}
