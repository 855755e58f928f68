//! `multipart/form-data`, told apart by the line with which it begins: no content type is asked,
//! since none is signed. What a sender can make large or odd is bounded.

use std::borrow::Cow;

/// The most parts that one body may have.
pub(super) const PARTS_MAX: usize = 1_000;
/// The longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'b> {
    pub(super) name: Cow<'b, str>,
    /// What a file is called; a field that is typed has none.
    pub(super) file: Option<Cow<'b, str>>,
    pub(super) content_type: Option<&'b str>,
    pub(super) content: &'b [u8],
}

/// Whether a body is one: its first line is a boundary. A form that is URL-encoded has no lines.
pub(super) fn looks_like(body: &[u8]) -> bool {
    boundary(body).is_some()
}

/// The content type of a body that is one.
pub(super) fn content_type(body: &[u8]) -> Option<String> {
    let boundary = boundary(body)?.strip_prefix(b"--")?;
    Some(format!("multipart/form-data; boundary=\"{}\"", std::str::from_utf8(boundary).ok()?))
}

/// The boundary, its two dashes included.
fn boundary(body: &[u8]) -> Option<&[u8]> {
    let start = body.get(..body.len().min(BOUNDARY_BYTES_MAX + 4))?;
    let end = start.windows(2).position(|pair| pair == b"\r\n")?;
    let line = start.get(..end)?;
    let is_boundary = line.starts_with(b"--")
        && 2 < line.len()
        && !line.ends_with(b" ")
        && line.iter().all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b));
    is_boundary.then_some(line)
}

/// The parts, in their order.
///
/// # Errors
///
/// What is wrong with the body, as a fragment.
pub(super) fn parts(body: &[u8]) -> Result<Vec<Part<'_>>, String> {
    let boundary = boundary(body).ok_or("it does not begin with a boundary")?;
    let mut rest = body.get(boundary.len()..).unwrap_or_default();
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if PARTS_MAX <= parts.len() {
            return Err(format!("it has more than {PARTS_MAX} parts"));
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("a boundary is not at the end of its line")?;
        let (head, content) = head(rest)?;
        let end = find(content, boundary).ok_or("a part has no end")?;
        parts.push(part(head, content.get(..end).unwrap_or_default())?);
        rest = content.get(end + 2 + boundary.len()..).unwrap_or_default();
    }
}

/// Where the line before the next boundary ends.
fn find(content: &[u8], boundary: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = content.get(from..)?;
        let at = rest.iter().position(|b| *b == b'\r')?;
        let after = rest.get(at..)?.strip_prefix(b"\r\n");
        if after.is_some_and(|after| after.starts_with(boundary)) {
            return Some(from + at);
        }
        from += at + 1;
    }
}

/// A part's head and what follows it.
fn head(rest: &[u8]) -> Result<(&str, &[u8]), String> {
    let window = rest.get(..rest.len().min(HEAD_BYTES_MAX)).unwrap_or_default();
    let end = window.windows(4).position(|four| four == b"\r\n\r\n");
    let end =
        end.ok_or_else(|| format!("a part's head does not end within {HEAD_BYTES_MAX} bytes"))?;
    let head = std::str::from_utf8(window.get(..end).unwrap_or_default());
    let head = head.map_err(|_| "a part's head is not UTF-8")?;
    Ok((head, rest.get(end + 4..).unwrap_or_default()))
}

fn part<'b>(head: &'b str, content: &'b [u8]) -> Result<Part<'b>, String> {
    let mut found = None;
    let mut content_type = None;
    for line in head.split("\r\n") {
        let (name, value) =
            line.split_once(':').ok_or("a part's head has a line without a colon")?;
        if name.eq_ignore_ascii_case("content-disposition") {
            if found.is_some() {
                return Err("a part says twice what it is".to_owned());
            }
            found = Some(disposition(value)?);
        } else if name.eq_ignore_ascii_case("content-type") {
            content_type = Some(value.trim());
        }
    }
    let (name, file) = found.ok_or("a part has no content disposition")?;
    Ok(Part { name, file, content_type, content })
}

/// A field's name, and a file's.
type Names<'b> = (Cow<'b, str>, Option<Cow<'b, str>>);

/// `form-data; name="…"; filename="…"`.
fn disposition(value: &str) -> Result<Names<'_>, String> {
    let rest = value.trim();
    let (word, mut rest) = rest.split_once(';').unwrap_or((rest, ""));
    if !word.trim().eq_ignore_ascii_case("form-data") {
        return Err("a part is no form data".to_owned());
    }
    let (mut name, mut file) = (None, None);
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let (key, after) =
            rest.split_once('=').ok_or("a part's disposition has a parameter without a value")?;
        let (text, after) = parameter(after)?;
        let key = key.trim();
        let place = match key {
            _ if key.eq_ignore_ascii_case("name") => Some(&mut name),
            _ if key.eq_ignore_ascii_case("filename") => Some(&mut file),
            _ => None,
        };
        if let Some(place) = place
            && place.replace(text).is_some()
        {
            return Err(format!("a part has two of `{}`", key.to_ascii_lowercase()));
        }
        rest = after;
    }
    Ok((name.ok_or("a part has no name")?, file))
}

/// A parameter's value, and what follows its `;`.
fn parameter(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return Ok((Cow::Borrowed(value.trim()), rest));
    };
    let mut is_escaped = false;
    let end = quoted.find(|c: char| {
        let was_escaped = is_escaped;
        is_escaped = c == '\\' && !was_escaped;
        c == '"' && !was_escaped
    });
    let end = end.ok_or("a part's name has no closing quote")?;
    let (value, rest) =
        (quoted.get(..end).unwrap_or_default(), quoted.get(end + 1..).unwrap_or(""));
    let rest = match rest.trim_start() {
        "" => "",
        rest => rest.strip_prefix(';').ok_or("a part's name is followed by something else")?,
    };
    Ok((unescaped(value), rest))
}

/// Without the backslashes before quotes and backslashes; any other is one (`C:\file`).
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("\\\"") && !text.contains("\\\\") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A body with one field, and its content type. The boundary follows from the text, so that equal
/// bytes stay equal; a text that holds it already gets a longer one.
pub(super) fn with_field(name: &str, text: &[u8], digest: &str) -> (Vec<u8>, String) {
    let mut boundary = format!("relayflow-{}", digest.get(..16).unwrap_or(digest));
    while find(text, format!("--{boundary}").as_bytes()).is_some() {
        boundary.push('x');
    }
    let head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
    let body = [head.as_bytes(), text, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (body, format!("multipart/form-data; boundary={boundary}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(body: &str) -> Result<Vec<(String, Option<String>, String)>, String> {
        let parts = parts(body.as_bytes())?;
        let part = |part: &Part<'_>| {
            let content = String::from_utf8_lossy(part.content).into_owned();
            (part.name.clone().into_owned(), part.file.clone().map(Cow::into_owned), content)
        };
        Ok(parts.iter().map(part).collect())
    }

    #[test]
    fn parts_are_fields_and_files() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"a\":1}\r\n--b\r\n\
                    content-type: text/plain\r\ncontent-disposition: form-data; filename=\"a\\\"b;c.txt\"; \
                    name=f\r\n\r\n1\r\n2\r\n--c\r\n--b--\r\nand no more";
        let file = ("f".to_owned(), Some("a\"b;c.txt".to_owned()), "1\r\n2\r\n--c".to_owned());
        assert_eq!(shown(body), Ok(vec![("json".to_owned(), None, "{\"a\":1}".to_owned()), file]));
        assert_eq!(parts(body.as_bytes()).unwrap()[1].content_type, Some("text/plain"));
        assert_eq!(shown("--b\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n--b--"), {
            Ok(vec![("a".to_owned(), None, String::new())])
        });
        assert_eq!(unescaped(r"C:\dir\\x"), r"C:\dir\x");
    }

    #[test]
    fn what_is_none_is_told_apart() {
        for other in
            ["", "--", "--\r\n", "a=1&b=2", "{}", "<a/>", "--b=1", "--b\n", "--b!\r\n", " --b\r\n"]
        {
            assert!(!looks_like(other.as_bytes()), "{other:?}");
        }
        assert!(looks_like(format!("--{}\r\n", "b".repeat(70)).as_bytes()));
        assert!(!looks_like(format!("--{}\r\n", "b".repeat(71)).as_bytes()));
    }

    #[test]
    fn what_is_odd_is_refused() {
        let one = |head: &str| format!("--b\r\n{head}\r\n\r\nx\r\n--b--");
        for (body, why) in [
            ("--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx".to_owned(), "no end"),
            (
                "--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\r\n--bb--".to_owned(),
                "end of its line",
            ),
            ("--b\r\n\r\n".to_owned(), "does not end within"),
            (one("content-disposition: form-data"), "no name"),
            (one("content-disposition: attachment; name=a"), "no form data"),
            (one("content-disposition: form-data; name=\"a"), "no closing quote"),
            (one("content-disposition: form-data; name=\"a\"x"), "something else"),
            (one("content-disposition: form-data; name=a; name=b"), "two of `name`"),
            (one("content-disposition: form-data; name"), "without a value"),
            (one("content-disposition form-data"), "without a colon"),
            (one("content-type: text/plain"), "no content disposition"),
            (
                one(
                    "content-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b",
                ),
                "says twice",
            ),
            (one(&format!("x: {}", "y".repeat(HEAD_BYTES_MAX))), "does not end within"),
        ] {
            let error = shown(&body);
            assert!(error.as_ref().is_err_and(|e| e.contains(why)), "{body}: {error:?}");
        }
        let part = "--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\r\n";
        assert_eq!(
            shown(&format!("{}--b--", part.repeat(PARTS_MAX))).map(|p| p.len()),
            Ok(PARTS_MAX)
        );
        assert!(
            shown(&format!("{}--b--", part.repeat(PARTS_MAX + 1)))
                .unwrap_err()
                .contains("more than")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body: Vec<u8>, rest in "(--b|\r\n|--|content-disposition: form-data; |name=|\"|\\\\|;|x){0,30}") {
            let _ = parts(&body);
            let _ = parts(format!("--b\r\n{rest}").as_bytes());
        }

        #[test]
        fn what_is_written_is_read(text: Vec<u8>, boundary in "(\r\n--relayflow-0123456789abcdef){0,3}") {
            let text = [text, boundary.into_bytes()].concat();
            let (body, content_type) = with_field("json", &text, "0123456789abcdef0");
            prop_assert!(content_type.starts_with("multipart/form-data; boundary="));
            let parts = parts(&body).unwrap();
            prop_assert_eq!(parts.len(), 1);
            prop_assert_eq!(parts[0].content, &*text);
        }
    }
}
