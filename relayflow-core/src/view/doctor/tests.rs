use std::path::PathBuf;

use super::*;
use crate::api::QueuePause;
use crate::store::Disk;

const GIB: u64 = 1 << 30;

fn at(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap()
}

fn health() -> Health {
    Health {
        engine: "SQLite 3.51.3".to_owned(),
        is_too_old: false,
        path: PathBuf::from("/var/lib/relayflow/relayflow.db"),
        bytes: GIB,
        since: Some(at(0)),
        disk: Some(Disk {
            bytes: 100 * GIB,
            free_bytes: 60 * GIB,
            reserve_bytes: 2 * GIB,
            is_read_only: false,
        }),
        is_writable: true,
    }
}

fn queue() -> Queue {
    Queue {
        v: V,
        object: "queue".to_owned(),
        name: "ci.internal".to_owned(),
        depth: 38,
        running: 1,
        retrying: 0,
        dead: 0,
        oldest_queued_seconds: Some(250.0),
        state: "open".to_owned(),
        concurrency: 16,
        breaker: Some("closed".to_owned()),
        next_probe_seconds: None,
        pause: None,
        in_per_second: 0.0,
        out_per_second: 0.0,
        retry_ratio: None,
        drain_seconds: None,
    }
}

fn worker(state: &str, ended_leases: i64) -> Worker {
    Worker {
        v: V,
        object: "worker".to_owned(),
        id: "wrk_1".to_owned(),
        state: state.to_owned(),
        leases: 3,
        ended_leases,
        running: 3,
        heartbeat_seconds: 12_000.0,
        started_at: "2026-11-23T10:00:00.000000Z".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 7,
    }
}

/// Each as `level code text | fix`.
fn told(checks: &[Check]) -> Vec<String> {
    let line = |c: &Check| {
        let fix = c.fix.as_deref().unwrap_or("-");
        format!("{} {} {} | {fix}", c.level, c.code, c.text)
    };
    checks.iter().map(line).collect()
}

#[test]
fn a_disk_is_full_nearly_full_or_will_be() {
    let year = at(365 * 86_400);
    let said = |change: fn(&mut Health)| {
        let mut health = health();
        change(&mut health);
        let told = told(&store_checks(&health, year, true));
        told.into_iter().filter(|line| !line.starts_with("ok ")).collect::<Vec<_>>()
    };
    assert!(said(|_| {}).is_empty());
    let free = |bytes: u64| {
        move |health: &mut Health| {
            if let Some(disk) = &mut health.disk {
                disk.free_bytes = bytes;
            }
        }
    };
    let mut full = health();
    free(GIB)(&mut full);
    let fix = "du -xh -d 1 /var/lib/relayflow";
    assert_eq!(
        told(&store_checks(&full, year, true))[1],
        format!("fail disk.full 1.1 GB free of 107.4 GB: below 2.1 GB nothing is taken in | {fix}")
    );
    free(3 * GIB)(&mut full);
    assert!(told(&store_checks(&full, year, true))[1].starts_with("warn disk.nearly_full "));
    // A gibibyte in two hours.
    let soon = told(&store_checks(&health(), at(7200), true)).remove(1);
    let wanted =
        "warn store.growing the store grows by 12.9 GB a day: its disk is full in 4.8 days";
    assert_eq!(soon, format!("{wanted} | {fix}"));
    assert!(said(|h| h.is_writable = false)[0].starts_with("fail disk.unwritable "));
    assert!(said(|h| h.is_too_old = true)[0].starts_with("fail store.too_old "));
    // Who reads a backup need not be able to write it.
    let backup = Health { is_writable: false, ..health() };
    assert!(told(&store_checks(&backup, year, false)).iter().any(|l| l.starts_with("warn disk.")));
}

#[test]
fn a_queue_that_nobody_works_says_why() {
    let said = |has_worker, change: fn(&mut Queue)| {
        let mut queue = queue();
        change(&mut queue);
        told(&queue_checks(&[queue], has_worker)).remove(0)
    };
    assert_eq!(said(true, |_| {}), "ok queue 1 queue open, 38 waiting | -");
    let no_worker =
        "fail queue.no_worker ci.internal: 38 waiting, no worker takes it | relayflow up";
    assert_eq!(said(false, |_| {}), no_worker);
    let stuck =
        "fail queue.stuck ci.internal: 38 waiting for 4m and nothing runs | relayflow workers ls";
    assert_eq!(said(true, |q| q.running = 0), stuck);
    let open = "fail queue.circuit_open ci.internal: 38 waiting, its circuit is open: calls fail, next probe in 4s | relayflow queue show ci.internal";
    assert_eq!(
        said(true, |q| {
            "circuit_open".clone_into(&mut q.state);
            q.next_probe_seconds = Some(4.2);
        }),
        open
    );
    let pause = |q: &mut Queue| {
        q.pause = Some(QueuePause {
            name: q.name.clone(),
            who: "ana".to_owned(),
            reason: "deploy".to_owned(),
            since: "2026-11-23T14:00:00.000000Z".to_owned(),
            until: Some("2026-11-23T14:30:00.000000Z".to_owned()),
        });
    };
    let paused = "ci.internal: 38 waiting, paused by ana until 2026-11-23 14:30 UTC \"deploy\"";
    let fix = "relayflow queue resume ci.internal";
    assert_eq!(said(true, pause), format!("fail queue.paused {paused} | {fix}"));
    let mut empty = queue();
    pause(&mut empty);
    empty.depth = 0;
    assert!(told(&queue_checks(&[empty], true))[0].starts_with("warn queue.paused "));
}

#[test]
fn a_worker_that_is_gone_leaves_leases() {
    assert_eq!(
        told(&worker_checks(&[], false)),
        ["warn worker.none none has this store open: nothing is executed | relayflow up"]
    );
    let silent = [worker("silent", 2)];
    assert_eq!(
        told(&worker_checks(&silent, false)),
        ["fail worker.silent wrk_1 silent with 3 leases, heard of 3h ago | relayflow up"]
    );
    assert_eq!(
        told(&lease_checks(&silent)),
        [
            "fail lease.stuck 2 leases of wrk_1 ended long ago and nobody settles them | relayflow up"
        ]
    );
    assert!(lease_checks(&[worker("live", 0)]).is_empty());
}

#[test]
fn names_are_words_of_a_shell() {
    for (name, shown) in [
        ("api.example.com", "api.example.com"),
        ("command:run it", "'command:run it'"),
        ("it's", "'it'\\''s'"),
        ("", "''"),
    ] {
        assert_eq!(shell(name), shown);
    }
}

#[test]
fn a_report_counts_what_it_holds() {
    let checks = vec![ok("daemon", "x"), warn("a.b", "x", None), fail("c.d", "x", None)];
    let report = report(at(0), "0.1.0", checks);
    assert_eq!((report.problems, report.warnings), (1, 1));
    assert_eq!(report.checks[2].about, "c");
}
