//! Proves who wrote a request, over exactly the bytes that came in.
//!
//! What is refused is refused late: a missing header, a wrong length and a stale time cost the same
//! sums as a wrong secret, so that the time of an answer tells a forger nothing.

use std::borrow::Cow;
use std::sync::OnceLock;

use http::HeaderName;
use jiff::{SignedDuration, Timestamp};

use super::body::{self, BodyError, Opened};
use super::claim::{Claim, header};
use super::definition::Scheme;
use super::extract::{Found, is_too_deep};
use super::fetched::FetchedKeys;
use super::key::{Key, sha256};
use super::message::{Signing, bodies, urls};
pub use super::refusal::VerifyError;
use super::rules::{Condition, Rules};
use super::source::Source;
use super::split;
use super::value;
use super::way::{SignaturePlace, Way};
use crate::request::Request;

/// The longest header that is read for a signature, in bytes, and the most signatures in one.
pub(super) const HEADER_BYTES_MAX: usize = 8 * 1024;
pub(super) const SIGNATURES_MAX: usize = 10;

/// A request whose sender is known. Only [`verify`] and [`vouched`] make one.
#[derive(Debug)]
pub struct Verified<'r> {
    request: &'r Request,
    skew: Option<SignedDuration>,
    /// The digest of what was signed, where an event's id is not part of that.
    digest: Option<[u8; 32]>,
    /// The body as JSON text, once somebody has looked.
    opened: OnceLock<Result<Opened<'r>, BodyError>>,
    /// The JSON in the text that holds the event, once somebody has looked.
    inside: OnceLock<Option<String>>,
}

impl<'r> Verified<'r> {
    /// How far behind ours the signed time was.
    #[must_use]
    pub fn skew(&self) -> Option<SignedDuration> {
        self.skew
    }

    #[must_use]
    pub fn request(&self) -> &'r Request {
        self.request
    }

    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    /// The body as JSON text.
    pub(super) fn opened(&self, source: &Source) -> Result<&Opened<'r>, BodyError> {
        self.opened
            .get_or_init(|| body::open(&source.rules.takes, &self.request.body))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The event that stands as JSON in a text of the body, if it does.
    pub(super) fn inside(&self, source: &Source) -> Result<Option<&str>, BodyError> {
        let Some(rule) = &source.rules.inside else { return Ok(None) };
        let outer = self.opened(source)?.text();
        let found = rule.reads.read(outer)?;
        let inner = self.inside.get_or_init(|| {
            let text = found.scalar(rule.slot).text()?;
            let text = text.trim();
            let is_object = text.starts_with('{')
                && !is_too_deep(text)
                && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
            is_object.then(|| text.to_owned())
        });
        Ok(inner.as_deref())
    }

    fn new(request: &'r Request) -> Self {
        Self { request, skew: None, digest: None, opened: OnceLock::new(), inside: OnceLock::new() }
    }

    pub(super) fn proven(
        request: &'r Request,
        skew: Option<SignedDuration>,
        digest: Option<[u8; 32]>,
    ) -> Self {
        Self { skew, digest, ..Self::new(request) }
    }
}

/// Checks a request against the source's secrets. `now` is its arrival.
///
/// # Errors
///
/// Why nobody may believe it. [`VerifyError::is_malformed`] tells a 400 from a 401.
pub fn verify<'r>(
    source: &Source,
    request: &'r Request,
    now: Timestamp,
) -> Result<Verified<'r>, VerifyError> {
    verify_with(source, request, now, no_keys())
}

/// The same with the keys that were fetched from vendors' hosts so far.
///
/// # Errors
///
/// As [`verify`]; [`VerifyError::NeedsKey`] is no verdict: fetch the key, and ask again.
pub fn verify_with<'r>(
    source: &Source,
    request: &'r Request,
    now: Timestamp,
    fetched: &FetchedKeys,
) -> Result<Verified<'r>, VerifyError> {
    Check { source, request, now, kept: None, fetched, at_any_age: false }.run()
}

fn no_keys() -> &'static FetchedKeys {
    static NONE: OnceLock<FetchedKeys> = OnceLock::new();
    NONE.get_or_init(FetchedKeys::default)
}

/// The same for a request that was kept: its credentials are digests under `digest_key`
/// (`keep.rs`), and so is what they are compared with.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_kept<'r>(
    source: &Source,
    request: &'r Request,
    now: Timestamp,
    digest_key: &[u8; 32],
) -> Result<Verified<'r>, VerifyError> {
    verify_kept_with(source, request, now, digest_key, no_keys())
}

/// A request that was verified when it came in, and committed as such. Its secret may be another by
/// now, so its signature is not asked again.
#[must_use]
pub fn once_verified(request: &Request) -> Verified<'_> {
    Verified::new(request)
}

/// A request as the vendor's own API gives it back: what it sent, or would have sent. The vendor vouches
/// for it over TLS, so its signature (which such an answer seldom has) need not hold; where it does, what
/// it covers is remembered as of any other.
#[must_use]
pub fn vouched<'r>(source: &Source, request: &'r Request) -> Verified<'r> {
    verify(source, request, request.received_at).unwrap_or_else(|_| Verified::new(request))
}

/// The same, of a body that is not JSON and stands as this JSON.
pub(crate) fn once_verified_as(request: &Request, json: String) -> Verified<'_> {
    let opened = OnceLock::from(Ok(Opened::Converted(json)));
    Verified { opened, ..Verified::new(request) }
}

/// The same with the keys that were fetched from vendors' hosts so far.
///
/// # Errors
///
/// As [`verify_with`].
pub fn verify_kept_with<'r>(
    source: &Source,
    request: &'r Request,
    now: Timestamp,
    digest_key: &[u8; 32],
    fetched: &FetchedKeys,
) -> Result<Verified<'r>, VerifyError> {
    Check { source, request, now, kept: Some(digest_key), fetched, at_any_age: false }.run()
}

pub(super) struct Check<'a, 'r> {
    pub(super) source: &'a Source,
    pub(super) request: &'r Request,
    pub(super) now: Timestamp,
    pub(super) kept: Option<&'a [u8; 32]>,
    pub(super) fetched: &'a FetchedKeys,
    /// Whether a signed time may lie anywhere: to tell a wrong time from a wrong signature.
    pub(super) at_any_age: bool,
}

impl<'r> Check<'_, 'r> {
    pub(super) fn run(&self) -> Result<Verified<'r>, VerifyError> {
        let (way, keys) = self.choose();
        self.run_way(way, keys)
    }

    /// The same in one way, with these keys of it.
    pub(super) fn run_way(&self, way: &Way, keys: &[Key]) -> Result<Verified<'r>, VerifyError> {
        if way.scheme == Scheme::None {
            return Ok(Verified::new(self.request));
        }
        if way.scheme.is_shared() {
            return self.shared(way, keys);
        }
        if way.scheme == Scheme::Jwt {
            return self.jwt(way, keys);
        }
        if way.scheme == Scheme::HttpSignature {
            return self.http_signature(way, keys);
        }
        if way.is_each {
            return self.each(way, keys);
        }
        let opened = self.opened(way)?;
        let text = opened.as_ref().map_or("", Opened::text);
        let found = match &opened {
            Some(opened) => {
                way.reads.read(opened.text()).map_err(|e| VerifyError::Body(BodyError::from(e)))?
            }
            None => Found::default(),
        };
        let (skew, digest) = if way.scheme == Scheme::Rsa {
            self.rsa(way, keys, &found, text)?
        } else {
            let proof = self.signed(way, keys, &found, text)?;
            self.hold_checks(way, &found)?;
            proof
        };
        drop(found);
        let opened = opened.map_or_else(OnceLock::new, |opened| OnceLock::from(Ok(opened)));
        Ok(Verified { skew, digest, opened, ..Verified::new(self.request) })
    }

    /// The body's text, if this way reads of it.
    pub(super) fn opened(&self, way: &Way) -> Result<Option<Opened<'r>>, VerifyError> {
        if way.reads.is_empty() {
            return Ok(None);
        }
        body::open(&self.source.rules.takes, &self.request.body)
            .map(Some)
            .map_err(VerifyError::Body)
    }

    /// The first way whose signature is there and for which there is a key; else the first for
    /// which there is a key, whose error then tells what is missing.
    pub(super) fn choose(&self) -> (&Way, &[Key]) {
        let ways = || {
            self.source.rules.ways.iter().zip(&self.source.keys).filter(|(way, keys)| {
                way.scheme == Scheme::None || !keys.is_empty() || way.keys_at.is_some()
            })
        };
        let chosen = ways()
            .find(|(way, _)| bears(way, self.request))
            .or_else(|| ways().next())
            // A source that waits for its secret has no key, and nothing fits.
            .or_else(|| self.source.rules.ways.iter().zip(&self.source.keys).next())
            .expect("a definition has a way to verify");
        (chosen.0, chosen.1)
    }

    /// A batch whose elements are signed one by one. All must hold, and there must be one.
    fn each(&self, way: &Way, keys: &[Key]) -> Result<Verified<'r>, VerifyError> {
        let rules: &Rules = &self.source.rules;
        let opened = body::open(&rules.takes, &self.request.body).map_err(VerifyError::Body)?;
        let elements = split::elements(rules, opened.text())
            .map_err(|e| VerifyError::Body(BodyError::NotJson(e.to_string())))?;
        if elements.is_empty() {
            return Err(VerifyError::Missing { place: "element".to_owned() });
        }
        let mut verified = Verified::new(self.request);
        let mut digests = Vec::new();
        for element in elements {
            let found =
                way.reads.read(element.text).map_err(|e| VerifyError::Body(BodyError::from(e)))?;
            let (skew, digest) = self.signed(way, keys, &found, element.text)?;
            verified.skew = verified.skew.or(skew);
            digests.extend(digest);
        }
        if !digests.is_empty() {
            let parts: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
            verified.digest = Some(sha256(&parts));
        }
        Ok(verified)
    }

    fn signed(
        &self,
        way: &Way,
        keys: &[Key],
        found: &Found<'_>,
        text: &str,
    ) -> Result<(Option<SignedDuration>, Option<[u8; 32]>), VerifyError> {
        let claim = Claim::new(self.request, way, found);
        let nothing = Claim::default();
        let (signatures, timestamp) = match &claim {
            Ok(claim) => (claim.signatures.as_slice(), claim.timestamp.as_deref()),
            Err(_) => (nothing.signatures.as_slice(), None),
        };
        let skew = self.skew(way, timestamp);

        let mut held = None;
        for url in urls(way, &self.request.url) {
            for body in bodies(way, &self.request.body) {
                let request = self.request;
                let context =
                    Signing { way, request, found, text, timestamp, url: &url, body: &body };
                for key in keys {
                    let message = context.message(key);
                    let message: Vec<&[u8]> = message.iter().map(|part| &**part).collect();
                    if key.holds(&message, signatures, way.form) && held.is_none() {
                        let wants_digest = way.id_is_open && !self.source.accept_identical;
                        held = Some(wants_digest.then(|| sha256(&message)));
                    }
                }
            }
        }

        claim?;
        let skew = skew?;
        let Some(digest) = held else { return Err(VerifyError::Wrong { secrets: keys.len() }) };
        if let Some(digest) = &way.digest {
            let place = || format!("?{}=", digest.query);
            let given = parameter(self.request, &digest.query)
                .ok_or_else(|| VerifyError::Missing { place: place() })?;
            let given = hex::decode(&*given).unwrap_or_default();
            if !crate::secret::Secret::new(sha256(&[&self.request.body])).is(&given) {
                return Err(VerifyError::WrongDigest { place: place() });
            }
        }
        if let (Some(by), Some(tolerance)) = (skew, self.tolerance(way))
            && tolerance < by.abs()
        {
            return Err(VerifyError::Stale { by });
        }
        Ok((skew, digest))
    }

    pub(super) fn tolerance(&self, way: &Way) -> Option<SignedDuration> {
        if self.at_any_age {
            return None;
        }
        self.source.tolerance.unwrap_or(way.tolerance)
    }

    /// How far a signed time is behind ours.
    pub(super) fn skew(
        &self,
        way: &Way,
        text: Option<&str>,
    ) -> Result<Option<SignedDuration>, VerifyError> {
        let Some(moment) = way.timestamp.as_ref().filter(|m| m.is_signed) else { return Ok(None) };
        let text = text.ok_or(VerifyError::NoTimestamp)?;
        let at = value::signed_moment(text, moment.unit).ok_or(VerifyError::BadTimestamp)?;
        Ok(Some(self.now.duration_since(at)))
    }

    pub(super) fn only_header<'h>(
        &'h self,
        names: &'h [HeaderName],
    ) -> Result<(&'h HeaderName, &'h str), VerifyError> {
        let there = names.iter().find(|n| self.request.headers.contains_key(*n));
        match there.or(names.first()) {
            Some(name) => Ok((name, header(self.request, name)?)),
            None => Err(VerifyError::Missing { place: "credential".to_owned() }),
        }
    }
}

/// Whether a request is of this way: its signature is there, and what else says so.
pub(super) fn bears(way: &Way, request: &Request) -> bool {
    if let Some(when) = &way.when
        && !holds(when, request)
    {
        return false;
    }
    match &way.place {
        SignaturePlace::Headers(names) => names.iter().any(|name| {
            request.headers.get_all(name).iter().any(|value| {
                way.shape.prefixes.is_empty()
                    || value
                        .to_str()
                        .is_ok_and(|v| way.shape.prefixes.iter().any(|p| v.contains(&**p)))
            })
        }),
        SignaturePlace::Query(name) => parameter(request, name).is_some(),
        SignaturePlace::Slot(_) | SignaturePlace::Nowhere => true,
    }
}

/// Whether a condition that reads no body holds.
pub(super) fn holds(when: &Condition, request: &Request) -> bool {
    if when.method.as_ref().is_some_and(|method| *method != request.method) {
        return false;
    }
    if let Some(format) = when.body
        && !body::looks_like(format, &request.body)
    {
        return false;
    }
    let is_wanted = |value: &str| when.is.is_empty() || when.is.iter().any(|is| is == value);
    if let Some(name) = &when.header
        && !request.header(name.as_str()).is_some_and(is_wanted)
    {
        return false;
    }
    if let Some(name) = &when.query
        && !parameter(request, name).is_some_and(|value| is_wanted(&value))
    {
        return false;
    }
    true
}

/// A parameter of the URL, decoded, if it is there exactly once.
pub(super) fn parameter<'r>(request: &'r Request, name: &str) -> Option<Cow<'r, str>> {
    let mut values = form_urlencoded::parse(request.query().as_bytes()).filter(|(n, _)| n == name);
    let (_, only) = values.next()?;
    values.next().is_none().then_some(only)
}

/// A request of which nobody knows who sent it, such as one that lies in a file. It is only ever looked
/// at: what takes requests in asks [`verify`].
pub(super) fn unproven(request: &Request) -> Verified<'_> {
    Verified::new(request)
}
