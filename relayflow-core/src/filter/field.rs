//! The fields, and which values each takes.

use super::Field;
use crate::task::{DeadReason, TaskStatus};

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Any text; lists, wildcards and regular expressions.
    Text,
    /// Ids of these prefixes, or the beginning of one.
    Id(&'static [&'static str]),
    /// One of a closed set.
    Words(&'static [&'static str]),
    /// Whole numbers, and ranges of them.
    Number,
    /// Ranges of moments.
    Time,
    /// Ranges of what comes before now.
    Age,
    /// Ranges of durations.
    Duration,
    /// Ranges of sizes.
    Size,
    /// Texts and lists only.
    Content,
    Where,
}

impl Values {
    /// What they are, for those who look it up.
    fn told(self) -> String {
        match self {
            Self::Text | Self::Content => "text".to_owned(),
            Self::Where => "expression".to_owned(),
            Self::Id(prefixes) => {
                let prefixes: Vec<_> = prefixes.iter().map(|p| format!("{p}_…")).collect();
                prefixes.join(" ")
            }
            Self::Words(words) if words == STATUSES => statuses().collect::<Vec<_>>().join(" "),
            Self::Words(words) => words.join(" "),
            Self::Number | Self::Time | Self::Age | Self::Duration | Self::Size => {
                self.example().to_owned()
            }
        }
    }

    /// A range of such values, for advice.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Age => "..2h",
            Self::Duration => "500ms..",
            Self::Size => "64KiB..",
            Self::Time => "2h..",
            Self::Number => "3..",
            Self::Text | Self::Id(_) | Self::Words(_) | Self::Content | Self::Where => "",
        }
    }
}

/// What a field is about, for those who look one up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Identity,
    What,
    State,
    Measure,
    Content,
}

/// A field, as it is written and told.
struct Known {
    name: &'static str,
    field: Field,
    group: Group,
    about: &'static str,
}

const fn known(name: &'static str, field: Field, group: Group, about: &'static str) -> Known {
    Known { name, field, group, about }
}

/// Fields that are a single word.
static FIELDS: [Known; 31] = [
    known("id", Field::Id, Group::Identity, "its id, or the beginning of one"),
    known("external", Field::External, Group::Identity, "the provider's own id"),
    known("key", Field::Key, Group::Identity, "the idempotency key"),
    known("subject", Field::Subject, Group::Identity, "what it is about"),
    known("corr", Field::Corr, Group::Identity, "the correlation id"),
    known("request", Field::Request, Group::Identity, "the request that it came in"),
    known("replay", Field::Replay, Group::Identity, "the replay that ran it"),
    known("source", Field::Source, Group::What, "the endpoint that it came in at"),
    known("provider", Field::Provider, Group::What, "whose events they are"),
    known("type", Field::Type, Group::What, "the provider's own type; matches what is below it"),
    known("kind", Field::Kind, Group::What, "the canonical kind; matches what is below it"),
    known("workflow", Field::Workflow, Group::What, "a workflow with a task of it"),
    known("step", Field::Step, Group::What, "a step with a task of it"),
    known("action", Field::Action, Group::What, "what a task does: http or command"),
    known("dest", Field::Dest, Group::What, "the destination of a task"),
    known("status", Field::Status, Group::State, "the state"),
    known("attempts", Field::Attempts, Group::State, "how often it was tried"),
    known("error", Field::Error, Group::State, "what failures have in common: e_…"),
    known("http", Field::Http, Group::State, "the status of a destination's answer"),
    known("sig", Field::Sig, Group::State, "the signature's verdict"),
    known("drift", Field::Drift, Group::State, "how it differs from its contract"),
    known("queue", Field::Queue, Group::State, "the queue of a task"),
    known("worker", Field::Worker, Group::State, "who runs it, or ran it last"),
    known("reason", Field::Reason, Group::State, "why a task died"),
    known("received", Field::Received, Group::Measure, "when it arrived"),
    known("occurred", Field::Occurred, Group::Measure, "when it happened, as the provider says"),
    known("latency", Field::Latency, Group::Measure, "how long it took"),
    known("size", Field::Size, Group::Measure, "bytes of the body"),
    known("depth", Field::Depth, Group::Measure, "how many replays and edits lie before it"),
    known("where", Field::Where, Group::Content, "any expression over the event, as in workflows"),
    // Written otherwise, it is a range of `received`.
    known("age", Field::Received, Group::Measure, "how long ago it arrived"),
];

/// What else may stand before a colon: bounds of `received`, and names that go on behind the dot.
const MORE: [(&str, Group, &str, &str); 5] = [
    ("since", Group::Measure, "received at or after", "TIME"),
    ("until", Group::Measure, "received before", "TIME"),
    ("payload.", Group::Content, "a member of the payload, by its path", "text"),
    ("attr.", Group::Content, "an attribute of the canonical event", "text"),
    ("header.", Group::Content, "a kept header of the request", "text"),
];

/// A field as it is told to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldHelp {
    /// As written; one that ends in a dot goes on with a name.
    pub name: &'static str,
    pub group: Group,
    pub about: &'static str,
    /// Its values: the words, the ids' prefixes, an example of a range, or what they are.
    pub values: String,
}

/// Every field, in the order in which they are told.
pub fn reference() -> impl Iterator<Item = FieldHelp> {
    let words = FIELDS.iter().map(|known| {
        let values = if known.name == "age" { Values::Age } else { known.field.values() };
        let values = if known.name == "http" { "500..".to_owned() } else { values.told() };
        FieldHelp { name: known.name, group: known.group, about: known.about, values }
    });
    let more = MORE.iter().map(|(name, group, about, values)| FieldHelp {
        name,
        group: *group,
        about,
        values: (*values).to_owned(),
    });
    words.chain(more)
}

/// Of tasks, requests, plans and replays.
const STATUSES: [&str; 16] = [
    "queued",
    "running",
    "retrying",
    "ok",
    "dead",
    "discarded",
    "skipped",
    "accepted",
    "duplicate",
    "rejected",
    "paused",
    "done",
    "cancelled",
    "planned",
    "used",
    "expired",
];
const REASONS: [&str; DeadReason::ALL.len()] = {
    let mut words = [""; DeadReason::ALL.len()];
    let mut i = 0;
    while i < words.len() {
        words[i] = DeadReason::ALL[i].as_str();
        i += 1;
    }
    words
};

/// Words that stand for several statuses.
pub(super) const FAILED: [TaskStatus; 2] = [TaskStatus::Retrying, TaskStatus::Dead];
pub(super) const OPEN: [TaskStatus; 3] =
    [TaskStatus::Queued, TaskStatus::Running, TaskStatus::Retrying];

/// Every name that may stand before a colon, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|known| known.name).chain(MORE.iter().map(|(name, ..)| *name))
}

/// Every status word, for suggestions.
pub fn statuses() -> impl Iterator<Item = &'static str> {
    STATUSES.into_iter().chain(["failed", "open"])
}

/// The field of this name, in any case, and what its values are; `since` and `until` are not here.
pub(super) fn find(name: &str) -> Option<(Field, Values)> {
    let lower = name.to_ascii_lowercase();
    for (prefix, make) in [
        ("payload.", Field::Payload as fn(String) -> Field),
        ("attr.", Field::Attr),
        ("header.", Field::Header),
    ] {
        if lower.starts_with(prefix) && prefix.len() < name.len() {
            // Headers have no case; the members of a payload have.
            let rest = if prefix == "header." { &lower } else { name };
            return Some((make(rest[prefix.len()..].to_owned()), Values::Content));
        }
    }
    let known = FIELDS.iter().find(|known| known.name == lower)?;
    let values = if known.name == "age" { Values::Age } else { known.field.values() };
    Some((known.field.clone(), values))
}

impl Field {
    /// As it is written.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(known) = FIELDS.iter().find(|known| known.field == *self) {
            return known.name.to_owned();
        }
        if let Self::Payload(path) = self {
            return format!("payload.{path}");
        }
        if let Self::Attr(name) = self {
            return format!("attr.{name}");
        }
        if let Self::Header(name) = self {
            return format!("header.{name}");
        }
        String::new()
    }

    /// Whether a dotted name matches its subtree.
    #[must_use]
    pub fn is_dotted(&self) -> bool {
        matches!(self, Self::Type | Self::Kind)
    }

    /// Whether it is looked at only inside a time window.
    #[must_use]
    pub fn wants_window(&self) -> bool {
        matches!(self, Self::Payload(_) | Self::Header(_) | Self::Where)
    }

    pub(super) fn values(&self) -> Values {
        match self {
            Self::Id => Values::Id(&["evt", "tsk", "req", "rpl", "pln", "drf"]),
            Self::Request => Values::Id(&["req"]),
            Self::Replay => Values::Id(&["rpl"]),
            Self::Status => Values::Words(&STATUSES),
            Self::Sig => Values::Words(&["valid", "invalid", "missing", "skipped"]),
            Self::Drift => Values::Words(&["none", "additive", "breaking"]),
            Self::Reason => Values::Words(&REASONS),
            Self::Attempts | Self::Http | Self::Depth => Values::Number,
            Self::Received | Self::Occurred => Values::Time,
            Self::Latency => Values::Duration,
            Self::Size => Values::Size,
            Self::Payload(_) | Self::Attr(_) | Self::Header(_) => Values::Content,
            Self::Where => Values::Where,
            Self::External
            | Self::Key
            | Self::Subject
            | Self::Corr
            | Self::Source
            | Self::Provider
            | Self::Type
            | Self::Kind
            | Self::Workflow
            | Self::Step
            | Self::Action
            | Self::Dest
            | Self::Error
            | Self::Queue
            | Self::Worker => Values::Text,
        }
    }
}
