//! The store that is measured with is one that a daemon could have left.

use std::path::Path;

use relayflow_core::clock::Clock;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

#[path = "../bigstore/mod.rs"]
mod make;

use crate::harness::{Daemon, Home, Ran, text};
use crate::replay_modes::plan;

const COUNT: u64 = 4000;

/// What a query finds that must find nothing.
#[track_caller]
fn none(connection: &Connection, what: &str, sql: &str) {
    let found: i64 =
        connection.query_row(&format!("select count(*) from ({sql})"), [], |r| r.get(0)).unwrap();
    assert_eq!(found, 0, "{what}");
}

fn is_sound(path: &Path) {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let told: String = connection.query_row("pragma integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(told, "ok");
    for (what, sql) in [
        (
            "events whose counts are not those of their tasks",
            "select e.id from event e where (e.queued, e.running, e.retrying, e.ok, e.dead,
                e.discarded, e.skipped, e.attempts) <> (select
                count(*) filter (where status = 'queued'),
                count(*) filter (where status = 'running'),
                count(*) filter (where status = 'retrying'), count(*) filter (where status = 'ok'),
                count(*) filter (where status = 'dead'),
                count(*) filter (where status = 'discarded'),
                count(*) filter (where status = 'skipped'), coalesce(max(attempt), 0)
                from task t where t.event_id = e.id)",
        ),
        (
            "tasks that are not counted",
            "select 1 from (select 'task.' || status as name, destination as of, count(*) as n
                from task group by 1, 2) t
             left join counter c on c.name = t.name and c.of = t.of where c.value is not t.n",
        ),
        (
            "counters of tasks that there are not",
            "select 1 from counter c where c.name like 'task.%' and c.value <>
                (select count(*) from task t where 'task.' || t.status = c.name
                    and t.destination = c.of)",
        ),
        (
            "attempts with a gap",
            "select task_id from attempt group by 1 having max(attempt) > count(*)",
        ),
        (
            "events without a key",
            "select 1 from event e where not exists (select 1 from event_key k
            where k.event_id = e.id and k.source = e.source and k.external_id = e.external_id)",
        ),
        (
            "events without a request",
            "select 1 from event e where not exists
            (select 1 from request r where r.id = e.request_id)",
        ),
        (
            "requests without a body",
            "select 1 from request r where not exists
            (select 1 from body b where b.id = r.body_id and length(b.bytes) = r.body_bytes)",
        ),
    ] {
        none(&connection, what, sql);
    }
}

fn ls(daemon: &Daemon, home: &Home, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = args.iter().copied().chain(["--all", "-o", "ndjson"]).collect();
    let over_api = daemon.relayflow(home, &args).ended(0);
    let db = format!("sqlite:{}", home.path("relayflow.db").display());
    let direct: Ran = home.relayflow(&[&args[..], &["--db", &db]].concat()).ended(0);
    assert_eq!(over_api.out, direct.out, "{args:?}");
    over_api.lines()
}

#[test]
fn a_store_to_measure_with_is_what_a_daemon_leaves() {
    let home = Home::bare("");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = home.path("relayflow.toml").parent().unwrap().to_owned();
    let made = runtime.block_on(make::make(&dir, COUNT, Clock::Wall.now(), &|_| {})).unwrap();
    is_sound(&home.path("relayflow.db"));

    let daemon = home.start();
    let stats = daemon.stats();
    assert_eq!(stats["events"], json!(made.events), "{stats}");
    assert_eq!(stats["duplicates"], json!(made.duplicates));
    assert_eq!(stats["rejected"], json!(made.rejected));
    assert_eq!(stats["tasks"]["dead"], json!(made.dead));
    assert_eq!(stats["tasks"]["retrying"], json!(made.retrying));
    assert_eq!(stats["tasks"]["discarded"], json!(made.discarded));
    assert!(40 < made.dead && 10 < made.duplicates && 0 < made.rejected, "{made:?}");

    // Read again by the same configuration, nothing of it reads otherwise or goes elsewhere.
    let again = plan(&daemon, &json!({"q": "source:*", "mode": "reroute"}));
    let difference = &again["difference"];
    assert_eq!(difference["events"], json!(made.events), "{difference}");
    assert_eq!(difference["events_changed"], 0, "{difference}");
    for list in ["unreadable", "routes_added", "routes_lost"] {
        assert_eq!(difference[list], json!([]), "{difference}");
    }

    // What is rare is found, wherever it lies; and both ways in tell the same.
    let rare = format!("type:{}", make::RARE_TYPE);
    assert_eq!(ls(&daemon, &home, &["events", "ls", &rare]).len(), 20);
    assert_eq!(ls(&daemon, &home, &["events", "ls", "workflow:meter"]).len(), 20);
    assert_eq!(ls(&daemon, &home, &["events", "ls", "source:legacy"]).len(), 20);
    let dead = ls(&daemon, &home, &["dlq", "ls"]);
    let dead_tasks = dead.iter().filter(|letter| text(&letter["id"]).starts_with("tsk_")).count();
    assert_eq!(u64::try_from(dead_tasks).unwrap(), made.dead);
    let groups = ls(&daemon, &home, &["dlq", "ls", "--by", "error"]);
    assert!((5..=make::FINGERPRINTS * 4).contains(&groups.len()), "{}", groups.len());
    let grouped: u64 = groups.iter().map(|g| g["count"].as_u64().unwrap()).sum();
    assert_eq!(grouped, u64::try_from(dead.len()).unwrap());
    let first = &dead[0];
    let of_error = format!("error:{}", text(&first["error_id"]));
    let same = ls(&daemon, &home, &["dlq", "ls", &of_error]).len();
    let group = groups.iter().find(|g| g["value"] == first["error_id"]).unwrap();
    assert_eq!(group["count"], json!(same));
}
