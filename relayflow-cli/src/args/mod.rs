//! The command line as typed: clap types and nothing else.

mod bench;
mod drift;
mod global;
mod groups;
mod nouns;
mod providers;
mod send;
mod tail;
mod tui;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::BenchArgs;
pub(crate) use drift::{
    AcceptArgs, CheckArgs, ContractCmd, ContractShow, ContractVerb, DriftCmd, DriftLs, DriftShow,
    DriftVerb, FailOn, FileArgs, LearnArgs,
};
pub(crate) use global::{ColorWhen, Format, Global, TimeKind};
pub(crate) use groups::{Act, Job, ListArgs, Select};
pub(crate) use nouns::{
    DiscardArgs, DlqCmd, DlqVerb, EditArgs, EventsCmd, EventsVerb, ExplainArgs, How, Id, Noun,
    RawArgs, ReplayCmd, ReplayVerb, RequestsCmd, RequestsVerb, ShowLs, ShowLsVerb, WorkflowsCmd,
    WorkflowsVerb,
};
pub(crate) use providers::{ProvidersCmd, ProvidersVerb};
pub(crate) use send::{SendArgs, Tamper};
pub(crate) use tail::TailArgs;
pub(crate) use tui::TuiArgs;

/// Durable webhook work: what arrived, what it caused, and what to do about what died.
#[derive(Debug, Parser)]
#[command(
    name = "relayflow",
    version,
    max_term_width = 100,
    infer_long_args = false,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in this process.
    Up(Box<relayflow_daemon::args::UpArgs>),
    /// The whole job on a store of its own, checked number by number.
    Demo,
    /// How much this machine takes.
    #[command(before_long_help = "\
relayflow bench --count 100000
relayflow bench --rate 200/s --duration 20s
relayflow bench --duplicates 5% --fail 10% -o json
relayflow bench --drift --ingest-only --rounds 6
relayflow bench --replay --dead 20000
relayflow bench --target http://127.0.0.1:8787/in/stripe --secret-env STRIPE_WEBHOOK_SECRET")]
    Bench(Box<BenchArgs>),
    /// Is the config right?
    Config(ConfigCmd),
    /// Make a signed provider event and deliver it.
    #[command(before_long_help = "\
relayflow send stripe invoice.payment_failed --set data.object.amount_due=4200 --follow
relayflow send github push --tamper signature
relayflow send stripe charge.failed --print
relayflow send --from evt_01J9ZC4K --set data.object.amount=1
relayflow send --list stripe")]
    Send(Box<SendArgs>),
    /// Follow the timeline live.
    #[command(before_long_help = "\
relayflow tail source:stripe status:failed
relayflow tail corr:7c1e --stop-on status:ok --timeout 60s")]
    Tail(TailArgs),
    /// What arrived.
    #[command(alias = "event")]
    Events(EventsCmd),
    /// Inbound HTTP requests, rejected ones included.
    #[command(alias = "request")]
    Requests(RequestsCmd),
    /// Every step of one event.
    Timeline(TimelineArgs),
    /// Everything under one correlation id, as a tree.
    Trace(Id),
    /// The dead letters.
    Dlq(DlqCmd),
    /// Bulk re-execution, as a recorded job.
    #[command(alias = "replays")]
    Replay(ReplayCmd),
    /// Depth, age and state of each destination's queue.
    #[command(alias = "queues")]
    Queue(QueueCmd),
    /// Provider definitions.
    #[command(alias = "provider")]
    Providers(ProvidersCmd),
    /// Configured endpoints.
    #[command(alias = "source")]
    Sources(ShowLs),
    /// Workflows in force.
    #[command(alias = "workflow")]
    Workflows(WorkflowsCmd),
    /// How payloads differ from their contracts.
    Drift(DriftCmd),
    /// What payloads are expected to look like.
    #[command(alias = "contracts")]
    Contract(ContractCmd),
    /// The numbers.
    Stats(StatsArgs),
    /// The terminal UI: see what is broken, understand one case, act on all of them.
    #[command(before_long_help = "\
relayflow tui
relayflow tui dlq source:stripe --read-only
relayflow tui evt_01J9ZC4K
relayflow --db sqlite:backup.db tui")]
    Tui(TuiArgs),
    /// Completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Versions of this program and of the daemon.
    Version,
    #[command(hide = true)]
    Daemon(DaemonCmd),
}

impl Command {
    /// Whether it has something that passes or fails, to be told with `-o junit`.
    pub(crate) fn takes_junit(&self) -> bool {
        if let Self::Dlq(DlqCmd { verb: Some(DlqVerb::Replay(args)), .. }) = self {
            return args.job.wait.is_some();
        }
        if let Self::Replay(ReplayCmd { verb: Some(ReplayVerb::Create(create)), .. }) = self {
            return create.job.wait.is_some();
        }
        if self.takes_sarif() {
            return true;
        }
        let Self::Replay(replay) = self else { return false };
        matches!(&replay.verb, Some(ReplayVerb::Show(_) | ReplayVerb::Watch(_)))
    }

    /// Whether it finds what a code host shows, to be told with `-o sarif`.
    pub(crate) fn takes_sarif(&self) -> bool {
        if let Self::Drift(drift) = self {
            return matches!(drift.verb, None | Some(DriftVerb::Ls(_)));
        }
        let Self::Contract(contract) = self else { return false };
        matches!(contract.verb, Some(ContractVerb::Check(_)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct DaemonCmd {
    #[command(subcommand)]
    pub(crate) verb: DaemonVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DaemonVerb {
    /// The same as `up`.
    Run(Box<relayflow_daemon::args::UpArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigCmd {
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Read it as the daemon would: 0, or 10 with what is wrong and where.
    Check {
        /// Files to check; else the one that the daemon would find.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// `evt_…`, `tsk_…`, `req_…` or `rpl_…`, or the beginning of one.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Go on until its tasks have ended.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

pub(crate) type QueueCmd = Noun<QueueVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueVerb {
    /// All of them.
    #[command(aliases = ["list", "stats"])]
    Ls(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Again every so often.
    #[arg(short, long, value_name = "DUR", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = values::duration)]
    pub(crate) watch: Option<jiff::SignedDuration>,
}

#[cfg(test)]
mod tests;
