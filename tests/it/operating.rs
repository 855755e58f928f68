//! Operating it: queues that stand still, who works, what came and went, and watching all that.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, Ran, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, Signed, stripe};

fn pause(daemon: &Daemon, home: &Home, queue: &str, length: &[&str]) -> Ran {
    let mut args = vec!["queue", "pause", queue, "--reason", "they deploy", "--yes"];
    args.extend(length);
    daemon.relayflow(home, &args)
}

fn queue(daemon: &Daemon, name: &str) -> Value {
    let queues = daemon.get("/queues");
    let mut items = queues["items"].as_array().unwrap().iter();
    items.find(|queue| queue["name"] == name).cloned().unwrap_or_else(|| panic!("{queues}"))
}

fn is_open(daemon: &Daemon, name: &str) -> bool {
    queue(daemon, name)["state"] == "open"
}

/// A request that nobody signed.
fn forged(id: &str) -> Signed {
    let mut forged = stripe(id, "charge.failed");
    forged.body.push(b' ');
    forged
}

#[test]
fn a_paused_queue_takes_everything_in_and_starts_nothing() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let name = receiver.name();
    let before = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&before, "ok");

    let said = pause(&daemon, &home, &name, &["--for", "30m"]).ended(0);
    assert!(said.out.contains("paused by admin until "), "{}", said.out);
    let ids: Vec<String> = (2..12)
        .map(|n| daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed")))
        .collect();
    until("all of them wait", || (queue(&daemon, &name)["depth"] == 10).then_some(()));
    assert_eq!(receiver.count(), 1, "nothing new started");

    // It is seen wherever somebody looks.
    let paused = queue(&daemon, &name);
    assert_eq!((text(&paused["state"]), text(&paused["pause"]["who"])), ("paused", "admin"));
    assert_eq!(paused["drain_seconds"], Value::Null);
    let stats = daemon.stats();
    assert_eq!(stats["paused_queues"][0]["reason"], "they deploy", "{stats}");
    let metrics = daemon.ask("/metrics").text();
    let line = format!("relayflow_queue_paused{{queue=\"{name}\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
    let list = daemon.relayflow(&home, &["events", "ls", "-n", "1"]).ended(0);
    let footer = format!("1 queue paused: {name} by admin until ");
    assert!(list.err.contains(&footer), "{}", list.err);
    let quiet = daemon.relayflow(&home, &["events", "ls", "-q"]).ended(0);
    assert_eq!(quiet.err, "");
    let shown = daemon.relayflow(&home, &["queue", "ls"]).ended(0);
    assert!(shown.out.contains("paused by admin until "), "{}", shown.out);
    assert!(shown.out.contains("\"they deploy\""), "{}", shown.out);
    let one = daemon.relayflow(&home, &["queue", "show", &name]).ended(0);
    assert!(one.out.contains(&format!("relayflow queue resume {name}")), "{}", one.out);

    // A daemon that is killed and comes again holds to it.
    drop(daemon);
    let daemon = home.start();
    assert_eq!(queue(&daemon, &name)["state"], "paused");
    assert_eq!(receiver.count(), 1);

    daemon.relayflow(&home, &["queue", "resume", &name, "--reason", "done"]).ended(0);
    for id in &ids {
        daemon.event_becomes(id, "ok");
    }
    assert_eq!(receiver.count(), 11, "each once");
    let again = daemon.relayflow(&home, &["queue", "resume", &name]).ended(6);
    assert!(again.err.contains("is not paused"), "{}", again.err);
    assert_eq!(actions(&daemon, &home, &name), ["paused admin they deploy", "resumed admin done"]);
}

/// What was done to a queue, as the record of changes has it: `what who reason`.
fn actions(daemon: &Daemon, home: &Home, name: &str) -> Vec<String> {
    let args = ["tail", "--since", "1h", "--json", "--timeout", "2s"];
    let tail = daemon.relayflow(home, &args).ended(8);
    let is_action = |entry: &Value| {
        entry["destination"] == name && (entry["what"] == "paused" || entry["what"] == "resumed")
    };
    let entries = tail.lines().into_iter().filter(is_action);
    let line = |entry: Value| {
        let detail = &entry["detail"];
        let reason = detail["reason"].as_str().unwrap_or_default();
        format!("{} {} {reason}", text(&entry["what"]), text(&detail["who"]))
    };
    entries.map(line).collect()
}

#[test]
fn a_pause_ends_by_itself_and_that_is_on_record() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let name = receiver.name();
    // A queue may be paused before its first task.
    pause(&daemon, &home, &name, &["--for", "3s"]).ended(0);
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    assert!(is_open(&daemon, &name));
    let done = ["paused admin they deploy", "resumed relayflow its time has come"];
    assert_eq!(actions(&daemon, &home, &name), done);

    // Also while nobody runs.
    pause(&daemon, &home, &name, &["--for", "1s"]).ended(0);
    drop(daemon);
    std::thread::sleep(Duration::from_millis(1100));
    let daemon = home.start();
    until("it goes on", || is_open(&daemon, &name).then_some(()));
    let id = daemon.deliver_new(&stripe("evt_2", "charge.failed"));
    daemon.event_becomes(&id, "ok");
    assert_eq!(actions(&daemon, &home, &name).len(), 4);
}

#[test]
fn what_runs_ends_and_what_waits_in_memory_goes_back() {
    let receiver = Receiver::start();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    receiver.answer(move |_| {
        // Answers once for each that is let through.
        let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(60));
        Reply::Status(200)
    });
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let name = receiver.name();
    for n in 0..40 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("the most that may run", || (16 <= receiver.count()).then_some(()));
    pause(&daemon, &home, &name, &["--indefinitely"]).ended(0);
    until("what waited goes back", || (queue(&daemon, &name)["depth"] == 24).then_some(()));
    for _ in 0..16 {
        open.send(()).unwrap();
    }
    until("what ran has ended", || (queue(&daemon, &name)["running"] == 0).then_some(()));
    let stats = daemon.stats();
    assert_eq!((&stats["tasks"]["ok"], receiver.count()), (&json!(16), 16));
    daemon.relayflow(&home, &["queue", "resume", &name]).ended(0);
    for _ in 0..24 {
        open.send(()).unwrap();
    }
    let stats = daemon.drained();
    assert_eq!((&stats["tasks"]["ok"], receiver.count()), (&json!(40), 40), "each once");
}

#[test]
fn a_replay_says_that_its_queue_is_paused_and_waits_for_it() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let name = receiver.name();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "dead");
    receiver.answer(|_| Reply::Status(200));
    pause(&daemon, &home, &name, &["--indefinitely"]).ended(0);
    let plan = daemon.relayflow(&home, &["dlq", "replay", "--all-time", "--dry-run"]).ended(0);
    assert!(plan.out.contains("blocked"), "{}", plan.out);
    assert!(plan.out.contains("queue paused by admin: waits until it is resumed"), "{}", plan.out);
    daemon.relayflow(&home, &["dlq", "replay", "--all-time", "--yes"]).ended(0);
    until("its item waits", || (queue(&daemon, &name)["depth"] == 1).then_some(()));
    assert_eq!(receiver.count(), 1);
    daemon.relayflow(&home, &["queue", "resume", &name]).ended(0);
    daemon.event_becomes(&id, "ok");
}

#[test]
fn who_may_pause_and_what_is_asked_first() {
    let receiver = Receiver::start();
    let token = |name: &str, role: &str| {
        format!(
            "[api.tokens.{name}]\nrole = \"{role}\"\ntoken = \"{name}-0123456789abcdef0123456789abcdef\"\n"
        )
    };
    let tokens = [token("ana", "operator"), token("bo", "viewer"), token("cy", "admin")].concat();
    let home = Home::new(&format!("{}{tokens}", one_step(&receiver)));
    let mut daemon = home.start();
    "cy-0123456789abcdef0123456789abcdef".clone_into(&mut daemon.token);
    let name = receiver.name();
    let user = format!(
        "[contexts.prod]\nendpoint = \"http://{}\"\ntoken_env = \"ANA\"\nprotected = true\n\
         [contexts.look]\nendpoint = \"http://{}\"\ntoken_env = \"BO\"\n",
        daemon.api, daemon.api
    );
    home.write("user.toml", &user);
    let run = |context: &str, more: &[&str]| {
        let mut args = vec!["--user-config", "user.toml", "--context", context, "queue", "pause"];
        args.push(&name);
        args.extend(more);
        let env = [
            ("ANA", "ana-0123456789abcdef0123456789abcdef"),
            ("BO", "bo-0123456789abcdef0123456789abcdef"),
        ];
        home.relayflow_with(&args, &env)
    };
    for (context, more, exit, said) in [
        ("prod", &["--for", "5m"][..], 6, "needs a --reason"),
        ("prod", &["--for", "5m", "--reason", "x"], 6, "is protected"),
        ("prod", &["--for", "5m", "--reason", "x", "--yes"], 6, "--yes must name it"),
        ("prod", &["--reason", "x", "--yes=prod"], 2, "--indefinitely"),
        ("prod", &["--for", "soon", "--reason", "x", "--yes=prod"], 2, "is not a duration"),
        ("prod", &["--for", "90d", "--reason", "x", "--yes=prod"], 2, "at most 30d"),
        ("look", &["--for", "5m", "--reason", "x", "--yes"], 4, "role"),
    ] {
        let ran = run(context, more).ended(exit);
        assert!(ran.err.contains(said), "{more:?}: {}", ran.err);
    }
    assert!(daemon.stats()["paused_queues"].as_array().unwrap().is_empty());
    let dry = run("prod", &["--for", "5m", "--reason", "x", "--dry-run"]).ended(0);
    assert!(dry.err.contains("nothing new starts for 5m"), "{}", dry.err);
    assert!(daemon.stats()["paused_queues"].as_array().unwrap().is_empty());
    let done = run("prod", &["--for", "5m", "--reason", "x", "--yes=prod", "-o", "json"]).ended(0);
    assert_eq!(done.json()["pause"]["who"], "ana");
    let unknown = daemon.relayflow(&home, &["queue", "show", "nope"]);
    assert_eq!(unknown.exit, 3, "{unknown:?}");
    // A store that is read alone shows it, and changes nothing.
    let db = ["--db", "sqlite:relayflow.db"];
    let shown =
        home.relayflow(&[&db[..], &["queue", "show", &name, "-o", "json"]].concat()).ended(0);
    assert_eq!(shown.json()["pause"]["reason"], "x");
    home.relayflow(&[&db[..], &["queue", "resume", &name]].concat()).ended(6);
}

#[test]
fn the_numbers_of_the_present_are_exact_by_source_workflow_and_destination() {
    let receiver = Receiver::start();
    receiver.answer(|call| Reply::Status(if call.attempt == 1 { 503 } else { 200 }));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    for n in 0..7 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    daemon.deliver(&stripe("evt_0", "charge.failed"));
    let body = vendor::github_issue(1);
    daemon.deliver(&vendor::github("d-1", "issues", body.as_bytes()));
    for n in 0..3 {
        assert_eq!(daemon.post(&forged(&format!("evt_x{n}"))).status, 401);
    }
    daemon.drained();
    let row = |by: &str, name: &str| {
        let stats = daemon.relayflow(&home, &["stats", "--by", by, "-o", "json"]).ended(0).json();
        let rows = stats["flow"]["rows"].as_array().unwrap();
        let found = rows.iter().find(|row| row["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("no {name} in {stats}"))
    };
    // Numbers of the present are written at most a second late.
    let stripe = until("what came last is counted", || {
        let ran = row("workflow", "all");
        let stripe = row("source", "stripe");
        (stripe["rejected"] == 3 && ran["ok"] == 8).then_some(stripe)
    });
    for (member, value) in [
        ("received", 11),
        ("duplicates", 1),
        ("ok", 7),
        ("retries", 7),
        ("dead", 0),
        ("attempts", 14),
    ] {
        assert_eq!(stripe[member], value, "{member}: {stripe}");
    }
    assert_eq!(stripe["end_to_end"]["count"], 7);
    assert!(stripe["end_to_end"]["p50_ms"].as_f64().unwrap() >= 25.0, "a retry waits: {stripe}");
    assert!(stripe["ack"]["p99_ms"].as_f64().unwrap() < 60_000.0);
    assert_eq!(row("source", "github")["ok"], 1);
    assert_eq!(row("workflow", "all")["ok"], 8);
    let dest = row("dest", &receiver.name());
    assert_eq!(
        (&dest["received"], &dest["ok"], &dest["retries"]),
        (&json!(8), &json!(8), &json!(8))
    );
    let all = daemon.relayflow(&home, &["stats", "-o", "json"]).ended(0).json();
    let all = &all["flow"]["rows"][0];
    assert_eq!((&all["name"], &all["ok"], &all["rejected"]), (&json!("all"), &json!(8), &json!(3)));
    let series = all["series"]["ok"].as_array().unwrap();
    assert_eq!(series.iter().filter_map(Value::as_i64).sum::<i64>(), 8);
    let shown = daemon.relayflow(&home, &["stats"]).ended(0);
    assert!(shown.out.contains("end to end    p50 "), "{}", shown.out);
    let csv = daemon.relayflow(&home, &["stats", "--by", "dest", "-o", "csv"]).ended(0);
    assert!(csv.out.starts_with("\"name\",\"received\","), "{}", csv.out);
    assert_eq!(daemon.relayflow(&home, &["stats", "--since", "2h"]).exit, 2);
    // The same of the store alone, and after a restart.
    drop(daemon);
    let stats =
        home.relayflow(&["--db", "sqlite:relayflow.db", "stats", "-o", "json"]).ended(0).json();
    assert_eq!(stats["flow"]["rows"][0]["ok"], 8);
    let queues =
        home.relayflow(&["--db", "sqlite:relayflow.db", "queue", "ls", "-o", "json"]).ended(0);
    let queue = &queues.json()["items"][0];
    assert_eq!((&queue["depth"], &queue["drain_seconds"]), (&json!(0), &json!(0.0)));
    assert!(0.0 < queue["in_per_second"].as_f64().unwrap(), "{queue}");
}

#[test]
fn workers_say_what_they_hold_and_when_they_were_heard_of() {
    let receiver = Receiver::start();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    receiver.answer(move |_| {
        let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(60));
        Reply::Status(200)
    });
    let home = Home::new(&one_step(&receiver));
    let mut daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    until("it runs", || (receiver.count() == 1).then_some(()));
    let list = daemon.relayflow(&home, &["workers", "ls", "-o", "json"]).ended(0).json();
    let worker = &list["items"][0];
    assert_eq!(
        (&worker["state"], &worker["running"], &worker["leases"]),
        (&json!("live"), &json!(1), &json!(1))
    );
    let id = text(&worker["id"]);
    let one =
        daemon.relayflow(&home, &["workers", "show", &id[..20], "-o", "json"]).ended(0).json();
    assert_eq!(one["tasks"][0]["status"], "running", "{one}");
    let shown = daemon.relayflow(&home, &["workers", "show", id]).ended(0);
    assert!(shown.out.contains("all/call"), "{}", shown.out);
    assert_eq!(daemon.relayflow(&home, &["workers", "show", "wrk_ZZZ"]).exit, 3);
    // Killed: the store still says what it held.
    daemon.kill();
    let db = ["--db", "sqlite:relayflow.db"];
    let list = home.relayflow(&[&db[..], &["workers", "-o", "json"]].concat()).ended(0).json();
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["leases"]), (&json!(id), &json!(1)));
    // Stopped in order: nobody works.
    drop(open);
    let mut daemon = home.start();
    daemon.drained();
    daemon.stop();
    let list = home.relayflow(&[&db[..], &["workers", "-o", "json"]].concat()).ended(0).json();
    assert_eq!(list["items"], json!([]));
}

#[test]
fn a_watch_is_a_stream_of_documents_and_an_interrupt_ends_it() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    for args in [
        &["queue", "ls", "-w=200ms", "--json"][..],
        &["events", "ls", "--watch=200ms", "-o", "ndjson"],
        &["stats", "-w=200ms", "-o", "ndjson"],
        &["workers", "--watch=200ms", "-o", "ndjson"],
    ] {
        let mut child = daemon.cli(&home, args).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        for _ in 0..3 {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            lines.push(
                serde_json::from_str::<Value>(&line).unwrap_or_else(|e| panic!("{e}: {line}")),
            );
        }
        assert!(lines.iter().all(|line| line["object"] == lines[0]["object"]), "{lines:?}");
        let sent = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        let status = until("it ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(130), "{args:?}");
    }
    // An optional value needs its equals sign: what follows is a term.
    let ran = daemon.relayflow(&home, &["events", "ls", "--watch", "5s"]);
    assert_eq!(ran.exit, 2, "{ran:?}");
}

#[test]
fn a_watch_outlives_a_daemon_that_comes_again() {
    let receiver = Receiver::start();
    let port = crate::harness::free_port();
    let home = Home::new("");
    let config = format!("{}[api]\nlisten = \"127.0.0.1:{port}\"\n", one_step(&receiver));
    home.write(
        "relayflow.toml",
        &format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n\
             [egress]\nallow = [\"127.0.0.0/8\"]\n{config}"
        ),
    );
    let daemon = home.start();
    let mut child = daemon
        .cli(&home, &["stats", "-w=200ms", "-o", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    drop(daemon);
    let mut said = String::new();
    std::io::BufRead::read_line(&mut err, &mut said).unwrap();
    assert!(said.starts_with("-- "), "{said}");
    let _daemon = home.start();
    while !said.contains("-- resumed at ") {
        said.clear();
        assert!(0 < std::io::BufRead::read_line(&mut err, &mut said).unwrap(), "it gave up");
    }
    let _ = child.kill();
    let _ = child.wait();
}
