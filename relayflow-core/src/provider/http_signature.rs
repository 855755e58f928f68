//! HTTP Message Signatures (RFC 9421) and the digest of a body (RFC 9530): read, put together again,
//! and written.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use sha2::{Digest as _, Sha256, Sha512};

use super::definition::Algorithm;
use crate::request::Request;
use crate::secret::Secret;

/// The most components of one signature.
const COMPONENTS_MAX: usize = 64;

/// One signature of a request, and what it says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input<'t> {
    pub(super) label: &'t str,
    pub(super) components: Vec<Component<'t>>,
    pub(super) created: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) keyid: Option<Cow<'t, str>>,
    alg: Option<Cow<'t, str>>,
    /// All of it, as it is signed.
    params: &'t str,
}

/// One part of a request that is signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Component<'t> {
    pub(super) name: Cow<'t, str>,
    /// `name` of `@query-param`.
    parameter: Option<Cow<'t, str>>,
    /// As it is written, with its parameters.
    written: &'t str,
}

/// The text of a structured field (RFC 8941, as far as the two fields use it).
struct Text<'t>(&'t str);

enum Bare<'t> {
    String(Cow<'t, str>),
    Integer(i64),
    Other,
}

impl<'t> Text<'t> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, c: char) -> Option<()> {
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    /// What `is_part` takes; at least one character.
    fn while_is(&mut self, is_part: impl Fn(char) -> bool) -> Option<&'t str> {
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at_checked(end).filter(|(part, _)| !part.is_empty())?;
        self.0 = rest;
        Some(part)
    }

    fn key(&mut self) -> Option<&'t str> {
        self.while_is(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c))
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        self.eat('"')?;
        let mut out = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let whole = self.0.get(..at)?;
                    self.0 = self.0.get(at + 1..)?;
                    let is_plain = out.len() == whole.len();
                    return Some(if is_plain { Cow::Borrowed(whole) } else { Cow::Owned(out) });
                }
                '\\' => out.push(chars.next().map(|(_, c)| c).filter(|c| "\\\"".contains(*c))?),
                ' '..='~' => out.push(c),
                _ => return None,
            }
        }
        None
    }

    /// Base 64 between colons.
    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.eat(':')?;
        let (text, rest) = self.0.split_once(':')?;
        self.0 = rest;
        STANDARD.decode(text).ok()
    }

    fn bare(&mut self) -> Option<Bare<'t>> {
        match self.0.chars().next()? {
            '"' => self.string().map(Bare::String),
            '-' | '0'..='9' => {
                let digits = self.while_is(|c| c == '-' || c == '.' || c.is_ascii_digit())?;
                Some(digits.parse().map_or(Bare::Other, Bare::Integer))
            }
            ':' => self.bytes().map(|_| Bare::Other),
            '?' => {
                self.eat('?')?;
                self.while_is(|c| "01".contains(c)).map(|_| Bare::Other)
            }
            _ => self
                .while_is(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c))
                .map(|_| Bare::Other),
        }
    }

    fn parameters(&mut self, mut each: impl FnMut(&'t str, Option<Bare<'t>>)) -> Option<()> {
        while self.eat(';').is_some() {
            self.space();
            let name = self.key()?;
            let value = match self.eat('=') {
                Some(()) => Some(self.bare()?),
                None => None,
            };
            each(name, value);
        }
        Some(())
    }

    /// The comma between two members; `false` at the end.
    fn more(&mut self) -> Option<bool> {
        self.space();
        if self.0.is_empty() {
            return Some(false);
        }
        self.eat(',')?;
        self.space();
        Some(true)
    }
}

/// The signatures that `Signature-Input` announces; `None` if it cannot be read.
pub(super) fn inputs(value: &str) -> Option<Vec<Input<'_>>> {
    let mut text = Text(value.trim());
    let mut all = Vec::new();
    loop {
        let label = text.key()?;
        text.eat('=')?;
        all.push(input(label, &mut text)?);
        if !text.more()? {
            return Some(all);
        }
    }
}

fn input<'t>(label: &'t str, text: &mut Text<'t>) -> Option<Input<'t>> {
    let begin = text.0;
    text.eat('(')?;
    let mut components: Vec<Component<'t>> = Vec::new();
    loop {
        text.space();
        if text.eat(')').is_some() {
            break;
        }
        let component = component(text)?;
        let is_again = components.iter().any(|c| c.written == component.written);
        if is_again || COMPONENTS_MAX <= components.len() || !text.0.starts_with([' ', ')']) {
            return None;
        }
        components.push(component);
    }
    let mut input = Input {
        label,
        components,
        created: None,
        expires: None,
        keyid: None,
        alg: None,
        params: "",
    };
    text.parameters(|name, value| match (name, value) {
        ("created", Some(Bare::Integer(at))) => input.created = Some(at),
        ("expires", Some(Bare::Integer(at))) => input.expires = Some(at),
        ("keyid", Some(Bare::String(id))) => input.keyid = Some(id),
        ("alg", Some(Bare::String(alg))) => input.alg = Some(alg),
        _ => {}
    })?;
    input.params = begin.get(..begin.len() - text.0.len())?;
    Some(input)
}

fn component<'t>(text: &mut Text<'t>) -> Option<Component<'t>> {
    let begin = text.0;
    let name = text.string()?;
    let mut parameter = None;
    let mut is_known = true;
    text.parameters(|key, value| match (key, value) {
        ("name", Some(Bare::String(given))) if name == "@query-param" => parameter = Some(given),
        _ => is_known = false,
    })?;
    // `sf`, `bs`, `req` and the like would be signed in a form that is not known here.
    if !is_known || (name == "@query-param") != parameter.is_some() {
        return None;
    }
    let written = begin.get(..begin.len() - text.0.len())?;
    Some(Component { name, parameter, written })
}

/// The members of a dictionary of byte strings, such as `Signature` and `Content-Digest`.
pub(super) fn byte_strings(value: &str) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut text = Text(value.trim());
    let mut all = Vec::new();
    loop {
        let name = text.key()?;
        text.eat('=')?;
        let bytes = text.bytes()?;
        text.parameters(|_, _| {})?;
        all.push((name, bytes));
        if !text.more()? {
            return Some(all);
        }
    }
}

impl Input<'_> {
    /// Whether it names no other algorithm than the one that is fixed.
    pub(super) fn is_of(&self, algorithm: Algorithm) -> bool {
        self.alg.as_ref().is_none_or(|alg| *alg == name(algorithm))
    }

    pub(super) fn covers(&self, name: &str) -> bool {
        self.components.iter().any(|component| component.name == name)
    }

    /// What is signed; `None` if the request lacks a part of it.
    pub(super) fn base(&self, request: &Request) -> Option<String> {
        let mut base = String::new();
        for component in &self.components {
            base.push_str(component.written);
            base.push_str(": ");
            base.push_str(&component.value(request)?);
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(self.params);
        Some(base)
    }
}

impl Component<'_> {
    fn value<'r>(&self, request: &'r Request) -> Option<Cow<'r, str>> {
        let (scheme, rest) = request.url.split_once("://")?;
        let rest = rest.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = if path.is_empty() { "/" } else { path };
        Some(match &*self.name {
            "@method" => Cow::Borrowed(request.method.as_str()),
            "@target-uri" => Cow::Borrowed(&request.url),
            "@authority" => {
                let port = if scheme == "http" { ":80" } else { ":443" };
                Cow::Owned(authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase())
            }
            "@scheme" => Cow::Owned(scheme.to_ascii_lowercase()),
            "@request-target" if target.contains('?') => Cow::Owned(format!("{path}?{query}")),
            "@request-target" | "@path" => Cow::Borrowed(path),
            "@query" => Cow::Owned(format!("?{query}")),
            "@query-param" => {
                let name = self.parameter.as_deref()?;
                let value = super::verify::parameter(request, name)?;
                let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
                Cow::Owned(encoded.replace('+', "%20"))
            }
            name if name.starts_with('@') || name != name.to_ascii_lowercase() => return None,
            name => {
                let name: HeaderName = name.parse().ok()?;
                let values: Option<Vec<&str>> =
                    request.headers.get_all(&name).iter().map(|v| v.to_str().ok()).collect();
                let values = values.filter(|values| !values.is_empty())?;
                Cow::Owned(values.iter().map(|v| v.trim()).collect::<Vec<_>>().join(", "))
            }
        })
    }
}

/// Whether `Content-Digest` is the body's: every digest of a kind that is known, and there is one.
pub(super) fn is_digest(value: &str, body: &[u8]) -> bool {
    let Some(digests) = byte_strings(value) else { return false };
    let mut known = 0;
    let all_hold = digests.iter().fold(true, |held, (name, digest)| {
        let right = match *name {
            "sha-256" => Secret::new(Sha256::digest(body).to_vec()),
            "sha-512" => Secret::new(Sha512::digest(body).to_vec()),
            _ => return held,
        };
        known += 1;
        right.is(digest) & held
    });
    all_hold && 0 < known
}

/// A body's digest, as `Content-Digest` writes it.
pub(super) fn digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// What a sender writes about a signature that it is about to make.
pub(super) fn params(components: &[String], created: i64, keyid: &str) -> String {
    let quoted: Vec<_> = components.iter().map(|c| format!("\"{c}\"")).collect();
    format!("({});created={created};keyid=\"{keyid}\"", quoted.join(" "))
}

/// As the registry of RFC 9421 has it.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HmacSha256 => "hmac-sha256",
        Algorithm::RsaSha1 => "rsa-v1_5-sha1",
        Algorithm::RsaSha256 => "rsa-v1_5-sha256",
        Algorithm::RsaPssSha512 => "rsa-pss-sha512",
        Algorithm::EcdsaP256 => "ecdsa-p256-sha256",
        Algorithm::EcdsaP384 => "ecdsa-p384-sha384",
        Algorithm::Ed25519 => "ed25519",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_field_announces_is_read_and_kept_as_it_is_written() {
        let value =
            r#"a=("@method"  "x-a" );created=1;keyid="k\"1";alg="ed25519";nonce=:AA==:, b=()"#;
        let inputs = inputs(value).unwrap();
        let [a, b] = inputs.as_slice() else { panic!("{inputs:?}") };
        assert_eq!((a.label, a.created, a.keyid.as_deref()), ("a", Some(1), Some("k\"1")));
        let params = r#"("@method"  "x-a" );created=1;keyid="k\"1";alg="ed25519";nonce=:AA==:"#;
        assert_eq!(a.params, params);
        assert!(a.covers("x-a") && !a.covers("x-b"));
        assert!(a.is_of(Algorithm::Ed25519) && !a.is_of(Algorithm::HmacSha256));
        assert_eq!((b.label, b.params, b.components.len()), ("b", "()", 0));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "",
            "a",
            "a=",
            "a=(",
            r#"a=("x""y")"#,
            r#"a=("x" "x")"#,
            r#"a=("x";sf)"#,
            r#"a=("x";name="y")"#,
            r#"a=("@query-param")"#,
            r#"a=("x") b=("y")"#,
            r#"a=("x"),"#,
            r#"A=("x")"#,
            r#"a=(x)"#,
        ] {
            assert_eq!(inputs(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_known_digest_must_be_the_bodys() {
        let sha = |body: &[u8]| STANDARD.encode(Sha256::digest(body));
        let (right, wrong) = (sha(b"x"), sha(b"y"));
        assert!(is_digest(&digest(b"x"), b"x"));
        assert!(is_digest(&format!("md5=:AA==:, sha-256=:{right}:"), b"x"));
        let sha512 = STANDARD.encode(Sha512::digest(b"y"));
        for bad in [
            String::new(),
            "md5=:AA==:".to_owned(),
            format!("sha-256=:{wrong}:"),
            format!("sha-256=:{right}:, sha-512=:{sha512}:"),
            format!("sha-256={right}"),
        ] {
            assert!(!is_digest(&bad, b"x"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String, shaped in "[a-z=(\"@);:,\\\\0-9 ]{0,40}") {
            for text in [text, shaped] {
                let _ = inputs(&text);
                let _ = byte_strings(&text);
                let _ = is_digest(&text, b"x");
            }
        }
    }
}
