//! One thing that is shown, asked for again and again: what is known of it, from when, and what went
//! wrong last. One pane's failure never blanks another.

use std::time::Duration;

use super::ctx::Ctx;
use super::msg::{Answer, Question, Reply, Ticket};
use crate::failure::Failure;

/// A slow answer is asked for no oftener than this many times its time: a screen that stays open must
/// not be what keeps a daemon busy.
const POLITE: u32 = 10;

#[derive(Debug)]
pub(crate) struct Pane<T> {
    pub(crate) value: Option<T>,
    /// When the value came, in the run's time.
    pub(crate) at: Duration,
    pub(crate) error: Option<Failure>,
    pending: Option<(Ticket, Duration)>,
    due: Duration,
}

impl<T> Default for Pane<T> {
    fn default() -> Self {
        Self { value: None, at: Duration::ZERO, error: None, pending: None, due: Duration::ZERO }
    }
}

impl<T> Pane<T> {
    /// Asks when it is time to, and nobody is being asked.
    pub(crate) fn poll(&mut self, ctx: &mut Ctx, question: impl FnOnce() -> Question) {
        if ctx.is_up() && self.pending.is_none() && self.due <= ctx.now.run {
            self.ask(ctx, question());
        }
    }

    /// Asks now; an answer that is under way is not waited for any more.
    pub(crate) fn ask(&mut self, ctx: &mut Ctx, question: Question) {
        if let Some((old, _)) = self.pending.take() {
            ctx.forget(old);
        }
        self.pending = Some((ctx.ask(question), ctx.now.run));
    }

    /// Takes the answer if it is this pane's; `every` is how soon to ask again. Whether it was.
    pub(crate) fn take(
        &mut self,
        ctx: &Ctx,
        answer: &mut Option<Answer>,
        every: Duration,
        pick: impl FnOnce(Reply) -> Option<T>,
    ) -> bool {
        let is_mine = |a: &Answer| self.pending.is_some_and(|(ticket, _)| ticket == a.ticket);
        let Some(answer) = answer.take_if(|a| is_mine(a)) else { return false };
        self.pending = None;
        self.due = ctx.now.run + every.max(answer.took * POLITE);
        match answer.result {
            Ok(reply) => {
                if let Some(value) = pick(reply) {
                    self.value = Some(value);
                    self.at = ctx.now.run;
                    self.error = None;
                }
            }
            Err(failure) => self.error = Some(failure),
        }
        true
    }

    /// How long an answer is waited for.
    pub(crate) fn waits(&self, now: Duration) -> Option<Duration> {
        self.pending.map(|(_, since)| now.saturating_sub(since))
    }

    /// Why what is shown is not asked anew: of a pane that shows something.
    pub(crate) fn trouble(&self) -> Option<&Failure> {
        self.error.as_ref().filter(|_| self.value.is_some())
    }

    /// What is under way is not answered any more; it is asked for again at once.
    pub(crate) fn forget(&mut self) {
        self.pending = None;
        self.due = Duration::ZERO;
    }

    /// Gives up what is under way.
    pub(crate) fn stop(&mut self, ctx: &mut Ctx) {
        if let Some((ticket, _)) = self.pending.take() {
            ctx.forget(ticket);
        }
    }
}
