//! One payload held against a contract: every difference, where it is, and what it is worth.

use serde_json::{Map, Value};

use super::observe::Observed;
use super::schema::{Schema, Types, escape, keeps_format, keeps_words};
use super::{DEPTH_MAX, text};
use crate::task::words;

/// The most differences that one payload is charged with: one of another shape altogether has one
/// per field, and the first of them say it all.
pub const DIFFERENCES_MAX: usize = 64;
/// How much of a vocabulary's word is kept, in bytes.
const WORD_BYTES_MAX: usize = 64;

words! {
    /// How something differs from what is expected.
    Change {
        FieldAdded = "field_added",
        FieldGone = "field_gone",
        TypeChanged = "type_changed",
        NewlyNull = "newly_null",
        ValueAdded = "value_added",
        FormatChanged = "format_changed",
        /// A type of event that nobody knows.
        TypeAdded = "type_added",
        /// Events have no type any more where they had one.
        TypeGone = "type_gone",
        /// A verified request that the definition cannot read.
        Unreadable = "unreadable",
        HeaderAdded = "header_added",
        HeaderGone = "header_gone",
    }
}

words! {
    /// What a difference means to whoever reads the field.
    Grade {
        /// What was read before reads as before.
        Additive = "additive",
        /// What reads it may fail, or read something else.
        Breaking = "breaking",
    }
}

/// One way in which a payload differs from its contract. It names places, types and words of
/// vocabularies; never another value of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub change: Change,
    pub grade: Grade,
    /// Where: `/data/object/items/*/id`, `*` for every element. Empty for the payload itself.
    pub path: String,
    /// What the contract says: `string`, `required number`.
    pub was: String,
    /// What is there: `null`, `absent`, a new word.
    pub is: String,
    /// What may have become of it: `moved to /data/items/*/period`.
    pub hint: Option<String>,
    /// What an added field looks like, to be taken into the contract.
    pub shape: Option<Schema>,
}

/// Every difference of `value` from `schema`, the first [`DIFFERENCES_MAX`] of them.
#[must_use]
pub fn compare(schema: &Schema, value: &Value) -> Vec<Difference> {
    let mut walk = Walk { found: vec![] };
    walk.value(schema, value, &mut String::new(), 0);
    let mut found = walk.found;
    // Payloads of one shape differ alike, whatever stands first in them.
    found.sort_by(|one, other| {
        (&one.path, one.change, &one.is).cmp(&(&other.path, other.change, &other.is))
    });
    hint(&mut found, schema);
    found
}

struct Walk {
    found: Vec<Difference>,
}

impl Walk {
    fn value(&mut self, schema: &Schema, value: &Value, path: &mut String, depth: usize) {
        if DIFFERENCES_MAX <= self.found.len() || DEPTH_MAX < depth {
            return;
        }
        let is = Types::of(value);
        if !schema.types.is_any() && !schema.types.contains(is) {
            return self.type_changed(schema, is, path);
        }
        match value {
            Value::String(text) => self.text(schema, text, path),
            Value::Array(elements) => {
                let Some(items) = &schema.items else { return };
                for element in elements {
                    within(path, "*", |path| self.value(items, element, path, depth + 1));
                }
            }
            Value::Object(members) => self.object(schema, members, path, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn object(
        &mut self,
        schema: &Schema,
        members: &Map<String, Value>,
        path: &mut String,
        depth: usize,
    ) {
        for (key, field) in &schema.fields {
            if field.is_required && !members.contains_key(&**key) {
                let was = format!("required {}", field.schema.types);
                let is = "absent".to_owned();
                within(path, key, |path| self.note(Change::FieldGone, path, was, is, None));
            }
        }
        for (key, member) in members {
            match (schema.fields.get(key.as_str()), &schema.free) {
                (Some(field), _) => {
                    within(path, key, |path| self.value(&field.schema, member, path, depth + 1));
                }
                (None, Some(free)) => {
                    within(path, "*", |path| self.value(free, member, path, depth + 1));
                }
                // An object of which nothing is known says nothing about its keys.
                (None, None) if schema.fields.is_empty() => {}
                (None, None) if text::is_drawn(key) => {}
                (None, None) => {
                    let mut seen = Observed::default();
                    seen.add(member);
                    let shape = seen.to_schema();
                    let is = Types::of(member).to_string();
                    within(path, key, |path| {
                        self.note(Change::FieldAdded, path, "absent".to_owned(), is, Some(shape));
                    });
                }
            }
        }
    }

    fn text(&mut self, schema: &Schema, text: &str, path: &str) {
        if !keeps_words(schema, text) {
            // A vocabulary's new member is what an operator must see; a text that is no word may be
            // anybody's data.
            let is = if text::is_word(text) && text.len() <= WORD_BYTES_MAX {
                text.to_owned()
            } else {
                "a text that is no word".to_owned()
            };
            let words = schema.words.iter().flatten();
            let mut was: Vec<&str> = words.map(|word| &**word).take(9).collect();
            if was.len() == 9 {
                was.pop();
                was.push("…");
            }
            self.note(Change::ValueAdded, path, was.join(", "), is, None);
        }
        if !keeps_format(schema, text) {
            let was = schema.format.map_or_else(String::new, |format| format.as_str().to_owned());
            let is = text::format_of(text).map_or("another text", |format| format.as_str());
            self.note(Change::FormatChanged, path, was, is.to_owned(), None);
        }
    }

    fn type_changed(&mut self, schema: &Schema, is: Types, path: &str) {
        let change = if is == Types::NULL { Change::NewlyNull } else { Change::TypeChanged };
        self.note(change, path, schema.types.to_string(), is.to_string(), None);
        // Never anything but null so far: there was nothing that could have been read.
        if schema.types == Types::NULL
            && let Some(last) = self.found.last_mut()
        {
            last.grade = Grade::Additive;
        }
    }

    fn note(&mut self, change: Change, path: &str, was: String, is: String, shape: Option<Schema>) {
        let found = Difference {
            change,
            grade: change.grade(),
            path: path.to_owned(),
            was,
            is,
            hint: None,
            shape,
        };
        // The elements of a list tend to differ alike.
        let is_known = self.found.iter().any(|other| other.key() == found.key());
        if !is_known && self.found.len() < DIFFERENCES_MAX {
            self.found.push(found);
        }
    }
}

/// Runs `work` with `key` at the path's end.
fn within(path: &mut String, key: &str, work: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&escape(key));
    work(path);
    path.truncate(length);
}

/// Says what may have become of each field that is gone: the same name and type elsewhere is a move,
/// the same type in its place under another name a new name.
fn hint(found: &mut [Difference], schema: &Schema) {
    let shape_of = |one: &Difference| match (one.change, &one.shape) {
        (Change::FieldAdded, Some(shape)) => Some(shape.types.without_null()),
        (Change::FieldGone, _) => schema.at(&one.path).map(|s| s.types.without_null()),
        _ => None,
    };
    let gone: Vec<usize> = indices(found, Change::FieldGone);
    let added: Vec<usize> = indices(found, Change::FieldAdded);
    for &from in &gone {
        let was = shape_of(&found[from]);
        let (parent, name) = split(&found[from].path);
        let same_name = added.iter().copied().find_map(|to| {
            let (_, other) = split(&found[to].path);
            let there = (other == name && shape_of(&found[to]) == was)
                .then(|| found[to].path.clone())
                // Or within what is new.
                .or_else(|| inside(found[to].shape.as_ref()?, &found[to].path, name, was));
            there.map(|place| (to, format!("moved to {place}"), "moved from"))
        });
        let new_name = || {
            let mut alike = added
                .iter()
                .copied()
                .filter(|&to| split(&found[to].path).0 == parent && shape_of(&found[to]) == was);
            let to = alike.next().filter(|_| alike.next().is_none())?;
            Some((to, format!("may be {} now", found[to].path), "may have been"))
        };
        if let Some((to, said, back)) = same_name.or_else(new_name) {
            let from_path = found[from].path.clone();
            found[from].hint = Some(said);
            found[to].hint.get_or_insert_with(|| format!("{back} {from_path}"));
        }
    }
}

fn indices(found: &[Difference], change: Change) -> Vec<usize> {
    (0..found.len()).filter(|&i| found[i].change == change).collect()
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Where in an added part a field of this name and type is.
fn inside(shape: &Schema, path: &str, name: &str, types: Option<Types>) -> Option<String> {
    for (key, field) in &shape.fields {
        let here = format!("{path}/{}", escape(key));
        if escape(key) == name && Some(field.schema.types.without_null()) == types {
            return Some(here);
        }
        if let Some(found) = inside(&field.schema, &here, name, types) {
            return Some(found);
        }
    }
    inside(shape.items.as_deref()?, &format!("{path}/*"), name, types)
}

impl Change {
    /// What a change of this sort is worth, as a rule.
    #[must_use]
    pub fn grade(self) -> Grade {
        match self {
            Self::FieldAdded | Self::ValueAdded | Self::TypeAdded | Self::HeaderAdded => {
                Grade::Additive
            }
            Self::FieldGone
            | Self::TypeChanged
            | Self::NewlyNull
            | Self::FormatChanged
            | Self::TypeGone
            | Self::Unreadable
            | Self::HeaderGone => Grade::Breaking,
        }
    }

    /// Whether it is about what an event looks like, and not about its source.
    #[must_use]
    pub fn is_of_an_event(self) -> bool {
        !matches!(
            self,
            Self::TypeAdded
                | Self::TypeGone
                | Self::Unreadable
                | Self::HeaderAdded
                | Self::HeaderGone
        )
    }

    /// Whether what is there now tells two differences at one place apart.
    #[must_use]
    pub fn is_told_by_value(self) -> bool {
        matches!(self, Self::ValueAdded | Self::TypeAdded | Self::TypeChanged)
    }
}

impl Difference {
    /// What makes two differences of one source and type the same.
    #[must_use]
    pub fn key(&self) -> (Change, &str, &str) {
        let value = if self.change.is_told_by_value() { self.is.as_str() } else { "" };
        (self.change, &self.path, value)
    }
}
