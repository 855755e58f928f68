//! A part of a store, written into a fresh one: what a bundle is made of.
//!
//! Rows are read one request at a time with all that belongs to it, handed to whoever masks them, and
//! only then written. So nothing that is masked was ever in the new file, not even on a page that was
//! freed again.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::readable::{self, Readable};
use super::stats::task_counter;
use super::{Store, StoreError};
use crate::id::{EventId, ReplayId, RequestId, TaskId};
use crate::task::TaskStatus;

/// How many requests are read together, in one view of the store.
const TOGETHER: usize = 32;
/// As many of one correlation id as a trace shows, and one more, so that it says that there are more.
const CORRELATED_MAX: i64 = 201;

/// What stands in one column of a row.
pub(crate) use rusqlite::types::Value as Cell;

/// Rows of one table.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) table: &'static str,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Rows {
    /// The place of a column.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// A request and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) source: String,
    pub(crate) rows: Vec<Rows>,
}

/// What is copied: closed, so that whatever is looked at in it is whole.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Closure {
    pub(crate) requests: BTreeSet<RequestId>,
    pub(crate) events: BTreeSet<EventId>,
    pub(crate) replays: BTreeSet<ReplayId>,
}

/// How many rows there are of everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) tasks: u64,
    pub(crate) attempts: u64,
    pub(crate) entries: u64,
    pub(crate) revisions: u64,
    pub(crate) plans: u64,
    pub(crate) replays: u64,
    pub(crate) drift: u64,
    pub(crate) dead_letters: u64,
    pub(crate) rejected: u64,
}

/// A copy under way.
pub(crate) struct Copying {
    from: Connection,
    to: Connection,
    columns: Vec<(&'static str, Vec<String>)>,
}

/// The tables that are copied, and in what order their rows are read.
const TABLES: [(&str, &str); 13] = [
    ("request", "id"),
    ("body", "id"),
    ("event", "id"),
    ("task", "id"),
    ("attempt", "task_id, attempt"),
    ("timeline", "seq"),
    ("revision", "event_id, number"),
    ("plan", "id"),
    ("plan_item", "plan_id, place"),
    ("plan_reading", "plan_id, event_id"),
    ("replay", "id"),
    ("replay_item", "replay_id, place"),
    ("drift", "id"),
];

/// Rows of sources' types: not of requests.
const OF_TYPES: [(&str, &str); 2] =
    [("contract", "source, type, version"), ("watched", "source, type")];

fn order_of(table: &str) -> &'static str {
    let known = TABLES.iter().chain(&OF_TYPES).find(|(name, _)| *name == table);
    known.map_or("1", |(_, order)| *order)
}

impl Store {
    /// Begins a copy into a new file at `to`, which must not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be made, or the store's schema is not this version's.
    pub(crate) fn begin_copy(&self, to: &Path) -> Result<Copying, StoreError> {
        Copying::new(&self.0.read_from, to)
    }
}

impl Copying {
    fn new(from: &Readable, to: &Path) -> Result<Self, StoreError> {
        let from = from.connect()?;
        readable::check_version(&from)?;
        let to = fresh(to)?;
        let mut columns = Vec::new();
        for (table, _) in TABLES.iter().chain(&OF_TYPES) {
            columns.push((*table, columns_of(&to, table)?));
        }
        Ok(Self { from, to, columns })
    }

    fn columns(&self, table: &str) -> &[String] {
        let known = self.columns.iter().find(|(name, _)| *name == table);
        known.map_or(&[], |(_, columns)| columns)
    }

    /// Rows of `table` for which `condition` holds.
    fn read(
        &self,
        table: &'static str,
        condition: &str,
        binds: &[Value],
    ) -> Result<Rows, StoreError> {
        let columns = self.columns(table).to_vec();
        let names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
        let sql = format!(
            "select {} from {table} where {condition} order by {}",
            names.join(", "),
            order_of(table)
        );
        let mut statement = self.from.prepare_cached(&sql)?;
        let mut found = statement.query(params_from_iter(binds))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push((0..columns.len()).map(|i| row.get(i)).collect::<Result<Vec<Value>, _>>()?);
        }
        Ok(Rows { table, columns, rows })
    }

    fn ids<T: Ord>(
        &self,
        sql: &str,
        binds: &[Value],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<BTreeSet<T>, StoreError> {
        let mut statement = self.from.prepare_cached(sql)?;
        let mut found = statement.query(params_from_iter(binds))?;
        let mut ids = BTreeSet::new();
        while let Some(row) = found.next()? {
            if let Some(bytes) = row.get::<_, Option<Vec<u8>>>(0)? {
                ids.extend(read(&bytes));
            }
        }
        Ok(ids)
    }

    /// Adds what belongs to a selection: the requests of its events, what else those brought, what is
    /// under the same correlation ids, and the replays that touched any of it.
    pub(crate) fn close(
        &self,
        events: &BTreeSet<EventId>,
        requests: &BTreeSet<RequestId>,
    ) -> Result<Closure, StoreError> {
        let mut closure =
            Closure { requests: requests.clone(), events: events.clone(), ..Closure::default() };
        let mut correlations = BTreeSet::new();
        for event in events {
            self.add_of_event(*event, &mut closure, &mut correlations)?;
        }
        for request in requests {
            let sql = "select correlation_id from request where id = $1";
            correlations.extend(self.texts(sql, &[blob(request.bytes())])?);
        }
        for correlation in correlations {
            self.add_correlated(&correlation, &mut closure)?;
        }
        for request in closure.requests.clone() {
            self.add_of_request(request, &mut closure)?;
        }
        for event in closure.events.clone() {
            let sql = "select replay_id from timeline
                       where event_id = $1 and replay_id is not null";
            let found = self.ids(sql, &[blob(event.bytes())], ReplayId::from_bytes)?;
            closure.replays.extend(found);
        }
        Ok(closure)
    }

    fn add_of_event(
        &self,
        event: EventId,
        closure: &mut Closure,
        correlations: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let id = [blob(event.bytes())];
        let sql = "select request_id from event where id = $1";
        closure.requests.extend(self.ids(sql, &id, RequestId::from_bytes)?);
        // Requests that brought it again.
        let sql = "select request_id from timeline where event_id = $1 and request_id is not null";
        closure.requests.extend(self.ids(sql, &id, RequestId::from_bytes)?);
        let sql = "select correlation_id from event where id = $1";
        correlations.extend(self.texts(sql, &id)?);
        Ok(())
    }

    fn add_correlated(&self, id: &str, closure: &mut Closure) -> Result<(), StoreError> {
        let binds = [Value::Text(id.to_owned()), Value::Integer(CORRELATED_MAX)];
        let sql = "select id from request where correlation_id = $1 order by id limit $2";
        closure.requests.extend(self.ids(sql, &binds, RequestId::from_bytes)?);
        let sql = "select id from event where correlation_id = $1 order by id limit $2";
        let events = self.ids(sql, &binds, EventId::from_bytes)?;
        for event in &events {
            let sql = "select request_id from event where id = $1";
            let found = self.ids(sql, &[blob(event.bytes())], RequestId::from_bytes)?;
            closure.requests.extend(found);
        }
        closure.events.extend(events);
        Ok(())
    }

    fn add_of_request(&self, request: RequestId, closure: &mut Closure) -> Result<(), StoreError> {
        let id = [blob(request.bytes())];
        let sql = "select id from event where request_id = $1 and place > 0";
        closure.events.extend(self.ids(sql, &id, EventId::from_bytes)?);
        let sql = "select first_event_id from request where id = $1";
        closure.events.extend(self.ids(sql, &id, EventId::from_bytes)?);
        let sql = "select replay_id from timeline
                   where request_id = $1 and event_id is null and replay_id is not null";
        closure.replays.extend(self.ids(sql, &id, ReplayId::from_bytes)?);
        Ok(())
    }

    fn texts(&self, sql: &str, binds: &[Value]) -> Result<Vec<String>, StoreError> {
        let mut statement = self.from.prepare_cached(sql)?;
        let mut found = statement.query(params_from_iter(binds))?;
        let mut texts = Vec::new();
        while let Some(row) = found.next()? {
            texts.extend(row.get::<_, Option<String>>(0)?);
        }
        Ok(texts)
    }

    /// The request with everything of it that is in the closure.
    fn story(&self, request: RequestId, closure: &Closure) -> Result<Option<Story>, StoreError> {
        let id = [blob(request.bytes())];
        let of_request = self.read("request", "id = $1", &id)?;
        let Some(row) = of_request.rows.first() else { return Ok(None) };
        let text = |name: &str| match of_request.column(name).and_then(|i| row.get(i)) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let source = text("source");
        let body = of_request.column("body_id").and_then(|i| row.get(i)).cloned();
        let body = self.read("body", "id = $1", &[body.unwrap_or(Value::Null)])?;
        let mut events = self.read("event", "request_id = $1 and place > 0", &id)?;
        // The first of them stands under no index of its request.
        let first = of_request.column("first_event_id").and_then(|i| row.get(i)).cloned();
        let first = self.read(
            "event",
            "id = $1 and request_id = $2 and place = 0",
            &[first.unwrap_or(Value::Null), id[0].clone()],
        )?;
        events.rows.splice(0..0, first.rows);
        events.rows.retain(|row| {
            let Some(Value::Blob(bytes)) = row.first() else { return false };
            EventId::from_bytes(bytes).is_some_and(|id| closure.events.contains(&id))
        });
        let mut rows = vec![of_request, body];
        let ids: Vec<Value> = events.rows.iter().filter_map(|row| row.first().cloned()).collect();
        rows.push(events);
        rows.push(self.read("timeline", "request_id = $1 and event_id is null", &id)?);
        for event in ids {
            let event = [event];
            rows.push(self.read("task", "event_id = $1", &event)?);
            rows.push(self.read(
                "attempt",
                "task_id in (select id from task where event_id = $1)",
                &event,
            )?);
            rows.push(self.read("timeline", "event_id = $1", &event)?);
            rows.push(self.read("revision", "event_id = $1", &event)?);
        }
        rows.retain(|rows| !rows.rows.is_empty());
        Ok(Some(Story { source, rows }))
    }

    /// The rows of replays and plans that hold texts.
    pub(crate) fn shared(&self, closure: &Closure) -> Result<Story, StoreError> {
        let mut story = Story { source: String::new(), rows: Vec::new() };
        for replay in &closure.replays {
            let id = [blob(replay.bytes())];
            story.rows.push(self.read("replay", "id = $1", &id)?);
            story.rows.push(self.read("timeline", "replay_id = $1 and event_id is null", &id)?);
            let plan = "id = (select plan_id from replay where id = $1)";
            story.rows.push(self.read("plan", plan, &id)?);
        }
        Ok(story)
    }

    /// The key under which the store digests: pseudonyms are made with it, and it is never copied.
    pub(crate) fn key(&self) -> Result<[u8; 32], StoreError> {
        let found = self.texts("select value from meta where name = 'digest_key'", &[])?;
        let mut key = [0; 32];
        if let Some(text) = found.first() {
            hex::decode_to_slice(text, &mut key)
                .map_err(|_| StoreError::Value { what: "a digest key" })?;
        }
        Ok(key)
    }

    /// Copies every request of the closure. `mask` sees each before it is written, `told` how many are
    /// done.
    pub(crate) fn stories(
        &mut self,
        closure: &Closure,
        mut mask: impl FnMut(&mut Story),
        mut told: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let requests: Vec<RequestId> = closure.requests.iter().copied().collect();
        let mut done = 0;
        for some in requests.chunks(TOGETHER) {
            self.from.execute_batch("begin")?;
            let read: Result<Vec<_>, StoreError> =
                some.iter().map(|id| self.story(*id, closure)).collect();
            self.from.execute_batch("commit")?;
            self.to.execute_batch("begin")?;
            for mut story in read?.into_iter().flatten() {
                mask(&mut story);
                for rows in &story.rows {
                    self.write(rows)?;
                }
                done += 1;
            }
            self.to.execute_batch("commit")?;
            told(done);
        }
        Ok(())
    }

    /// Copies the replays and their plans whole: what each item came to. Of items outside of the
    /// closure that died the task is there, for what it died of, and nothing else.
    pub(crate) fn replays(
        &mut self,
        closure: &Closure,
        mut mask: impl FnMut(&mut Story),
    ) -> Result<(), StoreError> {
        let mut plans: BTreeSet<Vec<u8>> = BTreeSet::new();
        for event in &closure.events {
            let sql = "select plan_id from revision where event_id = $1 and plan_id is not null";
            plans.extend(self.ids(sql, &[blob(event.bytes())], |b| Some(b.to_vec()))?);
        }
        for replay in &closure.replays {
            let id = [blob(replay.bytes())];
            let sql = "select plan_id from replay where id = $1";
            plans.extend(self.ids(sql, &id, |b| Some(b.to_vec()))?);
            let mut story = Story { source: String::new(), rows: Vec::new() };
            story.rows.push(self.read("replay", "id = $1", &id)?);
            story.rows.push(self.read("timeline", "replay_id = $1 and event_id is null", &id)?);
            mask(&mut story);
            self.to.execute_batch("begin")?;
            story.rows.iter().try_for_each(|rows| self.write(rows))?;
            self.pages("replay_item", "replay_id", &id[0])?;
            self.to.execute_batch("commit")?;
            self.dead_items(*replay, closure, &mut mask)?;
        }
        for plan in plans {
            let id = Value::Blob(plan);
            let mut story = Story { source: String::new(), rows: Vec::new() };
            story.rows.push(self.read("plan", "id = $1", std::slice::from_ref(&id))?);
            mask(&mut story);
            self.to.execute_batch("begin")?;
            story.rows.iter().try_for_each(|rows| self.write(rows))?;
            self.pages("plan_item", "plan_id", &id)?;
            self.to.execute_batch("commit")?;
            self.readings(&id, closure, &mut mask)?;
        }
        Ok(())
    }

    /// Rows without text of anybody's, a page at a time.
    fn pages(&self, table: &'static str, of: &str, id: &Value) -> Result<(), StoreError> {
        let mut behind = -1;
        loop {
            let condition = format!("{of} = $1 and place > $2 and place <= $3");
            let high: Option<i64> = self.from.query_row(
                &format!(
                    "select max(place) from (select place from {table}
                     where {of} = $1 and place > $2 order by place limit 1000)"
                ),
                rusqlite::params![id, behind],
                |row| row.get(0),
            )?;
            let Some(high) = high else { return Ok(()) };
            let binds = [id.clone(), Value::Integer(behind), Value::Integer(high)];
            let mut rows = self.read(table, &condition, &binds)?;
            // An ordering key is a value of a payload.
            if let Some(key) = rows.column("order_key") {
                rows.rows.iter_mut().for_each(|row| row[key] = Value::Null);
            }
            self.write(&rows)?;
            behind = high;
        }
    }

    /// How events of the closure read in a plan.
    fn readings(
        &self,
        plan: &Value,
        closure: &Closure,
        mask: &mut impl FnMut(&mut Story),
    ) -> Result<(), StoreError> {
        let sql = "select event_id from plan_reading where plan_id = $1";
        let read = self.ids(sql, std::slice::from_ref(plan), EventId::from_bytes)?;
        self.to.execute_batch("begin")?;
        for event in read.intersection(&closure.events) {
            let id = blob(event.bytes());
            let sources =
                self.texts("select source from event where id = $1", std::slice::from_ref(&id))?;
            let binds = [plan.clone(), id];
            let rows = self.read("plan_reading", "plan_id = $1 and event_id = $2", &binds)?;
            let source = sources.into_iter().next().unwrap_or_default();
            let mut story = Story { source, rows: vec![rows] };
            mask(&mut story);
            story.rows.iter().try_for_each(|rows| self.write(rows))?;
        }
        self.to.execute_batch("commit")?;
        Ok(())
    }

    /// The tasks of a replay's dead items that are not in the closure.
    fn dead_items(
        &self,
        replay: ReplayId,
        closure: &Closure,
        mask: &mut impl FnMut(&mut Story),
    ) -> Result<(), StoreError> {
        let sql = "select item from replay_item where replay_id = $1 and is_request = 0
                   and state = 'ended' and verdict in ('dead', 'discarded')";
        let tasks = self.ids(sql, &[blob(replay.bytes())], TaskId::from_bytes)?;
        for task in tasks {
            let id = [blob(task.bytes())];
            let sql = "select event_id from task where id = $1";
            let events = self.ids(sql, &id, EventId::from_bytes)?;
            if events.is_empty() || events.iter().any(|event| closure.events.contains(event)) {
                continue;
            }
            let sql = "select request_id from event
                       where id = (select event_id from task where id = $1)";
            let requests = self.ids(sql, &id, RequestId::from_bytes)?;
            let only = Closure { events, ..Closure::default() };
            for request in requests {
                let Some(mut story) = self.story(request, &only)? else { continue };
                mask(&mut story);
                for mut rows in story.rows.into_iter().filter(|rows| rows.table == "task") {
                    rows.rows.retain(|row| row.first() == Some(&id[0]));
                    self.write(&rows)?;
                }
            }
        }
        Ok(())
    }

    /// Copies findings, contracts and counts of what the copied events are of.
    pub(crate) fn of_types(&mut self, mut mask: impl FnMut(&mut Story)) -> Result<(), StoreError> {
        let mut types: BTreeSet<(String, String)> = BTreeSet::new();
        {
            let mut statement = self.to.prepare("select distinct source, type from event")?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let (source, event_type): (String, String) = (row.get(0)?, row.get(1)?);
                types.insert((source.clone(), String::new()));
                types.insert((source, event_type));
            }
        }
        self.to.execute_batch("begin")?;
        for (source, event_type) in types {
            let binds = [Value::Text(source.clone()), Value::Text(event_type)];
            let mut story = Story { source, rows: Vec::new() };
            for table in ["drift", "contract", "watched"] {
                story.rows.push(self.read(table, "source = $1 and type = $2", &binds)?);
            }
            // What is being learned is nobody's answer yet.
            for rows in &mut story.rows {
                if let Some(learning) = rows.column("learning") {
                    rows.rows.iter_mut().for_each(|row| row[learning] = Value::Null);
                }
            }
            mask(&mut story);
            story.rows.iter().try_for_each(|rows| self.write(rows))?;
        }
        self.to.execute_batch("commit")?;
        Ok(())
    }

    fn write(&self, rows: &Rows) -> Result<(), StoreError> {
        if rows.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = rows.columns.iter().map(|name| format!("\"{name}\"")).collect();
        let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "insert or ignore into {} ({}) values ({})",
            rows.table,
            names.join(", "),
            places.join(", ")
        );
        let mut statement = self.to.prepare_cached(&sql)?;
        for row in &rows.rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }

    /// Writes the sums of what was copied, and closes the file: it is one file then, which can be read
    /// where nothing can be written.
    pub(crate) fn finish(self) -> Result<Copied, StoreError> {
        let mut sums: Vec<(String, &str)> = vec![
            ("'events', '', count(*) from event".to_owned(), ""),
            ("'requests', '', count(*) from request where status <> 'rejected'".to_owned(), ""),
            ("'rejected', '', count(*) from request where status = 'rejected'".to_owned(), ""),
            ("'dead_requests', '', count(*) from request where status = 'dead'".to_owned(), ""),
            ("'duplicates', '', coalesce(sum(duplicates), 0) from event".to_owned(), ""),
            ("'drift', grade, count(*) from drift where status = 'open'".to_owned(), "grade"),
        ];
        for status in TaskStatus::ALL {
            sums.push((
                format!(
                    "'{}', destination, count(*) from task
                     where status = '{}' and event_id in (select id from event)",
                    task_counter(*status),
                    status.as_str()
                ),
                "destination",
            ));
        }
        for status in ["running", "paused", "done", "cancelled"] {
            let sum =
                format!("'replay.{status}', '', count(*) from replay where status = '{status}'");
            sums.push((sum, ""));
        }
        self.to.execute_batch("begin")?;
        for (sum, by) in sums {
            let by = if by.is_empty() { String::new() } else { format!(" group by {by}") };
            let sql = format!("insert into counter (daemon, name, of, value) select '', {sum}{by}");
            self.to.execute_batch(&sql)?;
        }
        self.to.execute_batch("insert into meta (name, value) values ('clean', 'yes')")?;
        self.to.execute_batch("commit")?;
        let count = |sql: &str| -> Result<u64, StoreError> {
            let count: i64 = self.to.query_row(sql, [], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        let copied = Copied {
            requests: count("select count(*) from request")?,
            events: count("select count(*) from event")?,
            tasks: count("select count(*) from task where event_id in (select id from event)")?,
            attempts: count("select count(*) from attempt")?,
            entries: count("select count(*) from timeline")?,
            revisions: count("select count(*) from revision")?,
            plans: count("select count(*) from plan")?,
            replays: count("select count(*) from replay")?,
            drift: count("select count(*) from drift")?,
            dead_letters: count(
                "select (select count(*) from task where status = 'dead'
                            and event_id in (select id from event))
                      + (select count(*) from request where status = 'dead')",
            )?,
            rejected: count("select count(*) from request where status = 'rejected'")?,
        };
        self.to.close().map_err(|(_, error)| StoreError::Write(error))?;
        Ok(copied)
    }
}

fn blob(bytes: &[u8; 16]) -> Value {
    Value::Blob(bytes.to_vec())
}

/// The columns that are written; those that follow from others are not.
fn columns_of(connection: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
    let sql = format!("select name from pragma_table_xinfo('{table}') where hidden = 0");
    let mut statement = connection.prepare(&sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(names.collect::<Result<Vec<_>, _>>()?)
}

/// A new store in one file, without anything in it: two made at different times are the same.
fn fresh(path: &Path) -> Result<Connection, StoreError> {
    let file = std::fs::OpenOptions::new();
    drop(
        private(file)
            .create_new(true)
            .write(true)
            .open(path)
            .map_err(|source| StoreError::File { path: path.to_owned(), source })?,
    );
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // Nobody needs it if it is not finished.
    connection.execute_batch(
        "pragma page_size = 8192; pragma journal_mode = off; pragma synchronous = off;
         pragma temp_store = memory; pragma cache_size = -8192;",
    )?;
    readable::lay_out(&connection)?;
    Ok(connection)
}

fn private(mut options: std::fs::OpenOptions) -> std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
    options
}

/// Whether the file at `path` has exactly the tables and indexes that this version makes, and is sound.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if not.
pub(crate) fn check_whole(path: &Path) -> Result<(), StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.execute_batch("pragma trusted_schema = off; pragma cell_size_check = on;")?;
    readable::check_version(&connection)?;
    let own = Connection::open_in_memory()?;
    readable::lay_out(&own)?;
    if schema_of(&connection)? != schema_of(&own)? {
        return Err(StoreError::Corrupt { found: "its tables are not RelayFlow's".to_owned() });
    }
    let found: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt { found }) }
}

fn schema_of(connection: &Connection) -> Result<Vec<(String, String, String)>, StoreError> {
    let mut statement = connection.prepare(
        "select type, name, coalesce(sql, '') from sqlite_schema
         where name not like 'sqlite_stat%' order by type, name",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}
