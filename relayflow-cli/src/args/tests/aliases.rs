//! Words that are accepted for others, and never told (`cli.md`, 2).

use clap::{CommandFactory as _, Parser as _};

use super::help::walk;
use crate::args::Cli;

#[test]
fn other_words_for_the_same_are_accepted() {
    for line in [
        "relayflow event list",
        "relayflow events get evt_1",
        "relayflow events describe evt_1",
        "relayflow request describe req_1",
        "relayflow requests list",
        "relayflow dlq list",
        "relayflow dlq get tsk_1",
        "relayflow dlq rm tsk_1 --reason x",
        "relayflow queue stats",
        "relayflow queues",
        "relayflow queue list",
        "relayflow replays",
        "relayflow replay list",
        "relayflow replay describe rpl_1",
        "relayflow daemon run --listen 127.0.0.1:0",
        "relayflow source list",
        "relayflow sources get a",
        "relayflow workflow describe a",
        "relayflow provider get a",
        "relayflow contracts list",
        "relayflow contract get a b",
        "relayflow drift list",
        "relayflow drift get drf_1",
        "relayflow ctx",
        "relayflow ctx list",
        "relayflow contexts",
        "relayflow context get prod",
        "relayflow context describe prod",
        "relayflow context use -",
        "relayflow context remove prod",
        "relayflow events -n 3",
        "relayflow tail -f",
        "relayflow up --db sqlite:x.db",
        "relayflow top",
        "relayflow send --list",
        "relayflow send --list stripe",
        "relayflow help",
        "relayflow help dlq replay",
        "relayflow help exit-codes",
    ] {
        if let Err(error) = Cli::try_parse_from(line.split(' ')) {
            panic!("{line}: {error}");
        }
    }
}

/// Every `ls` is also `list`, every `show` also `get` and `describe`, every noun also its other number.
#[test]
fn every_noun_and_verb_has_its_other_words() {
    let mut root = Cli::command();
    root.build();
    let mut missing = Vec::new();
    walk(&mut root, "relayflow", &mut |path, command| {
        let wanted: &[&str] = match command.get_name() {
            "ls" => &["list"],
            "show" => &["get", "describe"],
            _ => &[],
        };
        let known: Vec<_> = command.get_all_aliases().collect();
        for word in wanted.iter().filter(|word| !known.contains(*word)) {
            missing.push(format!("{path}: {word}"));
        }
        let is_noun = command.get_subcommands().any(|verb| verb.get_name() == "ls");
        if is_noun && path.split(' ').count() == 2 {
            let name = command.get_name();
            let other = match name.strip_suffix('s') {
                Some(single) if name != "drifts" => single.to_owned(),
                _ => format!("{name}s"),
            };
            // What cannot be counted has no other number.
            let is_countable = !matches!(name, "drift" | "dlq");
            if is_countable && !known.contains(&other.as_str()) {
                missing.push(format!("{path}: {other}"));
            }
        }
    });
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn hidden_words_are_not_told() {
    let mut root = Cli::command();
    root.build();
    walk(&mut root, "relayflow", &mut |path, command| {
        let visible: Vec<_> = command.get_visible_aliases().collect();
        assert!(visible.is_empty(), "{path}: {visible:?}");
    });
}
