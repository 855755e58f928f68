//! Before something is done: the guards, the question, the refusal (`cli.md`, 8).

use crate::args::values::Yes;
use crate::args::{Act, Format};
use crate::context::Target;
use crate::failure::Failure;
use crate::output::{Out, read_line, time};

/// What is about to be done.
#[derive(Debug, Clone)]
pub(crate) struct Deed<'a> {
    /// `Replay`, `Discard`.
    pub(crate) verb: &'a str,
    /// What an item is, as a word: `task`.
    pub(crate) noun: &'a str,
    /// How many items.
    pub(crate) items: u64,
    /// Whether exactly one object was named by its id.
    pub(crate) is_single: bool,
    pub(crate) needs_reason: bool,
    /// What to type to have it done without a question.
    pub(crate) command: String,
}

/// What the guards come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Go,
    /// Ask for a yes.
    AskYes,
    /// Ask for the number of items.
    AskNumber,
    Refuse(Failure),
}

/// Whether it may be done: asks where that is needed and possible.
///
/// # Errors
///
/// A guard refuses, or the person does.
pub(crate) fn confirm(
    out: &Out,
    target: &Target,
    act: &Act,
    deed: &Deed<'_>,
) -> Result<(), Failure> {
    match decide(out.can_ask, target, act, deed) {
        Decision::Go => Ok(()),
        Decision::Refuse(failure) => Err(failure),
        Decision::AskYes => {
            let things = time::things(deed.items, deed.noun);
            out.prompt(&format!("{} {things} in {}? [y/N] ", deed.verb, target.shown()));
            let answer = read_line().unwrap_or_default();
            if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
                return Ok(());
            }
            Err(declined())
        }
        Decision::AskNumber => {
            out.prompt(&format!(
                "{} in {}: type the number of {}s to go on: ",
                deed.verb,
                target.shown(),
                deed.noun
            ));
            let answer = read_line().unwrap_or_default().replace(',', "");
            if answer.trim() == deed.items.to_string() {
                return Ok(());
            }
            Err(declined())
        }
    }
}

pub(crate) fn declined() -> Failure {
    Failure::new("refused.declined", "declined").why("nothing was changed")
}

/// What the guards of `cli.md`, 8 come to. The TUI asks on its own screen, by the same rules.
pub(crate) fn decide(can_ask: bool, target: &Target, act: &Act, deed: &Deed<'_>) -> Decision {
    let refuse = |code: &str, message: String, hint: String| {
        Decision::Refuse(Failure::new(code, message).why("nothing was changed").hint(hint))
    };
    if deed.needs_reason && act.reason.is_none() {
        let hint = format!("{} --reason \"…\"", deed.command);
        return refuse("refused.reason_required", "this needs a --reason".to_owned(), hint);
    }
    if let Some(max) = act.max.or(target.max_bulk)
        && max < deed.items
    {
        let message = format!("{} are more than --max {max}", time::things(deed.items, "item"));
        return refuse(
            "refused.over_max",
            message,
            format!("{} --max {}", deed.command, deed.items),
        );
    }
    if deed.is_single {
        return Decision::Go;
    }
    let name = &target.name;
    match (&act.yes, target.is_protected) {
        (Some(Yes::For(given)), _) if given != name => refuse(
            "refused.context",
            format!("--yes names '{given}', and this is '{name}'"),
            format!("{} --yes={name}", deed.command),
        ),
        (Some(Yes::For(_)), _) | (Some(Yes::Bare), false) => Decision::Go,
        (Some(Yes::Bare), true) => refuse(
            "refused.protected",
            format!("context '{name}' is protected: --yes must name it"),
            format!("{} --yes={name}", deed.command),
        ),
        (None, true) if can_ask => Decision::AskNumber,
        (None, false) if can_ask => Decision::AskYes,
        (None, true) => refuse(
            "refused.protected",
            format!("context '{name}' is protected and this is not a terminal"),
            format!("{} --yes={name} --reason \"…\"", deed.command),
        ),
        (None, false) => refuse(
            "refused.no_terminal",
            format!(
                "{} would be touched, and there is no terminal to ask",
                time::things(deed.items, "item")
            ),
            format!("{} --yes", deed.command),
        ),
    }
}

/// Refuses a bulk action that says nothing about time.
///
/// # Errors
///
/// There is no window, no id, no plan and no `--all-time`.
pub(crate) fn needs_window(is_bounded: bool, act: &Act) -> Result<(), Failure> {
    if is_bounded || act.all_time {
        return Ok(());
    }
    Err(Failure::new("usage.no_window", "a bulk action needs ids, a plan, --since or --all-time")
        .why("nothing was changed")
        .hint("--since 3h"))
}

/// Whether progress goes to stdout as documents.
pub(crate) fn streams(out: &Out) -> bool {
    out.format == Format::Ndjson
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Way;

    fn check(can_ask: bool, protected: bool, yes: Option<&str>, single: bool) -> &'static str {
        let target = Target {
            name: "prod".into(),
            label: None,
            is_protected: protected,
            max_bulk: Some(5000),
            way: Way::Store { url: String::new() },
        };
        let yes = yes.map(|y| if y.is_empty() { Yes::Bare } else { Yes::For(y.into()) });
        let act = Act { yes, ..Act::default() };
        let deed = Deed {
            verb: "Replay",
            noun: "task",
            items: 412,
            is_single: single,
            needs_reason: false,
            command: "relayflow replay create --plan pln_7QF2".into(),
        };
        match decide(can_ask, &target, &act, &deed) {
            Decision::Go => "go",
            Decision::AskYes => "ask",
            Decision::AskNumber => "number",
            Decision::Refuse(failure) => {
                assert_eq!(failure.exit().code(), 6);
                "refuse"
            }
        }
    }

    #[test]
    fn the_table_of_confirmations() {
        // One item: none.
        assert_eq!(check(false, true, None, true), "go");
        // Bulk, ordinary context.
        assert_eq!(check(true, false, None, false), "ask");
        assert_eq!(check(false, false, None, false), "refuse");
        assert_eq!(check(false, false, Some(""), false), "go");
        // Bulk, protected context.
        assert_eq!(check(true, true, None, false), "number");
        assert_eq!(check(false, true, None, false), "refuse");
        assert_eq!(check(true, true, Some(""), false), "refuse");
        assert_eq!(check(false, true, Some("prod"), false), "go");
        // A yes for another context is no yes here.
        assert_eq!(check(false, false, Some("stage"), false), "refuse");
    }

    #[test]
    fn more_than_the_maximum_and_a_missing_reason_are_refused() {
        let target = Target {
            name: "local".into(),
            label: None,
            is_protected: false,
            max_bulk: Some(100),
            way: Way::Store { url: String::new() },
        };
        let mut deed = Deed {
            verb: "Discard",
            noun: "task",
            items: 412,
            is_single: false,
            needs_reason: true,
            command: "relayflow dlq discard".into(),
        };
        let act = Act { yes: Some(Yes::Bare), ..Act::default() };
        let Decision::Refuse(f) = decide(false, &target, &act, &deed) else { panic!("went") };
        assert_eq!(f.code, "refused.reason_required");
        deed.needs_reason = false;
        let Decision::Refuse(f) = decide(false, &target, &act, &deed) else { panic!("went") };
        assert_eq!(f.code, "refused.over_max");
        let act = Act { max: Some(500), ..act };
        assert_eq!(decide(false, &target, &act, &deed), Decision::Go);
    }

    #[test]
    fn bulk_without_a_window_is_a_usage_error() {
        assert_eq!(needs_window(false, &Act::default()).unwrap_err().exit().code(), 2);
        assert!(needs_window(true, &Act::default()).is_ok());
        assert!(needs_window(false, &Act { all_time: true, ..Act::default() }).is_ok());
    }
}
