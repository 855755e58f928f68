//! A request's whole way in: verify, split, normalize, route, commit. Everything before the commit is
//! a decision that touches nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::api::codes::Code;
use crate::api::{Ingested, IngestedEvent, Readmitted, V};
use crate::drift::{Headers, Seen, SeenEvent, Watcher};
use crate::event::IntegrationEvent;
use crate::execute::Lanes;
use crate::id::{EventId, RequestId};
use crate::in_force::{Current, InForce};
use crate::keys::{KeyError, Keys};
use crate::provider::{self, FetchedKeys, Reply, Source, Verified, VerifyError};
use crate::request::Request;
use crate::route;
use crate::store::{
    Fetched, NewEvent, NewRejected, NewRequest, Receipt, RequestRow, Reread, Store, StoreError,
};
use crate::task::NewTask;
use crate::workflow::Workflows;

/// The longest story of a rejection that is kept, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;

/// The way in.
#[derive(Debug)]
pub struct Ingest {
    pub store: Store,
    pub current: Arc<Current>,
    pub lanes: Arc<Lanes>,
    /// What headers that carry a token are digested under.
    pub digest_key: [u8; 32],
    /// Looks for drift in what was committed; `None` where nobody wants to know.
    pub watcher: Option<Arc<Watcher>>,
    /// Of vendors that show theirs on hosts of their own.
    pub keys: Keys,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Nothing that this provider could have sent.
    #[error("the request is not one of its provider")]
    Malformed(#[source] VerifyError),
    /// Its signature does not hold. The sender never learns why.
    #[error("the request is not verified")]
    Unverified,
    /// Something on the vendor's own host is needed first, and is not to be had now.
    #[error("the vendor's host does not answer")]
    Vendor(#[source] KeyError),
    /// More arrives than can be committed; nothing was written.
    #[error("the store is busy")]
    Busy,
    #[error("the request was not committed")]
    Store(#[source] StoreError),
}

/// Why a kept request was not read again.
#[derive(Debug, thiserror::Error)]
pub enum ReadmitError {
    #[error("`{id}` does not exist")]
    NotFound { id: RequestId },
    #[error("`{id}` is {status}; only rejected and dead requests are read again")]
    NotKept { id: RequestId, status: String },
    #[error("there is no source `{source_name}` any more; put it back into the configuration")]
    NoSource { source_name: String },
    #[error("the request was not read again")]
    Store(#[source] StoreError),
}

impl ReadmitError {
    /// The stable code of the problem.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::NoSuchObject,
            Self::NoSource { .. } => Code::NoSuchSource,
            Self::NotKept { .. } => Code::StateChanged,
            Self::Store(StoreError::Changed { .. }) => Code::StateChanged,
            Self::Store(_) => Code::Store,
        }
    }
}

/// Why what a vendor gave back was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("{0}")]
    Unreadable(String),
    #[error("it was not committed")]
    Store(#[source] StoreError),
}

/// What was read from a verified request.
struct Read {
    events: Vec<IntegrationEvent>,
    /// Why it, or a part of it, could not be read.
    unreadable: Option<String>,
}

impl Ingest {
    /// Takes one request. Once this has an answer that is a 2xx, the request is committed; the commit
    /// goes on if the sender hangs up.
    ///
    /// # Errors
    ///
    /// See [`IngestError`]: nothing of the request is executed then, and sending it again is safe.
    pub async fn receive(
        &self,
        source: &Arc<Source>,
        request: Request,
    ) -> Result<Reply, IngestError> {
        if let Some(reply) = provider::handshake(source, &request, request.received_at) {
            return Ok(reply);
        }
        let in_force = self.current.get();
        let (verified, lacking) = self
            .verified(|keys| provider::verify_with(source, &request, request.received_at, keys))
            .await;
        let new = match verified {
            Err(error) => return Err(self.turn_away(source, request, error, lacking)),
            Ok(verified) => {
                if let Some(url) = provider::visit(source, &verified) {
                    self.keys.visit(&source.name, &url).await.map_err(IngestError::Vendor)?;
                }
                if let Some(reply) = provider::challenge(source, &verified) {
                    return Ok(reply);
                }
                self.prepare(source, &in_force, &verified, None)
            }
        };
        let seen = self.watcher.as_ref().map(|watcher| {
            let headers = watcher.new_headers(source, &request.headers);
            seen(source, &request, headers, &new)
        });
        let receipt = self.store.commit(new.of(request)).await.map_err(|error| {
            if matches!(error, StoreError::Busy) {
                return IngestError::Busy;
            }
            IngestError::Store(error)
        })?;
        if let (Some(watcher), Some(seen)) = (&self.watcher, seen) {
            watcher.look(without_duplicates(seen, &receipt));
        }
        Ok(provider::reply(source, &ingested(&receipt)))
    }

    /// Verifies, with a key of the vendor's host if one is needed; and why that is lacking, if it is.
    async fn verified<'r>(
        &self,
        verify: impl Fn(&FetchedKeys) -> Result<Verified<'r>, VerifyError>,
    ) -> (Result<Verified<'r>, VerifyError>, Option<KeyError>) {
        let wanted = match verify(&self.keys.held()) {
            Err(VerifyError::NeedsKey(wanted)) => wanted,
            verdict => return (verdict, None),
        };
        match self.keys.fetch(&wanted, self.store.clock().now()).await {
            Ok(()) => (verify(&self.keys.held()), None),
            Err(error) => (Err(VerifyError::NeedsKey(wanted)), Some(error)),
        }
    }

    /// Counts the request, and keeps it for the operator.
    fn turn_away(
        &self,
        source: &Arc<Source>,
        request: Request,
        error: VerifyError,
        lacking: Option<KeyError>,
    ) -> IngestError {
        let mut detail = match &lacking {
            Some(why) => format!("{error}, and {why}"),
            None => error.to_string(),
        };
        truncate(&mut detail, DETAIL_BYTES_MAX);
        if let (VerifyError::Missing { .. }, Some(watcher)) = (&error, &self.watcher) {
            watcher.unsigned(source, request.id, request.received_at, &request.headers);
        }
        let mut headers = provider::keep_headers(source, &request, &self.digest_key);
        headers.extend(provider::keep_renamed(source, &request, &self.digest_key));
        self.store.reject(NewRejected {
            headers,
            kept_target: provider::keep_target(source, &request, &self.digest_key),
            source: Arc::clone(&source.name),
            provider: Arc::clone(&source.provider.name),
            reason: error.reason().to_owned(),
            detail,
            request,
        });
        match (&error, lacking) {
            (VerifyError::NeedsKey(_), why) => {
                // Somebody else's key may have pushed it out again: that is no verdict either.
                IngestError::Vendor(why.unwrap_or(KeyError::TooMany))
            }
            _ if error.is_malformed() => IngestError::Malformed(error),
            _ => IngestError::Unverified,
        }
    }

    fn prepare(
        &self,
        source: &Source,
        in_force: &InForce,
        verified: &Verified<'_>,
        reread: Option<Reread>,
    ) -> Prepared {
        let request = verified.request();
        let read = read(source, verified);
        let is_kept = reread.is_some();
        let headers = if is_kept {
            kept_headers_of(request)
        } else {
            provider::keep_headers(source, request, &self.digest_key)
        };
        let kept_target = if is_kept {
            request.target.clone()
        } else {
            provider::keep_target(source, request, &self.digest_key)
        };
        let events = read.events.into_iter().map(|event| NewEvent {
            tasks: self.route(&event, &headers, &in_force.workflows),
            derived_window: source.derived_window,
            event,
        });
        let events = events.collect();
        let skew_ms = verified.skew().and_then(|s| i64::try_from(s.as_millis()).ok());
        Prepared {
            source: Arc::clone(&source.name),
            provider: Arc::clone(&source.provider.name),
            headers,
            kept_target,
            scheme: Arc::clone(&source.scheme_label),
            skew_ms,
            events,
            unreadable: read.unreadable,
            reread,
        }
    }

    /// The event's tasks; those that can start at once get a place with this daemon's workers.
    fn route(
        &self,
        event: &IntegrationEvent,
        headers: &[(String, String)],
        workflows: &Workflows,
    ) -> Vec<NewTask> {
        let mut tasks = route::tasks_for(event, headers, workflows);
        for task in
            tasks.iter_mut().filter(|t| t.needs.is_empty() && t.dead.is_none() && t.line.is_none())
        {
            task.slot = self.lanes.reserve(&task.destination);
        }
        tasks
    }

    /// Whether a request that a vendor gave back reads as the one event that it is said to be: the type
    /// and the vendor's own id of `key`.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(crate) fn looks_like(
        &self,
        source: &Source,
        request: &Request,
        key: &(String, String),
    ) -> Result<(), String> {
        let read = read(source, &provider::vouched(source, request));
        if let Some(why) = read.unreadable {
            return Err(why);
        }
        let is_it = |e: &IntegrationEvent| e.event_type == key.0 && e.external_id == key.1;
        match read.events.as_slice() {
            [event] if is_it(event) => Ok(()),
            [event] => Err(format!(
                "it reads as `{}` with the id `{}`: another than the list has",
                event.event_type, event.external_id
            )),
            events => Err(format!("it holds {} events", events.len())),
        }
    }

    /// Takes in a request that a vendor gave back, on the way of any other, but for its signature: the
    /// vendor vouches for it.
    pub(crate) async fn take_in(
        &self,
        source: &Arc<Source>,
        request: Request,
        key: &(String, String),
        fetched: Fetched,
    ) -> Result<Receipt, TakeError> {
        self.looks_like(source, &request, key).map_err(TakeError::Unreadable)?;
        let in_force = self.current.get();
        let verified = provider::vouched(source, &request);
        let mut new = self.prepare(source, &in_force, &verified, None);
        drop(verified);
        new.scheme = "reconcile".into();
        new.skew_ms = None;
        let seen = seen(source, &request, None, &new);
        let new = NewRequest { fetched: Some(fetched), ..new.of(request) };
        let receipt = self.store.commit(new).await.map_err(TakeError::Store)?;
        if let Some(watcher) = &self.watcher {
            watcher.look(without_duplicates(seen, &receipt));
        }
        Ok(receipt)
    }

    /// Reads a kept request again: a rejected one after its secret was mended (it is verified as of
    /// its arrival), a dead one after its definition was.
    ///
    /// # Errors
    ///
    /// See [`ReadmitError`]. A request that still does not verify is an answer, not an error.
    pub async fn readmit(
        &self,
        id: RequestId,
        who: &str,
        reason: Option<String>,
    ) -> Result<Readmitted, ReadmitError> {
        self.read_again(id, Reread { who: who.to_owned(), reason, replay_id: None }).await
    }

    /// What is said of a request that was taken in: doing it again changes nothing.
    async fn known(&self, id: RequestId) -> Result<Readmitted, ReadmitError> {
        let events = self.store.events_of(id).await.map_err(ReadmitError::Store)?;
        let event = |id: String| IngestedEvent { id, duplicate: true };
        Ok(Readmitted {
            v: V,
            object: "readmitted".to_owned(),
            request: id.to_string(),
            status: "duplicate".to_owned(),
            reason: None,
            events: events.iter().map(|row| event(row.event.id.to_string())).collect(),
        })
    }

    /// The same, for a replay too.
    pub(crate) async fn read_again(
        &self,
        id: RequestId,
        reread: Reread,
    ) -> Result<Readmitted, ReadmitError> {
        let row = self.store.request(id).await.map_err(ReadmitError::Store)?;
        let row = row.ok_or(ReadmitError::NotFound { id })?;
        if matches!(row.status.as_str(), "accepted" | "duplicate") && reread.replay_id.is_none() {
            return self.known(id).await;
        }
        if !matches!(row.status.as_str(), "rejected" | "dead" | "discarded") {
            return Err(ReadmitError::NotKept { id, status: row.status });
        }
        let in_force = self.current.get();
        let source = in_force
            .sources
            .get(&row.source)
            .ok_or_else(|| ReadmitError::NoSource { source_name: row.source.clone() })?;
        let body = self.store.body(id).await.map_err(ReadmitError::Store)?.unwrap_or_default();
        let was_verified = row.status != "rejected";
        let request = kept_request(source, &row, body);
        let (verified, _) = self
            .verified(|keys| {
                let at = request.received_at;
                provider::verify_kept_with(source, &request, at, &self.digest_key, keys)
            })
            .await;
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => return Ok(still_rejected(id, was_verified, &error)),
        };
        let new = self.prepare(source, &in_force, &verified, Some(reread));
        drop(verified);
        // Only some headers of a request are kept: nothing can be said of them.
        let seen = seen(source, &request, None, &new);
        let receipt = self.store.commit(new.of(request)).await.map_err(ReadmitError::Store)?;
        if let Some(watcher) = &self.watcher {
            watcher.look(without_duplicates(seen, &receipt));
        }
        Ok(Readmitted {
            v: V,
            object: "readmitted".to_owned(),
            request: id.to_string(),
            status: status_of(&receipt).to_owned(),
            reason: receipt.is_dead.then(|| "unreadable".to_owned()),
            events: events_of(&receipt),
        })
    }
}

/// What is looked at once it is committed. The payloads are shared, not copied.
fn seen(source: &Arc<Source>, request: &Request, headers: Option<Headers>, new: &Prepared) -> Seen {
    let event = |new: &NewEvent| SeenEvent {
        id: new.event.id,
        event_type: new.event.event_type.clone(),
        payload: new.event.payload.clone(),
    };
    Seen {
        source: Arc::clone(source),
        request: request.id,
        received_at: request.received_at,
        headers,
        events: new.events.iter().map(event).collect(),
        is_unreadable: new.unreadable.is_some(),
    }
}

/// A repetition shows nothing that its first did not.
fn without_duplicates(mut seen: Seen, receipt: &Receipt) -> Seen {
    let mut events = receipt.events.iter();
    seen.events.retain(|event| events.next() == Some(&(event.id, false)));
    seen
}

/// A request's parts, before it is handed to the store.
struct Prepared {
    source: Arc<str>,
    provider: Arc<str>,
    headers: Vec<(String, String)>,
    kept_target: String,
    scheme: Arc<str>,
    skew_ms: Option<i64>,
    events: Vec<NewEvent>,
    unreadable: Option<String>,
    reread: Option<Reread>,
}

impl Prepared {
    fn of(self, request: Request) -> NewRequest {
        NewRequest {
            request,
            source: self.source,
            provider: self.provider,
            headers: self.headers,
            kept_target: self.kept_target,
            scheme: self.scheme,
            skew_ms: self.skew_ms,
            events: self.events,
            unreadable: self.unreadable,
            reread: self.reread,
            fetched: None,
        }
    }
}

/// Splits and normalizes. What cannot be read leaves what can alone.
fn read(source: &Source, verified: &Verified<'_>) -> Read {
    let raw = match provider::split(source, verified) {
        Ok(raw) => raw,
        Err(error) => {
            return Read { events: vec![], unreadable: Some(story(&error)) };
        }
    };
    let mut events = Vec::with_capacity(raw.len());
    let mut unreadable: Option<(usize, String)> = None;
    for one in raw {
        let number = one.number();
        match provider::normalize(source, verified, one, EventId::next()) {
            Ok(event) => events.push(event),
            Err(error) => match &mut unreadable {
                Some((count, _)) => *count += 1,
                None => {
                    let at = number.map_or(String::new(), |n| format!("event {n}: "));
                    unreadable = Some((1, format!("{at}{}", story(&error))));
                }
            },
        }
    }
    let unreadable = unreadable.map(|(count, mut first)| {
        truncate(&mut first, DETAIL_BYTES_MAX);
        if count == 1 { first } else { format!("{first} (and {} more)", count - 1) }
    });
    Read { events, unreadable }
}

/// An error and what led to it, as one line.
pub(crate) fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

pub(crate) fn truncate(text: &mut String, bytes_max: usize) {
    if bytes_max < text.len() {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

/// RelayFlow's own answer to a vendor.
fn ingested(receipt: &Receipt) -> String {
    let answer = Ingested {
        status: "accepted".to_owned(),
        request: receipt.request.to_string(),
        events: events_of(receipt),
    };
    serde_json::to_string(&answer).unwrap_or_else(|_| r#"{"status":"accepted"}"#.to_owned())
}

fn events_of(receipt: &Receipt) -> Vec<IngestedEvent> {
    let event = |(id, duplicate): &(EventId, bool)| IngestedEvent {
        id: id.to_string(),
        duplicate: *duplicate,
    };
    receipt.events.iter().map(event).collect()
}

fn status_of(receipt: &Receipt) -> &'static str {
    if receipt.is_dead {
        "dead"
    } else if !receipt.events.is_empty() && receipt.events.iter().all(|(_, known)| *known) {
        "duplicate"
    } else {
        "accepted"
    }
}

fn still_rejected(id: RequestId, was_verified: bool, error: &VerifyError) -> Readmitted {
    Readmitted {
        v: V,
        object: "readmitted".to_owned(),
        request: id.to_string(),
        status: if was_verified { "dead" } else { "rejected" }.to_owned(),
        reason: Some(error.reason().to_owned()),
        events: vec![],
    }
}

/// A kept request as it came in, but for its credentials, which are digests.
pub(crate) fn kept_request(source: &Source, row: &RequestRow, body: Bytes) -> Request {
    kept_request_of(Some(source), row, body)
}

/// The same where its source may be gone.
pub(crate) fn kept_request_of(source: Option<&Source>, row: &RequestRow, body: Bytes) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in &row.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let query = row.target.split_once('?').map_or("", |(_, query)| query);
    let base = source.and_then(|source| source.public_url.clone()).unwrap_or_default();
    let url = if query.is_empty() { base } else { format!("{base}?{query}") };
    Request {
        id: row.id,
        method: Method::from_bytes(row.method.as_bytes()).unwrap_or(Method::POST),
        target: row.target.clone(),
        url,
        headers,
        body,
        received_at: crate::clock::from_micros(row.received_us),
    }
}

fn kept_headers_of(request: &Request) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    request.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
