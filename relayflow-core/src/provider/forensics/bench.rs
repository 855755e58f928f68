//! Where signatures are tried: one request, one way to sign, one secret at a time, within bounds.

use std::borrow::Cow;

use jiff::SignedDuration;

use super::Case;
use crate::api::Tried;
use crate::provider::claim::Claim;
use crate::provider::definition::Scheme;
use crate::provider::extract::Found;
use crate::provider::key::Key;
use crate::provider::message::Signing;
use crate::provider::refusal::VerifyError;
use crate::provider::source::Source;
use crate::provider::verify::Check;
use crate::provider::way::Way;
use crate::provider::{Verified, body};
use crate::request::Request;
use crate::secret::Secret;

/// So many bytes are hashed, at most, to explain one request: under a second.
const WORK_MAX: u64 = 192 * 1024 * 1024;
/// What one signature costs beside its bytes, in bytes of hashing: a shared secret's, and a public key's.
const MAC_COST: u64 = 2 * 1024;
const PAIR_COST: u64 = 256 * 1024;

/// A signature that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// How far behind the arrival the signed time was.
    pub(super) skew: Option<SignedDuration>,
    /// Whether that is further than the source tolerates.
    pub(super) is_stale: bool,
}

/// Why one try did not hold.
#[derive(Debug)]
pub(super) enum Miss {
    Refused(VerifyError),
    /// The bounds are reached.
    Cut,
}

/// What is tried, and how much of it was.
pub(super) struct Bench<'c> {
    pub(super) case: &'c Case<'c>,
    pub(super) tried: Tried,
    work: u64,
}

impl<'c> Bench<'c> {
    pub(super) fn new(case: &'c Case<'c>) -> Self {
        Self { case, tried: Tried::default(), work: 0 }
    }

    /// Whether this request holds in this way, at whatever time it was signed.
    pub(super) fn judge(
        &mut self,
        source: &Source,
        way: &Way,
        keys: &[Key],
        request: &Request,
    ) -> Result<Held, Miss> {
        self.spend(way, request.body.len())?;
        let check = Check {
            source,
            request,
            now: request.received_at,
            kept: Some(self.case.digest_key),
            fetched: self.case.fetched,
            at_any_age: true,
        };
        let skew = match check.run_way(way, keys) {
            Ok(verified) => Verified::skew(&verified),
            // A token's own end, which no tolerance moves.
            Err(VerifyError::Stale { by }) => {
                return Ok(Held { skew: Some(by), is_stale: true });
            }
            Err(error) => return Err(Miss::Refused(error)),
        };
        let tolerance = source.tolerance.unwrap_or(way.tolerance);
        let is_stale = skew.zip(tolerance).is_some_and(|(by, most)| most < by.abs());
        Ok(Held { skew, is_stale })
    }

    pub(super) fn holds(
        &mut self,
        source: &Source,
        way: &Way,
        keys: &[Key],
        request: &Request,
    ) -> Option<Held> {
        self.judge(source, way, keys, request).ok()
    }

    /// Takes the cost of one try from what is left.
    pub(super) fn spend(&mut self, way: &Way, bytes: usize) -> Result<(), Miss> {
        let base = if is_mac(way) || way.scheme.is_shared() { MAC_COST } else { PAIR_COST };
        let cost = base + u64::try_from(bytes).unwrap_or(u64::MAX);
        if WORK_MAX < self.work.saturating_add(cost) {
            self.tried.is_cut = true;
            return Err(Miss::Cut);
        }
        self.work += cost;
        self.tried.signatures += 1;
        Ok(())
    }

    pub(super) fn is_spent(&self) -> bool {
        self.tried.is_cut
    }
}

/// Whether a shared secret makes this way's signatures, so that the right one can be worked out.
pub(super) fn is_mac(way: &Way) -> bool {
    matches!(
        way.scheme,
        Scheme::HmacSha1
            | Scheme::HmacSha256
            | Scheme::HmacSha384
            | Scheme::HmacSha512
            | Scheme::Sha256
    )
}

/// The keys that a secret stands for, by the number of their way.
pub(super) fn keys_of(source: &Source, secret: &Secret) -> Vec<(usize, Key)> {
    let ways = source.rules.ways.iter().enumerate();
    ways.filter_map(|(number, way)| Some((number, Key::of(way, secret).ok()??))).collect()
}

/// What is signed in one way, part by part, of the whole request or of one element of its batch; `None`
/// where it cannot be read so far.
pub(super) fn message(
    way: &Way,
    source: &Source,
    key: &Key,
    request: &Request,
    element: Option<&str>,
) -> Option<Vec<Vec<u8>>> {
    if way.is_each != element.is_some() || !is_mac(way) {
        return None;
    }
    let opened = if way.reads.is_empty() || element.is_some() {
        None
    } else {
        Some(body::open(&source.rules.takes, &request.body).ok()?)
    };
    let text = element.or(opened.as_ref().map(body::Opened::text));
    let found = match text {
        Some(text) => way.reads.read(text).ok()?,
        None => Found::default(),
    };
    let text = text.unwrap_or_default();
    let claim = Claim::new(request, way, &found).ok()?;
    let timestamp = claim.timestamp.as_deref();
    let (url, body) = (request.url.as_str(), &*request.body);
    let signing = Signing { way, request, found: &found, text, timestamp, url, body };
    Some(signing.message(key).into_iter().map(Cow::into_owned).collect())
}

/// The signature that a shared secret makes.
pub(super) fn right_signature(key: &Key, message: &[&[u8]]) -> Option<Vec<u8>> {
    match key {
        Key::Mac(mac) => Some(mac.sum(message)),
        Key::Hashed(_) => Some(crate::provider::key::sha256(message).to_vec()),
        Key::Ed25519(_) | Key::P256(_) | Key::Public(_) | Key::Authority(_) | Key::Shared(_) => {
            None
        }
    }
}
