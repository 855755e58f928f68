//! The arguments of `relayflowd` and `relayflow up`, which are the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use relayflow_core::config::{Config, Overrides};
use relayflow_core::diagnostic::Diagnostic;

use crate::logs::Format;
use crate::reload::Reload;
use crate::start::Options;

/// Where and how the daemon runs.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// The configuration [default: RELAYFLOW_DAEMON_CONFIG, ./relayflow.toml, /etc/relayflow/relayflow.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where vendors' requests come in [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where the operator API listens [default: 127.0.0.1:8788]
    #[arg(long, value_name = "ADDR")]
    pub api: Option<String>,
    /// For trying things out: more in the log
    #[arg(long)]
    pub dev: bool,
    /// How long a stop may take in all
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    pub drain: Duration,
    /// Written once it is ready, removed when it ends
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// How log records are written to stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
}

impl UpArgs {
    /// What the log shows if `RELAYFLOW_LOG` does not say.
    #[must_use]
    pub fn log_default(&self) -> &'static str {
        if self.dev { "info,relayflow_core=debug,relayflow_daemon=debug" } else { "info,sqlx=warn" }
    }

    /// Reads the configuration; `db` is `--db`. The second part are warnings.
    ///
    /// # Errors
    ///
    /// Every mistake in it.
    pub fn options(
        self,
        db: Option<String>,
    ) -> Result<(Options, Vec<Diagnostic>), Vec<Diagnostic>> {
        let overrides = Overrides { listen: self.listen, api: self.api, db };
        let file = self.config;
        let load = move || load(file.as_deref(), &overrides);
        let (config, warnings) = load()?;
        let reload: Reload = Arc::new(load);
        let options = Options {
            config,
            reload: Some(reload),
            drain: self.drain,
            ready_file: self.ready_file,
        };
        Ok((options, warnings))
    }
}

fn load(
    file: Option<&Path>,
    overrides: &Overrides,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    Config::load(file, overrides, &|name| std::env::var(name).ok())
}

/// `90s`, `5m`, `1h`, or several of them: `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| format!("`{text}` is not a time such as 30s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_a_time() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "30", "-1s", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
