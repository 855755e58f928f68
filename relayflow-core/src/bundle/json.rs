//! The scalars of a JSON text and where they stand, without reading it into a tree: what is masked is
//! written over in place, so that everything else keeps its bytes and its offsets. A text that is cut
//! off, as a kept answer may be, is read as far as it goes.

use std::ops::Range;

/// A name or a scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Its bytes: of a text what is between the quotes.
    pub(super) at: Range<usize>,
    pub(super) is_name: bool,
    pub(super) is_text: bool,
    /// The names of the members that lead to it, its own last; of an element `*`.
    pub(super) path: Vec<String>,
}

/// Where a value stands.
#[derive(Debug)]
struct Frame {
    is_object: bool,
    wants_name: bool,
    name: String,
}

/// Whether the text is one that [`tokens`] can make something of.
pub(super) fn looks_like(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Every name and scalar, in order.
pub(super) fn tokens(text: &[u8]) -> Vec<Token> {
    let mut found = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    let mut i = 0;
    while let Some(byte) = text.get(i) {
        match byte {
            b'{' | b'[' => {
                let is_object = *byte == b'{';
                let name = if is_object { String::new() } else { "*".to_owned() };
                frames.push(Frame { is_object, wants_name: is_object, name });
                i += 1;
            }
            b'}' | b']' => {
                frames.pop();
                i += 1;
            }
            b',' => {
                if let Some(frame) = frames.last_mut() {
                    frame.wants_name = frame.is_object;
                }
                i += 1;
            }
            b'"' => {
                let at = i + 1..end_of_text(text, i + 1);
                i = at.end + 1;
                let name = frames.last_mut().filter(|frame| frame.wants_name);
                let is_name = name.is_some();
                if let Some(frame) = name {
                    frame.wants_name = false;
                    frame.name = decoded(&text[at.clone()]);
                }
                found.push(Token { at, is_name, is_text: true, path: path(&frames) });
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = text[i..].iter().take_while(|b| is_part(b)).count();
                let at = i..i + length;
                i = at.end;
                found.push(Token { at, is_name: false, is_text: false, path: path(&frames) });
            }
            _ => i += 1,
        }
    }
    found
}

fn path(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.name.clone()).collect()
}

/// Where the text that begins at `from` ends: its closing quote, or the end of all.
fn end_of_text(text: &[u8], from: usize) -> usize {
    let mut i = from;
    while let Some(byte) = text.get(i) {
        match byte {
            b'\\' => i += 2,
            b'"' => return i,
            _ => i += 1,
        }
    }
    text.len()
}

/// What a text between quotes says. One that is broken stands for itself.
pub(super) fn decoded(raw: &[u8]) -> String {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw).into_owned();
    }
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend(raw);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned())
}

/// Writes over a token, its length kept and the text still JSON.
pub(super) fn cover(text: &mut [u8], token: &Token) {
    let Some(bytes) = text.get_mut(token.at.clone()) else { return };
    if token.is_text {
        bytes.fill(b'*');
    } else {
        // A number of as many digits, which is nobody's.
        bytes.fill(b'0');
        if let Some(first) = bytes.first_mut().filter(|_| token.at.len() > 1) {
            *first = b'9';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(String, String, bool)> {
        let told =
            |token: Token| (token.path.join("."), text[token.at.clone()].to_owned(), token.is_name);
        tokens(text.as_bytes()).into_iter().map(told).collect()
    }

    #[test]
    fn every_scalar_has_its_path() {
        let found = shown(r#"{"a": {"b\u0063": [1, {"d": "x\"y"}], "e": -1.5e3}, "f": null}"#);
        let scalars: Vec<_> = found.iter().filter(|(.., is_name)| !is_name).collect();
        let wanted = [("a.bc.*", "1"), ("a.bc.*.d", r#"x\"y"#), ("a.e", "-1.5e3")];
        assert_eq!(scalars.len(), wanted.len());
        for ((path, text, _), (wanted_path, wanted_text)) in scalars.into_iter().zip(wanted) {
            assert_eq!((path.as_str(), text.as_str()), (wanted_path, wanted_text));
        }
    }

    #[test]
    fn what_is_cut_off_is_read_as_far_as_it_goes() {
        for text in [r#"{"a":"b"#, r#"{"a":"b\"#, r#"{"a"#, "[1,", "}]", "\"", ""] {
            for token in tokens(text.as_bytes()) {
                assert!(token.at.end <= text.len(), "{text}");
            }
        }
        assert_eq!(shown(r#"{"email":"ana@exa"#)[1].1, "ana@exa");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_and_covered_within_their_bounds(bytes: Vec<u8>) {
            let mut covered = bytes.clone();
            for token in tokens(&bytes) {
                cover(&mut covered, &token);
            }
            proptest::prop_assert_eq!(covered.len(), bytes.len());
        }

        #[test]
        fn json_stays_json(text in r#"\[("[a-z\\n]{0,6}"|[1-9][0-9]{0,5}|-?[1-9]\.[0-9]{1,3}e[0-9]{1,2})\]"#) {
            proptest::prop_assume!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            let mut covered = text.clone().into_bytes();
            for token in tokens(text.as_bytes()) {
                cover(&mut covered, &token);
            }
            proptest::prop_assert!(serde_json::from_slice::<serde_json::Value>(&covered).is_ok());
        }
    }
}
