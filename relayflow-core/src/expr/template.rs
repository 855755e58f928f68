//! Templates: a text for one place, in which what is inserted is escaped for that place.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::LazyLock;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::scope::{self, Bound, Needs, Scope};
use super::{ExprError, environment, scan};

/// The longest template, and the longest text that one gives, in bytes.
const TEMPLATE_BYTES_MAX: usize = 16 * 1024;
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
const NAME: &str = "template";

/// Everything but RFC 3986's unreserved characters: an inserted value stays one segment of a path,
/// or one value of a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Inserted values are percent-encoded.
    Url,
    /// CR, LF and NUL are refused.
    Header,
    /// As it is, without NUL: an argument of a command.
    Plain,
    Html,
}

/// A text with places that an event fills.
pub struct Template {
    text: String,
    /// The whole, or scheme and host (raw, under `dynamic_host`) and the rest.
    parts: Vec<Part>,
    needs: Needs,
}

struct Part {
    /// `None`: literal text, which is the common case for headers.
    compiled: Option<Environment<'static>>,
    text: String,
    /// Where it stands in the template's text.
    offset: usize,
    escape: Place,
}

/// [`Escape`], and the place of a host that input may form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Escaped(Escape),
    Host,
}

impl Template {
    /// Compiles `text` and checks what can be checked without an event.
    ///
    /// # Errors
    ///
    /// With the bytes of `text` that are wrong.
    pub fn new(text: &str, escape: Escape) -> Result<Self, ExprError> {
        Self::of_parts(text, &[(0..text.len(), Place::Escaped(escape))])
    }

    /// A text that is the same for every event and that nobody may see: braces in it are itself.
    ///
    /// # Errors
    ///
    /// What may not stand in its place.
    pub fn secret(secret: &str, escape: Escape) -> Result<Self, ExprError> {
        let escape = Place::Escaped(escape);
        let part = Part { compiled: None, text: secret.to_owned(), offset: 0, escape };
        part.check(secret).map_err(|m| ExprError::new(0..0, m))?;
        Ok(Self { text: "•••".to_owned(), parts: vec![part], needs: Needs::default() })
    }

    /// A URL whose scheme and host, too, may come from an event (`dynamic_host`): these are inserted
    /// as they are, whatever follows the host is percent-encoded.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn dynamic_url(text: &str) -> Result<Self, ExprError> {
        let end = host_end(text);
        Self::of_parts(
            text,
            &[(0..end, Place::Host), (end..text.len(), Place::Escaped(Escape::Url))],
        )
    }

    fn of_parts(text: &str, parts: &[(std::ops::Range<usize>, Place)]) -> Result<Self, ExprError> {
        if TEMPLATE_BYTES_MAX < text.len() {
            return Err(ExprError::new(0..0, "is longer than 16 KiB"));
        }
        scan::check(text, scan::Syntax::Template)?;
        let mut names = std::collections::HashSet::new();
        let mut compiled = Vec::with_capacity(parts.len());
        for (range, escape) in parts.iter().filter(|(range, _)| !range.is_empty()) {
            let part = Part::new(&text[range.clone()], range.start, *escape)?;
            names.extend(part.names());
            compiled.push(part);
        }
        let needs = Needs::of(&names, text)?;
        Ok(Self { text: text.to_owned(), parts: compiled, needs })
    }

    /// The text for one event.
    ///
    /// # Errors
    ///
    /// What an expression's evaluation can meet, a value that is null or no text or number, and what
    /// may not stand in this place.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, ExprError> {
        self.render_in(&Bound::new(*scope))
    }

    /// The same, sharing what other expressions over the same event have read already.
    ///
    /// # Errors
    ///
    /// As [`Self::render`].
    pub fn render_in(&self, bound: &Bound<'_>) -> Result<String, ExprError> {
        let mut out = String::with_capacity(self.text.len() + 64);
        for part in &self.parts {
            part.render(bound, self.needs, &mut out)?;
        }
        let is_url = |p: &Part| p.compiled.is_some() && p.escape == Place::Escaped(Escape::Url);
        if self.parts.iter().any(is_url) {
            refuse_dot_segments(&out).map_err(|m| ExprError::new(0..self.text.len(), m))?;
        }
        Ok(out)
    }

    /// Whether it is the same for every event.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.parts.iter().all(|part| part.compiled.is_none())
    }

    /// Whether nobody may see what it gives.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.is_static() && self.parts.iter().all(|part| part.text != self.text)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether rendering it may parse the payload.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.needs.payload()
    }

    /// The names that it looks at, as far as they are written out: `event.payload.data.id`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.parts.iter().flat_map(Part::names).collect()
    }

    /// The steps whose responses it looks at; `None` if it may look at any.
    #[must_use]
    pub fn reads_steps(&self) -> Option<Vec<String>> {
        scope::steps_of(&self.parts.iter().flat_map(Part::names).collect())
    }
}

impl Part {
    fn new(text: &str, offset: usize, escape: Place) -> Result<Self, ExprError> {
        let is_literal = ["{{", "{%", "{#"].iter().all(|open| !text.contains(open));
        let compiled = if is_literal {
            None
        } else {
            let mut env = base(escape).clone();
            env.add_template_owned(NAME, text.to_owned())
                .map_err(|e| shifted(ExprError::from_engine(&e, text), offset))?;
            Some(env)
        };
        let part = Self { compiled, text: text.to_owned(), offset, escape };
        if is_literal {
            part.check(text).map_err(|m| ExprError::new(offset..offset + text.len(), m))?;
        }
        Ok(part)
    }

    fn names(&self) -> std::collections::HashSet<String> {
        let template = self.compiled.as_ref().and_then(|env| env.get_template(NAME).ok());
        template.map(|t| t.undeclared_variables(true)).unwrap_or_default()
    }

    fn render(&self, bound: &Bound<'_>, needs: Needs, out: &mut String) -> Result<(), ExprError> {
        let Some(env) = &self.compiled else {
            out.push_str(&self.text);
            return Ok(());
        };
        let whole = |m: String| ExprError::new(self.offset..self.offset + self.text.len(), m);
        let mut written = Capped(Vec::with_capacity(self.text.len() + 64));
        let done = env
            .get_template(NAME)
            .and_then(|t| t.render_captured_to(bound.context(needs), &mut written).map(drop));
        if let Err(e) = done {
            return Err(if e.kind() == ErrorKind::WriteFailure {
                whole("gives more than 1 MiB".to_owned())
            } else {
                shifted(ExprError::from_engine(&e, &self.text), self.offset)
            });
        }
        let text = String::from_utf8(written.0).map_err(|e| whole(e.to_string()))?;
        self.check(&text).map_err(whole)?;
        out.push_str(&text);
        Ok(())
    }

    /// What may not stand in this place, wherever it came from.
    fn check(&self, text: &str) -> Result<(), String> {
        let refused: fn(char) -> bool = match self.escape {
            Place::Escaped(Escape::Header) => |c| c.is_control() && c != '\t',
            Place::Escaped(Escape::Plain | Escape::Html) => |c| c == '\0',
            Place::Escaped(Escape::Url) => |c| c.is_control() || c.is_whitespace(),
            Place::Host => |c| c.is_control() || c.is_whitespace() || c == '\\',
        };
        match text.chars().find(|c| refused(*c)) {
            Some(c) => Err(format!("the character {c:?} may not stand here")),
            None => Ok(()),
        }
    }
}

fn shifted(error: ExprError, by: usize) -> ExprError {
    ExprError { span: error.span.start + by..error.span.end + by, message: error.message }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

/// Where scheme and host end in a URL template: at the first `/`, `?` or `#` behind `://` that no
/// braces hold, or, where the scheme itself is inserted, the first behind the insertion.
pub(crate) fn host_end(text: &str) -> usize {
    let from = text.find("://").filter(|at| !text[..*at].contains('{')).map_or(0, |at| at + 3);
    let mut at = from;
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with("{{") || text[at..].starts_with("{%") {
            let close = if text[at..].starts_with("{{") { "}}" } else { "%}" };
            let Some(length) = text[at..].find(close) else { return text.len() };
            at += length + 2;
            continue;
        }
        let starts_scheme = text[at..].starts_with("://") && from == 0;
        if starts_scheme {
            at += 3;
            continue;
        }
        if matches!(c, '/' | '?' | '#') {
            return at;
        }
        at += c.len_utf8();
    }
    text.len()
}

/// `.` and `..` as segments of a path would lead to another path than the one that was written.
fn refuse_dot_segments(url: &str) -> Result<(), String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let is_dots = |segment: &str| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    };
    match path.split('/').find(|segment| is_dots(segment)) {
        Some(segment) => Err(format!("`{segment}` may not be a segment of a path")),
        None => Ok(()),
    }
}

/// The environment of a place, without a template.
fn base(place: Place) -> &'static Environment<'static> {
    static URL: LazyLock<Environment<'static>> = LazyLock::new(|| {
        let mut env = formatting(|out, text| {
            utf8_percent_encode(text, RESERVED).try_for_each(|piece| out.write_str(piece))
        });
        // Everything inserted is encoded already: a second time would be wrong.
        env.add_filter("urlencode", |value: Value| value);
        env
    });
    static HTML: LazyLock<Environment<'static>> = LazyLock::new(|| formatting(write_html));
    static RAW: LazyLock<Environment<'static>> =
        LazyLock::new(|| formatting(|out, text| out.write_str(text)));
    match place {
        Place::Escaped(Escape::Url) => &URL,
        Place::Escaped(Escape::Html) => &HTML,
        Place::Escaped(Escape::Header | Escape::Plain) | Place::Host => &RAW,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "minijinja's list is open")]
fn formatting(write: fn(&mut Output<'_>, &str) -> fmt::Result) -> Environment<'static> {
    let mut env = environment();
    env.set_formatter(move |out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value| {
        let owned;
        let text = match value.kind() {
            ValueKind::String => value.as_str().unwrap_or_default(),
            ValueKind::Number => {
                owned = value.to_string();
                &owned
            }
            // As JSON has them, not as Python does.
            ValueKind::Bool => {
                if value.is_true() {
                    "true"
                } else {
                    "false"
                }
            }
            ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
            ValueKind::None => {
                return Err(refused("null: `default('…', true)` gives a text for it"));
            }
            kind => return Err(refused(&format!("a {kind}: `tojson` makes a text of it"))),
        };
        write(out, text).map_err(|_| Error::new(ErrorKind::WriteFailure, "the text is too long"))
    });
    env
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("what is inserted here is {what}"))
}

fn write_html(out: &mut Output<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '&' => out.write_str("&amp;"),
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        c => out.write_char(c),
    })
}

/// Takes [`OUTPUT_BYTES_MAX`] and no more.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if OUTPUT_BYTES_MAX < self.0.len() + bytes.len() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
