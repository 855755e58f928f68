//! Queues that stand still: for them nothing new starts, in no process, until their time has come or
//! somebody says so. What is under way ends, and what comes in waits.

use jiff::Timestamp;
use rusqlite::params;
use serde_json::Value;
use sqlx::Row as _;

use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Store, StoreError, on_db, rows_if_there};
use crate::clock::from_micros;
use crate::event::micros;
use crate::timeline::What;

/// Who resumes a queue whose time has come, as the timeline names it.
const BY_ITSELF: &str = "relayflow";

/// A queue that stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePause {
    /// The destination.
    pub name: String,
    pub who: String,
    pub reason: String,
    pub since: Timestamp,
    /// When it goes on by itself; `None`: when somebody says so.
    pub until: Option<Timestamp>,
}

/// Whether nothing may be claimed for a destination now.
pub(super) fn is_paused(tx: &Tx<'_>, destination: &str) -> Result<bool, StoreError> {
    let found = tx.row(
        "select 1 from queue_pause
         where destination = $1 and (until_us is null or $2 < until_us)",
        params![destination, tx.now_us],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

impl Store {
    /// The queues that stand still now, by name.
    pub async fn queue_pauses(&self) -> Result<Vec<QueuePause>, StoreError> {
        let now = self.clock().now_us();
        let rows = rows_if_there(on_db!(self.db(), pool => sqlx::query(
            "select destination, who, reason, since_us, until_us from queue_pause
             where until_us is null or $1 < until_us order by destination")
            .bind(now).fetch_all(pool).await))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(QueuePause {
                name: row.try_get(0)?,
                who: row.try_get(1)?,
                reason: row.try_get(2)?,
                since: from_micros(row.try_get(3)?),
                until: row.try_get::<Option<i64>, _>(4)?.map(from_micros),
            })
        };
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(StoreError::Read)
    }

    /// Whether a pause is still kept whose time has come.
    pub(crate) async fn has_ended_pauses(&self) -> Result<bool, StoreError> {
        let now = self.clock().now_us();
        let found: i64 = on_db!(self.db(), pool => sqlx::query_scalar(
            "select count(*) from queue_pause where until_us <= $1")
            .bind(now).fetch_one(pool).await.map_err(StoreError::Read)?);
        Ok(0 < found)
    }

    /// Pauses a queue; one that stands still already gets this end, reason and name in place of its
    /// own.
    pub async fn pause_queue(
        &self,
        name: &str,
        until: Option<Timestamp>,
        who: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        let (name, who, reason) = (name.to_owned(), who.to_owned(), reason.to_owned());
        self.write(move |tx| {
            tx.run(
                "insert into queue_pause (destination, who, reason, since_us, until_us)
                 values ($1, $2, $3, $4, $5)
                 on conflict (destination) do update set who = excluded.who,
                    reason = excluded.reason, since_us = excluded.since_us,
                    until_us = excluded.until_us",
                params![name, who, reason, tx.now_us, until.map(Timestamp::as_microsecond)],
            )?;
            let until = until.map_or(Value::Null, |at| micros(at).into());
            note(tx, What::Paused, &name, &who, Some(&reason), until)
        })
        .await
    }

    /// Lets a queue go on. `false`: it did not stand still.
    pub async fn resume_queue(
        &self,
        name: &str,
        who: &str,
        reason: Option<&str>,
    ) -> Result<bool, StoreError> {
        let (name, who) = (name.to_owned(), who.to_owned());
        let reason = reason.map(str::to_owned);
        self.write(move |tx| {
            let ended = tx.run("delete from queue_pause where destination = $1", [&name])?;
            if ended == 0 {
                return Ok(false);
            }
            tx.has_due = true;
            note(tx, What::Resumed, &name, &who, reason.as_deref(), Value::Null)?;
            Ok(true)
        })
        .await
    }

    /// Ends the pauses whose time has come, and puts that on the timeline. Answers whose they were.
    pub(crate) async fn end_pauses(&self) -> Result<Vec<String>, StoreError> {
        self.write(|tx| {
            let names = tx.rows(
                "delete from queue_pause where until_us <= $1 returning destination",
                [tx.now_us],
                |r| r.get::<_, String>(0),
            )?;
            for name in &names {
                tx.has_due = true;
                note(tx, What::Resumed, name, BY_ITSELF, Some("its time has come"), Value::Null)?;
            }
            Ok(names)
        })
        .await
    }
}

fn note(
    tx: &mut Tx<'_>,
    what: What,
    name: &str,
    who: &str,
    reason: Option<&str>,
    until: Value,
) -> Result<(), StoreError> {
    timeline::append(
        tx,
        &Row {
            detail: Some(timeline::detail(&[
                ("destination", name.into()),
                ("who", who.into()),
                ("reason", reason.into()),
                ("until", until),
            ])),
            ..Row::new(what)
        },
    )
}
