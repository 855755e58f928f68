//! The flags that every command has.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::values;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Which context [env: RELAYFLOW_CONTEXT].
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A store or bundle to read, no daemon [env: RELAYFLOW_DB].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) db: Option<String>,
    /// The CLI's own config file.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "RELAYFLOW_CONFIG",
        hide_env_values = true
    )]
    pub(crate) user_config: Option<PathBuf>,
    /// How to print.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FMT",
        env = "RELAYFLOW_OUTPUT",
        hide_env_values = true,
        hide_possible_values = false
    )]
    pub(crate) output: Option<Format>,
    /// Short for `-o ndjson`.
    #[arg(long, global = true, conflicts_with = "output", hide = true)]
    pub(crate) json: bool,
    /// Columns or members to keep, in order.
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',')]
    pub(crate) fields: Vec<String>,
    /// When to colour [env: NO_COLOR, CLICOLOR_FORCE].
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<ColorWhen>,
    /// How to show times; `rel` on a terminal, else `utc`.
    #[arg(
        long,
        global = true,
        value_name = "KIND",
        env = "RELAYFLOW_TIME",
        hide_env_values = true
    )]
    pub(crate) time: Option<TimeKind>,
    /// How long one call to the daemon may take.
    #[arg(long, global = true, value_name = "DUR", default_value = "30s",
          value_parser = values::duration)]
    pub(crate) request_timeout: SignedDuration,
    /// Never ask.
    #[arg(long, global = true, env = "RELAYFLOW_NO_INPUT", hide_env_values = true,
          value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_input: bool,
    /// Only errors on stderr.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More on stderr; `-vv` shows HTTP [env: RELAYFLOW_LOG].
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print without a pager [env: RELAYFLOW_PAGER=].
    #[arg(long, global = true)]
    pub(crate) no_pager: bool,
}

impl Global {
    /// The same, about another context.
    pub(crate) fn for_context(&self, name: &str) -> Self {
        Self { context: Some(name.to_owned()), db: None, ..self.clone() }
    }
}

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
    Ndjson,
    Yaml,
    Csv,
    Name,
    // For CI: of `replay show`, `replay watch`, `--wait`, `drift ls` and `contract check`.
    Junit,
    // For code hosts: of `drift ls` and `contract check`.
    Sarif,
}

impl Format {
    /// What it is, for `help output`.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Table => {
                "for people. On a terminal fitted to its width; elsewhere nothing is dropped or \
                 shortened, and times are UTC"
            }
            Self::Wide => "the same with all columns, never shortened",
            Self::Json => "one document, as the API gives it",
            Self::Ndjson => {
                "one object a line, flushed; of streams the only one besides table. --json is short for it"
            }
            Self::Yaml => "the document of json",
            Self::Csv => "RFC 4180 with a header, flat columns of wide",
            Self::Name => "one id a line: the pipe between commands",
            Self::Junit => "for CI: replay show, replay watch, --wait, drift ls, contract check",
            Self::Sarif => "for code hosts: drift ls, contract check",
        }
    }
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// `--time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeKind {
    Rel,
    Local,
    Utc,
}

impl TimeKind {
    /// What it is, for `help time`.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Rel => "how long ago; on a terminal unless told otherwise",
            Self::Local => "local time",
            Self::Utc => "RFC 3339 in UTC; elsewhere unless told otherwise",
        }
    }
}
