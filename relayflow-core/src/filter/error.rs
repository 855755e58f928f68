//! Why a text is no filter: where, and what to type.

use std::fmt;
use std::ops::Range;

use crate::text::line;

/// How much of a long text is shown before the mistake, and in all, in characters.
const BEFORE_MAX: usize = 60;
const SHOWN_MAX: usize = 120;

/// A text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The whole text.
    pub text: String,
    /// Its bytes that are wrong.
    pub span: Range<usize>,
    /// A lowercase fragment: what is wrong.
    pub message: String,
    /// What to type instead: it stands behind the caret.
    pub advice: Option<String>,
}

impl fmt::Display for FilterError {
    /// What is wrong, the text, and a caret with the advice: three lines, none with a line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", line(&self.message))?;
        let before = self.text.get(..self.span.start).unwrap_or_default();
        let wrong = self.text.get(self.span.clone()).unwrap_or_default();
        let after = self.text.get(self.span.end..).unwrap_or_default();
        let skipped = before.chars().count().saturating_sub(BEFORE_MAX);
        let before: String = before.chars().skip(skipped).collect();
        let wrong: String = wrong.chars().take(SHOWN_MAX).collect();
        let after: String = after.chars().take(SHOWN_MAX).collect();
        let cut = if skipped > 0 { "…" } else { "" };
        let (before, wrong) = (line(&before), line(&wrong));
        writeln!(f, "  {cut}{before}{wrong}{}", line(&after))?;
        let indent = cut.chars().count() + before.chars().count();
        let carets = wrong.chars().count().max(1);
        write!(f, "  {}{}", " ".repeat(indent), "^".repeat(carets))?;
        match &self.advice {
            Some(advice) => write!(f, " {}", line(advice)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FilterError {}
