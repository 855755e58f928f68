//! A list of any length, of which only what is near the cursor is held.
//!
//! Pages come behind cursors, newest first. What was fetched stands still: rows that arrive are counted
//! and wait, rows that left are shown as gone, and the selection is an id. Pages far from the cursor are
//! dropped and fetched again behind the cursor that is kept of each.
//!
//! The end is asked for directly: then there are pages from the newest on, pages up to the oldest, and
//! between them a gap, which is one row of unknown size until either side has grown over it.

mod pages;

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

/// The cursor of a list's last page.
const END: &str = "end";

/// A page, held or known by its cursor alone; or the gap.
#[derive(Debug)]
struct Span {
    /// What it is called, however many come before it.
    key: u64,
    is_gap: bool,
    cursor: Option<String>,
    /// How many rows were asked for, and how many of them at its begin stand elsewhere already.
    limit: usize,
    skip: usize,
    first: usize,
    len: usize,
    /// The ids of its first and its last row, which are known however far it is.
    ends: [Box<str>; 2],
    rows: Option<Vec<Row>>,
    used: u64,
}

/// What a page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// The next one behind the newest.
    Next,
    /// The last one.
    End,
    /// The one before those at the end.
    Before,
    /// One that was dropped, or whose rows may have changed, by its key.
    Again(u64),
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
    /// Behind the newest pages; `None` at the end, or before anything came.
    next: Option<String>,
    /// Before the pages at the end; `None` without a gap.
    before: Option<String>,
    /// Whether the end is to be asked for.
    wants_end: bool,
    keys: u64,
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

    /// The row that stands for those between the newest and the end that are not known.
    pub(crate) fn gap(&self) -> Option<usize> {
        self.spans.iter().find(|span| span.is_gap).map(|span| span.first)
    }

    /// How many rows are known.
    pub(crate) fn known(&self) -> usize {
        self.len() - usize::from(self.gap().is_some())
    }

    /// To the last row, which is asked for if it is not known.
    pub(crate) fn select_end(&mut self) {
        self.wants_end = self.is_begun && self.next.is_some() && self.gap().is_none();
        if !self.wants_end {
            self.select(usize::MAX);
        }
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

    /// The place of a row among all, counted from 1; of one at the end if it is known how many there are.
    pub(crate) fn number(&self, index: usize, total: Option<u64>) -> Option<u64> {
        let number = |place: usize| u64::try_from(place).unwrap_or(u64::MAX);
        match self.gap() {
            Some(gap) if gap <= index => total?.checked_sub(number(self.len() - 1 - index)),
            Some(_) | None => Some(number(index + 1)),
        }
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
    /// the next on the side of the cursor.
    pub(crate) fn wanted(&mut self, height: usize) -> Option<(Wanted, WantKey)> {
        if self.wants_end {
            let wanted = Wanted { cursor: Some(END.to_owned()), limit: PAGE };
            return self.unless_pending(wanted, Want::End);
        }
        let (top, end) = (self.top, self.top + height.max(1));
        let missing = self.spans.iter().find(|span| {
            let is_seen = span.first < end && top < span.first + span.len;
            let is_missing = span.rows.is_none() && !span.is_gap;
            is_seen && is_missing && !self.is_pending(Want::Again(span.key))
        });
        if let Some(span) = missing {
            let wanted = Wanted { cursor: span.cursor.clone(), limit: span.limit };
            return Some((wanted, WantKey(Want::Again(span.key))));
        }
        let gap = self.gap();
        if let Some(gap) = gap.filter(|gap| *gap <= self.selected)
            && self.selected.min(self.top) <= gap + AHEAD
        {
            let wanted = Wanted { cursor: self.before.clone(), limit: PAGE };
            if let Some(wanted) = self.unless_pending(wanted, Want::Before) {
                return Some(wanted);
            }
        }
        let near = gap.unwrap_or(self.len());
        let is_near = near <= self.selected.max(self.top + height) + AHEAD
            && gap.is_none_or(|gap| self.selected <= gap);
        let is_wanted = !self.is_begun || (self.next.is_some() && is_near);
        if is_wanted {
            let wanted = Wanted { cursor: self.next.clone(), limit: PAGE };
            return self.unless_pending(wanted, Want::Next);
        }
        None
    }

    fn unless_pending(&self, wanted: Wanted, want: Want) -> Option<(Wanted, WantKey)> {
        (!self.is_pending(want)).then_some((wanted, WantKey(want)))
    }

    /// A look at the newest rows, if none is under way.
    pub(crate) fn look(&self) -> Option<(Wanted, WantKey)> {
        let may = self.is_begun && !self.is_pending(Want::Head);
        may.then_some((Wanted { cursor: None, limit: HEAD }, WantKey(Want::Head)))
    }

    /// Another look at the page under the cursor, unless the look at the newest covers it.
    pub(crate) fn look_here(&self) -> Option<(Wanted, WantKey)> {
        let span = &self.spans[self.span_of(self.selected)?];
        let may = HEAD <= self.selected && !span.is_gap && !self.is_pending(Want::Again(span.key));
        may.then(|| {
            let wanted = Wanted { cursor: span.cursor.clone(), limit: span.limit };
            (wanted, WantKey(Want::Again(span.key)))
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

    /// What was asked for is not waited for any more.
    pub(crate) fn give_up(&mut self) -> Vec<Ticket> {
        self.wants_end = false;
        self.pending.drain(..).map(|(ticket, _)| ticket).collect()
    }

    pub(crate) fn expects(&self, ticket: Ticket) -> bool {
        self.pending.iter().any(|(pending, _)| *pending == ticket)
    }

    /// An answer that did not come.
    pub(crate) fn fail(&mut self, ticket: Ticket) {
        let is_end = |(pending, want): &(Ticket, Want)| *pending == ticket && *want == Want::End;
        if self.pending.iter().any(is_end) {
            self.wants_end = false;
        }
        self.pending.retain(|(pending, _)| *pending != ticket);
    }

    /// A page that was asked for; `follows` if the view is to show what is newest.
    pub(crate) fn take(&mut self, ticket: Ticket, page: Page<Row>, follows: bool) {
        let Some(place) = self.pending.iter().position(|(pending, _)| *pending == ticket) else {
            return;
        };
        match self.pending.remove(place).1 {
            Want::Next => self.append(page),
            Want::End => self.take_end(page),
            Want::Before => self.prepend(page),
            Want::Again(key) => self.fill(key, page),
            Want::Head => self.see_head(page, follows),
        }
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
        self.spans.iter().any(|span| {
            let is_end = span.ends.iter().any(|end| **end == *id);
            is_end || span.rows.iter().flatten().any(|row| &*row.id == id)
        })
    }

    /// Shows the newest rows that were seen, with the cursor where it was if its row is among them.
    pub(crate) fn jump(&mut self) {
        let Some(head) = self.head.take() else { return };
        let was_first = self.selected == 0;
        let selected = self.selected_id.clone();
        let total = head.total.or(self.total);
        self.spans.clear();
        self.next = None;
        self.before = None;
        self.wants_end = false;
        self.gone.clear();
        self.newer = Newer::default();
        // Pages under way belong to the list as it was.
        self.pending.retain(|(_, want)| *want == Want::Head);
        self.append(head);
        self.total = total;
        let place = selected.and_then(|id| self.find(&id));
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

fn isize_of(place: usize) -> isize {
    isize::try_from(place).unwrap_or(isize::MAX)
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
