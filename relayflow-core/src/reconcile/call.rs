//! One call to a vendor's API: with a token, through the egress check, within limits, and again where
//! that can help.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{LINK, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::codes::Code;
use crate::clock::Clock;
use crate::egress::Connector;
use crate::execute::client_tls;
use crate::ingest::{story, truncate};
use crate::provider::Endpoint;

/// How long one answer may take, from resolving its host to its last byte.
const CALL_TIME: Duration = Duration::from_secs(30);
/// The largest answer that is read: a page of large events, or one of the largest there are.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often one call is tried, and how long all waits between the tries may take together.
const TRIES: u32 = 6;
const WAIT_MAX: Duration = Duration::from_secs(120);
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// What of a refusal's body is repeated, in bytes.
const TOLD_BYTES_MAX: usize = 200;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// No answer, or `later`, and again so.
    #[error("{0}")]
    Unreachable(String),
    /// The token is not taken, or may not do this.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    NotFound(String),
    /// Something that is no answer to what was asked.
    #[error("{0}")]
    NotUnderstood(String),
    #[error("the daemon was stopped")]
    Stopped,
}

impl CallError {
    /// The stable code of the problem.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Unreachable(_) | Self::Stopped => Code::Vendor,
            Self::Refused(_) => Code::VendorRefused,
            Self::NotFound(_) => Code::VendorNotFound,
            Self::NotUnderstood(_) => Code::VendorAnswer,
        }
    }
}

/// An answer that is a 200.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    /// Its `Link` header.
    pub(super) link: Option<String>,
}

type HttpClient = Client<HttpsConnector<Connector>, Empty<Bytes>>;

/// Makes the calls of all sources.
pub(super) struct Caller {
    connector: Connector,
    /// Made when it is first used: reading the system's certificates takes a while.
    client: OnceLock<HttpClient>,
}

/// What came of one try.
enum Tried {
    Answer(Answer),
    /// Another try can help: after so long, if it was said.
    Later(String, Option<Duration>),
    Failed(CallError),
}

impl Caller {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, client: OnceLock::new() }
    }

    /// What is at `uri`, asked for as `endpoint` has it.
    pub(super) async fn get(
        &self,
        endpoint: &Endpoint,
        uri: Option<Uri>,
        stop: &CancellationToken,
    ) -> Result<Answer, CallError> {
        let broken = || CallError::NotUnderstood("that is no address to ask at".to_owned());
        let (uri, headers) = uri.zip(endpoint.headers()).ok_or_else(broken)?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let (mut waited, mut next) = (Duration::ZERO, FIRST_WAIT);
        for number in 1.. {
            let tried = tokio::select! {
                () = stop.cancelled() => return Err(CallError::Stopped),
                tried = self.try_once(endpoint, &uri, headers.clone()) => tried,
            };
            let (why, said) = match tried {
                Tried::Answer(answer) => return Ok(answer),
                Tried::Failed(error) => return Err(error),
                Tried::Later(why, said) => (why, said),
            };
            let wait = said.unwrap_or(next);
            if TRIES <= number || WAIT_MAX < waited + wait {
                let asks = said.map_or(String::new(), |wait| {
                    format!("; it asks to wait for {} s", wait.as_secs().max(1))
                });
                return Err(CallError::Unreachable(format!("{host}: {why}{asks}")));
            }
            tracing::info!(host, why, wait_ms = wait.as_millis(), "asks the vendor again");
            tokio::select! {
                () = stop.cancelled() => return Err(CallError::Stopped),
                () = sleep(wait) => {}
            }
            (waited, next) = (waited + wait, next * 2);
        }
        Err(broken())
    }

    async fn try_once(&self, endpoint: &Endpoint, uri: &Uri, headers: HeaderMap) -> Tried {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        match timeout(CALL_TIME, self.ask(endpoint, uri, request)).await {
            Ok(tried) => tried,
            Err(_) => Tried::Later(format!("no answer within {} s", CALL_TIME.as_secs()), None),
        }
    }

    async fn ask(&self, endpoint: &Endpoint, uri: &Uri, request: Request<Empty<Bytes>>) -> Tried {
        let client = self.client.get_or_init(|| {
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(client_tls())
                .https_or_http()
                .enable_http1()
                .wrap_connector(self.connector.clone());
            Client::builder(TokioExecutor::new()).build(https)
        });
        let answer = match client.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let why = story(&error);
                // Nothing else will be there a moment later.
                if why.contains("egress.allow") {
                    return Tried::Failed(CallError::Unreachable(why));
                }
                return Tried::Later(why, None);
            }
        };
        let (head, body) = answer.into_parts();
        let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let most = ANSWER_BYTES_MAX / (1024 * 1024);
                let why = format!("its answer is larger than {most} MiB");
                return Tried::Failed(CallError::NotUnderstood(why));
            }
            Err(error) => return Tried::Later(error.to_string(), None),
        };
        let wait = wait_of(endpoint, &head.headers, Clock::Wall.now());
        let told = endpoint.without_token(&told(&body));
        judge(endpoint, uri, head.status, wait, &told).unwrap_or_else(|| {
            let link = head.headers.get(LINK).and_then(|value| value.to_str().ok());
            match String::from_utf8(body.to_vec()) {
                Ok(text) => Tried::Answer(Answer { text, link: link.map(str::to_owned) }),
                Err(_) => {
                    let why = "its answer is not UTF-8".to_owned();
                    Tried::Failed(CallError::NotUnderstood(why))
                }
            }
        })
    }
}

/// What an answer's status means; `None`: it is the one that was wanted.
fn judge(
    endpoint: &Endpoint,
    uri: &Uri,
    status: StatusCode,
    wait: Option<Duration>,
    told: &str,
) -> Option<Tried> {
    let code = status.as_u16();
    let path = uri.path();
    let said = if told.is_empty() { String::new() } else { format!(": {told}") };
    let failed = |error| Some(Tried::Failed(error));
    match code {
        200 => None,
        408 | 425 | 429 | 500..=599 => Some(Tried::Later(format!("it answers {code}"), wait)),
        // Where calls run out, some say so with the same code as for a token that may not.
        403 if wait.is_some() => Some(Tried::Later("it answers 403".to_owned(), wait)),
        401 => failed(CallError::Refused(format!(
            "{} does not take the token (401){said}",
            endpoint.base_url()
        ))),
        403 => failed(CallError::Refused(format!("the token may not read {path} (403){said}"))),
        404 | 410 => failed(CallError::NotFound(format!(
            "there is nothing at {path} ({code}), or nothing that the token may see{said}"
        ))),
        300..=399 => failed(CallError::NotUnderstood(format!(
            "it answers {code}: a token is not sent on to another place"
        ))),
        _ => failed(CallError::NotUnderstood(format!("it answers {code}{said}"))),
    }
}

/// How long the vendor asks to wait.
fn wait_of(endpoint: &Endpoint, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &http::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok())
    };
    let seconds = number(&RETRY_AFTER).or_else(|| {
        let (remaining, reset) = endpoint.listing.rate.as_ref()?;
        let is_used_up = number(remaining) == Some(0);
        let reset = is_used_up.then(|| number(reset)).flatten()?;
        Some(reset.saturating_sub(now.as_second()).saturating_add(1))
    })?;
    let wait = SignedDuration::from_secs(seconds.clamp(0, 86_400));
    Duration::try_from(wait).ok()
}

/// The beginning of a refusal's body, on one line.
fn told(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(4096)).unwrap_or_default());
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    truncate(&mut line, TOLD_BYTES_MAX);
    line
}
