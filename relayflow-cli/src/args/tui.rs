//! `relayflow tui`.

use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct TuiArgs {
    /// A screen (`overview` `events` `dlq` `replays` `queues` `sources` `drift` `requests` `tail`
    /// `charts` `errors`) and a filter for it, or an id.
    #[arg(value_name = "SCREEN|TERM")]
    pub(crate) words: Vec<String>,
    /// Look, and change nothing.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// For tests.
    #[arg(long, hide = true, value_name = "WHAT")]
    pub(crate) inject: Option<String>,
}

impl TuiArgs {
    /// Of `top`: the Overview, and nothing can be changed.
    pub(crate) fn top() -> Self {
        Self { words: Vec::new(), read_only: true, inject: None }
    }
}
