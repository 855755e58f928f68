//! `relayflow export`.

use std::path::PathBuf;

use clap::Args;

use super::groups::{Act, Select};

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ExportArgs {
    /// The bundle to write.
    #[arg(long, value_name = "FILE.tar.gz", required_unless_present = "dry_run")]
    pub(crate) to: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// Payloads as they came in; takes role admin and a --reason, and is on the record.
    #[arg(long)]
    pub(crate) unmask: bool,
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) act: Act,
}
