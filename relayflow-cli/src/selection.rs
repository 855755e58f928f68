//! Which ones a command is about: TERMs and their sugar, read once and sent as one filter.

use std::io::BufRead as _;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use relayflow_core::clock::from_micros;
use relayflow_core::event::micros;
use relayflow_core::filter::{Field, Filter, Now, Term, Test, parse_time};

use crate::args::Select;
use crate::failure::Failure;

/// What was selected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// The filter as the daemon takes it; `None` selects everything.
    pub(crate) q: Option<String>,
    /// Exact ids of tasks, requests and findings, where nothing else was given.
    pub(crate) ids: Option<Vec<String>>,
    /// The time of arrival that it is bounded to.
    pub(crate) window: Option<Window>,
    /// Whether the window is only there because contents are searched nowhere without one.
    pub(crate) is_window_assumed: bool,
}

impl Selection {
    /// Whether the person bounded it: by exact ids or in time.
    pub(crate) fn is_bounded(&self) -> bool {
        self.ids.is_some() || (self.window.is_some() && !self.is_window_assumed)
    }
}

/// From when to when, both as they were meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
}

/// Reads the TERMs and flags of a command. `base` is a term that holds unless the selection speaks
/// of its field itself; a `-` among the TERMs reads ids from stdin.
///
/// # Errors
///
/// What does not parse, with a caret and a suggestion.
pub(crate) fn read(select: &Select, base: Option<&str>, at: &Now) -> Result<Selection, Failure> {
    let mut terms = select.terms.clone();
    if terms.iter().any(|term| term == "-") {
        terms.retain(|term| term != "-");
        terms.extend(stdin_ids()?);
    }
    let is_exact = |term: &String| ["tsk_", "req_", "drf_"].iter().any(|p| is_whole_id(term, p));
    let has_flags =
        sugar(select).next().is_some() || select.since.is_some() || select.until.is_some();
    if !terms.is_empty() && !has_flags && terms.iter().all(is_exact) {
        let q = Some(format!("id:{}", terms.join(",")));
        return Ok(Selection { q, ids: Some(terms), ..Selection::default() });
    }
    let mut parts = Vec::new();
    for (field, value) in sugar(select) {
        parts.push(parse(&format!("{field}:{value}"), at)?);
    }
    for (field, value) in [("since", &select.since), ("until", &select.until)] {
        if let Some(value) = value {
            // Made absolute here: the daemon may live in another time zone.
            let moment = parse_time(value, at).map_err(|e| flag_failure(field, &e))?;
            parts.push(parse(&format!("{field}:{}", micros(moment)), at)?);
        }
    }
    let text = join(&terms);
    if !text.is_empty() {
        parts.push(parse(&text, at)?);
    }
    if let Some(base) = base {
        let base = parse(base, at)?;
        if !base.terms().iter().any(|term| parts.iter().any(|part| part.mentions(&term.field))) {
            parts.insert(0, base);
        }
    }
    parts.retain(|part| *part != Filter::All);
    let is_window_assumed = parts.iter().any(Filter::wants_window)
        && parts.iter().filter_map(window).all(|window| window.from.is_none());
    if is_window_assumed {
        let from = at.now - CONTENTS_WINDOW;
        parts.push(parse(&format!("since:{}", micros(from)), at)?);
        // An expression reaches to the end of the line.
        parts.rotate_right(1);
    }
    Ok(Selection { is_window_assumed, ..of_parts(parts) })
}

/// How far back contents are searched where nothing is said.
const CONTENTS_WINDOW: SignedDuration = SignedDuration::from_hours(24);

fn of_parts(mut parts: Vec<Filter>) -> Selection {
    let filter = match parts.len() {
        0 => return Selection::default(),
        1 => parts.remove(0),
        _ => Filter::And(parts),
    };
    Selection { q: Some(filter.to_string()), window: window(&filter), ..Selection::default() }
}

fn parse(text: &str, at: &Now) -> Result<Filter, Failure> {
    Filter::parse(text, at).map_err(|e| {
        let text = e.to_string();
        Failure::new("usage.filter", text.strip_prefix("error: ").unwrap_or(&text))
    })
}

fn flag_failure(flag: &str, error: &dyn std::fmt::Display) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    Failure::new("usage.filter", format!("--{flag}: {text}"))
}

/// The flags that are only short for a term.
fn sugar(select: &Select) -> impl Iterator<Item = (&'static str, &str)> {
    [
        ("source", &select.source),
        ("type", &select.event_type),
        ("status", &select.status),
        ("workflow", &select.workflow),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value.as_deref()?)))
}

/// Arguments as one text. A `where:` reaches to the end of the line, so it stands last, and several
/// become one.
fn join(terms: &[String]) -> String {
    let (wheres, others): (Vec<_>, Vec<_>) =
        terms.iter().map(String::as_str).partition(|term| term.starts_with("where:"));
    let mut parts = others;
    let expressions: Vec<_> = wheres.iter().filter_map(|w| w.strip_prefix("where:")).collect();
    let joined = match expressions.as_slice() {
        [] => String::new(),
        [one] => format!("where:{one}"),
        more => format!("where:({})", more.join(") and (")),
    };
    if !joined.is_empty() {
        parts.push(&joined);
    }
    parts.join(" ")
}

/// The ids on stdin: a line each, or JSON objects with an `id`.
fn stdin_ids() -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Failure::usage(format!("stdin is not text: {e}")))?;
        ids.extend(id_of_line(&line)?);
    }
    if ids.is_empty() {
        return Err(Failure::new("empty.selection", "there are no ids on stdin"));
    }
    Ok(ids)
}

fn id_of_line(line: &str) -> Result<Option<String>, Failure> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    if !line.starts_with('{') {
        return Ok(Some(line.to_owned()));
    }
    let object: serde_json::Value = serde_json::from_str(line)
        .map_err(|e| Failure::usage(format!("a line on stdin is not JSON: {e}")))?;
    match object.get("id").and_then(|id| id.as_str()) {
        Some(id) => Ok(Some(id.to_owned())),
        None => Err(Failure::usage("an object on stdin has no `id`")),
    }
}

/// Whether `text` is a whole id of this prefix: 26 digits behind it.
pub(crate) fn is_whole_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        digits.len() == 26 && digits.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// The bounds that a filter sets on the time of arrival, where they hold for all of it.
fn window(filter: &Filter) -> Option<Window> {
    let of_term = |term: &Term| match (&term.field, &term.test) {
        (Field::Received, Test::Between { low, high, .. }) => {
            Some(Window { from: low.map(from_micros), to: high.map(from_micros) })
        }
        _ => None,
    };
    match filter {
        Filter::Term(term) => of_term(term),
        Filter::And(all) => all.iter().filter_map(window).reduce(|a, b| Window {
            from: a.from.max(b.from),
            to: match (a.to, b.to) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }),
        Filter::All | Filter::Or(_) | Filter::Not(_) => None,
    }
}

impl Window {
    /// `window 12:03:11–14:03:11 CET (2h)`: as it was resolved, so that it can be repeated.
    pub(crate) fn show(&self, at: &Now) -> String {
        let to = self.to.unwrap_or(at.now);
        let clock = |moment: Timestamp, zone: &TimeZone| {
            let day = |m: Timestamp| m.to_zoned_datetime(zone.clone()).date();
            let form = if day(moment) == day(at.now) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
            moment.to_zoned_datetime(zone.clone()).strftime(form).to_string()
        };
        let zone = to.to_zoned_datetime(at.zone.clone()).strftime("%Z").to_string();
        match self.from {
            Some(from) => format!(
                "window {}–{} {zone} ({})",
                clock(from, &at.zone),
                clock(to, &at.zone),
                crate::output::time::amount(to.duration_since(from)),
            ),
            None => format!("window until {} {zone}", clock(to, &at.zone)),
        }
    }
}

/// This moment, and this person's time zone.
pub(crate) fn now(zone: &TimeZone) -> Now {
    Now { now: relayflow_core::clock::Clock::Wall.now(), zone: zone.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Now {
        Now { now: "2026-11-23T14:03:11Z".parse().unwrap(), zone: TimeZone::UTC }
    }

    fn select(terms: &[&str]) -> Select {
        Select { terms: terms.iter().map(ToString::to_string).collect(), ..Select::default() }
    }

    #[test]
    fn terms_and_flags_are_one_filter() {
        let given = Select {
            source: Some("stripe,github".into()),
            since: Some("2h".into()),
            ..select(&["type:invoice"])
        };
        let selection = read(&given, Some("status:dead"), &at()).unwrap();
        assert_eq!(
            selection.q.as_deref(),
            Some("status:dead source:stripe,github since:2026-11-23T12:03:11.000000Z type:invoice")
        );
        let window = selection.window.unwrap();
        assert_eq!(window.show(&at()), "window 12:03:11–14:03:11 UTC (2h)");
    }

    #[test]
    fn a_selection_that_speaks_of_the_status_needs_no_other() {
        let selection = read(&select(&["status:discarded"]), Some("status:dead"), &at()).unwrap();
        assert_eq!(selection.q.as_deref(), Some("status:discarded"));
    }

    #[test]
    fn alternatives_stay_together() {
        let given = Select { source: Some("a".into()), ..select(&["type:x", "or", "type:y"]) };
        let selection = read(&given, None, &at()).unwrap();
        assert_eq!(selection.q.as_deref(), Some("source:a (type:x or type:y)"));
    }

    #[test]
    fn contents_are_searched_within_a_window_only() {
        let selection = read(&select(&["payload.data.id:x"]), None, &at()).unwrap();
        assert!(selection.is_window_assumed);
        assert_eq!(
            selection.q.as_deref(),
            Some("since:2026-11-22T14:03:11.000000Z payload.data.id:x")
        );
        let selection = read(&select(&["header.x:y", "since:2h"]), None, &at()).unwrap();
        assert!(!selection.is_window_assumed && selection.window.is_some());
    }

    #[test]
    fn whole_task_ids_are_taken_exactly() {
        let id = "tsk_01J9ZC4K3V8XW2T5Q7R9S0ABCD";
        let selection = read(&select(&[id]), Some("status:dead"), &at()).unwrap();
        assert_eq!(selection.ids, Some(vec![id.to_owned()]));
        assert_eq!(read(&select(&["tsk_01J9"]), None, &at()).unwrap().ids, None);
    }

    #[test]
    fn expressions_stand_last_and_become_one() {
        let terms = ["where:a > 1", "source:x", "where:b"].map(str::to_owned);
        assert_eq!(join(&terms), "source:x where:(a > 1) and (b)");
        assert_eq!(join(&["where:a".to_owned()]), "where:a");
    }

    #[test]
    fn what_does_not_parse_is_a_usage_error() {
        let failure = read(&select(&["sorce:stripe", "status:dead"]), None, &at()).unwrap_err();
        assert_eq!(failure.exit().code(), 2);
        insta::assert_snapshot!(failure.lines(("", "")), @r"
        error: unknown field 'sorce'
          sorce:stripe status:dead
          ^^^^^ did you mean 'source'?
        ");
    }

    #[test]
    fn stdin_has_lines_or_objects() {
        assert_eq!(id_of_line(" tsk_1 ").unwrap().as_deref(), Some("tsk_1"));
        assert_eq!(id_of_line(r#"{"id":"req_2","x":1}"#).unwrap().as_deref(), Some("req_2"));
        assert_eq!(id_of_line("").unwrap(), None);
        assert!(id_of_line("{}").is_err() && id_of_line("{").is_err());
    }
}
