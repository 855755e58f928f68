//! What can happen to the TUI, and what it asks of the outside.

use std::time::Duration;

use crossterm::event::KeyEvent;
use jiff::Timestamp;
use relayflow_core::api::{
    Chart, DeadLetter, DeadLetterGroup, Discard, Drift, Event, Identity, List, Minute, NewExport,
    NewPause, NewPlan, NewReplay, Plan, Queue, Replay, Request, Source, Stats, TimelineEntry,
    Total, Trace, Verification, Worker,
};

use super::route::Noun;
use crate::backend::ChartOf;
use crate::context::Target;
use crate::failure::Failure;

/// The present: how long the TUI runs, for pacing, and this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) run: Duration,
    pub(crate) wall: Timestamp,
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Msg {
    Key(KeyEvent),
    Paste(String),
    Click {
        row: u16,
    },
    Wheel {
        down: bool,
    },
    Size(u16, u16),
    /// Time went by.
    Tick,
    Answer(Answer),
    Tail(TailNews),
    /// An effect on this machine was carried out: what to say of it.
    Note(Result<String, Failure>),
    /// A payload was edited: as it was, and as it is.
    Mended {
        event: String,
        task: String,
        was: String,
        is: Result<String, Failure>,
    },
    /// A command of the palette ended: its name and what it printed.
    Printed {
        title: String,
        text: String,
    },
    /// Another RelayFlow is connected from now on.
    Switched(Result<Box<Target>, Failure>),
    /// A signal: the exit code that it comes to.
    Signal(u8),
    /// A task of ours panicked; this is its report.
    Panicked(String),
}

/// What became of a question.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ticket: Ticket,
    pub(crate) took: Duration,
    pub(crate) result: Result<Reply, Failure>,
}

/// Which question: an answer whose ticket nobody holds any more is dropped.
pub(crate) type Ticket = u64;

/// What the outside must do.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Ask {
        ticket: Ticket,
        question: Box<Question>,
    },
    /// Nobody waits for this answer any more.
    Forget(Ticket),
    /// Follow the timeline with this filter, in place of what was followed.
    Follow {
        q: Option<String>,
    },
    Copy {
        what: String,
        text: String,
    },
    Write {
        name: String,
        text: String,
    },
    /// Hand the terminal to an editor with this text.
    Edit {
        name: String,
        text: String,
    },
    /// Let a person mend a payload in their editor.
    Mend {
        event: String,
        task: String,
        was: String,
        draft: String,
    },
    /// Run `relayflow` with these arguments and show what it prints.
    Run(Vec<String>),
    Switch(String),
    Suspend,
    Repaint,
    Quit {
        exit: u8,
        report: Option<String>,
    },
}

/// What is asked of a RelayFlow.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Stats,
    /// The last hour, minute by minute.
    Minutes,
    /// Who the daemon takes us for.
    Who,
    Chart(ChartOf),
    Groups {
        by: &'static str,
        q: Option<String>,
    },
    Rows {
        noun: Noun,
        q: Option<String>,
        limit: usize,
        cursor: Option<String>,
    },
    Replays {
        cursor: Option<String>,
    },
    Event(String),
    Timeline(String),
    Trace(String),
    Request(String),
    Raw(String),
    Verification(String),
    Queues,
    Workers,
    Sources,
    Drift {
        q: Option<String>,
    },
    AcceptDrift {
        id: String,
        reason: String,
    },
    Revise {
        event: String,
        task: String,
        payload: String,
        reason: String,
    },
    Replay(String),
    Plan(Box<NewPlan>),
    RunPlan(Box<NewReplay>),
    Control {
        id: String,
        verb: &'static str,
    },
    PauseQueue {
        name: String,
        new: NewPause,
    },
    ResumeQueue(String),
    Discard(Discard),
    Readmit {
        id: String,
        reason: Option<String>,
    },
    /// A bundle, to a new file.
    Export {
        new: NewExport,
        to: std::path::PathBuf,
    },
}

impl Question {
    /// Whether it changes something: such a question is asked once and never given up.
    pub(crate) fn is_deed(&self) -> bool {
        match self {
            Self::RunPlan(_)
            | Self::Control { .. }
            | Self::PauseQueue { .. }
            | Self::ResumeQueue(_)
            | Self::Discard(_)
            | Self::AcceptDrift { .. }
            | Self::Revise { .. }
            | Self::Readmit { .. }
            | Self::Export { .. } => true,
            Self::Stats
            | Self::Minutes
            | Self::Who
            | Self::Chart(_)
            | Self::Groups { .. }
            | Self::Rows { .. }
            | Self::Replays { .. }
            | Self::Event(_)
            | Self::Timeline(_)
            | Self::Trace(_)
            | Self::Request(_)
            | Self::Raw(_)
            | Self::Verification(_)
            | Self::Queues
            | Self::Workers
            | Self::Sources
            | Self::Drift { .. }
            | Self::Replay(_)
            | Self::Plan(_) => false,
        }
    }
}

/// The answer, by what was asked.
#[derive(Debug)]
pub(crate) enum Reply {
    Stats(Box<Stats>),
    Minutes(Vec<Minute>),
    Who(Identity),
    Chart(Box<Chart>),
    Groups(List<DeadLetterGroup>),
    Rows(Page<Row>),
    Replays(Page<Replay>),
    Event(Box<Event>),
    Timeline(Vec<TimelineEntry>),
    Trace(Box<Trace>),
    Request(Box<Request>),
    Raw(Vec<u8>),
    Verification(Box<Verification>),
    Queues(Vec<Queue>),
    Workers(Vec<Worker>),
    Sources(Vec<Source>),
    Drift(Page<Drift>),
    Replay(Box<Replay>),
    Plan(Box<Plan>),
    /// A payload was kept as a revision; its task is to be run.
    Revised {
        task: String,
        number: i64,
    },
    /// Something was done: what to say of it.
    Done(String),
}

/// A page of rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) next: Option<String>,
    pub(crate) total: Option<Total>,
}

/// What came of the live timeline.
#[derive(Debug)]
pub(crate) enum TailNews {
    Opened,
    Entries { entries: Vec<TimelineEntry>, dropped: u64 },
    Lost(String),
}

/// One row of a list: what its columns show and no more, whatever the document holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: Box<str>,
    /// What is opened: the event, where there is one.
    pub(crate) event: Option<Box<str>>,
    pub(crate) corr: Box<str>,
    /// When it was received, or died.
    pub(crate) at: Option<Timestamp>,
    pub(crate) source: Box<str>,
    pub(crate) kind: Box<str>,
    /// `workflow/step`, or how many of its tasks are done.
    pub(crate) step: Box<str>,
    pub(crate) destination: Box<str>,
    pub(crate) status: Box<str>,
    pub(crate) attempts: i64,
    pub(crate) error: Box<str>,
    pub(crate) error_id: Option<Box<str>>,
}

/// An error without the call that it names: method and host stand in columns of their own.
pub(crate) fn brief(error: &str) -> &str {
    parts(error).map_or(error, |(_, rest)| rest)
}

/// The host that an error names, and the rest of it.
pub(crate) fn parts(error: &str) -> Option<(&str, &str)> {
    let (call, rest) = error.split_once(": ")?;
    let (method, host) = call.split_once(' ')?;
    let is_call = !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_uppercase())
        && !host.contains(' ')
        && !rest.is_empty();
    is_call.then_some((host, rest))
}

/// The longest error of a row, in bytes: a terminal is no wider.
const ERROR_BYTES: usize = 160;

fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(ERROR_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

impl Row {
    pub(crate) fn of_event(event: Event) -> Self {
        let t = &event.tasks;
        let all = t.queued + t.running + t.retrying + t.ok + t.dead + t.discarded + t.skipped;
        Self {
            step: format!("{}/{all}", t.ok).into(),
            id: event.id.clone().into(),
            event: Some(event.id.into()),
            corr: event.correlation_id.into(),
            at: event.received_at.parse().ok(),
            source: event.source.into(),
            kind: event.event_type.into(),
            destination: "".into(),
            status: event.status.into(),
            attempts: event.attempts,
            error: cut(event.error.as_deref().unwrap_or_default()),
            error_id: None,
        }
    }

    pub(crate) fn of_letter(letter: DeadLetter) -> Self {
        let step = match (&letter.workflow, &letter.step) {
            (Some(workflow), Some(step)) => format!("{workflow}/{step}"),
            _ => letter.reason.clone(),
        };
        let error = letter.error.as_deref().map(brief).unwrap_or(&letter.reason).to_owned();
        let error = match letter.http_status {
            Some(http) if !error.contains(&http.to_string()) => format!("{http} {error}"),
            _ => error,
        };
        Self {
            step: step.into(),
            id: letter.id.into(),
            event: letter.event_id.map(Into::into),
            corr: letter.correlation_id.into(),
            at: letter.died_at.parse().ok(),
            source: letter.source.into(),
            kind: letter.event_type.unwrap_or_default().into(),
            destination: letter.destination.unwrap_or_default().into(),
            status: letter.status.into(),
            attempts: letter.attempts,
            error: cut(&error),
            error_id: letter.error_id.map(Into::into),
        }
    }

    pub(crate) fn of_request(request: Request) -> Self {
        let why = [request.reason.unwrap_or_default(), request.detail.unwrap_or_default()];
        Self {
            step: request.events.to_string().into(),
            id: request.id.into(),
            event: None,
            corr: request.correlation_id.into(),
            at: request.received_at.parse().ok(),
            source: request.source.into(),
            kind: format!("{} {}", request.method, request.target).into(),
            destination: "".into(),
            status: request.status.into(),
            attempts: request.body_bytes,
            error: cut(why.join(" ").trim()),
            error_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_without_the_call() {
        for (error, shown) in [
            ("POST api.example.com: 422 Unprocessable Entity", "422 Unprocessable Entity"),
            ("exit 3: no such file", "exit 3: no such file"),
            ("timeout: 10s", "timeout: 10s"),
            ("POST api.example.com", "POST api.example.com"),
        ] {
            assert_eq!(brief(error), shown);
        }
    }

    #[test]
    fn a_rows_error_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(200)).len(), ERROR_BYTES);
        assert_eq!(&*cut(&format!("x{}", "é".repeat(200))), format!("x{}", "é".repeat(79)));
    }
}
