//! Dead letters that are tasks: listed in the order in which they died, and grouped.

use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::events::{TASK_COLUMNS, task_of};
use super::query::{Found, Lead, Selection, Statement};
use super::{Store, StoreError, TaskRow};
use crate::id::TaskId;

/// Dead letters that are looked into in a step.
const STEP: usize = if cfg!(test) { 5 } else { 256 };
/// So few events are gone through one by one, rather than the dead letters in their order.
const EVENTS_MAX: usize = if cfg!(test) { 4 } else { 2000 };

/// More dead letters than so few events have: what a request's events may ask for is bounded.
const TASKS_MAX: usize = 1_000_000;

/// Dead letters that share a value.
#[derive(Debug, Clone)]
pub struct DeadGroup {
    pub value: Option<String>,
    pub count: i64,
    pub first_us: i64,
    pub last_us: i64,
}

pub(super) type Place = (i64, Vec<u8>);

impl Store {
    /// A page of dead letters that are tasks, the latest first: `before` is the last one's end and id.
    /// What is found of it `within` a time.
    pub async fn dead_tasks_within(
        &self,
        selection: &Selection,
        before: Option<(i64, TaskId)>,
        limit: usize,
        within: Duration,
    ) -> Result<Found<TaskRow, (i64, TaskId)>, StoreError> {
        let ends = Instant::now() + within;
        let mut before = before.map(|(ended, id)| (ended, id.bytes().to_vec()));
        let mut rows = Vec::new();
        let among = self.few_events(selection).await?;
        loop {
            let (places, is_last) = match &among {
                Some(_) => (Vec::new(), true),
                None => self.given_up(selection, before.as_ref(), STEP).await?,
            };
            let lead = if among.is_some() { Lead::Event } else { Lead::Id };
            let mut statement = selection.select_by(lead, TASK_COLUMNS);
            match &among {
                Some(events) => {
                    statement.and_any("e.id", events, EVENTS_MAX);
                    if let Some((ended, id)) = &before {
                        statement.and_pair("(t.ended_us, t.id) < ", *ended, id.clone());
                    }
                }
                None => {
                    let ids: Vec<Vec<u8>> = places.iter().map(|(_, id)| id.clone()).collect();
                    if ids.is_empty() {
                        return Ok(Found::all(rows));
                    }
                    statement.and_any("t.id", &ids, STEP);
                }
            }
            let most = match &among {
                None => STEP,
                Some(_) if selection.looks_into() => TASKS_MAX,
                Some(_) => limit,
            };
            let order = " order by t.ended_us desc, t.id desc";
            let found = statement.fetch(self.db(), order, most).await?;
            for row in self.sifted(selection, found).await? {
                rows.push(task_of(&row)?);
            }
            if limit <= rows.len() || is_last {
                rows.truncate(limit);
                return Ok(Found::all(rows));
            }
            before = places.into_iter().next_back();
            if ends <= Instant::now() {
                let stopped = before.as_ref().map(|(ended, id)| {
                    let id = TaskId::from_bytes(id);
                    id.map(|id| (*ended, id)).ok_or(StoreError::Value { what: "a task's id" })
                });
                return Ok(Found { rows, stopped_at: stopped.transpose()? });
            }
        }
    }

    /// A page of dead letters that are tasks, the oldest first, from behind an end and an id.
    pub async fn dead_tasks_oldest(
        &self,
        selection: &Selection,
        behind: Option<(i64, TaskId)>,
        limit: usize,
    ) -> Result<Vec<TaskRow>, StoreError> {
        let mut after = behind.map(|(ended, id)| (ended, id.bytes().to_vec()));
        let mut rows = Vec::new();
        loop {
            let (places, is_last) = self.given_up_after(selection, after.as_ref(), STEP).await?;
            let ids: Vec<Vec<u8>> = places.iter().map(|(_, id)| id.clone()).collect();
            if ids.is_empty() {
                return Ok(rows);
            }
            let mut statement = selection.select_by(Lead::Id, TASK_COLUMNS);
            statement.and_any("t.id", &ids, STEP);
            let found = statement.fetch(self.db(), " order by t.ended_us, t.id", STEP).await?;
            for row in self.sifted(selection, found).await? {
                rows.push(task_of(&row)?);
            }
            if limit <= rows.len() || is_last {
                rows.truncate(limit);
                return Ok(rows);
            }
            after = places.into_iter().next_back();
        }
    }

    /// The events of a selection that asks for what few dead ones are.
    async fn few_events(&self, selection: &Selection) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let Some((condition, binds)) = &selection.of_dead_events else { return Ok(None) };
        let text = format!(
            "select id from event e indexed by event_dead where dead > 0 and ({condition})"
        );
        let statement = Statement::new(text, binds.clone());
        let rows = statement.fetch(self.db(), "", EVENTS_MAX + 1).await?;
        if EVENTS_MAX < rows.len() {
            return Ok(None);
        }
        let ids = rows.iter().map(|row| row.try_get(0).map_err(StoreError::Read));
        let mut ids = ids.collect::<Result<Vec<Vec<u8>>, _>>()?;
        if ids.is_empty() {
            // A list of none is no list.
            ids.push(Vec::new());
        }
        Ok(Some(ids))
    }

    /// The next that were given up and that the index alone does not rule out; and whether that is all.
    async fn given_up(
        &self,
        selection: &Selection,
        before: Option<&Place>,
        limit: usize,
    ) -> Result<(Vec<Place>, bool), StoreError> {
        let mut statement = of_given_up(selection, "t.ended_us, t.id");
        if let Some((ended, id)) = before {
            statement.and_pair("(t.ended_us, t.id) < ", *ended, id.clone());
        }
        self.places(statement, " order by t.ended_us desc, t.id desc", limit).await
    }

    /// The same upwards: those that were given up after `after`.
    async fn given_up_after(
        &self,
        selection: &Selection,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<(Vec<Place>, bool), StoreError> {
        let mut statement = of_given_up(selection, "t.ended_us, t.id");
        if let Some((ended, id)) = after {
            statement.and_pair("(t.ended_us, t.id) > ", *ended, id.clone());
        }
        self.places(statement, " order by t.ended_us, t.id", limit).await
    }

    /// Upwards: the place that so many of those that were given up lie before, from `from` on.
    pub(super) async fn given_up_at(
        &self,
        selection: &Selection,
        from: Option<&Place>,
        skipped: usize,
    ) -> Result<Option<Place>, StoreError> {
        let mut statement = of_given_up(selection, "t.ended_us, t.id");
        if let Some((ended, id)) = from {
            statement.and_pair("(t.ended_us, t.id) >= ", *ended, id.clone());
        }
        let order = format!(" order by t.ended_us, t.id limit 1 offset {skipped}");
        statement.push(&order);
        let rows = statement.run(self.db()).await?;
        let place = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.first().map(place).transpose().map_err(StoreError::Read)
    }

    async fn places(
        &self,
        statement: Statement,
        order: &str,
        limit: usize,
    ) -> Result<(Vec<Place>, bool), StoreError> {
        let rows = statement.fetch(self.db(), order, limit).await?;
        let place = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let places: Result<Vec<Place>, sqlx::Error> = rows.iter().map(place).collect();
        let places = places.map_err(StoreError::Read)?;
        let is_last = places.len() < limit;
        Ok((places, is_last))
    }

    /// Dead letters by a column of theirs or of their events, the most frequent first. `None`: that
    /// cannot be told by indices alone.
    pub async fn dead_groups(
        &self,
        selection: &Selection,
        by: &str,
    ) -> Result<Option<Vec<DeadGroup>>, StoreError> {
        let counted = "count(*), min(t.ended_us), max(t.ended_us)";
        let (column, mut statement) = match by {
            "source" | "type" if selection.is_everything() => {
                let column = if by == "source" { "e.source" } else { "e.type" };
                let text = format!(
                    "select {column}, {counted} from event e indexed by event_dead
                     cross join task t on t.event_id = e.id and t.status = 'dead'
                     where e.dead > 0"
                );
                (column, Statement::new(text, Vec::new()))
            }
            "error" | "dest" | "workflow" | "step" | "reason" if selection.is_of_given_up => {
                let column = column_of(by);
                (column, of_given_up(selection, &format!("{column}, {counted}")))
            }
            _ => return Ok(None),
        };
        statement.push(&format!(" group by {column}"));
        let rows = statement.run(self.db()).await?;
        let mut groups = Vec::with_capacity(rows.len());
        for row in &rows {
            let get = || -> Result<_, sqlx::Error> {
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
            };
            let (value, count, first_us, last_us) = get().map_err(StoreError::Read)?;
            groups.push(DeadGroup { value, count, first_us, last_us });
        }
        groups.sort_by_key(|g| (std::cmp::Reverse(g.count), std::cmp::Reverse(g.last_us)));
        Ok(Some(groups))
    }

    /// How many of each group died in each of the latest `parts` stretches of `part_us` before `now_us`:
    /// value, place from the latest, count.
    pub(crate) async fn dead_groups_recent(
        &self,
        selection: &Selection,
        by: &str,
        (now_us, part_us, parts): (i64, i64, i64),
    ) -> Result<Vec<(Option<String>, i64, i64)>, StoreError> {
        let column = column_of(by);
        let of_events = matches!(by, "source" | "type");
        let mut statement = if of_events {
            let text = format!(
                "select {column}, ({now_us} - t.ended_us) / {part_us} as part, count(*)
                 from task t indexed by task_given_up cross join event e on e.id = t.event_id
                 where t.status in ('dead', 'discarded') and t.status = 'dead'"
            );
            Statement::new(text, Vec::new())
        } else {
            let part = format!("({now_us} - t.ended_us) / {part_us} as part");
            of_given_up(selection, &format!("{column}, {part}, count(*)"))
        };
        statement.push(&format!(
            " and t.ended_us > {} and t.ended_us <= {now_us} group by 1, 2",
            now_us - part_us * parts
        ));
        let rows = statement.run(self.db()).await?;
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let read: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        read.map_err(StoreError::Read)
    }

    /// The dead letter of a group that died last.
    pub async fn last_of_group(
        &self,
        selection: &Selection,
        by: &str,
        group: &DeadGroup,
    ) -> Result<Option<TaskRow>, StoreError> {
        let column = column_of(by);
        let mut statement = selection.select_by(Lead::End, TASK_COLUMNS);
        statement.push(" and t.status in ('dead', 'discarded')");
        statement.and_at("t.ended_us", group.last_us);
        statement.and_text(column, group.value.as_deref());
        let rows = statement.fetch(self.db(), " order by t.id desc", 1).await?;
        rows.first().map(task_of).transpose()
    }
}

/// The column that dead letters are grouped by.
fn column_of(by: &str) -> &'static str {
    match by {
        "error" => "t.error_id",
        "dest" => "t.destination",
        "workflow" => "t.workflow",
        "step" => "t.step",
        "reason" => "t.reason",
        "source" => "e.source",
        _ => "e.type",
    }
}

fn of_given_up(selection: &Selection, columns: &str) -> Statement {
    let (condition, binds) = &selection.of_given_up;
    let text = format!(
        "select {columns} from task t indexed by task_given_up
         where t.status in ('dead', 'discarded') and ({condition})"
    );
    Statement::new(text, binds.clone())
}
