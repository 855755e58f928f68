//! A filter as conditions in SQL. The text depends on the shape of the filter alone: every value is
//! bound, so no value can become a part of a statement.

mod condition;
mod once;
mod search;
mod series;
mod sort;

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use self::condition::{Builder, id_at};
pub use self::search::Found;
pub(crate) use self::search::{CONTENT_TIME, SEARCH_TIME};
pub use self::sort::{After, Sort};
use super::{Db, Store, StoreError, on_db};
use crate::expr::{Expression, Scope};
use crate::filter::{Field, Filter, Test, Word};
use crate::id::EventId;

/// A filter asks for what a list does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("`{field}` cannot be asked of {over}")]
    NotHere { field: String, over: &'static str },
    #[error("`{what}` is not supported yet")]
    NotYet { what: String },
    #[error("`{what}` is asked only inside a time window: add since:24h, or another")]
    NoWindow { what: String },
    #[error("a filter has one `where:`; join several with `and`")]
    SeveralExpressions,
    #[error("`{field}` is nothing that {over} can be sorted by: wanted {known}")]
    NoSort { field: String, over: &'static str, known: String },
    #[error(
        "more than {most} match, too many to sort by `{field}`: add since:24h, or another term"
    )]
    TooManyToSort { field: &'static str, most: usize },
}

/// Stands for the answer of `where:` while the condition is built; no bound value can be it.
const HOLDS: &str = "(:where:)";
/// Rows that are read at once where each is looked into.
const BATCH: usize = 256;

/// What is selected from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Events,
    Tasks,
    /// Tasks that are dead; a `status` in the filter widens it.
    DeadTasks,
    Requests,
}

impl Over {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Tasks => "tasks",
            Self::DeadTasks => "dead letters",
            Self::Requests => "requests",
        }
    }

    fn from(self) -> &'static str {
        match self {
            Self::Events => "event e",
            Self::Tasks | Self::DeadTasks => "task t join event e on e.id = t.event_id",
            Self::Requests => "request r",
        }
    }

    /// The same where what leads to the rows is known. Without statistics the planner takes any index
    /// for one that names few, and of a source that sends most of everything it reads all.
    fn led_by(self, lead: Lead) -> &'static str {
        match (self, lead) {
            (Self::Events, _) => "event e indexed by sqlite_autoindex_event_1",
            (Self::Requests, _) => "request r indexed by sqlite_autoindex_request_1",
            (Self::Tasks | Self::DeadTasks, Lead::Id) => {
                "task t indexed by sqlite_autoindex_task_1
                 cross join event e indexed by sqlite_autoindex_event_1 on e.id = t.event_id"
            }
            (Self::Tasks | Self::DeadTasks, Lead::End) => {
                "task t indexed by task_given_up
                 cross join event e indexed by sqlite_autoindex_event_1 on e.id = t.event_id"
            }
            (Self::Tasks | Self::DeadTasks, Lead::Event) => {
                "event e indexed by sqlite_autoindex_event_1
                 cross join task t indexed by task_effect on t.event_id = e.id"
            }
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Events => "event",
            Self::Tasks | Self::DeadTasks => "task",
            Self::Requests => "request",
        }
    }

    /// The column that lists are in the order of.
    fn id(self) -> &'static str {
        match self {
            Self::Events => "e.id",
            Self::Tasks | Self::DeadTasks => "t.id",
            Self::Requests => "r.id",
        }
    }

    fn has_tasks(self) -> bool {
        matches!(self, Self::Tasks | Self::DeadTasks)
    }
}

/// What leads to the rows of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// Their own ids, or a stretch of them.
    Id,
    /// When tasks were given up: a stretch of that.
    End,
    /// Their events' ids.
    Event,
}

/// From which end a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Newest,
    Oldest,
}

impl Way {
    /// How what comes next compares with a cursor.
    pub(super) fn beyond(self) -> &'static str {
        match self {
            Self::Newest => "<",
            Self::Oldest => ">",
        }
    }

    pub(super) fn order(self) -> &'static str {
        match self {
            Self::Newest => "desc",
            Self::Oldest => "asc",
        }
    }
}

/// A value on its way into a statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bind {
    Text(String),
    Int(i64),
    Blob(Vec<u8>),
    Null,
}

/// A filter over one kind of thing, checked.
#[derive(Debug, Clone)]
pub struct Selection {
    over: Over,
    condition: String,
    binds: Vec<Bind>,
    holds: Option<Holds>,
    filter: Filter,
    /// Of what was given up: the part of the condition that its index alone tells, and whether that is
    /// all of it.
    pub(super) of_given_up: (String, Vec<Bind>),
    pub(super) is_of_given_up: bool,
    /// Of dead letters: what is asked of their events and an index of dead ones tells.
    pub(super) of_dead_events: Option<(String, Vec<Bind>)>,
    /// Whether an index names few rows among which all are.
    is_few: bool,
    /// No row has a lesser id.
    lower: Option<Vec<u8>>,
    /// No row has this id or a greater one, but what was read long after it was received.
    upper: Option<Vec<u8>>,
}

/// A `where:`, asked of each row that the rest of the filter lets through.
#[derive(Debug, Clone)]
struct Holds {
    expression: Arc<Expression>,
    /// The condition if it does not hold; `condition` is as if it did.
    otherwise: String,
}

/// A statement under way.
#[derive(Debug)]
pub(super) struct Statement {
    text: String,
    binds: Vec<Bind>,
}

impl Selection {
    /// The filter as conditions over `over`.
    ///
    /// # Errors
    ///
    /// [`QueryError`] when the filter asks for what such things do not have.
    pub fn new(filter: &Filter, over: Over) -> Result<Self, QueryError> {
        if let Some(term) = filter.terms().into_iter().find(|t| t.field.wants_window())
            && !filter.has_window()
        {
            return Err(QueryError::NoWindow { what: format!("{}:", term.field.name()) });
        }
        let mut builder = Builder { over, text: String::new(), binds: Vec::new(), holds: None };
        builder.filter(filter)?;
        let mut condition = builder.text;
        if over == Over::DeadTasks && !filter.mentions(&Field::Status) {
            condition = format!("t.status = 'dead' and ({condition})");
        }
        let holds = builder.holds.map(|expression| Holds {
            expression: Arc::new(expression),
            otherwise: condition.replace(HOLDS, "(1 = 0)"),
        });
        let condition = condition.replace(HOLDS, "(1 = 1)");
        let (lower, upper) = ends_of(filter);
        let (of_given_up, is_of_given_up) = series::of_given_up(filter);
        let mentions_status = filter.mentions(&Field::Status);
        let of_dead_events = series::of_what(filter).filter(|_| !mentions_status);
        Ok(Self {
            over,
            condition,
            binds: builder.binds,
            holds,
            filter: filter.clone(),
            of_given_up,
            is_of_given_up,
            of_dead_events,
            is_few: parts_of(filter).iter().any(|part| names_few(part, over)),
            lower,
            // A task may be much younger than its event.
            upper: upper.filter(|_| !over.has_tasks()),
        })
    }

    /// The same narrowed by a condition of ours, without values.
    pub(super) fn and(&self, condition: &str) -> Self {
        let condition = format!("({}){condition}", self.condition);
        Self { condition, ..self.clone() }
    }

    /// Whatever index the planner takes.
    pub(super) fn select(&self, columns: &str) -> Statement {
        self.select_from(self.over.from(), columns, Vec::new())
    }

    /// Where a condition of ours leads to the rows, which is to be added.
    pub(super) fn select_by(&self, lead: Lead, columns: &str) -> Statement {
        self.select_from(self.over.led_by(lead), columns, Vec::new())
    }

    /// The rows whose ids are between two of ours, either end open. Of several bounds of a column the
    /// planner takes the first, so that ours come before the filter's own.
    pub(super) fn select_between(
        &self,
        columns: &str,
        from: Option<&Vec<u8>>,
        before: Option<&Vec<u8>>,
    ) -> Statement {
        let id = self.over.id();
        let bounds = [(">=", from), ("<", before)].into_iter();
        let bounds = bounds.filter_map(|(is, at)| Some((format!("{id} {is} "), at?.clone())));
        self.select_from(self.over.led_by(Lead::Id), columns, bounds.collect())
    }

    fn select_from(&self, from: &str, columns: &str, bounds: Vec<(String, Vec<u8>)>) -> Statement {
        let condition = &self.condition;
        let mut binds = self.binds.clone();
        let mut first = String::new();
        for (comparison, value) in bounds {
            binds.push(Bind::Blob(value));
            let _ = write!(first, "{comparison}${} and ", binds.len());
        }
        let text = match &self.holds {
            None => format!("select {columns} from {from} where {first}({condition})"),
            Some(Holds { otherwise, .. }) => format!(
                "select {columns}, ({condition}) as if_so, ({otherwise}) as if_not from {from}
                 where {first}(({condition}) or ({otherwise}))"
            ),
        };
        Statement { text, binds }
    }

    /// Whether all of it are dead letters, or were: tasks that `task_given_up` has.
    pub(super) fn is_given_up(&self) -> bool {
        let is_dead = |part: &Filter| {
            let Filter::Term(term) = part else { return false };
            let is_one = |word: &Word| matches!(word.text.as_str(), "dead" | "discarded");
            term.field == Field::Status
                && matches!(&term.test, Test::OneOf(words) if words.iter().all(is_one))
        };
        let says_dead = parts_of(&self.filter).iter().any(is_dead);
        let is_default = self.over == Over::DeadTasks && !self.filter.mentions(&Field::Status);
        !self.is_few && (says_dead || is_default)
    }

    /// How many there are, counting no further than one more than `most`.
    pub(super) async fn count(&self, db: &Db, most: usize) -> Result<u64, StoreError> {
        let mut inner = self.select("1");
        let _ = write!(inner.text, " limit {}", most.saturating_add(1));
        inner.text = format!("select count(*) from ({})", inner.text);
        let rows = inner.run(db).await?;
        let count: i64 = rows
            .first()
            .map_or(Ok(0), |row| sqlx::Row::try_get(row, 0))
            .map_err(StoreError::Read)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether nothing is asked.
    pub(super) fn is_everything(&self) -> bool {
        self.filter == Filter::All
    }

    /// Whether rows are looked into one by one, so that counting them is reading them.
    #[must_use]
    pub fn looks_into(&self) -> bool {
        self.holds.is_some()
    }
}

/// The parts that a filter joins with `and`.
fn parts_of(filter: &Filter) -> &[Filter] {
    if let Filter::And(parts) = filter { parts } else { std::slice::from_ref(filter) }
}

/// Whether an index has what a part asks for, and it can only be little.
fn names_few(part: &Filter, over: Over) -> bool {
    let Filter::Term(term) = part else { return false };
    if let (Over::Requests, Test::OneOf(words)) = (over, &term.test) {
        let is_odd =
            |word: &str| matches!(word, "rejected" | "dead" | "discarded" | "invalid" | "missing");
        if matches!(term.field, Field::Status | Field::Sig) {
            return words.iter().all(|word| is_odd(&word.text));
        }
    }
    let is_named = matches!(
        term.field,
        Field::Id | Field::External | Field::Key | Field::Corr | Field::Request | Field::Replay
    );
    let is_whole = |words: &Vec<Word>| words.iter().all(|word| !word.is_wild);
    is_named && matches!(&term.test, Test::OneOf(words) if is_whole(words))
}

/// The ids between which all are that were received in the filter's window.
fn ends_of(filter: &Filter) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut lower, mut upper) = (None, None);
    for part in parts_of(filter) {
        if let Filter::Term(term) = part
            && term.field == Field::Received
            && let Test::Between { low, high, .. } = &term.test
        {
            let low = low.map(|low| id_at(low.saturating_sub(condition::DRAWN_BEFORE_US)));
            let high =
                high.map(|high| id_at(high.saturating_add(condition::DRAWN_BEHIND_US + 1000)));
            lower = lower.max(low);
            upper = match (upper, high) {
                (Some(a), Some(b)) => Some(std::cmp::min::<Vec<u8>>(a, b)),
                (a, b) => a.or(b),
            };
        }
    }
    (lower, upper)
}

impl Statement {
    pub(super) fn and(&mut self, comparison: &str, value: Vec<u8>) {
        self.binds.push(Bind::Blob(value));
        let _ = write!(self.text, " and {comparison}${}", self.binds.len());
    }

    pub(super) fn and_pair(&mut self, comparison: &str, first: i64, second: Vec<u8>) {
        self.binds.push(Bind::Int(first));
        self.binds.push(Bind::Blob(second));
        let n = self.binds.len();
        let _ = write!(self.text, " and {comparison}(${}, ${n})", n - 1);
    }

    pub(super) fn new(text: String, binds: Vec<Bind>) -> Self {
        Self { text, binds }
    }

    pub(super) fn and_at(&mut self, column: &str, value: i64) {
        self.binds.push(Bind::Int(value));
        let _ = write!(self.text, " and {column} = ${}", self.binds.len());
    }

    pub(super) fn and_text(&mut self, column: &str, value: Option<&str>) {
        self.binds.push(value.map_or(Bind::Null, |value| Bind::Text(value.to_owned())));
        let _ = write!(self.text, " and {column} is ${}", self.binds.len());
    }

    /// Any of these ids; the text is the same for up to `most` of them.
    pub(super) fn and_any(&mut self, column: &str, ids: &[Vec<u8>], most: usize) {
        let Some(last) = ids.last() else { return };
        let _ = write!(self.text, " and {column} in (");
        for place in 0..most {
            self.binds.push(Bind::Blob(ids.get(place).unwrap_or(last).clone()));
            let comma = if place == 0 { "" } else { ", " };
            let _ = write!(self.text, "{comma}${}", self.binds.len());
        }
        self.text.push(')');
    }

    pub(super) async fn fetch(
        mut self,
        db: &Db,
        order: &str,
        limit: usize,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let _ = write!(self.text, "{order} limit {limit}");
        self.run(db).await
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) async fn run(self, db: &Db) -> Result<Vec<SqliteRow>, StoreError> {
        on_db!(db, pool => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(self.text)).persistent(false);
            for bind in self.binds {
                query = match bind {
                    Bind::Text(text) => query.bind(text),
                    Bind::Int(number) => query.bind(number),
                    Bind::Blob(bytes) => query.bind(bytes),
                    Bind::Null => query.bind(None::<String>),
                };
            }
            query.fetch_all(pool).await.map_err(StoreError::Read)
        })
    }
}

/// What of a selection is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) columns: &'a str,
    /// ` order by …`
    pub(super) order: &'a str,
    pub(super) limit: usize,
}

impl Store {
    /// The rows of a selection in order, from behind `after`. Where it looks into
    /// each event, it reads on until there are enough.
    pub(super) async fn rows<C>(
        &self,
        selection: &Selection,
        page: Page<'_>,
        mut after: Option<C>,
        narrow: impl Fn(&mut Statement, &C),
        cursor: impl Fn(&SqliteRow) -> Result<C, StoreError>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut found = Vec::new();
        loop {
            let mut statement = selection.select(page.columns);
            if let Some(after) = &after {
                narrow(&mut statement, after);
            }
            let Some(holds) = &selection.holds else {
                return statement.fetch(self.db(), page.order, page.limit).await;
            };
            let rows = statement.fetch(self.db(), page.order, BATCH).await?;
            let is_last = rows.len() < BATCH;
            after = rows.last().map(&cursor).transpose()?;
            found.extend(self.sift(selection.over, holds, rows).await?);
            if is_last || page.limit <= found.len() {
                found.truncate(page.limit);
                return Ok(found);
            }
        }
    }

    /// Rows whose event the expression lets through. What it cannot be asked of does not hold.
    async fn sift(
        &self,
        over: Over,
        holds: &Holds,
        rows: Vec<SqliteRow>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        // Of events the id is the first column, of tasks their event's is the second.
        let place = usize::from(over.has_tasks());
        let id = |row: &SqliteRow| {
            let bytes: Vec<u8> = row.try_get(place).map_err(StoreError::Read)?;
            EventId::from_bytes(&bytes).ok_or(StoreError::Value { what: "an event's id" })
        };
        let mut kept = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let group: Vec<SqliteRow> = rows.by_ref().take(64).collect();
            let ids = group.iter().map(id).collect::<Result<Vec<_>, _>>()?;
            let contexts = self.event_contexts(&ids).await?;
            for (row, id) in group.into_iter().zip(ids) {
                let steps = serde_json::Map::new();
                let is_so = contexts.iter().find(|c| c.event.id == id).is_some_and(|context| {
                    let scope =
                        Scope { event: &context.event, headers: &context.headers, steps: &steps };
                    holds.expression.holds(&scope).unwrap_or(false)
                });
                let column = if is_so { "if_so" } else { "if_not" };
                if row.try_get::<Option<bool>, _>(column).map_err(StoreError::Read)? == Some(true) {
                    kept.push(row);
                }
            }
        }
        Ok(kept)
    }
}
