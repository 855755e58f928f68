//! The CI gate: files and stored events against contracts, exit codes and reports.

use serde_json::{Value, json};

use super::{order, posted, sources};
use crate::harness::{Home, Ran, text, until};

/// A folder of bodies of the project's own, and a contract learned from them.
fn folder() -> Home {
    let home = Home::new("");
    for n in 0..4 {
        home.write(&format!("good/{n}.json"), &order(n).to_string());
    }
    let mut bad = order(9);
    bad["data"]["total"] = json!("9.00");
    bad["data"]["extra"] = json!({"x": 1});
    home.write("bad.json", &bad.to_string());
    let mut more = order(8);
    more["data"]["status"] = json!("void");
    home.write("more.json", &more.to_string());
    home
}

fn check(home: &Home, args: &[&str]) -> Ran {
    home.relayflow(&[&["contract", "check"], args].concat())
}

const LEARN: [&str; 7] =
    ["contract", "learn", "good", "--provider", "generic", "--dir", "contracts"];

#[test]
fn files_pass_or_fail_as_their_contract_has_it() {
    let home = folder();
    let learned = home.relayflow(&LEARN).ended(0);
    assert!(learned.out.starts_with("written  contracts/order.paid.json  "), "{learned:?}");
    let file = home.read("contracts/order.paid.json").unwrap();
    let schema: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(schema["$id"], "generic/order.paid@1");
    assert!(!file.contains("jenny") && !file.contains("ord_"), "no values: {file}");
    assert!(home.relayflow(&LEARN).ended(0).out.starts_with("unchanged"), "the same bytes");
    assert_eq!(home.read("contracts/order.paid.json").unwrap(), file);

    let with = ["--provider", "generic", "--contract", "contracts"];
    let run = |files: &[&str], more: &[&str]| check(&home, &[files, &with, more].concat());
    let kept = run(&["good"], &["-o", "json"]).ended(0).json();
    assert_eq!((&kept["checked"], &kept["kept"]), (&json!(4), &json!(4)));
    let found = run(&["good", "bad.json"], &["-o", "json"]).ended(10).json();
    assert_eq!((&found["breaking"], &found["additive"]), (&json!(1), &json!(1)), "{found}");
    let first = &found["violations"][0];
    assert_eq!(first["at"], "bad.json");
    assert_eq!(first["change"], "type_changed");
    assert_eq!(first["path"], "/data/total");
    assert_eq!((&first["was"], &first["is"]), (&json!("number"), &json!("string")));
    // What is only more is no failure, unless anything is one.
    run(&["more.json"], &[]).ended(0);
    run(&["more.json"], &["--fail-on", "any"]).ended(10);
    // One schema for all.
    let one = ["--provider", "generic", "--contract", "contracts/order.paid.json"];
    check(&home, &[&["good", "bad.json"][..], &one].concat()).ended(10);
    // No contract is said, and fails where one is required.
    let without = check(&home, &["good", "--provider", "generic"]).ended(0);
    assert!(without.err.contains("no contract for generic order.paid: 4 events"), "{without:?}");
    check(&home, &["good", "--provider", "generic", "--require-contract"]).ended(10);
    // A schema that RelayFlow does not understand is not taken for one that holds.
    home.write("odd.json", r#"{"type":"object","minProperties":1}"#);
    check(&home, &["good", "--provider", "generic", "--contract", "odd.json"]).ended(2);
    check(&home, &["nowhere.json", "--provider", "generic"]).ended(3);
    check(&home, &["good", "--provider", "no-such"]).ended(3);
    check(&home, &["good"]).ended(2);
}

#[test]
fn reports_are_what_ci_servers_and_code_hosts_read() {
    let home = folder();
    home.relayflow(&LEARN).ended(0);
    let run = |form: &str| {
        let with = ["--provider", "generic", "--contract", "contracts", "-o", form];
        check(&home, &[&["good", "bad.json", "more.json"][..], &with].concat()).ended(10).out
    };
    let junit = run("junit");
    assert!(junit.contains("tests=\"6\" failures=\"1\""), "{junit}");
    assert!(junit.contains("<failure type=\"type_changed\""), "{junit}");
    let sarif: Value = serde_json::from_str(&run("sarif")).unwrap();
    assert_sarif(&sarif);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results.iter().filter(|r| r["level"] == "error").count(), 1);
    let place = &results[0]["locations"][0];
    assert_eq!(place["physicalLocation"]["artifactLocation"]["uri"], "bad.json");
    assert_eq!(
        place["logicalLocations"][0]["fullyQualifiedName"],
        "generic order.paid /data/total"
    );
    assert_eq!(run("csv").lines().count(), 4);
    assert_eq!(run("ndjson").lines().count(), 3);
    assert_eq!(run("name").lines().collect::<Vec<_>>(), ["bad.json", "bad.json", "more.json"]);
    assert!(run("table").contains("/data/total"));
}

/// What SARIF 2.1.0 requires of a log, and what code hosts ask for beyond that.
#[track_caller]
fn assert_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(text(&log["$schema"]).ends_with("sarif-schema-2.1.0.json"));
    for run in log["runs"].as_array().unwrap() {
        let driver = &run["tool"]["driver"];
        assert!(!text(&driver["name"]).is_empty());
        let rules = driver["rules"].as_array().unwrap();
        for rule in rules {
            assert!(
                !text(&rule["id"]).is_empty()
                    && !text(&rule["shortDescription"]["text"]).is_empty()
            );
        }
        for result in run["results"].as_array().unwrap() {
            assert!(!text(&result["message"]["text"]).is_empty());
            assert!(["error", "warning", "note"].contains(&text(&result["level"])));
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert_eq!(result["locations"].as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn a_body_is_read_as_its_vendors() {
    let home = Home::new("");
    let push = r#"{"ref":"refs/heads/main","repository":{"id":1,"full_name":"acme/shop"}}"#;
    home.write("push.json", push);
    home.write(
        "captured.json",
        &format!(
            r#"{{"headers":{{"X-GitHub-Event":"push","X-GitHub-Delivery":"1"}},"body":{push}}}"#
        ),
    );
    home.write(
        "raw.http",
        &format!("POST /in/github\r\nx-github-event: push\r\nx-github-delivery: 1\r\n\r\n{push}"),
    );
    home.write(
        "batch.json",
        r#"[{"eventId":1,"subscriptionType":"contact.creation","objectId":1},{"nothing":1}]"#,
    );
    let learn =
        |args: &[&str]| home.relayflow(&[&["contract", "learn"], args, &["-o", "json"]].concat());
    for args in [
        &["push.json", "--provider", "github", "--type", "push"][..],
        &["captured.json", "--provider", "github"],
        &["raw.http", "--provider", "github"],
    ] {
        let learned = learn(args).ended(0).json();
        assert_eq!(learned["type"], "push", "{args:?}");
        assert!(learned["schema"]["properties"]["repository"].is_object(), "{args:?}");
    }
    let args = [
        "push.json",
        "--provider",
        "github",
        "--header",
        "X-GitHub-Event: push",
        "--header",
        "X-GitHub-Delivery: 1",
    ];
    assert_eq!(learn(&args).ended(0).json()["type"], "push");
    let untyped = check(&home, &["push.json", "--provider", "github", "-o", "json"]).ended(10);
    assert_eq!(untyped.json()["violations"][0]["change"], "unreadable");
    assert!(untyped.err.contains("--header"), "{untyped:?}");
    // A batch is several events, of which one cannot be read; the other is learned from.
    let batch = learn(&["batch.json", "--provider", "hubspot"]).ended(7);
    assert_eq!(batch.json()["type"], "contact.creation");
    let checked =
        check(&home, &["batch.json", "--provider", "hubspot", "-o", "json"]).ended(10).json();
    let count = |name: &str| checked[name].as_u64().unwrap();
    assert_eq!(count("checked") + count("without_contract"), 2, "{checked}");
    let all = checked["violations"].as_array().unwrap();
    assert_eq!(all.iter().filter(|v| v["change"] == "unreadable").count(), 1, "{checked}");
}

#[test]
fn findings_and_stored_events_gate_a_build() {
    let home = Home::new(&sources(&[("shop", "")]));
    let daemon = home.start();
    let run = |args: &[&str]| daemon.relayflow(&home, args);
    run(&["drift", "ls", "--fail-on", "any"]).ended(0);
    for n in 0..40 {
        daemon.deliver_new(&posted("shop", &order(n)));
    }
    until("the contract stands", || {
        let ran = run(&["contract", "show", "shop", "order.paid"]);
        (ran.exit == 0).then_some(())
    });
    run(&["contract", "check", "source:shop", "--since", "1h"]).ended(0);
    let mut event = order(41);
    event["data"]["note_2"] = json!("x");
    daemon.deliver_new(&posted("shop", &event));
    until("it is found", || (daemon.list("/drift", "").len() == 1).then_some(()));
    run(&["drift", "ls", "--fail-on", "breaking"]).ended(0);
    run(&["drift", "ls", "--fail-on", "any"]).ended(10);
    run(&["contract", "check", "source:shop"]).ended(0);
    run(&["contract", "check", "source:shop", "--fail-on", "any"]).ended(10);
    event["id"] = json!("ord_x");
    event["data"]["currency"] = json!(978);
    daemon.deliver_new(&posted("shop", &event));
    until("it is found", || (daemon.list("/drift", "").len() == 2).then_some(()));
    run(&["drift", "ls", "--fail-on", "breaking"]).ended(10);
    // Whatever page is shown, and in whatever form.
    run(&["drift", "ls", "drift:additive", "--fail-on", "breaking"]).ended(0);
    run(&["drift", "ls", "-n", "1", "--fail-on", "any", "-o", "json"]).ended(10);
    let junit = run(&["drift", "ls", "--fail-on", "breaking", "-o", "junit"]).ended(10).out;
    assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{junit}");
    let sarif = run(&["drift", "ls", "--fail-on", "breaking", "-o", "sarif"]).ended(10).json();
    assert_sarif(&sarif);
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 2);
    let checked = run(&["contract", "check", "source:shop", "-o", "junit"]).ended(10).out;
    assert!(checked.contains("type=\"type_changed\""), "{checked}");
    let sarif = run(&["contract", "check", "source:shop", "-o", "sarif"]).ended(10).json();
    assert_sarif(&sarif);
    // Elsewhere these are no formats.
    run(&["events", "ls", "-o", "sarif"]).ended(2);
    run(&["events", "ls", "-o", "junit"]).ended(2);

    // A learned contract may be kept.
    let learn = ["contract", "learn", "--source", "shop", "--type", "order.paid", "--since", "1h"];
    let learned = run(&learn).ended(0).json();
    let currency = &learned["properties"]["data"]["properties"]["currency"]["type"];
    assert_eq!(currency, &json!(["number", "string"]));
    let written = run(&[&learn[..], &["--write", "--reason", "both are sent"]].concat()).ended(0);
    assert!(written.err.contains("written as version 2"), "{written:?}");
    run(&["contract", "check", "source:shop", "--fail-on", "any"]).ended(0);
    let shown = run(&["contract", "show", "shop", "order.paid", "-o", "table"]).ended(0).out;
    assert!(shown.contains("version   2  (written)"), "{shown}");
    let row = shown.lines().find(|line| line.contains("currency")).unwrap();
    assert!(row.contains("number or string") && row.contains("required"), "{row}");
}
