//! One event: timeline, trace, payload, request. Also one request without events, and what has only a
//! correlation id.

mod json;
mod request;
mod timeline;
mod trace;

use std::time::Duration;

use relayflow_core::api::{Event, Request, Task, TimelineEntry, Trace, Verification};

use super::Part;
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go, PlanAsk};
use crate::tui::draw::{Canvas, dim, piece, plain};
use crate::tui::frame;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Effect, Question, Reply};
use crate::tui::pane::Pane;
use crate::tui::popup::question::Then;
use crate::tui::popup::{self, Popup};
use crate::tui::pulse::Pulse;
use crate::tui::route::{Route, Tab};
use crate::tui::theme::Role;

const EVERY: Duration = Duration::from_secs(2);
/// A report changes with the configuration, and costs the daemon a part of a second.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// What does not change is asked for once.
const ONCE: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct EventScreen {
    /// As it was asked for: `evt_`, `tsk_`, `req_`, or a correlation id.
    id: String,
    task: Option<String>,
    tab: Tab,
    event: Pane<Box<Event>>,
    timeline: Pane<Vec<TimelineEntry>>,
    trace: Pane<Box<Trace>>,
    request: Pane<Box<Request>>,
    raw: Pane<Vec<u8>>,
    /// Why a rejected request does not verify.
    verification: Pane<Box<Verification>>,
    tree: Option<json::Tree>,
    /// The cursor of each tab; `None` until it is moved.
    at: [Option<usize>; 4],
    unfolded: bool,
    /// Whether what the destination answered has the whole screen.
    is_zoomed: bool,
    /// What is looked for in the payload; empty: nothing.
    needle: String,
}

impl EventScreen {
    pub(crate) fn new(id: String, task: Option<String>, tab: Tab) -> Self {
        Self {
            id,
            task,
            tab,
            event: Pane::default(),
            timeline: Pane::default(),
            trace: Pane::default(),
            request: Pane::default(),
            raw: Pane::default(),
            verification: Pane::default(),
            tree: None,
            at: [None; 4],
            unfolded: false,
            is_zoomed: false,
            needle: String::new(),
        }
    }

    fn is_of_event(&self) -> bool {
        self.id.starts_with("evt_") || self.id.starts_with("tsk_")
    }

    fn is_of_request(&self) -> bool {
        self.id.starts_with("req_")
    }

    /// The event's id, as far as it is known.
    fn event_id(&self) -> Option<&str> {
        let known = self.event.value.as_ref().map(|event| event.id.as_str());
        known.or_else(|| self.id.starts_with("evt_").then_some(self.id.as_str()))
    }

    fn request_id(&self) -> Option<&str> {
        if self.is_of_request() {
            return Some(&self.id);
        }
        self.event.value.as_ref().map(|event| event.request_id.as_str())
    }

    fn correlation_id(&self) -> Option<&str> {
        let of_event = self.event.value.as_ref().map(|event| event.correlation_id.as_str());
        let of_request = self.request.value.as_ref().map(|r| r.correlation_id.as_str());
        let own = (!self.is_of_event() && !self.is_of_request()).then_some(self.id.as_str());
        of_event.or(of_request).or(own)
    }

    /// The task that this is about: the one that was opened, else the worst.
    fn task(&self) -> Option<&Task> {
        let tasks = self.event.value.as_ref()?.steps.as_deref()?;
        let named = self.task.as_ref().and_then(|id| tasks.iter().find(|t| t.id == *id));
        named
            .or_else(|| tasks.iter().find(|task| task.status == "dead"))
            .or_else(|| tasks.iter().find(|task| task.status == "retrying"))
            .or_else(|| tasks.first())
    }

    fn cursor(&self) -> usize {
        let rows = self.rows();
        let last = rows.saturating_sub(1);
        let begin = match self.tab {
            Tab::Timeline => timeline::begin(self),
            Tab::Trace | Tab::Payload | Tab::Request => 0,
        };
        self.at[self.tab as usize].unwrap_or(begin).min(last)
    }

    /// How many rows the tab has.
    fn rows(&self) -> usize {
        match self.tab {
            Tab::Timeline => timeline::items(self).len(),
            Tab::Trace => self.trace.value.as_ref().map_or(0, |trace| trace::rows(trace).len()),
            Tab::Payload => self.tree.as_ref().map_or(0, |tree| tree.shown().len()),
            Tab::Request => request::lines(self).len(),
        }
    }

    fn move_by(&mut self, ctx: &Ctx, action: Action) {
        let page = frame::body(ctx.size).1.saturating_sub(3).max(1);
        let last = self.rows().saturating_sub(1);
        let at = self.cursor();
        let to = match action {
            Action::Up => at.saturating_sub(1),
            Action::Down => at + 1,
            Action::PageUp => at.saturating_sub(page),
            Action::PageDown => at + page,
            Action::Top => 0,
            Action::Bottom => last,
            _ => return,
        };
        self.at[self.tab as usize] = Some(to.min(last));
    }

    fn fold(&mut self, action: Action) {
        if self.tab == Tab::Timeline {
            self.unfolded = !self.unfolded;
            return;
        }
        let at = self.cursor();
        if self.tab == Tab::Payload
            && let Some(tree) = &mut self.tree
        {
            let to = tree.fold(at, action);
            self.at[self.tab as usize] = Some(to);
        }
    }

    fn show(&mut self, tab: Tab) {
        self.tab = tab;
    }

    fn is_searching(&self) -> bool {
        self.tab == Tab::Payload && !self.needle.is_empty()
    }

    /// To the next line of the payload with what is looked for, unfolding what hides it.
    fn next_match(&mut self, ctx: &mut Ctx, forward: bool) {
        let at = self.cursor();
        let Some(tree) = &mut self.tree else { return };
        match tree.seek(at, &self.needle, forward) {
            Some(place) => self.at[Tab::Payload as usize] = Some(place),
            None => ctx.say(format!("no `{}` in the payload", self.needle), Role::Warn),
        }
    }

    fn replay(&self, ctx: &mut Ctx) {
        if self.is_of_request() && self.event.value.is_none() {
            if ctx.may_act() {
                let id = self.id.clone();
                let lines = vec![format!("Verify {id} again, as of its arrival, and take it in?")];
                let question = popup::Question::new("Readmit", lines, Then::Readmit { id });
                ctx.popup = Some(Popup::Question(Box::new(question)));
            }
            return;
        }
        match self.task().map(|task| task.id.clone()) {
            Some(id) => Self::plan(ctx, &id, format!("relayflow dlq replay {id}")),
            None => ctx.say("it has no task to replay", Role::Warn),
        }
    }

    /// All that died of the same.
    fn replay_all(&self, ctx: &mut Ctx) {
        match self.task().and_then(|task| task.error_id.clone()) {
            Some(error) => {
                let text = format!("status:dead error:{error}");
                let command = format!("relayflow dlq replay error:{error} --all-time");
                Self::plan(ctx, &text, command);
            }
            None => ctx.say("nothing of it died: r replays its task", Role::Warn),
        }
    }

    fn plan(ctx: &mut Ctx, text: &str, command: String) {
        if !ctx.may_act() {
            return;
        }
        match ctx.select(text, None) {
            Ok(selection) => {
                let ask =
                    PlanAsk { selection, action: "replay", reason: None, command, is_edit: false };
                ctx.go = Some(Go::Plan(Box::new(ask)));
            }
            Err(failure) => ctx.fail(&failure),
        }
    }

    fn discard(&self, ctx: &mut Ctx) {
        let Some(task) = self.task().filter(|task| task.status == "dead") else {
            ctx.say("only a dead task is discarded", Role::Warn);
            return;
        };
        if ctx.may_act() {
            let id = task.id.clone();
            let lines = vec![
                format!("Take {id} ({}/{}) out of the dead letters?", task.workflow, task.step),
                "It stays in the store, listed under status:discarded.".to_owned(),
            ];
            let question = popup::Question::new("Discard", lines, Then::Discard { id });
            ctx.popup = Some(Popup::Question(Box::new(question)));
        }
    }

    /// Hands the payload to the person's editor, as it is now or as they left it.
    fn mend(&self, ctx: &mut Ctx) {
        let (Some(event), Some(task)) = (&self.event.value, self.task()) else { return };
        if task.status != "dead" {
            ctx.say("only the payload of a dead task is edited", Role::Warn);
            return;
        }
        let last = event.revisions.as_deref().unwrap_or_default().last();
        let payload = last.and_then(|r| r.payload.as_deref()).or(event.payload.as_deref());
        let Some(Ok(was)) = payload.map(|p| crate::output::document::indent(p.get())) else {
            ctx.say("there is no payload to edit", Role::Warn);
            return;
        };
        if ctx.may_act() {
            let draft = ctx.draft.as_ref().filter(|(of, _)| *of == event.id);
            let draft = draft.map_or_else(|| was.clone(), |(_, draft)| draft.clone());
            let (event, task) = (event.id.clone(), task.id.clone());
            ctx.effects.push(Effect::Mend { event, task, was, draft });
        }
    }

    /// The text of what is on screen, and a name for a file of it.
    fn document(&self) -> Option<(String, String)> {
        let id = self.event_id().unwrap_or(&self.id);
        match self.tab {
            Tab::Request => {
                let raw = self.raw.value.as_ref()?;
                Some((format!("{id}.request.txt"), String::from_utf8_lossy(raw).into_owned()))
            }
            Tab::Payload => {
                let payload = self.event.value.as_ref()?.payload.as_ref()?;
                Some((format!("{id}.json"), payload.get().to_owned()))
            }
            Tab::Timeline | Tab::Trace => {
                let event = self.event.value.as_ref()?;
                let text = crate::output::document::compact(&**event).ok()?;
                Some((format!("{id}.event.json"), text))
            }
        }
    }

    /// A bundle of this event and all that belongs to it, or what is on the screen.
    fn export(&self, ctx: &mut Ctx) {
        let id = self.event_id().unwrap_or(&self.id).to_owned();
        let shown = self.document().map(|(_, text)| text);
        let q = Some(format!("id:{id}"));
        let export = popup::Export::new(id.clone(), q, &id, &id, shown);
        ctx.popup = Some(Popup::Export(Box::new(export)));
    }

    fn open(&self, ctx: &mut Ctx) {
        if self.tab != Tab::Trace {
            return;
        }
        let Some(trace) = &self.trace.value else { return };
        let rows = trace::rows(trace);
        if let Some(route) = rows.get(self.cursor()).and_then(|row| row.route.clone()) {
            ctx.go = Some(Go::Push(route));
        }
    }

    fn tabs(&self, canvas: &mut Canvas<'_>) {
        let mut pieces = vec![dim(format!("{} ", canvas.glyphs.rule))];
        for tab in Tab::ALL {
            let is_here = tab == self.tab;
            pieces.push(if is_here {
                piece(tab.title(), Role::Selected)
            } else {
                plain(tab.title())
            });
            pieces.push(plain("  "));
        }
        canvas.rule(0, "");
        canvas.line(0, &pieces);
    }

    /// A call of the API that answers what is shown. The token stays where it is.
    fn curl(&self, ctx: &Ctx) -> Option<(String, String)> {
        let crate::context::Way::Api { endpoint, .. } = &ctx.target.way else { return None };
        let path = match (self.tab, self.event_id(), self.request_id()) {
            (Tab::Request, _, Some(id)) => format!("requests/{id}/raw"),
            (Tab::Timeline, Some(id), _) => format!("events/{id}/timeline"),
            (Tab::Trace, ..) => format!("trace/{}", self.correlation_id()?),
            (_, Some(id), _) => format!("events/{id}"),
            _ => return None,
        };
        let endpoint = endpoint.trim_end_matches('/');
        let token = "-H \"authorization: Bearer $RELAYFLOW_TOKEN\"";
        let url = crate::tui::route::shell(&format!("{endpoint}/api/v1/{path}"));
        Some(("curl".to_owned(), format!("curl -s {token} {url}")))
    }

    /// What went wrong with what this tab shows, if nothing of it is there.
    fn missing(&self, ctx: &Ctx) -> Option<String> {
        let (is_there, error) = match self.tab {
            Tab::Timeline => (self.timeline.value.is_some(), &self.timeline.error),
            Tab::Trace => (self.trace.value.is_some(), &self.trace.error),
            Tab::Payload => (self.tree.is_some(), &self.event.error),
            Tab::Request => (self.request.value.is_some(), &self.request.error),
        };
        if is_there {
            return None;
        }
        let error = error.as_ref().or(self.event.error.as_ref());
        Some(match error {
            Some(failure) => failure.lines(("", "")),
            None if self.tab == Tab::Payload && self.event.value.is_some() => {
                "the payload is gone: retention took it".to_owned()
            }
            None => frame::waiting(ctx),
        })
    }
}

impl Part for EventScreen {
    fn place(&self) -> Place {
        Place::Event
    }

    fn crumb(&self) -> String {
        let id = self.event_id().unwrap_or(&self.id);
        match &self.event.value {
            Some(event) => {
                let kind = event.kind.as_ref().map(|k| format!("  kind {k}")).unwrap_or_default();
                format!("{id}  {} {}{kind}", event.source, event.event_type)
            }
            None => id.to_owned(),
        }
    }

    fn route(&self) -> Option<Route> {
        let (id, task) = (self.id.clone(), self.task.clone());
        Some(Route::Event { id, task, tab: self.tab })
    }

    fn status(&self, ctx: &Ctx) -> String {
        match &self.event.value {
            Some(event) => ctx.glyphs.status(&event.status),
            None => String::new(),
        }
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if ctx.paused.is_some() {
            return;
        }
        if self.is_of_event() {
            let id = self.id.clone();
            self.event.poll(ctx, || Question::Event(id));
        }
        let id = self.event_id().map(str::to_owned);
        let id = id.or_else(|| self.is_of_request().then(|| self.id.clone()));
        if let Some(id) = id {
            self.timeline.poll(ctx, || Question::Timeline(id));
        }
        if (self.is_of_request() || self.tab == Tab::Request)
            && let Some(id) = self.request_id().map(str::to_owned)
        {
            let raw = id.clone();
            self.request.poll(ctx, || Question::Request(id));
            self.raw.poll(ctx, || Question::Raw(raw));
            if self.request.value.as_ref().is_some_and(|request| request.status == "rejected") {
                let id = self.id.clone();
                self.verification.poll(ctx, || Question::Verification(id));
            }
        }
        if self.tab == Tab::Trace
            && let Some(key) = self.correlation_id().map(str::to_owned)
        {
            self.trace.poll(ctx, || Question::Trace(key));
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match action {
            Action::Timeline => self.show(Tab::Timeline),
            Action::Trace => self.show(Tab::Trace),
            Action::Payload => self.show(Tab::Payload),
            Action::Request => self.show(Tab::Request),
            Action::NextPane | Action::PrevPane => {
                let step = if action == Action::NextPane { 1 } else { Tab::ALL.len() - 1 };
                self.show(Tab::ALL[(self.tab as usize + step) % Tab::ALL.len()]);
            }
            Action::Zoom => self.is_zoomed = !self.is_zoomed,
            Action::PrevWindow => self.move_by(ctx, Action::PageUp),
            Action::NextWindow => self.move_by(ctx, Action::PageDown),
            Action::Chart => {
                let of = self.task().map(|task| task.destination.clone());
                super::overview::chart(ctx, of);
            }
            Action::NextFailure | Action::PrevFailure if self.is_searching() => {
                self.next_match(ctx, action == Action::NextFailure);
            }
            Action::Fold | Action::Left | Action::Right => self.fold(action),
            Action::Open => self.open(ctx),
            Action::Replay => self.replay(ctx),
            Action::ReplayAll => self.replay_all(ctx),
            Action::Discard => self.discard(ctx),
            Action::Mend => self.mend(ctx),
            Action::NextFailure => ctx.go = Some(Go::Neighbour { forward: true }),
            Action::PrevFailure => ctx.go = Some(Go::Neighbour { forward: false }),
            Action::Export => self.export(ctx),
            Action::Editor => match self.document() {
                Some((name, text)) => ctx.effects.push(Effect::Edit { name, text }),
                None => ctx.say("there is nothing to open yet", Role::Warn),
            },
            _ => self.move_by(ctx, action),
        }
        self.wake(ctx);
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let is_over = self.event.value.as_ref().is_some_and(|event| {
            event.tasks.queued + event.tasks.running + event.tasks.retrying == 0
        });
        let every = if is_over { EVERY * 3 } else { EVERY };
        let pick = |reply| if let Reply::Event(event) = reply { Some(event) } else { None };
        if self.event.take(ctx, answer, every, pick)
            && self.tree.is_none()
            && let Some(payload) = self.event.value.as_ref().and_then(|e| e.payload.as_ref())
        {
            self.tree = Some(json::Tree::read(payload));
        }
        let pick = |reply| if let Reply::Timeline(entries) = reply { Some(entries) } else { None };
        self.timeline.take(ctx, answer, every, pick);
        let pick = |reply| if let Reply::Trace(trace) = reply { Some(trace) } else { None };
        self.trace.take(ctx, answer, EVERY, pick);
        let pick = |reply| if let Reply::Request(request) = reply { Some(request) } else { None };
        self.request.take(ctx, answer, ONCE, pick);
        let pick = |reply| if let Reply::Raw(raw) = reply { Some(raw) } else { None };
        self.raw.take(ctx, answer, ONCE, pick);
        let pick = |reply| if let Reply::Verification(told) = reply { Some(told) } else { None };
        self.verification.take(ctx, answer, REPORT_EVERY, pick);
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        self.tabs(canvas);
        let mut body = canvas.below(1);
        if let Some(text) = self.missing(ctx) {
            for (y, line) in text.lines().enumerate() {
                body.put(1, 1 + y, line, Role::Dim);
            }
            return;
        }
        match self.tab {
            Tab::Timeline => timeline::view(self, ctx, &mut body),
            Tab::Trace => trace::view(self, ctx, &mut body),
            Tab::Payload => {
                if let Some(tree) = &self.tree {
                    tree.view(self.cursor(), &self.needle, &mut body);
                }
            }
            Tab::Request => request::view(self, &mut body),
        }
    }

    fn trouble(&self) -> Option<&Failure> {
        self.event.trouble().or(self.timeline.trouble()).or(self.trace.trouble())
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.event.stop(ctx);
        self.timeline.stop(ctx);
        self.trace.stop(ctx);
        self.request.stop(ctx);
        self.raw.stop(ctx);
        self.verification.stop(ctx);
    }

    fn copies(&self, ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = Vec::new();
        copies.extend(self.event_id().map(|id| ("event".to_owned(), id.to_owned())));
        copies.extend(self.task().map(|task| ("task".to_owned(), task.id.clone())));
        copies.extend(self.correlation_id().map(|id| ("correlation id".to_owned(), id.to_owned())));
        if let (Tab::Payload, Some(tree)) = (self.tab, &self.tree) {
            copies.extend(tree.path(self.cursor()).map(|path| ("term".to_owned(), path)));
        }
        copies.extend(self.document());
        copies.extend(self.curl(ctx));
        let id = self.event_id().unwrap_or(&self.id);
        copies.push(("command".to_owned(), format!("relayflow timeline {id}")));
        if let Some(task) = self.task().filter(|task| task.status == "dead") {
            copies.push(("replay".to_owned(), format!("relayflow dlq replay {}", task.id)));
        }
        copies
    }

    fn searched(&self) -> Option<&str> {
        (self.tab == Tab::Payload && self.tree.is_some()).then_some(self.needle.as_str())
    }

    fn search(&mut self, ctx: &mut Ctx, text: &str) {
        text.clone_into(&mut self.needle);
        if self.is_searching() {
            self.next_match(ctx, true);
        }
    }

    fn back(&mut self, _ctx: &mut Ctx) -> bool {
        if std::mem::take(&mut self.is_zoomed) {
            return true;
        }
        let was_searching = self.is_searching();
        self.needle.clear();
        was_searching
    }

    fn is_lively(&self) -> bool {
        self.event.value.is_none() && self.event.error.is_none()
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        match self.task().and_then(|task| task.error_id.as_ref()) {
            Some(error) => format!("R replays all that died of the same error, {error}"),
            None => String::new(),
        }
    }

    fn click(&mut self, _ctx: &mut Ctx, row: usize) {
        if self.tab != Tab::Request
            && let Some(row) = row.checked_sub(1)
        {
            self.at[self.tab as usize] = Some(row);
        }
    }
}
