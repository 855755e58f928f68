//! Handshakes, and the answer that a vendor expects.

use std::borrow::Cow;

use http::Method;
use jiff::Timestamp;

use super::body::{self, Opened};
use super::extract::Found;
use super::key::{self, Key};
use super::rules::Place;
use super::shake::{Answer, Shake, ShakePlace};
use super::source::Source;
use super::template::Piece;
use super::verify::{Verified, holds, parameter};
use crate::event::push_json;
use crate::request::Request;
use crate::secret::Secret;

/// How long a secret is that a handshake may bring, in bytes: what is shorter can be guessed.
const LEARNED_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// The longest answer to a handshake, in bytes: it repeats what the request said.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// What a vendor is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Whether the source takes requests of this method.
#[must_use]
pub fn takes_method(source: &Source, method: &Method) -> bool {
    *method == Method::POST
        || source.rules.handshakes.iter().any(|s| s.when.method.as_ref() == Some(method))
}

/// The answer to a handshake that is not signed (a GET with a challenge, a HEAD), if the request is
/// one. Ask before [`super::verify()`].
#[must_use]
pub fn handshake(source: &Source, request: &Request, _now: Timestamp) -> Option<Reply> {
    let shakes = source.rules.handshakes.iter().filter(|s| !s.is_signed);
    answer_first(source, request, None, shakes)
}

/// The secret that an unsigned handshake brings: what the vendor will sign with, if the request tells
/// the truth. Nobody has proven it: it is for the operator to compare with what the vendor shows, and
/// must never be put in force by itself.
#[must_use]
pub fn learned(source: &Source, request: &Request) -> Option<Secret> {
    let mut shakes = source.rules.handshakes.iter().filter(|s| !s.is_signed);
    shakes.find_map(|shake| {
        let place = shake.learns.as_ref().filter(|_| holds(&shake.when, request))?;
        let opened = match shake.reads.is_empty() {
            true => None,
            false => body::open(&source.rules.takes, &request.body).ok(),
        };
        let found = shake.reads.read(opened.as_ref().map_or("null", Opened::text)).ok()?;
        let view = View { source, request, found };
        let secret = view.place(place).filter(|_| view.matches(shake))?;
        let is_one =
            LEARNED_BYTES.contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_graphic());
        is_one.then(|| Secret::new(secret.into_owned()))
    })
}

/// The answer to a handshake that is signed as any other request, if this is one: it holds no
/// events. Ask between [`super::verify()`] and [`super::split()`].
#[must_use]
pub fn challenge(source: &Source, verified: &Verified<'_>) -> Option<Reply> {
    let mut shakes = source.rules.handshakes.iter().filter(|s| s.is_signed).peekable();
    shakes.peek()?;
    let opened = verified.opened(source).ok();
    answer_first(source, verified.request(), opened, shakes)
}

/// The signed handshake that a verified request is, if it is one, and the body's text.
pub(super) fn signed_shake<'s>(
    source: &'s Source,
    verified: &'s Verified<'_>,
) -> Option<(&'s Shake, &'s str)> {
    let mut shakes = source.rules.handshakes.iter().filter(|s| s.is_signed && s.visit.is_some());
    let text = shakes.clone().next().and_then(|_| Some(verified.opened(source).ok()?.text()))?;
    let request = verified.request();
    let shake = shakes.find(|shake| {
        let found = shake.reads.read(text).ok();
        holds(&shake.when, request)
            && found.is_some_and(|found| View { source, request, found }.matches(shake))
    })?;
    Some((shake, text))
}

/// What the vendor is answered once its events are committed; `receipt` is RelayFlow's own JSON.
#[must_use]
pub fn reply(source: &Source, receipt: &str) -> Reply {
    let wanted = &source.rules.reply;
    let content_type = || wanted.content_type.as_ref().map(|text| text.get_ref().clone());
    let (content_type, body) = match &wanted.body {
        None => (Some("application/json".to_owned()), receipt.to_owned()),
        Some(body) if body.is_empty() => (content_type(), String::new()),
        Some(body) => {
            let plain = || "text/plain; charset=utf-8".to_owned();
            (Some(content_type().unwrap_or_else(plain)), body.clone())
        }
    };
    Reply {
        status: wanted.status.as_ref().map_or(200, |status| *status.get_ref()),
        content_type,
        headers: Vec::new(),
        body: body.into_bytes(),
    }
}

fn answer_first<'s>(
    source: &Source,
    request: &Request,
    opened: Option<&Opened<'_>>,
    shakes: impl Iterator<Item = &'s Shake>,
) -> Option<Reply> {
    for shake in shakes {
        if !holds(&shake.when, request) {
            continue;
        }
        let own;
        let text = match opened {
            _ if shake.reads.is_empty() => "null",
            Some(opened) => opened.text(),
            None => {
                own = body::open(&source.rules.takes, &request.body).ok();
                own.as_ref().map_or("null", Opened::text)
            }
        };
        // A body that does not parse is no handshake.
        let Ok(found) = shake.reads.read(text) else { continue };
        let view = View { source, request, found };
        if view.matches(shake)
            && let Some(reply) = view.answer(shake)
        {
            return Some(reply);
        }
    }
    None
}

struct View<'v> {
    source: &'v Source,
    request: &'v Request,
    found: Found<'v>,
}

impl View<'_> {
    fn matches(&self, shake: &Shake) -> bool {
        let is_met = match shake.when_slot {
            None => true,
            Some(slot) if shake.when.is.is_empty() => self.found.is_there(slot),
            Some(slot) => self
                .found
                .scalar(slot)
                .text()
                .is_some_and(|t| shake.when.is.iter().any(|is| *is == t)),
        };
        is_met
            && shake.check.iter().all(|(place, wanted)| {
                self.compose(place).is_some_and(|t| Secret::new(wanted.as_str()).is(t.as_bytes()))
            })
    }

    /// `None` if the request lacks what the answer repeats, or would make it repeat too much.
    fn answer(&self, shake: &Shake) -> Option<Reply> {
        let body = match &shake.answer {
            Answer::Empty => String::new(),
            Answer::Text(pieces) => self.compose(pieces)?,
            Answer::Json(members) => {
                let mut out = String::from("{");
                for (number, (name, pieces)) in members.iter().enumerate() {
                    if 0 < number {
                        out.push(',');
                    }
                    push_json(&mut out, name);
                    out.push(':');
                    // A fixed text of digits is a number: `{"type":1}`.
                    let text = self.compose(pieces)?;
                    match pieces.as_slice() {
                        [Piece::Text(fixed)] if is_number(fixed) => out.push_str(fixed),
                        _ => push_json(&mut out, &text),
                    }
                }
                out.push('}');
                out
            }
        };
        let mut headers = Vec::with_capacity(shake.headers.len());
        for (name, pieces) in &shake.headers {
            let value = self.compose(pieces)?;
            if http::HeaderValue::from_str(&value).is_err() {
                return None;
            }
            headers.push((name.clone(), value));
        }
        if ANSWER_BYTES_MAX < body.len() {
            return None;
        }
        let content_type = match (&shake.content_type, &shake.answer) {
            (Some(given), _) => Some(given.clone()),
            (None, Answer::Json(_)) => Some("application/json".to_owned()),
            // Never anything that a browser would run.
            (None, Answer::Text(_)) => Some("text/plain; charset=utf-8".to_owned()),
            (None, Answer::Empty) => None,
        };
        Some(Reply { status: shake.status, content_type, headers, body: body.into_bytes() })
    }

    fn compose(&self, pieces: &[Piece<ShakePlace>]) -> Option<String> {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Optional(inner) => out.push_str(&self.compose(inner).unwrap_or_default()),
                Piece::Atom(ShakePlace::Plain(place)) => out.push_str(&self.place(place)?),
                Piece::Present(ShakePlace::Plain(place) | ShakePlace::Hmac(place)) => {
                    self.place(place)?;
                }
                Piece::Atom(ShakePlace::Hmac(place)) => {
                    out.push_str(&self.hmac(&self.place(place)?)?);
                }
            }
        }
        Some(out)
    }

    fn place(&self, place: &Place) -> Option<Cow<'_, str>> {
        match place {
            Place::Header(name) => self.request.header(name.as_str()).map(Cow::Borrowed),
            Place::Query(name) => parameter(self.request, name),
            Place::Slot { slot, .. } => self.found.scalar(*slot).text(),
            // A handshake's text cannot be compiled with these.
            Place::Derived | Place::Number => None,
        }
    }

    /// The text's HMAC under the first secret, as a signature is written.
    fn hmac(&self, text: &str) -> Option<String> {
        let mut ways = self.source.rules.ways.iter().zip(&self.source.keys);
        ways.find_map(|(way, keys)| match keys.first() {
            Some(Key::Mac(key)) => Some(key::encode(way.encoding, &key.sum(&[text.as_bytes()]))),
            Some(
                Key::Hashed(_)
                | Key::Ed25519(_)
                | Key::P256(_)
                | Key::Public(_)
                | Key::Authority(_)
                | Key::Shared(_),
            )
            | None => None,
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
