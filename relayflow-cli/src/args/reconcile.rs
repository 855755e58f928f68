//! `relayflow reconcile`.

use clap::Args;

use super::groups::Act;

#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// The source, as the config names it.
    #[arg(value_name = "SOURCE", required_unless_present = "plan")]
    pub(crate) source: Option<String>,
    /// Go on with this comparison.
    #[arg(long, value_name = "PLAN",
          conflicts_with_all = ["source", "since", "until", "event_type", "all_time"])]
    pub(crate) plan: Option<String>,
    /// What happened, or was sent, at or after.
    #[arg(long, value_name = "TIME", conflicts_with = "all_time", help_heading = "Selection")]
    pub(crate) since: Option<String>,
    /// What happened, or was sent, before; now, unless said.
    #[arg(long, value_name = "TIME", help_heading = "Selection")]
    pub(crate) until: Option<String>,
    /// Only these types, and what is a part of them; else those of the source's config.
    #[arg(
        short = 't',
        long = "type",
        value_name = "A,B",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub(crate) event_type: Vec<String>,
    #[command(flatten)]
    pub(crate) act: Act,
}
