//! Items of a replay brought back to execution, and what became of them. An item moves together with
//! its replay's cursor in one transaction, so a replay goes on behind it after any crash.

use rusqlite::params;

use super::flow::{By, Measure};
use super::line;
use super::plans::{Item, ItemRow, NEW};
use super::replays::ReplayRow;
use super::revisions::{note_edited, read_as};
use super::settle::move_event;
use super::stats::task_counter;
use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Store, StoreError};
use crate::id::{EventId, ReplayId, TaskId};
use crate::task::TaskStatus;
use crate::timeline::What;

/// What stands for a replay that runs, while its items move.
struct Mover<'a> {
    replay: &'a ReplayRow,
    /// Who started it and why, as its items' entries say it.
    said: String,
}

impl Store {
    /// Brings tasks back to execution, and the cursor behind them: one transaction. An item that is no
    /// longer as it was planned is passed over. Answers whether the replay still runs.
    pub(crate) async fn move_items(
        &self,
        replay: ReplayRow,
        items: Vec<ItemRow>,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let status = tx.row(
                "select status from replay where id = $1",
                params![replay.id.bytes()],
                |r| r.get::<_, String>(0),
            )?;
            if status.as_deref() != Some("running") {
                return Ok(false);
            }
            let said = timeline::detail(&[
                ("who", replay.who.as_str().into()),
                ("reason", replay.reason.as_deref().into()),
            ]);
            let mover = Mover { replay: &replay, said };
            let mut moved = 0;
            for item in &items {
                moved += i64::from(mover.one(tx, item)?);
            }
            tx.run(
                "update replay set moved = moved + $1 where id = $2",
                params![moved, replay.id.bytes()],
            )?;
            if let Some(last) = items.last() {
                advance_cursor(tx, &replay, last.place)?;
            }
            tx.has_due = true;
            Ok(true)
        })
        .await
    }

    /// Writes down how a request was read again.
    pub(crate) async fn end_request_item(
        &self,
        replay: ReplayRow,
        item: ItemRow,
        state: &'static str,
        verdict: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            insert_replay_item(tx, replay.id, &item, state, Some(&verdict))?;
            let is_read = i64::from(state == "ended");
            let failed = i64::from(state == "ended" && verdict != "ok");
            tx.run(
                "update replay set moved = moved + $1, failed = failed + $2 where id = $3",
                params![is_read, failed, replay.id.bytes()],
            )?;
            advance_cursor(tx, &replay, item.place)
        })
        .await
    }

    /// Gives moved items whose tasks have ended their verdicts. Answers how many are still under way.
    pub(crate) async fn settle_items(&self, replay: ReplayId) -> Result<i64, StoreError> {
        self.write(move |tx| {
            let ended = tx.rows(
                "update replay_item set state = 'ended',
                    verdict = (select status from task where id = replay_item.item)
                 where replay_id = $1 and state = 'moved' and exists (select 1 from task t
                    where t.id = replay_item.item
                        and t.status in ('ok', 'dead', 'discarded', 'skipped'))
                 returning verdict",
                params![replay.bytes()],
                |r| r.get::<_, String>(0),
            )?;
            let failed = ended.iter().filter(|v| is_failure(v)).count();
            count_failed(tx, replay, failed)?;
            skip_what_waits_in_vain(tx, replay)?;
            let left = tx.row(
                "select count(*) from replay_item where replay_id = $1 and state = 'moved'",
                params![replay.bytes()],
                |r| r.get(0),
            )?;
            Ok(left.unwrap_or(0))
        })
        .await
    }

    /// Ends a replay all of whose items have their verdicts.
    pub(crate) async fn end_replay(&self, replay: ReplayId) -> Result<(), StoreError> {
        self.write(move |tx| {
            let ended = tx.run(
                "update replay set status = 'done', ended_us = $1
                 where id = $2 and status = 'running'",
                params![tx.now_us, replay.bytes()],
            )?;
            if ended == 1 {
                tx.count("replay.running", "", -1);
                tx.count("replay.done", "", 1);
            }
            Ok(())
        })
        .await
    }

    /// Writes down that a canary went well.
    pub(crate) async fn end_canary(&self, replay: ReplayId) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run("update replay set canary_is_over = 1 where id = $1", params![replay.bytes()])?;
            Ok(())
        })
        .await
    }

    /// A replay pauses itself: `by` is `canary`, `canary_failed` or `stop_after`.
    pub(crate) async fn stop_replay(
        &self,
        replay: ReplayId,
        by: &'static str,
        detail: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let paused = tx.run(
                "update replay set status = 'paused', detail = $1, paused_by = $2,
                    canary_is_over = canary_is_over or $2 <> 'stop_after'
                 where id = $3 and status = 'running'",
                params![detail, by, replay.bytes()],
            )?;
            if paused == 0 {
                return Ok(());
            }
            tx.count("replay.running", "", -1);
            tx.count("replay.paused", "", 1);
            timeline::append(
                tx,
                &Row {
                    replay_id: Some(replay),
                    detail: Some(timeline::detail(&[
                        ("who", "relayflow".into()),
                        ("reason", detail.as_str().into()),
                    ])),
                    ..Row::new(What::Paused)
                },
            )
        })
        .await
    }
}

fn is_failure(verdict: &str) -> bool {
    matches!(verdict, "dead" | "discarded")
}

fn count_failed(tx: &Tx<'_>, replay: ReplayId, failed: usize) -> Result<(), StoreError> {
    if 0 < failed {
        tx.run(
            "update replay set failed = failed + $1 where id = $2",
            params![i64::try_from(failed).unwrap_or(i64::MAX), replay.bytes()],
        )?;
    }
    Ok(())
}

/// Items that wait for a step which died again, and will not come by itself.
fn skip_what_waits_in_vain(tx: &Tx<'_>, replay: ReplayId) -> Result<(), StoreError> {
    tx.run(
        "update replay_item set state = 'skipped', verdict = 'waits behind a step that died'
         where replay_id = $1 and state = 'moved' and exists (select 1 from task t
            where t.id = replay_item.item and t.status = 'queued' and t.needs > 0
                and not exists (select 1 from task_line h where h.task_id = t.id and h.is_held = 1)
                and not exists (select 1 from task o
                    where o.event_id = t.event_id and o.workflow = t.workflow
                        and (o.status in ('running', 'retrying')
                            or (o.status = 'queued' and (o.needs = 0 or exists (select 1
                                from task_line h where h.task_id = o.id and h.is_held = 1))))))",
        params![replay.bytes()],
    )?;
    Ok(())
}

/// In the plan's order the cursor is the last place; where items pass each other, it stands before
/// the first that has not moved.
fn advance_cursor(tx: &Tx<'_>, replay: &ReplayRow, last: i64) -> Result<(), StoreError> {
    let to = if replay.how.order == "received" {
        tx.row(
            "select p.place - 1 from plan_item p
             join replay r on r.id = $1 and p.plan_id = r.plan_id
             where p.place > r.cursor and not exists (select 1 from replay_item i
                where i.replay_id = r.id and i.place = p.place)
             order by p.place limit 1",
            params![replay.id.bytes()],
            |r| r.get(0),
        )?
        .unwrap_or(replay.total)
    } else {
        last
    };
    tx.run(
        "update replay set cursor = $1 where id = $2 and cursor < $1",
        params![to, replay.id.bytes()],
    )?;
    Ok(())
}

fn insert_replay_item(
    tx: &Tx<'_>,
    replay: ReplayId,
    item: &ItemRow,
    state: &str,
    verdict: Option<&str>,
) -> Result<(), StoreError> {
    tx.run(
        "insert into replay_item (replay_id, place, item, is_request, state, verdict, attempt)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        params![
            replay.bytes(),
            item.place,
            item.item.bytes(),
            item.item.is_request(),
            state,
            verdict,
            item.attempt,
        ],
    )?;
    Ok(())
}

/// A task that is to run (again), in the numbers of the present.
fn count_in(tx: &mut Tx<'_>, workflow: &str, destination: &str) {
    tx.flow(By::Workflow, workflow, Measure::In, 1);
    tx.flow(By::Dest, destination, Measure::In, 1);
}

impl Mover<'_> {
    /// Whether the item was brought back to execution.
    fn one(&self, tx: &mut Tx<'_>, item: &ItemRow) -> Result<bool, StoreError> {
        let Item::Task(id) = item.item else {
            return Ok(false);
        };
        if let Some(why) = self.passes_over(item) {
            insert_replay_item(tx, self.replay.id, item, "skipped", Some(&why))?;
            return Ok(false);
        }
        let event =
            if item.status == NEW { self.add(tx, item, id)? } else { self.requeue(tx, item, id)? };
        let Some(event) = event else {
            insert_replay_item(tx, self.replay.id, item, "skipped", Some("no longer as planned"))?;
            return Ok(false);
        };
        insert_replay_item(tx, self.replay.id, item, "moved", None)?;
        timeline::append(
            tx,
            &Row {
                event_id: Some(event),
                task_id: Some(id),
                replay_id: Some(self.replay.id),
                detail: Some(self.said.clone()),
                // Read as two entries: `replayed`, and the task's new status.
                ..Row::new(What::Replayed)
            },
        )?;
        Ok(true)
    }

    /// Why an item does not move, if it does not.
    fn passes_over(&self, item: &ItemRow) -> Option<String> {
        if !item.moves {
            return Some(item.why.clone().unwrap_or_else(|| format!("was {}", item.status)));
        }
        if item.is_late && self.replay.how.late == "skip" {
            return Some("late: a later event of its key or subject is ok".to_owned());
        }
        (item.status == TaskStatus::Ok.as_str() && !self.may_repeat())
            .then(|| "already ok".to_owned())
    }

    /// The effect rule: only a replay that was asked for just that, with a reason, runs again what has
    /// succeeded.
    fn may_repeat(&self) -> bool {
        self.replay.mode == "restart" && self.replay.reason.is_some()
    }

    /// Keeps the payload that the plan mended this event's to as a revision, once, and has what of the
    /// event has not succeeded read it.
    fn mend(&self, tx: &mut Tx<'_>, event: EventId) -> Result<(), StoreError> {
        let plan = self.replay.plan_id.bytes();
        let is_edit = tx.row(
            "select 1 from plan_reading where plan_id = $1 and event_id = $2
                and payload is not null and not exists (select 1 from revision
                    where event_id = $2 and plan_id = $1)",
            params![plan, event.bytes()],
            |r| r.get::<_, i64>(0),
        )?;
        if is_edit.is_none() {
            return Ok(());
        }
        let number = self.revision(tx, event)?;
        read_as(tx, event, number)?;
        note_edited(tx, event, number, &self.replay.who, self.replay.reason.as_deref())
    }

    /// An existing task goes back to the queue, if it is as it was planned.
    fn requeue(
        &self,
        tx: &mut Tx<'_>,
        item: &ItemRow,
        id: TaskId,
    ) -> Result<Option<EventId>, StoreError> {
        let Some(from) = TaskStatus::from_word(&item.status).filter(|s| s.is_ended()) else {
            return Ok(None);
        };
        let names = tx.row(
            "select event_id, workflow, need_names from task where id = $1",
            params![id.bytes()],
            |r| {
                Ok((
                    r.get::<_, Vec<u8>>(0)?,
                    r.get::<_, String>(1)?,
                    r.get::<_, Option<String>>(2)?,
                ))
            },
        )?;
        let Some((event, workflow, need_names)) = names else {
            return Ok(None);
        };
        let event =
            EventId::from_bytes(&event).ok_or(StoreError::Value { what: "an event's id" })?;
        let Some(needs) = open_needs(tx, event, &workflow, need_names.as_deref())? else {
            return Ok(None);
        };
        // The effect rule, where the row is: what was restarted and then given up has succeeded, and
        // is not run again by a replay that does not ask for that.
        let moved = tx.row(
            "update task set status = 'queued', failures = 0, lost_starts = 0, start_on_record = 0,
                due_us = $1, since_us = $1, ended_us = null, reason = null, discard = null,
                is_replay = 1, needs = $2
             where id = $3 and status = $4 and attempt = $5
                and (revision = $6 or exists (select 1 from revision r where r.event_id = $7
                    and r.number = task.revision and r.plan_id = $8 and r.payload is not null))
                and ($9 or status not in ('ok', 'discarded', 'skipped') or not exists (
                    select 1 from attempt a where a.task_id = task.id and a.status = 'ok'))
             returning destination",
            params![
                tx.now_us,
                needs,
                id.bytes(),
                item.status,
                item.attempt,
                item.revision,
                event.bytes(),
                self.replay.plan_id.bytes(),
                self.may_repeat(),
            ],
            |r| r.get::<_, String>(0),
        )?;
        let Some(destination) = moved else {
            return Ok(None);
        };
        line::again(tx, id, self.replay.how.order == "received")?;
        self.mend(tx, event)?;
        tell_earlier_replays(tx, item, id)?;
        move_event(tx, event, from, TaskStatus::Queued, None)?;
        tx.count(task_counter(from), &destination, -1);
        tx.count(task_counter(TaskStatus::Queued), &destination, 1);
        count_in(tx, &workflow, &destination);
        Ok(Some(event))
    }

    /// A task that the event did not have, under the id that the plan gave it. The unique row of
    /// event, workflow and step decides: where there is one by now, nothing is added.
    fn add(
        &self,
        tx: &mut Tx<'_>,
        item: &ItemRow,
        id: TaskId,
    ) -> Result<Option<EventId>, StoreError> {
        let (Some(event), Some(workflow), Some(step), Some(destination)) =
            (item.event_id, &item.workflow, &item.step, &item.destination)
        else {
            return Err(StoreError::Value { what: "a planned task" });
        };
        let Some(needs) = open_needs(tx, event, workflow, item.need_names.as_deref())? else {
            return Ok(None);
        };
        let revision = self.revision(tx, event)?;
        let added = tx.run(
            "insert into task (id, event_id, workflow, step, destination, status, attempt, failures,
                needs, need_names, created_us, since_us, due_us, revision, is_replay)
             select $1, $2, $3, $4, $5, 'queued', 0, 0, $6, $7, $8, $8, $8, $9, 1
             where exists (select 1 from event where id = $2)
             on conflict do nothing",
            params![
                id.bytes(),
                event.bytes(),
                workflow,
                step,
                destination,
                needs,
                item.need_names,
                tx.now_us,
                revision,
            ],
        )?;
        if added == 0 {
            return Ok(None);
        }
        if let Some(of) = &item.line {
            line::enter(tx, id, (workflow, step), of, TaskStatus::Queued)?;
        }
        tx.run("update event set queued = queued + 1 where id = $1", params![event.bytes()])?;
        tx.count(task_counter(TaskStatus::Queued), destination, 1);
        tx.count("routed", workflow, 1);
        count_in(tx, workflow, destination);
        Ok(Some(event))
    }

    /// The revision with which the event reads as the plan found it; 0 where it reads as ever.
    fn revision(&self, tx: &Tx<'_>, event: EventId) -> Result<i64, StoreError> {
        let plan = self.replay.plan_id.bytes();
        tx.run(
            "insert into revision (event_id, number, at_us, who, reason, plan_id, type, kind, subject,
                occurred_us, attributes, contract, payload)
             select event_id, 1 + coalesce((select max(number) from revision where event_id = $1), 0),
                $2, $3, $4, $5, type, kind, subject, occurred_us, attributes, contract, payload
             from plan_reading where plan_id = $5 and event_id = $1 and not exists (
                select 1 from revision where event_id = $1 and plan_id = $5)",
            params![event.bytes(), tx.now_us, self.replay.who, self.replay.reason, plan],
        )?;
        let number = tx.row(
            "select number from revision where event_id = $1 and plan_id = $2",
            params![event.bytes(), plan],
            |r| r.get(0),
        )?;
        Ok(number.unwrap_or(0))
    }
}

/// How many of the steps in `names` are not `ok`: what a task has still to wait for. `None` if one of
/// them will not come by itself: it was given up, or was never asked for.
fn open_needs(
    tx: &Tx<'_>,
    event: EventId,
    workflow: &str,
    names: Option<&str>,
) -> Result<Option<i64>, StoreError> {
    let mut open = 0;
    for step in names.into_iter().flat_map(|names| names.split(' ')) {
        let status = tx.row(
            "select status from task where event_id = $1 and workflow = $2 and step = $3",
            params![event.bytes(), workflow, step],
            |r| r.get::<_, String>(0),
        )?;
        match status.as_deref().and_then(TaskStatus::from_word) {
            None | Some(TaskStatus::Discarded | TaskStatus::Skipped) => return Ok(None),
            Some(TaskStatus::Ok) => {}
            Some(
                TaskStatus::Queued | TaskStatus::Running | TaskStatus::Retrying | TaskStatus::Dead,
            ) => open += 1,
        }
    }
    Ok(Some(open))
}

/// What an earlier replay has still to be told of this task, it is told before the task moves on.
fn tell_earlier_replays(tx: &Tx<'_>, item: &ItemRow, id: TaskId) -> Result<(), StoreError> {
    let told = tx.rows(
        "update replay_item set state = 'ended', verdict = $1 where item = $2 and state = 'moved'
         returning replay_id",
        params![item.status, id.bytes()],
        |r| r.get::<_, Vec<u8>>(0),
    )?;
    for replay in told.iter().filter_map(|bytes| ReplayId::from_bytes(bytes)) {
        count_failed(tx, replay, usize::from(is_failure(&item.status)))?;
    }
    Ok(())
}
