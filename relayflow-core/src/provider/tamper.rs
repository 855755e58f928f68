//! Spoils a signed request, to see it rejected: for `send` and tests.

use std::ops::Range;

use serde_json::Value;

use super::body;
use super::extract::Segment;
use super::multipart;
use super::sign::Signed;
use super::source::Source;
use super::way::{SignaturePlace, Way};

/// Changes one character of the signature or credential; `false` if the request has none.
#[must_use]
pub fn spoil_signature(source: &Source, letter: &mut Signed) -> bool {
    // A loop that stopped at the first would leave another way's signature whole.
    source.rules.ways.iter().fold(false, |spoilt, way| spoil(source, way, letter) | spoilt)
}

/// Changes one letter or digit of the body, of a multipart form in its event; `false` if it has none.
#[must_use]
pub fn spoil_body(source: &Source, letter: &mut Signed) -> bool {
    let content = field(source, &letter.body).unwrap_or(0..letter.body.len());
    let Some(content) = letter.body.get_mut(content) else { return false };
    let place = content.iter().rposition(u8::is_ascii_alphanumeric);
    let Some(byte) = place.and_then(|place| content.get_mut(place)) else { return false };
    *byte = if *byte == b'0' { b'1' } else { b'0' };
    true
}

/// Whether the body of this request is signed: if not, another one under the same credential is taken.
#[must_use]
pub fn signs_body(source: &Source, letter: &Signed) -> bool {
    let is_for = |way: &&Way| {
        let format = way.when.as_ref().and_then(|when| when.body);
        let bears = match &way.place {
            SignaturePlace::Headers(names) => {
                letter.headers.iter().any(|(name, _)| names.iter().any(|n| n.as_str() == name))
            }
            SignaturePlace::Query(_) | SignaturePlace::Slot(_) | SignaturePlace::Nowhere => true,
        };
        bears && format.is_none_or(|format| body::looks_like(format, &letter.body))
    };
    source.rules.ways.iter().filter(is_for).any(|way| way.signs_body() || way.is_each)
}

/// Where in a multipart form the field with the event is.
fn field(source: &Source, body: &[u8]) -> Option<Range<usize>> {
    let takes = &source.rules.takes;
    let name =
        takes.form_json.as_ref().filter(|_| takes.multipart && multipart::looks_like(body))?;
    let parts = multipart::parts(body).ok()?;
    let content = parts.into_iter().find(|part| part.name == *name)?.content;
    let start = content.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    Some(start..start + content.len())
}

fn spoil(source: &Source, way: &Way, letter: &mut Signed) -> bool {
    match &way.place {
        SignaturePlace::Nowhere => false,
        SignaturePlace::Headers(names) => {
            let mut spoilt = false;
            for (name, value) in &mut letter.headers {
                if names.iter().any(|n| n.as_str() == name) {
                    *value = other(value);
                    spoilt = true;
                }
            }
            spoilt
        }
        SignaturePlace::Query(name) => match letter.url.split_once('?') {
            Some((url, query)) => {
                let mut out = form_urlencoded::Serializer::new(String::new());
                let mut spoilt = false;
                for (key, value) in form_urlencoded::parse(query.as_bytes()) {
                    let is_it = key == *name;
                    spoilt |= is_it;
                    let value = if is_it { other(&value) } else { value.into_owned() };
                    out.append_pair(&key, &value);
                }
                letter.url = format!("{url}?{}", out.finish());
                spoilt
            }
            None => false,
        },
        SignaturePlace::Slot(slot) => {
            let pointers = way.reads.pointers();
            let pointer = pointers.into_iter().find(|(other, _)| other == slot);
            pointer.is_some_and(|(_, pointer)| spoil_at(source, way, &pointer.0, letter))
        }
    }
}

fn spoil_at(source: &Source, way: &Way, pointer: &[Segment], letter: &mut Signed) -> bool {
    let names: Vec<&str> = pointer
        .iter()
        .filter_map(|segment| match segment {
            Segment::Name(name) => Some(&**name),
            Segment::First | Segment::FirstKey => None,
        })
        .collect();
    let content = field(source, &letter.body).unwrap_or(0..letter.body.len());
    let json = letter.body.get(content.clone()).unwrap_or_default();
    if let Ok(mut json) = serde_json::from_slice::<Value>(json) {
        let spoilt = spoil_json(&mut json, &names, way.is_each);
        letter.body.splice(content, json.to_string().into_bytes());
        return spoilt;
    }
    if !body::looks_like_form(&letter.body) {
        return false;
    }
    let (mut out, mut spoilt) = (form_urlencoded::Serializer::new(String::new()), false);
    for (key, value) in form_urlencoded::parse(&letter.body) {
        let is_it = [&*key] == names[..];
        spoilt |= is_it;
        out.append_pair(&key, &if is_it { other(&value) } else { value.into_owned() });
    }
    letter.body = out.finish().into_bytes();
    spoilt
}

/// Spoils the text at `names`; where every element is signed, in all of them.
fn spoil_json(json: &mut Value, names: &[&str], everywhere: bool) -> bool {
    let mut at = Some(&mut *json);
    for name in names {
        at = at.and_then(|value| value.get_mut(name));
    }
    if let Some(Value::String(text)) = at {
        *text = other(text);
        return true;
    }
    if !everywhere {
        return false;
    }
    let all = |values: &mut dyn Iterator<Item = &mut Value>| {
        values.fold(false, |spoilt, value| spoil_json(value, names, true) | spoilt)
    };
    match json {
        Value::Object(members) => all(&mut members.values_mut()),
        Value::Array(items) => all(&mut items.iter_mut()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The text with another letter near its end: not the very last, which in base 64 may carry bits that
/// nobody reads.
fn other(signature: &str) -> String {
    let mut chars: Vec<char> = signature.chars().collect();
    let last = chars.iter().rposition(char::is_ascii_alphanumeric).unwrap_or(0);
    let place = (0..=last.saturating_sub(2))
        .rev()
        .find(|at| chars.get(*at).is_some_and(char::is_ascii_alphanumeric));
    match place.and_then(|place| chars.get_mut(place)) {
        Some(c) => *c = if *c == 'a' { 'b' } else { 'a' },
        None => chars.push('x'),
    }
    chars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::cases::{request_of, source_of};
    use crate::provider::sign::{key_pair, sign_for};
    use crate::provider::{Catalog, verify};

    #[test]
    fn a_spoilt_signature_of_any_provider_is_refused() {
        let catalog = Catalog::built_in();
        let now = jiff::Timestamp::from_second(1_767_607_203).unwrap();
        let url = "https://hooks.example.com/in/test";
        for provider in catalog.iter() {
            let keys = key_pair(provider, [7; 32]);
            let source =
                source_of(&catalog, provider, vec![keys.verifying], &provider.examples).unwrap();
            let sample = provider.samples().first().unwrap();
            let mut letter =
                sign_for(&source, &keys.signing, &sample.event_type, sample.body(1, now), url, now)
                    .unwrap();
            letter.headers.extend(sample.headers.clone());
            let whole = letter.clone();
            assert!(spoil_signature(&source, &mut letter), "{} has none", provider.name);
            assert_ne!(letter, whole);
            let request = request_of(letter, now).unwrap();
            assert!(verify(&source, &request, now).is_err(), "{}", provider.name);
        }
    }

    #[test]
    fn the_last_letter_but_two_is_another() {
        assert_eq!(other("t=1,v1=abcdef=="), "t=1,v1=abcaef==");
        assert_eq!(other("a"), "b");
        assert_eq!(other(""), "x");
    }
}
