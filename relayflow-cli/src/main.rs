//! `relayflow`: the operator's command line. Parse, run, print, exit.

mod app;
mod args;
mod backend;
mod commands;
mod complete;
mod confirm;
mod context;
mod environment;
mod failure;
mod output;
mod selection;
mod tui;
mod vendor;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};
use jiff::tz::TimeZone;
use relayflow_core::api::codes::Exit;
use relayflow_core::execute::action::command::run_guard_if_asked;

use crate::app::App;
use crate::args::{Cli, Command, Format};
use crate::failure::{Done, Failure};
use crate::output::pager::Sink;
use crate::output::{Out, Surroundings};

fn main() -> ExitCode {
    // This binary, started again to keep watch over a command of a step, is nothing else.
    run_guard_if_asked();
    if complete::answer_if_asked() {
        return ExitCode::SUCCESS;
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    let around = Surroundings::look();
    let wants_json = wants_json(&args);
    let cli = match parse(args, &around) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, wants_json),
    };
    let mut out = Out::new(&cli.global, &around, TimeZone::system());
    if cli.command.is_read() {
        out.sink = Sink::paged(&cli.global, out.format, &|name| std::env::var(name).ok());
    }
    let code = match run(cli, &out) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            out.fail(&failure);
            failure.exit_code()
        }
    };
    out.sink.finish();
    ExitCode::from(code)
}

fn parse(args: Vec<OsString>, around: &Surroundings) -> Result<Cli, clap::Error> {
    let command = Cli::command().term_width(args::help_width(around.stdout_width));
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// Help and version go to stdout and are no error; the rest is 2.
fn usage(error: &clap::Error, wants_json: bool) -> ExitCode {
    // What was typed is repeated: it may have been pasted from anywhere.
    let told = error.render().to_string();
    match relayflow_core::text::message(&told) {
        // A closed stdout or stderr cannot be told to anybody.
        safe if safe == told => drop(error.print()),
        safe => output::complain_plain(safe.trim_end()),
    }
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let code = if is_asked_for { Exit::Ok } else { Exit::Usage };
    if wants_json && !is_asked_for {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        output::complain_json(&Failure::usage(message));
    }
    ExitCode::from(code.code())
}

/// Whether a command line that may not parse asks for JSON.
fn wants_json(args: &[OsString]) -> bool {
    let args: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let is_json = |value: &str| matches!(value, "json" | "ndjson");
    args.contains(&"--json")
        || args.windows(2).any(|pair| matches!(pair[0], "-o" | "--output") && is_json(pair[1]))
        || args.iter().any(|arg| {
            let value = arg.strip_prefix("--output=").or_else(|| arg.strip_prefix("-o"));
            value.is_some_and(|value| is_json(value.trim_start_matches('=')))
        })
}

fn run(cli: Cli, out: &Out) -> Done {
    if out.format == Format::Junit && !cli.command.takes_junit() {
        return Err(commands::no_junit());
    }
    if out.format == Format::Sarif && !cli.command.takes_sarif() {
        return Err(commands::no_sarif());
    }
    let dir = std::env::current_dir().unwrap_or_default();
    let app = App { out: out.clone(), global: cli.global, dir, connected: OnceLock::new() };
    let is_server = matches!(
        cli.command,
        Command::Up(_)
            | Command::Daemon(_)
            | Command::Demo
            | Command::Bench(_)
            | Command::Tui(_)
            | Command::Top
    );
    let mut builder = if is_server {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::error(format!("no threads to run on: {e}")))?;
    if has_files_of_its_own(&app, &cli.command) {
        let done = runtime.block_on(async {
            // Heard from before there is a file.
            let signalled = signalled();
            tokio::select! {
                done = commands::run(&app, cli.command) => done,
                exit = signalled => Err(Failure::signalled(exit)),
            }
        });
        // What is being unpacked or packed ends, and takes its files with it.
        runtime.shutdown_timeout(CLEAN_UP);
        return done;
    }
    let done = runtime.block_on(commands::run(&app, cli.command));
    // A blocked read of stdin must not hold up the end.
    runtime.shutdown_background();
    done
}

/// How long what runs beside may take to remove its files.
const CLEAN_UP: std::time::Duration = std::time::Duration::from_secs(2);

/// Whether it writes files that must be gone when it is ended: a bundle that is unpacked, or packed. The
/// TUI sees to its signals itself.
fn has_files_of_its_own(app: &App, command: &Command) -> bool {
    if matches!(command, Command::Export(_)) {
        return true;
    }
    let db = app.global.db.clone().or_else(|| app.env("RELAYFLOW_DB"));
    !matches!(command, Command::Tui(_) | Command::Top | Command::Up(_) | Command::Daemon(_))
        && db.is_some_and(|db| relayflow_core::bundle::is_bundle(std::path::Path::new(&db)))
}

/// Waits for a signal that ends the program, and gives the exit that it comes to.
fn signalled() -> impl Future<Output = u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let all = [
        (SignalKind::hangup(), 129),
        (SignalKind::interrupt(), 130),
        (SignalKind::terminate(), 143),
    ];
    let mut heard = Vec::new();
    for (kind, exit) in all {
        if let Ok(signal) = signal(kind) {
            heard.push((signal, exit));
        }
    }
    std::future::poll_fn(move |cx| {
        for (signal, exit) in &mut heard {
            if signal.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(*exit);
            }
        }
        std::task::Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_does_not_parse_still_says_whether_it_wants_json() {
        let wants = |line: &str| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            wants_json(&args)
        };
        for line in ["x -o json", "x --output ndjson y", "x --output=json", "x -ojson", "x --json"]
        {
            assert!(wants(line), "{line}");
        }
        for line in ["x", "x -o yaml", "x json", "x --output csv"] {
            assert!(!wants(line), "{line}");
        }
    }
}
