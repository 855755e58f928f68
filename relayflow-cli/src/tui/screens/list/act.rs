//! From rows to a plan or a question: what is selected, said as a command would say it.

use std::collections::BTreeSet;

use super::ListScreen;
use crate::failure::Failure;
use crate::selection::Selection;
use crate::tui::ctx::{Ctx, Go, PlanAsk};
use crate::tui::list::Marks;
use crate::tui::popup::question::Then;
use crate::tui::popup::{self, Popup};
use crate::tui::route::{Noun, shell};
use crate::tui::theme::Role;

/// As many ids of events as a filter has room for.
const EVENT_IDS_MAX: usize = 100;

impl ListScreen {
    /// What is marked, or else the row under the cursor, as a command would select it.
    pub(super) fn selected(&self, ctx: &Ctx) -> Result<(Selection, String), Failure> {
        let base = self.noun.base();
        let of_ids = |ids: &BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>();
        match &self.marks {
            Marks::Ids(ids) if ids.is_empty() => {
                let Some(row) = self.model.current().filter(|row| !row.id.is_empty()) else {
                    return Err(Failure::new("empty.selection", "there is nothing here"));
                };
                self.by_ids(ctx, vec![row.id.to_string()])
            }
            Marks::Ids(ids) => self.by_ids(ctx, of_ids(ids)),
            Marks::AllBut(ids) if ids.is_empty() => self.all(ctx),
            Marks::AllBut(ids) => {
                let except = format!("not id:{}", of_ids(ids).join(","));
                let text =
                    if self.text.is_empty() { except } else { format!("({}) {except}", self.text) };
                let selection = ctx.select(&text, base)?;
                Ok((selection, format!("{} --all-time", shell(&text))))
            }
        }
    }

    pub(super) fn by_ids(
        &self,
        ctx: &Ctx,
        ids: Vec<String>,
    ) -> Result<(Selection, String), Failure> {
        if self.noun == Noun::DeadLetters {
            let select = crate::args::Select { terms: ids.clone(), ..Default::default() };
            let selection = crate::selection::read(&select, None, &ctx.at())?;
            return Ok((selection, ids.join(" ")));
        }
        if EVENT_IDS_MAX < ids.len() {
            return Err(Failure::usage(format!(
                "at most {EVENT_IDS_MAX} {}s by id; narrow the filter and take all that match",
                self.noun.things()
            )));
        }
        let text = format!("id:{}", ids.join(","));
        Ok((ctx.select(&text, None)?, text))
    }

    /// Everything that matches the filter.
    pub(super) fn all(&self, ctx: &Ctx) -> Result<(Selection, String), Failure> {
        let selection = ctx.select(&self.text, self.noun.base())?;
        let words: Vec<_> = self.text.split_whitespace().map(shell).collect();
        Ok((selection, format!("{} --all-time", words.join(" ")).trim_start().to_owned()))
    }

    pub(super) fn plan(
        &self,
        ctx: &mut Ctx,
        action: &'static str,
        selected: Result<(Selection, String), Failure>,
    ) {
        if !ctx.may_act() {
            return;
        }
        match selected {
            Ok((selection, words)) => {
                let command = match action {
                    "discard" => format!("relayflow dlq discard {words}"),
                    _ if self.noun == Noun::DeadLetters => format!("relayflow dlq replay {words}"),
                    _ => format!("relayflow replay create {words}"),
                };
                let ask = PlanAsk { selection, action, reason: None, command, is_edit: false };
                ctx.go = Some(Go::Plan(Box::new(ask)));
            }
            Err(failure) => ctx.fail(&failure),
        }
    }

    pub(super) fn replay(&self, ctx: &mut Ctx) {
        if self.noun == Noun::Requests {
            self.readmit(ctx);
            return;
        }
        self.plan(ctx, "replay", self.selected(ctx));
    }

    /// A bundle of what is marked, else of all that the filter finds; or the rows that are known.
    pub(super) fn export(&self, ctx: &mut Ctx) {
        let selected = if self.marks.is_empty() { self.all(ctx) } else { self.selected(ctx) };
        let (selection, words) = match selected {
            Ok(selected) => selected,
            Err(failure) => return ctx.fail(&failure),
        };
        let rows = (0..self.model.len()).filter_map(|at| self.model.row(at)).map(|row| {
            serde_json::json!({"id": row.id, "status": row.status, "source": row.source,
                "type": row.kind, "step": row.step, "error": row.error})
        });
        let rows: String = rows.map(|row| format!("{row}\n")).collect();
        let things = self.noun.things();
        let what = match (self.marks.is_empty(), self.text.is_empty()) {
            (false, _) => format!("the {things}s that are marked"),
            (true, true) => format!("all {things}s"),
            (true, false) => format!("the {things}s of this filter"),
        };
        let shown = (!rows.is_empty()).then_some(rows);
        let name = self.noun.command();
        let export = popup::Export::new(what, selection.q, words, name, shown);
        ctx.popup = Some(Popup::Export(Box::new(export)));
    }

    pub(super) fn readmit(&self, ctx: &mut Ctx) {
        let current = self.model.current().filter(|row| !row.id.is_empty());
        let Some(row) = current.filter(|_| self.marks.is_empty()) else {
            ctx.say("requests are readmitted one by one", Role::Warn);
            return;
        };
        if ctx.may_act() {
            let id = row.id.to_string();
            let lines = vec![
                format!("Verify {id} again, as of its arrival, and take it in?"),
                "Only a request that was rejected can be readmitted.".to_owned(),
            ];
            let question = popup::Question::new("Readmit", lines, Then::Readmit { id });
            ctx.popup = Some(Popup::Question(Box::new(question)));
        }
    }

    pub(super) fn discard(&self, ctx: &mut Ctx) {
        if self.noun != Noun::DeadLetters {
            ctx.say("only dead letters are discarded", Role::Warn);
            return;
        }
        if !self.marks.is_empty() {
            self.plan(ctx, "discard", self.selected(ctx));
            return;
        }
        if let Some(row) = self.model.current().filter(|row| !row.id.is_empty())
            && ctx.may_act()
        {
            let id = row.id.to_string();
            let lines = vec![
                format!("Take {id} out of the queue of dead letters?"),
                "It stays in the store, listed under status:discarded.".to_owned(),
            ];
            let question = popup::Question::new("Discard", lines, Then::Discard { id });
            ctx.popup = Some(Popup::Question(Box::new(question)));
        }
    }
}
