//! Queues, workers and numbers.

use clap::{Args, Subcommand};
use jiff::SignedDuration;

use super::groups::{Act, ListArgs};
use super::nouns::Noun;
use super::values;

pub(crate) type QueueCmd = Noun<QueueVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueVerb {
    /// All of them: what waits, how fast it goes, what holds it up.
    #[command(
        aliases = ["list", "stats"],
        before_long_help = "\
relayflow queue ls
relayflow queue ls -w"
    )]
    Ls(ListArgs),
    /// One, by its name.
    #[command(
        aliases = ["get", "describe"],
        before_long_help = "relayflow queue show api.example.com"
    )]
    Show(QueueName),
    /// Start nothing new for it; what is under way ends, what comes in waits.
    #[command(before_long_help = "\
relayflow queue pause api.example.com --for 30m --reason \"they deploy\"
relayflow queue pause ci.internal --indefinitely --reason \"moved\" --yes=prod")]
    Pause(PauseArgs),
    /// Go on, now.
    #[command(
        before_long_help = "relayflow queue resume api.example.com --reason \"they are done\""
    )]
    Resume(ResumeQueue),
}

#[derive(Debug, Args)]
pub(crate) struct QueueName {
    /// A queue: the destination whose tasks wait in it.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[group(id = "length", required = true, args = ["for", "indefinitely"])]
pub(crate) struct PauseArgs {
    /// A queue: the destination whose tasks wait in it.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// It goes on by itself after so long.
    #[arg(long, value_name = "DUR", value_parser = values::pause)]
    pub(crate) r#for: Option<String>,
    /// Until somebody resumes it.
    #[arg(long)]
    pub(crate) indefinitely: bool,
    #[command(flatten)]
    pub(crate) act: Act,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeQueue {
    /// A queue: the destination whose tasks wait in it.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Who executes what.
pub(crate) type WorkersCmd = Noun<WorkersVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum WorkersVerb {
    /// All of them.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow workers ls
relayflow workers ls -w"
    )]
    Ls(ListArgs),
    /// One, with the tasks that it holds.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow workers show wrk_01J9ZC4K")]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Of one destination or one replay: how long its attempts took, and how often they were
    /// repeated.
    #[arg(long, value_name = "DEST|rpl_ID", conflicts_with_all = ["watch", "by"])]
    pub(crate) of: Option<String>,
    /// What came and went since then: at most 1h; with `--of` a destination, 24h.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = values::pause,
          help_heading = "Selection")]
    pub(crate) since: String,
    /// A row for each.
    #[arg(long, value_name = "FIELD", value_parser = ["source", "workflow", "dest"])]
    pub(crate) by: Option<String>,
    /// Again every so often.
    #[arg(short, long, value_name = "DUR", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = values::duration)]
    pub(crate) watch: Option<SignedDuration>,
}
