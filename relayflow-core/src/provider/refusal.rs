//! Why a request is not verified.

use jiff::SignedDuration;

use super::body::BodyError;
use super::fetched::KeyWanted;
use super::verify::{HEADER_BYTES_MAX, SIGNATURES_MAX};

/// Why a request is not verified. A sender never learns it; its owner does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("there is no `{place}`")]
    Missing { place: String },
    #[error("the header `{header}` is there {count} times")]
    Repeated { header: String, count: usize },
    #[error("`{place}` has {bytes} bytes; at most {HEADER_BYTES_MAX} are read")]
    TooLong { place: String, bytes: usize },
    #[error("`{place}` holds no signature that can be read")]
    Unreadable { place: String },
    #[error("there are {count} signatures; at most {SIGNATURES_MAX} are tried")]
    TooMany { count: usize },
    #[error("the timestamp is missing")]
    NoTimestamp,
    #[error("the timestamp is not one")]
    BadTimestamp,
    #[error("the timestamp is {} away", shown(*.by))]
    Stale { by: SignedDuration },
    #[error(
        "no signature fits: this source's secrets ({secrets} tried) were not used, or not on these bytes"
    )]
    Wrong { secrets: usize },
    #[error("what `{place}` shows is none of this source's secrets ({secrets} tried)")]
    WrongCredential { place: String, secrets: usize },
    #[error("the body's digest in `{place}` is not this body's")]
    WrongDigest { place: String },
    #[error("`{claim}` is not what this source's settings ask for")]
    WrongClaim { claim: String },
    #[error("the signature is made with another algorithm than this provider's")]
    WrongAlgorithm,
    #[error("the signature does not cover `{component}`")]
    NotCovered { component: String },
    #[error("the request does not say where its key is")]
    NoKeyAddress,
    #[error("the key's address is not on a host of this provider")]
    ForeignKey,
    #[error("the key that signed is not valid at this time")]
    KeyExpired,
    /// Nobody knows yet: the key must be fetched, and the request verified again.
    #[error("the key at {} is needed", .0.url)]
    NeedsKey(Box<KeyWanted>),
    #[error("the signature is in the body, which cannot be read")]
    Body(#[source] BodyError),
}

/// A duration in whole seconds, as people say it.
fn shown(duration: SignedDuration) -> String {
    format!("{:#}", SignedDuration::from_secs(duration.abs().as_secs()))
}

impl VerifyError {
    /// A short word for lists and counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "signature_missing",
            Self::Repeated { .. } => "header_repeated",
            Self::TooLong { .. } => "header_too_long",
            Self::Unreadable { .. } => "signature_unreadable",
            Self::TooMany { .. } => "too_many_signatures",
            Self::NoTimestamp => "timestamp_missing",
            Self::BadTimestamp => "timestamp_unreadable",
            Self::Stale { .. } => "timestamp_stale",
            Self::Wrong { .. } => "signature_wrong",
            Self::WrongCredential { .. } => "credential_wrong",
            Self::WrongDigest { .. } => "digest_wrong",
            Self::WrongClaim { .. } => "claim_wrong",
            Self::WrongAlgorithm => "algorithm_wrong",
            Self::NotCovered { .. } => "signature_incomplete",
            Self::NoKeyAddress => "key_missing",
            Self::ForeignKey => "key_foreign",
            Self::KeyExpired => "key_expired",
            Self::NeedsKey(_) => "key_unavailable",
            Self::Body(_) => "body_unreadable",
        }
    }

    /// Whether this provider could not have sent the request at all (400), which is not to say that
    /// somebody else did (401).
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}
