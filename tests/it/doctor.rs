//! `relayflow doctor`: each condition is brought about, is named, and the command that is printed is run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, Ran, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, stripe};

/// What was found: code → (level, text, fix).
struct Found(Vec<(String, String, String, String)>);

impl Found {
    fn of(ran: &Ran) -> Self {
        let report = ran.json();
        assert_eq!(report["object"], "doctor_report", "{report}");
        let count = |level: &str| {
            let checks = report["checks"].as_array().unwrap();
            checks.iter().filter(|check| check["level"] == level).count()
        };
        assert_eq!(report["problems"], count("fail"), "{report}");
        assert_eq!(ran.exit, if count("fail") == 0 { 0 } else { 10 }, "{report}");
        let check = |check: &Value| {
            let word = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            (word("code"), word("level"), word("text"), word("fix"))
        };
        Self(report["checks"].as_array().unwrap().iter().map(check).collect())
    }

    /// The text and the fix of a finding that must be there.
    #[track_caller]
    fn has(&self, code: &str, level: &str) -> (&str, &str) {
        let found = self.0.iter().find(|check| check.0 == code && check.1 == level);
        let Some((.., text, fix)) = found else { panic!("no {level} {code} in {:#?}", self.0) };
        (text, fix)
    }

    #[track_caller]
    fn has_not(&self, code: &str) {
        let found = self.0.iter().find(|check| check.0 == code && check.1 != "ok");
        assert!(found.is_none(), "{found:?}");
    }
}

fn doctor(daemon: &Daemon, home: &Home) -> Found {
    Found::of(&daemon.relayflow(home, &["doctor", "-o", "json"]))
}

/// Runs a command as it was printed.
#[track_caller]
fn mend(daemon: &Daemon, home: &Home, fix: &str) -> Ran {
    match fix.strip_prefix("relayflow ") {
        Some(args) => daemon.relayflow(home, &args.split(' ').collect::<Vec<_>>()),
        None => {
            let done = std::process::Command::new("sh").args(["-c", fix]).status().unwrap();
            assert!(done.success(), "{fix}");
            Ran { exit: 0, out: String::new(), err: String::new() }
        }
    }
}

#[test]
fn a_daemon_that_is_well_is_told_so_in_every_format() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    let found = doctor(&daemon, &home);
    for code in ["daemon", "store", "worker", "source", "queue", "workflow", "config", "token"] {
        found.has(code, "ok");
    }
    let (text, _) = found.has("daemon", "ok");
    assert!(text.contains("clock skew 0.") && text.contains(&daemon.api.to_string()), "{text}");
    let lines = daemon.relayflow(&home, &["doctor"]).ended(0);
    assert!(lines.out.starts_with("ok    daemon    0."), "{}", lines.out);
    assert!(lines.out.contains("\nok    queue     1 queue open, 0 waiting\n"), "{}", lines.out);
    let last = lines.out.lines().last().unwrap();
    assert!(last == "nothing is wrong" || last.ends_with("warning"), "{}", lines.out);
    for (format, begin) in [
        ("yaml", "v: 1"),
        ("ndjson", "{\"v\":1,\"object\":\"doctor_report\""),
        ("csv", "\"level\",\"about\",\"code\",\"text\",\"fix\"\r\n"),
        ("name", "daemon\n"),
        ("wide", "LEVEL"),
    ] {
        let ran = daemon.relayflow(&home, &["doctor", "-o", format]).ended(0);
        assert!(ran.out.starts_with(begin), "{format}: {}", ran.out);
    }
}

#[test]
fn a_source_that_is_rejected_says_why_and_what_to_look_at() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let mut forged = stripe("evt_1", "charge.failed");
    forged.body.push(b' ');
    for _ in 0..3 {
        assert_eq!(daemon.post(&forged).status, 401);
    }
    // They are answered first, then counted and kept.
    let found = until("the rejected ones are kept", || {
        let found = doctor(&daemon, &home);
        let (_, _, text, fix) = found.0.iter().find(|check| check.0 == "source.rejected")?;
        let is_kept = fix.starts_with("relayflow requests explain req_");
        (is_kept && text.contains("(3), ")).then_some(found)
    });
    let (text, _) = found.has("source.rejected", "fail");
    assert!(
        text.starts_with("stripe: 100% rejected in the last ") && text.contains("(3), "),
        "{text}"
    );
}

#[test]
fn workflows_that_match_nothing_are_named() {
    let receiver = Receiver::start();
    let more = "[workflows.vain]\non = [\"shopify:orders/create\"]\n[[workflows.vain.steps]]\nname = \"x\"\n\
                command = { argv = [\"true\"] }\n\
                [workflows.narrow]\non = [\"*\"]\nwhen = 'event.source == \"nobody\"'\n[[workflows.narrow.steps]]\n\
                name = \"x\"\ncommand = { argv = [\"true\"] }\n";
    let home = Home::new(&format!("{}{more}", one_step(&receiver)));
    let daemon = home.start();
    let before = doctor(&daemon, &home);
    before.has_not("workflow.unmatched");
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    let found = doctor(&daemon, &home);
    let (text, fix) = found.has("workflow.in_vain", "warn");
    assert_eq!(text, "vain can match nothing: no source sends shopify:orders/create");
    assert_eq!(mend(&daemon, &home, fix).exit, 0);
    let (text, fix) = found.has("workflow.unmatched", "warn");
    assert_eq!(text, "narrow has matched none of 1 event");
    assert_eq!(fix, format!("relayflow workflows explain {id}"));
    let explained = mend(&daemon, &home, fix).ended(0);
    assert!(explained.out.contains("is false"), "{}", explained.out);
}

#[test]
fn queues_that_nobody_works_are_mended_by_what_is_printed() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let name = receiver.name();
    let args = ["queue", "pause", &name, "--indefinitely", "--reason", "deploy", "--yes"];
    daemon.relayflow(&home, &args).ended(0);
    doctor(&daemon, &home).has("queue.paused", "warn");
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let found = doctor(&daemon, &home);
    let (text, fix) = found.has("queue.paused", "fail");
    let wanted = format!("{name}: 1 waiting, paused by admin until it is resumed \"deploy\"");
    assert_eq!(text, wanted);
    mend(&daemon, &home, fix).ended(0);
    daemon.event_becomes(&id, "ok");
    doctor(&daemon, &home).has_not("queue.paused");

    receiver.answer(|_| Reply::Status(503));
    for n in 0..30 {
        daemon.deliver_new(&stripe(&format!("evt_x{n}"), "charge.failed"));
    }
    let found = until("the circuit is open", || {
        let found = doctor(&daemon, &home);
        found.0.iter().any(|check| check.0 == "queue.circuit_open").then_some(found)
    });
    let (text, fix) = found.has("queue.circuit_open", "fail");
    assert!(text.contains("its circuit is open: calls fail"), "{text}");
    let shown = mend(&daemon, &home, fix).ended(0);
    assert!(shown.out.contains("breaker"), "{}", shown.out);
}

#[test]
fn a_config_that_drifted_is_put_in_force_by_what_is_printed() {
    let receiver = Receiver::start();
    let config = one_step(&receiver);
    let home = Home::new(&config);
    let daemon = home.start();
    let (text, _) = doctor(&daemon, &home).has("config", "ok").to_owned_pair();
    assert!(text.contains("as loaded"), "{text}");
    home.reconfigure(&config.replace("attempts = 3", "attempts = 4"));
    let found = doctor(&daemon, &home);
    let (text, fix) = found.has("config.drifted", "warn");
    assert!(text.contains("(retry.attempts"), "{text}");
    assert_eq!(fix, format!("kill -HUP {}", daemon.pid()));
    mend(&daemon, &home, fix);
    until("it is in force", || {
        let found = doctor(&daemon, &home);
        found.0.iter().any(|check| check.0 == "config" && check.1 == "ok").then_some(())
    });
    home.reconfigure("[retry]\nattempts = 0\n");
    let found = doctor(&daemon, &home);
    let (text, fix) = found.has("config.broken", "fail");
    assert!(text.contains("does not check any more"), "{text}");
    assert_eq!(mend(&daemon, &home, fix).exit, 10, "it says what is wrong, and where");
}

trait Pair {
    fn to_owned_pair(&self) -> (String, String);
}

impl Pair for (&str, &str) {
    fn to_owned_pair(&self) -> (String, String) {
        (self.0.to_owned(), self.1.to_owned())
    }
}

#[test]
fn a_token_that_others_can_read_is_closed_by_what_is_printed() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let path = home.path("relayflow.token");
    let open = || {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    open();
    let found = doctor(&daemon, &home);
    let (_, fix) = found.has("token.open", "fail");
    mend(&daemon, &home, fix);
    doctor(&daemon, &home).has_not("token.open");
    // Who finds the token by itself refuses it, and doctor says so instead of failing.
    open();
    let found = Found::of(&home.relayflow(&["doctor", "-o", "json"]));
    let (text, fix) = found.has("token.refused", "fail");
    assert!(text.contains("others can read"), "{text}");
    mend(&daemon, &home, fix);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let wrong = home.relayflow_with(
        &["doctor", "-o", "json"],
        &[("RELAYFLOW_URL", &format!("http://{}", daemon.api)), ("RELAYFLOW_TOKEN", "nonsense")],
    );
    Found::of(&wrong).has("token.refused", "fail");
}

#[test]
fn without_a_daemon_it_says_how_to_start_one_and_what_its_store_says() {
    let receiver = Receiver::start();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    receiver.answer(move |_| {
        let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(60));
        Reply::Status(200)
    });
    let port = crate::harness::free_port();
    let home = Home::new("");
    home.write(
        "relayflow.toml",
        &format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:{port}\"\n\
             [egress]\nallow = [\"127.0.0.0/8\"]\n{}[[workflows.all.steps]]\nname = \"then\"\n\
             needs = [\"call\"]\nhttp = {{ method = \"POST\", url = \"{}\" }}\n",
            one_step(&receiver),
            receiver.url("/then"),
        ),
    );
    let found = Found::of(&home.relayflow(&["doctor", "-o", "json"]));
    let (_, fix) = found.has("daemon.unreachable", "fail");
    assert_eq!(fix, "relayflow up");

    let mut daemon = home.start();
    let id = daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    until("it runs", || (receiver.count() == 1).then_some(()));
    for n in 2..20 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    daemon.kill();
    // Long ago, as far as the store knows.
    let store = rusqlite::Connection::open(home.path("relayflow.db")).unwrap();
    store.execute("update task set lease_until_us = 1000000 where status = 'running'", []).unwrap();
    store.execute("update worker set beat_us = 1000000", []).unwrap();
    drop(store);
    for args in
        [&["doctor", "-o", "json"][..], &["--db", "sqlite:relayflow.db", "doctor", "-o", "json"]]
    {
        let found = Found::of(&home.relayflow(args));
        for code in ["worker.silent", "lease.stuck", "queue.no_worker"] {
            let (_, fix) = found.has(code, "fail");
            assert_eq!(fix, "relayflow up", "{code}");
        }
        if args.len() == 3 {
            found.has("daemon.unreachable", "fail");
        }
    }
    let gone = home.relayflow(&["--db", "sqlite:nothing.db", "doctor", "-o", "json"]);
    Found::of(&gone).has("store.unopened", "fail");

    // What was printed mends all of it.
    drop(open);
    let daemon = home.start();
    daemon.event_becomes(&id, "ok");
    let found = doctor(&daemon, &home);
    for code in ["worker.silent", "lease.stuck", "queue.no_worker", "daemon.unreachable"] {
        found.has_not(code);
    }
}

/// A daemon of another time: it answers each path as told.
fn pretend(answers: &'static [(&'static str, u16, &'static str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (_, status, body) =
                answers.iter().find(|a| a.0 == path).copied().unwrap_or(("", 404, "{}"));
            let _ = write!(
                stream,
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    addr
}

const OLD: &str = r#"{"v":1,"object":"health","status":"ok","version":"0.0.1","detail":null}"#;
const NO_ROUTE: &str = r#"{"type":"urn:relayflow:problem:not_found.route","title":"there is no such path","status":404,"code":"not_found.route"}"#;
const LATE: &str = r#"{"v":1,"object":"doctor_report","at":"2026-01-01T00:00:00.000000Z","version":"0.0.1","problems":0,"warnings":0,"checks":[]}"#;

#[test]
fn a_daemon_of_another_version_or_clock_is_told_apart() {
    let home = Home::new("");
    let doctor = |addr: SocketAddr| {
        let url = format!("http://{addr}");
        let env = [("RELAYFLOW_URL", url.as_str()), ("RELAYFLOW_TOKEN", "x")];
        Found::of(&home.relayflow_with(&["doctor", "-o", "json"], &env))
    };
    let found = doctor(pretend(&[("/healthz", 200, OLD), ("/api/v1/doctor", 404, NO_ROUTE)]));
    let (text, fix) = found.has("version.old", "fail");
    assert!(text.contains("daemon 0.0.1"), "{text}");
    assert_eq!(fix, "relayflow version");
    let found = doctor(pretend(&[("/healthz", 200, OLD), ("/api/v1/doctor", 200, LATE)]));
    let (text, _) = found.has("version.differs", "warn");
    assert!(text.ends_with("daemon 0.0.1"), "{text}");
    let (text, _) = found.has("clock.skew", "warn");
    assert!(text.contains("behind this one"), "{text}");
}

#[test]
fn a_full_disk_and_a_secret_that_is_too_short_are_told() {
    let home = Home::new("[sources.short]\nprovider = \"stripe\"\nsecrets = [\"short\"]\n");
    let daemon = home.start();
    let found = doctor(&daemon, &home);
    let (told, fix) = found.has("config.weak", "warn");
    assert!(told.contains("16"), "{told}");
    assert_eq!(mend(&daemon, &home, fix).exit, 0, "a warning is no error");
    // How much is left is of this machine; that it is looked at is not.
    let disk = daemon.get("/doctor");
    let about = disk["checks"].as_array().unwrap().iter().map(|check| text(&check["about"]));
    assert!(about.collect::<Vec<_>>().contains(&"disk"), "{disk}");
}
