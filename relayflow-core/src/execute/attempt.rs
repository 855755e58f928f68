//! One attempt at one task, from its lease to its settlement.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;

use super::action::{self, Report, Work};
use super::gate::Call;
use super::lane::Start;
use super::lanes::now;
use super::lease::{Lease, Stop};
use super::{Shared, about, settlement};
use crate::backoff::Backoff;
use crate::store::LeasedTask;
use crate::task::DeadReason;
use crate::workflow::{Action, Step, Workflow};

/// How long a store that does not answer is left alone.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// How an attempt ended, as far as this process may say so.
enum End {
    Known(Report),
    /// The lease is gone, or may be: nothing is written.
    LeaseLost,
}

impl Shared {
    /// Runs a task under its lease and settles it, unless the lease is lost. What went wrong inside
    /// RelayFlow itself ends here, too.
    pub(super) async fn attempt(&self, start: Start) -> Call {
        let Start { leased, lease } = start;
        let started_at = self.store.clock().now();
        let in_force = self.current.get();
        let step = in_force.workflows.step(&leased.task.workflow, &leased.task.step);
        let end = match step {
            Some((workflow, step)) => caught(self.run(&leased, &lease, workflow, step)).await,
            None => End::Known(gone_from_config(&leased)),
        };
        let End::Known(report) = end else {
            tracing::warn!(task_id = %leased.task.id, attempt = leased.task.attempt, "lease lost");
            return Call::None;
        };
        let backoff = step.map_or_else(Backoff::default, |(_, step)| step.backoff);
        self.settle(leased, report, &backoff, started_at)
    }

    fn settle(
        &self,
        leased: LeasedTask,
        report: Report,
        backoff: &Backoff,
        started_at: Timestamp,
    ) -> Call {
        let call = report.call;
        let ended_at = self.store.clock().now();
        let about = Some(about(&leased));
        let settlement = settlement(leased.task, about, report, backoff, started_at, ended_at);
        log(&settlement);
        self.store.settle(settlement);
        call
    }

    async fn run(
        &self,
        leased: &LeasedTask,
        lease: &Arc<Lease>,
        workflow: &Workflow,
        step: &Step,
    ) -> End {
        let steps = match self.responses(leased).await {
            Ok(steps) => steps,
            Err(report) => return End::Known(*report),
        };
        let destination = step.destination.as_ref().unwrap_or(&leased.task.destination);
        let work = Work { task: &leased.task, event: &leased.event, steps: &steps, destination };
        if leased.check_when
            && let Some(report) = ask_when(workflow, work)
        {
            return End::Known(report);
        }
        if !lease.may_start(now()) && !self.renew_one(lease).await {
            return End::LeaseLost;
        }
        let timeout = Duration::try_from(step.timeout).unwrap_or(Duration::MAX);
        match &step.action {
            Action::Http(http) => {
                let wall = self.store.clock().now();
                guard(lease, Some(timeout), leased, self.http.run(http, work, wall)).await
            }
            // It ends its own program, which takes a moment, before anybody starts the next.
            Action::Command(command) => {
                guard(lease, None, leased, action::command::run(command, work, timeout)).await
            }
        }
    }

    async fn responses(
        &self,
        leased: &LeasedTask,
    ) -> Result<Map<String, serde_json::Value>, Box<Report>> {
        if !leased.has_needs {
            return Ok(Map::new());
        }
        let task = &leased.task;
        match self.store.responses(task.event_id, &task.workflow).await {
            Ok(steps) => Ok(steps),
            Err(error) => {
                let task_id = task.id;
                tracing::error!(%task_id, error = %error, "responses cannot be read");
                tokio::time::sleep(STORE_WAIT).await;
                let error = "the responses of earlier steps cannot be read";
                Err(Box::new(Report::interrupted(error)))
            }
        }
    }

    /// Renews a lease that has too little left for a call. `false`: the task is somebody else's, or
    /// may be by now.
    async fn renew_one(&self, lease: &Lease) -> bool {
        loop {
            let sent_at = now();
            match self.store.renew(vec![(lease.id, lease.attempt)]).await {
                Ok(lost) if lost.contains(&lease.id) => return false,
                Ok(_) => lease.renewed(sent_at),
                Err(error) => {
                    tracing::error!(task_id = %lease.id, error = %error, "lease cannot be renewed");
                    tokio::time::sleep(STORE_WAIT).await;
                }
            }
            if lease.may_start(now()) {
                return true;
            }
            if lease.stopped(now()).is_some() {
                return false;
            }
        }
    }
}

/// Runs `action` for as long as the lease holds, and no longer than `timeout`.
async fn guard(
    lease: &Lease,
    timeout: Option<Duration>,
    leased: &LeasedTask,
    action: impl Future<Output = Report>,
) -> End {
    let timeout_at = timeout.and_then(|timeout| now().checked_add(timeout));
    let mut action = pin!(action);
    loop {
        let ends_at = lease.ends_at();
        let until = timeout_at.map_or(ends_at, |at| at.min(ends_at));
        let report = tokio::select! {
            biased;
            report = &mut action => Some(report),
            () = lease.told() => None,
            () = tokio::time::sleep_until(until.into()) => None,
        };
        let now = now();
        match (lease.stopped(now), report) {
            (Some(Stop::Lost), _) => return End::LeaseLost,
            (_, Some(report)) => return End::Known(report),
            (Some(Stop::Interrupted), None) => {
                return End::Known(Report::interrupted("the daemon stopped"));
            }
            (None, None) if timeout_at.is_some_and(|at| at <= now) => {
                return End::Known(timed_out(leased, timeout));
            }
            (None, None) => {}
        }
    }
}

fn timed_out(leased: &LeasedTask, timeout: Option<Duration>) -> Report {
    let timeout = timeout.and_then(|timeout| jiff::SignedDuration::try_from(timeout).ok());
    let timeout = timeout.unwrap_or(jiff::SignedDuration::MAX);
    Report::failed(&format!("{}: no answer within {timeout:#}", leased.task.destination))
}

fn gone_from_config(leased: &LeasedTask) -> Report {
    let (workflow, step) = (&leased.task.workflow, &leased.task.step);
    let error = format!("the config has no step `{workflow}/{step}` any more");
    Report::rejected(DeadReason::Unretryable, &error)
}

/// What speaks against running a task whose workflow's `when` did not evaluate before.
fn ask_when(workflow: &Workflow, work: Work<'_>) -> Option<Report> {
    match workflow.when.as_ref()?.holds(&work.scope()) {
        Ok(true) => None,
        Ok(false) => {
            let error = "when: it does not hold for this event";
            Some(Report::rejected(DeadReason::Expression, error))
        }
        Err(error) => Some(Report::expression("when", &error)),
    }
}

/// A panic is a bug of ours, and one failed attempt of this task: not the end of its lane.
async fn caught(attempt: impl Future<Output = End>) -> End {
    let mut attempt = pin!(attempt);
    let poll = std::future::poll_fn(|context| {
        let poll = AssertUnwindSafe(|| attempt.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    });
    match poll.await {
        Ok(end) => end,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(panic = text, "an action panicked");
            let report = Report::failed("RelayFlow itself failed; its log says how");
            End::Known(Report { call: Call::None, ..report })
        }
    }
}

fn log(settlement: &crate::store::Settlement) {
    use crate::task::Transition::{Complete, DeadLetter, Release, RetryAt};
    let task = &settlement.task;
    let (task_id, attempt, destination) = (task.id, task.attempt, &*task.destination);
    let error = settlement.error.as_deref().unwrap_or_default();
    match settlement.transition {
        Complete => tracing::debug!(%task_id, attempt, destination, "task ok"),
        Release => tracing::info!(%task_id, attempt, destination, error, "attempt interrupted"),
        RetryAt(due) => {
            tracing::info!(%task_id, attempt, destination, error, %due, "attempt failed");
        }
        DeadLetter(reason) => {
            tracing::warn!(%task_id, attempt, destination, error, %reason, "dead letter");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::testing;
    use crate::task::Outcome;

    const LONG: Option<Duration> = Some(Duration::from_secs(3600));

    fn lease() -> Arc<Lease> {
        let task = testing::task();
        Arc::new(Lease::new(task.id, task.attempt, now()))
    }

    fn done() -> Report {
        Report { outcome: Outcome::Done, error: None, ..Report::failed("") }
    }

    async fn after(seconds: u64) -> Report {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        done()
    }

    #[track_caller]
    fn outcome(end: End) -> Outcome {
        match end {
            End::Known(report) => report.outcome,
            End::LeaseLost => panic!("the lease is lost"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_action_is_stopped_when_its_lease_may_have_ended() {
        let began = now();
        let end = guard(&lease(), LONG, &testing::leased(0), after(1000)).await;
        assert!(matches!(end, End::LeaseLost));
        assert_eq!(now() - began, Duration::from_secs(25));
    }

    #[tokio::test(start_paused = true)]
    async fn renewals_carry_an_action_that_takes_longer_than_a_lease() {
        let lease = lease();
        let renewed = Arc::clone(&lease);
        tokio::spawn(async move {
            for _ in 0..9 {
                tokio::time::sleep(Duration::from_secs(10)).await;
                renewed.renewed(now());
            }
        });
        let end = guard(&lease, LONG, &testing::leased(0), after(100)).await;
        assert_eq!(outcome(end), Outcome::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_has_its_timeout() {
        let began = now();
        let timeout = Some(Duration::from_secs(10));
        let end = guard(&lease(), timeout, &testing::leased(0), after(11)).await;
        let End::Known(report) = end else { panic!("the lease is lost") };
        assert_eq!(report.error.as_deref(), Some("crm.example.com: no answer within 10s"));
        assert!(matches!(report.outcome, Outcome::Failed { .. }));
        assert_eq!(now() - began, Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn an_action_stops_at_once_when_it_is_told_to() {
        for (why, is_lost) in [(Stop::Lost, true), (Stop::Interrupted, false)] {
            let lease = lease();
            lease.stop(why);
            let end = guard(&lease, LONG, &testing::leased(0), after(10)).await;
            match end {
                End::LeaseLost => assert!(is_lost),
                End::Known(report) => assert_eq!(report.outcome, Outcome::Interrupted),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_a_worker_that_was_suspended_is_not_written() {
        let lease = lease();
        let late = async {
            tokio::time::advance(Duration::from_secs(60)).await;
            done()
        };
        assert!(matches!(guard(&lease, LONG, &testing::leased(0), late).await, End::LeaseLost));
    }

    #[tokio::test]
    async fn a_panic_is_one_failed_attempt() {
        let end = caught(async { panic!("canary") }).await;
        let End::Known(report) = end else { panic!("the lease is lost") };
        assert!(matches!(report.outcome, Outcome::Failed { .. }));
        assert_eq!(report.call, Call::None, "it says nothing about the destination");
        assert!(!report.error.unwrap().contains("canary"));
    }
}
