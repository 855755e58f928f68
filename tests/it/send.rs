//! `relayflow send`, for every provider that it knows.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use relayflow_core::clock::Clock;
use relayflow_core::config::SourceConfig;
use relayflow_core::provider::sign::{KeyPair, SignError, Signed, key_pair, sign_for};
use relayflow_core::provider::{Catalog, Provider, Sample, Source, tamper};
use relayflow_core::secret::Secret;
use serde_json::Value;

use crate::harness::{Daemon, Home, free_port, text, until};
use crate::vendor;
use crate::wire::Connection;

/// Some five seconds by itself; here it shares two cores with other tests, unoptimised.
const WITHIN: Duration = Duration::from_secs(60);

/// A provider as the program tells of it, and a source of it.
struct Known {
    name: String,
    source: Source,
    keys: KeyPair,
    key_file: String,
}

impl Known {
    fn provider(&self) -> &Provider {
        &self.source.provider
    }

    /// The event of a sample, signed as of `at`.
    fn sign(
        &self,
        sample: &Sample,
        key: &Secret,
        serial: u64,
        at: Timestamp,
    ) -> Result<Signed, SignError> {
        let url = format!("https://hooks.example.com/in/{}", self.name);
        let body = sample.body(serial, at);
        let mut letter = sign_for(&self.source, key, &sample.event_type, body, &url, at)?;
        letter.headers.retain(|(name, _)| !sample.headers.contains_key(name));
        letter.headers.extend(sample.headers.clone());
        Ok(letter)
    }
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
    let catalog = Catalog::built_in();
    let (mut all, mut sources) = (Vec::new(), String::new());
    for item in list["items"].as_array().unwrap() {
        let name = text(&item["name"]);
        let provider = catalog.get(name).unwrap();
        assert!(!provider.samples().is_empty(), "{name} has no payload to send");
        let keys = key_pair(provider, [9; 32]);
        let url = format!("https://hooks.example.com/in/{name}");
        let quoted = |text: &[u8]| toml::Value::from(String::from_utf8_lossy(text).into_owned());
        sources.push_str(&format!(
            "[sources.{name}]\nprovider = \"{name}\"\nsecrets = [{}]\npublic_url = \"{url}\"\n",
            quoted(keys.verifying.expose())
        ));
        if !provider.examples.is_empty() {
            sources.push_str(&format!("[sources.{name}.settings]\n"));
        }
        for (setting, example) in &provider.examples {
            sources.push_str(&format!("{setting} = {}\n", quoted(example.as_bytes())));
        }
        let config = SourceConfig {
            name: name.to_owned(),
            provider: name.to_owned(),
            secrets: vec![keys.verifying.clone()],
            tolerance: None,
            public_url: Some(url),
            settings: provider.examples.clone(),
            accept_identical: false,
            derived_window: SignedDuration::from_hours(24),
            reconcile: None,
        };
        let source = Source::new(&config, None, &catalog).unwrap();
        let key_file = format!("{name}.key");
        fs::write(home.path(&key_file), keys.signing.expose()).unwrap();
        all.push(Known { name: name.to_owned(), source, keys, key_file });
    }
    (all, sources)
}

/// How old a request may be, as `sources ls` tells; `None` where no time is signed.
fn tolerance(sources: &Value, name: &str) -> Option<SignedDuration> {
    let mut sources = sources["items"].as_array().unwrap().iter();
    let source = sources.find(|s| s["name"] == name).unwrap();
    let is_signed = !matches!(text(&source["scheme"]), "token" | "bearer" | "basic" | "none");
    text(&source["tolerance"]).parse().ok().filter(|_| is_signed)
}

/// The statuses of one provider's requests that are not what they should be; how many are rejected.
fn trial(known: &Known, tolerance: Option<SignedDuration>, to: &Daemon) -> (Vec<String>, u64) {
    let mut connection = Connection::open(to.ingest).unwrap();
    let (mut wrong, mut rejected) = (Vec::new(), 0);
    let mut post = |what: &str, letter: &Signed, is_right: &dyn Fn(u16) -> bool| {
        let target = letter.url.splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).unwrap();
        let method = letter.method.as_str();
        let answer = connection.send(method, &target, &letter.headers, &letter.body).unwrap();
        rejected += u64::from(answer.status == 401);
        if !is_right(answer.status) {
            wrong.push(format!("{} {what}: {} {}", known.name, answer.status, answer.text()));
        }
    };
    let now = Clock::Wall.now();
    let mut serial = u64::try_from(now.as_millisecond()).unwrap();
    for sample in known.provider().samples() {
        serial += 1;
        let letter = known.sign(sample, &known.keys.signing, serial, now);
        // Every definition has a way to sign that a key made for a test can go.
        let letter = letter.unwrap_or_else(|error| panic!("{}: {error}", known.name));
        post(&sample.event_type, &letter, &|status| (200..300).contains(&status));
    }
    let is_rejected = |status| status == 401;
    let sample = known.provider().samples().first().unwrap();
    let sign = |key: &Secret, serial, at| known.sign(sample, key, serial, at).unwrap();
    let mut spoilt = sign(&known.keys.signing, serial + 1, now);
    assert!(tamper::spoil_signature(&known.source, &mut spoilt), "{}", known.name);
    post("spoilt", &spoilt, &is_rejected);
    let other = key_pair(known.provider(), [8; 32]).signing;
    post("with another key", &sign(&other, serial + 2, now), &is_rejected);
    let mut spoilt = sign(&known.keys.signing, serial + 3, now);
    if tamper::signs_body(&known.source, &spoilt) {
        assert!(tamper::spoil_body(&known.source, &mut spoilt), "{}", known.name);
        post("with another body", &spoilt, &is_rejected);
    }
    if let Some(tolerance) = tolerance {
        let at = now - tolerance - SignedDuration::from_mins(5);
        post("late", &sign(&known.keys.signing, serial + 4, at), &is_rejected);
    }
    (wrong, rejected)
}

#[test]
fn every_provider_takes_its_own_and_turns_away_what_is_spoilt_or_late() {
    let began = Instant::now();
    let home = Home::new("");
    let (all, sources) = every_provider(&home);
    assert!(50 <= all.len(), "only {} providers", all.len());
    let daemon = start_in(&home, &sources);
    let sources = home.relayflow(&["sources", "ls", "-o", "json"]).ended(0).json();

    let (next, late) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    let rejected = AtomicU64::new(0);
    let work = || {
        while let Some(known) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tolerance = tolerance(&sources, &known.name);
            late.fetch_add(usize::from(tolerance.is_some()), Ordering::Relaxed);
            let (more, turned_away) = trial(known, tolerance, &daemon);
            wrong.lock().unwrap().extend(more);
            rejected.fetch_add(turned_away, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(10 <= late.into_inner(), "few providers sign a time");
    // Rejections are written a little behind the answer.
    let rejected = rejected.into_inner();
    let stats = until("all rejections are counted", || {
        let stats = daemon.stats();
        (stats["rejected"] == rejected).then_some(stats)
    });
    assert!(all.len() as u64 <= stats["events"].as_u64().unwrap(), "{stats}");
    let took = began.elapsed();
    eprintln!("{} providers in {took:.1?}", all.len());
    assert!(took < WITHIN, "{took:?}");
}

#[test]
fn send_signs_by_every_scheme() {
    let home = Home::new("");
    let (mut all, sources) = every_provider(&home);
    let mut schemes = BTreeSet::new();
    all.retain(|known| schemes.insert(known.provider().scheme().to_owned()));
    for scheme in ["hmac-sha256", "ed25519", "ecdsa-p256", "rsa", "jwt", "http-signature", "basic"]
    {
        assert!(schemes.contains(scheme), "{scheme} is not among {schemes:?}");
    }
    let _daemon = start_in(&home, &sources);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(known) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let event_type = &known.provider().samples().first().unwrap().event_type;
            let whole = ["send", &known.name, event_type, "--key-file", &known.key_file];
            let status = |more: &[&str]| {
                let ran = home.relayflow(&[&whole, more, &["-o", "json"]].concat());
                let sent = ran.out.lines().next().and_then(|l| serde_json::from_str(l).ok());
                let sent: Value =
                    sent.unwrap_or_else(|| panic!("{} {more:?}: {ran:?}", known.name));
                sent["status"].as_u64().unwrap()
            };
            assert!((200..300).contains(&status(&[])), "{}", known.name);
            for what in ["signature", "secret"] {
                assert_eq!(status(&["--tamper", what]), 401, "{} {what}", known.name);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
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
