//! One job: how far it is and how its items ended. It runs on the server; leaving changes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use relayflow_core::api::{DeadLetterGroup, Replay};

use super::Part;
use super::replays::control;
use super::table::Cursor;
use crate::commands::replay::{verdict_line, verdict_notices};
use crate::failure::Failure;
use crate::output::progress::ended;
use crate::output::time;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, bar, dim, fit, piece, plain, right, spark};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Effect, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::pulse::Pulse;
use crate::tui::route::{Noun, Route};
use crate::tui::theme::Role;

const EVERY: Duration = Duration::from_millis(500);
/// A minute of samples.
const SAMPLES_MAX: usize = 120;

#[derive(Debug)]
pub(crate) struct JobScreen {
    id: String,
    job: Pane<Box<Replay>>,
    dead: Pane<Vec<DeadLetterGroup>>,
    cursor: Cursor,
    /// When, and how many had ended.
    samples: VecDeque<(Duration, u64)>,
    is_over: bool,
}

/// A line of the outcomes.
#[derive(Debug)]
struct Outcome<'a> {
    count: u64,
    status: &'static str,
    group: Option<&'a DeadLetterGroup>,
}

impl JobScreen {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            job: Pane::default(),
            dead: Pane::default(),
            cursor: Cursor::default(),
            samples: VecDeque::new(),
            is_over: false,
        }
    }

    fn outcomes(&self) -> Vec<Outcome<'_>> {
        let Some(job) = &self.job.value else { return Vec::new() };
        let items = &job.items;
        let of = |count, status| Outcome { count, status, group: None };
        let mut all: Vec<_> = [
            (items.ok, "ok"),
            (items.moved, "running"),
            (items.skipped, "skipped"),
            (items.discarded, "discarded"),
            (items.cancelled, "cancelled"),
        ]
        .into_iter()
        .filter(|(count, _)| 0 < *count)
        .map(|(count, status)| of(count, status))
        .collect();
        let groups = self.dead.value.as_deref().unwrap_or_default();
        if groups.is_empty() && 0 < items.dead {
            all.push(of(items.dead, "dead"));
        }
        all.extend(groups.iter().map(|group| Outcome {
            count: group.count,
            status: "dead",
            group: Some(group),
        }));
        all
    }

    fn keys(&self) -> Vec<String> {
        let key = |o: &Outcome<'_>| o.group.map_or(o.status.to_owned(), |g| g.value.clone());
        self.outcomes().iter().map(key).collect()
    }

    /// Items ended per second, over the last ten seconds.
    fn rate(&self) -> Option<f64> {
        let (last, count) = *self.samples.back()?;
        let from = last.saturating_sub(Duration::from_secs(10));
        let (first, before) = *self.samples.iter().find(|(at, _)| from <= *at)?;
        let seconds = (last - first).as_secs_f64();
        let done = f64::from(u32::try_from(count.saturating_sub(before)).unwrap_or(u32::MAX));
        (0.0 < seconds).then(|| done / seconds)
    }

    fn rates(&self) -> Vec<Option<f64>> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs
            .map(|((_, before), (_, after))| {
                Some(f64::from(u32::try_from(after.saturating_sub(*before)).unwrap_or(0)))
            })
            .collect()
    }

    fn see(&mut self, ctx: &mut Ctx) {
        let Some(job) = &self.job.value else { return };
        if SAMPLES_MAX <= self.samples.len() {
            self.samples.pop_front();
        }
        self.samples.push_back((ctx.now.run, ended(job)));
        let is_over = job.ended_at.is_some();
        if is_over && !self.is_over && 1 < self.samples.len() {
            // It ended under our eyes.
            ctx.say(format!("{}: {}", job.id, verdict(job)), outcome_role(job));
        }
        self.is_over = is_over;
    }

    fn open(&self, ctx: &mut Ctx) {
        let outcomes = self.outcomes();
        let Some(outcome) = outcomes.get(self.cursor.at()) else { return };
        let replay = format!("replay:{}", self.job_id());
        let (noun, filter) = match (outcome.status, outcome.group) {
            ("dead", Some(group)) => (Noun::DeadLetters, format!("error:{} {replay}", group.value)),
            ("dead", None) => (Noun::DeadLetters, replay),
            _ => (Noun::Events, replay),
        };
        ctx.go = Some(Go::Push(Route::List { noun, filter }));
    }

    fn job_id(&self) -> &str {
        self.job.value.as_ref().map_or(&self.id, |job| &job.id)
    }
}

/// How it ended, in the CLI's words.
fn verdict(job: &Replay) -> String {
    let end = job.ended_at.as_deref().unwrap_or(&job.created_at);
    let took = time::between_ms(&job.created_at, end).unwrap_or(0);
    verdict_line(job, f64::from(i32::try_from(took).unwrap_or(i32::MAX)))
}

fn outcome_role(job: &Replay) -> Role {
    if 0 < job.items.dead { Role::Warn } else { Role::Ok }
}

impl Part for JobScreen {
    fn place(&self) -> Place {
        Place::Job
    }

    fn crumb(&self) -> String {
        let Some(job) = &self.job.value else { return self.id.clone() };
        let reason = job.reason.as_ref().map(|r| format!("  \"{r}\"")).unwrap_or_default();
        format!("{}{reason}  by {}  {}", job.id, job.who, job.action)
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Job(self.id.clone()))
    }

    fn status(&self, ctx: &Ctx) -> String {
        self.job.value.as_ref().map_or_else(String::new, |job| ctx.glyphs.status(&job.status))
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_some() {
            return;
        }
        let id = self.id.clone();
        self.job.poll(ctx, || Question::Replay(id));
        if self.job.value.as_ref().is_some_and(|job| 0 < job.items.dead) {
            let q = Some(format!("replay:{}", self.job_id()));
            self.dead.poll(ctx, || Question::Groups { by: "error", q });
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match action {
            Action::Open => self.open(ctx),
            Action::Chart => super::overview::chart(ctx, Some(self.job_id().to_owned())),
            Action::PauseJob | Action::ResumeJob | Action::CancelJob => {
                if let Some(job) = &self.job.value {
                    control(ctx, job, action);
                }
            }
            Action::Export => {
                if let Some(job) = &self.job.value
                    && let Ok(text) = crate::output::document::compact(&**job)
                {
                    let name = format!("{}.json", job.id);
                    ctx.effects.push(Effect::Write { name, text });
                }
            }
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, 10);
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let every = if self.is_over { EVERY * 10 } else { EVERY };
        let pick = |reply| if let Reply::Replay(job) = reply { Some(job) } else { None };
        if self.job.take(ctx, answer, every, pick) {
            self.see(ctx);
        }
        let pick = |reply| if let Reply::Groups(list) = reply { Some(list.items) } else { None };
        self.dead.take(ctx, answer, Duration::from_secs(1), pick);
        let keys = self.keys();
        self.cursor.keep(&keys);
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        let Some(job) = &self.job.value else {
            let text = match &self.job.error {
                Some(failure) => failure.lines(("", "")),
                None => frame::waiting(ctx),
            };
            for (y, line) in text.lines().enumerate() {
                canvas.put(2, 1 + y, line, Role::Dim);
            }
            return;
        };
        let (done, total) = (ended(job), job.items.total);
        let glyphs = canvas.glyphs;
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        let mut figures = format!("  {} / {}  {percent}%", time::count(done), time::count(total));
        if let Some(rate) = self.rate().filter(|_| job.status == "running") {
            figures.push_str(&format!("  {rate:.1}/s"));
            let left = f64::from(u32::try_from(total.saturating_sub(done)).unwrap_or(u32::MAX));
            if 0.05 < rate {
                figures.push_str(&format!("  ETA {}", time::millis(left / rate * 1000.0)));
            }
        }
        let bars = canvas.width().saturating_sub(figures.chars().count() + 2).min(80);
        let x = canvas.put(1, 1, &bar(done, total, bars, glyphs), Role::Accent);
        canvas.put(x, 1, &figures, Role::Strong);
        let mut pieces = vec![plain("   ")];
        for (status, count) in [
            ("ok", job.items.ok),
            ("dead", job.items.dead),
            ("skipped", job.items.skipped),
            ("running", job.items.moved),
        ] {
            let text = format!("{} {}   ", glyphs.status(status), time::count(count));
            pieces.push(piece(text, Role::of_status(status)));
        }
        pieces.push(dim(format!("to come {}", time::count(job.items.pending))));
        canvas.line(3, &pieces);
        let detail = match (&job.detail, job.ended_at.is_some()) {
            (Some(detail), _) => format!("stopped: {detail}"),
            (None, true) => verdict(job),
            (None, false) => format!("mode {}  plan {}", job.mode, job.plan),
        };
        canvas.put(3, 4, &detail, if job.detail.is_some() { Role::Warn } else { Role::Text });
        canvas.rule(5, "Outcomes");
        let outcomes = self.outcomes();
        let height = canvas.height();
        let rows = height.saturating_sub(6 + 4).max(1).min(outcomes.len().max(1));
        let top = self.cursor.top(rows);
        for (y, outcome) in outcomes.iter().skip(top).take(rows).enumerate() {
            let is_here = top + y == self.cursor.at();
            let mark = if is_here { glyphs.cursor } else { " " };
            let what = outcome.group.map(|g| g.title.as_deref().unwrap_or(&g.value));
            let since = outcome.group.map(|g| ctx.time_of(&g.first_at)).unwrap_or_default();
            canvas.line(
                6 + y,
                &[
                    plain(format!("{mark} {}  ", right(&time::count(outcome.count), 8, glyphs))),
                    piece(
                        fit(&glyphs.status(outcome.status), 12, glyphs),
                        Role::of_status(outcome.status),
                    ),
                    dim(format!("{since}  ")),
                    plain(what.unwrap_or_default()),
                ],
            );
            if is_here {
                canvas.tint(6 + y, Role::Selected);
            }
        }
        let y = 7 + rows;
        canvas.rule(y, "Rate, last minute");
        let rates = self.rates();
        let width = canvas.width().saturating_sub(2);
        canvas.put(1, y + 1, &spark(&rates, width.min(rates.len().max(1)), glyphs), Role::Info);
        if let Some(rate) = job.rate {
            canvas.right(y, &[dim(format!(" limit {rate}/s "))]);
        }
    }

    fn trouble(&self) -> Option<&Failure> {
        self.job.trouble().or(self.dead.trouble())
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.job.stop(ctx);
        self.dead.stop(ctx);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let id = self.job_id();
        vec![
            ("id".to_owned(), id.to_owned()),
            ("watch".to_owned(), format!("relayflow replay watch {id}")),
            ("dead of it".to_owned(), format!("relayflow dlq ls replay:{id}")),
        ]
    }

    fn is_lively(&self) -> bool {
        !self.is_over
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        let Some(job) = &self.job.value else { return String::new() };
        if self.is_over {
            return verdict_notices(job).join("   ");
        }
        "it runs on the server: esc or q leaves it running".to_owned()
    }
}
