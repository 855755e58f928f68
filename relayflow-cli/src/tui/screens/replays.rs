//! The jobs, newest first.

use std::time::Duration;

use relayflow_core::api::Replay;

use super::Part;
use super::table::{Cursor, nothing};
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::Canvas;
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Page, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::popup::question::Then;
use crate::tui::popup::{self, Popup};
use crate::tui::pulse::Pulse;
use crate::tui::route::Route;
use crate::tui::theme::Role;

#[derive(Debug, Default)]
pub(crate) struct ReplaysScreen {
    jobs: Pane<Page<Replay>>,
    cursor: Cursor,
}

impl ReplaysScreen {
    fn jobs(&self) -> &[Replay] {
        self.jobs.value.as_ref().map_or(&[], |page| &page.rows)
    }

    fn keys(&self) -> Vec<String> {
        self.jobs().iter().map(|job| job.id.clone()).collect()
    }
}

/// Asks before a job is paused, resumed or cancelled.
pub(super) fn control(ctx: &mut Ctx, job: &Replay, action: Action) {
    let (verb, what) = match action {
        Action::PauseJob => ("pause", "Start no further item until it is resumed."),
        Action::ResumeJob => ("resume", "Go on with what is left."),
        Action::CancelJob => {
            ("cancel", "Start no further item, for good; an attempt under way is finished.")
        }
        _ => return,
    };
    if job.ended_at.is_some() {
        ctx.say(format!("{} has ended", job.id), Role::Warn);
        return;
    }
    if ctx.may_act() {
        let left = crate::output::time::things(job.items.pending, "item");
        let lines = vec![format!("{verb} {}? To come: {left}.", job.id), what.to_owned()];
        let then = Then::Control { id: job.id.clone(), verb };
        let question = popup::Question::new(format!("{verb} the job"), lines, then);
        ctx.popup = Some(Popup::Question(Box::new(question)));
    }
}

impl Part for ReplaysScreen {
    fn place(&self) -> Place {
        Place::Replays
    }

    fn crumb(&self) -> String {
        "Replays".to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Replays)
    }

    fn status(&self, _ctx: &Ctx) -> String {
        let going = self.jobs().iter().filter(|job| job.ended_at.is_none()).count();
        format!("{going} not ended")
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_none() {
            self.jobs.poll(ctx, || Question::Replays { cursor: None });
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        let job = self.jobs().get(self.cursor.at());
        match (action, job) {
            (Action::Chart, job) => super::overview::chart(ctx, job.map(|job| job.id.clone())),
            (Action::Open, Some(job)) => ctx.go = Some(Go::Push(Route::Job(job.id.clone()))),
            (Action::PauseJob | Action::ResumeJob | Action::CancelJob, Some(job)) => {
                control(ctx, job, action);
            }
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, frame::body(ctx.size).1);
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Replays(page) = reply { Some(page) } else { None };
        if self.jobs.take(ctx, answer, Duration::from_secs(1), pick) {
            let keys = self.keys();
            self.cursor.keep(&keys);
        }
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        if self.jobs().is_empty() {
            nothing(
                ctx,
                &self.jobs,
                canvas,
                3,
                "no replay was made yet: R on dead letters makes one",
            );
            return;
        }
        let rows = canvas.height().saturating_sub(1);
        let bars = if canvas.width() < 100 { 12 } else { 24 };
        canvas.put(2, 0, "JOB               DONE", Role::Strong);
        self.cursor.rows(canvas, self.jobs(), rows, |canvas, y, job| {
            let age = ctx.age_of(&job.created_at);
            let line = super::overview::job_line(ctx, job, bars);
            canvas.put(2, y, &format!("{line}  {age}"), role(job));
        });
    }

    fn trouble(&self) -> Option<&Failure> {
        self.jobs.trouble()
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.jobs.stop(ctx);
    }

    fn click(&mut self, _ctx: &mut Ctx, row: usize) {
        let keys = self.keys();
        self.cursor.click(row, &keys);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(job) = self.jobs().get(self.cursor.at()) {
            copies.push(("id".to_owned(), job.id.clone()));
            copies.push(("watch".to_owned(), format!("relayflow replay watch {}", job.id)));
        }
        copies.push(("command".to_owned(), "relayflow replay ls".to_owned()));
        copies
    }
}

fn role(job: &Replay) -> Role {
    if job.ended_at.is_none() {
        return Role::Text;
    }
    if 0 < job.items.dead { Role::Warn } else { Role::Dim }
}
