//! `relayflow drift` and `relayflow contract`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::groups::{Act, ListArgs, Select};
use super::nouns::{Id, Noun};

pub(crate) type DriftCmd = Noun<DriftVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum DriftVerb {
    /// What is open, or what matches; the breaking ones first.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow drift ls
relayflow drift ls source:stripe drift:breaking --since 7d
relayflow drift ls --fail-on breaking -o junit > drift.xml
relayflow drift ls status:accepted"
    )]
    Ls(Box<DriftLs>),
    /// One: the field, what it was and is, who reads it, examples.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow drift show drf_01J9
relayflow drift show drf_01J9 --unmask")]
    Show(DriftShow),
    /// Take findings into the contract, as its next version.
    #[command(before_long_help = "\
relayflow drift accept drf_01J9 --reason \"the new API version\"
relayflow drift accept source:stripe drift:additive --all-time --dry-run")]
    Accept(Box<AcceptArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct DriftLs {
    /// Exit 10 if there is an open finding of this grade.
    #[arg(long, value_name = "GRADE")]
    pub(crate) fail_on: Option<FailOn>,
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// What makes a check fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    Breaking,
    Any,
}

impl FailOn {
    /// Whether something of this grade fails it.
    pub(crate) fn is_met_by(self, grade: &str) -> bool {
        self == Self::Any || grade == "breaking"
    }
}

#[derive(Debug, Args)]
pub(crate) struct DriftShow {
    #[command(flatten)]
    pub(crate) id: Id,
    /// Also the field's values in the example events.
    #[arg(long)]
    pub(crate) unmask: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) act: Act,
}

pub(crate) type ContractCmd = Noun<ContractVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum ContractVerb {
    /// Those in force for sources, and those of their providers.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow contract ls"
    )]
    Ls(ListArgs),
    /// The JSON Schema of one; with `-o table` its fields as a tree.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow contract show stripe invoice.paid
relayflow contract show stripe invoice.paid -o json > invoice.paid.json")]
    Show(ContractShow),
    /// Hold files or stored events against contracts: 0, or 10 with what differs.
    #[command(before_long_help = "\
relayflow contract check source:stripe --since 7d
relayflow contract check fixtures/stripe --provider stripe -o junit > report.xml
relayflow contract check push.json --provider github --header 'X-GitHub-Event: push'
relayflow contract check fixtures --provider acme --contract contracts/acme -o sarif")]
    Check(Box<CheckArgs>),
    /// Infer a contract from files or stored events.
    #[command(before_long_help = "\
relayflow contract learn --source stripe --type invoice.paid --since 7d
relayflow contract learn --source stripe --type invoice.paid --write --reason \"first version\"
relayflow contract learn fixtures/acme --provider acme --dir providers/acme/contracts")]
    Learn(Box<LearnArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct ContractShow {
    /// A source, or a provider for the contract that comes with it.
    #[arg(value_name = "SOURCE|PROVIDER")]
    pub(crate) of: String,
    /// The provider's event type.
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: String,
    /// An earlier version.
    #[arg(long = "contract-version", alias = "version", value_name = "N")]
    pub(crate) version: Option<i64>,
}

/// How bodies in files are read.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileArgs {
    /// Whose bodies they are; `--source` takes a source's settings too.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// A header that they came with, where the vendor puts the type there.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// What makes it end with 10.
    #[arg(long, value_name = "GRADE", default_value = "breaking")]
    pub(crate) fail_on: FailOn,
    /// Events without a contract fail, too.
    #[arg(long)]
    pub(crate) require_contract: bool,
    /// Of stored events the newest N (1,000).
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// A schema for all of them, or a folder with one per type.
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub(crate) contract: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) files: FileArgs,
    #[command(flatten)]
    pub(crate) select: Select,
}

#[derive(Debug, Args)]
pub(crate) struct LearnArgs {
    /// Keep it as the next version of the source's contract.
    #[arg(long)]
    pub(crate) write: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Write `TYPE.json` files into this folder instead of printing.
    #[arg(long, value_name = "DIR", help_heading = "Files", conflicts_with = "write")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) files: FileArgs,
    #[command(flatten)]
    pub(crate) select: Select,
}
