//! Why a kept request is not verified: what the store and the configuration know of it, handed to
//! [`provider::forensics`].

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::api::{V, Verification};
use crate::clock::from_micros;
use crate::id::{EventId, RequestId};
use crate::in_force::InForce;
use crate::ingest::kept_request_of;
use crate::provider::forensics::{self, Beside, Case, Same, Spare};
use crate::provider::{self, FetchedKeys, Source};
use crate::request::Request;
use crate::store::{RequestRow, Store, StoreError};
use crate::view::{self, ViewError};

/// So many events of a request are looked for among those that were taken in.
const EVENTS_MAX: usize = 20;

/// What is known beside the store.
#[derive(Debug, Clone)]
pub struct Known {
    pub in_force: Arc<InForce>,
    pub spare: Vec<Spare>,
    pub fetched: Arc<FetchedKeys>,
}

/// What verifies a request today, as of its arrival; or why nothing does.
///
/// The signatures are worked out on a thread of their own, within the bounds of [`forensics::explain`].
///
/// # Errors
///
/// A request that does not exist, a store that does not answer.
pub async fn explain(store: &Store, known: Known, id: &str) -> Result<Verification, ViewError> {
    let found = view::request_id(store, id).await?;
    let row = store.request(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let body = store.body(found).await?.unwrap_or_default();
    let digest_key = store.kept_digest_key().await?.unwrap_or_default();
    let source = known.in_force.sources.get(&row.source).cloned();
    let request = kept_request_of(source.as_deref(), &row, body);
    let beside = beside(store, source.as_deref(), &row, &request).await?;
    let work = move || judged(&known, source.as_deref(), &row, &request, beside, &digest_key);
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|_| ViewError::Store(StoreError::Closed))
}

fn judged(
    known: &Known,
    source: Option<&Source>,
    row: &RequestRow,
    request: &Request,
    beside: Beside,
    digest_key: &[u8; 32],
) -> Verification {
    let in_force = &known.in_force;
    let mut sources: Vec<Arc<Source>> = in_force.sources.values().cloned().collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let found = forensics::explain(&Case {
        request,
        source_name: &row.source,
        provider: &row.provider,
        source,
        was_rejected: row.status == "rejected",
        sources: &sources,
        spare: &known.spare,
        catalog: &in_force.catalog,
        digest_key,
        fetched: &known.fetched,
        beside,
    });
    Verification {
        v: V,
        object: "verification".to_owned(),
        request: row.id.to_string(),
        source: row.source.clone(),
        provider: row.provider.clone(),
        received_at: moment(row.received_us).to_string(),
        status: row.status.clone(),
        reason: row.reason.clone(),
        detail: row.detail.clone(),
        verified: found.verified,
        causes: found.causes,
        tried: found.tried,
    }
}

async fn beside(
    store: &Store,
    source: Option<&Source>,
    row: &RequestRow,
    request: &Request,
) -> Result<Beside, StoreError> {
    let [before, after] = store.verified_near(&row.source, row.id).await?;
    let told = |(id, at): (RequestId, i64)| (id.to_string(), moment(at));
    Ok(Beside {
        verified_before: before.map(told),
        verified_after: after.map(told),
        same_event: match source {
            Some(source) => same_event(store, source, row.id, request).await?,
            None => None,
        },
    })
}

/// A verified request with one of the events that this one would be.
async fn same_event(
    store: &Store,
    source: &Source,
    id: RequestId,
    request: &Request,
) -> Result<Option<Same>, StoreError> {
    for (event_type, external_id) in events_in(source, request) {
        let provider = &source.provider.name;
        let event = store.event_of_key(&source.name, provider, &event_type, &external_id).await?;
        let Some(event) = event else { continue };
        let Some(event) = store.event(event).await? else { continue };
        let other = event.event.request_id;
        if other == id {
            continue;
        }
        let Some(row) = store.request(other).await? else { continue };
        let body: Bytes = store.body(other).await?.unwrap_or_default();
        let received_at = moment(row.received_us);
        return Ok(Some(Same { request: other.to_string(), received_at, body }));
    }
    Ok(None)
}

/// Type and id of what a request would bring, if its bytes were the vendor's. What has no id of its own
/// is known by its bytes, and is left out.
fn events_in(source: &Source, request: &Request) -> Vec<(String, String)> {
    let as_if = provider::once_verified(request);
    let Ok(raw) = provider::split(source, &as_if) else { return Vec::new() };
    let events = raw.into_iter().take(EVENTS_MAX);
    let events =
        events.filter_map(|one| provider::normalize(source, &as_if, one, EventId::next()).ok());
    let named = events.filter(|event| !event.id_is_derived);
    named.map(|event| (event.event_type, event.external_id)).collect()
}

fn moment(us: i64) -> Timestamp {
    from_micros(us)
}
