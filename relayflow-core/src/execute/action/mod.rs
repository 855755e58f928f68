//! What a step does: a closed list. Each action ends in a report.

pub mod command;
mod http;
mod trace;

use jiff::SignedDuration;
use serde_json::{Map, Value};

pub(super) use self::http::Client;
pub(crate) use self::http::client_tls;
use super::gate::Call;
use crate::expr::{ExprError, Scope};
use crate::store::EventContext;
use crate::task::{AttemptStatus, DeadReason, Outcome, Task};
use crate::text;

/// How much of an answer is read, and how much of it is kept, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const KEPT_BYTES_MAX: usize = 4 * 1024;
/// The longest error text that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 512;

/// What an action works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) task: &'a Task,
    pub(super) event: &'a EventContext,
    pub(super) steps: &'a Map<String, Value>,
    /// Where the config says that it goes; the task itself may be older than that.
    pub(super) destination: &'a str,
}

impl<'a> Work<'a> {
    pub(super) fn scope(&self) -> Scope<'a> {
        Scope { event: &self.event.event, headers: &self.event.headers, steps: self.steps }
    }
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) outcome: Outcome,
    /// What that says about the destination.
    pub(super) call: Call,
    pub(super) http_status: Option<u16>,
    /// A line: what went wrong.
    pub(super) error: Option<String>,
    /// What the destination answered, at most [`KEPT_BYTES_MAX`].
    pub(super) response: Option<String>,
}

impl Report {
    fn ended(outcome: Outcome, call: Call) -> Self {
        Self { outcome, call, http_status: None, error: None, response: None }
    }

    /// No answer: worth another try.
    pub(super) fn failed(error: &str) -> Self {
        let outcome = Outcome::Failed { wait_at_least: SignedDuration::ZERO };
        Self { error: Some(one_line(error)), ..Self::ended(outcome, Call::Failed) }
    }

    /// There was no call, and there will be none.
    pub(super) fn rejected(reason: DeadReason, error: &str) -> Self {
        Self { error: Some(one_line(error)), ..Self::ended(Outcome::Rejected(reason), Call::None) }
    }

    /// The daemon stopped it; it will run again.
    pub(super) fn interrupted(error: &str) -> Self {
        Self { error: Some(one_line(error)), ..Self::ended(Outcome::Interrupted, Call::None) }
    }

    /// An expression or a template, named by `what`, does not evaluate for this event.
    pub(super) fn expression(what: &str, error: &ExprError) -> Self {
        Self::rejected(DeadReason::Expression, &format!("{what}: {}", error.message))
    }
}

/// How an attempt with this outcome is recorded.
pub(super) fn status_of(outcome: &Outcome) -> AttemptStatus {
    match outcome {
        Outcome::Done => AttemptStatus::Ok,
        Outcome::Failed { .. } => AttemptStatus::Failed,
        Outcome::Rejected(_) => AttemptStatus::Rejected,
        Outcome::Interrupted => AttemptStatus::Interrupted,
        Outcome::Lost => AttemptStatus::Lost,
    }
}

/// One safe line of bounded length.
fn one_line(text: &str) -> String {
    let mut line = text::line(text).into_owned();
    if ERROR_BYTES_MAX < line.len() {
        line.truncate(line.floor_char_boundary(ERROR_BYTES_MAX));
        line.push('…');
    }
    line
}

/// The text of an answer that is kept: what is not UTF-8 is replaced, and so is NUL, which not every
/// database takes. `None` if there is none.
fn kept(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    text.truncate(text.floor_char_boundary(KEPT_BYTES_MAX));
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_kept_as_text_without_nul() {
        assert_eq!(kept(b""), None);
        assert_eq!(kept(b"{\"id\":7}").unwrap(), "{\"id\":7}");
        assert_eq!(kept(b"a\0b\xff").unwrap(), "a\u{fffd}b\u{fffd}");
        assert_eq!(kept("é".repeat(3000).as_bytes()).unwrap().len(), KEPT_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_are_kept_beyond_the_limit(bytes: Vec<u8>) {
            prop_assert!(kept(&bytes.repeat(100)).is_none_or(|t| t.len() <= KEPT_BYTES_MAX));
        }

        #[test]
        fn an_error_is_one_short_line(text: String) {
            let line = one_line(&text.repeat(50));
            prop_assert!(line.len() <= ERROR_BYTES_MAX + 3);
            prop_assert!(!line.contains('\n'));
        }
    }
}
