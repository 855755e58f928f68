//! One of a few: the copy menu, contexts, fields to group by.

use crossterm::event::{KeyCode, KeyEvent};

use super::{After, Outcome};
use crate::tui::draw::{Canvas, fit};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) title: &'static str,
    pub(crate) items: Vec<Chosen>,
    pub(crate) at: usize,
}

/// One of them: what it says, its note, and what it does.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) label: String,
    pub(crate) note: String,
    pub(crate) outcome: Outcome,
}

impl Choice {
    pub(crate) fn new(title: &'static str, items: Vec<Chosen>) -> Self {
        Self { title, items, at: 0 }
    }

    pub(super) fn key(&mut self, key: &KeyEvent) -> After {
        let last = self.items.len().saturating_sub(1);
        match key.code {
            KeyCode::Esc | KeyCode::Char('q') => return After::Close,
            KeyCode::Up | KeyCode::Char('k') => self.at = self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.at = (self.at + 1).min(last),
            KeyCode::Enter => return self.choose(self.at),
            KeyCode::Char(digit @ '1'..='9') => {
                let place = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0);
                return self.choose(place);
            }
            _ => {}
        }
        After::Stay
    }

    fn choose(&self, place: usize) -> After {
        match self.items.get(place) {
            Some(item) => After::Then(item.outcome.clone()),
            None => After::Stay,
        }
    }

    pub(super) fn view(&self, canvas: &mut Canvas<'_>) {
        let width = canvas.width().saturating_sub(4).min(76);
        let height = (self.items.len() + 2).min(canvas.height());
        let glyphs = canvas.glyphs;
        let mut popup = canvas.popup(width, height, self.title);
        let top = (self.at + 1).saturating_sub(popup.height());
        let wide = self.items.iter().map(|i| super::super::draw::width(&i.label)).max();
        let wide = wide.unwrap_or(0).min(40);
        for (y, (at, item)) in self.items.iter().enumerate().skip(top).enumerate() {
            if popup.height() <= y {
                break;
            }
            let cursor = if at == self.at { glyphs.cursor } else { " " };
            let label = fit(&item.label, wide, glyphs);
            let x = popup.put(0, y, &format!("{cursor} {} {label}  ", at + 1), Role::Text);
            let room = popup.width().saturating_sub(x);
            let note = fit(&item.note, room, glyphs);
            popup.put(x, y, &note, Role::Dim);
            if at == self.at {
                popup.tint(y, Role::Selected);
            }
        }
    }
}
