//! What is parsed; `help` and `flags` look at the tree itself.

mod aliases;
mod flags;
mod help;

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
