//! `requests explain` and `requests replay`: why a request was turned away, and back in once that is
//! mended.

use serde_json::Value;

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, STRIPE_SECRET, Signed, sign_stripe, stripe, stripe_body};

/// Posts what is turned away, and gives its id.
#[track_caller]
fn rejected(daemon: &Daemon, signed: &Signed) -> String {
    let before = daemon.list("/requests", "status:rejected").len();
    assert_eq!(daemon.post(signed).status, 401);
    until("it is kept", || {
        let kept = daemon.list("/requests", "status:rejected");
        (kept.len() == before + 1).then(|| text(&kept.first().unwrap()["id"]).to_owned())
    })
}

#[track_caller]
fn first_cause(told: &Value) -> (&str, &str) {
    let first = &told["causes"][0];
    (text(&first["cause"]), text(&first["confidence"]))
}

fn sources(own: &str) -> String {
    format!(
        "[sources.stripe]\nprovider = \"stripe\"\nsecrets = [\"{own}\"]\n\
         [sources.shop]\nprovider = \"stripe\"\nsecrets = [\"whsec_the_shops_own_0123456789\"]\n"
    )
}

#[test]
fn the_cause_is_named_and_no_secret_is_shown() {
    let home = Home::new(&sources(STRIPE_SECRET));
    let daemon = home.start();
    let whole = stripe("evt_1", "charge.failed");
    let with_body = |change: &dyn Fn(&[u8]) -> Vec<u8>| {
        let body: Value = serde_json::from_str(&stripe_body("evt_2", "charge.failed")).unwrap();
        let body = serde_json::to_string_pretty(&body).unwrap();
        let mut signed = sign_stripe(STRIPE_SECRET, body.as_bytes(), vendor::now());
        signed.body = change(&signed.body);
        signed
    };
    let compact =
        |body: &[u8]| serde_json::to_vec(&serde_json::from_slice::<Value>(body).unwrap()).unwrap();
    let renamed = |signed: &Signed| {
        let mut signed = signed.clone();
        for (name, _) in &mut signed.headers {
            *name = name.replace("stripe-signature", "x-orig-stripe-signature");
        }
        signed
    };
    let body = stripe_body("evt_3", "charge.failed");
    let by = |secret: &str, at: i64| sign_stripe(secret, body.as_bytes(), at);
    let now = vendor::now();
    for (signed, cause, sure, part) in [
        (with_body(&|b| [b, b"\n"].concat()), "body_altered", "certain", "line end"),
        (with_body(&compact), "body_altered", "certain", "indented by two"),
        (by("whsec_the_shops_own_0123456789", now), "wrong_secret", "certain", "`shop`"),
        (by("whsec_nobodys_0123456789abcdef", now), "wrong_secret", "likely", "not configured"),
        (by(STRIPE_SECRET, now - 900), "clock_skew", "certain", "15m"),
        (renamed(&whole), "header_renamed", "certain", "`x-orig-stripe-signature`"),
    ] {
        let id = rejected(&daemon, &signed);
        let ran = daemon.relayflow(&home, &["requests", "explain", &id, "-o", "json"]).ended(0);
        let told = ran.json();
        assert_eq!(first_cause(&told), (cause, sure), "{told}");
        assert!(text(&told["causes"][0]["says"]).contains(part), "{told}");
        let shown = daemon.relayflow(&home, &["requests", "explain", &id]).ended(0).out;
        for out in [&ran.out, &shown] {
            assert!(!out.contains(STRIPE_SECRET) && !out.contains("the_shops_own"), "{out}");
        }
        // The same of the store, with the config in reach.
        let db = format!("sqlite:{}", home.path("relayflow.db").display());
        let alone = home.relayflow(&["--db", &db, "requests", "explain", &id, "-o", "json"]);
        assert_eq!(first_cause(&alone.ended(0).json()), (cause, sure));
    }
    let event = daemon.deliver_new(&whole);
    let request = text(&daemon.get(&format!("/events/{event}"))["request_id"]).to_owned();
    let told = daemon.relayflow(&home, &["requests", "explain", &request, "-o", "json"]).json();
    assert!(text(&told["verified"]["secret"]).starts_with("secret #1 of `stripe` (sha256:"));
    assert_eq!(told["causes"], serde_json::json!([]));
}

#[test]
fn a_request_is_readmitted_once_and_not_before_it_verifies() {
    let receiver = Receiver::start();
    let config = |secret: &str| one_step(&receiver).replace(STRIPE_SECRET, secret);
    let home = Home::new(&config("whsec_the_wrong_one_0123456789"));
    let daemon = home.start();
    let id = rejected(&daemon, &stripe("evt_1", "charge.failed"));
    let listed = daemon.relayflow(&home, &["requests", "ls", "sig:invalid", "-o", "name"]).ended(0);
    assert_eq!(listed.out.trim(), id);

    let replay =
        |more: &[&str]| daemon.relayflow(&home, &[&["requests", "replay", &id][..], more].concat());
    let refused = replay(&[]).ended(6);
    assert!(refused.err.contains(&format!("relayflow requests explain {id}")), "{}", refused.err);

    home.reconfigure(&config(STRIPE_SECRET));
    daemon.signal("HUP");
    let told = until("the mended config is in force", || {
        let told = daemon.get(&format!("/requests/{id}/explain"));
        told["verified"].is_object().then_some(told)
    });
    assert_eq!(first_cause(&told), ("mended", "certain"));

    let first = replay(&["--reason", "the secret was mended", "-o", "json"]).ended(0).json();
    assert_eq!(first["status"], "accepted");
    let event = text(&first["events"][0]["id"]).to_owned();
    daemon.event_becomes(&event, "ok");
    let again = replay(&["-o", "json"]).ended(0).json();
    assert_eq!(
        (&again["status"], &again["events"][0]["id"]),
        (&"duplicate".into(), &first["events"][0]["id"])
    );
    assert_eq!(receiver.wait_for(1).len(), 1);
    let timeline = daemon.relayflow(&home, &["timeline", &event, "-o", "json"]).ended(0).out;
    assert!(timeline.contains("the secret was mended"), "{timeline}");

    // The vendor goes on with the former secret for a while.
    home.reconfigure(&config("whsec_the_newest_one_0123456789"));
    daemon.signal("HUP");
    let late = until("the newest secret is in force", || {
        let sent = stripe("evt_2", "charge.failed");
        (daemon.post(&sent).status == 401).then_some(sent)
    });
    drop(late);
    let id = until("it is kept", || {
        let kept = daemon.list("/requests", "status:rejected");
        kept.first().map(|request| text(&request["id"]).to_owned())
    });
    let told = daemon.get(&format!("/requests/{id}/explain"));
    assert_eq!(first_cause(&told), ("rotated_secret", "certain"), "{told}");
}

#[test]
fn what_nobody_sent_is_explained_with_and_without_a_daemon() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Json(422, "{\"error\":\"no\"}".to_owned()));
    let home = Home::new(&format!(
        "{}[workflows.crm]\non = [\"payment.failed\"]\n[[workflows.crm.steps]]\nname = \"upsert\"\n\
         [workflows.crm.steps.http]\nmethod = \"POST\"\nurl = \"{}/contacts/{{{{ event.subject }}}}\"\n\
         headers = {{ authorization = \"Bearer canary-0123456789abcdef\", x-type = \"{{{{ event.type }}}}\" }}\n\
         body = \"{{ 'amount': event.attributes.amount_minor }}\"\n\
         [workflows.audit]\non = [\"*\"]\n\
         when = \"event.provider == 'stripe' and event.source in ['hubspot']\"\n\
         [[workflows.audit.steps]]\nname = \"note\"\nhttp = {{ method = \"POST\", url = \"{}\" }}\n",
        vendor::sources(),
        receiver.url(""),
        receiver.url("/audit"),
    ));
    home.write("body.json", &stripe_body("evt_made", "charge.failed"));
    let made = ["workflows", "explain", "--provider", "stripe", "--data", "@body.json"];
    let check = |shown: &str| {
        let line = |part: &str| shown.lines().position(|line| line.contains(part));
        let no = line("event.source in ['hubspot']   is false: event.source = \"stripe\"");
        let carets = shown.lines().nth(no.unwrap() + 1).unwrap();
        let at = shown.lines().nth(no.unwrap()).unwrap().find("event.source in").unwrap();
        assert_eq!(carets.trim_end().len(), at + "event.source in ['hubspot']".len(), "{shown}");
        assert!(carets.ends_with(&"^".repeat("event.source in ['hubspot']".len())), "{shown}");
        assert!(shown.contains("POST ") && shown.contains("/contacts/ch_evt_made"), "{shown}");
        assert!(shown.contains("authorization: •••"), "{shown}");
        assert!(
            shown.contains("x-type: charge.failed") && shown.contains("{\"amount\":4200}"),
            "{shown}"
        );
        assert!(!shown.contains("canary"), "{shown}");
    };
    let alone = home.relayflow(&made).ended(0);
    check(&alone.out);
    assert!(alone.err.contains("config in reach"), "{}", alone.err);
    let daemon = home.start();
    check(&daemon.relayflow(&home, &made).ended(0).out);
    assert_eq!(receiver.count(), 0);
    // The project's own payload of a type, and a candidate that wants nothing.
    home.write("next.toml", &vendor::sources());
    let own = ["workflows", "explain", "--source", "stripe", "--type", "charge.failed"];
    let told = daemon.relayflow(&home, &[&own[..], &["-o", "json"]].concat()).ended(0).json();
    assert_eq!((&told["event"], &told["kind"]), (&Value::Null, &"payment.failed".into()));
    let more = ["--config", "next.toml", "--fail-unmatched"];
    daemon.relayflow(&home, &[&own[..], &more].concat()).ended(10);
    let odd = daemon.relayflow(&home, &["workflows", "explain", "--provider", "stripe"]).ended(2);
    assert!(odd.err.contains("charge.failed"), "{}", odd.err);

    let event = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&event, "dead");
    let task = text(&daemon.list("/dead-letters", "").first().unwrap()["id"]).to_owned();
    let shown = daemon.relayflow(&home, &["dlq", "show", &task]).ended(0).out;
    let (_, would_send) = shown.split_once("would send").unwrap();
    for part in ["/contacts/ch_evt_1", "authorization: •••", "\"amount\": 4200"] {
        assert!(would_send.contains(part), "{part} is not in: {shown}");
    }
    assert!(!shown.contains("canary"), "{shown}");
    let db = format!("sqlite:{}", home.path("relayflow.db").display());
    let alone = home.relayflow(&["--db", &db, "workflows", "explain", &event]).ended(0).out;
    assert!(alone.contains("/contacts/ch_evt_1"), "{alone}");
}
