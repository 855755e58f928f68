//! A list in another order than that of its rows' age: by one field, page by page behind the last
//! row's value and id, so that a cursor stays right under every order.

use std::fmt::Write as _;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Bind, Over, Page, QueryError, Selection, Statement};
use crate::store::{Store, StoreError};

/// The most rows that are put in order by what no index has.
const SORTED_MAX: usize = 100_000;

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    field: &'static str,
    /// In SQL, never null; `None` for the age of a row, which is the order of its id.
    key: Option<&'static str>,
    is_number: bool,
    descends: bool,
}

/// Behind which row a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// `None` where the order is that of ids.
    value: Option<Value>,
    /// The id's bytes.
    id: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
}

type Key = (&'static str, Option<&'static str>, bool);

const EVENTS: &[Key] = &[
    ("received", None, true),
    ("occurred", Some("e.occurred_us"), true),
    ("source", Some("e.source"), false),
    ("provider", Some("e.provider"), false),
    ("type", Some("e.type"), false),
    ("kind", Some("coalesce(e.kind, '')"), false),
    ("external", Some("e.external_id"), false),
    ("subject", Some("coalesce(e.subject, '')"), false),
    ("status", Some("e.status"), false),
    ("attempts", Some("e.attempts"), true),
    ("duplicates", Some("e.duplicates"), true),
];

const TASKS: &[Key] = &[
    ("created", None, true),
    ("received", Some("e.received_us"), true),
    ("source", Some("e.source"), false),
    ("type", Some("e.type"), false),
    ("workflow", Some("t.workflow"), false),
    ("step", Some("t.step"), false),
    ("dest", Some("t.destination"), false),
    ("status", Some("t.status"), false),
    ("attempts", Some("t.attempt"), true),
    ("error", Some("coalesce(t.error_id, '')"), false),
    ("http", Some("coalesce(t.http_status, -1)"), true),
    ("due", Some("t.due_us"), true),
];

const DEAD_TASKS: &[Key] = &[
    ("died", Some("coalesce(t.ended_us, 0)"), true),
    ("received", Some("e.received_us"), true),
    ("source", Some("e.source"), false),
    ("type", Some("e.type"), false),
    ("workflow", Some("t.workflow"), false),
    ("step", Some("t.step"), false),
    ("dest", Some("t.destination"), false),
    ("reason", Some("coalesce(t.reason, '')"), false),
    ("attempts", Some("t.attempt"), true),
    ("error", Some("coalesce(t.error_id, '')"), false),
    ("http", Some("coalesce(t.http_status, -1)"), true),
];

/// Of requests among dead letters: the same fields, empty where only a task has them.
const DEAD_REQUESTS: &[Key] = &[
    ("died", Some("coalesce(r.ended_us, 0)"), true),
    ("received", Some("r.received_us"), true),
    ("source", Some("r.source"), false),
    ("type", Some("substr(r.source, 1, 0)"), false),
    ("workflow", Some("substr(r.source, 1, 0)"), false),
    ("step", Some("substr(r.source, 1, 0)"), false),
    ("dest", Some("substr(r.source, 1, 0)"), false),
    ("reason", Some("coalesce(r.reason, '')"), false),
    ("attempts", Some("r.events * 0"), true),
    ("error", Some("substr(r.source, 1, 0)"), false),
    ("http", Some("r.events * 0 - 1"), true),
];

const REQUESTS: &[Key] = &[
    ("received", None, true),
    ("source", Some("r.source"), false),
    ("provider", Some("r.provider"), false),
    ("status", Some("r.status"), false),
    ("reason", Some("coalesce(r.reason, '')"), false),
    ("size", Some("r.body_bytes"), true),
    ("events", Some("r.events"), true),
];

/// What documents and tables call a field, where the filter has another word for it.
fn word(field: &str) -> &str {
    match field {
        "id" => "received",
        "destination" => "dest",
        "body_bytes" => "size",
        "error_id" => "error",
        "http_status" => "http",
        "attempt" => "attempts",
        "external_id" => "external",
        field => field.strip_suffix("_at").unwrap_or(field),
    }
}

impl Sort {
    /// `FIELD`, or `-FIELD` to descend.
    ///
    /// # Errors
    ///
    /// [`QueryError::NoSort`] with what can be sorted by.
    pub fn parse(text: &str, over: Over) -> Result<Self, QueryError> {
        let keys = match over {
            Over::Events => EVENTS,
            Over::Tasks => TASKS,
            Over::DeadTasks => DEAD_TASKS,
            Over::Requests => REQUESTS,
        };
        let (descends, field) = match text.strip_prefix('-') {
            Some(field) => (true, field),
            None => (false, text),
        };
        let mut wanted = word(field);
        if field == "id" && over == Over::Tasks {
            wanted = "created";
        }
        let found = keys.iter().find(|(name, ..)| *name == wanted);
        let (field, key, is_number) = *found.ok_or_else(|| QueryError::NoSort {
            field: field.to_owned(),
            over: over.name(),
            known: keys.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", "),
        })?;
        Ok(Self { field, key, is_number, descends })
    }

    #[must_use]
    pub fn descends(&self) -> bool {
        self.descends
    }

    /// The same order of requests among dead letters.
    pub(crate) fn of_dead_requests(self) -> Self {
        let found = DEAD_REQUESTS.iter().find(|(name, ..)| *name == self.field);
        found.map_or(self, |(_, key, _)| Self { key: *key, ..self })
    }

    /// What is handed out as the place behind a row: which order it is of, the row's value, its id.
    #[must_use]
    pub fn cursor(&self, value: &After, id: &str) -> String {
        let sign = if self.descends { "-" } else { "" };
        let value = match &value.value {
            None => String::new(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Text(text)) => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        };
        // The sign stands last: what begins with one would be taken for a flag.
        format!("{}{sign}~{value}~{id}", self.field)
    }

    /// Reads such a place: the value as of `bytes`, and the id as text. `None` if it is none of this
    /// order.
    #[must_use]
    pub fn place<'c>(&self, cursor: &'c str) -> Option<(After, &'c str)> {
        let mut parts = cursor.splitn(3, '~');
        let (order, value, id) = (parts.next()?, parts.next()?, parts.next()?);
        let sign = if self.descends { "-" } else { "" };
        if order != format!("{}{sign}", self.field) {
            return None;
        }
        let value = match (self.key, self.is_number) {
            (None, _) => None,
            (Some(_), true) => Some(Value::Number(value.parse().ok()?)),
            (Some(_), false) => {
                let pair = format!("v={value}");
                let (_, text) = form_urlencoded::parse(pair.as_bytes()).next()?;
                Some(Value::Text(text.into_owned()))
            }
        };
        Some((After { value, id: Vec::new() }, id))
    }

    fn read(&self, row: &SqliteRow) -> Result<After, StoreError> {
        let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
        let value = match (self.key, self.is_number) {
            (None, _) => None,
            (Some(_), true) => {
                Some(Value::Number(row.try_get("sort_key").map_err(StoreError::Read)?))
            }
            (Some(_), false) => {
                Some(Value::Text(row.try_get("sort_key").map_err(StoreError::Read)?))
            }
        };
        Ok(After { value, id })
    }

    /// `columns` with the value that is sorted by.
    pub(in crate::store) fn columns(&self, columns: &str) -> String {
        match self.key {
            Some(key) => format!("{columns}, {key} as sort_key"),
            None => columns.to_owned(),
        }
    }

    /// ` order by …`; `id` is the id's column.
    pub(in crate::store) fn order(&self, id: &str) -> String {
        let way = if self.descends { "desc" } else { "asc" };
        match self.key {
            Some(key) => format!(" order by {key} {way}, {id} {way}"),
            None => format!(" order by {id} {way}"),
        }
    }

    /// Only what is behind `after`.
    pub(in crate::store) fn narrow(&self, statement: &mut Statement, id: &str, after: &After) {
        let than = if self.descends { "<" } else { ">" };
        let (Some(key), Some(value)) = (self.key, &after.value) else {
            return statement.and(&format!("{id} {than} "), after.id.clone());
        };
        statement.binds.push(match value {
            Value::Number(number) => Bind::Int(*number),
            Value::Text(text) => Bind::Text(text.clone()),
        });
        statement.binds.push(Bind::Blob(after.id.clone()));
        let n = statement.binds.len();
        let _ = write!(statement.text, " and ({key}, {id}) {than} (${}, ${n})", n - 1);
    }
}

impl After {
    /// The same place by another id.
    #[must_use]
    pub fn with_id(&self, id: Vec<u8>) -> Self {
        Self { id, ..self.clone() }
    }

    /// Whether this stands before `other` in `sort`'s order, by value alone.
    #[must_use]
    pub fn compare(&self, other: &Self) -> std::cmp::Ordering {
        match (&self.value, &other.value) {
            (Some(Value::Number(a)), Some(Value::Number(b))) => a.cmp(b),
            (Some(Value::Text(a)), Some(Value::Text(b))) => a.cmp(b),
            _ => self.id.cmp(&other.id),
        }
    }
}

impl Store {
    /// The rows of a selection in `sort`'s order, from behind `after`, each with its place. `id` is the
    /// column of their ids, the first of `columns`.
    pub(in crate::store) async fn sorted_rows(
        &self,
        selection: &Selection,
        (columns, id): (&str, &str),
        sort: Sort,
        after: Option<After>,
        limit: usize,
    ) -> Result<Vec<(SqliteRow, After)>, StoreError> {
        let (columns, order) = (sort.columns(columns), sort.order(id));
        let narrow = |statement: &mut Statement, after: &After| sort.narrow(statement, id, after);
        let page = Page { columns: &columns, order: &order, limit };
        let rows = self.rows(selection, page, after, narrow, |row| sort.read(row)).await?;
        rows.into_iter().map(|row| Ok((sort.read(&row)?, row)).map(|(a, r)| (r, a))).collect()
    }

    /// Whether a selection is small enough to be put in this order.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if it is not.
    pub async fn can_sort(
        &self,
        selection: &Selection,
        sort: Sort,
    ) -> Result<Result<(), QueryError>, StoreError> {
        if sort.key.is_none() {
            return Ok(Ok(()));
        }
        if selection.looks_into() {
            let what = format!("`where:` sorted by {}", sort.field);
            return Ok(Err(QueryError::NotYet { what }));
        }
        let count = selection.count(self.db(), SORTED_MAX).await?;
        let fits = usize::try_from(count).is_ok_and(|count| count <= SORTED_MAX);
        let refused = || QueryError::TooManyToSort { field: sort.field, most: SORTED_MAX };
        Ok(if fits { Ok(()) } else { Err(refused()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_as_in_filters_and_as_on_the_wire() {
        for (text, over, field, descends) in [
            ("received", Over::Events, "received", false),
            ("-received_at", Over::Events, "received", true),
            ("-attempts", Over::Tasks, "attempts", true),
            ("destination", Over::DeadTasks, "dest", false),
            ("id", Over::Tasks, "created", false),
            ("body_bytes", Over::Requests, "size", false),
        ] {
            let sort = Sort::parse(text, over).unwrap();
            assert_eq!((sort.field, sort.descends), (field, descends), "{text}");
        }
        for bad in ["", "-", "--type", "payload.x", "type desc", "e.type; drop table event"] {
            let error = Sort::parse(bad, Over::Events).unwrap_err().to_string();
            assert!(error.contains("wanted received, occurred, source"), "{error}");
        }
    }

    #[test]
    fn every_order_of_dead_letters_is_one_of_both_kinds() {
        let names = |keys: &[Key]| keys.iter().map(|k| (k.0, k.2)).collect::<Vec<_>>();
        assert_eq!(names(DEAD_TASKS), names(DEAD_REQUESTS));
    }

    #[test]
    fn a_cursor_is_of_its_order_alone() {
        let sort = Sort::parse("-type", Over::Events).unwrap();
        for value in ["charge.failed", "a~b &=+é\u{1b}", ""] {
            let after = After { value: Some(Value::Text(value.to_owned())), id: vec![] };
            let cursor = sort.cursor(&after, "evt_1");
            assert_eq!(sort.place(&cursor), Some((after, "evt_1")), "{cursor}");
            assert!(Sort::parse("type", Over::Events).unwrap().place(&cursor).is_none());
        }
        for bad in ["", "evt_1", "type-~x", "type~x~evt_1"] {
            assert!(sort.place(bad).is_none(), "{bad}");
        }
        let number = Sort::parse("attempts", Over::Events).unwrap();
        assert!(number.place("attempts~x~evt_1").is_none());
    }
}
