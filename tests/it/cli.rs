//! The command line: stable output, stable exit codes, pipes.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::Value;

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, RETRY, WITHIN, free_port, text, until, until_within};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, stripe};

struct Setup {
    receiver: Receiver,
    home: Home,
    daemon: Daemon,
}

/// Three good events and a dead letter.
fn setup() -> Setup {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        let refuse = call.json()["type"] == "charge.refunded";
        Reply::Status(if refuse { 422 } else { 200 })
    });
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    for n in 0..3 {
        let request = stripe(&format!("evt_{n}"), "charge.failed");
        daemon.deliver_new(&request.with("x-correlation-id", &format!("story-{n}")));
    }
    daemon.deliver_new(&stripe("evt_dead", "charge.refunded"));
    daemon.drained();
    Setup { receiver, home, daemon }
}

#[test]
fn every_reading_command_gives_one_document() {
    let Setup { home, daemon, .. } = setup();
    let run = |args: &[&str]| daemon.relayflow(&home, args);
    let event =
        text(&run(&["events", "ls", "-o", "json"]).ended(0).json()["items"][0]["id"]).to_owned();
    let letter = run(&["dlq", "ls", "-o", "name"]).ended(0).out.trim().to_owned();
    assert!(letter.starts_with("tsk_"), "{letter}");

    let lists: [(&[&str], &str, usize); 6] = [
        (&["events", "ls"], "event_list", 4),
        (&["events"], "event_list", 4),
        (&["events", "ls", "status:dead"], "event_list", 1),
        (&["events", "ls", "type:no.such"], "event_list", 0),
        (&["dlq", "ls"], "dead_letter_list", 1),
        (&["dlq"], "dead_letter_list", 1),
    ];
    for (args, kind, items) in lists {
        let document = run(&[args, &["-o", "json"]].concat()).ended(0).json();
        assert_eq!(document["v"], 1, "{args:?}");
        assert_eq!(document["kind"], kind, "{args:?}");
        assert_eq!(document["items"].as_array().unwrap().len(), items, "{args:?}");
        assert!(document.get("next_cursor").is_some(), "{args:?}");
        let lines = run(&[args, &["-o", "ndjson"]].concat()).ended(0).lines();
        assert_eq!(lines.len(), items, "{args:?}");
        assert!(lines.iter().all(|l| l["v"] == 1), "{args:?}");
        let names = run(&[args, &["-o", "name"]].concat()).ended(0).out;
        assert_eq!(names.lines().count(), items, "{args:?}");
        let csv = run(&[args, &["-o", "csv"]].concat()).ended(0).out;
        assert_eq!(csv.lines().count(), items + 1, "a header and the rows: {csv}");
    }
    let one: [&[&str]; 5] = [
        &["events", "show", &event],
        &["timeline", &event],
        &["trace", "story-1"],
        &["trace", &event],
        &["dlq", "show", &letter],
    ];
    for args in one {
        let document = run(&[args, &["-o", "json"]].concat()).ended(0).json();
        assert_eq!(document["v"], 1, "{args:?}: {document}");
        let shown = run(args).ended(0);
        assert!(!shown.out.trim().is_empty(), "{args:?}");
        assert!(!shown.out.contains('\u{1b}'), "no colour where there is no terminal: {args:?}");
    }
    let raw = run(&["events", "raw", &event]).ended(0);
    assert_eq!(raw.out, daemon.ask(&format!("/api/v1/events/{event}/raw")).text());
    let table = run(&["events", "ls"]).ended(0).out;
    let header = table.lines().next().unwrap();
    assert!(
        header.starts_with("ID") && header.contains("RECEIVED") && header.contains("STATUS"),
        "{header}"
    );
    assert!(table.contains(&event), "ids are never shortened: {table}");
}

#[test]
fn exit_codes_tell_the_truth() {
    let Setup { home, daemon, .. } = setup();
    let run = |args: &[&str]| daemon.relayflow(&home, args);
    run(&["events", "ls", "sorce:stripe"]).ended(2);
    run(&["events", "ls", "--no-such-flag"]).ended(2);
    run(&["events", "lst"]).ended(2);
    run(&["nonsense"]).ended(2);
    run(&["events", "ls", "--since", "yesterdayish"]).ended(2);
    run(&["events", "show", "evt_00000000000000000000000000"]).ended(3);
    run(&["trace", "no-such-story"]).ended(3);
    run(&["dlq", "show", "tsk_00000000000000000000000000"]).ended(3);
    run(&["events", "ls", "type:no.such", "--fail-empty"]).ended(9);
    run(&["events", "ls", "type:no.such"]).ended(0);
    run(&["--help"]).ended(0);
    run(&["--version"]).ended(0);

    let mut wrong = daemon.cli(&home, &["events", "ls"]);
    wrong.env("RELAYFLOW_TOKEN", "no-such-token-0123456789abcdef");
    assert_eq!(wrong.status().unwrap().code(), Some(4));
    let mut nobody = daemon.cli(&home, &["events", "ls"]);
    nobody.env("RELAYFLOW_URL", format!("http://127.0.0.1:{}", free_port()));
    assert_eq!(nobody.status().unwrap().code(), Some(5));

    let caret = run(&["events", "ls", "sorce:stripe", "status:dead"]).ended(2).err;
    assert!(caret.contains("did you mean 'source'?") && caret.contains("^^^^^"), "{caret}");
    assert!(caret.starts_with("error: "), "{caret}");
    let error = run(&["events", "show", "evt_00000000000000000000000000", "-o", "json"]).ended(3);
    assert_eq!(error.out, "", "data only on stdout");
    let error: Value = serde_json::from_str(error.err.lines().last().unwrap()).unwrap();
    assert_eq!(error["kind"], "error");
    assert_eq!(error["exit"], 3);
    assert!(text(&error["code"]).starts_with("not_found."), "{error}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let Setup { home, daemon, .. } = setup();
    for n in 10..200 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    let mut child = daemon
        .cli(&home, &["events", "ls", "--all", "-o", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
    assert!(!err.contains("panicked") && !err.contains("roken pipe"), "{err}");
}

#[test]
fn a_list_goes_on_where_a_page_ended() {
    let Setup { home, daemon, .. } = setup();
    let run = |args: &[&str]| daemon.relayflow(&home, args).ended(0).json();
    let first = run(&["events", "ls", "-n", "3", "-o", "json"]);
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let second =
        run(&["events", "ls", "-n", "3", "--after", text(&first["next_cursor"]), "-o", "json"]);
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert!(second["next_cursor"].is_null());
    let all = daemon.relayflow(&home, &["events", "ls", "--all", "-o", "name"]).ended(0);
    assert_eq!(all.out.lines().count(), 4);
}

#[test]
fn the_tail_waits_for_what_it_was_told_to_wait_for() {
    let Setup { home, daemon, .. } = setup();
    let mut tail = daemon
        .cli(
            &home,
            &[
                "tail",
                "source:stripe",
                "--stop-on",
                "corr:awaited status:ok",
                "--timeout",
                "60s",
                "-o",
                "ndjson",
            ],
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let err = BufReader::new(tail.stderr.take().unwrap());
    // It says on stderr that it follows.
    let mut err = err.lines();
    let said = err.next().unwrap().unwrap();
    assert!(said.starts_with("tailing"), "{said}");
    let mut n = 100;
    until_within(WITHIN, "the tail ends", || {
        n += 1;
        let request = stripe(&format!("evt_{n}"), "charge.failed");
        daemon.deliver_new(&request.with("x-correlation-id", "awaited"));
        tail.try_wait().unwrap()
    });
    let mut out = String::new();
    tail.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    // It may have begun in the middle of an event's story.
    let is_it = |l: &Value| l["what"] == "ok" && l["correlation_id"] == "awaited";
    assert!(lines.iter().any(is_it), "{out}");
    assert_eq!(tail.wait().unwrap().code(), Some(0));

    daemon.relayflow(&home, &["tail", "source:github", "--timeout", "1s"]).ended(8);
}

#[test]
fn send_signs_as_the_vendor_does() {
    let receiver = Receiver::start();
    let (ingest, api) = (free_port(), free_port());
    // The sources' URLs come from the daemon, the secrets from the config in reach.
    let home = Home::new("");
    home.write(
        "relayflow.toml",
        &format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n[egress]\nallow = [\"127.0.0.0/8\"]\n{}",
            one_step(&receiver)
        ),
    );
    let daemon = home.start();
    // Without any context it finds the daemon of the config in reach, and its token.
    let run = |args: &[&str]| home.relayflow(args);

    run(&["send", "stripe", "charge.failed", "--set", "data.object.amount=4242", "--follow"])
        .ended(0);
    let event = run(&["events", "ls", "-o", "json"]).ended(0).json()["items"][0].clone();
    assert_eq!(event["type"], "charge.failed");
    assert_eq!(event["status"], "ok");
    let shown = run(&["events", "show", text(&event["id"]), "-o", "json"]).ended(0).json();
    assert_eq!(shown["payload"]["data"]["object"]["amount"], 4242);

    run(&["send", "github", "issues.opened", "--count", "3"]).ended(0);
    run(&["send", "stripe", "charge.failed", "--duplicate"]).ended(0);
    run(&["send", "stripe", "charge.failed", "--tamper", "signature"]);
    run(&["send", "stripe", "charge.failed", "--skew", "-10m"]);
    until("two were rejected", || (daemon.stats()["rejected"] == 2).then_some(()));
    let stats = daemon.drained();
    assert_eq!(stats["duplicates"], 1, "{stats}");
    assert_eq!(stats["events"], 5, "{stats}");
    let printed = run(&["send", "stripe", "charge.failed", "--print"]).ended(0).out;
    assert!(printed.starts_with("curl ") && printed.contains("stripe-signature"), "{printed}");
    let types = run(&["send", "--list", "stripe"]).ended(0).out;
    assert!(types.contains("charge.failed"), "{types}");

    receiver.answer(|_| Reply::Status(422));
    run(&["send", "stripe", "charge.failed", "--follow"]).ended(7);
}

#[test]
fn config_check_points_at_what_is_wrong() {
    let home = Home::new(&vendor::sources());
    home.relayflow(&["config", "check"]).ended(0);
    home.write(
        "wrong.toml",
        "[sources.stripe]\nprovider = \"stripe\"\nsecrts = [\"x\"]\n[workflows.a]\non = [\"payment.faild\"]\n",
    );
    let found = home.relayflow(&["config", "check", "wrong.toml"]).ended(10);
    let said = format!("{}{}", found.out, found.err);
    assert!(said.contains("wrong.toml:3:1"), "{said}");
    assert!(said.contains("secrts") && said.contains("secrets"), "it names the right key: {said}");
    home.relayflow(&["config", "check", "no-such-file.toml"]);
}

#[test]
fn a_store_can_be_read_without_its_daemon() {
    let Setup { receiver, home, mut daemon } = setup();
    daemon.stop();
    let store = format!("sqlite:{}", home.path("relayflow.db").display());
    let run = |args: &[&str]| home.relayflow(&[&["--db", &store], args].concat());
    let events = run(&["events", "ls", "-o", "json"]).ended(0).json();
    assert_eq!(events["items"].as_array().unwrap().len(), 4);
    let id = text(&events["items"][0]["id"]).to_owned();
    run(&["timeline", &id]).ended(0);
    run(&["events", "raw", &id]).ended(0);
    run(&["dlq", "ls"]).ended(0);
    let missing = format!("sqlite:{}", home.path("no-such.db").display());
    home.relayflow(&["--db", &missing, "events", "ls"]).ended(5);
    assert!(!home.path("no-such.db").exists(), "a reading command makes no store");
    drop(receiver);
}

#[test]
fn up_is_the_daemon_in_this_process() {
    let home = Home::new(&vendor::sources());
    let mut command = std::process::Command::new(crate::harness::program("relayflow"));
    command.env_clear().env("HOME", home.path("")).current_dir(home.path(""));
    command.arg("up").arg("--config").arg(home.path("relayflow.toml"));
    let mut daemon = Daemon::spawn(command, home.path("relayflow.token"));
    daemon.wait_ready();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.stop();
}

#[test]
fn hostile_text_reaches_no_terminal() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let body = vendor::stripe_body("evt_1", "charge.failed")
        .replace("ch_evt_1", "ch_\u{9b}31m\u{202e}\u{200b}x")
        .replace("Your card", "\\u001b]0;owned\\u0007Your card");
    let events =
        daemon.deliver(&vendor::sign_stripe(vendor::STRIPE_SECRET, body.as_bytes(), vendor::now()));
    let Some((id, _)) = events.first() else { return };
    for args in [
        &["events", "ls", "-o", "wide"][..],
        &["events", "show", id],
        &["timeline", id],
        &["trace", id],
    ] {
        let shown = daemon.relayflow(&home, args).ended(0).out;
        for bad in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{200b}'] {
            assert!(!shown.contains(bad), "{args:?} shows {bad:?}");
        }
    }
}

#[test]
fn bench_measures_a_machine() {
    let home = Home::new("");
    let ran = home
        .relayflow(&[
            "bench",
            "--count",
            "500",
            "--concurrency",
            "8",
            "--duplicates",
            "5%",
            "-o",
            "json",
        ])
        .ended(0);
    let report = ran.json();
    assert_eq!(report["v"], 1, "{report}");
    assert!(report.to_string().contains("acknowledged"), "{report}");
}

#[test]
fn lists_are_sorted_by_the_daemon_and_their_cursors_stay_right() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&format!(
        "{RETRY}{}[workflows.w]\non = [\"*\"]\n[[workflows.w.steps]]\nname = \"call\"\n\
         http = {{ method = \"POST\", url = \"{}\" }}\n",
        vendor::sources(),
        receiver.url("/x"),
    ));
    let daemon = home.start();
    let types = ["b.x", "a.x", "c.x", "a.x", "b.x", "a.x", "c.x"];
    for (n, event_type) in types.iter().enumerate() {
        daemon.deliver_new(&vendor::stripe(&format!("evt_{n}"), event_type));
    }
    let unreadable = b"{\"no\":\"event\"}";
    daemon.deliver(&vendor::sign_stripe(vendor::STRIPE_SECRET, unreadable, vendor::now()));
    daemon.drained();

    // Page by page, in both directions, of every list with pages.
    let paged = |noun: &str, sort: &str, field: &str| {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut args = vec![noun, "ls", "--sort", sort, "-n", "2", "-o", "json"];
            if let Some(after) = &after {
                args.extend(["--after", after]);
            }
            let page = daemon.relayflow(&home, &args).ended(0).json();
            for item in page["items"].as_array().unwrap() {
                let value =
                    item[field].as_str().map_or_else(|| item[field].to_string(), str::to_owned);
                all.push((value, text(&item["id"]).to_owned()));
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => after = Some(cursor.to_owned()),
                None => return all,
            }
        }
    };
    for (noun, sort, field, count) in [
        ("events", "type", "type", 7),
        ("events", "received", "received_at", 7),
        ("events", "attempts", "attempts", 7),
        ("dlq", "type", "type", 8),
        ("dlq", "died", "died_at", 8),
        ("dlq", "reason", "reason", 8),
        ("requests", "status", "status", 8),
        ("requests", "size", "body_bytes", 8),
    ] {
        let up = paged(noun, sort, field);
        let mut down = paged(noun, &format!("-{sort}"), field);
        let mut ids: Vec<_> = up.iter().map(|(_, id)| id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), up.len()), (count, count), "{noun} {sort}: {up:?}");
        down.reverse();
        assert_eq!(up, down, "{noun} {sort}");
        let values = |v: &str| (v.len(), v.to_owned());
        let is_number = sort == "size" || sort == "attempts";
        let sorted = up.windows(2).all(|pair| match pair {
            [(a, _), (b, _)] if is_number => values(a) <= values(b),
            // What a request among dead letters lacks stands first.
            [(a, _), (b, _)] => a == "null" || a <= b,
            _ => true,
        });
        assert!(sorted, "{noun} {sort}: {up:?}");
    }

    let wrong = daemon.relayflow(&home, &["events", "ls", "--sort", "-payload"]).ended(2);
    assert!(wrong.err.contains("wanted received, occurred, source"), "{}", wrong.err);
    let queue =
        daemon.relayflow(&home, &["queue", "ls", "--sort", "-depth", "-o", "name"]).ended(0);
    assert_eq!(queue.out.trim(), receiver.name());
    let other = daemon.relayflow(&home, &["queue", "ls", "--sort", "dept"]).ended(2);
    assert!(other.err.contains("depth"), "{}", other.err);
    let page = daemon
        .relayflow(&home, &["events", "ls", "--sort", "type", "-n", "1", "-o", "json"])
        .json();
    let cursor = text(&page["next_cursor"]).to_owned();
    daemon.relayflow(&home, &["events", "ls", "--sort", "-type", "--after", &cursor]).ended(2);
    // A store that is read without its daemon sorts as well.
    let db = format!("sqlite:{}", home.path("relayflow.db").display());
    let direct =
        home.relayflow(&["--db", &db, "events", "ls", "--sort", "-type", "-o", "json"]).ended(0);
    assert_eq!(direct.json()["items"][0]["type"], "c.x");

    // An id that nothing begins with is not found, and is no empty selection; one of many is no one.
    daemon.relayflow(&home, &["dlq", "replay", "tsk_7ZZ", "--dry-run"]).ended(3);
    daemon.relayflow(&home, &["dlq", "replay", "tsk_0", "--dry-run"]).ended(3);
    daemon
        .relayflow(&home, &["dlq", "discard", "tsk_7ZZ", "--since", "1h", "--reason", "x", "--yes"])
        .ended(3);
    daemon
        .relayflow(&home, &["dlq", "replay", "source:github", "--since", "1h", "--dry-run"])
        .ended(9);
}
