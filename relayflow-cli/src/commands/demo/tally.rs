//! The demo's own count, and every number held against it.

use std::collections::HashMap;

use unicode_width::UnicodeWidthStr as _;

use super::letters::Sort;
use super::setting::Setting;
use crate::commands::destination::KeyRecord;
use crate::output::style::{Style, Tone};
use crate::output::time::count;

/// What was sent, and so what must be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    pub(crate) unreadable: u64,
    /// Answers that were not what the letter's sort calls for.
    pub(crate) surprises: u64,
}

impl Tally {
    /// Counts a letter and its answer.
    pub(crate) fn add(&mut self, sort: Sort, status: u16) {
        self.requests += 1;
        let is_taken = (200..300).contains(&status);
        let is_refused = matches!(status, 400 | 401);
        let as_expected = match sort {
            Sort::Good(events) => {
                self.events += events;
                is_taken
            }
            Sort::Repeated(events) => {
                self.duplicates += events;
                is_taken
            }
            Sort::Unreadable => {
                self.unreadable += 1;
                is_taken
            }
            Sort::Forged | Sort::Stale | Sort::Unsigned => {
                self.rejected += 1;
                is_refused
            }
        };
        self.surprises += u64::from(!as_expected);
    }
}

/// What all destinations together have on record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    keys: HashMap<String, KeyRecord>,
}

impl Records {
    pub(crate) fn of(setting: &Setting) -> Self {
        let mut keys = HashMap::new();
        for (_, destination) in &setting.destinations {
            keys.extend(destination.record().keys.clone());
        }
        Self { keys }
    }

    /// Tasks that were answered with success.
    pub(crate) fn succeeded(&self) -> u64 {
        self.count(|key| 0 < key.successes)
    }

    /// Tasks that came, and were never answered with success.
    pub(crate) fn without_success(&self) -> u64 {
        self.count(|key| key.successes == 0)
    }

    /// Calls beyond the first of each task.
    pub(crate) fn again(&self) -> u64 {
        self.keys.values().map(|key| u64::from(key.calls.saturating_sub(1))).sum()
    }

    /// Tasks that were answered with success more than once.
    pub(crate) fn doubled(&self) -> u64 {
        self.count(|key| 1 < key.successes)
    }

    fn count(&self, is: impl Fn(&KeyRecord) -> bool) -> u64 {
        u64::try_from(self.keys.values().filter(|key| is(key)).count()).unwrap_or(u64::MAX)
    }
}

/// One number, as RelayFlow says and as the other side has it on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) said: u64,
    pub(crate) recorded: u64,
    /// Whose record it is held against.
    pub(crate) whose: &'static str,
}

impl Line {
    pub(crate) fn is_true(&self) -> bool {
        self.said == self.recorded
    }
}

/// The table, a line for each number.
pub(crate) fn table(style: Style, lines: &[Line]) -> String {
    let width = |of: fn(&Line) -> String, head: &str| {
        lines.iter().map(|line| of(line).width()).max().unwrap_or(0).max(head.width())
    };
    let name_width = width(|line| line.name.to_owned(), "");
    let said_width = width(|line| count(line.said), "RELAYFLOW");
    let recorded_width = width(|line| count(line.recorded), "ON RECORD");
    let mut out = format!(
        "{:name_width$}  {:>said_width$}  {:>recorded_width$}\n",
        "", "RELAYFLOW", "ON RECORD"
    );
    for line in lines {
        let (word, tone) = if line.is_true() {
            (style.status("ok"), Tone::Good)
        } else {
            (style.status("dead").replace("dead", "WRONG"), Tone::Bad)
        };
        out.push_str(&format!(
            "{:name_width$}  {:>said_width$}  {:>recorded_width$}  {}  {}\n",
            line.name,
            count(line.said),
            count(line.recorded),
            style.paint(&word, tone),
            style.paint(line.whose, Tone::Dim),
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_of_letter_counts_as_what_it_must_become() {
        let mut tally = Tally::default();
        for (sort, status) in [
            (Sort::Good(3), 200),
            (Sort::Good(1), 204),
            (Sort::Repeated(3), 200),
            (Sort::Forged, 401),
            (Sort::Unsigned, 400),
            (Sort::Unreadable, 200),
        ] {
            tally.add(sort, status);
        }
        let expected = Tally {
            requests: 6,
            events: 4,
            duplicates: 3,
            rejected: 2,
            unreadable: 1,
            surprises: 0,
        };
        assert_eq!(tally, expected);
        tally.add(Sort::Forged, 200);
        tally.add(Sort::Good(1), 503);
        assert_eq!(tally.surprises, 2);
    }

    #[test]
    fn a_wrong_number_stands_out() {
        let style = Style { color: false, marks: true, ascii: false };
        let line = |name, said, recorded| Line { name, said, recorded, whose: "sent" };
        insta::assert_snapshot!(table(style, &[line("accepted", 1204, 1204), line("rejected", 3, 4)]), @r"
                  RELAYFLOW  ON RECORD
        accepted      1,204      1,204  ● ok  sent
        rejected          3          4  ✖ WRONG  sent
        ");
    }
}
