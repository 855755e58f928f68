//! Incident bundles: taken from a daemon, read elsewhere, and what must not be in them.

use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, GITHUB_SECRET, STRIPE_SECRET, sign_stripe, stripe};

/// What a person said, which must stay here.
const CANARIES: [&str; 5] = [
    "canary.person@example.org",
    "Canary Quillfeather",
    "+49 555 0142 77",
    "cnry-plan-code",
    GITHUB_SECRET,
];

/// A story with a death, an edit, a replay, a rejected request and a secret in a payload.
pub(crate) struct Incident {
    _receiver: Receiver,
    pub(crate) home: Home,
    pub(crate) daemon: Daemon,
    pub(crate) event: String,
    pub(crate) task: String,
}

fn body(id: &str) -> String {
    json!({
        "id": id, "object": "event", "type": "charge.failed", "created": vendor::now(),
        "livemode": false, "api_version": "2024-06-20",
        "data": { "object": {
            "id": format!("ch_{id}"), "object": "charge", "amount": 4200, "currency": "eur",
            "plan_code": "cnry-plan-code",
            "description": "for canary.person@example.org, key github-end-to-end-0123456789abcdef",
            "billing_details": {
                "name": "Canary Quillfeather", "email": "canary.person@example.org",
                "phone": "+49 555 0142 77",
            },
            "metadata": { "nested": "{\"email\":\"canary.person@example.org\"}" },
        } },
    })
    .to_string()
}

pub(crate) fn incident() -> Incident {
    let receiver = Receiver::start();
    // What the destination answers repeats what it was sent.
    receiver.answer(|call| {
        let email = call.json()["data"]["data"]["object"]["billing_details"]["email"].clone();
        match email.as_str() {
            Some(email) => Reply::Json(
                422,
                json!({"error": format!("no {email}"), "email": email}).to_string(),
            ),
            None => Reply::Status(200),
        }
    });
    let config = one_step(&receiver)
        .replace("provider = \"stripe\"\n", "provider = \"stripe\"\nredact = [\"plan_code\"]\n");
    let home = Home::new(&config);
    let daemon = home.start();
    let signed = |body: &str| sign_stripe(STRIPE_SECRET, body.as_bytes(), vendor::now());
    let event = daemon.deliver_new(&signed(&body("evt_c1")).with("x-correlation-id", "story-7"));
    daemon.deliver_new(&signed(&body("evt_c2")).with("x-correlation-id", "story-7"));
    daemon.deliver_new(&stripe("evt_ok", "charge.succeeded"));
    // The first once more, and one that nobody signed.
    assert!(daemon.deliver(&signed(&body("evt_c1")))[0].1);
    let forged =
        sign_stripe("whsec_of_somebody_else_0123456789", body("evt_x").as_bytes(), vendor::now());
    assert_eq!(daemon.post(&forged).status, 401);
    daemon.drained();
    let whole = daemon.event_becomes(&event, "dead");
    let task = text(&whole["steps"][0]["id"]).to_owned();
    daemon.relayflow(
        &home,
        &[
            "dlq",
            "edit",
            &task,
            "--set",
            "data.object.plan_code=other",
            "--reason",
            "told canary.person@example.org",
            "--wait=60s",
        ],
    );
    daemon.relayflow(
        &home,
        &[
            "dlq",
            "replay",
            "--since",
            "1h",
            "--yes",
            "--wait=60s",
            "--reason",
            "for Canary Quillfeather",
        ],
    );
    daemon.drained();
    // What is learned of payloads is written down a little later.
    until("every event was looked at", || {
        let list = daemon.get("/contracts");
        let seen = list["items"].as_array().unwrap().iter().filter_map(|c| c["events"].as_i64());
        (seen.sum::<i64>() == 3).then_some(())
    });
    Incident { _receiver: receiver, home, daemon, event, task }
}

/// Everything in a bundle, unpacked: name and bytes.
fn unpacked(path: &Path) -> Vec<(String, Vec<u8>)> {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut all = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        all.push((name, bytes));
    }
    all
}

/// What the timeline says of exports.
fn record(home: &Home) -> Vec<Value> {
    let store = rusqlite::Connection::open(home.path("relayflow.db")).unwrap();
    let sql = "select detail from timeline where what = 'exported' order by seq";
    let mut statement = store.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|text| serde_json::from_str(&text.unwrap()).unwrap()).collect()
}

fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

#[test]
fn a_bundle_holds_the_incident_and_nothing_of_the_person() {
    let it = incident();
    let run = |args: &[&str]| it.daemon.relayflow(&it.home, args);
    let wrote = run(&[
        "export",
        "--since",
        "1h",
        "--to",
        "a.tar.gz",
        "--reason",
        "canary.person@example.org complains",
    ])
    .ended(0);
    assert!(wrote.out.contains("wrote    a.tar.gz"), "{}", wrote.out);
    let path = it.home.path("a.tar.gz");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let members = unpacked(&path);
    assert_eq!(members.len(), 5);
    for (name, bytes) in &members {
        for canary in CANARIES {
            assert!(!has(bytes, canary), "`{canary}` is in {name}");
            assert!(!has(bytes, &canary.replace('@', "%40").replace(' ', "%20")), "{name}");
        }
    }
    let manifest: Value = serde_json::from_slice(&members[0].1).unwrap();
    let counts = &manifest["counts"];
    assert_eq!(counts["events"], 3, "{manifest}");
    assert_eq!(counts["rejected"], 1, "{manifest}");
    assert_eq!(counts["revisions"], 1, "{manifest}");
    assert!(2 <= counts["replays"].as_u64().unwrap(), "{manifest}");
    assert!(manifest["masked"]["secrets"].as_u64().unwrap() > 0, "{manifest}");
    assert!(manifest["since"].is_string() && manifest["masked"]["values"].as_u64() > Some(5));
    // It is on the record, and so is that nobody unmasked anything.
    let record = record(&it.home);
    assert_eq!((record.len(), &record[0]["unmasked"]), (1, &json!(false)), "{record:?}");

    // A second time into the same place only with --force; nothing else is left there.
    let again = run(&["export", "--since", "1h", "--to", "a.tar.gz"]).ended(6);
    assert!(again.err.contains("--force"), "{}", again.err);
    run(&["export", "--since", "1h", "--to", "a.tar.gz", "--force"]).ended(0);
    let left = std::fs::read_dir(it.home.path("")).unwrap();
    let left: Vec<_> = left.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with(".relayflow")), "{left:?}");

    // What is not asked for well, or is nothing, or too much.
    run(&["export", "--to", "b.tar.gz"]).ended(2);
    run(&["export", "sorce:x", "--since", "1h", "--to", "b.tar.gz"]).ended(2);
    run(&["export", "type:no.such", "--since", "1h", "--to", "b.tar.gz"]).ended(9);
    run(&["export", "--since", "1h", "--max", "1", "--to", "b.tar.gz"]).ended(6);
    run(&["export", "--since", "1h", "--to", "no/such/b.tar.gz"]).ended(1);
    run(&["export", "--since", "1h"]).ended(2);
    let dry = run(&["export", "--since", "1h", "--dry-run"]).ended(0);
    assert!(dry.out.contains("3 events"), "{}", dry.out);
    assert!(!it.home.path("b.tar.gz").exists());
}

#[test]
fn unmasked_takes_an_admin_and_a_reason_and_is_on_the_record() {
    let it = incident();
    let args = ["export", "--since", "1h", "--unmask", "--to", "u.tar.gz"];
    it.daemon.relayflow(&it.home, &args).ended(6);
    it.daemon.relayflow(&it.home, &[&args[..], &["--reason", "court order"]].concat()).ended(6);
    let whole = [&args[..], &["--reason", "court order", "--yes"]].concat();
    it.daemon.relayflow(&it.home, &whole).ended(0);
    let members = unpacked(&it.home.path("u.tar.gz"));
    assert!(has(&members[1].1, CANARIES[0]));
    for (name, bytes) in &members {
        assert!(!has(bytes, GITHUB_SECRET), "a secret is in no bundle: {name}");
    }
    let manifest: Value = serde_json::from_slice(&members[0].1).unwrap();
    assert!(manifest["masked"].is_null());
    assert_eq!(manifest["reason"], "court order");
    let config = it.home.read("relayflow.toml").unwrap();
    let tokens = "[api.tokens.op]\nrole = \"operator\"\ntoken = \"operator-token-0123456789\"\n\
                  [api.tokens.boss]\nrole = \"admin\"\ntoken = \"admin-token-0123456789abc\"\n";
    it.home.write("relayflow.toml", &format!("{config}{tokens}"));
    drop(it.daemon);
    let daemon = it.home.start();
    let url = format!("http://{}", daemon.api);
    let with = |token: &str, args: &[&str]| {
        it.home.relayflow_with(args, &[("RELAYFLOW_URL", url.as_str()), ("RELAYFLOW_TOKEN", token)])
    };
    let to =
        |name: &'static str| ["export", "--since", "1h", "--to", name, "--reason", "x", "--yes"];
    with("operator-token-0123456789", &to("op.tar.gz")).ended(0);
    let unmasked = [&to("op2.tar.gz")[..], &["--unmask"]].concat();
    with("operator-token-0123456789", &unmasked).ended(4);
    assert!(!it.home.path("op2.tar.gz").exists());
    with("admin-token-0123456789abc", &unmasked).ended(0);
    let record = record(&it.home);
    let unmasked: Vec<&Value> = record.iter().filter(|entry| entry["unmasked"] == true).collect();
    assert_eq!(unmasked.len(), 2, "{record:?}");
    assert_eq!(unmasked[1]["who"], "boss");
}

/// Every command that reads, for one incident. Where the answer has the time of asking in it, or is of
/// the whole store, it is not here.
pub(crate) fn reads(it: &Incident) -> Vec<Vec<String>> {
    let run = |args: &[&str]| it.daemon.relayflow(&it.home, args).ended(0);
    let request =
        text(&run(&["events", "show", &it.event, "-o", "json"]).json()["request_id"]).to_owned();
    let replays = run(&["replay", "ls", "-o", "name"]).out;
    let replay = replays.lines().next().unwrap().to_owned();
    let rejected = run(&["requests", "ls", "status:rejected", "-o", "name"]).out.trim().to_owned();
    let corr = "story-7";
    let all: Vec<Vec<&str>> = vec![
        vec!["events", "ls"],
        vec!["events", "ls", "status:dead"],
        vec!["events", "ls", "-n", "1"],
        vec!["events", "show", &it.event],
        vec!["requests", "ls"],
        vec!["requests", "ls", "sig:invalid"],
        vec!["requests", "show", &request],
        vec!["requests", "show", &rejected],
        vec!["timeline", &it.event],
        vec!["timeline", &it.task],
        vec!["timeline", &request],
        vec!["timeline", &rejected],
        vec!["timeline", &replay],
        vec!["trace", corr],
        vec!["trace", &it.event],
        vec!["dlq", "ls"],
        vec!["dlq", "ls", "--by", "error"],
        vec!["dlq", "show", &it.task],
        vec!["replay", "ls"],
        vec!["replay", "show", &replay],
        vec!["drift", "ls"],
        vec!["contract", "ls"],
        vec!["providers", "ls"],
        vec!["providers", "show", "stripe"],
        vec!["sources", "ls"],
        vec!["sources", "show", "stripe"],
        vec!["workflows", "ls"],
        vec!["workflows", "show", "all"],
        vec!["queue", "ls"],
        vec!["stats"],
    ];
    all.into_iter().map(|args| args.into_iter().map(str::to_owned).collect()).collect()
}

/// What differs by the moment of asking is taken out.
pub(crate) fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            // What is counted up to now differs from one moment to the next.
            let of_now: &[&str] = match members.get("object").and_then(Value::as_str) {
                Some("stats") => &["at", "flow"],
                Some("queue") => {
                    &["in_per_second", "out_per_second", "retry_ratio", "drain_seconds"]
                }
                Some("worker") => &["heartbeat_seconds"],
                _ => &[],
            };
            for name in of_now {
                members.remove(*name);
            }
            for member in members.values_mut() {
                *member = timeless(member.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = timeless(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

#[test]
fn another_machine_reads_a_bundle_as_the_daemon_answers() {
    let it = incident();
    let reads = reads(&it);
    it.daemon
        .relayflow(
            &it.home,
            &["export", "--all-time", "--unmask", "--yes", "--reason", "x", "--to", "a.tar.gz"],
        )
        .ended(0);
    let answers: Vec<Value> = reads
        .iter()
        .map(|args| {
            let args: Vec<&str> = args.iter().map(String::as_str).chain(["-o", "json"]).collect();
            it.daemon.relayflow(&it.home, &args).ended(0).json()
        })
        .collect();
    // Another machine: no daemon, no config, and the file where nothing else is.
    let elsewhere = Home::bare("");
    std::fs::copy(it.home.path("a.tar.gz"), elsewhere.path("a.tar.gz")).unwrap();
    std::fs::remove_file(elsewhere.path("relayflow.toml")).unwrap();
    drop(it.daemon);
    for (args, wanted) in reads.iter().zip(answers) {
        let mut all = vec!["--db", "a.tar.gz", "-o", "json"];
        all.extend(args.iter().map(String::as_str));
        let got = elsewhere.relayflow(&all).ended(0).json();
        let (got, mut wanted) = (timeless(got), timeless(wanted));
        if args[0] == "dlq" {
            // What would be sent now is the config's to say, which is not in a bundle.
            wanted.as_object_mut().unwrap().remove("would_send");
        }
        if args[0] == "events" && wanted.to_string().contains(GITHUB_SECRET) {
            // The one thing that is masked in every bundle.
            let covered =
                wanted.to_string().replace(GITHUB_SECRET, &"*".repeat(GITHUB_SECRET.len()));
            assert_eq!(got, serde_json::from_str::<Value>(&covered).unwrap(), "{args:?}");
            continue;
        }
        assert_eq!(got, wanted, "{args:?}");
    }
    // Nothing is left of it, here or where it was unpacked.
    let left: Vec<_> = std::fs::read_dir(elsewhere.path("")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // Writing is refused, and what it is not is said.
    let refused =
        elsewhere.relayflow(&["--db", "a.tar.gz", "dlq", "replay", "--all-time", "--yes"]);
    assert_eq!(refused.exit, 6, "{refused:?}");
    elsewhere.write("not.tar.gz", "hello");
    elsewhere.relayflow(&["--db", "not.tar.gz", "events"]).ended(2);
    let bytes = std::fs::read(elsewhere.path("a.tar.gz")).unwrap();
    std::fs::write(elsewhere.path("cut.tar.gz"), &bytes[..bytes.len() / 2]).unwrap();
    let cut = elsewhere.relayflow(&["--db", "cut.tar.gz", "events"]).ended(5);
    assert!(cut.err.contains("broken off") || cut.err.contains("as it was written"), "{}", cut.err);
    let missing = elsewhere.relayflow(&["--db", "missing.tar.gz", "events"]);
    assert_eq!(missing.exit, 2, "{missing:?}");
}

#[test]
fn who_is_ended_leaves_nothing_behind() {
    let it = incident();
    it.daemon.relayflow(&it.home, &["export", "--all-time", "--to", "a.tar.gz"]).ended(0);
    let temp = it.home.path("temp");
    std::fs::create_dir(&temp).unwrap();
    let count = || std::fs::read_dir(&temp).unwrap().count();
    for signal in ["INT", "TERM", "HUP"] {
        let mut child = it
            .home
            .cli(&["--db", "a.tar.gz", "events", "ls", "--watch"])
            .env("TMPDIR", &temp)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("it is unpacked", || (count() == 1).then_some(()));
        let sent = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", child.id())])
            .status()
            .unwrap();
        assert!(sent.success());
        assert!(child.wait().unwrap().code().is_some_and(|code| 128 < code), "{signal}");
        assert_eq!(count(), 0, "{signal}");
    }
}
