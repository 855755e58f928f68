//! What a replay may run again, and what it says beforehand: resume, restart, reroute.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{Daemon, Home, RETRY, text, until};
use crate::quarantine::{acme, acme_config, acme_definition};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, stripe, stripe_body};

/// A workflow on everything, with these steps: name, the steps that it needs, more settings.
pub(crate) fn workflow(receiver: &Receiver, name: &str, steps: &[(&str, &str, &str)]) -> String {
    let mut config = format!("[workflows.{name}]\non = [\"*\"]\n");
    for (step, needs, more) in steps {
        config.push_str(&format!(
            "[[workflows.{name}.steps]]\nname = \"{step}\"\nneeds = [{needs}]\n{more}\n\
             http = {{ method = \"POST\", url = \"{}\" }}\n",
            receiver.url(&format!("/{name}/{step}"))
        ));
    }
    config
}

pub(crate) fn config(workflows: &str) -> String {
    format!("{RETRY}{}{workflows}", vendor::sources())
}

#[track_caller]
pub(crate) fn plan(daemon: &Daemon, wanted: &Value) -> Value {
    let mut wanted = wanted.clone();
    wanted["action"] = json!("replay");
    let answer = daemon.tell("/plans", &wanted);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

#[track_caller]
pub(crate) fn begin(daemon: &Daemon, plan: &Value, how: Value) -> String {
    let mut wanted = how;
    wanted["plan"] = plan["id"].clone();
    wanted["hash"] = plan["hash"].clone();
    let answer = daemon.tell("/replays", &wanted);
    assert_eq!(answer.status, 201, "{}", answer.text());
    text(&answer.json()["id"]).to_owned()
}

#[track_caller]
pub(crate) fn becomes(daemon: &Daemon, replay: &str, status: &str) -> Value {
    until(&format!("{replay} is {status}"), || {
        let replay = daemon.get(&format!("/replays/{replay}"));
        (replay["status"] == status).then_some(replay)
    })
}

fn paths(receiver: &Receiver) -> Vec<String> {
    receiver.calls().into_iter().map(|call| call.path).collect()
}

#[test]
fn what_succeeded_runs_again_only_where_that_is_asked_for_with_a_reason() {
    let receiver = Receiver::start();
    let steps = [("first", "", ""), ("second", "\"first\"", "")];
    let home = Home::new(&config(&workflow(&receiver, "w", &steps)));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");

    // Resuming finds nothing to do, and says so.
    let resume = plan(&daemon, &json!({"q": format!("status:ok {id}")}));
    assert_eq!(
        resume["items"],
        json!({"total": 2, "run": 0, "run_at_risk": 0, "skip": 2,
        "blocked": 0, "moves": 0})
    );
    let nothing = begin(&daemon, &resume, json!({}));
    assert_eq!(becomes(&daemon, &nothing, "done")["items"]["skipped"], 2);
    assert_eq!(receiver.count(), 2, "a success is never run again");

    let restart = plan(&daemon, &json!({"ids": [id], "mode": "restart"}));
    assert_eq!(restart["items"]["run_at_risk"], 2, "{restart}");
    let why = text(&restart["groups"][0]["why"]);
    assert!(why.contains("unknown whether its destination drops doubles"), "{why}");
    let without = json!({"plan": restart["id"], "hash": restart["hash"], "reason": " "});
    let refused = daemon.tell("/replays", &without);
    assert_eq!(refused.json()["code"], "refused.reason_required");

    let replay = begin(&daemon, &restart, json!({"reason": "the CRM lost it"}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 2);
    assert_eq!(paths(&receiver), ["/w/first", "/w/second", "/w/first", "/w/second"]);
    for calls in receiver.by_key().values() {
        let attempts: Vec<u32> = calls.iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, [1, 2], "the same key, and attempts go on counting");
    }

    // One step by name: the other is left alone.
    let one = plan(&daemon, &json!({"q": format!("step:second {id}"), "mode": "restart"}));
    assert_eq!(one["items"]["total"], 1, "{one}");
    let replay = begin(&daemon, &one, json!({"reason": "only that"}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 1);
    assert_eq!(paths(&receiver)[4..], ["/w/second"]);
    daemon.event_becomes(&id, "ok");
}

#[test]
fn routing_again_adds_what_there_was_none_of_and_repeats_nothing() {
    let receiver = Receiver::start();
    receiver.answer(|call| Reply::Status(if call.path == "/old/dies" { 422 } else { 200 }));
    let old =
        workflow(&receiver, "old", &[("kept", "", ""), ("dies", "", ""), ("dropped", "", "")]);
    let home = Home::new(&config(&old));
    let mut daemon = home.start();
    let ids = ["evt_1", "evt_2"].map(|id| daemon.deliver_new(&stripe(id, "charge.failed")));
    for id in &ids {
        daemon.event_becomes(id, "dead");
    }
    daemon.stop();

    let kept = workflow(&receiver, "old", &[("kept", "", ""), ("dies", "", "")]);
    let new = workflow(&receiver, "new", &[("b", "\"a\"", ""), ("a", "", "")]);
    home.reconfigure(&config(&format!("{kept}{new}")));
    let daemon = home.start();
    let before = receiver.count();
    let wanted = json!({"q": "source:stripe", "mode": "reroute"});
    let first = plan(&daemon, &wanted);
    assert_eq!(
        first["items"],
        json!({"total": 8, "run": 4, "run_at_risk": 0, "skip": 4,
        "blocked": 0, "moves": 4})
    );
    let difference = &first["difference"];
    assert_eq!(difference["events"], 2);
    assert_eq!(difference["events_changed"], 0, "{difference}");
    let what = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|r| format!("{} {}", text(&r["what"]), r["count"])).collect()
    };
    assert_eq!(what(&difference["routes_added"]), ["new/a 2", "new/b 2"]);
    assert_eq!(what(&difference["routes_lost"]), ["old/dropped 2"]);
    assert_eq!(receiver.count(), before, "a plan runs nothing");

    let same = plan(&daemon, &wanted);
    let replay = begin(&daemon, &first, json!({}));
    let done = becomes(&daemon, &replay, "done");
    assert_eq!((&done["items"]["ok"], &done["items"]["skipped"]), (&json!(4), &json!(4)), "{done}");
    let mut called: Vec<String> = paths(&receiver).split_off(before);
    called.sort();
    assert_eq!(called, ["/new/a", "/new/a", "/new/b", "/new/b"]);
    let items = daemon.list(&format!("/replays/{replay}/items"), "");
    let keys = receiver.by_key();
    let of_new = items.iter().filter(|i| i["workflow"] == "new");
    assert!(of_new.clone().all(|i| keys.contains_key(text(&i["id"]))), "the planned ids ran");
    assert_eq!(of_new.count(), 4);

    // The other plan would have added the same: it is refused, and a new one has nothing to add.
    let late = json!({"plan": same["id"], "hash": same["hash"]});
    let refused = daemon.tell("/replays", &late);
    assert_eq!(refused.json()["code"], "refused.plan_changed");
    assert!(refused.text().contains("was new, is ok"), "{}", refused.text());
    assert_eq!(plan(&daemon, &wanted)["items"]["moves"], 0);
    let event = daemon.get(&format!("/events/{}", ids[0]));
    assert_eq!(event["tasks"]["ok"], 4, "{event}");
}

#[test]
fn an_event_that_reads_otherwise_today_runs_as_it_reads_today() {
    let receiver = Receiver::start();
    let home = Home::new(&acme_config(&receiver));
    home.write("providers/acme.toml", &acme_definition("/id"));
    let mut daemon = home.start();
    let id = daemon.deliver(&acme(r#"{"id":"a1","type":"order.made","sum":4200}"#))[0].0.clone();
    assert_eq!(daemon.event_becomes(&id, "ok")["kind"], Value::Null);

    // The vendor's word gets a meaning: first tried against what came in, then taken.
    let mended = acme_definition("/id")
        + "[kind.\"order.paid\"]\ntypes = [\"order.made\"]\n\
           attributes = { amount_minor = \"/sum\" }\n";
    let paid = workflow(&receiver, "paid", &[("s", "", "")])
        .replace("on = [\"*\"]", "on = [\"order.paid\"]");
    let next = acme_config(&receiver).replace("dir = \"providers\"", "dir = \"next\"") + &paid;
    home.write("next/acme.toml", &mended);
    home.write("next.toml", &next);
    let args = [
        "replay",
        "create",
        "source:acme",
        "--since",
        "1h",
        "--mode",
        "reroute",
        "--config",
        "next.toml",
        "--dry-run",
        "-o",
        "json",
    ];
    let candidate = daemon.relayflow(&home, &args).ended(0).json();
    let difference = &candidate["difference"];
    assert_eq!(difference["events_changed"], 1, "{difference}");
    let fields: Vec<&str> =
        difference["fields"].as_array().unwrap().iter().map(|f| text(&f["field"])).collect();
    assert_eq!(fields, ["attributes.amount_minor", "kind"]);
    assert_eq!(difference["routes_added"][0]["what"], "paid/s");
    assert_eq!(daemon.get(&format!("/events/{id}"))["kind"], Value::Null, "nothing is changed");

    daemon.stop();
    home.write("providers/acme.toml", &mended);
    home.reconfigure(&(acme_config(&receiver) + &paid));
    let daemon = home.start();
    let plan = plan(&daemon, &json!({"q": "source:acme", "mode": "reroute"}));
    assert_eq!((&plan["items"]["moves"], &plan["items"]["skip"]), (&json!(1), &json!(1)), "{plan}");
    let replay = begin(&daemon, &plan, json!({"reason": "order.made is order.paid"}));
    becomes(&daemon, &replay, "done");
    let calls = receiver.wait_for(2);
    let cloud = calls[1].json();
    assert_eq!((calls[1].path.as_str(), &cloud["data"]["sum"]), ("/paid/s", &json!(4200)));
    assert_eq!(cloud["kind"], "order.paid", "{cloud}");
    // The event itself stays as it came in; how it is read is a revision of it.
    let event = daemon.get(&format!("/events/{id}"));
    assert_eq!(event["kind"], Value::Null);
    let revision = &event["revisions"][0];
    assert_eq!(
        (&revision["kind"], &revision["number"]),
        (&json!("order.paid"), &json!(1)),
        "{event}"
    );
    assert_eq!(revision["reason"], "order.made is order.paid");
}

#[test]
fn a_plan_says_what_is_at_risk_and_what_is_blocked() {
    let receiver = Receiver::start();
    receiver.answer(|call| match call.path.as_str() {
        "/w/refused" => Reply::Status(422),
        _ => Reply::Hangup,
    });
    let steps = [
        ("refused", "", ""),
        ("unknown", "", ""),
        ("safe", "", "dedupes = true"),
        ("doubles", "", "dedupes = false"),
        ("gone", "", ""),
    ];
    let home = Home::new(&config(&workflow(&receiver, "w", &steps)));
    let mut daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    until("all are dead", || (daemon.stats()["dead_letters"] == 5).then_some(()));
    daemon.stop();
    home.reconfigure(&config(&workflow(&receiver, "w", &steps[..4])));
    let daemon = home.start();

    let plan = plan(&daemon, &json!({"ids": [id]}));
    assert_eq!(
        plan["items"],
        json!({"total": 5, "run": 2, "run_at_risk": 2, "skip": 0,
        "blocked": 1, "moves": 4}),
        "{plan}"
    );
    let groups = plan["groups"].as_array().unwrap();
    let said: Vec<String> = groups
        .iter()
        .map(|g| format!("{} {}: {}", text(&g["would"]), text(&g["effect"]), text(&g["why"])))
        .collect();
    for wanted in [
        "run POST refused: was refused before",
        "run POST safe: its destination drops doubles (dedupes = true)",
        "run_at_risk POST unknown: unknown whether",
        "run_at_risk POST doubles: its destination drops no doubles (dedupes = false)",
        "blocked : the config has no step w/gone any more",
    ] {
        assert!(said.iter().any(|s| s.starts_with(wanted)), "no `{wanted}` in {said:#?}");
    }

    receiver.answer(|_| Reply::Status(200));
    let replay = begin(&daemon, &plan, json!({}));
    let done = becomes(&daemon, &replay, "done");
    assert_eq!((&done["items"]["ok"], &done["items"]["skipped"]), (&json!(4), &json!(1)), "{done}");
    let items = daemon.list(&format!("/replays/{replay}/items"), "");
    let gone = items.iter().find(|i| i["step"] == "gone").unwrap();
    assert_eq!(gone["why"], "the config has no step w/gone any more");
}

#[test]
fn a_candidate_is_tested_against_what_came_in_and_never_runs() {
    let receiver = Receiver::start();
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    let other = vendor::sign_stripe(
        vendor::STRIPE_SECRET,
        stripe_body("evt_2", "charge.failed").replace("4200", "100").as_bytes(),
        vendor::now(),
    );
    let small = daemon.deliver_new(&other);
    daemon.event_becomes(&small, "ok");

    let next = workflow(&receiver, "next", &[("s", "", "")]).replace(
        "on = [\"*\"]",
        "on = [\"payment.failed\"]\nwhen = 'event.attributes.amount_minor > 1000'",
    );
    // A candidate's secrets are not fetched: they may be elsewhere.
    let sources = "[sources.stripe]\nprovider = \"stripe\"\nsecrets = [{ env = \"NOWHERE\" }]\n";
    home.write("next.toml", &format!("{sources}{next}"));
    let args = [
        "replay",
        "create",
        "source:stripe",
        "--since",
        "1h",
        "--mode",
        "reroute",
        "--config",
        "next.toml",
        "--dry-run",
    ];
    let shown = daemon.relayflow(&home, &args).ended(0);
    for line in ["routed  2 events", "added   1  next/s", "lost    2  w/s", "never runs"] {
        assert!(shown.out.contains(line), "no `{line}` in {}", shown.out);
    }
    let json = daemon.relayflow(&home, &[&args[..], &["-o", "json"]].concat()).ended(0).json();
    assert_eq!(json["is_candidate"], true);
    assert_eq!(json["difference"]["routes_added"][0]["example"], id);
    let refused = daemon.tell("/replays", &json!({"plan": json["id"], "hash": json["hash"]}));
    assert_eq!(refused.json()["code"], "refused.plan_expired");
    assert_eq!(receiver.count(), 2);

    home.write("next.toml", &format!("{sources}[workflows.next]\non = [\"payment.failled\"]\n"));
    let wrong = daemon.relayflow(&home, &args).ended(2);
    assert!(wrong.err.contains("payment.failled"), "{}", wrong.err);
}

#[test]
fn a_step_with_an_order_runs_one_at_a_time_for_each_key_and_replays_go_by_it() {
    let receiver = Receiver::start();
    let at_once = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let (for_calls, is_down) = (Arc::clone(&at_once), Arc::new(AtomicBool::new(true)));
    let down = Arc::clone(&is_down);
    receiver.answer(move |call| {
        let event = call.json();
        let customer = text(&event["data"]["data"]["object"]["customer"]).to_owned();
        let now = {
            let mut running = for_calls.lock().unwrap();
            let count = running.entry(customer.clone()).or_default();
            *count += 1;
            *count
        };
        assert_eq!(now, 1, "{customer}");
        // A call takes a moment, in which another of its key would meet it.
        std::thread::sleep(std::time::Duration::from_millis(3));
        let is_first = text(&event["data"]["id"]) == "evt_a_0";
        *for_calls.lock().unwrap().get_mut(&customer).unwrap() -= 1;
        Reply::Status(if is_first && down.load(Ordering::SeqCst) { 422 } else { 200 })
    });
    let order = "order_by = \"event.payload.data.object.customer\"";
    let home = Home::new(&config(&workflow(&receiver, "w", &[("call", "", order)])));
    let daemon = home.start();
    let body = |id: &str, customer: &str| {
        stripe_body(id, "charge.failed").replace(&format!("cus_{id}"), customer)
    };
    for n in 0..20 {
        for customer in ["a", "b"] {
            let body = body(&format!("evt_{customer}_{n}"), customer);
            daemon.deliver_new(&vendor::sign_stripe(
                vendor::STRIPE_SECRET,
                body.as_bytes(),
                vendor::now(),
            ));
        }
    }
    daemon.drained();
    let of = |customer: &str| -> Vec<String> {
        let calls = receiver.calls().into_iter().map(|call| call.json());
        let ids = calls.map(|event| text(&event["data"]["id"]).to_owned());
        ids.filter(|id| id.contains(customer)).collect()
    };
    for customer in ["_a_", "_b_"] {
        let wanted: Vec<_> = (0..20).map(|n| format!("evt{customer}{n}")).collect();
        assert_eq!(of(customer), wanted);
    }
    // Each is about another object, so only the key tells that later ones are done.
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    assert_eq!((&planned["late"]["items"], &planned["late"]["subjects"]), (&json!(1), &json!(1)));
    is_down.store(false, Ordering::SeqCst);
    let replay = begin(&daemon, &planned, json!({"late": "apply"}));
    let done = becomes(&daemon, &replay, "done");
    assert_eq!(done["items"]["ok"], 1);
    assert_eq!(receiver.count(), 41);
    let again = plan(
        &daemon,
        &json!({"q": "external:evt_a_3,evt_a_5,evt_a_4", "mode": "restart", "order": "received"}),
    );
    let replay = begin(&daemon, &again, json!({"late": "apply", "reason": "lost there"}));
    becomes(&daemon, &replay, "done");
    assert_eq!(of("_a_").get(21..).unwrap(), ["evt_a_3", "evt_a_4", "evt_a_5"]);

    // What is not there is an error, never an order of its own.
    let strange = body("evt_c", "c").replace("\"customer\"", "\"client\"");
    let id = daemon.deliver_new(&vendor::sign_stripe(
        vendor::STRIPE_SECRET,
        strange.as_bytes(),
        vendor::now(),
    ));
    let event = daemon.event_becomes(&id, "dead");
    assert!(text(&event["steps"][0]["last_error"]).contains("order_by"), "{event}");
}
