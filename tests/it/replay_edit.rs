//! A payload mended by hand, and which workflows want an event.

use serde_json::{Value, json};

use crate::harness::{Home, RETRY, text};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{config, plan, workflow};
use crate::vendor::{self, hubspot, hubspot_event, stripe};

#[test]
fn a_mended_payload_is_a_revision_that_runs_and_the_original_stays() {
    let receiver = Receiver::start();
    // The destination wants a member that the vendor no longer sends.
    receiver.answer(|call| {
        let has_plan = call.json()["data"]["data"]["object"]["plan_id"].is_string();
        Reply::Status(if has_plan { 200 } else { 422 })
    });
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", ""), ("t", "", "")])));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "dead");
    let raw = daemon.ask(&format!("/api/v1/events/{id}/raw")).body;
    let letters = daemon.relayflow(&home, &["dlq", "ls", "-o", "name"]).ended(0).out;
    let task = letters.lines().next().unwrap();
    let stale = plan(&daemon, &json!({"ids": [task]}));

    let edit =
        |more: &[&str]| daemon.relayflow(&home, &[&["dlq", "edit", task][..], more].concat());
    let set = "data.object.plan_id=basic";
    edit(&["--set", set]).ended(6);
    edit(&["--reason", "x"]).ended(2);
    let dry = edit(&["--set", set, "--reason", "x", "--dry-run"]).ended(0);
    assert!(dry.err.contains("+       \"plan_id\": \"basic\""), "{}", dry.err);
    // What would be another event, or does not read, is refused before anything is kept.
    for (bad, why) in [
        (&["--set", "id=evt_2"][..], "another event"),
        (&["--set", "type=charge.succeeded"], "another type"),
        (&["--data", "{"], "not JSON"),
        (&["--data", "[]"], "cannot be"),
    ] {
        let ran = edit(&[bad, &["--reason", "x"]].concat());
        assert_eq!(ran.exit, 2, "{bad:?}: {ran:?}");
        assert!(ran.err.contains(why) || bad[1] == "[]", "{bad:?}: {}", ran.err);
    }
    assert!(daemon.get(&format!("/events/{id}"))["revisions"].is_null());

    let ran = edit(&["--set", set, "--reason", "the CRM wants a plan", "--wait=60s"]).ended(0);
    assert!(ran.err.contains("revision 1 of"), "{}", ran.err);
    let event = daemon.get(&format!("/events/{id}"));
    let revision = &event["revisions"][0];
    assert_eq!(revision["reason"], "the CRM wants a plan");
    assert_eq!(revision["payload"]["data"]["object"]["plan_id"], "basic");
    assert!(!text(&revision["who"]).is_empty());
    assert!(event["payload"]["data"]["object"]["plan_id"].is_null(), "the original is untouched");
    assert_eq!(daemon.ask(&format!("/api/v1/events/{id}/raw")).body, raw);
    assert_eq!(
        event["tasks"],
        json!({"queued": 0, "running": 0, "retrying": 0, "ok": 1, "dead": 1,
        "discarded": 0, "skipped": 0}),
        "only the one that was named ran"
    );
    assert!(daemon.timeline(&id).iter().any(|what| what == "edited"));
    let late = daemon.tell("/replays", &json!({"plan": stale["id"], "hash": stale["hash"]}));
    assert_eq!(late.json()["code"], "refused.plan_changed", "a plan is of one revision");

    // The other task of the event reads the mended payload too, once it is replayed.
    daemon.relayflow(&home, &["dlq", "replay", "--since", "1h", "--yes", "--wait=60s"]).ended(0);
    daemon.event_becomes(&id, "ok");
    let nothing = daemon.tell(
        &format!("/events/{id}/revisions"),
        &json!({"payload": revision["payload"].to_string(), "reason": "again"}),
    );
    assert_eq!(nothing.json()["code"], "refused.state_changed", "nothing of it could run again");
}

#[test]
fn one_event_of_a_batch_is_mended_in_its_place() {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        Reply::Status(if call.json()["data"]["mended"] == true { 200 } else { 422 })
    });
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    let batch: Vec<String> = (1..=3).map(|n| hubspot_event(n, "contact.creation")).collect();
    let ids: Vec<String> = daemon.deliver(&hubspot(&batch)).into_iter().map(|e| e.0).collect();
    for id in &ids {
        daemon.event_becomes(id, "dead");
    }
    let middle = &ids[1];
    let tasks = daemon.list("/tasks", middle);
    let task = text(&tasks[0]["id"]);
    let args = ["dlq", "edit", task, "--set", "mended=true", "--reason", "x", "--wait=60s"];
    daemon.relayflow(&home, &args).ended(0);
    let event = daemon.event_becomes(middle, "ok");
    assert_eq!(event["revisions"][0]["payload"]["eventId"], 2);
    assert_eq!(daemon.stats()["dead_letters"], 2);
}

#[test]
fn each_workflow_says_why_it_wants_an_event_or_not() {
    let receiver = Receiver::start();
    let url = receiver.url("/{{ event.external_id }}");
    let one = |name: &str, on: &str, when: &str| {
        format!(
            "[workflows.{name}]\non = [\"{on}\"]\n{when}\n[[workflows.{name}.steps]]\nname = \"s\"\n\
             http = {{ method = \"PUT\", url = \"{url}\", body = '{{\"n\": event.attributes.amount_minor}}' }}\n"
        )
    };
    let home = Home::new(&format!(
        "{RETRY}{}{}{}{}",
        vendor::sources(),
        one("crm", "payment.failed", ""),
        one(
            "big",
            "*",
            "when = 'event.source == \"stripe\" and event.attributes.amount_minor > 9000'"
        ),
        one("other", "order.paid", ""),
    ));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    let explain = |more: &[&str]| {
        daemon.relayflow(&home, &[&["workflows", "explain", &id][..], more].concat())
    };
    let shown = explain(&[]).ended(0).out;
    for line in [
        "big       no      when: event.attributes.amount_minor > 9000   is false: \
         event.attributes.amount_minor = 4200",
        "crm       match   on: payment.failed",
        "other     no      on: order.paid   it is stripe:charge.failed (payment.failed)",
        r#"s  PUT http://"#,
        r#"/evt_1  {"n":4200}  ok"#,
    ] {
        assert!(shown.contains(line), "no `{line}` in\n{shown}");
    }
    home.write("next.toml", &format!("{}{}", vendor::sources(), one("other", "order.paid", "")));
    let told =
        explain(&["--config", "next.toml", "--fail-unmatched", "-o", "json"]).ended(10).json();
    assert_eq!(told["routes_lost"], json!(["crm/s"]));
    assert_eq!(told["workflows"].as_array().map(Vec::len), Some(1));
    assert_eq!(told["fields"], Value::Array(vec![]));
    assert_eq!(receiver.count(), 1, "explaining runs nothing");
}
