//! The timeline as it grows.

use super::Part;
use crate::commands::timeline::about;
use crate::tui::ctx::{Ctx, FAILURES, Go};
use crate::tui::draw::{Canvas, dim, fit, piece, plain, short_id};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::Answer;
use crate::tui::pulse::Pulse;
use crate::tui::route::{Route, Tab};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct TailScreen {
    text: String,
    /// The filter of what is followed.
    q: Option<String>,
    /// How far the view is from the newest; 0 follows.
    back: usize,
    fails_only: bool,
}

impl TailScreen {
    pub(crate) fn new(ctx: &Ctx, text: &str) -> Self {
        let q = ctx.select(text, None).ok().and_then(|selection| selection.q);
        Self { text: text.to_owned(), q, back: 0, fails_only: false }
    }

    /// What is to be followed for it.
    pub(crate) fn wanted(&self) -> Option<String> {
        match (&self.q, self.fails_only) {
            (q, false) => q.clone(),
            (None, true) => Some(FAILURES.to_owned()),
            (Some(q), true) => Some(format!("{FAILURES} ({q})")),
        }
    }

    fn place_of(&self, ctx: &Ctx) -> Option<usize> {
        ctx.tail.entries.len().checked_sub(1 + self.back.min(ctx.tail.entries.len()))
    }
}

impl Part for TailScreen {
    fn place(&self) -> Place {
        Place::Tail
    }

    fn crumb(&self) -> String {
        if self.fails_only { "Tail, failures only".to_owned() } else { "Tail".to_owned() }
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Tail { filter: self.text.clone() })
    }

    fn status(&self, ctx: &Ctx) -> String {
        match (ctx.tail.dropped, self.back) {
            (0, 0) => "following".to_owned(),
            (0, back) => format!("{back} back  (f to follow)"),
            (dropped, _) => format!("dropped {dropped}  (f to follow)"),
        }
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        self.back = self.back.min(ctx.tail.entries.len().saturating_sub(1));
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        let page = frame::body(ctx.size).1;
        self.back = match action {
            Action::Up => self.back + 1,
            Action::Down => self.back.saturating_sub(1),
            Action::PageUp | Action::PrevWindow => self.back + page,
            Action::PageDown | Action::NextWindow => self.back.saturating_sub(page),
            Action::Top => usize::MAX,
            Action::Bottom | Action::Follow => {
                ctx.tail.dropped = 0;
                0
            }
            Action::FailuresOnly => {
                self.fails_only = !self.fails_only;
                0
            }
            Action::Open => {
                let entry = self.place_of(ctx).and_then(|at| ctx.tail.entries.get(at));
                let id = entry.and_then(|e| e.event_id.clone().or_else(|| e.request_id.clone()));
                let task = entry.and_then(|e| e.task_id.clone());
                if let Some(id) = id {
                    let is_request = id.starts_with("req_");
                    let tab = if is_request { Tab::Request } else { Tab::Timeline };
                    ctx.go = Some(Go::Push(Route::Event { id, task, tab }));
                }
                return;
            }
            _ => return,
        }
        .min(ctx.tail.entries.len().saturating_sub(1));
    }

    fn answer(&mut self, _ctx: &mut Ctx, _answer: &mut Option<Answer>) {}

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        let entries = &ctx.tail.entries;
        let Some(last) = self.place_of(ctx) else {
            let text = match (&ctx.tail.lost, ctx.tail.is_open) {
                (Some(why), _) => format!("the timeline is not followed: {why}"),
                (None, true) => "nothing happened since; what comes appears here".to_owned(),
                (None, false) => frame::waiting(ctx),
            };
            canvas.put(2, 1, &text, Role::Dim);
            return;
        };
        let rows = canvas.height().max(1);
        let first = (last + 1).saturating_sub(rows);
        let wide = 100 <= canvas.width();
        for (y, (at, entry)) in entries.iter().enumerate().skip(first).take(rows).enumerate() {
            let id = [&entry.event_id, &entry.request_id, &entry.replay_id];
            let id = id.into_iter().flatten().next().map_or("", String::as_str);
            let what = ctx.glyphs.status(&entry.what);
            let kind = entry.event_type.as_deref().unwrap_or_default();
            let is_here = at == last && 0 < self.back;
            let mut pieces = vec![
                plain(if is_here { ctx.glyphs.cursor } else { " " }),
                dim(format!("{}  ", ctx.time_of(&entry.at))),
                plain(format!("{}  ", fit(&short_id(id), 16, &ctx.glyphs))),
            ];
            if wide {
                let source = entry.source.as_deref().unwrap_or_default();
                pieces.push(dim(format!("{}  ", fit(source, 10, &ctx.glyphs))));
            }
            pieces.extend([
                plain(format!("{}  ", fit(kind, if wide { 28 } else { 18 }, &ctx.glyphs))),
                piece(fit(&what, 12, &ctx.glyphs), Role::of_status(&entry.what)),
                plain(about(entry)),
            ]);
            canvas.line(y, &pieces);
            if is_here {
                canvas.tint(y, Role::Selected);
            }
        }
    }

    fn close(&mut self, _ctx: &mut Ctx) {}

    fn copies(&self, ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(entry) = self.place_of(ctx).and_then(|at| ctx.tail.entries.get(at)) {
            copies.extend(entry.event_id.clone().map(|id| ("event".to_owned(), id)));
            copies.extend(entry.correlation_id.clone().map(|id| ("correlation id".to_owned(), id)));
        }
        let words: Vec<_> = self.text.split_whitespace().map(crate::tui::route::shell).collect();
        let command = format!("relayflow tail {}", words.join(" "));
        copies.push(("command".to_owned(), command.trim_end().to_owned()));
        copies
    }

    fn filter(&self) -> Option<&str> {
        Some(&self.text)
    }

    fn set_filter(&mut self, ctx: &mut Ctx, text: &str) {
        *self = Self { fails_only: self.fails_only, ..Self::new(ctx, text) };
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        "space: failures only, or all".to_owned()
    }
}
