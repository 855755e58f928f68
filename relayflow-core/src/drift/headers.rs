//! Which headers a vendor sends: their names, and what sort of body they announce.

use std::collections::BTreeSet;

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use crate::contract::Change;

/// Learning ends when so many requests in a row brought nothing new, for each that did.
const QUIET_PER_CHANGE: u64 = 4;
/// Names that are remembered of one source.
const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;

/// Headers that the way of a request has, and not its sender.
const OF_THE_WAY: [&str; 27] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "baggage",
    "cache-control",
    "cdn-loop",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "pragma",
    "priority",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "user-agent",
    "via",
];
const OF_THE_WAY_BEGIN: [&str; 10] = [
    "x-forwarded-",
    "x-real-",
    "x-envoy-",
    "x-amzn-",
    "x-amz-cf-",
    "x-azure-",
    "x-cloud-",
    "cf-",
    "fly-",
    "x-b3-",
];

fn is_of_the_way(name: &str) -> bool {
    OF_THE_WAY.contains(&name) || OF_THE_WAY_BEGIN.iter().any(|begin| name.starts_with(begin))
}

/// A number for the set of headers of a request: equal sets have equal numbers, in any order.
#[must_use]
pub(super) fn number(headers: &HeaderMap, seed: u64) -> u64 {
    let sum = headers.keys().map(http::HeaderName::as_str).filter(|name| !is_of_the_way(name));
    let sum = sum.fold(0_u64, |sum, name| sum.wrapping_add(hash(name.as_bytes())));
    let media = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default();
    sum ^ hash(media).rotate_left(17) ^ seed
}

/// FNV-1a: short names, and nobody gains by two of the same number.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The headers of a request that are its sender's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    pub names: BTreeSet<String>,
    /// `application/json`, without parameters.
    pub media: String,
}

impl Headers {
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let names = headers.keys().map(http::HeaderName::as_str);
        let names = names.filter(|name| !is_of_the_way(name) && name.len() <= NAME_BYTES_MAX);
        let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let media = media.chars().filter(char::is_ascii_graphic).take(NAME_BYTES_MAX);
        Self {
            names: names.take(NAMES_MAX).map(str::to_owned).collect(),
            media: media.collect::<String>().to_ascii_lowercase(),
        }
    }

    /// Names that may be a signature's.
    pub(super) fn signatures(&self) -> impl Iterator<Item = &String> {
        let words = ["signature", "hmac", "digest", "sign", "token"];
        self.names.iter().filter(move |name| words.iter().any(|word| name.contains(word)))
    }
}

/// What is known of a source's headers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Known {
    requests: u64,
    quiet: u64,
    changes: u64,
    /// Headers that every request had.
    pub(super) always: BTreeSet<String>,
    seen: BTreeSet<String>,
    media: BTreeSet<String>,
}

impl Known {
    /// Whether what to expect is known.
    pub(super) fn is_settled(&self) -> bool {
        self.requests > 0 && QUIET_PER_CHANGE * (1 + self.changes) <= self.quiet
    }

    /// Takes in a verified request of a set of headers; what is not as expected: the change, the
    /// header, what was and what is.
    pub(super) fn look(&mut self, headers: &Headers) -> Vec<(Change, String, String, String)> {
        if self.is_settled() {
            return self.compare(headers);
        }
        let before = (self.always.clone(), self.seen.len(), self.media.len());
        if self.requests == 0 {
            self.always.clone_from(&headers.names);
        } else {
            self.always.retain(|name| headers.names.contains(name));
        }
        self.seen.extend(headers.names.iter().cloned());
        self.media.insert(headers.media.clone());
        self.requests += 1;
        if self.requests > 1 {
            if before == (self.always.clone(), self.seen.len(), self.media.len()) {
                self.quiet += 1;
            } else {
                self.quiet = 0;
                self.changes += 1;
            }
        }
        vec![]
    }

    /// A request of a set that was looked at before.
    pub(super) fn look_again(&mut self) {
        if !self.is_settled() {
            self.requests += 1;
            self.quiet += 1;
        }
    }

    fn compare(&self, headers: &Headers) -> Vec<(Change, String, String, String)> {
        let text = str::to_owned;
        let gone = self.always.iter().filter(|name| !headers.names.contains(*name));
        let gone =
            gone.map(|name| (Change::HeaderGone, name.clone(), text("always"), text("absent")));
        let added = headers.names.iter().filter(|name| !self.seen.contains(*name));
        let added =
            added.map(|name| (Change::HeaderAdded, name.clone(), text("absent"), text("there")));
        let mut all: Vec<_> = gone.chain(added).collect();
        if !self.media.contains(&headers.media) {
            let was: Vec<&str> = self.media.iter().map(String::as_str).collect();
            all.push((
                Change::FormatChanged,
                header::CONTENT_TYPE.to_string(),
                was.join(", "),
                headers.media.clone(),
            ));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn the_senders_headers_are_told_from_the_ways() {
        let map = headers(&[
            ("host", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("cf-ray", "1"),
            ("x-acme-signature", "s"),
            ("content-type", "Application/JSON; charset=utf-8"),
        ]);
        let of = Headers::of(&map);
        assert_eq!(of.names.iter().collect::<Vec<_>>(), ["content-type", "x-acme-signature"]);
        assert_eq!(of.media, "application/json");
        let reordered = headers(&[
            ("content-type", "Application/JSON"),
            ("x-acme-signature", "other"),
            ("via", "b"),
        ]);
        assert_eq!(number(&map, 7), number(&reordered, 7));
        let form = headers(&[("content-type", "text/plain"), ("x-acme-signature", "s")]);
        assert_ne!(number(&map, 7), number(&form, 7));
        assert_ne!(number(&map, 7), number(&map, 8));
    }

    #[test]
    fn what_was_always_there_and_is_not_any_more_is_found() {
        let old = headers(&[("x-acme-hmac", "s"), ("content-type", "application/json")]);
        let new = headers(&[("acme-hmac", "s"), ("content-type", "text/xml")]);
        let mut known = Known::default();
        for _ in 0..5 {
            assert!(!known.is_settled());
            assert_eq!(known.look(&Headers::of(&old)), []);
        }
        assert!(known.is_settled());
        let found = known.look(&Headers::of(&new));
        let found: Vec<String> = found
            .iter()
            .map(|(change, name, was, is)| format!("{change} {name} {was} {is}"))
            .collect();
        assert_eq!(
            found,
            [
                "header_gone x-acme-hmac always absent",
                "header_added acme-hmac absent there",
                "format_changed content-type application/json text/xml",
            ]
        );
        assert_eq!(Headers::of(&new).signatures().collect::<Vec<_>>(), ["acme-hmac"]);
    }
}
