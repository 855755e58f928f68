//! `relayflow providers`.

use clap::Subcommand;

use super::groups::ListArgs;
use super::nouns::Noun;

pub(crate) type ProvidersCmd = Noun<ProvidersVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersVerb {
    /// All of them.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow providers ls"
    )]
    Ls(ListArgs),
    /// One: how it signs, what a source of it sets, what becomes of its events.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow providers show stripe")]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Is a definition right, and does it what its cases say? 0, or 10 with what is wrong and where.
    #[command(before_long_help = "\
relayflow providers check providers/acme.toml
relayflow providers check providers
relayflow providers check stripe github -o json")]
    Check {
        /// Definition files, folders of them, or names; else every one in the folder that
        /// `[providers] dir` names.
        #[arg(value_name = "FILE|DIR|NAME")]
        what: Vec<String>,
    },
}
