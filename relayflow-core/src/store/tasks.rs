//! Claims, leases, and what running a task needs to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::params;
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::commit::LEASE;
use super::pauses::is_paused;
pub(super) use super::settle::error_id;
use super::settle::{Settle, move_event};
use super::stats::task_counter;
use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Abandoned, EventContext, LeasedTask, Settlement, Store, StoreError, on_db};
use crate::clock::from_micros;
use crate::id::{EventId, TaskId};
use crate::task::{Task, TaskStatus};
use crate::timeline::What;

/// One claim takes at most so many.
const CLAIM_MAX: usize = 500;

// Differs by necessity later: PostgreSQL has many writers, which must pass over each other's rows
// (`for update skip locked`). SQLite has one, so nobody else can hold a row here.
const DUE: &str = "
    select id, event_id, workflow, step, attempt + 1, failures, lost_starts, start_on_record,
        check_when, since_us, need_names is not null, status, revision, is_replay
    from task where destination = $1
        and status in ('queued', 'retrying') and needs = 0 and due_us <= $2
    order by due_us, id limit $3";

const CLAIM: &str = "
    update task set status = 'running', attempt = $1, worker = $2, lease_until_us = $3
    where id = $4 and status in ('queued', 'retrying')";

/// A row that a claim or the janitor took.
struct Claimed {
    task: Task,
    start_on_record: bool,
    check_when: bool,
    has_needs: bool,
    /// As of which revision it reads its event; 0: as it came in.
    revision: i64,
    is_replay: bool,
}

fn read_task(r: &rusqlite::Row<'_>, destination: &Arc<str>) -> rusqlite::Result<Claimed> {
    let id: Vec<u8> = r.get(0)?;
    let event_id: Vec<u8> = r.get(1)?;
    let bad = || rusqlite::Error::InvalidQuery;
    Ok(Claimed {
        task: Task {
            id: TaskId::from_bytes(&id).ok_or_else(bad)?,
            event_id: EventId::from_bytes(&event_id).ok_or_else(bad)?,
            workflow: r.get::<_, String>(2)?.into(),
            step: r.get::<_, String>(3)?.into(),
            destination: Arc::clone(destination),
            attempt: r.get(4)?,
            failures: r.get(5)?,
            lost_starts: r.get(6)?,
            since: from_micros(r.get(9)?),
            may_release: true,
        },
        start_on_record: r.get::<_, i64>(7)? != 0,
        check_when: r.get::<_, i64>(8)? != 0,
        has_needs: r.get::<_, i64>(10)? != 0,
        revision: 0,
        is_replay: false,
    })
}

fn claim(tx: &mut Tx<'_>, destination: &Arc<str>, limit: i64) -> Result<Vec<Claimed>, StoreError> {
    if is_paused(tx, destination)? {
        return Ok(Vec::new());
    }
    let lease_until = tx.now_us + i64::try_from(LEASE.as_micros()).unwrap_or(0);
    let due = tx.rows(DUE, params![&**destination, tx.now_us, limit], |r| {
        let was_retrying = r.get_ref(11)?.as_str()? == TaskStatus::Retrying.as_str();
        let claimed = read_task(r, destination)?;
        let (revision, is_replay) = (r.get(12)?, r.get::<_, i64>(13)? != 0);
        Ok((Claimed { revision, is_replay, ..claimed }, was_retrying))
    })?;
    for (one, was_retrying) in &due {
        let (task, worker) = (&one.task, tx.worker);
        let from = if *was_retrying { TaskStatus::Retrying } else { TaskStatus::Queued };
        tx.run(CLAIM, params![task.attempt, worker.bytes(), lease_until, task.id.bytes()])?;
        move_event(tx, task.event_id, from, TaskStatus::Running, Some(task.attempt))?;
        tx.count(task_counter(from), destination, -1);
        tx.count(task_counter(TaskStatus::Running), destination, 1);
        if one.start_on_record {
            tx.run(
                "insert into attempt (task_id, attempt, status, worker, started_us)
                 values ($1, $2, 'running', $3, $4) on conflict do nothing",
                params![task.id.bytes(), task.attempt, worker.bytes(), tx.now_us],
            )?;
        }
        timeline::append(
            tx,
            &Row {
                event_id: Some(task.event_id),
                task_id: Some(task.id),
                attempt: Some(task.attempt),
                ..Row::new(What::Running)
            },
        )?;
    }
    Ok(due.into_iter().map(|(one, _)| one).collect())
}

impl Store {
    /// Takes up to `limit` due tasks of a destination, leased to this process, with their events.
    pub async fn claim(
        &self,
        destination: &str,
        limit: usize,
    ) -> Result<Vec<LeasedTask>, StoreError> {
        let limit = i64::try_from(limit.min(CLAIM_MAX)).unwrap_or(0);
        let leased_at = Instant::now();
        let name: Arc<str> = destination.into();
        let claimed = self.write(move |tx| claim(tx, &name, limit)).await?;
        let contexts = self.contexts(claimed.iter().map(|c| c.task.event_id)).await?;
        let revised = self.revised(&claimed, &contexts).await?;
        let leased = claimed.into_iter().filter_map(|one| {
            let event = match one.revision {
                0 => contexts.get(&one.task.event_id)?,
                number => revised.get(&(one.task.event_id, number))?,
            };
            Some(LeasedTask {
                event: Arc::clone(event),
                is_replay: one.is_replay,
                is_alone: false,
                has_needs: one.has_needs,
                start_on_record: one.start_on_record,
                check_when: one.check_when,
                leased_at,
                slot: None,
                task: one.task,
            })
        });
        Ok(leased.collect())
    }

    /// Renews leases. Answers the tasks that are held no more: what runs for them must stop.
    pub async fn renew(&self, held: Vec<(TaskId, u32)>) -> Result<Vec<TaskId>, StoreError> {
        self.write(move |tx| {
            let until = tx.now_us + i64::try_from(LEASE.as_micros()).unwrap_or(0);
            let mut lost = Vec::new();
            for (id, attempt) in &held {
                let renewed = tx.run(
                    "update task set lease_until_us = $1
                     where id = $2 and attempt = $3 and status = 'running'",
                    params![until, id.bytes(), attempt],
                )?;
                if renewed == 0 {
                    lost.push(*id);
                }
            }
            Ok(lost)
        })
        .await
    }

    /// Hands over an outcome. It is on disk within 20 ms or so; a lost lease changes nothing.
    pub fn settle(&self, settlement: Settlement) {
        if let Ok(door) = self.door() {
            // A closed door: the store failed or the process ends, and the attempt is lost.
            let _ = door.send(Box::new(Settle(settlement)));
        }
    }

    /// Running tasks whose worker is gone: on SQLite whoever is not this process, and leases that
    /// ended. From `after` on, so that what cannot be helped does not hide the rest.
    pub async fn abandoned(
        &self,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<Abandoned>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write(move |tx| {
            let after = after.map_or([0; 16], |id| *id.bytes());
            // Materialized, so that the few that run are found by their leases: to have them in order
            // by walking all tasks costs a second per million.
            tx.rows(
                "with open as materialized (select id from task
                    where status = 'running' and lease_until_us > 0)
                 select id, event_id, workflow, step, attempt, failures, lost_starts,
                    start_on_record, check_when, since_us, need_names is not null, destination
                 from task where id in (select id from open) and id > $1
                    and (worker <> $2 or lease_until_us < $3)
                 order by id limit $4",
                params![after, tx.worker.bytes(), tx.now_us, limit],
                |r| {
                    let destination: Arc<str> = r.get::<_, String>(11)?.into();
                    let row = read_task(r, &destination)?;
                    Ok(Abandoned { task: row.task, start_on_record: row.start_on_record })
                },
            )
        })
        .await
    }

    /// What the steps of a workflow were answered for an event: step → `{"response": …}`, the
    /// response as JSON where it is JSON, else as text.
    pub async fn responses(
        &self,
        event: EventId,
        workflow: &str,
    ) -> Result<Map<String, Value>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select t.step, a.http_status, a.response from task t
             join attempt a on a.task_id = t.id and a.status = 'ok'
             where t.event_id = $1 and t.workflow = $2 order by a.attempt")
            .bind(event.bytes().as_slice()).bind(workflow)
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut steps = Map::new();
        for row in &rows {
            let step: String = row.try_get(0).map_err(StoreError::Read)?;
            let status: Option<i64> = row.try_get(1).map_err(StoreError::Read)?;
            let text: Option<String> = row.try_get(2).map_err(StoreError::Read)?;
            let response = text.map_or(Value::Null, |text| {
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            });
            let mut result = Map::new();
            result.insert("status".to_owned(), status.into());
            result.insert("response".to_owned(), response);
            steps.insert(step, Value::Object(result));
        }
        Ok(steps)
    }

    /// The events of those claimed tasks that read them as of a revision.
    async fn revised(
        &self,
        claimed: &[Claimed],
        contexts: &HashMap<EventId, Arc<EventContext>>,
    ) -> Result<HashMap<(EventId, i64), Arc<EventContext>>, StoreError> {
        let mut revised = HashMap::new();
        for one in claimed.iter().filter(|one| one.revision != 0) {
            let key = (one.task.event_id, one.revision);
            let Some(context) = contexts.get(&key.0).filter(|_| !revised.contains_key(&key)) else {
                continue;
            };
            let revision = self
                .revision(key.0, key.1)
                .await?
                .ok_or(StoreError::Value { what: "a task of a revision that is not there" })?;
            let event = revision.of(&context.event);
            let headers = Arc::clone(&context.headers);
            revised.insert(key, Arc::new(EventContext { event, headers }));
        }
        Ok(revised)
    }

    /// The events of claimed tasks, each once.
    async fn contexts(
        &self,
        ids: impl Iterator<Item = EventId>,
    ) -> Result<HashMap<EventId, Arc<EventContext>>, StoreError> {
        let mut wanted: Vec<EventId> = ids.collect();
        wanted.sort();
        wanted.dedup();
        let mut found = HashMap::with_capacity(wanted.len());
        for group in wanted.chunks(64) {
            for context in self.event_contexts(group).await? {
                found.insert(context.event.id, Arc::new(context));
            }
        }
        Ok(found)
    }
}
