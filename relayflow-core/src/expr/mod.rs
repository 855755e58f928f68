//! Expressions and templates: Jinja, compiled once, with an end to everything.
//!
//! An [`Expression`] gives a JSON value (`when`, `body`, `where:`), a [`Template`] a text for one
//! place (a URL, a header), in which what is inserted is escaped for that place. Both see a
//! [`Scope`] and nothing else: no clock, no files, no other templates. Undefined is an error, a
//! runaway ends out of fuel, and what can be told before an event comes (unknown names, filters)
//! is told when the text is read.

mod json;
mod scan;
mod scope;
mod template;

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::Value;

pub use scope::{Bound, FIELDS, Scope};
pub(crate) use template::host_end;
pub use template::{Escape, Template};

use scope::Needs;

/// What one evaluation may use: an instruction costs one, a long text more.
const FUEL: u64 = 100_000;
/// How deep macros and blocks may nest when they run.
const DEPTH_MAX: usize = 64;
/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;

/// Why a text is not an expression or template, or why it gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// Bytes of the text that are wrong; the whole text where that is not known.
    pub span: Range<usize>,
    /// A lowercase fragment.
    pub message: String,
}

impl ExprError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// From minijinja's, with a span inside `text`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "minijinja's list is open")]
    fn from_engine(error: &minijinja::Error, text: &str) -> Self {
        let span = error.range().filter(|r| text.get(r.clone()).is_some()).unwrap_or(0..text.len());
        let detail = error.detail().unwrap_or_default();
        let message = match error.kind() {
            ErrorKind::OutOfFuel => "needs too many steps: it was stopped".to_owned(),
            ErrorKind::UndefinedError if detail.is_empty() => "a value is undefined".to_owned(),
            ErrorKind::UndefinedError
            | ErrorKind::SyntaxError
            | ErrorKind::InvalidOperation
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
                if !detail.is_empty() =>
            {
                detail.to_owned()
            }
            _ if detail.is_empty() => error.kind().to_string(),
            kind => format!("{kind}: {detail}"),
        };
        Self { span, message: message.chars().take(500).collect() }
    }

    /// Line and column of the first wrong byte of `text`, from 1.
    #[must_use]
    pub fn position(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    }

    /// The error as one line for a dead letter: which part of `text`, and what is wrong.
    #[must_use]
    pub fn told_of(&self, text: &str) -> String {
        let part = text.get(self.span.clone()).filter(|p| !p.is_empty()).unwrap_or(text);
        let shown: String = part.chars().take(120).collect();
        format!("{} in `{}`", self.message, shown.trim())
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExprError {}

/// An expression that gives a JSON value.
pub struct Expression {
    text: String,
    compiled: minijinja::Expression<'static, 'static>,
    needs: Needs,
}

impl Expression {
    /// Compiles `text` and checks what can be checked without an event: names, filters, size.
    ///
    /// # Errors
    ///
    /// With the bytes of `text` that are wrong.
    pub fn new(text: &str) -> Result<Self, ExprError> {
        if EXPRESSION_BYTES_MAX < text.len() {
            return Err(ExprError::new(0..0, "is longer than 8 KiB"));
        }
        scan::check(text, scan::Syntax::Expression)?;
        let compiled = ENVIRONMENT
            .compile_expression_owned(text.to_owned())
            .map_err(|e| ExprError::from_engine(&e, text))?;
        let names = compiled.undeclared_variables(true);
        let needs = Needs::of(&names, text)?;
        Ok(Self { text: text.to_owned(), compiled, needs })
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// A name that is undefined, an operation that does not fit its values, too many steps, a
    /// payload that is looked at and has a number that does not fit, or a result that is not JSON.
    pub fn eval(&self, scope: &Scope<'_>) -> Result<Value, ExprError> {
        self.eval_in(&Bound::new(*scope))
    }

    /// The same, sharing what other expressions over the same event have read already.
    ///
    /// # Errors
    ///
    /// As [`Self::eval`].
    pub fn eval_in(&self, bound: &Bound<'_>) -> Result<Value, ExprError> {
        let value = self.run(bound)?;
        json::from_engine(&value).map_err(|m| ExprError::new(0..self.text.len(), m))
    }

    /// Whether the value is true, as Jinja has it: empty texts and lists, 0 and null are not.
    ///
    /// # Errors
    ///
    /// As [`Self::eval`].
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExprError> {
        self.holds_in(&Bound::new(*scope))
    }

    /// The same, sharing what other expressions over the same event have read already.
    ///
    /// # Errors
    ///
    /// As [`Self::eval`].
    pub fn holds_in(&self, bound: &Bound<'_>) -> Result<bool, ExprError> {
        let value = self.run(bound)?;
        if value.is_undefined() {
            return Err(ExprError::new(0..self.text.len(), "the value is undefined"));
        }
        Ok(value.is_true())
    }

    fn run(&self, bound: &Bound<'_>) -> Result<minijinja::Value, ExprError> {
        self.compiled
            .eval(bound.context(self.needs))
            .map_err(|e| ExprError::from_engine(&e, &self.text))
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether evaluating it may parse the payload.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.needs.payload()
    }

    /// Whether it looks at the headers of the request.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        self.needs.headers()
    }

    /// The names that it looks at, as far as they are written out: `event.payload.data.id`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.compiled.undeclared_variables(true).into_iter().collect()
    }

    /// The steps whose responses it looks at; `None` if it may look at any.
    #[must_use]
    pub fn reads_steps(&self) -> Option<Vec<String>> {
        scope::steps_of(&self.compiled.undeclared_variables(true))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// Jinja without what could run away, look outside, or get round the escaping.
fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(DEPTH_MAX);
    // Errors then know which bytes they are about.
    env.set_debug(true);
    env.remove_global("debug");
    for filter in ["safe", "pprint"] {
        env.remove_filter(filter);
    }
    env.add_filter("tojson", json::filter);
    env
}

#[cfg(test)]
mod tests;
