//! The filter language of CLI, TUI and API (`cli.md`, 4): read, printed, matched. One parser for all.

mod time;

pub use time::{Now, TimeError, parse_duration, parse_time, show_duration};

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
    /// counts for the rest. `shown` is how it was written.
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
