//! Drift: what changes in vendors' payloads is found, told with the right grade, and accepted; what does
//! not change is left alone.

mod cases;
mod gate;
mod real;

use serde_json::{Value, json};

use crate::harness::{Daemon, Home, text, until};
use crate::vendor::{Signed, hmac_sha256};
use crate::wire::{Connection, headers};

const SECRET: &str = "drift-end-to-end-0123456789abcdef";
/// Events before a change: the first shows the shape, four more that it stays.
const BEFORE: usize = 6;
/// Events by which a change must have been found.
const AFTER: usize = 20;

/// Sources of any sender, each with a signature header and perhaps more settings.
fn sources(all: &[(&str, &str)]) -> String {
    all.iter()
        .map(|(name, settings)| {
            format!(
                "[sources.{name}]\nprovider = \"generic\"\nsecrets = [\"{SECRET}\"]\n\
                 [sources.{name}.settings]\n{settings}\n"
            )
        })
        .collect()
}

/// A request that its signature is in `header` of.
fn signed(source: &str, header: &str, media: &str, body: &[u8]) -> Signed {
    let signature = hex::encode(hmac_sha256(SECRET.as_bytes(), &[body]));
    Signed {
        target: format!("/in/{source}"),
        headers: headers(&[("content-type", media), (header, &signature)]),
        body: body.to_vec(),
    }
}

fn posted(source: &str, body: &Value) -> Signed {
    signed(source, "x-signature", "application/json", body.to_string().as_bytes())
}

/// The findings about a source, once `is_there` holds of them.
#[track_caller]
fn findings(
    daemon: &Daemon,
    source: &str,
    what: &str,
    is_there: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    until(&format!("{source}: {what}"), || {
        let found = daemon.list("/drift", &format!("source:{source}"));
        is_there(&found).then_some(found)
    })
}

/// How many of a source's events were held against what is expected of them.
fn watched(daemon: &Daemon, source: &str) -> i64 {
    let contracts = daemon.get("/contracts");
    let of = contracts["items"].as_array().unwrap().iter().filter(|c| c["source"] == source);
    of.map(|contract| contract["events"].as_i64().unwrap()).sum()
}

/// An order as a shop might send it, with values of its own each time.
fn order(n: usize) -> Value {
    let is_even = n.is_multiple_of(2);
    let texts = ["", "gift", "Ünïcode", "a longer note, with words"];
    json!({
        "id": format!("ord_{n:05}"),
        "type": "order.paid",
        "created_at": format!("2026-0{}-{:02}T1{}:00:00Z", 1 + n % 9, 1 + n % 28, n % 10),
        "data": {
            "id": 4000 + n,
            "total": if is_even { json!(n) } else { json!(n as f64 / 4.0) },
            "currency": if is_even { "eur" } else { "usd" },
            "status": "paid",
            "note": texts[n % 4],
            "email": format!("jenny{n}@example.com"),
            "coupon": if is_even { Value::Null } else { json!(format!("C{n}")) },
            "items": (0..1 + n % 3).map(|i| json!({"sku": format!("s{n}-{i}"), "count": i})).collect::<Vec<_>>(),
            "metadata": {format!("k{n}"): n, "free": "text"},
        },
    })
}

#[test]
fn ten_thousand_events_of_unchanged_shape_are_no_news() {
    let home = Home::new(&sources(&[("shop", "split = \"/*\"")]));
    let daemon = home.start();
    let mut connection = Connection::open(daemon.ingest).unwrap();
    for batch in 0..100 {
        let events: Vec<Value> = (0..100).map(|n| order(batch * 100 + n)).collect();
        let request = posted("shop", &json!(events));
        let answer =
            connection.send("POST", &request.target, &request.headers, &request.body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    until("all of them were looked at", || (watched(&daemon, "shop") == 10_000).then_some(()));
    assert_eq!(daemon.list("/drift", ""), Vec::<Value>::new());
    let check =
        daemon.relayflow(&home, &["contract", "check", "-n", "2000", "-o", "json"]).ended(0);
    assert_eq!(check.json()["kept"], 2000, "{check:?}");
}

/// A source whose events are known, and then drift.
fn drifted() -> (Home, Daemon, Value) {
    let home = Home::new(&sources(&[("shop", "")]));
    let daemon = home.start();
    for n in 0..40 {
        daemon.deliver_new(&posted("shop", &order(n)));
    }
    until("the contract stands", || {
        let all = daemon.get("/contracts");
        let is_it = |c: &&Value| c["source"] == "shop" && c["version"] == 1;
        all["items"].as_array().unwrap().iter().find(is_it).map(drop)
    });
    let mut event = order(100);
    event["data"].as_object_mut().unwrap().remove("email");
    event["data"]["status"] = json!("partly_paid");
    let id = daemon.deliver_new(&posted("shop", &event));
    let found = findings(&daemon, "shop", "a field is gone and a word is new", |f| f.len() == 2);
    assert_eq!(found[0]["grade"], "breaking", "the breaking ones first: {found:?}");
    assert_eq!(found[0]["change"], "field_gone");
    assert_eq!(found[0]["path"], "/data/email");
    assert_eq!(found[1]["change"], "value_added");
    assert_eq!(found[1]["is"], "partly_paid");
    assert!(found.iter().all(|f| f["examples"] == json!([id])), "{found:?}");
    (home, daemon, json!(found))
}

#[test]
fn a_finding_is_on_the_events_timeline_and_found_by_its_grade() {
    let (home, daemon, found) = drifted();
    let event = text(&found[0]["examples"][0]).to_owned();
    until("it is on the timeline", || {
        daemon.timeline(&event).iter().any(|what| what == "drift").then_some(())
    });
    let run = |args: &[&str]| daemon.relayflow(&home, args).ended(0);
    let breaking = run(&["events", "ls", "drift:breaking", "-o", "name"]).out;
    assert_eq!(breaking.lines().collect::<Vec<_>>(), [&event]);
    assert_eq!(run(&["events", "ls", "drift:additive", "-o", "name"]).out, "");
    let rest = run(&["events", "ls", "drift:none", "-o", "name", "--all"]).out;
    assert_eq!(rest.lines().count(), 40);

    let id = text(&found[1]["id"]);
    let shown = run(&["drift", "show", id]).out;
    assert!(shown.contains("/data/status") && shown.contains(&event), "{shown}");
    assert!(shown.contains("value_added  (additive)"), "{shown}");
    let gone = text(&found[0]["id"]);
    assert!(!run(&["drift", "show", gone]).out.contains("example.com"), "no value");
    let unmasked = run(&["drift", "show", id, "--unmask"]).out;
    assert!(unmasked.contains("\"partly_paid\""), "{unmasked}");
    let document = run(&["drift", "show", id, "--unmask", "-o", "json"]).json();
    assert_eq!(document["values"], json!([{"id": event, "values": ["partly_paid"]}]));
    daemon.relayflow(&home, &["drift", "show", "drf_00000000000000000000000000"]).ended(3);
}

#[test]
fn accepting_writes_the_next_version_and_ends_the_finding() {
    let (home, daemon, found) = drifted();
    let run = |args: &[&str]| daemon.relayflow(&home, args);
    let (gone, word) = (text(&found[0]["id"]), text(&found[1]["id"]));
    // A reason is required, and one item is not asked about.
    run(&["drift", "accept", gone]).ended(6);
    let done = run(&["drift", "accept", gone, "--reason", "they dropped it"]).ended(0).out;
    assert!(done.contains("contract version 2") && done.contains("/data/email"), "{done}");
    let show = |version: &[&str]| {
        let args = [&["contract", "show", "shop", "order.paid"], version].concat();
        run(&args).ended(0).json()
    };
    let required = |schema: &Value| {
        let all = schema["properties"]["data"]["required"].as_array().unwrap().clone();
        all.contains(&json!("email"))
    };
    assert!(required(&show(&["--contract-version", "1"])), "the old version stands");
    assert!(!required(&show(&["--contract-version", "2"])));
    assert!(!required(&show(&[])));
    run(&["contract", "show", "shop", "order.paid", "--contract-version", "9"]).ended(3);

    // Neither is found again, and what is new still is.
    let mut event = order(101);
    event["data"].as_object_mut().unwrap().remove("email");
    event["data"]["total"] = json!("12.00");
    daemon.deliver_new(&posted("shop", &event));
    let open = findings(&daemon, "shop", "another type", |all| {
        all.iter().any(|f| f["change"] == "type_changed")
    });
    assert!(open.iter().all(|f| f["id"] != gone), "{open:?}");
    let accepted = run(&["drift", "ls", "status:accepted", "-o", "json"]).ended(0).json();
    assert_eq!(accepted["items"].as_array().unwrap().len(), 1);
    assert_eq!(accepted["items"][0]["reason"], "they dropped it");
    assert_eq!(accepted["items"][0]["version"], 2);
    assert_eq!(accepted["items"][0]["events"], 1, "no further event was counted");

    // Several at once are shown, asked about, and need a yes where nobody can be asked.
    let bulk = ["drift", "accept", "source:shop", "--reason", "x"];
    run(&bulk).ended(2);
    let bulk = [&bulk[..], &["--all-time"]].concat();
    let refused = run(&bulk).ended(6).err;
    assert!(refused.contains("2 findings") && refused.contains(word), "{refused}");
    let dry = run(&[&bulk[..], &["--dry-run", "-o", "name"]].concat()).ended(0).out;
    assert_eq!(dry.lines().count(), 2);
    assert_eq!(daemon.list("/drift", "source:shop").len(), 2, "nothing was changed");
    let done = run(&[&bulk[..], &["--yes"]].concat()).ended(0).out;
    assert_eq!(done.lines().count(), 2, "{done}");
    run(&[&bulk[..], &["--yes"]].concat()).ended(9);
    assert!(daemon.list("/drift", "").is_empty());
}

#[test]
fn a_restart_keeps_what_is_known() {
    let (home, mut daemon, found) = drifted();
    daemon.stop();
    // What is on record can be read without a daemon.
    let offline =
        |args: &[&str]| home.relayflow(&[&["--db", "sqlite:relayflow.db"], args].concat());
    let listed = offline(&["drift", "ls", "-o", "json"]).ended(0).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let id = text(&found[0]["id"]);
    assert_eq!(offline(&["drift", "show", id, "-o", "json"]).ended(0).json()["id"], id);
    let contracts = offline(&["contract", "ls", "-o", "json"]).ended(0).json();
    assert!(contracts["items"].as_array().unwrap().iter().any(|c| c["source"] == "shop"));
    assert!(
        offline(&["contract", "show", "shop", "order.paid"]).ended(0).json()["required"].is_array()
    );
    let checked = offline(&["contract", "check", "source:shop", "-o", "json"]).ended(10).json();
    assert_eq!((&checked["checked"], &checked["kept"]), (&json!(41), &json!(40)));
    let learn = ["contract", "learn", "--source", "shop", "--type", "order.paid"];
    assert!(offline(&learn).ended(0).json()["properties"].is_object());
    let refused = offline(&[&learn[..], &["--write"]].concat()).ended(6);
    assert!(refused.err.contains("needs a running daemon"), "{refused:?}");
    offline(&["drift", "accept", id, "--reason", "x"]).ended(6);

    let daemon = home.start();
    let kept = daemon.list("/drift", "source:shop");
    assert_eq!(json!(kept), found);
    let mut event = order(102);
    event["data"].as_object_mut().unwrap().remove("email");
    event["data"]["items"] = Value::Null;
    daemon.deliver_new(&posted("shop", &event));
    let found = findings(&daemon, "shop", "it is counted on, and nothing is learned anew", |all| {
        all.iter().any(|f| f["path"] == "/data/email" && f["events"] == 2)
            && all.iter().any(|f| f["change"] == "newly_null")
    });
    assert_eq!(found.len(), 3);
}
