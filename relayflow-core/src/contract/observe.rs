//! What payloads had in common: types, presence, vocabularies and formats, and never a value but the
//! words of a vocabulary. A contract is learned from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::{Field, Format, Schema, Types};
use super::{DEPTH_MAX, NODES_MAX, text};

/// A vocabulary of more words than this is none.
const WORDS_MAX: usize = 24;
/// An object with more fields than this, most of which are seldom there, has free keys.
const SELDOM_FIELDS_MIN: usize = 12;

/// What was seen at one place of the payloads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// How many values were seen.
    #[serde(rename = "n")]
    pub count: u64,
    #[serde(rename = "null", default, skip_serializing_if = "is_zero")]
    nulls: u64,
    #[serde(rename = "bool", default, skip_serializing_if = "is_zero")]
    booleans: u64,
    #[serde(rename = "num", default, skip_serializing_if = "is_zero")]
    numbers: u64,
    #[serde(rename = "str", default, skip_serializing_if = "is_zero")]
    strings: u64,
    #[serde(rename = "arr", default, skip_serializing_if = "is_zero")]
    arrays: u64,
    #[serde(rename = "obj", default, skip_serializing_if = "is_zero")]
    objects: u64,
    #[serde(rename = "f", default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<Box<str>, Observed>,
    /// Values under keys that are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    free: Option<Box<Observed>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<Box<Observed>>,
    /// Set where nothing is to be learned.
    #[serde(default, skip_serializing_if = "is_false")]
    is_anything: bool,
    /// The words seen; empty once they were too many, or one was no word.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    words: BTreeSet<Box<str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    is_free_text: bool,
    /// The format that every text had that was not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(default, skip_serializing_if = "is_false")]
    has_no_format: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Observed {
    /// Takes in one payload.
    pub fn add(&mut self, value: &Value) {
        let mut room = NODES_MAX.saturating_sub(self.size());
        self.add_at(value, "", 0, &mut room);
    }

    /// How many places it holds.
    fn size(&self) -> usize {
        let fields: usize = self.fields.values().map(Self::size).sum();
        let inner = |observed: &Option<Box<Self>>| observed.as_ref().map_or(0, |o| o.size());
        1 + fields + inner(&self.free) + inner(&self.items)
    }

    fn add_at(&mut self, value: &Value, name: &str, depth: usize, room: &mut usize) {
        self.count += 1;
        if self.is_anything {
            return;
        }
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(_) => self.numbers += 1,
            Value::String(text) => {
                self.strings += 1;
                self.add_text(text, name);
            }
            Value::Array(elements) => {
                self.arrays += 1;
                for element in elements {
                    if let Some(items) = inner(&mut self.items, depth, room) {
                        items.add_at(element, name, depth + 1, room);
                    }
                }
            }
            Value::Object(members) => {
                self.objects += 1;
                let is_named_free = depth > 0 && text::names_free_keys(name);
                if is_named_free {
                    // A sender's own data: its values are anything, too.
                    self.free.get_or_insert_default().is_anything = true;
                    return;
                }
                for (key, member) in members {
                    let is_known = self.fields.contains_key(key.as_str());
                    let has_free_keys_only = self.free.is_some() && self.fields.is_empty();
                    let is_free = !is_known && (text::is_drawn(key) || has_free_keys_only);
                    if is_free {
                        self.add_free(member, depth, room);
                    } else if let Some(field) = self.field(key, depth, room) {
                        field.add_at(member, key, depth + 1, room);
                    }
                }
                if self.is_seldom() {
                    self.free_all();
                }
            }
        }
    }

    fn field(&mut self, key: &str, depth: usize, room: &mut usize) -> Option<&mut Self> {
        if !self.fields.contains_key(key) {
            take(depth, room)?;
            self.fields.insert(key.into(), Self::default());
        }
        self.fields.get_mut(key)
    }

    fn add_free(&mut self, member: &Value, depth: usize, room: &mut usize) {
        if let Some(free) = inner(&mut self.free, depth, room) {
            free.add_at(member, "", depth + 1, room);
        }
    }

    fn add_text(&mut self, text: &str, name: &str) {
        if text.is_empty() {
            // No format, and a member of any vocabulary.
            if !self.is_free_text && text::names_words(name) {
                self.words.insert("".into());
            }
            return;
        }
        if !self.has_no_format {
            let format = text::format_of(text);
            let is_first = self.format.is_none();
            if format.is_none() || !(is_first || self.format == format) {
                self.format = None;
                self.has_no_format = true;
            } else {
                self.format = format;
            }
        }
        if self.is_free_text {
            return;
        }
        if text::names_words(name) && text::is_word(text) {
            self.words.insert(text.into());
        }
        if !text::names_words(name) || !text::is_word(text) || WORDS_MAX < self.words.len() {
            self.words.clear();
            self.is_free_text = true;
        }
    }

    /// Many fields, most of them in few of the objects: keys that are drawn, not chosen.
    fn is_seldom(&self) -> bool {
        let seldom = self.fields.values().filter(|field| field.count * 4 < self.objects).count();
        SELDOM_FIELDS_MIN < seldom && self.fields.len() < seldom * 5 / 4
    }

    fn free_all(&mut self) {
        let mut free = self.free.take().map_or_else(Self::default, |free| *free);
        for (_, field) in std::mem::take(&mut self.fields) {
            free.merge(field);
        }
        self.free = Some(Box::new(free));
    }

    /// Takes in what was seen elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.numbers += other.numbers;
        self.strings += other.strings;
        self.arrays += other.arrays;
        self.objects += other.objects;
        for (key, field) in other.fields {
            self.fields.entry(key).or_default().merge(field);
        }
        merge_inner(&mut self.free, other.free);
        merge_inner(&mut self.items, other.items);
        self.is_anything |= other.is_anything;
        self.is_free_text |= other.is_free_text;
        self.words.extend(other.words);
        if self.is_free_text || WORDS_MAX < self.words.len() {
            self.words.clear();
            self.is_free_text = true;
        }
        self.has_no_format |= other.has_no_format;
        self.format = match (self.format, other.format) {
            (one, None) | (None, one) => one,
            (one, other) if one == other => one,
            _ => {
                self.has_no_format = true;
                None
            }
        };
        if self.has_no_format {
            self.format = None;
        }
    }

    /// What it makes of a contract: a field is required if every object had it.
    #[must_use]
    pub fn to_schema(&self) -> Schema {
        if self.is_anything {
            return Schema::default();
        }
        let types = [
            (self.nulls, Types::NULL),
            (self.booleans, Types::BOOLEAN),
            (self.numbers, Types::NUMBER),
            (self.strings, Types::STRING),
            (self.arrays, Types::ARRAY),
            (self.objects, Types::OBJECT),
        ];
        let types = types.into_iter().filter(|(count, _)| *count > 0);
        let types = types.fold(Types::default(), |all, (_, one)| all.with(one));
        let fields = self.fields.iter().map(|(key, field)| {
            let is_required = field.count == self.objects;
            (key.clone(), Field { schema: field.to_schema(), is_required })
        });
        let free = match &self.free {
            Some(free) => Some(Box::new(free.to_schema())),
            // Never anything in it: nothing can be said of its keys.
            None if self.objects > 0 && self.fields.is_empty() => Some(Box::default()),
            None => None,
        };
        // JSON Schema's vocabulary would forbid every other type.
        let has_words =
            types.without_null() == Types::STRING && self.words.iter().any(|word| !word.is_empty());
        Schema {
            types,
            fields: fields.collect(),
            free,
            items: self.items.as_ref().map(|items| Box::new(items.to_schema())),
            words: has_words.then(|| self.words.clone()),
            format: self.format,
            about: None,
        }
    }
}

fn take(depth: usize, room: &mut usize) -> Option<()> {
    if DEPTH_MAX <= depth {
        return None;
    }
    *room = room.checked_sub(1)?;
    Some(())
}

fn inner<'o>(
    place: &'o mut Option<Box<Observed>>,
    depth: usize,
    room: &mut usize,
) -> Option<&'o mut Observed> {
    if place.is_none() {
        take(depth, room)?;
    }
    Some(place.get_or_insert_default())
}

fn merge_inner(into: &mut Option<Box<Observed>>, other: Option<Box<Observed>>) {
    if let Some(other) = other {
        into.get_or_insert_default().merge(*other);
    }
}
