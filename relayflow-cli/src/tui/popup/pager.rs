//! Text to read: what a command printed, a value in full.

use crossterm::event::{KeyCode, KeyEvent};

use super::After;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, wrap};
use crate::tui::theme::Role;

#[derive(Debug)]
pub(crate) struct Pager {
    title: String,
    text: String,
    top: usize,
}

impl Pager {
    pub(crate) fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), top: 0 }
    }

    pub(super) fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> After {
        let page = usize::from(ctx.size.1).saturating_sub(8).max(1);
        match key.code {
            KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter => return After::Close,
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::PageUp => self.top = self.top.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top += page,
            KeyCode::Home | KeyCode::Char('g') => self.top = 0,
            KeyCode::Char('y') => ctx.copy("text", self.text.clone()),
            _ => {}
        }
        self.top = self.top.min(self.text.lines().count().saturating_sub(1));
        After::Stay
    }

    pub(super) fn view(&self, canvas: &mut Canvas<'_>) {
        let (width, height) = (canvas.width().saturating_sub(2), canvas.height());
        let mut popup = canvas.popup(width, height, &self.title);
        let room = popup.width();
        let lines = self.text.lines().skip(self.top).flat_map(|line| {
            let wrapped = wrap(line, room);
            if wrapped.is_empty() { vec![String::new()] } else { wrapped }
        });
        for (y, line) in lines.take(popup.height()).enumerate() {
            popup.put(0, y, &line, Role::Text);
        }
    }
}
