//! `--db`: a store read without its daemon, beside a live one, as a backup, and what is no store.

use std::fs;

use serde_json::Value;

use crate::bundle::{incident, reads, timeless};
use crate::harness::Home;

#[test]
fn a_dead_daemons_store_answers_as_the_daemon_did() {
    let mut it = incident();
    let reads = reads(&it);
    let answer = |it: &crate::bundle::Incident, args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["-o", "json"]).collect();
        timeless(it.daemon.relayflow(&it.home, &args).ended(0).json())
    };
    let direct = |it: &crate::bundle::Incident, args: &[String]| {
        let mut all = vec!["--db", "sqlite:relayflow.db", "-o", "json"];
        all.extend(args.iter().map(String::as_str));
        timeless(it.home.relayflow(&all).ended(0).json())
    };
    let answers: Vec<Value> = reads.iter().map(|args| answer(&it, args)).collect();
    for is_alive in [true, false] {
        if !is_alive {
            it.daemon.kill();
        }
        for (args, wanted) in reads.iter().zip(&answers) {
            let mut got = direct(&it, args);
            let mut wanted = wanted.clone();
            if args[0] == "queue" {
                // What a daemon does with a queue is not known without it, and said so.
                assert!(got["items"].as_array().unwrap().iter().all(|q| q["state"] == "unknown"));
                for queues in [&mut got, &mut wanted] {
                    for queue in queues["items"].as_array_mut().unwrap() {
                        let queue = queue.as_object_mut().unwrap();
                        for name in ["state", "concurrency", "breaker", "next_probe_seconds"] {
                            queue.remove(name);
                        }
                    }
                }
            }
            if args[0] == "sources" {
                // The config says where it listens, and here that is any free port.
                let of = |value: &mut Value| {
                    let text = value.to_string();
                    let mut out = String::new();
                    for part in text.split("http://127.0.0.1:") {
                        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
                    }
                    *value = serde_json::from_str(&out).unwrap();
                };
                of(&mut got);
                of(&mut wanted);
            }
            assert_eq!(got, wanted, "{args:?}, alive: {is_alive}");
        }
        let refused = it.home.relayflow(&[
            "--db",
            "sqlite:relayflow.db",
            "dlq",
            "discard",
            &it.task,
            "--reason",
            "x",
        ]);
        assert_eq!(refused.exit, 6, "{refused:?}");
        let export = format!("direct-{is_alive}.tar.gz");
        it.home
            .relayflow(&["--db", "sqlite:relayflow.db", "export", "--all-time", "--to", &export])
            .ended(0);
        let events = it.home.relayflow(&["--db", &export, "events", "ls", "-o", "name"]).ended(0);
        assert_eq!(events.out.lines().count(), 3);
    }
}

#[test]
fn without_a_config_what_a_store_does_not_say_is_said_to_be_unknown() {
    let it = incident();
    let elsewhere = Home::bare("");
    fs::remove_file(elsewhere.path("relayflow.toml")).unwrap();
    let from = it.home.path("relayflow.db");
    let url = format!("sqlite:{}", from.display());
    for args in [&["sources", "ls"][..], &["workflows", "ls"], &["workflows", "explain", &it.event]]
    {
        let ran = elsewhere.relayflow(&[&["--db", &url][..], args].concat());
        assert_eq!(ran.exit, 3, "{args:?}: {ran:?}");
        assert!(ran.err.contains("unknown"), "{args:?}: {}", ran.err);
    }
    elsewhere.relayflow(&["--db", &url, "drift", "ls"]).ended(0);
    elsewhere.relayflow(&["--db", &url, "providers", "ls"]).ended(0);
    let explained =
        it.home.relayflow(&["--db", &url, "workflows", "explain", &it.event, "-o", "json"]);
    assert_eq!(explained.ended(0).json()["workflows"][0]["result"], "match");
}

#[test]
fn what_is_no_store_says_what_it_is() {
    let home = Home::bare("");
    let mut daemon = home.start();
    daemon.stop();
    home.write("text.db", "this is a letter, and no database");
    home.write("empty.db", "");
    let other = rusqlite::Connection::open(home.path("other.db")).unwrap();
    other.execute_batch("create table t (a); insert into t values (1)").unwrap();
    drop(other);
    fs::copy(home.path("relayflow.db"), home.path("newer.db")).unwrap();
    fs::copy(home.path("relayflow.db"), home.path("older.db")).unwrap();
    let change = |name: &str, sql: &str| {
        rusqlite::Connection::open(home.path(name)).unwrap().execute_batch(sql).unwrap();
    };
    change(
        "newer.db",
        "insert into _sqlx_migrations select 9000, 'x', installed_on, 1, checksum, 0
         from _sqlx_migrations limit 1",
    );
    change("older.db", "delete from _sqlx_migrations where version > 1");
    for (url, exit, says) in [
        ("sqlite:text.db", 2, "no SQLite file"),
        ("sqlite:empty.db", 2, "it is empty"),
        ("sqlite:other.db", 2, "some other SQLite database"),
        ("sqlite:.", 2, "it is no file"),
        ("sqlite:missing.db", 5, "could not be opened"),
        ("sqlite:newer.db", 5, "newer RelayFlow"),
        ("sqlite:older.db", 5, "older RelayFlow"),
        ("sqlite:", 2, "not a store"),
        ("sqlite::memory:", 2, "not a store"),
        ("postgres://u:secret@h/db", 2, "PostgreSQL"),
        ("relayflow.db", 2, "--db sqlite:relayflow.db"),
        ("mysql://x", 2, "not a store"),
    ] {
        let ran = home.relayflow(&["--db", url, "events", "ls"]);
        assert_eq!(ran.exit, exit, "{url}: {ran:?}");
        assert!(ran.err.contains(says), "{url}: {}", ran.err);
        assert!(!ran.err.contains("secret"), "{url}: {}", ran.err);
    }
    // As written, with slashes, or as a backup under another name: the same store.
    fs::copy(home.path("relayflow.db"), home.path("backup of monday.db")).unwrap();
    for url in ["sqlite:relayflow.db", "sqlite://relayflow.db", "sqlite:backup of monday.db"] {
        home.relayflow(&["--db", url, "events", "ls"]).ended(0);
    }
}
