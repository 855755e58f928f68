//! The first screen: what flows, what fails, what waits, what runs.

mod view;

use std::time::Duration;

use relayflow_core::api::{DeadLetterGroup, Queue, Replay, Worker};

use super::Part;
use super::table::Cursor;
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go, PlanAsk};
use crate::tui::draw::Canvas;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::pulse::Pulse;
use crate::tui::route::{Noun, Route};
use crate::tui::theme::Role;
pub(super) use view::{group_line, job_line};

const EVERY: Duration = Duration::from_secs(2);

/// What the bars cover; `[` and `]` change it.
const WINDOWS: [(Duration, &str); 4] = [
    (Duration::from_secs(60), "1m"),
    (Duration::from_secs(300), "5m"),
    (Duration::from_secs(900), "15m"),
    (Duration::from_secs(3600), "1h"),
];

#[derive(Debug)]
pub(crate) struct Overview {
    groups: Pane<Vec<DeadLetterGroup>>,
    queues: Pane<Vec<Queue>>,
    workers: Pane<Vec<Worker>>,
    running: Pane<Vec<Replay>>,
    cursor: Cursor,
    window: usize,
    /// Whether the cursor was moved: until then it stays on the worst.
    is_moved: bool,
    /// Whether what the cursor is in has the whole screen.
    is_zoomed: bool,
}

impl Default for Overview {
    fn default() -> Self {
        Self {
            groups: Pane::default(),
            queues: Pane::default(),
            workers: Pane::default(),
            running: Pane::default(),
            cursor: Cursor::default(),
            window: 2,
            is_moved: false,
            is_zoomed: false,
        }
    }
}

/// A row that the cursor can be on.
#[derive(Debug, Clone, Copy)]
enum Line<'a> {
    Hot(&'a DeadLetterGroup),
    Queue(&'a Queue),
    Job(&'a Replay),
}

/// In which pane a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hot,
    Queue,
    Job,
}

impl Line<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Hot(_) => Kind::Hot,
            Self::Queue(_) => Kind::Queue,
            Self::Job(_) => Kind::Job,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Hot(group) => format!("hot {}", group.value),
            Self::Queue(queue) => format!("queue {}", queue.name),
            Self::Job(job) => job.id.clone(),
        }
    }
}

impl Overview {
    fn lines(&self) -> Vec<Line<'_>> {
        let hot = self.groups.value.iter().flatten().map(Line::Hot);
        let queues = self.queues.value.iter().flatten().map(Line::Queue);
        let jobs = self.running.value.iter().flatten().map(Line::Job);
        hot.chain(queues).chain(jobs).collect()
    }

    fn keys(&self) -> Vec<String> {
        self.lines().iter().map(Line::key).collect()
    }

    fn keep(&mut self) {
        let keys = self.keys();
        if self.is_moved {
            self.cursor.keep(&keys);
        } else {
            self.cursor.set(0, &keys);
        }
    }

    fn open(&self, ctx: &mut Ctx) {
        let lines = self.lines();
        let route = match lines.get(self.cursor.at()) {
            Some(Line::Hot(group)) => Route::List { noun: Noun::DeadLetters, filter: term(group) },
            Some(Line::Queue(queue)) => Route::List {
                noun: Noun::DeadLetters,
                filter: format!("dest:{}", quoted(&queue.name)),
            },
            Some(Line::Job(job)) => Route::Job(job.id.clone()),
            None => Route::List { noun: Noun::Events, filter: String::new() },
        };
        ctx.go = Some(Go::Push(route));
    }

    /// A plan of the group under the cursor.
    fn replay(&self, ctx: &mut Ctx) {
        let lines = self.lines();
        let Some(Line::Hot(group)) = lines.get(self.cursor.at()) else {
            ctx.say(
                "R replays a group of dead letters: there is none under the cursor",
                Role::Warn,
            );
            return;
        };
        plan_of_group(ctx, group, "");
    }

    /// Holds up the queue under the cursor, or lets it go on.
    fn control(&self, ctx: &mut Ctx, action: Action) {
        match self.lines().get(self.cursor.at()) {
            Some(Line::Queue(queue)) => super::queues::control(ctx, queue, action),
            _ => ctx.say("P and U are for a queue: there is none under the cursor", Role::Warn),
        }
    }

    /// To the first line of the next pane, or of the one before.
    fn other_pane(&mut self, forward: bool) {
        let keys = self.keys();
        let kinds: Vec<Kind> = self.lines().iter().map(Line::kind).collect();
        let mut firsts: Vec<usize> = (0..kinds.len())
            .filter(|at| at.checked_sub(1).is_none_or(|before| kinds[before] != kinds[*at]))
            .collect();
        if !forward {
            firsts.reverse();
        }
        let here = kinds.get(self.cursor.at()).copied();
        let place = firsts.iter().position(|at| Some(kinds[*at]) == here).unwrap_or(0);
        let next = firsts.get(place + 1).or_else(|| firsts.first()).copied();
        self.cursor.set(next.unwrap_or(0), &keys);
        self.is_moved = true;
    }

    /// The charts of what the cursor is on: a queue's destination, or a job.
    fn chart(&self, ctx: &mut Ctx) {
        let queues = self.queues.value.iter().flatten();
        let of = match self.lines().get(self.cursor.at()) {
            Some(Line::Queue(queue)) => Some(queue.name.clone()),
            Some(Line::Job(job)) => Some(job.id.clone()),
            Some(Line::Hot(_)) | None => queues.map(|queue| queue.name.clone()).next(),
        };
        chart(ctx, of);
    }
}

/// Opens the charts of a destination or a job, if there is one.
pub(super) fn chart(ctx: &mut Ctx, of: Option<String>) {
    match of.filter(|of| !of.is_empty()) {
        Some(of) => ctx.go = Some(Go::Push(Route::Chart(of))),
        None => ctx.say("charts are of a destination or a job: there is none here", Role::Warn),
    }
}

/// A value as one word of the filter language.
pub(super) fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) && !value.contains(':') {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('"', ""))
}

/// The term that selects a group.
pub(super) fn term(group: &DeadLetterGroup) -> String {
    format!("{}:{}", group.by, quoted(&group.value))
}

/// A plan of everything in a group, within what its screen is filtered to.
pub(super) fn plan_of_group(ctx: &mut Ctx, group: &DeadLetterGroup, filter: &str) {
    if !ctx.may_act() {
        return;
    }
    let term = term(group);
    let text = if filter.is_empty() { term } else { format!("{term} ({filter})") };
    match ctx.select(&text, Noun::DeadLetters.base()) {
        Ok(selection) => {
            let words: Vec<_> = text.split_whitespace().map(crate::tui::route::shell).collect();
            let command = format!("relayflow dlq replay {} --all-time", words.join(" "));
            let ask =
                PlanAsk { selection, action: "replay", reason: None, command, is_edit: false };
            ctx.go = Some(Go::Plan(Box::new(ask)));
        }
        Err(failure) => ctx.fail(&failure),
    }
}

impl Part for Overview {
    fn place(&self) -> Place {
        Place::Overview
    }

    fn crumb(&self) -> String {
        "Overview".to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Overview)
    }

    fn status(&self, ctx: &Ctx) -> String {
        let (left, right) = ctx.glyphs.choice;
        format!("window {left} {} {right}  [ ]", WINDOWS[self.window].1)
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_some() {
            return;
        }
        self.groups.poll(ctx, || Question::Groups { by: "error", q: None });
        self.queues.poll(ctx, || Question::Queues);
        self.running.poll(ctx, || Question::Replays { cursor: None });
        if !ctx.is_store() && ctx.is_wide() {
            self.workers.poll(ctx, || Question::Workers);
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match action {
            Action::Open => self.open(ctx),
            Action::ReplayAll => self.replay(ctx),
            Action::NextPane | Action::PrevPane => self.other_pane(action == Action::NextPane),
            Action::Zoom => self.is_zoomed = !self.is_zoomed,
            Action::Chart => self.chart(ctx),
            Action::PauseQueue | Action::ResumeQueue => self.control(ctx, action),
            Action::PrevWindow => self.window = self.window.saturating_sub(1),
            Action::NextWindow => self.window = (self.window + 1).min(WINDOWS.len() - 1),
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, 10);
                self.is_moved = 0 < self.cursor.at();
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Groups(list) = reply { Some(list.items) } else { None };
        self.groups.take(ctx, answer, EVERY, pick);
        let pick =
            |reply| if let Reply::Queues(queues) = reply { Some(busy_first(queues)) } else { None };
        self.queues.take(ctx, answer, EVERY, pick);
        let pick = |reply| if let Reply::Workers(workers) = reply { Some(workers) } else { None };
        self.workers.take(ctx, answer, EVERY * 2, pick);
        let pick =
            |reply| if let Reply::Replays(page) = reply { Some(going_on(page.rows)) } else { None };
        self.running.take(ctx, answer, EVERY, pick);
        self.keep();
    }

    fn view(&self, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
        view::view(self, ctx, pulse, canvas);
    }

    fn trouble(&self) -> Option<&Failure> {
        let first = self.groups.trouble().or(self.queues.trouble());
        first.or(self.workers.trouble()).or(self.running.trouble())
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.groups.stop(ctx);
        self.queues.stop(ctx);
        self.workers.stop(ctx);
        self.running.stop(ctx);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(Line::Hot(group)) = self.lines().get(self.cursor.at()) {
            copies.push(("term".to_owned(), term(group)));
            copies.push(("example".to_owned(), group.example.clone()));
            let command = format!("relayflow dlq replay {} --all-time", term(group));
            copies.push(("replay".to_owned(), command));
        }
        copies.push(("command".to_owned(), "relayflow dlq ls --by error".to_owned()));
        copies
    }

    fn back(&mut self, _ctx: &mut Ctx) -> bool {
        std::mem::take(&mut self.is_zoomed)
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        match self.lines().get(self.cursor.at()) {
            Some(Line::Hot(group)) => group.title.clone().unwrap_or_default(),
            Some(Line::Queue(_) | Line::Job(_)) | None => String::new(),
        }
    }
}

/// What waits most comes first.
pub(super) fn busy_first(mut queues: Vec<Queue>) -> Vec<Queue> {
    queues.sort_by(|a, b| {
        let rank = |q: &Queue| (q.state == "open", -q.depth, -q.dead);
        rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
    });
    queues
}

/// Jobs that have not ended.
fn going_on(jobs: Vec<Replay>) -> Vec<Replay> {
    jobs.into_iter().filter(|job| job.ended_at.is_none()).collect()
}
