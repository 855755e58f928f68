//! The daemon's pulse: its numbers, asked for all the time, and what they were. From it the connection
//! is known.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use relayflow_core::api::codes::{Code, Exit};
use relayflow_core::api::{Minute, Stats};

use super::ctx::{Ctx, Link};
use super::msg::{Answer, Question, Reply};
use super::pane::Pane;
use super::theme::Role;
use crate::failure::Failure;

const EVERY: Duration = Duration::from_secs(1);
/// The first and the longest time between two tries to connect again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// What was before is asked for once, and again after nobody answered for a while.
const ONCE: Duration = Duration::from_secs(3600);
const MINUTE_MS: i64 = 60_000;
/// An hour of samples.
const SAMPLES_MAX: usize = 3600;

/// The numbers of one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    at_ms: i64,
    events: i64,
    requests: i64,
    rejected: i64,
    duplicates: i64,
    ok: i64,
    dead: i64,
    retry_rate: f64,
}

/// One minute before this TUI looked.
#[derive(Debug, Clone, Copy)]
struct Past {
    /// When it began, in the run's time: before the start it is negative.
    from_ms: i64,
    events: i64,
    ok: i64,
    retry_rate: Option<f64>,
    dead: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    pub(crate) stats: Pane<Box<Stats>>,
    minutes: Pane<()>,
    who: Pane<()>,
    past: Vec<Past>,
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
                // Behind the first answer: before it nothing is known of the daemon's clock.
                if self.heard.is_some() {
                    self.minutes.poll(ctx, || Question::Minutes);
                    if !ctx.is_store() {
                        self.who.poll(ctx, || Question::Who);
                    }
                }
            }
            Link::Lost { at, .. } | Link::Refused { at, .. } => {
                if at <= ctx.now.run && self.stats.waits(ctx.now.run).is_none() {
                    self.stats.ask(ctx, Question::Stats);
                }
            }
        }
    }

    /// Asks anew over another connection; what is known stays.
    pub(crate) fn begin_anew(&mut self) {
        self.stats.forget();
        self.minutes = Pane::default();
        self.who = Pane::default();
    }

    /// Tries again now.
    pub(crate) fn retry_now(&mut self, ctx: &mut Ctx) {
        self.stats.ask(ctx, Question::Stats);
    }

    /// Takes the answer if it is the pulse's, and learns from it how the connection is.
    pub(crate) fn take(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let mut who = None;
        let name = |reply| match reply {
            Reply::Who(told) => {
                who = Some(told);
                Some(())
            }
            _ => None,
        };
        if self.who.take(ctx, answer, ONCE, name) {
            ctx.who = who;
            return;
        }
        let mut minutes = Vec::new();
        let keep = |reply| match reply {
            Reply::Minutes(all) => {
                minutes = all;
                Some(())
            }
            _ => None,
        };
        if self.minutes.take(ctx, answer, ONCE, keep) {
            self.past = minutes.iter().filter_map(|minute| past(ctx, minute)).collect();
            return;
        }
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
            self.minutes = Pane::default();
            self.who = Pane::default();
            let away = ctx.now.run.saturating_sub(since).as_secs();
            ctx.say(format!("connected again after {away}s"), Role::Ok);
        }
    }

    fn sample(&mut self, ctx: &mut Ctx) {
        let Some(stats) = &self.stats.value else { return };
        if let Ok(at) = stats.at.parse::<Timestamp>() {
            ctx.skew = at.duration_since(ctx.now.wall);
        }
        ctx.speaks = stats.v;
        if SAMPLES_MAX <= self.samples.len() {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at: ctx.now.run,
            at_ms: ms(ctx.now.run),
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
                // A token that was taken before and is not any more has come to its end.
                let is_token = failure.code == Code::NoToken.as_str();
                let is_expired = is_token && self.heard.is_some();
                let what =
                    if is_expired { "token expired".to_owned() } else { failure.message.clone() };
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
        let count = i64::try_from(columns.max(1)).unwrap_or(i64::MAX);
        let part = (ms(window) / count).max(1);
        // Whole parts of the run's time, so that a bar does not change while it moves.
        let end = (ms(now).div_euclid(part) + 1) * part;
        let from = |column| end - (count - column) * part;
        (0..count).map(|column| self.value(which, from(column), from(column) + part)).collect()
    }

    fn value(&self, which: Series, from: i64, to: i64) -> Option<f64> {
        self.seen(which, from, to).or_else(|| self.told(which, from, to))
    }

    /// As this TUI saw it.
    fn seen(&self, which: Series, from: i64, to: i64) -> Option<f64> {
        let begin = self.samples.partition_point(|s| s.at_ms < from);
        let end = self.samples.partition_point(|s| s.at_ms < to);
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

    /// As the daemon tells of it: the minute in which the middle of the part lies.
    fn told(&self, which: Series, from: i64, to: i64) -> Option<f64> {
        let middle = i64::midpoint(from, to);
        let place = self.past.partition_point(|past| past.from_ms <= middle).checked_sub(1)?;
        let past = self.past.get(place).filter(|past| middle < past.from_ms + MINUTE_MS)?;
        match which {
            Series::Received => Some(number(past.events) / 60.0),
            Series::Ok => Some(number(past.ok) / 60.0),
            Series::Retrying => past.retry_rate,
            Series::Dead => Some(number(past.dead)),
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

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A minute that the daemon tells of, in the run's time.
fn past(ctx: &Ctx, minute: &Minute) -> Option<Past> {
    let at: Timestamp = minute.at.parse().ok()?;
    let ago = i64::try_from(ctx.clock().duration_since(at).as_millis()).ok()?;
    let retry_rate =
        (0 < minute.attempts).then(|| number(minute.retries) * 100.0 / number(minute.attempts));
    let (events, ok, dead) = (minute.events, minute.ok, minute.dead);
    Some(Past { from_ms: ms(ctx.now.run) - ago, events, ok, retry_rate, dead })
}

fn number(count: i64) -> f64 {
    // Exact up to 2^53, which is more than anybody reads off a bar.
    f64::from(i32::try_from(count).unwrap_or(i32::MAX))
}

fn rate(before: i64, after: i64, over: Duration) -> Option<f64> {
    let seconds = over.as_secs_f64();
    (0.0 < seconds).then(|| number((after - before).max(0)) / seconds)
}
