//! A flag or a letter means one thing in the whole program (`cli.md`, 3).

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, ArgAction, CommandFactory as _, Parser as _};

use super::help::walk;
use crate::args::Cli;

/// Every flag of every command: its place, and itself.
fn flags() -> Vec<(String, Arg)> {
    let mut root = Cli::command();
    root.build();
    let mut all = Vec::new();
    walk(&mut root, "relayflow", &mut |path, command| {
        let flags = command.get_arguments().filter(|arg| !arg.is_positional());
        all.extend(flags.map(|arg| (path.to_owned(), arg.clone())));
    });
    all
}

fn value_of(arg: &Arg) -> String {
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if !takes {
        return String::new();
    }
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    let value = names.join(" ");
    if arg.is_require_equals_set() { format!("[={value}]") } else { value }
}

/// The flags that every command has: letter, value, variables.
#[test]
fn the_flags_of_every_command_are_those_of_the_table() {
    let table = [
        ("context", Some('c'), "NAME", "RELAYFLOW_CONTEXT"),
        ("db", None, "URL", "RELAYFLOW_DB"),
        ("user-config", None, "PATH", "RELAYFLOW_CONFIG"),
        ("output", Some('o'), "FMT", "RELAYFLOW_OUTPUT"),
        ("json", None, "", ""),
        ("fields", None, "A,B", ""),
        ("color", None, "WHEN", "NO_COLOR, CLICOLOR_FORCE"),
        ("time", None, "KIND", "RELAYFLOW_TIME"),
        ("request-timeout", None, "DUR", ""),
        ("no-input", None, "", "RELAYFLOW_NO_INPUT"),
        ("quiet", Some('q'), "", ""),
        ("verbose", Some('v'), "", "RELAYFLOW_LOG"),
        ("no-pager", None, "", "RELAYFLOW_PAGER="),
        ("help", Some('h'), "", ""),
        ("version", Some('V'), "", ""),
    ];
    let mut root = Cli::command();
    root.build();
    let own: Vec<_> = root.get_arguments().filter_map(Arg::get_long).collect();
    let listed: Vec<_> = table.iter().map(|(long, ..)| *long).collect();
    assert_eq!(BTreeSet::from_iter(own), BTreeSet::from_iter(listed));
    for (long, short, value, variables) in table {
        let arg = root.get_arguments().find(|arg| arg.get_long() == Some(long)).unwrap();
        assert_eq!(arg.get_short(), short, "--{long}");
        assert_eq!(value_of(arg), value, "--{long}");
        let of_clap = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
        let told = format!("[env: {variables}]");
        let help = arg.get_help().map(|help| help.to_string()).unwrap_or_default();
        assert!(
            variables == of_clap || help.contains(&told),
            "--{long}: {help}, {of_clap} is not {variables}"
        );
        let is_own = matches!(long, "help" | "version");
        assert_eq!(arg.is_global_set(), !is_own, "--{long}");
    }
}

/// The shared groups: each flag has its value and its heading wherever it is.
#[test]
fn a_shared_flag_has_its_form_and_its_heading_everywhere() {
    let table = [
        ("Selection", "status", None, "A,B"),
        ("Selection", "since", None, "TIME"),
        ("Selection", "until", None, "TIME"),
        ("Listing", "all", None, ""),
        ("Listing", "after", None, "CURSOR"),
        ("Listing", "fail-empty", None, ""),
        ("Safety", "dry-run", None, ""),
        ("Safety", "yes", Some('y'), "[=CONTEXT]"),
        ("Safety", "max", None, "N"),
        ("Safety", "all-time", None, ""),
        ("Job", "canary", None, "N"),
        ("Job", "stop-after", None, "N|N%"),
        ("Job", "wait", None, "[=DUR]"),
        ("Global options", "output", Some('o'), "FMT"),
    ];
    let flags = flags();
    for (heading, long, short, value) in table {
        let found: Vec<_> = flags.iter().filter(|(_, arg)| arg.get_long() == Some(long)).collect();
        assert!(!found.is_empty(), "--{long}");
        for (path, arg) in found {
            assert_eq!(arg.get_help_heading(), Some(heading), "{path} --{long}");
            assert_eq!(
                (arg.get_short(), value_of(arg).as_str()),
                (short, value),
                "{path} --{long}"
            );
        }
    }
}

#[test]
fn a_flag_means_one_thing() {
    /// Flags with more than one form, and why each is one thing all the same.
    const SEVERAL: [(&str, &str); 6] = [
        ("type", "the one of a body, or several to choose"),
        ("data", "a body: of a kind of vendor, or of any"),
        ("from", "what is done again: an event, or what an earlier replay had"),
        ("source", "one to send as, or several to choose"),
        ("workflow", "one to look at, or several to choose"),
        ("provider", "one whose bodies they are, or several to start with"),
    ];
    let mut of_letter: BTreeMap<char, BTreeSet<String>> = BTreeMap::new();
    let mut of_flag: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, arg) in flags() {
        let long =
            arg.get_long().unwrap_or_else(|| panic!("{path}: {} has no long name", arg.get_id()));
        if let Some(letter) = arg.get_short() {
            of_letter.entry(letter).or_default().insert(long.to_owned());
        }
        of_flag.entry(long.to_owned()).or_default().insert(value_of(&arg));
        assert!(
            long.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{path} --{long}"
        );
        assert!(arg.get_num_args().is_none_or(|n| n.max_values() <= 1), "{path} --{long}");
    }
    for (letter, longs) in of_letter {
        assert_eq!(longs.len(), 1, "-{letter} is {longs:?}");
    }
    for (long, forms) in of_flag {
        let is_known = SEVERAL.iter().any(|(known, _)| *known == long);
        assert!(forms.len() == 1 || is_known, "--{long} takes {forms:?}");
    }
}

/// No secret is the value of a flag.
#[test]
fn no_flag_takes_a_secret() {
    for (path, arg) in flags() {
        let long = arg.get_long().unwrap_or_default();
        let names_one =
            ["token", "secret", "password", "key"].iter().any(|word| long.contains(word));
        let is_elsewhere = ["-file", "-env", "-cmd"].iter().any(|end| long.ends_with(end));
        let is_of_the_tests = value_of(&arg).is_empty();
        assert!(!names_one || is_elsewhere || is_of_the_tests, "{path} --{long}");
    }
}

#[test]
fn an_optional_value_never_eats_what_follows() {
    for line in [
        "relayflow dlq replay --wait tsk_1",
        "relayflow dlq replay --yes tsk_1",
        "relayflow events ls --watch source:a",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
    for (path, arg) in flags() {
        let is_optional =
            arg.get_num_args().is_some_and(|n| n.min_values() == 0 && n.max_values() == 1);
        let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        // `send --list stripe`: what follows is its value, and nothing else may follow.
        let is_list = arg.get_long() == Some("list");
        assert!(!takes || !is_optional || is_list || arg.is_require_equals_set(), "{path} {arg}");
    }
}
