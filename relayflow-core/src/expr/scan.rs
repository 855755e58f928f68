//! A first look at a text, before the parser: its parser recurses over chains and brackets, and a
//! text that nests or chains without end would end the process. Filters and tests are looked up
//! here too, since the engine would miss them only when an event comes.

use super::ExprError;
use crate::text::nearest;

/// Which of the two languages a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Expression,
    /// Expressions only between `{{ }}` and `{% %}`.
    Template,
}

/// How deep brackets may nest.
const NESTING_MAX: usize = 64;
/// How many tokens may stand in a row, without a comma or inside one: half of what overflows a
/// 2 MiB stack in a debug build.
const CHAIN_MAX: usize = 500;
/// How many `{% %}` a template may have.
const TAGS_MAX: usize = 128;

const FILTERS: &[&str] = &[
    "escape",
    "e",
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "length",
    "count",
    "dictsort",
    "items",
    "reverse",
    "trim",
    "join",
    "split",
    "lines",
    "default",
    "d",
    "round",
    "abs",
    "int",
    "float",
    "attr",
    "first",
    "last",
    "min",
    "max",
    "sort",
    "list",
    "string",
    "bool",
    "batch",
    "slice",
    "sum",
    "indent",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "map",
    "groupby",
    "unique",
    "chain",
    "zip",
    "format",
    "tojson",
    "urlencode",
];

const TESTS: &[&str] = &[
    "undefined",
    "defined",
    "none",
    "boolean",
    "odd",
    "even",
    "divisibleby",
    "number",
    "integer",
    "int",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "startingwith",
    "endingwith",
    "lower",
    "upper",
    "sameas",
    "eq",
    "equalto",
    "ne",
    "lt",
    "lessthan",
    "le",
    "gt",
    "greaterthan",
    "ge",
    "in",
    "true",
    "false",
];

/// Refuses what nests or chains too far, and unknown filters.
pub(super) fn check(text: &str, syntax: Syntax) -> Result<(), ExprError> {
    match syntax {
        Syntax::Expression => check_part(text, 0..text.len()),
        Syntax::Template => check_template(text),
    }
}

fn check_template(text: &str) -> Result<(), ExprError> {
    let (mut at, mut tags) = (0, 0);
    while let Some(start) = text[at..].find('{').map(|i| at + i) {
        let close = match text.as_bytes().get(start + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                at = start + 1;
                continue;
            }
        };
        let inner = start + 2;
        let end = if close == "#}" {
            text[inner..].find(close).map_or(text.len(), |i| inner + i)
        } else {
            end_of(text, inner, close)
        };
        if close == "%}" {
            tags += 1;
            if TAGS_MAX < tags {
                return Err(ExprError::new(start..start + 2, "has more than 128 tags"));
            }
        }
        if close != "#}" {
            check_part(text, inner..end)?;
        }
        at = (end + 2).min(text.len());
        // `end` may be the end of the text, and `at` must be a boundary.
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    Ok(())
}

/// Where `close` stands after `from`, outside of quotes; else the end.
fn end_of(text: &str, from: usize, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (i, c) in text[from..].char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[from + i..].starts_with(close) => return from + i,
            None => {}
        }
    }
    text.len()
}

fn check_part(text: &str, part: std::ops::Range<usize>) -> Result<(), ExprError> {
    let mut chains = vec![0_usize];
    // What the last token makes of a word behind it.
    let mut wanted: Option<(&str, &[&str])> = None;
    let tokens = Tokens { text, at: part.start, end: part.end };
    for token in tokens {
        let shown = &text[token.clone()];
        // `is not defined` asks for a test as `is defined` does.
        if shown == "not" && wanted.is_some_and(|(what, _)| what == "test") {
            continue;
        }
        let is_word = shown.starts_with(|c: char| c.is_alphabetic());
        if let Some((what, known)) = wanted.filter(|(_, known)| is_word && !known.contains(&shown))
        {
            return Err(unknown(token, what, shown, known));
        }
        wanted = match shown {
            "|" => Some(("filter", FILTERS)),
            // Behind a dot it is a member's name.
            "is" if !text[..token.start].ends_with('.') => Some(("test", TESTS)),
            _ => None,
        };
        match shown {
            "," => *top(&mut chains) = 0,
            "(" | "[" | "{" => {
                *top(&mut chains) += 1;
                chains.push(0);
            }
            ")" | "]" | "}" if chains.len() > 1 => {
                chains.pop();
            }
            _ => *top(&mut chains) += 1,
        }
        if NESTING_MAX < chains.len() {
            return Err(ExprError::new(token, "nests deeper than 64"));
        }
        if CHAIN_MAX < chains.iter().sum() {
            return Err(ExprError::new(token, "is too long a chain"));
        }
    }
    Ok(())
}

fn unknown(span: std::ops::Range<usize>, what: &str, name: &str, known: &[&str]) -> ExprError {
    let advice = nearest(name, known.iter().copied())
        .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
    ExprError::new(span, format!("unknown {what} `{name}`{advice}"))
}

fn top(chains: &mut [usize]) -> &mut usize {
    chains.last_mut().expect("the outermost chain is never popped")
}

/// Words, numbers, quoted texts, and every other character by itself.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
    end: usize,
}

impl Iterator for Tokens<'_> {
    type Item = std::ops::Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..self.end)?;
        let skipped = rest.len() - rest.trim_start().len();
        let start = self.at + skipped;
        let rest = &rest[skipped..];
        let first = rest.chars().next()?;
        let length = if first == '"' || first == '\'' {
            quoted_length(rest, first)
        } else if first == '_' || first.is_alphanumeric() {
            rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        self.at = start + length.max(1);
        Some(start..self.at)
    }
}

/// The length of the quoted text that `text` begins with, quotes included; all of it if it has no
/// end.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}
