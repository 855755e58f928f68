//! The command palette and the help: one list of everything that works here, where one can go, and what
//! a text may mean.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input;

use super::{After, Outcome, paste_into, show_field, type_into};
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, fit};
use crate::tui::keys::{ACTIONS, Place, works};
use crate::tui::route::{Noun, Route, Tab};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct Palette {
    input: Input,
    at: usize,
    place: Place,
    /// Whether only keys are shown: the help.
    is_help: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    label: String,
    note: String,
    outcome: Outcome,
    is_off: bool,
    /// The better it fits, the lower.
    rank: usize,
}

impl Palette {
    pub(crate) fn new(place: Place, is_help: bool) -> Self {
        Self { input: Input::default(), at: 0, place, is_help }
    }

    pub(super) fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> After {
        let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return After::Close,
            KeyCode::Char('p') if is_ctrl => return After::Close,
            KeyCode::Up => self.at = self.at.saturating_sub(1),
            KeyCode::Down => self.at += 1,
            KeyCode::PageUp => self.at = self.at.saturating_sub(10),
            KeyCode::PageDown => self.at += 10,
            KeyCode::Enter => {
                let entries = self.entries(ctx);
                let Some(entry) = entries.get(self.at) else { return After::Stay };
                if entry.is_off {
                    ctx.say(entry.note.clone(), Role::Warn);
                    return After::Close;
                }
                return After::Then(entry.outcome.clone());
            }
            KeyCode::Tab => {
                if let Some(entry) = self.entries(ctx).get(self.at) {
                    self.input = Input::new(entry.label.to_lowercase());
                }
            }
            _ => {
                type_into(&mut self.input, key);
                self.at = 0;
            }
        }
        self.at = self.at.min(self.entries(ctx).len().saturating_sub(1));
        After::Stay
    }

    pub(super) fn paste(&mut self, text: &str) {
        paste_into(&mut self.input, text);
        self.at = 0;
    }

    fn entries(&self, ctx: &Ctx) -> Vec<Entry> {
        let typed = self.input.value().trim();
        if let Some(line) = typed.strip_prefix('>') {
            return vec![command(line)];
        }
        let mut found: Vec<Entry> = Vec::new();
        if !self.is_help {
            found.extend(meant(ctx, typed, self.place));
        }
        for entry in ACTIONS.iter().filter(|entry| works(entry, self.place)) {
            let keys: Vec<_> = ctx.keymap.keys(entry).collect();
            let name = entry.name.replace('_', " ");
            let by_key = keys.contains(&typed);
            let label = capital(entry.help);
            let Some(rank) = fits(typed, &[&label, &name]).or(by_key.then_some(0)) else {
                continue;
            };
            let off = if entry.is_deed { ctx.why_not() } else { None };
            let note = match off {
                Some(why) => format!("off: {why}"),
                None => keys.join(" "),
            };
            let outcome = Outcome::Act(entry.action);
            found.push(Entry { label, note, outcome, is_off: off.is_some(), rank });
        }
        if !self.is_help {
            for context in &ctx.contexts {
                let label = format!("Context {}", context.name);
                let at = format!("@{}", context.name);
                if let Some(rank) = fits(typed, &[&label, &at]) {
                    let outcome = Outcome::Context(context.name.clone());
                    found.push(Entry { label, note: at, outcome, is_off: false, rank });
                }
            }
            if let Some(rank) = fits(typed, &["Requests"]) {
                let route = Route::List { noun: Noun::Requests, filter: String::new() };
                let note = "inbound requests, rejected ones too".to_owned();
                let outcome = Outcome::Open(route);
                found.push(Entry {
                    label: "Requests".to_owned(),
                    note,
                    outcome,
                    is_off: false,
                    rank,
                });
            }
        }
        found.sort_by_key(|entry| entry.rank);
        found
    }

    pub(super) fn view(&self, ctx: &Ctx, canvas: &mut Canvas<'_>) {
        let entries = self.entries(ctx);
        let width = canvas.width().saturating_sub(4).min(78);
        let height = (entries.len() + 4).clamp(8, canvas.height().saturating_sub(1).max(8));
        let glyphs = canvas.glyphs;
        let title = if self.is_help { "? keys" } else { ":" };
        let mut popup = canvas.popup(width, height, title);
        show_field(&mut popup, 0, 0, &self.input);
        let rule = glyphs.rule.repeat(popup.width());
        popup.put(0, 1, &rule, Role::Dim);
        let rows = popup.height().saturating_sub(2);
        let at = self.at.min(entries.len().saturating_sub(1));
        let top = (at + 1).saturating_sub(rows);
        let keys = 24.min(popup.width() / 2);
        let label = popup.width().saturating_sub(keys + 3);
        for (y, (place, entry)) in entries.iter().enumerate().skip(top).take(rows).enumerate() {
            let cursor = if place == at { glyphs.cursor } else { " " };
            let role = if entry.is_off { Role::Dim } else { Role::Text };
            let text = format!("{cursor} {} ", fit(&entry.label, label, glyphs));
            let x = popup.put(0, 2 + y, &text, role);
            let note = fit(&entry.note, keys, glyphs);
            popup.put(x, 2 + y, &note, Role::Dim);
            if place == at {
                popup.tint(2 + y, Role::Selected);
            }
        }
        if entries.is_empty() {
            popup.put(
                0,
                2,
                "nothing; also: an id, trace 7c1e, @context, source:…, > any command",
                Role::Dim,
            );
        }
    }
}

/// What a text means by itself: an id, a correlation id, a filter.
fn meant(ctx: &Ctx, typed: &str, place: Place) -> Vec<Entry> {
    let entry = |label: String, note: &str, outcome: Outcome| Entry {
        label,
        note: note.to_owned(),
        outcome,
        is_off: false,
        rank: 0,
    };
    let mut found = Vec::new();
    if typed.is_empty() {
        return found;
    }
    if let Some(route) = Route::of_id(typed) {
        found.push(entry(format!("Open {typed}"), "id", Outcome::Open(route)));
    }
    if typed.contains(':') && ctx.select(typed, None).is_ok() {
        let label = format!("Filter {typed}");
        if matches!(place, Place::List | Place::Groups | Place::Tail) {
            found.push(entry(label, "filter", Outcome::Filter(typed.to_owned())));
        } else {
            let route = Route::List { noun: Noun::DeadLetters, filter: typed.to_owned() };
            found.push(entry(format!("Dead letters {typed}"), "filter", Outcome::Open(route)));
            let route = Route::List { noun: Noun::Events, filter: typed.to_owned() };
            found.push(entry(format!("Events {typed}"), "filter", Outcome::Open(route)));
        }
    }
    let key = typed.strip_prefix("trace ").unwrap_or(typed).trim();
    let is_word = 3 <= key.len() && !key.contains([' ', ':', '@', '>']);
    if is_word && (key.len() < typed.len() || key.contains(|c: char| c.is_ascii_digit())) {
        let route = Route::Event { id: key.to_owned(), task: None, tab: Tab::Trace };
        let mut trace = entry(format!("Trace {key}"), "correlation id", Outcome::Open(route));
        trace.rank = usize::from(Route::of_id(typed).is_some());
        found.push(trace);
    }
    found
}

fn command(line: &str) -> Entry {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let words = match words.split_first() {
        Some((first, rest)) if first == "relayflow" => rest.to_vec(),
        _ => words,
    };
    let is_off = words.is_empty();
    Entry {
        label: format!("relayflow {}", words.join(" ")),
        note: "run it".to_owned(),
        outcome: Outcome::Run(words),
        is_off,
        rank: 0,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// How well a text fits what was typed: a prefix, a part, its letters in order; `None` if not at all.
fn fits(typed: &str, names: &[&str]) -> Option<usize> {
    let typed = typed.to_lowercase();
    let one = |name: &str| {
        let name = name.to_lowercase();
        if name.starts_with(&typed) {
            return Some(1);
        }
        if name.contains(&typed) {
            return Some(2);
        }
        let mut letters = name.chars();
        typed.chars().all(|c| letters.any(|l| l == c)).then_some(3)
    };
    names.iter().filter_map(|name| one(name)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_comes_before_what_has_the_letters() {
        assert_eq!(fits("rep", &["Replay"]), Some(1));
        assert_eq!(fits("play", &["Replay"]), Some(2));
        assert_eq!(fits("rly", &["Replay"]), Some(3));
        assert_eq!(fits("xyz", &["Replay"]), None);
        assert_eq!(fits("", &["Replay"]), Some(1));
    }

    #[test]
    fn a_command_may_bear_the_programs_name() {
        let Outcome::Run(words) = command(" relayflow dlq ls").outcome else { panic!() };
        assert_eq!(words, ["dlq", "ls"]);
    }
}
