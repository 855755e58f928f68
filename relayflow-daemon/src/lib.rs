//! stub
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use relayflow_core::api::codes::Exit;
use relayflow_core::config::Config;
use relayflow_core::secret::Secret;
/// Starting the daemon.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// The daemon's configuration.
    #[arg(long)] pub config: Option<PathBuf>,
    #[arg(long)] pub listen: Option<String>,
    #[arg(long)] pub api: Option<String>,
    #[arg(long)] pub db: Option<String>,
    #[arg(long)] pub dev: bool,
    #[arg(long)] pub drain: Option<String>,
    #[arg(long)] pub ready_file: Option<PathBuf>,
}
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ServeError;
impl ServeError { pub fn exit(&self) -> Exit { Exit::Error } }
pub async fn up(_: UpArgs) -> Result<(), ServeError> { Err(ServeError) }
pub struct Options { pub config: Config, pub drain: Duration, pub ready_file: Option<PathBuf> }
pub struct Running { pub ingest_addr: SocketAddr, pub api_addr: SocketAddr, pub admin_token: Secret }
impl Running { pub async fn stop(self) -> Result<(), ServeError> { Ok(()) } }
pub async fn start(_: Options) -> Result<Running, ServeError> { Err(ServeError) }
