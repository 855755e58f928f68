//! What is not executed is not lost: rejected requests wait for a mended secret, unreadable ones for a
//! mended definition.

use serde_json::{Value, json};

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, RETRY, text, until};
use crate::receiver::Receiver;
use crate::vendor::{self, STRIPE_SECRET, hmac_sha256, sign_stripe, stripe, stripe_body};
use crate::wire::{Connection, headers};

fn rejected(daemon: &Daemon, count: usize) -> Vec<Value> {
    // Written when the writer is idle, so a moment after the answer.
    until("the rejected requests are kept", || {
        let kept = daemon.list("/requests", "status:rejected");
        (kept.len() == count).then_some(kept)
    })
}

fn config_with_secret(receiver: &Receiver, secret: &str) -> String {
    one_step(receiver).replace(STRIPE_SECRET, secret)
}

#[test]
fn a_rejected_request_is_kept_and_readmitted_when_the_secret_is_mended() {
    let receiver = Receiver::start();
    let home = Home::new(&config_with_secret(&receiver, "whsec_the_wrong_one_0123456789"));
    let daemon = home.start();

    let answer = daemon.post(&stripe("evt_1", "charge.failed"));
    assert_eq!(answer.status, 401);
    assert!(!answer.text().to_lowercase().contains("secret"), "{}", answer.text());
    let kept = rejected(&daemon, 1);
    let request = kept.first().unwrap();
    let id = text(&request["id"]).to_owned();
    assert_eq!(request["source"], "stripe");
    assert!(text(&request["reason"]).contains("signature"), "{request}");
    assert_eq!(daemon.stats()["rejected"], 1);
    assert_eq!(daemon.stats()["events"], 0);

    let still = daemon.tell(&format!("/requests/{id}/readmit"), &Value::Null);
    assert_eq!(still.json()["status"], "rejected", "{}", still.text());

    home.reconfigure(&config_with_secret(&receiver, STRIPE_SECRET));
    daemon.signal("HUP");
    let readmitted = until("the mended config is in force", || {
        let answer = daemon.tell(&format!("/requests/{id}/readmit"), &Value::Null);
        (answer.json()["status"] == "accepted").then(|| answer.json())
    });
    let event = text(&readmitted["events"][0]["id"]).to_owned();
    let event = daemon.event_becomes(&event, "ok");
    assert_eq!(event["external_id"], "evt_1");
    assert_eq!(event["received_at"], request["received_at"]);
    assert_eq!(receiver.wait_for(1).len(), 1);
    assert_eq!(daemon.get(&format!("/requests/{id}"))["status"], "accepted");
    let timeline = daemon.timeline(text(&event["id"]));
    assert!(timeline.iter().any(|w| w == "readmitted"), "{timeline:?}");

    let again = daemon.tell(&format!("/requests/{id}/readmit"), &Value::Null);
    assert!(
        again.status == 409 || again.json()["status"] == "duplicate",
        "readmitted twice: {}",
        again.text()
    );
    let redelivered = daemon.deliver(&stripe("evt_1", "charge.failed"));
    assert_eq!(redelivered.first().map(|e| e.1), Some(true));
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_forged_request_takes_no_key() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let body = stripe_body("evt_1", "charge.failed");
    let forged = sign_stripe("whsec_guessed_0123456789abcdef", body.as_bytes(), vendor::now());
    assert_eq!(daemon.post(&forged).status, 401);
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_signature_counts_only_near_its_time() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let now = vendor::now();
    let at = |n: usize, at: i64| {
        let body = stripe_body(&format!("evt_{n}"), "charge.failed");
        daemon.post(&sign_stripe(STRIPE_SECRET, body.as_bytes(), at)).status
    };
    for (n, offset) in [-290, 0, 290].into_iter().enumerate() {
        assert_eq!(at(n, now + offset), 200, "{offset} s");
    }
    for (n, signed_at) in [now - 320, now + 320, 0, i64::MAX, i64::MIN].into_iter().enumerate() {
        assert_eq!(at(10 + n, signed_at), 401, "signed at {signed_at}");
    }
    let kept = rejected(&daemon, 5);
    assert!(kept.iter().all(|r| r["reason"].is_string()), "{kept:?}");
}

#[test]
fn the_ring_of_rejected_requests_is_bounded_and_the_count_is_not() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let mut connection = Connection::open(daemon.ingest).unwrap();
    let mut sent = 0;
    let mut forge = || {
        for _ in 0..100 {
            let mut forged = stripe(&format!("evt_{sent}"), "charge.failed");
            forged.body.push(b'\n');
            let answer =
                connection.send("POST", &forged.target, &forged.headers, &forged.body).unwrap();
            assert_eq!(answer.status, 401);
            sent += 1;
        }
        sent
    };
    // What comes while the writer has better to do is counted only.
    let kept = || daemon.list("/requests", "").len();
    let filled = until("the ring holds its thousand", || {
        let sent = forge();
        (kept() == 1000).then_some(sent)
    });
    assert!(1000 <= filled);
    let first = daemon.list("/requests", "").pop().unwrap();
    until("the oldest makes room", || {
        forge();
        let ask = daemon.ask(&format!("/api/v1/requests/{}", text(&first["id"])));
        (ask.status == 404).then_some(())
    });
    let sent = forge();
    until("every rejection is counted", || (daemon.stats()["rejected"] == sent).then_some(()));
    assert_eq!(kept(), 1000);
    assert!(daemon.list("/requests", "").iter().all(|r| r["status"] == "rejected"));
}

pub(crate) fn acme(body: &str) -> vendor::Signed {
    let signature = hex::encode(hmac_sha256(b"acme-secret-0123456789abcdef", &[body.as_bytes()]));
    vendor::Signed {
        target: "/in/acme".to_owned(),
        headers: headers(&[("content-type", "application/json"), ("x-acme-signature", &signature)]),
        body: body.as_bytes().to_vec(),
    }
}

/// A definition of one's own; `id` is where it looks for the event's id.
pub(crate) fn acme_definition(id: &str) -> String {
    format!(
        "title = \"Acme\"\ncategory = \"commerce\"\nsource = \"https://acme.example.com/webhooks\"\nchecked = \"2026-11-24\"\n\
         [verify]\nscheme = \"hmac-sha256\"\nheader = \"x-acme-signature\"\nsigned = \"{{body}}\"\n\
         encoding = \"hex\"\n[event]\nid = \"{id}\"\ntype = \"/type\"\n"
    )
}

pub(crate) fn acme_config(receiver: &Receiver) -> String {
    format!(
        "{RETRY}[providers]\ndir = \"providers\"\n[sources.acme]\nprovider = \"acme\"\n\
         secrets = [\"acme-secret-0123456789abcdef\"]\n[workflows.all]\non = [\"*\"]\n\
         [[workflows.all.steps]]\nname = \"call\"\nhttp = {{ method = \"POST\", url = \"{}\" }}\n",
        receiver.url("/")
    )
}

#[test]
fn an_unreadable_request_is_a_dead_letter_and_read_again_when_the_definition_is_mended() {
    let receiver = Receiver::start();
    let home = Home::new(&acme_config(&receiver));
    home.write("providers/acme.toml", &acme_definition("/data/uid"));
    let daemon = home.start();

    assert_eq!(daemon.deliver(&acme(r#"{"id":"a1","type":"order.made"}"#)), []);
    assert_eq!(daemon.deliver(&acme("not json at all")), []);
    let letters = daemon.list("/dead-letters", "");
    assert_eq!(letters.len(), 2, "{letters:?}");
    let readable = letters.last().unwrap();
    let request = text(&readable["id"]).to_owned();
    assert!(request.starts_with("req_"));
    assert!(letters.iter().all(|l| l["reason"] == "unreadable"), "{letters:?}");
    assert_eq!(daemon.stats()["dead_letters"], 2);
    assert_eq!(daemon.stats()["events"], 0);
    assert_eq!(daemon.get(&format!("/requests/{request}"))["status"], "dead");

    home.write("providers/acme.toml", &acme_definition("/id"));
    daemon.signal("HUP");
    until("the mended definition is in force", || {
        let fresh = acme(r#"{"id":"a2","type":"order.made"}"#);
        daemon.deliver(&fresh).first().map(|e| e.0.clone())
    });

    let before = daemon.list("/dead-letters", "").len();
    let plan = daemon.tell("/plans", &json!({"action": "replay", "ids": [request]}));
    assert_eq!(plan.status, 201, "{}", plan.text());
    let plan = plan.json();
    let replay = daemon.tell(
        "/replays",
        &json!({"plan": plan["id"], "hash": plan["hash"], "reason": "the id moved"}),
    );
    assert_eq!(replay.status, 201, "{}", replay.text());
    let id = text(&replay.json()["id"]).to_owned();
    let done = until("the replay is done", || {
        let replay = daemon.get(&format!("/replays/{id}"));
        (replay["status"] == "done").then_some(replay)
    });
    assert_eq!(done["items"]["ok"], 1, "{done}");
    assert_eq!(daemon.get(&format!("/requests/{request}"))["status"], "accepted");
    assert_eq!(daemon.list("/dead-letters", "").len(), before - 1);
    let events = daemon.list("/events", "external:a1");
    assert_eq!(events.len(), 1);
    daemon.drained();
    assert!(receiver.calls().iter().any(|c| c.json()["externalid"] == "a1"));
}

#[test]
fn a_batch_that_is_partly_unreadable_keeps_the_rest_for_a_replay() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let good = vendor::hubspot_event(1, "contact.creation");
    let events = daemon.deliver(&vendor::hubspot(&[good, r#"{"portalId":62515}"#.to_owned()]));
    assert_eq!(events.len(), 1, "{events:?}");
    daemon.event_becomes(&events.first().unwrap().0, "ok");
    let letters = daemon.list("/dead-letters", "");
    assert_eq!(letters.len(), 1);
    assert!(text(&letters.first().unwrap()["id"]).starts_with("req_"));
    assert_eq!(receiver.count(), 1);
}
