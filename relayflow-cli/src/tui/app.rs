//! The state of the TUI and how it changes: `update` is pure, its wishes come back as effects.

use std::time::Duration;

use crossterm::event::{KeyEvent, KeyEventKind};

use super::ctx::{Ctx, FAILURES, Go, Link, PlanAsk, Setup, Tail};
use super::keys::Action;
use super::msg::{Answer, Effect, Moment, Msg, Reply, TailNews};
use super::popup::question::Then;
use super::popup::{
    After, Choice, Chosen, FilterBox, Outcome, Pager, Palette, Popup, Question, SearchBox,
};
use super::pulse::Pulse;
use super::route::{Noun, Route};
use super::screens::Screen;
use super::theme::Role;
use crate::context::{ContextName, Target};
use crate::failure::Failure;
use crate::selection::Selection;

/// Screens that one may go into; deeper, the oldest is forgotten.
const DEPTH_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ctx: Ctx,
    pub(crate) pulse: Pulse,
    /// The last is the one that is seen. Never empty.
    pub(crate) screens: Vec<Screen>,
    /// What `-` returns to.
    previous: Option<Route>,
    is_begun: bool,
}

impl State {
    pub(crate) fn new(setup: Setup, now: Moment, size: (u16, u16), route: Route) -> Self {
        let ctx = Ctx::new(setup, now, size);
        let mut screens = Vec::new();
        if route != Route::Overview {
            screens.push(Screen::open(Route::Overview, &ctx));
        }
        screens.push(Screen::open(route, &ctx));
        Self { ctx, pulse: Pulse::default(), screens, previous: None, is_begun: false }
    }

    /// Whether it changes by itself soon, so that it wants to be woken soon.
    pub(crate) fn is_lively(&self) -> bool {
        self.screens.last().is_some_and(|screen| screen.part().is_lively())
            || matches!(self.ctx.link, Link::Connecting { .. })
    }

    /// The command that opens what is seen.
    pub(crate) fn command(&self) -> String {
        let route = self.screens.iter().rev().find_map(|screen| screen.part().route());
        route.unwrap_or(Route::Overview).command()
    }
}

/// Takes one message in.
pub(crate) fn update(state: &mut State, now: Moment, msg: Msg) -> Vec<Effect> {
    state.ctx.now = now;
    match msg {
        Msg::Key(key) => on_key(state, &key),
        Msg::Paste(text) => on_paste(state, &text),
        Msg::Click { row } => on_click(state, row),
        Msg::Wheel { down } => act(state, if down { Action::Down } else { Action::Up }),
        Msg::Size(columns, rows) => state.ctx.size = (columns, rows),
        Msg::Tick => {}
        Msg::Answer(answer) => on_answer(state, answer),
        Msg::Tail(news) => on_tail(state, news),
        Msg::Note(Ok(text)) => state.ctx.say(text, Role::Info),
        Msg::Note(Err(failure)) => state.ctx.fail(&failure),
        Msg::Mended { event, task, was, is } => on_mended(state, event, task, &was, is),
        Msg::Printed { title, text } => {
            state.ctx.popup = Some(Popup::Pager(Pager::new(title, text)));
        }
        Msg::Switched(Ok(target)) => on_switched(state, *target),
        Msg::Switched(Err(failure)) => state.ctx.fail(&failure),
        Msg::Signal(exit) => state.ctx.effects.push(Effect::Quit { exit, report: None }),
        Msg::Panicked(report) => {
            let report = Some(format!("{report}\nreopen: {}", state.command()));
            state.ctx.effects.push(Effect::Quit { exit: 1, report });
        }
    }
    wake(state);
    std::mem::take(&mut state.ctx.effects)
}

/// Goes where an update led, and lets what is seen ask for what it misses.
fn wake(state: &mut State) {
    while let Some(go) = state.ctx.go.take() {
        follow(state, go);
    }
    state.ctx.drop_old_note();
    state.pulse.wake(&mut state.ctx);
    let State { ctx, screens, .. } = state;
    if let Some(screen) = screens.last_mut() {
        screen.part_mut().wake(ctx);
    }
    follow_timeline(state);
}

/// The timeline is followed with the filter of the screen that shows it.
fn follow_timeline(state: &mut State) {
    let wanted = match state.screens.last() {
        Some(Screen::Tail(tail)) => tail.wanted(),
        _ => Some(FAILURES.to_owned()),
    };
    if state.is_begun && state.ctx.tail.q == wanted {
        return;
    }
    state.is_begun = true;
    state.ctx.tail = Tail::of(wanted.clone());
    state.ctx.effects.push(Effect::Follow { q: wanted });
}

fn follow(state: &mut State, go: Go) {
    match go {
        Go::Push(route) => push(state, route),
        Go::Root(route) => root(state, route),
        Go::Back => {
            pop(state);
        }
        Go::Plan(ask) => {
            let wizard = Screen::plan(*ask);
            state.screens.push(wizard);
        }
        Go::Begun(id) => {
            pop(state);
            push(state, Route::Job(id));
        }
        Go::Neighbour { forward } => neighbour(state, forward),
    }
}

fn push(state: &mut State, route: Route) {
    remember(state);
    let screen = Screen::open(route, &state.ctx);
    state.screens.push(screen);
    if DEPTH_MAX < state.screens.len() {
        let mut oldest = state.screens.remove(1);
        oldest.part_mut().close(&mut state.ctx);
    }
}

fn root(state: &mut State, route: Route) {
    remember(state);
    for screen in &mut state.screens {
        screen.part_mut().close(&mut state.ctx);
    }
    let overview = matches!(route, Route::Overview);
    state.screens.clear();
    if !overview {
        state.screens.push(Screen::open(Route::Overview, &state.ctx));
    }
    state.screens.push(Screen::open(route, &state.ctx));
}

fn pop(state: &mut State) -> bool {
    if state.screens.len() < 2 {
        return false;
    }
    remember(state);
    if let Some(mut screen) = state.screens.pop() {
        screen.part_mut().close(&mut state.ctx);
    }
    true
}

fn remember(state: &mut State) {
    if let Some(route) = state.screens.last().and_then(|screen| screen.part().route()) {
        state.previous = Some(route);
    }
}

/// From one event to the next failure of the list that it was opened from.
fn neighbour(state: &mut State, forward: bool) {
    let State { ctx, screens, .. } = state;
    let below = screens.len().checked_sub(2).and_then(|at| screens.get_mut(at));
    match below.and_then(|screen| screen.part_mut().neighbour(ctx, forward)) {
        Some(route) => {
            pop(state);
            push(state, route);
        }
        None => state.ctx.say("no other failure in the list", Role::Info),
    }
}

// keys

fn on_key(state: &mut State, key: &KeyEvent) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    let place = match state.screens.last() {
        Some(screen) => screen.part().place(),
        None => return,
    };
    let action = state.ctx.keymap.action(key, place);
    match action {
        Some(Action::QuitNow) => return quit(state),
        Some(Action::Redraw) => return state.ctx.effects.push(Effect::Repaint),
        Some(Action::Suspend) => return state.ctx.effects.push(Effect::Suspend),
        _ => {}
    }
    if let Some(mut popup) = state.ctx.popup.take() {
        match popup.key(&mut state.ctx, key) {
            After::Stay if state.ctx.popup.is_none() => state.ctx.popup = Some(popup),
            After::Stay | After::Close => {}
            After::Then(outcome) => decide(state, outcome),
        }
        return;
    }
    let State { ctx, screens, .. } = state;
    if let Some(screen) = screens.last_mut()
        && screen.part_mut().key(ctx, key)
    {
        return;
    }
    if let Some(action) = action {
        act(state, action);
    }
}

fn on_paste(state: &mut State, text: &str) {
    if let Some(mut popup) = state.ctx.popup.take() {
        popup.paste(&mut state.ctx, text);
        state.ctx.popup = Some(popup);
        return;
    }
    let State { ctx, screens, .. } = state;
    if let Some(screen) = screens.last_mut() {
        screen.part_mut().paste(ctx, text);
    }
}

fn on_click(state: &mut State, row: u16) {
    let (top, height) = super::frame::body(state.ctx.size);
    let row = usize::from(row);
    let State { ctx, screens, .. } = state;
    if let (Some(screen), Some(row)) = (screens.last_mut(), row.checked_sub(top))
        && row < height
        && ctx.popup.is_none()
    {
        screen.part_mut().click(ctx, row);
    }
}

fn quit(state: &mut State) {
    state.ctx.effects.push(Effect::Quit { exit: 0, report: None });
}

fn act(state: &mut State, action: Action) {
    let route = match action {
        Action::Overview => Some(Route::Overview),
        Action::Events => Some(list(Noun::Events)),
        Action::Dlq => Some(list(Noun::DeadLetters)),
        Action::Replays => Some(Route::Replays),
        Action::Queues => Some(Route::Queues),
        Action::Drift => Some(Route::Drift { filter: String::new() }),
        Action::Sources => Some(Route::Sources),
        _ => None,
    };
    if let Some(route) = route {
        state.ctx.go = Some(Go::Root(route));
        return;
    }
    match action {
        Action::Quit => quit(state),
        Action::Back => back(state),
        Action::Previous => {
            if let Some(route) = state.previous.take() {
                state.ctx.go = Some(Go::Push(route));
            }
        }
        Action::Tail => state.ctx.go = Some(Go::Push(Route::Tail { filter: String::new() })),
        Action::Errors => state.ctx.go = Some(Go::Push(Route::Errors)),
        Action::Palette | Action::Keys => {
            let place = state.screens.last().map(|screen| screen.part().place());
            let palette = place.map(|place| Palette::new(place, action == Action::Keys));
            state.ctx.popup = palette.map(Popup::Palette);
        }
        Action::Filter => {
            let Some(part) = state.screens.last().map(Screen::part) else { return };
            let search = part.searched().map(|text| Popup::Search(SearchBox::new(text)));
            let filter = part.filter().map(|text| Popup::Filter(FilterBox::new(text)));
            state.ctx.popup = search.or(filter);
        }
        Action::Contexts => choose_context(state),
        Action::Copy => choose_copy(state),
        Action::Pause => pause(state),
        Action::Utc => {
            let is_utc = state.ctx.zone == jiff::tz::TimeZone::UTC;
            let own = state.ctx.local_zone.clone();
            state.ctx.zone = if is_utc { own } else { jiff::tz::TimeZone::UTC };
        }
        Action::Open if !state.ctx.is_up() => retry(state),
        _ => {
            let State { ctx, screens, .. } = state;
            if let Some(screen) = screens.last_mut() {
                screen.part_mut().act(ctx, action);
            }
        }
    }
}

/// Asks again now: with a new token, where the one that there is was refused.
fn retry(state: &mut State) {
    let name = &state.ctx.target.name;
    let is_named = state.ctx.contexts.iter().any(|context| context.name == *name);
    if matches!(state.ctx.link, Link::Refused { .. }) && is_named {
        let again = Effect::Switch(name.clone());
        state.ctx.effects.push(again);
        return;
    }
    state.pulse.retry_now(&mut state.ctx);
}

fn list(noun: Noun) -> Route {
    Route::List { noun, filter: String::new() }
}

/// One level back: marks, then the filter, then the screen. It never quits.
fn back(state: &mut State) {
    let State { ctx, screens, .. } = state;
    let Some(screen) = screens.last_mut() else { return };
    if screen.part_mut().back(ctx) {
        return;
    }
    if !pop(state) {
        state.ctx.say("q quits", Role::Info);
    }
}

fn pause(state: &mut State) {
    if state.ctx.paused.take().is_some() {
        state.ctx.tail.resume();
        state.ctx.say("going on", Role::Info);
    } else {
        state.ctx.paused = Some(state.ctx.now.run);
        state.ctx.say("the view stands still; p goes on", Role::Info);
    }
}

fn choose_context(state: &mut State) {
    let contexts = state.ctx.contexts.clone();
    if contexts.is_empty() {
        state.ctx.say("no contexts are configured: relayflow help contexts", Role::Warn);
        return;
    }
    let here = state.ctx.target.name.clone();
    let item = |ContextName { name, .. }: ContextName| Chosen {
        note: if name == here { "this one".to_owned() } else { String::new() },
        label: name.clone(),
        outcome: Outcome::Context(name),
    };
    let items = contexts.into_iter().map(item).collect();
    state.ctx.popup = Some(Popup::Choice(Choice::new("context", items)));
}

fn choose_copy(state: &mut State) {
    let Some(screen) = state.screens.last() else { return };
    let mut copies = screen.part().copies(&state.ctx);
    copies.extend(screen.part().route().map(|r| ("this view".to_owned(), r.command())));
    let item = |(what, text): (String, String)| Chosen {
        label: what.clone(),
        note: text.chars().take(80).collect(),
        outcome: Outcome::Copy { what, text },
    };
    let items = copies.into_iter().map(item).collect();
    state.ctx.popup = Some(Popup::Choice(Choice::new("copy", items)));
}

/// What a popup led to.
fn decide(state: &mut State, outcome: Outcome) {
    match outcome {
        Outcome::Act(action) => act(state, action),
        Outcome::Open(route) => state.ctx.go = Some(Go::Push(route)),
        Outcome::Context(name) => state.ctx.effects.push(Effect::Switch(name)),
        Outcome::Run(words) => state.ctx.effects.push(Effect::Run(words)),
        Outcome::Copy { what, text } => state.ctx.copy(what, text),
        Outcome::Filter(text) => {
            let State { ctx, screens, .. } = state;
            if let Some(screen) = screens.last_mut() {
                screen.part_mut().set_filter(ctx, &text);
            }
        }
        Outcome::Search(text) => {
            let State { ctx, screens, .. } = state;
            if let Some(screen) = screens.last_mut() {
                screen.part_mut().search(ctx, &text);
            }
        }
        Outcome::GroupBy(by) => {
            let filter = state.screens.last().and_then(|screen| screen.part().filter());
            let filter = filter.unwrap_or_default().to_owned();
            pop(state);
            push(state, Route::Groups { by, filter });
        }
    }
}

// what comes from outside

fn on_answer(state: &mut State, answer: Answer) {
    if answer.result.is_ok() {
        state.ctx.heard();
    }
    let mut answer = Some(answer);
    let State { ctx, pulse, screens, .. } = state;
    pulse.take(ctx, &mut answer);
    for screen in screens.iter_mut() {
        screen.part_mut().answer(ctx, &mut answer);
    }
    // What is left is a deed's, that no screen waits for.
    match answer.map(|answer| answer.result) {
        Some(Ok(Reply::Revised { task, number })) => on_revised(state, task, number),
        Some(Ok(Reply::Done(text))) => state.ctx.say(text, Role::Ok),
        Some(Err(failure)) if !is_lost(&failure) => state.ctx.fail(&failure),
        Some(Err(failure)) => state.ctx.log(&failure),
        Some(Ok(_)) | None => {}
    }
}

/// As many lines of a difference as a question has room for.
const DIFFERENCE: usize = 12;

/// A payload came back from the editor: what changed is shown, and asked about.
fn on_mended(
    state: &mut State,
    event: String,
    task: String,
    was: &str,
    is: Result<String, Failure>,
) {
    let is = match is {
        Ok(is) => is,
        Err(failure) => return state.ctx.fail(&failure),
    };
    let shown = crate::output::document::indent(&is).unwrap_or_else(|_| is.clone());
    if shown.trim() == was.trim() {
        return state.ctx.say("the payload is as it was: nothing was changed", Role::Info);
    }
    let difference = crate::commands::edit::difference(was, &shown);
    let mut lines: Vec<String> = difference.lines().take(DIFFERENCE).map(str::to_owned).collect();
    lines.push("It is kept as a revision; what came in stays as it is.".to_owned());
    state.ctx.draft = Some((event.clone(), is.clone()));
    let then = Then::Revise { event, task, payload: is };
    let question = Question::new("Edit and replay", lines, then);
    state.ctx.popup = Some(Popup::Question(Box::new(question)));
}

/// The edited payload was taken: its task is run, after a look at the plan.
fn on_revised(state: &mut State, task: String, number: i64) {
    state.ctx.draft = None;
    state.ctx.say(format!("kept as revision {number}"), Role::Ok);
    let command = format!("relayflow dlq replay {task}");
    let selection = Selection { ids: Some(vec![task]), ..Selection::default() };
    let ask = PlanAsk { selection, action: "replay", reason: None, command, is_edit: true };
    state.ctx.go = Some(Go::Plan(Box::new(ask)));
}

fn is_lost(failure: &Failure) -> bool {
    failure.exit() == relayflow_core::api::codes::Exit::Unreachable
}

fn on_tail(state: &mut State, news: TailNews) {
    let is_paused = state.ctx.paused.is_some();
    let tail = &mut state.ctx.tail;
    match news {
        TailNews::Opened => {
            tail.is_open = true;
            tail.is_catching_up = tail.lost.take().is_some();
        }
        TailNews::Entries { entries, dropped } => {
            let count = entries.len();
            tail.dropped += dropped;
            tail.push(entries, is_paused);
            if std::mem::take(&mut tail.is_catching_up) {
                let entries = u64::try_from(count).unwrap_or(u64::MAX);
                let text = format!("{} caught up", crate::output::time::count(entries));
                state.ctx.say(text, Role::Ok);
            }
        }
        TailNews::Lost(why) => {
            tail.is_open = false;
            tail.lost = Some(why);
        }
    }
}

/// Another RelayFlow: nothing of the one before is shown any more. The same with a new token: all of it
/// stays.
fn on_switched(state: &mut State, target: Target) {
    if target.name == state.ctx.target.name && target.way.is_same_place(&state.ctx.target.way) {
        state.ctx.target = target;
        state.ctx.link = Link::Connecting { since: state.ctx.now.run };
        state.ctx.who = None;
        state.pulse.begin_anew();
        state.is_begun = false;
        return;
    }
    for screen in &mut state.screens {
        screen.part_mut().close(&mut state.ctx);
    }
    state.ctx.target = target;
    state.ctx.link = Link::Connecting { since: state.ctx.now.run };
    state.ctx.who = None;
    state.ctx.skew = jiff::SignedDuration::ZERO;
    state.ctx.paused = None;
    state.ctx.popup = None;
    state.pulse = Pulse::default();
    state.previous = None;
    state.screens = vec![Screen::open(Route::Overview, &state.ctx)];
    state.is_begun = false;
}

/// How long until time alone may change something.
pub(crate) fn next_tick(state: &State) -> Duration {
    if state.is_lively() { Duration::from_millis(150) } else { Duration::from_millis(1000) }
}
