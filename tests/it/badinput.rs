//! Hostile conversations: each costs its sender a 4xx, never the daemon.
//!
//! The cases are in `corpus.rs`. Afterwards the daemon is alive, has not panicked, has answered nothing with a
//! 5xx, and has not grown.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus::Expected::{OrClosed, Status};
use crate::corpus::{Case, framing, heads, payloads, signatures};
use crate::harness::{Daemon, Home, until};
use crate::vendor::{self, stripe};
use crate::wire::{Answer, Connection, headers};

/// How much the daemon may have grown by all of it, in KiB.
const GROWTH_KIB: u64 = 64 << 10;

/// Plays the case; `None` if the connection was closed without an answer.
fn play(daemon: &Daemon, case: &Case) -> Option<Answer> {
    let mut connection = Connection::open(daemon.ingest).unwrap();
    connection.read_within(Duration::from_secs(20)).unwrap();
    // A server that refuses early may close while we still write.
    let _refused_early = connection.write_raw(&case.bytes);
    match connection.read_answer(case.bytes.starts_with(b"HEAD")) {
        Ok(answer) => Some(answer),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            None
        }
        Err(error) => panic!("{}: {error}", case.name),
    }
}

#[test]
fn every_hostile_conversation_has_its_answer() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_before", "charge.failed"));
    let before = daemon.resident_kib();

    let cases: Vec<Case> =
        [framing(), heads(), signatures(), payloads()].into_iter().flatten().collect();
    eprintln!("{} hostile conversations", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let began = Instant::now();
        let answer = play(&daemon, case);
        let took = began.elapsed();
        let status = answer.as_ref().map(|a| a.status);
        let fits = match case.expected {
            Status(allowed) => status.is_some_and(|s| allowed.contains(&s)),
            OrClosed(allowed) => status.is_none_or(|s| allowed.contains(&s)),
        };
        if !fits {
            wrong.push(format!("{}: {status:?}, not {:?}", case.name, case.expected));
        }
        if Duration::from_secs(15) < took {
            wrong.push(format!("{}: answered after {took:?}", case.name));
        }
        // What hyper itself refuses has no body; what we answer is a problem.
        if let Some(answer) = answer
            && 400 <= answer.status
            && !answer.body.is_empty()
            && answer.header("content-type") != Some("application/problem+json")
        {
            wrong.push(format!("{}: {} is no problem+json", case.name, answer.status));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));

    daemon.deliver_new(&stripe("evt_after", "charge.failed"));
    let stats = daemon.stats();
    assert!(0 < stats["dead_letters"].as_i64().unwrap() && 0 < stats["rejected"].as_i64().unwrap());
    match (before, daemon.resident_kib()) {
        (Some(before), Some(after)) => {
            assert!(after < before + GROWTH_KIB, "grew from {before} to {after} KiB");
        }
        _ => eprintln!("LEFT OUT: memory, since this system does not tell"),
    }
}

#[test]
fn a_slow_sender_is_cut_off_and_holds_nobody_up() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let slow: Vec<_> = (0..40)
        .map(|n| {
            let ingest = daemon.ingest;
            thread::spawn(move || {
                let mut connection = Connection::open(ingest).unwrap();
                let request: &[u8] = if n % 2 == 0 {
                    b"POST /in/stripe HTTP/1.1\r\nhost: a\r\nx-slow:"
                } else {
                    b"POST /in/stripe HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"
                };
                connection.write_raw(request).unwrap();
                connection.read_within(Duration::from_secs(30)).unwrap();
                let began = Instant::now();
                let answer = connection.read_answer(false);
                (began.elapsed(), answer.map(|a| a.status).ok())
            })
        })
        .collect();
    for n in 0..20 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    for sender in slow {
        let (took, status) = sender.join().unwrap();
        assert!(took < Duration::from_secs(20), "held for {took:?}");
        assert!(matches!(status, None | Some(400 | 401 | 408)), "{status:?}");
    }
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let idle: Vec<Connection> =
        (0..300).filter_map(|_| Connection::open(daemon.ingest).ok()).collect();
    assert!(200 < idle.len());
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    drop(idle);
    until("it goes on", || {
        (daemon.post(&stripe("evt_1", "charge.failed")).status == 200).then_some(())
    });
}

#[test]
fn the_operator_api_is_as_strict() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let bearer = format!("Bearer {}", daemon.token);
    let json = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let deep = "[".repeat(50_000);
    let send = |method: &str, target: &str, pairs: &[(&str, &str)], body: &str| {
        crate::wire::fetch(daemon.api, method, target, &headers(pairs), body.as_bytes()).unwrap()
    };
    let long = format!("/api/v1/events?q={}", "a".repeat(5000));
    let cases = [
        ("q above 4 KiB", send("GET", &long, &json, ""), &[400, 414][..]),
        ("a limit that is no number", send("GET", "/api/v1/events?limit=x", &json, ""), &[400]),
        ("a negative limit", send("GET", "/api/v1/events?limit=-1", &json, ""), &[400]),
        (
            "a filter that is no filter",
            send("GET", "/api/v1/events?q=%28%28%28", &json, ""),
            &[400],
        ),
        ("a filter of quotes", send("GET", "/api/v1/events?q=%22", &json, ""), &[400]),
        ("SQL", send("GET", "/api/v1/events?q=source:%22x%27%20or%201=1--%22", &json, ""), &[200]),
        ("an id that is none", send("GET", "/api/v1/events/evt_%27", &json, ""), &[400, 404]),
        ("no JSON", send("POST", "/api/v1/plans", &json, "{"), &[400]),
        ("deep JSON", send("POST", "/api/v1/plans", &json, &deep), &[400]),
        (
            "an unknown field",
            send(
                "POST",
                "/api/v1/plans",
                &json,
                r#"{"action":"replay","q":"status:dead","all":true}"#,
            ),
            &[400],
        ),
        (
            "an unknown action",
            send("POST", "/api/v1/plans", &json, r#"{"action":"explode","q":"status:dead"}"#),
            &[400],
        ),
        (
            "an empty filter",
            send("POST", "/api/v1/plans", &json, r#"{"action":"replay","q":""}"#),
            &[400, 409],
        ),
        (
            "another content type",
            send("POST", "/api/v1/plans", &[json[0], ("content-type", "text/plain")], "{}"),
            &[400, 415],
        ),
        (
            "a replay of no plan",
            send(
                "POST",
                "/api/v1/replays",
                &json,
                r#"{"plan":"pln_00000000000000000000000000","hash":"x"}"#,
            ),
            &[404, 409],
        ),
        ("another method", send("DELETE", "/api/v1/events", &json, ""), &[405]),
        (
            "basic auth",
            send("GET", "/api/v1/events", &[("authorization", "Basic YTpi")], ""),
            &[401],
        ),
        (
            "the token in the query",
            send("GET", &format!("/api/v1/events?token={}", daemon.token), &[], ""),
            &[401],
        ),
    ];
    for (name, answer, allowed) in cases {
        assert!(allowed.contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        if 400 <= answer.status {
            assert!(answer.json()["code"].is_string(), "{name}");
        }
    }
}
