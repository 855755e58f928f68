//! What stands round every screen: header, tabs, path, message line, keys.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::State;
use super::ctx::{Ctx, Link};
use super::draw::{Canvas, Piece, dim, fit, piece, plain, strong, width};
use super::keys::{ACTIONS, Action, Place, works};
use super::popup::Popup;
use super::pulse::Series;
use super::theme::Role;
use crate::context::Way;
use crate::output::time;

/// Below this only header, list and keys have room; below the other, nothing has.
const SMALL: (u16, u16) = (60, 16);
const TINY: (u16, u16) = (40, 10);

const TABS: [(&str, &str); 7] = [
    ("1", "Overview"),
    ("2", "Events"),
    ("3", "DLQ"),
    ("4", "Replays"),
    ("5", "Queues"),
    ("6", "Drift"),
    ("7", "Sources"),
];

pub(crate) fn is_small((columns, rows): (u16, u16)) -> bool {
    columns < SMALL.0 || rows < SMALL.1
}

/// Where the body begins, and its rows.
pub(crate) fn body(size: (u16, u16)) -> (usize, usize) {
    let rows = usize::from(size.1);
    if is_small(size) { (1, rows.saturating_sub(2)) } else { (3, rows.saturating_sub(5)) }
}

/// What is waited for, said where nothing is there yet.
pub(crate) fn waiting(ctx: &Ctx) -> String {
    match (&ctx.link, &ctx.target.way) {
        (Link::Connecting { .. }, Way::Api { endpoint, .. }) => {
            let host = endpoint.split("://").last().unwrap_or(endpoint);
            format!("waiting for {host}")
        }
        (Link::Connecting { .. }, Way::Store { url }) => format!("opening {url}"),
        (Link::Live { .. }, _) => "loading".to_owned(),
        (Link::Lost { .. }, _) => "not connected".to_owned(),
        (Link::Refused { .. }, _) => "refused".to_owned(),
    }
}

/// Draws all of it.
pub(crate) fn view(state: &State, area: Rect, buf: &mut Buffer) {
    let ctx = &state.ctx;
    let (theme, glyphs) = (&ctx.theme, &ctx.glyphs);
    let mut canvas = Canvas { buf, area, theme, glyphs, is_faded: false };
    let (columns, rows) = (area.width, area.height);
    if columns < TINY.0 || rows < TINY.1 {
        let text = format!("{}x{} needed, this is {columns}x{rows}", SMALL.0, SMALL.1);
        canvas.put(0, 0, &text, Role::Text);
        return;
    }
    header(state, &mut canvas);
    let (top, height) = body((columns, rows));
    let all = canvas.width();
    if !is_small((columns, rows)) {
        tabs(state, &mut canvas);
        path(state, &mut canvas);
        message(state, &mut canvas);
    }
    {
        let mut body = canvas.part(0, top, all, height);
        body.is_faded = !ctx.is_up();
        if let Some(screen) = state.screens.last() {
            screen.part().view(ctx, &state.pulse, &mut body);
        }
    }
    if let Some(popup) = &ctx.popup {
        popup.view(ctx, &mut canvas.part(0, top, all, height));
    }
    keys(state, &mut canvas);
}

fn header(state: &State, canvas: &mut Canvas<'_>) {
    let ctx = &state.ctx;
    let (open, close) = ctx.glyphs.label;
    let mut left = vec![strong(" relayflow ")];
    let mut accent = None;
    match &ctx.target.label {
        Some(label) => {
            let at = left.iter().map(|p| width(&p.0)).sum();
            left.push(piece(open, Role::Accent));
            left.push(piece(label.clone(), Role::Label));
            left.push(piece(close, Role::Accent));
            accent = Some((at, width(label) + 2));
        }
        None => left.push(plain(ctx.target.name.clone())),
    }
    left.push(plain(" "));
    left.extend(connection(ctx));
    let is_tail = matches!(state.screens.last(), Some(super::screens::Screen::Tail(_)));
    if is_tail && 0 < ctx.tail.dropped && ctx.is_up() {
        let dropped = format!("  dropped {}", time::count(ctx.tail.dropped));
        left.push(piece(dropped, Role::Warn));
    }
    if ctx.is_up() && ctx.speaks != relayflow_core::api::V {
        let text = format!("  ! api v{}, this is v{}", ctx.speaks, relayflow_core::api::V);
        left.push(piece(text, Role::Bad));
    }
    if ctx.is_up() && ctx.is_viewer() {
        left.push(piece("  ! role viewer", Role::Warn));
    }
    if ctx.why_not() == Some("--read-only") {
        left.push(dim("  read only"));
    }
    canvas.line(0, &left);
    if let (Some((at, wide)), Some(colour)) = (accent, ctx.accent()) {
        canvas.part(at, 0, wide, 1).colour(0, colour);
    }
    let room = canvas.width().saturating_sub(left.iter().map(|p| width(&p.0)).sum::<usize>() + 1);
    let clock = ctx.now.wall.to_zoned_datetime(ctx.zone.clone()).strftime("%H:%M").to_string();
    let mut right = vec![dim(format!("{clock} "))];
    if room < width(&clock) + 2 {
        return;
    }
    for figure in figures(state) {
        let wide: usize = right.iter().chain(&figure).map(|p| width(&p.0)).sum();
        if room < wide {
            break;
        }
        right.splice(0..0, figure);
    }
    canvas.right(0, &right);
}

/// The numbers of the header; the first are the last to be left out.
fn figures(state: &State) -> Vec<Vec<Piece>> {
    let Some(stats) = state.pulse.stats().filter(|_| state.ctx.is_up()) else { return Vec::new() };
    let dead = time::count(u64::try_from(stats.dead_letters).unwrap_or(0));
    let role = if 0 < stats.dead_letters { Role::Bad } else { Role::Ok };
    let rate = |series| state.pulse.rate(series).map_or("–".to_owned(), |r| format!("{r:.1}/s"));
    let ascii = state.ctx.glyphs.is_ascii();
    let rate = |series| if ascii { rate(series).replace('–', "-") } else { rate(series) };
    let mut figures = vec![
        vec![plain("dead "), piece(dead, role), plain("  ")],
        vec![plain("ok "), plain(rate(Series::Ok)), plain("  ")],
        vec![plain("in "), plain(rate(Series::Received)), plain("  ")],
    ];
    if 0 < stats.drift.breaking {
        let drift = format!("drift {}", stats.drift.breaking);
        figures.push(vec![piece(drift, Role::Warn), plain("  ")]);
    }
    let paused = stats.paused_queues.len();
    if 0 < paused {
        let s = if paused == 1 { "" } else { "s" };
        let text = format!("{} {paused} queue{s} paused", if ascii { "=" } else { "‖" });
        figures.insert(1, vec![piece(text, Role::Warn), plain("  ")]);
    }
    if state.ctx.is_wide() {
        let retry = format!("retry {:.1}%  ", stats.retry_rate * 100.0);
        figures.push(vec![plain(retry)]);
    }
    figures
}

fn seconds(duration: Duration) -> String {
    time::amount(jiff::SignedDuration::try_from(duration).unwrap_or_default())
}

fn connection(ctx: &Ctx) -> Vec<Piece> {
    let ascii = ctx.glyphs.is_ascii();
    let mark = |unicode: &'static str, plain: &'static str| if ascii { plain } else { unicode };
    let now = ctx.now.run;
    if let (Some(since), true) = (ctx.paused, ctx.is_up()) {
        let behind = ctx.tail.behind;
        let behind = if 0 < behind { format!(", {behind} behind") } else { String::new() };
        let text =
            format!("{} paused {}{behind}", mark("‖", "="), seconds(now.saturating_sub(since)));
        return vec![piece(text, Role::Warn)];
    }
    match &ctx.link {
        Link::Connecting { since } => {
            let text = format!("{} connecting {}", mark("◌", "o"), seconds(now - *since));
            vec![piece(text, Role::Warn)]
        }
        Link::Live { .. } => match ctx.staleness() {
            Some(age) => {
                vec![piece(format!("{} {} old", mark("◌", "o"), seconds(age)), Role::Warn)]
            }
            None if ctx.is_store() => {
                vec![piece(format!("{} store, read only", mark("●", "*")), Role::Info)]
            }
            None => vec![piece(format!("{} live", mark("●", "*")), Role::Ok)],
        },
        Link::Lost { since, retry, at, .. } => {
            let lost = seconds(now.saturating_sub(*since));
            let next = at.saturating_sub(now).as_secs();
            vec![
                piece(format!("{} lost {lost} ago", mark("○", "o")), Role::Bad),
                plain(format!("  retry {retry} in {next}s")),
                dim("  (enter: now)"),
            ]
        }
        Link::Refused { what, .. } => vec![piece(format!("! {what}"), Role::Bad)],
    }
}

fn tabs(state: &State, canvas: &mut Canvas<'_>) {
    let here = state.screens.iter().rev().map(super::screens::Screen::tab).find(|tab| 0 < *tab);
    let mut pieces = vec![plain(" ")];
    // Where all names do not fit, the keys do.
    let all: usize = TABS.iter().map(|(key, name)| key.len() + name.len() + 4).sum();
    let has_room = all < canvas.width();
    for (place, (key, name)) in TABS.iter().enumerate() {
        if here == Some(place + 1) {
            pieces.push(piece(format!("[{key} {name}]"), Role::Strong));
        } else if has_room {
            pieces.push(dim(format!(" {key} {name} ")));
        } else {
            pieces.push(dim(format!(" {key} ")));
        }
        pieces.push(plain(" "));
    }
    canvas.line(1, &pieces);
    if let (Some(who), true) = (&state.ctx.who, state.ctx.is_wide()) {
        let text = match who.name == who.role {
            true => format!("{} ", who.role),
            false => format!("{} {} ", who.role, who.name),
        };
        canvas.right(1, &[dim(text)]);
    }
}

/// Where one is, by which filter, and on the right how many; the first of the way give way.
fn path(state: &State, canvas: &mut Canvas<'_>) {
    let ctx = &state.ctx;
    let part = state.screens.last().map(super::screens::Screen::part);
    let status = match &ctx.link {
        Link::Lost { heard: Some(heard), .. } => {
            let at = heard.to_zoned_datetime(ctx.zone.clone()).strftime("%H:%M:%S").to_string();
            format!("as of {at}")
        }
        Link::Connecting { .. } | Link::Live { .. } | Link::Lost { .. } | Link::Refused { .. } => {
            part.map(|part| part.status(ctx)).unwrap_or_default()
        }
    };
    let room = canvas.width().saturating_sub(width(&status) + 4);
    let filter = part.and_then(|part| part.filter()).filter(|f| !f.is_empty());
    let mut crumbs: Vec<String> = state.screens.iter().map(|s| s.part().crumb()).collect();
    let Some(last) = crumbs.pop() else { return };
    // Of an id that was opened on the way, the beginning is enough.
    let short = |crumb: &String| {
        let first = crumb.split("  ").next().unwrap_or(crumb);
        format!("{} {} ", super::draw::short_id(first), ctx.glyphs.path)
    };
    let mut before: Vec<String> = crumbs.iter().map(short).collect();
    let last_wide = width(&last) + filter.map_or(0, |f| width(f) + 5);
    let mut dots = "";
    while 1 < before.len() && room < last_wide + before.iter().map(|b| width(b)).sum::<usize>() + 4
    {
        before.remove(0);
        dots = ctx.glyphs.ellipsis();
    }
    let mut pieces = vec![plain(" "), dim(dots)];
    pieces.extend(before.into_iter().map(dim));
    let taken: usize = pieces.iter().map(|p| width(&p.0)).sum();
    let last_room = room.saturating_sub(taken);
    let is_long = filter.is_none() && last_room < width(&last);
    pieces.push(strong(if is_long { fit(&last, last_room, &ctx.glyphs) } else { last }));
    if let Some(filter) = filter {
        pieces.push(dim("   / "));
        pieces.push(piece(filter, Role::Accent));
    }
    canvas.part(0, 2, room + 1, 1).line(0, &pieces);
    canvas.right(2, &[dim(format!("{status} "))]);
}

fn message(state: &State, canvas: &mut Canvas<'_>) {
    let ctx = &state.ctx;
    let y = canvas.height().saturating_sub(2);
    if let Some(note) = &ctx.note {
        canvas.line(y, &[plain(" "), piece(&*note.text, note.role)]);
        return;
    }
    match &ctx.link {
        Link::Lost { why, .. } => {
            let text = format!(" ! {why}   reading is from memory; acting is off");
            canvas.put(0, y, &text, Role::Warn);
        }
        Link::Refused { what, .. } => {
            let text = match what.as_str() {
                "token expired" => " enter asks for a new token; @ chooses another context",
                _ => " enter tries again; ! shows why; @ chooses another context",
            };
            canvas.put(0, y, text, Role::Warn);
        }
        Link::Connecting { .. } | Link::Live { .. } => {
            let part = state.screens.last().map(super::screens::Screen::part);
            if let Some(failure) = part.and_then(|part| part.trouble()) {
                let text = format!(" ! {}: a part of this is not up to date", failure.message);
                canvas.put(0, y, &text, Role::Warn);
                return;
            }
            let tip = part.map(|part| part.tip(ctx)).unwrap_or_default();
            canvas.put(0, y, &format!(" {tip}"), Role::Dim);
        }
    }
}

/// Shown before the others, where they work.
const NARROW: usize = 100;
const FIRST: [Action; 4] = [Action::Palette, Action::Keys, Action::Back, Action::Quit];

fn keys(state: &State, canvas: &mut Canvas<'_>) {
    let ctx = &state.ctx;
    let y = canvas.height().saturating_sub(1);
    if let Some(popup) = &ctx.popup {
        let keys = ascii_keys(ctx, popup_keys(popup));
        canvas.put(1, y, &keys, Role::Dim);
        return;
    }
    if let Some(own) = state.screens.last().and_then(|screen| screen.part().keys()) {
        canvas.put(1, y, &ascii_keys(ctx, own), Role::Dim);
        return;
    }
    let place = state.screens.last().map_or(Place::Overview, |screen| screen.part().place());
    // Where room is short, what works here comes before the list of everything.
    let first = if NARROW <= canvas.width() { &FIRST[..] } else { &FIRST[1..] };
    let ends: Vec<String> = first.iter().map(|action| key_of(ctx, *action)).collect();
    let ends = ends.join("  ");
    let mut line = String::new();
    let room = canvas.width().saturating_sub(width(&ends) + 3);
    for entry in ACTIONS.iter().filter(|entry| works(entry, place)) {
        if first.contains(&entry.action) || !is_shown(entry.action) {
            continue;
        }
        if entry.is_deed && ctx.why_not().is_some() {
            continue;
        }
        let text = key_of(ctx, entry.action);
        if room < width(&line) + width(&text) + 2 {
            continue;
        }
        line.push_str(&text);
        line.push_str("  ");
    }
    canvas.put(1, y, &ascii_keys(ctx, &format!("{line}{ends}")), Role::Dim);
}

fn popup_keys(popup: &Popup) -> &'static str {
    popup.keys()
}

fn ascii_keys(ctx: &Ctx, keys: &str) -> String {
    if ctx.glyphs.is_ascii() {
        keys.replace('↵', "enter").replace("↑↓", "up/down").replace("←→", "left/right")
    } else {
        keys.to_owned()
    }
}

fn key_of(ctx: &Ctx, action: Action) -> String {
    let entry = ACTIONS.iter().find(|entry| entry.action == action);
    let help = entry.map_or("", |entry| entry.help);
    format!("{} {help}", ctx.keymap.shown(action))
}

/// What everybody knows needs no room in the footer.
fn is_shown(action: Action) -> bool {
    !matches!(
        action,
        Action::Up
            | Action::Down
            | Action::Left
            | Action::Right
            | Action::Top
            | Action::Bottom
            | Action::PageUp
            | Action::PageDown
            | Action::Overview
            | Action::Events
            | Action::Dlq
            | Action::Replays
            | Action::Queues
            | Action::Drift
            | Action::Sources
            | Action::Previous
            | Action::PrevPane
            | Action::PrevWindow
            | Action::NextWindow
            | Action::Chart
            | Action::Utc
            | Action::Redraw
            | Action::Suspend
            | Action::QuitNow
    )
}
