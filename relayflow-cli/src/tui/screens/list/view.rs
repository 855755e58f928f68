//! How a list looks.

use std::time::Duration;

use super::{ListScreen, Noun};
use crate::output::time;
use crate::tui::ctx::Ctx;
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

fn cells(screen: &ListScreen, ctx: &Ctx, row: &Row) -> Vec<Piece> {
    let id = if screen.wide { row.id.to_string() } else { short_id(&row.id) };
    let age = row.at.map_or_else(String::new, |at| ctx.age(at));
    let status = piece(ctx.glyphs.status(&row.status), Role::of_status(&row.status));
    let text = |text: &str| plain(text);
    let (id, age) = (plain(id), dim(age));
    let attempts = plain(row.attempts.to_string());
    let error = piece(&*row.error, if row.status.is_empty() { Role::Dim } else { Role::Text });
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
        let left = width * 3 / 5;
        table(screen, ctx, pulse, &mut canvas.part(0, 0, left, height), rows);
        let side = canvas.glyphs.side;
        for y in 0..height {
            canvas.put(left, y, side, Role::Dim);
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
    let columns = columns(screen);
    let laid = lay_out(columns, canvas.width().saturating_sub(GUTTER));
    let title = format!("   {}", head(columns, &laid, glyphs));
    canvas.put(0, 0, &title, Role::Strong);
    let model = &screen.model;
    if model.len() == 0 {
        empty(screen, ctx, pulse, &mut canvas.below(1));
        return;
    }
    for y in 0..rows.min(model.len().saturating_sub(model.top())) {
        let at = model.top() + y;
        let is_here = at == model.selected();
        let cursor = if is_here { glyphs.cursor } else { " " };
        let Some(found) = model.row(at).filter(|row| !row.id.is_empty()) else {
            canvas.line(1 + y, &[plain(cursor), plain("  "), dim(glyphs.dot)]);
            continue;
        };
        let is_marked = screen.marks.has(&found.id);
        let mark = if is_marked { glyphs.mark } else { " " };
        canvas.line(1 + y, &[plain(cursor), piece(mark, Role::Marked)]);
        let cells = cells(screen, ctx, found);
        let mut line = canvas.part(GUTTER, 1 + y, canvas.width(), 1);
        line.is_faded |= model.is_gone(&found.id);
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
    let mut left = format!(
        " rows {}–{}",
        time::count(number_of(model.top() + 1)),
        time::count(number_of(last))
    );
    if let Some((count, exact)) = screen.total() {
        left.push_str(&format!(" of {}{}", time::count(count), if exact { "" } else { "+" }));
    }
    if canvas.glyphs.is_ascii() {
        left = left.replace('–', "-");
    }
    canvas.put(0, footer, &left, Role::Dim);
    let mut right = Vec::new();
    if let Some(failure) = &screen.error {
        right.push(piece(format!("! {} ", failure.message), Role::Warn));
    } else if let Some(waits) = waits(screen, ctx) {
        right.push(dim(format!("loading {:.1}s ", waits.as_secs_f64())));
    } else if 0 < model.newer.count {
        let more = if model.newer.at_least { "+" } else { "" };
        let text = format!("{} {}{more} new  (f to follow) ", glyphs.up, model.newer.count);
        right.push(piece(text, Role::Accent));
    } else if screen.follows {
        right.push(dim("following "));
    }
    canvas.right(footer, &right);
}

/// How long a page is waited for, once that is worth a word.
fn waits(screen: &ListScreen, ctx: &Ctx) -> Option<Duration> {
    let waits = ctx.now.run.saturating_sub(screen.waits?);
    (Duration::from_millis(500) <= waits).then_some(waits)
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
        canvas.put(3, 1, &frame::waiting(ctx), Role::Dim);
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
            format!("{} are retrying: 2, then / status:retrying", stats.tasks.retrying)
        }
        (_, Some(stats)) if !screen.text.is_empty() => {
            format!("{} events in all; / changes the filter", stats.events)
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
    let what = [&*row.step, &*row.destination, &*row.source, &*row.kind];
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
