//! The `/` box: the CLI's filter language, read by its own parser while it is typed.

use crossterm::event::{KeyCode, KeyEvent};
use relayflow_core::filter;
use tui_input::Input;

use super::{After, Outcome, paste_into, show_field, type_into};
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, dim, wrap};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct FilterBox {
    input: Input,
    /// What is wrong with it, with a caret.
    error: Option<String>,
}

/// Shown under the words that complete a beginning.
const SHOWN: usize = 8;

impl FilterBox {
    pub(crate) fn new(text: &str) -> Self {
        let text = if text.is_empty() { String::new() } else { format!("{text} ") };
        Self { input: Input::new(text), error: None }
    }

    pub(super) fn key(&mut self, ctx: &Ctx, key: &KeyEvent) -> After {
        match key.code {
            KeyCode::Esc => return After::Close,
            KeyCode::Enter => {
                self.check(ctx);
                if self.error.is_none() {
                    return After::Then(Outcome::Filter(self.input.value().trim().to_owned()));
                }
            }
            KeyCode::Tab => {
                self.complete();
                self.check(ctx);
            }
            _ => {
                type_into(&mut self.input, key);
                self.check(ctx);
            }
        }
        After::Stay
    }

    pub(super) fn paste(&mut self, ctx: &Ctx, text: &str) {
        paste_into(&mut self.input, text);
        self.check(ctx);
    }

    fn check(&mut self, ctx: &Ctx) {
        self.error = ctx.select(self.input.value(), None).err().map(|failure| failure.message);
    }

    /// The last word, and what may stand in its place.
    fn candidates(&self) -> (String, Vec<String>) {
        let word = self.input.value().rsplit([' ', '(']).next().unwrap_or_default();
        if let Some(value) = word.strip_prefix("status:") {
            let (given, last) = value.rsplit_once(',').map_or(("", value), |(a, b)| (a, b));
            let head = if given.is_empty() { String::new() } else { format!("{given},") };
            let words = filter::status_words().filter(|known| known.starts_with(last));
            let found = words.map(|known| format!("status:{head}{known}")).collect();
            return (word.to_owned(), found);
        }
        let names = filter::field_names().filter(|name| name.starts_with(word));
        let found = names.map(|n| if n.ends_with('.') { n.to_owned() } else { format!("{n}:") });
        (word.to_owned(), found.collect())
    }

    /// Tab: as much as all candidates have in common.
    fn complete(&mut self) {
        let (word, candidates) = self.candidates();
        let Some(first) = candidates.first() else { return };
        let mut common = first.as_str();
        for other in &candidates[1..] {
            let same = common.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
            common = &common[..same];
        }
        if word.len() <= common.len() {
            let value = self.input.value();
            let kept = &value[..value.len() - word.len()];
            self.input = Input::new(format!("{kept}{common}"));
        }
    }

    pub(super) fn view(&self, canvas: &mut Canvas<'_>) {
        let width = canvas.width().saturating_sub(4).min(90);
        let error: Vec<String> =
            self.error.iter().flat_map(|error| error.lines().map(str::to_owned)).collect();
        let mut popup = canvas.popup(width, 4 + error.len().max(1), "/ filter");
        show_field(&mut popup, 0, 0, &self.input);
        if error.is_empty() {
            let (_, candidates) = self.candidates();
            let shown = candidates.len().min(SHOWN);
            let mut line = candidates[..shown].join("  ");
            if shown < candidates.len() {
                line.push_str(&format!("  and {} more", candidates.len() - shown));
            }
            let lines = wrap(&line, popup.width());
            for (y, line) in lines.iter().take(2).enumerate() {
                popup.line(1 + y, &[dim(line)]);
            }
        }
        for (y, line) in error.iter().enumerate() {
            popup.put(0, 1 + y, line, Role::Warn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str) -> String {
        let mut filter = FilterBox { input: Input::new(text.to_owned()), error: None };
        filter.complete();
        filter.input.value().to_owned()
    }

    #[test]
    fn tab_completes_fields_and_states() {
        for (typed, becomes) in [
            ("sour", "source:"),
            ("status:dead wor", "status:dead work"),
            ("status:re", "status:re"),
            ("status:ret", "status:retrying"),
            ("status:dead,ret", "status:dead,retrying"),
            ("(atte", "(attempts:"),
            ("payl", "payload."),
            ("zzz", "zzz"),
        ] {
            assert_eq!(completed(typed), becomes, "{typed}");
        }
    }
}
