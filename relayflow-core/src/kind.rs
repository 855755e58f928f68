//! The canonical kinds and their attributes: `kinds.toml`, read once.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde_json::json;

/// The file that is compiled in.
const FILE: &str = include_str!("../kinds.toml");

/// What an attribute's value is, and so how it is written into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    Text,
    /// A mail address, without a name around it.
    Email,
    /// ISO 4217, upper case.
    Currency,
    /// A whole number of at most 64 bits.
    Integer,
    Boolean,
    /// RFC 3339 in UTC with microseconds.
    Time,
    Url,
    Phone,
}

/// One attribute: the same meaning and type in every kind that has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    #[serde(rename = "type")]
    pub value: AttributeType,
    pub about: String,
}

/// One canonical kind, such as `payment.failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub name: Arc<str>,
    pub category: Arc<str>,
    /// What its object is, as a sentence: that of every kind with the same first word.
    pub about: Arc<str>,
    /// The names of its attributes, most important first.
    pub attributes: Vec<Arc<str>>,
}

/// All kinds, by name.
#[derive(Debug)]
pub struct Kinds {
    kinds: BTreeMap<Arc<str>, Kind>,
    attributes: BTreeMap<Arc<str>, Attribute>,
    categories: BTreeMap<Arc<str>, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    attribute: BTreeMap<Arc<str>, Attribute>,
    category: BTreeMap<Arc<str>, Category>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    about: String,
    object: BTreeMap<String, Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    about: Arc<str>,
    events: Vec<String>,
    attributes: Vec<Arc<str>>,
}

/// The kinds that RelayFlow knows.
#[must_use]
pub fn kinds() -> &'static Kinds {
    static KINDS: LazyLock<Kinds> =
        LazyLock::new(|| read(FILE).expect("kinds.toml is compiled in, and a test reads it"));
    &KINDS
}

fn read(text: &str) -> Result<Kinds, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut kinds = BTreeMap::new();
    let mut categories = BTreeMap::new();
    for (category, Category { about, object }) in file.category {
        for (object, Object { about, events, attributes }) in object {
            if let Some(unknown) = attributes.iter().find(|a| !file.attribute.contains_key(*a)) {
                return Err(format!("`{object}` has the unknown attribute `{unknown}`"));
            }
            for event in events {
                let name: Arc<str> = format!("{object}.{event}").into();
                let kind = Kind {
                    name: Arc::clone(&name),
                    category: Arc::clone(&category),
                    about: Arc::clone(&about),
                    attributes: attributes.clone(),
                };
                if kinds.insert(Arc::clone(&name), kind).is_some() {
                    return Err(format!("`{name}` is there twice"));
                }
            }
        }
        categories.insert(category, about);
    }
    Ok(Kinds { kinds, attributes: file.attribute, categories })
}

impl Kinds {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    /// Every kind, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }

    /// Every category with what it is about.
    pub fn categories(&self) -> impl Iterator<Item = (&str, &str)> {
        self.categories.iter().map(|(name, about)| (&**name, about.as_str()))
    }

    /// The JSON Schema of a kind's attributes. Each is optional: a payload may not say it.
    #[must_use]
    pub fn schema(&self, kind: &Kind) -> serde_json::Value {
        let properties: serde_json::Map<_, _> = kind
            .attributes
            .iter()
            .filter_map(|name| Some((name.to_string(), property(self.attribute(name)?))))
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": &*kind.name,
            "description": &*kind.about,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

fn property(attribute: &Attribute) -> serde_json::Value {
    let about = &attribute.about;
    match attribute.value {
        AttributeType::Text | AttributeType::Phone => {
            json!({ "type": "string", "description": about })
        }
        AttributeType::Email => {
            json!({ "type": "string", "format": "email", "description": about })
        }
        AttributeType::Currency => {
            json!({ "type": "string", "pattern": "^[A-Z]{3}$", "description": about })
        }
        AttributeType::Integer => json!({ "type": "integer", "description": about }),
        AttributeType::Boolean => json!({ "type": "boolean", "description": about }),
        AttributeType::Time => {
            json!({ "type": "string", "format": "date-time", "description": about })
        }
        AttributeType::Url => json!({ "type": "string", "format": "uri", "description": about }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_kinds_are_whole() {
        let kinds = read(FILE).unwrap();
        for name in [
            "payment.failed",
            "payment.succeeded",
            "payment.refunded",
            "payment.disputed",
            "contact.created",
            "email.bounced",
            "order.created",
            "message.received",
            "code.pushed",
            "pull_request.opened",
            "user.created",
            "meeting.started",
            "form.submitted",
            "app.uninstalled",
        ] {
            assert!(kinds.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_attribute_is_used_and_every_kind_has_a_schema() {
        let kinds = kinds();
        for name in kinds.attributes.keys() {
            assert!(kinds.iter().any(|k| k.attributes.contains(name)), "{name} is in no kind");
        }
        for kind in kinds.iter() {
            let schema = kinds.schema(kind);
            assert_eq!(
                schema["properties"].as_object().map(serde_json::Map::len),
                Some(kind.attributes.len()),
                "{} names an attribute twice",
                kind.name
            );
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_named() {
        let text = "[attribute]\n[category.a]\nabout = ''\n[category.a.object.b]\nabout = ''\nevents = ['c']\nattributes = ['d']";
        assert_eq!(read(text).unwrap_err(), "`b` has the unknown attribute `d`");
    }
}
