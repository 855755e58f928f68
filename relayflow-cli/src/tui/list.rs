//! A list of any length, of which only what is near the cursor is held.
//!
//! Pages come behind cursors, newest first. What was fetched stands still: rows that arrive are counted
//! and wait, rows that left are shown as gone, and the selection is an id. Pages far from the cursor are
//! dropped and fetched again behind the cursor that is kept of each.

use std::collections::BTreeSet;

use relayflow_core::api::Total;

use super::msg::{Page, Row, Ticket};

/// Rows of one page.
pub(crate) const PAGE: usize = 200;
/// Pages held at most.
const PAGES_MAX: usize = 20;
/// How close to the end of what is known the next page is asked for.
const AHEAD: usize = PAGE;
/// What a look at the newest asks for.
pub(crate) const HEAD: usize = 100;
/// Marks by id, at most.
pub(crate) const MARKS_MAX: usize = 10_000;

/// A page, held or known by its cursor alone.
#[derive(Debug)]
struct Span {
    cursor: Option<String>,
    first: usize,
    len: usize,
    rows: Option<Vec<Row>>,
    used: u64,
}

/// What a page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// The next one.
    Next,
    /// One that was dropped, or whose rows may have changed.
    Again(usize),
    /// The newest rows.
    Head,
}

/// Which rows an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marks {
    Ids(BTreeSet<String>),
    /// Everything that matches the filter, but these.
    AllBut(BTreeSet<String>),
}

impl Default for Marks {
    fn default() -> Self {
        Self::Ids(BTreeSet::new())
    }
}

impl Marks {
    pub(crate) fn has(&self, id: &str) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(id),
            Self::AllBut(ids) => !ids.contains(id),
        }
    }

    /// Marks or unmarks; `false` if there are too many by id.
    pub(crate) fn toggle(&mut self, id: &str) -> bool {
        let (Self::Ids(ids) | Self::AllBut(ids)) = self;
        if !ids.remove(id) {
            if MARKS_MAX <= ids.len() {
                return false;
            }
            ids.insert(id.to_owned());
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Ids(ids) if ids.is_empty())
    }
}

/// What of the list is missing and should be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) cursor: Option<String>,
    pub(crate) limit: usize,
}

/// Rows that came since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Newer {
    pub(crate) count: usize,
    /// There are at least so many.
    pub(crate) at_least: bool,
}

#[derive(Debug, Default)]
pub(crate) struct ListModel {
    spans: Vec<Span>,
    /// Behind the last span; `None` at the end, or before anything came.
    next: Option<String>,
    is_begun: bool,
    pub(crate) total: Option<Total>,
    selected: usize,
    selected_id: Option<Box<str>>,
    top: usize,
    pending: Vec<(Ticket, Want)>,
    pub(crate) newer: Newer,
    /// The newest page, as it was seen last: what `f` jumps to.
    head: Option<Page<Row>>,
    gone: BTreeSet<Box<str>>,
    clock: u64,
}

impl ListModel {
    /// Rows whose places are known.
    pub(crate) fn len(&self) -> usize {
        self.spans.last().map_or(0, |span| span.first + span.len)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.is_begun
    }

    /// Whether there are no more rows than are known.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_begun && self.next.is_none()
    }

    pub(crate) fn selected(&self) -> usize {
        self.selected
    }

    pub(crate) fn top(&self) -> usize {
        self.top
    }

    fn span_of(&self, index: usize) -> Option<usize> {
        let at = self.spans.partition_point(|span| span.first + span.len <= index);
        (at < self.spans.len()).then_some(at)
    }

    /// The row at a place, if it is held.
    pub(crate) fn row(&self, index: usize) -> Option<&Row> {
        let span = &self.spans[self.span_of(index)?];
        span.rows.as_ref()?.get(index - span.first)
    }

    pub(crate) fn current(&self) -> Option<&Row> {
        self.row(self.selected)
    }

    pub(crate) fn is_gone(&self, id: &str) -> bool {
        self.gone.contains(id)
    }

    /// Moves the cursor to a place, or as near as there are rows.
    pub(crate) fn select(&mut self, index: usize) {
        self.selected = index.min(self.len().saturating_sub(1));
        self.selected_id = self.current().map(|row| row.id.clone());
    }

    pub(crate) fn step(&mut self, by: isize) {
        self.select(self.selected.saturating_add_signed(by));
    }

    /// Moves to the next row of `is`, among those held.
    pub(crate) fn seek(&mut self, forward: bool, is: impl Fn(&Row) -> bool) -> bool {
        let mut at = self.selected;
        loop {
            at = match forward {
                true if at + 1 < self.len() => at + 1,
                false if 0 < at => at - 1,
                _ => return false,
            };
            match self.row(at) {
                Some(row) if is(row) => {
                    self.select(at);
                    return true;
                }
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Keeps the cursor within `height` visible rows.
    pub(crate) fn fit(&mut self, height: usize) {
        let height = height.max(1);
        if self.selected < self.top {
            self.top = self.selected;
        } else if self.top + height <= self.selected {
            self.top = self.selected + 1 - height;
        }
        self.top = self.top.min(self.len().saturating_sub(height));
        self.clock += 1;
        let (from, to) = (self.top, self.top + height);
        for span in &mut self.spans {
            if span.first < to && from < span.first + span.len {
                span.used = self.clock;
            }
        }
    }

    /// The page to ask for now, if one is missing and not under way: that under the eyes first, then
    /// the next.
    pub(crate) fn wanted(&mut self, height: usize) -> Option<(Wanted, WantKey)> {
        let missing = (self.top..self.top + height.max(1))
            .filter_map(|index| self.span_of(index))
            .find(|at| self.spans[*at].rows.is_none() && !self.is_pending(Want::Again(*at)));
        if let Some(at) = missing {
            let span = &self.spans[at];
            let wanted = Wanted { cursor: span.cursor.clone(), limit: span.len };
            return Some((wanted, WantKey(Want::Again(at))));
        }
        let is_near = self.len() <= self.selected.max(self.top + height) + AHEAD;
        let is_wanted = !self.is_begun || (self.next.is_some() && is_near);
        if is_wanted && !self.is_pending(Want::Next) {
            let wanted = Wanted { cursor: self.next.clone(), limit: PAGE };
            return Some((wanted, WantKey(Want::Next)));
        }
        None
    }

    /// A look at the newest rows, if none is under way.
    pub(crate) fn look(&self) -> Option<(Wanted, WantKey)> {
        let may = self.is_begun && !self.is_pending(Want::Head);
        may.then_some((Wanted { cursor: None, limit: HEAD }, WantKey(Want::Head)))
    }

    /// Another look at the page under the cursor, unless the look at the newest covers it.
    pub(crate) fn look_here(&self) -> Option<(Wanted, WantKey)> {
        let at = self.span_of(self.selected)?;
        let span = &self.spans[at];
        let may = HEAD <= self.selected && !self.is_pending(Want::Again(at));
        may.then(|| {
            let wanted = Wanted { cursor: span.cursor.clone(), limit: span.len };
            (wanted, WantKey(Want::Again(at)))
        })
    }

    fn is_pending(&self, want: Want) -> bool {
        self.pending.iter().any(|(_, pending)| *pending == want)
    }

    pub(crate) fn expect(&mut self, ticket: Ticket, key: &WantKey) {
        self.pending.push((ticket, key.0));
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.iter().any(|(_, want)| *want != Want::Head)
    }

    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.pending.iter().map(|(ticket, _)| *ticket)
    }

    pub(crate) fn expects(&self, ticket: Ticket) -> bool {
        self.pending.iter().any(|(pending, _)| *pending == ticket)
    }

    /// An answer that did not come.
    pub(crate) fn fail(&mut self, ticket: Ticket) {
        self.pending.retain(|(pending, _)| *pending != ticket);
    }

    /// A page that was asked for; `follows` if the view is to show what is newest.
    pub(crate) fn take(&mut self, ticket: Ticket, page: Page<Row>, follows: bool) {
        let Some(place) = self.pending.iter().position(|(pending, _)| *pending == ticket) else {
            return;
        };
        match self.pending.remove(place).1 {
            Want::Next => self.append(page),
            Want::Again(at) => self.fill(at, page),
            Want::Head => self.see_head(page, follows),
        }
    }

    fn append(&mut self, page: Page<Row>) {
        if !self.is_begun || self.total.is_none() {
            self.total = page.total;
        }
        self.is_begun = true;
        let span = Span {
            cursor: self.next.take(),
            first: self.len(),
            len: page.rows.len(),
            rows: Some(page.rows),
            used: self.clock,
        };
        if 0 < span.len {
            self.spans.push(span);
        }
        self.next = page.next;
        if self.selected_id.is_none() {
            self.select(self.selected);
        }
        self.drop_far();
    }

    /// A page again: its rows keep their places, those that are missing now are gone.
    fn fill(&mut self, at: usize, page: Page<Row>) {
        let Some(span) = self.spans.get_mut(at) else { return };
        match &mut span.rows {
            None => {
                let mut rows = page.rows;
                // Rows that left since leave the end of the page unknown: it keeps its length.
                rows.truncate(span.len);
                rows.resize(span.len, Row::default());
                span.rows = Some(rows);
            }
            Some(rows) => {
                let gone = merge(rows, &page.rows);
                self.gone.extend(gone);
            }
        }
        self.drop_far();
    }

    fn see_head(&mut self, page: Page<Row>, follows: bool) {
        self.total = page.total.or(self.total);
        let known = page.rows.iter().position(|row| self.holds(&row.id));
        self.newer = Newer {
            count: known.unwrap_or(page.rows.len()),
            at_least: known.is_none() && page.next.is_some(),
        };
        // What left the list, among the rows that this look reaches.
        let reach =
            if page.next.is_none() { usize::MAX } else { page.rows.len() - self.newer.count };
        let fresh: std::collections::HashMap<&str, &Row> =
            page.rows.iter().map(|row| (&*row.id, row)).collect();
        for span in &mut self.spans {
            for (place, row) in span.rows.iter_mut().flatten().enumerate() {
                match fresh.get(&*row.id) {
                    Some(now) => {
                        self.gone.remove(&row.id);
                        row.clone_from(now);
                    }
                    None if span.first + place < reach => {
                        self.gone.insert(row.id.clone());
                    }
                    None => {}
                }
            }
        }
        // A search that has found nothing yet goes on where it is.
        let is_bare = self.len() == 0 && (self.next.is_none() || !page.rows.is_empty());
        self.head = Some(page);
        if follows || is_bare {
            self.jump();
        }
    }

    fn holds(&self, id: &str) -> bool {
        self.spans.iter().any(|span| span.rows.iter().flatten().any(|row| &*row.id == id))
    }

    /// Shows the newest rows that were seen, with the cursor where it was if its row is among them.
    pub(crate) fn jump(&mut self) {
        let Some(head) = self.head.take() else { return };
        let was_first = self.selected == 0;
        let selected = self.selected_id.clone();
        let total = head.total.or(self.total);
        self.spans.clear();
        self.next = None;
        self.gone.clear();
        self.newer = Newer::default();
        // Pages under way belong to the list as it was.
        self.pending.retain(|(_, want)| *want == Want::Head);
        self.append(head);
        self.total = total;
        let place = selected.and_then(|id| {
            (0..self.len()).find(|at| self.row(*at).is_some_and(|row| row.id == id))
        });
        self.select(if was_first { 0 } else { place.unwrap_or(0) });
        self.top = if was_first { 0 } else { self.top };
    }

    /// Keeps at most [`PAGES_MAX`] pages, those looked at last.
    fn drop_far(&mut self) {
        while PAGES_MAX < self.spans.iter().filter(|span| span.rows.is_some()).count() {
            let here = self.span_of(self.selected);
            let held = self.spans.iter().enumerate();
            let oldest = held
                .filter(|(at, span)| span.rows.is_some() && Some(*at) != here)
                .min_by_key(|(_, span)| span.used)
                .map(|(at, _)| at);
            match oldest {
                Some(at) => self.spans[at].rows = None,
                None => return,
            }
        }
    }
}

/// What a page was wanted for, to hand back with its ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantKey(Want);

/// Takes over what changed of rows that are still there; the ids of those that are not.
fn merge(rows: &mut [Row], now: &[Row]) -> Vec<Box<str>> {
    let fresh: std::collections::HashMap<&str, &Row> =
        now.iter().map(|row| (&*row.id, row)).collect();
    let mut gone = Vec::new();
    for row in rows {
        match fresh.get(&*row.id) {
            Some(now) => row.clone_from(now),
            None if !row.id.is_empty() => gone.push(row.id.clone()),
            None => {}
        }
    }
    gone
}

#[cfg(test)]
mod tests;
