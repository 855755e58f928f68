//! The parser: by hand, one character after the other, so that every mistake has its place.

use std::ops::Range;

use super::field::{self, Values};
use super::time::Now;
use super::value::{between, id, moment_text};
use super::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, Field, Filter, FilterError, Term, Test, Word};
use crate::expr::Expression;
use crate::text::nearest;

/// How large a compiled regular expression may be: it is linear in time, not in memory.
const REGEX_BYTES_MAX: usize = 256 * 1024;

impl Filter {
    /// Reads `text`; relative times are relative to `at`.
    ///
    /// # Errors
    ///
    /// With the place of the first mistake and what to type instead. An unknown field or a value that
    /// its field cannot have is one: no mistake ends in an empty result.
    pub fn parse(text: &str, at: &Now) -> Result<Self, FilterError> {
        let mut parser = Parser { text, at: 0, depth: 0, now: at };
        if FILTER_BYTES_MAX < text.len() {
            let cut: String = text.chars().take(40).collect();
            let span = 0..cut.len();
            let message = "the filter is longer than 4 KiB".to_owned();
            return Err(FilterError { text: cut, span, message, advice: None });
        }
        parser.skip_spaces();
        if parser.rest().is_empty() {
            return Ok(Self::All);
        }
        let filter = parser.any_of()?;
        match parser.peek() {
            None => Ok(filter),
            Some(_) => Err(parser.wrong(parser.at..parser.at + 1, "a `)` without its `(`", None)),
        }
    }
}

pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    pub(super) now: &'t Now,
}

/// A value as it was written.
pub(super) struct Value {
    pub(super) text: String,
    pub(super) is_quoted: bool,
    pub(super) span: Range<usize>,
}

pub(super) type Parsed<T> = Result<T, FilterError>;

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    pub(super) fn wrong(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        advice: Option<String>,
    ) -> FilterError {
        FilterError { text: self.text.to_owned(), span, message: message.into(), advice }
    }

    /// The word `keyword`, in any case, if it stands here by itself.
    fn keyword(&mut self, keyword: &str) -> bool {
        let rest = self.rest();
        let fits = rest.get(..keyword.len()).is_some_and(|w| w.eq_ignore_ascii_case(keyword));
        let next = rest.get(keyword.len()..).and_then(|r| r.chars().next());
        let is_whole = next.is_none_or(|c| c.is_whitespace() || c == '(' || c == ')');
        if fits && is_whole {
            self.at += keyword.len();
            self.skip_spaces();
        }
        fits && is_whole
    }

    /// One level deeper, for the length of `inner`.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if FILTER_DEPTH_MAX < self.depth {
            return Err(self.wrong(self.at..self.at + 1, "the filter nests deeper than 64", None));
        }
        let value = inner(self);
        self.depth -= 1;
        value
    }

    fn any_of(&mut self) -> Parsed<Filter> {
        let mut parts = Vec::new();
        loop {
            parts.extend(self.all_of()?.into_parts(false));
            if !self.keyword("or") {
                break;
            }
        }
        Ok(one_or(parts, Filter::Or))
    }

    fn all_of(&mut self) -> Parsed<Filter> {
        let mut parts = Vec::new();
        loop {
            parts.extend(self.unary()?.into_parts(true));
            let is_next = self.keyword("and");
            let here = self.at;
            let ends = self.peek().is_none_or(|c| c == ')') || self.keyword("or");
            self.at = here;
            if ends && !is_next {
                break;
            }
        }
        Ok(one_or(parts, Filter::And))
    }

    fn unary(&mut self) -> Parsed<Filter> {
        if self.keyword("not") {
            let inner = self.nested(Self::unary)?;
            return Ok(Filter::Not(Box::new(inner)));
        }
        let filter = match self.peek() {
            Some('(') => self.group()?,
            Some(_) => Filter::Term(self.term()?),
            None => {
                let span = self.text.trim_end().len()..self.text.len();
                return Err(self.wrong(span, "a term is missing at the end", None));
            }
        };
        self.skip_spaces();
        Ok(filter)
    }

    fn group(&mut self) -> Parsed<Filter> {
        let open = self.at;
        self.at += 1;
        self.skip_spaces();
        let inner = self.nested(Self::any_of)?;
        if self.peek() != Some(')') {
            return Err(self.wrong(open..open + 1, "a `(` without its `)`", None));
        }
        self.at += 1;
        Ok(inner)
    }

    fn term(&mut self) -> Parsed<Term> {
        let start = self.at;
        let rest = self.rest();
        let stops = |c: char| c.is_whitespace() || matches!(c, ':' | '(' | ')' | '"' | ',');
        let length = rest.find(stops).unwrap_or(rest.len());
        let name = &rest[..length];
        let span = start..start + length;
        if !rest[length..].starts_with(':') || name.is_empty() {
            return self.bare(name, span);
        }
        self.at = start + length + 1;
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        if is("since") || is("until") {
            return self.window(is("since"));
        }
        let Some((field, values)) = field::find(name) else {
            let near = nearest(name, field::names());
            let advice = near.map(|near| format!("did you mean '{near}'?"));
            return Err(self.wrong(span, format!("unknown field '{name}'"), advice));
        };
        let test = if values == Values::Where {
            self.expression()?
        } else if self.peek() == Some('~') {
            self.regex(&field, values)?
        } else {
            self.values(&field, values)?
        };
        Ok(Term { field, test })
    }

    /// A word without a field is an id, or a mistake.
    fn bare(&mut self, word: &str, span: Range<usize>) -> Parsed<Term> {
        if let Some(id) = id(word, &["evt", "tsk", "req", "rpl", "pln", "drf"]) {
            self.at = span.end;
            let words = vec![Word { text: id, is_wild: false }];
            return Ok(Term { field: Field::Id, test: Test::OneOf(words) });
        }
        if word.is_empty() {
            let span = self.at..self.at + self.peek().map_or(0, char::len_utf8);
            let advice = "write field:value".to_owned();
            return Err(self.wrong(span, "a term is missing here", Some(advice)));
        }
        let lower = word.to_ascii_lowercase();
        let of_status = field::statuses().find(|status| *status == lower);
        let of_field = field::names().find(|name| *name == lower);
        let advice = match (of_status, of_field) {
            (Some(status), _) => format!("did you mean 'status:{status}'?"),
            (None, Some(field)) => format!("did you mean '{field}:…'?"),
            (None, None) => "write field:value, or an id such as evt_01J9".to_owned(),
        };
        Err(self.wrong(span, format!("'{word}' is neither an id nor field:value"), Some(advice)))
    }

    /// `since:` and `until:`; the latter is exclusive.
    fn window(&mut self, is_since: bool) -> Parsed<Term> {
        let value = self.value()?;
        let moment = self.moment(&value)?;
        let (low, high) = if is_since { (Some(moment), None) } else { (None, Some(moment - 1)) };
        Ok(Term { field: Field::Received, test: between(low, high, moment_text) })
    }

    /// To the end of the text, unless it is in quotes.
    fn expression(&mut self) -> Parsed<Test> {
        let is_quoted = self.peek() == Some('"');
        let (text, start) = if is_quoted {
            let value = self.value()?;
            (value.text, value.span.start + 1)
        } else {
            let rest = self.rest();
            let start = self.text.len() - rest.trim_start().len();
            self.at = self.text.len();
            (rest.trim().to_owned(), start)
        };
        if let Err(e) = Expression::new(&text) {
            // Inside quotes an escape moves what follows it, so the place is only near.
            let end = (start + e.span.end).min(self.text.len());
            let span = (start + e.span.start).min(end)..end;
            let span = if self.text.get(span.clone()).is_some() { span } else { start..start };
            return Err(self.wrong(span, format!("where: {}", e.message), None));
        }
        Ok(Test::Holds(text))
    }

    fn regex(&mut self, field: &Field, values: Values) -> Parsed<Test> {
        let start = self.at;
        self.at += 1;
        if values != Values::Text {
            let message = format!("'{}' takes no regular expression", field.name());
            return Err(self.wrong(start..start + 1, message, None));
        }
        let value = if self.peek() == Some('"') { self.value()? } else { self.unquoted_regex() };
        if value.text.is_empty() {
            return Err(self.wrong(start..start + 1, "a regular expression is missing", None));
        }
        let built = regex::RegexBuilder::new(&value.text).size_limit(REGEX_BYTES_MAX).build();
        if let Err(e) = built {
            let told = e.to_string();
            let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("not a regular expression: {why}");
            return Err(self.wrong(value.span, message, None));
        }
        Ok(Test::Matches(value.text))
    }

    /// To the next space, or the bracket that closes the group around it.
    fn unquoted_regex(&mut self) -> Value {
        let (start, rest) = (self.at, self.rest());
        let mut open = 0_usize;
        let mut length = rest.len();
        for (at, c) in rest.char_indices() {
            match c {
                '(' => open += 1,
                ')' if open > 0 => open -= 1,
                ')' => length = at,
                c if c.is_whitespace() => length = at,
                _ => continue,
            }
            if length < rest.len() {
                break;
            }
        }
        self.at = start + length;
        Value { text: rest[..length].to_owned(), is_quoted: false, span: start..self.at }
    }

    fn values(&mut self, field: &Field, values: Values) -> Parsed<Test> {
        let mut words: Vec<Word> = Vec::new();
        loop {
            let value = self.value()?;
            if words.is_empty()
                && !value.is_quoted
                && let Some(range) = self.range(values, &value)?
            {
                return Ok(range);
            }
            for word in self.words(field, values, &value)? {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            if self.peek() != Some(',') {
                return Ok(Test::OneOf(words));
            }
            self.at += 1;
        }
    }

    fn value(&mut self) -> Parsed<Value> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let (start, rest) = (self.at, self.rest());
        let stops = |c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '"');
        let length = rest.find(stops).unwrap_or(rest.len());
        self.at = start + length;
        let span = start..self.at;
        if let Some(c @ ('(' | '"')) = self.peek() {
            let advice = "put the value in double quotes".to_owned();
            return Err(self.wrong(
                self.at..self.at + 1,
                format!("a '{c}' in a value"),
                Some(advice),
            ));
        }
        if length == 0 {
            let span = start..(start + 1).min(self.text.len());
            let span = if self.text.get(span.clone()).is_some() { span } else { start..start };
            return Err(self.wrong(span, "a value is missing", None));
        }
        Ok(Value { text: rest[..length].to_owned(), is_quoted: false, span })
    }

    fn quoted(&mut self) -> Parsed<Value> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match (c, chars.peek()) {
                ('"', _) => {
                    self.at = start + at + 1;
                    return Ok(Value { text, is_quoted: true, span: start..self.at });
                }
                ('\\', Some((_, next @ ('"' | '\\')))) => {
                    text.push(*next);
                    chars.next();
                }
                (c, _) => text.push(c),
            }
        }
        Err(self.wrong(start..start + 1, "a quote without its end", None))
    }
}

fn one_or(mut parts: Vec<Filter>, several: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        1 => parts.pop().unwrap_or(Filter::All),
        _ => several(parts),
    }
}
