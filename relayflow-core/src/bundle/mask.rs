//! Which column of which table is masked how. What is not known here is text that anybody may have
//! written.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::redact::{Redactor, Words};
use crate::store::{Cell as Value, Rows, Story};

/// Words of RelayFlow's own, and names that the configuration gives.
const OURS: [&str; 38] = [
    "source",
    "provider",
    "type",
    "kind",
    "contract",
    "method",
    "status",
    "scheme",
    "workflow",
    "step",
    "destination",
    "need_names",
    "what",
    "state",
    "verdict",
    "mode",
    "action",
    "order_by",
    "late",
    "would",
    "error_id",
    "after_canary",
    "paused_by",
    "origin",
    "grade",
    "change",
    "path",
    "who",
    "hash",
    "name",
    "of",
    "daemon",
    "event_type",
    "drift",
    "is_request",
    "moves",
    "place",
    "number",
];

/// Texts that are not of one request: of plans, replays and the bundle itself. Every request's masked
/// words are looked for in them.
#[derive(Default)]
pub(super) struct Shared(BTreeMap<String, String>);

impl Shared {
    pub(super) fn add(&mut self, text: &str) {
        self.0.entry(text.to_owned()).or_insert_with(|| text.to_owned());
    }

    fn look(&mut self, redactor: &mut Redactor, words: &Words) {
        for text in self.0.values_mut() {
            *text = redactor.prose(text, words);
        }
    }

    pub(super) fn get(&self, text: &str) -> Option<&String> {
        self.0.get(text)
    }
}

/// Masks a request and all that belongs to it.
pub(super) fn story(redactor: &mut Redactor, shared: &mut Shared, story: &mut Story) {
    let mut words = Words::default();
    let source = story.source.clone();
    for rows in &story.rows {
        for row in &rows.rows {
            gather(redactor, &source, rows, row, &mut words);
        }
    }
    words.ready();
    shared.look(redactor, &words);
    for rows in &mut story.rows {
        let actions: Vec<Way> = rows.columns.iter().map(|c| way(rows.table, c)).collect();
        let path = rows.column("path");
        for row in &mut rows.rows {
            let is_meant = path.and_then(|i| row.get(i)).is_some_and(
                |path| matches!(path, Value::Text(path) if redactor.means_pointer(&source, path)),
            );
            for (value, way) in row.iter_mut().zip(&actions) {
                mask(redactor, &source, value, *way, is_meant, &words);
            }
        }
    }
}

/// Masks what belongs to no request.
pub(super) fn apart(redactor: &mut Redactor, shared: &Shared, story: &mut Story) {
    let words = Words::default();
    for rows in &mut story.rows {
        let actions: Vec<Way> = rows.columns.iter().map(|c| way(rows.table, c)).collect();
        for row in &mut rows.rows {
            for (value, way) in row.iter_mut().zip(&actions) {
                if let (Value::Text(text), Way::Text | Way::Summary) = (&mut *value, way)
                    && let Some(known) = shared.get(text)
                {
                    *text = known.clone();
                }
                mask(redactor, "", value, *way, false, &words);
            }
        }
    }
}

/// Every text of the rows that is not ours.
pub(super) fn texts(story: &Story, shared: &mut Shared) {
    for rows in &story.rows {
        for row in &rows.rows {
            for (value, column) in row.iter().zip(&rows.columns) {
                if let (Value::Text(text), Way::Text | Way::Summary) =
                    (value, way(rows.table, column))
                {
                    shared.add(text);
                }
            }
        }
    }
}

/// How a column is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Keep,
    Body,
    Headers,
    Json,
    Name,
    Text,
    Prose,
    /// What a field was found to be.
    Finding,
    Schema,
    Summary,
    /// What was edited, from what to what.
    Drop,
}

fn way(table: &str, column: &str) -> Way {
    match (table, column) {
        ("body", "bytes") => Way::Body,
        ("request", "headers") => Way::Headers,
        (_, "attributes" | "payload") => Way::Json,
        (_, "external_id" | "subject" | "correlation_id") => Way::Name,
        ("contract", "schema") | ("drift", "shape") => Way::Schema,
        ("drift", "was" | "is" | "value" | "hint") => Way::Finding,
        ("drift" | "contract" | "watched", "examples" | "reason") => Way::Prose,
        ("plan", "summary") => Way::Summary,
        ("plan_reading", "changes") => Way::Drop,
        _ if OURS.contains(&column) => Way::Keep,
        _ => Way::Text,
    }
}

fn gather(redactor: &Redactor, source: &str, rows: &Rows, row: &[Value], words: &mut Words) {
    for (value, column) in row.iter().zip(&rows.columns) {
        match (value, column.as_str()) {
            (Value::Blob(bytes), "bytes") => redactor.gather(source, bytes, words),
            (Value::Text(text), "attributes" | "payload" | "response") => {
                redactor.gather(source, text.as_bytes(), words);
            }
            (Value::Text(text), "target") => redactor.gather_query(source, text, words),
            _ => {}
        }
    }
}

fn mask(
    redactor: &mut Redactor,
    source: &str,
    value: &mut Value,
    way: Way,
    is_meant: bool,
    words: &Words,
) {
    if way == Way::Drop && !redactor.is_unmasked() {
        *value = Value::Null;
    }
    match value {
        Value::Blob(bytes) if way == Way::Body => redactor.body(source, bytes, words),
        Value::Text(text) => match way {
            Way::Keep | Way::Body => {}
            Way::Headers => *text = redactor.headers(source, text, words),
            Way::Json => {
                let mut bytes = std::mem::take(text).into_bytes();
                redactor.json(source, &mut bytes, words);
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            Way::Name => *text = redactor.name(text, words),
            Way::Text | Way::Drop => *text = redactor.text(source, text, words),
            Way::Prose => *text = redactor.prose(text, words),
            Way::Finding if is_meant && !text.is_empty() => {
                *text = redactor.pseudonym(text);
            }
            Way::Finding => *text = redactor.prose(text, words),
            Way::Schema => *text = schema(redactor, source, text),
            Way::Summary => *text = summary(redactor, text),
        },
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => {}
    }
}

/// A schema without the words that fields had whose values are masked.
fn schema(redactor: &mut Redactor, source: &str, text: &str) -> String {
    let words = Words::default();
    if redactor.is_unmasked() {
        return redactor.prose(text, &words);
    }
    let Ok(mut schema) = serde_json::from_str::<Json>(text) else {
        return redactor.prose(text, &words);
    };
    let mut changed = false;
    strip(redactor, source, &mut schema, &mut Vec::new(), &mut changed);
    let text = if changed { schema.to_string() } else { text.to_owned() };
    redactor.prose(&text, &words)
}

fn strip(
    redactor: &Redactor,
    source: &str,
    schema: &mut Json,
    path: &mut Vec<String>,
    changed: &mut bool,
) {
    match schema {
        Json::Object(members) => {
            if redactor.means(source, path) {
                for name in ["enum", "const", "examples", "default"] {
                    *changed |= members.remove(name).is_some();
                }
            }
            for (name, member) in members {
                let is_field = name == "properties";
                let Json::Object(fields) = member else {
                    strip(redactor, source, member, path, changed);
                    continue;
                };
                if !is_field {
                    strip(redactor, source, member, path, changed);
                    continue;
                }
                for (field, inner) in fields {
                    path.push(field.clone());
                    strip(redactor, source, inner, path, changed);
                    path.pop();
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                strip(redactor, source, item, path, changed);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// What a plan would do, without the values that a candidate would read otherwise.
fn summary(redactor: &mut Redactor, text: &str) -> String {
    let words = Words::default();
    if redactor.is_unmasked() {
        return redactor.prose(text, &words);
    }
    let without = serde_json::from_str::<Json>(text).ok().and_then(|mut summary| {
        summary.as_object_mut()?.remove("difference")?;
        Some(summary.to_string())
    });
    redactor.prose(without.as_deref().unwrap_or(text), &words)
}
