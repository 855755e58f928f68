//! Kept connections, each driven by the call that uses it.
//!
//! hyper's own pooled client gives every connection a spawned task, so that a call crosses between
//! tasks, and often between threads, four times. Here the call polls its connection itself, and an
//! idle one is polled when it is taken up again, which is when its end matters.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_rustls::{
    ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service as _;

use super::HEAD_BYTES_MAX;
use crate::egress::{ConnectError, Connector};
use crate::execute::lanes::now;

/// Idle connections that are kept per destination, and for how long: many servers close theirs after
/// 5 s, and a request that meets such a close is a failed attempt for nothing.
const IDLE_MAX: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(4);

type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no TLS connection")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no HTTP connection")]
    Http(#[from] hyper::Error),
}

/// Why a request was not answered.
#[derive(Debug)]
pub(super) enum AskError {
    Open(OpenError),
    Http(hyper::Error),
}

/// The connections to all destinations.
pub(super) struct Pool {
    connector: Connector,
    /// Made when it is first used: reading the system's certificates takes a while.
    pub(super) https: OnceLock<HttpsConnector<Connector>>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    plain: HashMap<Authority, Vec<(Link, Instant)>>,
    tls: HashMap<Authority, Vec<(Link, Instant)>>,
}

impl Idle {
    fn of(&mut self, scheme: &Scheme) -> &mut HashMap<Authority, Vec<(Link, Instant)>> {
        if *scheme == Scheme::HTTPS { &mut self.tls } else { &mut self.plain }
    }
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, https: OnceLock::new(), idle: Mutex::default() }
    }

    /// Sends `request`, on a kept connection if there is one. A kept one that turns out to have
    /// ended before anything was sent costs nothing: the request goes out on a new one.
    pub(super) async fn ask(
        &self,
        scheme: &Scheme,
        authority: &Authority,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Link), AskError> {
        while let Some(mut link) = self.take(scheme, authority) {
            if !link.is_alive().await {
                continue;
            }
            match link.send(request).await {
                Ok(response) => return Ok((response, link)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(AskError::Http(error.into_error())),
                },
            }
        }
        let mut link = self.open(scheme, authority).await.map_err(AskError::Open)?;
        match link.send(request).await {
            Ok(response) => Ok((response, link)),
            Err(error) => Err(AskError::Http(error.into_error())),
        }
    }

    /// Keeps a connection whose answer was read to its end, if it can bear another request.
    pub(super) async fn keep(&self, scheme: &Scheme, authority: &Authority, mut link: Link) {
        if !link.is_alive().await || !link.sender.is_ready() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let of = idle.of(scheme);
        match of.get_mut(authority) {
            Some(links) if IDLE_MAX <= links.len() => {}
            Some(links) => links.push((link, now())),
            None => drop(of.insert(authority.clone(), vec![(link, now())])),
        }
    }

    /// Closes what has been idle for long.
    pub(super) fn tidy(&self) {
        let now = now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Idle { plain, tls } = &mut *idle;
        for of in [plain, tls] {
            of.retain(|_, links| {
                links.retain(|(_, since)| now.saturating_duration_since(*since) < IDLE_FOR);
                !links.is_empty()
            });
        }
    }

    /// The connection that was used last, so that those that are not needed grow old.
    fn take(&self, scheme: &Scheme, authority: &Authority) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let links = idle.of(scheme).get_mut(authority)?;
        let (link, since) = links.pop()?;
        if IDLE_FOR <= now().saturating_duration_since(since) {
            // The rest is older still.
            links.clear();
            return None;
        }
        Some(link)
    }

    async fn open(&self, scheme: &Scheme, authority: &Authority) -> Result<Link, OpenError> {
        let uri = Uri::builder().scheme(scheme.clone()).authority(authority.clone());
        let uri = uri.path_and_query("/").build().map_err(|_| ConnectError::NoHost)?;
        let io: Io = if *scheme == Scheme::HTTPS {
            let connector = self.https.get_or_init(|| over_tls(tls(), self.connector.clone()));
            connector.clone().call(uri).await.map_err(|error| {
                match error.downcast::<ConnectError>() {
                    Ok(error) => OpenError::Connect(*error),
                    Err(error) => OpenError::Tls(error),
                }
            })?
        } else {
            MaybeHttpsStream::Http(self.connector.clone().call(uri).await?)
        };
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX).max_header_size(HEAD_BYTES_MAX);
        let (sender, connection) = http.handshake(io).await?;
        Ok(Link { sender, connection, is_over: false })
    }
}

/// One connection.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: http1::Connection<Io, Full<Bytes>>,
    is_over: bool,
}

impl Link {
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let sending = self.sender.try_send_request(request);
        drive(&mut self.connection, &mut self.is_over, sending).await
    }

    /// Waits for `what`, which this connection brings about.
    pub(super) async fn until<T>(&mut self, what: impl Future<Output = T>) -> T {
        drive(&mut self.connection, &mut self.is_over, what).await
    }

    /// Lets the connection see what has come since it was last looked at.
    async fn is_alive(&mut self) -> bool {
        std::future::poll_fn(|context| {
            if !self.is_over {
                self.is_over = Pin::new(&mut self.connection).poll(context).is_ready();
            }
            Poll::Ready(!self.is_over && !self.sender.is_closed())
        })
        .await
    }
}

/// Waits for `what` while the connection is driven. How a connection ended is told to the request
/// and the body that were on it.
async fn drive<T>(
    connection: &mut http1::Connection<Io, Full<Bytes>>,
    is_over: &mut bool,
    what: impl Future<Output = T>,
) -> T {
    let mut what = pin!(what);
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = what.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if *is_over {
            return Poll::Pending;
        }
        *is_over = Pin::new(&mut *connection).poll(context).is_ready();
        what.as_mut().poll(context)
    })
    .await
}

pub(super) fn over_tls(
    config: rustls::ClientConfig,
    connector: Connector,
) -> HttpsConnector<Connector> {
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .wrap_connector(connector)
}

/// TLS 1.2 and 1.3, trusting whom the system trusts. On a system that trusts nobody every call
/// fails, and says why.
pub(crate) fn tls() -> rustls::ClientConfig {
    let provider = rustls::crypto::ring::default_provider();
    let builder = rustls::ClientConfig::builder_with_provider(provider.into())
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
