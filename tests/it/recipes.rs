//! The recipes of the command line, as they are printed: with the real programs, through a shell.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Daemon, Home, program, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{config, workflow};
use crate::vendor::{self, stripe, stripe_body};

/// A line as an engineer types it, with `relayflow` on the path.
struct Shell<'a> {
    home: &'a Home,
    daemon: Option<&'a Daemon>,
}

struct Typed {
    exit: i32,
    out: String,
    err: String,
}

impl Typed {
    #[track_caller]
    fn ended(self, exit: i32) -> Self {
        assert_eq!(self.exit, exit, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

impl Shell<'_> {
    fn types(&self, line: &str) -> Typed {
        let like = match self.daemon {
            Some(daemon) => daemon.cli(self.home, &[]),
            None => self.home.cli(&[]),
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env_clear().stdin(std::process::Stdio::null());
        for (name, value) in like.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let programs = program("relayflow").parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{programs}:{path}")).current_dir(self.home.path("."));
        let done = shell.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Typed {
            exit: done.status.code().unwrap_or(-1),
            out: text(&done.stdout),
            err: text(&done.stderr),
        }
    }
}

/// Twenty dead letters of one error, one of them an order's; and one that needed four attempts.
fn house() -> (Receiver, Home) {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        let id = call.json()["data"]["id"].as_str().unwrap_or_default().to_owned();
        Reply::Status(match (id.as_str(), call.attempt) {
            ("evt_slow", ..=4) => 503,
            ("evt_slow", _) => 200,
            _ => 422,
        })
    });
    let home = Home::new(
        &config(&workflow(&receiver, "crm", &[("upsert", "", "")]))
            .replace("attempts = 3", "attempts = 9"),
    );
    (receiver, home)
}

#[test]
fn an_incident_by_the_recipes() {
    let (receiver, home) = house();
    let daemon = home.start();
    for n in 0..20 {
        let request = stripe(&format!("evt_{n}"), "charge.failed");
        daemon.deliver_new(&request.with("x-correlation-id", &format!("7c1e{n:02}")));
    }
    let slow = daemon.deliver_new(&stripe("evt_slow", "charge.failed"));
    daemon.event_becomes(&slow, "ok");
    until("all are dead", || (daemon.stats()["dead_letters"] == 20).then_some(()));
    let shell = Shell { home: &home, daemon: Some(&daemon) };

    // What is broken.
    let broken = shell.types("relayflow dlq ls --by error --since 3h").ended(0);
    let row = broken.out.lines().nth(1).unwrap();
    let error = row.split_whitespace().find(|word| word.starts_with("e_")).unwrap().to_owned();
    assert!(row.split_whitespace().any(|word| word == "20"), "{}", broken.out);

    // One customer's story.
    let story = shell.types("relayflow trace 7c1e07").ended(0);
    assert!(story.out.starts_with("7c1e07  1 event  1 task  1 dead"), "{}", story.out);
    assert!(story.out.contains(&error), "the error can be typed from here: {}", story.out);

    // What would a replay do.
    let calls = receiver.count();
    let dry =
        shell.types(&format!("relayflow dlq replay error:{error} --since 3h --dry-run")).ended(0);
    let plan = dry.out.split_whitespace().find(|word| word.starts_with("pln_")).unwrap().to_owned();
    assert!(
        dry.out.contains(&format!("run it    relayflow replay create --plan {plan}")),
        "{}",
        dry.out
    );
    assert!(dry.out.contains("routing   20 same workflow revision (crm@r1)"), "{}", dry.out);
    assert!(dry.out.contains("time      ~1 s at 16 calls at once"), "{}", dry.out);
    assert_eq!(receiver.count(), calls, "nothing ran");

    // Do it, carefully.
    receiver.answer(|_| Reply::Status(200));
    let line = format!("relayflow replay create --plan {plan} --canary 5 --wait --yes --reason x");
    let done = shell.types(&line).ended(0);
    assert!(done.out.contains("20 done: 20 ok"), "{}", done.out);
    assert_eq!(receiver.count(), calls + 20);
    let twice = shell.types(&line).ended(6);
    assert!(twice.err.contains("has been used"), "{}", twice.err);

    // Programs read lines; `jq -c 'select(.attempts>3)'`, where there is one.
    let all = shell.types("relayflow events ls --all --since 1d -o ndjson").ended(0);
    let lines: Vec<Value> = all.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 21);
    let often: Vec<&Value> = lines.iter().filter(|l| l["attempts"].as_i64() > Some(3)).collect();
    assert_eq!((often.len(), &often[0]["id"]), (1, &Value::from(slow.as_str())));
    if shell.types("command -v jq").exit == 0 {
        let jq = "relayflow events ls --all --since 1d -o ndjson | jq -c 'select(.attempts>3)'";
        assert_eq!(shell.types(jq).ended(0).out.lines().count(), 1);
    }
    let pipe =
        "relayflow events ls --all --since 1d -o ndjson | sed -n '/\"attempts\":5/p' | head -1";
    assert!(shell.types(pipe).ended(0).out.contains(&slow));
    let ids = "relayflow dlq ls status:discarded -o name | relayflow dlq replay - --dry-run";
    shell.types(ids).ended(9);
}

#[test]
fn an_integration_test_waits_for_its_event() {
    let (receiver, home) = house();
    receiver.answer(|_| Reply::Status(200));
    let daemon = home.start();
    let request = stripe("evt_1", "charge.failed").with("x-correlation-id", "order-4711");
    daemon.deliver_new(&request);
    let shell = Shell { home: &home, daemon: Some(&daemon) };
    let wait = |id: &str, within: &str| {
        shell.types(&format!(
            "ID={id}; relayflow tail corr:$ID --since 1h --stop-on status:ok --timeout {within}"
        ))
    };
    let found = wait("order-4711", "60s").ended(0);
    assert!(found.out.contains("crm/upsert"), "{}", found.out);
    let never = wait("order-0815", "1s").ended(8);
    assert_eq!(never.out, "");

    // As it is printed: nothing has happened yet, and then it does.
    let line = "ID=order-4712; relayflow tail corr:$ID --stop-on status:ok --timeout 60s";
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| shell.types(line));
        // A tail that is not there yet would miss the event: it is sent until it is seen.
        let mut n = 0;
        until("the tail sees it", || {
            n += 1;
            let request = stripe(&format!("evt_later_{n}"), "charge.failed");
            daemon.deliver_new(&request.with("x-correlation-id", "order-4712"));
            waits.is_finished().then_some(())
        });
        waits.join().unwrap().ended(0);
    });
}

#[test]
fn a_gate_in_ci_is_about_what_breaks() {
    let (receiver, home) = house();
    receiver.answer(|_| Reply::Status(200));
    let daemon = home.start();
    let shell = Shell { home: &home, daemon: Some(&daemon) };
    let gate = || shell.types("relayflow drift ls --fail-on breaking -o json");
    for n in 0..12 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    daemon.drained();
    assert_eq!(
        serde_json::from_str::<Value>(&gate().ended(0).out).unwrap()["items"],
        Value::Array(vec![])
    );
    for n in 0..3 {
        let body =
            stripe_body(&format!("evt_odd_{n}"), "charge.failed").replace("4200", "\"a lot\"");
        daemon.post(&vendor::sign_stripe(vendor::STRIPE_SECRET, body.as_bytes(), vendor::now()));
    }
    until("the difference is found", || (gate().exit == 10).then_some(()));
    let found = gate().ended(10);
    let list: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(text(&list["items"][0]["grade"]), "breaking", "{list}");
}

#[test]
fn the_store_of_a_dead_daemon_can_be_read() {
    let (_receiver, home) = house();
    let mut daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.event_becomes(&id, "dead");
    let with_daemon = daemon.relayflow(&home, &["timeline", &id]).ended(0).out;
    daemon.kill();
    let shell = Shell { home: &home, daemon: None };
    shell
        .types("cp relayflow.db backup.db; cp relayflow.db-wal backup.db-wal 2>/dev/null; true")
        .ended(0);
    // An id as it is printed in a hurry: the beginning of one is enough.
    let short = id.get(..20).unwrap();
    let line = format!("relayflow --db sqlite:backup.db timeline {short}");
    assert_eq!(shell.types(&line).ended(0).out, with_daemon);
    // What would change something needs a daemon.
    let replay = "relayflow --db sqlite:backup.db dlq replay since:1h --yes --reason x";
    let refused = shell.types(replay).ended(6);
    assert!(refused.err.contains("needs a running daemon"), "{}", refused.err);
}

#[test]
fn the_line_in_ci_ends_as_the_work_did() {
    let (receiver, home) = house();
    let daemon = home.start();
    let shell = Shell { home: &home, daemon: Some(&daemon) };
    let line = "relayflow dlq replay since:1h --yes --reason \"deploy 81\" --wait=15m";
    let dead = |n: usize| {
        for n in 0..n {
            daemon.deliver_new(&stripe(
                &format!("evt_{}_{n}", daemon.stats()["events"]),
                "charge.failed",
            ));
        }
        daemon.drained();
    };
    // Nothing to do.
    shell.types(line).ended(9);
    // Some fail, all succeed.
    dead(3);
    let partial = shell.types(line).ended(7);
    assert!(partial.err.contains("dead: relayflow dlq ls replay:rpl_"), "{}", partial.err);
    receiver.answer(|_| Reply::Status(200));
    shell.types(line).ended(0);
    // Still running when the time is over.
    receiver.answer(|_| Reply::Status(422));
    dead(1);
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let goes = std::sync::Arc::clone(&gate);
    receiver.answer(move |_| {
        until("released", || goes.load(std::sync::atomic::Ordering::SeqCst).then_some(()));
        Reply::Status(200)
    });
    let pending = shell.types(&line.replace("15m", "1s")).ended(8);
    assert!(pending.err.contains("try: relayflow replay watch rpl_"), "{}", pending.err);
    gate.store(true, std::sync::atomic::Ordering::SeqCst);
    daemon.drained();
    // It never starts: refused, no token, nobody there.
    receiver.answer(|_| Reply::Status(422));
    dead(1);
    shell.types(&line.replace("--yes ", "")).ended(6);
    shell.types(&format!("RELAYFLOW_TOKEN=no-such-token-0123456789abcdef {line}")).ended(4);
    let port = crate::harness::free_port();
    shell.types(&format!("RELAYFLOW_URL=http://127.0.0.1:{port} {line}")).ended(5);
}
