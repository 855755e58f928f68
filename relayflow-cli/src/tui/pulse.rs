//! The daemon's pulse: its numbers, asked for all the time, and what they were. From it the connection
//! is known.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use relayflow_core::api::Stats;
use relayflow_core::api::codes::Exit;

use super::ctx::{Ctx, Link};
use super::msg::{Answer, Question, Reply};
use super::pane::Pane;
use super::theme::Role;
use crate::failure::Failure;

const EVERY: Duration = Duration::from_secs(1);
/// The first and the longest time between two tries to connect again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// An hour of samples.
const SAMPLES_MAX: usize = 3600;

/// The numbers of one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    events: i64,
    requests: i64,
    rejected: i64,
    duplicates: i64,
    ok: i64,
    dead: i64,
    retry_rate: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    pub(crate) stats: Pane<Box<Stats>>,
    samples: VecDeque<Sample>,
    heard: Option<Timestamp>,
}

/// What the overview draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    Received,
    Ok,
    Retrying,
    Dead,
}

impl Pulse {
    /// Asks when it is time to, also where nobody answered before.
    pub(crate) fn wake(&mut self, ctx: &mut Ctx) {
        match ctx.link {
            Link::Connecting { .. } | Link::Live { .. } => {
                self.stats.poll(ctx, || Question::Stats);
            }
            Link::Lost { at, .. } | Link::Refused { at, .. } => {
                if at <= ctx.now.run && self.stats.waits(ctx.now.run).is_none() {
                    self.stats.ask(ctx, Question::Stats);
                }
            }
        }
    }

    /// Tries again now.
    pub(crate) fn retry_now(&mut self, ctx: &mut Ctx) {
        self.stats.ask(ctx, Question::Stats);
    }

    /// Takes the answer if it is the pulse's, and learns from it how the connection is.
    pub(crate) fn take(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| match reply {
            Reply::Stats(stats) => Some(stats),
            _ => None,
        };
        if !self.stats.take(ctx, answer, EVERY, pick) {
            return;
        }
        if let Some(failure) = self.stats.error.clone() {
            self.lose(ctx, failure);
            return;
        }
        self.sample(ctx);
        self.heard = Some(ctx.now.wall);
        let was = std::mem::replace(&mut ctx.link, Link::Live { heard: ctx.now.run });
        if let Link::Lost { since, .. } = was {
            let away = ctx.now.run.saturating_sub(since).as_secs();
            ctx.say(format!("connected again after {away}s"), Role::Ok);
        }
    }

    fn sample(&mut self, ctx: &mut Ctx) {
        let Some(stats) = &self.stats.value else { return };
        if let Ok(at) = stats.at.parse::<Timestamp>() {
            ctx.skew = at.duration_since(ctx.now.wall);
        }
        if SAMPLES_MAX <= self.samples.len() {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at: ctx.now.run,
            events: stats.events,
            requests: stats.requests,
            rejected: stats.rejected,
            duplicates: stats.duplicates,
            ok: stats.tasks.ok,
            dead: stats.dead_letters,
            retry_rate: stats.retry_rate,
        });
    }

    fn lose(&mut self, ctx: &mut Ctx, failure: Failure) {
        let now = ctx.now.run;
        match failure.exit() {
            Exit::Unreachable => {
                let (since, retry) = match ctx.link {
                    Link::Lost { since, retry, .. } => (since, retry + 1),
                    Link::Connecting { since } => (since, 1),
                    Link::Live { .. } | Link::Refused { .. } => (now, 1),
                };
                let wait = (FIRST_WAIT * 2_u32.saturating_pow(retry.min(5) - 1)).min(LONGEST_WAIT);
                // Many screens that lost one daemon do not come back at one moment.
                let spread =
                    wait.mul_f64(f64::from(ctx.now.wall.subsec_microsecond() % 1000) / 5000.0);
                let at = now + wait.saturating_sub(spread);
                let why = failure.why.clone().unwrap_or_else(|| failure.message.clone());
                ctx.link = Link::Lost { since, heard: self.heard, retry, at, why };
            }
            Exit::Auth => {
                let what = failure.message.clone();
                ctx.link = Link::Refused { what, at: now + LONGEST_WAIT };
            }
            Exit::Ok
            | Exit::Error
            | Exit::Usage
            | Exit::NotFound
            | Exit::Refused
            | Exit::Partial
            | Exit::Pending
            | Exit::Empty
            | Exit::Findings => ctx.fail(&failure),
        }
        if ctx.errors.back().is_none_or(|last| last.failure != failure) {
            ctx.log(&failure);
        }
    }

    /// One value for each of `columns` parts of the last `window`; `None` where nothing is known.
    pub(crate) fn series(
        &self,
        which: Series,
        now: Duration,
        window: Duration,
        columns: usize,
    ) -> Vec<Option<f64>> {
        let count = u32::try_from(columns.max(1)).unwrap_or(u32::MAX);
        let part = window / count;
        let mut values = Vec::with_capacity(columns);
        for column in (0..count).rev() {
            // Whole parts of the run's time, so that a bar does not change while it moves.
            let step = part.as_millis().max(1);
            let end = (now.as_millis() / step + 1).saturating_sub(u128::from(column)) * step;
            let end = Duration::from_millis(u64::try_from(end).unwrap_or(u64::MAX));
            values.push(self.value(which, end.saturating_sub(part), end));
        }
        values
    }

    fn value(&self, which: Series, from: Duration, to: Duration) -> Option<f64> {
        let begin = self.samples.partition_point(|s| s.at < from);
        let end = self.samples.partition_point(|s| s.at < to);
        let last = self.samples.get(end.checked_sub(1)?).filter(|_| begin < end)?;
        let before = self.samples.get(begin.saturating_sub(1))?;
        let rate = |of: fn(&Sample) -> i64| rate(of(before), of(last), last.at - before.at);
        match which {
            Series::Received => rate(|s| s.events),
            Series::Ok => rate(|s| s.ok),
            Series::Retrying => Some(last.retry_rate * 100.0),
            Series::Dead => Some(number(last.dead)),
        }
    }

    /// Per second, over the last ten seconds.
    pub(crate) fn rate(&self, which: Series) -> Option<f64> {
        let last = self.samples.back()?;
        let from = last.at.saturating_sub(Duration::from_secs(10));
        let before = self.samples.iter().find(|s| from <= s.at)?;
        let of = |s: &Sample| match which {
            Series::Received => s.events,
            Series::Ok => s.ok,
            Series::Retrying => 0,
            Series::Dead => s.dead,
        };
        rate(of(before), of(last), last.at - before.at)
    }

    /// The shares of rejected requests and of duplicate events among what came in this session.
    pub(crate) fn shares(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let requests = number(last.requests - first.requests);
        if requests <= 0.0 {
            return None;
        }
        let share = |part: i64| number(part) * 100.0 / requests;
        Some((share(last.rejected - first.rejected), share(last.duplicates - first.duplicates)))
    }

    pub(crate) fn stats(&self) -> Option<&Stats> {
        self.stats.value.as_deref()
    }
}

fn number(count: i64) -> f64 {
    // Exact up to 2^53, which is more than anybody reads off a bar.
    f64::from(i32::try_from(count).unwrap_or(i32::MAX))
}

fn rate(before: i64, after: i64, over: Duration) -> Option<f64> {
    let seconds = over.as_secs_f64();
    (0.0 < seconds).then(|| number((after - before).max(0)) / seconds)
}
