//! A body as the JSON text that definitions point into. What it is shows in its bytes: a content
//! type is not signed, and changes nothing.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::definition::Format;
use super::extract::is_too_deep;
use super::rules::Takes;
use super::{multipart, xml};
use crate::event::push_json;

/// A body, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opened<'r> {
    /// The body's own text without byte order mark and outer white space; it begins at `from`.
    Json { text: &'r str, from: usize },
    /// JSON that stands for something else.
    Converted(String),
}

impl Opened<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Json { text, .. } => text,
            Self::Converted(text) => text,
        }
    }
}

/// Why a body cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not UTF-8 from byte {at} on")]
    NotUtf8 { at: usize },
    #[error("the body nests deeper than {} levels", super::extract::DEPTH_MAX)]
    TooDeep,
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body is not XML that is taken: {0}")]
    NotXml(String),
    #[error("the body is no multipart form that is taken: {0}")]
    NotMultipart(String),
}

impl From<serde_json::Error> for BodyError {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson(error.to_string())
    }
}

/// Whether a body is a form, where a definition takes JSON and forms.
pub(super) fn looks_like_form(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    !matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Whether a body is XML, where a definition takes that.
pub(super) fn looks_like_xml(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.trim_ascii_start().first() == Some(&b'<')
}

/// Whether a body is, by its first byte, of `format`.
pub(super) fn looks_like(format: Format, body: &[u8]) -> bool {
    match format {
        Format::Xml => looks_like_xml(body),
        Format::Multipart => multipart::looks_like(body),
        Format::Form => {
            looks_like_form(body) && !looks_like_xml(body) && !multipart::looks_like(body)
        }
        Format::Json | Format::Ndjson => !looks_like_form(body),
    }
}

/// Opens a body. JSON is not parsed here, only told apart and measured.
pub(super) fn open<'r>(takes: &Takes, body: &'r [u8]) -> Result<Opened<'r>, BodyError> {
    if takes.multipart && multipart::looks_like(body) {
        // A file in it may be any bytes.
        return open_multipart(takes, body).map(Opened::Converted);
    }
    let whole =
        std::str::from_utf8(body).map_err(|e| BodyError::NotUtf8 { at: e.valid_up_to() })?;
    if takes.xml && looks_like_xml(body) {
        let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
        return xml::to_json(text).map(Opened::Converted).map_err(BodyError::NotXml);
    }
    if takes.form
        && (!takes.json || looks_like_form(body))
        && let Some(form) = open_form(takes, whole)?
    {
        return Ok(Opened::Converted(form));
    }
    let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if is_too_deep(text) {
        return Err(BodyError::TooDeep);
    }
    Ok(Opened::Json { text, from: offset(whole, text) })
}

/// A form as JSON; `None` if it lacks the field that it must have.
fn open_form(takes: &Takes, text: &str) -> Result<Option<String>, BodyError> {
    let text = text.trim_end_matches(['\r', '\n']);
    let fields = || form_urlencoded::parse(text.as_bytes());
    let json = takes.form_json.as_ref().and_then(|name| fields().find(|(n, _)| n == name));
    let Some((_, json)) = json else {
        let Some(name) = &takes.form_xml else {
            return Ok((!takes.form_json_only).then(|| as_object(fields())));
        };
        let mut object = as_object(fields());
        if let Some((_, text)) = fields().find(|(n, _)| n == name) {
            let document = xml::to_json(&decoded(&text)?).map_err(BodyError::NotXml)?;
            // `{…}` and `{"root":…}` become one.
            object.pop();
            object.push(',');
            object.push_str(document.get(1..).unwrap_or_default());
        }
        return Ok(Some(object));
    };
    if is_too_deep(&json) {
        return Err(BodyError::TooDeep);
    }
    Ok(Some(json.trim().to_owned()))
}

/// A multipart form as JSON. A file is told of, and stays in the request.
fn open_multipart(takes: &Takes, body: &[u8]) -> Result<String, BodyError> {
    let parts = multipart::parts(body).map_err(BodyError::NotMultipart)?;
    let text = |content: &'_ [u8]| match std::str::from_utf8(content) {
        Ok(text) => Ok(text.to_owned()),
        Err(e) => Err(BodyError::NotUtf8 { at: e.valid_up_to() }),
    };
    if let Some(name) = &takes.form_json {
        if let Some(part) = parts.iter().find(|part| part.name == **name) {
            let json = text(part.content)?;
            return if is_too_deep(&json) {
                Err(BodyError::TooDeep)
            } else {
                Ok(json.trim().to_owned())
            };
        }
        if takes.form_json_only {
            return Err(BodyError::NotMultipart(format!("it has no field `{name}`")));
        }
    }
    let mut fields = Vec::with_capacity(parts.len());
    for part in parts {
        let mut value = String::new();
        match &part.file {
            None => push_json(&mut value, &text(part.content)?),
            Some(file) => {
                value.push_str("{\"filename\":");
                push_json(&mut value, file);
                if let Some(content_type) = part.content_type {
                    value.push_str(",\"content_type\":");
                    push_json(&mut value, content_type);
                }
                value.push_str(&format!(",\"bytes\":{}}}", part.content.len()));
            }
        }
        fields.push((part.name, value));
    }
    Ok(object_of(fields.into_iter()))
}

/// Base 64 over several lines.
fn decoded(text: &str) -> Result<String, BodyError> {
    let bare: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(bare).map_err(|e| BodyError::NotXml(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| BodyError::NotUtf8 { at: e.utf8_error().valid_up_to() })
}

/// `text` in the form's field that holds XML.
pub(super) fn in_field(name: &str, text: &[u8]) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair(name, &STANDARD.encode(text)).finish().into_bytes()
}

/// A form's fields as a JSON object, in the order of their first appearance. Keys stay flat
/// (`contact[email]`); a field that is there several times is an array.
fn as_object<'f>(fields: impl Iterator<Item = (Cow<'f, str>, Cow<'f, str>)>) -> String {
    object_of(fields.map(|(name, text)| {
        let mut value = String::with_capacity(text.len() + 2);
        push_json(&mut value, &text);
        (name, value)
    }))
}

/// The same of fields whose values are JSON.
fn object_of<'f>(fields: impl Iterator<Item = (Cow<'f, str>, String)>) -> String {
    let mut places: HashMap<Cow<'f, str>, usize> = HashMap::new();
    let mut members: Vec<(Cow<'f, str>, Vec<String>)> = Vec::new();
    for (name, value) in fields {
        match places.get(&name) {
            Some(place) => members[*place].1.push(value),
            None => {
                places.insert(name.clone(), members.len());
                members.push((name, vec![value]));
            }
        }
    }
    let mut out = String::from("{");
    for (number, (name, values)) in members.iter().enumerate() {
        if 0 < number {
            out.push(',');
        }
        push_json(&mut out, name);
        out.push(':');
        match values.as_slice() {
            [only] => out.push_str(only),
            several => {
                for (number, value) in several.iter().enumerate() {
                    out.push(if number == 0 { '[' } else { ',' });
                    out.push_str(value);
                }
                out.push(']');
            }
        }
    }
    out.push('}');
    out
}

/// Where `part`, which was cut out of `whole`, begins in it.
pub(super) fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn takes(json: bool, form: bool, form_json: Option<&str>) -> Takes {
        Takes {
            json,
            ndjson: false,
            form,
            multipart: false,
            form_json: form_json.map(str::to_owned),
            form_json_only: false,
            form_xml: None,
            xml: false,
        }
    }

    #[test]
    fn a_byte_order_mark_and_a_line_end_are_not_part_of_the_event() {
        let opened = open(&takes(true, false, None), b"\xef\xbb\xbf{\"a\":1}\r\n");
        assert_eq!(opened, Ok(Opened::Json { text: "{\"a\":1}", from: 3 }));
    }

    #[test]
    fn a_form_is_an_object_of_its_fields() {
        let opened =
            open(&takes(true, true, Some("payload")), b"a=1&b%5Bc%5D=%C3%A9+x&a=2").unwrap();
        assert_eq!(opened.text(), r#"{"a":["1","2"],"b[c]":"\u00e9 x"}"#);
        let opened =
            open(&takes(true, true, Some("payload")), b"payload=%7B%22a%22%3A1%7D").unwrap();
        assert_eq!(opened.text(), r#"{"a":1}"#);
        let opened = open(&takes(true, true, Some("payload")), b"{\"payload\":1}").unwrap();
        assert!(matches!(opened, Opened::Json { .. }));
    }

    #[test]
    fn a_document_in_a_field_stands_beside_the_fields() {
        let takes = Takes { form_xml: Some("x".to_owned()), ..takes(false, true, None) };
        let opened = open(&takes, b"s=1&x=PGE%2BPGI%2B%0AMTwvYj48L2E%2B").unwrap();
        assert_eq!(opened.text(), r#"{"s":"1","x":"PGE+PGI+\nMTwvYj48L2E+","a":{"b":"1"}}"#);
        assert!(matches!(open(&takes, b"x=%25"), Err(BodyError::NotXml(_))));
        assert_eq!(
            open(&takes, &in_field("x", b"<a/>")).unwrap().text(),
            r#"{"x":"PGEvPg==","a":""}"#
        );
    }

    #[test]
    fn a_multipart_form_is_an_object_of_its_fields_and_files() {
        let takes = Takes { multipart: true, ..takes(false, false, Some("json")) };
        let part = |head: &str, text: &str| {
            format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{text}\r\n")
        };
        let of = |parts: &str| {
            open(&takes, format!("{parts}--b--").as_bytes()).map(|o| o.text().to_owned())
        };
        let file = b"--b\r\ncontent-disposition: form-data; name=f; filename=a.bin\r\n\r\n\x00\xff\r\r\n--b--";
        assert_eq!(open(&takes, file).unwrap().text(), r#"{"f":{"filename":"a.bin","bytes":3}}"#);
        let two = of(&(part("name=a", "1") + &part("name=a", "\"2") + &part("name=b", "")));
        assert_eq!(two.unwrap(), r#"{"a":["1","\"2"],"b":""}"#);
        assert_eq!(of(&part("name=json", " {\"a\":1}\n")).unwrap(), r#"{"a":1}"#);
        assert_eq!(of(&part("name=json", &"[".repeat(200))), Err(BodyError::TooDeep));
        assert!(matches!(of("--b\r\n"), Err(BodyError::NotMultipart(_))));
        let only = Takes { form_json_only: true, ..takes };
        let other = format!("{}--b--", part("name=a", "1"));
        assert!(matches!(open(&only, other.as_bytes()), Err(BodyError::NotMultipart(_))));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let both = takes(true, true, None);
        assert_eq!(open(&both, b"{\"a\":\"\xff\"}"), Err(BodyError::NotUtf8 { at: 6 }));
        assert_eq!(open(&both, "[".repeat(200).as_bytes()), Err(BodyError::TooDeep));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body: Vec<u8>, form: bool) {
            let _ = open(&takes(true, form, Some("payload")), &body);
            let multipart = Takes { multipart: true, ..takes(true, form, None) };
            let parts = [b"--b\r\ncontent-disposition: form-data; name=a\r\n\r\n", &*body, b"\r\n--b--"];
            if let Ok(opened) = open(&multipart, &parts.concat()) {
                let _: serde_json::Value = serde_json::from_str(opened.text()).unwrap();
            }
        }

        #[test]
        fn every_form_becomes_json(body in "[a-z&=%+]{0,40}") {
            let opened = open(&takes(false, true, None), body.as_bytes()).unwrap();
            prop_assert!(serde_json::from_str::<serde_json::Value>(opened.text()).is_ok());
        }
    }
}
