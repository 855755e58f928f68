//! Lists whose rows are all there (groups, queues, sources, jobs, findings): the cursor, and the rows.

use crate::tui::ctx::Ctx;
use crate::tui::draw::Canvas;
use crate::tui::frame;
use crate::tui::keys::Action;
use crate::tui::pane::Pane;
use crate::tui::theme::Role;

#[derive(Debug, Default)]
pub(crate) struct Cursor {
    at: usize,
    /// What the row under the cursor is called, so that others may come and go.
    key: Option<String>,
}

impl Cursor {
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Moves, if the action is a move.
    pub(crate) fn act(&mut self, action: Action, keys: &[String], page: usize) {
        let last = keys.len().saturating_sub(1);
        self.at = match action {
            Action::Up => self.at.saturating_sub(1),
            Action::Down => self.at + 1,
            Action::Top => 0,
            Action::Bottom => last,
            Action::PageUp => self.at.saturating_sub(page),
            Action::PageDown => self.at + page,
            _ => return,
        }
        .min(last);
        self.key = keys.get(self.at).cloned();
    }

    pub(crate) fn set(&mut self, at: usize, keys: &[String]) {
        self.at = at.min(keys.len().saturating_sub(1));
        self.key = keys.get(self.at).cloned();
    }

    /// The rows changed: the cursor stays with its row, or with its place where that is gone. A cursor
    /// that was never moved stays on the first row.
    pub(crate) fn keep(&mut self, keys: &[String]) {
        let place = self.key.as_ref().and_then(|key| keys.iter().position(|k| k == key));
        self.at = place.unwrap_or(self.at).min(keys.len().saturating_sub(1));
    }

    /// A click on a line of the list, whose head is the first.
    pub(crate) fn click(&mut self, line: usize, keys: &[String]) {
        if let Some(row) = line.checked_sub(1) {
            self.set(row, keys);
        }
    }

    /// Draws what of `items` has room in `rows` lines under the head, each by `draw`, and shows where
    /// the cursor is.
    pub(crate) fn rows<T>(
        &self,
        canvas: &mut Canvas<'_>,
        items: &[T],
        rows: usize,
        mut draw: impl FnMut(&mut Canvas<'_>, usize, &T),
    ) {
        let top = self.top(rows);
        for (y, item) in items.iter().skip(top).take(rows).enumerate() {
            let is_here = top + y == self.at;
            let mark = if is_here { canvas.glyphs.cursor } else { " " };
            canvas.put(0, 1 + y, mark, Role::Text);
            draw(canvas, 1 + y, item);
            if is_here {
                canvas.tint(1 + y, Role::Selected);
            }
        }
    }

    /// The first row to show so that the cursor is among `rows`.
    pub(crate) fn top(&self, rows: usize) -> usize {
        (self.at + 1).saturating_sub(rows.max(1))
    }
}

/// What stands in place of rows where there are none: why, or `empty`.
pub(crate) fn nothing<T>(
    ctx: &Ctx,
    pane: &Pane<T>,
    canvas: &mut Canvas<'_>,
    x: usize,
    empty: &str,
) {
    let text = match (&pane.value, &pane.error) {
        (None, Some(failure)) => failure.lines(("", "")),
        (None, None) => frame::waiting(ctx),
        (Some(_), _) => empty.to_owned(),
    };
    for (y, line) in text.lines().enumerate() {
        canvas.put(x, 2 + y, line, Role::Dim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_cursor_goes_where_its_row_goes() {
        let mut cursor = Cursor::default();
        cursor.act(Action::Down, &keys("a b c"), 10);
        cursor.keep(&keys("x y b c"));
        assert_eq!(cursor.at(), 2);
        cursor.keep(&keys("x y"));
        assert_eq!(cursor.at(), 1, "its row is gone");
        cursor.act(Action::Bottom, &keys("x y"), 10);
        cursor.act(Action::Down, &keys("x y"), 10);
        assert_eq!(cursor.at(), 1);
    }

    #[test]
    fn one_who_never_moved_stays_at_the_top() {
        let mut cursor = Cursor::default();
        cursor.keep(&keys("a b"));
        cursor.keep(&keys("worse a b"));
        assert_eq!(cursor.at(), 0);
    }
}
