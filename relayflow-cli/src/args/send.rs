//! `relayflow send`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::values;

#[derive(Debug, Clone, Args)]
pub(crate) struct SendArgs {
    /// The provider, or a source of one.
    #[arg(value_name = "PROVIDER", required_unless_present_any = ["list", "from"])]
    pub(crate) provider: Option<String>,
    /// The provider's own word: `invoice.payment_failed`.
    #[arg(value_name = "TYPE", required_unless_present_any = ["list", "from"])]
    pub(crate) event_type: Option<String>,
    /// The source, where the provider has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Send this in place of the project's own payload.
    #[arg(long, value_name = "@FILE|-|JSON")]
    pub(crate) data: Option<String>,
    /// Change a member of it: `data.object.amount_due=4200`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = values::assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Change it in `$VISUAL` or `$EDITOR` first.
    #[arg(long)]
    pub(crate) edit: bool,
    /// Send a stored event again as a new one: under another id, signed anew.
    #[arg(long, value_name = "EVENT", conflicts_with = "data")]
    pub(crate) from: Option<String>,
    /// So many, each with fresh ids where the payload has them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u64,
    /// So many a second.
    #[arg(long, value_name = "N/s", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
    /// Send each twice.
    #[arg(long)]
    pub(crate) duplicate: bool,
    /// Spoil it after signing.
    #[arg(long, value_name = "WHAT")]
    pub(crate) tamper: Option<Tamper>,
    /// Sign as of another time: `-10m`.
    #[arg(long, value_name = "DUR", value_parser = values::skew, allow_hyphen_values = true)]
    pub(crate) skew: Option<SignedDuration>,
    /// Show the curl command and send nothing.
    #[arg(long)]
    pub(crate) print: bool,
    /// Show the timeline until the tasks have ended.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The private key that signs, where the source has only the public one; unless given, RelayFlow's
    /// own test key, if the source trusts that.
    #[arg(long, visible_alias = "key", value_name = "FILE", conflicts_with = "key_env")]
    pub(crate) key_file: Option<PathBuf>,
    /// The variable with that key.
    #[arg(long, value_name = "NAME")]
    pub(crate) key_env: Option<String>,
    /// List the types, of all providers or of one.
    #[arg(long, value_name = "PROVIDER", num_args = 0..=1, default_missing_value = "",
          conflicts_with_all = ["provider", "event_type"])]
    pub(crate) list: Option<String>,
    /// The daemon's config, where the source's secret is.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What is spoilt after signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tamper {
    /// One byte of the body.
    Body,
    /// One character of the signature.
    Signature,
    /// It is signed with another secret.
    Secret,
}
