//! The program's own manners: contexts, configuration, first steps, and what is printed about itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::groups::ListArgs;
use super::nouns::Noun;

pub(crate) type ContextCmd = Noun<ContextVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// All of them, and whether they answer.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow context ls
relayflow context ls -o name"
    )]
    Ls(ListArgs),
    /// One: how it is reached, and how careful one is there. Unnamed, the one in force.
    #[command(
        aliases = ["get", "describe"],
        before_long_help = "\
relayflow context show
relayflow context show prod -o json"
    )]
    Show {
        #[arg(value_name = "CONTEXT")]
        name: Option<String>,
    },
    /// Make one the default; `-` is the one before.
    #[command(before_long_help = "\
relayflow context use prod
relayflow context use -")]
    Use {
        #[arg(value_name = "CONTEXT", allow_hyphen_values = true)]
        name: String,
    },
    /// Write a new one into the CLI's own config file.
    #[command(before_long_help = "\
relayflow context add local --endpoint http://127.0.0.1:8788
relayflow context add prod --endpoint https://relayflow.example.com --protected \\
    --label PROD --max-bulk 5000 --token-cmd 'op read op://oncall/relayflow/token'
relayflow context add backup --db sqlite:/backup/relayflow.db")]
    Add(Box<AddArgs>),
    /// Take one out of it.
    #[command(alias = "remove", before_long_help = "relayflow context rm stage")]
    Rm {
        #[arg(value_name = "CONTEXT")]
        name: String,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AddArgs {
    /// What it is called, as in `--context NAME`.
    #[arg(value_name = "CONTEXT")]
    pub(crate) name: String,
    /// Its daemon's operator API; for a store, read directly, `--db` in its place.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// A command that prints the token.
    #[arg(long, value_name = "COMMAND", group = "token")]
    pub(crate) token_cmd: Option<String>,
    /// The environment variable with the token.
    #[arg(long, value_name = "NAME", group = "token")]
    pub(crate) token_env: Option<String>,
    /// The file with the token; nobody else may read it.
    #[arg(long, value_name = "FILE", group = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Bulk actions ask for the number of items, or want `--yes=CONTEXT`.
    #[arg(long)]
    pub(crate) protected: bool,
    /// Shown in every prompt and in the TUI's header.
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// The label's colour.
    #[arg(long, value_name = "COLOR")]
    pub(crate) accent: Option<String>,
    /// The default of `--max`.
    #[arg(long, value_name = "N")]
    pub(crate) max_bulk: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigCmd {
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Read it as the daemon would: 0, or 10 with what is wrong and where.
    #[command(before_long_help = "\
relayflow config check
relayflow config check next.toml -o json")]
    Check {
        /// Files to check; else the one that the daemon would find.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// What is in force, of the daemon's config and of the CLI's own, and where from.
    #[command(before_long_help = "\
relayflow config explain
relayflow config explain sources.stripe.tolerance retry.attempts
relayflow config explain cli --context prod")]
    Explain(ExplainConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainConfigArgs {
    /// A setting, or a section for all that is in it; `cli` is the command line's own.
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// The daemon's config; else the one that the daemon would find.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    /// The folder, made if it is not there; else this one.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Built-in providers to have a source of each.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) provider: Vec<String>,
    /// Write over a `relayflow.toml` that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ManArgs {
    /// Write a page for every command into this folder; else that of the program is printed.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HelpArgs {
    /// A command, or a topic: `filters` `time` `output` `exit-codes` `environment` `keys`
    /// `contexts`.
    #[arg(value_name = "TOPIC|COMMAND")]
    pub(crate) words: Vec<String>,
}
