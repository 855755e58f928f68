//! `IntegrationEvent`: the canonical record of one thing that happened.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::id::{EventId, RequestId};
use crate::request::CorrelationId;

/// The longest parts of an event that are read from a payload, in bytes.
pub const EXTERNAL_ID_BYTES_MAX: usize = 1024;
pub const TYPE_BYTES_MAX: usize = 256;
pub const SUBJECT_BYTES_MAX: usize = 1024;

/// The canonical event. Its envelope maps one to one onto CloudEvents 1.0 ([`Self::to_cloudevent`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationEvent {
    pub id: EventId,
    pub request_id: RequestId,
    pub source: Arc<str>,
    pub provider: Arc<str>,
    /// The provider's own word: `charge.failed`.
    pub event_type: String,
    /// The canonical kind: `payment.failed`.
    pub kind: Option<Arc<str>>,
    /// The provider's own id of this event, else derived from its exact bytes (`sha256:…`).
    pub external_id: String,
    /// Whether `external_id` was derived.
    pub id_is_derived: bool,
    /// Where the vendor does not sign its id: the digest of what it did sign. The same digest under
    /// another id is the same event (`guarantees.md`, 5).
    pub signed_digest: Option<[u8; 32]>,
    /// The object that the event is about: `ch_3Nx…`.
    pub subject: Option<String>,
    /// When it happened, where the payload says so; else when it was received.
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    pub correlation_id: CorrelationId,
    /// The kind's canonical attributes: a JSON object as text.
    pub attributes: String,
    pub payload: Payload,
    /// Which version of the provider's definition normalized it: `stripe@1`.
    pub contract: Arc<str>,
}

/// The provider's own event body, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// These bytes of the request's body (`from..to`), which are UTF-8 and one JSON value.
    Slice { body: Bytes, from: usize, to: usize },
    /// JSON that stands for a body that is not JSON: a form's fields as an object.
    Converted(String),
}

impl Payload {
    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        match self {
            Self::Slice { body, from, to } => {
                body.get(*from..*to).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("null")
            }
            Self::Converted(text) => text,
        }
    }
}

impl IntegrationEvent {
    /// `{provider}:{type}:{external_id}`, for people. The store's key is four columns, since a `:`
    /// inside a part would make two events one.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{}:{}:{}", self.provider, self.event_type, self.external_id)
    }

    /// The event as CloudEvents 1.0, structured mode. The payload is copied as it came: numbers keep
    /// their text.
    #[must_use]
    pub fn to_cloudevent(&self) -> String {
        let payload = self.payload.json();
        let mut out = String::with_capacity(payload.len() + self.attributes.len() + 640);
        out.push_str(r#"{"specversion":"1.0","id":""#);
        out.push_str(&self.id.to_string());
        out.push_str(r#"","source":"#);
        push_json(&mut out, &format!("/in/{}", self.source));
        out.push_str(r#","type":"#);
        push_json(&mut out, &self.event_type);
        if let Some(subject) = &self.subject {
            out.push_str(r#","subject":"#);
            push_json(&mut out, subject);
        }
        out.push_str(r#","time":""#);
        out.push_str(&micros(self.occurred_at));
        out.push_str(r#"","datacontenttype":"application/json","provider":"#);
        push_json(&mut out, &self.provider);
        if let Some(kind) = &self.kind {
            out.push_str(r#","kind":"#);
            push_json(&mut out, kind);
        }
        out.push_str(r#","externalid":"#);
        push_json(&mut out, &self.external_id);
        out.push_str(r#","idempotencykey":"#);
        push_json(&mut out, &self.idempotency_key());
        out.push_str(r#","receivedtime":""#);
        out.push_str(&micros(self.received_at));
        out.push_str(r#"","correlationid":"#);
        push_json(&mut out, self.correlation_id.as_str());
        out.push_str(r#","contract":"#);
        push_json(&mut out, &self.contract);
        out.push_str(r#","attributes":"#);
        out.push_str(&self.attributes);
        out.push_str(r#","data":"#);
        out.push_str(payload);
        out.push('}');
        out
    }
}

/// RFC 3339 in UTC with six fraction digits: the one form in which moments leave RelayFlow.
#[must_use]
pub fn micros(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Appends `text` as a JSON string of ASCII characters only: a terminal may take a raw C1 control
/// for an escape sequence.
pub fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::from_micros;

    fn event(payload: &'static str) -> IntegrationEvent {
        let request_id = RequestId::next();
        IntegrationEvent {
            id: EventId::next(),
            request_id,
            source: "stripe".into(),
            provider: "stripe".into(),
            event_type: "charge.failed".to_owned(),
            kind: Some("payment.failed".into()),
            external_id: "evt_1".to_owned(),
            id_is_derived: false,
            signed_digest: None,
            subject: Some("ch_\u{9b}31m".to_owned()),
            occurred_at: from_micros(1_767_607_200_000_000),
            received_at: from_micros(1_767_607_203_000_000),
            correlation_id: CorrelationId::of(request_id),
            attributes: r#"{"amount_minor":4200}"#.to_owned(),
            payload: Payload::Slice {
                body: Bytes::from_static(payload.as_bytes()),
                from: 0,
                to: payload.len(),
            },
            contract: "stripe@1".into(),
        }
    }

    #[test]
    fn a_cloudevent_is_json_and_keeps_the_text_of_numbers() {
        let text = event(r#"{"n":123456789012345678901234567890}"#).to_cloudevent();
        assert!(text.contains("123456789012345678901234567890") && !text.contains('\u{9b}'));
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["specversion"], "1.0");
        assert_eq!(parsed["time"], "2026-01-05T10:00:00.000000Z");
        assert_eq!(parsed["subject"], "ch_\u{9b}31m");
        assert_eq!(parsed["attributes"]["amount_minor"], 4200);
    }

    proptest! {
        #[test]
        fn every_text_survives_as_ascii_json(text: String) {
            let mut out = String::new();
            push_json(&mut out, &text);
            prop_assert!(out.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
