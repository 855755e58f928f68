//! The filter language of CLI, TUI and API (`cli.md`, 4): read, printed, matched. One parser for all.
//!
//! What is read is resolved: relative times are moments, `status:failed` is the statuses that it
//! stands for. So a filter that is printed and read again, at whatever time, selects the same.

mod error;
mod field;
mod parse;
mod print;
mod time;
mod value;

pub use error::FilterError;
pub use field::{
    FieldHelp, Group as FieldGroup, names as field_names, reference as field_reference,
    statuses as status_words,
};
pub use print::join;
pub use time::{Now, TIME_FORMS, TimeError, parse_duration, parse_time, show_duration};

/// The longest text that is read, in bytes, and how deep it may nest.
pub const FILTER_BYTES_MAX: usize = 4 * 1024;
pub const FILTER_DEPTH_MAX: usize = 64;

/// What is selected.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Everything: the empty filter.
    All,
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Term(Term),
}

impl Filter {
    /// Whether any of its terms is about `field`.
    #[must_use]
    pub fn mentions(&self, field: &Field) -> bool {
        self.terms().iter().any(|term| term.field == *field)
    }

    /// Whether it holds of something, of which `term` says which terms hold.
    pub fn holds(&self, term: &impl Fn(&Term) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.holds(term)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(term)),
            Self::Not(inner) => !inner.holds(term),
            Self::Term(one) => term(one),
        }
    }

    /// The parts of an `or` (of an `and`, if `is_and`), or the filter as the only part of one.
    fn into_parts(self, is_and: bool) -> Vec<Self> {
        if let Self::And(parts) = self {
            return if is_and { parts } else { vec![Self::And(parts)] };
        }
        if let Self::Or(parts) = self {
            return if is_and { vec![Self::Or(parts)] } else { parts };
        }
        vec![self]
    }

    /// Every term in it, those under a `not` too.
    #[must_use]
    pub fn terms(&self) -> Vec<&Term> {
        match self {
            Self::All => Vec::new(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::terms).collect(),
            Self::Not(inner) => inner.terms(),
            Self::Term(term) => vec![term],
        }
    }

    /// Whether all that it selects was received after some moment: a term that is asked only inside a
    /// window has one then.
    #[must_use]
    pub fn has_window(&self) -> bool {
        match self {
            Self::All | Self::Not(_) => false,
            Self::And(parts) => parts.iter().any(Self::has_window),
            Self::Or(parts) => !parts.is_empty() && parts.iter().all(Self::has_window),
            Self::Term(term) => {
                term.field == Field::Received
                    && matches!(term.test, Test::Between { low: Some(_), .. })
            }
        }
    }

    /// Whether a term in it is asked only inside a time window (`payload.`, `header.`, `where:`).
    #[must_use]
    pub fn wants_window(&self) -> bool {
        self.terms().iter().any(|term| term.field.wants_window())
    }
}

/// One `field:value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub field: Field,
    pub test: Test,
}

/// What a field is held against.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Any of the words.
    OneOf(Vec<Word>),
    /// Both ends included, in the field's unit: microseconds since 1970 for `received`, `occurred`
    /// (`age`, `since` and `until` become `received`), microseconds for `latency`, bytes for `size`,
    /// counts for the rest. `shown` is the same as text.
    Between { low: Option<i64>, high: Option<i64>, shown: String },
    /// A regular expression, checked when it was read.
    Matches(String),
    /// `where:`: an expression over the event, checked when it was read.
    Holds(String),
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    /// Whether each `*` in it stands for any characters.
    pub is_wild: bool,
}

/// What can be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    Id,
    External,
    Key,
    Subject,
    Corr,
    Request,
    Replay,
    Source,
    Provider,
    Type,
    Kind,
    Workflow,
    Step,
    Action,
    Dest,
    Status,
    Attempts,
    Error,
    Http,
    Sig,
    Drift,
    Queue,
    Worker,
    Reason,
    Received,
    Occurred,
    Latency,
    Size,
    Depth,
    /// `payload.PATH`
    Payload(String),
    /// `attr.NAME`
    Attr(String),
    /// `header.NAME`
    Header(String),
    Where,
}

impl Term {
    /// Whether a text is what the term asks for. A dotted name finds its subtree: `type:invoice` is
    /// also `invoice.paid`, not `invoices.x`. Ranges and `where:` are not for texts, and hold for none.
    ///
    /// A regular expression is compiled here; a caller with many texts compiles it once itself.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match &self.test {
            Test::OneOf(words) => words.iter().any(|word| word.matches_in(&self.field, value)),
            Test::Matches(regex) => regex::Regex::new(regex).is_ok_and(|r| r.is_match(value)),
            Test::Between { .. } | Test::Holds(_) => false,
        }
    }
}

impl Word {
    /// Whether `value` is the word, or fits it where it is wild.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        if self.is_wild { fits(&self.text, value) } else { self.text == value }
    }

    /// The same, and the subtree of the word where `field` has dotted names (`type`, `kind`).
    #[must_use]
    pub fn matches_in(&self, field: &Field, value: &str) -> bool {
        let is_below = || {
            let below = value.strip_prefix(self.text.as_str());
            !self.is_wild && field.is_dotted() && below.is_some_and(|rest| rest.starts_with('.'))
        };
        self.matches(value) || is_below()
    }
}

/// Whether `value` fits `pattern`, in which each `*` stands for any characters.
fn fits(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = value.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    let mut ends_open = !pattern.contains('*') && rest.is_empty();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            ends_open = rest.ends_with(part);
        } else {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
    }
    ends_open
}

#[cfg(test)]
mod tests;
