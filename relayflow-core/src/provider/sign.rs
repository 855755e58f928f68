//! Signs as a vendor does: for `send`, `demo` and tests. The same definition is read backwards, so
//! what this writes is what [`super::verify()`] wants.

use std::borrow::Cow;

use bytes::Bytes;
use ed25519_dalek::Signer as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::Value;

use super::bearer::credential;
use super::body;
use super::catalog::Provider;
use super::definition::{Scheme, SignatureForm, Unit};
use super::extract::{Found, Pointer, Segment};
use super::key::{self, Key, sha256};
use super::message::Signing;
use super::multipart;
use super::private::{self, ED25519_WANTED, P256_WANTED, ed25519, p256};
use super::rules::{Place, Rules};
use super::source::Source;
use super::split;
use super::template::Piece;
use super::way::{MomentPlace, SignaturePlace, SignedPlace, Way};
use crate::id::RequestId;
use crate::request::Request;
use crate::secret::Secret;

pub use super::keypair::{KeyPair, key_pair, key_pair_for, test_keys};

/// A request as the vendor would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub method: Method,
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the key is not one of `{provider}`: {why}")]
    Key { provider: String, why: String },
    #[error("the body is not what `{provider}` sends: {why}")]
    Body { provider: String, why: String },
    #[error("`{name}` cannot be a header: {value:?}")]
    Header { name: String, value: String },
}

/// Signs `body` as an event of `event_type`, with the provider's preferred way for such a body.
///
/// Where the vendor puts the signature, a token or a time into the body, the body is changed. Ids
/// that go into headers follow from the body, so that the same body is the same event again.
///
/// # Errors
///
/// A key that is not of the scheme, or a body into which no signature can be put.
pub fn sign(
    provider: &Provider,
    key: &Secret,
    event_type: &str,
    body: Vec<u8>,
    url: &str,
    now: Timestamp,
) -> Result<Signed, SignError> {
    Signer { provider, rules: &provider.rules, key, now, salt: "" }.sign(event_type, body, url)
}

/// The same with a source's settings.
///
/// # Errors
///
/// As [`sign`].
pub fn sign_for(
    source: &Source,
    key: &Secret,
    event_type: &str,
    body: Vec<u8>,
    url: &str,
    now: Timestamp,
) -> Result<Signed, SignError> {
    sign_salted(source, key, event_type, body, "", url, now)
}

/// The same with ids in headers that follow from `salt` too: the same body is another event.
///
/// # Errors
///
/// As [`sign`].
pub fn sign_salted(
    source: &Source,
    key: &Secret,
    event_type: &str,
    body: Vec<u8>,
    salt: &str,
    url: &str,
    now: Timestamp,
) -> Result<Signed, SignError> {
    Signer { provider: &source.provider, rules: &source.rules, key, now, salt }
        .sign(event_type, body, url)
}

pub(super) struct Signer<'s> {
    provider: &'s Provider,
    rules: &'s Rules,
    pub(super) key: &'s Secret,
    pub(super) now: Timestamp,
    /// What ids in headers follow from beside the body.
    salt: &'s str,
}

impl Signer<'_> {
    fn sign(&self, event_type: &str, body: Vec<u8>, url: &str) -> Result<Signed, SignError> {
        let mut signed = self.sign_body(event_type, body, url)?;
        // What a multipart form's field holds may be given without the form.
        if let (true, Some(name)) = (self.rules.takes.multipart, &self.rules.takes.form_json)
            && !body::looks_like_form(&signed.body)
        {
            let digest = hex::encode(sha256(&[&signed.body]));
            let (body, content_type) = multipart::with_field(name, &signed.body, &digest);
            signed.body = body;
            let content_types = signed.headers.iter_mut().filter(|(n, _)| n == "content-type");
            content_types.for_each(|(_, value)| value.clone_from(&content_type));
        }
        Ok(signed)
    }

    fn sign_body(&self, event_type: &str, body: Vec<u8>, url: &str) -> Result<Signed, SignError> {
        // What a form's field holds may be given without the form.
        let body = match &self.rules.takes.form_xml {
            Some(name) if body::looks_like_xml(&body) => body::in_field(name, &body),
            Some(_) | None => body,
        };
        let way = self.way(&body)?;
        let mut draft =
            Draft { method: Method::POST, url: url.to_owned(), headers: Vec::new(), body };
        self.describe(way, event_type, &mut draft);
        if way.scheme == Scheme::None {
            return Ok(draft.done());
        }
        if way.scheme.is_shared() {
            self.fill_checks(way, &mut draft)?;
            self.show_credential(way, &mut draft)?;
            return Ok(draft.done());
        }
        if way.is_each {
            self.sign_each(way, &mut draft)?;
            return Ok(draft.done());
        }
        if way.scheme == Scheme::Jwt {
            self.sign_token(way, &mut draft)?;
            return Ok(draft.done());
        }
        if way.scheme == Scheme::HttpSignature {
            self.sign_message(way, &mut draft)?;
            return Ok(draft.done());
        }
        self.fill_checks(way, &mut draft)?;
        let timestamp = way.timestamp.as_ref().map(|moment| written(self.now, moment.unit));
        self.fill_body(way, timestamp.as_deref(), &mut draft)?;
        if let (Some(moment), Some(text)) = (&way.timestamp, &timestamp)
            && let MomentPlace::Header(name) = &moment.place
        {
            draft.set(name, text);
        }
        if let Some(digest) = &way.digest {
            let separator = if draft.url.contains('?') { '&' } else { '?' };
            let sum = hex::encode(sha256(&[&draft.body]));
            draft.url = format!("{}{separator}{}={sum}", draft.url, digest.query);
        }
        let signature = self.signature(way, timestamp.as_deref(), &draft)?;
        self.place_signature(way, &signature, timestamp.as_deref(), &mut draft)?;
        Ok(draft.done())
    }

    pub(super) fn bad_key(&self, why: String) -> SignError {
        SignError::Key { provider: self.provider.name.to_string(), why }
    }

    /// The preferred way that signs such a body with such a key.
    fn way(&self, body: &[u8]) -> Result<&Way, SignError> {
        let mut why = "there is no way to sign such a body".to_owned();
        for way in &self.rules.ways {
            let format = way.when.as_ref().and_then(|w| w.body);
            if format.is_some_and(|format| !body::looks_like(format, body)) {
                continue;
            }
            match signs(way, self.key) {
                Ok(true) => return Ok(way),
                Ok(false) => {}
                Err(reason) => why = reason,
            }
        }
        Err(SignError::Key { provider: self.provider.name.to_string(), why })
    }

    /// What tells what the request is: content type, ids, the event's type.
    fn describe(&self, way: &Way, event_type: &str, draft: &mut Draft) {
        let takes = &self.rules.takes;
        let parts = multipart::content_type(&draft.body).filter(|_| takes.multipart);
        let content_type = if let Some(parts) = &parts {
            parts
        } else if takes.xml && body::looks_like_xml(&draft.body) {
            "text/xml"
        } else if takes.form && body::looks_like_form(&draft.body) {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        draft.set(&http::header::CONTENT_TYPE, content_type);
        let id = id_of(&[&draft.body, self.salt.as_bytes()].concat());
        if let Some(reading) = self.rules.id.first()
            && let Some(Piece::Atom(Place::Header(name))) = reading.first()
        {
            draft.set(name, &id);
        }
        if let Some(name) = &way.id {
            draft.set(name, &id);
        }
        if let Some(condition) = &way.when
            && let (Some(name), Some(is)) = (&condition.header, condition.is.first())
        {
            draft.set(name, is);
        }
        match self.rules.event_type.first().map(Vec::as_slice) {
            Some([Piece::Atom(Place::Header(name))]) => draft.set(name, event_type),
            // `push` and `.opened`: what is optional comes from the body.
            Some([Piece::Atom(Place::Header(name)), Piece::Optional(rest)]) => {
                let text = match rest.first() {
                    Some(Piece::Text(dot)) => event_type.split(&**dot).next(),
                    Some(Piece::Atom(_) | Piece::Present(_) | Piece::Optional(_)) | None => None,
                };
                draft.set(name, text.unwrap_or(event_type));
            }
            Some(_) | None => {}
        }
    }

    fn show_credential(&self, way: &Way, draft: &mut Draft) -> Result<(), SignError> {
        let shown = credential(way, self.key.expose());
        let shown = String::from_utf8_lossy(&shown);
        match &way.place {
            SignaturePlace::Headers(names) => {
                if let Some(name) = names.first() {
                    if HeaderValue::from_str(&shown).is_err() {
                        let why = "it cannot stand in a header".to_owned();
                        return Err(SignError::Key {
                            provider: self.provider.name.to_string(),
                            why,
                        });
                    }
                    draft.set(name, &shown);
                }
            }
            SignaturePlace::Query(name) => {
                let separator = if draft.url.contains('?') { '&' } else { '?' };
                let pair = form_urlencoded::Serializer::new(String::new())
                    .append_pair(name, &shown)
                    .finish();
                draft.url = format!("{}{separator}{pair}", draft.url);
            }
            SignaturePlace::Slot(slot) => {
                for (other, pointer) in way.reads.pointers() {
                    if other == *slot {
                        self.put(draft, &pointer, &shown, true)?;
                    }
                }
            }
            SignaturePlace::Nowhere => {}
        }
        Ok(())
    }

    /// Puts a signature into each element of a batch. What is signed and missing stays missing: it
    /// counts as empty.
    fn sign_each(&self, way: &Way, draft: &mut Draft) -> Result<(), SignError> {
        let whole =
            std::str::from_utf8(&draft.body).map_err(|e| self.bad_body(e.to_string()))?.to_owned();
        let elements =
            split::elements(self.rules, &whole).map_err(|e| self.bad_body(e.to_string()))?;
        let mut out = String::new();
        let mut done = 0;
        for element in elements {
            let from = body::offset(&whole, element.text);
            let mut one = Draft {
                method: draft.method.clone(),
                url: draft.url.clone(),
                headers: draft.headers.clone(),
                body: element.text.as_bytes().to_vec(),
            };
            let signature = self.signature(way, None, &one)?;
            self.place_signature(way, &signature, None, &mut one)?;
            out.push_str(whole.get(done..from).unwrap_or_default());
            out.push_str(&String::from_utf8_lossy(&one.body));
            done = from + element.text.len();
        }
        out.push_str(whole.get(done..).unwrap_or_default());
        draft.body = out.into_bytes();
        Ok(())
    }

    /// Puts the time, and tokens that are signed, into the body where they belong there.
    fn fill_body(
        &self,
        way: &Way,
        timestamp: Option<&str>,
        draft: &mut Draft,
    ) -> Result<(), SignError> {
        let signature = match &way.place {
            SignaturePlace::Slot(slot) => Some(*slot),
            SignaturePlace::Headers(_) | SignaturePlace::Query(_) | SignaturePlace::Nowhere => None,
        };
        let moment = way.timestamp.as_ref().and_then(|m| match m.place {
            MomentPlace::Slot(slot) => Some(slot),
            MomentPlace::Header(_) | MomentPlace::Shape => None,
        });
        let token = hex::encode(&sha256(&[&draft.body])[..25]);
        for (slot, pointer) in way.reads.pointers() {
            if Some(slot) == signature {
                continue;
            }
            if Some(slot) == moment {
                self.put(draft, &pointer, timestamp.unwrap_or_default(), true)?;
            } else if way.signed.contains(&Piece::Atom(SignedPlace::Slot(slot))) {
                self.put(draft, &pointer, &token, false)?;
            }
        }
        Ok(())
    }

    fn signature(
        &self,
        way: &Way,
        timestamp: Option<&str>,
        draft: &Draft,
    ) -> Result<String, SignError> {
        let request = draft.request(self.now)?;
        let opened = body::open(&self.rules.takes, &request.body);
        let text = opened.as_ref().map_or("null", |o| o.text());
        let found = match way.reads.is_empty() {
            true => Found::default(),
            false => way.reads.read(text).map_err(|e| self.bad_body(e.to_string()))?,
        };
        let signing = Signing {
            way,
            request: &request,
            found: &found,
            text,
            timestamp,
            url: &draft.url,
            body: &request.body,
        };
        // Only a plain hash takes the key into the message; for the others any will do.
        let stand_in = Key::Hashed(self.key.clone());
        let message = signing.message(&stand_in);
        let message: Vec<&[u8]> = message.iter().map(|part: &Cow<'_, [u8]>| &**part).collect();
        let bytes = self.sum(way, &message)?;
        Ok(key::encode(way.encoding, &bytes))
    }

    fn sum(&self, way: &Way, message: &[&[u8]]) -> Result<Vec<u8>, SignError> {
        let bad = |why: &str| SignError::Key {
            provider: self.provider.name.to_string(),
            why: why.to_owned(),
        };
        match way.scheme {
            Scheme::Rsa | Scheme::Jwt | Scheme::HttpSignature => {
                let (algorithm, _) = self.preferred(way)?;
                private::sign(way, algorithm, self.key, &message.concat()).map_err(|why| bad(&why))
            }
            Scheme::Ed25519 => {
                let key = ed25519(self.key).ok_or_else(|| bad(ED25519_WANTED))?;
                Ok(key.sign(&message.concat()).to_bytes().to_vec())
            }
            Scheme::EcdsaP256 => {
                let key = p256(self.key).ok_or_else(|| bad(P256_WANTED))?;
                let signature: p256::ecdsa::Signature = key.sign(&message.concat());
                Ok(match way.form {
                    SignatureForm::Der => signature.to_der().as_bytes().to_vec(),
                    SignatureForm::Raw => signature.to_bytes().to_vec(),
                })
            }
            Scheme::HmacSha1
            | Scheme::HmacSha256
            | Scheme::HmacSha384
            | Scheme::HmacSha512
            | Scheme::Sha256
            | Scheme::Token
            | Scheme::Bearer
            | Scheme::Basic
            | Scheme::None => match Key::new(way.scheme, way.key, self.key) {
                Ok(Some(Key::Mac(key))) => Ok(key.sum(message)),
                Ok(Some(Key::Hashed(_))) => Ok(sha256(message).to_vec()),
                Ok(
                    Some(
                        Key::Ed25519(_)
                        | Key::P256(_)
                        | Key::Public(_)
                        | Key::Authority(_)
                        | Key::Shared(_),
                    )
                    | None,
                ) => Err(bad("it is of another scheme")),
                Err(why) => Err(bad(&why)),
            },
        }
    }

    fn place_signature(
        &self,
        way: &Way,
        signature: &str,
        timestamp: Option<&str>,
        draft: &mut Draft,
    ) -> Result<(), SignError> {
        let shape = &way.shape;
        let prefix = shape.prefixes.first().map_or("", String::as_str);
        let mut value = format!("{prefix}{signature}");
        if let Some(name) = shape.signature_parts.first() {
            value = format!("{name}{}{value}", shape.assign);
        }
        if let (Some(name), Some(text)) = (&shape.timestamp_part, timestamp) {
            let separator = shape.separator.as_deref().unwrap_or(",");
            value = format!("{name}{}{text}{separator}{value}", shape.assign);
        } else if let (Some(_), Some(text)) = (shape.timestamp_item, timestamp) {
            value = format!("{text}{}{value}", shape.separator.as_deref().unwrap_or(","));
        }
        match &way.place {
            SignaturePlace::Headers(names) => {
                if let Some(name) = names.first() {
                    draft.set(name, &value);
                }
            }
            SignaturePlace::Slot(slot) => {
                for (other, pointer) in way.reads.pointers() {
                    if other == *slot {
                        self.put(draft, &pointer, &value, true)?;
                    }
                }
            }
            SignaturePlace::Query(_) | SignaturePlace::Nowhere => {}
        }
        Ok(())
    }

    /// Puts a text at a place of the body: a member of a JSON object, or a form's field.
    pub(super) fn put(
        &self,
        draft: &mut Draft,
        pointer: &Pointer,
        text: &str,
        replaces: bool,
    ) -> Result<(), SignError> {
        let names: Vec<&str> = pointer
            .0
            .iter()
            .filter_map(|segment| match segment {
                Segment::Name(name) => Some(&**name),
                Segment::First | Segment::FirstKey => None,
            })
            .collect();
        if self.rules.takes.form && body::looks_like_form(&draft.body) {
            put_field(&mut draft.body, &names.join("/"), text, replaces);
            return Ok(());
        }
        let mut value: Value =
            serde_json::from_slice(&draft.body).map_err(|e| self.bad_body(e.to_string()))?;
        let mut at = &mut value;
        for name in names {
            if at.is_null() {
                *at = Value::Object(serde_json::Map::new());
            }
            let Value::Object(members) = at else {
                return Err(
                    self.bad_body("a signature belongs where there is no object".to_owned())
                );
            };
            at = members.entry(name).or_insert(Value::Null);
        }
        if replaces || at.is_null() {
            *at = Value::String(text.to_owned());
        }
        draft.body = value.to_string().into_bytes();
        Ok(())
    }

    pub(super) fn bad_body(&self, why: String) -> SignError {
        SignError::Body { provider: self.provider.name.to_string(), why }
    }
}

fn put_field(body: &mut Vec<u8>, name: &str, text: &str, replaces: bool) {
    let there = form_urlencoded::parse(body).any(|(n, _)| n == name);
    if there && !replaces {
        return;
    }
    let mut out = form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(form_urlencoded::parse(body).filter(|(n, _)| n != name));
    out.append_pair(name, text);
    *body = out.finish().into_bytes();
}

/// Whether `key` can sign in this way.
fn signs(way: &Way, key: &Secret) -> Result<bool, String> {
    match way.scheme {
        Scheme::Ed25519 => {
            // A shared secret beside it in the same definition shows what it is.
            Ok(!key.expose().starts_with(b"whsec_") && ed25519(key).is_some())
        }
        Scheme::EcdsaP256 => p256(key).map(|_| true).ok_or_else(|| P256_WANTED.to_owned()),
        Scheme::Rsa | Scheme::Jwt | Scheme::HttpSignature => match private::preferred(way) {
            Some((algorithm, _)) => private::can_sign(way, algorithm, key),
            None => Ok(false),
        },
        Scheme::None => Ok(true),
        Scheme::HmacSha1
        | Scheme::HmacSha256
        | Scheme::HmacSha384
        | Scheme::HmacSha512
        | Scheme::Sha256
        | Scheme::Token
        | Scheme::Bearer
        | Scheme::Basic => Ok(Key::new(way.scheme, way.key, key)?.is_some()),
    }
}

/// A moment as a vendor writes it.
fn written(at: Timestamp, unit: Unit) -> String {
    match unit {
        Unit::Seconds | Unit::SecondsOrMilliseconds => at.as_second().to_string(),
        Unit::Milliseconds => at.as_millisecond().to_string(),
        Unit::Rfc3339 => format!("{at:.3}"),
        Unit::HttpDate => at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    }
}

/// An id that follows from the body, in the form of a UUID.
fn id_of(body: &[u8]) -> String {
    let hex = hex::encode(sha256(&[body]));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

pub(super) struct Draft {
    method: Method,
    url: String,
    headers: Vec<(HeaderName, String)>,
    pub(super) body: Vec<u8>,
}

impl Draft {
    pub(super) fn set(&mut self, name: &HeaderName, value: &str) {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.clone(), value.to_owned()));
    }

    pub(super) fn request(&self, now: Timestamp) -> Result<Request, SignError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let bad = |_| SignError::Header { name: name.to_string(), value: value.clone() };
            headers.insert(name, HeaderValue::from_str(value).map_err(bad)?);
        }
        Ok(Request {
            id: RequestId::next(),
            method: self.method.clone(),
            target: target(&self.url),
            url: self.url.clone(),
            headers,
            body: Bytes::from(self.body.clone()),
            received_at: now,
        })
    }

    fn done(self) -> Signed {
        Signed {
            method: self.method,
            url: self.url,
            headers: self.headers.into_iter().map(|(n, v)| (n.to_string(), v)).collect(),
            body: self.body,
        }
    }
}

/// Path and query of a URL.
fn target(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find(['/', '?']) {
        Some(at) => rest.get(at..).unwrap_or("/").to_owned(),
        None => "/".to_owned(),
    }
}
