//! What a replay tells while it runs and afterwards: lines, documents, JUnit; and how one leaves it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Daemon, Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{becomes, begin, config, plan, workflow};
use crate::tui::screen::Tui;
use crate::vendor::stripe;

struct House {
    receiver: Receiver,
    home: Home,
    daemon: Daemon,
    /// Whether calls are answered.
    goes: Arc<AtomicBool>,
}

/// Dead letters of a destination that takes its time until it is told to go.
fn house(dead: usize) -> House {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    for n in 0..dead {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == dead).then_some(()));
    let goes = Arc::new(AtomicBool::new(false));
    let go = Arc::clone(&goes);
    receiver.answer(move |call| {
        until("it goes", || go.load(Ordering::SeqCst).then_some(()));
        let id = text(&call.json()["data"]["id"]).to_owned();
        Reply::Status(if id == "evt_3" { 422 } else { 200 })
    });
    House { receiver, home, daemon, goes }
}

fn replay_of(daemon: &Daemon) -> String {
    begin(daemon, &plan(daemon, &json!({"q": "status:dead"})), json!({"reason": "x"}))
}

#[test]
fn whoever_watches_is_told_as_they_can_read() {
    let House { receiver: _receiver, home, daemon, goes } = house(6);
    let replay = replay_of(&daemon);
    // A log: a line at the start, and one at the end.
    let mut watch = daemon
        .cli(&home, &["replay", "watch", &replay])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(watch.stderr.take().unwrap()).lines();
    let head = err.next().unwrap().unwrap();
    assert!(head.starts_with(&replay) && head.contains("\"x\""), "{head}");
    let start = err.next().unwrap().unwrap();
    assert!(start.contains("0/6"), "{start}");
    // A program: documents on stdout, and nothing else there.
    let mut stream = daemon
        .cli(&home, &["replay", "watch", &replay, "-o", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(stream.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["v"]), (&json!("replay_progress"), &json!(1)), "{first}");
    assert_eq!(first["items"]["ok"], 0);
    // A person: a bar.
    let bar = Tui::start(daemon.cli(&home, &["replay", "watch", &replay]), (90, 20), &[]);
    bar.shows("0/6");

    goes.store(true, Ordering::SeqCst);
    becomes(&daemon, &replay, "done");
    assert_eq!(watch.wait().unwrap().code(), Some(7));
    let rest: Vec<String> = err.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("6/6")), "{rest:?}");
    assert_eq!(rest.last().unwrap(), &format!("dead: relayflow dlq ls replay:{replay}"));
    assert!(rest.len() <= 4, "a line at the end, not one each time: {rest:?}");
    assert_eq!(stream.wait().unwrap().code(), Some(7));
    let documents: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let last = documents.last().unwrap();
    assert_eq!((&last["object"], &last["items"]["ok"]), (&json!("replay"), &json!(5)), "{last}");
    bar.shows("6 done: 5 ok, 1 dead");

    // Afterwards: the report, as JSON and as JUnit, the same by both ways.
    let show = daemon.relayflow(&home, &["replay", "show", &replay, "-o", "json"]).ended(0).json();
    assert_eq!(show["errors"][0]["count"], 1, "{show}");
    for verb in ["show", "watch"] {
        let exit = if verb == "show" { 0 } else { 7 };
        let junit = daemon.relayflow(&home, &["replay", verb, &replay, "-o", "junit"]).ended(exit);
        assert!(junit.out.starts_with("<?xml"), "{}", junit.out);
        assert!(junit.out.contains("tests=\"6\" failures=\"1\""), "{verb}: {}", junit.out);
    }
    let quiet = daemon.relayflow(&home, &["replay", "watch", &replay, "-q"]).ended(7);
    assert_eq!(quiet.err, "");
}

#[test]
fn who_leaves_does_not_stop_it_and_learns_how_to_return() {
    let House { receiver, home, daemon, goes } = house(4);
    let before = receiver.count();
    let replay = replay_of(&daemon);
    let mut watch = daemon
        .cli(&home, &["replay", "watch", &replay])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(watch.stderr.take().unwrap()).lines();
    let _head = err.next().unwrap().unwrap();
    let _start = err.next().unwrap().unwrap();
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -INT {}", watch.id())])
        .status()
        .unwrap();
    assert!(sent.success());
    assert_eq!(watch.wait().unwrap().code(), Some(130));
    let said: Vec<String> = err.map(Result::unwrap).collect();
    let back = format!("still running: relayflow replay watch {replay}");
    assert_eq!(said.last(), Some(&back), "{said:?}");
    assert_eq!(daemon.get(&format!("/replays/{replay}"))["status"], "running");
    // Whoever returns sees the rest of it.
    goes.store(true, Ordering::SeqCst);
    daemon.relayflow(&home, &["replay", "watch", &replay]).ended(7);
    assert_eq!(receiver.count(), before + 4);
}

#[test]
fn dead_letters_are_grouped_by_any_field() {
    let House { receiver: _receiver, home, daemon, .. } = house(6);
    let groups = |by: &str| daemon.relayflow(&home, &["dlq", "ls", "--by", by, "-o", "json"]);
    for (by, count) in [
        ("error", 1),
        ("source", 1),
        ("provider", 1),
        ("type", 1),
        ("kind", 1),
        ("dest", 1),
        ("workflow", 1),
        ("step", 1),
        ("reason", 1),
        ("status", 1),
        ("http", 1),
        ("attempts", 1),
        ("subject", 6),
        ("corr", 6),
        ("external", 6),
        ("request", 6),
        ("id", 6),
        ("queue", 1),
        ("key", 6),
        ("attr.amount_minor", 1),
        ("payload.data.object.id", 6),
    ] {
        let list = groups(by).ended(0).json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), count, "{by}: {list}");
        let total: u64 = items.iter().map(|i| i["count"].as_u64().unwrap()).sum();
        assert_eq!(total, 6, "{by}: {list}");
        for item in items {
            assert!(text(&item["example"]).starts_with("tsk_"), "{by}: {item}");
            assert!(item["first_at"].is_string() && item["last_at"].is_string(), "{by}: {item}");
        }
    }
    let wrong = groups("wheather").ended(2);
    assert!(wrong.err.contains("wheather"), "{}", wrong.err);
}
