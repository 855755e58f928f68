//! A filter as conditions in SQL. The text depends on the shape of the filter alone: every value is
//! bound, so no value can become a part of a statement.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Db, Store, StoreError, on_db};
use crate::expr::{Expression, Scope};
use crate::filter::{Field, Filter, Term, Test, Word};
use crate::id::{EventId, PlanId, ReplayId, RequestId, TaskId};

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
}

/// Stands for the answer of `where:` while the condition is built; no bound value can be it.
const HOLDS: &str = "(:where:)";
/// Rows that are read at once where each is looked into.
const BATCH: usize = 256;
/// How much earlier than its request was received an id may have been drawn: clocks step.
const DRAWN_BEFORE_US: i64 = 3_600_000_000;

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

    fn has_tasks(self) -> bool {
        matches!(self, Self::Tasks | Self::DeadTasks)
    }
}

/// A value on its way into a statement.
#[derive(Debug, Clone, PartialEq)]
enum Bind {
    Text(String),
    Int(i64),
    Blob(Vec<u8>),
}

/// A filter over one kind of thing, checked.
#[derive(Debug, Clone)]
pub struct Selection {
    over: Over,
    condition: String,
    binds: Vec<Bind>,
    holds: Option<Holds>,
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
            return Err(QueryError::NoWindow { what: format!("{}:", name(&term.field)) });
        }
        let mut builder = Builder { over, text: String::new(), binds: Vec::new(), holds: None };
        builder.filter(filter)?;
        let mut condition = builder.text;
        if over == Over::DeadTasks && !mentions_status(filter) {
            condition = format!("t.status = 'dead' and ({condition})");
        }
        let holds = builder.holds.map(|expression| Holds {
            expression: Arc::new(expression),
            otherwise: condition.replace(HOLDS, "(1 = 0)"),
        });
        let condition = condition.replace(HOLDS, "(1 = 1)");
        Ok(Self { over, condition, binds: builder.binds, holds })
    }

    pub(super) fn select(&self, columns: &str) -> Statement {
        let (from, condition) = (self.over.from(), &self.condition);
        let text = match &self.holds {
            None => format!("select {columns} from {from} where ({condition})"),
            Some(Holds { otherwise, .. }) => format!(
                "select {columns}, ({condition}) as if_so, ({otherwise}) as if_not from {from}
                 where (({condition}) or ({otherwise}))"
            ),
        };
        Statement { text, binds: self.binds.clone() }
    }

    /// Whether rows are looked into one by one, so that counting them is reading them.
    #[must_use]
    pub fn looks_into(&self) -> bool {
        self.holds.is_some()
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
}

/// Whether the filter says which statuses it wants.
fn mentions_status(filter: &Filter) -> bool {
    match filter {
        Filter::All => false,
        Filter::And(all) | Filter::Or(all) => all.iter().any(mentions_status),
        Filter::Not(inner) => mentions_status(inner),
        Filter::Term(term) => term.field == Field::Status,
    }
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

struct Builder {
    over: Over,
    text: String,
    binds: Vec<Bind>,
    holds: Option<Expression>,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a field that comes later cannot be asked of a list until it is given a column here"
)]
impl Builder {
    fn filter(&mut self, filter: &Filter) -> Result<(), QueryError> {
        match filter {
            Filter::All => self.text.push_str("1 = 1"),
            Filter::And(all) => self.joined(all, " and ")?,
            Filter::Or(all) => self.joined(all, " or ")?,
            Filter::Not(inner) => {
                // What is unknown is not so: `not kind:x` finds events without a kind.
                self.text.push_str("not coalesce((");
                self.filter(inner)?;
                self.text.push_str("), false)");
            }
            Filter::Term(term) => self.term(term)?,
        }
        Ok(())
    }

    fn joined(&mut self, all: &[Filter], with: &str) -> Result<(), QueryError> {
        self.text.push('(');
        for (i, one) in all.iter().enumerate() {
            if i > 0 {
                self.text.push_str(with);
            }
            self.filter(one)?;
        }
        self.text.push(')');
        Ok(())
    }

    fn bind(&mut self, value: Bind) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    fn term(&mut self, term: &Term) -> Result<(), QueryError> {
        let condition = match &term.test {
            Test::OneOf(words) => {
                let all: Vec<String> = words
                    .iter()
                    .map(|word| self.word(&term.field, word))
                    .collect::<Result<_, _>>()?;
                format!("({})", all.join(" or "))
            }
            Test::Between { low, high, .. } => self.between(&term.field, *low, *high)?,
            Test::Matches(regex) => self.matches(&term.field, regex)?,
            Test::Holds(text) => self.holds(text)?,
        };
        self.text.push_str(&condition);
        Ok(())
    }

    fn word(&mut self, field: &Field, word: &Word) -> Result<String, QueryError> {
        match field {
            Field::Id => self.id(&word.text),
            Field::Request => Ok(self.request(&word.text)),
            Field::Replay => self.replay(&word.text),
            Field::Corr => Ok(self.correlation(word)),
            Field::Key if self.over != Over::Requests => {
                Ok(self.text_is("e.provider || ':' || e.type || ':' || e.external_id", word))
            }
            Field::Sig if self.over == Over::Requests => self.signature(&word.text),
            Field::Attempts | Field::Http => self.number(field, &word.text),
            Field::Attr(attribute) if self.over != Over::Requests => {
                let path = self.bind(Bind::Text(format!("$.\"{}\"", attribute.replace('"', ""))));
                Ok(self.text_is(&format!("cast(e.attributes ->> {path} as text)"), word))
            }
            Field::Payload(path) if self.over != Over::Requests => Ok(self.payload(path, word)),
            Field::Header(header) => Ok(self.header(header, word)),
            Field::Drift if self.over != Over::Requests => Ok(match word.text.as_str() {
                "none" => "e.drift is null".to_owned(),
                _ => self.text_is("e.drift", word),
            }),
            _ => {
                let (column, is_of_task) = self.column(field)?;
                let tested = match field {
                    Field::Type | Field::Kind => self.subtree(&column, word),
                    _ => self.text_is(&column, word),
                };
                Ok(if is_of_task && !self.over.has_tasks() { of_a_task(&tested) } else { tested })
            }
        }
    }

    /// The column of a field that is text, and whether it is a task's.
    fn column(&self, field: &Field) -> Result<(String, bool), QueryError> {
        let of = if self.over == Over::Requests { "r" } else { "e" };
        let task = |column: &str| (format!("t.{column}"), true);
        let column = match field {
            Field::Source => (format!("{of}.source"), false),
            Field::Provider => (format!("{of}.provider"), false),
            Field::Status if self.over.has_tasks() => ("t.status".to_owned(), false),
            Field::Status => (format!("{of}.status"), false),
            Field::Reason if self.over == Over::Requests => ("r.reason".to_owned(), false),
            _ if self.over == Over::Requests => return Err(self.not_here(field)),
            Field::External => ("e.external_id".to_owned(), false),
            Field::Subject => ("e.subject".to_owned(), false),
            Field::Type => ("e.type".to_owned(), false),
            Field::Kind => ("e.kind".to_owned(), false),
            Field::Workflow => task("workflow"),
            Field::Step => task("step"),
            Field::Dest | Field::Queue => task("destination"),
            Field::Error => task("error_id"),
            Field::Reason => task("reason"),
            _ => return Err(self.not_here(field)),
        };
        Ok(column)
    }

    fn matches(&mut self, field: &Field, regex: &str) -> Result<String, QueryError> {
        let (column, is_of_task) = match field {
            Field::Key if self.over != Over::Requests => {
                ("(e.provider || ':' || e.type || ':' || e.external_id)".to_owned(), false)
            }
            Field::Corr => {
                let (of, id) =
                    if self.over == Over::Requests { ("r", "r.id") } else { ("e", "e.request_id") };
                (format!("coalesce({of}.correlation_id, lower(hex({id})))"), false)
            }
            _ => self.column(field)?,
        };
        let value = self.bind(Bind::Text(regex.to_owned()));
        let tested = format!("({column} is not null and {column} regexp {value})");
        Ok(if is_of_task && !self.over.has_tasks() { of_a_task(&tested) } else { tested })
    }

    fn holds(&mut self, text: &str) -> Result<String, QueryError> {
        if self.over == Over::Requests {
            return Err(self.not_here(&Field::Where));
        }
        if self.holds.as_ref().is_some_and(|known| known.text() != text) {
            return Err(QueryError::SeveralExpressions);
        }
        // It was checked when the filter was read.
        let expression = Expression::new(text).map_err(|_| self.not_here(&Field::Where))?;
        self.holds = Some(expression);
        Ok(HOLDS.to_owned())
    }

    /// A member of the payload, as text or as JSON writes it: `true`, `4200`, `1e400`.
    fn payload(&mut self, path: &str, word: &Word) -> String {
        let paths = json_paths(path);
        let all: Vec<String> = paths
            .into_iter()
            .map(|path| {
                let path = self.bind(Bind::Text(path));
                let value = self.bind(Bind::Text(word.text.clone()));
                format!("x.json ->> {path} = {value} or x.json -> {path} = {value}")
            })
            .collect();
        format!(
            "exists (select 1 from (select coalesce(e.payload, cast(substr(b.bytes,
                e.payload_from + 1, e.payload_to - e.payload_from) as text)) as json
                from request q join body b on b.id = q.body_id where q.id = e.request_id) x
             where json_valid(x.json) and ({}))",
            all.join(" or ")
        )
    }

    /// A kept header, by its name in lower case.
    fn header(&mut self, header: &str, word: &Word) -> String {
        let header = self.bind(Bind::Text(header.to_ascii_lowercase()));
        let value = self.bind(Bind::Text(word.text.clone()));
        let has = format!(
            "from json_each(q.headers) h
             where lower(h.value ->> 0) = {header} and h.value ->> 1 = {value}"
        );
        if self.over == Over::Requests {
            return format!("exists (select 1 {})", has.replace("q.headers", "r.headers"));
        }
        format!(
            "exists (select 1 from request q where q.id = e.request_id and exists (select 1 {has}))"
        )
    }

    fn not_here(&self, field: &Field) -> QueryError {
        QueryError::NotHere { field: name(field), over: self.over.name() }
    }

    fn text_is(&mut self, column: &str, word: &Word) -> String {
        if !word.is_wild {
            let value = self.bind(Bind::Text(word.text.clone()));
            return format!("{column} = {value}");
        }
        let mut pattern = String::with_capacity(word.text.len() + 8);
        for c in word.text.chars() {
            match c {
                '*' => pattern.push('%'),
                '%' | '_' | '\\' => pattern.extend(['\\', c]),
                c => pattern.push(c),
            }
        }
        let value = self.bind(Bind::Text(pattern));
        format!("{column} like {value} escape '\\'")
    }

    /// A dotted name finds its subtree: what begins with it and a dot. `/` is the character after `.`.
    fn subtree(&mut self, column: &str, word: &Word) -> String {
        if word.is_wild {
            return self.text_is(column, word);
        }
        let exact = self.bind(Bind::Text(word.text.clone()));
        let low = self.bind(Bind::Text(format!("{}.", word.text)));
        let high = self.bind(Bind::Text(format!("{}/", word.text)));
        format!("({column} = {exact} or ({column} >= {low} and {column} < {high}))")
    }

    fn number(&mut self, field: &Field, text: &str) -> Result<String, QueryError> {
        let number = text.parse().map_err(|_| self.not_here(field))?;
        self.between(field, Some(number), Some(number))
    }

    fn between(
        &mut self,
        field: &Field,
        low: Option<i64>,
        high: Option<i64>,
    ) -> Result<String, QueryError> {
        let is_request = self.over == Over::Requests;
        let (column, is_of_task) = match field {
            Field::Received if is_request => ("r.received_us", false),
            Field::Received => ("e.received_us", false),
            Field::Size if is_request => ("r.body_bytes", false),
            Field::Occurred if !is_request => ("e.occurred_us", false),
            Field::Attempts if self.over == Over::Events => ("e.attempts", false),
            Field::Attempts if self.over.has_tasks() => ("t.attempt", false),
            Field::Http if !is_request => ("t.http_status", true),
            _ => return Err(self.not_here(field)),
        };
        let mut all = Vec::new();
        if let Some(low) = low {
            let value = self.bind(Bind::Int(low));
            all.push(format!("{column} >= {value}"));
            if *field == Field::Received {
                // Ids lie in the order of time: what is older is not even looked at.
                let first = self.bind(Bind::Blob(id_at(low.saturating_sub(DRAWN_BEFORE_US))));
                let id = match self.over {
                    Over::Events => "e.id",
                    Over::Tasks | Over::DeadTasks => "t.event_id",
                    Over::Requests => "r.id",
                };
                all.push(format!("{id} >= {first}"));
            }
        }
        if let Some(high) = high {
            let value = self.bind(Bind::Int(high));
            all.push(format!("{column} <= {value}"));
        }
        if all.is_empty() {
            all.push(format!("{column} is not null"));
        }
        let tested = format!("({})", all.join(" and "));
        Ok(if is_of_task && !self.over.has_tasks() { of_a_task(&tested) } else { tested })
    }

    fn id(&mut self, text: &str) -> Result<String, QueryError> {
        if let Some(range) = RequestId::range(text) {
            let column = if self.over == Over::Requests { "r.id" } else { "e.request_id" };
            return Ok(self.range(column, range.0.bytes(), range.1.bytes()));
        }
        if ReplayId::range(text).is_some() {
            return self.replay(text);
        }
        if let Some(range) = EventId::range(text) {
            if self.over == Over::Requests {
                let inner = self.range("x.id", range.0.bytes(), range.1.bytes());
                return Ok(format!("r.id in (select x.request_id from event x where {inner})"));
            }
            return Ok(self.range("e.id", range.0.bytes(), range.1.bytes()));
        }
        if let Some(range) = TaskId::range(text).filter(|_| self.over != Over::Requests) {
            if self.over.has_tasks() {
                return Ok(self.range("t.id", range.0.bytes(), range.1.bytes()));
            }
            let inner = self.range("x.id", range.0.bytes(), range.1.bytes());
            return Ok(format!("e.id in (select x.event_id from task x where {inner})"));
        }
        let field = if PlanId::range(text).is_some() { "a plan's id" } else { "id" };
        Err(QueryError::NotHere { field: field.to_owned(), over: self.over.name() })
    }

    fn range(&mut self, column: &str, low: &[u8; 16], high: &[u8; 16]) -> String {
        if low == high {
            let value = self.bind(Bind::Blob(low.to_vec()));
            return format!("{column} = {value}");
        }
        let low = self.bind(Bind::Blob(low.to_vec()));
        let high = self.bind(Bind::Blob(high.to_vec()));
        format!("({column} between {low} and {high})")
    }

    fn request(&mut self, text: &str) -> String {
        let column = if self.over == Over::Requests { "r.id" } else { "e.request_id" };
        match RequestId::range(text) {
            Some((low, high)) => self.range(column, low.bytes(), high.bytes()),
            None => "1 = 0".to_owned(),
        }
    }

    fn replay(&mut self, text: &str) -> Result<String, QueryError> {
        let Some((low, high)) = ReplayId::range(text) else {
            return Ok("1 = 0".to_owned());
        };
        let inner = self.range("i.replay_id", low.bytes(), high.bytes());
        let items = format!("select i.item from replay_item i where {inner}");
        Ok(match self.over {
            Over::Tasks | Over::DeadTasks => format!("t.id in ({items})"),
            Over::Events => {
                format!("e.id in (select x.event_id from task x where x.id in ({items}))")
            }
            Over::Requests => format!("r.id in ({items})"),
        })
    }

    fn correlation(&mut self, word: &Word) -> String {
        let of = if self.over == Over::Requests { "r" } else { "e" };
        let id = if self.over == Over::Requests { "r.id" } else { "e.request_id" };
        if word.is_wild {
            return self.text_is(&format!("coalesce({of}.correlation_id, lower(hex({id})))"), word);
        }
        let value = self.bind(Bind::Text(word.text.clone()));
        let given = format!("{of}.correlation_id = {value}");
        match RequestId::from_trace_id(&word.text) {
            Some(request) => {
                let own = self.bind(Bind::Blob(request.bytes().to_vec()));
                format!("({given} or ({of}.correlation_id is null and {id} = {own}))")
            }
            None => given,
        }
    }

    fn signature(&mut self, word: &str) -> Result<String, QueryError> {
        match word {
            "valid" => Ok("r.status <> 'rejected'".to_owned()),
            "invalid" => Ok("r.status = 'rejected'".to_owned()),
            "missing" => Ok("(r.status = 'rejected' and r.reason = 'missing_header')".to_owned()),
            "skipped" => Ok("r.scheme like '%none'".to_owned()),
            _ => Err(self.not_here(&Field::Sig)),
        }
    }
}

/// The least id that can have been drawn at this moment.
fn id_at(us: i64) -> Vec<u8> {
    let ms = u64::try_from(us / 1000).unwrap_or(0);
    let mut bytes = ms.to_be_bytes()[2..].to_vec();
    bytes.resize(16, 0);
    bytes
}

/// A dotted path as JSON paths. A number may be a place in a list, or a name.
fn json_paths(path: &str) -> Vec<String> {
    let named = |part: &str| format!(".\"{}\"", part.replace(['"', '\\'], ""));
    let is_place = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let names: String = path.split('.').map(named).collect();
    if !path.split('.').any(is_place) {
        return vec![format!("${names}")];
    }
    let places: String = path
        .split('.')
        .map(|part| if is_place(part) { format!("[{part}]") } else { named(part) })
        .collect();
    vec![format!("${places}"), format!("${names}")]
}

fn of_a_task(tested: &str) -> String {
    format!("exists (select 1 from task t where t.event_id = e.id and {tested})")
}

/// The field as it is written.
fn name(field: &Field) -> String {
    field.name()
}
