//! relayflowd: arguments, config, logs, exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use relayflow_core::api::codes::Exit;
use relayflow_core::execute::action::command::run_guard_if_asked;
use relayflow_daemon::args::UpArgs;
use relayflow_daemon::{ServeError, logs, serve, signals};

/// The RelayFlow daemon: signed webhooks in, durable work out
#[derive(Debug, Parser)]
#[command(name = "relayflowd", version)]
struct Cli {
    #[command(flatten)]
    up: UpArgs,
    /// The store: sqlite:PATH [default: sqlite:relayflow.db]
    #[arg(long, value_name = "URL")]
    db: Option<String>,
}

fn main() -> ExitCode {
    // Our own binary, started again to keep watch over a command, is never a daemon.
    run_guard_if_asked();
    let cli = Cli::parse();
    logs::start(cli.up.log_format, cli.up.log_default());
    ExitCode::from(run(cli).code())
}

fn run(cli: Cli) -> Exit {
    let (options, warnings) = match cli.up.options(cli.db) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| say(&mistake.to_string()));
            return Exit::Usage;
        }
    };
    warnings.iter().for_each(|warning| say(&warning.to_string()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: no threads to run on: {error}"));
            return Exit::Error;
        }
    };
    let served: anyhow::Result<()> = runtime.block_on(async {
        let stop = signals::stop_token()?;
        Ok(serve(options, stop).await?)
    });
    match served {
        Ok(()) => Exit::Ok,
        Err(error) => {
            say(&format!("error: {error:#}"));
            error.downcast_ref::<ServeError>().map_or(Exit::Error, ServeError::exit)
        }
    }
}

/// A line on stderr. Who closed it does not read this either.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
