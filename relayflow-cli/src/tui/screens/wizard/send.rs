//! From the plan to the job: the question that the CLI's rules ask for, and the answer to what was sent.

use crossterm::event::{KeyCode, KeyEvent};
use relayflow_core::api::{Discard, Plan};
use tui_input::Input;

use super::{Field, Step, Wizard, of_refusal};
use crate::args::Act;
use crate::commands::plan::late_items;
use crate::confirm::{Decision, Deed, decide};
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, Go};
use crate::tui::msg::{Question, Reply};
use crate::tui::popup::type_into;
use crate::tui::theme::Role;

impl Wizard {
    /// On to the question; or, for one item, at once.
    pub(super) fn next(&mut self, ctx: &mut Ctx) {
        if self.replan_at.is_some() || self.plan.waits(ctx.now.run).is_some() {
            ctx.say("the plan is being made", Role::Info);
            return;
        }
        if self.plan.error.is_some() {
            // What is shown is not what was asked for last: ask again.
            self.plan_again(ctx);
            return;
        }
        let Some(plan) = self.planned() else { return };
        if plan.items.total == 0 {
            ctx.say("nothing matches: there is nothing to do", Role::Warn);
            return;
        }
        let late = &plan.late;
        if !self.is_discard() && self.late == 0 && 0 < late.items + late.unknown {
            let items = late_items(late);
            self.field = Field::Late;
            self.error = Some(format!("{items} have a later event already done: apply or skip?"));
            return;
        }
        let decision = self.decide(ctx, plan);
        let wrong = self.new_replay(plan).err();
        self.error = None;
        match decision {
            Decision::Go => self.send(ctx),
            Decision::Refuse(failure) => {
                if failure.code == "refused.reason_required" {
                    self.field = Field::Reason;
                }
                self.error = Some(of_refusal(&failure));
            }
            Decision::AskYes | Decision::AskNumber => {
                if wrong.is_some() {
                    self.error = wrong;
                    return;
                }
                self.step = Step::Confirm { decision, typed: Input::default() };
            }
        }
    }

    pub(super) fn decide(&self, ctx: &Ctx, plan: &Plan) -> Decision {
        let act = Act { reason: self.reason(), ..Act::default() };
        let deed = Deed {
            verb: if self.is_discard() { "Discard" } else { "Replay" },
            noun: "task",
            items: plan.items.total,
            is_single: self.is_single(),
            needs_reason: self.is_discard() || plan.mode == "restart",
            command: self.command(),
        };
        decide(true, &ctx.target, &act, &deed)
    }

    pub(super) fn send(&mut self, ctx: &mut Ctx) {
        if !ctx.may_act() {
            return;
        }
        let Some(plan) = self.planned() else { return };
        let question = if self.is_discard() {
            Question::Discard(Discard {
                ids: None,
                plan: Some(plan.id.clone()),
                hash: Some(plan.hash.clone()),
                reason: self.reason().unwrap_or_default(),
            })
        } else {
            match self.new_replay(plan) {
                Ok(new) => Question::RunPlan(Box::new(new)),
                Err(wrong) => {
                    self.error = Some(wrong);
                    return;
                }
            }
        };
        self.step = Step::Sent(ctx.ask(question));
    }

    pub(super) fn key_of_confirm(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> bool {
        let items = self.planned().map_or(0, |plan| plan.items.total);
        let Step::Confirm { decision, typed } = &mut self.step else { return false };
        match (&decision, key.code) {
            (Decision::AskYes, KeyCode::Char('y')) => self.send(ctx),
            (Decision::AskNumber, KeyCode::Enter) => {
                if typed.value().replace(',', "").trim() == items.to_string() {
                    self.send(ctx);
                } else {
                    ctx.say("that is not the number of tasks: nothing was changed", Role::Warn);
                }
            }
            (Decision::AskNumber, KeyCode::Char(c)) if !c.is_ascii_digit() && c != ',' => {}
            (Decision::AskNumber, KeyCode::Char(_) | KeyCode::Backspace) => type_into(typed, key),
            (_, KeyCode::Enter | KeyCode::Char(_)) => {}
            _ => return false,
        }
        true
    }

    pub(super) fn sent(&mut self, ctx: &mut Ctx, result: Result<Reply, Failure>) {
        match result {
            Ok(Reply::Replay(job)) => ctx.go = Some(Go::Begun(job.id)),
            Ok(Reply::Done(text)) => {
                ctx.say(text, Role::Ok);
                ctx.go = Some(Go::Back);
            }
            Ok(_) => self.step = Step::Plan,
            Err(failure) => {
                let is_changed = failure.code.starts_with("refused.plan_")
                    || failure.code == "refused.state_changed";
                ctx.log(&failure);
                self.error = Some(of_refusal(&failure));
                self.step = Step::Plan;
                if is_changed {
                    ctx.say("the set changed since the plan: this is a new one", Role::Warn);
                    self.plan_again(ctx);
                }
            }
        }
    }
}
