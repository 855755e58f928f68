//! One HTTP request of a task, and what its answer means.

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, RETRY_AFTER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::{SignedDuration, Timestamp};

use super::{ANSWER_BYTES_MAX, KEPT_BYTES_MAX, Report, Work, kept, trace::traceparent};
use crate::egress::{ConnectError, Connector};
use crate::execute::gate::Call;
use crate::task::{DeadReason, Outcome};
use crate::workflow::HttpAction;

/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Idle connections that are kept per destination, and for how long: many servers close theirs after
/// 5 s, and a request that meets such a close is a failed attempt for nothing.
const IDLE_MAX: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(4);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ATTEMPT: HeaderName = HeaderName::from_static("relayflow-attempt");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("relayflow/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOUDEVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// What a step's headers cannot set: they are the connection's own.
const RESERVED: [HeaderName; 6] =
    [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, EXPECT];

/// Makes the calls of all `http` steps; connections are kept and shared. No proxies, no redirects,
/// no decompression, HTTP/1.1.
pub(in crate::execute) struct Client {
    connector: Connector,
    http: legacy::Client<Connector, Full<Bytes>>,
    /// Made when it is first used: reading the system's certificates takes a while.
    https: OnceLock<legacy::Client<HttpsConnector<Connector>, Full<Bytes>>>,
}

/// An answer, read as far as it is read.
struct Answer {
    status: StatusCode,
    retry_after: Option<SignedDuration>,
    text: Option<String>,
}

/// Why there is no answer.
enum NoAnswer {
    Client(legacy::Error),
    Body(hyper::Error),
    HeadTooLarge,
}

impl Client {
    pub(in crate::execute) fn new(connector: Connector) -> Self {
        let http = pooled().build(connector.clone());
        Self { connector, http, https: OnceLock::new() }
    }

    fn https(&self) -> &legacy::Client<HttpsConnector<Connector>, Full<Bytes>> {
        self.https.get_or_init(|| pooled().build(over_tls(tls(), self.connector.clone())))
    }

    /// Makes the request of `work` and reads the answer. The caller limits the time.
    pub(in crate::execute) async fn run(
        &self,
        action: &HttpAction,
        work: Work<'_>,
        now: Timestamp,
    ) -> Report {
        let request = match request(action, work) {
            Ok(request) => request,
            Err(report) => return *report,
        };
        match self.ask(request, now).await {
            Ok(answer) => report(&action.method, &work.task.destination, answer),
            Err(error) => error.report(&work.task.destination),
        }
    }

    async fn ask(&self, request: Request<Full<Bytes>>, now: Timestamp) -> Result<Answer, NoAnswer> {
        let asking = if request.uri().scheme() == Some(&Scheme::HTTPS) {
            self.https().request(request)
        } else {
            self.http.request(request)
        };
        let response = asking.await.map_err(NoAnswer::Client)?;
        let (head, body) = response.into_parts();
        let head_bytes: usize =
            head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if HEAD_BYTES_MAX < head_bytes {
            return Err(NoAnswer::HeadTooLarge);
        }
        let retry_after = retry_after(&head.headers, now);
        let text = read(body).await.map_err(NoAnswer::Body)?;
        Ok(Answer { status: head.status, retry_after, text })
    }
}

/// Reads at most [`ANSWER_BYTES_MAX`]. What goes on longer is dropped, and its connection with it.
async fn read(mut body: Incoming) -> Result<Option<String>, hyper::Error> {
    let mut first = Bytes::new();
    let mut more = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if seen == 0 {
            first = data.slice(..data.len().min(KEPT_BYTES_MAX));
        } else if seen < KEPT_BYTES_MAX {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data[..data.len().min(KEPT_BYTES_MAX - seen)]);
        }
        seen += data.len();
        if ANSWER_BYTES_MAX <= seen {
            break;
        }
    }
    Ok(kept(if more.is_empty() { &first } else { &more }))
}

fn pooled() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX);
    builder
}

fn over_tls(config: rustls::ClientConfig, connector: Connector) -> HttpsConnector<Connector> {
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .wrap_connector(connector)
}

/// TLS 1.2 and 1.3, trusting whom the system trusts. On a system that trusts nobody every call
/// fails, and says why.
fn tls() -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .expect("ring has the cipher suites of TLS 1.2 and 1.3");
    match builder.clone().with_native_roots() {
        Ok(trusting) => trusting.with_no_client_auth(),
        Err(error) => {
            tracing::error!(error = %error, "no certificate authorities on this system");
            builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
}

type Refusal = Box<Report>;

fn request(action: &HttpAction, work: Work<'_>) -> Result<Request<Full<Bytes>>, Refusal> {
    let scope = work.scope();
    let url = action.url.render(&scope).map_err(|e| Report::expression("url", &e))?;
    let (uri, authorization) = target(url, action, work)?;

    let mut headers = HeaderMap::with_capacity(action.headers.len() + 8);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, AGENT);
    headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
    let (body, content_type) = body(action, work)?;
    headers.extend(content_type.map(|value| (CONTENT_TYPE, value)));
    for (name, template) in &action.headers {
        let what = || format!("header {name}");
        let text = template.render(&scope).map_err(|e| Report::expression(&what(), &e))?;
        let value = HeaderValue::try_from(text).map_err(|_| {
            let error = format!("{}: its value cannot stand in a header", what());
            Report::rejected(DeadReason::Expression, &error)
        })?;
        if !RESERVED.contains(name) {
            headers.insert(name, value);
        }
    }
    name_attempt(&mut headers, work);

    let mut request = Request::new(Full::new(body));
    *request.method_mut() = action.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The headers by which a destination knows the task again, and people find it.
fn name_attempt(headers: &mut HeaderMap, work: Work<'_>) {
    let Work { task, event, .. } = work;
    let correlation_id = &event.event.correlation_id;
    headers.insert(ATTEMPT, task.attempt.into());
    let texts = [
        (IDEMPOTENCY_KEY, task.id.to_string()),
        (CORRELATION_ID, correlation_id.as_str().to_owned()),
        (TRACEPARENT, traceparent(correlation_id, task)),
    ];
    for (name, text) in texts {
        // All three are visible ASCII, so none is left out.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

/// What is sent, and how it is declared. A `GET` or `HEAD` sends something only if it says so.
fn body(action: &HttpAction, work: Work<'_>) -> Result<(Bytes, Option<HeaderValue>), Refusal> {
    if let Some(body) = &action.body {
        let value = body.eval(&work.scope()).map_err(|e| Report::expression("body", &e))?;
        return Ok((value.to_string().into(), Some(JSON)));
    }
    if [Method::GET, Method::HEAD].contains(&action.method) {
        return Ok((Bytes::new(), None));
    }
    Ok((work.event.event.to_cloudevent().into(), Some(CLOUDEVENT)))
}

/// The URL without user information, and that as the header that it stands for.
fn target(
    url: String,
    action: &HttpAction,
    work: Work<'_>,
) -> Result<(Uri, Option<HeaderValue>), Refusal> {
    let refuse = |why: &str| {
        let error = format!("url of {}: {why}", work.task.destination);
        Box::new(Report::rejected(DeadReason::Unretryable, &error))
    };
    let mut parts = Uri::try_from(url).map_err(|_| refuse("it is not a URL"))?.into_parts();
    let (Some(scheme), Some(authority)) = (&parts.scheme, &parts.authority) else {
        return Err(refuse("it has no scheme or no host"));
    };
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return Err(refuse("it is neither http nor https"));
    }
    // The host of a URL is the config's word, unless the step says otherwise. The config was checked
    // for that; here what was checked meets what an event made of it.
    if !action.dynamic_host && !is_destination(scheme, authority, &work.task.destination) {
        return Err(refuse("its host is not the one of the config"));
    }
    let mut authorization = None;
    if let Some((user, host)) = authority.as_str().rsplit_once('@') {
        authorization = Some(basic(user));
        let host = Authority::try_from(host).map_err(|_| refuse("it has no host"))?;
        parts.authority = Some(host);
    }
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    let uri = Uri::from_parts(parts).map_err(|_| refuse("it is not a URL"))?;
    Ok((uri, authorization))
}

/// Whether `destination` names this host: `host`, or `host:port` where the port is not the scheme's.
fn is_destination(scheme: &Scheme, authority: &Authority, destination: &str) -> bool {
    let own = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = authority.host();
    match authority.port_u16().filter(|port| *port != own) {
        None => destination.eq_ignore_ascii_case(host),
        Some(port) => destination
            .rsplit_once(':')
            .is_some_and(|(h, p)| h.eq_ignore_ascii_case(host) && p.parse() == Ok(port)),
    }
}

fn basic(user_info: &str) -> HeaderValue {
    let plain: Vec<u8> = percent_encoding::percent_decode_str(user_info).collect();
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// What an answer's head means. Any answer with `Retry-After` asks for another try; a `rejected` one
/// will be the same the next time.
fn classify(status: StatusCode, retry_after: Option<SignedDuration>) -> (Outcome, Call) {
    if status.is_success() {
        return (Outcome::Done, Call::Alive);
    }
    let is_final = status.is_client_error()
        && ![StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    match retry_after {
        None if is_final => (Outcome::Rejected(DeadReason::Unretryable), Call::Alive),
        wait => {
            let wait_at_least = wait.unwrap_or(SignedDuration::ZERO);
            (Outcome::Failed { wait_at_least }, Call::Failed)
        }
    }
}

/// `Retry-After` in seconds or as a date; one that is neither asks for a retry at our own pace.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let text = headers.get(RETRY_AFTER)?.to_str().unwrap_or_default().trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit ask for longer than anybody waits.
        let seconds = text.parse().unwrap_or(i64::from(u32::MAX));
        return Some(SignedDuration::from_secs(seconds.min(i64::from(u32::MAX))));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    let wait = at.map_or(SignedDuration::ZERO, |at| at.duration_since(now));
    Some(wait.max(SignedDuration::ZERO))
}

fn report(method: &Method, destination: &str, answer: Answer) -> Report {
    let (outcome, call) = classify(answer.status, answer.retry_after);
    let error = match outcome {
        Outcome::Done => None,
        Outcome::Failed { .. } | Outcome::Rejected(_) | Outcome::Interrupted | Outcome::Lost => {
            let redirect = if answer.status.is_redirection() && answer.status != 304 {
                ", and redirects are not followed"
            } else {
                ""
            };
            let status = answer.status;
            let reason = status.canonical_reason().map_or(String::new(), |r| format!(" {r}"));
            Some(format!("{method} {destination}: {}{reason}{redirect}", status.as_u16()))
        }
    };
    let http_status = Some(answer.status.as_u16());
    Report { outcome, call, http_status, error, response: answer.text }
}

impl NoAnswer {
    fn report(&self, destination: &str) -> Report {
        match self {
            Self::HeadTooLarge => {
                Report::failed(&format!("{destination}: the answer's head is above 32 KiB"))
            }
            Self::Body(error) => {
                Report::failed(&format!("{destination}: the answer broke off: {}", cause(error)))
            }
            Self::Client(error) => match refusal(error) {
                Some(refused) => Report::rejected(
                    DeadReason::EgressRefused,
                    &format!("{destination}: {refused}"),
                ),
                None => Report::failed(&format!("{destination}: {}", cause(error))),
            },
        }
    }
}

/// The refusal by [`crate::egress`] that is behind `error`, if that is what it was.
fn refusal(error: &legacy::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(ConnectError::Refused(refused)) = error.downcast_ref() {
            return Some(refused.to_string());
        }
        source = error.source();
    }
    None
}

/// The innermost cause: the one that says what happened.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
