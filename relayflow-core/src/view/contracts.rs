//! Contracts as documents; stored events held against them, and contracts inferred from those.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::{ViewError, filter_of, list};
use crate::api::{
    CheckContracts, Contract, ContractCheck, LearnContract, List, MissingContract, Total, V,
    Violation,
};
use crate::clock::from_micros;
use crate::contract::{Change, Observed, Schema, compare};
use crate::event::{IntegrationEvent, micros};
use crate::filter::Filter;
use crate::in_force::InForce;
use crate::provider::Source;
use crate::store::{
    CONTENT_TIME, ContractRow, EventRow, NewContract, Over, Selection, Store, StoreError,
};

/// How many events a check or a lesson looks at, if nobody says, and at most.
const EVENTS: usize = 1_000;
const EVENTS_MAX: usize = 10_000;
const EVENTS_PAGE: usize = 200;

/// Every contract: those in force for sources, and those that come with definitions.
pub async fn contracts(store: &Store, in_force: &InForce) -> Result<List<Contract>, ViewError> {
    let mut watched: BTreeMap<(String, String), (String, i64)> = BTreeMap::new();
    for row in store.watched(None).await? {
        if !row.event_type.is_empty() {
            watched.insert((row.source, row.event_type), (row.provider, row.events));
        }
    }
    let mut items = BTreeMap::new();
    for row in store.contracts(None).await? {
        let key = (row.source.clone(), row.event_type.clone());
        let (provider, events) = watched.get(&key).cloned().unwrap_or_default();
        // In the order of their versions: the last stands.
        items.insert(key, of_row(row, provider, events, false));
    }
    for ((source, event_type), (provider, events)) in watched {
        let key = (source.clone(), event_type.clone());
        items.entry(key).or_insert_with(|| Contract {
            v: V,
            object: "contract".to_owned(),
            source: Some(source),
            provider,
            event_type,
            version: None,
            origin: "learning".to_owned(),
            fields: 0,
            events,
            created_at: None,
            created_by: None,
            reason: None,
            schema: None,
        });
    }
    let mut items: Vec<Contract> = items.into_values().collect();
    let mut providers: Vec<_> = in_force.sources.values().map(|s| &s.provider).collect();
    providers.sort_by(|one, other| one.name.cmp(&other.name));
    providers.dedup_by(|one, other| one.name == other.name);
    for provider in providers {
        for event_type in provider.contracts.types() {
            items.extend(of_definition(in_force, &provider.name, &event_type, false));
        }
    }
    let total = Total { value: items.len() as u64, exact: true };
    Ok(list("contract_list", items, None, Some(total)))
}

/// The contract of a source's type, with its schema: a version of it, or the one in force. `of` is a
/// source or a provider.
pub async fn contract(
    store: &Store,
    in_force: &InForce,
    of: &str,
    event_type: &str,
    version: Option<i64>,
) -> Result<Contract, ViewError> {
    let rows = store.contracts(Some(of)).await?;
    let is_it = |row: &ContractRow| {
        row.event_type == event_type && version.is_none_or(|version| row.version == version)
    };
    if let Some(row) = rows.into_iter().rev().find(is_it) {
        let watched = store.watched(Some(of)).await?;
        let known = watched.into_iter().find(|row| row.event_type == event_type);
        let (provider, events) = known.map(|row| (row.provider, row.events)).unwrap_or_default();
        return Ok(of_row(row, provider, events, true));
    }
    let provider = in_force.sources.get(of).map_or(of, |source| &source.provider.name);
    of_definition(in_force, provider, event_type, true)
        .filter(|contract| version.is_none() || contract.version == version)
        .ok_or_else(|| ViewError::NotFound(format!("{of} {event_type}")))
}

fn of_row(row: ContractRow, provider: String, events: i64, with_schema: bool) -> Contract {
    let schema = serde_json::from_str::<Value>(&row.schema).unwrap_or_default();
    let parsed = Schema::parse(&schema).unwrap_or_default();
    let title = format!("{} {}", row.source, row.event_type);
    let said = format!("version {}, {}", row.version, row.origin);
    Contract {
        v: V,
        object: "contract".to_owned(),
        provider,
        version: Some(row.version),
        origin: row.origin,
        fields: parsed.count(),
        events,
        created_at: Some(micros(from_micros(row.created_us))),
        created_by: row.who,
        reason: row.reason,
        schema: with_schema.then(|| parsed.to_document(&title, Some(&said))),
        source: Some(row.source),
        event_type: row.event_type,
    }
}

fn of_definition(
    in_force: &InForce,
    provider: &str,
    event_type: &str,
    with_schema: bool,
) -> Option<Contract> {
    let (version, schema) = shipped(in_force, provider, event_type)?;
    let title = format!("{provider} {event_type}");
    Some(Contract {
        v: V,
        object: "contract".to_owned(),
        source: None,
        provider: provider.to_owned(),
        event_type: event_type.to_owned(),
        version: Some(version),
        origin: "shipped".to_owned(),
        fields: schema.count(),
        events: 0,
        created_at: None,
        created_by: None,
        reason: None,
        schema: with_schema.then(|| schema.to_document(&title, None)),
    })
}

/// The contract that came with a provider's definition, and its version.
pub(super) fn shipped(
    in_force: &InForce,
    provider: &str,
    event_type: &str,
) -> Option<(i64, Arc<Schema>)> {
    let contract = in_force.catalog.get(provider)?.contracts.get(event_type)?;
    Some((i64::from(contract.version), contract.schema))
}

/// Holds stored events against the contracts in force.
pub async fn check(
    store: &Store,
    in_force: &InForce,
    what: &CheckContracts,
) -> Result<ContractCheck, ViewError> {
    let mut expected = Expected::load(store).await?;
    let mut tally = Tally::default();
    let limit = what.limit.unwrap_or(EVENTS).min(EVENTS_MAX);
    let filter = filter_of(store, what.q.as_deref())?;
    each_event(store, &filter, limit, |row| {
        let event = &row.event;
        let schema = expected.of(in_force, event);
        let payload = serde_json::from_str(event.payload.json()).ok();
        let kind = (event.provider.as_ref(), event.event_type.as_str());
        tally.add(&event.id.to_string(), kind, schema.as_deref(), payload.as_ref());
    })
    .await?;
    Ok(tally.done())
}

/// The contracts in force, each read once.
pub(crate) struct Expected {
    by_source: HashMap<String, HashMap<String, Option<Arc<Schema>>>>,
}

impl Expected {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let mut by_source: HashMap<String, HashMap<_, _>> = HashMap::new();
        // In the order of their versions: the last stands.
        for row in store.contracts(None).await? {
            let document = serde_json::from_str(&row.schema).ok();
            let schema = document.and_then(|document| Schema::parse(&document).ok());
            by_source.entry(row.source).or_default().insert(row.event_type, schema.map(Arc::new));
        }
        Ok(Self { by_source })
    }

    /// What this event is expected to look like, if anything is.
    pub(crate) fn of(
        &mut self,
        in_force: &InForce,
        event: &IntegrationEvent,
    ) -> Option<Arc<Schema>> {
        let known = self.by_source.get(&*event.source).and_then(|t| t.get(&event.event_type));
        if let Some(known) = known {
            return known.clone();
        }
        let shipped = shipped(in_force, &event.provider, &event.event_type).map(|(_, s)| s);
        let of_source = self.by_source.entry(event.source.to_string()).or_default();
        of_source.insert(event.event_type.clone(), shipped.clone());
        shipped
    }
}

/// Gathers what a check finds; payloads that differ alike are one violation.
#[derive(Debug, Default)]
pub struct Tally {
    checked: usize,
    without_contract: usize,
    missing: Vec<MissingContract>,
    kept: usize,
    violations: Vec<Violation>,
}

impl Tally {
    /// Holds one payload against a schema. `at` names it: a file, an event's id; `of` is its
    /// provider and type.
    pub fn add(
        &mut self,
        at: &str,
        of: (&str, &str),
        schema: Option<&Schema>,
        payload: Option<&Value>,
    ) {
        let (Some(schema), Some(payload)) = (schema, payload) else {
            return self.without(at, of);
        };
        self.checked += 1;
        let differences = compare(schema, payload);
        if differences.is_empty() {
            self.kept += 1;
        }
        for one in differences {
            let violation = Violation {
                v: V,
                object: "violation".to_owned(),
                at: at.to_owned(),
                provider: of.0.to_owned(),
                event_type: of.1.to_owned(),
                change: one.change.to_string(),
                grade: one.grade.to_string(),
                path: one.path,
                was: one.was,
                is: one.is,
                hint: one.hint,
                events: 1,
            };
            self.violation(violation);
        }
    }

    /// What cannot be read at all is the worst of differences.
    pub fn unreadable(&mut self, at: &str, provider: &str, why: String) {
        self.checked += 1;
        self.violation(Violation {
            v: V,
            object: "violation".to_owned(),
            at: at.to_owned(),
            provider: provider.to_owned(),
            event_type: String::new(),
            change: Change::Unreadable.to_string(),
            grade: Change::Unreadable.grade().to_string(),
            path: String::new(),
            was: format!("an event of {provider}"),
            is: why,
            hint: None,
            events: 1,
        });
    }

    fn without(&mut self, at: &str, of: (&str, &str)) {
        self.without_contract += 1;
        let known = self.missing.iter_mut().find(|m| (&*m.provider, &*m.event_type) == of);
        match known {
            Some(known) => known.events += 1,
            None => self.missing.push(MissingContract {
                at: at.to_owned(),
                provider: of.0.to_owned(),
                event_type: of.1.to_owned(),
                events: 1,
            }),
        }
    }

    fn violation(&mut self, violation: Violation) {
        fn key(v: &Violation) -> [&str; 5] {
            [&v.provider, &v.event_type, &v.change, &v.path, &v.is]
        }
        let same = self.violations.iter_mut().find(|known| key(known) == key(&violation));
        match same {
            Some(known) => known.events += 1,
            None => self.violations.push(violation),
        }
    }

    /// The document; breaking violations first.
    #[must_use]
    pub fn done(mut self) -> ContractCheck {
        self.violations.sort_by(|one, other| {
            let key = |v: &Violation| {
                (v.grade != "breaking", v.provider.clone(), v.event_type.clone(), v.path.clone())
            };
            key(one).cmp(&key(other))
        });
        let count = |grade| self.violations.iter().filter(|v| v.grade == grade).count();
        ContractCheck {
            v: V,
            object: "contract_check".to_owned(),
            checked: self.checked,
            without_contract: self.without_contract,
            missing: self.missing,
            kept: self.kept,
            breaking: count("breaking"),
            additive: count("additive"),
            violations: self.violations,
        }
    }
}

/// Infers a contract from stored events; keeps it as the next version if that is asked for.
pub async fn learn(
    store: &Store,
    in_force: &InForce,
    what: &LearnContract,
    who: &str,
) -> Result<Contract, ViewError> {
    let mut observed = Observed::default();
    // Put together as filters and not as texts: a `where:` takes in all that follows it.
    let own = format!("source:\"{}\" type:\"{}\"", what.source, what.event_type);
    let asked = filter_of(store, what.q.as_deref())?;
    let filter = Filter::And(vec![filter_of(store, Some(&own))?, asked]);
    each_event(store, &filter, EVENTS_MAX, |row| {
        let is_it = row.event.event_type == what.event_type;
        let payload = serde_json::from_str::<Value>(row.event.payload.json());
        if let Ok(payload) = payload.map_err(drop).and_then(|p| is_it.then_some(p).ok_or(())) {
            observed.add(&payload);
        }
    })
    .await?;
    let events = i64::try_from(observed.count).unwrap_or(i64::MAX);
    if events == 0 {
        return Err(ViewError::NotFound(format!(
            "an event of source {} and type {}",
            what.source, what.event_type
        )));
    }
    let schema = observed.to_schema();
    let mut version = None;
    if what.write {
        let new = NewContract {
            source: what.source.clone(),
            event_type: what.event_type.clone(),
            schema: schema.to_json().to_string(),
        };
        let reason = what.reason.clone();
        version = Some(store.write_contract(new, who.to_owned(), reason).await?);
    }
    let provider = in_force.sources.get(&what.source).map(|s: &Arc<Source>| &s.provider.name);
    let title = format!("{} {}", what.source, what.event_type);
    Ok(Contract {
        v: V,
        object: "contract".to_owned(),
        source: Some(what.source.clone()),
        provider: provider.map(ToString::to_string).unwrap_or_default(),
        event_type: what.event_type.clone(),
        version,
        origin: if what.write { "written" } else { "learned" }.to_owned(),
        fields: schema.count(),
        events,
        created_at: None,
        created_by: what.write.then(|| who.to_owned()),
        reason: what.reason.clone(),
        schema: Some(schema.to_document(&title, Some(&format!("from {events} events")))),
    })
}

/// Hands stored events over, the newest first, with their payloads.
async fn each_event(
    store: &Store,
    filter: &Filter,
    limit: usize,
    mut work: impl FnMut(&EventRow),
) -> Result<(), ViewError> {
    let selection = Selection::new(filter, Over::Events)?;
    let mut before = None;
    let mut left = limit;
    while left > 0 {
        let wanted = EVENTS_PAGE.min(left);
        let found = store.events_within(&selection, before, wanted, CONTENT_TIME).await?;
        let rows = found.rows;
        let last = rows.last().map(|row| row.event.id);
        before = found.stopped_at.or(last);
        if found.stopped_at.is_none() && last.is_none() {
            return Ok(());
        }
        left = left.saturating_sub(rows.len());
        for row in &rows {
            if let Some(whole) = store.event(row.event.id).await? {
                work(&whole);
            }
        }
    }
    Ok(())
}
