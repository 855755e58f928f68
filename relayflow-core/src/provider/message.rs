//! What is signed, put together from a request part by part; and the forms of a URL that may have
//! been.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::definition::{BodyForm, UrlForm};
use super::extract::Found;
use super::key::Key;
use super::template::{Piece, SignedAtom};
use super::verify::parameter;
use super::way::{SignedPlace, Way};
use crate::request::Request;

const CRC32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// All that a message is made of.
pub(super) struct Signing<'s> {
    pub(super) way: &'s Way,
    pub(super) request: &'s Request,
    pub(super) found: &'s Found<'s>,
    /// The text from which `found` was read.
    pub(super) text: &'s str,
    pub(super) timestamp: Option<&'s str>,
    pub(super) url: &'s str,
    pub(super) body: &'s [u8],
}

impl Signing<'_> {
    /// What is signed, part by part. What is missing is empty.
    pub(super) fn message<'m>(&'m self, key: &'m Key) -> Vec<Cow<'m, [u8]>> {
        let mut message = Vec::with_capacity(self.way.signed.len());
        self.add(&self.way.signed, key, &mut message);
        message
    }

    /// Adds the parts; whether all were there.
    fn add<'m>(
        &'m self,
        pieces: &'m [Piece<SignedPlace>],
        key: &'m Key,
        message: &mut Vec<Cow<'m, [u8]>>,
    ) -> bool {
        let mut is_whole = true;
        for piece in pieces {
            match piece {
                Piece::Text(text) => message.push(Cow::Borrowed(text.as_bytes())),
                Piece::Optional(inner) => {
                    let before = message.len();
                    if !self.add(inner, key, message) {
                        message.truncate(before);
                    }
                }
                Piece::Atom(place) => match self.part(place, key) {
                    Some(part) => message.push(part),
                    None => is_whole = false,
                },
                Piece::Present(place) => is_whole &= self.part(place, key).is_some(),
            }
        }
        is_whole
    }

    fn part<'m>(&'m self, place: &'m SignedPlace, key: &'m Key) -> Option<Cow<'m, [u8]>> {
        let request = self.request;
        let bytes = |text: &'m str| Some(Cow::Borrowed(text.as_bytes()));
        let atom = match place {
            SignedPlace::Slot(slot) => return self.found.scalar(*slot).text().map(text_bytes),
            SignedPlace::Other(atom) => atom,
        };
        match atom {
            // An element that is signed on its own has no other body.
            SignedAtom::Body if self.way.is_each => bytes(self.text),
            SignedAtom::Body => Some(Cow::Borrowed(self.body)),
            SignedAtom::Crc32 => {
                Some(Cow::Owned(CRC32.checksum(self.body).to_string().into_bytes()))
            }
            SignedAtom::Timestamp => bytes(self.timestamp?),
            SignedAtom::Id => bytes(request.header(self.way.id.as_ref()?.as_str())?),
            SignedAtom::Method => bytes(request.method.as_str()),
            SignedAtom::Url => bytes(self.url),
            SignedAtom::Path => bytes(&request.target),
            SignedAtom::Secret => match key {
                Key::Hashed(secret) => Some(Cow::Borrowed(secret.expose())),
                Key::Mac(_)
                | Key::Ed25519(_)
                | Key::P256(_)
                | Key::Public(_)
                | Key::Authority(_)
                | Key::Shared(_) => None,
            },
            SignedAtom::Form => Some(Cow::Owned(sorted_form(&request.body))),
            SignedAtom::Header(name) => bytes(request.header(name.as_str())?),
            SignedAtom::Query(name) => parameter(request, name).map(text_bytes),
            // Pointers became slots when the way was compiled.
            SignedAtom::Pointer(_) => None,
        }
    }
}

fn text_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A form's parameters sorted by name, and by value where a name is there several times; equal
/// pairs once.
fn sorted_form(body: &[u8]) -> Vec<u8> {
    let mut fields: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        fields.entry(name).or_default().insert(value);
    }
    let mut out = Vec::with_capacity(body.len());
    for (name, values) in &fields {
        for value in values {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    }
    out
}

/// The forms of the body that may have been signed, each once.
pub(super) fn bodies<'b>(way: &Way, body: &'b [u8]) -> Vec<Cow<'b, [u8]>> {
    let mut bodies = vec![Cow::Borrowed(body)];
    if way.bodies.contains(&BodyForm::Ascii)
        && let Ok(text) = std::str::from_utf8(body)
    {
        let ascii = ascii(text);
        if ascii.as_bytes() != body {
            bodies.push(Cow::Owned(ascii.into_bytes()));
        }
    }
    bodies
}

/// JSON with `\u30b9` for what is not ASCII and `\/` for a slash that is not escaped yet.
fn ascii(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '/' if before != '\\' => out.push_str("\\/"),
            '\0'..='~' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a String takes any text");
                }
            }
        }
        before = c;
    }
    out
}

/// The forms of the URL that may have been signed, each once.
pub(super) fn urls<'u>(way: &Way, url: &'u str) -> Vec<Cow<'u, str>> {
    if !way.signs_url() {
        return vec![Cow::Borrowed(url)];
    }
    let url = url.split('#').next().unwrap_or(url);
    let mut urls: Vec<Cow<'u, str>> = Vec::new();
    for form in &way.urls {
        let url = match form {
            UrlForm::Received => Cow::Borrowed(url),
            UrlForm::WithPort => Cow::Owned(with_port(url)),
            UrlForm::WithoutPort => Cow::Owned(without_port(url)),
            UrlForm::Decoded => Cow::Owned(decoded(url)),
        };
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// Scheme, host with port, and the rest.
fn url_parts(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some((scheme, rest.get(..end)?, rest.get(end..)?))
}

fn with_port(url: &str) -> String {
    match url_parts(url) {
        Some((scheme, host, rest)) if !has_port(host) => {
            let port = if scheme == "http" { 80 } else { 443 };
            format!("{scheme}://{host}:{port}{rest}")
        }
        Some(_) | None => url.to_owned(),
    }
}

fn without_port(url: &str) -> String {
    match url_parts(url) {
        Some((scheme, host, rest)) if has_port(host) => {
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            format!("{scheme}://{host}{rest}")
        }
        Some(_) | None => url.to_owned(),
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

fn decoded(url: &str) -> String {
    const ESCAPES: [(&str, &str); 12] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
    ];
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let escape = rest.get(..3).unwrap_or(rest);
        match ESCAPES.iter().find(|(code, _)| code.eq_ignore_ascii_case(escape)) {
            Some((_, plain)) => {
                out.push_str(plain);
                rest = &rest[3..];
            }
            None => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_encoders_do_that_know_ascii_alone() {
        for (text, expected) in [
            ("", ""),
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            ("\u{e9} \u{1f600}", r"\u00e9 \ud83d\ude00"),
            ("a/b \\/ c", "a\\/b \\/ c"),
            ("\u{7f}", r"\u007f"),
        ] {
            assert_eq!(ascii(text), expected);
        }
    }

    #[test]
    fn a_url_is_written_with_and_without_its_port() {
        for (url, with, without) in [
            (
                "https://a.example/in?x=1",
                "https://a.example:443/in?x=1",
                "https://a.example/in?x=1",
            ),
            ("http://a.example", "http://a.example:80", "http://a.example"),
            ("https://a.example:8443/", "https://a.example:8443/", "https://a.example/"),
            ("https://[::1]/in", "https://[::1]:443/in", "https://[::1]/in"),
            ("nonsense", "nonsense", "nonsense"),
        ] {
            assert_eq!((with_port(url).as_str(), without_port(url).as_str()), (with, without));
        }
    }

    #[test]
    fn only_the_listed_escapes_are_decoded() {
        assert_eq!(decoded("/a%3Ab%2fc%20d%3F%"), "/a:b/c%20d?%");
        assert_eq!(decoded("/ü%é"), "/ü%é");
    }

    #[test]
    fn a_form_is_sorted_and_equal_pairs_count_once() {
        assert_eq!(sorted_form(b"b=2&a=1&b=1&b=1&c"), b"a1b1b2c");
    }
}
