//! The cases beside the definitions: a request each, and what must become of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::fixtures::{check_whole, request, source_with, without_digest};
use super::sign::Signed;
use super::{Catalog, challenge, handshake, normalize, split, verify};
use crate::event::{IntegrationEvent, micros};
use crate::id::EventId;
use crate::secret::Secret;

const URL: &str = "https://hooks.example.com/in/test";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAnswer {
    status: u16,
    body: String,
    content_type: Option<String>,
}

#[derive(Debug, Deserialize)]
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

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_case_ends_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let catalog = Catalog::built_in();
    let mut wrong = Vec::new();
    for provider in catalog.iter() {
        let cases = files(&folder.join(&*provider.name).join("cases"));
        if cases.len() < 5 {
            wrong.push(format!("{} has only {} cases", provider.name, cases.len()));
        }
        for path in cases {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = format!("{}/{}", provider.name, path.file_stem().unwrap().display());
            let case: Case = toml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            if let Err(why) = run(&catalog, &provider.name, &case) {
                wrong.push(format!("{name} ({}): {why}", case.about));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

fn run(catalog: &Catalog, provider: &str, case: &Case) -> Result<(), String> {
    let settings: Vec<_> = case.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let secrets = case.secrets.iter().map(|s| Secret::new(s.as_str())).collect();
    let source = source_with(catalog, provider, secrets, &settings);
    let now: Timestamp = case.now.parse().unwrap();
    let signed = Signed {
        method: case.method.as_deref().unwrap_or("POST").parse::<Method>().unwrap(),
        url: case.url.as_deref().unwrap_or(URL).to_owned(),
        headers: case.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
        body: case.body.clone().into_bytes(),
    };
    let request = request(signed, now + SignedDuration::from_micros(7));

    let mut answered = handshake(&source, &request, now);
    let verified = match verify(&source, &request, now) {
        Ok(verified) => verified,
        Err(_) if answered.is_some() => return answer(case, answered),
        Err(error) => {
            let error = chain(&error);
            return match &case.refused {
                Some(part) if error.contains(part) => Ok(()),
                Some(part) => Err(format!("refused because {error}, not because {part}")),
                None => Err(format!("refused: {error}")),
            };
        }
    };
    if case.refused.is_some() {
        return Err("it was verified".to_owned());
    }
    answered = answered.or_else(|| challenge(&source, &verified));
    if answered.is_some() || case.answer.is_some() {
        return answer(case, answered);
    }
    let events = split(&source, &verified).map_err(|e| chain(&e)).and_then(|raws| {
        let each = raws
            .into_iter()
            .map(|raw| normalize(&source, &verified, raw, EventId::next()).map_err(|e| chain(&e)));
        each.collect::<Result<Vec<_>, _>>()
    });
    match (events, &case.unreadable) {
        (Err(error), Some(part)) if error.contains(part) => Ok(()),
        (Err(error), _) => Err(format!("unreadable: {error}")),
        (Ok(_), Some(_)) => Err("it was readable".to_owned()),
        (Ok(events), None) if events.len() != case.events.len() => {
            Err(format!("{} events", events.len()))
        }
        (Ok(events), None) => {
            let mut pairs = events.iter().zip(&case.events);
            pairs.try_for_each(|(event, expected)| compare(event, expected))
        }
    }
}

fn answer(case: &Case, answered: Option<super::Reply>) -> Result<(), String> {
    let Some(expected) = &case.answer else { return Err(format!("answered {answered:?}")) };
    let Some(reply) = answered else { return Err("not answered".to_owned()) };
    let is_right = reply.status == expected.status
        && reply.body == expected.body.as_bytes()
        && (expected.content_type.is_none() || reply.content_type == expected.content_type);
    if is_right { Ok(()) } else { Err(format!("answered {reply:?}")) }
}

fn compare(event: &IntegrationEvent, expected: &Expected) -> Result<(), String> {
    check_whole(event);
    let id = without_digest(event);
    let time = micros(event.occurred_at);
    let wanted_time = expected.time.clone().unwrap_or_else(|| micros(event.received_at));
    let is_right = event.event_type == expected.event_type
        && id == expected.id
        && event.kind.as_deref() == expected.kind.as_deref()
        && event.subject == expected.subject
        && time == wanted_time;
    if !is_right {
        let got = (&event.event_type, id, &event.kind, &event.subject, time);
        return Err(format!("got {got:?}, wanted {expected:?}"));
    }
    if let Some(attributes) = &expected.attributes {
        let wanted: Value = serde_json::from_str(attributes).unwrap();
        let got: Value = serde_json::from_str(&event.attributes).unwrap();
        if got != wanted {
            return Err(format!("attributes {got}, wanted {wanted}"));
        }
    }
    Ok(())
}
