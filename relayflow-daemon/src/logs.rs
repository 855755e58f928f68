//! Logs: one line per record on stderr, as text or as JSON.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Begins to log. What is logged is `RELAYFLOW_LOG` in the syntax of `tracing`'s filters, else
/// `default`. A panic is one record too.
pub fn start(format: Format, default: &str) {
    let filter =
        EnvFilter::try_from_env("RELAYFLOW_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(false)
        .with_writer(io::stderr);
    // A second subscriber, as two tests in one process would have, is not an error.
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no text");
        tracing::error!(at, what, "a panic, which is a bug");
    }));
}
