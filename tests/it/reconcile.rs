//! Missed events: vendors' own lists, on loopback, against what arrived; and the rest, taken in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use relayflow_core::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{Daemon, Home, text, until};
use crate::receiver::{Call, Receiver, Reply};
use crate::vendor::{self, github, github_issue, sign_stripe, stripe_body};

/// Never to be seen anywhere but at the vendor.
const TOKEN: &str = "rk_live_canary_5f1c0ffee0123456789";
const HOOK: &str = "repos/acme/shop/hooks/7";

/// Both sources with access to `api`, and one call for each event.
fn config(api: &Receiver, destination: &Receiver) -> String {
    let base = api.url("");
    format!(
        "{}[sources.stripe.reconcile]\nbase_url = \"{base}\"\ntoken = {{ env = \"VENDOR_TOKEN\" }}\n\
         types = [\"charge.*\"]\n\
         [sources.github.reconcile]\nbase_url = \"{base}\"\ntoken = {{ env = \"VENDOR_TOKEN\" }}\n\
         params = {{ hook = \"{HOOK}\" }}\n\
         [workflows.w]\non = [\"*\"]\n[[workflows.w.steps]]\nname = \"call\"\n\
         http = {{ method = \"POST\", url = \"{}\" }}\n",
        vendor::sources(),
        destination.url("/x"),
    )
}

fn start(home: &Home) -> Daemon {
    home.start_with(&[("VENDOR_TOKEN", TOKEN)])
}

/// A value of a query, decoded.
fn parameter(call: &Call, name: &str) -> Option<String> {
    let query = call.path.split_once('?')?.1.replace("%5B", "[").replace("%5D", "]");
    let pair = query.split('&').find(|pair| pair.split('=').next() == Some(name))?.to_owned();
    pair.split_once('=').map(|(_, value)| value.to_owned())
}

fn is_authorized(call: &Call) -> bool {
    call.header("authorization") == Some(&format!("Bearer {TOKEN}"))
}

fn refused() -> Reply {
    Reply::Json(401, format!("{{\"message\":\"bad token {TOKEN}\"}}"))
}

/// A list of events in pages of two, the latest first, that goes on behind the last.
fn event_list(bodies: Vec<String>) -> impl Fn(&Call) -> Reply {
    move |call| {
        if !is_authorized(call) {
            return refused();
        }
        assert!(call.path.starts_with("/v1/events?"), "{}", call.path);
        assert!(
            parameter(call, "created[gte]").is_some() && parameter(call, "created[lt]").is_some()
        );
        let id =
            |body: &String| text(&serde_json::from_str::<Value>(body).unwrap()["id"]).to_owned();
        let after = parameter(call, "starting_after");
        let from = after.map_or(0, |after| {
            bodies.iter().position(|body| id(body) == after).map_or(bodies.len(), |at| at + 1)
        });
        let page: Vec<_> = bodies.iter().skip(from).take(2).cloned().collect();
        let more = from + page.len() < bodies.len();
        Reply::Json(
            200,
            format!("{{\"object\":\"list\",\"has_more\":{more},\"data\":[{}]}}", page.join(",")),
        )
    }
}

/// A list of deliveries in pages of two that goes on by its `Link`; of each the detail is at its number.
struct Deliveries {
    /// guid, event, body: the latest first.
    all: Vec<(String, String, String)>,
    /// Numbers of deliveries whose details are gone.
    gone: Mutex<Vec<usize>>,
    limited: AtomicBool,
    /// When all of them were sent.
    at: String,
}

impl Deliveries {
    fn of(numbers: std::ops::Range<u32>) -> Arc<Self> {
        let one = |n| (format!("guid-{n}"), "issues".to_owned(), github_issue(n));
        let (gone, limited) = (Mutex::new(vec![]), AtomicBool::new(false));
        let at = Clock::Wall.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Arc::new(Self { at, all: numbers.rev().map(one).collect(), gone, limited })
    }

    fn answer(&self, call: &Call) -> Reply {
        if !is_authorized(call) {
            return refused();
        }
        if self.limited.swap(false, Ordering::SeqCst) {
            return Reply::With(429, "retry-after", "1".to_owned());
        }
        let path = call.path.split('?').next().unwrap();
        let deliveries = format!("/{HOOK}/deliveries");
        if let Some(number) = path.strip_prefix(&format!("{deliveries}/")) {
            let number: usize = number.parse().unwrap();
            if self.gone.lock().unwrap().contains(&number) {
                return Reply::Json(404, "{\"message\":\"Not Found\"}".to_owned());
            }
            let (guid, event, body) = self.all.get(number).unwrap();
            let payload: Value = serde_json::from_str(body).unwrap();
            let signed = github(guid, event, body.as_bytes());
            let headers: serde_json::Map<_, _> =
                signed.headers.into_iter().map(|(n, v)| (n, Value::from(v))).collect();
            let detail = json!({"id": number, "guid": guid,
                "request": {"headers": headers, "payload": payload}});
            return Reply::Json(200, serde_json::to_string_pretty(&detail).unwrap());
        }
        assert_eq!(path, deliveries);
        let from: usize = parameter(call, "cursor").map_or(0, |c| c.parse().unwrap());
        let at = &self.at;
        let page = self.all.iter().enumerate().skip(from).take(2);
        let rows: Vec<Value> = page
            .map(|(number, (guid, event, _))| {
                json!({"id": number, "guid": guid, "delivered_at": at, "redelivery": false,
                    "status": "failed to connect to host", "status_code": 0, "event": event,
                    "action": "opened"})
            })
            .collect();
        let body = Value::from(rows).to_string();
        // Its link points to another host, which must never be asked.
        if from + 2 < self.all.len() {
            let link =
                format!("<http://127.0.0.1:9/else?per_page=100&cursor={}>; rel=\"next\"", from + 2);
            return Reply::Linked(link, body);
        }
        Reply::Json(200, body)
    }
}

/// The token is nowhere but at the vendor's.
#[track_caller]
fn is_secret(home: &Home, daemon: &Daemon, said: &[&str]) {
    for text in said {
        assert!(!text.contains(TOKEN), "{text}");
    }
    assert!(!daemon.log().join("\n").contains(TOKEN));
    for name in ["relayflow.db", "relayflow.db-wal"] {
        let bytes = std::fs::read(home.path(name)).unwrap_or_default();
        assert!(!bytes.windows(TOKEN.len()).any(|w| w == TOKEN.as_bytes()), "{name}");
    }
}

#[test]
fn what_a_vendor_sent_and_never_arrived_is_shown_and_taken_in() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let home = Home::new(&config(&api, &destination));
    let daemon = start(&home);
    let bodies: Vec<String> = (1..=8)
        .rev()
        .map(|n| {
            stripe_body(&format!("evt_{n}"), if n == 8 { "invoice.paid" } else { "charge.failed" })
        })
        .collect();
    let body_of = |n: usize| bodies.get(8 - n).unwrap().clone();
    for n in 1..=3 {
        let signed = sign_stripe(vendor::STRIPE_SECRET, body_of(n).as_bytes(), vendor::now());
        daemon.deliver_new(&signed);
    }
    let forged =
        sign_stripe("whsec_of_somebody_else_0123456789", body_of(4).as_bytes(), vendor::now());
    assert_eq!(daemon.post(&forged).status, 401);
    until("the rejected request is kept", || {
        (!daemon.list("/requests", "status:rejected").is_empty()).then_some(())
    });
    destination.wait_for(3);
    api.answer(event_list(bodies.clone()));

    let ask = ["reconcile", "stripe", "--since", "6h", "-o", "json"];
    let dry = daemon.relayflow(&home, &[&ask[..], &["--dry-run"]].concat()).ended(0);
    let plan = dry.json();
    assert_eq!(plan["status"], "planned");
    let items = &plan["items"];
    assert_eq!(
        [
            &items["listed"],
            &items["arrived"],
            &items["missing"],
            &items["rejected"],
            &items["ignored"]
        ],
        [8, 3, 3, 1, 1]
    );
    let gap: Vec<_> =
        plan["gap"].as_array().unwrap().iter().map(|i| text(&i["external_id"])).collect();
    assert_eq!(gap, ["evt_7", "evt_6", "evt_5", "evt_4"]);
    assert!(text(&plan["gap"][3]["request_id"]).starts_with("req_"));
    assert_eq!(daemon.stats()["events"], 3);

    // Without a terminal nothing bulk is done unasked.
    let unasked = daemon.relayflow(&home, &["reconcile", "stripe", "--since", "6h"]).ended(6);
    assert!(unasked.err.contains("4 events") || unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(daemon.stats()["events"], 3);

    let run = [&ask[..], &["--yes", "--reason", "the outage"]].concat();
    let done = daemon.relayflow(&home, &run).ended(0);
    assert_eq!(
        (&done.json()["status"], &done.json()["items"]["taken"]),
        (&json!("done"), &json!(4))
    );
    let calls = destination.wait_for(7);
    assert_eq!(calls.len(), 7);
    assert_eq!(destination.by_key().len(), 7);
    let event = daemon.list("/events", "external:evt_6");
    let id = text(&event.first().unwrap()["id"]).to_owned();
    let entries = daemon.get(&format!("/events/{id}/timeline"));
    let entries = entries["items"].as_array().unwrap();
    let taken = entries.iter().find(|e| e["what"] == "reconciled").unwrap();
    assert_eq!(
        (text(&taken["detail"]["reason"]), text(&taken["detail"]["who"])),
        ("the outage", "admin")
    );
    let verified = entries.iter().find(|e| e["what"] == "verified").unwrap();
    assert_eq!(verified["detail"]["scheme"], "reconcile");

    // The vendor's own late try is a duplicate, and there is nothing left to take in.
    let late = sign_stripe(vendor::STRIPE_SECRET, body_of(6).as_bytes(), vendor::now());
    assert_eq!(daemon.deliver(&late), [(id, true)]);
    let again = daemon.relayflow(&home, &run).ended(0);
    assert_eq!(again.json()["items"]["arrived"], 7);
    assert_eq!(destination.count(), 7);
    is_secret(&home, &daemon, &[&dry.out, &dry.err, &done.out, &done.err]);

    // Every format.
    for (format, wanted) in
        [("name", "evt_8\n"), ("csv", "evt_8"), ("yaml", "evt_8"), ("ndjson", "evt_8")]
    {
        let args =
            ["reconcile", "stripe", "--all-time", "--type", "invoice", "--dry-run", "-o", format];
        let ran = daemon.relayflow(&home, &args).ended(0);
        assert!(ran.out.contains(wanted), "{format}: {}", ran.out);
    }
    let table = ["reconcile", "stripe", "--since", "1h", "--type", "invoice", "--dry-run"];
    let table = daemon.relayflow(&home, &table).ended(0);
    assert!(
        table.out.contains("8 events sent: 0 arrived, 1 missing, 7 of other types"),
        "{}",
        table.out
    );
}

#[test]
fn deliveries_are_listed_page_by_page_and_fetched_one_by_one() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let home = Home::new(&config(&api, &destination));
    let daemon = start(&home);
    let vendor = Deliveries::of(1..8);
    vendor.limited.store(true, Ordering::SeqCst);
    // Number 2 of the list is guid-5.
    vendor.gone.lock().unwrap().push(2);
    let for_api = Arc::clone(&vendor);
    api.answer(move |call| for_api.answer(call));
    daemon.deliver_new(&github("guid-1", "issues", github_issue(1).as_bytes()));

    let args = ["reconcile", "github", "--since", "6h", "--yes", "-o", "json"];
    let partly = daemon.relayflow(&home, &args).ended(7).json();
    let items = &partly["items"];
    assert_eq!(
        [&items["listed"], &items["arrived"], &items["taken"], &items["failed"]],
        [7, 1, 5, 1]
    );
    let failed =
        partly["gap"].as_array().unwrap().iter().find(|i| i["verdict"] == "failed").unwrap();
    assert_eq!(failed["external_id"], "guid-5");
    assert!(text(&failed["why"]).contains("404"), "{failed}");
    assert_eq!(text(&failed["delivery"]), "0 failed to connect to host");

    // Once the vendor has it again, the same set is finished.
    vendor.gone.lock().unwrap().clear();
    let id = text(&partly["id"]).to_owned();
    let again =
        daemon.relayflow(&home, &["reconcile", "github", "--since", "6h", "--yes"]).ended(0);
    assert!(again.out.contains("1 event taken in"), "{}", again.out);
    let told =
        daemon.relayflow(&home, &["reconcile", "--plan", &id, "-o", "json", "--dry-run"]).ended(0);
    assert_eq!(told.json()["items"]["failed"], 1);

    destination.wait_for(7);
    assert_eq!(destination.by_key().len(), 7);
    let event = daemon.list("/events", "external:guid-3");
    let event = event.first().unwrap();
    assert_eq!((&event["type"], &event["kind"]), (&json!("issues.opened"), &json!("issue.opened")));
    // A redelivery has the id that it had.
    let late = daemon.deliver(&github("guid-3", "issues", github_issue(3).as_bytes()));
    assert_eq!(late, [(text(&event["id"]).to_owned(), true)]);
    is_secret(&home, &daemon, &[&again.out, &again.err]);
}

/// Keeps whoever asks for one thing waiting until it is opened.
#[derive(Default)]
struct Hold {
    is_open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Hold {
    fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut is_open = self.is_open.lock().unwrap();
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap();
        }
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn held(vendor: &Arc<Deliveries>, number: usize) -> (Arc<Hold>, impl Fn(&Call) -> Reply + use<>) {
    let hold = Arc::new(Hold::default());
    let (for_api, vendor) = (Arc::clone(&hold), Arc::clone(vendor));
    let answer = move |call: &Call| {
        if call.path.ends_with(&format!("/deliveries/{number}")) {
            for_api.wait();
        }
        vendor.answer(call)
    };
    (hold, answer)
}

#[test]
fn an_event_that_arrives_meanwhile_is_a_duplicate() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let home = Home::new(&config(&api, &destination));
    let daemon = start(&home);
    let vendor = Deliveries::of(1..4);
    let (hold, answer) = held(&vendor, 1);
    api.answer(answer);
    let args = ["reconcile", "github", "--since", "6h", "--yes", "-o", "json"];
    let running = daemon.cli(&home, &args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    until("the second detail is asked for", || {
        (0 < hold.waiting.load(Ordering::SeqCst)).then_some(())
    });
    // Another comparison of the same source has to wait for this one.
    let second =
        daemon.relayflow(&home, &["reconcile", "github", "--since", "6h", "--dry-run"]).ended(6);
    assert!(second.err.contains("being reconciled"), "{}", second.err);
    let own = daemon.deliver_new(&github("guid-2", "issues", github_issue(2).as_bytes()));
    hold.open();
    let output = running.wait_with_output().unwrap();
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{done}");
    assert_eq!([&done["items"]["taken"], &done["items"]["duplicate"]], [2, 1]);
    let item =
        done["gap"].as_array().unwrap().iter().find(|i| i["external_id"] == "guid-2").unwrap();
    assert_eq!((text(&item["event_id"]), text(&item["verdict"])), (own.as_str(), "duplicate"));
    destination.wait_for(3);
    assert_eq!(daemon.stats()["events"], 3);
    assert_eq!(destination.by_key().len(), 3);
}

#[test]
fn a_daemon_that_is_killed_goes_on_where_it_stood() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let home = Home::new(&config(&api, &destination));
    let mut daemon = start(&home);
    let vendor = Deliveries::of(1..6);
    let (hold, answer) = held(&vendor, 3);
    api.answer(answer);
    let new = json!({"source": "github"});
    let planned = daemon.tell("/reconciles", &new).json();
    let id = text(&planned["id"]).to_owned();
    let state = |daemon: &Daemon| daemon.get(&format!("/reconciles/{id}"));
    let planned = until("it is planned", || {
        let now = state(&daemon);
        (now["status"] == "planned").then_some(now)
    });
    let wrong = daemon.tell(&format!("/reconciles/{id}/run"), &json!({"hash": "another"}));
    assert_eq!((wrong.status, &wrong.json()["code"]), (409, &json!("refused.plan_changed")));
    let run = json!({"hash": planned["hash"], "reason": "an outage"});
    assert_eq!(daemon.tell(&format!("/reconciles/{id}/run"), &run).status, 200);
    until("the fourth is asked for", || (0 < hold.waiting.load(Ordering::SeqCst)).then_some(()));
    daemon.kill();
    let asked = api.count();
    let daemon = start(&home);
    hold.open();
    let done = until("it is done", || {
        let now = state(&daemon);
        (now["status"] == "done").then_some(now)
    });
    assert_eq!(
        [&done["items"]["taken"], &done["items"]["duplicate"], &done["items"]["failed"]],
        [5, 0, 0]
    );
    // What was taken in before is not asked for again.
    assert_eq!(api.count() - asked, 2);
    daemon.drained();
    assert_eq!(daemon.stats()["events"], 5);
    assert_eq!(destination.by_key().len(), 5);
    assert_eq!(daemon.tell(&format!("/reconciles/{id}/run"), &run).status, 409);
}

#[test]
fn a_list_that_a_daemon_did_not_finish_is_read_anew() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let home = Home::new(&config(&api, &destination));
    let mut daemon = start(&home);
    let hold = Arc::new(Hold::default());
    let (for_api, list) = (
        Arc::clone(&hold),
        event_list((1..=5).map(|n| stripe_body(&format!("evt_{n}"), "charge.failed")).collect()),
    );
    api.answer(move |call| {
        if parameter(call, "starting_after").is_some() {
            for_api.wait();
        }
        list(call)
    });
    let planned = daemon.tell("/reconciles", &json!({"source": "stripe"})).json();
    let id = text(&planned["id"]).to_owned();
    until("the second page is asked for", || {
        (0 < hold.waiting.load(Ordering::SeqCst)).then_some(())
    });
    assert_eq!(daemon.get(&format!("/reconciles/{id}"))["items"]["missing"], 2);
    daemon.kill();
    hold.open();
    let daemon = start(&home);
    let planned = until("it is planned", || {
        let now = daemon.get(&format!("/reconciles/{id}"));
        (now["status"] == "planned").then_some(now)
    });
    assert_eq!((&planned["items"]["missing"], &planned["pages"]), (&json!(5), &json!(3)));
}

#[test]
fn a_vendor_that_answers_otherwise_is_told_and_nothing_is_taken_in() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let home = Home::new(&config(&api, &destination));
    let daemon = start(&home);
    let page = |data: &str| format!("{{\"has_more\":true,\"data\":[{data}]}}");
    let one = stripe_body("evt_1", "charge.failed");
    let json = |text: String| move |_: &Call| Reply::Json(200, text.clone());
    type Answer = Box<dyn Fn(&Call) -> Reply + Send + Sync>;
    let cases: Vec<(&str, Answer, i32, &str)> = vec![
        ("no JSON", Box::new(json("<html>".to_owned())), 1, "not JSON"),
        ("no list", Box::new(json("{\"data\":7}".to_owned())), 1, "has no list"),
        ("no id", Box::new(json(page("{\"type\":\"x\",\"created\":1}"))), 1, "has no id"),
        ("a circle", Box::new(json(page(&one))), 1, "goes in a circle"),
        (
            "elsewhere",
            Box::new(|_: &Call| Reply::With(302, "location", "http://127.0.0.1:9/".to_owned())),
            1,
            "not sent on",
        ),
        ("a bad token", Box::new(|_: &Call| refused()), 4, "does not take the token"),
        (
            "no right",
            Box::new(|_: &Call| Reply::Json(403, "{\"message\":\"nope\u{1b}[2J\"}".to_owned())),
            4,
            "may not read",
        ),
        ("no such hook", Box::new(|_: &Call| Reply::Status(404)), 3, "404"),
        ("a megabyte of nothing", Box::new(|_: &Call| Reply::Large(2_000_000)), 1, "not JSON"),
        (
            "come back tomorrow",
            Box::new(|_: &Call| Reply::With(429, "retry-after", "86400".to_owned())),
            5,
            "asks to wait",
        ),
        ("nothing", Box::new(json("{\"has_more\":false,\"data\":[]}".to_owned())), 9, ""),
    ];
    for (what, answer, exit, told) in cases {
        api.answer(answer);
        let ran =
            daemon.relayflow(&home, &["reconcile", "stripe", "--since", "6h", "--yes"]).ended(exit);
        assert!(ran.err.contains(told), "{what}: {}", ran.err);
        assert!(!ran.err.contains('\u{1b}'), "{what}: {}", ran.err);
        is_secret(&home, &daemon, &[&ran.out, &ran.err]);
    }
    assert_eq!(daemon.stats()["events"], 0);
    let unknown = daemon.relayflow(&home, &["reconcile", "nosuch", "--since", "6h"]).ended(3);
    assert!(unknown.err.contains("no source"), "{}", unknown.err);
    let none = daemon.relayflow(&home, &["reconcile", "slack", "--since", "6h"]).ended(2);
    assert!(none.err.contains("[sources.slack.reconcile]"), "{}", none.err);
    let far = daemon.relayflow(&home, &["reconcile", "github", "--since", "30d"]).ended(2);
    assert!(far.err.contains("goes back 3 days"), "{}", far.err);
    daemon.relayflow(&home, &["reconcile", "stripe"]).ended(2);
    drop(daemon);

    // No other address is called than those that are open to calls.
    let closed = config(&api, &destination);
    let home = Home::bare(&closed);
    let daemon = start(&home);
    let ran = daemon.relayflow(&home, &["reconcile", "stripe", "--since", "6h", "--yes"]).ended(5);
    assert!(ran.err.contains("egress.allow"), "{}", ran.err);
}

#[test]
fn access_to_a_vendor_is_checked_with_its_place() {
    let (api, destination) = (Receiver::start(), Receiver::start());
    let good = config(&api, &destination);
    let check = |config: &str| {
        let home = Home::new(config);
        home.relayflow_with(&["config", "check"], &[("VENDOR_TOKEN", TOKEN)])
    };
    check(&good).ended(0);
    let base = format!("base_url = \"{}\"", api.url(""));
    for (from, to, told) in [
        ("params = { hook", "params = { hok", "no parameter `hok`: wanted hook"),
        ("params = { hook = \"repos/acme/shop/hooks/7\" }", "", "has no `params.hook`"),
        ("repos/acme/shop/hooks/7", "repos/../shop/hooks/7", "wanted repos/*/*/hooks/*"),
        ("types = [", "tpyes = [", "did you mean `types`?"),
        (base.as_str(), "base_url = \"http://api.example.com\"", "in the clear"),
        ("token = { env = \"VENDOR_TOKEN\" }", "", "has no `token`"),
        ("env = \"VENDOR_TOKEN\"", "env = \"NO_SUCH\"", "has no `NO_SUCH`"),
    ] {
        let config = good.replacen(from, to, 1);
        assert_ne!(config, good, "{from}");
        let ran = check(&config).ended(10);
        let all = format!("{}{}", ran.out, ran.err);
        assert!(all.contains(told) && all.contains('^'), "{from}: {all}");
    }
    let slack = format!("{good}[sources.slack.reconcile]\ntoken = \"{TOKEN}\"\n");
    let ran = check(&slack).ended(10);
    let all = format!("{}{}", ran.out, ran.err);
    assert!(all.contains("no `[reconcile]`") && !all.contains(TOKEN), "{all}");
}
