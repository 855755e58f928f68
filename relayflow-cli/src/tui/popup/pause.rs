//! Holding up a queue: for how long, why, and in a protected context the number that the CLI asks for.

use crossterm::event::{KeyCode, KeyEvent};
use relayflow_core::api::{NewPause, Queue};
use relayflow_core::view::doctor::shell;
use tui_input::Input;

use super::{After, paste_into, show_field, type_into};
use crate::args::{Act, values};
use crate::confirm::{Decision, Deed, decide};
use crate::output::time;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, wrap};
use crate::tui::msg::Question;
use crate::tui::theme::Role;

/// What is offered first; an empty length lasts until somebody resumes it.
const LENGTH: &str = "30m";

/// The question before a queue stands still.
#[derive(Debug)]
pub(crate) struct Pause {
    name: String,
    about: String,
    fields: Vec<(&'static str, Input)>,
    at: usize,
    error: Option<String>,
}

impl Pause {
    pub(crate) fn new(ctx: &Ctx, queue: &Queue) -> Self {
        let count = |n: i64| time::count(u64::try_from(n).unwrap_or(0));
        let about = format!(
            "{}: {} waiting, {} running will end. Nothing new starts; what comes in waits. Without a \
             length it lasts until somebody resumes it.",
            queue.name,
            count(queue.depth),
            count(queue.running)
        );
        let mut fields = vec![("for", Input::new(LENGTH.to_owned())), ("reason", Input::default())];
        if ctx.target.is_protected {
            fields.push(("queues", Input::default()));
        }
        // The length is a good one as it is: the reason is what has to be typed.
        Self { name: queue.name.clone(), about, fields, at: 1, error: None }
    }

    fn value(&self, place: usize) -> &str {
        self.fields.get(place).map_or("", |(_, input)| input.value().trim())
    }

    pub(super) fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> After {
        let last = self.fields.len() - 1;
        match key.code {
            KeyCode::Esc => return After::Close,
            KeyCode::Enter => return self.go(ctx),
            KeyCode::Tab | KeyCode::Down => self.at = if self.at == last { 0 } else { self.at + 1 },
            KeyCode::BackTab | KeyCode::Up => {
                self.at = self.at.checked_sub(1).unwrap_or(last);
            }
            _ => {
                if let Some((_, input)) = self.fields.get_mut(self.at) {
                    type_into(input, key);
                }
            }
        }
        After::Stay
    }

    pub(super) fn paste(&mut self, text: &str) {
        if let Some((_, input)) = self.fields.get_mut(self.at) {
            paste_into(input, text);
        }
    }

    fn go(&mut self, ctx: &mut Ctx) -> After {
        if !ctx.may_act() {
            return After::Close;
        }
        match self.decided(ctx) {
            Ok(new) => {
                ctx.ask(Question::PauseQueue { name: self.name.clone(), new });
                After::Close
            }
            Err((place, error)) => {
                (self.at, self.error) = (place, Some(error));
                After::Stay
            }
        }
    }

    /// What is to be done, or the field that keeps it from being done, and why.
    fn decided(&self, ctx: &Ctx) -> Result<NewPause, (usize, String)> {
        let length = Some(self.value(0).to_owned()).filter(|length| !length.is_empty());
        if let Some(length) = &length {
            values::pause(length).map_err(|error| (0, error))?;
        }
        let reason = Some(self.value(1).to_owned()).filter(|reason| !reason.is_empty());
        let act = Act { reason: reason.clone(), ..Act::default() };
        let deed = Deed {
            verb: "Pause",
            noun: "queue",
            items: 1,
            is_single: false,
            needs_reason: true,
            command: self.command(),
        };
        match decide(true, &ctx.target, &act, &deed) {
            Decision::Refuse(failure) => {
                return Err((1, failure.message.replace("--reason", "reason")));
            }
            Decision::AskNumber if self.value(2) != "1" => {
                let label = ctx.target.label.as_ref().unwrap_or(&ctx.target.name);
                return Err((2, format!("{label} is protected: type the number of queues, 1")));
            }
            // The reason was typed for just this, and enter pressed behind it.
            Decision::AskNumber | Decision::AskYes | Decision::Go => {}
        }
        Ok(NewPause {
            indefinitely: length.is_none(),
            r#for: length,
            reason: reason.unwrap_or_default(),
        })
    }

    /// The command that does the same.
    fn command(&self) -> String {
        let length = match self.value(0) {
            "" => "--indefinitely".to_owned(),
            length => format!("--for {}", shell(length)),
        };
        format!("relayflow queue pause {} {length}", shell(&self.name))
    }

    pub(super) fn view(&self, ctx: &Ctx, canvas: &mut Canvas<'_>) {
        let width = canvas.width().saturating_sub(8).min(72);
        let lines = wrap(&self.about, width.saturating_sub(4));
        let title = match &ctx.target.label {
            Some(label) => format!("{label}: pause a queue"),
            None => "pause a queue".to_owned(),
        };
        let mut popup = canvas.popup(width, lines.len() + self.fields.len() + 7, &title);
        for (y, line) in lines.iter().enumerate() {
            popup.put(0, 1 + y, line, Role::Text);
        }
        let mut y = lines.len() + 2;
        for (place, (label, input)) in self.fields.iter().enumerate() {
            let x = popup.put(0, y, &format!("{label:8}"), Role::Dim);
            if place == self.at {
                show_field(&mut popup, x, y, input);
            } else {
                popup.put(x, y, input.value(), Role::Text);
            }
            y += 1;
        }
        popup.put(0, y, self.error.as_deref().unwrap_or_default(), Role::Warn);
        popup.put(0, y + 1, "enter: do it    tab next field    esc back", Role::Dim);
        popup.put(0, y + 2, &format!("same as  {} --reason …", self.command()), Role::Dim);
    }
}
