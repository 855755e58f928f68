//! What a plan is made of: tasks with what must be known to judge them.

use std::collections::HashSet;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use tokio::task::JoinSet;

use super::dead::Place;
use super::plans::{IDS_PER_READ, Item, ItemRow, text};
use super::query::{Bind, Lead, Page, Selection, Statement};
use super::{Store, StoreError};
use crate::id::{EventId, TaskId};
use crate::task::Line;

/// A task that was selected, with what must be known to judge it.
#[derive(Debug, Clone)]
pub(crate) struct Picked {
    pub item: ItemRow,
    pub received_us: i64,
    pub source: String,
    pub subject: Option<String>,
    /// The steps that it needs, joined by spaces.
    pub need_names: Option<String>,
    /// Whether an attempt at it may have had its effect: it succeeded, or its end is not known.
    pub may_have_effect: bool,
    /// Of a new task: why it would be a dead letter at once. Of any: why its edited event cannot run.
    pub fault: Option<String>,
    /// Whether it has succeeded before, whatever became of it since.
    pub has_succeeded: bool,
    /// Whether its event differed from its contract, so that it breaks, when it came in.
    pub is_drifted: bool,
}

/// An answer may have come of a call that ended so: it succeeded, its end is not known, or the
/// destination failed on the way. A refusal says that there was none.
const PICKED: &str = "
    t.id, t.event_id, t.status, t.attempt, t.destination, t.workflow, t.step, t.need_names,
    e.received_us, e.source, e.subject, t.revision,
    (select l.holds_dead || l.key from task_line l where l.task_id = t.id),
    (select max(case when a.status = 'ok' then 2
            when a.status in ('lost', 'running', 'interrupted') or (a.status = 'failed' and
                (a.http_status is null or a.http_status >= 500))
                or (a.status = 'rejected' and t.destination like 'command:%') then 1
            else 0 end)
        from attempt a where a.task_id = t.id),
    e.drift = 'breaking'";

fn read_picked(row: &SqliteRow) -> Result<Picked, StoreError> {
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    let event: Vec<u8> = row.try_get(1).map_err(StoreError::Read)?;
    let item = ItemRow {
        place: 0,
        item: Item::read(&id, false)?,
        status: text(row, 2)?,
        attempt: row.try_get(3).map_err(StoreError::Read)?,
        would: String::new(),
        moves: false,
        why: None,
        is_late: false,
        key: None,
        destination: Some(text(row, 4)?),
        event_id: EventId::from_bytes(&event),
        workflow: Some(text(row, 5)?),
        step: Some(text(row, 6)?),
        need_names: None,
        line: row.try_get::<Option<&str>, _>(12).map_err(StoreError::Read)?.and_then(line_of),
        revision: row.try_get(11).map_err(StoreError::Read)?,
    };
    // The farthest that any attempt got: 1 may have had an effect, 2 had it.
    let reached = row.try_get::<Option<i64>, _>(13).map_err(StoreError::Read)?.unwrap_or(0);
    Ok(Picked {
        item,
        need_names: row.try_get(7).map_err(StoreError::Read)?,
        received_us: row.try_get(8).map_err(StoreError::Read)?,
        source: text(row, 9)?,
        subject: row.try_get(10).map_err(StoreError::Read)?,
        may_have_effect: 1 <= reached,
        fault: None,
        has_succeeded: reached == 2,
        is_drifted: row.try_get::<Option<bool>, _>(14).map_err(StoreError::Read)?.unwrap_or(false),
    })
}

/// Of `1key`: a key, and before it whether the dead hold its line.
fn line_of(packed: &str) -> Option<Line> {
    let (holds, key) = packed.split_at_checked(1)?;
    Some(Line { key: key.to_owned(), holds_dead: holds == "1" })
}

async fn joined(
    pages: &mut JoinSet<Result<Vec<Picked>, StoreError>>,
) -> Result<Vec<Picked>, StoreError> {
    match pages.join_next().await {
        None => Ok(Vec::new()),
        Some(Ok(page)) => page,
        // A page that panicked, or a process that ends.
        Some(Err(_)) => Err(StoreError::Closed),
    }
}

impl Store {
    /// Tasks of a selection, the oldest first.
    pub(crate) async fn plan_tasks(
        &self,
        selection: &Selection,
        limit: usize,
    ) -> Result<Vec<Picked>, StoreError> {
        if selection.is_given_up() {
            return self.plan_dead(selection, limit).await;
        }
        let narrow = |query: &mut Statement, id: &Vec<u8>| query.and("t.id > ", id.clone());
        let cursor = |row: &SqliteRow| row.try_get(0).map_err(StoreError::Read);
        let rows = self
            .rows(
                selection,
                Page { columns: PICKED, order: " order by t.id", limit },
                None,
                narrow,
                cursor,
            )
            .await?;
        rows.iter().map(read_picked).collect()
    }

    /// Dead letters of a selection, the oldest first: in pages, so that no read is long, two at a time.
    async fn plan_dead(
        &self,
        selection: &Selection,
        limit: usize,
    ) -> Result<Vec<Picked>, StoreError> {
        const PAGE: usize = 5000;
        const AT_ONCE: usize = 2;
        let mut picked = Vec::new();
        let mut pages = JoinSet::new();
        let mut from = self.given_up_at(selection, None, 0).await?;
        while let Some(first) = from {
            from = self.given_up_at(selection, Some(&first), PAGE).await?;
            let (store, selection, to) = (self.clone(), selection.clone(), from.clone());
            pages.spawn(async move { store.plan_page(&selection, first, to).await });
            if AT_ONCE <= pages.len() {
                picked.extend(joined(&mut pages).await?);
            }
        }
        while !pages.is_empty() {
            picked.extend(joined(&mut pages).await?);
        }
        picked.sort_by(|a, b| a.item.item.bytes().cmp(b.item.item.bytes()));
        picked.truncate(limit);
        Ok(picked)
    }

    /// What was given up from one place on, and before another.
    async fn plan_page(
        &self,
        selection: &Selection,
        from: Place,
        to: Option<Place>,
    ) -> Result<Vec<Picked>, StoreError> {
        let mut statement = selection.select_by(Lead::End, PICKED);
        statement.push(" and t.status in ('dead', 'discarded')");
        statement.and_pair("(t.ended_us, t.id) >= ", from.0, from.1);
        if let Some(to) = to {
            statement.and_pair("(t.ended_us, t.id) < ", to.0, to.1);
        }
        let rows = self.sifted(selection, statement.run(self.db()).await?).await?;
        rows.iter().map(read_picked).collect()
    }

    /// Events of a selection, the oldest first.
    pub(crate) async fn plan_events(
        &self,
        selection: &Selection,
        limit: usize,
    ) -> Result<Vec<EventId>, StoreError> {
        let narrow = |query: &mut Statement, id: &Vec<u8>| query.and("e.id > ", id.clone());
        let cursor = |row: &SqliteRow| row.try_get(0).map_err(StoreError::Read);
        let rows = self
            .rows(
                selection,
                Page { columns: "e.id", order: " order by e.id", limit },
                None,
                narrow,
                cursor,
            )
            .await?;
        rows.iter().map(|row| read_event_id(row, 0)).collect()
    }

    /// These tasks, or those of these events: whatever their status.
    pub(crate) async fn picked_of(
        &self,
        tasks: &[TaskId],
        events: &[EventId],
    ) -> Result<Vec<Picked>, StoreError> {
        let tasks = tasks.iter().map(|id| id.bytes().to_vec()).collect::<Vec<_>>();
        let events = events.iter().map(|id| id.bytes().to_vec()).collect::<Vec<_>>();
        let mut picked = Vec::with_capacity(tasks.len() + events.len());
        for (column, ids) in [("t.id", tasks), ("t.event_id", events)] {
            for group in ids.chunks(IDS_PER_READ) {
                let sql = format!("select {PICKED} from task t join event e on e.id = t.event_id");
                let mut statement = Statement::new(format!("{sql} where true"), Vec::new());
                statement.and_any(column, group, IDS_PER_READ);
                statement.push(" order by t.id");
                for row in &statement.run(self.db()).await? {
                    picked.push(read_picked(row)?);
                }
            }
        }
        Ok(picked)
    }

    /// Of the `step` events before `before`, the newest first, those that have a subject: of `only`
    /// these, where so few are asked for that it pays. Id, source and subject; and the event down to which
    /// was looked, `None` if there are no others.
    pub(crate) async fn events_with_subjects(
        &self,
        only: Option<&[&String]>,
        before: Option<EventId>,
        step: usize,
    ) -> Result<(Vec<(EventId, String, String)>, Option<EventId>), StoreError> {
        let before = before.map(|id| id.bytes().to_vec());
        let end = self.step_end("event", before.as_ref(), step).await?;
        let mut sql = "select e.id, e.source, e.subject from event e \
                        indexed by sqlite_autoindex_event_1 where e.subject is not null"
            .to_owned();
        let mut binds = Vec::new();
        if let Some(only) = only {
            let only = serde_json::to_string(only);
            binds.push(Bind::Text(only.map_err(|_| StoreError::Value { what: "subjects" })?));
            sql.push_str(" and e.subject in (select value from json_each($1))");
        }
        let mut statement = Statement::new(sql, binds);
        if let Some(before) = before {
            statement.and("e.id < ", before);
        }
        if let Some(end) = &end {
            statement.and("e.id >= ", end.clone());
        }
        let rows = statement.fetch(self.db(), " order by e.id desc", step).await?;
        let wrong = StoreError::Value { what: "an event's id" };
        let read = |row: &SqliteRow| Ok((read_event_id(row, 0)?, text(row, 1)?, text(row, 2)?));
        let events = rows.iter().map(read).collect::<Result<_, StoreError>>()?;
        let end = match end {
            None => None,
            Some(bytes) => Some(EventId::from_bytes(&bytes).ok_or(wrong)?),
        };
        Ok((events, end))
    }

    /// The steps of these events that are `ok`: event, workflow, step.
    pub(crate) async fn steps_done(
        &self,
        events: &[EventId],
    ) -> Result<HashSet<(EventId, String, String)>, StoreError> {
        let events = events.iter().map(|id| id.bytes().to_vec()).collect::<Vec<_>>();
        let mut done = HashSet::new();
        for group in events.chunks(IDS_PER_READ) {
            let sql = "select t.event_id, t.workflow, t.step from task t where t.status = 'ok'";
            let mut statement = Statement::new(sql.to_owned(), Vec::new());
            statement.and_any("t.event_id", group, IDS_PER_READ);
            for row in &statement.run(self.db()).await? {
                done.insert((read_event_id(row, 0)?, text(row, 1)?, text(row, 2)?));
            }
        }
        Ok(done)
    }
}

fn read_event_id(row: &SqliteRow, at: usize) -> Result<EventId, StoreError> {
    let id: Vec<u8> = row.try_get(at).map_err(StoreError::Read)?;
    EventId::from_bytes(&id).ok_or(StoreError::Value { what: "an event's id" })
}
