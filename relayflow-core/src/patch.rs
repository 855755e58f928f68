//! JSON text with one member changed and every other value as it was written: numbers that fit no
//! machine type, members in their order, a member that stands there twice.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::members::Members;

/// Values and places of a difference that are told; of longer texts the beginning.
const CHANGES_MAX: usize = 20;
const VALUE_CHARS_MAX: usize = 120;
/// Objects in objects that are looked into.
const DEPTH_MAX: usize = 64;

/// `json` with the member at `path` set to `value`, which is JSON too. Objects that are not there are
/// made; an array's element must be there. `path` is `data.object.plan_id`, or a JSON pointer
/// (`/data/object/plan.id`) where a name has a dot.
///
/// # Errors
///
/// A path that has no place in `json`.
pub fn set(json: &str, path: &str, value: &str) -> Result<String, String> {
    let parts = parts(path)?;
    change(json.trim(), &parts, Some(value)).map_err(|why| format!("{path}: {why}"))
}

/// `json` without the member at `path`; as it was if there is none.
///
/// # Errors
///
/// A path that leads through something that is no object and no array.
pub fn unset(json: &str, path: &str) -> Result<String, String> {
    let parts = parts(path)?;
    change(json.trim(), &parts, None).map_err(|why| format!("{path}: {why}"))
}

/// A value as it is written on a command line: JSON if it is, else a text.
#[must_use]
pub fn value_of(text: &str) -> String {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => raw.get().to_owned(),
        Err(_) => Value::String(text.to_owned()).to_string(),
    }
}

fn parts(path: &str) -> Result<Vec<String>, String> {
    let parts: Vec<String> = match path.strip_prefix('/') {
        None => path.split('.').map(str::to_owned).collect(),
        Some(rest) => {
            rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
        }
    };
    match parts.as_slice() {
        [only] if only.is_empty() => Err("a path is empty".to_owned()),
        parts if DEPTH_MAX < parts.len() => Err(format!("a path has more than {DEPTH_MAX} parts")),
        _ => Ok(parts),
    }
}

fn change(json: &str, parts: &[String], to: Option<&str>) -> Result<String, String> {
    let Some((part, rest)) = parts.split_first() else {
        return Ok(to.unwrap_or(json).to_owned());
    };
    match json.as_bytes().first() {
        Some(b'{') => change_member(members(json)?, part, rest, to),
        Some(b'[') => change_element(elements(json)?, part, rest, to),
        Some(b'n') if to.is_some() => change_member(vec![], part, rest, to),
        Some(b'n') => Ok(json.to_owned()),
        _ => Err(format!("there is no place for '{part}'")),
    }
}

fn change_member(
    members: Vec<(String, &RawValue)>,
    part: &str,
    rest: &[String],
    to: Option<&str>,
) -> Result<String, String> {
    let is_there = members.iter().any(|(name, _)| name == part);
    let mut written: Vec<(String, String)> = Vec::with_capacity(members.len() + 1);
    for (name, value) in members {
        if name != part {
            written.push((name, value.get().to_owned()));
        } else if to.is_some() || !rest.is_empty() {
            written.push((name, change(value.get(), rest, to)?));
        }
    }
    if let (false, Some(_)) = (is_there, to) {
        written.push((part.to_owned(), change("null", rest, to)?));
    }
    let member = |(name, value): (String, String)| format!("{}:{value}", Value::String(name));
    let all: Vec<String> = written.into_iter().map(member).collect();
    Ok(format!("{{{}}}", all.join(",")))
}

fn change_element(
    elements: Vec<&RawValue>,
    part: &str,
    rest: &[String],
    to: Option<&str>,
) -> Result<String, String> {
    let at = part.parse::<usize>().ok().filter(|at| *at < elements.len());
    let Some(at) = at else {
        return match to {
            Some(_) => Err(format!("there is no element '{part}'")),
            None => Ok(written(elements.iter().map(|e| e.get().to_owned()))),
        };
    };
    let mut all: Vec<String> = elements.iter().map(|e| e.get().to_owned()).collect();
    if to.is_none() && rest.is_empty() {
        all.remove(at);
    } else {
        all[at] = change(&all[at], rest, to)?;
    }
    Ok(written(all.into_iter()))
}

fn written(elements: impl Iterator<Item = String>) -> String {
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

fn elements(json: &str) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(json).map_err(|e| e.to_string())
}

/// The members of an object as they are written, in their order.
fn members(json: &str) -> Result<Vec<(String, &RawValue)>, String> {
    let members: Members<_, _> = serde_json::from_str(json).map_err(|e| e.to_string())?;
    Ok(members.0)
}

/// One place at which two texts differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// A JSON pointer: `/data/object/plan_id`; empty for the whole.
    pub path: String,
    /// As JSON, the beginning of it; `None`: it is not there.
    pub was: Option<String>,
    pub is: Option<String>,
}

/// Where two JSON texts differ, the first few places of it. Values are held against each other as
/// they are written, but for white space and the order of members.
///
/// # Errors
///
/// A text that is not JSON.
pub fn changes(was: &str, is: &str) -> Result<Vec<Change>, String> {
    let mut found = Vec::new();
    differ(was.trim(), is.trim(), "", 0, &mut found)?;
    Ok(found)
}

fn differ(
    was: &str,
    is: &str,
    path: &str,
    depth: usize,
    found: &mut Vec<Change>,
) -> Result<(), String> {
    if CHANGES_MAX <= found.len() || was == is {
        return Ok(());
    }
    let kinds = (was.as_bytes().first(), is.as_bytes().first());
    let below = |part: &str| format!("{path}/{}", part.replace('~', "~0").replace('/', "~1"));
    match kinds {
        (Some(b'{'), Some(b'{')) if depth < DEPTH_MAX => {
            let (was, is) = (members(was)?, members(is)?);
            let of = |all: &[(String, &RawValue)], name: &str| {
                all.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.get().to_owned())
            };
            for (name, value) in &was {
                match of(&is, name) {
                    Some(now) => differ(value.get(), &now, &below(name), depth + 1, found)?,
                    None => note(found, below(name), Some(value.get()), None),
                }
            }
            for (name, value) in is.iter().filter(|(name, _)| of(&was, name).is_none()) {
                note(found, below(name), None, Some(value.get()));
            }
        }
        (Some(b'['), Some(b'[')) if depth < DEPTH_MAX => {
            let (was, is) = (elements(was)?, elements(is)?);
            for at in 0..was.len().max(is.len()) {
                let path = below(&at.to_string());
                match (was.get(at), is.get(at)) {
                    (Some(was), Some(is)) => differ(was.get(), is.get(), &path, depth + 1, found)?,
                    (was, is) => note(found, path, was.map(|v| v.get()), is.map(|v| v.get())),
                }
            }
        }
        _ => note(found, path.to_owned(), Some(was), Some(is)),
    }
    Ok(())
}

fn note(found: &mut Vec<Change>, path: String, was: Option<&str>, is: Option<&str>) {
    if found.len() < CHANGES_MAX {
        let shown = |text: &str| text.chars().take(VALUE_CHARS_MAX).collect();
        found.push(Change { path, was: was.map(shown), is: is.map(shown) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_was_named_is_written_anew() {
        let json =
            r#"{"z": 1, "big": 12345678901234567890123.0, "a": {"n": [1, {"m": 2}]}, "z": 3}"#;
        for (path, value, wanted) in [
            (
                "a.n.1.m",
                "5",
                r#"{"z":1,"big":12345678901234567890123.0,"a":{"n":[1,{"m":5}]},"z":3}"#,
            ),
            (
                "/a/n/0",
                "\"x\"",
                r#"{"z":1,"big":12345678901234567890123.0,"a":{"n":["x",{"m": 2}]},"z":3}"#,
            ),
        ] {
            assert_eq!(set(json, path, value).as_deref(), Ok(wanted), "{path}");
        }
        assert_eq!(set("{}", "x.y", "1").as_deref(), Ok(r#"{"x":{"y":1}}"#));
        assert_eq!(set(r#"{"x":null}"#, "x.y", "1").as_deref(), Ok(r#"{"x":{"y":1}}"#));
        assert_eq!(set("{}", "/a.b~1c", "1").as_deref(), Ok(r#"{"a.b/c":1}"#));
        for (path, why) in
            [("a.n.7", "no element '7'"), ("a.n.0.m", "no place for 'm'"), ("", "empty")]
        {
            let told = set(json, path, "1").unwrap_err();
            assert!(told.contains(why), "{path}: {told}");
        }
    }

    #[test]
    fn a_member_goes_and_one_that_is_not_there_changes_nothing() {
        let json = r#"{"a":{"b":1,"c":[1,2]}}"#;
        assert_eq!(unset(json, "a.b").as_deref(), Ok(r#"{"a":{"c":[1,2]}}"#));
        assert_eq!(unset(json, "a.c.0").as_deref(), Ok(r#"{"a":{"b":1,"c":[2]}}"#));
        for path in ["x", "a.x", "a.c.9"] {
            assert_eq!(unset(json, path).as_deref(), Ok(json), "{path}");
        }
        assert!(unset(json, "a.b.c").is_err());
    }

    #[test]
    fn a_difference_names_places_and_values() {
        let was = r#"{"a": 1, "b": {"c": [1, 2]}, "gone": true}"#;
        let is = r#"{"b":{"c":[1,3,4]},"a":1,"come":"x"}"#;
        let shown: Vec<String> = changes(was, is)
            .unwrap()
            .into_iter()
            .map(|c| format!("{} {:?} {:?}", c.path, c.was, c.is))
            .collect();
        assert_eq!(
            shown,
            [
                r#"/b/c/1 Some("2") Some("3")"#,
                r#"/b/c/2 None Some("4")"#,
                r#"/gone Some("true") None"#,
                r#"/come None Some("\"x\"")"#,
            ]
        );
        assert_eq!(changes(was, was), Ok(vec![]));
        assert!(changes("1", "[").is_ok(), "what differs is told as it is written");
    }

    #[test]
    fn a_value_is_json_if_it_is() {
        for (text, wanted) in
            [("42", "42"), ("basic", "\"basic\""), ("\"7\"", "\"7\""), ("{\"a\":1}", "{\"a\":1}")]
        {
            assert_eq!(value_of(text), wanted);
        }
    }

    proptest! {
        #[test]
        fn what_is_set_is_there_and_nothing_else_changes(
            key in "[a-z.~/\"\\\\]{1,6}", n in any::<i64>(), other in any::<u32>()
        ) {
            let pointer = format!("/a/{}", key.replace('~', "~0").replace('/', "~1"));
            let json = format!("{{\"a\":{{\"other one\":{other}}},\"b\":[{n}]}}");
            let done = set(&json, &pointer, &n.to_string()).unwrap();
            let read: Value = serde_json::from_str(&done).unwrap();
            prop_assert_eq!(&read["a"][&key], &Value::from(n));
            prop_assert_eq!(&read["a"]["other one"], &Value::from(other));
            prop_assert_eq!(&read["b"][0], &Value::from(n));
            let changed = changes(&json, &done).unwrap();
            prop_assert_eq!(changed.len(), 1);
            prop_assert_eq!(&changed[0].path, &pointer);
            prop_assert_eq!(unset(&done, &pointer).unwrap(), json);
        }
    }
}
