//! `relayflow.toml` as meant: checked, with defaults, environment and units resolved.
//!
//! A file is read whole, and every mistake in it is told with its place. Defaults are the example
//! file, which is compiled in. Secrets are fetched here; no diagnostic shows one.

mod load;
mod reader;
mod reconcile;
mod secrets;
mod settings;
mod units;
mod workflows;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::SignedDuration;

use crate::backoff::Backoff;
use crate::secret::Secret;
use crate::workflow::Workflows;

pub use load::{CONFIG_VARIABLE, Overrides};
pub use reader::{Explained, ExplainedFrom, env_name};
pub use secrets::fingerprint;
pub(crate) use secrets::is_secret_name;

/// Every setting with its default and a comment: the defaults themselves, the reference page, and
/// what `relayflow init` starts from.
pub const EXAMPLE: &str = include_str!("../../relayflow.example.toml");

/// The whole configuration, as meant.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from; `None` for built-in defaults.
    pub path: Option<PathBuf>,
    /// SHA-256 of the file's text, as hexadecimal digits: whether it is the same file still.
    pub digest: String,
    /// What relative paths in it are relative to.
    pub dir: PathBuf,
    /// The CLI's context in this folder.
    pub context: Option<String>,
    pub store: StoreConfig,
    pub ingest: IngestConfig,
    pub api: ApiConfig,
    pub egress: EgressConfig,
    pub drift: DriftConfig,
    /// `[retry]`: what a step has that says nothing of its own.
    pub retry: Backoff,
    pub providers_dir: Option<PathBuf>,
    pub sources: Vec<SourceConfig>,
    pub workflows: Arc<Workflows>,
    /// By source: the members of its payloads, beside those that always are, that are masked in what
    /// leaves this machine.
    pub redact: std::collections::BTreeMap<String, Vec<String>>,
    /// Every secret in it, whatever it is for: what must not leave.
    pub fetched: Vec<Secret>,
    /// Every setting in force and where it was found, by key; no secret is among them.
    pub explained: Vec<Explained>,
    /// The keys of settings that there are, and that nothing sets.
    pub unset: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `sqlite:PATH`, the path made absolute.
    pub url: String,
    pub unsafe_durability: bool,
}

#[derive(Debug, Clone)]
pub struct IngestConfig {
    pub listen: SocketAddr,
    /// What vendors call, without a trailing slash.
    pub public_url: Option<String>,
    pub behind_proxy: bool,
    pub tls: Option<Tls>,
    /// The largest body that is read, in bytes; a provider's definition may allow more.
    pub body_bytes_max: usize,
    /// Bodies held in memory at once, in bytes and in requests.
    pub bodies_bytes_max: usize,
    pub requests_max: usize,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
}

#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub listen: SocketAddr,
    pub public_url: Option<String>,
    pub behind_proxy: bool,
    pub tls: Option<Tls>,
    /// Empty: a random admin token beside the store.
    pub tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub name: String,
    pub role: Role,
    pub token: Secret,
}

/// What a token may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Destinations that are not public addresses.
    pub allow: Vec<IpNet>,
}

#[derive(Debug, Clone)]
pub struct DriftConfig {
    /// Whether what comes is held against its contract.
    pub is_enabled: bool,
}

/// One configured endpoint.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    pub name: String,
    pub provider: String,
    /// Resolved, none empty. Empty only where the provider's scheme is `none`.
    pub secrets: Vec<Secret>,
    /// `None`: as the provider's definition has it.
    pub tolerance: Option<Tolerance>,
    /// Whole URL that the vendor calls; else `ingest.public_url` and the path.
    pub public_url: Option<String>,
    /// What the provider's definition declares.
    pub settings: std::collections::BTreeMap<String, String>,
    /// Equal bytes are separate events.
    pub accept_identical: bool,
    /// How long an equal body without an id is a duplicate.
    pub derived_window: SignedDuration,
    /// Access to the vendor's API, to compare with what it says it sent.
    pub reconcile: Option<ReconcileConfig>,
}

/// `[sources.NAME.reconcile]`
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// Where the API is, if not where the provider's definition has it.
    pub base_url: Option<String>,
    pub token: Secret,
    /// What the definition's path wants to be told.
    pub params: std::collections::BTreeMap<String, String>,
    /// The types that the vendor was told to send; none are all.
    pub types: Vec<String>,
}

/// How far a signed time may lie from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    Off,
    Within(SignedDuration),
}

#[cfg(test)]
mod tests;
