//! Many payloads mended by expression: planned with each difference, held against contract and workflow,
//! frozen, and run.

use serde_json::{Value, json};

use crate::harness::{Daemon, Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{becomes, begin, config, workflow};
use crate::vendor::{self, Signed, stripe, stripe_body};

/// A charge whose vendor calls the plan `plan_name`, where the destination wants `plan_id`.
fn renamed(id: &str, plan: Option<&str>) -> Signed {
    let more = plan
        .map(|p| format!(", \"plan_name\": \"{p}\", \"big\": 12345678901234567890123"))
        .unwrap_or_default();
    let body = stripe_body(id, "charge.failed").replace(
        "\"failure_message\": \"Your card was declined.\"",
        &format!("\"failure_message\": null{more}"),
    );
    vendor::sign_stripe(vendor::STRIPE_SECRET, body.as_bytes(), vendor::now())
}

struct House {
    receiver: Receiver,
    home: Home,
    daemon: Daemon,
}

/// Dead letters of a destination that wants a `plan_id`; the last of them has no `plan_name` either.
fn house(count: usize) -> House {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        let has_plan = call.json()["data"]["data"]["object"]["plan_id"].is_string();
        Reply::Status(if has_plan { 200 } else { 422 })
    });
    // What a few events had in common would be a contract soon.
    let config = config(&workflow(&receiver, "w", &[("s", "", "")]));
    let home = Home::new(&format!("{config}[drift]\nenabled = false\n"));
    let daemon = home.start();
    for n in 0..count {
        let name = format!("plan-{n}");
        daemon.deliver_new(&renamed(&format!("evt_{n}"), (n + 1 < count).then_some(name.as_str())));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == count).then_some(()));
    House { receiver, home, daemon }
}

const MAP: [&str; 4] = [
    "--map",
    "data.object.plan_id=event.payload.data.object.plan_name",
    "--unset",
    "data.object.plan_name",
];

#[test]
fn a_bulk_edit_shows_each_difference_and_runs_what_holds() {
    let House { receiver, home, daemon } = house(9);
    let edit = |more: &[&str]| {
        let args = [&["dlq", "edit", "source:stripe", "--since", "1h"][..], &MAP, more].concat();
        daemon.relayflow(&home, &args)
    };
    let before = receiver.count();
    // Nothing to mend with, and nothing said about why.
    daemon.relayflow(&home, &["dlq", "edit", "source:stripe", "--reason", "x"]).ended(2);
    edit(&["--yes"]).ended(6);

    let dry = edit(&["--dry-run"]).ended(0);
    for line in [
        "edit      8 payloads edited, 1 not valid",
        "/data/object/plan_id  – → \"plan-0\"",
        "/data/object/plan_name  \"plan-0\" → –",
        "and 3 events more: -o ndjson has each",
        "blocked",
    ] {
        assert!(dry.out.contains(line), "no `{line}` in\n{}", dry.out);
    }
    let narrow =
        [&["dlq", "edit", "source:stripe", "--since", "1h", "--dry-run"][..], &MAP].concat();
    let mut narrow = daemon.cli(&home, &narrow);
    narrow.env("RELAYFLOW_FORCE_TTY", "80").env("NO_COLOR", "1");
    let narrow = String::from_utf8(narrow.output().unwrap().stdout).unwrap();
    // What is to be typed stays in one piece.
    let mut lines = narrow.lines().filter(|line| !line.starts_with("run it"));
    assert!(lines.all(|line| line.chars().count() <= 80), "{narrow}");
    let plan = edit(&["--dry-run", "-o", "json"]).ended(0).json();
    assert_eq!(
        (&plan["items"]["moves"], &plan["items"]["blocked"]),
        (&json!(8), &json!(1)),
        "{plan}"
    );
    assert_eq!(plan["needs_reason"], true);
    let lines = edit(&["--dry-run", "-o", "ndjson"]).ended(0).lines();
    assert_eq!(lines.len(), 1 + 9, "the plan, and each of its items");
    let changed: Vec<&Value> = lines.iter().filter(|l| l["changes"].is_array()).collect();
    assert_eq!(changed.len(), 8);
    assert_eq!(changed[0]["changes"].as_array().unwrap().len(), 2, "{}", changed[0]);
    let blocked = lines.iter().find(|l| l["would"] == "blocked").unwrap();
    assert!(text(&blocked["why"]).contains("data.object.plan_id: "), "{blocked}");
    assert_eq!(receiver.count(), before, "a plan runs nothing");
    assert!(daemon.list("/events", "").iter().all(|e| e["revisions"].is_null()));

    // Without a reason no such plan runs, by whatever way.
    let unsaid = daemon.tell("/replays", &json!({"plan": plan["id"], "hash": plan["hash"]}));
    assert_eq!(unsaid.json()["code"], "refused.reason_required");
    edit(&["--yes", "--reason", "the vendor calls it plan_name", "--wait=60s"]).ended(0);
    assert_eq!(receiver.count(), before + 8);
    assert_eq!(daemon.stats()["dead_letters"], 1);
    let event = &daemon.list("/events", "status:ok")[0];
    let event = daemon.get(&format!("/events/{}", text(&event["id"])));
    let revision = &event["revisions"][0];
    assert_eq!(revision["reason"], "the vendor calls it plan_name");
    assert!(!text(&revision["who"]).is_empty() && text(&revision["plan"]).starts_with("pln_"));
    assert!(revision["payload"]["data"]["object"]["plan_id"].is_string(), "{revision}");
    assert!(revision["payload"]["data"]["object"]["plan_name"].is_null(), "{revision}");
    assert!(event["payload"]["data"]["object"]["plan_name"].is_string(), "what came in stays");
    assert!(daemon.timeline(text(&event["id"])).iter().any(|w| w == "edited"));
    // What nobody named is sent as the vendor wrote it.
    let sent = receiver.calls().pop().unwrap();
    assert!(String::from_utf8_lossy(&sent.body).contains("12345678901234567890123"));

    // Once more: nothing is left that it could do.
    let again = edit(&["--yes", "--reason", "again", "--wait=60s", "-o", "json"]);
    assert_eq!(again.exit, 0, "{again:?}");
    assert_eq!(receiver.count(), before + 8);
}

#[test]
fn what_breaks_the_contract_or_is_not_taken_by_its_workflow_never_runs() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let when = "[workflows.w]\non = [\"*\"]\nwhen = 'event.attributes.amount_minor > 1000'\n";
    let workflows =
        workflow(&receiver, "w", &[("s", "", "")]).replace("[workflows.w]\non = [\"*\"]\n", when);
    let home = Home::new(&config(&workflows));
    let daemon = home.start();
    for n in 0..4 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == 4).then_some(()));
    let learn = [
        "contract",
        "learn",
        "--source",
        "stripe",
        "--type",
        "charge.failed",
        "--since",
        "1h",
        "--write",
    ];
    daemon.relayflow(&home, &learn).ended(0);
    let before = receiver.count();
    let plan_of = |set: &str| {
        let args = ["dlq", "edit", "--since", "1h", "--set", set, "--dry-run", "-o", "ndjson"];
        daemon.relayflow(&home, &args).ended(0).lines()
    };
    for (set, why) in [
        (
            "data.object.amount=a lot",
            "breaks the contract of stripe charge.failed: /data/object/amount",
        ),
        ("data.object.amount=7", "w does not take it"),
        ("id=evt_other", "another event"),
        ("type=charge.succeeded", "another type"),
    ] {
        let lines = plan_of(set);
        assert_eq!(lines[0]["items"]["moves"], 0, "{set}: {}", lines[0]);
        for item in &lines[1..] {
            assert_eq!(item["would"], "blocked", "{set}: {item}");
            assert!(text(&item["why"]).contains(why), "{set}: {item}");
        }
    }
    // The same of one item, in flags: it is refused, and says why; nothing is kept.
    let letters = daemon.relayflow(&home, &["dlq", "ls", "-o", "name"]).ended(0).out;
    let task = letters.lines().next().unwrap();
    let one = ["dlq", "edit", task, "--set", "data.object.amount=a lot", "--reason", "x"];
    let refused = daemon.relayflow(&home, &one).ended(2);
    assert!(refused.err.contains("breaks the contract"), "{}", refused.err);
    assert!(
        daemon
            .list("/events", "")
            .iter()
            .all(|e| { daemon.get(&format!("/events/{}", text(&e["id"])))["revisions"].is_null() })
    );
    // An expression that is none says where.
    let wrong = ["dlq", "edit", "--since", "1h", "--map", "x=event.paylod.id", "--dry-run"];
    let wrong = daemon.relayflow(&home, &wrong).ended(2);
    assert!(wrong.err.contains("did you mean `event.payload`?"), "{}", wrong.err);
    assert_eq!(receiver.count(), before);
}

#[test]
fn a_plan_with_edits_is_frozen_and_survives_the_daemon() {
    let House { receiver, home, mut daemon } = house(30);
    let wanted = json!({"action": "replay", "q": "status:dead", "edit": {
        "map": [{"path": "/data/object/plan_id", "expression": "event.payload.data.object.plan_name | upper"}],
        "set": [{"path": "data.mended", "value": "true"}]}});
    let made = || daemon.tell("/plans", &wanted).json();
    let (first, second) = (made(), made());
    assert_eq!(first["hash"], second["hash"], "the same edit of the same set is the same plan");
    let other = json!({"action": "replay", "q": "status:dead", "edit": {"set": [
        {"path": "/data/object/plan_id", "value": "\"basic\""}]}});
    assert_ne!(daemon.tell("/plans", &other).json()["hash"], first["hash"]);
    let before = receiver.count();
    let replay = begin(&daemon, &first, json!({"reason": "x", "rate": 100.0}));
    receiver.wait_for(before + 5);
    daemon.kill();
    let daemon = home.start();
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 29);
    let calls = receiver.calls().split_off(before);
    for call in &calls {
        let object = &call.json()["data"]["data"]["object"];
        assert!(text(&object["plan_id"]).starts_with("PLAN-"), "{object}");
    }
    let ok = calls.iter().filter(|call| call.is_ok()).map(|call| &call.key);
    assert_eq!(ok.collect::<std::collections::BTreeSet<_>>().len(), 29);
    let late = daemon
        .tell("/replays", &json!({"plan": second["id"], "hash": second["hash"], "reason": "x"}));
    assert_eq!(late.json()["code"], "refused.plan_changed");
    assert!(daemon.get("/stats")["dead_letters"] == 1);
}

#[test]
fn the_editor_opens_again_until_what_it_gives_is_valid() {
    use crate::tui::screen::Tui;
    let House { receiver, home, daemon } = house(2);
    let letters = daemon.relayflow(&home, &["dlq", "ls", "-o", "name"]).ended(0).out;
    let task = letters.lines().last().unwrap().to_owned();
    // First what is another event, then what is right; each time from what it was given.
    home.script(
        "editor.sh",
        "#!/bin/sh\nn=$(cat count 2>/dev/null || echo 0)\necho $((n + 1)) > count\n\
         if [ $n = 0 ]; then sed -i 's/\"id\": \"evt_0\"/\"id\": \"evt_9\"/; s/plan_name/plan_id/' \"$1\"\n\
         else grep -q evt_9 \"$1\" && sed -i 's/\"id\": \"evt_9\"/\"id\": \"evt_0\"/' \"$1\"; fi\n",
    );
    let editor = home.path("editor.sh").display().to_string();
    let args = ["dlq", "edit", &task, "--reason", "by hand", "--wait=60s"];
    let mut terminal = Tui::start(daemon.cli(&home, &args), (100, 50), &[("EDITOR", &editor)]);
    terminal.shows("Keep this as a revision, and run it? [y/N]");
    terminal.shows("+       \"plan_id\": \"plan-0\"");
    terminal.press("y\r");
    terminal.shows("another event");
    terminal.shows("Edit again? [Y/n]");
    terminal.press("\r");
    until("it is asked again", || {
        (terminal.screen().matches("Keep this as a revision").count() == 2).then_some(())
    });
    terminal.press("y\r");
    terminal.shows("1 done: 1 ok");
    assert_eq!(home.read("count").as_deref(), Some("2\n"));
    assert_eq!(
        receiver.calls().last().unwrap().json()["data"]["data"]["object"]["plan_id"],
        "plan-0"
    );
}
