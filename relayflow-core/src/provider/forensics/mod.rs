//! Why a request is not verified, as far as it can be worked out afterwards: what it would have to be
//! for one of the known secrets to have signed it.
//!
//! A cause is `certain` when a signature holds once the cause is taken back: nobody makes that happen by
//! chance. All else is told as likely or possible, with what speaks for it. Nothing here prints a secret:
//! it is called by its number and its fingerprint.

mod bench;
mod bodies;
mod edits;
mod guess;
mod headers;
mod json;
mod others;
mod secrets;
mod stages;
mod urls;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use self::bench::Bench;
pub(super) use self::headers::is_renamed;
use self::stages::Search;
use super::catalog::Catalog;
use super::fetched::FetchedKeys;
use super::source::Source;
use crate::api::{Cause, Tried, VerifiedBy};
use crate::request::Request;
use crate::secret::Secret;

/// So many causes are told.
const CAUSES_MAX: usize = 5;

/// A request, and all that is known when it is looked at.
pub struct Case<'a> {
    /// As it was kept: credentials are digests.
    pub request: &'a Request,
    /// The name of the source that it came to, and the provider that this was of.
    pub source_name: &'a str,
    pub provider: &'a str,
    /// The source as it is configured now, if it still is.
    pub source: Option<&'a Source>,
    /// Whether it was turned away when it came.
    pub was_rejected: bool,
    /// All sources in force.
    pub sources: &'a [Arc<Source>],
    /// Secrets that are not in force.
    pub spare: &'a [Spare],
    pub catalog: &'a Catalog,
    /// Under which credentials were digested.
    pub digest_key: &'a [u8; 32],
    pub fetched: &'a FetchedKeys,
    pub beside: Beside,
}

/// A secret that is known and not in force.
#[derive(Debug, Clone)]
pub struct Spare {
    pub source: Arc<str>,
    pub secret: Secret,
    pub standing: Standing,
}

/// Why a secret is not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was, before the configuration was loaded again.
    Retired,
    /// A handshake brought it, and nobody has put it in force.
    Learned,
}

/// What else came to the source.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The last request that was verified before this one came, and the first one after.
    pub verified_before: Option<(String, Timestamp)>,
    pub verified_after: Option<(String, Timestamp)>,
    /// The same event in a request that was verified.
    pub same_event: Option<Same>,
}

/// A request with the same event.
#[derive(Debug, Clone)]
pub struct Same {
    pub request: String,
    pub received_at: Timestamp,
    pub body: Bytes,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What verifies it today, as of its arrival.
    pub verified: Option<VerifiedBy>,
    /// The likeliest first.
    pub causes: Vec<Cause>,
    pub tried: Tried,
}

/// Tries what may have happened to a request, the likeliest first, until one explains it or a bound is
/// reached.
#[must_use]
pub fn explain(case: &Case<'_>) -> Findings {
    let mut search = Search::new(Bench::new(case));
    let verified = search.run();
    let mut causes = search.causes;
    causes.truncate(CAUSES_MAX);
    Findings { verified, causes, tried: search.bench.tried }
}
