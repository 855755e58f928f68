//! The members of a JSON object in the order in which they stand.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Names and values, the values as they were written where `V` is a `RawValue`. A map would lose the
/// order, and of members of one name all but the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members<K, V>(pub Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Members<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for InOrder<K, V> {
            type Value = Members<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn members_keep_their_order_their_writing_and_their_doubles() {
        let text = r#"{"b": 1.50, "a": {"x":[ ]}, "b": "\u0041"}"#;
        let members: Members<String, &RawValue> = serde_json::from_str(text).unwrap();
        let shown: Vec<_> = members.0.iter().map(|(n, v)| (n.as_str(), v.get())).collect();
        assert_eq!(shown, [("b", "1.50"), ("a", r#"{"x":[ ]}"#), ("b", r#""\u0041""#)]);
        let wrong = serde_json::from_str::<Members<String, u8>>("[1]").unwrap_err().to_string();
        assert!(wrong.contains("an object"), "{wrong}");
    }
}
