//! A listener and its connections, with our own limits: axum's server has none.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use relayflow_core::api::codes::Code;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{Answered, Body};
use super::guard::{FIELDS_MAX, Guard, HEAD_BYTES_MAX, Link, Times};
use super::problem::Problem;
use crate::metrics::Metrics;

/// How long an accept that failed (no descriptors) waits before the next.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How often a connection that is over its time is looked at again.
const OVERDUE: Duration = Duration::from_secs(1);

/// What a listener allows.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) times: Times,
    /// A whole connection. An answer in progress is finished, for at most as long again.
    pub(crate) connection: Duration,
    pub(crate) connections_max: usize,
    /// Per address that is not loopback; `None` behind a proxy.
    pub(crate) per_address_max: Option<usize>,
    /// Whether a sender that has closed its end still gets its answer. Where answers can be endless,
    /// the close is what ends them.
    pub(crate) half_close: bool,
}

impl Limits {
    /// The limits of `guarantees.md`, 10.
    pub(crate) fn new(connections_max: usize, per_address_max: Option<usize>) -> Self {
        Self {
            times: Times {
                head: Duration::from_secs(5),
                idle: Duration::from_secs(30),
                stall: Duration::from_secs(30),
                leave: Duration::from_secs(2),
            },
            connection: Duration::from_secs(60),
            connections_max,
            per_address_max,
            half_close: false,
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) link: Arc<Link>,
}

/// What answers requests. It has no say over connections.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// A listener with its handler.
pub(crate) struct Server<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A server at work.
pub(crate) struct Serving {
    stop: CancellationToken,
    abort: CancellationToken,
    connections: TaskTracker,
}

impl Serving {
    /// No new connections, idle ones closed at once, and `within` for what is in flight.
    pub(crate) async fn stop(self, within: Duration) {
        self.stop.cancel();
        self.connections.close();
        if timeout(within, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "cut off what did not end in time"
            );
        }
        self.abort.cancel();
        self.connections.wait().await;
    }
}

impl<H: Handler> Server<H> {
    /// Accepts from now on.
    pub(crate) fn start(self, listener: TcpListener) -> Serving {
        let serving = Serving {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let accepting = Accepting {
            server: Arc::new(self),
            places: Arc::default(),
            stop: serving.stop.clone(),
            abort: serving.abort.clone(),
            connections: serving.connections.clone(),
        };
        serving.connections.spawn(accepting.run(listener));
        serving
    }
}

struct Accepting<H> {
    server: Arc<Server<H>>,
    places: Arc<Places>,
    stop: CancellationToken,
    abort: CancellationToken,
    connections: TaskTracker,
}

impl<H: Handler> Accepting<H> {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, addr)) => self.take(stream, addr),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, addr: SocketAddr) {
        let limits = &self.server.limits;
        let place = match Place::take(&self.places, addr.ip(), limits) {
            Ok(place) => place,
            Err(code) => return self.turn_away(&stream, code),
        };
        let Ok(local) = stream.local_addr() else { return };
        // A socket that cannot do this serves all the same, only later.
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&self.server);
        let (stop, abort) = (self.stop.clone(), self.abort.clone());
        self.connections.spawn(async move {
            let _place = place;
            tokio::select! {
                () = abort.cancelled() => {}
                () = server.converse(stream, addr, local, stop) => {}
            }
        });
    }

    /// One try to say why, and the end. Nothing is kept for a connection that is too many.
    fn turn_away(&self, stream: &TcpStream, code: Code) {
        self.server.metrics.connections_refused.inc();
        if self.server.tls.is_none() {
            let _ = stream.try_write(&Problem::of(code).wire());
        }
    }
}

impl<H: Handler> Server<H> {
    async fn converse(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        local: SocketAddr,
        stop: CancellationToken,
    ) {
        let link = Arc::new(Link::default());
        let peer = Peer { addr, local, link };
        let times = self.limits.times;
        match &self.tls {
            None => self.serve(Guard::new(stream, peer.link.clone(), times), &peer, stop).await,
            Some(tls) => {
                let Ok(Ok(stream)) = timeout(times.head, tls.accept(stream)).await else { return };
                self.serve(Guard::new(stream, peer.link.clone(), times), &peer, stop).await;
            }
        }
    }

    async fn serve<S>(&self, guard: Guard<S>, peer: &Peer, stop: CancellationToken)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let service = service_fn(|request| self.call(request, peer));
        let connection = http1::Builder::new()
            // The guard keeps the time of heads, and knows an idle connection from a slow one.
            .header_read_timeout(None)
            .half_close(self.limits.half_close)
            .max_buf_size(HEAD_BYTES_MAX * 2)
            .max_headers(FIELDS_MAX)
            .serve_connection(TokioIo::new(guard), service);
        let mut connection = pin!(connection);
        let link = &peer.link;

        let over = Instant::now() + self.limits.connection;
        let cut_off = over + self.limits.connection;
        let mut look = over;
        let mut is_stopping = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error = %super::problem::chain(&error), "a connection ended early");
                    }
                    return;
                }
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(look) => {
                    // The next answer says that it is the last, so that no request is met by a
                    // close; only who asks nothing more is closed on.
                    let was_told = link.is_last();
                    link.set_last();
                    if was_told && !link.is_busy() {
                        connection.as_mut().graceful_shutdown();
                    }
                    let now = Instant::now();
                    if cut_off <= now && !link.is_endless() {
                        return;
                    }
                    look = now + OVERDUE;
                }
            }
        }
    }

    async fn call(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Result<Response<Answered>, Infallible> {
        let mut answer = pin!(self.handler.answer(request, peer));
        // A handler shares only what is whole between two statements (locks, counters), and is never
        // polled again. The hook has logged the panic.
        let caught =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(_) => {
                    self.metrics.panics.inc();
                    Poll::Ready(Problem::of(Code::Internal).answer())
                }
            });
        let mut response = caught.await;
        if peer.link.is_last() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Answered::new(body, peer.link.clone())))
    }
}

/// How many connections there are, in all and per address.
#[derive(Default)]
struct Places {
    all: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place, given back when it is dropped.
struct Place {
    places: Arc<Places>,
    counted: Option<IpAddr>,
}

impl Place {
    fn take(places: &Arc<Places>, ip: IpAddr, limits: &Limits) -> Result<Self, Code> {
        if limits.connections_max <= places.all.fetch_add(1, Ordering::Relaxed) {
            places.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Code::Overloaded);
        }
        let mut place = Self { places: Arc::clone(places), counted: None };
        let ip = network(ip);
        if let Some(most) = limits.per_address_max.filter(|_| !ip.is_loopback()) {
            let mut by_address = lock(&places.by_address);
            let count = by_address.entry(ip).or_default();
            if most <= *count {
                return Err(Code::TooManyFailures);
            }
            *count += 1;
            place.counted = Some(ip);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(ip) = self.counted {
            let mut by_address = lock(&self.places.by_address);
            if let Some(count) = by_address.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&ip);
                }
            }
        }
    }
}

/// What counts as one address: one of version 4, or a network of version 6 that is handed out whole.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !(u128::MAX >> 64)))
        }
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    }
}

/// A lock that a panic elsewhere does not close: what it holds is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
