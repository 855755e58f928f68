//! Proves who wrote a request, over exactly the bytes that came in.
//!
//! What is refused is refused late: a missing header, a wrong length and a stale time cost the same
//! sums as a wrong secret, so that the time of an answer tells a forger nothing.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use jiff::{SignedDuration, Timestamp};

use super::body::{self, BodyError, Opened};
use super::definition::Scheme;
use super::extract::{Found, Scalar};
use super::key::{self, Key, keyed_digest, sha256};
use super::message::{Signing, bodies, urls};
use super::rules::{Condition, Rules};
use super::source::Source;
use super::split;
use super::value;
use super::way::{MomentPlace, Shape, SignaturePlace, Way};
use crate::request::Request;

/// The longest header that is read for a signature, in bytes, and the most signatures in one.
const HEADER_BYTES_MAX: usize = 8 * 1024;
const SIGNATURES_MAX: usize = 10;

/// A request whose sender is known. Only [`verify`] makes one.
#[derive(Debug)]
pub struct Verified<'r> {
    request: &'r Request,
    skew: Option<SignedDuration>,
    /// The digest of what was signed, where an event's id is not part of that.
    digest: Option<[u8; 32]>,
    /// The body as JSON text, once somebody has looked.
    opened: OnceLock<Result<Opened<'r>, BodyError>>,
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

    fn new(request: &'r Request) -> Self {
        Self { request, skew: None, digest: None, opened: OnceLock::new() }
    }
}

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
    Check { source, request, now, kept: None }.run()
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
    Check { source, request, now, kept: Some(digest_key) }.run()
}

struct Check<'a, 'r> {
    source: &'a Source,
    request: &'r Request,
    now: Timestamp,
    kept: Option<&'a [u8; 32]>,
}

/// What a request says about itself, in one way.
#[derive(Default)]
struct Claim<'c> {
    signatures: Vec<Vec<u8>>,
    timestamp: Option<Cow<'c, str>>,
}

impl<'r> Check<'_, 'r> {
    fn run(&self) -> Result<Verified<'r>, VerifyError> {
        let (way, keys) = self.choose();
        if way.scheme == Scheme::None {
            return Ok(Verified::new(self.request));
        }
        if way.scheme.is_shared() {
            return self.shared(way, keys);
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
        let (skew, digest) = self.signed(way, keys, &found, text)?;
        drop(found);
        let opened = opened.map_or_else(OnceLock::new, |opened| OnceLock::from(Ok(opened)));
        Ok(Verified { request: self.request, skew, digest, opened })
    }

    /// The body's text, if this way reads of it.
    fn opened(&self, way: &Way) -> Result<Option<Opened<'r>>, VerifyError> {
        if way.reads.is_empty() {
            return Ok(None);
        }
        body::open(&self.source.rules.takes, &self.request.body)
            .map(Some)
            .map_err(VerifyError::Body)
    }

    /// The first way whose signature is there and for which there is a key; else the first for
    /// which there is a key, whose error then tells what is missing.
    fn choose(&self) -> (&Way, &[Key]) {
        let ways = || {
            self.source
                .rules
                .ways
                .iter()
                .zip(&self.source.keys)
                .filter(|(way, keys)| way.scheme == Scheme::None || !keys.is_empty())
        };
        let chosen = ways()
            .find(|(way, _)| self.applies(way))
            .or_else(|| ways().next())
            .expect("a source has a key for one of its ways, or the way `none`");
        (chosen.0, chosen.1)
    }

    fn applies(&self, way: &Way) -> bool {
        if let Some(when) = &way.when
            && !holds(when, self.request)
        {
            return false;
        }
        match &way.place {
            SignaturePlace::Headers(names) => names.iter().any(|name| {
                self.request.headers.get_all(name).iter().any(|value| {
                    way.shape.prefixes.is_empty()
                        || value
                            .to_str()
                            .is_ok_and(|v| way.shape.prefixes.iter().any(|p| v.contains(&**p)))
                })
            }),
            SignaturePlace::Query(name) => parameter(self.request, name).is_some(),
            SignaturePlace::Slot(_) | SignaturePlace::Nowhere => true,
        }
    }

    /// A request that bears the secret itself.
    fn shared(&self, way: &Way, keys: &[Key]) -> Result<Verified<'r>, VerifyError> {
        let (place, given) = match &way.place {
            SignaturePlace::Query(name) => {
                let value = parameter(self.request, name)
                    .ok_or_else(|| VerifyError::Missing { place: format!("?{name}=") })?;
                (format!("?{name}="), value)
            }
            SignaturePlace::Headers(names) => {
                let (name, value) = self.only_header(names)?;
                (name.to_string(), Cow::Borrowed(value))
            }
            SignaturePlace::Slot(slot) => {
                let place = "token".to_owned();
                let opened = self.opened(way)?;
                let text = opened.as_ref().map_or("null", Opened::text);
                let found = way.reads.read(text);
                let found = found.map_err(|e| VerifyError::Body(BodyError::from(e)))?;
                match found.scalar(*slot) {
                    Scalar::Text(text) => (place, Cow::Owned(text.into_owned())),
                    Scalar::Missing | Scalar::Other => return Err(VerifyError::Missing { place }),
                }
            }
            SignaturePlace::Nowhere => {
                return Err(VerifyError::Missing { place: "credential".to_owned() });
            }
        };
        let held = keys.iter().fold(false, |held, key| self.is_credential(way, key, &given) | held);
        if !held {
            return Err(VerifyError::WrongCredential { place, secrets: keys.len() });
        }
        Ok(Verified::new(self.request))
    }

    fn is_credential(&self, way: &Way, key: &Key, given: &str) -> bool {
        let Key::Shared(secret) = key else { return false };
        if let Some(digest_key) = self.kept
            && given.starts_with("digest:")
        {
            let right = keyed_digest(digest_key, &credential(way, secret.expose()));
            return crate::secret::Secret::new(right).is(given.as_bytes());
        }
        match way.scheme {
            Scheme::Bearer => after_word(given, "bearer").is_some_and(|t| secret.is(t.as_bytes())),
            Scheme::Basic => after_word(given, "basic")
                .and_then(|text| STANDARD.decode(text).ok())
                .is_some_and(|pair| secret.is(&pair)),
            Scheme::Token => match way.shape.prefixes.first() {
                Some(prefix) => {
                    given.strip_prefix(&**prefix).is_some_and(|t| secret.is(t.as_bytes()))
                }
                None => secret.is(given.as_bytes()),
            },
            Scheme::HmacSha1
            | Scheme::HmacSha256
            | Scheme::HmacSha384
            | Scheme::HmacSha512
            | Scheme::Sha256
            | Scheme::Ed25519
            | Scheme::EcdsaP256
            | Scheme::None => false,
        }
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
        let claim = self.claim(way, found);
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

    fn tolerance(&self, way: &Way) -> Option<SignedDuration> {
        self.source.tolerance.unwrap_or(way.tolerance)
    }

    /// How far a signed time is behind ours.
    fn skew(&self, way: &Way, text: Option<&str>) -> Result<Option<SignedDuration>, VerifyError> {
        let Some(moment) = way.timestamp.as_ref().filter(|m| m.is_signed) else { return Ok(None) };
        let text = text.ok_or(VerifyError::NoTimestamp)?;
        let at = value::signed_moment(text, moment.unit).ok_or(VerifyError::BadTimestamp)?;
        Ok(Some(self.now.duration_since(at)))
    }

    /// The signatures and the timestamp that the request bears.
    fn claim<'c>(&'c self, way: &'c Way, found: &'c Found<'_>) -> Result<Claim<'c>, VerifyError> {
        let mut claim = Claim::default();
        match &way.place {
            SignaturePlace::Headers(names) => {
                let there: Vec<_> =
                    names.iter().filter(|n| self.request.headers.contains_key(*n)).collect();
                if there.is_empty() {
                    let place = names.first().map(ToString::to_string).unwrap_or_default();
                    return Err(VerifyError::Missing { place });
                }
                for name in there {
                    let value = header(self.request, name)?;
                    claim.take(way, name.as_str(), value)?;
                }
            }
            SignaturePlace::Slot(slot) => match found.scalar(*slot) {
                Scalar::Text(text) => {
                    let text = text.into_owned();
                    check_length("signature", &text)?;
                    claim.take_owned(way, "signature", &text)?;
                }
                Scalar::Missing | Scalar::Other => {
                    return Err(VerifyError::Missing { place: "signature".to_owned() });
                }
            },
            SignaturePlace::Query(_) | SignaturePlace::Nowhere => {}
        }
        if SIGNATURES_MAX < claim.signatures.len() {
            return Err(VerifyError::TooMany { count: claim.signatures.len() });
        }
        match way.timestamp.as_ref().map(|m| &m.place) {
            Some(MomentPlace::Header(name)) => {
                claim.timestamp = match header(self.request, name) {
                    Ok(value) => Some(Cow::Borrowed(value)),
                    Err(VerifyError::Missing { .. }) => None,
                    Err(error) => return Err(error),
                };
            }
            Some(MomentPlace::Slot(slot)) => claim.timestamp = found.scalar(*slot).text(),
            Some(MomentPlace::Shape) | None => {}
        }
        Ok(claim)
    }

    fn only_header<'h>(
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

impl<'c> Claim<'c> {
    /// Takes signatures and timestamp out of one header's value.
    fn take(&mut self, way: &'c Way, place: &str, value: &'c str) -> Result<(), VerifyError> {
        let mut times = 0;
        for (part, text) in parts(&way.shape, value) {
            match part {
                Part::Timestamp => {
                    times += 1;
                    self.timestamp = Some(Cow::Borrowed(text));
                }
                Part::Signature => self.add(way, text),
            }
        }
        self.check(place, times)
    }

    fn take_owned(&mut self, way: &Way, place: &str, value: &str) -> Result<(), VerifyError> {
        let mut times = 0;
        for (part, text) in parts(&way.shape, value) {
            match part {
                Part::Timestamp => {
                    times += 1;
                    self.timestamp = Some(Cow::Owned(text.to_owned()));
                }
                Part::Signature => self.add(way, text),
            }
        }
        self.check(place, times)
    }

    fn add(&mut self, way: &Way, text: &str) {
        // One above the limit is enough to know that there are too many.
        if self.signatures.len() <= SIGNATURES_MAX {
            self.signatures.extend(key::decode(way.encoding, text));
        }
    }

    /// No vendor sends a value without a signature, or with two times: which of them is signed?
    fn check(&self, place: &str, times: usize) -> Result<(), VerifyError> {
        if self.signatures.is_empty() || 1 < times {
            return Err(VerifyError::Unreadable { place: place.to_owned() });
        }
        Ok(())
    }
}

enum Part {
    Timestamp,
    Signature,
}

/// The parts of a value that mean something; what has another name or prefix means nothing.
fn parts<'v>(shape: &'v Shape, value: &'v str) -> impl Iterator<Item = (Part, &'v str)> {
    let (count, separator) = match &shape.separator {
        Some(separator) => (usize::MAX, separator.as_str()),
        None => (1, "\0"),
    };
    value.splitn(count, separator).enumerate().filter_map(move |(number, item)| {
        let item = item.trim_matches([' ', '\t']);
        if shape.timestamp_item == Some(number) {
            return Some((Part::Timestamp, item));
        }
        if !shape.signature_parts.is_empty() {
            let (name, text) = item.split_once(&*shape.assign)?;
            if shape.timestamp_part.as_deref() == Some(name) {
                return Some((Part::Timestamp, text));
            }
            let is_signature = shape.signature_parts.iter().any(|p| p == name);
            return is_signature.then_some((Part::Signature, text));
        }
        if shape.prefixes.is_empty() {
            return Some((Part::Signature, item));
        }
        let text = shape.prefixes.iter().find_map(|prefix| item.strip_prefix(&**prefix))?;
        Some((Part::Signature, text))
    })
}

/// A header that is there exactly once, in visible ASCII, and not too long.
pub(super) fn header<'r>(request: &'r Request, name: &HeaderName) -> Result<&'r str, VerifyError> {
    let mut values = request.headers.get_all(name).iter();
    let place = || name.to_string();
    let value = values.next().ok_or_else(|| VerifyError::Missing { place: place() })?;
    let more = values.count();
    if 0 < more {
        return Err(VerifyError::Repeated { header: place(), count: 1 + more });
    }
    let value = value.to_str().map_err(|_| VerifyError::Unreadable { place: place() })?;
    check_length(name.as_str(), value)?;
    Ok(value)
}

fn check_length(place: &str, value: &str) -> Result<(), VerifyError> {
    if HEADER_BYTES_MAX < value.len() {
        return Err(VerifyError::TooLong { place: place.to_owned(), bytes: value.len() });
    }
    Ok(())
}

/// What follows the word of an `Authorization` header.
fn after_word<'v>(value: &'v str, word: &str) -> Option<&'v str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(word).then(|| rest.trim_start())
}

/// What a sender with this secret writes, in its usual spelling.
pub(super) fn credential(way: &Way, secret: &[u8]) -> Vec<u8> {
    match way.scheme {
        Scheme::Bearer => [b"Bearer ", secret].concat(),
        Scheme::Basic => [b"Basic ", STANDARD.encode(secret).as_bytes()].concat(),
        Scheme::HmacSha1
        | Scheme::HmacSha256
        | Scheme::HmacSha384
        | Scheme::HmacSha512
        | Scheme::Sha256
        | Scheme::Ed25519
        | Scheme::EcdsaP256
        | Scheme::Token
        | Scheme::None => {
            let prefix = way.shape.prefixes.first().map_or("", |p| p);
            [prefix.as_bytes(), secret].concat()
        }
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
