//! The `/` box over text that is on the screen: what is typed is looked for as it is typed.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;

use super::{After, Outcome, paste_into, show_field, type_into};
use crate::tui::draw::Canvas;
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct SearchBox {
    input: Input,
}

impl SearchBox {
    pub(crate) fn new(text: &str) -> Self {
        Self { input: Input::new(text.to_owned()) }
    }

    pub(super) fn key(&mut self, key: &KeyEvent) -> After {
        match key.code {
            KeyCode::Esc => After::Close,
            KeyCode::Enter => After::Then(Outcome::Search(self.input.value().trim().to_owned())),
            _ => {
                type_into(&mut self.input, key);
                After::Stay
            }
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        paste_into(&mut self.input, text);
    }

    pub(super) fn view(&self, canvas: &mut Canvas<'_>) {
        let width = canvas.width().saturating_sub(4).min(60);
        let mut popup = canvas.popup(width, 4, "/ search");
        show_field(&mut popup, 0, 0, &self.input);
        popup.put(0, 1, "names and values; n and N go from one to the next", Role::Dim);
    }
}
