//! How a command fails: what, why, what to type, and the exit code.

use std::fmt::Write as _;
use std::io;

use relayflow_core::api::Problem;
use relayflow_core::api::codes::Exit;
use relayflow_core::text;
use serde::Serialize;

/// Why a command ended without doing its job. Shown as three lines (`cli.md`, 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Dotted and stable; its first word is the name of the exit.
    pub(crate) code: String,
    /// What went wrong: a lowercase fragment. May have more lines, such as a caret.
    pub(crate) message: String,
    /// Why, or what was not done.
    pub(crate) why: Option<String>,
    /// What to type next.
    pub(crate) hint: Option<String>,
    pub(crate) retryable: bool,
    /// The API's own id of the failed call.
    pub(crate) request_id: Option<Box<str>>,
}

/// What a command comes to.
pub(crate) type Done = Result<Exit, Failure>;

/// The code of a closed pipe: nobody reads on, which is no error.
const CLOSED: &str = "ok.closed_pipe";
/// The code of Ctrl-C.
const INTERRUPTED: &str = "interrupted";
/// The code of another signal, before the exit that it comes to.
const SIGNAL: &str = "signal.";

impl Failure {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        let retryable = matches!(Exit::of_code(&code), Exit::Unreachable | Exit::Pending);
        Self { code, message: message.into(), why: None, hint: None, retryable, request_id: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("usage.argument", message)
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new("error.internal", message)
    }

    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// From an API's error body.
    pub(crate) fn of_problem(problem: Problem) -> Self {
        let mut failure = Self::new(problem.code, problem.title);
        failure.why = problem.detail;
        failure.hint = problem.hint;
        failure.request_id = problem.request_id.map(String::into_boxed_str);
        failure.retryable |= matches!(problem.status, 429 | 503);
        failure
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.is_closed_pipe() { Exit::Ok } else { Exit::of_code(&self.code) }
    }

    /// The exit code as a number: also of what ends by a signal.
    pub(crate) fn exit_code(&self) -> u8 {
        if let Some(exit) = self.code.strip_prefix(SIGNAL) {
            return exit.parse().unwrap_or(1);
        }
        if self.code == INTERRUPTED { 130 } else { self.exit().code() }
    }

    /// Ended by Ctrl-C: what goes on, and how to return to it.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(INTERRUPTED, message)
    }

    /// Ended by a signal, with everything put back in order: nothing needs to be said.
    pub(crate) fn signalled(exit: u8) -> Self {
        Self::new(format!("{SIGNAL}{exit}"), String::new())
    }

    /// Whether there is nobody to tell, or nothing to be told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_closed_pipe() || self.code.starts_with(SIGNAL)
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.code == CLOSED
    }

    /// The lines for a person.
    pub(crate) fn lines(&self, red: (&str, &str)) -> String {
        let (on, off) = red;
        let message = text::message(self.message.trim_end());
        let mut out = if self.code == INTERRUPTED {
            message.into_owned()
        } else {
            format!("{on}error:{off} {message}")
        };
        if let Some(why) = &self.why {
            let _ = write!(out, "\n  {}", text::message(why.trim_end()));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(out, "\n  try: {}", text::line(hint));
        }
        out
    }

    /// The line for a program.
    pub(crate) fn document(&self) -> ErrorDocument<'_> {
        ErrorDocument {
            v: relayflow_core::api::V,
            kind: "error",
            code: &self.code,
            exit: self.exit_code(),
            message: &self.message,
            why: self.why.as_deref(),
            hint: self.hint.as_deref(),
            retryable: self.retryable,
            request_id: self.request_id.as_deref(),
        }
    }
}

/// stderr's last line with `-o json` or `ndjson`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDocument<'a> {
    v: u32,
    kind: &'static str,
    code: &'a str,
    exit: u8,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    hint: Option<&'a str>,
    retryable: bool,
    request_id: Option<&'a str>,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(CLOSED, "the reader of the output is gone");
        }
        Self::new("error.io", error.to_string())
    }
}

/// An error and all its sources as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !line.contains(&text) {
            let _ = write!(line, ": {text}");
        }
        next = source.source();
    }
    line
}

/// What is at the bottom of an error: of a failed call, what the system said.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_why_and_what_to_type() {
        let failure = Failure::new("refused.protected", "context 'prod' is protected\u{1b}[2J")
            .why("nothing was changed")
            .hint("relayflow replay create --plan pln_7QF2 --yes=prod");
        insta::assert_snapshot!(failure.lines(("", "")), @r"
        error: context 'prod' is protected␛[2J
          nothing was changed
          try: relayflow replay create --plan pln_7QF2 --yes=prod
        ");
        let json = serde_json::to_string(&failure.document()).unwrap();
        insta::assert_snapshot!(json, @r#"{"v":1,"kind":"error","code":"refused.protected","exit":6,"message":"context 'prod' is protected\u001b[2J","why":"nothing was changed","hint":"relayflow replay create --plan pln_7QF2 --yes=prod","retryable":false,"request_id":null}"#);
    }

    #[test]
    fn the_first_word_of_a_code_is_its_exit() {
        for (code, exit) in [
            ("usage.argument", 2),
            ("not_found.object", 3),
            ("auth.token", 4),
            ("unreachable.daemon", 5),
            ("refused.plan_changed", 6),
            ("partial.replay", 7),
            ("pending.wait", 8),
            ("empty.selection", 9),
            ("findings.config", 10),
            ("error.internal", 1),
            ("what.ever", 1),
        ] {
            assert_eq!(Failure::new(code, "").exit().code(), exit, "{code}");
        }
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_closed_pipe());
        assert_eq!(failure.exit(), Exit::Ok);
    }
}
