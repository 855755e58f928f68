//! Control over a replay under way: canary, stop-after, concurrency, order, late items, live work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{Daemon, Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{becomes, begin, config, plan, workflow};
use crate::vendor::{self, Signed, stripe, stripe_body};

/// A charge of this subject.
pub(crate) fn charge(id: &str, subject: &str) -> Signed {
    let body = stripe_body(id, "charge.failed").replace(&format!("ch_{id}"), subject);
    vendor::sign_stripe(vendor::STRIPE_SECRET, body.as_bytes(), vendor::now())
}

struct House {
    receiver: Receiver,
    daemon: Daemon,
    home: Home,
}

/// So many dead letters of one step.
fn dead(count: usize) -> House {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    for n in 0..count {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == count).then_some(()));
    House { receiver, daemon, home }
}

#[test]
fn a_canary_that_fails_stops_the_rest() {
    let House { receiver, daemon, home: _home } = dead(20);
    let before = receiver.count();
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    let replay = begin(&daemon, &planned, json!({"canary": 3}));
    let stopped = becomes(&daemon, &replay, "paused");
    assert_eq!(stopped["paused_by"], "canary_failed");
    assert_eq!(stopped["detail"], "canary: 3 of 3 failed");
    assert_eq!(stopped["items"]["pending"], 17, "{stopped}");
    assert_eq!(receiver.count(), before + 3);

    // Whoever resumes it has mended it, and means the rest.
    receiver.answer(|_| Reply::Status(200));
    assert_eq!(daemon.tell(&format!("/replays/{replay}/resume"), &json!({})).status, 200);
    let done = becomes(&daemon, &replay, "done");
    assert_eq!((&done["items"]["ok"], &done["items"]["dead"]), (&json!(17), &json!(3)), "{done}");
    assert_eq!(receiver.count(), before + 20);
    let errors = done["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["count"]), (1, &json!(3)), "{errors:?}");
}

#[test]
fn a_canary_that_is_well_goes_on_or_asks() {
    let House { receiver, daemon, home: _home } = dead(12);
    receiver.answer(|_| Reply::Status(200));
    let before = receiver.count();
    let half = plan(&daemon, &json!({"q": "status:dead", "limit": 6}));
    let replay = begin(&daemon, &half, json!({"canary": 2, "after_canary": "ask"}));
    let asks = becomes(&daemon, &replay, "paused");
    assert_eq!((&asks["paused_by"], &asks["items"]["ok"]), (&json!("canary"), &json!(2)), "{asks}");
    assert_eq!(receiver.count(), before + 2);
    daemon.tell(&format!("/replays/{replay}/resume"), &json!({}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 6);

    let rest = plan(&daemon, &json!({"q": "status:dead"}));
    let replay = begin(&daemon, &rest, json!({"canary": 2}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 6);
    assert_eq!(receiver.count(), before + 12);
}

#[test]
fn it_stops_after_exactly_so_many_failures() {
    let House { receiver, daemon, home: _home } = dead(40);
    let before = receiver.count();
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    let replay = begin(&daemon, &planned, json!({"stop_after": "10%"}));
    let stopped = becomes(&daemon, &replay, "paused");
    assert_eq!((&stopped["paused_by"], &stopped["stop_after"]), (&json!("stop_after"), &json!(4)));
    assert_eq!(receiver.count(), before + 4, "no more than may fail are under way");
    // Resumed, it may fail as often again.
    daemon.tell(&format!("/replays/{replay}/resume"), &json!({"rate": 1000.0}));
    until("it stops again", || {
        let now = daemon.get(&format!("/replays/{replay}"));
        (now["status"] == "paused" && now["items"]["dead"] == 8).then_some(())
    });
    assert_eq!(receiver.count(), before + 8);
    assert_eq!(daemon.tell(&format!("/replays/{replay}/cancel"), &json!({})).status, 200);
    let cancelled = daemon.get(&format!("/replays/{replay}"));
    assert_eq!(cancelled["items"]["cancelled"], 32, "{cancelled}");
}

#[test]
fn no_more_than_its_concurrency_run_at_once() {
    let House { receiver, daemon, home: _home } = dead(15);
    let at_once = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let come = Arc::new(AtomicUsize::new(0));
    let (now, seen) = (Arc::clone(&at_once), Arc::clone(&most));
    // Each waits for a companion, so that two are there at once; the last has none.
    receiver.answer(move |_| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let place = come.fetch_add(1, Ordering::SeqCst) + 1;
        let companion = (place + place % 2).min(15);
        until("its companion", || (companion <= come.load(Ordering::SeqCst)).then_some(()));
        now.fetch_sub(1, Ordering::SeqCst);
        Reply::Status(200)
    });
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    let replay = begin(&daemon, &planned, json!({"concurrency": 2}));
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 15);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn in_order_of_arrival_a_subject_has_one_at_a_time() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    for n in 0..24 {
        daemon.deliver_new(&charge(&format!("evt_{n}"), &format!("ch_{}", n % 3)));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == 24).then_some(()));
    let before = receiver.count();
    // Of a subject, two at once would be seen, and so would any other order: each stays until another
    // subject's is there too, or has nothing to come any more.
    #[derive(Default)]
    struct Seen {
        inside: BTreeMap<String, usize>,
        ended: BTreeMap<String, usize>,
    }
    let seen: Arc<Mutex<Seen>> = Arc::default();
    receiver.answer(move |call| {
        let subject = text(&call.json()["subject"]).to_owned();
        let at_once = {
            let mut seen = seen.lock().unwrap();
            let count = seen.inside.entry(subject.clone()).or_default();
            *count += 1;
            *count
        };
        until("company", || {
            let seen = seen.lock().unwrap();
            let others = ["ch_0", "ch_1", "ch_2"].into_iter().filter(|other| *other != subject);
            let is_there = |other: &str| seen.inside.get(other).is_some_and(|count| 0 < *count);
            let is_over = |other: &str| seen.ended.get(other) == Some(&8);
            let mut others = others.map(|other| (is_there(other), is_over(other)));
            let company = others.clone().any(|(there, _)| there) || others.all(|(_, over)| over);
            company.then_some(())
        });
        let mut seen = seen.lock().unwrap();
        *seen.inside.get_mut(&subject).unwrap() -= 1;
        *seen.ended.entry(subject).or_default() += 1;
        Reply::Status(if at_once == 1 { 200 } else { 422 })
    });
    let planned = plan(&daemon, &json!({"q": "status:dead", "order": "received"}));
    assert_eq!(planned["order"], "received");
    let replay = begin(&daemon, &planned, json!({}));
    let done = becomes(&daemon, &replay, "done");
    assert_eq!(done["items"]["ok"], 24, "{done}");
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for call in receiver.calls().split_off(before) {
        let event = call.json();
        let number = text(&event["data"]["id"]).trim_start_matches("evt_").parse().unwrap();
        seen.entry(text(&event["subject"]).to_owned()).or_default().push(number);
    }
    assert_eq!(seen.len(), 3);
    for (subject, numbers) in seen {
        assert!(numbers.is_sorted(), "{subject}: {numbers:?}");
    }
}

#[test]
fn items_that_come_late_are_said_and_dropped_or_applied_as_told() {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        let is_old = text(&call.json()["data"]["id"]).starts_with("evt_old");
        Reply::Status(if is_old { 422 } else { 200 })
    });
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let daemon = home.start();
    for (id, subject) in [("evt_old_1", "ch_a"), ("evt_old_2", "ch_a"), ("evt_old_3", "ch_b")] {
        let id = daemon.deliver_new(&charge(id, subject));
        daemon.event_becomes(&id, "dead");
    }
    let newer = daemon.deliver_new(&charge("evt_new", "ch_a"));
    daemon.event_becomes(&newer, "ok");
    receiver.answer(|_| Reply::Status(200));
    let before = receiver.count();

    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    assert_eq!(planned["late"], json!({"items": 2, "subjects": 1, "unknown": 0}), "{planned}");
    let unsaid = daemon.tell("/replays", &json!({"plan": planned["id"], "hash": planned["hash"]}));
    assert_eq!((unsaid.status, unsaid.json()["code"].as_str()), (409, Some("refused.late")));
    let args = ["dlq", "replay", "--all-time", "--yes", "--reason", "x", "--wait=60s"];
    let refused = daemon.relayflow(&home, &args).ended(6);
    assert!(refused.err.contains("--late=skip, or --late=apply"), "{}", refused.err);
    assert!(refused.err.contains("2 tasks of 1 subject with a later event"), "{}", refused.err);
    assert_eq!(receiver.count(), before);

    let replay = begin(&daemon, &planned, json!({"late": "skip"}));
    let done = becomes(&daemon, &replay, "done");
    assert_eq!((&done["items"]["ok"], &done["items"]["skipped"]), (&json!(1), &json!(2)), "{done}");
    assert_eq!(receiver.count(), before + 1);
    daemon.relayflow(&home, &[&args[..], &["--late", "apply"]].concat()).ended(0);
    assert_eq!(receiver.count(), before + 3);
}

#[test]
fn live_work_goes_before_a_replays() {
    let House { receiver, daemon, home: _home } = dead(120);
    // Nobody is answered before the live event stands in line: so the replay's tasks stand there too.
    let come = Arc::new(AtomicUsize::new(0));
    let before_live = Arc::new(AtomicUsize::new(usize::MAX));
    let goes = Arc::new(AtomicBool::new(false));
    let (arrived, place, go) = (Arc::clone(&come), Arc::clone(&before_live), Arc::clone(&goes));
    receiver.answer(move |call| {
        if text(&call.json()["data"]["id"]) == "evt_live" {
            place.store(arrived.load(Ordering::SeqCst), Ordering::SeqCst);
            return Reply::Status(200);
        }
        arrived.fetch_add(1, Ordering::SeqCst);
        until("the live event stands in line", || go.load(Ordering::SeqCst).then_some(()));
        Reply::Status(200)
    });
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    let replay = begin(&daemon, &planned, json!({}));
    until("some run, and the others stand in line", || {
        let items = daemon.get(&format!("/replays/{replay}"))["items"].clone();
        (0 < come.load(Ordering::SeqCst) && items["pending"] == 0).then_some(())
    });
    let live = daemon.deliver_new(&stripe("evt_live", "charge.failed"));
    goes.store(true, Ordering::SeqCst);
    daemon.event_becomes(&live, "ok");
    // At most sixteen run, and some may be on their way.
    let before = before_live.load(Ordering::SeqCst);
    assert!(before <= 48, "the live event waited for {before} of a replay's");
    assert_eq!(becomes(&daemon, &replay, "done")["items"]["ok"], 120);
}
