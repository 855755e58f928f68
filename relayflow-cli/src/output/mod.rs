//! What is printed, and how: decided once, at the start, and handed down. The one room that writes
//! to stdout and stderr.

pub(crate) mod columns;
pub(crate) mod document;
pub(crate) mod junit;
pub(crate) mod lines;
pub(crate) mod pager;
pub(crate) mod progress;
pub(crate) mod sarif;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod time;

use std::io::{self, IsTerminal as _, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use relayflow_core::text;
use serde::Serialize;

use crate::args::{ColorWhen, Format, Global, TimeKind};
use crate::failure::Failure;
use pager::Sink;
use style::Style;

/// Where things go and how they look.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) format: Format,
    /// Columns or members to keep; all if empty.
    pub(crate) fields: Vec<String>,
    /// Of stdout.
    pub(crate) style: Style,
    /// Of stderr.
    pub(crate) err_style: Style,
    /// The columns of the terminal that stdout is; `None` where it is none.
    pub(crate) width: Option<usize>,
    pub(crate) err_is_terminal: bool,
    pub(crate) time: TimeKind,
    pub(crate) zone: TimeZone,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    /// Whether a person is there to answer.
    pub(crate) can_ask: bool,
    /// Where data goes.
    pub(crate) sink: Sink,
}

/// What the environment says about output.
#[derive(Debug, Default, Clone)]
pub(crate) struct Surroundings {
    pub(crate) stdin_is_terminal: bool,
    pub(crate) stdout_width: Option<usize>,
    pub(crate) stderr_is_terminal: bool,
    pub(crate) no_color: bool,
    pub(crate) force_color: bool,
    pub(crate) is_dumb: bool,
    pub(crate) is_ci: bool,
    pub(crate) is_ascii: bool,
    /// What `RELAYFLOW_LOG` stands for, as `-v` counts it.
    pub(crate) verbose: u8,
}

impl Surroundings {
    /// Asks the environment and the terminals.
    pub(crate) fn look() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let forced = var("RELAYFLOW_FORCE_TTY").and_then(|columns| columns.parse().ok());
        let width = || {
            let stdout = io::stdout();
            stdout.is_terminal().then(|| {
                terminal_size::terminal_size_of(stdout)
                    .map_or(80, |(width, _)| usize::from(width.0))
            })
        };
        let locale = var("LC_ALL").or_else(|| var("LC_CTYPE")).or_else(|| var("LANG"));
        let is_utf8 = locale.is_some_and(|l| {
            let l = l.to_ascii_lowercase();
            l.contains("utf-8") || l.contains("utf8")
        });
        Self {
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_width: forced.or_else(width),
            stderr_is_terminal: forced.is_some() || io::stderr().is_terminal(),
            no_color: var("NO_COLOR").is_some(),
            force_color: var("CLICOLOR_FORCE").is_some_and(|v| v != "0"),
            is_dumb: var("TERM").is_some_and(|term| term == "dumb"),
            is_ci: var("CI").is_some_and(|v| v != "false" && v != "0"),
            is_ascii: var("RELAYFLOW_ASCII").is_some_and(|v| v != "0") || !is_utf8,
            verbose: match var("RELAYFLOW_LOG").as_deref() {
                Some("debug") => 1,
                Some("trace") => 2,
                Some(_) | None => 0,
            },
        }
    }
}

impl Out {
    pub(crate) fn new(global: &Global, around: &Surroundings, zone: TimeZone) -> Self {
        let format = match (global.output, global.json) {
            (Some(format), _) => format,
            (None, true) => Format::Ndjson,
            (None, false) => Format::Table,
        };
        let color = |is_terminal: bool| match global.color {
            Some(ColorWhen::Always) => true,
            Some(ColorWhen::Never) => false,
            Some(ColorWhen::Auto) | None => {
                around.force_color || (is_terminal && !around.no_color && !around.is_dumb)
            }
        };
        let on_terminal = around.stdout_width.is_some();
        let shows_times = if on_terminal { TimeKind::Rel } else { TimeKind::Utc };
        let is_for_people = matches!(format, Format::Table | Format::Wide);
        let style = |is_terminal| Style {
            color: color(is_terminal),
            marks: is_terminal,
            ascii: around.is_ascii,
        };
        Self {
            format,
            fields: global.fields.clone(),
            style: style(on_terminal),
            err_style: style(around.stderr_is_terminal),
            width: around.stdout_width,
            err_is_terminal: around.stderr_is_terminal,
            time: global.time.unwrap_or(shows_times),
            zone,
            quiet: global.quiet,
            // Who asks for quiet has it.
            verbose: if global.quiet { 0 } else { global.verbose.max(around.verbose) },
            can_ask: around.stdin_is_terminal
                && around.stderr_is_terminal
                && !global.no_input
                && !around.is_ci
                && is_for_people,
            sink: Sink::default(),
        }
    }

    /// Whether a person reads stdout as it is: the table formats.
    pub(crate) fn is_for_people(&self) -> bool {
        match self.format {
            Format::Table | Format::Wide => true,
            Format::Json
            | Format::Ndjson
            | Format::Yaml
            | Format::Csv
            | Format::Name
            | Format::Junit
            | Format::Sarif => false,
        }
    }

    /// Writes data, already made safe, as it is.
    pub(crate) fn print(&self, data: &str) -> Result<(), Failure> {
        self.print_bytes(data.as_bytes())
    }

    /// Writes data and flushes it.
    pub(crate) fn print_bytes(&self, data: &[u8]) -> Result<(), Failure> {
        Ok(self.sink.write(data)?)
    }

    /// One line of data.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        self.print(&format!("{line}\n"))
    }

    /// One line of ndjson.
    pub(crate) fn ndjson<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        self.line(&document::select(&document::compact(value)?, &self.fields)?)
    }

    /// Something to know, on stderr; nothing with `--quiet`.
    pub(crate) fn notice(&self, line: &str) {
        if !self.quiet {
            self.complain(&text::message(line));
        }
    }

    /// Something to know for the one who asked for more.
    pub(crate) fn detail(&self, level: u8, line: &str) {
        if level <= self.verbose {
            self.complain(&text::message(line));
        }
    }

    /// A line on stderr whatever the flags; nobody can be told that stderr is closed.
    pub(crate) fn complain(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Writes on stderr without a line end, as a prompt does.
    pub(crate) fn prompt(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes());
        let _ = stderr.flush();
    }

    /// How a moment of the wire is shown.
    pub(crate) fn moment(&self, wire: &str, now: Timestamp) -> String {
        time::show(wire, self.time, now, &self.zone)
    }

    /// Tells how a command failed; with a JSON format, the last line is for programs.
    pub(crate) fn fail(&self, failure: &Failure) {
        if failure.is_quiet() {
            return;
        }
        self.complain(&failure.lines(self.err_style.red()));
        if matches!(self.format, Format::Json | Format::Ndjson) {
            complain_json(failure);
        }
    }
}

/// Lines on stderr, before it is decided how they look.
pub(crate) fn complain_plain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error as the last line of stderr, for programs.
pub(crate) fn complain_json(failure: &Failure) {
    if let Ok(line) = document::compact(&failure.document()) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Reads one line from stdin; `None` at its end.
pub(crate) fn read_line() -> Option<String> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

#[cfg(test)]
impl Out {
    /// As for a terminal of `columns`, or as into a file.
    pub(crate) fn test(format: Format, columns: Option<usize>) -> Self {
        Self {
            format,
            fields: vec![],
            style: Style { color: false, marks: columns.is_some(), ascii: false },
            err_style: Style { color: false, marks: columns.is_some(), ascii: false },
            width: columns,
            err_is_terminal: columns.is_some(),
            time: if columns.is_some() { TimeKind::Rel } else { TimeKind::Utc },
            zone: TimeZone::UTC,
            quiet: false,
            verbose: 0,
            can_ask: false,
            sink: Sink::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn out(line: &str, around: &Surroundings) -> Out {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        Out::new(&cli.global, around, TimeZone::UTC)
    }

    #[test]
    fn a_flag_for_colour_beats_the_environment() {
        let terminal = Surroundings { stdout_width: Some(80), ..Default::default() };
        assert!(out("relayflow stats", &terminal).style.color);
        let plain = Surroundings { no_color: true, ..terminal };
        assert!(!out("relayflow stats", &plain).style.color);
        assert!(out("relayflow stats --color always", &plain).style.color);
        assert!(!out("relayflow stats", &Surroundings::default()).style.color);
    }

    #[test]
    fn nobody_is_asked_without_a_terminal_in_ci_or_for_a_program() {
        let terminal = Surroundings {
            stdin_is_terminal: true,
            stdout_width: Some(80),
            stderr_is_terminal: true,
            ..Default::default()
        };
        assert!(out("relayflow stats", &terminal).can_ask);
        assert!(!out("relayflow stats -o json", &terminal).can_ask);
        assert!(!out("relayflow stats --no-input", &terminal).can_ask);
        assert!(!out("relayflow stats", &Surroundings { is_ci: true, ..terminal }).can_ask);
        assert!(!out("relayflow stats", &Surroundings::default()).can_ask);
    }

    #[test]
    fn times_are_relative_on_a_terminal_only() {
        let terminal = Surroundings { stdout_width: Some(80), ..Default::default() };
        assert_eq!(out("relayflow stats", &terminal).time, TimeKind::Rel);
        assert_eq!(out("relayflow stats", &Surroundings::default()).time, TimeKind::Utc);
        assert_eq!(out("relayflow stats --time local", &terminal).time, TimeKind::Local);
    }
}
