//! Exit codes, errors and confirmations: every code is reached, says what happened as a document too, and
//! is one of the list that does not change.

use std::collections::BTreeSet;
use std::process::Command;

use relayflow_core::api::codes::{Code, OF_COMMANDS};
use serde_json::{Value, json};

use crate::harness::{Daemon, Home, free_port, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::{config, plan, workflow};
use crate::tidy::{files, read};
use crate::tui::screen::Tui;
use crate::vendor::stripe;

const VIEWER: &str = "viewer-token-0123456789abcdef0123";
const ADMIN: &str = "admin-token-0123456789abcdef01234";

/// So many dead letters, a protected context and an ordinary one, and a token that may only look.
fn house(dead: usize) -> (Receiver, Home, Daemon) {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&config(&workflow(&receiver, "w", &[("s", "", "")])));
    let tokens = format!(
        "[api.tokens.eve]\nrole = \"viewer\"\ntoken = \"{VIEWER}\"\n\
         [api.tokens.ana]\nrole = \"admin\"\ntoken = \"{ADMIN}\"\n"
    );
    let text = home.read("relayflow.toml").unwrap();
    home.write("relayflow.toml", &format!("{text}{tokens}"));
    let mut daemon = home.start();
    ADMIN.clone_into(&mut daemon.token);
    for n in 0..dead {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == dead).then_some(()));
    home.write(
        "cli.toml",
        &format!(
            "[contexts.prod]\nendpoint = \"http://{0}\"\ntoken_env = \"T\"\nprotected = true\nlabel = \"PROD\"\n\
             [contexts.stage]\nendpoint = \"http://{0}\"\ntoken_env = \"T\"\nmax_bulk = 50\n",
            daemon.api
        ),
    );
    (receiver, home, daemon)
}

/// `relayflow` in a context of `cli.toml`.
fn in_context(home: &Home, daemon: &Daemon, context: &str, args: &[&str]) -> Command {
    let mut command = home.cli(&[&["-c", context, "--user-config", "cli.toml"], args].concat());
    command.env("T", &daemon.token);
    command
}

/// How it ended, and the error on the last line of stderr.
fn failed(mut command: Command) -> (i32, Value) {
    let done = command.output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!err.contains("panicked"), "{err}");
    let last = err.lines().last().unwrap_or_default();
    let error = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e} in {err}"));
    (done.status.code().unwrap_or(-1), error)
}

#[test]
fn every_code_is_reached_and_says_what_to_do() {
    let (receiver, home, daemon) = house(6);
    let planned = plan(&daemon, &json!({"q": "status:dead"}));
    let used = plan(&daemon, &json!({"q": "status:dead", "limit": 1}));
    let begun = daemon.tell("/replays", &json!({"plan": used["id"], "hash": used["hash"]}));
    assert_eq!(begun.status, 201);
    daemon.drained();
    until("it is over", || (daemon.list("/replays", "")[0]["status"] == "done").then_some(()));
    let (planned, used) = (text(&planned["id"]), text(&used["id"]));
    let broken = Receiver::start();
    broken.answer(|_| Reply::Status(500));
    let bulk = ["dlq", "replay", "--since", "1h"];
    let with = |more: &[&'static str]| [&bulk[..], more].concat();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    /// Exit, code, arguments, environment.
    type Case<'a> = (i32, &'a str, Vec<&'a str>, Vec<(&'a str, &'a str)>);
    let cases: Vec<Case<'_>> = vec![
        (
            1,
            "error.internal",
            vec!["events", "ls"],
            vec![("RELAYFLOW_URL", &*broken.url("").leak())],
        ),
        (2, "usage.filter", vec!["events", "ls", "sorce:stripe"], vec![]),
        (2, "usage.no_window", vec!["dlq", "replay", "source:stripe", "--yes"], vec![]),
        (2, "usage.argument", vec!["dlq", "edit", "--since", "1h", "--reason", "x"], vec![]),
        (3, "not_found.object", vec!["events", "show", "evt_00000000000000000000000000"], vec![]),
        (3, "not_found.ambiguous", vec!["events", "show", "evt_0"], vec![]),
        (
            4,
            "auth.token",
            vec!["events", "ls"],
            vec![("RELAYFLOW_TOKEN", "no-such-token-0123456789abcdef")],
        ),
        (4, "auth.role", with(&["--yes", "--reason", "x"]), vec![("RELAYFLOW_TOKEN", VIEWER)]),
        (5, "unreachable.daemon", vec!["events", "ls"], vec![("RELAYFLOW_URL", &nobody)]),
        (6, "refused.no_terminal", with(&[]), vec![]),
        (6, "refused.context", with(&["--yes=prod"]), vec![]),
        (6, "refused.over_max", with(&["--yes", "--max", "3"]), vec![]),
        (6, "refused.reason_required", with(&["--mode", "restart", "--yes"]), vec![]),
        (6, "refused.reason_required", vec!["dlq", "discard", "--since", "1h", "--yes"], vec![]),
        (6, "refused.plan_changed", vec!["replay", "create", "--plan", planned, "--yes"], vec![]),
        (6, "refused.plan_used", vec!["replay", "create", "--plan", used, "--yes"], vec![]),
        (
            6,
            "refused.read_only",
            vec!["--db", "sqlite:relayflow.db", "dlq", "replay", "--since", "1h", "--yes"],
            vec![],
        ),
        (
            9,
            "empty.selection",
            vec!["dlq", "replay", "source:github", "--since", "1h", "--yes"],
            vec![],
        ),
    ];
    let mut seen = BTreeSet::new();
    for (exit, code, args, env) in cases {
        let mut command = daemon.cli(&home, &[&args[..], &["-o", "json"]].concat());
        command.envs(env);
        let (ended, error) = failed(command);
        assert_eq!((ended, error["code"].as_str()), (exit, Some(code)), "{args:?}: {error}");
        assert_eq!(
            (&error["v"], &error["kind"], &error["exit"]),
            (&json!(1), &json!("error"), &json!(exit))
        );
        assert!(!text(&error["message"]).is_empty() && error["retryable"].is_boolean(), "{error}");
        if exit == 6 {
            assert!(error["hint"].is_string(), "{args:?} says what to type next: {error}");
        }
        seen.insert(exit);
    }
    // What ends without an error: done, in part, still running, found.
    let run = |args: &[&str]| daemon.relayflow(&home, args).exit;
    seen.insert(run(&["events", "ls"]));
    seen.insert(run(&with(&["--yes", "--reason", "x", "--wait=60s"])));
    home.write("wrong.toml", "[store]\nurl = 7\n");
    seen.insert(run(&["config", "check", "wrong.toml"]));
    seen.insert(run(&["tail", "status:ok", "--stop-on", "type:no.such", "--timeout", "1s"]));
    assert_eq!(seen, (0..=10).collect(), "every exit is reached");
    drop(receiver);
}

#[test]
fn the_difference_from_a_plan_is_printed() {
    let (receiver, home, daemon) = house(3);
    let dry =
        daemon.relayflow(&home, &["dlq", "replay", "--since", "1h", "--dry-run", "-o", "json"]);
    let planned = dry.ended(0).json();
    let first = text(&daemon.list("/dead-letters", "")[0]["id"]).to_owned();
    receiver.answer(|_| Reply::Status(200));
    daemon.relayflow(&home, &["dlq", "replay", &first, "--wait=60s"]).ended(0);
    let calls = receiver.count();
    let create = ["replay", "create", "--plan", text(&planned["id"]), "--yes", "--reason", "x"];
    let refused = daemon.relayflow(&home, &create).ended(6);
    assert!(refused.err.contains(&format!("{first} was dead, is ok")), "{}", refused.err);
    assert!(refused.err.contains("try: relayflow replay create '"), "{}", refused.err);
    assert_eq!(receiver.count(), calls);
}

#[test]
fn a_bulk_action_is_confirmed_as_its_context_wants_it() {
    let (receiver, home, daemon) = house(4);
    let replay = ["dlq", "replay", "--since", "1h"];
    let with = |more: &[&'static str]| [&replay[..], more].concat();
    let calls = receiver.count();

    // No terminal: needs `--yes`, and for a protected one its name.
    for (context, args, exit, code) in [
        ("stage", with(&[]), 6, "refused.no_terminal"),
        ("stage", with(&["--no-input"]), 6, "refused.no_terminal"),
        ("stage", with(&["--yes=prod"]), 6, "refused.context"),
        ("prod", with(&[]), 6, "refused.protected"),
        ("prod", with(&["--yes"]), 6, "refused.protected"),
        ("prod", with(&["--yes=stage"]), 6, "refused.context"),
        (
            "prod",
            vec!["dlq", "discard", "--since", "1h", "--yes=prod"],
            6,
            "refused.reason_required",
        ),
    ] {
        let args = [&args[..], &["-o", "json"]].concat();
        let (ended, error) = failed(in_context(&home, &daemon, context, &args));
        assert_eq!(
            (ended, error["code"].as_str()),
            (exit, Some(code)),
            "{context} {args:?}: {error}"
        );
    }
    // A terminal: yes or no, and for a protected one the number; Enter alone is no.
    for (context, answer, asks) in [
        ("stage", "\r", "Replay 4 tasks in stage? [y/N]"),
        ("stage", "n\r", "Replay 4 tasks in stage? [y/N]"),
        ("prod", "y\r", "prod (PROD): type the number of tasks"),
        ("prod", "5\r", "prod (PROD): type the number of tasks"),
        ("prod", "\r", "prod (PROD): type the number of tasks"),
    ] {
        let mut terminal = Tui::start(in_context(&home, &daemon, context, &replay), (100, 40), &[]);
        terminal.shows(asks);
        terminal.press(answer);
        assert_eq!(terminal.exit(), 6, "{context} {answer:?}");
        terminal.shows("nothing was changed");
    }
    // `-o json` never prompts, on a terminal neither.
    let args = [&replay[..], &["-o", "json"]].concat();
    let mut terminal = Tui::start(in_context(&home, &daemon, "stage", &args), (200, 40), &[]);
    assert_eq!(terminal.exit(), 6);
    // Who may only look is refused before any question.
    let mut eve = in_context(&home, &daemon, "stage", &replay);
    eve.env("T", VIEWER);
    let mut terminal = Tui::start(eve, (100, 40), &[]);
    assert_eq!(terminal.exit(), 4);
    assert_eq!(receiver.count(), calls, "nothing ran so far");
    assert_eq!(daemon.stats()["dead_letters"], 4);

    // Yes is yes.
    receiver.answer(|_| Reply::Status(200));
    let mut half = Tui::start(
        in_context(&home, &daemon, "stage", &with(&["--limit", "1", "--wait=60s"])),
        (100, 40),
        &[],
    );
    half.shows("Replay 1 task in stage? [y/N]");
    half.press("y\r");
    half.shows("1 done: 1 ok");
    let mut rest = Tui::start(
        in_context(&home, &daemon, "prod", &with(&["--limit", "2", "--wait=60s"])),
        (100, 40),
        &[],
    );
    rest.shows("type the number of tasks");
    rest.press("2\r");
    rest.shows("2 done: 2 ok");
    // One item needs no question anywhere.
    let last = text(&daemon.list("/dead-letters", "")[0]["id"]).to_owned();
    let done = in_context(&home, &daemon, "prod", &["dlq", "replay", &last, "--wait=60s"]).output();
    assert_eq!(done.unwrap().status.code(), Some(0));
    let named = in_context(&home, &daemon, "prod", &with(&["--yes=prod", "--wait=60s"])).output();
    assert_eq!(named.unwrap().status.code(), Some(9), "nothing is left");
    assert_eq!(receiver.count(), calls + 4);
}

#[test]
fn no_command_says_a_code_that_is_not_on_the_list() {
    let known: BTreeSet<&str> =
        Code::ALL.iter().map(|code| code.as_str()).chain(OF_COMMANDS).collect();
    let names = [
        "usage",
        "not_found",
        "auth",
        "unreachable",
        "refused",
        "partial",
        "pending",
        "empty",
        "findings",
        "error",
    ];
    let mut unknown = Vec::new();
    for path in files("relayflow-cli/src", ".rs") {
        let source = read(&path);
        let code = source.split("mod tests {").next().unwrap_or_default();
        for quoted in code.split('"').skip(1).step_by(2) {
            let Some((first, rest)) = quoted.split_once('.') else { continue };
            let is_code = names.contains(&first)
                && !rest.is_empty()
                && !rest.ends_with('_')
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_code && !known.contains(quoted) {
                unknown.push(format!("{path}: {quoted}"));
            }
        }
    }
    assert!(unknown.is_empty(), "not in `api::codes`: {unknown:#?}");
}
