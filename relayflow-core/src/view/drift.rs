//! Findings of drift as documents.

use super::contracts::shipped;
use super::sorted::{page_of, sort_whole};
use super::{Page, ViewError, cut, filter_of, list};
use crate::api::{Drift, List, Total, V};
use crate::clock::from_micros;
use crate::event::micros;
use crate::filter::{Field, Filter, Term, Test, Word};
use crate::id::DriftId;
use crate::in_force::InForce;
use crate::store::{DriftRow, QueryError, Store};
use crate::workflow::On;

/// A page of findings, the breaking ones first. Those that were accepted are there if `status` asks
/// for them.
pub async fn drift(
    store: &Store,
    in_force: &InForce,
    page: &Page,
) -> Result<List<Drift>, ViewError> {
    let filter = filter_of(store, page.q.as_deref())?;
    check_filter(&filter)?;
    let wants_status = filter.mentions(&Field::Status);
    let mut found = Vec::new();
    for row in store.drift().await? {
        let is_wanted = wants_status || !row.is_accepted;
        if is_wanted && filter.holds(&|term| term_holds(term, &row)) {
            found.push(row);
        }
    }
    let total = Total { value: found.len() as u64, exact: true };
    if let Some(sort) = &page.sort {
        let all = found.into_iter().map(|row| document(row, in_force)).collect();
        let mut items = sort_whole(all, sort)?;
        let next = page_of(&mut items, page, |finding| &finding.id)?;
        return Ok(list("drift_list", items, next, Some(total)));
    }
    if let Some(after) = &page.cursor {
        let place = found.iter().position(|row| row.id.to_string() == *after);
        let place = place.ok_or_else(|| ViewError::Cursor(after.clone()))?;
        found.drain(..=place);
    }
    let more = cut(&mut found, page.limit);
    let next = found.last().filter(|_| more).map(|row| row.id.to_string());
    let items = found.into_iter().map(|row| document(row, in_force)).collect();
    Ok(list("drift_list", items, next, Some(total)))
}

/// One finding; `id` may be the beginning of one.
pub async fn one_drift(store: &Store, in_force: &InForce, id: &str) -> Result<Drift, ViewError> {
    let id = drift_id(store, id).await?;
    let row = store.one_drift(id).await?;
    row.map(|row| document(row, in_force)).ok_or_else(|| ViewError::NotFound(id.to_string()))
}

/// The finding that an id or a unique prefix of one names.
pub async fn drift_id(store: &Store, text: &str) -> Result<DriftId, ViewError> {
    let (low, high) = DriftId::range(text).ok_or_else(|| ViewError::Id(text.to_owned()))?;
    let found = store.drift().await?;
    let mut matching = found.iter().map(|row| row.id).filter(|id| (low..=high).contains(id));
    match (matching.next(), matching.next()) {
        (None, _) => Err(ViewError::NotFound(text.to_owned())),
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(ViewError::Ambiguous(text.to_owned())),
    }
}

/// Takes a finding into the contract, as its next version.
pub async fn accept_drift(
    store: &Store,
    in_force: &InForce,
    id: &str,
    who: &str,
    reason: &str,
) -> Result<Drift, ViewError> {
    let id = drift_id(store, id).await?;
    let row = store.one_drift(id).await?.ok_or_else(|| ViewError::NotFound(id.to_string()))?;
    let shipped = shipped(in_force, &row.provider, &row.event_type);
    let shipped = shipped.map(|(_, schema)| schema.to_json().to_string());
    store.accept_drift(id, shipped, who.to_owned(), reason.to_owned()).await?;
    one_drift(store, in_force, &id.to_string()).await
}

fn document(row: DriftRow, in_force: &InForce) -> Drift {
    let since_first = (row.watched - row.watched_before).max(row.events);
    // A share of what was looked at; what is about the source has none.
    #[expect(clippy::cast_precision_loss, reason = "a share, to be shown")]
    let share = (!row.event_type.is_empty() && since_first > 0)
        .then(|| row.events as f64 / since_first as f64);
    Drift {
        v: V,
        object: "drift".to_owned(),
        id: row.id.to_string(),
        read_by: read_by(&row, in_force),
        source: row.source,
        provider: row.provider,
        event_type: (!row.event_type.is_empty()).then_some(row.event_type),
        change: row.change.to_string(),
        grade: row.grade.to_string(),
        path: row.path,
        was: row.was,
        is: row.is,
        hint: row.hint,
        events: row.events,
        share,
        first_at: micros(from_micros(row.first_us)),
        last_at: micros(from_micros(row.last_us)),
        examples: row.examples,
        status: if row.is_accepted { "accepted" } else { "open" }.to_owned(),
        accepted_at: row.ended_us.map(|us| micros(from_micros(us))),
        accepted_by: row.who,
        reason: row.reason,
        version: row.version,
    }
}

/// Which mappings and workflows read a finding's field, or something within it.
fn read_by(row: &DriftRow, in_force: &InForce) -> Vec<String> {
    if row.path.is_empty() || row.event_type.is_empty() {
        return vec![];
    }
    let Some(source) = in_force.sources.get(&row.source) else { return vec![] };
    let mut readers = Vec::new();
    let mut attributes = Vec::new();
    for read in source.reads(&row.event_type) {
        if meets(&read.path, &row.path) {
            if let Some(rest) = read.by.strip_prefix("attribute ") {
                let name = rest.split(' ').next().unwrap_or_default();
                attributes.push(format!("event.attributes.{name}"));
            }
            readers.push(format!("{}: {}", source.provider.name, read.by));
        }
    }
    let payload = format!("event.payload{}", row.path.replace('/', "."));
    for workflow in &in_force.workflows.list {
        let is_for = workflow.on.iter().any(|on| match on {
            On::Any => true,
            On::Kind(kind) => {
                source.provider.kind_of(&row.event_type).is_some_and(|k| **k == **kind)
            }
            On::Type { provider, event_type } => {
                *provider == *source.provider.name && *event_type == row.event_type
            }
        });
        if !is_for {
            continue;
        }
        for (place, name) in workflow.reads() {
            let is_read = attributes.contains(&name)
                || begins_with(&name, &payload, '.')
                || (name != "event.payload" && begins_with(&payload, &name, '.'));
            if is_read {
                readers.push(format!("workflow {}: {place} reads {name}", workflow.name));
            }
        }
    }
    readers.sort();
    readers.dedup();
    readers
}

/// Whether one path is, or lies within, the other.
fn meets(one: &str, other: &str) -> bool {
    begins_with(one, other, '/') || begins_with(other, one, '/')
}

fn begins_with(text: &str, beginning: &str, separator: char) -> bool {
    text.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

/// Refuses a filter that findings cannot answer.
fn check_filter(filter: &Filter) -> Result<(), QueryError> {
    let can_answer = |term: &&Term| {
        let is_word = matches!(
            term.field,
            Field::Id
                | Field::Source
                | Field::Provider
                | Field::Type
                | Field::Drift
                | Field::Status
        );
        match term.test {
            Test::OneOf(_) => is_word,
            Test::Between { .. } => term.field == Field::Received,
            Test::Matches(_) | Test::Holds(_) => false,
        }
    };
    match filter.terms().into_iter().find(|term| !can_answer(term)) {
        None => Ok(()),
        Some(term) => Err(QueryError::NotHere { field: term.field.name(), over: "findings" }),
    }
}

/// Whether a finding is one that a term asks for. `received` is when it was last seen.
#[expect(clippy::wildcard_enum_match_arm, reason = "what findings cannot answer was refused")]
fn term_holds(term: &Term, row: &DriftRow) -> bool {
    let words = match &term.test {
        Test::OneOf(words) => words,
        Test::Between { low, high, .. } => {
            return low.is_none_or(|low| low <= row.last_us)
                && high.is_none_or(|high| row.last_us <= high);
        }
        Test::Matches(_) | Test::Holds(_) => return false,
    };
    let id = row.id.to_string();
    let text = match &term.field {
        Field::Id => {
            let begins = |word: &Word| {
                id.get(..word.text.len()).is_some_and(|b| b.eq_ignore_ascii_case(&word.text))
            };
            return words.iter().any(begins);
        }
        Field::Source => row.source.as_str(),
        Field::Provider => row.provider.as_str(),
        Field::Type => row.event_type.as_str(),
        Field::Drift => row.grade.as_str(),
        Field::Status if row.is_accepted => "accepted",
        // `open` is what it is of tasks, too: several statuses, of which this is one.
        Field::Status => "queued",
        _ => return false,
    };
    words.iter().any(|word| word.matches_in(&term.field, text))
}
