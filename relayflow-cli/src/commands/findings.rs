//! What differs from contracts, as CI servers and code hosts read it.

use relayflow_core::api::{Drift, Violation};

use super::contract::Unit;
use crate::args::FailOn;
use crate::failure::Failure;
use crate::output::junit::{self, Case, Outcome, Suite};
use crate::output::sarif::{self, Finding, Level, Place, Rule};
use crate::output::time;

/// What makes a check fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    pub(crate) fail_on: FailOn,
    pub(crate) requires_contract: bool,
}

/// The rule of what has no contract to be held against.
const MISSING: &str = "contract_missing";

/// Every rule, and what it is about.
const RULES: [(&str, &str); 12] = [
    ("field_added", "A field is there that the contract does not know."),
    ("field_gone", "A field is gone that every payload had."),
    ("type_changed", "A field has another JSON type."),
    ("newly_null", "A field is null that never was."),
    ("value_added", "A field with a fixed vocabulary has a new word."),
    ("format_changed", "A text is no longer written as its format was."),
    ("type_added", "Events of an unknown type came."),
    ("type_gone", "Events have no type any more."),
    ("unreadable", "A body cannot be read as its provider's."),
    ("header_added", "Requests have a signature header that they did not have."),
    ("header_gone", "Requests lack a header that they always had."),
    (MISSING, "There is no contract that events of this type could keep."),
];

fn level(grade: &str) -> Level {
    if grade == "breaking" { Level::Error } else { Level::Note }
}

/// The rules that findings use, in the order of the list.
fn rules(findings: &[Finding]) -> Vec<Rule> {
    let used = RULES.iter().filter(|(id, _)| findings.iter().any(|f| f.rule == *id));
    used.map(|(id, about)| {
        let levels = findings.iter().filter(|f| f.rule == *id).map(|f| f.level);
        let level = levels.min_by_key(|level| *level as u8).unwrap_or(Level::Note);
        Rule { id: (*id).to_owned(), about: (*about).to_owned(), level }
    })
    .collect()
}

/// A field of a payload, as a place: `/data/*/id` of `stripe invoice.paid`.
fn place(of: &str, path: &str) -> Place {
    let name = path.rsplit(['/', ':']).next().filter(|name| !name.is_empty()).unwrap_or(of);
    let full_name = if path.is_empty() { of.to_owned() } else { format!("{of} {path}") };
    let kind = if path.is_empty() { "type" } else { "member" };
    Place { name: name.to_owned(), full_name, kind }
}

/// `/data/id: required string → absent (moved to …)`.
fn what(path: &str, was: &str, is: &str, hint: Option<&str>) -> String {
    let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{at}{was} → {is}{hint}")
}

fn of(violation: &Violation) -> String {
    format!("{} {}", violation.provider, violation.event_type).trim_end().to_owned()
}

fn line(violation: &Violation) -> String {
    let Violation { change, grade, path, was, is, hint, .. } = violation;
    format!("{grade} {change}  {}", what(path, was, is, hint.as_deref()))
}

fn events(count: usize) -> String {
    time::things(u64::try_from(count).unwrap_or(u64::MAX), "event")
}

/// Files are cases; of stored events, each thing that differs, and all that is as expected.
pub(crate) fn junit_of_check(units: &[Unit], gate: Gate) -> String {
    let mut cases = Vec::new();
    for unit in units {
        match &unit.file {
            Some(file) => cases.push(case_of_file(file, unit, gate)),
            None => cases_of_events(unit, gate, &mut cases),
        }
    }
    let suite = Suite { name: "relayflow contract check".to_owned(), cases, ..Suite::default() };
    junit::document(&[suite])
}

fn case_of_file(file: &str, unit: &Unit, gate: Gate) -> Case {
    let check = &unit.check;
    let failing: Vec<&Violation> =
        check.violations.iter().filter(|v| gate.fail_on.is_met_by(&v.grade)).collect();
    let missing: Vec<String> = check
        .missing
        .iter()
        .map(|m| format!("no contract for {} {}", m.provider, m.event_type))
        .collect();
    let first = failing.first().map(|v| line(v));
    let outcome = match (first, missing.first()) {
        (Some(first), _) => Outcome::Failed {
            kind: failing.first().map_or_else(String::new, |v| v.change.clone()),
            message: match failing.len() {
                1 => first,
                count => format!("{first} (and {} more)", count - 1),
            },
            detail: failing
                .iter()
                .map(|v| format!("{}: {}", of(v), line(v)))
                .chain(missing)
                .collect::<Vec<_>>()
                .join("\n"),
        },
        (None, Some(first)) if gate.requires_contract => Outcome::Failed {
            kind: MISSING.to_owned(),
            message: first.clone(),
            detail: missing.join("\n"),
        },
        (None, Some(first)) if check.checked == 0 => Outcome::Skipped { message: first.clone() },
        (None, _) => Outcome::Passed,
    };
    let provider = check.violations.first().map(|v| &v.provider);
    let provider = provider.or_else(|| check.missing.first().map(|m| &m.provider));
    let class = provider.cloned().unwrap_or_else(|| "contract".to_owned());
    Case { name: file.to_owned(), class, outcome }
}

fn cases_of_events(unit: &Unit, gate: Gate, cases: &mut Vec<Case>) {
    let check = &unit.check;
    for violation in check.violations.iter().filter(|v| gate.fail_on.is_met_by(&v.grade)) {
        cases.push(Case {
            name: format!("{} {}", violation.change, violation.path).trim_end().to_owned(),
            class: of(violation),
            outcome: Outcome::Failed {
                kind: violation.change.clone(),
                message: line(violation),
                detail: format!(
                    "{}, the first: relayflow events show {}",
                    events(violation.events),
                    violation.at
                ),
            },
        });
    }
    for missing in &check.missing {
        let message = format!("no contract for {}", events(missing.events));
        let outcome = if gate.requires_contract {
            let detail = format!("the first: relayflow events show {}", missing.at);
            Outcome::Failed { kind: MISSING.to_owned(), message, detail }
        } else {
            Outcome::Skipped { message }
        };
        let class = format!("{} {}", missing.provider, missing.event_type);
        cases.push(Case { name: MISSING.to_owned(), class, outcome });
    }
    if 0 < check.kept {
        cases.push(Case {
            name: format!("{} as expected", events(check.kept)),
            class: "contract".to_owned(),
            outcome: Outcome::Passed,
        });
    }
}

/// Every difference, whatever its grade; a file is its place.
pub(crate) fn sarif_of_check(units: &[Unit], gate: Gate) -> Result<String, Failure> {
    let mut findings = Vec::new();
    for unit in units {
        for violation in &unit.check.violations {
            let of = of(violation);
            let Violation { change, path, was, is, hint, .. } = violation;
            let file = unit.file.as_deref().unwrap_or_default();
            findings.push(Finding {
                rule: change.clone(),
                level: level(&violation.grade),
                message: format!("{of} {}", what(path, was, is, hint.as_deref())),
                file: unit.file.clone(),
                place: Some(place(&of, path)),
                fingerprint: format!("{of} {change} {path} {is} {file}").trim_end().to_owned(),
            });
        }
        for missing in &unit.check.missing {
            let of = format!("{} {}", missing.provider, missing.event_type);
            findings.push(Finding {
                rule: MISSING.to_owned(),
                level: if gate.requires_contract { Level::Error } else { Level::Warning },
                message: format!("there is no contract for {of}"),
                file: unit.file.clone(),
                place: Some(place(&of, "")),
                fingerprint: format!("{of} {MISSING}"),
            });
        }
    }
    sarif::document(&rules(&findings), &findings)
}

/// Open findings are failures as the gate has it; without any there is one case that passed.
pub(crate) fn junit_of_drift(found: &[Drift], fail_on: FailOn) -> String {
    let mut cases: Vec<Case> = found
        .iter()
        .map(|drift| {
            let message = format!(
                "{} {}  {}",
                drift.grade,
                drift.change,
                what(&drift.path, &drift.was, &drift.is, drift.hint.as_deref())
            );
            let outcome = if drift.status == "open" && fail_on.is_met_by(&drift.grade) {
                let mut detail = vec![format!("relayflow drift show {}", drift.id)];
                detail.extend(drift.read_by.iter().map(|reader| format!("read by {reader}")));
                let kind = drift.change.clone();
                Outcome::Failed { kind, message, detail: detail.join("\n") }
            } else {
                Outcome::Skipped { message: format!("{}: {message}", drift.status) }
            };
            let name = format!("{} {}", drift.change, drift.path).trim_end().to_owned();
            Case { name, class: of_drift(drift), outcome }
        })
        .collect();
    if cases.is_empty() {
        let name = "nothing differs".to_owned();
        cases.push(Case { name, class: "drift".to_owned(), outcome: Outcome::Passed });
    }
    let suite = Suite { name: "relayflow drift".to_owned(), cases, ..Suite::default() };
    junit::document(&[suite])
}

fn of_drift(drift: &Drift) -> String {
    let event_type = drift.event_type.as_deref().unwrap_or_default();
    format!("{} {event_type}", drift.source).trim_end().to_owned()
}

pub(crate) fn sarif_of_drift(found: &[Drift]) -> Result<String, Failure> {
    let findings: Vec<Finding> = found
        .iter()
        .map(|drift| {
            let of = of_drift(drift);
            let Drift { change, path, was, is, hint, events, .. } = drift;
            let what = what(path, was, is, hint.as_deref());
            Finding {
                rule: change.clone(),
                level: level(&drift.grade),
                message: format!("{of} {what}; {events} events, {}", drift.id),
                file: None,
                place: Some(place(&of, path)),
                fingerprint: format!("{of} {change} {path} {is}"),
            }
        })
        .collect();
    sarif::document(&rules(&findings), &findings)
}

#[cfg(test)]
mod tests {
    use relayflow_core::contract::Change;
    use relayflow_core::view::contracts::Tally;
    use serde_json::{Value, json};

    use super::*;

    fn unit(file: Option<&str>, payload: &Value) -> Unit {
        let mut observed = relayflow_core::contract::Observed::default();
        for status in ["open", "paid"] {
            observed.add(&json!({"id": "a", "status": status, "at": "2026-01-05"}));
        }
        let schema = observed.to_schema();
        let mut tally = Tally::default();
        let at = file.unwrap_or("evt_1");
        tally.add(at, ("acme", "order.paid"), Some(&schema), Some(payload));
        tally.add(at, ("acme", "order.lost"), None, Some(payload));
        Unit { file: file.map(str::to_owned), check: tally.done() }
    }

    const GATE: Gate = Gate { fail_on: FailOn::Breaking, requires_contract: false };

    fn units() -> Vec<Unit> {
        let gone = json!({"status": "void", "at": "2026-01-06"});
        let kept = json!({"id": "b", "status": "open", "at": "2026-01-07", "new": {"x": 1}});
        vec![unit(Some("a.json"), &gone), unit(Some("b.json"), &kept), unit(None, &gone)]
    }

    #[test]
    fn every_change_has_a_rule() {
        for change in Change::ALL {
            assert!(RULES.iter().any(|(id, _)| *id == change.as_str()), "{change}");
        }
    }

    #[test]
    fn a_ci_server_sees_what_fails() {
        insta::assert_snapshot!(junit_of_check(&units(), GATE));
        let strict = Gate { fail_on: FailOn::Any, requires_contract: true };
        let shown = junit_of_check(&units(), strict);
        assert!(shown.contains("failures=\"5\""), "{shown}");
    }

    #[test]
    fn a_code_host_sees_all_of_it() {
        let log = sarif_of_check(&units(), GATE).unwrap();
        insta::assert_snapshot!(log.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }
}
