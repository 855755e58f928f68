//! What follows an attempt, written down together: the task, the attempt, its event, the steps that
//! waited for it, and the timeline. Or, where another holds the task by now, nothing.

use std::sync::Arc;

use rusqlite::params;
use sha2::{Digest as _, Sha256};

use super::flow::{Bucket, By, Measure};
use super::line;
use super::stats::{count_minute_of_attempt, task_counter};
use super::timeline::{self, Row};
use super::writer::{After, Job, Tx};
use super::{Settlement, StoreError};
use crate::id::{EventId, TaskId};
use crate::task::{AttemptStatus, TaskStatus, Transition};

/// An outcome on its way to the writer. Nobody waits for it: a lost lease is an answer that changes
/// nothing.
pub(super) struct Settle(pub(super) Settlement);

const SETTLE: &str = "
    update task set status = $1, due_us = $2, failures = failures + $3, lost_starts = $4,
        start_on_record = $5, worker = null, lease_until_us = null, ended_us = $6, reason = $7,
        error = $8, error_id = $9, http_status = $10
    where id = $11 and attempt = $12 and status = 'running'";

impl Job for Settle {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let settlement = &self.0;
        if !update_task(tx, settlement)? {
            tx.count("settles_late", "", 1);
            return Ok(());
        }
        let task = &settlement.task;
        let to = settlement.transition.status();
        write_attempt(tx, settlement)?;
        move_event(tx, task.event_id, TaskStatus::Running, to, Some(task.attempt))?;
        count_attempt(tx, settlement, to)?;
        note(tx, settlement, to)?;
        if to == TaskStatus::Ok && task.may_release {
            release_dependents(tx, task.event_id, &task.workflow, &task.step)?;
        }
        let is_alone = settlement.about.as_ref().is_some_and(|about| about.is_alone);
        if to.is_ended() && !is_alone {
            line::ended(tx, task.id, to)?;
        }
        if to == TaskStatus::Dead && task.may_release {
            let_pass(tx, task.event_id, &task.workflow, &task.step)?;
        }
        if to != TaskStatus::Ok {
            discard_if_wanted(tx, task.id, to)?;
        }
        tx.has_due |= matches!(to, TaskStatus::Queued | TaskStatus::Retrying);
        Ok(())
    }

    fn finish(self: Box<Self>, _: Result<(), StoreError>, _: &After) {}

    fn is_urgent(&self) -> bool {
        false
    }
}

/// `false`: another holds the task by now. (No `returning` on this path: SQLite makes a table for it
/// each time.)
fn update_task(tx: &Tx<'_>, settlement: &Settlement) -> Result<bool, StoreError> {
    let task = &settlement.task;
    let (due, failed, reason) = match &settlement.transition {
        Transition::Complete => (tx.now_us, 0, None),
        Transition::Release => (tx.now_us, 0, None),
        Transition::RetryAt(at) => (at.as_microsecond(), 1, None),
        Transition::DeadLetter(reason) => (tx.now_us, 1, Some(reason.as_str())),
    };
    let to = settlement.transition.status();
    let is_lost = settlement.status == AttemptStatus::Lost;
    let lost_starts = if is_lost && failed == 1 { task.lost_starts + 1 } else { 0 };
    let error = settlement.error.as_deref();
    let touched = tx.run(
        SETTLE,
        params![
            to.as_str(),
            due,
            failed,
            lost_starts,
            // After a lost attempt the next start is written down before the action.
            i64::from(is_lost),
            to.is_ended().then_some(tx.now_us),
            reason,
            error,
            error.map(|e| error_id(&task.step, settlement.http_status, e)),
            settlement.http_status,
            task.id.bytes(),
            task.attempt,
        ],
    )?;
    Ok(touched == 1)
}

/// What an operator asked to discard while it ran is discarded, unless it succeeded.
fn discard_if_wanted(tx: &mut Tx<'_>, id: TaskId, status: TaskStatus) -> Result<(), StoreError> {
    let reason = tx.row("select discard from task where id = $1", params![id.bytes()], |r| {
        r.get::<_, Option<String>>(0)
    })?;
    if let Some(reason) = reason.flatten() {
        discard_task(tx, id, status, &reason, "operator")?;
    }
    Ok(())
}

fn write_attempt(tx: &Tx<'_>, settlement: &Settlement) -> Result<(), StoreError> {
    tx.run(
        "insert into attempt (task_id, attempt, status, worker, started_us, ended_us, http_status,
            error, response)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (task_id, attempt) do update set status = excluded.status,
            ended_us = excluded.ended_us, http_status = excluded.http_status,
            error = excluded.error, response = excluded.response",
        params![
            settlement.task.id.bytes(),
            settlement.task.attempt,
            settlement.status.as_str(),
            tx.worker.bytes(),
            settlement.started_at.as_microsecond(),
            settlement.ended_at.as_microsecond(),
            settlement.http_status,
            settlement.error,
            settlement.response,
        ],
    )?;
    Ok(())
}

/// Moves one task of an event from one status to another in the event's counts, from which its own
/// status follows.
pub(super) fn move_event(
    tx: &mut Tx<'_>,
    event: EventId,
    from: TaskStatus,
    to: TaskStatus,
    attempt: Option<u32>,
) -> Result<(), StoreError> {
    let by = |status| i64::from(to == status) - i64::from(from == status);
    tx.run(
        "update event set queued = queued + $1, running = running + $2, retrying = retrying + $3,
            ok = ok + $4, dead = dead + $5, discarded = discarded + $6, skipped = skipped + $7,
            attempts = max(attempts, $8)
         where id = $9",
        params![
            by(TaskStatus::Queued),
            by(TaskStatus::Running),
            by(TaskStatus::Retrying),
            by(TaskStatus::Ok),
            by(TaskStatus::Dead),
            by(TaskStatus::Discarded),
            by(TaskStatus::Skipped),
            attempt.unwrap_or(0),
            event.bytes(),
        ],
    )?;
    Ok(())
}

fn count_attempt(
    tx: &mut Tx<'_>,
    settlement: &Settlement,
    to: TaskStatus,
) -> Result<(), StoreError> {
    let destination = &settlement.task.destination;
    tx.count(task_counter(TaskStatus::Running), destination, -1);
    tx.count(task_counter(to), destination, 1);
    if settlement.status == AttemptStatus::Interrupted {
        return Ok(());
    }
    count_minute_of_attempt(tx, to == TaskStatus::Retrying);
    count_flow(tx, settlement, to)
}

/// An attempt, in the numbers of its source, workflow and destination.
fn count_flow(tx: &mut Tx<'_>, settlement: &Settlement, to: TaskStatus) -> Result<(), StoreError> {
    let task = &settlement.task;
    let known = settlement.about.as_ref();
    let known = known.map(|about| (Arc::clone(&about.source), about.received_us, about.is_replay));
    let about = match known {
        Some(known) => Some(known),
        None => tx.row(
            "select e.source, e.received_us, t.is_replay
             from task t join event e on e.id = t.event_id where t.id = $1",
            params![task.id.bytes()],
            |r| Ok((r.get::<_, String>(0)?.into(), r.get(1)?, r.get(2)?)),
        )?,
    };
    let Some((source, received_us, is_replay)) = about else {
        return Ok(());
    };
    let (workflow, destination) = (&*task.workflow, &*task.destination);
    let mut add = |what| {
        for (by, of) in [(By::Source, &*source), (By::Workflow, workflow), (By::Dest, destination)]
        {
            tx.flow(by, of, what, 1);
        }
    };
    add(Measure::Attempt);
    match to {
        TaskStatus::Ok => {
            add(Measure::Ok);
            // From its arrival; what a replay brought back had ended long before.
            if !is_replay {
                let took = settlement.ended_at.as_microsecond() - received_us;
                add(Measure::Done(Bucket::of_us(took)));
            }
        }
        TaskStatus::Retrying => add(Measure::Retry),
        TaskStatus::Dead => add(Measure::Dead),
        TaskStatus::Queued | TaskStatus::Running | TaskStatus::Discarded | TaskStatus::Skipped => {}
    }
    Ok(())
}

fn note(tx: &mut Tx<'_>, settlement: &Settlement, to: TaskStatus) -> Result<(), StoreError> {
    use std::fmt::Write as _;
    let task = &settlement.task;
    let started = settlement.started_at.as_microsecond();
    let mut text = String::with_capacity(160);
    let latency = settlement.ended_at.as_microsecond() - started;
    let _ = write!(text, r#"{{"started_us":{started},"latency_us":{latency}"#);
    if let Some(status) = settlement.http_status {
        let _ = write!(text, r#","http_status":{status}"#);
    }
    if let Some(error) = &settlement.error {
        text.push_str(r#","error":"#);
        crate::event::push_json(&mut text, error);
    }
    match &settlement.transition {
        Transition::RetryAt(at) => {
            let _ = write!(text, r#","due_at":"{}""#, crate::event::micros(*at));
        }
        Transition::DeadLetter(reason) => {
            let _ = write!(text, r#","reason":"{reason}""#);
        }
        Transition::Complete | Transition::Release => {}
    }
    text.push('}');
    let what = match settlement.status {
        AttemptStatus::Interrupted => crate::timeline::What::Interrupted,
        AttemptStatus::Lost if to == TaskStatus::Queued => crate::timeline::What::Lost,
        AttemptStatus::Lost
        | AttemptStatus::Running
        | AttemptStatus::Ok
        | AttemptStatus::Failed
        | AttemptStatus::Rejected => timeline::of_status(to),
    };
    timeline::append(
        tx,
        &Row {
            event_id: Some(task.event_id),
            task_id: Some(task.id),
            attempt: Some(task.attempt),
            detail: Some(text),
            ..Row::new(what)
        },
    )
}

/// A step that is `ok` counts for those that need it; whoever needs no more is due now.
fn release_dependents(
    tx: &mut Tx<'_>,
    event: EventId,
    workflow: &str,
    step: &str,
) -> Result<(), StoreError> {
    for dependent in dependents(tx, event, workflow, step)? {
        tx.run(
            "update task set needs = needs - 1, due_us = $1, since_us = $1
             where id = $2 and needs > 0",
            params![tx.now_us, dependent.id.bytes()],
        )?;
        tx.has_due = true;
        line::again(tx, dependent.id, false)?;
    }
    Ok(())
}

/// What waits for a step that died holds nobody of its own line up.
pub(super) fn let_pass(
    tx: &mut Tx<'_>,
    event: EventId,
    workflow: &str,
    step: &str,
) -> Result<(), StoreError> {
    // Steps form no circle, so this ends.
    for dependent in dependents(tx, event, workflow, step)? {
        line::step_aside(tx, dependent.id)?;
        let_pass(tx, event, workflow, &dependent.step)?;
    }
    Ok(())
}

/// What needs a step that was discarded or skipped is skipped.
fn skip_dependents(
    tx: &mut Tx<'_>,
    event: EventId,
    workflow: &str,
    step: &str,
) -> Result<(), StoreError> {
    // Steps form no circle, so this ends.
    for dependent in dependents(tx, event, workflow, step)? {
        let skipped = tx.run(
            "update task set status = 'skipped', ended_us = $1
             where id = $2 and status = 'queued'",
            params![tx.now_us, dependent.id.bytes()],
        )?;
        if skipped == 0 {
            continue;
        }
        move_event(tx, event, TaskStatus::Queued, TaskStatus::Skipped, None)?;
        line::ended(tx, dependent.id, TaskStatus::Skipped)?;
        tx.count(task_counter(TaskStatus::Queued), &dependent.destination, -1);
        tx.count(task_counter(TaskStatus::Skipped), &dependent.destination, 1);
        timeline::append(
            tx,
            &Row {
                event_id: Some(event),
                task_id: Some(dependent.id),
                ..Row::new(crate::timeline::What::Skipped)
            },
        )?;
        skip_dependents(tx, event, workflow, &dependent.step)?;
    }
    Ok(())
}

struct Dependent {
    id: TaskId,
    step: String,
    destination: String,
}

fn dependents(
    tx: &Tx<'_>,
    event: EventId,
    workflow: &str,
    step: &str,
) -> Result<Vec<Dependent>, StoreError> {
    let rows = tx.rows(
        "select id, step, destination, need_names from task
         where event_id = $1 and workflow = $2 and status = 'queued' and needs > 0",
        params![event.bytes(), workflow],
        |r| {
            let id: Vec<u8> = r.get(0)?;
            let needs: Option<String> = r.get(3)?;
            Ok((id, r.get::<_, String>(1)?, r.get::<_, String>(2)?, needs.unwrap_or_default()))
        },
    )?;
    rows.into_iter()
        .filter(|(.., needs)| needs.split(' ').any(|need| need == step))
        .map(|(id, step, destination, _)| {
            let id = TaskId::from_bytes(&id).ok_or(StoreError::Value { what: "a task's id" })?;
            Ok(Dependent { id, step, destination })
        })
        .collect()
}

/// Takes a task out of the queue for good (until a replay brings it back).
pub(super) fn discard_task(
    tx: &mut Tx<'_>,
    id: TaskId,
    was: TaskStatus,
    reason: &str,
    who: &str,
) -> Result<bool, StoreError> {
    let found = tx.row(
        "update task set status = 'discarded', ended_us = $1, discard = null
         where id = $2 and status = $3 and status in ('queued', 'retrying', 'dead')
         returning event_id, workflow, step, destination",
        params![tx.now_us, id.bytes(), was.as_str()],
        |r| {
            Ok((
                r.get::<_, Vec<u8>>(0)?,
                r.get::<_, String>(1)?,
                r.get::<_, String>(2)?,
                r.get::<_, String>(3)?,
            ))
        },
    )?;
    let Some((event, workflow, step, destination)) = found else {
        return Ok(false);
    };
    let event = EventId::from_bytes(&event).ok_or(StoreError::Value { what: "an event's id" })?;
    move_event(tx, event, was, TaskStatus::Discarded, None)?;
    line::ended(tx, id, TaskStatus::Discarded)?;
    tx.count(task_counter(was), &destination, -1);
    tx.count(task_counter(TaskStatus::Discarded), &destination, 1);
    timeline::append(
        tx,
        &Row {
            event_id: Some(event),
            task_id: Some(id),
            detail: Some(timeline::detail(&[("who", who.into()), ("reason", reason.into())])),
            ..Row::new(crate::timeline::What::Discarded)
        },
    )?;
    skip_dependents(tx, event, &workflow, &step)?;
    Ok(true)
}

/// The fingerprint of an error: step, status, and the message without its numbers and ids, so that
/// the same trouble at a thousand events has one name.
#[must_use]
pub(super) fn error_id(step: &str, http_status: Option<u16>, message: &str) -> String {
    let mut shape = String::with_capacity(message.len());
    for word in message.split_whitespace() {
        let varies = word.bytes().any(|b| b.is_ascii_digit());
        shape.push_str(if varies { "#" } else { word });
        shape.push(' ');
    }
    let digest = Sha256::new()
        .chain_update(step)
        .chain_update([0])
        .chain_update(http_status.unwrap_or(0).to_be_bytes())
        .chain_update(shape)
        .finalize();
    format!("e_{}", hex::encode(&digest[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_has_one_fingerprint() {
        let id = |message| error_id("upsert", Some(422), message);
        assert_eq!(id("no contact 123"), id("no contact 99887"));
        assert_ne!(id("no contact 123"), id("no company 123"));
        assert_ne!(error_id("upsert", Some(422), "x"), error_id("upsert", Some(500), "x"));
        assert_eq!(id("x").len(), 10);
    }
}
