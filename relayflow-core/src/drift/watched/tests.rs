use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::SignedDuration;

use super::*;
use crate::config::SourceConfig;
use crate::event::Payload;
use crate::provider::Catalog;
use crate::secret::Secret;

fn source(provider: &str) -> Arc<Source> {
    let config = SourceConfig {
        name: "mine".to_owned(),
        provider: provider.to_owned(),
        secrets: vec![Secret::new("a secret of some length".to_owned())],
        tolerance: None,
        public_url: None,
        settings: BTreeMap::new(),
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
        reconcile: None,
    };
    Arc::new(Source::new(&config, None, &Catalog::built_in()).unwrap())
}

fn event(event_type: &str, payload: &str) -> SeenEvent {
    let body = Bytes::from(payload.to_owned());
    SeenEvent {
        id: EventId::next(),
        event_type: event_type.to_owned(),
        payload: Payload::Slice { to: body.len(), from: 0, body },
    }
}

fn headers(names: &[&str]) -> Headers {
    Headers {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        media: "application/json".to_owned(),
    }
}

/// Looks at so many equal events.
fn look(watched: &mut Watched, times: usize, event_type: &str, payload: &str) -> DriftNotes {
    let mut notes = DriftNotes::default();
    for _ in 0..times {
        watched.event(&event(event_type, payload), 1, &mut notes);
    }
    notes
}

fn written(watched: &mut Watched) -> DriftNotes {
    let mut notes = DriftNotes::default();
    watched.write_down(9, &mut notes);
    notes.found.sort_by(|one, other| (one.change, &one.path).cmp(&(other.change, &other.path)));
    notes
}

/// `grade change path events`, for each finding.
fn told(notes: &DriftNotes) -> Vec<String> {
    let line = |one: &NewDrift| format!("{} {} {} {}", one.grade, one.change, one.path, one.events);
    notes.found.iter().map(line).collect()
}

#[test]
fn what_differs_is_counted_marked_and_written_once() {
    let mut watched = Watched::new(source("generic"), Kept::default());
    let notes = look(&mut watched, 6, "paid", r#"{"id":1,"amount":1}"#);
    assert_eq!(notes.contracts.len(), 1);
    assert!(notes.marked.is_empty() && !watched.has_news());
    let notes = look(&mut watched, 4, "paid", r#"{"id":1,"total":1}"#);
    assert!(watched.has_news());
    assert_eq!(notes.marked.len(), 4);
    assert!(notes.marked.iter().all(|(_, grade, of)| *grade == Grade::Breaking && of.len() == 2));
    let notes = written(&mut watched);
    assert_eq!(told(&notes), ["additive field_added /total 4", "breaking field_gone /amount 4"]);
    assert_eq!(notes.found[0].examples.len(), EXAMPLES_MAX);
    assert_eq!(notes.found[0].watched_before, 6);
    let of_type = notes.watched.iter().find(|row| row.event_type == "paid").unwrap();
    assert_eq!((of_type.events, of_type.learning.is_none()), (10, true));
    assert!(!watched.has_news());
    assert!(told(&written(&mut watched)).is_empty(), "nothing happened since");
}

#[test]
fn what_was_learned_is_known_after_a_restart() {
    let source = source("generic");
    let payload = r#"{"id":1,"amount":1}"#;
    let mut watched = Watched::new(Arc::clone(&source), Kept::default());
    look(&mut watched, 3, "paid", payload);
    watched.headers(Some(&headers(&["x-signature"])), RequestId::next(), 1);
    let notes = written(&mut watched);
    let kept = Kept { watched: notes.watched, ..Kept::default() };
    let mut watched = Watched::new(Arc::clone(&source), kept);
    assert!(watched.about.types.contains("paid"));
    assert!(watched.about.headers.always.contains("x-signature"));
    let notes = look(&mut watched, 2, "paid", payload);
    let [settled] = notes.contracts.as_slice() else { panic!("settled with the fifth") };
    // And what was settled is not learned anew.
    let contract = ContractRow {
        source: "mine".to_owned(),
        event_type: "paid".to_owned(),
        version: 1,
        origin: "learned".to_owned(),
        schema: settled.schema.clone(),
        created_us: 1,
        who: None,
        reason: None,
    };
    let rows = written(&mut watched).watched;
    let kept = Kept { contracts: vec![contract], watched: rows, ..Kept::default() };
    let mut watched = Watched::new(source, kept);
    look(&mut watched, 1, "paid", r#"{"id":1}"#);
    assert_eq!(told(&written(&mut watched)), ["breaking field_gone /amount 1"]);
}

#[test]
fn what_was_accepted_is_not_found_again() {
    let mut watched = Watched::new(source("generic"), Kept::default());
    look(&mut watched, 6, "paid", r#"{"id":1,"amount":1}"#);
    look(&mut watched, 1, "paid", r#"{"id":1}"#);
    for finding in watched.findings.values_mut() {
        finding.is_accepted = true;
    }
    written(&mut watched);
    let notes = look(&mut watched, 5, "paid", r#"{"id":1}"#);
    assert!(notes.marked.is_empty() && !watched.has_news());
    assert!(told(&written(&mut watched)).is_empty());
}

#[test]
fn a_type_that_nobody_knows_is_news_once_the_others_are_known() {
    let mut watched = Watched::new(source("generic"), Kept::default());
    look(&mut watched, 1, "first", "{}");
    look(&mut watched, 1, "second", "{}");
    look(&mut watched, 8, "first", "{}");
    assert!(told(&written(&mut watched)).is_empty(), "types come one after the other at first");
    let notes = look(&mut watched, 3, "third", "{}");
    assert_eq!(notes.marked.len(), 3);
    let notes = written(&mut watched);
    assert_eq!(told(&notes), ["additive type_added  3"]);
    assert_eq!(
        (notes.found[0].is.as_str(), notes.found[0].was.as_str()),
        ("third", "2 known types")
    );
    // Events without a type have a name of the definition's.
    look(&mut watched, 12, "first", "{}");
    look(&mut watched, 2, "event", "{}");
    assert_eq!(told(&written(&mut watched)), ["breaking type_gone  2"]);
}

#[test]
fn a_type_that_the_definition_knows_is_no_news() {
    let mut watched = Watched::new(source("stripe"), Kept::default());
    look(&mut watched, 9, "charge.failed", r#"{"id":"evt_1"}"#);
    look(&mut watched, 1, "invoice.paid", r#"{"id":"evt_1"}"#);
    assert!(told(&written(&mut watched)).is_empty());
    look(&mut watched, 9, "invoice.paid", r#"{"id":"evt_1"}"#);
    look(&mut watched, 1, "invoice.never_heard_of", r#"{"id":"evt_1"}"#);
    assert_eq!(told(&written(&mut watched)), ["additive type_added  1"]);
}

#[test]
fn a_signature_under_another_name_is_found_in_what_is_rejected() {
    let mut watched = Watched::new(source("generic"), Kept::default());
    let (old, new) = (headers(&["x-signature", "x-id"]), headers(&["signature-v2", "x-id"]));
    let request = RequestId::next();
    // Before anything is known, an unsigned request is a mistake of the configuration.
    watched.unsigned(&new, request, 1);
    for _ in 0..5 {
        watched.headers(Some(&old), request, 1);
    }
    watched.unsigned(&headers(&["x-id"]), request, 1);
    assert!(told(&written(&mut watched)).is_empty(), "a request without any is nobody's");
    watched.unsigned(&new, request, 1);
    let notes = written(&mut watched);
    assert_eq!(told(&notes), ["breaking header_gone header:x-signature 1"]);
    assert_eq!(notes.found[0].hint.as_deref(), Some("rejected requests have signature-v2"));
    // A header that nobody reads may come and go.
    watched.headers(Some(&headers(&["x-signature", "x-new"])), request, 1);
    let told = told(&written(&mut watched));
    assert_eq!(
        told,
        ["additive header_added header:x-new 1", "additive header_gone header:x-id 1"]
    );
}

#[test]
fn a_hostile_sender_cannot_fill_the_memory() {
    let mut watched = Watched::new(source("generic"), Kept::default());
    look(&mut watched, 6, "paid", r#"{"id":1,"status":"a"}"#);
    for i in 0..3_000 {
        let word: String = std::iter::repeat_n('w', 1 + i % 40).collect();
        look(&mut watched, 1, "paid", &format!(r#"{{"id":1,"status":"{word}","f{i}":1}}"#));
        look(&mut watched, 1, &format!("type{i}"), "{}");
    }
    assert!(watched.findings.len() <= FINDINGS_MAX);
    assert!(watched.types.len() <= TYPES_MAX && watched.about.types.len() <= TYPES_MAX);
    assert!(watched.words_at("paid", "/status") <= WORDS_MAX + 1);
    assert!(written(&mut watched).found.len() <= FINDINGS_MAX);
}
