//! `relayflow`: the operator's command line. Parse, run, print, exit.

mod app;
mod args;
mod backend;
mod commands;
mod confirm;
mod context;
mod failure;
mod output;
mod selection;
mod vendor;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};
use jiff::tz::TimeZone;
use relayflow_core::api::codes::Exit;
use relayflow_core::execute;

use crate::app::App;
use crate::args::{Cli, Command};
use crate::failure::{Done, Failure};
use crate::output::{Out, Surroundings};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == execute::GUARD_ARGUMENT) {
        return execute::guard_main(&args[2..]);
    }
    let around = Surroundings::look();
    let cli = match parse(args, &around) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let out = Out::new(&cli.global, &around, TimeZone::system());
    let code = match run(cli, &out) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            out.fail(&failure);
            failure.exit_code()
        }
    };
    ExitCode::from(code)
}

fn parse(args: Vec<OsString>, around: &Surroundings) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if let Some(width) = around.stdout_width {
        command = command.term_width(width.min(100));
    }
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// Help and version go to stdout and are no error; the rest is 2.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr cannot be told to anybody.
    let _ = error.print();
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let code = if is_asked_for { Exit::Ok } else { Exit::Usage };
    ExitCode::from(code.code())
}

fn run(cli: Cli, out: &Out) -> Done {
    let dir = std::env::current_dir().unwrap_or_default();
    let app = App { out: out.clone(), global: cli.global, dir };
    let is_server = matches!(
        cli.command,
        Command::Up(_) | Command::Daemon(_) | Command::Demo | Command::Bench(_)
    );
    let mut builder = if is_server {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::error(format!("no threads to run on: {e}")))?;
    let done = runtime.block_on(commands::run(&app, cli.command));
    // A blocked read of stdin must not hold up the end.
    runtime.shutdown_background();
    done
}
