//! From a configuration to a daemon that is ready, and to its end.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::clock::Clock;
use relayflow_core::config::{Config, Role, Token};
use relayflow_core::drift::Watcher;
use relayflow_core::egress::{Connector, Egress, Resolver};
use relayflow_core::execute::{self, Executor};
use relayflow_core::id::WorkerId;
use relayflow_core::in_force::Current;
use relayflow_core::ingest::Ingest;
use relayflow_core::keys::Keys;
use relayflow_core::reconcile::Reconciler;
use relayflow_core::replay;
use relayflow_core::secret::Secret;
use relayflow_core::store::{OpenOptions, Opened, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppState, State, TAILS_MAX};
use crate::http::Api;
use crate::http::auth::{Auth, is_loopback};
use crate::http::inbound::Inbound;
use crate::http::problem::chain;
use crate::http::server::{Limits, Server, Serving};
use crate::learned::Learned;
use crate::metrics::Metrics;
use crate::reload::{self, Reload};
use crate::tls;
use crate::token;

/// How long requests in flight have, out of a drain.
const REQUESTS_DRAIN: Duration = Duration::from_secs(5);
/// The most connections to the API.
const API_CONNECTIONS_MAX: usize = 256;
/// Descriptors that are left to store, workers and logs.
const DESCRIPTORS_KEPT: usize = 64;

/// What a daemon is started with.
pub struct Options {
    pub config: Config,
    /// Reads the configuration again on HUP; without it HUP changes nothing.
    pub reload: Option<Reload>,
    /// How long a stop may take in all.
    pub drain: Duration,
    /// Written, with the readiness line, once both listeners accept; removed at the end.
    pub ready_file: Option<PathBuf>,
}

/// Why a daemon did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be put in force; the text says what and where.
    #[error("{0}")]
    Config(String),
    #[error("cannot listen at {addr}")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the store {url}")]
    Store {
        url: String,
        #[source]
        source: StoreError,
    },
    #[error("cannot keep the token in `{}`", path.display())]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write the ready file `{}`", path.display())]
    ReadyFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The store failed while running: going on could only make it worse.
    #[error("the store failed: {0}")]
    StoreFailed(String),
}

impl ServeError {
    /// The exit code in which it ends (`cli.md`, 6).
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::Listen { .. } | Self::Store { .. } | Self::StoreFailed(_) => Exit::Unreachable,
            Self::Token { .. } | Self::ReadyFile { .. } | Self::Thread(_) => Exit::Error,
        }
    }

    /// The error and what caused it, in one line.
    #[must_use]
    pub fn whole(&self) -> String {
        chain(self)
    }
}

/// A daemon at work in this process. Dropping it stops nothing in order: call [`Running::stop`].
pub struct Running {
    pub ingest_addr: SocketAddr,
    pub api_addr: SocketAddr,
    /// A token with the role admin: the first configured one, else the one of the token file.
    pub admin_token: Option<Secret>,
    /// The line that says that it is ready.
    pub ready_line: String,
    pub(crate) app: App,
    ingest: Serving,
    api: Serving,
    executor: Executor,
    replays: JoinHandle<()>,
    stop_replays: CancellationToken,
    ready_file: Option<PathBuf>,
}

/// Runs a daemon until `shutdown` is cancelled, and drains it; HUP reloads.
///
/// # Errors
///
/// [`ServeError`], whose [`exit`](ServeError::exit) is the process's.
pub async fn serve(options: Options, shutdown: CancellationToken) -> Result<(), ServeError> {
    let drain = options.drain;
    let running = start(options).await?;
    announce(&running.ready_line);
    let mut failed = running.app.store.failed();
    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        failure = failed.wait_for(Option::is_some) => Some(match failure {
            Ok(text) => text.clone().unwrap_or_default(),
            Err(_) => "its writer is gone".to_owned(),
        }),
        never = reload::on_hangup(&running.app) => match never {},
    };
    if let Some(failure) = failure {
        // Nothing that is under way can be written down any more.
        running.abandon().await;
        return Err(ServeError::StoreFailed(failure));
    }
    tracing::info!("stopping");
    running.stop(drain).await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts a daemon: when this returns, both listeners accept, and what a dead process left behind is
/// settled. A port of 0 is any free one.
///
/// # Errors
///
/// As [`serve`].
pub async fn start(options: Options) -> Result<Running, ServeError> {
    let Options { config, reload, drain: _, ready_file } = options;
    let config = Arc::new(config);
    check_listeners(&config)?;
    let in_force = reload::in_force(&config).map_err(ServeError::Config)?;
    let (sources, workflows) = (in_force.sources.len(), in_force.workflows.list.len());
    let ingest_tls = config.ingest.tls.as_ref().map(tls::acceptor).transpose();
    let ingest_tls = ingest_tls.map_err(|error| ServeError::Config(error.to_string()))?;
    let api_tls = config.api.tls.as_ref().map(tls::acceptor).transpose();
    let api_tls = api_tls.map_err(|error| ServeError::Config(error.to_string()))?;
    let (ingest_listener, ingest_addr) = listen(config.ingest.listen).await?;
    let (api_listener, api_addr) = listen(config.api.listen).await?;

    let worker = WorkerId::next();
    let Opened { store, leased } = open(&config, worker).await?;
    reload::note(&store, sources, &in_force.workflows).await;
    let tokens = tokens(&config)?;
    let admin_token =
        tokens.iter().find(|token| token.role == Role::Admin).map(|token| token.token.clone());

    let current = Arc::new(Current::new(in_force));
    let executor = Executor::start(
        store.clone(),
        leased,
        Arc::clone(&current),
        config.egress.clone(),
        execute::Limits::default(),
    );
    executor.recovered().await;
    let lanes = executor.lanes();
    let watcher = config.drift.is_enabled.then(|| Watcher::start(store.clone())).transpose();
    let watcher = watcher.map_err(ServeError::Thread)?.map(Arc::new);
    let ingest = Arc::new(Ingest {
        store: store.clone(),
        current: Arc::clone(&current),
        lanes: Arc::clone(&lanes),
        digest_key: store.digest_key(),
        watcher,
        keys: Keys::new(Connector::new(Egress::new(&config.egress), Resolver::System)),
    });
    let stop_replays = CancellationToken::new();
    let replays = tokio::spawn(replay::run(Arc::clone(&ingest), stop_replays.clone()));

    let connector = Connector::new(Egress::new(&config.egress), Resolver::System);
    let reconciler = Reconciler::start(Arc::clone(&ingest), connector, stop_replays.clone());

    let app = Arc::new(AppState {
        started_at: store.clock().now(),
        store,
        ingest,
        reconciler,
        current,
        lanes,
        auth: Auth::new(&config.api, &tokens),
        metrics: Arc::new(Metrics::default()),
        worker,
        ingest_addr,
        api_addr,
        tails: Arc::new(Semaphore::new(TAILS_MAX)),
        exports: Arc::new(Semaphore::new(crate::http::export::EXPORTS_MAX)),
        learned: Arc::new(Learned::new(&config)),
        state: Arc::new(State::default()),
        reload,
        config: RwLock::new(Arc::clone(&config)),
    });
    app.learned.sweep(app.started_at);
    let (ingest_limits, api_limits) = limits(&config);
    let inbound = Inbound::new(Arc::clone(&app), &config.ingest);
    let metrics = || Arc::clone(&app.metrics);
    let ingest = Server {
        handler: Arc::new(inbound),
        limits: ingest_limits,
        tls: ingest_tls,
        metrics: metrics(),
    }
    .start(ingest_listener);
    let api = Server {
        handler: Arc::new(Api::new(Arc::clone(&app))),
        limits: api_limits,
        tls: api_tls,
        metrics: metrics(),
    }
    .start(api_listener);
    app.state.is_ready.store(true, Ordering::Release);

    let ready_line = ready_line(&config, ingest_addr, api_addr, (sources, workflows));
    if let Some(path) = &ready_file {
        let written = std::fs::write(path, format!("{ready_line}\n"));
        written.map_err(|source| ServeError::ReadyFile { path: path.clone(), source })?;
    }
    Ok(Running {
        ingest_addr,
        api_addr,
        admin_token,
        ready_line,
        app,
        ingest,
        api,
        executor,
        replays,
        stop_replays,
        ready_file,
    })
}

impl Running {
    /// Stops in order, within `drain`: nothing new, what is in flight gets its answer, what runs is
    /// finished or given back, and the store is closed.
    pub async fn stop(self, drain: Duration) {
        let until = Instant::now() + drain;
        self.app.state.stop.cancel();
        self.stop_replays.cancel();
        let requests = REQUESTS_DRAIN.min(drain / 6);
        tokio::join!(self.ingest.stop(requests), self.api.stop(requests));
        self.executor.drain(until.saturating_duration_since(Instant::now())).await;
        if let Err(error) = self.replays.await {
            tracing::error!(%error, "the replay runner ended in a panic");
        }
        self.app.reconciler.stopped().await;
        if let Some(watcher) = &self.app.ingest.watcher {
            watcher.flush().await;
        }
        if let Err(error) = self.app.store.close().await {
            tracing::error!(%error, "the store was not closed cleanly");
        }
        remove_ready_file(self.ready_file.as_deref());
    }

    /// Ends without waiting for anything that would need the store.
    async fn abandon(self) {
        self.app.state.stop.cancel();
        self.stop_replays.cancel();
        tokio::join!(self.ingest.stop(Duration::ZERO), self.api.stop(Duration::ZERO));
        remove_ready_file(self.ready_file.as_deref());
    }
}

fn remove_ready_file(path: Option<&Path>) {
    if let Some(path) = path
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(%error, "the ready file could not be removed");
    }
}

/// Tokens and payloads go over the API: off this machine only through TLS, or a proxy that has it.
fn check_listeners(config: &Config) -> Result<(), ServeError> {
    let api = &config.api;
    if is_loopback(api.listen.ip()) || api.tls.is_some() || api.behind_proxy {
        return Ok(());
    }
    Err(ServeError::Config(format!(
        "api.listen {} can be reached from other machines: give api.tls, or set \
         api.behind_proxy = true where a proxy in front has it",
        api.listen
    )))
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = TcpListener::bind(addr).await;
    let listener = listener.map_err(|source| ServeError::Listen { addr, source })?;
    let addr = listener.local_addr().map_err(|source| ServeError::Listen { addr, source })?;
    Ok((listener, addr))
}

async fn open(config: &Config, worker: WorkerId) -> Result<Opened, ServeError> {
    let options = OpenOptions { url: config.store.url.clone(), worker, clock: Clock::Wall };
    let store_error = |source| ServeError::Store { url: store_label(&config.store.url), source };
    Store::open(options).await.map_err(store_error)
}

/// The configured tokens, or the one of the token file.
pub(crate) fn tokens(config: &Config) -> Result<Vec<Token>, ServeError> {
    if !config.api.tokens.is_empty() {
        return Ok(config.api.tokens.clone());
    }
    let path = token::path(config);
    let token = token::keep(&path).map_err(|source| ServeError::Token { path, source })?;
    Ok(vec![Token { name: "admin".to_owned(), role: Role::Admin, token }])
}

/// What both listeners allow. Few descriptors mean fewer connections, so that store and workers
/// always have theirs.
fn limits(config: &Config) -> (Limits, Limits) {
    let usable =
        descriptors().map_or(usize::MAX, |all| all.saturating_sub(DESCRIPTORS_KEPT).max(16));
    let per_address = config.ingest.connections_per_address_max;
    let ingest = Limits {
        half_close: true,
        ..Limits::new(
            config.ingest.connections_max.min(usable / 2),
            (!config.ingest.behind_proxy).then_some(per_address),
        )
    };
    let api = Limits::new(
        API_CONNECTIONS_MAX.min(usable / 4),
        (!config.api.behind_proxy).then_some(per_address),
    );
    (ingest, api)
}

/// How many files this process may open, where the system says so.
fn descriptors() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ready_line(
    config: &Config,
    ingest: SocketAddr,
    api: SocketAddr,
    (sources, workflows): (usize, usize),
) -> String {
    let scheme = |is_tls| if is_tls { "https" } else { "http" };
    format!(
        "relayflow {} ready  ingest {}://{ingest}/in/{{source}}  api {}://{api}  store {}  \
         sources {sources}  workflows {workflows}",
        env!("CARGO_PKG_VERSION"),
        scheme(config.ingest.tls.is_some()),
        scheme(config.api.tls.is_some()),
        store_label(&config.store.url),
    )
}

/// One line on stderr, whatever the log is.
fn announce(line: &str) {
    // Who closed stderr does not read this either.
    let _ = writeln!(io::stderr(), "{line}");
}

/// The store's URL to show: without a password, and a path under the working directory as from
/// there.
pub(crate) fn store_label(url: &str) -> String {
    let Some(path) = url.strip_prefix("sqlite:") else {
        return match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
            _ => url.to_owned(),
        };
    };
    let here = std::env::current_dir().unwrap_or_default();
    match Path::new(path).strip_prefix(&here) {
        Ok(short) if !here.as_os_str().is_empty() => format!("sqlite:{}", short.display()),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_shown_without_its_password() {
        let here = std::env::current_dir().unwrap();
        for (url, shown) in [
            ("sqlite:/var/lib/x.db", "sqlite:/var/lib/x.db"),
            (&format!("sqlite:{}", here.join("relayflow.db").display()), "sqlite:relayflow.db"),
            ("postgres://u:p@host/db", "postgres://…@host/db"),
            ("postgres://host/db", "postgres://host/db"),
        ] {
            assert_eq!(store_label(url), shown);
        }
    }

    #[test]
    fn errors_end_in_their_exit() {
        assert_eq!(ServeError::Config(String::new()).exit(), Exit::Usage);
        assert_eq!(ServeError::StoreFailed(String::new()).exit(), Exit::Unreachable);
    }
}
