//! JSON for people: what fits on a line stands on one, so that a contract reads as a list of fields.

use serde_json::Value;

/// The longest line, in characters.
const WIDTH: usize = 100;

/// `value` over as few lines as fit.
#[must_use]
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    push(value, 0, 0, &mut out);
    out.push('\n');
    out
}

/// `taken` is what stands before the value on its line.
fn push(value: &Value, indent: usize, taken: usize, out: &mut String) {
    let line = one_line(value);
    let fits = indent + taken + line.chars().count() < WIDTH;
    match value {
        Value::Object(members) if !fits => {
            out.push_str("{\n");
            for (i, (key, member)) in members.iter().enumerate() {
                let key = format!("{}: ", Value::from(key.as_str()));
                out.push_str(&" ".repeat(indent + 2));
                out.push_str(&key);
                push(member, indent + 2, key.chars().count(), out);
                out.push_str(if i + 1 < members.len() { ",\n" } else { "\n" });
            }
            out.push_str(&" ".repeat(indent));
            out.push('}');
        }
        Value::Array(elements) if !fits => {
            out.push('[');
            let mut column = WIDTH;
            for (i, element) in elements.iter().enumerate() {
                let text = one_line(element);
                let comma = if i + 1 < elements.len() { "," } else { "" };
                if WIDTH < column + text.chars().count() + 2 {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent + 2));
                    column = indent + 2;
                } else {
                    out.push(' ');
                    column += 1;
                }
                out.push_str(&text);
                out.push_str(comma);
                column += text.chars().count() + comma.len();
            }
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push(']');
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => out.push_str(&line),
    }
}

/// `{"type": "string"}`: a space after each colon and comma.
fn one_line(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter();
            let all: Vec<String> = members
                .map(|(key, member)| format!("{}: {}", Value::from(key.as_str()), one_line(member)))
                .collect();
            format!("{{{}}}", all.join(", "))
        }
        Value::Array(elements) => {
            let all: Vec<String> = elements.iter().map(one_line).collect();
            format!("[{}]", all.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_on_a_line_stands_on_one() {
        let names: Vec<String> = (0..20).map(|i| format!("field_{i}")).collect();
        let value = json!({
            "properties": {"id": {"type": "string"}, "o": {"type": "object", "properties": {
                "a_long_name": {"type": ["string", "null"]}, "another_long_name": {"type": "number"}}}},
            "required": names,
        });
        let text = print(&value);
        insta::assert_snapshot!(text, @r#"
        {
          "properties": {
            "id": {"type": "string"},
            "o": {
              "properties": {
                "a_long_name": {"type": ["string", "null"]},
                "another_long_name": {"type": "number"}
              },
              "type": "object"
            }
          },
          "required": [
            "field_0", "field_1", "field_2", "field_3", "field_4", "field_5", "field_6", "field_7",
            "field_8", "field_9", "field_10", "field_11", "field_12", "field_13", "field_14", "field_15",
            "field_16", "field_17", "field_18", "field_19"
          ]
        }
        "#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    proptest::proptest! {
        #[test]
        fn it_stays_the_same_json(text: String, numbers: Vec<i64>) {
            let value = json!({"a": [text, {"b": numbers}], "c": null});
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&print(&value)).unwrap(), value);
        }
    }
}
