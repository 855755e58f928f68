//! JSON Schema of the wire types, read off the types themselves.
//!
//! A type is asked to read itself from [`Probe`], which has nothing to read but notes what is asked
//! for, and answers each question with something empty. So the document cannot differ from what is
//! sent, and the types need no second description.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Visitor};
use serde_json::{Map, Value, json};

/// The name under which serde_json hands over JSON that is not looked into.
const RAW: &str = "$serde_json::private::RawValue";

/// The schema of a type, and of every type in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schema {
    pub(crate) root: Value,
    pub(crate) components: BTreeMap<String, Value>,
}

impl Schema {
    pub(crate) fn of<T: DeserializeOwned>() -> Self {
        let mut components = BTreeMap::new();
        let mut root = Value::Null;
        let probe = Probe { out: &mut root, components: &mut components };
        // Every wire type gets by with empty values; the tests read all of them.
        T::deserialize(probe).expect("a wire type can be probed");
        Self { root, components }
    }
}

struct Probe<'a> {
    out: &'a mut Value,
    components: &'a mut BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

impl de::Error for Unknown {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! plain {
    ($($method:ident $schema:literal $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unknown> {
            *self.out = json!({ "type": $schema });
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Unknown;

    plain! {
        deserialize_bool "boolean" visit_bool false;
        deserialize_i8 "integer" visit_i8 0;
        deserialize_i16 "integer" visit_i16 0;
        deserialize_i32 "integer" visit_i32 0;
        deserialize_i64 "integer" visit_i64 0;
        deserialize_u8 "integer" visit_u8 0;
        deserialize_u16 "integer" visit_u16 0;
        deserialize_u32 "integer" visit_u32 0;
        deserialize_u64 "integer" visit_u64 0;
        deserialize_f32 "number" visit_f32 0.0;
        deserialize_f64 "number" visit_f64 0.0;
        deserialize_str "string" visit_str "";
        deserialize_string "string" visit_str "";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unknown> {
        *self.out = json!({});
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unknown> {
        let mut inner = Value::Null;
        let done =
            visitor.visit_some(Probe { out: &mut inner, components: &mut *self.components })?;
        *self.out = json!({ "anyOf": [inner, { "type": "null" }] });
        Ok(done)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unknown> {
        self.elements(1, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unknown> {
        self.elements(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unknown> {
        *self.out = json!({ "type": "object" });
        visitor.visit_map(Fields {
            names: &[],
            found: &mut Map::new(),
            components: self.components,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unknown> {
        let mut found = Map::new();
        let names = Fields { names: fields, found: &mut found, components: &mut *self.components };
        let done = visitor.visit_map(names)?;
        let is_optional = |schema: &Value| schema.get("anyOf").is_some();
        let required: Vec<_> =
            found.iter().filter(|(_, schema)| !is_optional(schema)).map(|(name, _)| name).collect();
        let schema = json!({ "type": "object", "required": required, "properties": found });
        self.components.insert(name.to_owned(), schema);
        *self.out = json!({ "$ref": format!("#/components/schemas/{name}") });
        Ok(done)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unknown> {
        if name == RAW {
            *self.out = json!({});
            return visitor.visit_map(Raw { is_done: false });
        }
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple_struct enum identifier ignored_any
    }
}

impl<'a> Probe<'a> {
    fn elements<'de, V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unknown> {
        let mut items = Value::Null;
        let elements =
            Elements { left: length, items: &mut items, components: &mut *self.components };
        let done = visitor.visit_seq(elements)?;
        *self.out = json!({ "type": "array", "items": items });
        Ok(done)
    }
}

struct Elements<'a> {
    left: usize,
    items: &'a mut Value,
    components: &'a mut BTreeMap<String, Value>,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Unknown;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unknown> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Probe { out: self.items, components: self.components }).map(Some)
    }
}

struct Fields<'a> {
    names: &'static [&'static str],
    found: &'a mut Map<String, Value>,
    components: &'a mut BTreeMap<String, Value>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Unknown;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unknown> {
        let Some(name) = self.names.first() else { return Ok(None) };
        seed.deserialize(de::value::StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unknown> {
        let (name, rest) =
            self.names.split_first().ok_or_else(|| Unknown("no field is left".to_owned()))?;
        self.names = rest;
        let mut schema = Value::Null;
        let done =
            seed.deserialize(Probe { out: &mut schema, components: &mut *self.components })?;
        self.found.insert((*name).to_owned(), schema);
        Ok(done)
    }
}

struct Raw {
    is_done: bool,
}

impl<'de> de::MapAccess<'de> for Raw {
    type Error = Unknown;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unknown> {
        if std::mem::replace(&mut self.is_done, true) {
            return Ok(None);
        }
        seed.deserialize(de::value::StrDeserializer::new(RAW)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unknown> {
        seed.deserialize(de::value::StrDeserializer::new("null"))
    }
}

#[cfg(test)]
mod tests {
    use relayflow_core::api;

    use super::*;

    #[test]
    fn a_schema_is_what_the_type_says() {
        let schema = Schema::of::<api::IngestedEvent>();
        insta::assert_json_snapshot!(schema.components, @r##"
        {
          "IngestedEvent": {
            "properties": {
              "duplicate": {
                "type": "boolean"
              },
              "id": {
                "type": "string"
              }
            },
            "required": [
              "duplicate",
              "id"
            ],
            "type": "object"
          }
        }
        "##);
        assert_eq!(schema.root, json!({ "$ref": "#/components/schemas/IngestedEvent" }));
    }

    #[test]
    fn nested_optional_and_raw_members_are_found() {
        let schema = Schema::of::<api::Event>();
        for name in ["Event", "Task", "Attempt", "TaskCounts"] {
            assert!(schema.components.contains_key(name), "{name}");
        }
        let event = &schema.components["Event"];
        assert_eq!(event["properties"]["type"], json!({ "type": "string" }));
        assert_eq!(event["properties"]["payload"], json!({ "anyOf": [{}, { "type": "null" }] }));
        assert!(event["required"].as_array().unwrap().contains(&json!("idempotency_key")));
        assert!(!event["required"].as_array().unwrap().contains(&json!("subject")));
    }
}
