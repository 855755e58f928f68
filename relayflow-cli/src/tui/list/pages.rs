//! Pages that came: where they go, and how both sides of the gap meet.

use super::{END, ListModel, Page, Row, Span, isize_of, merge};

impl ListModel {
    pub(super) fn span(&mut self, cursor: Option<String>, rows: Vec<Row>, skip: usize) -> Span {
        self.keys += 1;
        let (len, limit) = (rows.len(), skip + rows.len());
        let (key, used) = (self.keys, self.clock);
        let ends = [rows.first(), rows.last()].map(|row| row.map(|r| r.id.clone()));
        let ends = ends.map(Option::unwrap_or_default);
        Span {
            key,
            is_gap: false,
            cursor,
            limit,
            skip,
            first: 0,
            len,
            ends,
            rows: Some(rows),
            used,
        }
    }

    /// Puts a span in its place, and everything behind it further down; the cursor stays on its row.
    pub(super) fn insert(&mut self, at: usize, span: Span) {
        if 0 < span.len {
            self.spans.insert(at, span);
        }
        self.settle();
    }

    /// Counts the rows anew after spans came or went.
    pub(super) fn settle(&mut self) {
        let before = self.selected;
        let mut first = 0;
        for span in &mut self.spans {
            span.first = first;
            first += span.len;
        }
        let Some(id) = self.selected_id.clone() else { return self.select(self.selected) };
        if self.current().is_some_and(|row| row.id == id) {
            return;
        }
        if let Some(at) = self.find(&id) {
            self.selected = at;
            self.top = self.top.saturating_add_signed(isize_of(at) - isize_of(before));
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.spans.iter().find_map(|span| {
            let place = span.rows.as_ref()?.iter().position(|row| &*row.id == id)?;
            Some(span.first + place)
        })
    }

    fn gap_place(&self) -> Option<usize> {
        self.spans.iter().position(|span| span.is_gap)
    }

    /// Both sides have met: all is known.
    fn close_gap(&mut self) {
        self.spans.retain(|span| !span.is_gap);
        self.before = None;
        self.next = None;
    }

    pub(super) fn append(&mut self, mut page: Page<Row>) {
        if !self.is_begun || self.total.is_none() {
            self.total = page.total;
        }
        self.is_begun = true;
        let cursor = self.next.take();
        let gap = self.gap_place();
        let meets = gap.and_then(|_| page.rows.iter().position(|row| self.holds(&row.id)));
        if let Some(meets) = meets {
            page.rows.truncate(meets);
        }
        let span = self.span(cursor, page.rows, 0);
        self.next = page.next;
        match gap {
            Some(at) if meets.is_some() => {
                self.insert(at, span);
                self.close_gap();
                self.settle();
            }
            // It came to the end by itself, past what was taken for the end.
            Some(at) if self.next.is_none() => {
                self.spans.truncate(at);
                self.before = None;
                self.insert(at, span);
            }
            Some(at) => self.insert(at, span),
            None => self.insert(self.spans.len(), span),
        }
        self.drop_far();
    }

    /// The last page, with the cursor on its last row.
    pub(super) fn take_end(&mut self, mut page: Page<Row>) {
        self.wants_end = false;
        let meets = page.rows.iter().rposition(|row| self.holds(&row.id));
        let skip = meets.map_or(0, |at| at + 1);
        let rows = page.rows.split_off(skip);
        let cursor = Some(END.to_owned());
        if meets.is_some() || page.next.is_none() {
            if meets.is_none() {
                self.spans.clear();
            }
            let span = self.span(cursor, rows, skip);
            self.insert(self.spans.len(), span);
            self.close_gap();
        } else {
            self.before = page.next;
            self.keys += 1;
            let gap = Span {
                key: self.keys,
                is_gap: true,
                cursor: None,
                limit: 0,
                skip: 0,
                first: 0,
                len: 1,
                ends: Default::default(),
                rows: None,
                used: 0,
            };
            let span = self.span(cursor, rows, skip);
            self.spans.push(gap);
            self.insert(self.spans.len(), span);
        }
        self.select(usize::MAX);
        self.drop_far();
    }

    /// A page before those at the end.
    pub(super) fn prepend(&mut self, mut page: Page<Row>) {
        let (Some(gap), cursor) = (self.gap_place(), self.before.take()) else { return };
        let meets = page.rows.iter().rposition(|row| self.holds(&row.id));
        let skip = meets.map_or(0, |at| at + 1);
        let rows = page.rows.split_off(skip);
        let span = self.span(cursor, rows, skip);
        self.before = page.next;
        // A cursor that waits at the gap goes on where it was going.
        let waits = self.spans[gap].first == self.selected;
        let on = self.selected + span.len;
        self.insert(gap + 1, span);
        if waits {
            self.select(on);
        }
        if meets.is_some() {
            self.close_gap();
        } else if self.before.is_none() {
            // It came to the newest by itself: what was before the gap has left the list.
            self.spans.drain(..=gap);
            self.next = None;
        }
        self.settle();
        self.drop_far();
    }

    /// A page again: its rows keep their places, those that are missing now are gone.
    pub(super) fn fill(&mut self, key: u64, mut page: Page<Row>) {
        let Some(span) = self.spans.iter_mut().find(|span| span.key == key) else { return };
        match &mut span.rows {
            None => {
                let mut rows = page.rows.split_off(span.skip.min(page.rows.len()));
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
}
