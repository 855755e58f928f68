//! A filter's rows, found within a time: by an index that names them, else by looking at one after the
//! other. Whoever's time is over says how far it looked, so that nobody takes it for the whole.

use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::series::{Series, Way, ways};
use super::{Bind, Lead, Over, Page, Selection, Statement};
use crate::store::{Store, StoreError};

/// What a list may take to be found; a step of it is never cut short.
pub(crate) const SEARCH_TIME: Duration = Duration::from_millis(50);
/// The same where each event's content is looked into.
pub(crate) const CONTENT_TIME: Duration = Duration::from_secs(1);
/// Rows that are looked at in a step, at first and at most.
const STEP: usize = if cfg!(test) { 8 } else { 1024 };
const STEP_MAX: usize = if cfg!(test) { 16 } else { 8192 };
/// Ids that are looked up in one statement.
const IDS: usize = if cfg!(test) { 6 } else { 256 };
/// Values that have a series each; of more the events are as well looked at.
const SERIES_MAX: usize = 128;

/// What was found.
#[derive(Debug, Clone)]
pub struct Found<T, C> {
    pub rows: Vec<T>,
    /// Set when the time was over: what lies behind this was not looked at.
    pub stopped_at: Option<C>,
}

impl<T, C> Found<T, C> {
    pub(in crate::store) fn all(rows: Vec<T>) -> Self {
        Self { rows, stopped_at: None }
    }
}

impl<T> Found<T, Place> {
    /// The rows read, and the id where it stopped.
    pub(in crate::store) fn read<U, C>(
        self,
        read: impl FnMut(T) -> Result<U, StoreError>,
        id: impl FnOnce(&[u8]) -> Option<C>,
    ) -> Result<Found<U, C>, StoreError> {
        let rows = self.rows.into_iter().map(read).collect::<Result<_, _>>()?;
        let stopped_at = match self.stopped_at {
            None => None,
            Some(bytes) => Some(id(&bytes).ok_or(StoreError::Value { what: "an id" })?),
        };
        Ok(Found { rows, stopped_at })
    }
}

/// Where the next step of a search goes on.
pub(in crate::store) type Place = Vec<u8>;

/// The series of a way at work: the ids that were read of each and not yet given out.
struct Merge {
    series: Vec<Open>,
    step: usize,
}

struct Open {
    series: Series,
    /// In rising order, so that the newest is popped.
    ids: Vec<Place>,
    is_over: bool,
}

impl Merge {
    fn new(series: Vec<Series>) -> Self {
        let open = |series| Open { series, ids: Vec::new(), is_over: false };
        Self {
            series: series.into_iter().map(open).collect(),
            step: if cfg!(test) { 3 } else { 64 },
        }
    }

    /// Reads on where nothing is left of a series.
    async fn fill(&mut self, store: &Store, before: Option<&Place>) -> Result<(), StoreError> {
        for open in self.series.iter_mut().filter(|open| !open.is_over && open.ids.is_empty()) {
            open.ids = store.ids_of(&open.series, before, self.step).await?;
            open.is_over = open.ids.len() < self.step;
        }
        self.step = (self.step * 2).min(STEP);
        Ok(())
    }

    /// The lowest id down to which everything is known; `None`: everything is.
    fn horizon(&self) -> Option<&Place> {
        self.series.iter().filter(|open| !open.is_over).filter_map(|open| open.ids.first()).max()
    }

    /// The next ids in falling order, each once.
    async fn next(
        &mut self,
        store: &Store,
        before: Option<&Place>,
        count: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let mut ids: Vec<Place> = Vec::new();
        while ids.len() < count {
            self.fill(store, ids.last().or(before)).await?;
            let newest = self
                .series
                .iter_mut()
                .filter(|open| !open.ids.is_empty())
                .max_by(|a, b| a.ids.last().cmp(&b.ids.last()));
            let Some(id) = newest.and_then(|open| open.ids.pop()) else { break };
            // Several series may have it.
            if ids.last().or(before).is_none_or(|last| id < *last) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

impl Store {
    /// The rows of a selection, the newest first, from before `before` on.
    pub(in crate::store) async fn search(
        &self,
        selection: &Selection,
        page: Page<'_>,
        before: Option<Place>,
        within: Duration,
    ) -> Result<Found<SqliteRow, Place>, StoreError> {
        let ends = Instant::now() + within;
        let Page { columns, limit, .. } = page;
        let id = selection.over.id();
        if selection.is_few {
            let order = format!(" order by {id} desc");
            let page = Page { columns, order: &order, limit };
            let narrow = |query: &mut Statement, before: &Place| {
                query.and(&format!("{id} < "), before.clone());
            };
            return Ok(Found::all(self.rows(selection, page, before, narrow, id_of).await?));
        }
        let (mut rows, before) = self.late(selection, columns, before, limit).await?;
        if limit <= rows.len() {
            return Ok(Found::all(rows));
        }
        let limit = limit - rows.len();
        let best = match selection.over {
            Over::Events => self.best(&selection.filter, before.as_ref()).await?,
            Over::Tasks | Over::DeadTasks | Over::Requests => None,
        };
        let found = match best {
            Some(merge) => self.among(selection, columns, merge, before, limit, ends).await?,
            None => self.through(selection, columns, before, limit, ends).await?,
        };
        rows.extend(found.rows);
        Ok(Found { rows, stopped_at: found.stopped_at })
    }

    /// What lies above the window's end, since it was read long after it was received; and from where
    /// on the rest is.
    async fn late(
        &self,
        selection: &Selection,
        columns: &str,
        before: Option<Place>,
        limit: usize,
    ) -> Result<(Vec<SqliteRow>, Option<Place>), StoreError> {
        let is_below = |upper: &Place| before.as_ref().is_none_or(|before| upper < before);
        let Some(upper) = selection.upper.clone().filter(is_below) else {
            return Ok((Vec::new(), before));
        };
        let (id, table) = (selection.over.id(), selection.over.table());
        let mut statement = selection.select_between(columns, Some(&upper), before.as_ref());
        statement.push(&format!(
            " and {id} in (select id from {table} where hex(substr(id, 1, 6)) >
                printf('%012X', received_us / 1000 + 60000))"
        ));
        statement.and(&format!("{id} >= "), upper.clone());
        if let Some(before) = &before {
            statement.and(&format!("{id} < "), before.clone());
        }
        let most = if selection.holds.is_some() { STEP_MAX } else { limit };
        let found = statement.fetch(self.db(), &format!(" order by {id} desc"), most).await?;
        let mut rows = self.sifted(selection, found).await?;
        rows.truncate(limit);
        Ok((rows, Some(upper)))
    }

    /// The way that gets furthest with the same number of ids.
    async fn best(
        &self,
        filter: &crate::filter::Filter,
        before: Option<&Place>,
    ) -> Result<Option<Merge>, StoreError> {
        let mut best: Option<Merge> = None;
        for way in ways(filter) {
            let Some(series) = self.series_of(way).await? else { continue };
            let mut merge = Merge::new(series);
            merge.fill(self, before).await?;
            if best.as_ref().is_none_or(|best| merge.horizon() < best.horizon()) {
                best = Some(merge);
            }
        }
        Ok(best)
    }

    /// `None` where there are too many.
    async fn series_of(&self, way: Way) -> Result<Option<Vec<Series>>, StoreError> {
        let (values, binds, columns, each, id) = match way {
            Way::Of(series) => return Ok(Some(series)),
            Way::Each { values, binds, columns, each, id } => (values, binds, columns, each, id),
        };
        let text = format!("{values} limit {}", SERIES_MAX + 1);
        let rows = Statement { text, binds }.run(self.db()).await?;
        if SERIES_MAX < rows.len() {
            return Ok(None);
        }
        let series = rows.iter().map(|row| {
            let mut sql = String::with_capacity(each.len() + 8);
            let mut binds = Vec::with_capacity(columns);
            for (place, part) in each.split('?').enumerate() {
                sql.push_str(part);
                if place < columns {
                    binds.push(bind_of(row, place)?);
                    sql.push_str(&format!("${}", place + 1));
                }
            }
            Ok(Series { id, sql, binds })
        });
        series.collect::<Result<Vec<_>, StoreError>>().map(Some)
    }

    /// The next ids of a series, in rising order.
    async fn ids_of(
        &self,
        series: &Series,
        before: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let (id, sql) = (series.id, &series.sql);
        let mut statement =
            Statement { text: format!("select {id} {sql}"), binds: series.binds.clone() };
        if let Some(before) = before {
            statement.and(&format!("{id} < "), before.clone());
        }
        let rows = statement.fetch(self.db(), &format!(" order by {id} desc"), limit).await?;
        rows.iter().rev().map(|row| row.try_get(0).map_err(StoreError::Read)).collect()
    }

    /// Of the ids that an index names those that the filter lets through.
    async fn among(
        &self,
        selection: &Selection,
        columns: &str,
        mut merge: Merge,
        mut before: Option<Place>,
        limit: usize,
        ends: Instant,
    ) -> Result<Found<SqliteRow, Place>, StoreError> {
        let mut rows = Vec::new();
        loop {
            let ids = merge.next(self, before.as_ref(), IDS).await?;
            let Some(last) = ids.last().cloned() else { return Ok(Found::all(rows)) };
            if selection.lower.as_ref().is_some_and(|lower| ids[0] < *lower) {
                return Ok(Found::all(rows));
            }
            let is_last = ids.len() < IDS;
            let mut statement = selection.select_by(Lead::Id, columns);
            statement.and_any("e.id", &ids, IDS);
            let found = statement.fetch(self.db(), " order by e.id desc", IDS).await?;
            rows.extend(self.sifted(selection, found).await?);
            if limit <= rows.len() || is_last {
                rows.truncate(limit);
                return Ok(Found::all(rows));
            }
            if ends <= Instant::now() {
                return Ok(Found { rows, stopped_at: Some(last) });
            }
            before = Some(last);
        }
    }

    /// One row after the other, a step at a time.
    async fn through(
        &self,
        selection: &Selection,
        columns: &str,
        mut before: Option<Place>,
        limit: usize,
        ends: Instant,
    ) -> Result<Found<SqliteRow, Place>, StoreError> {
        let over = selection.over;
        let id = over.id();
        let order = format!(" order by {id} desc");
        let mut rows = Vec::new();
        let mut step = STEP;
        loop {
            let end = self.step_end(over.table(), before.as_ref(), step).await?;
            let statement = selection.select_between(columns, end.as_ref(), before.as_ref());
            // Where each is looked into, all of a step are read: the answer is not known before.
            let most = if selection.holds.is_some() { step + 1 } else { limit - rows.len() };
            let found = statement.fetch(self.db(), &order, most).await?;
            rows.extend(self.sifted(selection, found).await?);
            if limit <= rows.len() {
                rows.truncate(limit);
                return Ok(Found::all(rows));
            }
            let Some(end) = end else { return Ok(Found::all(rows)) };
            if selection.lower.as_ref().is_some_and(|lower| end <= *lower) {
                return Ok(Found::all(rows));
            }
            if ends <= Instant::now() {
                return Ok(Found { rows, stopped_at: Some(end) });
            }
            before = Some(end);
            step = (step * 2).min(STEP_MAX);
        }
    }

    /// The id at which a step of so many rows ends; `None`: there are no more.
    pub(in crate::store) async fn step_end(
        &self,
        table: &str,
        before: Option<&Place>,
        step: usize,
    ) -> Result<Option<Place>, StoreError> {
        let mut statement =
            Statement { text: format!("select id from {table} where true"), binds: vec![] };
        if let Some(before) = before {
            statement.and("id < ", before.clone());
        }
        statement.push(&format!(" order by id desc limit 1 offset {}", step.saturating_sub(1)));
        let rows = statement.run(self.db()).await?;
        rows.first().map(|row| row.try_get(0).map_err(StoreError::Read)).transpose()
    }

    /// Rows that `where:` lets through, if there is one.
    pub(in crate::store) async fn sifted(
        &self,
        selection: &Selection,
        rows: Vec<SqliteRow>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        match &selection.holds {
            None => Ok(rows),
            Some(holds) => self.sift(selection.over, holds, rows).await,
        }
    }
}

fn id_of(row: &SqliteRow) -> Result<Place, StoreError> {
    row.try_get(0).map_err(StoreError::Read)
}

fn bind_of(row: &SqliteRow, place: usize) -> Result<Bind, StoreError> {
    // Asked for a number alone, NULL would be 0.
    if let Ok(number) = row.try_get::<Option<i64>, _>(place) {
        return Ok(number.map_or(Bind::Null, Bind::Int));
    }
    let text: String = row.try_get(place).map_err(StoreError::Read)?;
    Ok(Bind::Text(text))
}
