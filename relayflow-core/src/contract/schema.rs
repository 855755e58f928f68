//! A contract: what a payload is expected to look like. The subset of JSON Schema (2020-12) that
//! drift can be graded by; a keyword outside of it is an error and not silently ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::text;
use super::{DEPTH_MAX, NODES_MAX};

/// The dialect that contracts are written in.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A set of JSON's types. Integers and other numbers are one type: an amount that was whole so far
/// proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Types(u8);

impl Types {
    pub const NULL: Self = Self(1);
    pub const BOOLEAN: Self = Self(2);
    pub const NUMBER: Self = Self(4);
    pub const STRING: Self = Self(8);
    pub const ARRAY: Self = Self(16);
    pub const OBJECT: Self = Self(32);

    const NAMED: [(Self, &'static str); 6] = [
        (Self::NULL, "null"),
        (Self::BOOLEAN, "boolean"),
        (Self::NUMBER, "number"),
        (Self::STRING, "string"),
        (Self::ARRAY, "array"),
        (Self::OBJECT, "object"),
    ];

    /// The type of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Nothing is said: any type will do.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its types but null.
    #[must_use]
    pub fn without_null(self) -> Self {
        Self(self.0 & !Self::NULL.0)
    }

    /// The names of its types.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let named = Self::NAMED.into_iter();
        named.filter(|(one, _)| self.contains(*one)).map(|(_, name)| name).collect()
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "integer" {
            return Some(Self::NUMBER);
        }
        Self::NAMED.into_iter().find(|(_, n)| *n == name).map(|(one, _)| one)
    }
}

/// `string`, `string or null`, `anything`.
impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("anything");
        }
        let mut names = self.names();
        // The type that matters first.
        names.sort_by_key(|name| *name == "null");
        f.write_str(&names.join(" or "))
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a text is written, as JSON Schema names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    DateTime,
    Date,
    Uuid,
    Email,
    Uri,
}

impl Format {
    const ALL: [Self; 5] = [Self::DateTime, Self::Date, Self::Uuid, Self::Email, Self::Uri];

    /// JSON Schema's name of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Email => "email",
            Self::Uri => "uri",
        }
    }
}

/// What is expected of one value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    pub types: Types,
    /// The members that an object is known to have.
    pub fields: BTreeMap<Box<str>, Field>,
    /// What the values under free keys are; `None`: a key that is not in `fields` is news.
    pub free: Option<Box<Schema>>,
    /// What the elements of an array are; `None`: none was ever seen.
    pub items: Option<Box<Schema>>,
    /// The vocabulary of a text; `None`: free text.
    pub words: Option<BTreeSet<Box<str>>>,
    pub format: Option<Format>,
    /// What it means, for people.
    pub about: Option<Box<str>>,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    pub schema: Schema,
    /// Whether every such object has it.
    pub is_required: bool,
}

/// What is wrong with a contract, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", if pointer.is_empty() { "the schema" } else { pointer })]
pub struct SchemaError {
    /// A JSON Pointer into the schema.
    pub pointer: String,
    pub message: String,
}

/// Keywords that a contract may have.
const KEYWORDS: [&str; 13] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "format",
];

impl Schema {
    /// Reads a contract.
    ///
    /// # Errors
    ///
    /// [`SchemaError`]: not a schema, a keyword that a contract does not know, or too large.
    pub fn parse(document: &Value) -> Result<Self, SchemaError> {
        let mut reader = Reader { nodes: 0 };
        reader.schema(document, "", 0)
    }

    /// The contract as a JSON Schema, its parts in an order that makes for small differences.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        if let Some(about) = &self.about {
            out.insert("description".to_owned(), json!(about));
        }
        let names = self.types.names();
        match names.as_slice() {
            [] => {}
            [one] => drop(out.insert("type".to_owned(), json!(one))),
            several => drop(out.insert("type".to_owned(), json!(several))),
        }
        if let Some(format) = self.format {
            out.insert("format".to_owned(), json!(format.as_str()));
        }
        if let Some(words) = &self.words {
            let mut values: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            if self.types.contains(Types::NULL) {
                values.push(Value::Null);
            }
            out.insert("enum".to_owned(), Value::Array(values));
        }
        if !self.fields.is_empty() {
            let fields = self.fields.iter();
            let fields: Map<_, _> =
                fields.map(|(name, field)| (name.to_string(), field.schema.to_json())).collect();
            out.insert("properties".to_owned(), Value::Object(fields));
            let required = self.fields.iter().filter(|(_, field)| field.is_required);
            let required: Vec<Value> = required.map(|(name, _)| json!(name)).collect();
            if !required.is_empty() {
                out.insert("required".to_owned(), Value::Array(required));
            }
        }
        if let Some(free) = &self.free {
            out.insert("additionalProperties".to_owned(), free.to_json());
        }
        if let Some(items) = &self.items {
            out.insert("items".to_owned(), items.to_json());
        }
        Value::Object(out)
    }

    /// The contract as a document of its own: with its dialect, its name, and what it is of.
    #[must_use]
    pub fn to_document(&self, title: &str, comment: Option<&str>) -> Value {
        let mut out = Map::new();
        out.insert("$schema".to_owned(), json!(DIALECT));
        out.insert("title".to_owned(), json!(title));
        if let Some(comment) = comment {
            out.insert("$comment".to_owned(), json!(comment));
        }
        if let Value::Object(rest) = self.to_json() {
            out.extend(rest);
        }
        Value::Object(out)
    }

    /// How many fields it names, at every depth.
    #[must_use]
    pub fn count(&self) -> usize {
        let fields: usize = self.fields.values().map(|field| 1 + field.schema.count()).sum();
        let inner = |schema: &Option<Box<Self>>| schema.as_ref().map_or(0, |s| s.count());
        fields + inner(&self.items) + inner(&self.free)
    }

    /// The place that `path` names (`/data/items/*/id`), if the contract has it.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        steps(path).try_fold(self, |schema, step| schema.step(&step))
    }

    fn step(&self, step: &str) -> Option<&Self> {
        if step == "*" {
            return self.items.as_deref().or(self.free.as_deref());
        }
        self.fields.get(step).map(|field| &field.schema)
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, path: &str) -> Option<&mut Self> {
        steps(path).try_fold(self, |schema, step| {
            if step == "*" {
                return schema.items.as_deref_mut().or(schema.free.as_deref_mut());
            }
            schema.fields.get_mut(step.as_str()).map(|field| &mut field.schema)
        })
    }
}

/// The steps of a path: keys, and `*` for every element or free key.
pub(super) fn steps(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"))
}

/// A key as a step of a path.
#[must_use]
pub fn escape(key: &str) -> String {
    if key.contains(['~', '/']) {
        key.replace('~', "~0").replace('/', "~1")
    } else {
        key.to_owned()
    }
}

struct Reader {
    nodes: usize,
}

impl Reader {
    fn schema(
        &mut self,
        document: &Value,
        pointer: &str,
        depth: usize,
    ) -> Result<Schema, SchemaError> {
        let error =
            |at: &str, message: String| SchemaError { pointer: format!("{pointer}{at}"), message };
        let fail = |at: &str, message: String| Err(error(at, message));
        self.nodes += 1;
        if NODES_MAX < self.nodes || DEPTH_MAX + 1 < depth {
            return fail(
                "",
                format!("a contract names at most {NODES_MAX} places, {DEPTH_MAX} deep"),
            );
        }
        let object = match document {
            Value::Object(object) => object,
            Value::Bool(true) => return Ok(Schema::default()),
            Value::Null
            | Value::Bool(false)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => return fail("", "a schema is an object".to_owned()),
        };
        if let Some(unknown) = object.keys().find(|key| !KEYWORDS.contains(&key.as_str())) {
            let known = KEYWORDS.get(5..).unwrap_or_default().join(", ");
            let message = format!("a contract does not know this keyword; it says {known}");
            return fail(&format!("/{}", escape(unknown)), message);
        }
        let mut schema = Schema {
            types: match object.get("type") {
                None => Types::default(),
                Some(value) => types(value).map_err(|message| error("/type", message))?,
            },
            about: text_of(object, "description"),
            ..Schema::default()
        };
        if let Some(value) = object.get("format") {
            // Formats that are not known here say nothing, as JSON Schema has it.
            schema.format = Format::ALL.into_iter().find(|f| value.as_str() == Some(f.as_str()));
        }
        schema.words = match (object.get("enum"), object.get("const")) {
            (Some(Value::Array(values)), None) => words(values.iter()),
            (None, Some(value)) => words(std::iter::once(value)),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err("`enum` or `const`, not both".to_owned()),
            (Some(_), None) => Err("it is not a list".to_owned()),
        }
        .map_err(|message| error("/enum", message))?;
        if let Some(fields) = object.get("properties") {
            let Value::Object(fields) = fields else {
                return fail("/properties", "it is not an object".to_owned());
            };
            for (name, inner) in fields {
                let at = format!("{pointer}/properties/{}", escape(name));
                let schema_of = self.schema(inner, &at, depth + 1)?;
                let field = Field { schema: schema_of, is_required: false };
                schema.fields.insert(name.as_str().into(), field);
            }
        }
        if let Some(required) = object.get("required") {
            let Value::Array(required) = required else {
                return fail("/required", "it is not a list".to_owned());
            };
            for name in required {
                let Some(name) = name.as_str() else {
                    return fail("/required", "it is a list of names".to_owned());
                };
                schema.fields.entry(name.into()).or_default().is_required = true;
            }
        }
        schema.free = match object.get("additionalProperties") {
            None | Some(Value::Bool(false)) => None,
            Some(inner) => {
                let at = format!("{pointer}/additionalProperties");
                Some(Box::new(self.schema(inner, &at, depth + 1)?))
            }
        };
        if let Some(inner) = object.get("items") {
            let at = format!("{pointer}/items");
            schema.items = Some(Box::new(self.schema(inner, &at, depth + 1)?));
        }
        Ok(schema)
    }
}

fn text_of(object: &Map<String, Value>, key: &str) -> Option<Box<str>> {
    object.get(key).and_then(Value::as_str).map(Into::into)
}

fn types(value: &Value) -> Result<Types, String> {
    let one = |value: &Value| {
        let name = value.as_str().ok_or("a type is a name")?;
        Types::from_name(name).ok_or_else(|| format!("`{name}` is no type of JSON"))
    };
    let Value::Array(several) = value else { return one(value) };
    several.iter().try_fold(Types::default(), |types, value| Ok(types.with(one(value)?)))
}

/// A vocabulary: texts, and null where it may be null. One of anything else says nothing to drift.
fn words<'v>(
    values: impl Iterator<Item = &'v Value>,
) -> Result<Option<BTreeSet<Box<str>>>, String> {
    let mut words = BTreeSet::new();
    for value in values {
        match value {
            Value::String(word) => drop(words.insert(word.as_str().into())),
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err("a vocabulary is of texts".to_owned());
            }
        }
    }
    Ok((!words.is_empty()).then_some(words))
}

/// Whether a text keeps the vocabulary and the format that are expected. An empty text keeps both.
pub(super) fn keeps_words(schema: &Schema, text: &str) -> bool {
    schema.words.as_ref().is_none_or(|words| text.is_empty() || words.contains(text))
}

pub(super) fn keeps_format(schema: &Schema, text: &str) -> bool {
    schema.format.is_none_or(|format| text::has_format(text, format))
}
