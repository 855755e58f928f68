//! The cases beside the definitions: a request each, and what must become of it. A test walks those of
//! the built-in ones, `providers check` those of a person's own.

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::catalog::{Provider, Sample};
use super::explain;
use super::sign::{Signed, key_pair, sign_for};
use super::source::Source;
use super::{Catalog, Reply, challenge, handshake, normalize, split, verify};
use crate::config::SourceConfig;
use crate::diagnostic::Diagnostic;
use crate::event::{IntegrationEvent, micros};
use crate::id::{EventId, RequestId};
use crate::kind::kinds;
use crate::request::Request;
use crate::secret::Secret;

const URL: &str = "https://hooks.example.com/in/test";

/// A case's name, without `.toml`, and its text.
type CaseFile = (&'static str, &'static str);

const BUILT_IN: &[(&str, &[CaseFile])] = include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// The cases of a built-in definition, by name: each one's name and its text.
#[must_use]
pub fn built_in(provider: &str) -> &'static [CaseFile] {
    BUILT_IN.iter().find(|(name, _)| *name == provider).map_or(&[], |(_, cases)| cases)
}

/// One request, and what must become of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is for, as a sentence.
    pub about: String,
    now: String,
    secrets: Vec<String>,
    method: Option<String>,
    url: Option<String>,
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    /// Part of why it is not verified.
    refused: Option<String>,
    /// Part of why it is a dead letter.
    unreadable: Option<String>,
    answer: Option<ExpectedAnswer>,
    #[serde(default)]
    events: Vec<Expected>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAnswer {
    status: u16,
    body: String,
    content_type: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(rename = "type")]
    event_type: String,
    id: String,
    kind: Option<String>,
    subject: Option<String>,
    /// Missing: the time of the request.
    time: Option<String>,
    /// A JSON object; missing: whatever they are.
    attributes: Option<String>,
}

impl Case {
    /// Reads a case's file, which a person calls `file`.
    ///
    /// # Errors
    ///
    /// The mistake, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostic> {
        explain::read(file, text)
    }

    /// Puts the request to the definition.
    ///
    /// # Errors
    ///
    /// What became of it, where that is not what the case says.
    pub fn run(&self, catalog: &Catalog, provider: &Provider) -> Result<(), String> {
        let secrets = self.secrets.iter().map(|s| Secret::new(s.as_str())).collect();
        let source = source_of(catalog, provider, secrets, &self.settings)?;
        let now: Timestamp = self.now.parse().map_err(|_| bad("now", &self.now))?;
        let method = self.method.as_deref().unwrap_or("POST");
        let signed = Signed {
            method: method.parse::<Method>().map_err(|_| bad("method", method))?,
            url: self.url.as_deref().unwrap_or(URL).to_owned(),
            headers: self.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
            body: self.body.clone().into_bytes(),
        };
        let request = request_of(signed, now + SignedDuration::from_micros(7))?;

        let mut answered = handshake(&source, &request, now);
        let verified = match verify(&source, &request, now) {
            Ok(verified) => verified,
            Err(_) if answered.is_some() => return self.compare_answer(answered),
            Err(error) => {
                let error = chain(&error);
                return match &self.refused {
                    Some(part) if error.contains(part) => Ok(()),
                    Some(part) => Err(format!("refused because {error}, not because {part}")),
                    None => Err(format!("refused: {error}")),
                };
            }
        };
        if self.refused.is_some() {
            return Err("it was verified".to_owned());
        }
        answered = answered.or_else(|| challenge(&source, &verified));
        if answered.is_some() || self.answer.is_some() {
            return self.compare_answer(answered);
        }
        let events = split(&source, &verified).map_err(|e| chain(&e)).and_then(|raws| {
            let each = raws.into_iter().map(|raw| {
                normalize(&source, &verified, raw, EventId::next()).map_err(|e| chain(&e))
            });
            each.collect::<Result<Vec<_>, _>>()
        });
        match (events, &self.unreadable) {
            (Err(error), Some(part)) if error.contains(part) => Ok(()),
            (Err(error), _) => Err(format!("unreadable: {error}")),
            (Ok(_), Some(_)) => Err("it was readable".to_owned()),
            (Ok(events), None) if events.len() != self.events.len() => {
                Err(format!("it has {} events, wanted {}", events.len(), self.events.len()))
            }
            (Ok(events), None) => {
                let mut pairs = events.iter().zip(&self.events);
                pairs.try_for_each(|(event, expected)| compare(event, expected))
            }
        }
    }

    fn compare_answer(&self, answered: Option<Reply>) -> Result<(), String> {
        let Some(expected) = &self.answer else {
            return Err(format!("answered {}", shown(answered.as_ref())));
        };
        let Some(reply) = answered else { return Err("not answered".to_owned()) };
        let is_right = reply.status == expected.status
            && reply.body == expected.body.as_bytes()
            && (expected.content_type.is_none() || reply.content_type == expected.content_type);
        if is_right { Ok(()) } else { Err(format!("answered {}", shown(Some(&reply)))) }
    }
}

fn shown(reply: Option<&Reply>) -> String {
    match reply {
        None => "nothing".to_owned(),
        Some(reply) => format!(
            "{} {:?} {:?}",
            reply.status,
            reply.content_type.as_deref().unwrap_or("no content type"),
            String::from_utf8_lossy(&reply.body)
        ),
    }
}

fn bad(key: &str, value: &str) -> String {
    format!("the case's `{key}` cannot be read: {value:?}")
}

fn compare(event: &IntegrationEvent, expected: &Expected) -> Result<(), String> {
    check_whole(event)?;
    let id = without_digest(event);
    let time = micros(event.occurred_at);
    let wanted_time = expected.time.clone().unwrap_or_else(|| micros(event.received_at));
    let mut pairs = vec![
        ("type", event.event_type.as_str(), expected.event_type.as_str()),
        ("id", id.as_str(), expected.id.as_str()),
        ("time", &time, &wanted_time),
    ];
    let none = "none";
    let or_none = |text: Option<&'_ str>| text.unwrap_or(none).to_owned();
    let kinds = (or_none(event.kind.as_deref()), or_none(expected.kind.as_deref()));
    let subjects = (or_none(event.subject.as_deref()), or_none(expected.subject.as_deref()));
    pairs.extend([("kind", &*kinds.0, &*kinds.1), ("subject", &*subjects.0, &*subjects.1)]);
    let wrong: Vec<_> = pairs
        .into_iter()
        .filter(|(_, got, wanted)| got != wanted)
        .map(|(name, got, wanted)| format!("{name} is {got}, wanted {wanted}"))
        .collect();
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    if let Some(attributes) = &expected.attributes {
        let wanted: Value =
            serde_json::from_str(attributes).map_err(|_| bad("attributes", attributes))?;
        let got: Value = serde_json::from_str(&event.attributes).map_err(|e| e.to_string())?;
        if got != wanted {
            return Err(format!("attributes are {got}, wanted {wanted}"));
        }
    }
    Ok(())
}

/// Puts a sample to its own definition: signed as the vendor signs, it must be verified, and one
/// of its events be of the sample's type.
///
/// # Errors
///
/// What became of it instead.
pub fn try_sample(catalog: &Catalog, provider: &Provider, sample: &Sample) -> Result<(), String> {
    // Any moment does: the same in each run.
    let now = Timestamp::from_second(1_767_607_203).map_err(|e| e.to_string())?;
    let keys = key_pair(provider, [7; 32]);
    let secrets = if provider.is_open() { Vec::new() } else { vec![keys.verifying] };
    let source = source_of(catalog, provider, secrets, &BTreeMap::new())?;
    let body = sample.body(1, now);
    let mut signed = sign_for(&source, &keys.signing, &sample.event_type, body, URL, now)
        .map_err(|e| chain(&e))?;
    for (name, value) in &sample.headers {
        signed.headers.retain(|(n, _)| n != name);
        signed.headers.push((name.clone(), value.clone()));
    }
    let request = request_of(signed, now)?;
    let verified = verify(&source, &request, now).map_err(|e| chain(&e))?;
    let raws = split(&source, &verified).map_err(|e| chain(&e))?;
    let mut types = Vec::new();
    for raw in raws {
        let event = normalize(&source, &verified, raw, EventId::next()).map_err(|e| chain(&e))?;
        check_whole(&event)?;
        types.push(event.event_type);
    }
    if types.contains(&sample.event_type) {
        return Ok(());
    }
    match types.as_slice() {
        [] => Err("it has no event".to_owned()),
        types => Err(format!("its type is `{}`", types.join("`, `"))),
    }
}

/// A source as `relayflow.toml` would have it: what it must set and `settings` does not has the
/// definition's example.
pub(super) fn source_of(
    catalog: &Catalog,
    provider: &Provider,
    secrets: Vec<Secret>,
    settings: &BTreeMap<String, String>,
) -> Result<Source, String> {
    let mut all = provider.examples.clone();
    all.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    let config = SourceConfig {
        name: "test".to_owned(),
        provider: provider.name.to_string(),
        secrets,
        tolerance: None,
        public_url: Some(URL.to_owned()),
        settings: all,
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
        reconcile: None,
    };
    Source::new(&config, None, catalog).map_err(|e| chain(&e))
}

pub(super) fn request_of(signed: Signed, now: Timestamp) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &signed.headers {
        let bad = || format!("`{name}: {value}` cannot be a header");
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        headers.append(name.parse::<HeaderName>().map_err(|_| bad())?, value);
    }
    let target = signed.url.splitn(4, '/').nth(3).map_or("/".to_owned(), |rest| format!("/{rest}"));
    Ok(Request {
        id: RequestId::next(),
        method: signed.method,
        target,
        url: signed.url,
        headers,
        body: Bytes::from(signed.body),
        received_at: now,
    })
}

/// What holds for every event: JSON where JSON is promised, and attributes of the kind's schema.
pub(super) fn check_whole(event: &IntegrationEvent) -> Result<(), String> {
    let json = |text: &str, what: &str| {
        serde_json::from_str::<Value>(text).map_err(|e| format!("{what} is no JSON: {e}"))
    };
    // Numbers in a payload may be larger than a machine's.
    match serde_json::from_str::<&RawValue>(event.payload.json()) {
        Ok(payload) if payload.get() == "null" => return Err("the payload is null".to_owned()),
        Ok(_) => {}
        Err(error) => return Err(format!("the payload is no JSON: {error}")),
    }
    let attributes = json(&event.attributes, "what the attributes are")?;
    let attributes = attributes.as_object().ok_or("the attributes are no object")?;
    let kind = event.kind.as_deref().and_then(|kind| kinds().get(kind));
    let schema = kind.map_or(Value::Null, |kind| kinds().schema(kind));
    for (name, value) in attributes {
        let is_right = match schema["properties"][name]["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("boolean") => value.is_boolean(),
            Some(_) | None => false,
        };
        if !is_right {
            return Err(format!("the attribute {name} is {value}"));
        }
    }
    let envelope = event.to_cloudevent();
    serde_json::from_str::<&RawValue>(&envelope).map(drop).map_err(|e| e.to_string())
}

/// An event's id; of one that is derived from its bytes, without the digits and the request.
pub(super) fn without_digest(event: &IntegrationEvent) -> String {
    const DIGITS: usize = 64;
    match event.external_id.split_once("sha256:").filter(|_| event.id_is_derived) {
        Some((before, rest)) => {
            let after = rest.get(DIGITS..).unwrap_or_default();
            let after = after.split_once(":req_").map_or(after, |(after, _)| after);
            format!("{before}sha256:{after}")
        }
        None => event.external_id.clone(),
    }
}

/// An error's whole chain.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text = format!("{text}: {error}");
        at = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_ends_as_it_says() {
        let catalog = Catalog::built_in();
        let mut wrong = Vec::new();
        for provider in catalog.iter() {
            let cases = built_in(&provider.name);
            if cases.len() < 5 {
                wrong.push(format!("{} has only {} cases", provider.name, cases.len()));
            }
            for (name, text) in cases {
                let name = format!("{}/{name}", provider.name);
                let case = Case::parse(&name, text).unwrap_or_else(|e| panic!("{e}"));
                if let Err(why) = case.run(&catalog, provider) {
                    wrong.push(format!("{name} ({}): {why}", case.about));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_sample_is_an_event_of_its_type() {
        let catalog = Catalog::built_in();
        let mut wrong = Vec::new();
        for provider in catalog.iter() {
            for sample in provider.samples() {
                if let Err(why) = try_sample(&catalog, provider, sample) {
                    wrong.push(format!("{} {}: {why}", provider.name, sample.event_type));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_case_that_does_not_hold_says_what_became_of_it() {
        let catalog = Catalog::built_in();
        let provider = catalog.get("stripe").unwrap();
        let (_, text) = built_in("stripe").iter().find(|(name, _)| *name == "true").unwrap();
        let outcome = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            let case = Case::parse("case.toml", &text.replace(from, to)).unwrap();
            case.run(&catalog, provider).unwrap_err()
        };
        let id = outcome("id = \"evt_000000000001\"", "id = \"evt_2\"");
        assert_eq!(id, "id is evt_000000000001, wanted evt_2");
        let kind = outcome("kind = \"payment.failed\"", "kind = \"payment.succeeded\"");
        assert_eq!(kind, "kind is payment.failed, wanted payment.succeeded");
        assert!(outcome("whsec_test", "whsec_other").contains("refused"));
        assert!(
            outcome("[[events]]", "[answer]\nstatus = 200\nbody = ''\n[[events]]")
                .contains("not answered")
        );
        assert!(outcome("10:00:06Z", "noon").contains("`now`"));
        let mistake = Case::parse("case.toml", &text.replace("about", "abuot")).unwrap_err();
        assert_eq!(mistake.position(), (1, 1));
    }
}
