//! Charts of one destination or one job: how long attempts take, how often they are tried again, and how
//! many there are over time.

mod view;

use std::time::Duration;

use relayflow_core::api::Chart;

use super::Part;
use super::overview::quoted;
use crate::backend::ChartOf;
use crate::failure::Failure;
use crate::output::time;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, short_id};
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Effect, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::pulse::Pulse;
use crate::tui::route::{Noun, Route, shell};

const EVERY: Duration = Duration::from_secs(2);

/// What a destination's charts cover, in seconds.
const WINDOWS: [(i64, &str); 5] =
    [(300, "5m"), (900, "15m"), (3600, "1h"), (21_600, "6h"), (86_400, "24h")];

/// One of the charts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Latency,
    Heat,
    Rate,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Latency, Self::Heat, Self::Rate];
}

#[derive(Debug)]
pub(crate) struct ChartScreen {
    /// A destination's name, or a job's id.
    of: String,
    window: usize,
    chart: Pane<Box<Chart>>,
    /// The one that `z` shows alone.
    at: usize,
    is_zoomed: bool,
}

impl ChartScreen {
    pub(crate) fn new(of: String) -> Self {
        Self { of, window: 1, chart: Pane::default(), at: 0, is_zoomed: false }
    }

    fn is_of_job(&self) -> bool {
        self.of.starts_with("rpl_")
    }

    fn wanted(&self) -> ChartOf {
        if self.is_of_job() {
            return ChartOf::Replay(self.of.clone());
        }
        ChartOf::Destination { name: self.of.clone(), seconds: WINDOWS[self.window].0 }
    }

    fn show(&mut self, ctx: &mut Ctx, window: usize) {
        if self.is_of_job() || window == self.window {
            return;
        }
        self.window = window;
        let of = self.wanted();
        self.chart.ask(ctx, Question::Chart(of));
    }

    fn open(&self, ctx: &mut Ctx) {
        let route = if self.is_of_job() {
            Route::Job(self.of.clone())
        } else {
            let filter = format!("dest:{}", quoted(&self.of));
            Route::List { noun: Noun::DeadLetters, filter }
        };
        ctx.go = Some(Go::Push(route));
    }

    fn command(&self) -> String {
        let window =
            if self.is_of_job() { String::new() } else { format!(" --window {}", self.window()) };
        format!("relayflow stats --of {}{window}", shell(&self.of))
    }

    fn window(&self) -> &'static str {
        WINDOWS[self.window].1
    }
}

impl Part for ChartScreen {
    fn place(&self) -> Place {
        Place::Chart
    }

    fn crumb(&self) -> String {
        format!("Charts of {}", short_id(&self.of))
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Chart(self.of.clone()))
    }

    fn status(&self, ctx: &Ctx) -> String {
        let Some(chart) = &self.chart.value else { return String::new() };
        let attempts = time::things(chart.attempts, "attempt");
        let latest = if chart.is_whole { "" } else { "the latest " };
        if self.is_of_job() {
            return format!("{latest}{attempts}");
        }
        let (left, right) = ctx.glyphs.choice;
        format!("{latest}{attempts}   window {left} {} {right}  [ ]", self.window())
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_none() {
            let of = self.wanted();
            self.chart.poll(ctx, || Question::Chart(of));
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        let count = Kind::ALL.len();
        match action {
            Action::Open => self.open(ctx),
            Action::PrevWindow => self.show(ctx, self.window.saturating_sub(1)),
            Action::NextWindow => self.show(ctx, (self.window + 1).min(WINDOWS.len() - 1)),
            Action::NextPane | Action::Down => self.at = (self.at + 1) % count,
            Action::PrevPane | Action::Up => self.at = (self.at + count - 1) % count,
            Action::Zoom => self.is_zoomed = !self.is_zoomed,
            Action::Export => {
                if let Some(chart) = &self.chart.value
                    && let Ok(text) = crate::output::document::compact(&**chart)
                {
                    let name = format!("chart-{}.json", self.of);
                    ctx.effects.push(Effect::Write { name, text });
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Chart(chart) = reply { Some(chart) } else { None };
        self.chart.take(ctx, answer, EVERY, pick);
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        view::view(self, ctx, canvas);
    }

    fn trouble(&self) -> Option<&Failure> {
        self.chart.trouble()
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.chart.stop(ctx);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        vec![("of".to_owned(), self.of.clone()), ("command".to_owned(), self.command())]
    }

    fn back(&mut self, _ctx: &mut Ctx) -> bool {
        std::mem::take(&mut self.is_zoomed)
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        format!("same as  {}", self.command())
    }
}
