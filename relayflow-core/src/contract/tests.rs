use proptest::prelude::*;
use serde_json::{Value, json};

use super::Difference;
use super::compare::{Change, Grade, compare};
use super::observe::Observed;
use super::profile::{Accepted, Learning, Profile, accepted};
use super::schema::Schema;
use super::shape::{Marks, shape_of};

fn learned(values: &[Value]) -> Schema {
    let mut observed = Observed::default();
    for value in values {
        observed.add(value);
    }
    observed.to_schema()
}

/// `change path: was -> is`, one a line.
fn found(schema: &Schema, value: &Value) -> String {
    let line = |one: &super::Difference| {
        let hint = one.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
        format!("{} {} {}: {} -> {}{hint}\n", one.grade, one.change, one.path, one.was, one.is)
    };
    compare(schema, value).iter().map(line).collect()
}

#[test]
fn a_contract_is_learned_and_written_as_json_schema() {
    let schema = learned(&[
        json!({"id": "evt_1", "status": "paid", "at": "2026-01-05T10:00:00Z", "n": 1,
               "metadata": {"a": 1}, "items": [{"sku": "A", "tax": null}], "note": ""}),
        json!({"id": "evt_2", "status": "open", "at": "2026-01-06T10:00:00Z", "n": 1.5,
               "metadata": {"b": 2}, "items": [], "extra_1": true}),
    ]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&schema.to_json()).unwrap(), @r#"
    {
      "properties": {
        "at": {
          "format": "date-time",
          "type": "string"
        },
        "extra_1": {
          "type": "boolean"
        },
        "id": {
          "type": "string"
        },
        "items": {
          "items": {
            "properties": {
              "sku": {
                "type": "string"
              },
              "tax": {
                "type": "null"
              }
            },
            "required": [
              "sku",
              "tax"
            ],
            "type": "object"
          },
          "type": "array"
        },
        "metadata": {
          "additionalProperties": {},
          "type": "object"
        },
        "n": {
          "type": "number"
        },
        "note": {
          "type": "string"
        },
        "status": {
          "enum": [
            "open",
            "paid"
          ],
          "type": "string"
        }
      },
      "required": [
        "at",
        "id",
        "items",
        "metadata",
        "n",
        "status"
      ],
      "type": "object"
    }
    "#);
    assert_eq!(Schema::parse(&schema.to_json()).unwrap(), schema);
}

#[test]
fn every_sort_of_difference_is_found_and_graded() {
    let before = json!({
        "id": "evt_1", "status": "paid", "at": "2026-01-05T10:00:00Z", "amount": 4200,
        "date": 17, "customer": {"name": "Jenny"}, "empty": null,
        "items": [{"sku": "A", "price": 1}]
    });
    let schema = learned(&[before.clone(), before.clone()]);
    assert_eq!(found(&schema, &before), "");
    let after = json!({
        "id": null, "status": "refunded", "at": "2026-01-05", "amount": "4200",
        "created": 17, "customer": {"name": "Jenny", "email": "j@example.com"}, "empty": "x",
        "items": [{"sku": "A", "price": 1, "tax": 2}, {"price": 1, "tax": 2}]
    });
    insta::assert_snapshot!(found(&schema, &after), @r#"
    breaking type_changed /amount: number -> string
    breaking format_changed /at: date-time -> date
    additive field_added /created: absent -> number (may have been /date)
    additive field_added /customer/email: absent -> string
    breaking field_gone /date: required number -> absent (may be /created now)
    additive type_changed /empty: null -> string
    breaking newly_null /id: string -> null
    breaking field_gone /items/*/sku: required string -> absent
    additive field_added /items/*/tax: absent -> number
    additive value_added /status: paid -> refunded
    "#);
}

#[test]
fn a_field_that_moved_is_said_to_have() {
    let schema = learned(&[json!({"period_start": 1, "items": [{"id": "si_1"}], "plan": "gold"})]);
    let after = json!({
        "items": [{"id": "si_1", "period_start": 2}], "parent": {"details": {"plan": "gold"}}
    });
    insta::assert_snapshot!(found(&schema, &after), @r#"
    additive field_added /items/*/period_start: absent -> number (moved from /period_start)
    additive field_added /parent: absent -> object (moved from /plan)
    breaking field_gone /period_start: required number -> absent (moved to /items/*/period_start)
    breaking field_gone /plan: required string -> absent (moved to /parent/details/plan)
    "#);
}

#[test]
fn free_keys_are_no_news() {
    let schema = learned(&[json!({"metadata": {"order": "7"}, "by_user": {"u_10001": 1}})]);
    let other = json!({"metadata": {"colour": "red"}, "by_user": {"u_20002": 2}});
    assert_eq!(found(&schema, &other), "");
    // An object that was always empty says nothing about its keys.
    let schema = learned(&[json!({"custom": {}})]);
    assert_eq!(found(&schema, &json!({"custom": {"a": 1}})), "");
}

#[test]
fn no_value_of_a_payload_gets_into_a_difference() {
    let schema = learned(&[json!({"status": "paid", "email": "a@example.com", "name": "Jenny"})]);
    let after = json!({"status": "4111 1111 1111 1111", "email": "not an address", "name": 7,
                       "secret": "hunter2"});
    let said = found(&schema, &after);
    for value in ["4111", "address", "hunter2"] {
        assert!(!said.contains(value), "{said}");
    }
}

#[test]
fn what_was_only_ever_null_may_become_something() {
    let schema = learned(&[json!({"created_at": null})]);
    let found = compare(&schema, &json!({"created_at": "2026-01-05T10:00:00Z"}));
    assert_eq!((found[0].change, found[0].grade), (Change::TypeChanged, Grade::Additive));
}

#[test]
fn a_keyword_that_drift_cannot_be_graded_by_is_refused() {
    for (document, at) in [
        (json!({"patternProperties": {}}), "/patternProperties"),
        (json!({"properties": {"a": {"oneOf": []}}}), "/properties/a/oneOf"),
        (json!({"type": "text"}), "/type"),
        (json!({"required": "id"}), "/required"),
        (json!({"items": 7}), "/items"),
        (json!([]), ""),
    ] {
        assert_eq!(Schema::parse(&document).unwrap_err().pointer, at, "{document}");
    }
}

#[test]
fn accepting_a_difference_makes_it_none() {
    let before = json!({"id": "a", "status": "paid", "at": "2026-01-05", "n": 1, "o": {"x": 1}});
    let schema = learned(&[before]);
    let after = json!({"id": null, "status": "open", "at": "soon", "new": {"a": [1]}, "o": {}});
    let mut next = schema.clone();
    for one in compare(&schema, &after) {
        let Difference { change, path, is, shape, .. } = &one;
        next = accepted(&next, &Accepted { change: *change, path, is, shape: shape.as_ref() });
    }
    assert_eq!(found(&next, &after), "");
    assert_ne!(found(&schema, &after), "");
    assert_eq!(Schema::parse(&next.to_json()).unwrap(), next);
}

#[test]
fn learning_ends_when_nothing_new_comes() {
    let mut profile = Profile::new(None, None, Learning::default());
    let mut events = 0;
    while profile.look(r#"{"id":1,"status":"paid"}"#).settled.is_none() {
        events += 1;
    }
    assert_eq!(events, 4, "settled with the fifth");
    assert!(profile.look(r#"{"status":"paid","id":2}"#).differences.is_empty());
    let look = profile.look(r#"{"status":"open"}"#);
    assert_eq!(look.differences.len(), 2);
    // What varies is learned from for longer.
    let mut profile = Profile::new(None, None, Learning::default());
    let varied = [r#"{"a":1}"#, r#"{"a":1,"b":1}"#, r#"{"a":1,"c":1}"#];
    let settled = (0..100).find(|i| profile.look(varied[i % 3]).settled.is_some());
    assert!(settled.is_some_and(|at| 10 < at), "{settled:?}");
    for text in varied {
        assert!(profile.look(text).differences.is_empty());
    }
}

/// `change path` of each difference that a look finds.
fn looked(profile: &mut Profile, json: &str) -> Vec<String> {
    let look = profile.look(json);
    look.differences.iter().map(|one| format!("{} {}", one.change, one.path)).collect()
}

#[test]
fn a_contract_that_came_with_the_definition_holds_while_the_rest_is_learned() {
    let shipped = std::sync::Arc::new(learned(&[
        json!({"id": "a", "amount": 1, "note": null, "seldom": 1, "plan": "gold"}),
        json!({"id": "a", "amount": 1, "note": "x", "plan": "gold"}),
    ]));
    let new = || Profile::new(Some(shipped.clone()), None, Learning::default());
    let nothing: [&str; 0] = [];
    // Another type is news at once; another account's fields are not, and what it lacks is not.
    let mut profile = new();
    assert_eq!(looked(&mut profile, r#"{"id":"b","amount":"1"}"#), ["type_changed /amount"]);
    assert_eq!(looked(&mut profile, r#"{"id":"b","amount":1,"color":"red"}"#), nothing);
    // What neither the contract nor an event before had is; and goes on being it.
    for _ in 0..9 {
        let found = looked(&mut profile, r#"{"id":"b","amount":1,"color":"red","new":1}"#);
        assert_eq!(found, ["field_added /new"]);
    }
    for _ in 0..9 {
        assert_eq!(looked(&mut profile, r#"{"id":"b","amount":1,"color":"red"}"#), nothing);
    }
    assert!(profile.contract().is_some());
    // What is known to be null or there at times is no news; what was always there is missed.
    let known = r#"{"id":"b","amount":1,"color":"red","note":null,"seldom":3}"#;
    assert_eq!(looked(&mut profile, known), nothing);
    assert_eq!(looked(&mut profile, r#"{"id":"b","amount":1}"#), ["field_gone /color"]);
    assert_eq!(
        looked(&mut profile, r#"{"id":"b","amount":1,"color":"red","new":1}"#),
        ["field_added /new"]
    );
    // A field that is gone is missed after a few events that had it.
    let mut profile = new();
    for _ in 0..3 {
        assert_eq!(looked(&mut profile, r#"{"id":"b","amount":1,"plan":"x"}"#), nothing);
    }
    assert_eq!(looked(&mut profile, r#"{"id":"b","amount":1}"#), ["field_gone /plan"]);
    assert_eq!(looked(&mut profile, r#"{"id":null,"amount":1,"plan":"x"}"#), ["newly_null /id"]);
}

#[test]
fn what_goes_on_and_on_is_what_the_source_sends() {
    let shipped = std::sync::Arc::new(learned(&[json!({"id": 1})]));
    let mut profile = Profile::new(Some(shipped), None, Learning::default());
    let settled = (0..100).find(|_| profile.look(r#"{"id":"b"}"#).settled.is_some());
    assert!(settled.is_some());
    assert!(profile.look(r#"{"id":"b"}"#).differences.is_empty());
}

#[test]
fn a_shape_is_of_keys_and_types() {
    let schema = learned(&[json!({"status": "paid", "at": "2026-01-05", "metadata": {}})]);
    let marks = Marks::of(&schema);
    let shape = |text: &str| shape_of(text.as_bytes(), &marks).unwrap();
    let known = shape(r#"{"status":"paid","at":"2026-01-05","metadata":{"a":1}}"#);
    for same in [
        r#" { "at" : "2026-01-06" , "metadata" : {"b":2,"c":3}, "status" : "paid" } "#,
        r#"{"status":"","at":"2026-01-05","metadata":{"a":1}}"#,
    ] {
        assert_eq!(shape(same), known, "{same}");
    }
    for other in [
        r#"{"status":"open","at":"2026-01-05","metadata":{"a":1}}"#,
        r#"{"status":"paid","at":"soon","metadata":{"a":1}}"#,
        r#"{"status":"paid","at":null,"metadata":{"a":1}}"#,
        r#"{"status":"paid","at":"2026-01-05","metadata":{"a":"1"}}"#,
        r#"{"status":"paid","at":"2026-01-05"}"#,
        r#"{"status":"paid","at":"2026-01-05","metadata":{"a":1},"new":1}"#,
    ] {
        assert_ne!(shape(other), known, "{other}");
    }
    let array = |text: &str| shape_of(text.as_bytes(), &Marks::default());
    assert_eq!(array(r#"[{"a":1},{"a":2}]"#), array(r#"[{"a":9}]"#));
    assert_ne!(array(r#"[{"a":1},{"b":2}]"#), array(r#"[{"a":9}]"#));
    assert_ne!(array("[]"), array("[1]"));
    for broken in ["", "{", r#"{"a"}"#, r#"{"a":1"#, "[1,", "tru", "\"a", "1 2", r#"{"a":}"#] {
        assert_eq!(array(broken), None, "{broken}");
    }
}

/// Any JSON, with keys that are often the same.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c]{0,3}|2026-01-05|[a-z]{1,3}@example.com|\\PC{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = "status|id|metadata|[a-d]|\\PC{0,4}";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What a contract was learned from keeps it, and the contract survives being written.
    #[test]
    fn what_was_learned_from_keeps_the_contract(values in proptest::collection::vec(any_json(), 1..6)) {
        let schema = learned(&values);
        for value in &values {
            prop_assert_eq!(found(&schema, value), "");
        }
        prop_assert_eq!(&Schema::parse(&schema.to_json()).unwrap(), &schema);
    }

    /// Our reading of a contract is JSON Schema's: what its own validator takes, drift does not
    /// call breaking.
    #[test]
    fn a_validator_of_json_schema_agrees(values in proptest::collection::vec(any_json(), 1..4), other in any_json()) {
        let schema = learned(&values);
        let validator = jsonschema::draft202012::new(&schema.to_json()).unwrap();
        for value in &values {
            prop_assert!(validator.is_valid(value));
        }
        if !validator.is_valid(&other) {
            prop_assert_ne!(found(&schema, &other), "");
        }
    }

    /// Equal shapes have equal differences: so one look per shape is enough.
    #[test]
    fn equal_shapes_differ_alike(values in proptest::collection::vec(any_json(), 1..4), one in any_json(), other in any_json()) {
        let schema = learned(&values);
        let marks = Marks::of(&schema);
        let shape = |value: &Value| shape_of(value.to_string().as_bytes(), &marks);
        prop_assert!(shape(&one).is_some());
        if shape(&one) == shape(&other) {
            prop_assert_eq!(found(&schema, &one), found(&schema, &other));
        }
        let same: Value = serde_json::from_str(&one.to_string()).unwrap();
        prop_assert_eq!(shape(&one), shape(&same));
    }

    /// However long a text is and whatever is in it, the scan finds its end.
    #[test]
    fn a_text_ends_where_it_ends(text in "[a\"\\\\\u{e9}\n]{0,40}", other: String) {
        let shape = |text: &str| {
            let json = json!({"a": text, "b": [text, 1]}).to_string();
            shape_of(json.as_bytes(), &Marks::default())
        };
        prop_assert!(shape(&text).is_some());
        prop_assert_eq!(shape(&text), shape(&other));
    }

    #[test]
    fn no_bytes_upset_the_scan(bytes: Vec<u8>) {
        let _ = shape_of(&bytes, &Marks::default());
    }
}
