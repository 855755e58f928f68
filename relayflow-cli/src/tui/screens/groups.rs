//! Dead letters by what they share.

use std::time::Duration;

use relayflow_core::api::DeadLetterGroup;

use super::Part;
use super::overview::{plan_of_group, term};
use super::table::{Cursor, nothing};
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, Column, head, lay_out};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::popup::{Choice, Chosen, Outcome, Popup};
use crate::tui::pulse::Pulse;
use crate::tui::route::{GROUPINGS, Noun, Route};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct GroupsScreen {
    by: &'static str,
    text: String,
    q: Option<String>,
    groups: Pane<Vec<DeadLetterGroup>>,
    cursor: Cursor,
}

const COLUMNS: [Column; 6] = [
    Column { title: "DEAD", width: 7, is_right: true, weight: 0, grows: false },
    Column { title: "FIRST", width: 5, is_right: true, weight: 3, grows: false },
    Column { title: "LAST", width: 5, is_right: true, weight: 2, grows: false },
    Column { title: "WHAT", width: 20, is_right: false, weight: 1, grows: true },
    Column { title: "VALUE", width: 14, is_right: false, weight: 4, grows: false },
    Column { title: "EXAMPLE", width: 16, is_right: false, weight: 5, grows: false },
];

impl GroupsScreen {
    pub(crate) fn new(ctx: &Ctx, by: &'static str, text: &str) -> Self {
        let q = ctx.select(text, None).ok().and_then(|selection| selection.q);
        let (groups, cursor) = (Pane::default(), Cursor::default());
        Self { by, text: text.to_owned(), q, groups, cursor }
    }

    fn groups(&self) -> &[DeadLetterGroup] {
        self.groups.value.as_deref().unwrap_or_default()
    }

    fn keys(&self) -> Vec<String> {
        self.groups().iter().map(|group| group.value.clone()).collect()
    }

    fn narrowed(&self, group: &DeadLetterGroup) -> String {
        format!("{} {}", term(group), self.text).trim().to_owned()
    }
}

impl Part for GroupsScreen {
    fn place(&self) -> Place {
        Place::Groups
    }

    fn crumb(&self) -> String {
        format!("DLQ by {}", self.by)
    }

    fn route(&self) -> Option<Route> {
        Some(Route::Groups { by: self.by, filter: self.text.clone() })
    }

    fn status(&self, _ctx: &Ctx) -> String {
        let count = u64::try_from(self.groups().len()).unwrap_or(0);
        crate::output::time::things(count, "group")
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_none() {
            let (by, q) = (self.by, self.q.clone());
            self.groups.poll(ctx, || Question::Groups { by, q });
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match action {
            Action::Open => {
                if let Some(group) = self.groups().get(self.cursor.at()) {
                    let filter = self.narrowed(group);
                    ctx.go = Some(Go::Push(Route::List { noun: Noun::DeadLetters, filter }));
                }
            }
            Action::ReplayAll => {
                if let Some(group) = self.groups().get(self.cursor.at()) {
                    plan_of_group(ctx, group, &self.text);
                }
            }
            Action::Group => {
                let item = |by: &'static str| Chosen {
                    label: by.to_owned(),
                    note: String::new(),
                    outcome: Outcome::GroupBy(by),
                };
                let items = GROUPINGS.map(item).to_vec();
                ctx.popup = Some(Popup::Choice(Choice::new("group by", items)));
            }
            _ => {
                let keys = self.keys();
                self.cursor.act(action, &keys, frame::body(ctx.size).1);
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Groups(list) = reply { Some(list.items) } else { None };
        if self.groups.take(ctx, answer, Duration::from_secs(2), pick) {
            let keys = self.keys();
            self.cursor.keep(&keys);
        }
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        let laid = lay_out(&COLUMNS, canvas.width().saturating_sub(3));
        let glyphs = canvas.glyphs;
        canvas.put(0, 0, &format!("   {}", head(&COLUMNS, &laid, glyphs)), Role::Strong);
        if self.groups().is_empty() {
            nothing(ctx, &self.groups, canvas, 3, "no dead letters here");
            return;
        }
        let rows = canvas.height().saturating_sub(1);
        self.cursor.rows(canvas, self.groups(), rows, |canvas, y, group| {
            let cells = super::overview::group_line(ctx, group, &COLUMNS, &laid);
            canvas.part(3, y, canvas.width(), 1).line(0, &cells);
        });
    }

    fn trouble(&self) -> Option<&Failure> {
        self.groups.trouble()
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.groups.stop(ctx);
    }

    fn click(&mut self, _ctx: &mut Ctx, row: usize) {
        let keys = self.keys();
        self.cursor.click(row, &keys);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(group) = self.groups().get(self.cursor.at()) {
            copies.push(("term".to_owned(), term(group)));
        }
        let words: Vec<_> = self.text.split_whitespace().map(crate::tui::route::shell).collect();
        let command = format!("relayflow dlq ls --by {} {}", self.by, words.join(" "));
        copies.push(("command".to_owned(), command.trim_end().to_owned()));
        copies
    }

    fn filter(&self) -> Option<&str> {
        Some(&self.text)
    }

    fn set_filter(&mut self, ctx: &mut Ctx, text: &str) {
        self.close(ctx);
        *self = Self::new(ctx, self.by, text);
    }
}
