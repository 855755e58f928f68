//! The command line as typed: clap types and nothing else.

mod bench;
mod drift;
mod export;
mod global;
mod groups;
mod manners;
mod nouns;
mod providers;
mod queue;
mod reconcile;
mod send;
mod tail;
mod tui;
pub(crate) mod values;

use clap::{Args, Parser, Subcommand};

pub(crate) use bench::BenchArgs;
pub(crate) use drift::{
    AcceptArgs, CheckArgs, ContractCmd, ContractShow, ContractVerb, DriftCmd, DriftLs, DriftShow,
    DriftVerb, FailOn, FileArgs, LearnArgs,
};
pub(crate) use export::ExportArgs;
pub(crate) use global::{ColorWhen, Format, Global, TimeKind};
pub(crate) use groups::{Act, Job, ListArgs, Select};
pub(crate) use manners::{
    AddArgs, ConfigCmd, ConfigVerb, ContextCmd, ContextVerb, ExplainConfigArgs, HelpArgs, InitArgs,
    ManArgs,
};
pub(crate) use nouns::{
    DiscardArgs, DlqCmd, DlqVerb, EditArgs, EventsCmd, EventsVerb, ExplainArgs, How, Id, RawArgs,
    ReplayCmd, ReplayVerb, RequestsCmd, RequestsVerb, ShowLs, ShowLsVerb, WorkflowsCmd,
    WorkflowsVerb,
};
pub(crate) use providers::{ProvidersCmd, ProvidersVerb};
pub(crate) use queue::{
    PauseArgs, QueueCmd, QueueVerb, ResumeQueue, StatsArgs, WorkersCmd, WorkersVerb,
};
pub(crate) use reconcile::ReconcileArgs;
pub(crate) use send::{SendArgs, Tamper};
pub(crate) use tail::TailArgs;
pub(crate) use tui::TuiArgs;

/// How wide help is: as the terminal, within reason; elsewhere as a terminal usually is.
pub(crate) fn help_width(terminal: Option<usize>) -> usize {
    terminal.map_or(80, |width| width.min(100))
}

/// Durable webhook work: what arrived, what it caused, and what to do about what died.
#[derive(Debug, Parser)]
#[command(
    name = "relayflow",
    version,
    max_term_width = 100,
    infer_long_args = false,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_long_help = "\
relayflow init && relayflow up
relayflow events ls status:failed --since 2h
relayflow dlq ls --by error
relayflow help filters"
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
    #[command(before_long_help = "\
relayflow up
relayflow up --config relayflow.toml --db sqlite:relayflow.db --ready-file ready")]
    Up(Box<relayflow_daemon::args::UpArgs>),
    /// The whole job on a store of its own, checked number by number.
    #[command(before_long_help = "relayflow demo")]
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
    /// Write a starter `relayflow.toml`.
    #[command(before_long_help = "\
relayflow init
relayflow init hooks --provider stripe,github")]
    Init(InitArgs),
    /// Is the config right; what is in force, and from where.
    #[command(before_long_help = "\
relayflow config check
relayflow config explain retry.attempts")]
    Config(ConfigCmd),
    /// Which RelayFlow to talk to.
    #[command(aliases = ["ctx", "contexts"], before_long_help = "\
relayflow context ls
relayflow context use prod")]
    Context(ContextCmd),
    /// Make a signed provider event and deliver it.
    #[command(before_long_help = "\
relayflow send stripe invoice.payment_failed --set data.object.amount_due=4200 --follow
relayflow send github push --tamper signature
relayflow send stripe charge.failed --print
relayflow send --from evt_01J9ZC4K --set data.object.amount=1
relayflow send --list stripe")]
    Send(Box<SendArgs>),
    /// What a vendor says it sent, against what arrived; take in the rest.
    #[command(before_long_help = "\
relayflow reconcile stripe --since 6h --dry-run
relayflow reconcile stripe --since 6h --type charge,invoice --reason \"the outage of 14:00\"
relayflow reconcile github --since 1d --yes -o json")]
    Reconcile(Box<ReconcileArgs>),
    /// Follow the timeline live.
    #[command(before_long_help = "\
relayflow tail source:stripe status:failed
relayflow tail corr:7c1e --stop-on status:ok --timeout 60s")]
    Tail(TailArgs),
    /// What arrived.
    #[command(
        alias = "event",
        before_long_help = "\
relayflow events
relayflow events ls status:failed --since 2h"
    )]
    Events(EventsCmd),
    /// Inbound HTTP requests, rejected ones included.
    #[command(
        alias = "request",
        before_long_help = "\
relayflow requests ls sig:invalid"
    )]
    Requests(RequestsCmd),
    /// Every step of one event.
    #[command(before_long_help = "\
relayflow timeline evt_01J9ZC4K
relayflow timeline tsk_01J9ZC4N --follow")]
    Timeline(TimelineArgs),
    /// Everything under one correlation id, as a tree.
    #[command(before_long_help = "\
relayflow trace 7c1e
relayflow trace evt_01J9ZC4K -o json")]
    Trace(Id),
    /// The dead letters.
    #[command(before_long_help = "\
relayflow dlq
relayflow dlq ls --by error --since 3h
relayflow dlq replay error:e_41c9 --since 3h --dry-run")]
    Dlq(DlqCmd),
    /// Bulk re-execution, as a recorded job.
    #[command(
        alias = "replays",
        before_long_help = "\
relayflow replay
relayflow replay create status:dead --since 3h --dry-run"
    )]
    Replay(ReplayCmd),
    /// Depth, age and rates of each destination; stop and start the flow.
    #[command(
        alias = "queues",
        before_long_help = "\
relayflow queue
relayflow queue pause api.example.com --for 30m --reason \"they deploy\""
    )]
    Queue(QueueCmd),
    /// Who is executing what.
    #[command(
        alias = "worker",
        before_long_help = "\
relayflow workers
relayflow workers show wrk_01J9ZC4K"
    )]
    Workers(WorkersCmd),
    /// Provider definitions.
    #[command(
        alias = "provider",
        before_long_help = "\
relayflow providers
relayflow providers show stripe"
    )]
    Providers(ProvidersCmd),
    /// Configured endpoints.
    #[command(
        alias = "source",
        before_long_help = "\
relayflow sources
relayflow sources show stripe"
    )]
    Sources(ShowLs),
    /// Workflows in force.
    #[command(
        alias = "workflow",
        before_long_help = "\
relayflow workflows
relayflow workflows explain evt_01J9ZC51"
    )]
    Workflows(WorkflowsCmd),
    /// How payloads differ from their contracts.
    #[command(before_long_help = "\
relayflow drift
relayflow drift ls --fail-on breaking")]
    Drift(DriftCmd),
    /// What payloads are expected to look like.
    #[command(
        alias = "contracts",
        before_long_help = "\
relayflow contract
relayflow contract check source:stripe --since 7d"
    )]
    Contract(ContractCmd),
    /// The numbers, once or watched.
    #[command(before_long_help = "\
relayflow stats
relayflow stats --by dest --since 5m
relayflow stats -w")]
    Stats(StatsArgs),
    /// A masked incident bundle, which another machine reads with `--db`.
    #[command(before_long_help = "\
relayflow export error:e_41c9 --since 3h --to incident.tar.gz --reason \"vendor renamed a field\"
relayflow export evt_01J9ZC4K --to one.tar.gz
relayflow --db incident.tar.gz dlq ls --by error")]
    Export(Box<ExportArgs>),
    /// What is wrong, and the command that mends it.
    #[command(before_long_help = "\
relayflow doctor
relayflow doctor -o json
relayflow --db sqlite:backup.db doctor")]
    Doctor,
    /// The terminal UI: see what is broken, understand one case, act on all of them.
    #[command(before_long_help = "\
relayflow tui
relayflow tui dlq source:stripe --read-only
relayflow tui evt_01J9ZC4K
relayflow --db sqlite:backup.db tui")]
    Tui(TuiArgs),
    /// The Overview, to look at: `tui --read-only`.
    #[command(hide = true, before_long_help = "relayflow top")]
    Top,
    /// Completions for a shell, which also know contexts, sources, workflows and recent ids.
    #[command(before_long_help = "\
source <(relayflow completions bash)        # in ~/.bashrc; zsh likewise
relayflow completions fish > ~/.config/fish/completions/relayflow.fish")]
    Completions {
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Manual pages.
    #[command(before_long_help = "\
relayflow man | man -l -
relayflow man --dir /usr/local/share/man/man1")]
    Man(ManArgs),
    /// How to use a command, or what a topic is about.
    #[command(before_long_help = "\
relayflow help filters
relayflow help dlq replay")]
    Help(HelpArgs),
    /// Versions of this program and of the daemon.
    #[command(before_long_help = "relayflow version -o json")]
    Version,
    #[command(hide = true)]
    Daemon(DaemonCmd),
}

impl Command {
    /// Whether one reads what it prints, so that a pager helps.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Self::Events(cmd) => {
                matches!(cmd.verb, Some(EventsVerb::Show(_) | EventsVerb::Raw(_)))
            }
            Self::Requests(cmd) => {
                matches!(cmd.verb, Some(RequestsVerb::Show(_) | RequestsVerb::Raw(_)))
            }
            Self::Dlq(cmd) => matches!(cmd.verb, Some(DlqVerb::Show(_))),
            Self::Replay(cmd) => matches!(cmd.verb, Some(ReplayVerb::Show(_))),
            Self::Drift(cmd) => matches!(cmd.verb, Some(DriftVerb::Show(_))),
            Self::Contract(cmd) => matches!(cmd.verb, Some(ContractVerb::Show(_))),
            Self::Providers(cmd) => matches!(cmd.verb, Some(ProvidersVerb::Show { .. })),
            Self::Sources(cmd) => matches!(cmd.verb, Some(ShowLsVerb::Show { .. })),
            Self::Workflows(cmd) => matches!(cmd.verb, Some(WorkflowsVerb::Show { .. })),
            Self::Context(cmd) => matches!(cmd.verb, Some(ContextVerb::Show { .. })),
            Self::Queue(cmd) => matches!(cmd.verb, Some(QueueVerb::Show(_))),
            Self::Workers(cmd) => matches!(cmd.verb, Some(WorkersVerb::Show { .. })),
            Self::Timeline(args) => !args.follow,
            Self::Trace(_) | Self::Help(_) => true,
            Self::Up(_)
            | Self::Demo
            | Self::Bench(_)
            | Self::Init(_)
            | Self::Config(_)
            | Self::Send(_)
            | Self::Reconcile(_)
            | Self::Tail(_)
            | Self::Stats(_)
            | Self::Export(_)
            | Self::Doctor
            | Self::Tui(_)
            | Self::Top
            | Self::Completions { .. }
            | Self::Man(_)
            | Self::Version
            | Self::Daemon(_) => false,
        }
    }

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
pub(crate) struct TimelineArgs {
    /// `evt_…`, `tsk_…`, `req_…` or `rpl_…`, or the beginning of one.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Go on until its tasks have ended.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[cfg(test)]
mod tests;
