//! Bodies that lie in files: split and normalized as those that arrive, though nobody knows who wrote
//! them. For checks; nothing that is read here is ever taken in.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::catalog::{Catalog, Provider};
use super::normalize::{NormalizeError, normalize};
use super::sign::key_pair;
use super::source::{Source, SourceError};
use super::split::split;
use super::verify::unproven;
use crate::config::SourceConfig;
use crate::id::{EventId, RequestId};
use crate::request::Request;

/// Reads bodies as a source would, without a signature.
#[derive(Debug)]
pub struct Reader {
    source: Source,
}

/// An event as it stands in a body.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadEvent {
    /// Its number in a batch, from 0; `None` where the whole body is the event.
    pub number: Option<usize>,
    pub event_type: String,
    pub payload: Value,
}

/// Why a body, or an event of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The event's number in a batch, from 0.
    pub number: Option<usize>,
    pub message: String,
    /// Whether all that is amiss is that nobody says what type it is of.
    pub is_untyped: bool,
}

/// Type and id of every event that a request says it holds, as far as it can be read, whoever sent it.
#[must_use]
pub fn claimed_ids(source: &Source, request: &Request) -> Vec<(String, String)> {
    let verified = unproven(request);
    let raw = split(source, &verified).unwrap_or_default();
    let read =
        raw.into_iter().filter_map(|one| normalize(source, &verified, one, EventId::next()).ok());
    read.map(|event| (event.event_type, event.external_id)).collect()
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Reader {
    /// With a source's settings.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source }
    }

    /// With a definition alone; settings that a source must make are those of its examples.
    ///
    /// # Errors
    ///
    /// As [`Source::new`].
    pub fn of_provider(provider: &Provider, catalog: &Catalog) -> Result<Self, SourceError> {
        // Nothing is verified with it.
        let secrets =
            if provider.is_open() { vec![] } else { vec![key_pair(provider, [7; 32]).verifying] };
        let config = SourceConfig {
            name: provider.name.to_string(),
            provider: provider.name.to_string(),
            secrets,
            tolerance: None,
            public_url: None,
            settings: provider.examples.clone(),
            accept_identical: false,
            derived_window: SignedDuration::ZERO,
            reconcile: None,
        };
        Source::new(&config, None, catalog).map(Self::new)
    }

    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Every event of a body, or why it cannot be read. `event_type` is what its events are, where
    /// somebody knows better than the body. `target` is the path and query that it was posted to.
    #[must_use]
    pub fn read(
        &self,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
        event_type: Option<&str>,
    ) -> Vec<Result<ReadEvent, Unreadable>> {
        let request = Request {
            id: RequestId::next(),
            method: Method::POST,
            target: target.to_owned(),
            url: target.to_owned(),
            headers,
            body,
            received_at: Timestamp::UNIX_EPOCH,
        };
        let verified = unproven(&request);
        let raw = match split(&self.source, &verified) {
            Ok(raw) => raw,
            Err(error) => {
                let message = error.to_string();
                return vec![Err(Unreadable { number: None, message, is_untyped: false })];
            }
        };
        let read = raw.into_iter().map(|one| {
            let number = one.number();
            let fail = |message: String| Unreadable { number, message, is_untyped: false };
            let text = one.element.text;
            let parse = |json: &str| {
                serde_json::from_str::<Value>(json).map_err(|e| fail(format!("not JSON: {e}")))
            };
            match (normalize(&self.source, &verified, one, EventId::next()), event_type) {
                (Ok(event), given) => Ok(ReadEvent {
                    number,
                    payload: parse(event.payload.json())?,
                    event_type: given.map_or(event.event_type, str::to_owned),
                }),
                // What it has no type or id by may be told with it.
                (Err(_), Some(given)) => {
                    Ok(ReadEvent { number, event_type: given.to_owned(), payload: parse(text)? })
                }
                (Err(error), None) => Err(Unreadable {
                    is_untyped: error == NormalizeError::Missing { what: "type" },
                    ..fail(error.to_string())
                }),
            }
        });
        read.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(provider: &str) -> Reader {
        let catalog = Catalog::built_in();
        Reader::of_provider(catalog.get(provider).unwrap(), &catalog).unwrap()
    }

    fn types(
        provider: &str,
        headers: &[(&'static str, &str)],
        body: &str,
        given: Option<&str>,
    ) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let read = reader(provider).read("/", map, Bytes::from(body.to_owned()), given);
        let shown = read.into_iter().map(|one| match one {
            Ok(ReadEvent { event_type, number: None, .. }) => event_type,
            Ok(ReadEvent { event_type, number: Some(number), .. }) => {
                format!("{event_type}#{number}")
            }
            Err(error) => format!("! {error}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_definition_can_be_read_with() {
        let catalog = Catalog::built_in();
        for provider in catalog.iter() {
            let reader = Reader::of_provider(provider, &catalog);
            let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", provider.name));
            for sample in provider.samples() {
                let mut headers = HeaderMap::new();
                for (name, value) in &sample.headers {
                    let name: http::HeaderName = name.parse().unwrap();
                    headers.insert(name, value.parse().unwrap());
                }
                let body = Bytes::from(sample.body(1, Timestamp::UNIX_EPOCH));
                let read = reader.read("/", headers, body, Some(&sample.event_type));
                assert!(read.iter().all(Result::is_ok), "{} {read:?}", provider.name);
            }
        }
    }

    #[test]
    fn a_type_is_where_the_vendor_puts_it_or_given() {
        let push = r#"{"ref":"refs/heads/main","repository":{"id":1,"full_name":"a/b"}}"#;
        let event = [("x-github-event", "push"), ("x-github-delivery", "1")];
        assert_eq!(types("github", &event, push, None), "push");
        assert_eq!(types("github", &[], push, Some("push")), "push");
        assert!(types("github", &[], push, None).starts_with("! the event has no "));
        let charge = r#"{"id":"evt_1","type":"charge.failed"}"#;
        assert_eq!(types("stripe", &[], charge, None), "charge.failed");
    }

    #[test]
    fn a_batch_is_split_and_a_bad_event_leaves_the_others_alone() {
        let batch = r#"[{"eventId":1,"subscriptionType":"contact.creation"},{"x":1}]"#;
        let shown = types("hubspot", &[], batch, None);
        assert!(shown.starts_with("contact.creation#0 ! the event has no "), "{shown}");
        assert!(types("hubspot", &[], "nonsense", None).starts_with("! "));
    }
}
