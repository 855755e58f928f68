//! `relayflow bench`.

use clap::Args;
use jiff::SignedDuration;

use super::values;

#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// A server to load, such as `http://127.0.0.1:8787/in/stripe`; else a daemon of its own.
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// So many events [20,000 unless there is a duration].
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Connections; each sends its next request when it has its answer.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) concurrency: u32,
    /// Open loop: so many a second, latency from the intended send time.
    #[arg(long, value_name = "N/s", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
    /// For so long.
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub(crate) duration: Option<SignedDuration>,
    /// This share of the requests repeats an earlier event.
    #[arg(long, value_name = "N%", value_parser = values::percent)]
    pub(crate) duplicates: Option<f64>,
    /// This share of the destination's answers is a 503.
    #[arg(long, value_name = "N%", value_parser = values::percent)]
    pub(crate) fail: Option<f64>,
    /// The secret that `--target` verifies with.
    #[arg(long, value_name = "NAME", help = "The environment variable with the target's secret")]
    pub(crate) secret_env: Option<String>,
    /// Leave out the workflow: receive only.
    #[arg(long, conflicts_with = "target")]
    pub(crate) ingest_only: bool,
    /// What drift detection costs: rounds with and without it, in turn.
    #[arg(long, conflicts_with = "target")]
    pub(crate) drift: bool,
    /// What the TUI's promises come to: frames, keys, memory.
    #[arg(long, conflicts_with_all = ["target", "drift"])]
    pub(crate) tui: bool,
    /// What a replay costs live traffic: rounds with one under way and without, in turn.
    #[arg(long, conflicts_with_all = ["target", "drift", "tui", "ingest_only", "count", "fail"])]
    pub(crate) replay: bool,
    /// Dead letters that are replayed.
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "replay")]
    pub(crate) dead: u64,
    /// How many rounds of each, with --drift and --replay.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) rounds: u32,
    /// Where its store lies while it runs [a temporary folder].
    #[arg(long, value_name = "DIR", conflicts_with = "target")]
    pub(crate) dir: Option<std::path::PathBuf>,
}
