//! The queue of each destination, and who works on them.

use std::time::Duration;

use relayflow_core::api::{Queue, Worker};
use relayflow_core::view::doctor::shell;

use super::Part;
use super::overview::{busy_first, chart, quoted};
use super::table::{Cursor, nothing};
use crate::commands::queue::drain_text;
use crate::failure::Failure;
use crate::output::time;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, Column, dim, head, lay_out, piece, plain, row};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::popup::question::Then;
use crate::tui::popup::{self, Pause, Popup};
use crate::tui::pulse::Pulse;
use crate::tui::route::{Noun, Route};
use crate::tui::theme::Role;

#[derive(Debug, Default)]
pub(crate) struct QueuesScreen {
    queues: Pane<Vec<Queue>>,
    workers: Pane<Vec<Worker>>,
    cursor: Cursor,
}

const fn number(title: &'static str, width: usize, weight: u8) -> Column {
    Column { title, width, is_right: true, weight, grows: false }
}

const COLUMNS: [Column; 10] = [
    Column { title: "QUEUE", width: 17, is_right: false, weight: 0, grows: false },
    number("DEPTH", 6, 1),
    number("OLDEST", 7, 2),
    number("RUNNING", 7, 6),
    number("IN/s", 5, 8),
    number("OUT/s", 5, 5),
    number("RETRY%", 6, 4),
    number("DEAD", 5, 3),
    number("DRAIN IN", 8, 7),
    Column { title: "STATE", width: 22, is_right: false, weight: 1, grows: true },
];

/// Asks before a queue stands still, or goes on.
pub(super) fn control(ctx: &mut Ctx, queue: &Queue, action: Action) {
    if !ctx.may_act() {
        return;
    }
    ctx.popup = Some(match (action, &queue.pause) {
        (Action::PauseQueue, _) => Popup::Pause(Box::new(Pause::new(ctx, queue))),
        (_, None) => {
            ctx.say(format!("{} is not paused", queue.name), Role::Warn);
            return;
        }
        (_, Some(pause)) => {
            let waits = time::things(u64::try_from(queue.depth).unwrap_or(0), "task");
            let lines = vec![
                format!("Let {} go on? {waits} waiting.", queue.name),
                format!("It was paused by {}: {}", pause.who, pause.reason),
            ];
            let then = Then::ResumeQueue { name: queue.name.clone() };
            Popup::Question(Box::new(popup::Question::new("resume a queue", lines, then)))
        }
    });
}

/// `paused by ana until 14:30 "deploy"`, `open  breaker half`.
pub(super) fn state(ctx: &Ctx, queue: &Queue) -> String {
    let glyphs = &ctx.glyphs;
    let Some(pause) = &queue.pause else {
        let state = glyphs.status(&queue.state).replace('_', " ");
        let half = queue.breaker.as_deref() == Some("half_open");
        return if half { format!("{state}  breaker half") } else { state };
    };
    let until = match &pause.until {
        Some(until) => format!("until {}", time::until(until, &ctx.zone, ctx.clock())),
        None => "until resumed".to_owned(),
    };
    let mark = if glyphs.is_ascii() { "=" } else { "‖" };
    format!("{mark} paused by {} {until} \"{}\"", pause.who, pause.reason)
}

impl QueuesScreen {
    fn queues(&self) -> &[Queue] {
        self.queues.value.as_deref().unwrap_or_default()
    }

    fn keys(&self) -> Vec<String> {
        self.queues().iter().map(|queue| queue.name.clone()).collect()
    }
}

fn count(number: i64) -> String {
    time::count(u64::try_from(number).unwrap_or(0))
}

/// How long ago it was heard of.
fn beat(worker: &Worker) -> String {
    let beat = jiff::SignedDuration::try_from_secs_f64(worker.heartbeat_seconds);
    time::amount(beat.unwrap_or_default())
}

impl Part for QueuesScreen {
    fn place(&self) -> Place {
        Place::Queues
    }

    fn crumb(&self) -> String {
        "Queues".to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Queues)
    }

    fn status(&self, _ctx: &Ctx) -> String {
        let depth: i64 = self.queues().iter().map(|queue| queue.depth).sum();
        format!("{} waiting", count(depth))
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_none() {
            self.queues.poll(ctx, || Question::Queues);
            self.workers.poll(ctx, || Question::Workers);
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match (action, self.queues().get(self.cursor.at())) {
            (Action::PauseQueue | Action::ResumeQueue, Some(queue)) => control(ctx, queue, action),
            (Action::Open, Some(queue)) => {
                let filter = format!("dest:{}", quoted(&queue.name));
                let noun = Noun::DeadLetters;
                ctx.go = Some(Go::Push(Route::List { noun, filter }));
            }
            (Action::Chart, queue) => chart(ctx, queue.map(|queue| queue.name.clone())),
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, frame::body(ctx.size).1);
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let every = Duration::from_secs(1);
        let pick =
            |reply| if let Reply::Queues(queues) = reply { Some(busy_first(queues)) } else { None };
        if self.queues.take(ctx, answer, every, pick) {
            let keys = self.keys();
            self.cursor.keep(&keys);
        }
        let pick = |reply| if let Reply::Workers(workers) = reply { Some(workers) } else { None };
        self.workers.take(ctx, answer, every * 2, pick);
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        let glyphs = canvas.glyphs;
        let laid = lay_out(&COLUMNS, canvas.width().saturating_sub(2));
        canvas.put(0, 0, &format!("  {}", head(&COLUMNS, &laid, glyphs)), Role::Strong);
        if self.queues().is_empty() {
            nothing(ctx, &self.queues, canvas, 2, "no queue yet: nothing was routed");
        }
        let workers = self.workers.value.as_deref().unwrap_or_default();
        let rows = canvas
            .height()
            .saturating_sub(1 + if workers.is_empty() { 0 } else { workers.len() + 1 });
        let shown = self.queues().len().min(rows);
        self.cursor.rows(canvas, self.queues(), rows, |canvas, y, queue| {
            let oldest = queue.oldest_queued_seconds.filter(|_| 0 < queue.depth).map_or_else(
                || glyphs.none().to_owned(),
                |s| time::amount(jiff::SignedDuration::try_from_secs_f64(s).unwrap_or_default()),
            );
            let none = || glyphs.none().to_owned();
            let retries = queue.retry_ratio.map_or_else(none, |r| format!("{:.1}", r * 100.0));
            let drain = drain_text(queue).replace('–', glyphs.none());
            let is_open = queue.state == "open";
            let dead = if 0 < queue.dead { Role::Bad } else { Role::Dim };
            let cells = [
                plain(&*queue.name),
                plain(count(queue.depth)),
                plain(oldest),
                plain(count(queue.running)),
                plain(format!("{:.1}", queue.in_per_second)),
                plain(format!("{:.1}", queue.out_per_second)),
                plain(retries),
                piece(count(queue.dead), dead),
                dim(drain),
                piece(state(ctx, queue), if is_open { Role::Ok } else { Role::Warn }),
            ];
            canvas.part(2, y, canvas.width(), 1).line(0, &row(&COLUMNS, &laid, &cells, glyphs));
        });
        let y = 1 + shown.max(2);
        if workers.is_empty() {
            return;
        }
        canvas.rule(y, "Workers");
        for (place, worker) in workers.iter().enumerate() {
            let text = format!(
                "  {}  {}, heard of {} ago  {} running  {} leases  version {}",
                worker.id,
                worker.state,
                beat(worker),
                worker.running,
                worker.leases,
                worker.version
            );
            let role = if worker.state == "live" { Role::Text } else { Role::Bad };
            canvas.put(0, y + 1 + place, &text, role);
        }
    }

    fn trouble(&self) -> Option<&Failure> {
        self.queues.trouble().or(self.workers.trouble())
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.queues.stop(ctx);
        self.workers.stop(ctx);
    }

    fn click(&mut self, _ctx: &mut Ctx, row: usize) {
        let keys = self.keys();
        self.cursor.click(row, &keys);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(queue) = self.queues().get(self.cursor.at()) {
            copies.push(("name".to_owned(), queue.name.clone()));
            let command = format!("relayflow queue show {}", shell(&queue.name));
            copies.push(("show".to_owned(), command));
        }
        copies.push(("command".to_owned(), "relayflow queue ls".to_owned()));
        copies
    }
}
