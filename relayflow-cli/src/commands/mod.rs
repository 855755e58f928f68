//! One file per noun. Each command takes what was meant, asks a backend, and prints.

mod attempts;
mod bench;
mod candidate;
mod columns;
mod completions;
mod config;
mod context;
mod contract;
mod demo;
mod destination;
mod dlq;
mod doctor;
mod drift;
pub(crate) mod edit;
mod events;
mod explain;
pub(crate) mod export;
mod findings;
mod help;
mod init;
mod list;
mod man;
mod nouns;
pub(crate) mod plan;
mod providers;
pub(crate) mod queue;
mod reconcile;
pub(crate) mod replay;
mod report;
mod requests;
mod send;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod timeline;
mod trace;
mod up;
pub(crate) mod verification;
mod version;
pub(crate) mod watch;
mod workers;

pub(crate) use explain::replay_failure;
pub(crate) use help::Topic;
pub(crate) use list::{no_junit, no_sarif};
pub(crate) use nouns::find;

use crate::app::App;
use crate::args::Command;
use crate::failure::Done;

/// Carries out one command.
pub(crate) async fn run(app: &App, command: Command) -> Done {
    match command {
        Command::Up(args) => up::up(app, *args).await,
        Command::Daemon(daemon) => match daemon.verb {
            crate::args::DaemonVerb::Run(args) => up::up(app, *args).await,
        },
        Command::Demo => demo::demo(app).await,
        Command::Bench(args) => bench::bench(app, &args).await,
        Command::Init(args) => init::init(app, &args),
        Command::Config(config) => config::config(app, &config.verb).await,
        Command::Context(context) => context::context(app, context).await,
        Command::Send(args) => send::send(app, &args).await,
        Command::Reconcile(args) => reconcile::reconcile(app, &args).await,
        Command::Tail(args) => tail::tail(app, &args).await,
        Command::Events(events) => events::events(app, events).await,
        Command::Requests(requests) => requests::requests(app, requests).await,
        Command::Timeline(args) => timeline::timeline(app, &args).await,
        Command::Trace(id) => trace::trace(app, &id.id).await,
        Command::Dlq(dlq) => dlq::dlq(app, dlq).await,
        Command::Replay(replay) => replay::replay(app, replay).await,
        Command::Queue(queue) => queue::queue(app, queue).await,
        Command::Workers(noun) => workers::workers(app, noun).await,
        Command::Providers(cmd) => providers::providers(app, cmd).await,
        Command::Sources(noun) => nouns::sources(app, noun).await,
        Command::Workflows(noun) => nouns::workflows(app, noun).await,
        Command::Drift(noun) => drift::drift(app, noun).await,
        Command::Contract(noun) => contract::contract(app, noun).await,
        Command::Stats(args) => stats::stats(app, &args).await,
        Command::Export(args) => export::export(app, &args).await,
        Command::Doctor => doctor::doctor(app).await,
        Command::Tui(args) => crate::tui::tui(app, &args).await,
        Command::Top => crate::tui::tui(app, &crate::args::TuiArgs::top()).await,
        Command::Man(args) => man::man(app, &args),
        Command::Help(args) => help::help(app, &args),
        Command::Version => version::version(app).await,
        Command::Completions { shell } => completions::completions(app, shell),
    }
}
