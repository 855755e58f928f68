//! Which events and requests a bundle is about.

use std::collections::BTreeSet;

use super::BundleError;
use crate::filter::{Field, Filter, Now, Test};
use crate::id::{EventId, RequestId};
use crate::store::{Over, Selection, Store, Way};

/// How many events and requests a bundle may be asked for, if nobody says.
pub const EVENTS_MAX: u64 = 10_000;
/// What is looked at to find the oldest.
const LOOKED_AT_MAX: usize = 1_000_000;
/// As many rejected requests of the window are kept beside what was selected.
const REJECTED_MAX: usize = 1_000;
const PAGE: usize = 1_000;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub q: Option<String>,
    /// Only the oldest so many.
    pub limit: Option<u64>,
    /// Refuse if there are more; [`EVENTS_MAX`] if nobody says.
    pub max: Option<u64>,
    /// Leave payloads as they are.
    pub is_unmasked: bool,
    pub reason: Option<String>,
    pub who: String,
}

/// What a filter came to.
#[derive(Debug, Clone)]
pub struct Selected {
    pub(super) filter: Filter,
    pub(super) events: BTreeSet<EventId>,
    pub(super) requests: BTreeSet<RequestId>,
    /// Rejected ones of the window, which come along.
    pub(super) rejected: BTreeSet<RequestId>,
}

impl Selected {
    /// Events and requests that were asked for.
    #[must_use]
    pub fn count(&self) -> u64 {
        let apart = self.requests.len().saturating_sub(self.events.len());
        (self.events.len().max(apart)) as u64
    }

    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.len() as u64
    }
}

/// Resolves a selection to exact ids.
///
/// # Errors
///
/// The filter is wrong, selects nothing, or more than allowed.
pub async fn select(store: &Store, wanted: &Wanted) -> Result<Selected, BundleError> {
    let now = Now { now: store.clock().now(), zone: jiff::tz::TimeZone::UTC };
    let filter = wanted.q.as_deref().map_or(Ok(Filter::All), |q| Filter::parse(q, &now))?;
    let max = wanted.max.unwrap_or(EVENTS_MAX);
    let stop = match wanted.limit {
        Some(_) => LOOKED_AT_MAX,
        None => usize::try_from(max.saturating_add(1)).unwrap_or(usize::MAX).min(LOOKED_AT_MAX),
    };
    let of_requests = Selection::new(&filter, Over::Requests);
    let of_events = Selection::new(&filter, Over::Events);
    if let (Err(error), Err(_)) = (&of_events, &of_requests) {
        return Err(error.clone().into());
    }
    let mut events = BTreeSet::new();
    if let Ok(selection) = &of_events {
        events = all_events(store, selection, stop).await?;
    }
    let mut requests = BTreeSet::new();
    if let Ok(selection) = &of_requests {
        requests = all_requests(store, selection, stop).await?;
    }
    if let Some(limit) = wanted.limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        events = events.into_iter().take(limit).collect();
        requests = requests.into_iter().take(limit).collect();
    }
    if max < (events.len().max(requests.len())) as u64 {
        return Err(BundleError::TooMany { max });
    }
    if events.is_empty() && requests.is_empty() {
        return Err(BundleError::Empty);
    }
    let mut rejected = BTreeSet::new();
    if let Some(filter) = rejected_of(&filter) {
        let selection = Selection::new(&filter, Over::Requests)?;
        rejected = all_requests(store, &selection, REJECTED_MAX).await?;
    }
    Ok(Selected { filter, events, requests, rejected })
}

async fn all_events(
    store: &Store,
    selection: &Selection,
    stop: usize,
) -> Result<BTreeSet<EventId>, BundleError> {
    let mut found = BTreeSet::new();
    let mut before = None;
    loop {
        let rows = store.events(selection, before, PAGE).await?;
        before = rows.last().map(|row| row.event.id);
        let is_last = rows.len() < PAGE;
        found.extend(rows.into_iter().map(|row| row.event.id));
        if is_last || stop <= found.len() {
            return Ok(found);
        }
    }
}

async fn all_requests(
    store: &Store,
    selection: &Selection,
    stop: usize,
) -> Result<BTreeSet<RequestId>, BundleError> {
    let mut found = BTreeSet::new();
    let mut before = None;
    loop {
        let rows = store.requests(selection, Way::Newest, before, PAGE).await?;
        before = rows.last().map(|row| row.id);
        let is_last = rows.len() < PAGE;
        found.extend(rows.into_iter().map(|row| row.id));
        if is_last || stop <= found.len() {
            return Ok(found);
        }
    }
}

/// What was turned away at the same sources at the same time; `None` where the filter has no window.
fn rejected_of(filter: &Filter) -> Option<Filter> {
    if !filter.has_window() {
        return None;
    }
    let parts = if let Filter::And(parts) = filter { parts.clone() } else { vec![filter.clone()] };
    let is_kept = |part: &Filter| {
        matches!(part, Filter::Term(term)
            if matches!(term.field, Field::Source | Field::Provider | Field::Received))
    };
    let mut kept: Vec<Filter> = parts.into_iter().filter(is_kept).collect();
    let now = Now { now: jiff::Timestamp::UNIX_EPOCH, zone: jiff::tz::TimeZone::UTC };
    kept.push(Filter::parse("status:rejected", &now).ok()?);
    let filter = Filter::And(kept);
    filter.has_window().then_some(filter)
}

/// From when to when a filter bounds the arrival, in microseconds.
pub(super) fn window(filter: &Filter) -> (Option<i64>, Option<i64>) {
    match filter {
        Filter::Term(term) if term.field == Field::Received => match &term.test {
            Test::Between { low, high, .. } => (*low, *high),
            Test::OneOf(_) | Test::Matches(_) | Test::Holds(_) => (None, None),
        },
        Filter::And(parts) => parts.iter().map(window).fold((None, None), |(from, to), (f, t)| {
            let to = match (to, t) {
                (Some(a), Some(b)) => Some(std::cmp::min::<i64>(a, b)),
                (a, b) => a.or(b),
            };
            (std::cmp::max::<Option<i64>>(from, f), to)
        }),
        Filter::All | Filter::Or(_) | Filter::Not(_) | Filter::Term(_) => (None, None),
    }
}
