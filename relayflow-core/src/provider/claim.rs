//! What a request says about itself: its signatures and its time, taken out of where a definition
//! puts them.

use std::borrow::Cow;

use http::HeaderName;

use super::extract::{Found, Scalar};
use super::key;
use super::verify::{HEADER_BYTES_MAX, SIGNATURES_MAX, VerifyError};
use super::way::{MomentPlace, Shape, SignaturePlace, Way};
use crate::request::Request;

/// What a request says about itself, in one way.
#[derive(Default)]
pub(super) struct Claim<'c> {
    pub(super) signatures: Vec<Vec<u8>>,
    pub(super) timestamp: Option<Cow<'c, str>>,
}

impl<'c> Claim<'c> {
    /// The signatures and the timestamp that the request bears.
    pub(super) fn new(
        request: &'c Request,
        way: &'c Way,
        found: &'c Found<'_>,
    ) -> Result<Self, VerifyError> {
        let mut claim = Self::default();
        match &way.place {
            SignaturePlace::Headers(names) => {
                let there: Vec<_> =
                    names.iter().filter(|n| request.headers.contains_key(*n)).collect();
                if there.is_empty() {
                    let place = names.first().map(ToString::to_string).unwrap_or_default();
                    return Err(VerifyError::Missing { place });
                }
                for name in there {
                    let value = header(request, name)?;
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
                claim.timestamp = match header(request, name) {
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

pub(super) fn check_length(place: &str, value: &str) -> Result<(), VerifyError> {
    if HEADER_BYTES_MAX < value.len() {
        return Err(VerifyError::TooLong { place: place.to_owned(), bytes: value.len() });
    }
    Ok(())
}
