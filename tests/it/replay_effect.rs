//! The effect rule, from outside: what has succeeded is not run again under any later configuration, by
//! any plan or by two at once, unless somebody asks for just that and says why. The drawn histories of it
//! are in the core's own tests.

use serde_json::{Value, json};

use crate::harness::{Daemon, Home, text, until};
use crate::quarantine::{acme, acme_config, acme_definition};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{becomes, begin, config, plan, workflow};
use crate::vendor::stripe;

/// Some events whose steps `a` and `c` are ok and whose `b` is dead.
fn events(daemon: &Daemon, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count)
        .map(|n| daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed")))
        .collect();
    for id in &ids {
        daemon.event_becomes(id, "dead");
    }
    daemon.drained();
    ids
}

#[test]
fn a_step_under_another_name_is_not_run_again_unless_it_is_named_with_a_reason() {
    let steps = [("a", "", ""), ("b", "", ""), ("c", "", "")];
    for (next, suspects, free) in [
        // The workflow is renamed: all of it, but for what never succeeded.
        (vec![("v", vec!["a", "b", "c"])], vec!["v/a", "v/c"], vec!["v/b"]),
        // A step is renamed.
        (vec![("w", vec!["a", "b", "c2"])], vec!["w/c2"], vec![]),
        // A step is moved to another workflow, beside something new.
        (vec![("w", vec!["a", "b"]), ("x", vec!["c", "new"])], vec!["x/c"], vec!["x/new"]),
    ] {
        let receiver = Receiver::start();
        receiver.answer(|call| Reply::Status(if call.path.ends_with("/b") { 422 } else { 200 }));
        let home = Home::new(&config(&workflow(&receiver, "w", &steps)));
        let mut daemon = home.start();
        let ids = events(&daemon, 2);
        daemon.stop();
        let workflows: String = next
            .iter()
            .map(|(name, steps)| {
                let steps: Vec<(&str, &str, &str)> = steps.iter().map(|s| (*s, "", "")).collect();
                workflow(&receiver, name, &steps)
            })
            .collect();
        home.reconfigure(&config(&workflows));
        let daemon = home.start();
        receiver.answer(|_| Reply::Status(200));
        let before = receiver.count();

        let planned = plan(&daemon, &json!({"q": "source:stripe", "mode": "reroute"}));
        let items = daemon.list(&format!("/plans/{}/items", text(&planned["id"])), "");
        for item in &items {
            let name = format!("{}/{}", text(&item["workflow"]), text(&item["step"]));
            let why = item["why"].as_str().unwrap_or_default();
            if suspects.contains(&name.as_str()) {
                assert_eq!(item["would"], "blocked", "{name}: {item}");
                assert!(why.contains("under another name, which is ok"), "{name}: {why}");
            } else if free.contains(&name.as_str()) {
                assert_eq!(item["moves"], true, "{name}: {item}");
            } else {
                assert_eq!(item["moves"], false, "{name}: {item}");
            }
        }
        let replay = begin(&daemon, &planned, json!({}));
        becomes(&daemon, &replay, "done");
        assert_eq!(receiver.count(), before + free.len() * ids.len(), "{suspects:?}");

        // Whoever names the step means it, and says why.
        let step = suspects.last().unwrap().split('/').next_back().unwrap();
        let named =
            plan(&daemon, &json!({"q": format!("source:stripe step:{step}"), "mode": "reroute"}));
        assert_eq!(named["items"]["run_at_risk"], 2, "{named}");
        let unsaid = daemon.tell("/replays", &json!({"plan": named["id"], "hash": named["hash"]}));
        assert_eq!(unsaid.json()["code"], "refused.reason_required");
        let before = receiver.count();
        let replay = begin(&daemon, &named, json!({"reason": "it is another thing"}));
        assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 2);
        assert_eq!(receiver.count(), before + 2);
    }
}

#[test]
fn two_plans_of_one_set_and_two_replays_at_once_make_one_call_each() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let mut daemon = home.start();
    for n in 0..40 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == 40).then_some(()));
    receiver.answer(|_| Reply::Status(200));
    let before = receiver.count();
    let plans: Vec<Value> = (0..4).map(|_| plan(&daemon, &json!({"q": "status:dead"}))).collect();
    // At the same instant; whoever comes late is refused, or finds its items gone.
    let replays: Vec<String> = std::thread::scope(|scope| {
        let begun: Vec<_> = plans
            .iter()
            .map(|plan| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let new = json!({"plan": plan["id"], "hash": plan["hash"], "rate": 60.0});
                    daemon.tell("/replays", &new).json()
                })
            })
            .collect();
        let answers = begun.into_iter().map(|thread| thread.join().unwrap());
        answers.filter_map(|a| a["id"].as_str().map(str::to_owned)).collect()
    });
    assert!(!replays.is_empty());
    receiver.wait_for(before + 10);
    daemon.kill();
    let daemon = home.start();
    for replay in &replays {
        becomes(&daemon, replay, "done");
    }
    daemon.drained();
    let calls = receiver.calls().split_off(before);
    let mut well: Vec<&String> = calls.iter().filter(|c| c.is_ok()).map(|c| &c.key).collect();
    well.sort();
    well.dedup();
    assert_eq!(well.len(), 40);
    // What was answered and not yet recorded as the daemon was killed is the only repetition there is.
    assert!(calls.len() <= 40 + 16, "{} calls", calls.len());
    let ok: u64 = replays
        .iter()
        .map(|r| daemon.get(&format!("/replays/{r}"))["items"]["ok"].as_u64().unwrap())
        .sum();
    assert_eq!(ok, 40, "each item has one replay that did it");
}

#[test]
fn what_was_restarted_and_given_up_runs_again_only_by_another_restart() {
    let receiver = Receiver::start();
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    receiver.answer(|_| Reply::Status(422));
    let restart = || plan(&daemon, &json!({"ids": [id], "mode": "restart"}));
    let replay = begin(&daemon, &restart(), json!({"reason": "the CRM lost it"}));
    becomes(&daemon, &replay, "done");
    // It died as it was restarted: a replay goes on with that, and says what it is.
    let resume = plan(&daemon, &json!({"q": "status:dead"}));
    assert_eq!(resume["items"]["run_at_risk"], 1, "{resume}");
    assert!(text(&resume["groups"][0]["why"]).contains("has succeeded, then died"), "{resume}");

    let task = text(&daemon.list("/dead-letters", "")[0]["id"]).to_owned();
    let given_up =
        daemon.tell("/dead-letters/discard", &json!({"ids": [task], "reason": "never mind"}));
    assert_eq!(given_up.status, 200);
    receiver.answer(|_| Reply::Status(200));
    let before = receiver.count();
    for wanted in [
        json!({"q": "status:discarded"}),
        json!({"ids": [task]}),
        json!({"q": "source:stripe", "mode": "reroute"}),
    ] {
        let planned = plan(&daemon, &wanted);
        assert_eq!(planned["items"]["moves"], 0, "{planned}");
        let replay = begin(&daemon, &planned, json!({"reason": "x"}));
        becomes(&daemon, &replay, "done");
    }
    assert_eq!(receiver.count(), before);
    let replay = begin(&daemon, &restart(), json!({"reason": "after all"}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 1);
    assert_eq!(receiver.count(), before + 1);
}

#[test]
fn a_request_read_again_does_not_repeat_what_it_brought_before() {
    let receiver = Receiver::start();
    let home = Home::new(&acme_config(&receiver));
    // A batch of which one element cannot be read: the others run, the request is a dead letter.
    let batch = |id: &str| acme_definition(id) + "[split]\nat = \"/*\"\n";
    home.write("providers/acme.toml", &batch("/id"));
    let mut daemon = home.start();
    let body =
        r#"[{"id":"a1","number":"n1","type":"order.made"},{"number":"n2","type":"order.made"}]"#;
    let answer = daemon.post(&acme(body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("the first has run", || (receiver.count() == 1).then_some(()));
    daemon.drained();
    assert_eq!(daemon.stats()["dead_letters"], 1, "{}", daemon.stats());
    daemon.stop();

    // Mended, ids are found elsewhere: what came in before is the same event all the same.
    home.write("providers/acme.toml", &batch("/number"));
    let daemon = home.start();
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    let replay = begin(&daemon, &planned, json!({}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 1);
    let stats = daemon.drained();
    assert_eq!((&stats["dead_letters"], &stats["events"]), (&json!(0), &json!(2)), "{stats}");
    assert_eq!(receiver.count(), 2, "the second element runs, and only that");
    // Sent again by its vendor, all of it is known.
    assert_eq!(daemon.post(&acme(body)).status, 200);
    daemon.drained();
    assert_eq!(receiver.count(), 2);
}
