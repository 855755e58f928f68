//! One HTTP request of a task, and what its answer means.

mod pool;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, RETRY_AFTER, TRANSFER_ENCODING,
    UPGRADE, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};

pub(crate) use self::pool::tls as client_tls;
use self::pool::{AskError, Link, OpenError, Pool};
use super::{ANSWER_BYTES_MAX, KEPT_BYTES_MAX, Report, Work, kept, trace::traceparent};
use crate::egress::{ConnectError, Connector};
use crate::execute::gate;
use crate::task::{DeadReason, Outcome};
use crate::workflow::{HttpAction, destination_of};

/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
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
pub(in crate::execute) struct Client(Pool);

/// A request, and where it goes.
struct Call {
    scheme: Scheme,
    authority: Authority,
    request: Request<Full<Bytes>>,
}

/// An answer, read as far as it is read.
struct Answer {
    status: StatusCode,
    retry_after: Option<SignedDuration>,
    text: Option<String>,
}

/// Why there is no answer.
enum NoAnswer {
    Ask(AskError),
    Body(hyper::Error),
    HeadTooLarge,
}

impl Client {
    pub(in crate::execute) fn new(connector: Connector) -> Self {
        Self(Pool::new(connector))
    }

    /// Closes connections that have been idle for long.
    pub(in crate::execute) fn tidy(&self) {
        self.0.tidy();
    }

    /// Makes the request of `work` and reads the answer. The caller limits the time.
    pub(in crate::execute) async fn run(
        &self,
        action: &HttpAction,
        work: Work<'_>,
        now: Timestamp,
    ) -> Report {
        let call = match call(action, work) {
            Ok(call) => call,
            Err(report) => return *report,
        };
        match self.ask(call, now).await {
            Ok(answer) => report(&action.method, work.destination, answer),
            Err(error) => error.report(work.destination),
        }
    }

    async fn ask(&self, call: Call, now: Timestamp) -> Result<Answer, NoAnswer> {
        let Call { scheme, authority, request } = call;
        let asked = self.0.ask(&scheme, &authority, request).await;
        let (response, mut link) = asked.map_err(NoAnswer::Ask)?;
        let (head, mut body) = response.into_parts();
        let head_bytes: usize =
            head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if HEAD_BYTES_MAX < head_bytes {
            return Err(NoAnswer::HeadTooLarge);
        }
        let retry_after = retry_after(&head.headers, now);
        let (text, is_whole) = read(&mut link, &mut body).await.map_err(NoAnswer::Body)?;
        if is_whole {
            self.0.keep(&scheme, &authority, link).await;
        }
        Ok(Answer { status: head.status, retry_after, text })
    }
}

/// Reads at most [`ANSWER_BYTES_MAX`], and says whether that was all. What goes on longer is left,
/// and its connection closed.
async fn read(
    link: &mut Link,
    body: &mut Incoming,
) -> Result<(Option<String>, bool), hyper::Error> {
    let mut first = Bytes::new();
    let mut more = Vec::new();
    let mut seen = 0;
    while let Some(frame) = link.until(body.frame()).await {
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
    let text = kept(if more.is_empty() { &first } else { &more });
    Ok((text, seen < ANSWER_BYTES_MAX))
}

type Refusal = Box<Report>;

fn call(action: &HttpAction, work: Work<'_>) -> Result<Call, Refusal> {
    let scope = work.scope();
    let url = action.url.render(&scope).map_err(|e| Report::expression("url", &e))?;
    let (scheme, authority, path) = target(&url, action, work)?;

    let mut headers = HeaderMap::with_capacity(action.headers.len() + 9);
    let host = HeaderValue::from_str(authority.as_str());
    headers.insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("")));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, AGENT);
    let (body, content_type) = body(action, work)?;
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
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
    *request.uri_mut() = path.into();
    *request.headers_mut() = headers;
    Ok(Call { scheme, authority, request })
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

/// Where a URL leads, and what is asked for there.
fn target(
    url: &str,
    action: &HttpAction,
    work: Work<'_>,
) -> Result<(Scheme, Authority, PathAndQuery), Refusal> {
    let refuse = |why: &str| {
        let error = format!("url of {}: {why}", work.destination);
        Box::new(Report::rejected(DeadReason::Unretryable, &error))
    };
    let parts = parse(url).ok_or_else(|| refuse("it is not a URL"))?.into_parts();
    let scheme = parts.scheme.ok_or_else(|| refuse("it has no scheme"))?;
    // The host of a URL is the config's word, unless the step says otherwise. The config was checked
    // for that; here what was checked meets what an event made of it. Both are read in one way, and
    // what that reading gives is dialled, so that no spelling names two hosts.
    let named = destination_of(url).map_err(|why| refuse(&why))?;
    if !action.dynamic_host && *named != *work.destination {
        return Err(refuse("its host is not the one of the config"));
    }
    let authority = Authority::try_from(&*named).map_err(|_| refuse("its host is not a name"))?;
    let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    Ok((scheme, authority, path))
}

/// A URL as browsers read it, where it is not one as RFC 3986 has it: with an international name, or
/// with characters in its path that have to be encoded.
fn parse(url: &str) -> Option<Uri> {
    let strict = url.is_ascii().then(|| Uri::try_from(url).ok()).flatten();
    strict.or_else(|| Uri::try_from(url::Url::parse(url).ok()?.as_str()).ok())
}

/// What an answer's head means. Any answer with `Retry-After` asks for another try; a `rejected` one
/// will be the same the next time.
fn classify(status: StatusCode, retry_after: Option<SignedDuration>) -> (Outcome, gate::Call) {
    if status.is_success() {
        return (Outcome::Done, gate::Call::Alive);
    }
    let is_final = status.is_client_error()
        && ![StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS]
            .contains(&status);
    match retry_after {
        None if is_final => (Outcome::Rejected(DeadReason::Unretryable), gate::Call::Alive),
        wait => {
            let wait_at_least = wait.unwrap_or(SignedDuration::ZERO);
            (Outcome::Failed { wait_at_least }, gate::Call::Failed)
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
        let error = match self {
            Self::Ask(AskError::Open(OpenError::Connect(ConnectError::Refused(refused)))) => {
                let error = format!("{destination}: {refused}");
                return Report::rejected(DeadReason::EgressRefused, &error);
            }
            Self::Ask(AskError::Open(error)) => cause(error),
            Self::Ask(AskError::Http(error)) => cause(error),
            Self::Body(error) => format!("the answer broke off: {}", cause(error)),
            Self::HeadTooLarge => "the answer's head is above 32 KiB".to_owned(),
        };
        Report::failed(&format!("{destination}: {error}"))
    }
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
