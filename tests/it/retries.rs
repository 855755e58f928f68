//! What follows a failure: waiting, giving up, and leaving a destination alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, RETRY, free_port, text, until, until_within};
use crate::receiver::{Call, Receiver, Reply};
use crate::vendor::{self, stripe};

/// A script that answers each key's first calls as listed, and 200 after them.
fn first(replies: Vec<Reply>) -> impl Fn(&Call) -> Reply + Send + Sync {
    move |call| {
        let at = usize::try_from(call.attempt).unwrap().saturating_sub(1);
        replies.get(at).cloned().unwrap_or(Reply::Status(200))
    }
}

fn config(url: &str, retry: &str, step: &str) -> String {
    format!(
        "{retry}{}[workflows.all]\non = [\"*\"]\n[[workflows.all.steps]]\nname = \"call\"\n{step}\
         http = {{ method = \"POST\", url = \"{url}\" }}\n",
        vendor::sources()
    )
}

fn task_of(daemon: &Daemon, event: &str) -> Value {
    let event = daemon.get(&format!("/events/{event}"));
    let id = text(&event["steps"][0]["id"]).to_owned();
    daemon.get(&format!("/tasks/{id}"))
}

fn dead_letter(daemon: &Daemon, event: &str) -> Value {
    daemon.event_becomes(event, "dead");
    let letters = daemon.list("/dead-letters", "");
    letters.into_iter().find(|l| l["event_id"] == event).unwrap()
}

fn gaps(calls: &[Call]) -> Vec<Duration> {
    calls.windows(2).map(|w| w[1].started.duration_since(w[0].started)).collect()
}

#[test]
fn a_failure_is_tried_again_later_and_later_under_one_key() {
    let receiver = Receiver::start();
    receiver.answer(first(vec![Reply::Status(503), Reply::Status(408), Reply::Hangup]));
    let retry = "[retry]\nattempts = 5\nfirst = \"200ms\"\nlongest = \"10s\"\n";
    let home = Home::new(&config(&receiver.url("/"), retry, ""));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let event = daemon.event_becomes(&id, "ok");

    assert_eq!(event["attempts"], 4);
    let calls = receiver.calls();
    let attempts: Vec<u32> = calls.iter().map(|c| c.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    assert_eq!(receiver.by_key().len(), 1, "every attempt bears the task's id");
    for (n, gap) in gaps(&calls).into_iter().enumerate() {
        // The jitter takes at most the lower half: 200 ms, 400 ms, 800 ms.
        let least = Duration::from_millis(100 << n);
        assert!(least <= gap, "the wait {n} was {gap:?}");
    }
    let task = task_of(&daemon, &id);
    assert_eq!(task["failures"], 3);
    let statuses: Vec<&str> =
        task["history"].as_array().unwrap().iter().map(|a| text(&a["status"])).collect();
    assert_eq!(statuses, ["failed", "failed", "failed", "ok"]);
    assert_eq!(task["history"][0]["http_status"], 503);
    let retrying = daemon.timeline(&id).iter().filter(|w| *w == "retrying").count();
    assert_eq!(retrying, 3);
}

#[test]
fn retry_after_lengthens_the_wait_and_never_past_the_longest() {
    let receiver = Receiver::start();
    receiver.answer(first(vec![
        Reply::With(429, "retry-after", "1".to_owned()),
        Reply::With(503, "retry-after", "86400".to_owned()),
        // Not a status that is tried again, but it says when.
        Reply::With(400, "retry-after", "0".to_owned()),
    ]));
    let retry = "[retry]\nattempts = 5\nfirst = \"50ms\"\nlongest = \"1500ms\"\n";
    let home = Home::new(&config(&receiver.url("/"), retry, ""));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");

    let gaps = gaps(&receiver.calls());
    let [asked, capped, _] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert!(Duration::from_secs(1) <= *asked, "{asked:?}");
    assert!(Duration::from_millis(1500) <= *capped, "{capped:?}");
    assert!(*capped < Duration::from_secs(20), "{capped:?}");
}

#[test]
fn an_answer_that_no_try_can_help_is_a_dead_letter_at_once() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Json(422, r#"{"message":"unknown field plan_id"}"#.to_owned()));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);

    assert_eq!(letter["reason"], "unretryable");
    assert_eq!(letter["http_status"], 422);
    assert_eq!(letter["attempts"], 1);
    assert!(text(&letter["error_id"]).starts_with("e_"));
    assert_eq!(receiver.count(), 1);
    let task = task_of(&daemon, &id);
    assert_eq!(task["history"][0]["status"], "rejected");
    assert!(text(&task["history"][0]["response"]).contains("plan_id"));
    assert_eq!(daemon.stats()["dead_letters"], 1);
}

#[test]
fn a_redirect_is_a_failure_and_not_followed() {
    let receiver = Receiver::start();
    let elsewhere = Receiver::start();
    let to = elsewhere.url("/");
    receiver.answer(move |_| Reply::With(302, "location", to.clone()));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);

    assert_eq!(letter["reason"], "exhausted");
    assert_eq!(letter["attempts"], 3);
    assert_eq!((receiver.count(), elsewhere.count()), (3, 0));
}

#[test]
fn what_is_too_old_is_given_up() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(500));
    let retry =
        "[retry]\nattempts = 50\nfirst = \"100ms\"\nlongest = \"10s\"\ngive_up_after = \"1s\"\n";
    let home = Home::new(&config(&receiver.url("/"), retry, ""));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);

    assert_eq!(letter["reason"], "too_old");
    assert!(receiver.count() < 8, "{} calls in a second", receiver.count());
}

#[test]
fn an_answer_that_does_not_come_ends_with_the_steps_timeout() {
    let receiver = Receiver::start();
    let released = Arc::new(AtomicBool::new(false));
    let for_script = Arc::clone(&released);
    receiver.answer(move |_| {
        until("the test is over", || for_script.load(Ordering::SeqCst).then_some(()));
        Reply::Status(200)
    });
    let home = Home::new(&config(&receiver.url("/"), RETRY, "timeout = \"300ms\"\n"));
    let daemon = home.start();

    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);
    released.store(true, Ordering::SeqCst);

    assert_eq!(letter["reason"], "exhausted");
    assert!(text(&letter["error"]).contains("300ms"), "{}", letter["error"]);
    assert!(letter["http_status"].is_null());
}

#[test]
fn a_destination_that_is_not_there_is_tried_again() {
    let home = Home::new(&config(&format!("http://127.0.0.1:{}/", free_port()), RETRY, ""));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);
    assert_eq!(letter["reason"], "exhausted");
    assert_eq!(letter["attempts"], 3);
}

#[test]
fn an_address_that_is_not_public_is_refused_until_the_config_opens_it() {
    let receiver = Receiver::start();
    let home = Home::bare(&one_step(&receiver));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);
    assert_eq!(letter["reason"], "egress_refused");
    assert_eq!(letter["attempts"], 1);
    assert_eq!(receiver.count(), 0);
}

#[test]
fn no_spelling_of_an_address_gets_around_that() {
    let receiver = Receiver::start();
    let name = receiver.name();
    let port = name.rsplit(':').next().unwrap();
    let hosts = [
        "localhost",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[fe80::1]",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let steps: String = hosts
        .iter()
        .enumerate()
        .map(|(n, host)| {
            format!(
                "[[workflows.all.steps]]\nname = \"s{n}\"\n\
                 http = {{ method = \"POST\", url = \"http://{host}:{port}/\" }}\n"
            )
        })
        .collect();
    let sources = vendor::sources();
    let home = Home::bare(&format!("{RETRY}{sources}[workflows.all]\non = [\"*\"]\n{steps}"));
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    let letters = daemon.list("/dead-letters", "");
    assert_eq!(letters.len(), hosts.len(), "{letters:?}");
    for letter in &letters {
        assert_eq!(letter["reason"], "egress_refused", "{letter}");
    }
    assert_eq!(receiver.count(), 0);
}

#[test]
fn a_proxy_in_the_environment_is_not_asked() {
    let receiver = Receiver::start();
    let proxy = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let to = proxy.url("");
    let daemon = home.start_with(&[
        ("HTTP_PROXY", &to),
        ("http_proxy", &to),
        ("ALL_PROXY", &to),
        ("https_proxy", &to),
    ]);
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    assert_eq!((receiver.count(), proxy.count()), (1, 0));
}

#[test]
fn a_large_answer_is_cut_and_not_kept() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Large(20 << 20));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let before = daemon.resident_kib();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    let task = task_of(&daemon, &id);
    let kept = text(&task["history"][0]["response"]);
    assert!(kept.len() <= 4 << 10, "{} bytes were kept", kept.len());
    if let (Some(before), Some(after)) = (before, daemon.resident_kib()) {
        assert!(after < before + (10 << 10), "grew from {before} to {after} KiB");
    }
}

#[test]
fn an_expression_that_does_not_evaluate_is_a_dead_letter() {
    let receiver = Receiver::start();
    let home = Home::new(&config(&receiver.url("/{{ event.payload.no.such.field }}"), RETRY, ""));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let letter = dead_letter(&daemon, &id);
    assert_eq!(letter["reason"], "expression");
    assert_eq!(receiver.count(), 0);
}

#[test]
fn a_failing_destination_is_left_alone_and_found_out_when_it_is_well_again() {
    const EVENTS: usize = 60;
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(500));
    let retry = "[retry]\nattempts = 50\nfirst = \"50ms\"\nlongest = \"200ms\"\n";
    let home = Home::new(&config(&receiver.url("/"), retry, ""));
    let daemon = home.start();
    for n in 0..EVENTS {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }

    let queue = || daemon.list("/queues", "").into_iter().find(|q| q["name"] == receiver.name());
    until("the circuit opens", || queue().filter(|q| q["state"] == "circuit_open"));
    receiver.answer(|_| Reply::Status(200));
    until_within(Duration::from_secs(120), "everything is executed", || {
        (daemon.stats()["tasks"]["ok"] == EVENTS).then_some(())
    });
    until("the circuit is closed", || queue().filter(|q| q["state"] == "open"));

    // While it was open no attempt was spent but on probes.
    let calls = receiver.count();
    assert!(calls < 6 * EVENTS, "{calls} calls for {EVENTS} tasks");
    let stats = daemon.stats();
    assert_eq!(stats["dead_letters"], 0);
    assert!(0.0 < stats["retry_rate"].as_f64().unwrap());
}

#[test]
fn a_slow_destination_does_not_hold_up_another() {
    let slow = Receiver::start();
    let quick = Receiver::start();
    let released = Arc::new(AtomicBool::new(false));
    let for_script = Arc::clone(&released);
    slow.answer(move |_| {
        until("released", || for_script.load(Ordering::SeqCst).then_some(()));
        Reply::Status(200)
    });
    let step = |name: &str, on: &str, url: String| {
        format!(
            "[workflows.{name}]\non = [\"{on}\"]\n[[workflows.{name}.steps]]\nname = \"call\"\n\
             timeout = \"60s\"\nhttp = {{ method = \"POST\", url = \"{url}\" }}\n"
        )
    };
    let home = Home::new(&format!(
        "{}{}{}",
        vendor::sources(),
        step("slow", "stripe:charge.failed", slow.url("/")),
        step("quick", "stripe:charge.succeeded", quick.url("/"))
    ));
    let daemon = home.start();
    for n in 0..200 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    for n in 0..20 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.succeeded"));
    }

    quick.wait_for(20);
    assert!(slow.count() <= 16, "{} calls at once, 16 are allowed", slow.count());
    released.store(true, Ordering::SeqCst);
    slow.wait_for(200);
    assert_eq!(daemon.drained()["tasks"]["ok"], 220);
}
