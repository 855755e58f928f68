//! The same event under another id: what `send --from` and `send --data --count` need.

use std::collections::BTreeMap;

use super::body;
use super::rules::Place;
use super::source::Source;
use super::split::{self, Element};
use super::template::{Piece, atoms};

/// The body with another id in each of its events, made of `serial`. `None` where what tells an event
/// apart is its bytes.
///
/// Where an id stands several times, each becomes the new one. Where it stands in a header, which
/// signing makes anew, the body gets blanks behind it: a signature that does not cover the id would be
/// the same again, and what is captured may not be sent twice.
#[must_use]
pub fn with_new_ids(source: &Source, body: &[u8], serial: u64) -> Option<Vec<u8>> {
    let opened = body::open(&source.rules.takes, body).ok()?;
    let elements = split::elements(&source.rules, opened.text()).ok()?;
    let mut ids = BTreeMap::new();
    for element in &elements {
        if let Some(id) = id_in(source, element) {
            let number = serial.wrapping_add(u64::try_from(ids.len()).unwrap_or(0));
            ids.entry(id).or_insert(number);
        }
    }
    let mut text = std::str::from_utf8(body).ok()?.to_owned();
    let mut is_new = false;
    for (id, number) in &ids {
        let replaced = replace(&text, id, &renewed(id, *number));
        is_new |= replaced != text;
        text = replaced;
    }
    if !is_new && has_header_id(source) {
        let bits = (0..u64::BITS - serial.leading_zeros()).map(|bit| serial >> bit & 1);
        text.extend(bits.map(|bit| if bit == 0 { ' ' } else { '\t' }));
        return text.trim_start().starts_with(['{', '[', '<']).then(|| text.into_bytes());
    }
    is_new.then(|| text.into_bytes())
}

/// Whether an event's id is a header that signing makes anew.
fn has_header_id(source: &Source) -> bool {
    let is_header = |place: &Place| matches!(place, Place::Header(_));
    source.rules.ways.iter().any(|way| way.id.is_some())
        || source.rules.id.iter().any(|reading| atoms(reading).into_iter().any(is_header))
}

/// The first text in the event, or in what holds it, that is part of its id.
fn id_in(source: &Source, element: &Element<'_>) -> Option<String> {
    let found = source.rules.reads.first()?.read(element.text).ok()?;
    for reading in &source.rules.id {
        for piece in reading {
            let Piece::Atom(Place::Slot { up, slot }) = piece else { continue };
            let text = match up {
                0 => found.scalar(*slot).text(),
                up => {
                    let mut holder = element.holder.as_deref()?;
                    for _ in 1..*up {
                        holder = holder.outer.as_deref()?;
                    }
                    holder.found.scalar(*slot).text()
                }
            };
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                return Some(text.into_owned());
            }
        }
    }
    None
}

/// An id of the same form: the last digits and letters are those of `number`.
fn renewed(id: &str, number: u64) -> String {
    if id.bytes().all(|b| b.is_ascii_digit()) {
        return number.to_string();
    }
    let mut digits = format!("{number:012}").into_bytes();
    let mut out: Vec<char> = id.chars().collect();
    let places = out.iter().filter(|c| c.is_ascii_alphanumeric()).count();
    if places < 16 {
        return format!("{id}-{number}");
    }
    for c in out.iter_mut().rev().filter(|c| c.is_ascii_alphanumeric()) {
        let Some(digit) = digits.pop() else { break };
        *c = char::from(digit);
    }
    out.into_iter().collect()
}

/// `new` for `old` wherever that is a whole word.
fn replace(text: &str, old: &str, new: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut out = String::with_capacity(text.len() + new.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(old) {
        let starts = out.chars().chain(before.chars()).next_back().is_none_or(|c| !is_word(c));
        let ends = after.chars().next().is_none_or(|c| !is_word(c));
        out.push_str(before);
        out.push_str(if starts && ends { new } else { old });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;
    use crate::provider::cases::source_of;
    use crate::provider::sign::key_pair;

    #[track_caller]
    fn again(provider: &str, body: &str) -> Option<String> {
        let catalog = Catalog::built_in();
        let provider = catalog.get(provider).unwrap();
        let secret = key_pair(provider, [7; 32]).verifying;
        let source = source_of(&catalog, provider, vec![secret], &provider.examples).unwrap();
        let body = with_new_ids(&source, body.as_bytes(), 1_767_607_203_001)?;
        Some(String::from_utf8(body).unwrap())
    }

    #[test]
    fn an_event_gets_an_id_of_the_same_form() {
        assert_eq!(
            again("stripe", r#"{"id":"evt_1QA000000000000001","type":"x"}"#).unwrap(),
            r#"{"id":"evt_1QA001767607203001","type":"x"}"#
        );
        assert_eq!(
            again("stripe", r#"{"id":"evt_1","type":"x","copy":"evt_12","also":"evt_1"}"#).unwrap(),
            r#"{"id":"evt_1-1767607203001","type":"x","copy":"evt_12","also":"evt_1-1767607203001"}"#
        );
    }

    #[test]
    fn every_event_of_a_batch_gets_one() {
        let body = again(
            "sendgrid",
            r#"[{"sg_event_id":"a","event":"x"},{"sg_event_id":"b","event":"y"}]"#,
        );
        assert_eq!(
            body.unwrap(),
            r#"[{"sg_event_id":"a-1767607203001","event":"x"},{"sg_event_id":"b-1767607203002","event":"y"}]"#
        );
    }

    #[test]
    fn a_form_keeps_its_encoding() {
        let body = again("twilio", "MessageSid=SM1&MessageStatus=sent&Body=a%20b").unwrap();
        assert_eq!(body, "MessageSid=SM1-1767607203001&MessageStatus=sent&Body=a%20b");
    }

    #[test]
    fn where_the_id_is_a_header_the_body_gets_blanks() {
        let body = again("github", r#"{"ref":"x"}"#).unwrap();
        assert!(body.starts_with(r#"{"ref":"x"}"#) && body.trim_end() == r#"{"ref":"x"}"#);
        assert!(20 < body.len());
    }

    #[test]
    fn what_has_no_id_stays_as_it_is() {
        assert_eq!(again("stripe", "no JSON"), None);
    }
}
