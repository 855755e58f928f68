//! Tasks in order: those of one step with one ordering key stand in a line, and one at a time may run.
//!
//! The first in a line is as any other task. Those behind it are held: they need one thing more
//! (`needs`), so that no claim looks at them. Who leaves the line lets the next one go. Who is brought
//! back by a replay stands at its end.

use rusqlite::params;
use sqlx::Row as _;

use super::writer::Tx;
use super::{StoreError, on_db};
use crate::id::{EventId, TaskId};
use crate::task::{Line, TaskStatus};

/// A task takes its place at the end of its line, unless it is dead and does not hold it up.
pub(super) fn enter(
    tx: &Tx<'_>,
    id: TaskId,
    (workflow, step): (&str, &str),
    line: &Line,
    status: TaskStatus,
) -> Result<(), StoreError> {
    let stays_out = status.is_ended() && !(status == TaskStatus::Dead && line.holds_dead);
    let is_held = !stays_out && has_head(tx, workflow, step, &line.key)?;
    tx.run(
        "insert into task_line (task_id, workflow, step, key, holds_dead, is_open, is_held)
         values ($1, $2, $3, $4, $5, $6, $7)",
        params![id.bytes(), workflow, step, line.key, line.holds_dead, !stays_out, is_held],
    )?;
    hold(tx, id, is_held && !status.is_ended())
}

/// Whether somebody of this line may run.
fn has_head(tx: &Tx<'_>, workflow: &str, step: &str, key: &str) -> Result<bool, StoreError> {
    let head = tx.row(
        "select 1 from task_line where workflow = $1 and step = $2 and key = $3
            and is_open = 1 and is_held = 0",
        params![workflow, step, key],
        |_| Ok(()),
    )?;
    Ok(head.is_some())
}

fn hold(tx: &Tx<'_>, id: TaskId, is_held: bool) -> Result<(), StoreError> {
    if is_held {
        tx.run("update task set needs = needs + 1 where id = $1", params![id.bytes()])?;
    }
    Ok(())
}

/// A task's place.
struct Place {
    number: i64,
    workflow: String,
    step: String,
    key: String,
    holds_dead: bool,
    is_open: bool,
    is_held: bool,
}

fn place(tx: &Tx<'_>, id: TaskId) -> Result<Option<Place>, StoreError> {
    tx.row(
        "select place, workflow, step, key, holds_dead, is_open, is_held from task_line
         where task_id = $1",
        params![id.bytes()],
        |r| {
            Ok(Place {
                number: r.get(0)?,
                workflow: r.get(1)?,
                step: r.get(2)?,
                key: r.get(3)?,
                holds_dead: r.get(4)?,
                is_open: r.get(5)?,
                is_held: r.get(6)?,
            })
        },
    )
}

/// A task has ended as `status`: the next of its line may go.
pub(super) fn ended(tx: &mut Tx<'_>, id: TaskId, status: TaskStatus) -> Result<(), StoreError> {
    let Some(place) = place(tx, id)?.filter(|place| place.is_open) else { return Ok(()) };
    if status == TaskStatus::Dead && place.holds_dead {
        return Ok(());
    }
    leave(tx, &place)
}

fn leave(tx: &mut Tx<'_>, place: &Place) -> Result<(), StoreError> {
    tx.run(
        "update task_line set is_open = 0, is_held = 0 where place = $1",
        params![place.number],
    )?;
    if place.is_held {
        return Ok(());
    }
    let next = tx.row(
        "update task_line set is_held = 0 where place = (select place from task_line
            where workflow = $1 and step = $2 and key = $3 and is_open = 1
            order by place limit 1)
         returning task_id",
        params![place.workflow, place.step, place.key],
        |r| r.get::<_, Vec<u8>>(0),
    )?;
    if let Some(next) = next {
        tx.run(
            "update task set needs = needs - 1, due_us = $1, since_us = $1
             where id = $2 and status = 'queued' and needs > 0",
            params![tx.now_us, next],
        )?;
        tx.has_due = true;
    }
    Ok(())
}

/// A queued task waits for a step that has died: it will not come by itself, so it holds nobody up,
/// unless its line is one that dead tasks hold.
pub(super) fn step_aside(tx: &mut Tx<'_>, id: TaskId) -> Result<(), StoreError> {
    let Some(place) = place(tx, id)?.filter(|place| place.is_open && !place.holds_dead) else {
        return Ok(());
    };
    if place.is_held {
        tx.run("update task set needs = needs - 1 where id = $1", params![id.bytes()])?;
    }
    leave(tx, &place)
}

/// A queued task that is in no line any more (it had ended, or stood aside) takes its place again: at
/// the end, or with `in_place` where it was.
pub(super) fn again(tx: &Tx<'_>, id: TaskId, in_place: bool) -> Result<(), StoreError> {
    let Some(place) = place(tx, id)?.filter(|place| !place.is_open) else { return Ok(()) };
    if !in_place {
        tx.run("delete from task_line where place = $1", params![place.number])?;
        let line = Line { key: place.key, holds_dead: place.holds_dead };
        return enter(tx, id, (&place.workflow, &place.step), &line, TaskStatus::Queued);
    }
    let is_held = has_head(tx, &place.workflow, &place.step, &place.key)?;
    tx.run(
        "update task_line set is_open = 1, is_held = $1 where place = $2",
        params![is_held, place.number],
    )?;
    hold(tx, id, is_held)
}

impl super::Store {
    /// The latest event for which a step with this ordering key is `ok`, and whether all of the line
    /// was looked at: of a long one the last `limit` are.
    pub(crate) async fn last_ok_in_line(
        &self,
        (workflow, step, key): (&str, &str, &str),
        limit: i64,
    ) -> Result<(Option<EventId>, bool), StoreError> {
        let row = on_db!(self.db(), pool => sqlx::query(
            "select max(case when t.status = 'ok' then t.event_id end), count(*)
             from (select task_id from task_line where workflow = $1 and step = $2 and key = $3
                order by place desc limit $4) l
             join task t on t.id = l.task_id")
            .bind(workflow).bind(step).bind(key).bind(limit)
            .fetch_one(pool).await.map_err(StoreError::Read)?);
        let last: Option<Vec<u8>> = row.try_get(0).map_err(StoreError::Read)?;
        let count: i64 = row.try_get(1).map_err(StoreError::Read)?;
        Ok((last.and_then(|bytes| EventId::from_bytes(&bytes)), count < limit))
    }
}
