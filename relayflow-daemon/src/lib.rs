<<<<<<< HEAD
//! The daemon: ingestion, workers and the operator API in one process.
//!
//! [`serve`] is all of it, from opening the store to the end of a drain: what `relayflowd` and
//! `relayflow up` call. [`start()`] gives a running daemon to who shares its process (the demo, the
//! bench, tests). Everything that RelayFlow knows is in core; here is what listens.

mod app;
mod http;
mod metrics;
mod reload;
mod start;
mod tls;
mod token;

pub mod args;
pub mod logs;
pub mod signals;

pub use crate::reload::Reload;
pub use crate::start::{Options, Running, ServeError, serve, start};
=======
//! stub
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use relayflow_core::api::codes::Exit;
use relayflow_core::config::Config;
use relayflow_core::diagnostic::Diagnostic;
use relayflow_core::secret::Secret;
use tokio_util::sync::CancellationToken;
pub type Reload = Box<dyn Fn() -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync>;
pub mod args {
    use super::*;
    /// Where and how the daemon runs.
    #[derive(Debug, Clone, clap::Args)]
    pub struct UpArgs {
        /// The configuration [default: RELAYFLOW_DAEMON_CONFIG, ./relayflow.toml, /etc/relayflow/relayflow.toml]
        #[arg(long, value_name = "FILE")] pub config: Option<PathBuf>,
        /// Where vendors' requests come in [default: 127.0.0.1:8787]
        #[arg(long, value_name = "ADDR")] pub listen: Option<String>,
        /// Where the operator API listens [default: 127.0.0.1:8788]
        #[arg(long, value_name = "ADDR")] pub api: Option<String>,
        /// For trying things out: more in the log
        #[arg(long)] pub dev: bool,
        /// Written once it is ready, removed when it ends
        #[arg(long, value_name = "PATH")] pub ready_file: Option<PathBuf>,
        /// How log records are written to stderr
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = super::logs::Format::Text)] pub log_format: super::logs::Format,
    }
    impl UpArgs {
        pub fn log_default(&self) -> &'static str { "info" }
        pub fn options(self, _db: Option<String>) -> Result<(Options, Vec<Diagnostic>), Vec<Diagnostic>> { Err(vec![]) }
    }
}
pub mod logs {
    #[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
    pub enum Format { Text, Json }
    pub fn start(_: Format, _: &str) {}
}
pub mod signals { pub fn stop_token() -> std::io::Result<tokio_util::sync::CancellationToken> { Ok(Default::default()) } }
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ServeError;
impl ServeError { pub fn exit(&self) -> Exit { Exit::Error } pub fn whole(&self) -> String { String::new() } }
pub struct Options { pub config: Config, pub reload: Option<Reload>, pub drain: Duration, pub ready_file: Option<PathBuf> }
pub struct Running { pub ingest_addr: SocketAddr, pub api_addr: SocketAddr, pub admin_token: Option<Secret>, pub ready_line: String }
impl Running { pub async fn stop(self, _: Duration) { } }
pub async fn start(_: Options) -> Result<Running, ServeError> { Err(ServeError) }
pub async fn serve(_: Options, _: CancellationToken) -> Result<(), ServeError> { Err(ServeError) }
>>>>>>> refs/heads/cli
