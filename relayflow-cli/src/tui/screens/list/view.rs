//! How a list looks.

use std::time::Duration;

use super::{ListScreen, Noun};
use crate::output::time;
use crate::tui::ctx::{Ctx, Link};
use crate::tui::draw::{
    Canvas, Column, Piece, dim, head, lay_out, piece, plain, row, short_id, strong, wrap,
};
use crate::tui::frame;
use crate::tui::list::Marks;
use crate::tui::msg::Row;
use crate::tui::pulse::Pulse;
use crate::tui::screens::Part as _;
use crate::tui::theme::Role;

/// The cursor, the mark, a space.
const GUTTER: usize = 3;

const fn column(title: &'static str, width: usize, weight: u8) -> Column {
    Column { title, width, is_right: false, weight, grows: false }
}

const fn number(title: &'static str, width: usize, weight: u8) -> Column {
    Column { title, width, is_right: true, weight, grows: false }
}

const fn grows(title: &'static str, width: usize, weight: u8) -> Column {
    Column { title, width, is_right: false, weight, grows: true }
}

const LETTERS: [Column; 6] = [
    column("ID", 16, 0),
    number("AGE", 5, 1),
    column("TYPE", 20, 4),
    column("STEP", 14, 3),
    number("ATT", 3, 5),
    grows("ERROR", 8, 2),
];
const LETTERS_WIDE: [Column; 9] = [
    column("ID", 30, 0),
    number("AGE", 5, 1),
    column("SOURCE", 12, 6),
    column("TYPE", 26, 4),
    column("STEP", 20, 3),
    column("DESTINATION", 20, 7),
    column("STATUS", 11, 8),
    number("ATT", 3, 5),
    grows("ERROR", 16, 2),
];
const EVENTS: [Column; 7] = [
    column("ID", 16, 0),
    number("AGE", 5, 1),
    column("SOURCE", 8, 6),
    column("TYPE", 22, 2),
    column("STATUS", 10, 2),
    number("TASKS", 5, 5),
    grows("ERROR", 8, 7),
];
const EVENTS_WIDE: [Column; 8] = [
    column("ID", 30, 0),
    number("AGE", 5, 1),
    column("SOURCE", 12, 6),
    column("TYPE", 28, 2),
    column("STATUS", 11, 2),
    number("TASKS", 5, 5),
    number("ATT", 3, 8),
    grows("ERROR", 16, 7),
];
const REQUESTS: [Column; 7] = [
    column("ID", 16, 0),
    number("AGE", 5, 1),
    column("SOURCE", 8, 3),
    column("STATUS", 11, 2),
    number("BYTES", 7, 6),
    column("REQUEST", 16, 5),
    grows("WHY", 8, 4),
];

fn columns(screen: &ListScreen) -> &'static [Column] {
    match (screen.noun, screen.wide) {
        (Noun::DeadLetters, false) => &LETTERS,
        (Noun::DeadLetters, true) => &LETTERS_WIDE,
        (Noun::Events, false) => &EVENTS,
        (Noun::Events, true) => &EVENTS_WIDE,
        (Noun::Requests, _) => &REQUESTS,
    }
}

/// The columns, those of text no wider than what was seen in them: the rest is the last column's.
fn fitted(screen: &ListScreen) -> Vec<Column> {
    let seen = &screen.seen;
    let fit = |column: &Column| {
        let most = match column.title {
            "TYPE" | "REQUEST" => seen.kind,
            "STEP" => seen.step,
            "SOURCE" => seen.source,
            "DESTINATION" => seen.destination,
            _ => return *column,
        };
        let least = column.title.len();
        Column { width: most.clamp(least, column.width.max(least)), ..*column }
    };
    columns(screen).iter().map(fit).collect()
}

fn cells(screen: &ListScreen, ctx: &Ctx, row: &Row) -> Vec<Piece> {
    let id = if screen.wide { row.id.to_string() } else { short_id(&row.id) };
    let age = row.at.map_or_else(String::new, |at| ctx.age(at));
    let status = piece(ctx.glyphs.status(&row.status), Role::of_status(&row.status));
    let text = |text: &str| plain(text);
    let (id, age) = (plain(id), dim(age));
    let attempts = plain(row.attempts.to_string());
    let shifted: String = row.error.chars().skip(screen.shift).collect();
    let error = piece(shifted, if row.status.is_empty() { Role::Dim } else { Role::Text });
    match (screen.noun, screen.wide) {
        (Noun::DeadLetters, false) => {
            vec![id, age, text(&row.kind), text(&row.step), attempts, error]
        }
        (Noun::DeadLetters, true) => vec![
            id,
            age,
            text(&row.source),
            text(&row.kind),
            text(&row.step),
            text(&row.destination),
            status,
            attempts,
            error,
        ],
        (Noun::Events, is_wide) => {
            let mut cells =
                vec![id, age, text(&row.source), text(&row.kind), status, text(&row.step)];
            if is_wide {
                cells.push(attempts);
            }
            cells.push(error);
            cells
        }
        (Noun::Requests, _) => {
            vec![id, age, text(&row.source), status, attempts, text(&row.kind), error]
        }
    }
}

pub(super) fn status(screen: &ListScreen) -> String {
    let mut parts = Vec::new();
    if let Some((count, exact)) = screen.total() {
        let more = if exact { "" } else { "+" };
        parts.push(format!("{}{more} matching", time::count(count)));
    }
    match &screen.marks {
        Marks::Ids(ids) if ids.is_empty() => {}
        Marks::Ids(ids) => parts.push(format!("{} marked", ids.len())),
        Marks::AllBut(ids) if ids.is_empty() => parts.push("all marked".to_owned()),
        Marks::AllBut(ids) => parts.push(format!("all but {} marked", ids.len())),
    }
    parts.join(", ")
}

pub(super) fn view(screen: &ListScreen, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
    let (width, height) = (canvas.width(), canvas.height());
    let rows = ListScreen::rows(ctx);
    if ctx.is_wide() {
        if screen.is_zoomed {
            match screen.is_in_detail {
                true => detail(screen, ctx, pulse, canvas),
                false => table(screen, ctx, pulse, canvas, rows),
            }
            return;
        }
        let left = width * 3 / 5;
        table(screen, ctx, pulse, &mut canvas.part(0, 0, left, height), rows);
        let (side, role) = match screen.is_in_detail {
            true => (canvas.glyphs.thick, Role::Accent),
            false => (canvas.glyphs.side, Role::Dim),
        };
        for y in 0..height {
            canvas.put(left, y, side, role);
        }
        detail(screen, ctx, pulse, &mut canvas.part(left + 1, 0, width - left - 1, height));
        return;
    }
    table(screen, ctx, pulse, &mut canvas.part(0, 0, width, rows + 2), rows);
    if !frame::is_small(ctx.size) {
        peek(screen, &mut canvas.part(0, height.saturating_sub(3), width, 3));
    }
}

fn table(screen: &ListScreen, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>, rows: usize) {
    let glyphs = canvas.glyphs;
    let columns = &*fitted(screen);
    let laid = lay_out(columns, canvas.width().saturating_sub(GUTTER));
    let title = format!("   {}", head(columns, &laid, glyphs));
    canvas.put(0, 0, &title, Role::Strong);
    // Until the new rows are there, those of the filter before stay.
    let before = screen.before.as_ref().filter(|_| !screen.model.is_loaded());
    let model = before.map_or(&screen.model, |before| &before.model);
    let is_late = LATE <= waited(screen, ctx);
    if model.len() == 0 {
        empty(screen, ctx, pulse, &mut canvas.below(1));
        return;
    }
    for y in 0..rows.min(model.len().saturating_sub(model.top())) {
        let at = model.top() + y;
        let is_here = at == model.selected();
        let cursor = if is_here { glyphs.cursor } else { " " };
        if model.gap() == Some(at) {
            let between = screen
                .total()
                .filter(|(_, exact)| *exact)
                .map_or(0, |(count, _)| count.saturating_sub(number_of(model.known())));
            let text = match between {
                0 => format!("{} rows that are not loaded", glyphs.gap),
                count => format!("{} {} rows that are not loaded", glyphs.gap, time::count(count)),
            };
            canvas.line(1 + y, &[plain(cursor), plain("  "), dim(text)]);
            if is_here {
                canvas.tint(1 + y, Role::Selected);
            }
            continue;
        }
        let Some(found) = model.row(at).filter(|row| !row.id.is_empty()) else {
            canvas.line(1 + y, &[plain(cursor), plain("  "), dim(glyphs.dot)]);
            continue;
        };
        let is_marked = screen.marks.has(&found.id);
        let mark = if is_marked { glyphs.mark } else { " " };
        canvas.line(1 + y, &[plain(cursor), piece(mark, Role::Marked)]);
        let cells = cells(screen, ctx, found);
        let mut line = canvas.part(GUTTER, 1 + y, canvas.width(), 1);
        line.is_faded |= model.is_gone(&found.id) || (before.is_some() && is_late);
        line.line(0, &row(columns, &laid, &cells, glyphs));
        if is_marked {
            canvas.tint(1 + y, Role::Marked);
        }
        if is_here {
            canvas.tint(1 + y, Role::Selected);
        }
    }
    let footer = canvas.height().saturating_sub(1);
    let last = (model.top() + rows).min(model.len());
    let total = screen.total();
    let exact = total.filter(|(_, exact)| *exact).map(|(count, _)| count);
    let number = |at: usize| model.number(at, exact).map(time::count);
    let mut left = match (number(model.top()), number(last.saturating_sub(1))) {
        (Some(first), Some(last)) => format!(" rows {first}–{last}"),
        (Some(first), None) => format!(" rows from {first}, and the last ones"),
        (None, _) => " the last rows".to_owned(),
    };
    if let Some((count, exact)) = total.filter(|_| before.is_none()) {
        left.push_str(&format!(" of {}{}", time::count(count), if exact { "" } else { "+" }));
    }
    if canvas.glyphs.is_ascii() {
        left = left.replace('–', "-");
    }
    canvas.put(0, footer, &left, Role::Dim);
    let mut right = Vec::new();
    if let Some(failure) = &screen.error {
        right.push(piece(format!("! {} ", failure.message), Role::Warn));
    } else if let Some(text) = loading(screen, ctx) {
        right.push(dim(format!("{text} ")));
    } else if 0 < model.newer.count {
        let more = if model.newer.at_least { "+" } else { "" };
        let text = format!("{} {}{more} new  (f to follow) ", glyphs.up, model.newer.count);
        right.push(piece(text, Role::Accent));
    } else if screen.follows {
        right.push(dim("following "));
    }
    canvas.right(footer, &right);
}

/// Rows that are waited for so long are shown as old, and then it is said.
const LATE: Duration = Duration::from_millis(150);
const SLOW: Duration = Duration::from_millis(500);

fn waited(screen: &ListScreen, ctx: &Ctx) -> Duration {
    screen.waits.map_or(Duration::ZERO, |since| ctx.now.run.saturating_sub(since))
}

/// What is waited for and how long, once that is worth a word.
fn loading(screen: &ListScreen, ctx: &Ctx) -> Option<String> {
    let waited = waited(screen, ctx);
    (SLOW <= waited).then(|| {
        let things = screen.noun.things();
        let spinner = ctx.spinner();
        format!("{spinner}loading {things}s {:.1}s", waited.as_secs_f64())
    })
}

fn whole(count: i64) -> String {
    time::count(u64::try_from(count).unwrap_or(0))
}

fn number_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Why there is nothing, and what is nearest.
fn empty(screen: &ListScreen, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
    if let Some(failure) = &screen.error {
        let lines = failure.lines(("", ""));
        for (y, line) in lines.lines().enumerate() {
            canvas.put(3, y + 1, line, Role::Warn);
        }
        return;
    }
    if !screen.model.is_loaded() {
        let text = loading(screen, ctx).filter(|_| matches!(ctx.link, Link::Live { .. }));
        let text = text.unwrap_or_else(|| frame::waiting(ctx));
        canvas.put(3, 1, &text, Role::Dim);
        return;
    }
    let things = screen.noun.things();
    let text = if screen.text.is_empty() {
        format!("no {things}s")
    } else {
        format!("no {things} matches {}", screen.text)
    };
    canvas.put(3, 1, &text, Role::Text);
    let near = match (screen.noun, pulse.stats()) {
        (Noun::DeadLetters, Some(stats)) if 0 < stats.tasks.retrying => {
            format!("{} are retrying: enter shows them", whole(stats.tasks.retrying))
        }
        (_, Some(stats)) if !screen.text.is_empty() => {
            let all = whole(stats.events);
            format!("{all} events in all; / changes the filter, esc takes it away")
        }
        _ => String::new(),
    };
    canvas.put(3, 2, &near, Role::Dim);
}

/// The row under the cursor, where the detail has a screen of its own.
fn peek(screen: &ListScreen, canvas: &mut Canvas<'_>) {
    let Some(row) = screen.model.current() else {
        canvas.rule(0, "");
        return;
    };
    canvas.rule(0, &format!("{}  corr {}", row.id, row.corr));
    let room = canvas.width().saturating_sub(2);
    let lines = wrap(&row.error, room);
    let first = lines.first().cloned().unwrap_or_default();
    canvas.put(1, 1, &first, Role::Text);
    let events = match screen.noun {
        Noun::Requests => format!("{} events", row.step),
        Noun::Events => format!("{} tasks ok", row.step),
        Noun::DeadLetters => row.step.to_string(),
    };
    let what = [&*events, &*row.destination, &*row.source, &*row.kind];
    let what: Vec<_> = what.iter().filter(|text| !text.is_empty()).copied().collect();
    canvas.put(1, 2, &what.join("  "), Role::Dim);
}

fn detail(screen: &ListScreen, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
    let Some(row) = screen.model.current() else { return };
    let title = [strong(format!(" {}", row.id)), dim(format!("  {}", row.kind))];
    canvas.line(0, &title);
    match screen.preview.as_ref().and_then(|preview| preview.event.as_ref()) {
        Some(event) => event.view(ctx, pulse, &mut canvas.below(1)),
        None => {
            canvas.put(1, 2, &row.error, Role::Text);
        }
    }
}
