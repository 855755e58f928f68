//! Painting within an area. Every text passes `text::line` on its way to a cell, so nothing that a
//! vendor wrote can act on the terminal; nothing is painted outside the area.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use relayflow_core::text;
use unicode_width::UnicodeWidthChar as _;
use unicode_width::UnicodeWidthStr as _;

use super::theme::{Glyphs, Role, Theme};

/// A piece of text and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece(pub(crate) String, pub(crate) Role);

/// Plain text as a piece.
pub(crate) fn plain(text: impl Into<String>) -> Piece {
    Piece(text.into(), Role::Text)
}

pub(crate) fn dim(text: impl Into<String>) -> Piece {
    Piece(text.into(), Role::Dim)
}

pub(crate) fn strong(text: impl Into<String>) -> Piece {
    Piece(text.into(), Role::Strong)
}

pub(crate) fn piece(text: impl Into<String>, role: Role) -> Piece {
    Piece(text.into(), role)
}

/// Where a view paints.
pub(crate) struct Canvas<'a> {
    pub(crate) buf: &'a mut Buffer,
    pub(crate) area: Rect,
    pub(crate) theme: &'a Theme,
    pub(crate) glyphs: &'a Glyphs,
    /// Everything is shown dim: it may be out of date.
    pub(crate) is_faded: bool,
}

impl Canvas<'_> {
    pub(crate) fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    pub(crate) fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// The same canvas, of a part of its area.
    pub(crate) fn part(&mut self, x: usize, y: usize, width: usize, height: usize) -> Canvas<'_> {
        let wanted = Rect::new(
            self.area.x.saturating_add(small(x)),
            self.area.y.saturating_add(small(y)),
            small(width),
            small(height),
        );
        let area = if self.area.intersects(wanted) {
            self.area.intersection(wanted)
        } else {
            Rect::new(self.area.x, self.area.y, 0, 0)
        };
        Canvas {
            buf: self.buf,
            area,
            theme: self.theme,
            glyphs: self.glyphs,
            is_faded: self.is_faded,
        }
    }

    /// The part below the first `rows` rows.
    pub(crate) fn below(&mut self, rows: usize) -> Canvas<'_> {
        let (width, height) = (self.width(), self.height().saturating_sub(rows));
        self.part(0, rows, width, height)
    }

    fn style(&self, role: Role) -> Style {
        let style = self.theme.of(role);
        if self.is_faded && role != Role::Selected {
            return style.patch(self.theme.of(Role::Dim));
        }
        style
    }

    /// Text at a place; returns the column behind it.
    pub(crate) fn put(&mut self, x: usize, y: usize, text: &str, role: Role) -> usize {
        if self.height() <= y || self.width() <= x {
            return x;
        }
        let room = self.width() - x;
        let safe = text::line(text);
        let style = self.style(role);
        let (at_x, at_y) = (self.area.x + small(x), self.area.y + small(y));
        let (end, _) = self.buf.set_stringn(at_x, at_y, safe.as_ref(), room, style);
        usize::from(end - self.area.x)
    }

    /// Pieces one behind the other, cut at the edge.
    pub(crate) fn line(&mut self, y: usize, pieces: &[Piece]) {
        let mut x = 0;
        for Piece(text, role) in pieces {
            x = self.put(x, y, text, *role);
        }
    }

    /// Pieces that end at the right edge; they win over what is there already.
    pub(crate) fn right(&mut self, y: usize, pieces: &[Piece]) {
        let wide: usize = pieces.iter().map(|Piece(text, _)| width(text)).sum();
        let mut x = self.width().saturating_sub(wide);
        for Piece(text, role) in pieces {
            x = self.put(x, y, text, *role);
        }
    }

    /// A rule with a title in it.
    pub(crate) fn rule(&mut self, y: usize, title: &str) {
        let rule = self.glyphs.rule;
        if title.is_empty() {
            let line = rule.repeat(self.width());
            self.put(0, y, &line, Role::Dim);
            return;
        }
        let x = self.put(0, y, &format!("{rule} "), Role::Dim);
        let x = self.put(x, y, title, Role::Strong);
        let rest = rule.repeat(self.width().saturating_sub(x + 1));
        self.put(x, y, &format!(" {rest}"), Role::Dim);
    }

    /// Shows a whole row as selected or marked, over what is painted there.
    pub(crate) fn tint(&mut self, y: usize, role: Role) {
        if y < self.height() {
            let row = Rect::new(self.area.x, self.area.y + small(y), self.area.width, 1);
            self.buf.set_style(row.intersection(self.buf.area), self.theme.of(role));
        }
    }

    /// Gives a row of the area a colour of its own, where the theme has colours.
    pub(crate) fn colour(&mut self, y: usize, colour: Color) {
        if self.theme.has_colour() && y < self.height() {
            let row = Rect::new(self.area.x, self.area.y + small(y), self.area.width, 1);
            self.buf.set_style(row.intersection(self.buf.area), Style::new().fg(colour));
        }
    }

    /// Empties the area.
    pub(crate) fn clear(&mut self) {
        let blank = " ".repeat(self.width());
        for y in 0..self.height() {
            let (x, y) = (self.area.x, self.area.y + small(y));
            for column in x..x + self.area.width {
                if let Some(cell) = self.buf.cell_mut((column, y)) {
                    cell.reset();
                }
            }
            self.buf.set_string(x, y, &blank, Style::reset());
        }
    }

    /// A box with a title, in the middle; the canvas within it.
    pub(crate) fn popup(&mut self, width: usize, height: usize, title: &str) -> Canvas<'_> {
        let width = width.min(self.width());
        let height = height.min(self.height());
        let (x, y) = ((self.width() - width) / 2, (self.height() - height) / 3);
        let glyphs = self.glyphs;
        if width < 4 || height < 3 {
            return self.part(0, 0, 0, 0);
        }
        let mut edge = self.part(x, y, width, height);
        edge.is_faded = false;
        edge.clear();
        let [nw, ne, sw, se] = glyphs.corners;
        let across = glyphs.rule.repeat(width - 2);
        edge.put(0, 0, &format!("{nw}{across}{ne}"), Role::Dim);
        edge.put(0, height - 1, &format!("{sw}{across}{se}"), Role::Dim);
        for row in 1..height - 1 {
            edge.put(0, row, glyphs.side, Role::Dim);
            edge.put(width - 1, row, glyphs.side, Role::Dim);
        }
        if !title.is_empty() {
            edge.put(2, 0, &format!(" {title} "), Role::Strong);
        }
        let mut inner = self.part(x + 2, y + 1, width - 4, height - 2);
        inner.is_faded = false;
        inner
    }
}

/// Bounded by what a terminal can have.
pub(crate) fn small(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The columns that a text takes, as it will be painted.
pub(crate) fn width(text: &str) -> usize {
    text::line(text).width()
}

/// `text` in exactly `columns`: padded, or shortened with an ellipsis.
pub(crate) fn fit(text: &str, columns: usize, glyphs: &Glyphs) -> String {
    let safe = text::line(text);
    let wide = safe.width();
    if wide <= columns {
        return format!("{safe}{}", " ".repeat(columns - wide));
    }
    let dots = glyphs.ellipsis();
    let room = columns.saturating_sub(dots.width());
    let mut out = String::new();
    let mut used = 0;
    for c in safe.chars() {
        let w = c.width().unwrap_or(0);
        if room < used + w {
            break;
        }
        used += w;
        out.push(c);
    }
    if dots.width() <= columns {
        out.push_str(dots);
        used += dots.width();
    }
    out.push_str(&" ".repeat(columns.saturating_sub(used)));
    out
}

/// `text` at the right of `columns`.
pub(crate) fn right(text: &str, columns: usize, glyphs: &Glyphs) -> String {
    let wide = width(text);
    if columns <= wide { fit(text, columns, glyphs) } else { " ".repeat(columns - wide) + text }
}

/// An id as it stands where room is short: a beginning of it, which every command takes for the whole
/// as long as it is the only one of its kind.
pub(crate) fn short_id(id: &str) -> String {
    let keep = "tsk_".len() + 12;
    if id.is_ascii() && keep < id.len() { id[..keep].to_owned() } else { id.to_owned() }
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) width: usize,
    pub(crate) is_right: bool,
    /// The lowest numbers are the last to be left out.
    pub(crate) weight: u8,
    /// Whether it takes the room that is left.
    pub(crate) grows: bool,
}

/// The columns that have room, with their widths.
pub(crate) fn lay_out(columns: &[Column], room: usize) -> Vec<(usize, usize)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| {
        kept.iter().map(|at| columns[*at].width + 2).sum::<usize>().saturating_sub(2)
    };
    while room < needed(&kept) && 1 < kept.len() {
        let Some(worst) = kept.iter().copied().max_by_key(|at| (columns[*at].weight, *at)) else {
            break;
        };
        kept.retain(|at| *at != worst);
    }
    let spare = room.saturating_sub(needed(&kept));
    let growing = kept.iter().filter(|at| columns[**at].grows).count();
    kept.iter()
        .map(|at| {
            let column = columns[*at];
            let more = if column.grows && 0 < growing { spare / growing } else { 0 };
            (*at, (column.width + more).min(room))
        })
        .collect()
}

/// The head of a table.
pub(crate) fn head(columns: &[Column], laid: &[(usize, usize)], glyphs: &Glyphs) -> String {
    let cells: Vec<_> = laid
        .iter()
        .map(|(at, width)| {
            let column = columns[*at];
            if column.is_right {
                right(column.title, *width, glyphs)
            } else {
                fit(column.title, *width, glyphs)
            }
        })
        .collect();
    cells.join("  ")
}

/// A row of a table.
pub(crate) fn row(
    columns: &[Column],
    laid: &[(usize, usize)],
    cells: &[Piece],
    glyphs: &Glyphs,
) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(laid.len() * 2);
    for (place, (at, width)) in laid.iter().enumerate() {
        if 0 < place {
            pieces.push(plain("  "));
        }
        let Some(Piece(text, role)) = cells.get(*at) else { continue };
        let text = if columns[*at].is_right {
            right(text, *width, glyphs)
        } else {
            fit(text, *width, glyphs)
        };
        pieces.push(Piece(text, *role));
    }
    pieces
}

/// Bars over time: `None` is a gap in what we know and stays blank.
pub(crate) fn spark(values: &[Option<f64>], columns: usize, glyphs: &Glyphs) -> String {
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().flatten().copied().fold(0.0_f64, f64::max);
    let mut out = " ".repeat(columns - shown.len());
    for value in shown {
        out.push_str(match value {
            None => " ",
            Some(value) => glyphs.levels[level(*value, most, glyphs.levels.len())],
        });
    }
    out
}

fn level(value: f64, most: f64, levels: usize) -> usize {
    if most <= 0.0 || value <= 0.0 {
        return 0;
    }
    (1..levels)
        .rev()
        .find(|at| {
            let at = u32::try_from(*at).unwrap_or(0);
            let levels = u32::try_from(levels - 1).unwrap_or(1);
            f64::from(at) / f64::from(levels) <= value / most + 1e-9
        })
        .unwrap_or(1)
}

/// How many of `columns` stand for `part` of `whole`.
pub(crate) fn columns_of(part: u64, whole: u64, columns: usize) -> usize {
    let columns_64 = u64::try_from(columns).unwrap_or(u64::MAX);
    let full = part.min(whole).saturating_mul(columns_64).checked_div(whole).unwrap_or(0);
    usize::try_from(full).unwrap_or(columns).min(columns)
}

/// The shade that `part` of `most` has: something is never shown as nothing.
pub(crate) fn shade(part: u64, most: u64, glyphs: &Glyphs) -> &'static str {
    let last = glyphs.shades.len() - 1;
    let place = if part == 0 { 0 } else { columns_of(part, most, last).max(1) };
    glyphs.shades[place]
}

/// A bar of `part` of `whole`.
pub(crate) fn bar(part: u64, whole: u64, columns: usize, glyphs: &Glyphs) -> String {
    let full = columns_of(part, whole, columns);
    let (on, off) = glyphs.bar;
    on.repeat(full) + &off.repeat(columns - full)
}

/// Text over several lines of at most `columns`, cut between words where that is possible.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for line in text::block(text).replace('\t', "  ").lines() {
        let mut rest = String::new();
        let mut used = 0;
        for word in line.split_inclusive(' ') {
            let wide = word.trim_end().width();
            if columns < used + wide && !rest.is_empty() {
                lines.push(std::mem::take(&mut rest));
                used = 0;
            }
            for c in word.chars() {
                let w = c.width().unwrap_or(0);
                if columns < used + w {
                    lines.push(std::mem::take(&mut rest));
                    used = 0;
                    if c == ' ' {
                        continue;
                    }
                }
                rest.push(c);
                used += w;
            }
        }
        lines.push(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: fn() -> Glyphs = || Glyphs::new(false);

    #[test]
    fn a_text_takes_exactly_its_columns() {
        for (text, columns, shown) in [
            ("abc", 5, "abc  "),
            ("abcdef", 4, "abc…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日… "),
            ("\u{1b}[2J", 4, "␛[2J"),
            ("abc", 0, ""),
        ] {
            assert_eq!(fit(text, columns, &G()), shown, "{text}");
        }
        assert_eq!(right("12", 4, &G()), "  12");
    }

    #[test]
    fn columns_give_way_by_weight_and_one_grows() {
        let column =
            |width, weight, grows| Column { title: "", width, is_right: false, weight, grows };
        let columns = [column(10, 0, false), column(10, 2, false), column(10, 1, true)];
        assert_eq!(lay_out(&columns, 40), [(0, 10), (1, 10), (2, 16)]);
        assert_eq!(lay_out(&columns, 25), [(0, 10), (2, 13)]);
        assert_eq!(lay_out(&columns, 5), [(0, 5)]);
    }

    #[test]
    fn a_gap_is_no_zero() {
        let values = [None, Some(0.0), Some(5.0), Some(10.0)];
        assert_eq!(spark(&values, 6, &G()), "   ▁▄█");
        assert_eq!(spark(&values, 2, &G()), "▄█");
        assert_eq!(spark(&[Some(0.0), Some(0.0)], 2, &G()), "▁▁");
    }

    #[test]
    fn a_bar_is_as_full_as_its_part() {
        assert_eq!(bar(1, 2, 4, &G()), "██░░");
        assert_eq!(bar(0, 0, 4, &G()), "░░░░");
        assert_eq!(bar(9, 3, 4, &G()), "████");
    }

    #[test]
    fn a_shade_is_none_for_nothing_alone() {
        let shades: Vec<_> = [0, 1, 500, 1000].map(|part| shade(part, 1000, &G())).into();
        assert_eq!(shades, [" ", "░", "▒", "█"]);
        assert_eq!(shade(0, 0, &G()), " ");
    }

    #[test]
    fn long_text_wraps_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\nb", 4), ["a", "b"]);
    }

    #[test]
    fn a_short_id_begins_like_the_whole() {
        assert_eq!(short_id("tsk_01J9ZC4K3V8XW2T5Q7R9S0ABCD"), "tsk_01J9ZC4K3V8X");
        assert_eq!(short_id("tsk_1"), "tsk_1");
    }
}
