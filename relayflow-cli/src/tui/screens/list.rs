//! Events, dead letters, requests: lists of any length behind a filter.

mod act;
mod view;

use std::collections::BTreeSet;
use std::time::Duration;

use super::Part;
use super::event::EventScreen;
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::draw::{Canvas, width};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::list::{ListModel, Marks};
use crate::tui::msg::{Answer, Question, Reply, Row};
use crate::tui::pane::Pane;
use crate::tui::popup::{Choice, Chosen, Outcome, Popup};
use crate::tui::pulse::Pulse;
use crate::tui::route::{GROUPINGS, Noun, Route, Tab, shell};
use crate::tui::theme::Role;

const LOOK: Duration = Duration::from_secs(2);
/// A failed page is asked for again after this.
const AGAIN: Duration = Duration::from_secs(2);
/// The detail follows a cursor that rests so long.
const REST: Duration = Duration::from_millis(150);
/// How far `h` and `l` move the last column, in characters, and how far at most.
const SHIFT: usize = 16;
const SHIFT_MAX: usize = 160;

#[derive(Debug)]
pub(crate) struct ListScreen {
    noun: Noun,
    /// The filter as typed, and the one that it began with.
    text: String,
    first_text: String,
    /// As the daemon takes it.
    q: Option<String>,
    model: ListModel,
    marks: Marks,
    /// Where a range of marks begins.
    range: Option<usize>,
    follows: bool,
    wide: bool,
    /// How far the last column is moved to the left, in characters.
    shift: usize,
    /// Whether the keys go to the detail beside the list, and whether what has them is alone.
    is_in_detail: bool,
    is_zoomed: bool,
    /// What was shown before the filter changed, until there is something in its place.
    before: Option<Box<Before>>,
    seen: Seen,
    look_due: Duration,
    load_due: Duration,
    error: Option<Failure>,
    /// Since when a page is waited for.
    waits: Option<Duration>,
    /// How many match, where the list itself does not say.
    count: Pane<u64>,
    preview: Option<Preview>,
}

/// The widest text that was seen of each kind, in columns.
#[derive(Debug, Default)]
struct Seen {
    kind: usize,
    step: usize,
    source: usize,
    destination: usize,
}

impl Seen {
    fn see(&mut self, rows: &[Row]) {
        let most = |before: &mut usize, text: &str| *before = width(text).max(*before);
        for row in rows {
            most(&mut self.kind, &row.kind);
            most(&mut self.step, &row.step);
            most(&mut self.source, &row.source);
            most(&mut self.destination, &row.destination);
        }
    }
}

/// The rows of the filter before.
#[derive(Debug)]
struct Before {
    text: String,
    q: Option<String>,
    model: ListModel,
}

/// The detail beside the list.
#[derive(Debug)]
struct Preview {
    id: Box<str>,
    since: Duration,
    event: Option<Box<EventScreen>>,
}

impl ListScreen {
    pub(crate) fn new(ctx: &Ctx, noun: Noun, text: &str) -> Self {
        let mut screen = Self {
            noun,
            text: text.to_owned(),
            first_text: text.to_owned(),
            q: None,
            model: ListModel::default(),
            marks: Marks::default(),
            range: None,
            follows: false,
            wide: false,
            shift: 0,
            is_in_detail: false,
            is_zoomed: false,
            before: None,
            seen: Seen::default(),
            look_due: Duration::ZERO,
            load_due: Duration::ZERO,
            error: None,
            waits: None,
            count: Pane::default(),
            preview: None,
        };
        match ctx.select(text, None) {
            Ok(selection) => screen.q = selection.q,
            Err(failure) => screen.error = Some(failure),
        }
        screen
    }

    pub(crate) fn noun(&self) -> Noun {
        self.noun
    }

    fn rows(ctx: &Ctx) -> usize {
        let (_, body) = frame::body(ctx.size);
        let peek = if ctx.is_wide() || frame::is_small(ctx.size) { 0 } else { 3 };
        body.saturating_sub(2 + peek).max(1)
    }

    fn ask(
        &mut self,
        ctx: &mut Ctx,
        wanted: (crate::tui::list::Wanted, crate::tui::list::WantKey),
    ) {
        let (wanted, key) = wanted;
        let ticket = ctx.ask(Question::Rows {
            noun: self.noun,
            q: self.q.clone(),
            limit: wanted.limit,
            cursor: wanted.cursor,
        });
        self.model.expect(ticket, &key);
    }

    /// Begins anew with what the filter says now.
    fn restart(&mut self, ctx: &mut Ctx) {
        self.close(ctx);
        let first_text = std::mem::take(&mut self.first_text);
        let (wide, is_zoomed) = (self.wide, self.is_zoomed);
        *self = Self { wide, is_zoomed, first_text, ..Self::new(ctx, self.noun, &self.text) };
    }

    /// The event beside the list, if it has the keys.
    fn detail(&mut self, ctx: &Ctx) -> Option<&mut EventScreen> {
        let event = self.preview.as_mut().and_then(|preview| preview.event.as_deref_mut());
        event.filter(|_| self.is_in_detail && ctx.is_wide())
    }

    /// What is nearest to an empty list: the tasks that may still die.
    fn open_nearest(&self, ctx: &mut Ctx) {
        if self.noun == Noun::DeadLetters && self.model.is_loaded() {
            let filter = "status:retrying".to_owned();
            ctx.go = Some(Go::Push(Route::List { noun: Noun::Events, filter }));
        }
    }

    /// The charts of the destination under the cursor.
    fn chart(&self, ctx: &mut Ctx) {
        let of = self.model.current().map(|row| row.destination.to_string());
        super::overview::chart(ctx, of);
    }

    fn route_of(&self, row: &Row, tab: Tab) -> Route {
        let task = row.id.starts_with("tsk_").then(|| row.id.to_string());
        let id = row.event.as_deref().unwrap_or(&row.id).to_owned();
        let tab = if id.starts_with("req_") && tab == Tab::Timeline { Tab::Request } else { tab };
        Route::Event { id, task, tab }
    }

    fn open(&self, ctx: &mut Ctx, tab: Tab) {
        if let Some(row) = self.model.current().filter(|row| !row.id.is_empty()) {
            ctx.go = Some(Go::Push(self.route_of(row, tab)));
        }
    }

    fn mark(&mut self, ctx: &mut Ctx) {
        let id = self.model.current().map(|row| row.id.to_string());
        let Some(id) = id.filter(|id| !id.is_empty()) else { return };
        if !self.marks.toggle(&id) {
            ctx.say("that is as many marks as there can be; A marks all that match", Role::Warn);
            return;
        }
        self.model.step(1);
    }

    fn mark_range(&mut self, ctx: &mut Ctx) {
        let here = self.model.selected();
        let Some(from) = self.range.take() else {
            self.range = Some(here);
            ctx.say("a range begins here; move, and v again ends it", Role::Info);
            return;
        };
        let is_within = |gap: usize| from.min(here) < gap && gap < from.max(here);
        if self.model.gap().is_some_and(is_within) {
            let text = "rows of this range are not known yet; A marks all that match";
            return ctx.say(text, Role::Warn);
        }
        for at in from.min(here)..=from.max(here) {
            let id = self.model.row(at).map(|row| row.id.to_string());
            if let Some(id) = id.filter(|id| !id.is_empty() && !self.marks.has(id))
                && !self.marks.toggle(&id)
            {
                break;
            }
        }
    }

    fn group(&self, ctx: &mut Ctx) {
        if self.noun != Noun::DeadLetters {
            ctx.say("only dead letters are grouped", Role::Warn);
            return;
        }
        let item = |by: &'static str| Chosen {
            label: by.to_owned(),
            note: String::new(),
            outcome: Outcome::Open(Route::Groups { by, filter: self.text.clone() }),
        };
        ctx.popup = Some(Popup::Choice(Choice::new("group by", GROUPINGS.map(item).to_vec())));
    }

    fn follow(&mut self, ctx: &mut Ctx) {
        self.follows = !self.follows || 0 < self.model.newer.count;
        if self.follows {
            self.model.select(0);
            self.model.jump();
            ctx.say("following: the newest on top", Role::Info);
        } else {
            ctx.say("not following", Role::Info);
        }
        self.look_due = Duration::ZERO;
    }

    fn wake_preview(&mut self, ctx: &mut Ctx) {
        if !ctx.is_wide() {
            if let Some(event) = self.preview.take().and_then(|p| p.event) {
                let mut event = event;
                event.close(ctx);
            }
            return;
        }
        let Some(row) = self.model.current().filter(|row| !row.id.is_empty()) else { return };
        let is_same = self.preview.as_ref().is_some_and(|p| p.id == row.id);
        if !is_same {
            let id = row.id.clone();
            if let Some(mut event) = self.preview.take().and_then(|p| p.event) {
                event.close(ctx);
            }
            self.preview = Some(Preview { id, since: ctx.now.run, event: None });
        }
        let Some(row) = self.model.current() else { return };
        let route = self.route_of(row, Tab::Timeline);
        let Some(preview) = &mut self.preview else { return };
        if preview.event.is_none()
            && preview.since + REST <= ctx.now.run
            && let Route::Event { id, task, tab } = route
        {
            preview.event = Some(Box::new(EventScreen::new(id, task, tab)));
        }
        if let Some(event) = &mut preview.event {
            event.wake(ctx);
        }
    }

    fn move_by(&mut self, ctx: &Ctx, action: Action) {
        let page = isize::try_from(Self::rows(ctx)).unwrap_or(1);
        match action {
            Action::Up => self.model.step(-1),
            Action::Down => self.model.step(1),
            Action::PageUp => self.model.step(-page),
            Action::PageDown => self.model.step(page),
            Action::Top => self.model.select(0),
            Action::Bottom => self.model.select_end(),
            Action::Left => self.shift = self.shift.saturating_sub(SHIFT),
            Action::Right => self.shift = (self.shift + SHIFT).min(SHIFT_MAX),
            _ => return,
        }
        self.follows = false;
    }

    /// Keys that are the detail's while it has them. Whether this was one.
    fn act_in_detail(&mut self, ctx: &mut Ctx, action: Action) -> bool {
        let is_its_own = matches!(
            action,
            Action::Up
                | Action::Down
                | Action::Left
                | Action::Right
                | Action::Top
                | Action::Bottom
                | Action::PageUp
                | Action::PageDown
                | Action::Mark
                | Action::Timeline
                | Action::Trace
                | Action::Payload
                | Action::Request
                | Action::Editor
        );
        match self.detail(ctx).filter(|_| is_its_own) {
            Some(event) => {
                // Space marks in the list; here it folds.
                event.act(ctx, if action == Action::Mark { Action::Fold } else { action });
                true
            }
            None => false,
        }
    }

    /// How many match: the list's own count, or the counted, or as many as are known.
    fn total(&self) -> Option<(u64, bool)> {
        let known = u64::try_from(self.model.known()).unwrap_or(u64::MAX);
        if let Some(total) = self.model.total {
            return Some((total.value, total.exact));
        }
        if self.model.is_whole() {
            return Some((known, true));
        }
        match self.count.value {
            Some(count) => Some((count.max(known), true)),
            None => self.model.is_loaded().then_some((known, false)),
        }
    }
}

impl Part for ListScreen {
    fn place(&self) -> Place {
        Place::List
    }

    fn crumb(&self) -> String {
        self.noun.title().to_owned()
    }

    fn route(&self) -> Option<Route> {
        Some(Route::List { noun: self.noun, filter: self.text.clone() })
    }

    fn status(&self, _ctx: &Ctx) -> String {
        view::status(self)
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        let rows = Self::rows(ctx);
        self.model.fit(rows);
        if self.q.is_none() && self.error.is_some() && !self.text.is_empty() {
            // The filter does not parse: nothing is asked for.
            return;
        }
        if ctx.is_up() && ctx.paused.is_none() {
            if self.load_due <= ctx.now.run
                && let Some(wanted) = self.model.wanted(rows)
            {
                self.ask(ctx, wanted);
            }
            if self.look_due <= ctx.now.run && self.model.is_loaded() {
                self.look_due = ctx.now.run + LOOK;
                if let Some(wanted) = self.model.look() {
                    self.ask(ctx, wanted);
                }
                if let Some(wanted) = self.model.look_here() {
                    self.ask(ctx, wanted);
                }
            }
            let must_count = self.noun == Noun::DeadLetters
                && self.model.is_loaded()
                && !self.model.is_whole()
                && self.model.total.is_none();
            if must_count {
                let q = self.q.clone();
                self.count.poll(ctx, || Question::Groups { by: "reason", q });
            }
        }
        self.waits = self.model.is_waiting().then(|| self.waits.unwrap_or(ctx.now.run));
        self.wake_preview(ctx);
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        if self.act_in_detail(ctx, action) {
            return;
        }
        match action {
            Action::NextPane | Action::PrevPane => {
                self.is_in_detail = ctx.is_wide() && !self.is_in_detail;
            }
            Action::Zoom => self.is_zoomed = !self.is_zoomed,
            Action::Chart => self.chart(ctx),
            Action::Open if self.model.len() == 0 => self.open_nearest(ctx),
            Action::Open => self.open(ctx, Tab::Timeline),
            Action::Trace => self.open(ctx, Tab::Trace),
            Action::Payload => self.open(ctx, Tab::Payload),
            Action::Request => self.open(ctx, Tab::Request),
            Action::Mark => self.mark(ctx),
            Action::Range => self.mark_range(ctx),
            Action::MarkAll => {
                self.marks = match self.marks {
                    Marks::AllBut(_) => Marks::default(),
                    Marks::Ids(_) => Marks::AllBut(BTreeSet::new()),
                };
            }
            Action::Replay => self.replay(ctx),
            Action::ReplayAll if self.noun == Noun::Requests => self.readmit(ctx),
            Action::ReplayAll => self.plan(ctx, "replay", self.all(ctx)),
            Action::Discard => self.discard(ctx),
            Action::Group => self.group(ctx),
            Action::Wide => self.wide = !self.wide,
            Action::Follow => self.follow(ctx),
            Action::NextFailure | Action::PrevFailure => {
                let is_failure =
                    |row: &Row| matches!(&*row.status, "dead" | "rejected" | "retrying");
                if !self.model.seek(action == Action::NextFailure, is_failure) {
                    ctx.say("no other failure here", Role::Info);
                }
            }
            Action::Export => self.export(ctx),
            _ => self.move_by(ctx, action),
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        if let Some(event) = self.preview.as_mut().and_then(|p| p.event.as_mut()) {
            event.answer(ctx, answer);
        }
        let pick = |reply| match reply {
            Reply::Groups(groups) => Some(groups.items.iter().map(|group| group.count).sum()),
            _ => None,
        };
        self.count.take(ctx, answer, Duration::from_secs(10), pick);
        let Some(answer) = answer.take_if(|a| self.model.expects(a.ticket)) else { return };
        self.look_due = self.look_due.max(ctx.now.run + answer.took * 10);
        match answer.result {
            Ok(Reply::Rows(page)) => {
                self.seen.see(&page.rows);
                self.model.take(answer.ticket, page, self.follows);
                self.error = None;
                self.before = None;
            }
            Ok(_) => self.model.fail(answer.ticket),
            Err(failure) => {
                self.model.fail(answer.ticket);
                self.load_due = ctx.now.run + AGAIN;
                self.error = Some(failure);
            }
        }
    }

    fn view(&self, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
        view::view(self, ctx, pulse, canvas);
    }

    fn close(&mut self, ctx: &mut Ctx) {
        for ticket in self.model.tickets().collect::<Vec<_>>() {
            ctx.forget(ticket);
        }
        self.count.stop(ctx);
        if let Some(event) = self.preview.as_mut().and_then(|p| p.event.as_mut()) {
            event.close(ctx);
        }
    }

    fn click(&mut self, ctx: &mut Ctx, row: usize) {
        if let Some(place) = row.checked_sub(1).filter(|place| *place < Self::rows(ctx)) {
            self.model.select(self.model.top() + place);
        }
    }

    fn copies(&self, ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        if let Some(row) = self.model.current() {
            copies.push(("id".to_owned(), row.id.to_string()));
            copies.extend(row.event.as_ref().map(|id| ("event".to_owned(), id.to_string())));
            copies.push(("correlation id".to_owned(), row.corr.to_string()));
            copies.extend(row.error_id.as_ref().map(|e| ("error id".to_owned(), e.to_string())));
        }
        let words: Vec<_> = self.text.split_whitespace().map(shell).collect();
        let command = format!("relayflow {} ls {}", self.noun.command(), words.join(" "));
        copies.push(("command".to_owned(), command.trim_end().to_owned()));
        if let Ok((_, words)) = self.all(ctx)
            && self.noun == Noun::DeadLetters
        {
            copies.push(("replay".to_owned(), format!("relayflow dlq replay {words}")));
        }
        copies
    }

    fn filter(&self) -> Option<&str> {
        Some(&self.text)
    }

    fn set_filter(&mut self, ctx: &mut Ctx, text: &str) {
        let mut before = match self.before.take() {
            Some(before) => before,
            None => Box::new(Before {
                text: std::mem::take(&mut self.text),
                q: self.q.take(),
                model: std::mem::take(&mut self.model),
            }),
        };
        for ticket in before.model.give_up() {
            ctx.forget(ticket);
        }
        text.trim().clone_into(&mut self.text);
        self.restart(ctx);
        self.before = Some(before).filter(|before| 0 < before.model.len());
    }

    fn neighbour(&mut self, ctx: &mut Ctx, forward: bool) -> Option<Route> {
        let is_failure = |row: &Row| matches!(&*row.status, "dead" | "rejected" | "retrying");
        let found = self.model.seek(forward, is_failure);
        self.model.fit(Self::rows(ctx));
        found.then(|| self.model.current().map(|row| self.route_of(row, Tab::Timeline)))?
    }

    fn back(&mut self, ctx: &mut Ctx) -> bool {
        if self.range.take().is_some() {
            return true;
        }
        if !self.marks.is_empty() {
            self.marks = Marks::default();
            return true;
        }
        if let Some(before) = self.before.take() {
            // What is loaded is not waited for: back to what was there.
            self.close(ctx);
            let Before { text, q, model } = *before;
            (self.text, self.q, self.model, self.waits, self.error) = (text, q, model, None, None);
            return true;
        }
        if self.text != self.first_text {
            let text = self.first_text.clone();
            self.set_filter(ctx, &text);
            return true;
        }
        std::mem::take(&mut self.is_in_detail) || std::mem::take(&mut self.is_zoomed)
    }

    fn is_lively(&self) -> bool {
        self.model.is_waiting()
            || self.preview.as_ref().is_some_and(|preview| preview.event.is_none())
    }
}
