//! Where a bundle, or what is on the screen, is written.

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent};
use relayflow_core::api::NewExport;
use tui_input::Input;

use super::{After, paste_into, show_field, type_into};
use crate::tui::ctx::Ctx;
use crate::tui::draw::Canvas;
use crate::tui::msg::{Effect, Question};
use crate::tui::route::shell;
use crate::tui::theme::Role;

/// What a bundle's name ends in.
const ENDS: [&str; 2] = [".tar.gz", ".tgz"];

/// A bundle of what is selected; a file of another name is what is on the screen, as it is.
#[derive(Debug)]
pub(crate) struct Export {
    /// What goes into the bundle: `evt_…`, `12 marked`, the filter.
    what: String,
    q: Option<String>,
    /// The words of the command that does the same.
    words: String,
    /// What is on the screen, as text.
    shown: Option<String>,
    path: Input,
    error: Option<String>,
}

impl Export {
    pub(crate) fn new(
        what: impl Into<String>,
        q: Option<String>,
        words: impl Into<String>,
        name: &str,
        shown: Option<String>,
    ) -> Self {
        let path = Input::new(format!("relayflow-{name}.tar.gz"));
        Self { what: what.into(), q, words: words.into(), shown, path, error: None }
    }

    pub(super) fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> After {
        match key.code {
            KeyCode::Esc => return After::Close,
            KeyCode::Enter => return self.go(ctx),
            _ => type_into(&mut self.path, key),
        }
        self.error = None;
        After::Stay
    }

    pub(super) fn paste(&mut self, text: &str) {
        paste_into(&mut self.path, text);
    }

    fn path(&self) -> &str {
        self.path.value().trim()
    }

    fn is_bundle(&self) -> bool {
        ENDS.iter().any(|end| self.path().ends_with(end))
    }

    fn go(&mut self, ctx: &mut Ctx) -> After {
        if self.path().is_empty() {
            self.error = Some("a name is missing".to_owned());
            return After::Stay;
        }
        if self.is_bundle() {
            let new = NewExport { q: self.q.clone(), ..NewExport::default() };
            ctx.ask(Question::Export { new, to: PathBuf::from(self.path()) });
            ctx.say(format!("writing {} …", self.path()), Role::Info);
            return After::Close;
        }
        let Some(text) = self.shown.clone() else {
            self.error = Some("a bundle's name ends in .tar.gz".to_owned());
            return After::Stay;
        };
        ctx.effects.push(Effect::Write { name: self.path().to_owned(), text });
        After::Close
    }

    /// The command that does the same.
    fn command(&self) -> String {
        format!("relayflow export {} --to {}", self.words, shell(self.path()))
    }

    pub(super) fn view(&self, canvas: &mut Canvas<'_>) {
        let width = canvas.width().saturating_sub(8).min(72);
        let mut popup = canvas.popup(width, 10, "Export");
        popup.put(0, 1, &format!("a masked bundle of {}", self.what), Role::Text);
        if self.shown.is_some() {
            popup.put(0, 2, "a name without .tar.gz: only what is on the screen", Role::Dim);
        }
        let x = popup.put(0, 4, "file  ", Role::Dim);
        show_field(&mut popup, x, 4, &self.path);
        popup.put(0, 5, self.error.as_deref().unwrap_or_default(), Role::Warn);
        popup.put(0, 6, "enter: write    esc back", Role::Dim);
        if self.is_bundle() {
            popup.put(0, 7, &format!("same as  {}", self.command()), Role::Dim);
        }
    }
}
