//! The incident of the on-call engineer: a vendor renames a field, 1,240 events die, one correlation id is
//! known. Found, understood, mended, replayed and confirmed in three commands; the destination's own
//! record has each of them exactly once.

use std::collections::BTreeMap;

use crate::harness::{Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::config;
use crate::vendor::{self, Signed, stripe_body};

const EVENTS: usize = 1240;

/// A charge as the vendor sends it since this morning: what was `failure_code` is `decline_code`.
fn renamed(id: &str) -> Signed {
    let body = stripe_body(id, "charge.failed").replace("failure_code", "decline_code");
    vendor::sign_stripe(vendor::STRIPE_SECRET, body.as_bytes(), vendor::now())
}

fn workflow(receiver: &Receiver, field: &str) -> String {
    let url = receiver.url("/contacts");
    config(&format!(
        "[workflows.crm]\non = [\"payment.failed\"]\n[[workflows.crm.steps]]\nname = \"upsert\"\n\
         http = {{ method = \"POST\", url = \"{url}\", body = '{{\"of\": event.external_id, \
         \"code\": event.payload.data.object.{field} | default(none)}}' }}\n"
    ))
}

#[test]
fn a_renamed_field_is_found_mended_and_replayed_in_three_commands() {
    let receiver = Receiver::start();
    // The CRM takes a contact only with the code.
    receiver.answer(|call| Reply::Status(if call.json()["code"].is_string() { 200 } else { 422 }));
    let home = Home::new(&workflow(&receiver, "failure_code"));
    let daemon = home.start();
    for n in 0..EVENTS {
        let story = if n == 700 { "order-4711".to_owned() } else { format!("order-{n}") };
        daemon.deliver_new(&renamed(&format!("evt_{n}")).with("x-correlation-id", &story));
    }
    // Others fare well, and are no part of it.
    for n in 0..10 {
        let other = vendor::stripe(&format!("evt_well_{n}"), "charge.failed");
        daemon.deliver_new(&other);
    }
    until("all have failed", || (daemon.stats()["dead_letters"] == EVENTS).then_some(()));
    daemon.drained();
    let before = receiver.count();

    // 1. One customer's story: what died, of what, and how many like it.
    let story = daemon.relayflow(&home, &["trace", "order-4711", "-o", "json"]).ended(0).json();
    let shown = daemon.relayflow(&home, &["trace", "order-4711"]).ended(0).out;
    assert!(shown.contains("crm/upsert") && shown.contains("422"), "{shown}");
    let task = &story["events"][0]["steps"][0];
    let task = daemon.get(&format!("/tasks/{}", text(&task["id"])));
    let error = text(&task["error_id"]).to_owned();
    assert!(error.starts_with("e_"), "{task}");

    // Mended: the workflow reads the field under its new name, and the daemon reads its config again.
    home.reconfigure(&workflow(&receiver, "decline_code"));
    daemon.signal("HUP");
    until("the new workflow is in force", || {
        daemon.log().iter().any(|line| line.contains("was loaded again")).then_some(())
    });

    // 2. Those of that error, carefully, to the end.
    let term = format!("error:{error}");
    let replay = [
        "dlq",
        "replay",
        &term,
        "--since",
        "3h",
        "--yes",
        "--canary",
        "5",
        "--wait=10m",
        "--reason",
        "stripe calls it decline_code",
        "-o",
        "json",
    ];
    let done = daemon.relayflow(&home, &replay).ended(0);
    let replay = done.json();
    assert_eq!(
        (&replay["items"]["ok"], &replay["status"]),
        (&EVENTS.into(), &"done".into()),
        "{replay}"
    );
    assert!(done.err.contains("came in before today's revision (crm@r2)"), "{}", done.err);

    // 3. Confirmed: nothing of it is left.
    let report = daemon.relayflow(&home, &["replay", "show", text(&replay["id"])]).ended(0).out;
    assert!(report.contains("1240: ok 1240  dead 0"), "{report}");
    assert_eq!(daemon.stats()["dead_letters"], 0);

    // And by the destination's own record.
    let mut taken: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for call in receiver.calls() {
        let entry = taken.entry(text(&call.json()["of"]).to_owned()).or_default();
        if call.is_ok() { entry.0 += 1 } else { entry.1 += 1 }
    }
    assert_eq!(receiver.count(), before + EVENTS);
    for n in 0..EVENTS {
        assert_eq!(taken[&format!("evt_{n}")], (1, 1), "evt_{n}: refused once, taken once");
    }
    for n in 0..10 {
        assert_eq!(taken[&format!("evt_well_{n}")], (1, 0), "evt_well_{n}");
    }
}
