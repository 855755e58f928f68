//! The topics.

use std::fmt::Write as _;

use clap::{CommandFactory as _, ValueEnum as _};
use relayflow_core::api::codes::Exit;
use relayflow_core::filter::{FieldGroup, TIME_FORMS, field_reference};

use super::WIDTH;
use crate::args::{Cli, Format};
use crate::context::{CONTEXT_FIELDS, Layer};
use crate::environment::VARIABLES;
use crate::output::columns::{self, wrapped};
use crate::tui::keys;

/// What `relayflow help` tells beside commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Filters,
    Time,
    Output,
    ExitCodes,
    Environment,
    Keys,
    Contexts,
}

impl Topic {
    pub(crate) const ALL: [Self; 7] = [
        Self::Filters,
        Self::Time,
        Self::Output,
        Self::ExitCodes,
        Self::Environment,
        Self::Keys,
        Self::Contexts,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Filters => "filters",
            Self::Time => "time",
            Self::Output => "output",
            Self::ExitCodes => "exit-codes",
            Self::Environment => "environment",
            Self::Keys => "keys",
            Self::Contexts => "contexts",
        }
    }

    pub(crate) fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == word)
    }

    pub(crate) fn text(self) -> String {
        match self {
            Self::Filters => filters(),
            Self::Time => time(),
            Self::Output => output(),
            Self::ExitCodes => exit_codes(),
            Self::Environment => environment(),
            Self::Keys => of_keys(),
            Self::Contexts => contexts(),
        }
    }
}

/// Forms of a filter, each with what it finds. A test reads every one of them.
const FORMS: [(&str, &str); 10] = [
    ("source:shop status:failed,dead", "both; of each any of its values"),
    ("type:invoice or kind:payment.failed", "one or the other; a dotted name finds all below it"),
    ("not workflow:audit", "what has no such thing"),
    ("(source:a or source:b) status:dead", "brackets group"),
    ("age:..2h  attempts:3..", "ranges, both ends included, either end open"),
    ("type:\"a b\"  type:invoice.*", "quotes for spaces, * for any text"),
    ("error:~time.?out", "a regular expression (RE2)"),
    ("payload.data.object.customer:cus_1", "a member of the payload"),
    ("where:event.attributes.amount_minor > 1000", "an expression, to the argument's end"),
    ("evt_01J9ZC4K", "an id, or the beginning of one"),
];

fn filters() -> String {
    let mut text = String::from("Filters: TERM arguments, `/` in the TUI, `q` of the API\n\n");
    rows(&mut text, &FORMS.map(|(form, means)| (form.to_owned(), means.to_owned())));
    text.push('\n');
    paragraph(
        &mut text,
        "Several arguments are joined with spaces. payload., header. and where: are looked at only \
         within a time window: without one, since:24h is applied.",
    );
    let groups = [
        (FieldGroup::Identity, "Identity"),
        (FieldGroup::What, "What"),
        (FieldGroup::State, "State"),
        (FieldGroup::Measure, "Measures"),
        (FieldGroup::Content, "Content"),
    ];
    for (group, title) in groups {
        let _ = writeln!(text, "\n{title}:");
        let of_group = field_reference().filter(|field| field.group == group);
        let told: Vec<_> = of_group
            .map(|field| {
                let values = match field.values.as_str() {
                    "text" => String::new(),
                    values => format!(": {values}"),
                };
                let end = if field.name.ends_with('.') { "NAME:" } else { ":" };
                (format!("  {}{end}", field.name), format!("{}{values}", field.about))
            })
            .collect();
        rows(&mut text, &told);
    }
    text.push_str("\nStatus: failed is retrying,dead; open is queued,running,retrying.\n");
    text
}

fn time() -> String {
    let mut text =
        String::from("Times: --since, --until, since:, until:, received:, occurred:\n\n");
    rows(&mut text, &TIME_FORMS.map(|(form, means)| (format!("  {form}"), means.to_owned())));
    text.push('\n');
    paragraph(
        &mut text,
        "Both compare when something arrived; --until is exclusive. The window that was used is \
         printed on stderr. Lists show the newest without one; bulk actions want ids, a plan, \
         --since or --all-time.",
    );
    text.push('\n');
    let shown = TimeKindRow::all();
    text.push_str("How times are shown (--time):\n");
    rows(&mut text, &shown);
    text
}

/// What `--time` takes.
struct TimeKindRow;

impl TimeKindRow {
    fn all() -> Vec<(String, String)> {
        let kinds = crate::args::TimeKind::value_variants().iter();
        let named = kinds.filter_map(|kind| Some((kind, kind.to_possible_value()?)));
        named
            .map(|(kind, value)| (format!("  {}", value.get_name()), kind.about().to_owned()))
            .collect()
    }
}

fn output() -> String {
    let mut text = String::from("Output: -o FORMAT; data on stdout, all else on stderr\n\n");
    let formats = Format::value_variants().iter();
    let named = formats.filter_map(|format| Some((format, format.to_possible_value()?)));
    let told: Vec<_> = named
        .map(|(format, value)| (format!("  {}", value.get_name()), format.about().to_owned()))
        .collect();
    rows(&mut text, &told);
    text.push('\n');
    paragraph(
        &mut text,
        "--fields A,B keeps columns or members, in that order. Amounts of time end in their unit \
         (_ms, _seconds); instants are RFC 3339 in UTC with microseconds. A list is \
         {\"v\":1,\"kind\":\"KIND_list\",\"items\":[…],\"next_cursor\":…,\"total\":…}; a single \
         object bears its kind as `object`.",
    );
    text.push_str("\nKinds and their members:\n");
    let document = relayflow_daemon::openapi();
    let types = document["components"]["schemas"].as_object();
    let told: Vec<_> = types
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| {
            let members = schema["properties"].as_object()?;
            let is_document = members.contains_key("v") && members.contains_key("object");
            let members: Vec<_> = members.keys().map(String::as_str).collect();
            is_document.then(|| (format!("  {}", snake(name)), members.join(" ")))
        })
        .collect();
    rows(&mut text, &told);
    text
}

/// `DeadLetter` → `dead_letter`: the kind of a wire type.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes\n\n");
    let told: Vec<_> = Exit::ALL
        .into_iter()
        .map(|exit| {
            let again = match exit.another_try() {
                "" => String::new(),
                word => format!(" (another try: {word})"),
            };
            (format!("  {:>3} {}", exit.code(), exit.name()), format!("{}{again}", exit.when()))
        })
        .chain([(
            "  129 130 143".to_owned(),
            "hung up, interrupted, terminated: it detaches, and a job goes on".to_owned(),
        )])
        .collect();
    rows(&mut text, &told);
    text.push('\n');
    paragraph(
        &mut text,
        "With -o json or ndjson the last line on stderr is the error as a document; its code \
         begins with the name of the exit.",
    );
    text
}

fn environment() -> String {
    let mut text = String::from("Environment: a flag beats its variable\n\n");
    let mut command = Cli::command();
    command.build();
    let of_flags = command.get_arguments().filter_map(|arg| {
        let name = arg.get_env()?.to_str()?.to_owned();
        Some((format!("  {name}"), format!("as --{}", arg.get_long()?)))
    });
    let others = VARIABLES.iter().map(|v| (format!("  {}", v.name), v.about.to_owned()));
    let mut told: Vec<_> = of_flags.chain(others).collect();
    told.sort_by_key(|(name, _)| (!name.starts_with("  RELAYFLOW"), name.clone()));
    rows(&mut text, &told);
    text
}

fn of_keys() -> String {
    let mut text =
        String::from("Keys of the TUI; [tui.keys] of the CLI's own config changes them\n\n");
    let told: Vec<_> = keys::ACTIONS
        .iter()
        .map(|entry| {
            let keys = if entry.keys.is_empty() { "-".to_owned() } else { entry.keys.join(" ") };
            (format!("  {keys}"), format!("{}  ({})", entry.help, entry.name))
        })
        .collect();
    rows(&mut text, &told);
    text
}

fn contexts() -> String {
    let mut text =
        String::from("Contexts: which RelayFlow is meant. The first that says so wins:\n\n");
    let told: Vec<_> = Layer::ALL
        .into_iter()
        .enumerate()
        .map(|(place, layer)| (format!("  {}", place + 1), layer.about().to_owned()))
        .collect();
    rows(&mut text, &told);
    text.push_str("\n`relayflow config explain cli` tells which won, and over which.\n\n");
    text.push_str("[contexts.NAME] in ~/.config/relayflow/config.toml:\n");
    let told = CONTEXT_FIELDS.map(|(name, about)| (format!("  {name}"), about.to_owned()));
    rows(&mut text, &told);
    text
}

fn rows(text: &mut String, rows: &[(String, String)]) {
    columns::two(text, rows, WIDTH);
}

fn paragraph(text: &mut String, words: &str) {
    for line in wrapped(words, WIDTH) {
        text.push_str(&line);
        text.push('\n');
    }
}

/// The members of a wire type, for tests of what is told here.
#[cfg(test)]
fn members(kind: &str) -> Vec<String> {
    let document = relayflow_daemon::openapi();
    let types = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let found = types.iter().find(|(name, _)| snake(name) == kind);
    let properties = found.and_then(|(_, schema)| schema["properties"].as_object());
    properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use relayflow_core::filter::{Filter, Now};

    use super::*;

    #[test]
    fn no_topic_is_wider_than_80_columns() {
        for topic in Topic::ALL {
            let text = topic.text();
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", topic.name());
                assert_eq!(line, line.trim_end(), "{}", topic.name());
            }
            assert_eq!(Topic::find(topic.name()), Some(topic));
        }
    }

    #[test]
    fn every_form_of_a_filter_that_is_told_is_read() {
        let at = Now { now: Timestamp::UNIX_EPOCH, zone: TimeZone::UTC };
        for (form, _) in FORMS {
            assert!(Filter::parse(form, &at).is_ok(), "{form}");
        }
    }

    #[test]
    fn the_members_of_an_event_are_told() {
        let members = members("event");
        assert!(members.iter().any(|name| name == "received_at"), "{members:?}");
        assert!(output().contains("  dead_letter "));
    }

    #[test]
    fn the_topics_read_well() {
        insta::assert_snapshot!(filters());
        insta::assert_snapshot!(time());
        insta::assert_snapshot!(exit_codes());
        insta::assert_snapshot!(environment());
        insta::assert_snapshot!(contexts());
    }
}
