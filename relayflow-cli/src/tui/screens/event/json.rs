//! A payload as a tree that folds. Leaves are shown as they were written: a number too large for this
//! program is still the vendor's number.

use std::collections::BTreeSet;

use relayflow_core::members::Members;
use serde_json::value::RawValue;

use crate::tui::draw::Canvas;
use crate::tui::keys::Action;
use crate::tui::theme::Role;

/// Deeper nesting is shown as one line.
const DEPTH_MAX: usize = 32;
/// A payload with more lines than this is shown up to here.
const LINES_MAX: usize = 20_000;

#[derive(Debug)]
pub(crate) struct Tree {
    lines: Vec<Line>,
    folded: BTreeSet<usize>,
    is_cut: bool,
}

#[derive(Debug)]
struct Line {
    depth: usize,
    /// `"name": ` and the value or the opening bracket.
    text: String,
    /// The line of the closing bracket, for a line that opens.
    end: Option<usize>,
    /// What is in it, for the folded line.
    inside: String,
    path: String,
    value: String,
}

/// What an object or an array is made of: the name, where it has one, and the value as written.
type Parts = Vec<(Option<String>, Box<RawValue>)>;

impl Tree {
    pub(crate) fn read(value: &RawValue) -> Self {
        let mut tree = Self { lines: Vec::new(), folded: BTreeSet::new(), is_cut: false };
        tree.push(value, 0, "", String::new(), "");
        tree
    }

    fn push(&mut self, value: &RawValue, depth: usize, before: &str, path: String, after: &str) {
        if LINES_MAX <= self.lines.len() {
            self.is_cut = true;
            return;
        }
        let text = value.get().trim();
        let at = self.lines.len();
        let leaf = |text: String| Line {
            depth,
            text: format!("{before}{text}{after}"),
            end: None,
            inside: String::new(),
            path: path.clone(),
            value: text,
        };
        let is_deep = DEPTH_MAX <= depth;
        let opens = |bracket| text.starts_with(bracket) && !is_deep;
        let parts: Option<(&str, &str, Parts)> = if opens('{') {
            serde_json::from_str(text).ok().map(|Members(members)| {
                let named = members.into_iter().map(|(name, member)| (Some(name), member));
                ("{", "}", named.collect())
            })
        } else if opens('[') {
            let items = serde_json::from_str::<Vec<Box<RawValue>>>(text).ok();
            items.map(|items| ("[", "]", items.into_iter().map(|item| (None, item)).collect()))
        } else {
            None
        };
        let Some((open, close, parts)) = parts.filter(|(_, _, parts)| !parts.is_empty()) else {
            self.lines.push(leaf(text.to_owned()));
            return;
        };
        let word = if open == "{" { "member" } else { "item" };
        let inside = format!("{open} {} {close}", count(parts.len(), word));
        let text = format!("{before}{open}");
        self.lines.push(Line { text, inside, ..leaf(String::new()) });
        let last = parts.len() - 1;
        for (place, (name, part)) in parts.into_iter().enumerate() {
            let comma = if place == last { "" } else { "," };
            let quoted = name.as_ref().map(|n| format!("{}: ", serde_json::Value::from(&**n)));
            let name = name.unwrap_or_else(|| place.to_string());
            let below = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.push(&part, depth + 1, &quoted.unwrap_or_default(), below, comma);
        }
        self.close(at, depth, close, after);
    }

    fn close(&mut self, at: usize, depth: usize, bracket: &str, after: &str) {
        let end = self.lines.len();
        self.lines[at].end = Some(end);
        self.lines.push(Line {
            depth,
            text: format!("{bracket}{after}"),
            end: None,
            inside: String::new(),
            path: String::new(),
            value: String::new(),
        });
    }

    /// The lines that are not within a fold.
    pub(crate) fn shown(&self) -> Vec<usize> {
        let mut shown = Vec::new();
        let mut at = 0;
        while at < self.lines.len() {
            shown.push(at);
            at = match self.lines[at].end {
                Some(end) if self.folded.contains(&at) => end + 1,
                _ => at + 1,
            };
        }
        shown
    }

    /// Folds or unfolds at the cursor; where the cursor is then.
    pub(crate) fn fold(&mut self, cursor: usize, action: Action) -> usize {
        let shown = self.shown();
        let Some(at) = shown.get(cursor).copied() else { return cursor };
        let opens = self.lines[at].end.is_some();
        match action {
            Action::Right => {
                self.folded.remove(&at);
            }
            Action::Left if !opens || self.folded.contains(&at) => {
                // To what it is in.
                let depth = self.lines[at].depth;
                let up = shown[..cursor].iter().rposition(|line| {
                    self.lines[*line].depth < depth && self.lines[*line].end.is_some()
                });
                return up.unwrap_or(cursor);
            }
            _ if opens && !self.folded.remove(&at) => {
                self.folded.insert(at);
            }
            _ => {}
        }
        cursor
    }

    /// The place of the next line that has `needle`, in whatever case; what hides it is unfolded. It
    /// begins anew at the other end.
    pub(crate) fn seek(&mut self, cursor: usize, needle: &str, forward: bool) -> Option<usize> {
        let needle = needle.to_lowercase();
        let here = self.shown().get(cursor).copied().unwrap_or(0);
        let count = self.lines.len();
        let found = (1..=count)
            .map(|step| if forward { here + step } else { here + count - step } % count)
            .find(|at| self.lines[*at].text.to_lowercase().contains(&needle))?;
        let lines = &self.lines;
        self.folded.retain(|at| {
            let hides = |end: usize| *at < found && found <= end;
            !lines[*at].end.is_some_and(hides)
        });
        self.shown().iter().position(|at| *at == found)
    }

    /// A term of the filter language that finds events with the value at the cursor.
    pub(crate) fn path(&self, cursor: usize) -> Option<String> {
        let line = &self.lines[*self.shown().get(cursor)?];
        let is_leaf = line.end.is_none() && !line.path.is_empty();
        is_leaf.then(|| format!("payload.{}:{}", line.path, line.value))
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> String {
        let line = |line: &Line| format!("{}{}", "  ".repeat(line.depth), line.text);
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn view(&self, cursor: usize, needle: &str, canvas: &mut Canvas<'_>) {
        let shown = self.shown();
        let rows = canvas.height().max(1);
        let top = (cursor + 1).saturating_sub(rows);
        for (y, (place, at)) in shown.iter().enumerate().skip(top).take(rows).enumerate() {
            let line = &self.lines[*at];
            let mark = if place == cursor { canvas.glyphs.cursor } else { " " };
            let x = canvas.put(0, y, &format!("{mark} {}", "  ".repeat(line.depth)), Role::Text);
            if self.folded.contains(at) {
                let head = line.text.trim_end_matches(['{', '[']);
                let x = canvas.put(x, y, head, Role::Text);
                canvas.put(x, y, &line.inside, Role::Dim);
            } else {
                show_matches(canvas, x, y, &line.text, needle);
            }
            if place == cursor {
                canvas.tint(y, Role::Selected);
            }
        }
        if self.is_cut {
            canvas.right(rows - 1, &[crate::tui::draw::dim("not all is shown: x exports it ")]);
        }
    }
}

/// A line with what is looked for standing out.
fn show_matches(canvas: &mut Canvas<'_>, x: usize, y: usize, text: &str, needle: &str) {
    let (lower, needle) = (text.to_lowercase(), needle.to_lowercase());
    // Where lower case has other lengths, places in one are none in the other.
    if needle.is_empty() || lower.len() != text.len() {
        canvas.put(x, y, text, Role::Text);
        return;
    }
    let (mut x, mut from) = (x, 0);
    for (at, found) in lower.match_indices(&needle) {
        let end = at + found.len();
        if let (Some(before), Some(found)) = (text.get(from..at), text.get(at..end)) {
            x = canvas.put(x, y, before, Role::Text);
            x = canvas.put(x, y, found, Role::Match);
            from = end;
        }
    }
    canvas.put(x, y, text.get(from..).unwrap_or_default(), Role::Text);
}

fn count(number: usize, word: &str) -> String {
    crate::output::time::things(u64::try_from(number).unwrap_or(u64::MAX), word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::read(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn a_tree_shows_what_was_written() {
        let tree =
            tree(r#"{"id":123456789012345678901234567890,"b":{"x":[1,"\u001b"],"e":{}},"b":null}"#);
        insta::assert_snapshot!(tree.text(), @r#"
        {
          "id": 123456789012345678901234567890,
          "b": {
            "x": [
              1,
              "\u001b"
            ],
            "e": {}
          },
          "b": null
        }
        "#);
    }

    #[test]
    fn folding_hides_what_is_inside_and_left_goes_up() {
        let mut tree = tree(r#"{"a":{"b":1},"c":2}"#);
        assert_eq!(tree.shown().len(), 6);
        assert_eq!(tree.fold(1, Action::Fold), 1);
        assert_eq!(tree.shown().len(), 4);
        tree.fold(1, Action::Right);
        assert_eq!(tree.fold(2, Action::Left), 1, "from a leaf to its object");
        assert_eq!(tree.path(2).as_deref(), Some("payload.a.b:1"));
        assert_eq!(tree.path(0), None);
    }

    #[test]
    fn a_search_goes_round_and_unfolds_what_hides_it() {
        let mut tree = tree(r#"{"a":{"Plan":1},"c":"planner","d":2}"#);
        tree.fold(1, Action::Fold);
        assert_eq!(tree.seek(0, "plan", true), Some(2));
        assert_eq!(tree.shown().len(), 7);
        assert_eq!(tree.seek(2, "PLAN", true), Some(4));
        assert_eq!(tree.seek(4, "plan", true), Some(2), "round the end");
        assert_eq!(tree.seek(2, "plan", false), Some(4), "and back");
        assert_eq!(tree.seek(0, "nowhere", true), None);
    }

    #[test]
    fn what_is_too_deep_is_one_line() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(tree(&deep).lines.len() <= 2 * DEPTH_MAX + 1);
    }
}
