//! What shells complete: the tree of commands, and the names and ids that only a store or a daemon
//! knows. Those are asked for within a bound, or there are none.

mod ask;
mod line;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use relayflow_core::filter::field_reference;

use crate::args::Cli;
use crate::commands::Topic;
use ask::What;
use line::Line;

/// Set by the scripts of `relayflow completions`, to the name of the shell.
pub(crate) const VARIABLE: &str = "RELAYFLOW_COMPLETE";

/// Answers a shell, if it is one that asks.
pub(crate) fn answer_if_asked() -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let args: Vec<_> = std::env::args_os().collect();
    let dir = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(VARIABLE);
    // Whatever is wrong: a shell that completes has no place to say it.
    asked.try_complete(args, dir.as_deref()).unwrap_or(true)
}

/// The tree of commands, each argument with what completes it.
fn command() -> Command {
    let root = Cli::command().mut_args(|arg| with_completer(arg, ""));
    root.mut_subcommands(|noun| {
        let name = noun.get_name().to_owned();
        with_completers(noun, &name)
    })
}

fn with_completers(command: Command, noun: &str) -> Command {
    let command = command.mut_args(|arg| with_completer(arg, noun));
    command.mut_subcommands(|verb| with_completers(verb, noun))
}

/// By what a value is called in help: whoever adds a command need not think of this.
fn with_completer(arg: Arg, noun: &str) -> Arg {
    let named = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
    let what = match (arg.get_id().as_str(), named.as_deref()) {
        ("context", Some("NAME")) | (_, Some("CONTEXT")) if arg.get_id() != "yes" => What::Contexts,
        ("yes", _) => What::Contexts,
        ("source", _) | (_, Some("SOURCE")) => What::Sources,
        ("workflow", _) => What::Workflows,
        (_, Some("EVENT")) => What::Events,
        (_, Some("TASK")) => What::DeadLetters,
        (_, Some("REPLAY")) => What::Replays,
        (_, Some("PROVIDER")) | ("provider", _) => What::Providers,
        (_, Some("KEY")) => What::Settings,
        (_, Some("TOPIC|COMMAND")) => What::Topics,
        (_, Some("ID" | "NAME")) if arg.is_positional() => match noun {
            "sources" => What::Sources,
            "workflows" => What::Workflows,
            "providers" => What::Providers,
            "queue" => What::Queues,
            "requests" => What::Requests,
            "dlq" => What::DeadLetters,
            "replay" => What::Replays,
            "drift" => What::Drift,
            _ => What::Events,
        },
        (_, Some("TERM" | "SCREEN|TERM")) => return arg.add(ArgValueCompleter::new(terms)),
        _ => return arg,
    };
    arg.add(ArgValueCompleter::new(move |current: &std::ffi::OsStr| listed(what, current)))
}

/// Names, the last of a list with commas.
fn listed(what: What, current: &std::ffi::OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let (before, last) = match current.rsplit_once(',') {
        Some((before, last)) => (format!("{before},"), last),
        None => (String::new(), current),
    };
    let known = known(what, last);
    let fitting = known.into_iter().filter(|name| name.starts_with(last));
    fitting.map(|name| CompletionCandidate::new(format!("{before}{name}"))).collect()
}

/// What is known here, or what a daemon says.
fn known(what: What, begun: &str) -> Vec<String> {
    if !matches!(what, What::Topics) {
        return ask::ask(what, begun, &Line::now());
    }
    let topics = Topic::ALL.iter().map(|topic| topic.name().to_owned());
    let root = Cli::command();
    let commands = root.get_subcommands().filter(|command| !command.is_hide_set());
    topics.chain(commands.map(|command| command.get_name().to_owned())).collect()
}

/// A filter's term: a field, a value of one, or an id.
fn terms(current: &std::ffi::OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    if let Some((field, value)) = current.split_once(':') {
        return values(field, value, &format!("{field}:"));
    }
    // A shell may break a word at its colon: then the field stands before.
    if let Some(field) = Line::now().field_before() {
        return values(&field, current, "");
    }
    let ids = [
        ("evt_", What::Events),
        ("tsk_", What::DeadLetters),
        ("req_", What::Requests),
        ("rpl_", What::Replays),
        ("drf_", What::Drift),
    ];
    if let Some((_, what)) = ids.iter().find(|(prefix, _)| current.starts_with(prefix)) {
        return listed(*what, current.as_ref());
    }
    field_reference()
        .map(|field| {
            let end = if field.name.ends_with('.') { "" } else { ":" };
            (format!("{}{end}", field.name), field.about)
        })
        .filter(|(name, _)| name.starts_with(current))
        .map(|(name, about)| CompletionCandidate::new(name).help(Some(about.into())))
        .collect()
}

/// The values of a field that can be listed; the last of several.
fn values(field: &str, begun: &str, prefix: &str) -> Vec<CompletionCandidate> {
    let (before, last) = match begun.rsplit_once(',') {
        Some((before, last)) => (format!("{before},"), last),
        None => (String::new(), begun),
    };
    let field = field.trim_start_matches('(').to_ascii_lowercase();
    let known = match field.as_str() {
        "source" => known(What::Sources, last),
        "provider" => known(What::Providers, last),
        "workflow" => known(What::Workflows, last),
        "queue" | "dest" => known(What::Queues, last),
        "replay" => known(What::Replays, last),
        "request" => known(What::Requests, last),
        _ => words(&field),
    };
    known
        .into_iter()
        .filter(|value| value.starts_with(last))
        .map(|value| CompletionCandidate::new(format!("{prefix}{before}{value}")))
        .collect()
}

/// The words of a field that has a closed set of them.
fn words(field: &str) -> Vec<String> {
    let known = field_reference().find(|known| known.name == field);
    let values = known.map(|known| known.values).unwrap_or_default();
    let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if !values.contains(' ') || !values.split(' ').all(is_word) {
        return Vec::new();
    }
    values.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn shown(candidates: Vec<CompletionCandidate>) -> Vec<String> {
        candidates.iter().map(|c| c.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn fields_and_words_are_completed_without_asking_anybody() {
        assert_eq!(shown(terms(OsStr::new("stat"))), ["status:"]);
        assert_eq!(shown(terms(OsStr::new("sig:in"))), ["sig:invalid"]);
        assert_eq!(shown(terms(OsStr::new("status:dead,ret"))), ["status:dead,retrying"]);
        assert_eq!(shown(terms(OsStr::new("payl"))), ["payload."]);
        assert!(shown(terms(OsStr::new("subject:"))).is_empty());
    }

    #[test]
    fn topics_and_commands_are_completed_for_help() {
        let found = known(What::Topics, "");
        assert!(found.contains(&"filters".to_owned()) && found.contains(&"dlq".to_owned()));
        assert!(!found.contains(&"daemon".to_owned()), "what is hidden is not offered");
    }

    #[test]
    fn the_tree_with_its_completers_is_sound() {
        command().debug_assert();
    }
}
