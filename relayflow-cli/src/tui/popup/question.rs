//! Before something is done: what, a reason where one is needed, and the answer that the CLI's own rules
//! ask for.

use crossterm::event::{KeyCode, KeyEvent};
use relayflow_core::api::Discard;
use relayflow_core::view::doctor::shell;
use tui_input::Input;

use super::{After, paste_into, show_field, type_into};
use crate::args::Act;
use crate::confirm::{Decision, Deed, decide};
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, wrap};
use crate::tui::msg;
use crate::tui::theme::Role;

/// A deed that has no plan: of one item, or of a whole job.
#[derive(Debug)]
pub(crate) struct Question {
    title: String,
    lines: Vec<String>,
    reason: Option<Input>,
    then: Then,
    error: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Then {
    Discard { id: String },
    Control { id: String, verb: &'static str },
    ResumeQueue { name: String },
    Readmit { id: String },
    AcceptDrift { id: String },
    Revise { event: String, task: String, payload: String },
}

impl Question {
    pub(crate) fn new(title: impl Into<String>, lines: Vec<String>, then: Then) -> Self {
        let reason = match then {
            Then::Discard { .. }
            | Then::Readmit { .. }
            | Then::AcceptDrift { .. }
            | Then::Revise { .. } => Some(Input::default()),
            Then::Control { .. } | Then::ResumeQueue { .. } => None,
        };
        Self { title: title.into(), lines, reason, then, error: None }
    }

    pub(super) fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> After {
        match (key.code, &mut self.reason) {
            (KeyCode::Esc, _) => return After::Close,
            (KeyCode::Enter, Some(_)) | (KeyCode::Char('y'), None) => return self.go(ctx),
            (KeyCode::Char('n'), None) => return After::Close,
            (_, Some(input)) => type_into(input, key),
            (_, None) => {}
        }
        After::Stay
    }

    pub(super) fn paste(&mut self, text: &str) {
        if let Some(input) = &mut self.reason {
            paste_into(input, text);
        }
    }

    fn go(&mut self, ctx: &mut Ctx) -> After {
        if !ctx.may_act() {
            return After::Close;
        }
        let reason = self.reason.as_ref().map(|input| input.value().trim().to_owned());
        let reason = reason.filter(|reason| !reason.is_empty());
        let act = Act { reason: reason.clone(), ..Act::default() };
        let deed = Deed {
            verb: "Discard",
            noun: "item",
            items: 1,
            is_single: true,
            needs_reason: !matches!(
                self.then,
                Then::Control { .. } | Then::ResumeQueue { .. } | Then::Readmit { .. }
            ),
            command: self.command(),
        };
        if let Decision::Refuse(failure) = decide(true, &ctx.target, &act, &deed) {
            self.error = Some(failure.message.replace("--reason", "reason"));
            return After::Stay;
        }
        ctx.ask(match self.then.clone() {
            Then::Discard { id } => msg::Question::Discard(Discard {
                ids: Some(vec![id]),
                reason: reason.unwrap_or_default(),
                ..Discard::default()
            }),
            Then::Control { id, verb } => msg::Question::Control { id, verb },
            Then::ResumeQueue { name } => msg::Question::ResumeQueue(name),
            Then::Readmit { id } => msg::Question::Readmit { id, reason },
            Then::Revise { event, task, payload } => {
                let reason = reason.unwrap_or_default();
                msg::Question::Revise { event, task, payload, reason }
            }
            Then::AcceptDrift { id } => {
                msg::Question::AcceptDrift { id, reason: reason.unwrap_or_default() }
            }
        });
        After::Close
    }

    /// The command that does the same.
    fn command(&self) -> String {
        match &self.then {
            Then::Discard { id } => format!("relayflow dlq discard {id}"),
            Then::Control { id, verb } => format!("relayflow replay {verb} {id}"),
            Then::ResumeQueue { name } => format!("relayflow queue resume {}", shell(name)),
            Then::Readmit { id } => format!("relayflow requests replay {id}"),
            Then::AcceptDrift { id } => format!("relayflow drift accept {id}"),
            Then::Revise { task, .. } => format!("relayflow dlq edit {task}"),
        }
    }

    pub(super) fn view(&self, ctx: &Ctx, canvas: &mut Canvas<'_>) {
        let width = canvas.width().saturating_sub(8).min(72);
        let lines: Vec<_> =
            self.lines.iter().flat_map(|line| wrap(line, width.saturating_sub(4))).collect();
        let title = match &ctx.target.label {
            Some(label) => format!("{label}: {}", self.title),
            None => self.title.clone(),
        };
        let mut popup = canvas.popup(width, lines.len() + 8, &title);
        for (y, line) in lines.iter().enumerate() {
            popup.put(0, 1 + y, line, Role::Text);
        }
        let y = lines.len() + 2;
        match &self.reason {
            Some(input) => {
                let x = popup.put(0, y, "reason  ", Role::Dim);
                show_field(&mut popup, x, y, input);
                popup.put(0, y + 2, "enter: do it    esc back", Role::Dim);
            }
            None => {
                popup.put(0, y, "y to do it    esc back", Role::Strong);
            }
        }
        popup.put(0, y + 1, self.error.as_deref().unwrap_or_default(), Role::Warn);
        let same = format!("same as  {}", self.command());
        popup.put(0, y + 3, &same, Role::Dim);
    }
}
