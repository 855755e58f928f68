//! `relayflow providers`: what is known of each definition, and what a person's own is told.

use crate::harness::{Home, free_port, text};
use crate::vendor;

const ACME: &str = r#"title    = "Acme"
category = "commerce"
source   = "https://acme.example.com/docs/webhooks"
checked  = "2026-11-24"
status   = "partial"

[verify]
scheme = "hmac-sha256"
header = "acme-signature"

[event]
id   = "/id"
type = "/type"

[kind."order.created"]
types      = ["order.placed"]
attributes = { order = "/order" }
"#;

const SAMPLES: &str = r#"[[sample]]
type = "order.placed"
body = '{"id":"evt_<n>","type":"order.placed","order":"A-1"}'
"#;

const CASE: &str = r#"about = "An order."
now = "2026-11-24T12:00:00Z"
secrets = ["acme-secret-of-enough-bytes"]
body = '{"id":"evt_1","type":"order.placed","order":"A-1"}'

[headers]
acme-signature = "SIGNATURE"

[[events]]
type = "order.placed"
id = "evt_1"
kind = "order.created"
attributes = '{"order":"A-1"}'
"#;

fn acme(home: &Home) {
    std::fs::create_dir_all(home.path("providers/acme/cases")).unwrap();
    home.write("providers/acme.toml", ACME);
    home.write("providers/acme/samples.toml", SAMPLES);
    let body = r#"{"id":"evt_1","type":"order.placed","order":"A-1"}"#;
    let sum = vendor::hmac_sha256(b"acme-secret-of-enough-bytes", &[body.as_bytes()]);
    let signature = hex::encode(sum);
    home.write("providers/acme/cases/true.toml", &CASE.replace("SIGNATURE", &signature));
}

#[test]
fn every_built_in_definition_does_what_its_cases_say() {
    let home = Home::new("");
    let names = home.relayflow(&["providers", "ls", "-o", "name"]).ended(0).out;
    let words: Vec<&str> = ["providers", "check"].into_iter().chain(names.lines()).collect();
    let checked = home.relayflow(&[&words[..], &["-o", "json"]].concat()).ended(0).json();
    assert_eq!(checked["kind"], "provider_check");
    let items = checked["items"].as_array().unwrap();
    assert_eq!(items.len(), names.lines().count());
    for item in items {
        let verdicts = item["verdicts"].as_array().unwrap();
        let count = |what: &str| verdicts.iter().filter(|v| v["what"] == what).count();
        assert!(5 <= count("case") && 1 <= count("sample"), "{item}");
    }
}

#[test]
fn a_definition_of_ones_own_is_listed_shown_checked_and_sent() {
    let home = Home::new("");
    acme(&home);
    // A port of its own: nobody answers there, while a daemon may at the usual one.
    home.write(
        "relayflow.toml",
        &format!(
            "[api]\nlisten = \"127.0.0.1:{}\"\n[providers]\ndir = \"providers\"\n[sources.shop]\n\
             provider = \"acme\"\nsecrets = [\"acme-secret-of-enough-bytes\"]\n",
            free_port()
        ),
    );
    let run = |args: &[&str]| home.relayflow(args);
    run(&["config", "check"]).ended(0);
    let list = run(&["providers", "ls", "-o", "json"]).ended(0).json();
    let own = list["items"].as_array().unwrap().iter().find(|p| p["name"] == "acme").unwrap();
    assert_eq!((text(&own["status"]), own["built_in"].as_bool()), ("partial", Some(false)));
    let shown = run(&["providers", "show", "acme"]).ended(0).out;
    for part in
        ["hmac-sha256, in header acme-signature", "order.placed  → order.created", "partial"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let told = run(&["providers", "show", "acme", "-o", "json"]).ended(0).json();
    assert_eq!(told["kinds"][0]["attributes"][0]["from"][0], "/order", "{told}");

    for what in ["acme", "providers/acme.toml", "providers"] {
        let checked = run(&["providers", "check", what]).ended(0).out;
        assert!(checked.contains("An order.") && checked.contains("all is well"), "{checked}");
    }
    assert!(run(&["providers", "check"]).ended(0).out.contains("all is well"));

    // A case that does not hold, and one that cannot be read.
    let case = home.read("providers/acme/cases/true.toml").unwrap();
    home.write(
        "providers/acme/cases/wrong.toml",
        &case.replace("id = \"evt_1\"", "id = \"evt_2\""),
    );
    let checked = run(&["providers", "check", "providers/acme.toml"]).ended(10).out;
    assert!(checked.contains("id is evt_1, wanted evt_2"), "{checked}");
    home.write("providers/acme/cases/wrong.toml", &case.replace("now =", "nwo ="));
    let checked = run(&["providers", "check", "providers/acme.toml"]).ended(10).out;
    assert!(
        checked.contains("wrong.toml:2:1") && checked.contains("did you mean `now`?"),
        "{checked}"
    );

    // A mistake in the definition itself, as `config check` tells it too.
    home.write("providers/acme.toml", &ACME.replace("header = ", "heeder = "));
    for words in [&["providers", "check", "providers"][..], &["config", "check"]] {
        let told = run(words).ended(10);
        let told = format!("{}{}", told.out, told.err);
        assert!(
            told.contains("acme.toml:9:1") && told.contains("did you mean `header`?"),
            "{told}"
        );
    }
    run(&["providers", "check", "no-such"]).ended(2);
}

#[test]
fn what_is_not_confirmed_says_so_wherever_it_is_shown() {
    let home = Home::new("");
    acme(&home);
    home.write(
        "relayflow.toml",
        "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n[api]\n\
         listen = \"127.0.0.1:0\"\n[providers]\ndir = \"providers\"\n[sources.shop]\n\
         provider = \"acme\"\nsecrets = [\"acme-secret-of-enough-bytes\"]\n",
    );
    let daemon = home.start();
    let run = |args: &[&str]| daemon.relayflow(&home, args);
    for words in [
        &["sources", "ls"][..],
        &["sources", "show", "shop"],
        &["providers", "show", "acme"],
        &["send", "--list", "acme"],
    ] {
        let told = run(words).ended(0).out;
        assert!(told.contains("partial"), "{words:?}: {told}");
    }
    let list = run(&["providers", "ls"]).ended(0).out;
    let line = list.lines().find(|line| line.starts_with("acme ")).unwrap();
    assert!(line.contains("partial") && line.contains("own"), "{line}");
}
