//! One raw event → one [`IntegrationEvent`], in one pass over its bytes.

use std::borrow::Cow;
use std::cell::OnceCell;

use bytes::Bytes;
use jiff::Timestamp;

use super::body::{self, Opened};
use super::extract::{Found, Scalar};
use super::key::sha256;
use super::kind_rules::{AttributeOf, KindCondition, KindOf};
use super::rules::Place;
use super::source::Source;
use super::split::{Holder, RawEvent};
use super::template::Piece;
use super::value;
use super::verify::{Verified, parameter};
use crate::event::{
    EXTERNAL_ID_BYTES_MAX, IntegrationEvent, Payload, SUBJECT_BYTES_MAX, TYPE_BYTES_MAX, push_json,
};
use crate::id::EventId;
use crate::kind::AttributeType;
use crate::request::Request;

/// Why a verified event cannot be read. It is a dead letter, never lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NormalizeError {
    #[error("the event cannot be read: {0}")]
    Json(String),
    #[error("the event has no {what} where its provider puts one")]
    Missing { what: &'static str },
    #[error("the event's {what} is not a text or a number")]
    NotScalar { what: &'static str },
    #[error("the event's {what} has {bytes} bytes; at most {bytes_max} are taken")]
    TooLong { what: &'static str, bytes: usize, bytes_max: usize },
    #[error("the event's {what} has a control character")]
    Control { what: &'static str },
}

/// Turns one raw event into the canonical one, which gets the id `id`.
///
/// # Errors
///
/// What of the event its provider's definition does not find, or may not take.
pub fn normalize(
    source: &Source,
    verified: &Verified<'_>,
    raw: RawEvent<'_>,
    id: EventId,
) -> Result<IntegrationEvent, NormalizeError> {
    let text = raw.element.text;
    let rules = &source.rules;
    let found = rules.reads[0].read(text).map_err(|e| NormalizeError::Json(e.to_string()))?;
    let request = verified.request();
    let view = View {
        source,
        request,
        found,
        raw: &raw,
        holder: raw.element.holder.as_deref(),
        derived: OnceCell::new(),
    };

    let event_type = view
        .named("type", &rules.event_type, TYPE_BYTES_MAX)?
        .ok_or(NormalizeError::Missing { what: "type" })?
        .into_owned();
    let given = view.named("id", &rules.id, EXTERNAL_ID_BYTES_MAX)?.map(Cow::into_owned);
    let external_id = match given {
        Some(external_id) => external_id,
        None if rules.id_may_be_derived => view.derived().to_owned(),
        None => return Err(NormalizeError::Missing { what: "id" }),
    };
    // An id with a digest in it is as good as the bytes are.
    let id_is_derived = view.derived.get().is_some_and(|digest| external_id.contains(digest));
    let subject = view.named("subject", &rules.subject, SUBJECT_BYTES_MAX)?.map(Cow::into_owned);
    let kind = view.kind(source, &event_type);
    let mut attributes = String::from("{");
    if let Some(kind) = kind {
        view.push_attributes(&mut attributes, &kind.attributes);
    }
    attributes.push('}');

    Ok(IntegrationEvent {
        id,
        request_id: request.id,
        source: source.name.clone(),
        provider: source.provider.name.clone(),
        kind: kind.map(|k| k.kind.clone()),
        event_type,
        external_id,
        id_is_derived,
        signed_digest: signed_digest(source, verified, raw.number),
        subject,
        occurred_at: view.occurred_at(source).unwrap_or(request.received_at),
        received_at: request.received_at,
        correlation_id: request.correlation_id(),
        attributes,
        payload: payload(source, verified, text),
        contract: source.provider.contract.clone(),
    })
}

/// The digest of the event's exact bytes. Where equal bytes are separate events, the request's id
/// makes it one of its own.
fn derived_id(source: &Source, request: &Request, raw: &RawEvent<'_>) -> String {
    let digest = hex::encode(sha256(&[raw.element.text.as_bytes()]));
    if !source.accept_identical {
        return format!("sha256:{digest}");
    }
    match raw.number {
        None => format!("sha256:{digest}:{}", request.id),
        Some(number) => format!("sha256:{digest}:{}:{number}", request.id),
    }
}

/// The digest of what was signed; in a batch, together with the element's number.
fn signed_digest(
    source: &Source,
    verified: &Verified<'_>,
    number: Option<usize>,
) -> Option<[u8; 32]> {
    let digest = verified.digest().filter(|_| !source.accept_identical)?;
    Some(match number {
        None => digest,
        Some(number) => sha256(&[&digest, number.to_string().as_bytes()]),
    })
}

fn payload(source: &Source, verified: &Verified<'_>, text: &str) -> Payload {
    match verified.opened(source) {
        // What stood in a text is no part of the body's bytes.
        Ok(Opened::Json { text: whole, from }) if is_part(whole, text) => {
            let from = from + body::offset(whole, text);
            let body: Bytes = verified.request().body.clone();
            Payload::Slice { body, from, to: from + text.len() }
        }
        Ok(Opened::Json { .. } | Opened::Converted(_)) | Err(_) => {
            Payload::Converted(text.to_owned())
        }
    }
}

fn is_part(whole: &str, part: &str) -> bool {
    let whole = whole.as_bytes().as_ptr_range();
    let part = part.as_bytes().as_ptr_range();
    whole.start <= part.start && part.end <= whole.end
}

/// Everything that a reading may read.
struct View<'v> {
    source: &'v Source,
    request: &'v Request,
    found: Found<'v>,
    raw: &'v RawEvent<'v>,
    holder: Option<&'v Holder<'v>>,
    /// The digest of the event's bytes, once somebody has asked.
    derived: OnceCell<String>,
}

impl<'v> View<'v> {
    /// The first reading that gives something, held to what may be stored and shown.
    fn named(
        &self,
        what: &'static str,
        readings: &[Vec<Piece<Place>>],
        bytes_max: usize,
    ) -> Result<Option<Cow<'v, str>>, NormalizeError> {
        let mut was_other = false;
        for reading in readings {
            let Some(text) = self.compose(reading, &mut was_other) else { continue };
            if text.is_empty() {
                continue;
            }
            if bytes_max < text.len() {
                return Err(NormalizeError::TooLong { what, bytes: text.len(), bytes_max });
            }
            if text.chars().any(char::is_control) {
                return Err(NormalizeError::Control { what });
            }
            return Ok(Some(text));
        }
        // A subject that moved is no reason to hold an event back; its identity is.
        if was_other && what != "subject" {
            return Err(NormalizeError::NotScalar { what });
        }
        Ok(None)
    }

    /// The reading's text, if all of it is there that must be.
    fn compose(&self, reading: &[Piece<Place>], was_other: &mut bool) -> Option<Cow<'v, str>> {
        if let [Piece::Atom(place)] = reading {
            return self.place(place, was_other);
        }
        let mut out = String::new();
        for piece in reading {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Atom(place) => out.push_str(&self.place(place, was_other)?),
                Piece::Present(place) => {
                    if !self.is_there(place) {
                        return None;
                    }
                }
                Piece::Optional(inner) => {
                    if let Some(text) = self.compose(inner, was_other) {
                        out.push_str(&text);
                    }
                }
            }
        }
        Some(Cow::Owned(out))
    }

    fn derived(&self) -> &str {
        self.derived.get_or_init(|| derived_id(self.source, self.request, self.raw))
    }

    /// What was read of the event (`up` 0), of what holds it (1), of what holds that …
    fn level(&self, up: usize) -> Option<&Found<'v>> {
        if up == 0 {
            return Some(&self.found);
        }
        let mut holder = self.holder?;
        for _ in 1..up {
            holder = holder.outer.as_deref()?;
        }
        Some(&holder.found)
    }

    fn is_there(&self, place: &Place) -> bool {
        match place {
            Place::Header(name) => self.request.headers.contains_key(name),
            Place::Query(name) => parameter(self.request, name).is_some(),
            Place::Slot { up, slot } => self.level(*up).is_some_and(|found| found.is_there(*slot)),
            Place::Derived => true,
            Place::Number => self.raw.number.is_some(),
        }
    }

    fn place(&self, place: &Place, was_other: &mut bool) -> Option<Cow<'v, str>> {
        let scalar = match place {
            Place::Header(name) => return self.request.header(name.as_str()).map(Cow::Borrowed),
            Place::Query(name) => return parameter(self.request, name),
            Place::Slot { up, slot } => self.level(*up)?.scalar(*slot),
            Place::Derived => return Some(Cow::Owned(self.derived().to_owned())),
            Place::Number => return Some(Cow::Owned(self.raw.number?.to_string())),
        };
        match scalar {
            Scalar::Text(text) => Some(text),
            Scalar::Missing => None,
            Scalar::Other => {
                *was_other = true;
                None
            }
        }
    }

    /// The first rule for the type whose condition holds; else the first of those for any type.
    fn kind<'s>(&self, source: &'s Source, event_type: &str) -> Option<&'s KindOf> {
        let kinds = &source.rules.kinds;
        let of = |name: &str| kinds.get(name).into_iter().flatten().map(|kind| &**kind);
        of(event_type).chain(of("*")).find(|kind| match &kind.when {
            None => true,
            Some(condition) => self.holds(condition),
        })
    }

    fn holds(&self, condition: &KindCondition) -> bool {
        match condition {
            KindCondition::All(list) => list.iter().all(|one| self.holds(one)),
            KindCondition::Any(list) => list.iter().any(|one| self.holds(one)),
            KindCondition::Is(places, wanted) => {
                let there = places.iter().find(|place| self.is_there(place));
                let is_wanted = |text: &str| wanted.iter().any(|w| *w == text);
                there.is_some_and(|place| {
                    let text = || self.place(place, &mut false);
                    wanted.is_empty() || text().is_some_and(|text| is_wanted(&text))
                })
            }
        }
    }

    fn occurred_at(&self, source: &Source) -> Option<Timestamp> {
        source
            .rules
            .at
            .iter()
            .find_map(|(reading, unit)| value::moment(&self.compose(reading, &mut false)?, *unit))
    }

    /// Appends the attributes that are there, and of their type.
    fn push_attributes(&self, out: &mut String, attributes: &[AttributeOf]) {
        let mut currency = None;
        for attribute in attributes {
            let text = attribute.from.iter().find_map(|reading| {
                let text = self.compose(reading, &mut false)?;
                let text = match &attribute.strip {
                    None => text,
                    Some(prefix) => Cow::Owned(text.strip_prefix(&**prefix)?.to_owned()),
                };
                (!text.trim().is_empty()).then_some(text)
            });
            let Some(text) = text else { continue };
            let text = attribute.words.get(&*text).map_or(text, |w| Cow::Owned(w.clone()));
            if attribute.value == AttributeType::Currency {
                currency = value::currency(&text);
            }
            let major = attribute.is_major.then(|| currency.as_deref().unwrap_or_default());
            let before = out.len();
            if 1 < before {
                out.push(',');
            }
            push_json(out, &attribute.name);
            out.push(':');
            if !value::push(out, &text, attribute.value, attribute.unit, major) {
                out.truncate(before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::fixtures::{at, request, source_with};
    use crate::provider::sign::{key_pair, sign_for};
    use crate::provider::{Catalog, SplitError, split, verify};
    use crate::secret::Secret;

    const NOW: i64 = 1_700_000_000;

    /// A source with its key.
    fn pair(provider: &str, settings: &[(&str, &str)]) -> (Source, Secret) {
        let catalog = Catalog::built_in();
        let keys = key_pair(catalog.get(provider).unwrap(), [4; 32]);
        (source_with(&catalog, provider, vec![keys.verifying], settings), keys.signing)
    }

    fn signed(source: &Source, key: &Secret, headers: &[(&str, &str)], body: &[u8]) -> Request {
        let url = source.public_url.clone().unwrap();
        let mut signed = sign_for(source, key, "t", body.to_vec(), &url, at(NOW)).unwrap();
        signed.headers.retain(|(name, _)| !headers.iter().any(|(n, _)| n == name));
        signed.headers.extend(headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        request(signed, at(NOW))
    }

    fn events(source: &Source, request: &Request) -> Result<Vec<IntegrationEvent>, NormalizeError> {
        let verified = verify(source, request, at(NOW)).unwrap();
        let raws = split(source, &verified).unwrap();
        raws.into_iter().map(|raw| normalize(source, &verified, raw, EventId::next())).collect()
    }

    #[test]
    fn an_id_that_is_not_signed_leaves_the_digest_of_what_is() {
        let (source, key) = pair("github", &[]);
        let event = |delivery: &str, body: &[u8]| {
            let headers = [("x-github-delivery", delivery), ("x-github-event", "push")];
            events(&source, &signed(&source, &key, &headers, body)).unwrap().remove(0)
        };
        let (first, second) = (event("1", b"{\"a\":1}"), event("2", b"{\"a\":1}"));
        assert_eq!((first.external_id.as_str(), second.external_id.as_str()), ("1", "2"));
        assert_eq!(first.signed_digest, Some(sha256(&[b"{\"a\":1}"])));
        assert_eq!(first.signed_digest, second.signed_digest);
        assert_ne!(first.signed_digest, event("3", b"{\"a\":2}").signed_digest);

        let (source, key) = pair("standard-webhooks", &[]);
        let event =
            events(&source, &signed(&source, &key, &[], b"{\"type\":\"t\"}")).unwrap().remove(0);
        assert_eq!(event.signed_digest, None);
    }

    #[test]
    fn a_vendor_that_only_says_that_something_changed_says_news_each_time() {
        let (source, key) = pair("dropbox", &[]);
        let asked = || signed(&source, &key, &[], br#"{"list_folder":{"accounts":["dbid:A"]}}"#);
        let event = || events(&source, &asked()).unwrap().remove(0);
        let (first, second) = (event(), event());
        assert_ne!(first.external_id, second.external_id);
        assert_eq!((first.signed_digest, second.signed_digest), (None, None));
        assert_eq!(
            (first.subject.as_deref(), first.payload.json()),
            (Some("dbid:A"), "\"dbid:A\"")
        );
    }

    #[test]
    fn without_an_id_the_bytes_are_the_id_unless_equal_bytes_are_separate() {
        let (mut source, key) = pair("generic", &[("split", "/*")]);
        let asked = signed(&source, &key, &[], b"[{\"a\":1},{\"a\":1}]");
        let ids = |source: &Source, request: &Request| -> Vec<String> {
            let events = events(source, request).unwrap();
            assert!(events.iter().all(|e| e.id_is_derived));
            events.into_iter().map(|e| e.external_id).collect()
        };
        let digest = format!("sha256:{}", hex::encode(sha256(&[b"{\"a\":1}"])));
        assert_eq!(ids(&source, &asked), [digest.clone(), digest.clone()]);

        source.accept_identical = true;
        let again = signed(&source, &key, &[], b"[{\"a\":1},{\"a\":1}]");
        let mut all = ids(&source, &asked);
        all.extend(ids(&source, &again));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|id| id.starts_with(&digest)));
    }

    #[test]
    fn what_is_read_is_held_to_its_limits() {
        let (source, key) = pair("stripe", &[]);
        let error = |id: &str, event_type: &str, subject: &str| {
            let object = serde_json::json!({ "object": { "id": subject } });
            let body = serde_json::json!({ "id": id, "type": event_type, "data": object });
            let asked = signed(&source, &key, &[], body.to_string().as_bytes());
            events(&source, &asked).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(error(&"x".repeat(1024), &"y".repeat(256), &"z".repeat(1024)), Ok(()));
        for (given, part) in [
            (error(&"x".repeat(1025), "t", "s"), "id has 1025 bytes; at most 1024"),
            (error("i", &"y".repeat(257), "s"), "type has 257 bytes; at most 256"),
            (error("i", "t", &"z".repeat(1025)), "subject has 1025 bytes"),
            (error("i\0", "t", "s"), "id has a control character"),
            (error("i", "t\n", "s"), "type has a control character"),
            (error("i", "t", "s\u{9b}31m"), "subject has a control character"),
            (error("", "t", "s"), "has no id"),
            (error("i", "", "s"), "has no type"),
        ] {
            assert!(given.as_ref().is_err_and(|e| e.contains(part)), "{given:?}");
        }
        let odd = signed(&source, &key, &[], br#"{"id":{"a":1},"type":"t"}"#);
        assert_eq!(events(&source, &odd).unwrap_err(), NormalizeError::NotScalar { what: "id" });
        let moved =
            signed(&source, &key, &[], br#"{"id":1,"type":"t","data":{"object":{"id":[]}}}"#);
        assert_eq!(events(&source, &moved).unwrap()[0].subject, None);
    }

    #[test]
    fn the_payload_is_the_very_bytes_of_the_event() {
        let (source, key) = pair("hubspot", &[]);
        let body =
            b"\xef\xbb\xbf[ {\"eventId\":1,\"objectId\":9007199254740993} ,\n {\"eventId\":2}]\r\n";
        let asked = signed(&source, &key, &[], body);
        let verified = verify(&source, &asked, at(NOW)).unwrap();
        let texts: Vec<_> = split(&source, &verified)
            .unwrap()
            .into_iter()
            .map(|raw| payload(&source, &verified, raw.element.text))
            .collect();
        assert_eq!(texts[0].json(), "{\"eventId\":1,\"objectId\":9007199254740993}");
        assert_eq!(texts[1].json(), "{\"eventId\":2}");
        assert!(texts.iter().all(|payload| matches!(payload, Payload::Slice { .. })));
    }

    #[test]
    fn a_request_holds_ten_thousand_events_and_no_more() {
        let (source, key) = pair("generic", &[("split", "/events/*")]);
        let body = |count: usize| {
            let events: Vec<_> = (0..count).map(|n| format!("{{\"id\":{n}}}")).collect();
            format!("{{\"events\":[{}]}}", events.join(","))
        };
        let asked = signed(&source, &key, &[], body(10_000).as_bytes());
        assert_eq!(events(&source, &asked).unwrap().len(), 10_000);
        let asked = signed(&source, &key, &[], body(10_001).as_bytes());
        let verified = verify(&source, &asked, at(NOW)).unwrap();
        assert_eq!(split(&source, &verified).unwrap_err(), SplitError::TooMany);
    }
}
