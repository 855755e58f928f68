//! The configured endpoints; behind each, its requests.

use std::time::Duration;

use relayflow_core::api::Source;

use super::Part;
use super::overview::quoted;
use super::table::{Cursor, nothing};
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, Column, dim, head, lay_out, plain, row};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::pulse::Pulse;
use crate::tui::route::{Noun, Route};
use crate::tui::theme::Role;

#[derive(Debug, Default)]
pub(crate) struct SourcesScreen {
    sources: Pane<Vec<Source>>,
    cursor: Cursor,
}

const COLUMNS: [Column; 5] = [
    Column { title: "SOURCE", width: 14, is_right: false, weight: 0, grows: false },
    Column { title: "PROVIDER", width: 12, is_right: false, weight: 1, grows: false },
    Column { title: "SCHEME", width: 18, is_right: false, weight: 3, grows: false },
    Column { title: "URL", width: 20, is_right: false, weight: 2, grows: true },
    Column { title: "SECRETS", width: 16, is_right: false, weight: 4, grows: false },
];

impl SourcesScreen {
    fn sources(&self) -> &[Source] {
        self.sources.value.as_deref().unwrap_or_default()
    }

    fn keys(&self) -> Vec<String> {
        self.sources().iter().map(|source| source.name.clone()).collect()
    }
}

impl Part for SourcesScreen {
    fn place(&self) -> Place {
        Place::Sources
    }

    fn crumb(&self) -> String {
        "Sources".to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Sources)
    }

    fn status(&self, _ctx: &Ctx) -> String {
        let count = u64::try_from(self.sources().len()).unwrap_or(0);
        crate::output::time::things(count, "source")
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_none() {
            self.sources.poll(ctx, || Question::Sources);
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match (action, self.sources().get(self.cursor.at())) {
            (Action::Open, Some(source)) => {
                let filter = format!("source:{}", quoted(&source.name));
                let noun = Noun::Requests;
                ctx.go = Some(Go::Push(Route::List { noun, filter }));
            }
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, frame::body(ctx.size).1);
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Sources(sources) = reply { Some(sources) } else { None };
        if self.sources.take(ctx, answer, Duration::from_secs(5), pick) {
            let keys = self.keys();
            self.cursor.keep(&keys);
        }
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        let glyphs = canvas.glyphs;
        let laid = lay_out(&COLUMNS, canvas.width().saturating_sub(2));
        canvas.put(0, 0, &format!("  {}", head(&COLUMNS, &laid, glyphs)), Role::Strong);
        if self.sources().is_empty() {
            nothing(ctx, &self.sources, canvas, 2, "no source is configured");
            return;
        }
        let rows = canvas.height().saturating_sub(3);
        self.cursor.rows(canvas, self.sources(), rows, |canvas, y, source| {
            let cells = [
                plain(&*source.name),
                plain(&*source.provider),
                dim(&*source.scheme),
                plain(&*source.url),
                dim(source.secrets.join(" ")),
            ];
            canvas.part(2, y, canvas.width(), 1).line(0, &row(&COLUMNS, &laid, &cells, glyphs));
        });
        if let Some(source) = self.sources().get(self.cursor.at()) {
            let y = canvas.height().saturating_sub(2);
            let how = match source.provider_status.as_str() {
                "confirmed" => "",
                _ => "  signing is not confirmed by the vendor",
            };
            let title = format!(
                "{}  tolerance {}  answered within {}{how}",
                source.name, source.tolerance, source.reply_within
            );
            canvas.rule(y, &title);
            let secrets = source.secrets.join("  ");
            canvas.line(y + 1, &[plain(format!(" {}", source.url)), dim(format!("  {secrets}"))]);
        }
    }

    fn trouble(&self) -> Option<&Failure> {
        self.sources.trouble()
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.sources.stop(ctx);
    }

    fn click(&mut self, _ctx: &mut Ctx, row: usize) {
        let keys = self.keys();
        self.cursor.click(row, &keys);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(source) = self.sources().get(self.cursor.at()) {
            copies.push(("URL".to_owned(), source.url.clone()));
            copies.push(("command".to_owned(), format!("relayflow sources show {}", source.name)));
        }
        copies
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        "enter: the requests of a source, rejected ones too".to_owned()
    }
}
