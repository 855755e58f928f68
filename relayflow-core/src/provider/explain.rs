//! Mistakes in files that a person wrote for a provider, told so that they can be mended: what was
//! wanted, in the line as it was written, and what was probably meant.

use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::Flaw;
use crate::diagnostic::Diagnostic;
use crate::text::nearest;

/// So many keys that do not exist are told of at once.
const UNKNOWN_MAX: usize = 50;

/// Reads a file with one table.
///
/// # Errors
///
/// The first mistake, with its place.
pub(super) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostic> {
    toml::from_str(text).map_err(|error| diagnostic(file, text, text, flaw(&error)))
}

/// Reads a file, and goes on behind keys that do not exist: `None` beside a mistake of another sort.
pub(super) fn read_all<T: DeserializeOwned>(text: &str) -> (Option<T>, Vec<Flaw>) {
    if let Ok(read) = toml::from_str(text) {
        return (Some(read), Vec::new());
    }
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (None, errors.iter().map(flaw).collect());
    }
    let (span, mut tree) = (tree.span(), tree.into_inner());
    let mut flaws = Vec::new();
    loop {
        let whole = Spanned::new(span.clone(), tree.clone());
        let error = match T::deserialize(whole.into_deserializer()) {
            Ok(read) => return (Some(read), flaws),
            Err(error) => error,
        };
        let is_unknown = error.message().starts_with("unknown field");
        let flaw = flaw(&error);
        // What is missing because its name is misspelt has been told of.
        let is_told = flaws.iter().any(|f: &Flaw| meant(&f.message) == missing(&flaw.message));
        if !is_told || missing(&flaw.message).is_none() {
            flaws.push(flaw);
        }
        let taken_out = is_unknown && error.span().is_some_and(|span| take_out(&mut tree, &span));
        if !taken_out || UNKNOWN_MAX <= flaws.len() {
            return (None, flaws);
        }
    }
}

/// Takes the key that stands at `span` out of the tree.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let key = table.keys().find(|key| key.span() == *span).cloned();
    match key {
        Some(key) => table.remove(&key).is_some(),
        None => table.iter_mut().any(|(_, value)| take_out_of(value.get_mut(), span)),
    }
}

fn take_out_of(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => take_out(table, span),
        DeValue::Array(items) => items.iter_mut().any(|item| take_out_of(item.get_mut(), span)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}

fn flaw(error: &toml::de::Error) -> Flaw {
    Flaw { span: error.span().unwrap_or(0..0), message: plain(error.message()) }
}

/// A reader's message in the words of the other ones.
fn plain(message: &str) -> String {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(": ");
    let (what, wanted) = message.split_once(", expected ").unwrap_or((&message, ""));
    let words: Vec<&str> = quoted(wanted);
    let wanted = || match words.as_slice() {
        [] => String::new(),
        words => format!(": wanted {}", words.join(", ")),
    };
    let name = quoted(what).first().copied().unwrap_or_default();
    if what.starts_with("unknown field") {
        format!("there is no key `{name}` here{}", wanted())
    } else if what.starts_with("unknown variant") {
        format!("`{name}` is not known here{}", wanted())
    } else if what.starts_with("missing field") {
        format!("`{name}` is missing")
    } else if let Some(given) = what.strip_prefix("invalid type: ") {
        let expected = message.split_once(", expected ").map_or("", |(_, expected)| expected);
        format!("wanted {expected}, not {}", given.replace('`', ""))
    } else {
        message
    }
}

/// What stands in back quotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// A flaw as a person is told of it. `filled` is the text in which the settings are filled in, where
/// the span lies; what is shown is the text as written.
pub(super) fn diagnostic(file: &str, written: &str, filled: &str, flaw: Flaw) -> Diagnostic {
    let span = as_written(written, filled, flaw.span);
    let given = written.get(span.clone()).unwrap_or_default();
    let message = match flaw.message.as_str() {
        "duplicate key" => format!("`{given}` is there twice"),
        _ => flaw.message,
    };
    Diagnostic {
        file: file.to_owned(),
        text: written.to_owned(),
        span,
        fix: fix(&message, given),
        message,
        is_warning: false,
    }
}

/// The same place in the text before its settings were filled in. Filling in keeps the lines.
fn as_written(written: &str, filled: &str, span: Range<usize>) -> Range<usize> {
    if written == filled || (span.start == 0 && span.end == 0) {
        return span;
    }
    let before = filled.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count();
    let from_start = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    let (Some(old), Some(new)) = (written.split('\n').nth(line), filled.split('\n').nth(line))
    else {
        return 0..0;
    };
    let line_start: usize = written.split('\n').take(line).map(|l| l.len() + 1).sum();
    let same = |pairs: &mut dyn Iterator<Item = (char, char)>| {
        pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>()
    };
    let head = same(&mut old.chars().zip(new.chars()));
    let rest = old.len().min(new.len()) - head;
    let tail = same(&mut old.chars().rev().zip(new.chars().rev())).min(rest);
    let moved = |at: usize| {
        if at <= head {
            at
        } else if new.len() - at.min(new.len()) <= tail {
            old.len() - (new.len() - at.min(new.len()))
        } else {
            head
        }
    };
    let start = moved(from_start);
    let end = moved((from_start + span.len()).min(new.len())).max(start);
    line_start + start..line_start + end
}

/// What was probably meant, where the message says what was wanted.
fn meant(message: &str) -> Option<&str> {
    let (what, wanted) = message.split_once(": wanted ")?;
    let word = quoted(what).first().copied()?;
    let known = wanted.split(", ").map(|w| w.trim_matches('`'));
    nearest(word, known.filter(|w| !w.contains(' ')))
}

/// The name of what is missing.
fn missing(message: &str) -> Option<&str> {
    message.strip_suffix("` is missing")?.strip_prefix('`')
}

/// What to type instead.
fn fix(message: &str, given: &str) -> Option<String> {
    if let Some(meant) = meant(message) {
        return Some(format!("did you mean `{meant}`?"));
    }
    if let Some(name) = missing(message) {
        return Some(format!("add `{name} = …`{}", within(given)));
    }
    let word = quoted(message).first().copied()?;
    if word.contains('/') && !word.starts_with(['/', '^']) && message.contains("is no place") {
        return Some(format!("did you mean `/{word}`?"));
    }
    None
}

/// The table in which something is missing, if its head is what is shown.
fn within(given: &str) -> String {
    let head = given.lines().next().unwrap_or_default().trim();
    if head.starts_with('[') && head.ends_with(']') {
        format!(" below {head}")
    } else {
        String::new()
    }
}
