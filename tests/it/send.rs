//! `relayflow send`, for every provider that it knows.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use relayflow_core::provider::Catalog;
use relayflow_core::provider::sign::key_pair;
use serde_json::Value;

use crate::harness::{Daemon, Home, free_port, text, until};
use crate::vendor;

/// Fifteen seconds by itself; here it shares two cores with other tests, unoptimised.
const WITHIN: Duration = Duration::from_secs(90);

/// A provider as the program tells of it.
struct Known {
    name: String,
    /// The first type of which there is a payload.
    event_type: String,
    key_file: String,
}

/// A daemon whose config is in reach, with these sections.
fn start(sections: &str) -> (Home, Daemon) {
    let home = Home::new("");
    let daemon = start_in(&home, sections);
    (home, daemon)
}

fn start_in(home: &Home, sections: &str) -> Daemon {
    let (ingest, api) = (free_port(), free_port());
    home.write(
        "relayflow.toml",
        &format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n{sections}"
        ),
    );
    home.start()
}

/// Every provider of `relayflow providers ls`, and a source of each: its secret made for its scheme,
/// its settings the examples of its definition.
fn every_provider(home: &Home) -> (Vec<Known>, String) {
    let list = home.relayflow(&["providers", "ls", "-o", "json"]).ended(0).json();
    let samples = home.relayflow(&["send", "--list", "-o", "json"]).ended(0).json();
    let catalog = Catalog::built_in();
    let (mut all, mut sources) = (Vec::new(), String::new());
    for item in list["items"].as_array().unwrap() {
        let name = text(&item["name"]);
        let provider = catalog.get(name).unwrap();
        let keys = key_pair(provider, [9; 32]);
        let quoted = |text: &[u8]| toml::Value::from(String::from_utf8_lossy(text).into_owned());
        sources.push_str(&format!(
            "[sources.{name}]\nprovider = \"{name}\"\nsecrets = [{}]\npublic_url = \
             \"https://hooks.example.com/in/{name}\"\n",
            quoted(keys.verifying.expose())
        ));
        if !provider.examples.is_empty() {
            sources.push_str(&format!("[sources.{name}.settings]\n"));
        }
        for (setting, example) in &provider.examples {
            sources.push_str(&format!("{setting} = {}\n", quoted(example.as_bytes())));
        }
        let key_file = format!("{name}.key");
        fs::write(home.path(&key_file), keys.signing.expose()).unwrap();
        let of_provider = samples["items"].as_array().unwrap().iter();
        let first = of_provider.filter(|s| s["provider"] == name).map(|s| text(&s["type"])).next();
        let event_type = first.unwrap_or_else(|| panic!("{name} has no payload to send"));
        all.push(Known { name: name.to_owned(), event_type: event_type.to_owned(), key_file });
    }
    (all, sources)
}

#[test]
fn every_provider_takes_its_own_and_turns_away_what_is_spoilt_or_late() {
    let began = Instant::now();
    let home = Home::new("");
    let (all, sources) = every_provider(&home);
    assert!(50 <= all.len(), "only {} providers", all.len());
    let daemon = start_in(&home, &sources);
    let sources = home.relayflow(&["sources", "ls", "-o", "json"]).ended(0).json();
    let signs_time = |name: &str| {
        let mut sources = sources["items"].as_array().unwrap().iter();
        let source = sources.find(|s| s["name"] == name).unwrap();
        let is_signed = !matches!(text(&source["scheme"]), "token" | "bearer" | "basic" | "none");
        is_signed && !matches!(text(&source["tolerance"]), "none" | "off")
    };

    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let (late, rejected) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(known) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let send = |more: &[&str]| {
                let whole = ["send", &known.name, &known.event_type, "--key-file", &known.key_file];
                home.relayflow(&[&whole, more, &["-o", "json"]].concat())
            };
            let expect = |what: &str, more: &[&str], is_right: &dyn Fn(&Value) -> bool| {
                let ran = send(more);
                let sent = ran.out.lines().next().and_then(|l| serde_json::from_str(l).ok());
                if !sent.as_ref().is_some_and(|sent: &Value| is_right(&sent["status"])) {
                    wrong.lock().unwrap().push(format!("{} {what}: {ran:?}", known.name));
                }
            };
            expect("as it is", &[], &|status| {
                status.as_u64().is_some_and(|s| (200..300).contains(&s))
            });
            let is_rejected = |status: &Value| *status == 401;
            expect("spoilt", &["--tamper", "signature"], &is_rejected);
            rejected.fetch_add(1, Ordering::Relaxed);
            if signs_time(&known.name) {
                expect("late", &["--skew", "-2h"], &is_rejected);
                late.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(10 <= late.load(Ordering::Relaxed), "few providers sign a time");
    let all_rejected = rejected.into_inner() + late.into_inner();
    // Rejections are written a little behind the answer.
    let stats = until("all rejections are counted", || {
        let stats = daemon.stats();
        (stats["rejected"] == all_rejected).then_some(stats)
    });
    assert!(all.len() as u64 <= stats["events"].as_u64().unwrap(), "{stats}");
    let took = began.elapsed();
    eprintln!("{} providers in {took:.1?}", all.len());
    assert!(took < WITHIN, "{took:?}");
}

#[test]
fn a_stored_event_is_sent_again_as_a_new_one() {
    let (home, daemon) = start(&vendor::sources());
    let run = |args: &[&str]| home.relayflow(args);
    for (provider, event_type) in [("stripe", "charge.failed"), ("github", "issues.opened")] {
        run(&["send", provider, event_type]).ended(0);
        let newest = || {
            let list = run(&["events", "ls", &format!("source:{provider}"), "-o", "json"]);
            list.ended(0).json()["items"].as_array().unwrap().clone()
        };
        let first = newest()[0].clone();
        run(&["send", "--from", text(&first["id"])]).ended(0);
        run(&["send", "--from", text(&first["id"]), "--count", "2"]).ended(0);
        let events = newest();
        assert_eq!(events.len(), 4, "{events:?}");
        for event in &events {
            assert_eq!(event["type"], first["type"]);
            assert_eq!(event["subject"], first["subject"]);
        }
    }
    assert_eq!(daemon.stats()["duplicates"], 0);
    run(&["send", "--from", "evt_00000000000000000000000000"]).ended(3);
}

#[test]
fn a_payload_can_be_edited_before_it_goes() {
    let (home, _daemon) = start(&vendor::sources());
    home.script("editor.sh", "#!/bin/sh\nsed -i 's/card_declined/edited_code/' \"$1\"\n");
    home.script("spoil.sh", "#!/bin/sh\necho '{' > \"$1\"\n");
    let edit = |editor: &str| {
        let words = ["send", "stripe", "charge.failed", "--edit"];
        home.relayflow_with(&words, &[("VISUAL", &home.path(editor).display().to_string())])
    };
    edit("editor.sh").ended(0);
    let event = home.relayflow(&["events", "ls", "-o", "json"]).ended(0).json();
    let id = text(&event["items"][0]["id"]).to_owned();
    let shown = home.relayflow(&["events", "show", &id, "-o", "json"]).ended(0).json();
    assert_eq!(shown["attributes"]["code"], "edited_code", "{shown}");
    let refused = edit("spoil.sh").ended(2);
    assert!(refused.err.contains("not JSON"), "{refused:?}");
    home.relayflow(&["send", "stripe", "charge.failed", "--edit"]).ended(2);
}

#[test]
fn what_print_shows_works_when_it_is_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("LEFT OUT: what_print_shows_works_when_it_is_pasted needs curl");
        return;
    }
    let (home, daemon) = start(&vendor::sources());
    let odd = r#"{"id":"evt_odd","type":"charge.failed","note":"it's 100% \"é\" \\ \t"}"#;
    home.write("odd.json", &format!("{odd}\r\n"));
    let all: [&[&str]; 4] = [
        &["send", "stripe", "charge.failed", "--print"],
        &["send", "stripe", "charge.failed", "--print", "--data", "@odd.json"],
        &["send", "slack", "message", "--print"],
        &["send", "hubspot", "contact.creation", "--print"],
    ];
    for (number, words) in all.iter().enumerate() {
        let printed = home.relayflow(words).ended(0).out;
        let pasted = Command::new("sh").args(["-c", &printed]).output().unwrap();
        let answer = String::from_utf8_lossy(&pasted.stdout);
        assert!(pasted.status.success() && answer.contains("accepted"), "{printed}\n{answer}");
        until("it is there", || {
            (daemon.stats()["events"].as_u64() > Some(number as u64)).then_some(())
        });
    }
}

#[test]
fn tampering_that_is_taken_is_a_finding() {
    let sections = "[sources.open]\nprovider = \"generic\"\nsecrets = [\"a-token-of-enough-bytes\"]\n\
                    [sources.open.settings]\nscheme = \"token\"\nheader = \"x-token\"\n";
    let (home, _daemon) = start(sections);
    let send =
        |more: &[&str]| home.relayflow(&[&["send", "generic", "ticket.opened"], more].concat());
    send(&["--tamper", "signature"]).ended(0);
    send(&["--tamper", "secret"]).ended(0);
    let body = send(&["--tamper", "body"]).ended(10);
    assert!(body.err.contains("does not sign the body"), "{body:?}");
    send(&["--data", "{\"id\":\"a\",\"type\":\"x\"}", "--count", "3"]).ended(0);
    let events = home.relayflow(&["events", "ls", "-o", "json"]).ended(0).json();
    assert_eq!(events["items"].as_array().unwrap().len(), 4, "each has an id of its own");
}
