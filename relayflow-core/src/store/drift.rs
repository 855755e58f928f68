//! Contracts, and drift noted and accepted.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::timeline::{Row, append, detail};
use super::writer::Tx;
use super::{Store, StoreError, on_db};
use crate::contract::profile::{Accepted, accepted};
use crate::contract::{Change, Grade, Schema};
use crate::id::{DriftId, EventId, RequestId};
use crate::timeline::What;

/// Examples that are kept of one finding.
const EXAMPLES_MAX: usize = 3;
/// The most findings that are ever listed: more of them say that a source is another's.
const FINDINGS_MAX: i64 = 10_000;

/// A finding, as it is kept.
#[derive(Debug, Clone)]
pub struct DriftRow {
    pub id: DriftId,
    pub source: String,
    pub provider: String,
    pub event_type: String,
    pub change: Change,
    pub path: String,
    /// What tells two findings at one place apart, or nothing.
    pub value: String,
    pub grade: Grade,
    pub was: String,
    pub is: String,
    pub hint: Option<String>,
    /// JSON Schema.
    pub shape: Option<String>,
    pub events: i64,
    pub watched_before: i64,
    /// How many events of its source and type have been looked at until now.
    pub watched: i64,
    pub first_us: i64,
    pub last_us: i64,
    pub examples: Vec<String>,
    pub is_accepted: bool,
    pub ended_us: Option<i64>,
    pub who: Option<String>,
    pub reason: Option<String>,
    pub version: Option<i64>,
}

/// One version of a contract.
#[derive(Debug, Clone)]
pub struct ContractRow {
    pub source: String,
    pub event_type: String,
    pub version: i64,
    /// `learned`, `accepted` or `written`.
    pub origin: String,
    /// JSON Schema.
    pub schema: String,
    pub created_us: i64,
    pub who: Option<String>,
    pub reason: Option<String>,
}

/// What was looked at of a source's events of a type; of the source itself, if the type is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedRow {
    pub source: String,
    pub event_type: String,
    pub provider: String,
    pub events: i64,
    pub first_us: i64,
    pub last_us: i64,
    /// JSON; `None` once there is a contract.
    pub learning: Option<String>,
}

/// What a look at events found, to be written down together.
#[derive(Debug, Default)]
pub(crate) struct DriftNotes {
    /// `events` are added to those on record; `learning` replaces what is there.
    pub watched: Vec<WatchedRow>,
    pub contracts: Vec<NewContract>,
    pub found: Vec<NewDrift>,
    /// Events that differ, how badly, and by which findings.
    pub marked: Vec<(EventId, Grade, Vec<DriftId>)>,
}

/// The first version of a contract.
#[derive(Debug, Clone)]
pub struct NewContract {
    pub source: String,
    pub event_type: String,
    pub schema: String,
}

/// A finding, new or met again.
#[derive(Debug, Clone)]
pub(crate) struct NewDrift {
    pub id: DriftId,
    pub source: String,
    pub provider: String,
    pub event_type: String,
    pub change: Change,
    pub path: String,
    pub value: String,
    pub grade: Grade,
    pub was: String,
    pub is: String,
    pub hint: Option<String>,
    pub shape: Option<String>,
    /// Events since it was last written down.
    pub events: i64,
    pub watched_before: i64,
    pub first_us: i64,
    pub last_us: i64,
    pub examples: Vec<EventId>,
    /// For what is not an event's: the request that showed it.
    pub request: Option<RequestId>,
}

const COLUMNS: &str = r#"
    d.id, d.source, d.provider, d.type, d.change, d.path, d.grade, d.was, d."is", d.hint, d.shape,
    d.events, d.watched_before, coalesce(w.events, 0), d.first_us, d.last_us, d.examples, d.status,
    d.ended_us, d.who, d.reason, d.version, d.value"#;

const FROM: &str = "drift d left join watched w on w.source = d.source and w.type = d.type";

fn read(row: &SqliteRow) -> Result<DriftRow, StoreError> {
    let text = |i| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
    let word = |i| text(i).map(Option::unwrap_or_default);
    let number = |i| row.try_get::<Option<i64>, _>(i).map_err(StoreError::Read);
    let count = |i| number(i).map(Option::unwrap_or_default);
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    Ok(DriftRow {
        id: DriftId::from_bytes(&id).ok_or(StoreError::Value { what: "a finding's id" })?,
        source: word(1)?,
        provider: word(2)?,
        event_type: word(3)?,
        change: Change::from_word(&word(4)?)
            .ok_or(StoreError::Value { what: "a finding's change" })?,
        path: word(5)?,
        value: word(22)?,
        grade: Grade::from_word(&word(6)?)
            .ok_or(StoreError::Value { what: "a finding's grade" })?,
        was: word(7)?,
        is: word(8)?,
        hint: text(9)?,
        shape: text(10)?,
        events: count(11)?,
        watched_before: count(12)?,
        watched: count(13)?,
        first_us: count(14)?,
        last_us: count(15)?,
        examples: serde_json::from_str(&word(16)?).unwrap_or_default(),
        is_accepted: word(17)? == "accepted",
        ended_us: number(18)?,
        who: text(19)?,
        reason: text(20)?,
        version: number(21)?,
    })
}

const CONTRACT_COLUMNS: &str = "source, type, version, origin, schema, created_us, who, reason";

fn read_contract(row: &SqliteRow) -> Result<ContractRow, StoreError> {
    let text = |i| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
    let word = |i| text(i).map(Option::unwrap_or_default);
    Ok(ContractRow {
        source: word(0)?,
        event_type: word(1)?,
        version: row.try_get(2).map_err(StoreError::Read)?,
        origin: word(3)?,
        schema: word(4)?,
        created_us: row.try_get(5).map_err(StoreError::Read)?,
        who: text(6)?,
        reason: text(7)?,
    })
}

impl Store {
    /// Every finding, the breaking ones first, then the latest.
    pub async fn drift(&self) -> Result<Vec<DriftRow>, StoreError> {
        let sql = format!(
            "select {COLUMNS} from {FROM} order by d.grade desc, d.last_us desc, d.id limit $1"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(FINDINGS_MAX).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read).collect()
    }

    /// The findings of one source.
    pub async fn drift_of(&self, source: &str) -> Result<Vec<DriftRow>, StoreError> {
        let sql = format!("select {COLUMNS} from {FROM} where d.source = $1 limit $2");
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(source).bind(FINDINGS_MAX).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read).collect()
    }

    /// One finding.
    pub async fn one_drift(&self, id: DriftId) -> Result<Option<DriftRow>, StoreError> {
        let sql = format!("select {COLUMNS} from {FROM} where d.id = $1");
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.as_ref().map(read).transpose()
    }

    /// Every version of every contract that is kept, by source, type and version; of one source, if
    /// one is named.
    pub async fn contracts(&self, source: Option<&str>) -> Result<Vec<ContractRow>, StoreError> {
        let sql = format!(
            "select {CONTRACT_COLUMNS} from contract where $1 is null or source = $1
             order by source, type, version limit $2"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(source).bind(FINDINGS_MAX).fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read_contract).collect()
    }

    /// What was looked at, by source and type; of one source, if one is named.
    pub async fn watched(&self, source: Option<&str>) -> Result<Vec<WatchedRow>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select source, type, provider, events, first_us, last_us, learning from watched
             where $1 is null or source = $1 order by source, type limit $2")
            .bind(source).bind(FINDINGS_MAX).fetch_all(pool).await.map_err(StoreError::Read)?);
        let read = |row: &SqliteRow| -> Result<WatchedRow, sqlx::Error> {
            Ok(WatchedRow {
                source: row.try_get(0)?,
                event_type: row.try_get(1)?,
                provider: row.try_get(2)?,
                events: row.try_get(3)?,
                first_us: row.try_get(4)?,
                last_us: row.try_get(5)?,
                learning: row.try_get(6)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(StoreError::Read)
    }

    /// Writes down what was found. Nobody waits for it.
    pub(crate) fn note_drift(&self, notes: DriftNotes) {
        self.write_later(move |tx| note(tx, &notes));
    }

    /// Accepts a finding: the next version of the contract has it. `shipped` is the contract that
    /// came with the definition, where there is no later one. Answers the version, if the finding is
    /// about what events look like.
    pub async fn accept_drift(
        &self,
        id: DriftId,
        shipped: Option<String>,
        who: String,
        reason: String,
    ) -> Result<Option<i64>, StoreError> {
        self.write(move |tx| accept(tx, id, shipped.as_deref(), &who, &reason)).await
    }

    /// Keeps `schema` as the next version of a contract; answers its number.
    pub async fn write_contract(
        &self,
        new: NewContract,
        who: String,
        reason: Option<String>,
    ) -> Result<i64, StoreError> {
        self.write(move |tx| {
            next_version(tx, &new, "written", Some(who.as_str()), reason.as_deref())
        })
        .await
    }
}

fn note(tx: &mut Tx<'_>, notes: &DriftNotes) -> Result<(), StoreError> {
    for watched in &notes.watched {
        tx.run(
            "insert into watched (source, type, provider, events, first_us, last_us, learning)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (source, type) do update set events = events + excluded.events,
                 last_us = excluded.last_us, learning = excluded.learning,
                 provider = excluded.provider",
            params![
                watched.source,
                watched.event_type,
                watched.provider,
                watched.events,
                watched.first_us,
                watched.last_us,
                watched.learning,
            ],
        )?;
    }
    for new in &notes.contracts {
        // Another daemon may have settled it first.
        if latest(tx, &new.source, &new.event_type)?.is_none() {
            next_version(tx, new, "learned", None, None)?;
        }
    }
    for found in &notes.found {
        note_found(tx, found)?;
    }
    for (event, grade, findings) in &notes.marked {
        let known = tx.run(
            "update event set drift = $1 where id = $2 and coalesce(drift, '') <> 'breaking'",
            params![grade.as_str(), event.bytes()],
        )?;
        if known == 0 {
            continue;
        }
        let findings: Vec<_> = findings.iter().map(|id| id.to_string().into()).collect();
        let said =
            [("grade", grade.as_str().into()), ("drift", serde_json::Value::Array(findings))];
        append(
            tx,
            &Row { event_id: Some(*event), detail: Some(detail(&said)), ..Row::new(What::Drift) },
        )?;
    }
    Ok(())
}

fn note_found(tx: &mut Tx<'_>, found: &NewDrift) -> Result<(), StoreError> {
    let known = tx.row(
        "select id, examples from drift
         where source = $1 and type = $2 and change = $3 and path = $4 and value = $5",
        params![found.source, found.event_type, found.change.as_str(), found.path, found.value],
        |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)),
    )?;
    let mut examples: Vec<String> = match &known {
        Some((_, text)) => serde_json::from_str(text).unwrap_or_default(),
        None => vec![],
    };
    examples.extend(found.examples.iter().map(ToString::to_string));
    examples.truncate(EXAMPLES_MAX);
    let examples = serde_json::Value::from(examples).to_string();
    if let Some((id, _)) = known {
        tx.run(
            "update drift set events = events + $1, last_us = max(last_us, $2), examples = $3,
                 hint = coalesce(hint, $4) where id = $5",
            params![found.events, found.last_us, examples, found.hint, id],
        )?;
        return Ok(());
    }
    tx.run(
        r#"insert into drift (id, source, provider, type, change, path, value, grade, was, "is",
             hint, shape, events, watched_before, first_us, last_us, examples, status)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
             'open')"#,
        params![
            found.id.bytes(),
            found.source,
            found.provider,
            found.event_type,
            found.change.as_str(),
            found.path,
            found.value,
            found.grade.as_str(),
            found.was,
            found.is,
            found.hint,
            found.shape,
            found.events,
            found.watched_before,
            found.first_us,
            found.last_us,
            examples,
        ],
    )?;
    tx.count("drift", found.grade.as_str(), 1);
    let Some(request) = found.request else { return Ok(()) };
    let said = [
        ("grade", found.grade.as_str().into()),
        ("drift", serde_json::Value::Array(vec![found.id.to_string().into()])),
    ];
    append(
        tx,
        &Row { request_id: Some(request), detail: Some(detail(&said)), ..Row::new(What::Drift) },
    )
}

/// The highest version of a contract, and its schema.
fn latest(
    tx: &Tx<'_>,
    source: &str,
    event_type: &str,
) -> Result<Option<(i64, String)>, StoreError> {
    tx.row(
        "select version, schema from contract where source = $1 and type = $2
         order by version desc limit 1",
        params![source, event_type],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

fn next_version(
    tx: &Tx<'_>,
    new: &NewContract,
    origin: &str,
    who: Option<&str>,
    reason: Option<&str>,
) -> Result<i64, StoreError> {
    let version = latest(tx, &new.source, &new.event_type)?.map_or(1, |(version, _)| version + 1);
    tx.run(
        "insert into contract (source, type, version, origin, schema, created_us, who, reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![new.source, new.event_type, version, origin, new.schema, tx.now_us, who, reason],
    )?;
    Ok(version)
}

fn accept(
    tx: &mut Tx<'_>,
    id: DriftId,
    shipped: Option<&str>,
    who: &str,
    reason: &str,
) -> Result<Option<i64>, StoreError> {
    type Finding = (String, String, String, String, String, Option<String>, String, String);
    let found: Option<Finding> = tx.row(
        r#"select source, type, change, path, "is", shape, status, grade from drift where id = $1"#,
        params![id.bytes()],
        |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
                row.get(6)?,
                row.get(7)?,
            ))
        },
    )?;
    let (source, event_type, change, path, is, shape, status, grade) =
        found.ok_or_else(|| StoreError::NotFound { id: id.to_string() })?;
    if status == "accepted" {
        let wanted = "open".to_owned();
        return Err(StoreError::Changed { id: id.to_string(), found: status, wanted });
    }
    let change =
        Change::from_word(&change).ok_or(StoreError::Value { what: "a finding's change" })?;
    let kept = latest(tx, &source, &event_type)?.map(|(_, schema)| schema);
    let before = kept.or_else(|| shipped.map(str::to_owned)).and_then(|text| parse(&text));
    let version = match before.filter(|_| change.is_of_an_event()) {
        None => None,
        Some(before) => {
            let shape = shape.as_deref().and_then(parse);
            let what = Accepted { change, path: &path, is: &is, shape: shape.as_ref() };
            let schema = accepted(&before, &what).to_json().to_string();
            let new = NewContract { source, event_type, schema };
            Some(next_version(tx, &new, "accepted", Some(who), Some(reason))?)
        }
    };
    tx.run(
        "update drift set status = 'accepted', ended_us = $1, who = $2, reason = $3, version = $4
         where id = $5",
        params![tx.now_us, who, reason, version, id.bytes()],
    )?;
    tx.count("drift", &grade, -1);
    let said = [
        ("drift", id.to_string().into()),
        ("who", who.into()),
        ("reason", reason.into()),
        ("version", version.into()),
    ];
    append(tx, &Row { detail: Some(detail(&said)), ..Row::new(What::Accepted) })?;
    Ok(version)
}

fn parse(text: &str) -> Option<Schema> {
    Schema::parse(&serde_json::from_str(text).ok()?).ok()
}
