//! A mistake in a file that a person wrote: what, where, and what to do.

use std::fmt;
use std::ops::Range;

/// One mistake in a configuration or provider file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the person names it; `<built-in>` for what is compiled in.
    pub file: String,
    /// The file's whole text, so that the line can be shown.
    pub text: String,
    /// Bytes of `text` that are wrong.
    pub span: Range<usize>,
    /// A lowercase fragment: what is wrong, quoting it.
    pub message: String,
    /// What to type instead, where that is known.
    pub fix: Option<String>,
    /// A warning leaves the file in force.
    pub is_warning: bool,
}

impl Diagnostic {
    /// Line and column of the first wrong byte, from 1; columns count characters.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.span.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: message`, the line, a caret below, and the fix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        let level = if self.is_warning { "warning" } else { "error" };
        writeln!(f, "{level}: {}", crate::text::line(&self.message))?;
        writeln!(f, "  {}:{line}:{column}", crate::text::line(&self.file))?;
        let shown = self.text.lines().nth(line - 1).unwrap_or_default();
        let length = self.text.get(self.span.clone()).map_or(1, |wrong| {
            wrong.lines().next().map_or(1, |first| first.chars().count().max(1))
        });
        writeln!(f, "  {}", crate::text::line(&shown.replace('\t', " ")))?;
        write!(f, "  {}{}", " ".repeat(column - 1), "^".repeat(length))?;
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {}", crate::text::line(fix))?;
        }
        Ok(())
    }
}
