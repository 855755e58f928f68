//! What is known of one source, and what a look at its requests finds. Pure: told what came, it says
//! what to write down.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::headers::{Headers, Known};
use crate::contract::compare::Difference;
use crate::contract::profile::Learning;
use crate::contract::{Change, Grade, Profile, Schema};
use crate::id::{DriftId, EventId, RequestId};
use crate::provider::Source;
use crate::store::{ContractRow, DriftNotes, DriftRow, NewContract, NewDrift, WatchedRow};

/// A new type is news once so many events in a row brought none, for each type that is known.
const QUIET_PER_TYPE: u64 = 4;
/// Types of one source that are watched; a sender of more has something else in its type.
const TYPES_MAX: usize = 500;
/// Findings of one source that are kept; of more, the first say it all.
const FINDINGS_MAX: usize = 1_000;
/// Findings about new words of one place, after which no more are told apart.
const WORDS_MAX: usize = 16;
/// Events that are marked in one writing.
const MARKS_MAX: usize = 200;
/// Examples of one finding.
const EXAMPLES_MAX: usize = 3;

/// One event, as far as drift is concerned.
#[derive(Debug)]
pub struct SeenEvent {
    pub id: EventId,
    pub event_type: String,
    pub payload: crate::event::Payload,
}

/// One source under watch.
#[derive(Debug)]
pub(super) struct Watched {
    source: Arc<Source>,
    about: About,
    about_changed: bool,
    types: HashMap<String, OfType>,
    findings: HashMap<Key, Finding>,
    /// Types that were news when they first came.
    new_types: BTreeSet<String>,
    /// Whether something was found that an operator has not been told.
    has_news: bool,
}

/// What is known of the source itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    #[serde(default)]
    headers: Known,
    /// Events since the last of a new type.
    #[serde(default)]
    quiet: u64,
    #[serde(default)]
    types: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct OfType {
    profile: Profile,
    /// Events looked at, on record and since.
    events: i64,
    new_events: i64,
    first_us: i64,
    last_us: i64,
}

/// Type, change, path and what tells findings at one place apart.
type Key = (String, Change, String, String);

#[derive(Debug)]
struct Finding {
    is_accepted: bool,
    /// As it is written down; its events and examples are those since it was last.
    note: NewDrift,
}

/// What the store has of a source.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) watched: Vec<WatchedRow>,
    pub(super) contracts: Vec<ContractRow>,
    pub(super) findings: Vec<DriftRow>,
}

impl Watched {
    pub(super) fn new(source: Arc<Source>, kept: Kept) -> Self {
        let mut contracts: HashMap<String, Arc<Schema>> = HashMap::new();
        for row in kept.contracts {
            // In the order of their versions: the last stands.
            let schema = serde_json::from_str(&row.schema).ok();
            if let Some(schema) = schema.and_then(|document| Schema::parse(&document).ok()) {
                contracts.insert(row.event_type, Arc::new(schema));
            }
        }
        let mut watched = Self {
            source,
            about: About::default(),
            about_changed: false,
            types: HashMap::new(),
            findings: HashMap::new(),
            new_types: BTreeSet::new(),
            has_news: false,
        };
        for row in kept.watched {
            let learning = row.learning.as_deref();
            if row.event_type.is_empty() {
                let about = learning.and_then(|text| serde_json::from_str(text).ok());
                watched.about = about.unwrap_or_default();
                continue;
            }
            let learning = learning.and_then(|text| serde_json::from_str(text).ok());
            let contract = contracts.remove(&row.event_type);
            let of_type = OfType {
                profile: watched.profile(&row.event_type, contract, learning.unwrap_or_default()),
                events: row.events,
                first_us: row.first_us,
                last_us: row.last_us,
                new_events: 0,
            };
            watched.types.insert(row.event_type, of_type);
        }
        for (event_type, contract) in contracts {
            let profile = watched.profile(&event_type, Some(contract), Learning::default());
            watched.types.insert(event_type, OfType { profile, ..OfType::default() });
        }
        for row in kept.findings {
            let is_accepted = row.is_accepted;
            if matches!(row.change, Change::TypeAdded | Change::TypeGone) {
                watched.new_types.insert(row.event_type.clone());
            }
            let note = note_of(row);
            let key = (note.event_type.clone(), note.change, note.path.clone(), note.value.clone());
            watched.findings.insert(key, Finding { is_accepted, note });
        }
        watched
    }

    fn profile(
        &self,
        event_type: &str,
        contract: Option<Arc<Schema>>,
        learning: Learning,
    ) -> Profile {
        let shipped = self.source.provider.contracts.get(event_type).map(|c| c.schema);
        Profile::new(shipped, contract, learning)
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// A verified request of a set of headers; `None`: of a set that was looked at before.
    pub(super) fn headers(&mut self, headers: Option<&Headers>, request: RequestId, now_us: i64) {
        let was_settled = self.about.headers.is_settled();
        let Some(headers) = headers else {
            self.about.headers.look_again();
            self.about_changed |= !was_settled;
            return;
        };
        for (change, name, was, is) in self.about.headers.look(headers) {
            // What nobody reads may come and go.
            let is_idle = change == Change::HeaderGone && !self.source.needs_header(&name);
            let grade = if is_idle { Grade::Additive } else { change.grade() };
            let path = format!("header:{name}");
            self.of_source(request, now_us, Found { change, grade, path, was, is, hint: None });
        }
        self.about_changed |= !was_settled;
    }

    /// A request whose signature was not there. If requests used to have it, it has another name now.
    pub(super) fn unsigned(&mut self, headers: &Headers, request: RequestId, now_us: i64) {
        if !self.about.headers.is_settled() {
            return;
        }
        let always = self.about.headers.always.clone();
        let needed = always.iter().filter(|name| self.source.needs_header(name));
        let gone: Vec<&String> = needed.filter(|name| !headers.names.contains(*name)).collect();
        let mut others = headers.signatures().filter(|name| !always.contains(*name));
        let Some(other) = others.next() else { return };
        for name in gone {
            let found = Found {
                change: Change::HeaderGone,
                grade: Grade::Breaking,
                path: format!("header:{name}"),
                was: "always".to_owned(),
                is: "absent".to_owned(),
                hint: Some(format!("rejected requests have {other}")),
            };
            self.of_source(request, now_us, found);
        }
    }

    /// A verified request that the definition could not read.
    pub(super) fn unreadable(&mut self, request: RequestId, now_us: i64) {
        let found = Found {
            change: Change::Unreadable,
            grade: Change::Unreadable.grade(),
            path: String::new(),
            was: self.source.provider.contract.to_string(),
            is: "not read by it".to_owned(),
            hint: None,
        };
        self.of_source(request, now_us, found);
    }

    /// Holds an event against what is expected of it.
    pub(super) fn event(&mut self, event: &SeenEvent, now_us: i64, notes: &mut DriftNotes) {
        let event_type = event.event_type.as_str();
        let mut findings = self.new_type(event, now_us);
        if !self.types.contains_key(event_type) {
            if TYPES_MAX <= self.types.len() {
                return;
            }
            let profile = self.profile(event_type, None, Learning::default());
            let of_type = OfType { profile, first_us: now_us, ..OfType::default() };
            self.types.insert(event_type.to_owned(), of_type);
        }
        let Some(of_type) = self.types.get_mut(event_type) else { return };
        let look = of_type.profile.look(event.payload.json());
        let before = of_type.events;
        of_type.events += 1;
        of_type.new_events += 1;
        of_type.last_us = now_us;
        if let Some(contract) = look.settled {
            notes.contracts.push(NewContract {
                source: self.source.name.to_string(),
                event_type: event_type.to_owned(),
                schema: contract.to_json().to_string(),
            });
        }
        for difference in look.differences.iter() {
            findings.extend(self.found(event, difference, before, now_us));
        }
        let worst = findings.iter().map(|(_, grade)| *grade).max();
        if let Some(worst) = worst.filter(|_| notes.marked.len() < MARKS_MAX) {
            let ids = findings.iter().map(|(id, _)| *id).collect();
            notes.marked.push((event.id, worst, ids));
        }
    }

    /// Whether the event's type is news.
    fn new_type(&mut self, event: &SeenEvent, now_us: i64) -> Vec<(DriftId, Grade)> {
        let event_type = event.event_type.as_str();
        if self.about.types.contains(event_type) {
            self.about.quiet = self.about.quiet.saturating_add(1);
            self.about_changed |= self.about.quiet <= QUIET_PER_TYPE * TYPES_MAX as u64;
            return self.news_of_type(event, now_us);
        }
        let known = self.about.types.len() as u64;
        let is_settled = known > 0 && QUIET_PER_TYPE * known <= self.about.quiet;
        if self.about.types.len() < TYPES_MAX {
            self.about.types.insert(event_type.to_owned());
        }
        self.about.quiet = 0;
        self.about_changed = true;
        if !is_settled || self.source.knows_type(event_type) {
            return vec![];
        }
        let has_lost_its_type = self.source.type_without() == Some(event_type);
        let (change, is) = if has_lost_its_type {
            (Change::TypeGone, "events without one")
        } else {
            (Change::TypeAdded, event_type)
        };
        self.new_types.insert(event_type.to_owned());
        let difference = Difference {
            change,
            grade: change.grade(),
            path: String::new(),
            was: format!("{known} known types"),
            is: is.to_owned(),
            hint: None,
            shape: None,
        };
        self.found(event, &difference, 0, now_us).into_iter().collect()
    }

    /// Another event of a type that was news.
    fn news_of_type(&mut self, event: &SeenEvent, now_us: i64) -> Vec<(DriftId, Grade)> {
        if !self.new_types.contains(&event.event_type) {
            return vec![];
        }
        let of_type = |key: &&Key| {
            key.0 == event.event_type && matches!(key.1, Change::TypeAdded | Change::TypeGone)
        };
        let Some(key) = self.findings.keys().find(of_type).cloned() else { return vec![] };
        let Some(finding) = self.findings.get_mut(&key).filter(|known| !known.is_accepted) else {
            return vec![];
        };
        finding.note.events += 1;
        finding.note.last_us = now_us;
        if finding.note.examples.len() < EXAMPLES_MAX {
            finding.note.examples.push(event.id);
        }
        self.has_news = true;
        vec![(finding.note.id, finding.note.grade)]
    }

    /// Puts a difference of an event on record.
    fn found(
        &mut self,
        event: &SeenEvent,
        difference: &Difference,
        watched_before: i64,
        now_us: i64,
    ) -> Option<(DriftId, Grade)> {
        let (change, path, mut value) = difference.key();
        if change == Change::ValueAdded && WORDS_MAX <= self.words_at(&event.event_type, path) {
            value = "";
        }
        let key = (event.event_type.clone(), change, path.to_owned(), value.to_owned());
        let finding = self.finding(key, difference, watched_before, now_us)?;
        if finding.is_accepted {
            return None;
        }
        if finding.note.examples.len() < EXAMPLES_MAX {
            finding.note.examples.push(event.id);
        }
        Some((finding.note.id, finding.note.grade))
    }

    /// Puts what is about the source, and no event's, on record.
    fn of_source(&mut self, request: RequestId, now_us: i64, found: Found) {
        let Found { change, grade, path, was, is, hint } = found;
        let difference = Difference { change, grade, path, was, is, hint, shape: None };
        let key = (String::new(), change, difference.path.clone(), String::new());
        if let Some(finding) = self.finding(key, &difference, 0, now_us) {
            finding.note.request.get_or_insert(request);
        }
    }

    /// The finding of that key, met once more; a new one if there is room.
    fn finding(
        &mut self,
        key: Key,
        difference: &Difference,
        watched_before: i64,
        now_us: i64,
    ) -> Option<&mut Finding> {
        let is_full = FINDINGS_MAX <= self.findings.len();
        let finding = match self.findings.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return None,
            Entry::Vacant(place) => {
                let (event_type, change, path, value) = place.key().clone();
                place.insert(Finding {
                    is_accepted: false,
                    note: NewDrift {
                        id: DriftId::next(),
                        source: self.source.name.to_string(),
                        provider: self.source.provider.name.to_string(),
                        event_type,
                        change,
                        path,
                        value,
                        grade: difference.grade,
                        was: difference.was.clone(),
                        is: difference.is.clone(),
                        hint: difference.hint.clone(),
                        shape: difference.shape.as_ref().map(|shape| shape.to_json().to_string()),
                        events: 0,
                        watched_before,
                        first_us: now_us,
                        last_us: now_us,
                        examples: vec![],
                        request: None,
                    },
                })
            }
        };
        finding.note.events += 1;
        self.has_news |= !finding.is_accepted;
        finding.note.last_us = now_us;
        Some(finding)
    }

    /// How many new words were found at a place.
    fn words_at(&self, event_type: &str, path: &str) -> usize {
        let is_there =
            |key: &&Key| key.0 == event_type && key.1 == Change::ValueAdded && key.2 == path;
        self.findings.keys().filter(is_there).count()
    }

    /// Adds what is not on record yet to `notes`, and takes it as written.
    pub(super) fn write_down(&mut self, now_us: i64, notes: &mut DriftNotes) {
        let row = |event_type: &str| WatchedRow {
            source: self.source.name.to_string(),
            event_type: event_type.to_owned(),
            provider: self.source.provider.name.to_string(),
            events: 0,
            first_us: now_us,
            last_us: now_us,
            learning: None,
        };
        if std::mem::take(&mut self.about_changed) {
            let learning = serde_json::to_string(&self.about).ok();
            notes.watched.push(WatchedRow { learning, ..row("") });
        }
        for (event_type, of_type) in &mut self.types {
            let events = std::mem::take(&mut of_type.new_events);
            if events == 0 {
                continue;
            }
            let learning = of_type.profile.learning();
            let learning = learning.and_then(|learning| serde_json::to_string(learning).ok());
            let (first_us, last_us) = (of_type.first_us, of_type.last_us);
            notes.watched.push(WatchedRow {
                events,
                first_us,
                last_us,
                learning,
                ..row(event_type)
            });
        }
        self.has_news = false;
        for finding in self.findings.values_mut().filter(|finding| finding.note.events > 0) {
            let note = finding.note.clone();
            finding.note.events = 0;
            finding.note.examples.clear();
            if !finding.is_accepted {
                notes.found.push(note);
            }
        }
    }

    /// Whether something was found that an operator has not been told.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }
}

/// What is found about a source.
struct Found {
    change: Change,
    grade: Grade,
    path: String,
    was: String,
    is: String,
    hint: Option<String>,
}

fn note_of(row: DriftRow) -> NewDrift {
    NewDrift {
        id: row.id,
        source: row.source,
        provider: row.provider,
        event_type: row.event_type,
        change: row.change,
        path: row.path,
        value: row.value,
        grade: row.grade,
        was: row.was,
        is: row.is,
        hint: row.hint,
        shape: row.shape,
        events: 0,
        watched_before: row.watched_before,
        first_us: row.first_us,
        last_us: row.last_us,
        examples: vec![],
        request: None,
    }
}

#[cfg(test)]
mod tests;
