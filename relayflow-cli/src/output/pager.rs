//! A pager, for what one reads and does not pipe. It starts with the first line that is printed.

use std::io::{self, IsTerminal as _, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::args::{Format, Global};

/// Which pager is used where neither variable names one.
const USUAL: [&str; 2] = ["less", "-FRX"];

/// Where data goes: stdout, or a pager in front of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink(Option<Arc<Mutex<State>>>);

#[derive(Debug)]
enum State {
    /// The pager's command, for a shell; `None` is the usual one.
    Waiting(Option<String>),
    Running(Child, Option<ChildStdin>),
    /// There is no such pager: stdout after all.
    None,
}

impl Sink {
    /// Through a pager, where a person reads tables on a terminal and has not said otherwise.
    pub(crate) fn paged(
        global: &Global,
        format: Format,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let is_dumb = env("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let is_for_reading = format == Format::Table && io::stdout().is_terminal() && !is_dumb;
        if global.no_pager || !is_for_reading {
            return Self(None);
        }
        let named = env("RELAYFLOW_PAGER").or_else(|| env("PAGER"));
        match named.as_deref().map(str::trim) {
            Some("") => Self(None),
            named => Self(Some(Arc::new(Mutex::new(State::Waiting(named.map(str::to_owned)))))),
        }
    }

    /// Writes and flushes.
    ///
    /// # Errors
    ///
    /// Whoever reads is gone, or cannot be written to.
    pub(crate) fn write(&self, data: &[u8]) -> io::Result<()> {
        let Some(state) = &self.0 else { return to_stdout(data) };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Waiting(named) = &*state {
            *state = start(named.as_deref());
        }
        match &mut *state {
            State::Running(_, Some(stdin)) => {
                stdin.write_all(data)?;
                stdin.flush()
            }
            State::Running(_, None) | State::Waiting(_) | State::None => to_stdout(data),
        }
    }

    /// Lets the person read to the end.
    pub(crate) fn finish(&self) {
        let Some(state) = &self.0 else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(child, stdin) = &mut *state {
            drop(stdin.take());
            // However it ends: what it was given is printed.
            let _ = child.wait();
        }
    }
}

fn to_stdout(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    stdout.flush()
}

fn start(named: Option<&str>) -> State {
    let mut command = match named {
        Some(named) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", named]);
            shell
        }
        None => {
            let [program, flags] = USUAL;
            let mut less = Command::new(program);
            less.arg(flags);
            less
        }
    };
    match command.stdin(Stdio::piped()).spawn() {
        Ok(mut child) => {
            outlive_interrupts();
            let stdin = child.stdin.take();
            State::Running(child, stdin)
        }
        Err(_) => State::None,
    }
}

/// Ctrl-C is the pager's to handle: who started it must be there until it ends.
fn outlive_interrupts() {
    #[cfg(unix)]
    if tokio::runtime::Handle::try_current().is_ok() {
        // Once something listens, the signal no longer ends the process.
        let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn what_is_no_terminal_has_no_pager() {
        // The tests' own stdout may be a terminal: other formats have none there either.
        let global = Cli::try_parse_from(["relayflow", "version"]).unwrap().global;
        let env = |name: &str| (name == "TERM").then(|| "xterm".to_owned());
        assert!(Sink::paged(&global, Format::Json, &env).0.is_none());
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".to_owned());
        assert!(Sink::paged(&global, Format::Table, &dumb).0.is_none());
    }

    #[test]
    fn a_pager_that_is_not_there_is_none() {
        let sink = Sink(Some(Arc::new(Mutex::new(State::None))));
        assert!(sink.write(b"").is_ok());
        sink.finish();
    }
}
