//! `/api/v1/tail`: the timeline as it grows, as server-sent events.
//!
//! A tail reads the store behind a cursor, a page at a time, and reads the next when the one before
//! has left: a slow reader costs one page of memory, and nothing is dropped.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame};
use relayflow_core::api::TimelineEntry;
use relayflow_core::api::codes::Code;
use relayflow_core::view;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::json::{ascii, filter, params};
use super::problem::{Problem, chain};
use super::server::Peer;
use crate::app::App;

const HEARTBEAT: Duration = Duration::from_secs(15);
const PAGE: usize = 200;
const TOGETHER: Duration = Duration::from_millis(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TailParams {
    q: Option<String>,
    /// Where to begin, as `Last-Event-ID`, which wins; 0 is the beginning. Else what comes from now on.
    after: Option<i64>,
}

pub(crate) async fn tail(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    parts: Parts,
) -> Result<Response, Problem> {
    let TailParams { q, after } = params(&parts)?;
    let q = filter(q)?;
    let after = match last_event_id(&parts.headers)?.or(after) {
        Some(after) => after,
        None => view::tail_end(&app.store).await,
    };
    let permit = app.tails.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::of(Code::Overloaded).detail("too many tails"))?;
    // A filter that does not parse is an answer, not a stream that ends.
    view::tail(&app.store, after, 1, q.as_deref()).await?;

    peer.link.set_endless();
    let (pages, receiver) = mpsc::channel(1);
    tokio::spawn(Tailing { app, q, after, pages, _permit: permit }.run());
    let mut response = Response::new(Body::new(Pages(receiver)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.trim().parse::<i64>().ok());
    id.filter(|id| 0 <= *id).map(Some).ok_or_else(|| {
        Problem::of(Code::BadCursor).detail("`Last-Event-ID` is the `id` of an event of this tail")
    })
}

/// One tail at work; it ends when nobody takes its pages, or with the daemon.
struct Tailing {
    app: App,
    q: Option<String>,
    after: i64,
    pages: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Tailing {
    async fn run(mut self) {
        let mut changed = self.app.store.timeline_changed();
        let stop = self.app.state.stop.clone();
        // Where it begins is said at once, so that a tail that is cut before its first entry resumes
        // there too.
        let mut next = Some(place(self.after));
        let mut heartbeat = Instant::now() + HEARTBEAT;
        loop {
            if let Some(page) = next.take() {
                if !self.send(page, &stop).await {
                    return;
                }
                heartbeat = Instant::now() + HEARTBEAT;
            }
            changed.mark_unchanged();
            let tail = view::tail(&self.app.store, self.after, PAGE, self.q.as_deref()).await;
            let tail = match tail {
                Ok(tail) => tail,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a tail ended early");
                    return;
                }
            };
            let is_moved = self.after < tail.last;
            self.after = tail.last;
            if !tail.entries.is_empty() {
                next = Some(page(&tail.entries));
            } else if heartbeat <= Instant::now() {
                next = Some(idle(self.after));
            } else if !is_moved {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.pages.closed() => return,
                    () = sleep_until(heartbeat) => {}
                    result = changed.changed() => {
                        if result.is_err() {
                            return;
                        }
                        // What comes within this is one page.
                        sleep(TOGETHER).await;
                    }
                }
            }
        }
    }

    /// Whether it was taken.
    async fn send(&self, page: Bytes, stop: &tokio_util::sync::CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => false,
            sent = self.pages.send(page) => sent.is_ok(),
        }
    }
}

fn page(entries: &[TimelineEntry]) -> Bytes {
    let mut page = Vec::new();
    for entry in entries {
        page.extend(format!("id: {}\ndata: ", entry.seq).bytes());
        page.extend(ascii(entry));
        page.extend(b"\n\n");
    }
    page.into()
}

/// An id without data: no event, but where a reader resumes.
fn place(after: i64) -> Bytes {
    format!("id: {after}\n\n").into()
}

fn idle(after: i64) -> Bytes {
    format!(": idle\nid: {after}\n\n").into()
}

/// Pages as they come.
struct Pages(mpsc::Receiver<Bytes>);

impl HttpBody for Pages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|page| page.map(|page| Ok(Frame::data(page))))
    }
}
