//! Changes that vendors made, from before to after: kept outside of the project, beside the real
//! payloads.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{AFTER, BEFORE, findings, signed, sources};
use crate::harness::Home;
use crate::vendor::Signed;

/// Each change, and the worst grade that it is found with: breaking where something that was read is
/// there no more, or is something else; additive where only something new came.
const CHANGES: [(&str, &str); 23] = [
    ("stripe-subscription-period-moved", "breaking"),
    ("stripe-invoice-parent", "breaking"),
    ("stripe-invoice-date-renamed", "breaking"),
    ("stripe-customer-lists-not-expanded", "breaking"),
    ("quickbooks-cloudevents", "breaking"),
    ("pagerduty-v1-v2", "breaking"),
    ("pagerduty-v2-v3", "breaking"),
    ("customerio-legacy-metric", "breaking"),
    ("mailgun-form-to-json", "breaking"),
    ("shopify-customer-marketing", "breaking"),
    ("slack-authorizations", "breaking"),
    ("twitch-channel-update-v2", "breaking"),
    // A word outside of the recorded vocabulary.
    ("github-step-conclusion-enum", "additive"),
    ("github-custom-properties", "additive"),
    ("github-new-actions", "additive"),
    // The scalar is gone in the sample of after.
    ("plaid-session-finished", "breaking"),
    ("pipedrive-v1-v2", "breaking"),
    ("whatsapp-bsuid", "breaking"),
    ("jira-user-accountid", "breaking"),
    ("adyen-unknown-enum", "additive"),
    // The header with the signature has another name, so that nothing verifies any more.
    ("shopify-events-headers", "breaking"),
    ("hubspot-signature-v1-v3", "breaking"),
    ("discord-new-event-types", "additive"),
];

/// The header in which a source looks for its signature.
fn signature_header(name: &str) -> &'static str {
    match name {
        "shopify-events-headers" => "x-shopify-hmac-sha256",
        "hubspot-signature-v1-v3" => "x-hubspot-signature",
        _ => "x-signature",
    }
}

#[test]
fn every_change_that_vendors_made_is_found_within_twenty_events() {
    let Some(fixtures) = std::env::var_os("RELAYFLOW_FIXTURES").map(PathBuf::from) else {
        eprintln!("LEFT OUT: vendors' changes need RELAYFLOW_FIXTURES, beside which they lie");
        return;
    };
    let folder = fixtures.join("../providers/drift");
    assert_every_file_is_named(&folder);
    let settings: Vec<(&str, String)> = CHANGES
        .iter()
        .map(|(name, _)| (*name, format!("header = \"{}\"", signature_header(name))))
        .collect();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(n, s)| (*n, s.as_str())).collect();
    let home = Home::new(&sources(&settings));
    let daemon = home.start();
    for (name, _) in CHANGES {
        let mut n = 0;
        let before = variants(&read(&folder, name, "before"));
        while n < BEFORE * before.len() {
            daemon.deliver_new(&request(name, "before", &before[n % before.len()], n));
            n += 1;
        }
        for _ in 0..AFTER {
            let after = read(&folder, name, "after");
            let answer = daemon.post(&request(name, "after", &after, n));
            let is_header_gone = signature_header(name) != "x-signature";
            assert_eq!(answer.status, if is_header_gone { 401 } else { 200 }, "{name}");
            n += 1;
        }
    }
    for (name, grade) in CHANGES {
        let found = findings(&daemon, name, "the change is found", |found| !found.is_empty());
        // The breaking ones come first.
        assert_eq!(found[0]["grade"], grade, "{name}: {found:#?}");
        let shown = found.iter().map(|f| {
            let text = |name: &str| f[name].as_str().unwrap_or_default();
            format!("{} {}", text("change"), text("path"))
        });
        eprintln!("{name}: {}", shown.collect::<Vec<_>>().join(", "));
    }
}

fn assert_every_file_is_named(folder: &Path) {
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".before.json").map(str::to_owned)
        })
        .collect();
    there.sort();
    let mut named: Vec<String> = CHANGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    named.sort();
    assert_eq!(there, named);
}

fn read(folder: &Path, name: &str, side: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(format!("{name}.{side}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The bodies that a file tells of: most are one; a list of known words is one body for each.
fn variants(file: &Value) -> Vec<Value> {
    match file.get("known_actions").and_then(Value::as_array) {
        Some(actions) => actions
            .iter()
            .map(|action| {
                json!({"X-GitHub-Event": file["X-GitHub-Event"], "body": {"action": action, "number": 2}})
            })
            .collect(),
        None => vec![file.clone()],
    }
}

/// A request as the file's provider would send it, the `n`-th of its source.
fn request(name: &str, side: &str, file: &Value, n: usize) -> Signed {
    let header = signature_header(name);
    let json = "application/json";
    if header != "x-signature" {
        // The file is a list of headers.
        let body = json!({"id": format!("n{n}")}).to_string();
        let members = file.as_object().unwrap();
        let real: Vec<String> = members
            .keys()
            .filter(|name| !name.starts_with('('))
            .map(|name| name.to_ascii_lowercase())
            .collect();
        let signs = |name: &&String| {
            name.contains("hmac") || name.ends_with("signature") || name.ends_with("-v3")
        };
        let own = real.iter().find(signs).unwrap();
        let mut request = signed(name, own, json, body.as_bytes());
        for other in real.iter().filter(|name| *name != own) {
            request = request.with(other, "x");
        }
        return request;
    }
    if name == "mailgun-form-to-json" && side == "before" {
        let mut form = numbered(file, n);
        let fields = form.as_object_mut().unwrap();
        let mut body = url_encoded(fields);
        body.push_str(&format!("&n={n}"));
        return signed(name, header, "application/x-www-form-urlencoded", body.as_bytes());
    }
    if let Some(event) = file.get("X-GitHub-Event").and_then(Value::as_str) {
        let body = numbered(&file["body"], n).to_string();
        return signed(name, header, json, body.as_bytes()).with("x-event-type", event);
    }
    let body = file.get("example").unwrap_or(file);
    signed(name, header, json, numbered(body, n).to_string().as_bytes())
}

fn url_encoded(fields: &Map<String, Value>) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |out, b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                format!("{out}{}", char::from(b))
            }
            _ => format!("{out}%{b:02X}"),
        })
    };
    let pairs = fields.iter().map(|(name, value)| {
        format!("{}={}", escape(name), escape(value.as_str().unwrap_or_default()))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// The body with an id of its own, so that none is a duplicate.
fn numbered(body: &Value, n: usize) -> Value {
    let mut body = body.clone();
    let event = if body.is_array() { &mut body[0] } else { &mut body };
    let members = event.as_object_mut().unwrap();
    let own = if members.contains_key("event_id") { "event_id" } else { "id" };
    let id = match members.get(own) {
        Some(Value::Number(number)) => json!(number.as_u64().unwrap_or(0) + n as u64),
        Some(Value::String(text)) => json!(format!("{text}{n}")),
        _ => json!(format!("n{n}")),
    };
    members.insert(own.to_owned(), id);
    body
}
