//! What of a request is kept: the headers that matter, and of a credential only a keyed digest
//! (`guarantees.md`, 10).

use super::catalog::{Catalog, header_names};
use super::definition::Scheme;
use super::key::keyed_digest;
use super::rules::Rules;
use super::source::Source;
use super::way::SignaturePlace;
use crate::request::Request;

/// Kept beside what definitions read: what helps to understand a request, and to trace it.
const ALWAYS: [&str; 8] = [
    "host",
    "content-type",
    "user-agent",
    "traceparent",
    "tracestate",
    "x-correlation-id",
    "x-request-id",
    "idempotency-key",
];

/// Never kept as they are, whoever reads them.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// The headers to keep, names in lower case. What carries a shared secret is
/// `digest:<HMAC-SHA256 under digest_key>`.
#[must_use]
pub fn keep_headers(
    source: &Source,
    catalog: &Catalog,
    request: &Request,
    digest_key: &[u8; 32],
) -> Vec<(String, String)> {
    let own = header_names(&source.rules);
    let mut kept = Vec::new();
    for (name, value) in &request.headers {
        let name = name.as_str();
        if carries_token(&source.rules, catalog, name) {
            kept.push((name.to_owned(), keyed_digest(digest_key, value.as_bytes())));
            continue;
        }
        let is_wanted = ALWAYS.contains(&name)
            || catalog.kept_header_names().contains(name)
            || own.iter().any(|n| n == name);
        if is_wanted {
            kept.push((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
    }
    kept
}

/// Path and query to keep: a parameter that carries a shared secret is a digest, as in
/// [`keep_headers`]; all else stays as it came, byte for byte.
#[must_use]
pub fn keep_target(source: &Source, request: &Request, digest_key: &[u8; 32]) -> String {
    let Some((path, query)) = request.target.split_once('?') else {
        return request.target.clone();
    };
    let names: Vec<&str> = source
        .rules
        .ways
        .iter()
        .filter_map(|way| match &way.place {
            SignaturePlace::Query(name) => Some(name.as_str()),
            SignaturePlace::Headers(_) | SignaturePlace::Slot(_) | SignaturePlace::Nowhere => None,
        })
        .collect();
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match form_urlencoded::parse(part.as_bytes()).next() {
            Some((name, value)) if names.contains(&&*name) => {
                let written = part.split('=').next().unwrap_or_default();
                format!("{written}={}", keyed_digest(digest_key, value.as_bytes()))
            }
            Some(_) | None => part.to_owned(),
        })
        .collect();
    format!("{path}?{}", parts.join("&"))
}

/// Whether some definition, or this source's settings, put a shared secret into this header.
fn carries_token(rules: &Rules, catalog: &Catalog, name: &str) -> bool {
    CREDENTIALS.contains(&name)
        || puts_token(rules, name)
        || catalog.iter().any(|provider| puts_token(&provider.rules, name))
}

fn puts_token(rules: &Rules, name: &str) -> bool {
    rules.ways.iter().filter(|way| way.scheme == Scheme::Token).any(|way| match &way.place {
        SignaturePlace::Headers(names) => names.iter().any(|n| n.as_str() == name),
        SignaturePlace::Slot(_) | SignaturePlace::Query(_) | SignaturePlace::Nowhere => false,
    })
}
