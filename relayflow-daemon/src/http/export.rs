//! `/api/v1/export`: an incident bundle, written beside the daemon's work and sent as it is read back.
//!
//! What cannot be selected is a problem, said at once. What fails later cuts the answer off, and a bundle
//! that is cut off does not open.

use std::io::{self, Read as _, Seek as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use hyper::body::{Body as HttpBody, Frame};
use relayflow_core::api::NewExport;
use relayflow_core::api::codes::Code;
use relayflow_core::bundle::{self, Around, BundleError, Documents, Selected, Wanted};
use relayflow_core::view;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::auth::Who;
use super::json::{Sent, filter};
use super::problem::{Problem, chain};
use super::server::Peer;
use super::{queues, setup};
use crate::app::App;

/// The most that are written at once.
pub(crate) const EXPORTS_MAX: usize = 2;
const CHUNK_BYTES: usize = 64 * 1024;

pub(crate) async fn masked(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Extension(peer): Extension<Peer>,
    Sent(new): Sent<NewExport>,
) -> Result<Response, Problem> {
    export(app, who, peer, new, false).await
}

/// The same with payloads as they came in: a route of its own, since it takes another role.
pub(crate) async fn unmasked(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Extension(peer): Extension<Peer>,
    Sent(new): Sent<NewExport>,
) -> Result<Response, Problem> {
    if new.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Problem::of(Code::ReasonRequired)
            .detail("payloads leave unmasked: the record says why"));
    }
    export(app, who, peer, new, true).await
}

async fn export(
    app: App,
    who: Who,
    peer: Peer,
    new: NewExport,
    is_unmasked: bool,
) -> Result<Response, Problem> {
    let permit = app.exports.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::of(Code::Overloaded).detail("too many exports"))?;
    let wanted = Wanted {
        q: filter(new.q)?,
        limit: new.limit,
        max: new.max,
        is_unmasked,
        reason: new.reason,
        who: who.0.to_string(),
    };
    let selected = bundle::select(&app.store, &wanted).await?;
    let documents = documents(&app).await?;
    // On the record before anything leaves.
    app.store
        .note_exported(
            wanted.who.clone(),
            wanted.q.clone(),
            wanted.reason.clone(),
            is_unmasked,
            selected.count(),
        )
        .await
        .map_err(BundleError::from)?;
    peer.link.set_endless();
    let (chunks, receiver) = mpsc::channel(4);
    tokio::spawn(Exporting { app, wanted, chunks, _permit: permit }.run(selected, documents));
    let mut response = Response::new(Body::new(Chunks(receiver)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"relayflow-incident.tar.gz\""),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn documents(app: &App) -> Result<Documents, Problem> {
    Ok(Documents {
        stats: view::stats(&app.store).await?,
        queues: queues::seen(app).await?,
        workers: Some(queues::all_workers(app).await?),
        sources: Some(setup::sources_of(app)),
        workflows: Some(view::setup::workflows(&app.current.get())),
        providers: view::setup::providers(&app.current.get()),
        contracts: vec![],
        drift: vec![],
    })
}

/// One bundle on its way.
struct Exporting {
    app: App,
    wanted: Wanted,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

impl Exporting {
    async fn run(self, selected: Selected, documents: Documents) {
        let written = self.write(selected, documents).await;
        let sent = match written {
            Ok(file) => {
                let chunks = self.chunks.clone();
                let sending = tokio::task::spawn_blocking(move || send(file, &chunks));
                sending.await.unwrap_or_else(|e| Err(io::Error::other(e)))
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "a bundle could not be written");
                Err(io::Error::other("the bundle could not be written"))
            }
        };
        if let Err(error) = sent {
            // Nobody may be there to learn that it is cut off.
            let _ = self.chunks.send(Err(error)).await;
        }
    }

    async fn write(
        &self,
        selected: Selected,
        documents: Documents,
    ) -> Result<std::fs::File, BundleError> {
        let file = tempfile::tempfile().map_err(BundleError::Write)?;
        let config = self.app.config();
        let in_force = self.app.current.get();
        let around = Around {
            in_force: &in_force,
            documents,
            explained: &config.explained,
            redact: &config.redact,
            secrets: &config.fetched,
        };
        let written =
            bundle::write(&self.app.store, selected, &self.wanted, around, file, |_| {}).await?;
        Ok(written.1)
    }
}

fn send(mut file: std::fs::File, chunks: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    file.rewind()?;
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        chunk.truncate(read);
        if chunks.blocking_send(Ok(chunk.into())).is_err() {
            // Nobody reads on.
            return Ok(());
        }
    }
}

impl From<BundleError> for Problem {
    fn from(error: BundleError) -> Self {
        Self::from_error(error.code(), &error)
    }
}

/// Chunks as they come.
struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
