//! The two halves of a comparison: the vendor's list, read to its end; and what is missing, taken in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Inner;
use super::call::CallError;
use crate::api::codes::Code;
use crate::clock::from_micros;
use crate::id::{ReconcileId, RequestId};
use crate::ingest::{TakeError, kept_request};
use crate::provider::endpoint::wants;
use crate::provider::listing::{Listed, Sent};
use crate::provider::{Endpoint, Source, claimed_ids};
use crate::request::Request;
use crate::store::{Fetched, GapCounts, GapRow, ReconcileRow, StoreError};

/// What of a vendor's list is read at most.
const PAGES_MAX: usize = 2000;
const EVENTS_MAX: usize = 200_000;
const LIST_TIME: Duration = Duration::from_secs(15 * 60);
/// What the list itself may bring of what is missing, in bytes.
const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Items read from the store at once, and rejected requests.
const BATCH: usize = 32;
/// The most headers of what was sent.
const HEADERS_MAX: usize = 64;
/// How long a store that is busy is left alone.
const BUSY: Duration = Duration::from_millis(200);

/// Why a job ended early.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    List(String),
    #[error("there is no source `{0}` any more, or no access to its vendor's API")]
    NoAccess(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl JobError {
    fn code(&self) -> Code {
        match self {
            Self::Call(error) => error.code(),
            Self::List(_) => Code::VendorAnswer,
            Self::NoAccess(_) => Code::NotConfigured,
            Self::Store(error) => crate::view::store_code(error),
        }
    }
}

/// Does what is to be done for a comparison now, and writes down how that ended.
pub(super) async fn run(inner: &Inner, id: ReconcileId) {
    let store = &inner.ingest.store;
    let outcome = match store.reconcile(id).await {
        Ok(Some(row)) if row.status == "listing" => list(inner, &row).await,
        Ok(Some(row)) if row.status == "running" => take_all(inner, &row).await,
        Ok(_) => return,
        Err(error) => Err(error.into()),
    };
    let Err(error) = outcome else { return };
    // A daemon that is stopped goes on with it when it is back.
    if matches!(error, JobError::Call(CallError::Stopped)) || inner.stop.is_cancelled() {
        return;
    }
    tracing::warn!(reconcile = %id, %error, "a comparison with a vendor's list failed");
    let message = crate::ingest::story(&error);
    if let Err(error) = store.fail_reconcile(id, error.code().as_str(), message).await {
        tracing::warn!(reconcile = %id, %error, "and that could not be written down");
    }
}

fn source_of(inner: &Inner, row: &ReconcileRow) -> Result<Arc<Source>, JobError> {
    let in_force = inner.ingest.current.get();
    let source = in_force.sources.get(&row.source).filter(|source| source.endpoint.is_some());
    source.map(Arc::clone).ok_or_else(|| JobError::NoAccess(row.source.clone()))
}

fn endpoint_of<'s>(source: &'s Source, row: &ReconcileRow) -> Result<&'s Endpoint, JobError> {
    source.endpoint.as_ref().ok_or_else(|| JobError::NoAccess(row.source.clone()))
}

/// Reads the vendor's list to its end and freezes what did not arrive.
async fn list(inner: &Inner, row: &ReconcileRow) -> Result<(), JobError> {
    let store = &inner.ingest.store;
    // A daemon before this one may have begun it.
    store.empty_reconcile(row.id).await?;
    let source = source_of(inner, row)?;
    let endpoint = endpoint_of(&source, row)?;
    let mut reading = Reading {
        // Vendors that write whole seconds mean any moment of them.
        window: (whole_second(row.since_us, false), whole_second(row.until_us, true)),
        types: &row.types,
        rejected: rejected(inner, &source, row.since_us).await?,
        seen: HashSet::new(),
        hash: Sha256::new(),
        place: 0,
        bytes: 0,
    };
    let (began, mut cursors, mut next) = (Instant::now(), HashSet::new(), None);
    loop {
        let uri = endpoint.page_uri(reading.window, next.as_ref());
        let answer = inner.caller.get(endpoint, uri, &inner.stop).await?;
        let page = endpoint.listing.read_page(&answer.text, answer.link.as_deref());
        let page = page.map_err(|why| {
            JobError::List(format!("{}: {}", endpoint.base_url(), endpoint.without_token(&why)))
        })?;
        let is_past = endpoint.listing.newest_first
            && page.items.last().is_some_and(|last| last.at < reading.window.0);
        let (counts, items) = reading.page(inner, &source, row, page.items).await?;
        store.add_to_reconcile(row.id, counts, items).await?;
        let goes_on = page.next.filter(|_| !is_past);
        let Some(cursor) = goes_on else { break };
        let tell = |why: &str| Err(JobError::List(format!("{}: {why}", endpoint.base_url())));
        if !cursors.insert(cursor.clone()) {
            return tell("its list goes in a circle: a cursor came twice");
        }
        if PAGES_MAX <= cursors.len() || EVENTS_MAX < reading.seen.len() {
            return tell("its list has no end in sight: take a shorter window");
        }
        if LIST_TIME < began.elapsed() {
            return tell("its list takes longer than 15 minutes: take a shorter window");
        }
        next = Some(cursor);
    }
    let hash = hex::encode(reading.hash.finalize());
    store.freeze_reconcile(row.id, hash, row.who.clone()).await?;
    Ok(())
}

fn whole_second(us: i64, up: bool) -> Timestamp {
    let seconds = us.div_euclid(1_000_000) + i64::from(up && us.rem_euclid(1_000_000) != 0);
    from_micros(seconds.saturating_mul(1_000_000))
}

/// What of the source's requests were turned away, by type and id: as they say themselves.
async fn rejected(
    inner: &Inner,
    source: &Source,
    since_us: i64,
) -> Result<HashMap<(String, String), RequestId>, StoreError> {
    let store = &inner.ingest.store;
    let (mut found, mut after) = (HashMap::new(), None);
    loop {
        let rows = store.rejected_since(&source.name, since_us, after, BATCH).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        after = Some(last.id);
        for row in rows {
            let body = store.body(row.id).await?.unwrap_or_default();
            let request = kept_request(source, &row, body);
            for key in claimed_ids(source, &request) {
                found.insert(key, row.id);
            }
        }
    }
}

/// A list that is being read.
struct Reading<'r> {
    window: (Timestamp, Timestamp),
    types: &'r [String],
    rejected: HashMap<(String, String), RequestId>,
    seen: HashSet<(String, String)>,
    hash: Sha256,
    place: i64,
    bytes: usize,
}

impl Reading<'_> {
    /// Compares one page with what arrived.
    async fn page(
        &mut self,
        inner: &Inner,
        source: &Arc<Source>,
        row: &ReconcileRow,
        items: Vec<Listed>,
    ) -> Result<(GapCounts, Vec<GapRow>), JobError> {
        let mut counts = GapCounts::default();
        let mut wanted: Vec<Listed> = Vec::new();
        for item in items {
            let (since, until) = self.window;
            let key = (item.event_type.clone(), item.external_id.clone());
            // What was sent twice is listed twice, the last time first.
            if item.at < since || until <= item.at || !self.seen.insert(key) {
                continue;
            }
            counts.listed += 1;
            if wants(self.types, &item.event_type) {
                wanted.push(item);
            } else {
                counts.ignored += 1;
            }
        }
        let keys: Vec<_> =
            wanted.iter().map(|i| (i.event_type.clone(), i.external_id.clone())).collect();
        let arrived = inner.ingest.store.arrived(&row.source, &row.provider, &keys).await?;
        let mut gap = Vec::new();
        for ((item, key), is_here) in wanted.into_iter().zip(&keys).zip(arrived) {
            if is_here {
                counts.arrived += 1;
                continue;
            }
            let row = self.missing(inner, source, item, key)?;
            match row.state.as_str() {
                "rejected" => counts.rejected += 1,
                "unreadable" => counts.unreadable += 1,
                _ => counts.missing += 1,
            }
            gap.push(row);
        }
        Ok((counts, gap))
    }

    fn missing(
        &mut self,
        inner: &Inner,
        source: &Arc<Source>,
        item: Listed,
        key: &(String, String),
    ) -> Result<GapRow, JobError> {
        let request_id = self.rejected.get(key).copied();
        let mut state = if request_id.is_some() { "rejected" } else { "missing" };
        let mut why = None;
        if let Some(body) = &item.body {
            self.bytes += body.len();
            let request = request(source, Sent { headers: vec![], body: body.clone() }, item.at);
            if let Err(told) = inner.ingest.looks_like(source, &request, key) {
                (state, why) = ("unreadable", Some(told));
            }
        }
        if BODIES_BYTES_MAX < self.bytes {
            let most = BODIES_BYTES_MAX / (1024 * 1024);
            let why = format!("more than {most} MiB are missing: take a shorter window");
            return Err(JobError::List(why));
        }
        self.place += 1;
        self.hash.update(format!("{}\n{state}\n{}\n{}\n", self.place, key.0, key.1));
        Ok(GapRow {
            place: self.place,
            external_id: item.external_id,
            event_type: item.event_type,
            at_us: item.at.as_microsecond(),
            delivery: item.delivery,
            state: state.to_owned(),
            request_id,
            event_id: None,
            verdict: None,
            why,
            fetch: item.fetch,
            body: item.body.filter(|_| state != "unreadable"),
        })
    }
}

/// Takes in every item of a set that is not done.
async fn take_all(inner: &Inner, row: &ReconcileRow) -> Result<(), JobError> {
    let store = &inner.ingest.store;
    let mut behind = -1;
    loop {
        let items = store.open_items(row.id, behind, BATCH).await?;
        if items.is_empty() {
            return Ok(store.end_reconcile(row.id).await?);
        }
        for item in items {
            if inner.stop.is_cancelled() {
                return Err(CallError::Stopped.into());
            }
            behind = item.place;
            // A reload may have changed it: each item goes by what is in force.
            let source = source_of(inner, row)?;
            if let Err(why) = take(inner, &source, row, item).await? {
                store.fail_item(row.id, behind, why).await?;
            }
        }
    }
}

/// Takes in one item. The inner error is its own; the outer one is everybody's.
async fn take(
    inner: &Inner,
    source: &Arc<Source>,
    row: &ReconcileRow,
    item: GapRow,
) -> Result<Result<(), String>, JobError> {
    let endpoint = endpoint_of(source, row)?;
    let sent = match (item.body, &item.fetch) {
        (Some(body), _) => Sent { headers: vec![], body },
        (None, Some(fetch)) => {
            let uri = endpoint.detail_uri(fetch);
            let answer = match inner.caller.get(endpoint, uri, &inner.stop).await {
                Ok(answer) => answer,
                // That one alone: the list may be longer than what is kept of each.
                Err(CallError::NotFound(why) | CallError::NotUnderstood(why)) => {
                    return Ok(Err(why));
                }
                Err(error) => return Err(error.into()),
            };
            match endpoint.listing.read_detail(&answer.text) {
                Ok(sent) => sent,
                Err(why) => return Ok(Err(endpoint.without_token(&why))),
            }
        }
        (None, None) => return Ok(Err("its body is not kept any more: list again".to_owned())),
    };
    let key = (item.event_type, item.external_id);
    let fetched = Fetched {
        reconcile_id: row.id,
        place: item.place,
        who: row.who.clone(),
        reason: row.reason.clone(),
    };
    let now = inner.ingest.store.clock().now();
    let request = request(source, sent, now);
    loop {
        let taken = inner.ingest.take_in(source, request.clone(), &key, fetched.clone()).await;
        match taken {
            // Somebody else was first with it, which is as good.
            Ok(_) | Err(TakeError::Store(StoreError::Changed { .. })) => return Ok(Ok(())),
            Err(TakeError::Unreadable(why)) => return Ok(Err(why)),
            Err(TakeError::Store(StoreError::Busy)) if !inner.stop.is_cancelled() => {
                tokio::time::sleep(BUSY).await;
            }
            Err(TakeError::Store(error)) => return Err(error.into()),
        }
    }
}

/// What was sent, as the request that it would have been.
fn request(source: &Source, sent: Sent, now: Timestamp) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in sent.headers.into_iter().take(HEADERS_MAX) {
        let (name, value) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    for own in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(own);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Request {
        id: RequestId::next(),
        method: Method::POST,
        target: format!("/in/{}", source.name),
        url: source.public_url.clone().unwrap_or_default(),
        headers,
        body: Bytes::from(sent.body),
        received_at: now,
    }
}
