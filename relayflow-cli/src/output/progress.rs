//! How far a job is: a bar on a terminal, a line now and then elsewhere, documents for programs.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use relayflow_core::api::Replay;
use serde::Serialize;

use super::{Out, time};
use crate::args::Format;
use crate::failure::Failure;

/// How often a log without a terminal hears of it.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One job's progress.
pub(crate) struct Progress {
    out: Out,
    bar: Option<ProgressBar>,
    started: Instant,
    /// When a line was said last, and how many items had ended then.
    said: Option<(Instant, u64)>,
}

/// With `-o ndjson`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    v: u32,
    kind: &'static str,
    replay: &'a str,
    status: &'a str,
    items: &'a relayflow_core::api::ReplayCounts,
}

impl Progress {
    pub(crate) fn new(out: &Out, total: u64) -> Self {
        let wants_bar = out.err_is_terminal && !out.quiet && out.format != Format::Ndjson;
        let bar = wants_bar.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let chars = if out.err_style.ascii { "##." } else { "█▌░" };
            if let Ok(style) = ProgressStyle::with_template("{bar:30}  {pos}/{len}   {msg}") {
                bar.set_style(style.progress_chars(chars));
            }
            bar
        });
        Self { out: out.clone(), bar, started: Instant::now(), said: None }
    }

    /// Shows where `replay` stands.
    pub(crate) fn show(&mut self, replay: &Replay) -> Result<(), Failure> {
        let items = &replay.items;
        let ended = ended(replay);
        if self.out.format == Format::Ndjson {
            return self.out.ndjson(&Document {
                v: relayflow_core::api::V,
                kind: "replay_progress",
                replay: &replay.id,
                status: &replay.status,
                items,
            });
        }
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        if let Some(bar) = &self.bar {
            let style = self.out.err_style;
            let mark = |status| style.mark(status).unwrap_or(status);
            bar.set_length(items.total);
            bar.set_position(ended);
            bar.set_message(format!(
                "{} {}  {} {}  {} {}   {:.1}/s{}",
                mark("ok"),
                items.ok,
                mark("dead"),
                items.dead,
                mark("skipped"),
                items.skipped,
                per_second(ended, seconds),
                eta(ended, items.total, seconds),
            ));
        } else if self.is_worth_a_line(replay) {
            self.said = Some((Instant::now(), ended));
            self.out.notice(&format!(
                "{}  {ended}/{}  ok {}  dead {}  skipped {}",
                replay.id, items.total, items.ok, items.dead, items.skipped
            ));
        }
        Ok(())
    }

    /// A log hears of the start, now and then, and of the end.
    fn is_worth_a_line(&self, replay: &Replay) -> bool {
        let Some((at, count)) = self.said else { return true };
        let is_over = matches!(replay.status.as_str(), "done" | "cancelled" | "paused");
        LINE_EVERY <= at.elapsed() || (is_over && count != ended(replay))
    }

    /// Shows how far something else is; `of` is 0 where that is not known.
    pub(crate) fn at(&mut self, what: &str, done: u64, of: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(of.max(done));
            bar.set_position(done);
            bar.set_message(what.to_owned());
        } else if self.out.format != Format::Ndjson
            && self.said.is_none_or(|(at, _)| LINE_EVERY <= at.elapsed())
        {
            let is_first = self.said.replace((Instant::now(), done)).is_none();
            // What is quickly done needs no line.
            if !is_first && 0 < of {
                self.out.notice(&format!("{done}/{of}  {what}"));
            } else if !is_first {
                self.out.notice(what);
            }
        }
    }

    /// Takes the bar away and gives the time that it took.
    pub(crate) fn finish(self) -> f64 {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed().as_secs_f64() * 1000.0
    }
}

/// How many items have their verdict.
pub(crate) fn ended(replay: &Replay) -> u64 {
    replay.items.total.saturating_sub(replay.items.pending + replay.items.moved)
}

#[expect(clippy::cast_precision_loss, reason = "counts on a screen")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[expect(clippy::cast_precision_loss, reason = "counts on a screen")]
fn eta(ended: u64, total: u64, seconds: f64) -> String {
    if ended == 0 || total <= ended {
        return String::new();
    }
    format!("   ETA {}", time::millis((total - ended) as f64 / ended as f64 * seconds * 1000.0))
}
