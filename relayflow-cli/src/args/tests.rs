use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::args::values::Yes;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

/// The short help of a command, at 80 columns.
fn help(path: &[&str]) -> String {
    let mut command = Cli::command().term_width(80);
    command.build();
    let command = path.iter().fold(&mut command, |command, name| {
        command.find_subcommand_mut(name).expect("the test names a command that exists")
    });
    command.render_help().to_string()
}

#[test]
fn every_help_fits_80_columns() {
    fn walk(command: &mut clap::Command) {
        for line in command.render_help().to_string().lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
        command.get_subcommands_mut().for_each(walk);
    }
    let mut command = Cli::command().term_width(80);
    command.build();
    walk(&mut command);
}

#[test]
fn an_optional_value_needs_its_equals_sign() {
    let cli = parse("relayflow dlq replay --wait tsk_1").unwrap();
    let Command::Dlq(DlqCmd { verb: Some(DlqVerb::Replay(args)), .. }) = cli.command else {
        panic!("another command")
    };
    assert_eq!(args.job.wait, Some(values::Wait(None)));
    assert_eq!(args.select.terms, ["tsk_1"]);
    let cli = parse("relayflow dlq replay --yes=prod --wait=5m -n 3 source:x").unwrap();
    let Command::Dlq(DlqCmd { verb: Some(DlqVerb::Replay(args)), .. }) = cli.command else {
        panic!("another command")
    };
    assert_eq!(args.act.yes, Some(Yes::For("prod".to_owned())));
    assert_eq!(args.job.wait, Some(values::Wait(Some(jiff::SignedDuration::from_mins(5)))));
    assert_eq!(args.act.limit, Some(3));
}

#[test]
fn terms_go_with_flags_in_any_order() {
    let line = "relayflow events ls source:stripe status:failed,dead age:..2h not workflow:audit -o json -n 5";
    let cli = parse(line).unwrap();
    assert_eq!(cli.global.output, Some(Format::Json));
    let Command::Events(EventsCmd { verb: Some(EventsVerb::Ls(ls)), .. }) = cli.command else {
        panic!("another command")
    };
    assert_eq!(
        ls.select.terms,
        ["source:stripe", "status:failed,dead", "age:..2h", "not", "workflow:audit"]
    );
    assert_eq!(ls.list.limit, Some(5));
}

#[test]
fn other_words_for_the_same_are_accepted() {
    for line in [
        "relayflow event list",
        "relayflow events get evt_1",
        "relayflow request describe req_1",
        "relayflow dlq rm tsk_1 --reason x",
        "relayflow queue stats",
        "relayflow queues",
        "relayflow replays",
        "relayflow daemon run --listen 127.0.0.1:0",
        "relayflow source list",
        "relayflow events -n 3",
        "relayflow tail -f",
        "relayflow up --db sqlite:x.db",
        "relayflow send --list",
        "relayflow send --list stripe",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn what_is_wrong_is_a_usage_error() {
    for line in [
        "relayflow evnts",
        "relayflow events ls --limit x",
        "relayflow events ls --all -n 3",
        "relayflow dlq replay --rate 0",
        "relayflow dlq replay --stop-after 101%",
        "relayflow stats --quiet --verbose",
        "relayflow send",
        "relayflow send stripe",
        "relayflow replay create --plan pln_1 source:x",
        "relayflow replay create --config x.toml source:x",
        "relayflow stats -o xml",
    ] {
        assert_eq!(parse(line).err().map(|e| e.exit_code()), Some(2), "{line}");
    }
}

#[test]
fn the_help_of_the_program() {
    insta::assert_snapshot!(help(&[]));
}

#[test]
fn the_help_of_a_list() {
    insta::assert_snapshot!(help(&["events", "ls"]));
}

#[test]
fn the_help_of_an_action() {
    insta::assert_snapshot!(help(&["dlq", "replay"]));
}
