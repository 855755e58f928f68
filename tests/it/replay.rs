//! Dead letters brought back to execution: by the API, and by the command line with its exit codes.

use serde_json::{Value, json};

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, RETRY, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, stripe};

/// A destination that refuses, and so many dead letters.
struct Broken {
    receiver: Receiver,
    home: Home,
    daemon: Daemon,
}

fn broken(dead: usize) -> Broken {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    for n in 0..dead {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == dead).then_some(()));
    Broken { receiver, home, daemon }
}

fn mend(receiver: &Receiver) {
    receiver.answer(|_| Reply::Status(200));
}

fn plan(daemon: &Daemon, q: &str) -> Value {
    let answer = daemon.tell("/plans", &json!({"action": "replay", "q": q}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn finished(daemon: &Daemon, id: &str) -> Value {
    until("the replay is done", || {
        let replay = daemon.get(&format!("/replays/{id}"));
        (replay["status"] == "done").then_some(replay)
    })
}

#[test]
fn a_plan_is_frozen_runs_once_and_says_how_each_item_ended() {
    let Broken { receiver, daemon, home: _home } = broken(5);
    let plan = plan(&daemon, "status:dead type:charge");
    assert!(text(&plan["id"]).starts_with("pln_"));
    assert_eq!(plan["items"]["total"], 5);
    assert_eq!(daemon.get(&format!("/plans/{}", text(&plan["id"])))["hash"], plan["hash"]);
    // What dies afterwards is not in it.
    let late = daemon.deliver_new(&stripe("evt_late", "charge.failed"));
    daemon.event_becomes(&late, "dead");
    mend(&receiver);

    let wanted = json!({"plan": plan["id"], "hash": plan["hash"], "reason": "mended"});
    let wrong = json!({"plan": plan["id"], "hash": "0000", "reason": "mended"});
    assert_eq!(daemon.tell("/replays", &wrong).status, 409);
    let replay = daemon.tell("/replays", &wanted);
    assert_eq!(replay.status, 201, "{}", replay.text());
    let id = text(&replay.json()["id"]).to_owned();
    let again = daemon.tell("/replays", &wanted);
    assert_eq!(again.status, 409);
    assert_eq!(again.json()["code"], "refused.plan_used");

    let done = finished(&daemon, &id);
    assert_eq!(done["items"]["ok"], 5, "{done}");
    assert_eq!(done["reason"], "mended");
    let items = daemon.list(&format!("/replays/{id}/items"), "");
    assert_eq!(items.len(), 5);
    assert!(items.iter().all(|i| i["verdict"] == "ok"), "{items:?}");
    assert_eq!(daemon.stats()["dead_letters"], 1);
    assert_eq!(daemon.get(&format!("/events/{late}"))["status"], "dead");

    let keys = receiver.by_key();
    assert_eq!(keys.len(), 6);
    for item in &items {
        let calls = keys.get(text(&item["id"])).unwrap();
        let attempts: Vec<u32> = calls.iter().map(|c| c.attempt).collect();
        assert_eq!(attempts, [1, 2], "a replay goes on counting, under the same key");
    }
    let event = text(&items.first().unwrap()["event_id"]).to_owned();
    let timeline = daemon.timeline(&event);
    assert!(timeline.iter().any(|w| w == "replayed"), "{timeline:?}");
}

#[test]
fn a_plan_whose_items_changed_is_refused_or_skips_them() {
    let Broken { receiver, daemon, home: _home } = broken(2);
    let first = plan(&daemon, "status:dead");
    let second = plan(&daemon, "status:dead");
    mend(&receiver);
    let start = |plan: &Value| {
        daemon.tell("/replays", &json!({"plan": plan["id"], "hash": plan["hash"], "reason": "x"}))
    };
    let replay = start(&first);
    finished(&daemon, text(&replay.json()["id"]));
    let calls = receiver.count();

    let late = start(&second);
    if late.status == 201 {
        let done = finished(&daemon, text(&late.json()["id"]));
        assert_eq!(done["items"]["skipped"], 2, "{done}");
    } else {
        assert_eq!(
            (late.status, late.json()["code"].as_str()),
            (409, Some("refused.plan_changed"))
        );
    }
    assert_eq!(receiver.count(), calls, "a success is never run again");
}

#[test]
fn a_replay_runs_only_what_did_not_succeed() {
    let receiver = Receiver::start();
    receiver.answer(|call| Reply::Status(if call.path == "/second" { 422 } else { 200 }));
    let step = |name: &str, needs: &str| {
        format!(
            "[[workflows.chain.steps]]\nname = \"{name}\"\nneeds = [{needs}]\n\
             http = {{ method = \"POST\", url = \"{}\" }}\n",
            receiver.url(&format!("/{name}"))
        )
    };
    let home = Home::new(&format!(
        "{RETRY}{}[workflows.chain]\non = [\"*\"]\n{}{}{}",
        vendor::sources(),
        step("first", ""),
        step("second", "\"first\""),
        step("third", "\"second\"")
    ));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let event = daemon.event_becomes(&id, "dead");
    assert_eq!(event["tasks"]["queued"], 1, "behind a dead step the next one waits");
    mend(&receiver);

    let ran = daemon.relayflow(&home, &["dlq", "replay", &id, "--wait=60s"]).ended(0);
    daemon.event_becomes(&id, "ok");

    let paths: Vec<String> = receiver.calls().into_iter().map(|c| c.path).collect();
    assert_eq!(paths, ["/first", "/second", "/second", "/third"], "{ran:?}");
}

#[test]
fn the_exit_code_of_a_replay_tells_how_it_ended() {
    let Broken { receiver, home, daemon } = broken(3);
    let run = |args: &[&str]| daemon.relayflow(&home, args);

    // No terminal and no --yes: refused, and nothing happened.
    let refused = run(&["dlq", "replay", "source:stripe", "--since", "1h", "-o", "json"]).ended(6);
    let error: Value = serde_json::from_str(refused.err.lines().last().unwrap()).unwrap();
    assert_eq!(error["kind"], "error");
    assert_eq!(error["exit"], 6);
    assert!(text(&error["code"]).starts_with("refused."), "{error}");
    assert_eq!(receiver.count(), 3);

    // Bulk without a window is refused too; a dry run shows the plan and runs nothing.
    let unbounded = run(&["dlq", "replay", "source:stripe", "--yes", "--reason", "x"]);
    assert!(matches!(unbounded.exit, 2 | 6), "{unbounded:?}");
    let dry = run(&["dlq", "replay", "source:stripe", "--since", "1h", "--dry-run", "-o", "json"])
        .ended(0)
        .json();
    assert_eq!(dry["items"]["total"], 3, "{dry}");
    assert_eq!(receiver.count(), 3);

    let nothing =
        run(&["dlq", "replay", "source:github", "--since", "1h", "--yes", "--reason", "x"]);
    nothing.ended(9);

    let bulk = ["dlq", "replay", "source:stripe", "--since", "1h", "--yes", "--reason", "x"];
    let with = |more: &'static str| [&bulk[..], &[more]].concat();
    // The destination still refuses: all of them die again.
    run(&with("--wait=60s")).ended(7);
    assert_eq!(receiver.count(), 6);
    assert_eq!(daemon.stats()["dead_letters"], 3);

    // It does not answer in time: pending, and the work goes on.
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let for_script = std::sync::Arc::clone(&gate);
    receiver.answer(move |_| {
        until("released", || for_script.load(std::sync::atomic::Ordering::SeqCst).then_some(()));
        Reply::Status(200)
    });
    let pending = run(&with("--wait=1s")).ended(8);
    assert!(
        pending.out.contains("rpl_") || pending.err.contains("rpl_"),
        "it says how to return: {pending:?}"
    );
    gate.store(true, std::sync::atomic::Ordering::SeqCst);
    until("all are executed", || (daemon.stats()["tasks"]["ok"] == 3).then_some(()));

    run(&with("--wait=60s")).ended(9);
}

#[test]
fn one_dead_letter_needs_no_question_and_ids_come_from_a_pipe() {
    let Broken { receiver, home, daemon } = broken(3);
    mend(&receiver);
    let letters = daemon.relayflow(&home, &["dlq", "ls", "-o", "name"]).ended(0).out;
    let ids: Vec<&str> = letters.lines().collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.starts_with("tsk_")), "{ids:?}");

    daemon.relayflow(&home, &["dlq", "replay", ids.first().unwrap(), "--wait=60s"]).ended(0);
    assert_eq!(daemon.stats()["dead_letters"], 2);
    let rest = ids.get(1..).unwrap().join("\n");
    daemon
        .relayflow_reading(
            &home,
            &["dlq", "replay", "-", "--yes", "--reason", "the rest", "--wait=60s"],
            &rest,
        )
        .ended(0);
    assert_eq!(daemon.stats()["dead_letters"], 0);
    assert_eq!(receiver.count(), 6);
}

#[test]
fn a_replay_goes_on_when_the_daemon_is_killed_in_the_middle() {
    const DEAD: usize = 200;
    let Broken { receiver, home, mut daemon } = broken(DEAD);
    mend(&receiver);
    let plan = plan(&daemon, "status:dead");
    let replay = daemon.tell(
        "/replays",
        &json!({"plan": plan["id"], "hash": plan["hash"], "reason": "x", "rate": 200.0}),
    );
    let id = text(&replay.json()["id"]).to_owned();
    receiver.wait_for(DEAD + 30);
    daemon.kill();
    let daemon = home.start();

    let done = finished(&daemon, &id);
    assert_eq!(done["items"]["ok"], DEAD, "{done}");
    assert_eq!(daemon.stats()["dead_letters"], 0);
    assert_eq!(daemon.list(&format!("/replays/{id}/items"), "").len(), DEAD);
}

#[test]
fn a_running_replay_can_be_paused_resumed_and_cancelled() {
    let Broken { receiver, daemon, home: _home } = broken(40);
    mend(&receiver);
    let plan = plan(&daemon, "status:dead");
    let replay = daemon.tell(
        "/replays",
        &json!({"plan": plan["id"], "hash": plan["hash"], "reason": "x", "rate": 4.0}),
    );
    let id = text(&replay.json()["id"]).to_owned();
    let control = |verb: &str| daemon.tell(&format!("/replays/{id}/{verb}"), &Value::Null).status;
    let status = || text(&daemon.get(&format!("/replays/{id}"))["status"]).to_owned();

    assert_eq!(control("pause"), 200);
    assert_eq!(status(), "paused");
    assert_eq!(control("resume"), 200);
    assert_eq!(status(), "running");
    receiver.wait_for(42);
    assert_eq!(control("cancel"), 200);
    assert_eq!(status(), "cancelled");
    let items = daemon.get(&format!("/replays/{id}"))["items"].clone();
    assert!(0 < items["cancelled"].as_u64().unwrap(), "{items}");
    assert_eq!(control("resume"), 409);
}
