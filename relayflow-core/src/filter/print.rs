//! A filter as text that reads back as the same filter.

use std::fmt::{self, Display as _, Write as _};

use super::{Field, Filter, Term, Test, Word};

impl fmt::Display for Filter {
    /// One line, in the words of the language; the empty filter is the empty text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Or(parts) => list(f, parts, " or ", |_| false),
            Self::And(parts) => list(f, parts, " ", |part| matches!(part, Self::Or(_))),
            Self::Not(inner) => {
                f.write_str("not ")?;
                grouped(f, inner, matches!(**inner, Self::And(_) | Self::Or(_)))
            }
            Self::Term(term) => term.fmt(f),
        }
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    parts: &[Filter],
    between: &str,
    needs_group: fn(&Filter) -> bool,
) -> fmt::Result {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            f.write_str(between)?;
        }
        grouped(f, part, needs_group(part))?;
    }
    Ok(())
}

fn grouped(f: &mut fmt::Formatter<'_>, part: &Filter, is_group: bool) -> fmt::Result {
    if is_group { write!(f, "({part})") } else { part.fmt(f) }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.name();
        match (&self.field, &self.test) {
            (Field::Id, Test::OneOf(words)) if words.len() == 1 => f.write_str(&words[0].text),
            (_, Test::OneOf(words)) => {
                write!(f, "{field}:")?;
                for (number, word) in words.iter().enumerate() {
                    write!(f, "{}{word}", if number > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            (Field::Received, Test::Between { low: Some(_), high: None, shown }) => {
                write!(f, "since:{}", shown.trim_end_matches(".."))
            }
            (_, Test::Between { shown, .. }) => write!(f, "{field}:{shown}"),
            (_, Test::Matches(regex)) => {
                write!(f, "{field}:~")?;
                quoted(f, regex)
            }
            (_, Test::Holds(expression)) => {
                write!(f, "{field}:")?;
                quoted(f, expression)
            }
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_special = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"' | '*');
        let is_plain =
            !self.text.is_empty() && !self.text.starts_with('~') && !self.text.contains(is_special);
        if self.is_wild || is_plain { f.write_str(&self.text) } else { quoted(f, &self.text) }
    }
}

/// In quotes, a backslash before `"` and before another backslash.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

/// A command line's TERMs as one text. An argument that starts with `where:` is one term whole, so
/// that its expression needs no quotes of the filter language.
#[must_use]
pub fn join<S: AsRef<str>>(arguments: &[S]) -> String {
    let one = |argument: &S| {
        let text = argument.as_ref();
        let head = text.get(..6).unwrap_or_default();
        match text.get(6..) {
            Some(rest) if head.eq_ignore_ascii_case("where:") && !rest.starts_with('"') => {
                let test = Test::Holds(rest.trim().to_owned());
                Term { field: Field::Where, test }.to_string()
            }
            _ => text.to_owned(),
        }
    };
    arguments.iter().map(one).collect::<Vec<_>>().join(" ")
}
