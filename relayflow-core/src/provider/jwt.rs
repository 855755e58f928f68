//! Signed tokens (RFC 7515, 7519) as far as vendors use them: one signature, one algorithm that the
//! definition fixes, and claims that tie the token to the request.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::definition::{Algorithm, Claims};
use super::key::sha256;
use crate::request::Request;
use crate::secret::Secret;

/// How far clocks may differ where a definition does not limit a token's age.
const LEEWAY: SignedDuration = SignedDuration::from_mins(5);

/// What the definition of a kept token begins with (`keep.rs`).
pub(super) const KEPT: &str = "digest:";

/// A token, taken apart. Nothing in it is believed yet.
pub(super) struct Token<'t> {
    /// What is signed: header and claims as they are written.
    pub(super) input: &'t str,
    /// `None`: of a kept token, whose signature is only a digest.
    pub(super) signature: Option<Vec<u8>>,
    pub(super) kid: Option<String>,
    claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    Unreadable,
    WrongAlgorithm,
}

/// What of its claims does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClaimError {
    NoTime,
    BadTime,
    Stale(SignedDuration),
    Wrong(String),
    /// The body, or the URL, is not the one that the token is about.
    OtherRequest(String),
}

impl<'t> Token<'t> {
    /// Takes a token apart; one that names another algorithm is refused.
    pub(super) fn read(text: &'t str, algorithm: Algorithm) -> Result<Self, TokenError> {
        let (input, signature) = text.rsplit_once('.').ok_or(TokenError::Unreadable)?;
        let bytes = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Unreadable)?;
        let mut token = Self::read_input(input, algorithm)?;
        token.signature = Some(bytes);
        Ok(token)
    }

    /// The same of what was signed alone.
    pub(super) fn read_input(input: &'t str, algorithm: Algorithm) -> Result<Self, TokenError> {
        let (header, claims) = input.split_once('.').ok_or(TokenError::Unreadable)?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Unreadable);
        let header: Header =
            serde_json::from_slice(&decoded(header)?).map_err(|_| TokenError::Unreadable)?;
        let claims =
            serde_json::from_slice(&decoded(claims)?).map_err(|_| TokenError::Unreadable)?;
        // What must be understood and is not.
        if header.crit.is_some() {
            return Err(TokenError::Unreadable);
        }
        if Some(header.alg.as_str()) != name(algorithm) {
            return Err(TokenError::WrongAlgorithm);
        }
        Ok(Self { input, signature: None, kid: header.kid, claims })
    }

    /// How old the token is, once its claims hold.
    pub(super) fn check(
        &self,
        claims: &Claims,
        request: &Request,
        public_url: Option<&str>,
        now: Timestamp,
        tolerance: Option<SignedDuration>,
    ) -> Result<Option<SignedDuration>, ClaimError> {
        let skew = self.check_times(now, tolerance)?;
        for (name, wanted) in claims.equal.iter().filter(|(_, wanted)| !wanted.is_empty()) {
            let is_it = match self.claims.get(name) {
                Some(Value::Array(values)) => values.iter().any(|v| v.as_str() == Some(wanted)),
                Some(value) => value.as_str() == Some(wanted),
                None => false,
            };
            if !is_it {
                return Err(ClaimError::Wrong(name.clone()));
            }
        }
        if let Some(name) = claims.body.as_ref().filter(|name| !name.is_empty()) {
            let given = self.claims.get(name).and_then(Value::as_str).unwrap_or_default();
            let digest = Secret::new(sha256(&[&request.body]));
            if !digest_bytes(given).is_some_and(|given| digest.is(&given)) {
                return Err(ClaimError::OtherRequest(name.clone()));
            }
        }
        if let Some(name) = claims.query.as_ref().filter(|name| !name.is_empty()) {
            let given = self.claims.get(name).and_then(Value::as_str).unwrap_or_default();
            let holds = query_hashes(request, public_url)
                .iter()
                .fold(false, |held, hash| Secret::new(hash.as_str()).is(given.as_bytes()) | held);
            if !holds {
                return Err(ClaimError::OtherRequest(name.clone()));
            }
        }
        Ok(skew)
    }

    fn check_times(
        &self,
        now: Timestamp,
        tolerance: Option<SignedDuration>,
    ) -> Result<Option<SignedDuration>, ClaimError> {
        let (made, ends, begins) = (self.time("iat")?, self.time("exp")?, self.time("nbf")?);
        if tolerance.is_some() && made.is_none() && ends.is_none() {
            return Err(ClaimError::NoTime);
        }
        let leeway = tolerance.unwrap_or(LEEWAY).min(LEEWAY);
        if let Some(past) = ends.map(|ends| now.duration_since(ends)).filter(|p| leeway < *p) {
            return Err(ClaimError::Stale(past));
        }
        if let Some(early) = begins.map(|at| at.duration_since(now)).filter(|e| leeway < *e) {
            return Err(ClaimError::Stale(-early));
        }
        let skew = made.map(|made| now.duration_since(made));
        match (skew, tolerance) {
            (Some(by), Some(tolerance)) if tolerance < by.abs() => Err(ClaimError::Stale(by)),
            _ => Ok(skew),
        }
    }

    /// A claim in seconds since 1970, whole or not.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, ClaimError> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let Value::Number(number) = value else { return Err(ClaimError::BadTime) };
        let text = number.to_string();
        let at = super::value::moment(&text, super::definition::Unit::Seconds);
        at.map(Some).ok_or(ClaimError::BadTime)
    }
}

/// Whether what a token says includes something that opens doors by itself, as a nested API token does.
pub(super) fn carries_secret(input: &str) -> bool {
    let claims = input.split_once('.').and_then(|(_, claims)| {
        let bytes = URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
    });
    claims.is_none_or(|claims| {
        claims.keys().any(|name| {
            let name = name.to_ascii_lowercase();
            ["token", "secret", "password"].iter().any(|word| name.contains(word))
        })
    })
}

/// A SHA-256 in any of the spellings that vendors use.
fn digest_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = match text.len() {
        64 => hex::decode(text).ok(),
        _ => STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok(),
    };
    bytes.filter(|b| b.len() == 32)
}

/// The name of an algorithm in a token's header.
pub(super) fn name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::HmacSha256 => Some("HS256"),
        Algorithm::RsaSha256 => Some("RS256"),
        Algorithm::EcdsaP256 => Some("ES256"),
        Algorithm::EcdsaP384 => Some("ES384"),
        Algorithm::Ed25519 => Some("EdDSA"),
        Algorithm::RsaSha1 | Algorithm::RsaPssSha512 => None,
    }
}

/// What a vendor would sign for this request, ready to be signed.
pub(super) fn input(
    algorithm: Algorithm,
    claims: &Claims,
    request: &Request,
    now: Timestamp,
) -> String {
    let mut all = Map::new();
    all.insert("iat".to_owned(), now.as_second().into());
    all.insert("exp".to_owned(), (now.as_second() + 300).into());
    let given = claims.equal.iter().filter(|(_, value)| !value.is_empty());
    all.extend(given.map(|(name, value)| (name.clone(), value.clone().into())));
    if let Some(name) = claims.body.as_ref().filter(|name| !name.is_empty()) {
        all.insert(name.clone(), hex::encode(sha256(&[&request.body])).into());
    }
    if let Some(name) = claims.query.as_ref().filter(|name| !name.is_empty()) {
        let hash = query_hashes(request, None).into_iter().next().unwrap_or_default();
        all.insert(name.clone(), hash.into());
    }
    let header = serde_json::json!({ "alg": name(algorithm), "typ": "JWT" });
    let part = |value: String| URL_SAFE_NO_PAD.encode(value);
    format!("{}.{}", part(header.to_string()), part(Value::Object(all).to_string()))
}

/// What stays as it is in a canonical query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The digests that may stand for a request's method, path and query. The path may be counted from
/// the host, or from the source's own URL.
fn query_hashes(request: &Request, public_url: Option<&str>) -> Vec<String> {
    let Ok(url) = url::Url::parse(&request.url) else { return Vec::new() };
    let base = public_url.and_then(|url| url::Url::parse(url).ok());
    let inside = base.and_then(|base| {
        let rest = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
        Some(rest.to_owned())
    });
    let mut paths = vec![url.path().to_owned()];
    paths.extend(inside);
    let query = canonical_query(url.query().unwrap_or_default());
    paths
        .iter()
        .map(|path| {
            let path = path.trim_end_matches('/').replace('&', "%26");
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let method: &Method = &request.method;
            hex::encode(sha256(&[format!("{method}&{path}&{query}").as_bytes()]))
        })
        .collect()
}

/// Parameters by name, the values of one name joined; without the token's own.
fn canonical_query(query: &str) -> String {
    let mut all: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "jwt")
    {
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        all.entry(encoded(&name)).or_default().push(encoded(&value));
    }
    let parts: Vec<_> = all
        .into_iter()
        .map(|(name, mut values)| {
            values.sort();
            format!("{name}={}", values.join(","))
        })
        .collect();
    parts.join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    #[track_caller]
    fn refused(text: &str, expected: TokenError) {
        let error = Token::read(text, Algorithm::EcdsaP256).map(drop);
        assert_eq!(error, Err(expected), "{text}");
    }

    #[test]
    fn a_token_never_chooses_how_it_is_checked() {
        for alg in ["none", "None", "HS256", "RS256", "es256", ""] {
            refused(&token(&format!(r#"{{"alg":"{alg}"}}"#), "{}"), TokenError::WrongAlgorithm);
        }
        assert!(Token::read(&token(r#"{"alg":"ES256"}"#, "{}"), Algorithm::EcdsaP256).is_ok());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        refused("", TokenError::Unreadable);
        refused("a.b", TokenError::Unreadable);
        refused(&good.replace('.', ""), TokenError::Unreadable);
        refused(&format!("{good}="), TokenError::Unreadable);
        refused(&format!("x.{good}"), TokenError::Unreadable);
        refused(&token("{}", "{}"), TokenError::Unreadable);
        refused(&token(r#"{"alg":"ES256"}"#, "[]"), TokenError::Unreadable);
        refused(&token(r#"{"alg":"ES256","crit":["b64"]}"#, "{}"), TokenError::Unreadable);
    }

    #[test]
    fn a_token_that_carries_another_is_not_kept() {
        let input = |claims: &str| token(r#"{"alg":"HS256"}"#, claims);
        let carries = |claims: &str| carries_secret(input(claims).rsplit_once('.').unwrap().0);
        assert!(!carries(r#"{"iat":1,"aud":"x","payload_hash":"00"}"#));
        assert!(carries(r#"{"iat":1,"shortLivedToken":"x"}"#));
        assert!(carries_secret("nonsense"));
    }

    #[test]
    fn a_digest_has_any_usual_spelling_and_no_other_length() {
        let digest = sha256(&[b"x"]);
        for text in [hex::encode(digest), STANDARD.encode(digest), URL_SAFE_NO_PAD.encode(digest)] {
            assert_eq!(digest_bytes(&text).as_deref(), Some(&digest[..]), "{text}");
        }
        assert_eq!(digest_bytes(""), None);
        assert_eq!(digest_bytes("AAAA"), None);
    }

    #[test]
    fn a_query_is_sorted_and_encoded_once() {
        assert_eq!(canonical_query("b=y&a=1+2&b=x&jwt=secret&c=%7E"), "a=1%202&b=x,y&c=~");
        assert_eq!(canonical_query(""), "");
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String, header: String, claims: String) {
            let _ = Token::read(&text, Algorithm::HmacSha256);
            let _ = Token::read(&token(&header, &claims), Algorithm::HmacSha256);
            let _ = canonical_query(&text);
            let _ = carries_secret(&text);
        }
    }
}
