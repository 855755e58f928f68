//! A signed webhook in, durable work out: once, however often it comes.

use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::json;

use crate::harness::{Home, RETRY, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{
    self, STRIPE_SECRET, github, github_issue, hubspot, hubspot_event, sign_stripe, stripe,
    stripe_body,
};
use crate::wire::Connection;

/// Everything goes to one step.
pub(crate) fn one_step(receiver: &Receiver) -> String {
    format!(
        "{RETRY}{}[workflows.all]\non = [\"*\"]\n[[workflows.all.steps]]\nname = \"call\"\n\
         http = {{ method = \"POST\", url = \"{}\" }}\n",
        vendor::sources(),
        receiver.url("/task")
    )
}

#[test]
fn a_signed_webhook_is_executed_once_and_everything_about_it_can_be_seen() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();

    let request = stripe("evt_1", "charge.failed").with("x-correlation-id", "order-4711");
    let answer = daemon.post(&request);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let receipt = answer.json();
    assert!(text(&receipt["request"]).starts_with("req_"), "{receipt}");
    let id = text(&receipt["events"][0]["id"]).to_owned();
    assert_eq!(
        receipt,
        json!({"status": "accepted", "request": receipt["request"],
               "events": [{"id": id, "duplicate": false}]})
    );

    let event = daemon.event_becomes(&id, "ok");
    assert_eq!(event["source"], "stripe");
    assert_eq!(event["provider"], "stripe");
    assert_eq!(event["type"], "charge.failed");
    assert_eq!(event["kind"], "payment.failed");
    assert_eq!(event["external_id"], "evt_1");
    assert_eq!(event["idempotency_key"], "stripe:charge.failed:evt_1");
    assert_eq!(event["subject"], "ch_evt_1");
    assert_eq!(event["correlation_id"], "order-4711");
    assert_eq!(event["duplicates"], 0);
    assert_eq!(event["attempts"], 1);
    assert_eq!(event["tasks"]["ok"], 1);
    assert_eq!(event["attributes"]["amount_minor"], 4200);
    assert_eq!(event["payload"]["data"]["object"]["customer"], "cus_evt_1");
    for time in ["occurred_at", "received_at"] {
        let at = text(&event[time]);
        assert!(at.len() == 27 && at.ends_with('Z'), "{time}: {at} has no microseconds in UTC");
    }

    let calls = receiver.wait_for(1);
    let call = calls.first().unwrap();
    assert!(call.key.starts_with("tsk_"), "{}", call.key);
    assert_eq!((call.method.as_str(), call.attempt), ("POST", 1));
    assert_eq!(call.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(call.header("x-correlation-id"), Some("order-4711"));
    assert!(call.header("traceparent").is_some_and(|t| t.starts_with("00-") && t.len() == 55));
    let cloud = call.json();
    assert_eq!(cloud["specversion"], "1.0");
    assert_eq!(cloud["id"], id);
    assert_eq!(cloud["type"], "charge.failed");
    assert_eq!(cloud["data"]["id"], "evt_1");

    let timeline = daemon.timeline(&id);
    for what in ["received", "verified", "normalized", "committed", "ok"] {
        assert!(timeline.iter().any(|w| w == what), "no {what} in {timeline:?}");
    }
    let tasks = daemon.list("/tasks", &format!("id:{}", call.key));
    let task = tasks.first().unwrap();
    assert_eq!(task["event_id"], id);
    assert_eq!(task["workflow"], "all");
    assert_eq!(task["step"], "call");
    assert_eq!(task["status"], "ok");
    assert_eq!(task["attempt"], 1);
    assert_eq!(task["failures"], 0);
    assert_eq!(task["destination"], receiver.name());
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_redelivery_is_a_duplicate_and_runs_nothing() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");

    let again = daemon.deliver(&stripe("evt_1", "charge.failed"));
    assert_eq!(again, [(id.clone(), true)]);
    let other_type = daemon.deliver_new(&stripe("evt_1", "charge.succeeded"));
    daemon.event_becomes(&other_type, "ok");

    let event = daemon.get(&format!("/events/{id}"));
    assert_eq!(event["duplicates"], 1);
    assert!(daemon.timeline(&id).iter().any(|w| w == "duplicate"));
    let stats = daemon.drained();
    assert_eq!(stats["events"], 2);
    assert_eq!(stats["requests"], 3);
    assert_eq!(stats["duplicates"], 1);
    assert_eq!(receiver.count(), 2);
}

#[test]
fn sixty_four_connections_with_the_same_event_make_one_event() {
    const ROUNDS: usize = 20;
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let ingest = daemon.ingest;
    let barrier = Arc::new(Barrier::new(64));

    let twins: Vec<_> = (0..64)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                let mut connection = Connection::open(ingest).unwrap();
                let mut new = 0;
                for round in 0..ROUNDS {
                    let request = stripe(&format!("evt_{round}"), "charge.failed");
                    barrier.wait();
                    let answer = connection
                        .send("POST", &request.target, &request.headers, &request.body)
                        .unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    new += usize::from(answer.json()["events"][0]["duplicate"] == false);
                }
                new
            })
        })
        .collect();
    let new: usize = twins.into_iter().map(|t| t.join().unwrap()).sum();

    assert_eq!(new, ROUNDS);
    let stats = daemon.drained();
    assert_eq!(stats["events"], ROUNDS);
    assert_eq!(stats["tasks"]["ok"], ROUNDS);
    assert_eq!(stats["duplicates"], 63 * ROUNDS);
    assert_eq!(receiver.count(), ROUNDS);
}

#[test]
fn a_known_id_with_other_bytes_is_a_duplicate_and_says_so() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let other = stripe_body("evt_1", "charge.failed").replace("4200", "9900");

    assert_eq!(
        daemon.deliver(&sign_stripe(STRIPE_SECRET, other.as_bytes(), vendor::now())),
        [(id.clone(), true)]
    );

    let timeline = daemon.get(&format!("/events/{id}/timeline"));
    let entries = timeline["items"].as_array().unwrap();
    let duplicate = entries.iter().find(|e| e["what"] == "duplicate").unwrap();
    assert!(duplicate["detail"].to_string().contains("payload_differs"), "{duplicate}");
    assert_eq!(daemon.get(&format!("/events/{id}"))["payload"]["data"]["object"]["amount"], 4200);
}

#[test]
fn what_is_signed_under_another_delivery_id_is_the_same_event() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let body = github_issue(1);
    let first = daemon.deliver_new(&github(
        "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "issues",
        body.as_bytes(),
    ));

    let redelivered =
        daemon.deliver(&github("72d3162e-cc78-11e3-81ab-4c9367dc0958", "issues", body.as_bytes()));
    let captured =
        daemon.deliver(&github("99999999-cc78-11e3-81ab-4c9367dc0958", "issues", body.as_bytes()));
    assert_eq!(redelivered, [(first.clone(), true)]);
    assert_eq!(captured, [(first.clone(), true)]);
    let other = github_issue(2);
    daemon.deliver_new(&github("11111111-cc78-11e3-81ab-4c9367dc0958", "issues", other.as_bytes()));

    let event = daemon.get(&format!("/events/{first}"));
    assert_eq!(event["type"], "issues.opened");
    assert_eq!(event["duplicates"], 2);
    assert_eq!(daemon.drained()["events"], 2);
    assert_eq!(receiver.count(), 2);
}

#[test]
fn a_batch_that_is_partly_known_commits_the_rest() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let event = |id| hubspot_event(id, "contact.creation");

    let first = daemon.deliver(&hubspot(&[event(1), event(2)]));
    let second = daemon.deliver(&hubspot(&[event(2), event(3), event(1), event(3)]));

    let flags: Vec<bool> = second.iter().map(|(_, known)| *known).collect();
    assert_eq!(flags, [true, false, true, true], "{second:?}");
    let id = |events: &[(String, bool)], at: usize| events.get(at).map(|e| e.0.clone());
    assert_eq!(id(&second, 0), id(&first, 1));
    assert_eq!(id(&second, 2), id(&first, 0));
    assert_eq!(id(&second, 3), id(&second, 1));
    assert_eq!(daemon.deliver(&hubspot(&[])), []);
    let stats = daemon.drained();
    assert_eq!(stats["events"], 3);
    assert_eq!(stats["duplicates"], 3);
    assert_eq!(receiver.count(), 3);
}

#[test]
fn a_command_gets_the_event_on_stdin_and_its_exit_decides() {
    let home = Home::new(&format!(
        "{RETRY}{}[workflows.run]\non = [\"stripe:charge.failed\"]\n\
         [[workflows.run.steps]]\nname = \"notify\"\n\
         command = {{ argv = [\"./notify.sh\", \"{{{{ event.subject }}}}\"], env = [\"PATH\"] }}\n\
         [workflows.refuse]\non = [\"stripe:charge.succeeded\"]\n\
         [[workflows.refuse.steps]]\nname = \"no\"\ncommand = {{ argv = [\"./no.sh\"] }}\n",
        vendor::sources()
    ));
    home.script(
        "notify.sh",
        "#!/bin/sh\nd=${0%/*}\ncat > \"$d/stdin.$RELAYFLOW_ATTEMPT\"\n\
         echo \"$RELAYFLOW_IDEMPOTENCY_KEY $RELAYFLOW_ATTEMPT $RELAYFLOW_CORRELATION_ID $TRACEPARENT $1\" >> \"$d/ran\"\n\
         [ \"$RELAYFLOW_ATTEMPT\" = 1 ] && exit 75\nexit 0\n",
    );
    home.script("no.sh", "#!/bin/sh\nexit 3\n");
    let daemon = home.start();

    let id =
        daemon.deliver_new(&stripe("evt_1", "charge.failed").with("x-correlation-id", "story-1"));
    let event = daemon.event_becomes(&id, "ok");
    assert_eq!(event["attempts"], 2);
    let ran = home.read("ran").unwrap();
    let runs: Vec<Vec<&str>> = ran.lines().map(|l| l.split(' ').collect()).collect();
    let [first, second] = runs.as_slice() else { panic!("{ran}") };
    assert!(first.first().unwrap().starts_with("tsk_") && first.first() == second.first());
    assert_eq!(first.get(1..3).unwrap(), ["1", "story-1"]);
    assert_eq!(second.get(1..3).unwrap(), ["2", "story-1"]);
    assert_eq!(first.get(4), Some(&"ch_evt_1"));
    let stdin: serde_json::Value = serde_json::from_str(&home.read("stdin.2").unwrap()).unwrap();
    assert_eq!(stdin["id"], id);
    assert_eq!(stdin["data"]["id"], "evt_1");

    let refused = daemon.deliver_new(&stripe("evt_2", "charge.succeeded"));
    let event = daemon.event_becomes(&refused, "dead");
    assert_eq!(event["attempts"], 1);
    let dead = daemon.list("/dead-letters", "");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead.first().unwrap()["reason"], "unretryable");
    assert_eq!(dead.first().unwrap()["destination"], "command:no.sh");
}

#[test]
fn a_step_waits_for_what_it_needs_and_sees_its_response() {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        if call.path == "/first" {
            Reply::Json(200, r#"{"contact":"c_17"}"#.to_owned())
        } else {
            Reply::Status(204)
        }
    });
    let home = Home::new(&format!(
        "{RETRY}{}[workflows.chain]\non = [\"payment.failed\"]\n\
         [[workflows.chain.steps]]\nname = \"first\"\nhttp = {{ method = \"POST\", url = \"{}\" }}\n\
         [[workflows.chain.steps]]\nname = \"second\"\nneeds = [\"first\"]\n\
         http = {{ method = \"PUT\", url = \"{}{{{{ steps.first.response.contact }}}}\", \
         headers = {{ \"X-Team\" = \"billing {{{{ event.type }}}}\" }}, \
         body = '{{\"contact\": steps.first.response.contact, \"amount\": event.attributes.amount_minor}}' }}\n",
        vendor::sources(),
        receiver.url("/first"),
        receiver.url("/contacts/"),
    ));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");

    let calls = receiver.wait_for(2);
    let [first, second] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(first.path, "/first");
    assert!(first.answered.unwrap().0 <= second.started);
    assert_eq!((second.method.as_str(), second.path.as_str()), ("PUT", "/contacts/c_17"));
    assert_eq!(second.header("x-team"), Some("billing charge.failed"));
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(second.json(), json!({"contact": "c_17", "amount": 4200}));
    assert_ne!(first.key, second.key);
}

#[test]
fn one_correlation_id_joins_the_whole_story() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed").with("traceparent", &parent));
    let other = daemon.deliver_new(&stripe("evt_2", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    let other = daemon.event_becomes(&other, "ok");

    let call = receiver.calls().into_iter().find(|c| c.json()["id"] == id).unwrap();
    assert_eq!(call.header("x-correlation-id"), Some(trace));
    assert!(call.header("traceparent").unwrap().contains(trace));
    let own = text(&other["correlation_id"]);
    assert!(own.len() == 32 && own.bytes().all(|b| b.is_ascii_hexdigit()), "{own}");

    let request = text(&daemon.get(&format!("/events/{id}"))["request_id"]).to_owned();
    for key in [trace, id.as_str(), call.key.as_str(), request.as_str()] {
        let tree = daemon.get(&format!("/trace/{key}"));
        assert_eq!(tree["correlation_id"], trace, "asked by {key}");
        assert_eq!(tree["events"][0]["id"], id);
        assert_eq!(tree["events"][0]["steps"][0]["id"], call.key);
        assert_eq!(tree["requests"][0]["id"], request);
        assert_eq!(tree["events"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn an_event_that_no_workflow_wants_is_skipped() {
    let receiver = Receiver::start();
    let home = Home::new(&format!(
        "{}[workflows.big]\non = [\"payment.failed\"]\nwhen = 'event.attributes.amount_minor >= 5000'\n\
         [[workflows.big.steps]]\nname = \"call\"\nhttp = {{ method = \"POST\", url = \"{}\" }}\n",
        vendor::sources(),
        receiver.url("/")
    ));
    let daemon = home.start();

    let small = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let body = stripe_body("evt_2", "charge.failed").replace("4200", "5000");
    let big = daemon.deliver_new(&sign_stripe(STRIPE_SECRET, body.as_bytes(), vendor::now()));
    daemon.event_becomes(&big, "ok");

    assert_eq!(daemon.get(&format!("/events/{small}"))["status"], "skipped");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn several_secrets_are_tried_so_that_rotation_has_no_gap() {
    let home = Home::new(
        "[sources.stripe]\nprovider = \"stripe\"\n\
         secrets = [\"whsec_new_0123456789abcdef\", \"whsec_old_0123456789abcdef\"]\n",
    );
    let daemon = home.start();
    for (n, secret) in
        ["whsec_new_0123456789abcdef", "whsec_old_0123456789abcdef"].iter().enumerate()
    {
        let body = stripe_body(&format!("evt_{n}"), "charge.failed");
        daemon.deliver_new(&sign_stripe(secret, body.as_bytes(), vendor::now()));
    }
    let body = stripe_body("evt_9", "charge.failed");
    let other = sign_stripe("whsec_xxx_0123456789abcdef", body.as_bytes(), vendor::now());
    assert_eq!(daemon.post(&other).status, 401);
}

#[test]
fn a_handshake_is_answered_and_is_no_event() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let challenge = r#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7","type":"url_verification"}"#;
    let answer = daemon.post(&vendor::slack(challenge.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7"));
    let mut forged = vendor::slack(challenge.as_bytes());
    forged.body.push(b' ');
    assert_eq!(daemon.post(&forged).status, 401);
    assert_eq!(daemon.stats()["events"], 0);

    let message = r#"{"token":"x","team_id":"T1","type":"event_callback","event_id":"Ev1","event_time":1767607200,"event":{"type":"message","channel":"C1","user":"U1","text":"hello","ts":"1767607200.000100"}}"#;
    let id = daemon.deliver_new(&vendor::slack(message.as_bytes()));
    let event = daemon.get(&format!("/events/{id}"));
    assert_eq!(event["external_id"], "Ev1");
    assert_eq!(event["type"], "message");
}

#[test]
fn beyond_what_memory_may_hold_a_sender_is_told_to_come_back() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start_with(&[("RELAYFLOW_INGEST__REQUESTS_MAX", "2")]);
    let request = stripe("evt_1", "charge.failed");
    let held: Vec<Connection> = (0..2)
        .map(|_| {
            let mut connection = Connection::open(daemon.ingest).unwrap();
            connection
                .write_raw(
                    b"POST /in/stripe HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\
                      expect: 100-continue\r\n\r\n",
                )
                .unwrap();
            // It has its place as soon as its body is asked for.
            assert!(connection.read_line().unwrap().contains(" 100 "));
            connection
        })
        .collect();
    let refused = until("there is no room", || {
        Some(daemon.post(&request)).filter(|answer| answer.status == 503)
    });
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["code"], "unreachable.overloaded");
    drop(held);
    until("there is room again", || (daemon.post(&request).status == 200).then_some(()));
}
