//! What went wrong in this session.

use super::Part;
use super::table::Cursor;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, dim, piece, plain};
use crate::tui::keys::{Action, Place};
use crate::tui::msg::Answer;
use crate::tui::pulse::Pulse;
use crate::tui::route::Route;
use crate::tui::theme::Role;

#[derive(Debug, Default)]
pub(crate) struct ErrorsScreen {
    cursor: Cursor,
}

impl Part for ErrorsScreen {
    fn place(&self) -> Place {
        Place::Errors
    }

    fn crumb(&self) -> String {
        "Errors of this session".to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Errors)
    }

    fn status(&self, ctx: &Ctx) -> String {
        crate::output::time::things(u64::try_from(ctx.errors.len()).unwrap_or(0), "failure")
    }

    fn wake(&mut self, _ctx: &mut Ctx) {}

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        let keys: Vec<String> = (0..ctx.errors.len()).map(|n| n.to_string()).collect();
        self.cursor.act(action, &keys, 10);
    }

    fn answer(&mut self, _ctx: &mut Ctx, _answer: &mut Option<Answer>) {}

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        if ctx.errors.is_empty() {
            canvas.put(2, 1, "nothing went wrong", Role::Ok);
            return;
        }
        let rows = canvas.height().saturating_sub(5).max(1);
        let top = self.cursor.top(rows);
        for (y, trouble) in ctx.errors.iter().rev().skip(top).take(rows).enumerate() {
            let is_here = top + y == self.cursor.at();
            let at = trouble.at.to_zoned_datetime(ctx.zone.clone()).strftime("%H:%M:%S");
            canvas.line(
                y,
                &[
                    plain(if is_here { canvas.glyphs.cursor } else { " " }),
                    dim(format!(" {at}  ")),
                    piece(&*trouble.failure.code, Role::Warn),
                    plain(format!("  {}", trouble.failure.message)),
                ],
            );
            if is_here {
                canvas.tint(y, Role::Selected);
            }
        }
        let Some(trouble) = ctx.errors.iter().rev().nth(self.cursor.at()) else { return };
        let mut below = canvas.below(rows.min(ctx.errors.len()));
        below.rule(0, "");
        for (y, line) in trouble.failure.lines(("", "")).lines().enumerate() {
            below.put(1, 1 + y, line, Role::Text);
        }
    }

    fn close(&mut self, _ctx: &mut Ctx) {}

    fn copies(&self, ctx: &Ctx) -> Vec<(String, String)> {
        let trouble = ctx.errors.iter().rev().nth(self.cursor.at());
        let text = |trouble: &super::super::ctx::Trouble| {
            ("failure".to_owned(), trouble.failure.lines(("", "")))
        };
        trouble.map(text).into_iter().collect()
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        "relayflow -vv shows each call".to_owned()
    }
}
