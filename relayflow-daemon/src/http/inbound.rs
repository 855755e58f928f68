//! `/in/{source}`: the public door, and the way of every event. Nothing is between the connection
//! and this but the limits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use relayflow_core::api::codes::Code;
use relayflow_core::id::RequestId;
use relayflow_core::ingest::IngestError;
use relayflow_core::provider::{self, Reply, Source};
use relayflow_core::request;
use relayflow_core::store::StoreError;
use tokio::time::timeout;

use super::body::Body;
use super::health;
use super::problem::{Problem, chain};
use super::server::{Handler, Peer, lock};
use crate::app::App;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How long the store may take: longer than its writer lets anything wait.
const STORE_TIME: Duration = Duration::from_secs(20);
/// The part of a vendor's patience that is left to the ways there and back.
const ON_THE_WAY: u32 = 10;

/// The ingest listener's requests.
pub(crate) struct Inbound {
    app: App,
    public_url: Option<String>,
    is_tls: bool,
    behind_proxy: bool,
    body_bytes_max: usize,
    pub(crate) body_time: Duration,
    room: Arc<Room>,
    complained: Mutex<Option<Instant>>,
}

impl Inbound {
    pub(crate) fn new(app: App, config: &relayflow_core::config::IngestConfig) -> Self {
        Self {
            app,
            public_url: config.public_url.clone(),
            is_tls: config.tls.is_some(),
            behind_proxy: config.behind_proxy,
            body_bytes_max: config.body_bytes_max,
            body_time: BODY_TIME,
            room: Arc::new(Room::new(config.requests_max, config.bodies_bytes_max)),
            complained: Mutex::default(),
        }
    }

    /// Takes one request. The vendor gets the answer that it expects once everything is committed,
    /// 401 when the signature does not hold, and 503 (so that it sends again) when the store does
    /// not answer.
    async fn receive(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let source = self.source(parts.uri.path(), &parts.method)?;
        // Asked before the body is read, so that to refuse costs next to nothing.
        if self.app.store.is_busy() {
            return Err(Problem::of(Code::Overloaded));
        }
        if self.app.store.is_full() {
            return Err(Problem::of(Code::DiskFull));
        }
        let limit = source.provider.body_bytes_max.unwrap_or(0).max(self.body_bytes_max);
        let length = length(&parts.method, &parts.headers, limit)?;
        let mut place = self.room.take(length.unwrap_or(0))?;

        let body = match timeout(self.body_time, collect(body, limit, length, &mut place)).await {
            Ok(body) => body?,
            Err(_) => return Err(Problem::of(Code::Timeout)),
        };
        let target = match parts.uri.path_and_query() {
            Some(target) => target.as_str().to_owned(),
            None => parts.uri.path().to_owned(),
        };
        let request = request::Request {
            id: RequestId::next(),
            method: parts.method,
            url: self.url(&source, &target, &parts.headers),
            target,
            headers: parts.headers,
            body,
            received_at: self.app.store.clock().now(),
        };
        if let Some(secret) = provider::learned(&source, &request) {
            self.app.learned.offer(&source, secret, request.received_at).await;
        }
        let patience = patience(source.provider.reply_within, began.elapsed());
        let taken = timeout(patience, self.app.ingest.receive(&source, request)).await;
        let reply =
            taken.map_err(|_| Problem::of(Code::Store))?.map_err(|error| self.refusal(error))?;
        Ok(answer(reply))
    }

    fn source(&self, path: &str, method: &Method) -> Result<Arc<Source>, Problem> {
        let name = path.strip_prefix("/in/").filter(|name| !name.contains('/'));
        let name = name.ok_or_else(|| Problem::of(Code::NoSuchRoute))?;
        let in_force = self.app.current.get();
        let source = in_force.sources.get(name).ok_or_else(|| Problem::of(Code::NoSuchSource))?;
        if !provider::takes_method(source, method) {
            let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
            let taken = known.iter().filter(|method| provider::takes_method(source, method));
            let taken: Vec<_> = taken.map(Method::as_str).collect();
            return Err(Problem::of(Code::Method).allow(taken.join(", ")));
        }
        Ok(Arc::clone(source))
    }

    /// The URL that the vendor called: as configured, else as far as the request tells.
    fn url(&self, source: &Source, target: &str, headers: &HeaderMap) -> String {
        if let Some(url) = &source.public_url {
            return match target.split_once('?') {
                Some((_, query)) => format!("{url}?{query}"),
                None => url.clone(),
            };
        }
        if let Some(base) = &self.public_url {
            return format!("{base}{target}");
        }
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let is_https = self.is_tls
            || (self.behind_proxy
                && text(HeaderName::from_static("x-forwarded-proto")) == Some("https"));
        let scheme = if is_https { "https" } else { "http" };
        format!("{scheme}://{}{target}", text(HOST).unwrap_or_default())
    }

    fn refusal(&self, error: IngestError) -> Problem {
        match error {
            IngestError::Malformed(_) => Problem::of(Code::BadRequest)
                .detail("this is not a request that the source's provider sends"),
            IngestError::Unverified => Problem::of(Code::Signature).challenge("Signature"),
            IngestError::Vendor(_) => Problem::of(Code::Vendor),
            IngestError::Busy | IngestError::Store(StoreError::Busy) => {
                Problem::of(Code::Overloaded)
            }
            IngestError::Store(StoreError::Full) => Problem::of(Code::DiskFull),
            IngestError::Store(error) => {
                self.complain(&error);
                Problem::of(Code::Store)
            }
        }
    }

    /// Says at most once a second that the store does not do its work.
    fn complain(&self, error: &StoreError) {
        let mut last = lock(&self.complained);
        if last.is_none_or(|last| Duration::from_secs(1) <= last.elapsed()) {
            *last = Some(Instant::now());
            tracing::error!(error = %chain(error), "requests cannot be committed");
        }
    }

    fn count(&self, status: StatusCode) {
        let metrics = &self.app.metrics;
        match status.as_u16() {
            401 => metrics.ingest_unverified.inc(),
            400..=499 => metrics.ingest_refused.inc(),
            500..=599 => metrics.ingest_unavailable.inc(),
            _ => metrics.ingest_ok.inc(),
        };
    }
}

impl Handler for Inbound {
    async fn answer(&self, request: Request<Incoming>, _: &Peer) -> Response<Body> {
        if request.uri().path() == "/healthz" {
            return health::live(request.method());
        }
        let response = match self.receive(request).await {
            Ok(response) => response,
            Err(problem) => problem.answer(),
        };
        self.count(response.status());
        response
    }
}

/// How long the store may take where the vendor waits for `within`, of which `spent` is over: an answer
/// that comes too late is none, and a 503 in time makes the vendor send again. What is being committed
/// then is committed all the same, and the second request a duplicate.
fn patience(within: Option<Duration>, spent: Duration) -> Duration {
    let Some(within) = within else { return STORE_TIME };
    (within - within / ON_THE_WAY).saturating_sub(spent).min(STORE_TIME)
}

/// The body's length as announced, `None` for a chunked one, if the head is one that is taken.
fn length(method: &Method, headers: &HeaderMap, limit: usize) -> Result<Option<usize>, Problem> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        return Err(Problem::of(Code::MediaType).detail("send the body without a content coding"));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Ok(None);
    }
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        let needs_one = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        return if needs_one { Err(Problem::of(Code::LengthRequired)) } else { Ok(Some(0)) };
    };
    let length = length.to_str().ok().and_then(|digits| digits.parse::<usize>().ok());
    match length {
        Some(length) if length <= limit => Ok(Some(length)),
        _ => Err(Problem::of(Code::BodyTooLarge)),
    }
}

/// The whole body, counted as it comes. The usual one arrives with its head and is not copied.
async fn collect(
    mut body: Incoming,
    limit: usize,
    length: Option<usize>,
    place: &mut Place,
) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::of(Code::BadRequest))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if limit < read {
            return Err(Problem::of(Code::BodyTooLarge));
        }
        if length.is_none() {
            place.add(data.len())?;
        }
        if read == data.len() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve(length.unwrap_or(read));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn answer(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if let Some(value) = reply.content_type.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(CONTENT_TYPE, value);
    }
    for (name, value) in reply.headers {
        // What a definition can say here was checked when it was read; a value may hold what the
        // vendor sent, and one that is no header value is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// The room that bodies in memory have.
#[derive(Debug)]
pub(crate) struct Room {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    requests_max: usize,
    bytes_max: usize,
}

impl Room {
    pub(crate) fn new(requests_max: usize, bytes_max: usize) -> Self {
        Self { requests: 0.into(), bytes: 0.into(), requests_max, bytes_max }
    }

    /// A place for a request with a body of `bytes`.
    ///
    /// # Errors
    ///
    /// 503 if there is none; nothing was read then.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Place, Problem> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { room: Arc::clone(self), bytes: 0 };
        if self.requests_max <= requests {
            return Err(Problem::of(Code::Overloaded));
        }
        place.add(bytes)?;
        Ok(place)
    }
}

/// A place in the room, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Place {
    fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.room.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if self.room.bytes_max < before + bytes {
            Err(Problem::of(Code::Overloaded))
        } else {
            Ok(())
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.requests.fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_no_longer_than_the_vendor_waits() {
        let (ms, no) = (Duration::from_millis, Duration::ZERO);
        for (within, spent, expected) in [
            (None, no, STORE_TIME),
            (None, ms(5_000), STORE_TIME),
            (Some(ms(3_000)), no, ms(2_700)),
            (Some(ms(3_000)), ms(700), ms(2_000)),
            (Some(ms(3_000)), ms(2_900), no),
            (Some(ms(100_000)), no, STORE_TIME),
        ] {
            assert_eq!(patience(within, spent), expected, "{within:?} {spent:?}");
        }
        for provider in relayflow_core::provider::Catalog::built_in().iter() {
            let most = provider.reply_within.unwrap_or(Duration::MAX);
            assert!(patience(provider.reply_within, no) < most, "{}", provider.name);
        }
    }

    #[test]
    fn a_place_is_given_back() {
        let room = Arc::new(Room::new(2, 100));
        let first = room.take(60).unwrap();
        assert_eq!(room.take(41).unwrap_err().code, Code::Overloaded);
        let second = room.take(40).unwrap();
        assert_eq!(room.take(0).unwrap_err().code, Code::Overloaded);
        drop(first);
        assert_eq!(room.take(0).unwrap().bytes, 0);
        drop(second);
        assert_eq!(room.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(room.requests.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_head_says_how_much_follows_or_is_refused() {
        let check = |fields: &[(&'static str, &'static str)],
                     expected: Result<Option<usize>, Code>| {
            let fields = fields.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            let answer = length(&Method::POST, &HeaderMap::from_iter(fields), 1000);
            assert_eq!(answer.map_err(|problem| problem.code), expected);
        };
        check(&[("content-length", "1000")], Ok(Some(1000)));
        check(&[("content-length", "1001")], Err(Code::BodyTooLarge));
        check(&[("transfer-encoding", "chunked")], Ok(None));
        check(&[], Err(Code::LengthRequired));
        check(&[("content-length", "1"), ("content-encoding", "Identity")], Ok(Some(1)));
        check(&[("content-length", "1"), ("content-encoding", "gzip")], Err(Code::MediaType));
        check(&[("content-length", "1001"), ("content-encoding", "gzip")], Err(Code::MediaType));
        assert_eq!(length(&Method::GET, &HeaderMap::new(), 1).ok(), Some(Some(0)));
    }
}
