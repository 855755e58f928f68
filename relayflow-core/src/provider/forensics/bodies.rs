//! The forms that a body may have had before something on its way wrote it anew.

use std::collections::HashSet;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json;
use crate::provider::key::sha256;

/// A form of a body: what was done to it on its way, and what it was before.
pub(super) struct Form {
    pub(super) altered: String,
    pub(super) bytes: Vec<u8>,
}

/// What becomes of a body if one alteration is taken back; `None` where it cannot have happened.
type Undo = fn(&[u8]) -> Option<Vec<u8>>;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Alterations that know nothing of what a body says, the commonest first.
const PLAIN: &[(&str, Undo)] = &[
    ("the line end behind it was taken away", |b| Some([b, b"\n"].concat())),
    ("a line end was put behind it", |b| b.strip_suffix(b"\n").map(<[u8]>::to_vec)),
    ("the CRLF behind it was taken away", |b| Some([b, b"\r\n"].concat())),
    ("a CRLF was put behind it", |b| b.strip_suffix(b"\r\n").map(<[u8]>::to_vec)),
    ("white space was put around it", |b| Some(b.trim_ascii().to_vec())),
    ("CRLF became LF", |b| Some(replace(&replace(b, b"\r\n", b"\n"), b"\n", b"\r\n"))),
    ("LF became CRLF", |b| Some(replace(b, b"\r\n", b"\n"))),
    ("the byte order mark was taken away", |b| Some([BOM, b].concat())),
    ("a byte order mark was put before it", |b| b.strip_prefix(BOM).map(<[u8]>::to_vec)),
    ("it was read as Latin-1 and written as UTF-8", as_latin1),
    ("it was written as Latin-1 in place of UTF-8", as_utf8),
    ("it was written in base 64", from_base64),
    ("it was wrapped as a JSON text", unquoted),
    ("it was wrapped into `body` of a JSON object", unwrapped),
];

/// Calls `each` with every form, each distinct one once, until it has had enough. Forms are made one
/// at a time: of a large body not two are held at once.
pub(super) fn forms(body: &[u8], each: &mut dyn FnMut(Form) -> ControlFlow<()>) {
    let mut seen = HashSet::from([sha256(&[body])]);
    let mut fresh = |altered: String, bytes: Vec<u8>| {
        if seen.insert(sha256(&[&bytes])) {
            return each(Form { altered, bytes });
        }
        ControlFlow::Continue(())
    };
    for (altered, undo) in PLAIN {
        if let Some(bytes) = undo(body)
            && fresh((*altered).to_owned(), bytes).is_break()
        {
            return;
        }
    }
    if json::forms(body, &mut fresh).is_break() {
        return;
    }
    let _ = form_forms(body, &mut fresh);
}

fn replace(body: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 16);
    let mut rest = body;
    while let Some(at) = rest.windows(old.len()).position(|window| window == old) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn as_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_ascii())?;
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn as_utf8(body: &[u8]) -> Option<Vec<u8>> {
    let is_latin1 = std::str::from_utf8(body).is_err();
    is_latin1.then(|| body.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())
}

fn from_base64(body: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(body.trim_ascii()).ok().filter(|bytes| !bytes.is_empty())
}

fn unquoted(body: &[u8]) -> Option<Vec<u8>> {
    serde_json::from_slice::<String>(body).ok().map(String::into_bytes)
}

fn unwrapped(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Wrapped {
        body: String,
        #[serde(rename = "isBase64Encoded", default)]
        is_base64: bool,
    }
    let wrapped: Wrapped = serde_json::from_slice(body).ok()?;
    if wrapped.is_base64 {
        return STANDARD.decode(&wrapped.body).ok();
    }
    Some(wrapped.body.into_bytes())
}

/// How an encoder of forms writes what is neither a letter nor a digit.
#[derive(Clone, Copy)]
struct Percent {
    space: &'static str,
    is_upper: bool,
    /// What stands as it is.
    plain: &'static [u8],
}

/// Encoders of forms: browsers, RFC 3986, and some between.
const PERCENTS: [Percent; 5] = [
    Percent { space: "+", is_upper: true, plain: b"*-._" },
    Percent { space: "%20", is_upper: true, plain: b"-._~" },
    Percent { space: "+", is_upper: true, plain: b"-._~" },
    Percent { space: "+", is_upper: true, plain: b"-._" },
    Percent { space: "%20", is_upper: false, plain: b"-._~" },
];

/// A form as other encoders write it, in its order and sorted.
fn form_forms(
    body: &[u8],
    fresh: &mut dyn FnMut(String, Vec<u8>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if !crate::provider::body::looks_like_form(body) {
        return ControlFlow::Continue(());
    }
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned().into_bytes(), value.into_owned().into_bytes()))
        .collect();
    for is_sorted in [false, true] {
        if is_sorted {
            fields.sort();
        }
        for percent in PERCENTS {
            let what = if is_sorted { "its fields were put into another order and" } else { "" };
            let pairs: Vec<Vec<u8>> = fields
                .iter()
                .map(|(name, value)| {
                    [&*percent.encode(name), b"=", &*percent.encode(value)].concat()
                })
                .collect();
            let altered = format!("the form was written anew: {what} escaped in another way")
                .replace(":  ", ": ");
            fresh(altered, pairs.join(&b'&'))?;
        }
    }
    ControlFlow::Continue(())
}

impl Percent {
    fn encode(self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 8);
        for byte in text {
            match byte {
                b' ' => out.extend_from_slice(self.space.as_bytes()),
                byte if byte.is_ascii_alphanumeric() || self.plain.contains(byte) => {
                    out.push(*byte);
                }
                byte if self.is_upper => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                byte => out.extend_from_slice(format!("%{byte:02x}").as_bytes()),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(body: &[u8], before: &[u8]) -> bool {
        let mut found = false;
        forms(body, &mut |form| {
            found |= form.bytes == before;
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found
    }

    #[test]
    fn what_a_proxy_did_is_taken_back() {
        let signed = "{\n  \"id\": 1.10,\n  \"name\": \"caf\u{e9}/<b>\",\n  \"a\": []\n}";
        for (arrived, before) in [
            (r#"{"a":1}"#.as_bytes(), b"{\"a\":1}\n".as_slice()),
            (b"{\"a\":1}\n", br#"{"a":1}"#),
            (b"{\"a\":1}\n", b"{\"a\":1}\r\n"),
            (b"\xef\xbb\xbf{}", b"{}"),
            (b"{}", b"\xef\xbb\xbf{}"),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\nb\r\n", b"a\nb\n"),
            (b"{\"a\":\"\xc3\x83\xc2\xa9\"}", b"{\"a\":\"\xc3\xa9\"}"),
            (b"{\"a\":\"\xe9\"}", b"{\"a\":\"\xc3\xa9\"}"),
            (b"eyJhIjoxfQ==", br#"{"a":1}"#),
            (br#""{\"a\":1}""#, br#"{"a":1}"#),
            (br#"{"body":"{\"a\":1}","isBase64Encoded":false}"#, br#"{"a":1}"#),
            // Pretty became compact, and what is not ASCII was escaped.
            ("{\"id\":1.10,\"name\":\"caf\u{e9}/<b>\",\"a\":[]}".as_bytes(), signed.as_bytes()),
            (br#"{"id":1.10,"name":"caf\u00e9/<b>","a":[]}"#, signed.as_bytes()),
            (br#"{"a":[],"id":1.10,"name":"x"}"#, br#"{"a":[],"id":1.10,"name":"x"}"#),
            (br#"{ "b":1, "a":"\/" }"#, br#"{"a": "/", "b": 1}"#),
            (b"a=x+y&b=%7E", b"a=x%20y&b=~"),
            (b"b=1&a=%c3%a9", b"a=%C3%A9&b=1"),
        ] {
            if arrived != before {
                assert!(has(arrived, before), "{}", String::from_utf8_lossy(arrived));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_forms_of_a_bounded_number_and_size(body: Vec<u8>) {
            let (mut count, mut most) = (0, 0);
            forms(&body, &mut |form| {
                count += 1;
                most = most.max(form.bytes.len());
                ControlFlow::Continue(())
            });
            prop_assert!(count <= json::FORMS_MAX + 64);
            prop_assert!(most <= 8 * body.len() * 8 + 64);
        }
    }
}
