//! What the demo's vendors send: good, repeated, forged, stale, unsigned, unreadable.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use relayflow_core::id::RequestId;
use relayflow_core::provider::sign::Signed;
use relayflow_core::provider::{Sample, split, verify};
use relayflow_core::request::Request;

use super::setting::{PUBLIC_URL, Vendor};
use crate::failure::Failure;
use crate::vendor::signed;

/// How many of a provider's payloads are sent.
const SAMPLES_MAX: usize = 4;
/// So old is what comes too late.
const STALE: SignedDuration = SignedDuration::from_hours(25);
/// What is signed well and cannot be read.
const UNREADABLE: &[u8] = b"{\"id\": \"evt_1\", \"type\": ";

/// What a letter is, and so what must become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// So many events, all new.
    Good(u64),
    /// The same bytes again.
    Repeated(u64),
    Forged,
    Stale,
    Unsigned,
    Unreadable,
}

/// One request to be posted.
pub(crate) struct Letter {
    pub(crate) sort: Sort,
    pub(crate) request: Signed,
}

/// Everything that one vendor sends. `serial` makes its ids its own.
///
/// # Errors
///
/// The vendor's own payloads do not verify: a definition is wrong.
pub(crate) fn letters(
    vendor: &Vendor,
    serial: &mut u64,
    now: Timestamp,
    with_unreadable: bool,
) -> Result<Vec<Letter>, Failure> {
    let mut letters = Vec::new();
    for sample in vendor.source.provider.samples().iter().take(SAMPLES_MAX) {
        *serial += 1;
        let request = make(vendor, sample, &vendor.key, *serial, now)?;
        let events = events_of(vendor, &request, now)?;
        letters.push(Letter { sort: Sort::Good(events), request });
    }
    let first = letters.first().map(|letter| (letter.sort, letter.request.clone()));
    // Where equal bytes are news each time, nothing is a repetition.
    let repeats = !vendor.source.accept_identical;
    if let Some((Sort::Good(events), request)) = first.filter(|_| repeats) {
        letters.push(Letter { sort: Sort::Repeated(events), request });
    }
    if let Some(sample) = vendor.source.provider.samples().first() {
        letters.extend(bad(vendor, sample, serial, now)?);
    }
    if with_unreadable && let Some(letter) = unreadable(vendor, now) {
        letters.push(letter);
    }
    Ok(letters)
}

/// What must be turned away, as far as the scheme can tell.
fn bad(
    vendor: &Vendor,
    sample: &Sample,
    serial: &mut u64,
    now: Timestamp,
) -> Result<Vec<Letter>, Failure> {
    let mut letters = Vec::new();
    let mut next = || {
        *serial += 1;
        *serial
    };
    let forged = make(vendor, sample, &vendor.wrong_key, next(), now)?;
    letters.push(Letter { sort: Sort::Forged, request: forged });
    if checks_time(vendor) {
        let stale = make(vendor, sample, &vendor.key, next(), now - STALE)?;
        letters.push(Letter { sort: Sort::Stale, request: stale });
    }
    let mut unsigned = make(vendor, sample, &vendor.key, next(), now)?;
    unsigned.headers.retain(|(name, _)| name == "content-type");
    // Where the signature is in the body or the URL, that is still signed.
    if verifies(vendor, &unsigned, now).is_err() {
        letters.push(Letter { sort: Sort::Unsigned, request: unsigned });
    }
    Ok(letters)
}

/// Whether this source turns away what is old: held against the verification itself.
fn checks_time(vendor: &Vendor) -> bool {
    !matches!(vendor.source.tolerance_label().as_str(), "none" | "off")
}

fn make(
    vendor: &Vendor,
    sample: &Sample,
    key: &relayflow_core::secret::Secret,
    serial: u64,
    now: Timestamp,
) -> Result<Signed, Failure> {
    let body = sample.body(serial, now);
    let mut request = signed(&vendor.source, key, &sample.event_type, body, &url(vendor), now)?;
    request.headers.extend(sample.headers.clone());
    Ok(request)
}

fn url(vendor: &Vendor) -> String {
    format!("{PUBLIC_URL}/in/{}", vendor.source.name)
}

/// A request that verifies and does not parse, if this vendor's scheme can sign one.
fn unreadable(vendor: &Vendor, now: Timestamp) -> Option<Letter> {
    let key = &vendor.key;
    let request =
        signed(&vendor.source, key, "unreadable", UNREADABLE.to_vec(), &url(vendor), now).ok()?;
    (verifies(vendor, &request, now) == Ok(0)).then_some(Letter { sort: Sort::Unreadable, request })
}

fn events_of(vendor: &Vendor, request: &Signed, now: Timestamp) -> Result<u64, Failure> {
    match verifies(vendor, request, now) {
        Ok(0) => Err(Failure::error(format!("a payload of {} has no events", vendor.source.name))),
        Ok(events) => Ok(events),
        Err(why) => {
            Err(Failure::error(format!("a payload of {} does not verify", vendor.source.name))
                .why(why))
        }
    }
}

/// How many events a request that verifies holds; none, if it cannot be read.
fn verifies(vendor: &Vendor, signed: &Signed, now: Timestamp) -> Result<u64, String> {
    let request = as_received(vendor, signed, now)?;
    let verified = verify(&vendor.source, &request, now).map_err(|e| e.to_string())?;
    let events = split(&vendor.source, &verified).map_or(0, |events| events.len());
    u64::try_from(events).map_err(|e| e.to_string())
}

fn as_received(vendor: &Vendor, signed: &Signed, now: Timestamp) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &signed.headers {
        let name = HeaderName::try_from(name).map_err(|e| e.to_string())?;
        headers.append(name, HeaderValue::try_from(value).map_err(|e| e.to_string())?);
    }
    let query = signed.url.split_once('?').map(|(_, query)| format!("?{query}"));
    Ok(Request {
        id: RequestId::next(),
        method: signed.method.clone(),
        target: format!("/in/{}{}", vendor.source.name, query.unwrap_or_default()),
        url: signed.url.clone(),
        headers,
        body: signed.body.clone().into(),
        received_at: now,
    })
}

#[cfg(test)]
mod tests {
    use relayflow_core::clock::from_micros;
    use relayflow_core::provider::Catalog;

    use super::super::setting::{players, vendor_of};
    use super::*;

    #[test]
    fn every_letter_is_what_it_says() {
        let catalog = Catalog::built_in();
        let now = from_micros(1_790_000_000_000_000);
        let mut serial = 1;
        let (mut stale, mut unreadable_count) = (0, 0);
        for provider in players(&catalog) {
            let vendor = vendor_of(provider, &catalog, [7; 32]).unwrap();
            let letters = letters(&vendor, &mut serial, now, true).unwrap();
            for letter in &letters {
                let events = verifies(&vendor, &letter.request, now);
                let is_right = match letter.sort {
                    Sort::Good(n) | Sort::Repeated(n) => events == Ok(n) && 0 < n,
                    Sort::Forged | Sort::Stale | Sort::Unsigned => events.is_err(),
                    Sort::Unreadable => events == Ok(0),
                };
                assert!(is_right, "{}: {:?} is {events:?}", provider.name, letter.sort);
            }
            stale += letters.iter().filter(|l| l.sort == Sort::Stale).count();
            unreadable_count += letters.iter().filter(|l| l.sort == Sort::Unreadable).count();
        }
        assert!(3 <= stale && 3 <= unreadable_count, "{stale} {unreadable_count}");
    }
}
