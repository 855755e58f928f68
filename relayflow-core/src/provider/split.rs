//! One verified request → its events, in the order in which they stand in the body.

use std::fmt;
use std::sync::Arc;

use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::body::BodyError;
use super::definition::Otherwise;
use super::extract::Found;
use super::rules::{Path, Rules};
use super::source::Source;
use super::verify::Verified;

/// The most events that one request may hold.
pub const EVENTS_MAX: usize = 10_000;

/// One event as it stands in the request.
#[derive(Debug, Clone)]
pub struct RawEvent<'v> {
    pub(super) element: Element<'v>,
    /// Its number in a batch, from 0; `None` where the whole body is the event.
    pub(super) number: Option<usize>,
}

impl RawEvent<'_> {
    /// Its number in a batch, from 0; `None` where the whole body is the event.
    #[must_use]
    pub fn number(&self) -> Option<usize> {
        self.number
    }
}

/// The text of one event, and what holds it.
#[derive(Debug, Clone)]
pub(super) struct Element<'t> {
    pub(super) text: &'t str,
    pub(super) holder: Option<Arc<Holder<'t>>>,
}

/// What was read of an object that holds events, and what holds that.
#[derive(Debug)]
pub(super) struct Holder<'t> {
    pub(super) found: Found<'t>,
    pub(super) outer: Option<Arc<Holder<'t>>>,
}

/// Why a verified request has no events that can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the request holds more than {EVENTS_MAX} events")]
    TooMany,
    #[error("the body has no list of events where its provider puts one")]
    NoList,
}

/// Splits one verified request into its events.
///
/// An object is one event; an array at one of the definition's places is one event per element; an
/// empty array is none, which is not an error.
///
/// # Errors
///
/// [`SplitError::Body`] when the body cannot be read; [`SplitError::TooMany`] above [`EVENTS_MAX`]:
/// no event of it is taken then.
pub fn split<'v>(
    source: &Source,
    verified: &'v Verified<'_>,
) -> Result<Vec<RawEvent<'v>>, SplitError> {
    let text = verified.opened(source)?.text();
    if let (Some(rule), Some(inner)) = (&source.rules.inside, verified.inside(source)?) {
        let found = rule.reads.read(text).map_err(BodyError::from)?;
        let holder = Some(Arc::new(Holder { found, outer: None }));
        return Ok(vec![RawEvent { element: Element { text: inner, holder }, number: None }]);
    }
    let elements = elements(&source.rules, text)?;
    let is_whole = matches!(elements.as_slice(), [only] if only.text.len() == text.len());
    Ok(elements
        .into_iter()
        .enumerate()
        .map(|(number, element)| RawEvent { element, number: (!is_whole).then_some(number) })
        .collect())
}

/// The events in a JSON text.
pub(super) fn elements<'t>(rules: &Rules, text: &'t str) -> Result<Vec<Element<'t>>, SplitError> {
    let mut found = Vec::new();
    if rules.takes.ndjson {
        for value in serde_json::Deserializer::from_str(text).into_iter::<&'t RawValue>() {
            let value = value.map_err(BodyError::from)?;
            elements_of(rules, value.get(), &mut found)?;
            if EVENTS_MAX < found.len() {
                return Err(SplitError::TooMany);
            }
        }
    } else {
        elements_of(rules, text, &mut found)?;
    }
    if let Some(slot) = rules.only_with {
        let mut kept = Vec::with_capacity(found.len());
        for element in found {
            let read = rules.reads[0].read(element.text).map_err(BodyError::from)?;
            if read.is_there(slot) {
                kept.push(element);
            }
        }
        return Ok(kept);
    }
    Ok(found)
}

fn elements_of<'t>(
    rules: &Rules,
    text: &'t str,
    out: &mut Vec<Element<'t>>,
) -> Result<(), SplitError> {
    let mut has_list = false;
    for path in &rules.paths {
        let before = out.len();
        has_list |= descend(path, 0, text, None, out)?;
        drop_opened(out, before);
    }
    if has_list {
        return Ok(());
    }
    match rules.otherwise {
        Otherwise::Unreadable if !rules.paths.is_empty() => Err(SplitError::NoList),
        Otherwise::Unreadable | Otherwise::OneEvent => {
            out.push(Element { text, holder: None });
            Ok(())
        }
    }
}

/// Takes out of those from `before` on whatever an earlier place has opened: what holds events is
/// none itself.
fn drop_opened(out: &mut Vec<Element<'_>>, before: usize) {
    if before == 0 || before == out.len() {
        return;
    }
    let start = |element: &Element<'_>| element.text.as_ptr().addr();
    let mut opened: Vec<usize> = out[..before].iter().map(start).collect();
    opened.sort_unstable();
    let mut number = 0;
    out.retain(|element| {
        number += 1;
        let from = start(element);
        let next = opened.get(opened.partition_point(|at| *at < from));
        number <= before || next.is_none_or(|at| from + element.text.len() <= *at)
    });
}

/// Adds the elements below `text`; whether there is an array at this level.
fn descend<'t>(
    path: &Path,
    number: usize,
    text: &'t str,
    outer: Option<&Arc<Holder<'t>>>,
    out: &mut Vec<Element<'t>>,
) -> Result<bool, SplitError> {
    let level = &path.levels[number];
    let found = level.reads.read(text).map_err(BodyError::from)?;
    let elements: Vec<&str> = match found.raw(level.array) {
        Some(array) if array.starts_with('[') => {
            array_of(array)?.into_iter().map(RawValue::get).collect()
        }
        Some(object) if path.single && object.starts_with('{') => vec![object],
        Some(_) | None => return Ok(false),
    };
    let holder = Arc::new(Holder { found, outer: outer.cloned() });
    for text in elements {
        if number + 1 < path.levels.len() {
            descend(path, number + 1, text, Some(&holder), out)?;
            continue;
        }
        let text = match &path.tail {
            None => text,
            Some((trie, slot)) => {
                match trie.read(text).map_err(BodyError::from)?.raw(*slot) {
                    Some(tail) => tail,
                    // What lacks the event stays whole, so that normalizing tells what is missing.
                    None => text,
                }
            }
        };
        out.push(Element { text, holder: Some(Arc::clone(&holder)) });
        if EVENTS_MAX < out.len() {
            return Err(SplitError::TooMany);
        }
    }
    Ok(true)
}

/// The elements of an array, at most one more than is allowed.
fn array_of(text: &str) -> Result<Vec<&RawValue>, SplitError> {
    struct Elements;
    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                if elements.len() <= EVENTS_MAX {
                    elements.push(element);
                }
            }
            Ok(elements)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let elements = json.deserialize_seq(Elements).map_err(BodyError::from)?;
    if EVENTS_MAX < elements.len() {
        return Err(SplitError::TooMany);
    }
    Ok(elements)
}
