//! The places of the TUI, as they are named on a command line: what opens one opens it again.

use crate::failure::Failure;

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Events,
    DeadLetters,
    Requests,
}

impl Noun {
    /// The word of the CLI and the breadcrumbs.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Events => "Events",
            Self::DeadLetters => "DLQ",
            Self::Requests => "Requests",
        }
    }

    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::DeadLetters => "dlq",
            Self::Requests => "requests",
        }
    }

    /// What holds for an action on such a list unless its filter speaks of the status.
    pub(crate) fn base(self) -> Option<&'static str> {
        match self {
            Self::DeadLetters => Some("status:dead"),
            Self::Events | Self::Requests => None,
        }
    }

    pub(crate) fn things(self) -> &'static str {
        match self {
            Self::Events => "event",
            Self::DeadLetters => "dead letter",
            Self::Requests => "request",
        }
    }
}

/// A place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Overview,
    List {
        noun: Noun,
        filter: String,
    },
    /// Dead letters by a field.
    Groups {
        by: &'static str,
        filter: String,
    },
    /// An event (or the event of a task, or a request, or what has a correlation id), one of its tasks
    /// before the others, and the tab to begin with.
    Event {
        id: String,
        task: Option<String>,
        tab: Tab,
    },
    Replays,
    Job(String),
    Queues,
    Sources,
    /// How payloads differ from contracts.
    Drift {
        filter: String,
    },
    Tail {
        filter: String,
    },
    /// Charts of a destination, or of a job by its id.
    Chart(String),
    /// This session's failures.
    Errors,
}

/// The sides of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tab {
    #[default]
    Timeline,
    Trace,
    Payload,
    Request,
}

impl Tab {
    pub(crate) const ALL: [Self; 4] = [Self::Timeline, Self::Trace, Self::Payload, Self::Request];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Timeline => "Timeline [t]",
            Self::Trace => "Trace [c]",
            Self::Payload => "Payload [o]",
            Self::Request => "Request [i]",
        }
    }
}

/// What dead letters may be grouped by.
pub(crate) const GROUPINGS: [&str; 7] =
    ["error", "source", "type", "dest", "workflow", "step", "reason"];

/// The screens that a command line may name.
pub(crate) const NAMES: [&str; 11] = [
    "drift", "overview", "events", "dlq", "replays", "queues", "sources", "requests", "tail",
    "errors", "charts",
];

impl Route {
    /// Reads `[SCREEN] [TERM…]`; without a screen's name, terms are a filter of the dead letters, and
    /// a single id opens what it names.
    ///
    /// # Errors
    ///
    /// A screen that takes no terms was given some.
    pub(crate) fn read(words: &[String]) -> Result<Self, Failure> {
        let (name, terms) = match words.split_first() {
            None => return Ok(Self::Overview),
            Some((first, rest)) => match screen_name(first) {
                Some(name) => (name, rest),
                None => ("", words),
            },
        };
        let filter = terms.join(" ");
        let list = |noun| Self::List { noun, filter: filter.clone() };
        let route = match name {
            "" => match terms {
                [one] => Self::of_id(one).unwrap_or_else(|| list(Noun::DeadLetters)),
                _ => list(Noun::DeadLetters),
            },
            "events" => list(Noun::Events),
            "dlq" => list(Noun::DeadLetters),
            "requests" => list(Noun::Requests),
            "tail" => Self::Tail { filter },
            "drift" => Self::Drift { filter },
            "charts" => match terms {
                [of] => Self::Chart(of.clone()),
                _ => {
                    return Err(Failure::usage("charts are of one destination or one replay")
                        .hint("relayflow queue ls shows the destinations"));
                }
            },
            other if !terms.is_empty() => {
                return Err(Failure::usage(format!("the screen '{other}' takes no terms")));
            }
            "overview" => Self::Overview,
            "replays" => Self::Replays,
            "queues" => Self::Queues,
            "sources" => Self::Sources,
            _ => Self::Errors,
        };
        Ok(route)
    }

    /// The place of an id, if `word` looks like one.
    pub(crate) fn of_id(word: &str) -> Option<Self> {
        let (kind, digits) = word.split_once('_')?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let id = word.to_owned();
        match kind {
            "evt" => Some(Self::Event { id, task: None, tab: Tab::Timeline }),
            "tsk" => Some(Self::Event { task: Some(id.clone()), id, tab: Tab::Timeline }),
            "req" => Some(Self::Event { id, task: None, tab: Tab::Request }),
            "rpl" => Some(Self::Job(id)),
            _ => None,
        }
    }

    /// The command line that opens it.
    pub(crate) fn command(&self) -> String {
        let with = |name: &str, filter: &str| {
            let words = filter.split_whitespace().map(shell).collect::<Vec<_>>().join(" ");
            format!("relayflow tui {name} {words}").trim_end().to_owned()
        };
        match self {
            Self::Overview => "relayflow tui".to_owned(),
            Self::List { noun, filter } => with(noun.command(), filter),
            Self::Groups { filter, .. } => with("dlq", filter),
            Self::Event { id, .. } | Self::Job(id) => format!("relayflow tui {id}"),
            Self::Replays => with("replays", ""),
            Self::Queues => with("queues", ""),
            Self::Sources => with("sources", ""),
            Self::Tail { filter } => with("tail", filter),
            Self::Drift { filter } => with("drift", filter),
            Self::Chart(of) => format!("relayflow tui charts {}", shell(of)),
            Self::Errors => with("errors", ""),
        }
    }
}

fn screen_name(word: &str) -> Option<&'static str> {
    let word = match word {
        "dead-letters" => "dlq",
        "replay" => "replays",
        "queue" => "queues",
        "event" => "events",
        "chart" => "charts",
        other => other,
    };
    NAMES.into_iter().find(|name| *name == word)
}

/// A word as a shell takes it for one.
pub(crate) fn shell(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-.,:/=@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Route {
        Route::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_a_route_prints_opens_it_again() {
        for line in [
            "",
            "dlq",
            "dlq status:dead error:e_41c9",
            "events source:a",
            "requests sig:invalid",
            "replays",
            "queues",
            "sources",
            "drift source:a",
            "tail status:failed",
            "errors",
            "charts api.hubspot.com",
            "charts rpl_01J9",
            "rpl_01J9",
            "evt_01J9",
        ] {
            let route = read(line);
            assert_eq!(route.command(), format!("relayflow tui {line}").trim_end(), "{line}");
        }
    }

    #[test]
    fn terms_without_a_screen_are_of_the_dead_letters() {
        let list = |filter: &str| Route::List { noun: Noun::DeadLetters, filter: filter.into() };
        assert_eq!(read("error:e_41c9"), list("error:e_41c9"));
        assert_eq!(read("my_source"), list("my_source"));
        assert!(Route::read(&["queues".into(), "x:y".into()]).is_err());
    }

    #[test]
    fn a_word_that_a_shell_would_take_apart_is_quoted() {
        assert_eq!(shell("type:a.b"), "type:a.b");
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }
}
