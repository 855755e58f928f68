//! How payloads differ from what is expected of them: the findings, and of one who is hit by it.

use std::time::Duration;

use relayflow_core::api::Drift;

use super::Part;
use super::overview::quoted;
use super::table::{Cursor, nothing};
use crate::failure::Failure;
use crate::output::time;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, Column, dim, head, lay_out, piece, plain, row, wrap};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Page, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::popup::question::Then;
use crate::tui::popup::{self, Popup};
use crate::tui::pulse::Pulse;
use crate::tui::route::{Noun, Route, Tab, shell};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct DriftScreen {
    text: String,
    q: Option<String>,
    found: Pane<Page<Drift>>,
    cursor: Cursor,
}

const COLUMNS: [Column; 7] = [
    Column { title: "GRADE", width: 8, is_right: false, weight: 0, grows: false },
    Column { title: "CHANGE", width: 14, is_right: false, weight: 2, grows: false },
    Column { title: "FIELD", width: 18, is_right: false, weight: 0, grows: true },
    Column { title: "SHARE", width: 5, is_right: true, weight: 4, grows: false },
    Column { title: "EVENTS", width: 6, is_right: true, weight: 5, grows: false },
    Column { title: "LAST", width: 5, is_right: true, weight: 3, grows: false },
    Column { title: "SOURCE, TYPE", width: 14, is_right: false, weight: 1, grows: true },
];

impl DriftScreen {
    pub(crate) fn new(ctx: &Ctx, text: &str) -> Self {
        let q = ctx.select(text, None).ok().and_then(|selection| selection.q);
        Self { text: text.to_owned(), q, found: Pane::default(), cursor: Cursor::default() }
    }

    fn found(&self) -> &[Drift] {
        self.found.value.as_ref().map_or(&[], |page| &page.rows)
    }

    fn current(&self) -> Option<&Drift> {
        self.found().get(self.cursor.at())
    }

    fn keys(&self) -> Vec<String> {
        self.found().iter().map(|drift| drift.id.clone()).collect()
    }

    fn accept(&self, ctx: &mut Ctx) {
        let Some(drift) = self.current() else { return };
        if drift.status != "open" {
            ctx.say("it is accepted already", Role::Warn);
            return;
        }
        if ctx.may_act() {
            let lines = vec![
                format!("Take {} of `{}` into the contract?", words(&drift.change), field(drift)),
                "It becomes the contract's next version; the old one stays as it is.".to_owned(),
            ];
            let then = Then::AcceptDrift { id: drift.id.clone() };
            let question = popup::Question::new("Accept drift", lines, then);
            ctx.popup = Some(Popup::Question(Box::new(question)));
        }
    }

    /// An event that differs so, or the events of its source and type.
    fn open(&self, ctx: &mut Ctx) {
        let Some(drift) = self.current() else { return };
        let route = match drift.examples.first() {
            Some(id) => Route::Event { id: id.clone(), task: None, tab: Tab::Payload },
            None => Route::List { noun: Noun::Events, filter: events_of(drift) },
        };
        ctx.go = Some(Go::Push(route));
    }
}

/// The filter of the events that a finding is about.
fn events_of(drift: &Drift) -> String {
    let kind = drift.event_type.as_ref().map(|kind| format!(" type:{}", quoted(kind)));
    format!("source:{}{}", quoted(&drift.source), kind.unwrap_or_default())
}

fn words(change: &str) -> String {
    change.replace('_', " ")
}

fn field(drift: &Drift) -> &str {
    if drift.path.is_empty() { "the payload" } else { &drift.path }
}

fn share(drift: &Drift) -> String {
    drift.share.map_or_else(String::new, |share| format!("{:.0}%", share * 100.0))
}

fn role(grade: &str) -> Role {
    if grade == "breaking" { Role::Bad } else { Role::Warn }
}

impl Part for DriftScreen {
    fn place(&self) -> Place {
        Place::Drift
    }

    fn crumb(&self) -> String {
        "Drift".to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Drift { filter: self.text.clone() })
    }

    fn status(&self, _ctx: &Ctx) -> String {
        let of = |grade: &str| self.found().iter().filter(|drift| drift.grade == grade).count();
        format!("{} breaking, {} additive", of("breaking"), of("additive"))
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_none() {
            let q = self.q.clone();
            self.found.poll(ctx, || Question::Drift { q });
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match action {
            Action::Open => self.open(ctx),
            Action::Accept => self.accept(ctx),
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, frame::body(ctx.size).1);
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Drift(page) = reply { Some(page) } else { None };
        if self.found.take(ctx, answer, Duration::from_secs(3), pick) {
            let keys = self.keys();
            self.cursor.keep(&keys);
        }
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        let glyphs = canvas.glyphs;
        let laid = lay_out(&COLUMNS, canvas.width().saturating_sub(2));
        canvas.put(0, 0, &format!("  {}", head(&COLUMNS, &laid, glyphs)), Role::Strong);
        if self.found().is_empty() {
            nothing(ctx, &self.found, canvas, 2, "payloads are as the contracts expect them");
            return;
        }
        let detail = if frame::is_small(ctx.size) { 0 } else { 9 };
        let rows = canvas.height().saturating_sub(1 + detail).max(1);
        self.cursor.rows(canvas, self.found(), rows, |canvas, y, drift| {
            let kind = drift.event_type.as_deref().unwrap_or_default();
            let cells = [
                piece(&*drift.grade, role(&drift.grade)),
                plain(words(&drift.change)),
                plain(field(drift)),
                plain(share(drift)),
                dim(time::count(u64::try_from(drift.events).unwrap_or(0))),
                dim(ctx.age_of(&drift.last_at)),
                plain(format!("{} {kind}", drift.source)),
            ];
            canvas.part(2, y, canvas.width(), 1).line(0, &row(&COLUMNS, &laid, &cells, glyphs));
        });
        if let Some(drift) = self.current().filter(|_| 0 < detail) {
            show(ctx, drift, &mut canvas.below(1 + rows));
        }
    }

    fn trouble(&self) -> Option<&Failure> {
        self.found.trouble()
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.found.stop(ctx);
    }

    fn click(&mut self, _ctx: &mut Ctx, row: usize) {
        let keys = self.keys();
        self.cursor.click(row, &keys);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(drift) = self.current() {
            copies.push(("id".to_owned(), drift.id.clone()));
            copies.push(("field".to_owned(), drift.path.clone()));
            let words: Vec<_> = events_of(drift).split_whitespace().map(shell).collect();
            copies.push(("events".to_owned(), format!("relayflow events ls {}", words.join(" "))));
        }
        copies
    }

    fn filter(&self) -> Option<&str> {
        Some(&self.text)
    }

    fn set_filter(&mut self, ctx: &mut Ctx, text: &str) {
        self.close(ctx);
        *self = Self::new(ctx, text);
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        "enter: an event that differs so; a: accept it into the contract".to_owned()
    }
}

/// One finding: what was, what is, and who reads the field.
fn show(ctx: &Ctx, drift: &Drift, canvas: &mut Canvas<'_>) {
    canvas.rule(0, &format!("{}  {}", drift.id, field(drift)));
    let mut lines = vec![
        ("was".to_owned(), drift.was.clone(), Role::Text),
        ("is".to_owned(), drift.is.clone(), role(&drift.grade)),
    ];
    lines.extend(drift.hint.clone().map(|hint| ("hint".to_owned(), hint, Role::Info)));
    let since = format!(
        "since {} ({} ago)  {} of events",
        ctx.time_of(&drift.first_at),
        ctx.age_of(&drift.first_at),
        share(drift)
    );
    lines.push(("when".to_owned(), since, Role::Dim));
    let readers = if drift.read_by.is_empty() {
        "nothing of ours reads it".to_owned()
    } else {
        drift.read_by.join("; ")
    };
    lines.push(("read by".to_owned(), readers, Role::Text));
    if let (Some(who), Some(at)) = (&drift.accepted_by, &drift.accepted_at) {
        let reason = drift.reason.clone().unwrap_or_default();
        let text = format!("by {who} at {}: {reason}", ctx.time_of(at));
        lines.push(("accepted".to_owned(), text, Role::Dim));
    }
    let room = canvas.width().saturating_sub(12);
    let mut y = 1;
    for (name, text, role) in lines {
        canvas.put(1, y, &format!("{name:9} "), Role::Dim);
        for part in wrap(&text, room).iter().take(2) {
            canvas.put(11, y, part, role);
            y += 1;
        }
    }
}
