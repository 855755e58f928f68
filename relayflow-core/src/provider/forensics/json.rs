//! JSON as other encoders write it: the same values, other bytes. Numbers keep their text, and members
//! their order unless they are sorted.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use serde_json::value::RawValue;

use crate::members::Members;
use crate::provider::extract::is_too_deep;

/// A larger body is not written anew: too much would have to be hashed.
pub(super) const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Orders, escapes, shapes and ends of a text, all with all.
#[cfg(test)]
pub(super) const FORMS_MAX: usize = 2 * ESCAPES.len() * (SHAPES.len() + 1) * 2;

/// A value, its scalars as they are written.
enum Node<'j> {
    Bare(&'j str),
    Text(Text<'j>),
    List(Vec<Node<'j>>),
    Object(Vec<(Text<'j>, Node<'j>)>),
}

struct Text<'j> {
    written: &'j str,
    says: String,
}

/// How white space stands.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Behind a comma, where nothing is indented.
    gap: &'static str,
    colon: &'static str,
    indent: Option<&'static str>,
    /// An empty list or object.
    inside: &'static str,
}

const SHAPES: [Shape; 6] = [
    Shape { name: "compact", gap: "", colon: ":", indent: None, inside: "" },
    Shape { name: "indented by two", gap: "", colon: ": ", indent: Some("  "), inside: "" },
    Shape { name: "spaced", gap: " ", colon: ": ", indent: None, inside: "" },
    Shape { name: "indented by four", gap: "", colon: ": ", indent: Some("    "), inside: "" },
    Shape { name: "indented by tabs", gap: "", colon: ": ", indent: Some("\t"), inside: "" },
    Shape { name: "indented, `a : b`", gap: "", colon: " : ", indent: Some("  "), inside: " " },
];

/// What an encoder escapes beside what it must.
#[derive(Clone, Copy, PartialEq)]
enum Escape {
    AsWritten,
    Least,
    /// All that is not ASCII.
    Ascii,
    /// The same, and `/`.
    AsciiAndSlash,
    Slash,
    /// `<`, `>`, `&`, U+2028 and U+2029.
    Html,
    /// The same, `=` and `'`.
    HtmlAndQuote,
    /// All that is not ASCII or may mean something in HTML, digits in capitals.
    Capital,
}

const ESCAPES: [(Escape, &str); 8] = [
    (Escape::AsWritten, ""),
    (Escape::Least, "nothing escaped that need not be"),
    (Escape::Ascii, "`\\u00e9` for what is not ASCII"),
    (Escape::AsciiAndSlash, "`\\u00e9` for what is not ASCII, and `\\/`"),
    (Escape::Slash, "`\\/` for `/`"),
    (Escape::Html, "`\\u003c` for `<`"),
    (Escape::HtmlAndQuote, "`\\u003c` for `<`, and `\\u003d` for `=`"),
    (Escape::Capital, "`\\u00E9` in capitals"),
];

/// Calls `fresh` with each form of a JSON body, the likeliest first.
pub(super) fn forms(
    body: &[u8],
    fresh: &mut dyn FnMut(String, Vec<u8>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(text) = std::str::from_utf8(body).ok().filter(|text| text.len() <= BYTES_MAX) else {
        return ControlFlow::Continue(());
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    let is_json = text.starts_with(['{', '[']) && !is_too_deep(text);
    let Some(mut node) = is_json.then(|| Node::read(text)).flatten() else {
        return ControlFlow::Continue(());
    };
    for is_sorted in [false, true] {
        if is_sorted {
            node.sort();
        }
        for (escape, how) in ESCAPES {
            if !is_sorted && escape != Escape::AsWritten {
                let bytes = rewritten(text, escape).into_bytes();
                with_ends(
                    format!("JSON was escaped in another way; signed was {how}"),
                    bytes,
                    fresh,
                )?;
            }
            for shape in SHAPES {
                let mut out = String::with_capacity(text.len() + text.len() / 2);
                node.write(&mut out, shape, escape, 0);
                let order = if is_sorted { ", its members in another order" } else { "" };
                let how = if how.is_empty() { String::new() } else { format!(", {how}") };
                let altered =
                    format!("JSON was written anew{order}; signed was JSON {}{how}", shape.name);
                with_ends(altered, out.into_bytes(), fresh)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// The same text without and with a line end.
fn with_ends(
    altered: String,
    mut bytes: Vec<u8>,
    fresh: &mut dyn FnMut(String, Vec<u8>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    fresh(altered.clone(), bytes.clone())?;
    bytes.push(b'\n');
    fresh(format!("{altered}, with a line end"), bytes)
}

impl<'j> Node<'j> {
    fn read(json: &'j str) -> Option<Self> {
        let json = json.trim();
        Some(match json.as_bytes().first()? {
            b'{' => {
                let members: Members<&'j RawValue, &'j RawValue> =
                    serde_json::from_str(json).ok()?;
                let members = members
                    .0
                    .into_iter()
                    .map(|(name, value)| Some((Text::read(name.get())?, Self::read(value.get())?)));
                Self::Object(members.collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&'j RawValue> = serde_json::from_str(json).ok()?;
                Self::List(items.iter().map(|item| Self::read(item.get())).collect::<Option<_>>()?)
            }
            b'"' => Self::Text(Text::read(json)?),
            _ => {
                serde_json::from_str::<&RawValue>(json).ok()?;
                Self::Bare(json)
            }
        })
    }

    fn sort(&mut self) {
        match self {
            Self::Bare(_) | Self::Text(_) => {}
            Self::List(items) => items.iter_mut().for_each(Self::sort),
            Self::Object(members) => {
                members.iter_mut().for_each(|(_, value)| value.sort());
                members.sort_by(|(a, _), (b, _)| a.says.cmp(&b.says));
            }
        }
    }

    fn write(&self, out: &mut String, shape: Shape, escape: Escape, depth: usize) {
        match self {
            Self::Bare(text) => out.push_str(text),
            Self::Text(text) => text.write(out, escape),
            Self::List(items) => {
                shape.around(out, ('[', ']'), depth, items, |out, item| {
                    item.write(out, shape, escape, depth + 1);
                });
            }
            Self::Object(members) => {
                shape.around(out, ('{', '}'), depth, members, |out, (name, value)| {
                    name.write(out, escape);
                    out.push_str(shape.colon);
                    value.write(out, shape, escape, depth + 1);
                });
            }
        }
    }
}

impl Shape {
    fn around<T>(
        self,
        out: &mut String,
        (open, close): (char, char),
        depth: usize,
        items: &[T],
        mut write: impl FnMut(&mut String, &T),
    ) {
        out.push(open);
        if items.is_empty() {
            out.push_str(self.inside);
        }
        for (place, item) in items.iter().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            match self.indent {
                Some(indent) => self.line(out, indent, depth + 1),
                None if 0 < place => out.push_str(self.gap),
                None => {}
            }
            write(out, item);
        }
        if let Some(indent) = self.indent.filter(|_| !items.is_empty()) {
            self.line(out, indent, depth);
        }
        out.push(close);
    }

    #[expect(clippy::unused_self, reason = "a line is a part of a shape")]
    fn line(self, out: &mut String, indent: &str, depth: usize) {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(indent));
    }
}

impl<'j> Text<'j> {
    fn read(written: &'j str) -> Option<Self> {
        Some(Self { written, says: serde_json::from_str(written).ok()? })
    }

    fn write(&self, out: &mut String, escape: Escape) {
        if escape == Escape::AsWritten {
            out.push_str(self.written);
        } else {
            escape.write(out, &self.says);
        }
    }
}

impl Escape {
    fn write(self, out: &mut String, says: &str) {
        out.push('"');
        for c in says.chars() {
            match c {
                '"' if self != Self::Capital => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '/' if matches!(self, Self::AsciiAndSlash | Self::Slash) => out.push_str("\\/"),
                c if c < ' ' || self.escapes(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let written = if self == Self::Capital {
                            write!(out, "\\u{unit:04X}")
                        } else {
                            write!(out, "\\u{unit:04x}")
                        };
                        written.expect("a String takes any text");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }

    fn escapes(self, c: char) -> bool {
        let is_html = matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        match self {
            Self::AsWritten | Self::Least | Self::Slash => false,
            Self::Ascii | Self::AsciiAndSlash => !c.is_ascii(),
            Self::Html => is_html,
            Self::HtmlAndQuote => is_html || matches!(c, '=' | '\''),
            Self::Capital => !c.is_ascii() || is_html || matches!(c, '"' | '\'' | '+' | '`'),
        }
    }
}

/// The text with its strings escaped in another way, and nothing else changed.
fn rewritten(json: &str, escape: Escape) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        out.push_str(&rest[..open]);
        let end = text_end(&rest[open..]);
        let written = &rest[open..open + end];
        match serde_json::from_str::<String>(written) {
            Ok(says) => escape.write(&mut out, &says),
            Err(_) => out.push_str(written),
        }
        rest = &rest[open + end..];
    }
    out.push_str(rest);
    out
}

/// Where the string ends that `json` begins with.
fn text_end(json: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_members_keep_their_text_and_order() {
        let text = r#"{"b":1.10,"a":[1e400,{}],"c":"\u00e9\/"}"#;
        let mut node = Node::read(text).unwrap();
        let written = |node: &Node<'_>, shape: usize, escape| {
            let mut out = String::new();
            node.write(&mut out, SHAPES[shape], escape, 0);
            out
        };
        assert_eq!(written(&node, 0, Escape::AsWritten), text);
        assert_eq!(written(&node, 0, Escape::Least), r#"{"b":1.10,"a":[1e400,{}],"c":"é/"}"#);
        assert_eq!(
            written(&node, 2, Escape::Capital),
            r#"{"b": 1.10, "a": [1e400, {}], "c": "\u00E9/"}"#
        );
        node.sort();
        assert_eq!(
            written(&node, 1, Escape::AsciiAndSlash),
            "{\n  \"a\": [\n    1e400,\n    {}\n  ],\n  \"b\": 1.10,\n  \"c\": \"\\u00e9\\/\"\n}"
        );
    }

    #[test]
    fn strings_are_escaped_anew_where_they_stand() {
        let text = "{ \"a\" : \"x/\u{e9}\\\"\" }";
        assert_eq!(rewritten(text, Escape::AsciiAndSlash), r#"{ "a" : "x\/\u00e9\"" }"#);
        assert_eq!(rewritten("\"open", Escape::Least), "\"open");
    }
}
