//! From a selection to a job: plan, settings, question. The plan is the server's, the rules of the
//! question are the CLI's.

mod send;
mod view;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use relayflow_core::api::{NewPlan, NewReplay, Plan};
use tui_input::Input;

use super::Part;
use crate::args::values;
use crate::commands::replay::run_command;
use crate::confirm::Decision;
use crate::failure::Failure;
use crate::tui::ctx::{Ctx, PlanAsk};
use crate::tui::draw::Canvas;
use crate::tui::keys::{Action, Place};
use crate::tui::msg::{Answer, Question, Reply, Ticket};
use crate::tui::pane::Pane;
use crate::tui::popup::{paste_into, type_into};
use crate::tui::pulse::Pulse;
use crate::tui::route::{Route, shell};

/// A setting is taken into the plan when nothing was typed for so long.
const REST: Duration = Duration::from_millis(300);
/// A plan is made once; the daemon keeps it for an hour.
const ONCE: Duration = Duration::from_secs(3600);

const MODES: [&str; 3] = ["resume", "restart", "reroute"];
const LATES: [&str; 3] = ["ask", "apply", "skip"];

/// What the cursor is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// What would happen, destination by destination.
    Rows,
    Mode,
    Late,
    Rate,
    Canary,
    StopAfter,
    Reason,
}

const REPLAY_FIELDS: [Field; 7] = [
    Field::Rows,
    Field::Mode,
    Field::Late,
    Field::Rate,
    Field::Canary,
    Field::StopAfter,
    Field::Reason,
];
const DISCARD_FIELDS: [Field; 2] = [Field::Rows, Field::Reason];

#[derive(Debug)]
enum Step {
    Plan,
    /// With what is typed, and how it is asked for.
    Confirm {
        decision: Decision,
        typed: Input,
    },
    /// It was sent.
    Sent(Ticket),
}

#[derive(Debug)]
pub(crate) struct Wizard {
    ask: PlanAsk,
    step: Step,
    plan: Pane<Box<Plan>>,
    replan_at: Option<Duration>,
    field: Field,
    row: usize,
    mode: usize,
    late: usize,
    rate: Input,
    canary: Input,
    stop_after: Input,
    reason: Input,
    /// Why it cannot go on.
    error: Option<String>,
}

impl Wizard {
    pub(crate) fn new(ask: PlanAsk) -> Self {
        let reason = Input::new(ask.reason.clone().unwrap_or_default());
        Self {
            step: Step::Plan,
            plan: Pane::default(),
            replan_at: None,
            field: Field::Rows,
            row: 0,
            mode: 0,
            late: usize::from(ask.is_edit),
            rate: Input::default(),
            canary: Input::default(),
            stop_after: Input::default(),
            reason,
            error: None,
            ask,
        }
    }

    fn is_discard(&self) -> bool {
        self.ask.action == "discard"
    }

    fn fields(&self) -> &'static [Field] {
        if self.is_discard() { &DISCARD_FIELDS } else { &REPLAY_FIELDS }
    }

    fn is_single(&self) -> bool {
        self.ask.selection.ids.as_ref().is_some_and(|ids| ids.len() == 1)
    }

    fn new_plan(&self) -> NewPlan {
        let ids = self.ask.selection.ids.clone();
        NewPlan {
            action: self.ask.action.to_owned(),
            q: if ids.is_some() { None } else { self.ask.selection.q.clone() },
            ids,
            mode: (0 < self.mode).then(|| MODES[self.mode].to_owned()),
            ..NewPlan::default()
        }
    }

    fn planned(&self) -> Option<&Plan> {
        self.plan.value.as_deref()
    }

    fn plan_again(&mut self, ctx: &mut Ctx) {
        self.step = Step::Plan;
        self.plan.error = None;
        let question = Question::Plan(Box::new(self.new_plan()));
        self.plan.ask(ctx, question);
    }

    fn input(&mut self) -> Option<&mut Input> {
        match self.field {
            Field::Rate => Some(&mut self.rate),
            Field::Canary => Some(&mut self.canary),
            Field::StopAfter => Some(&mut self.stop_after),
            Field::Reason => Some(&mut self.reason),
            Field::Rows | Field::Mode | Field::Late => None,
        }
    }

    fn move_field(&mut self, forward: bool) {
        let fields = self.fields();
        let at = fields.iter().position(|field| *field == self.field).unwrap_or(0);
        let last = fields.len() - 1;
        let to = if forward { (at + 1).min(last) } else { at.saturating_sub(1) };
        self.field = fields[to];
    }

    fn change(&mut self, ctx: &Ctx, forward: bool) {
        let step = |at: usize, len: usize| (at + if forward { 1 } else { len - 1 }) % len;
        match self.field {
            Field::Mode => {
                self.mode = step(self.mode, MODES.len());
                self.replan_at = Some(ctx.now.run + REST);
            }
            Field::Late => self.late = step(self.late, LATES.len()),
            Field::Rows => {
                let rows = self.planned().map_or(0, |plan| plan.groups.len());
                self.row = if forward { self.row + 1 } else { self.row.saturating_sub(1) };
                self.row = self.row.min(rows.saturating_sub(1));
            }
            Field::Rate | Field::Canary | Field::StopAfter | Field::Reason => {}
        }
    }

    /// The rate that is typed, if it reads as one.
    fn job_rate(&self) -> Option<f64> {
        values::rate(self.rate.value().trim()).ok()
    }

    fn reason(&self) -> Option<String> {
        let reason = self.reason.value().trim();
        (!reason.is_empty()).then(|| reason.to_owned())
    }

    /// What is asked of the job, the texts read as the CLI reads its flags.
    fn new_replay(&self, plan: &Plan) -> Result<NewReplay, String> {
        let text = |input: &Input| {
            let text = input.value().trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let rate = text(&self.rate).map(|t| values::rate(&t).map_err(|e| format!("rate: {e}")));
        let canary = text(&self.canary)
            .map(|t| t.parse::<u64>().map_err(|_| "canary: wanted a number".to_owned()));
        let stop = text(&self.stop_after)
            .map(|t| values::stop_after(&t).map_err(|e| format!("stop after: {e}")));
        Ok(NewReplay {
            plan: plan.id.clone(),
            hash: plan.hash.clone(),
            reason: self.reason(),
            late: (0 < self.late).then(|| LATES[self.late].to_owned()),
            rate: rate.transpose()?,
            concurrency: None,
            // Somebody is here to look at it.
            after_canary: canary.is_some().then(|| "ask".to_owned()),
            canary: canary.transpose()?,
            stop_after: stop.transpose()?.map(|stop| stop.0),
        })
    }

    /// The command that does the same.
    fn command(&self) -> String {
        let reason = self.reason().map(|r| format!(" --reason {}", shell(&r))).unwrap_or_default();
        if self.is_discard() {
            return format!("{}{reason}", self.ask.command);
        }
        let Some(plan) = self.planned() else { return self.ask.command.clone() };
        let mut command = run_command(plan);
        let late = (0 < self.late).then_some(LATES[self.late]);
        for (flag, value) in [
            ("--late", late),
            ("--rate", Some(self.rate.value())),
            ("--canary", Some(self.canary.value())),
            ("--stop-after", Some(self.stop_after.value())),
        ] {
            if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) {
                command.push_str(&format!(" {flag} {}", shell(value)));
            }
        }
        command + &reason
    }
}

/// A refusal in the words of a screen: what the CLI calls a flag is a field here.
fn of_refusal(failure: &Failure) -> String {
    let why = failure.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}{why}", failure.message.replace("--reason", "reason"))
}

impl Part for Wizard {
    fn place(&self) -> Place {
        Place::Wizard
    }

    fn crumb(&self) -> String {
        if self.is_discard() { "Discard".to_owned() } else { "Replay".to_owned() }
    }

    fn route(&self) -> Option<Route> {
        None
    }

    fn status(&self, ctx: &Ctx) -> String {
        let at = match self.step {
            Step::Plan => 1,
            Step::Confirm { .. } => 2,
            Step::Sent(_) => 3,
        };
        let name = |(place, name): (usize, &str)| {
            if place == at {
                format!("[{} {name}]", place + 1)
            } else {
                format!("{} {name}", place + 1)
            }
        };
        let last = if self.is_discard() { "Done" } else { "Progress" };
        let steps: Vec<_> =
            ["Select", "Plan", "Confirm", last].into_iter().enumerate().map(name).collect();
        steps.join(&format!(" {} ", ctx.glyphs.path))
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        if self.replan_at.is_some_and(|at| at <= ctx.now.run) {
            self.replan_at = None;
            self.plan_again(ctx);
        }
        if matches!(self.step, Step::Plan) && self.plan.error.is_none() {
            let new = self.new_plan();
            self.plan.poll(ctx, || Question::Plan(Box::new(new)));
        }
    }

    fn act(&mut self, ctx: &mut Ctx, action: Action) {
        match (action, &self.step) {
            (Action::Open, Step::Plan) => self.next(ctx),
            (Action::Up, Step::Plan) if self.field == Field::Rows && 0 < self.row => {
                self.change(ctx, false);
            }
            (Action::Down, Step::Plan)
                if self.field == Field::Rows
                    && self.planned().is_some_and(|p| self.row + 1 < p.groups.len()) =>
            {
                self.change(ctx, true);
            }
            (Action::Down | Action::NextPane, Step::Plan) => self.move_field(true),
            (Action::Up, Step::Plan) => self.move_field(false),
            (Action::Left, Step::Plan) => self.change(ctx, false),
            (Action::Right, Step::Plan) => self.change(ctx, true),
            _ => {}
        }
    }

    fn key(&mut self, ctx: &mut Ctx, key: &KeyEvent) -> bool {
        if matches!(self.step, Step::Confirm { .. }) {
            return self.key_of_confirm(ctx, key);
        }
        if key.code == KeyCode::BackTab {
            self.move_field(false);
            return true;
        }
        let is_edit = match key.code {
            KeyCode::Char(_) => !key.modifiers.contains(KeyModifiers::CONTROL),
            KeyCode::Backspace | KeyCode::Delete | KeyCode::Home | KeyCode::End => true,
            KeyCode::Left | KeyCode::Right => true,
            _ => false,
        };
        if is_edit && let Some(input) = self.input() {
            type_into(input, key);
            self.error = None;
            return true;
        }
        if key.code == KeyCode::Char(' ') && matches!(self.field, Field::Mode | Field::Late) {
            self.change(ctx, true);
            return true;
        }
        false
    }

    fn paste(&mut self, _ctx: &mut Ctx, text: &str) {
        if matches!(self.step, Step::Plan)
            && let Some(input) = self.input()
        {
            paste_into(input, text);
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>) {
        let pick = |reply| if let Reply::Plan(plan) = reply { Some(plan) } else { None };
        if self.plan.take(ctx, answer, ONCE, pick) {
            self.row = 0;
            if let Some(failure) = &self.plan.error {
                ctx.log(&failure.clone());
            }
        }
        if let Step::Sent(ticket) = self.step
            && let Some(answer) = answer.take_if(|a| a.ticket == ticket)
        {
            self.sent(ctx, answer.result);
        }
    }

    fn view(&self, ctx: &Ctx, _pulse: &Pulse, canvas: &mut Canvas<'_>) {
        view::view(self, ctx, canvas);
    }

    fn close(&mut self, ctx: &mut Ctx) {
        self.plan.stop(ctx);
    }

    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        let mut copies = vec![("command".to_owned(), self.command())];
        copies.push(("command from the selection".to_owned(), self.ask.command.clone()));
        copies.extend(self.planned().map(|plan| ("plan".to_owned(), plan.id.clone())));
        copies
    }

    fn back(&mut self, _ctx: &mut Ctx) -> bool {
        match self.step {
            Step::Confirm { .. } => {
                self.step = Step::Plan;
                true
            }
            // It may have been taken: Esc leaves, and the job is among the replays.
            Step::Plan | Step::Sent(_) => false,
        }
    }

    fn keys(&self) -> Option<&'static str> {
        Some(match &self.step {
            Step::Plan => "↵ next  ↑↓ field  ←→ change  y copy command (on the rows)  esc back",
            Step::Confirm { decision: Decision::AskNumber, .. } => {
                "type the number, ↵ run  esc back"
            }
            Step::Confirm { .. } => "y run  esc back",
            Step::Sent(_) => "esc leave",
        })
    }

    fn is_lively(&self) -> bool {
        self.plan.value.is_none() || self.replan_at.is_some() || matches!(self.step, Step::Sent(_))
    }

    fn tip(&self, _ctx: &Ctx) -> String {
        match &self.step {
            Step::Plan => match self.planned().map(|plan| plan.items.run_at_risk) {
                Some(0) | None => "nothing has been changed yet".to_owned(),
                Some(risk) => format!(
                    "{} may be done twice: their destinations do not tell doubles",
                    crate::output::time::things(risk, "task")
                ),
            },
            Step::Confirm { .. } => "nothing has been changed yet".to_owned(),
            Step::Sent(_) => "sent".to_owned(),
        }
    }
}
