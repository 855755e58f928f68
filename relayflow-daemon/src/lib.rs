//! The daemon: ingestion, workers and the operator API in one process.
//!
//! [`serve`] is all of it, from opening the store to the end of a drain: what `relayflowd` and
//! `relayflow up` call. [`start()`] gives a running daemon to who shares its process (the demo, the
//! bench, tests). Everything that RelayFlow knows is in core; here is what listens.

mod app;
mod http;
mod learned;
mod metrics;
mod reload;
mod start;
mod tls;
mod token;

pub mod args;
pub mod logs;
pub mod signals;

/// The operator API as an OpenAPI document: every path, every wire type and its members.
#[must_use]
pub fn openapi() -> serde_json::Value {
    http::openapi::whole()
}

pub use crate::learned::learned_fingerprints;
pub use crate::reload::{Reload, in_force};
pub use crate::start::{Options, Running, ServeError, serve, start};
