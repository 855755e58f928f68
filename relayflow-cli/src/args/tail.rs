//! `relayflow tail`.

use clap::Args;
use jiff::SignedDuration;

use super::groups::Select;
use super::values;

#[derive(Debug, Clone, Args)]
pub(crate) struct TailArgs {
    /// End with 0 at the first entry that matches this too.
    #[arg(long, value_name = "TERM", num_args = 1)]
    pub(crate) stop_on: Vec<String>,
    /// End with 8 after so long.
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub(crate) timeout: Option<SignedDuration>,
    /// First the newest N.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Accepted: it always follows.
    #[arg(short = 'f', long, hide = true)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) select: Select,
}
