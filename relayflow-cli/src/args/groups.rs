//! Groups of flags that several commands share. No command has a copy of its own.

use clap::Args;
use jiff::SignedDuration;

use super::values::{self, StopAfter, Yes};

/// Which ones.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Select {
    /// `field:value`, an id, or `-` for ids on stdin; several are joined with spaces.
    #[arg(value_name = "TERM", help_heading = "Arguments")]
    pub(crate) terms: Vec<String>,
    /// `source:`
    #[arg(short, long, value_name = "A,B")]
    pub(crate) source: Option<String>,
    /// `type:`
    #[arg(short = 't', long = "type", value_name = "A,B")]
    pub(crate) event_type: Option<String>,
    /// `status:`
    #[arg(long, value_name = "A,B")]
    pub(crate) status: Option<String>,
    /// `workflow:`
    #[arg(long, value_name = "A,B")]
    pub(crate) workflow: Option<String>,
    /// Received at or after.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Received before.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// How much of a list, and how.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Listing")]
pub(crate) struct ListArgs {
    /// At most so many.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Every page.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// By this field; `-FIELD` descends.
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// Go on behind a page: its `next_cursor`.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Exit 9 if there is none.
    #[arg(long)]
    pub(crate) fail_empty: bool,
    /// Again every so often.
    #[arg(short, long, value_name = "DUR", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = values::duration)]
    pub(crate) watch: Option<SignedDuration>,
}

/// Before something is done.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Safety")]
pub(crate) struct Act {
    /// Only say what would happen.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask; `--yes=CONTEXT` for a protected one.
    #[arg(short, long, value_name = "CONTEXT", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = values::yes)]
    pub(crate) yes: Option<Yes>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Refuse if there are more.
    #[arg(long, value_name = "N")]
    pub(crate) max: Option<u64>,
    /// Really everything: no `--since` is needed.
    #[arg(long)]
    pub(crate) all_time: bool,
    /// The oldest N.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// How a job runs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Job")]
pub(crate) struct Job {
    /// Items per second.
    #[arg(long, value_name = "N/s", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
    /// Items at once.
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,
    /// First only N, and stop unless all of them succeed.
    #[arg(long, value_name = "N")]
    pub(crate) canary: Option<u64>,
    /// Pause the job after so many failures.
    #[arg(long, value_name = "N|N%", value_parser = values::stop_after)]
    pub(crate) stop_after: Option<StopAfter>,
    /// Stay until it has ended.
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = values::wait)]
    pub(crate) wait: Option<values::Wait>,
}
