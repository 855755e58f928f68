//! What of a request is kept: the headers that matter, and of a credential only a keyed digest
//! (`guarantees.md`, 10).

use std::collections::HashSet;

use super::catalog::{Catalog, header_names};
use super::definition::{Algorithm, Scheme};
use super::forensics::is_renamed;
use super::jwt;
use super::key::keyed_digest;
use super::prove::token_in;
use super::rules::{Place, Rules};
use super::source::Source;
use super::way::{AlgorithmOf, SignaturePlace, Way};
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

/// What a source keeps of its requests' headers, worked out once.
#[derive(Debug)]
pub(super) struct KeptHeaders {
    /// Kept as they came, names in lower case.
    wanted: HashSet<String>,
    /// Kept as digests.
    tokens: HashSet<String>,
    /// Headers with a token that a shared secret signs. What was signed is kept, and the whole is a
    /// digest: who knows the secret can check it again, and nobody else can show it.
    jwts: HashSet<String>,
    /// Headers with a token that proves this very request, which needs no hiding.
    bound: HashSet<String>,
}

impl KeptHeaders {
    pub(super) fn new(rules: &Rules, catalog: &Catalog) -> Self {
        let mut wanted: HashSet<String> = catalog.kept_header_names().clone();
        wanted.extend(ALWAYS.iter().map(ToString::to_string));
        wanted.extend(header_names(rules));
        let mut tokens: HashSet<String> = CREDENTIALS.iter().map(ToString::to_string).collect();
        tokens.extend(token_headers(rules));
        tokens.extend(catalog.iter().flat_map(|provider| token_headers(&provider.rules)));
        tokens.extend(learned_headers(rules));
        tokens.extend(catalog.iter().flat_map(|provider| learned_headers(&provider.rules)));
        let jwt_ways = || rules.ways.iter().filter(|way| way.scheme == Scheme::Jwt);
        let named = |way: &Way| match &way.place {
            SignaturePlace::Headers(names) => names.iter().map(ToString::to_string).collect(),
            SignaturePlace::Slot(_) | SignaturePlace::Query(_) | SignaturePlace::Nowhere => vec![],
        };
        let is_shared =
            |way: &&Way| matches!(way.algorithm, Some(AlgorithmOf::Fixed(Algorithm::HmacSha256)));
        let jwts = jwt_ways().filter(is_shared).flat_map(named).collect();
        let bound = jwt_ways()
            .filter(|way| !is_shared(way) && way.claims.body.is_some())
            .flat_map(named)
            .collect();
        Self { wanted, tokens, jwts, bound }
    }
}

/// The headers to keep, names in lower case. What carries a shared secret is
/// `digest:<HMAC-SHA256 under digest_key>`.
#[must_use]
pub fn keep_headers(
    source: &Source,
    request: &Request,
    digest_key: &[u8; 32],
) -> Vec<(String, String)> {
    let mut kept = Vec::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        let name = name.as_str();
        if source.kept.jwts.contains(name) {
            kept.push((name.to_owned(), kept_token(source, name, digest_key, value.as_bytes())));
        } else if source.kept.tokens.contains(name) && !source.kept.bound.contains(name) {
            kept.push((name.to_owned(), keyed_digest(digest_key, value.as_bytes())));
        } else if source.kept.wanted.contains(name) {
            kept.push((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
    }
    kept
}

/// The most headers under other names that are kept, and how long each may be.
const RENAMED_MAX: usize = 4;
const RENAMED_BYTES_MAX: usize = 2 * 1024;

/// The headers that bear what this source reads under a longer name, as a proxy gives: kept of a request
/// that is turned away, so that it can be told. A credential is a digest, as in [`keep_headers`].
#[must_use]
pub fn keep_renamed(
    source: &Source,
    request: &Request,
    digest_key: &[u8; 32],
) -> Vec<(String, String)> {
    let kept = &source.kept;
    let own: Vec<String> = header_names(&source.rules);
    let is_kept = |name: &str| {
        kept.jwts.contains(name) || kept.tokens.contains(name) || kept.wanted.contains(name)
    };
    let strange = request.headers.iter().filter(|(name, _)| !is_kept(name.as_str()));
    let renamed = strange.filter_map(|(name, value)| {
        let wanted = own.iter().find(|wanted| {
            !request.headers.contains_key(wanted.as_str()) && is_renamed(name.as_str(), wanted)
        })?;
        if RENAMED_BYTES_MAX < value.len() {
            return None;
        }
        let is_credential = kept.jwts.contains(wanted) || kept.tokens.contains(wanted);
        let value = if is_credential {
            keyed_digest(digest_key, value.as_bytes())
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        Some((name.as_str().to_owned(), value))
    });
    renamed.take(RENAMED_MAX).collect()
}

/// `digest:<of the token>:<what was signed>`; a digest of all of it where that is no token, or one
/// that carries another.
fn kept_token(source: &Source, name: &str, digest_key: &[u8; 32], value: &[u8]) -> String {
    let way = source.rules.ways.iter().find(|way| match &way.place {
        SignaturePlace::Headers(names) => {
            way.scheme == Scheme::Jwt && names.iter().any(|n| n == name)
        }
        SignaturePlace::Slot(_) | SignaturePlace::Query(_) | SignaturePlace::Nowhere => false,
    });
    let token = way.zip(std::str::from_utf8(value).ok()).and_then(|(way, v)| token_in(way, v));
    match token.and_then(|token| Some((token, token.rsplit_once('.')?.0))) {
        Some((token, input)) if !jwt::carries_secret(input) => {
            format!("{}:{input}", keyed_digest(digest_key, token.as_bytes()))
        }
        Some(_) | None => keyed_digest(digest_key, value),
    }
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

/// The headers in which a vendor brings the secret that it will sign with.
fn learned_headers(rules: &Rules) -> Vec<String> {
    let places = rules.handshakes.iter().filter_map(|shake| shake.learns.as_ref());
    places
        .filter_map(|place| match place {
            Place::Header(name) => Some(name.to_string()),
            Place::Slot { .. } | Place::Query(_) | Place::Derived | Place::Number => None,
        })
        .collect()
}

/// The headers into which these rules' senders put a shared secret.
fn token_headers(rules: &Rules) -> Vec<String> {
    let places = rules.ways.iter().filter(|way| way.scheme == Scheme::Token).map(|way| &way.place);
    places
        .flat_map(|place| match place {
            SignaturePlace::Headers(names) => names.iter().map(ToString::to_string).collect(),
            SignaturePlace::Slot(_) | SignaturePlace::Query(_) | SignaturePlace::Nowhere => vec![],
        })
        .collect()
}
