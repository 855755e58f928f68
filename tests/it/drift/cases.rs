//! One case for each way in which something differs. These are the project's own.

use serde_json::{Value, json};

use super::{AFTER, BEFORE, SECRET, findings, posted, signed, sources, watched};
use crate::harness::{Home, until};
use crate::vendor::{Signed, hmac_sha256};

/// Before, after, and what is found: change, grade, path.
struct Case {
    name: &'static str,
    before: Value,
    after: Value,
    found: &'static [(&'static str, &'static str, &'static str)],
}

fn cases() -> Vec<Case> {
    let case = |name, before, after, found| Case { name, before, after, found };
    vec![
        case(
            "added",
            json!({"data": {"x": 1}}),
            json!({"data": {"x": 1, "y": {"z": []}}}),
            &[("field_added", "additive", "/data/y")],
        ),
        case(
            "gone",
            json!({"data": {"x": 1, "list": [{"a": 1, "b": 2}]}}),
            json!({"data": {"x": 1, "list": [{"a": 1}]}}),
            &[("field_gone", "breaking", "/data/list/*/b")],
        ),
        case(
            "moved",
            json!({"data": {"end": 1, "parts": [{"a": 1}]}}),
            json!({"data": {"parts": [{"a": 1, "end": 2}]}}),
            &[
                ("field_gone", "breaking", "/data/end"),
                ("field_added", "additive", "/data/parts/*/end"),
            ],
        ),
        case(
            "another-type",
            json!({"amount": 4200}),
            json!({"amount": "42.00"}),
            &[("type_changed", "breaking", "/amount")],
        ),
        case(
            "null",
            json!({"plan": "gold"}),
            json!({"plan": null}),
            &[("newly_null", "breaking", "/plan")],
        ),
        // Nothing could be read there before.
        case(
            "no-longer-null",
            json!({"plan": null}),
            json!({"plan": "gold"}),
            &[("type_changed", "additive", "/plan")],
        ),
        case(
            "word",
            json!({"status": "paid"}),
            json!({"status": "void"}),
            &[("value_added", "additive", "/status")],
        ),
        case(
            "format",
            json!({"at": "2026-01-05T10:00:00Z"}),
            json!({"at": "5 January"}),
            &[("format_changed", "breaking", "/at")],
        ),
        case(
            "another-type-of-event",
            json!({"type": "a.b"}),
            json!({"type": "a.c"}),
            &[("type_added", "additive", "")],
        ),
        case(
            "no-type",
            json!({"type": "a.b"}),
            json!({"kind": "a.b"}),
            &[("type_gone", "breaking", "")],
        ),
        case("array", json!({"x": 1}), json!([{"x": 1}]), &[("type_changed", "breaking", "")]),
    ]
}

fn numbered(body: &Value, n: usize) -> Value {
    let mut body = body.clone();
    let event = if body.is_array() { &mut body[0] } else { &mut body };
    event["id"] = json!(format!("n{n}"));
    body
}

#[test]
fn every_sort_of_change_is_found_with_its_grade() {
    let cases = cases();
    let names: Vec<(&str, &str)> = cases.iter().map(|case| (case.name, "")).collect();
    let home = Home::new(&sources(&names));
    let daemon = home.start();
    for case in &cases {
        for n in 0..BEFORE {
            daemon.deliver_new(&posted(case.name, &numbered(&case.before, n)));
        }
    }
    for case in &cases {
        until("what came before was looked at", || {
            (watched(&daemon, case.name) >= 5).then_some(())
        });
        assert_eq!(daemon.list("/drift", &format!("source:{}", case.name)), Vec::<Value>::new());
    }
    for case in &cases {
        for n in 0..AFTER {
            daemon.deliver_new(&posted(case.name, &numbered(&case.after, BEFORE + n)));
        }
    }
    for case in &cases {
        let found = findings(&daemon, case.name, "all is found", |found| {
            found.len() >= case.found.len() && found.iter().all(|f| f["events"] == AFTER)
        });
        let shown: Vec<_> = found
            .iter()
            .map(|f| {
                let text = |name: &str| f[name].as_str().unwrap().to_owned();
                (text("change"), text("grade"), text("path"))
            })
            .collect();
        let mut wanted: Vec<_> = case
            .found
            .iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect();
        let mut sorted = shown.clone();
        sorted.sort();
        wanted.sort();
        assert_eq!(sorted, wanted, "{}", case.name);
        let values = found.iter().all(|f| f["examples"].as_array().unwrap().len() == 3);
        assert!(values, "three examples: {found:?}");
    }
    let moved = daemon.list("/drift", "source:moved drift:breaking");
    assert_eq!(moved[0]["hint"], "moved to /data/parts/*/end");
    assert_eq!(moved[0]["share"], 1.0);
}

#[test]
fn headers_and_bodies_that_are_others_are_found() {
    let home =
        Home::new(&sources(&[("renamed", ""), ("media", ""), ("nonsense", ""), ("more", "")]));
    let daemon = home.start();
    let body = |n: usize| json!({"id": format!("n{n}"), "x": 1}).to_string().into_bytes();
    let json = "application/json";
    let form = |n: usize| format!("id=n{n}&x=1").into_bytes();
    for n in 0..BEFORE {
        for source in ["renamed", "media", "nonsense", "more"] {
            daemon.deliver_new(&signed(source, "x-signature", json, &body(n)));
        }
    }
    for n in BEFORE..BEFORE + AFTER {
        // The signature's header has another name: nothing verifies any more.
        let request = signed("renamed", "x-acme-signature", json, &body(n));
        assert_eq!(daemon.post(&request).status, 401);
        let form = signed("media", "x-signature", "application/x-www-form-urlencoded", &form(n));
        daemon.deliver_new(&form);
        let request =
            signed("nonsense", "x-signature", json, format!("{{\"id\":\"n{n}\"").as_bytes());
        assert_eq!(daemon.post(&request).status, 200);
        let both: Signed = signed("more", "x-signature", json, &body(n));
        let second = hex::encode(hmac_sha256(SECRET.as_bytes(), &[b"v2", &body(n)]));
        daemon.deliver_new(&both.with("x-signature-v2", &second));
    }
    for (source, change, grade, path) in [
        ("renamed", "header_gone", "breaking", "header:x-signature"),
        ("media", "format_changed", "breaking", "header:content-type"),
        ("nonsense", "unreadable", "breaking", ""),
        ("more", "header_added", "additive", "header:x-signature-v2"),
    ] {
        let found =
            findings(&daemon, source, change, |found| found.iter().any(|f| f["change"] == change));
        let one = found.iter().find(|f| f["change"] == change).unwrap();
        assert_eq!((one["grade"].as_str(), one["path"].as_str()), (Some(grade), Some(path)));
    }
    let renamed = daemon.list("/drift", "source:renamed");
    assert_eq!(renamed[0]["hint"], "rejected requests have x-acme-signature");
}
