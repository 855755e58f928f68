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

/// Fields that are a single word, as written.
const FIELDS: [(&str, Field); 31] = [
    ("id", Field::Id),
    ("external", Field::External),
    ("key", Field::Key),
    ("subject", Field::Subject),
    ("corr", Field::Corr),
    ("request", Field::Request),
    ("replay", Field::Replay),
    ("source", Field::Source),
    ("provider", Field::Provider),
    ("type", Field::Type),
    ("kind", Field::Kind),
    ("workflow", Field::Workflow),
    ("step", Field::Step),
    ("action", Field::Action),
    ("dest", Field::Dest),
    ("status", Field::Status),
    ("attempts", Field::Attempts),
    ("error", Field::Error),
    ("http", Field::Http),
    ("sig", Field::Sig),
    ("drift", Field::Drift),
    ("queue", Field::Queue),
    ("worker", Field::Worker),
    ("reason", Field::Reason),
    ("received", Field::Received),
    ("occurred", Field::Occurred),
    ("latency", Field::Latency),
    ("size", Field::Size),
    ("depth", Field::Depth),
    ("where", Field::Where),
    // Written otherwise, it is a range of `received`.
    ("age", Field::Received),
];

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
    let more = ["since", "until", "payload.", "attr.", "header."];
    FIELDS.iter().map(|(name, _)| *name).chain(more)
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
    let (word, field) = FIELDS.iter().find(|(word, _)| *word == lower)?;
    let values = if *word == "age" { Values::Age } else { field.values() };
    Some((field.clone(), values))
}

impl Field {
    /// As it is written.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some((name, _)) = FIELDS.iter().find(|(_, field)| field == self) {
            return (*name).to_owned();
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
