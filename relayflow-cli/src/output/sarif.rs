//! SARIF 2.1.0, as code hosts read it: rules, and results with their places.

use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// How bad a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warning,
    Note,
}

/// What results are of.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Stable: what a code host groups by.
    pub(crate) id: String,
    /// One sentence.
    pub(crate) about: String,
    pub(crate) level: Level,
}

/// One thing that was found.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// The id of one of the rules.
    pub(crate) rule: String,
    pub(crate) level: Level,
    pub(crate) message: String,
    /// A file, relative to where the check ran.
    pub(crate) file: Option<String>,
    /// What in it, or of which object.
    pub(crate) place: Option<Place>,
    /// What stays the same from run to run.
    pub(crate) fingerprint: String,
}

/// A place that has no line: a field of a payload.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The last part of its name.
    pub(crate) name: String,
    pub(crate) full_name: String,
    /// `member`, `object`.
    pub(crate) kind: &'static str,
}

/// The document, on several lines.
pub(crate) fn document(rules: &[Rule], findings: &[Finding]) -> Result<String, Failure> {
    let compact = super::document::compact(&value(rules, findings))?;
    Ok(format!("{}\n", super::document::indent(&compact)?))
}

fn value(rules: &[Rule], findings: &[Finding]) -> Value {
    let driver = json!({
        "name": "relayflow",
        "semanticVersion": env!("CARGO_PKG_VERSION"),
        "rules": rules.iter().map(rule).collect::<Vec<_>>(),
    });
    let results: Vec<_> = findings.iter().map(|finding| result(rules, finding)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.about },
        "defaultConfiguration": { "level": rule.level },
    })
}

fn result(rules: &[Rule], finding: &Finding) -> Value {
    let mut location = json!({});
    if let Some(file) = &finding.file {
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri(file) },
            // A payload is often one line; code hosts want one to stand at.
            "region": { "startLine": 1 },
        });
    }
    if let Some(place) = &finding.place {
        location["logicalLocations"] = json!([{
            "name": place.name,
            "fullyQualifiedName": place.full_name,
            "kind": place.kind,
        }]);
    }
    let mut result = json!({
        "ruleId": finding.rule,
        "level": finding.level,
        "message": { "text": finding.message },
        "locations": [location],
        "partialFingerprints": { "relayflow/v1": finding.fingerprint },
    });
    if let Some(index) = rules.iter().position(|rule| rule.id == finding.rule) {
        result["ruleIndex"] = json!(index);
    }
    result
}

/// A path as a relative reference: what no URI can have is escaped.
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_the_shape_that_the_specification_requires() {
        let rules = [Rule {
            id: "field_gone".into(),
            about: "A field is gone.".into(),
            level: Level::Error,
        }];
        let finding = Finding {
            rule: "field_gone".into(),
            level: Level::Error,
            message: "/data/id was required string and is absent".into(),
            file: Some("./fixtures/a b.json".into()),
            place: Some(Place {
                name: "id".into(),
                full_name: "acme x /data/id".into(),
                kind: "member",
            }),
            fingerprint: "acme x field_gone /data/id".into(),
        };
        let text = document(&rules, &[finding]).unwrap();
        let log: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "relayflow");
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "field_gone");
        let result = &run["results"][0];
        assert_eq!((&result["ruleId"], &result["ruleIndex"]), (&json!("field_gone"), &json!(0)));
        assert_eq!(result["level"], "error");
        assert!(result["message"]["text"].is_string());
        let location = &result["locations"][0];
        let uri = &location["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(uri, "fixtures/a%20b.json");
        assert_eq!(location["logicalLocations"][0]["kind"], "member");
    }

    #[test]
    fn a_log_without_findings_still_has_its_results() {
        let log: Value = serde_json::from_str(&document(&[], &[]).unwrap()).unwrap();
        // No results would say that nobody looked.
        assert_eq!(log["runs"][0]["results"], json!([]));
    }
}
