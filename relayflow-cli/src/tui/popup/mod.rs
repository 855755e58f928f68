//! What lies over a screen: it gets the keys until it is closed.

pub(crate) mod choice;
pub(crate) mod export;
pub(crate) mod filter;
pub(crate) mod pager;
pub(crate) mod palette;
pub(crate) mod pause;
pub(crate) mod question;
pub(crate) mod search;

use crossterm::event::KeyEvent;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler as _;

use super::ctx::Ctx;
use super::draw::Canvas;
use super::keys::Action;
use super::theme::Role;
pub(crate) use choice::{Choice, Chosen};
pub(crate) use export::Export;
pub(crate) use filter::FilterBox;
pub(crate) use pager::Pager;
pub(crate) use palette::Palette;
pub(crate) use pause::Pause;
pub(crate) use question::Question;
pub(crate) use search::SearchBox;

#[derive(Debug)]
pub(crate) enum Popup {
    Filter(FilterBox),
    Palette(Palette),
    Choice(Choice),
    Question(Box<Question>),
    Export(Box<Export>),
    Pause(Box<Pause>),
    Pager(Pager),
    Search(SearchBox),
}

/// What a key in a popup comes to.
#[derive(Debug)]
pub(crate) enum After {
    Stay,
    Close,
    /// Close, and then this.
    Then(Outcome),
}

/// What was decided in a popup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Act(Action),
    /// The filter of the screen below.
    Filter(String),
    Open(super::route::Route),
    Context(String),
    Run(Vec<String>),
    Copy {
        what: String,
        text: String,
    },
    GroupBy(&'static str),
    /// For what stands on the screen.
    Search(String),
}

impl Popup {
    pub(crate) fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> After {
        match self {
            Self::Filter(filter) => filter.key(ctx, key),
            Self::Palette(palette) => palette.key(ctx, key),
            Self::Choice(choice) => choice.key(key),
            Self::Question(question) => question.key(ctx, key),
            Self::Export(export) => export.key(ctx, key),
            Self::Pause(pause) => pause.key(ctx, key),
            Self::Pager(pager) => pager.key(ctx, key),
            Self::Search(search) => search.key(key),
        }
    }

    pub(crate) fn paste(&mut self, ctx: &mut Ctx, text: &str) {
        match self {
            Self::Filter(filter) => filter.paste(ctx, text),
            Self::Palette(palette) => palette.paste(text),
            Self::Question(question) => question.paste(text),
            Self::Search(search) => search.paste(text),
            Self::Export(export) => export.paste(text),
            Self::Pause(pause) => pause.paste(text),
            Self::Choice(_) | Self::Pager(_) => {}
        }
    }

    pub(crate) fn view(&self, ctx: &Ctx, canvas: &mut Canvas<'_>) {
        match self {
            Self::Filter(filter) => filter.view(canvas),
            Self::Palette(palette) => palette.view(ctx, canvas),
            Self::Choice(choice) => choice.view(canvas),
            Self::Question(question) => question.view(ctx, canvas),
            Self::Export(export) => export.view(canvas),
            Self::Pause(pause) => pause.view(ctx, canvas),
            Self::Pager(pager) => pager.view(canvas),
            Self::Search(search) => search.view(canvas),
        }
    }

    /// The line of keys below it.
    pub(crate) fn keys(&self) -> &'static str {
        match self {
            Self::Filter(_) => "↵ apply  tab complete  esc restore",
            Self::Palette(_) => "↵ run  tab complete  ↑↓ choose  esc close",
            Self::Choice(_) => "↵ choose  ↑↓ move  esc close",
            Self::Question(_) | Self::Pause(_) => "esc back",
            Self::Search(_) => "↵ search  esc close",
            Self::Export(_) => "↵ write  esc back",
            Self::Pager(_) => "↑↓ scroll  y copy  esc close",
        }
    }
}

/// Types into a field. What is pasted is one line.
pub(crate) fn type_into(input: &mut Input, key: &KeyEvent) {
    let _ = input.handle_event(&crossterm::event::Event::Key(*key));
}

pub(crate) fn paste_into(input: &mut Input, text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for c in line.trim().chars() {
        let _ = input.handle(tui_input::InputRequest::InsertChar(c));
    }
}

/// A field with its caret, at a place; as much of it as there is room for round the caret.
pub(crate) fn show_field(canvas: &mut Canvas<'_>, x: usize, y: usize, input: &Input) {
    let room = canvas.width().saturating_sub(x + 1);
    let before: String = input.value().chars().take(input.cursor()).collect();
    let after: String = input.value().chars().skip(input.cursor()).collect();
    let mut left = before.as_str();
    while room < super::draw::width(left) {
        let mut chars = left.chars();
        chars.next();
        left = chars.as_str();
    }
    let x = canvas.put(x, y, left, Role::Text);
    let caret = canvas.glyphs.caret;
    let x = canvas.put(x, y, caret, Role::Accent);
    canvas.put(x, y, &after, Role::Text);
}
