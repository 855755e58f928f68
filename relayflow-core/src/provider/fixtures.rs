//! Real payloads, which are not the project's: read only where `RELAYFLOW_FIXTURES` names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::cases::without_digest;
use super::definition::Status;
use super::lessons::Lessons;
use super::sign::{Signed, key_pair, sign_for};
use super::source::Source;
use super::{Catalog, challenge, normalize, split, verify};
use crate::config::SourceConfig;
use crate::event::{IntegrationEvent, micros};
use crate::id::EventId;
use crate::request::Request;
use crate::secret::Secret;

/// The moment at which what has no time of its own was made.
const MADE_AT: i64 = 1_700_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    provider: String,
    form: Form,
    /// When it was signed, where the signature is in the body.
    now: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    events: Vec<Expected>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Body,
    #[serde(rename = "form")]
    Fields,
    /// A form's fields as nested JSON.
    NestedFields,
    Envelope,
    Handshake,
    /// What stands in an event's `data`.
    Data,
    /// What stands in an event's `data.object`.
    Resource,
    /// One of several bodies, each under a name of its own.
    Named,
    /// What a receiver answers.
    Answer,
    /// A picture of a request with parts left out: nobody could send it.
    Sketch,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(rename = "type")]
    event_type: String,
    id: String,
    subject: Option<String>,
    time: Option<String>,
    kind: Option<String>,
}

/// The folder of real payloads, or a loud word that it is missing.
fn folder(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RELAYFLOW_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("LEFT OUT: {test} needs RELAYFLOW_FIXTURES, the folder of real payloads");
    }
    folder
}

pub(super) fn source(catalog: &Catalog, provider: &str, secrets: Vec<Secret>) -> Source {
    source_with(catalog, provider, secrets, &[])
}

pub(super) fn source_with(
    catalog: &Catalog,
    provider: &str,
    secrets: Vec<Secret>,
    settings: &[(&str, &str)],
) -> Source {
    // What a source must set has an example.
    let text = catalog.get(provider).map_or("", |provider| &provider.text);
    let text: toml::Table = text.parse().unwrap();
    let examples = text.get("settings").and_then(toml::Value::as_table).into_iter().flatten();
    let mut all: BTreeMap<String, String> = examples
        .filter_map(|(name, setting)| {
            Some((name.clone(), setting.get("example")?.as_str()?.to_owned()))
        })
        .collect();
    all.extend(settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    let config = SourceConfig {
        name: "test".to_owned(),
        provider: provider.to_owned(),
        secrets,
        tolerance: None,
        public_url: Some("https://hooks.example.com/in/test".to_owned()),
        settings: all,
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
        reconcile: None,
    };
    Source::new(&config, None, catalog).unwrap()
}

pub(super) fn request(signed: Signed, now: Timestamp) -> Request {
    super::cases::request_of(signed, now).unwrap()
}

/// A moment in seconds since 1970.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn shown(event: &IntegrationEvent, received_at: Timestamp) -> Expected {
    let id = without_digest(event);
    let time = (event.occurred_at != received_at).then(|| micros(event.occurred_at));
    Expected {
        event_type: event.event_type.clone(),
        id,
        subject: event.subject.clone(),
        time,
        kind: event.kind.as_deref().map(str::to_owned),
    }
}

/// A form's fields, named `a[b][0]`.
fn flatten(name: &str, value: &Value, field: &mut impl FnMut(&str, &str)) {
    let inner = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name}[{key}]"),
    };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| flatten(&inner(key), value, field));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(n, value)| flatten(&inner(&n.to_string()), value, field));
        }
        Value::String(text) => field(name, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => field(name, &value.to_string()),
    }
}

/// Body and headers of a fixture, as the vendor sent them.
fn body_of(root: &Path, name: &str, fixture: &Fixture) -> (Vec<u8>, BTreeMap<String, String>) {
    let path = name.split('#').next().unwrap();
    let bytes = std::fs::read(root.join(path)).unwrap();
    let json = || serde_json::from_slice::<Value>(&bytes).unwrap();
    let mut headers = fixture.headers.clone();
    let event = |id: &str, data: Value| {
        serde_json::json!({
            "id": id, "type": fixture.events[0].event_type, "created": MADE_AT, "data": data,
        })
        .to_string()
        .into_bytes()
    };
    let body = match fixture.form {
        Form::Body | Form::Fields | Form::Handshake | Form::Sketch | Form::Answer => bytes,
        Form::NestedFields => {
            let mut fields = form_urlencoded::Serializer::new(String::new());
            flatten("", &json(), &mut |name, value| {
                fields.append_pair(name, value);
            });
            fields.finish().into_bytes()
        }
        Form::Named => json()[name.split('#').nth(1).unwrap()].to_string().into_bytes(),
        Form::Envelope => {
            let envelope = json();
            for (name, value) in envelope["headers"].as_object().unwrap() {
                headers.insert(name.to_lowercase(), value.as_str().unwrap_or_default().to_owned());
            }
            envelope["body"].to_string().into_bytes()
        }
        Form::Data => event("evt_fixture", json()),
        Form::Resource => {
            let resource = name.split('#').nth(1).unwrap();
            let data = serde_json::json!({ "object": json()["resources"][resource] });
            event(&format!("evt_{}", resource.replace('.', "_")), data)
        }
    };
    (body, headers)
}

#[test]
fn every_fixture_becomes_the_event_that_it_is() {
    let Some(root) = folder("every_fixture_becomes_the_event_that_it_is") else { return };
    let fixtures: BTreeMap<String, Fixture> =
        toml::from_str(include_str!("fixtures.toml")).unwrap();
    let catalog = Catalog::built_in();
    let mut wrong = Vec::new();
    let mut lessons = Lessons::default();
    for (name, fixture) in
        fixtures.iter().filter(|(_, f)| !matches!(f.form, Form::Sketch | Form::Answer))
    {
        let provider = catalog.get(&fixture.provider).unwrap();
        let keys = key_pair(provider, [7; 32]);
        let source = source(&catalog, &fixture.provider, vec![keys.verifying]);
        let now = fixture.now.as_ref().map_or(at(MADE_AT + 9), |text| text.parse().unwrap());
        let (body, captured) = body_of(&root, name, fixture);
        let url = source.public_url.clone().unwrap();
        let event_type = fixture.events.first().map_or("", |e| &e.event_type);
        let mut signed = sign_for(&source, &keys.signing, event_type, body, &url, now).unwrap();
        // The ids and types are the vendor's own; the signatures ours, since nobody has its secrets.
        let mut bearing = Vec::new();
        for way in &source.rules.ways {
            if let super::way::SignaturePlace::Headers(names) = &way.place {
                bearing.extend(names.iter().map(|n| n.as_str().to_owned()));
            }
            if way.scheme == super::definition::Scheme::Rsa {
                bearing.extend(way.headers().into_iter().map(ToString::to_string));
            }
        }
        let ways = signed.headers.iter().map(|(n, _)| n.clone());
        let ours: Vec<_> = ways
            .filter(|n| {
                let proofs = ["sign", "hmac", "timestamp", "authorization"];
                bearing.contains(n) || proofs.iter().any(|p| n.contains(p))
            })
            .collect();
        let is_captured = fixture.form == Form::Envelope;
        signed.headers.retain(|(name, _)| {
            ours.contains(name) || !(is_captured || captured.contains_key(name))
        });
        let is_kept = |n: &str| !n.contains("hub-signature") && !n.contains("content-length");
        signed
            .headers
            .extend(captured.into_iter().filter(|(name, _)| !ours.contains(name) && is_kept(name)));
        // An id that is part of what is signed must be there when it is signed.
        if let Some((id, value)) = fixture.headers.iter().find(|(n, _)| n.ends_with("-id")) {
            resign(&source, &keys.signing, &mut signed, id, value, now);
        }

        let request = request(signed, now + SignedDuration::from_secs(1));
        let verified = match verify(&source, &request, now) {
            Ok(verified) => verified,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        if fixture.form == Form::Handshake {
            assert!(challenge(&source, &verified).is_some(), "{name} is a handshake");
            continue;
        }
        let events: Result<Vec<_>, String> =
            split(&source, &verified).map_err(|e| e.to_string()).and_then(|events| {
                let each = events.into_iter().map(|raw| {
                    let event = normalize(&source, &verified, raw, EventId::next());
                    event.map_err(|e| e.to_string())
                });
                each.collect()
            });
        match events {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(events) => {
                for event in &events {
                    check_whole(event);
                    lessons.add(name, event);
                }
                let shown: Vec<_> = events.iter().map(|e| shown(e, request.received_at)).collect();
                if shown != fixture.events {
                    wrong.push(format!(
                        "{name}:\n  got    {shown:?}\n  wanted {:?}",
                        fixture.events
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), fixtures.len(), wrong.join("\n"));
    lessons.hold(&catalog);
}

/// Signs once more, with another id.
fn resign(
    source: &Source,
    key: &Secret,
    signed: &mut Signed,
    name: &str,
    value: &str,
    now: Timestamp,
) {
    let way = &source.rules.ways[0];
    if way.id.as_ref().is_none_or(|id| id.as_str() != name) {
        return;
    }
    let message =
        [value.as_bytes(), b".", now.as_second().to_string().as_bytes(), b".", &signed.body]
            .concat();
    let super::key::Key::Mac(mac) =
        super::key::Key::new(way.scheme, way.key, key).unwrap().unwrap()
    else {
        panic!("an HMAC")
    };
    let signature = super::key::encode(way.encoding, &mac.sum(&[&message]));
    for (header, text) in &mut signed.headers {
        if header.ends_with("-signature") {
            *text = format!("v1,{signature}");
        }
        if header == name {
            *text = value.to_owned();
        }
    }
}

/// What holds for every event.
#[track_caller]
pub(super) fn check_whole(event: &IntegrationEvent) {
    super::cases::check_whole(event).unwrap();
}

#[test]
fn every_fixture_of_these_providers_is_expected() {
    let Some(root) = folder("every_fixture_of_these_providers_is_expected") else { return };
    let fixtures: BTreeMap<String, Fixture> =
        toml::from_str(include_str!("fixtures.toml")).unwrap();
    let known: Vec<&str> = fixtures.keys().map(|n| n.split('#').next().unwrap()).collect();
    let folders: std::collections::BTreeSet<&str> =
        known.iter().map(|n| n.split('/').next().unwrap()).collect();
    for folder in folders {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            assert!(known.contains(&name.as_str()), "{name} is expected to become nothing");
        }
    }
}

/// The names under which the facts tell of what stands in files of several names here.
const TOLD_TOGETHER: [(&str, &[&str]); 4] = [
    ("adyen", &["adyen-platform"]),
    ("clerk", &["svix"]),
    ("salesforce-outbound-message", &["salesforce"]),
    ("salesforce-platform-event", &["salesforce-events"]),
];

#[test]
fn what_the_facts_do_not_confirm_is_not_confirmed_here() {
    let Some(root) = folder("what_the_facts_do_not_confirm_is_not_confirmed_here") else { return };
    let facts = std::fs::read_to_string(root.join("../providers/FACTS.md")).unwrap();
    let catalog = Catalog::built_in();
    let mut told = Vec::new();
    for section in facts.split("\n## ").skip(1) {
        let (head, rest) = section.split_once('\n').unwrap();
        let status = rest.lines().find_map(|line| line.strip_prefix("status: "));
        let Some(status) = status else { continue };
        let is_confirmed = status.starts_with("CONFIRMED");
        for name in head.split(" / ").filter_map(|part| part.split_whitespace().next()) {
            let others = TOLD_TOGETHER.iter().find(|(first, _)| *first == name);
            let names = others.into_iter().flat_map(|(_, more)| more.iter().copied());
            for provider in [name].into_iter().chain(names).filter_map(|n| catalog.get(n)) {
                told.push(provider.name.to_string());
                assert!(
                    is_confirmed || provider.status != Status::Confirmed,
                    "{}: {status}",
                    provider.name
                );
            }
        }
    }
    // Of the rest nobody has read the vendor's own words.
    let general = ["generic", "cloudevents", "standard-webhooks", "http-message-signatures"];
    for provider in catalog.iter().filter(|p| !general.contains(&&*p.name)) {
        let is_told = told.contains(&provider.name.to_string());
        assert!(
            is_told || provider.status != Status::Confirmed,
            "{} is not among the facts",
            provider.name
        );
    }
}

#[test]
fn an_answer_is_the_one_that_the_vendor_takes() {
    let Some(root) = folder("an_answer_is_the_one_that_the_vendor_takes") else { return };
    let fixtures: BTreeMap<String, Fixture> =
        toml::from_str(include_str!("fixtures.toml")).unwrap();
    let catalog = Catalog::built_in();
    let bare = |text: &str| text.split('\n').map(str::trim).collect::<String>();
    let mut count = 0;
    for (name, fixture) in fixtures.iter().filter(|(_, f)| f.form == Form::Answer) {
        let keys = key_pair(catalog.get(&fixture.provider).unwrap(), [7; 32]);
        let source = source(&catalog, &fixture.provider, vec![keys.verifying]);
        let wanted = std::fs::read_to_string(root.join(name)).unwrap();
        if !name.contains("fault") {
            let reply = super::reply(&source, "{}");
            assert_eq!(bare(&String::from_utf8(reply.body).unwrap()), bare(&wanted), "{name}");
            count += 1;
        }
    }
    assert_ne!(count, 0);
}

/// What no definition reads yet.
const WITHOUT_DEFINITION: [&str; 1] = ["paddle-classic"];

#[test]
fn every_folder_of_fixtures_is_expected() {
    let Some(root) = folder("every_folder_of_fixtures_is_expected") else { return };
    let fixtures: BTreeMap<String, Fixture> =
        toml::from_str(include_str!("fixtures.toml")).unwrap();
    let known: Vec<&str> = fixtures.keys().map(|n| n.split('/').next().unwrap()).collect();
    for entry in std::fs::read_dir(root).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_left = WITHOUT_DEFINITION.contains(&name.as_str());
        let is_folder = entry.file_type().unwrap().is_dir();
        assert!(!is_folder || is_left || known.contains(&name.as_str()), "{name} is left out");
    }
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    provider: String,
    algorithm: String,
    key: String,
    expected: String,
    method: Option<String>,
    url: Option<String>,
    timestamp: Option<String>,
    message_id: Option<String>,
    signed_content_template: String,
    body: Option<String>,
    body_file: Option<String>,
    version: Option<String>,
    signing_string: Option<String>,
    signature_base: Option<String>,
    challenge: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[test]
fn every_published_vector_of_these_providers_verifies() {
    let Some(root) = folder("every_published_vector_of_these_providers_verifies") else { return };
    let root = root.join("../providers");
    let vectors: Vec<Vector> =
        serde_json::from_slice(&std::fs::read(root.join("vectors.json")).unwrap()).unwrap();
    let catalog = Catalog::built_in();
    let mut count = 0;
    for vector in vectors.into_iter().filter(|v| catalog.get(&v.provider).is_some()) {
        if vector.key == "-" {
            // The digest of a body that a URL carries, and no signature.
            let digest = super::key::sha256(&[vector.body.unwrap().as_bytes()]);
            assert_eq!(hex::encode(digest), vector.expected);
            continue;
        }
        if vector.provider == "http-message-signatures" {
            count += 1;
            message_signature(&catalog, &vector);
            continue;
        }
        if vector.id == "zendesk-old-doc" {
            // The vendor has turned the order round since: `formats.rs` holds it the old way.
            continue;
        }
        if vector.body.is_none() && vector.body_file.is_none() {
            // What is signed, without a body around it.
            let text = vector.signing_string.or(vector.challenge).unwrap();
            let way = &catalog.get(&vector.provider).unwrap().rules.ways[0];
            let key = Secret::new(vector.key);
            let Ok(Some(super::key::Key::Mac(mac))) =
                super::key::Key::new(way.scheme, way.key, &key)
            else {
                panic!("{}: an HMAC", vector.id)
            };
            let signature = super::key::encode(way.encoding, &mac.sum(&[text.as_bytes()]));
            assert_eq!(signature, vector.expected, "{}", vector.id);
            continue;
        }
        if vector.signed_content_template == "{plainToken}" {
            // The answer to a handshake, which the provider's cases have.
            continue;
        }
        count += 1;
        let mut headers: BTreeMap<String, String> =
            vector.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
        let mut set = |name: &str, value: &str| headers.insert(name.to_owned(), value.to_owned());
        match (vector.provider.as_str(), vector.version.as_deref()) {
            ("hubspot", Some(version)) => {
                set("x-hubspot-signature", &vector.expected);
                set("x-hubspot-signature-version", version);
            }
            ("twitch", _) => {
                set("twitch-eventsub-message-id", vector.message_id.as_deref().unwrap());
                set("twitch-eventsub-message-timestamp", vector.timestamp.as_deref().unwrap());
                let signature = format!("sha256={}", vector.expected);
                set("twitch-eventsub-message-signature", &signature);
            }
            ("box", _) => {
                set("box-delivery-timestamp", vector.timestamp.as_deref().unwrap());
                set("box-signature-secondary", &vector.expected);
            }
            ("twilio", _) => {
                set("x-twilio-signature", &vector.expected);
            }
            ("sendgrid", _) => {
                set("x-twilio-email-event-webhook-signature", &vector.expected);
                let timestamp = vector.timestamp.as_deref().unwrap();
                set("x-twilio-email-event-webhook-timestamp", timestamp);
            }
            ("adyen-platform", _) => {
                set("hmacsignature", &vector.expected);
            }
            _ => {}
        }
        let body = match (&vector.body, &vector.body_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => std::fs::read(root.join(file)).unwrap(),
            (None, None) => panic!("{} has no body", vector.id),
        };
        let now = vector
            .timestamp
            .as_ref()
            .map_or(at(MADE_AT), |text| text.parse().map(at).or_else(|_| text.parse()).unwrap());
        let mut request = request(
            Signed {
                method: vector.method.as_deref().unwrap_or("POST").parse::<Method>().unwrap(),
                url: vector.url.clone().unwrap_or("https://hooks.example.com/in/test".to_owned()),
                headers: headers.into_iter().collect(),
                body,
            },
            now,
        );
        let source = source(&catalog, &vector.provider, vec![Secret::new(vector.key)]);
        assert!(
            verify(&source, &request, now)
                .is_ok_and(|v| v.skew().is_none_or(|s| s.as_micros() == 0)),
            "{}",
            vector.id
        );

        let mut body = request.body.to_vec();
        body.push(b'x');
        request.body = Bytes::from(body);
        assert!(verify(&source, &request, now).is_err(), "{}: one byte more", vector.id);
    }
    assert!(10 <= count, "only {count} vectors were tried");
}

/// A request of which the signature base tells all that is signed.
fn message_signature(catalog: &Catalog, vector: &Vector) {
    let base = vector.signature_base.as_deref().unwrap();
    let mut method = "POST";
    let mut path = "/";
    let mut headers: BTreeMap<String, String> = vector.headers.clone();
    for line in base.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        match name.trim_matches('"') {
            "@method" => method = value,
            "@path" => path = value,
            name if name.starts_with('@') => {}
            name => drop(headers.insert(name.to_owned(), value.to_owned())),
        }
    }
    let signed = Signed {
        method: method.parse().unwrap(),
        url: format!("https://example.com{path}"),
        headers: headers.into_iter().collect(),
        body: Vec::new(),
    };
    let settings: &[(&str, &str)] = match vector.algorithm.as_str() {
        "HMAC-SHA256" => &[("algorithm", "hmac-sha256"), ("key", "base64")],
        _ => &[("algorithm", "ed25519")],
    };
    let settings = [settings, &[("components", "date @authority")]].concat();
    let secrets = vec![Secret::new(vector.key.as_str())];
    let source = source_with(catalog, &vector.provider, secrets, &settings);
    let now = at(1_618_884_473);
    let mut request = request(signed, now);
    verify(&source, &request, now).unwrap_or_else(|e| panic!("{}: {e}", vector.id));
    request.headers.insert("date", HeaderValue::from_static("Tue, 20 Apr 2021 02:07:56 GMT"));
    assert!(verify(&source, &request, now).is_err(), "{}: another date", vector.id);
}
