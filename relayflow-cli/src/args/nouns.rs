//! The nouns with several verbs.

use clap::{Args, Subcommand};

use super::groups::{Act, Job, ListArgs, Select};
use super::values;

/// A noun: what it is asked for, and without a verb its list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Noun<V: Subcommand> {
    #[command(subcommand)]
    pub(crate) verb: Option<V>,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// One object.
#[derive(Debug, Clone, Args)]
pub(crate) struct Id {
    /// An id, or the beginning of one.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// The bytes of one request.
#[derive(Debug, Clone, Args)]
pub(crate) struct RawArgs {
    /// An id, or the beginning of one.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Method, target and kept headers first.
    #[arg(long)]
    pub(crate) headers: bool,
}

pub(crate) type EventsCmd = Noun<EventsVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum EventsVerb {
    /// The newest, or those that match.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow events ls
relayflow events ls source:stripe status:failed type:invoice --since 2h
relayflow events ls --all --since 1d -o ndjson | jq -c 'select(.attempts > 3)'"
    )]
    Ls(Box<Ls>),
    /// One: its envelope, attributes, tasks and payload.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow events show evt_01J9ZC4K
relayflow events show evt_01J9ZC4K -o json | jq .payload")]
    Show(Id),
    /// The exact bytes of its request.
    #[command(before_long_help = "\
relayflow events raw evt_01J9ZC4K > body.json
relayflow events raw evt_01J9ZC4K --headers")]
    Raw(RawArgs),
}

/// `ls` with a selection.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

pub(crate) type RequestsCmd = Noun<RequestsVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum RequestsVerb {
    /// The newest, or those that match.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow requests ls
relayflow requests ls sig:invalid --since 1h"
    )]
    Ls(Box<Ls>),
    /// One: what came in, and what became of it.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow requests show req_01J9Z7")]
    Show(Id),
    /// Its exact bytes.
    #[command(before_long_help = "\
relayflow requests raw req_01J9Z7 --headers")]
    Raw(RawArgs),
    /// Why its signature does not hold, and what mends that; of one that holds, which secret made it.
    #[command(before_long_help = "\
relayflow requests ls sig:invalid --since 1h
relayflow requests explain req_01J9Z7
relayflow --db sqlite:backup.db requests explain req_01J9Z7 -o json | jq '.causes[0]'")]
    Explain(Id),
    /// Verify a rejected one again, as of its arrival, and take it in.
    #[command(before_long_help = "\
relayflow requests replay req_01J9Z7 --reason \"the secret was rotated\"")]
    Replay(ReadmitArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReadmitArgs {
    /// `req_…`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

pub(crate) type DlqCmd = Noun<DlqVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum DlqVerb {
    /// The newest, or those that match.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow dlq ls
relayflow dlq ls --by error --since 3h
relayflow dlq ls source:stripe error:timeout -o name"
    )]
    Ls(Box<DlqLs>),
    /// One: the task with its attempts, or the unreadable request.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow dlq show tsk_01J9ZC4N")]
    Show(Id),
    /// Bring them back to execution: a plan, a question, a job.
    #[command(before_long_help = "\
relayflow dlq replay error:e_41c9 --since 3h --dry-run
relayflow dlq replay --since 1h --yes --reason \"deploy 81\" --wait=15m
relayflow dlq ls error:timeout -o name | relayflow dlq replay - --dry-run")]
    Replay(Box<DlqReplay>),
    /// Mend payloads, and run them: what came in stays, each edit is a revision of it.
    #[command(before_long_help = "\
relayflow dlq edit tsk_01J9ZC4N --reason \"the CRM wants a plan_id\"
relayflow dlq edit tsk_01J9ZC4N --set data.object.plan_id=basic --reason x --wait
relayflow dlq edit error:e_41c9 --since 3h --dry-run \\
    --map data.object.plan_id=event.payload.data.object.plan --unset data.object.plan")]
    Edit(Box<EditArgs>),
    /// Take them out of the queue; they stay in the store.
    #[command(
        alias = "rm",
        before_long_help = "\
relayflow dlq discard tsk_01J9ZC4N --reason \"a test event\"
relayflow dlq discard source:sandbox --since 1d --reason \"not ours\" --dry-run"
    )]
    Discard(Box<DiscardArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Set a member: `data.object.plan_id=basic`, or `/data/object/plan.id=basic`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = values::assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Set a member to what an expression over the event gives.
    #[arg(long, value_name = "PATH=EXPR", value_parser = values::assignment)]
    pub(crate) map: Vec<(String, String)>,
    /// Take a member out.
    #[arg(long, value_name = "PATH")]
    pub(crate) unset: Vec<String>,
    /// This payload, whole; of one task.
    #[arg(long, value_name = "@FILE|-|JSON")]
    pub(crate) data: Option<String>,
    /// Items with a later event already done.
    #[arg(long, value_name = "WHAT", value_parser = ["ask", "apply", "skip"])]
    pub(crate) late: Option<String>,
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) act: Act,
    #[command(flatten)]
    pub(crate) job: Job,
}

#[derive(Debug, Args)]
pub(crate) struct DlqLs {
    /// Group by a field, such as `error`, `source`, `type` or `dest`.
    #[arg(long, value_name = "FIELD")]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DlqReplay {
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) act: Act,
    #[command(flatten)]
    pub(crate) job: Job,
}

/// What a replay does with each item.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct How {
    /// `resume`, `restart` or `reroute`.
    #[arg(long, value_name = "MODE", value_parser = ["resume", "restart", "reroute"])]
    pub(crate) mode: Option<String>,
    /// `none` or `received`.
    #[arg(long, value_name = "ORDER", value_parser = ["none", "received"])]
    pub(crate) order: Option<String>,
    /// Items with a later event already done.
    #[arg(long, value_name = "WHAT", value_parser = ["ask", "apply", "skip"])]
    pub(crate) late: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) act: Act,
}

pub(crate) type ReplayCmd = Noun<ReplayVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayVerb {
    /// The newest, or those that match.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow replay ls
relayflow replay ls status:running"
    )]
    Ls(Box<Ls>),
    /// One: its report.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow replay show rpl_01J9ZD
relayflow replay show rpl_01J9ZD -o junit > report.xml")]
    Show(Id),
    /// Stay with one until it has ended.
    #[command(before_long_help = "\
relayflow replay watch rpl_01J9ZD --timeout 15m")]
    Watch(Watch),
    /// Plan, ask, run.
    #[command(before_long_help = "\
relayflow replay create status:dead source:stripe --since 3h --dry-run
relayflow replay create --plan pln_7QF2 --canary 5 --wait --yes --reason \"mended\"
relayflow replay create evt_01J9 --mode restart --reason \"the CRM lost it\"
relayflow replay create --from rpl_01J9 --failed
relayflow replay create type:invoice --since 1d --mode reroute --config next.toml --dry-run")]
    Create(Box<Create>),
    /// Start no further item.
    #[command(before_long_help = "\
relayflow replay pause rpl_01J9ZD")]
    Pause(Id),
    /// Go on.
    #[command(before_long_help = "\
relayflow replay resume rpl_01J9ZD --rate 5/s")]
    Resume(ResumeArgs),
    /// Start no further item, for good; an attempt under way is finished.
    #[command(before_long_help = "\
relayflow replay cancel rpl_01J9ZD")]
    Cancel(Id),
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// An id, or the beginning of one.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// From here on so many items per second.
    #[arg(long, value_name = "N/s", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// `rpl_…`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Give up (8) after so long; the job goes on.
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub(crate) timeout: Option<jiff::SignedDuration>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Run this plan, exactly.
    #[arg(long, value_name = "PLAN",
          conflicts_with_all = ["terms", "dry_run", "mode", "order", "from"])]
    pub(crate) plan: Option<String>,
    /// The items of an earlier replay.
    #[arg(long, value_name = "REPLAY", conflicts_with = "terms")]
    pub(crate) from: Option<String>,
    /// Of those only what died, was discarded or never ran.
    #[arg(long, requires = "from")]
    pub(crate) failed: bool,
    #[command(flatten)]
    pub(crate) how: How,
    /// Read and route with this candidate config; only with `--mode reroute --dry-run`.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(crate) config: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) act: Act,
    #[command(flatten)]
    pub(crate) job: Job,
}

/// A noun with only `ls` and `show`.
pub(crate) type ShowLs = Noun<ShowLsVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum ShowLsVerb {
    /// All of them.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow sources ls"
    )]
    Ls(ListArgs),
    /// One.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow sources show stripe")]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(crate) type WorkflowsCmd = Noun<WorkflowsVerb>;

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsVerb {
    /// All of them.
    #[command(
        alias = "list",
        before_long_help = "\
relayflow workflows ls"
    )]
    Ls(ListArgs),
    /// One.
    #[command(aliases = ["get", "describe"], before_long_help = "\
relayflow workflows show dunning")]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Which would match an event, and what decides that the others do not.
    #[command(before_long_help = "\
relayflow workflows explain evt_01J9ZC51
relayflow workflows explain evt_01J9ZC51 --config next.toml
relayflow workflows explain --provider stripe --type charge.failed --data @body.json")]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// `evt_…`, or the beginning of one; or an event that nobody sent, by the flags below.
    #[arg(value_name = "EVENT", required_unless_present_any = ["provider", "source"],
          conflicts_with_all = ["provider", "source", "event_type", "data"])]
    pub(crate) event: Option<String>,
    /// What a request of this provider would do.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The same of this source, with its settings.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// The provider's type.
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// The body as the vendor would send it; without this, the project's own of the type.
    #[arg(long, value_name = "@FILE|-|TEXT")]
    pub(crate) data: Option<String>,
    /// Explain with this candidate config in place of the one in force.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<std::path::PathBuf>,
    /// Exit 10 if no workflow matches.
    #[arg(long)]
    pub(crate) fail_unmatched: bool,
}
