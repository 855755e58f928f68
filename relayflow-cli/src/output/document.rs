//! JSON and YAML: the wire's documents, as they are, in ASCII. A raw C1 control in a string would be
//! an escape sequence to some terminals.

use std::fmt::Write as _;
use std::io;

use relayflow_core::members::Members;
use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// A value on one line.
pub(crate) fn compact<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut out = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Ascii);
    value.serialize(&mut serializer).map_err(|e| Failure::error(e.to_string()))?;
    String::from_utf8(out).map_err(|e| Failure::error(e.to_string()))
}

/// A JSON text over several lines; scalars keep their text.
pub(crate) fn indent(json: &str) -> Result<String, Failure> {
    let mut out = String::with_capacity(json.len() * 2);
    indent_node(&mut out, json, 0).map_err(|e| Failure::error(e.to_string()))?;
    Ok(out)
}

fn indent_node(out: &mut String, json: &str, depth: usize) -> Result<(), serde_json::Error> {
    let json = json.trim();
    if !is_branch(json) {
        out.push_str(json);
        return Ok(());
    }
    let line = |out: &mut String, depth| {
        out.push('\n');
        push_indent(out, depth);
    };
    let is_object = json.starts_with('{');
    out.push(if is_object { '{' } else { '[' });
    if is_object {
        let members: Members<String, &RawValue> = serde_json::from_str(json)?;
        for (place, (name, value)) in members.0.iter().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            line(out, depth + 1);
            relayflow_core::event::push_json(out, name);
            out.push_str(": ");
            indent_node(out, value.get(), depth + 1)?;
        }
    } else {
        let items: Vec<&RawValue> = serde_json::from_str(json)?;
        for (place, item) in items.iter().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            line(out, depth + 1);
            indent_node(out, item.get(), depth + 1)?;
        }
    }
    line(out, depth);
    out.push(if is_object { '}' } else { ']' });
    Ok(())
}

/// The object `json` with only the members `fields`, in that order; as it is if there are none.
pub(crate) fn select(json: &str, fields: &[String]) -> Result<String, Failure> {
    if fields.is_empty() {
        return Ok(json.to_owned());
    }
    let members: Members<String, &RawValue> =
        serde_json::from_str(json).map_err(|e| Failure::error(e.to_string()))?;
    let mut out = String::from("{");
    for (place, field) in fields.iter().enumerate() {
        let value = members.0.iter().find(|(name, _)| name == field).map(|(_, value)| value.get());
        let Some(value) = value else {
            return Err(no_such_field(field, members.0.iter().map(|(name, _)| name.as_str())));
        };
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{field}\":{value}");
    }
    out.push('}');
    Ok(out)
}

/// What to say about a field of `--fields` that is none.
pub(crate) fn no_such_field<'n>(field: &str, names: impl Iterator<Item = &'n str>) -> Failure {
    let mut names: Vec<_> = names.filter(|name| *name != "v" && *name != "object").collect();
    names.dedup();
    Failure::usage(format!("there is no field '{field}' here"))
        .why(format!("fields: {}", names.join(" ")))
}

/// A JSON text as YAML. Scalars keep their text, since JSON's are YAML's as well.
pub(crate) fn yaml(json: &str) -> Result<String, Failure> {
    let raw: &RawValue = serde_json::from_str(json).map_err(|e| Failure::error(e.to_string()))?;
    let mut out = String::with_capacity(json.len() * 2);
    yaml_node(&mut out, raw.get(), 0, false)?;
    Ok(out)
}

/// Writes one node. `in_item` says that it stands behind a `- `, whose line it begins on.
fn yaml_node(out: &mut String, json: &str, indent: usize, in_item: bool) -> Result<(), Failure> {
    let bad = |e: serde_json::Error| Failure::error(e.to_string());
    match json.as_bytes().first() {
        Some(b'{') => {
            let members: Members<String, &RawValue> = serde_json::from_str(json).map_err(bad)?;
            for (place, (name, value)) in members.0.iter().enumerate() {
                if place != 0 || !in_item {
                    push_indent(out, indent);
                }
                out.push_str(&yaml_key(name));
                out.push(':');
                yaml_child(out, value.get(), indent)?;
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).map_err(bad)?;
            for (place, item) in items.iter().enumerate() {
                if place != 0 || !in_item {
                    push_indent(out, indent);
                }
                out.push_str("- ");
                if is_branch(item.get()) {
                    yaml_node(out, item.get(), indent + 1, true)?;
                } else {
                    out.push_str(item.get());
                    out.push('\n');
                }
            }
        }
        _ => {
            out.push_str(json);
            out.push('\n');
        }
    }
    Ok(())
}

fn yaml_child(out: &mut String, json: &str, indent: usize) -> Result<(), Failure> {
    if is_branch(json) {
        out.push('\n');
        yaml_node(out, json, indent + 1, false)
    } else {
        out.push(' ');
        out.push_str(json);
        out.push('\n');
        Ok(())
    }
}

/// Whether a value needs lines of its own: an object or array that is not empty.
fn is_branch(json: &str) -> bool {
    let inside = json.trim_start_matches(['{', '[']).trim_start();
    json.starts_with(['{', '[']) && !inside.starts_with(['}', ']'])
}

fn push_indent(out: &mut String, indent: usize) {
    for _ in 0..indent {
        out.push_str("  ");
    }
}

/// A key as it is, if no reader of YAML can take it for anything else.
fn yaml_key(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !matches!(
            name.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        );
    if is_plain {
        return name.to_owned();
    }
    let mut out = String::new();
    relayflow_core::event::push_json(&mut out, name);
    out
}

/// Compact, with everything beyond ASCII (and DEL) escaped.
struct Ascii;

fn write_ascii<W: ?Sized + io::Write>(writer: &mut W, fragment: &str) -> io::Result<()> {
    if fragment.bytes().all(|b| b.is_ascii() && b != 0x7f) {
        return writer.write_all(fragment.as_bytes());
    }
    for c in fragment.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
    }
    Ok(())
}

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_ascii(writer, fragment)
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_ascii(writer, fragment)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_ascii_and_reads_back() {
        let value = json!({"a": "\u{9b}31m é \u{202e} 🎉 \u{7f}\n", "b": [1, {"c": null}]});
        let compact = compact(&value).unwrap();
        for text in [indent(&compact).unwrap(), compact] {
            assert!(text.bytes().all(|b| b == b'\n' || matches!(b, b' '..=b'~')), "{text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn raw_values_keep_the_text_of_their_numbers() {
        let raw =
            RawValue::from_string(r#"{"num":123456789012345678901234567890.10}"#.into()).unwrap();
        assert!(compact(&raw).unwrap().contains("123456789012345678901234567890.10"));
        assert!(yaml(raw.get()).unwrap().contains("num: 123456789012345678901234567890.10"));
    }

    #[test]
    fn fields_are_kept_in_the_order_asked_for() {
        let fields = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let json = r#"{"v":1,"object":"event","id":"evt_1","n":1e400}"#;
        assert_eq!(select(json, &fields(&["n", "id"])).unwrap(), r#"{"n":1e400,"id":"evt_1"}"#);
        let failure = select(json, &fields(&["x"])).unwrap_err();
        assert_eq!(failure.exit().code(), 2);
        assert_eq!(failure.why.as_deref(), Some("fields: id n"));
    }

    #[test]
    fn yaml_nests_as_json_does() {
        let json = r#"{"v":1,"kind":"event_list","items":[{"id":"evt_1","tasks":{"ok":2},"on":[]},[1,[2]],"a: b"],"x y":{},"no":"no"}"#;
        insta::assert_snapshot!(yaml(json).unwrap(), @r#"
        v: 1
        kind: "event_list"
        items:
          - id: "evt_1"
            tasks:
              ok: 2
            "on": []
          - - 1
            - - 2
          - "a: b"
        "x y": {}
        "no": "no"
        "#);
    }
}
