//! What a vendor hears: in its time, in its words, and to the handshake that brings a secret.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Home, free_port, text, until};
use crate::vendor::{Signed, hmac_sha256};
use crate::wire::headers;

const SECRET: &str = "a-vendors-secret-0123456789abcdef";

fn signed(source: &str, header: &str, body: &str) -> Signed {
    let signature = hex::encode(hmac_sha256(SECRET.as_bytes(), &[body.as_bytes()]));
    Signed {
        target: format!("/in/{source}"),
        headers: headers(&[("content-type", "application/json"), (header, &signature)]),
        body: body.as_bytes().to_vec(),
    }
}

const HASTY: &str = r#"
title    = "Hasty"
category = "test"
source   = "none"
checked  = "2026-11-24"
[verify]
scheme = "hmac-sha256"
header = "x-signature"
[event]
id   = "/id"
type = "/type"
[reply]
status = 202
body   = "taken"
within = "1s"
"#;

#[test]
fn a_commit_that_is_too_slow_for_the_vendor_is_not_waited_for() {
    let home = Home::new(&format!(
        "[providers]\ndir = \"providers\"\n[sources.hasty]\nprovider = \"hasty\"\nsecrets = [\"{SECRET}\"]\n"
    ));
    home.write("providers/hasty.toml", HASTY);
    let daemon = home.start();
    let first = daemon.post(&signed("hasty", "x-signature", r#"{"id":"1","type":"t"}"#));
    assert_eq!((first.status, first.text().as_str()), (202, "taken"));
    let source = &daemon.list("/sources", "")[0];
    assert_eq!(source["reply_within"], "1s", "{source}");

    // Another program writes to the store, and nothing is committed meanwhile.
    let other = rusqlite::Connection::open(home.path("relayflow.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let began = Instant::now();
    let second = signed("hasty", "x-signature", r#"{"id":"2","type":"t"}"#);
    let late = daemon.post(&second);
    let took = began.elapsed();
    assert_eq!(late.status, 503, "{}", late.text());
    assert!(took < Duration::from_secs(1), "the vendor had gone by then: {took:?}");
    other.execute_batch("rollback").unwrap();

    // It is committed all the same, once; the vendor's second try is the duplicate of it.
    let event = until("the slow request is committed", || {
        daemon.list("/events", "").into_iter().find(|e| e["external_id"] == "2")
    });
    assert_eq!(daemon.post(&second).status, 202);
    let events = daemon.list("/events", "");
    let same: Vec<_> = events.iter().filter(|e| e["external_id"] == "2").collect();
    assert_eq!(same.len(), 1, "{events:?}");
    assert_eq!(same[0]["id"], event["id"]);
}

#[test]
fn a_secret_that_a_handshake_brings_waits_for_the_operator() {
    let home = Home::new("[sources.tasks]\nprovider = \"asana\"\n");
    let daemon = home.start();
    let shake = |secret: &str| Signed {
        target: "/in/tasks".to_owned(),
        headers: headers(&[("x-hook-secret", secret)]),
        body: Vec::new(),
    };
    let event = signed(
        "tasks",
        "x-hook-signature",
        &json!({ "events": [{
        "action": "added", "created_at": "2026-01-05T10:00:05.000Z",
        "resource": { "gid": "9", "resource_type": "task", "name": "Ship it" },
    }] })
        .to_string(),
    );

    // Nothing is taken before there is a secret, and the handshake changes nothing about that.
    assert_eq!(daemon.post(&event).status, 401);
    let answer = daemon.post(&shake(SECRET));
    assert_eq!((answer.status, answer.header("x-hook-secret")), (200, Some(SECRET)));
    assert_eq!(daemon.post(&event).status, 401);

    // It lies in a file that only its owner may read, and shows nowhere else.
    let path = home.path("learned/tasks.1");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{SECRET}\n"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let source = daemon.list("/sources", "").remove(0);
    assert_eq!(source["secrets"], json!([]));
    assert_eq!(source["learned"].as_array().unwrap().len(), 1, "{source}");
    assert!(text(&source["learned"][0]).starts_with("sha256:"), "{source}");
    let log = daemon.log().join("\n");
    assert!(log.contains("learned/tasks.1"), "{log}");
    for place in [log, source.to_string(), daemon.get("/requests?limit=100").to_string()] {
        assert!(!place.contains(SECRET), "{place}");
    }

    // A stranger's is kept beside it, never in its place; then no more are taken.
    for number in 0..6 {
        assert_eq!(daemon.post(&shake(&format!("a-strangers-secret-{number}"))).status, 200);
    }
    assert_eq!(std::fs::read_dir(home.path("learned")).unwrap().count(), 4);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{SECRET}\n"));

    // The operator moves it to where the configuration names it.
    std::fs::rename(&path, home.path("tasks.secret")).unwrap();
    home.reconfigure(
        "[sources.tasks]\nprovider = \"asana\"\nsecrets = [{ file = \"tasks.secret\" }]\n",
    );
    daemon.signal("HUP");
    until("the secret is in force", || (daemon.post(&event).status == 200).then_some(()));
    // From now on no handshake, whoever sends it, takes that away.
    assert_eq!(daemon.post(&shake(SECRET)).status, 200);
    assert_eq!(daemon.post(&shake("a-strangers-secret-9")).status, 200);
    assert_eq!(daemon.post(&event).status, 200);
    assert_eq!(daemon.list("/sources", "")[0]["secrets"].as_array().unwrap().len(), 1);
}

#[test]
fn a_multipart_form_is_sent_taken_and_answered_in_the_vendors_words() {
    let (ingest, api) = (free_port(), free_port());
    let home = Home::new("");
    home.write(
        "relayflow.toml",
        &format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n[sources.sign]\nprovider = \"dropbox-sign\"\n\
             secrets = [\"an-api-key-0123456789abcdef\"]\n"
        ),
    );
    let daemon = home.start();
    home.relayflow(&["send", "dropbox-sign", "signature_request_signed"]).ended(0);
    let event = until("the event is there", || daemon.list("/events", "").pop());
    assert_eq!(
        (&event["type"], &event["kind"]),
        (&json!("signature_request_signed"), &json!("document.signed"))
    );
}
