//! What vendors say they sent, held against what arrived: frozen sets, and what became of them.

use rusqlite::params;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::plans::text;
use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Refusal, RequestRow, Store, StoreError, on_db};
use crate::id::{EventId, ReconcileId, RequestId};
use crate::timeline::What;

/// Bodies of sets that nobody carried out are kept so much longer than these may be.
const KEPT_AFTER_US: i64 = 3_600_000_000;

/// A comparison as it is kept.
#[derive(Debug, Clone)]
pub struct ReconcileRow {
    pub id: ReconcileId,
    pub source: String,
    pub provider: String,
    pub since_us: i64,
    pub until_us: i64,
    /// Which types were wanted; none are all.
    pub types: Vec<String>,
    pub who: String,
    pub reason: Option<String>,
    pub created_us: i64,
    pub expires_us: i64,
    pub ended_us: Option<i64>,
    /// `listing`, `planned`, `running`, `done` or `failed`.
    pub status: String,
    pub hash: Option<String>,
    pub pages: i64,
    pub counts: GapCounts,
    pub taken: i64,
    pub duplicate: i64,
    pub failed: i64,
    pub error: Option<(String, String)>,
}

/// What the vendor lists, and what is known of it here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapCounts {
    pub listed: i64,
    pub arrived: i64,
    pub rejected: i64,
    pub missing: i64,
    pub unreadable: i64,
    pub ignored: i64,
}

impl GapCounts {
    /// How many would be taken in.
    #[must_use]
    pub fn gap(&self) -> i64 {
        self.missing + self.rejected
    }
}

/// What did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRow {
    pub place: i64,
    pub external_id: String,
    pub event_type: String,
    pub at_us: i64,
    /// How the vendor says that its delivery stands.
    pub delivery: Option<String>,
    /// `missing`, `rejected` or `unreadable`.
    pub state: String,
    pub request_id: Option<RequestId>,
    pub event_id: Option<EventId>,
    /// `taken`, `duplicate` or `failed`.
    pub verdict: Option<String>,
    pub why: Option<String>,
    /// What to fetch it by.
    pub fetch: Option<String>,
    /// What the list had of it; only of what is still to be taken in.
    pub body: Option<String>,
}

/// That a request did not come by itself: who had it fetched from its vendor.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub reconcile_id: ReconcileId,
    pub place: i64,
    pub who: String,
    pub reason: Option<String>,
}

impl Fetched {
    /// Beside the request, in the same transaction: that it was fetched, and that its item is done.
    pub(super) fn note(
        &self,
        tx: &mut Tx<'_>,
        request: RequestId,
        (event, is_known): (EventId, bool),
    ) -> Result<(), StoreError> {
        let verdict = if is_known { "duplicate" } else { "taken" };
        let done = tx.run(
            "update reconcile_item set verdict = $1, event_id = $2, request_id = $3, why = null
             where reconcile_id = $4 and place = $5 and verdict is null",
            params![verdict, event.bytes(), request.bytes(), self.reconcile_id.bytes(), self.place],
        )?;
        if done == 0 {
            return Err(StoreError::Changed {
                id: self.reconcile_id.to_string(),
                found: "ended".to_owned(),
                wanted: "open".to_owned(),
            });
        }
        count_verdict(tx, self.reconcile_id, verdict)?;
        forget_body(tx, self.reconcile_id, self.place)?;
        timeline::append(
            tx,
            &Row {
                request_id: Some(request),
                detail: Some(timeline::detail(&[
                    ("who", self.who.as_str().into()),
                    ("reason", self.reason.as_deref().into()),
                    ("reconcile", self.reconcile_id.to_string().into()),
                ])),
                ..Row::new(What::Reconciled)
            },
        )
    }
}

fn count_verdict(tx: &Tx<'_>, id: ReconcileId, verdict: &str) -> Result<(), StoreError> {
    let sql = match verdict {
        "taken" => "update reconcile set taken = taken + 1 where id = $1",
        "duplicate" => "update reconcile set duplicate = duplicate + 1 where id = $1",
        _ => "update reconcile set failed = failed + 1 where id = $1",
    };
    tx.run(sql, params![id.bytes()]).map(drop)
}

fn forget_body(tx: &Tx<'_>, id: ReconcileId, place: i64) -> Result<(), StoreError> {
    let sql = "delete from reconcile_body where reconcile_id = $1 and place = $2";
    tx.run(sql, params![id.bytes(), place]).map(drop)
}

const COLUMNS: &str = "id, source, provider, since_us, until_us, types, who, reason, created_us,
    expires_us, ended_us, status, hash, pages, listed, arrived, rejected, missing, unreadable, ignored,
    taken, duplicate, failed, error_code, error";

fn read(row: &SqliteRow) -> Result<ReconcileRow, StoreError> {
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    let maybe = |i| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
    let number = |i| row.try_get::<i64, _>(i).map_err(StoreError::Read);
    Ok(ReconcileRow {
        id: ReconcileId::from_bytes(&id).ok_or(StoreError::Value { what: "a reconcile's id" })?,
        source: text(row, 1)?,
        provider: text(row, 2)?,
        since_us: number(3)?,
        until_us: number(4)?,
        types: serde_json::from_str(&text(row, 5)?).unwrap_or_default(),
        who: text(row, 6)?,
        reason: maybe(7)?,
        created_us: number(8)?,
        expires_us: number(9)?,
        ended_us: row.try_get(10).map_err(StoreError::Read)?,
        status: text(row, 11)?,
        hash: maybe(12)?,
        pages: number(13)?,
        counts: GapCounts {
            listed: number(14)?,
            arrived: number(15)?,
            rejected: number(16)?,
            missing: number(17)?,
            unreadable: number(18)?,
            ignored: number(19)?,
        },
        taken: number(20)?,
        duplicate: number(21)?,
        failed: number(22)?,
        error: maybe(23)?.zip(maybe(24)?),
    })
}

impl Store {
    /// Begins a comparison. A source has one at a time.
    pub(crate) async fn new_reconcile(&self, new: ReconcileRow) -> Result<(), StoreError> {
        self.write(move |tx| {
            none_open(tx, &new.source)?;
            tx.run(
                "insert into reconcile (id, source, provider, since_us, until_us, types, who, created_us,
                    expires_us, status)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'listing')",
                params![
                    new.id.bytes(),
                    new.source,
                    new.provider,
                    new.since_us,
                    new.until_us,
                    serde_json::to_string(&new.types).unwrap_or_else(|_| "[]".to_owned()),
                    new.who,
                    new.created_us,
                    new.expires_us,
                ],
            )
            .map(drop)
        })
        .await
    }

    pub async fn reconcile(&self, id: ReconcileId) -> Result<Option<ReconcileRow>, StoreError> {
        let sql = format!("select {COLUMNS} from reconcile where id = $1");
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.as_ref().map(read).transpose()
    }

    /// Those that a daemon was at when it ended.
    pub(crate) async fn open_reconciles(&self) -> Result<Vec<ReconcileRow>, StoreError> {
        let sql = format!(
            "select {COLUMNS} from reconcile where status in ('listing', 'running') order by id"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(read).collect()
    }

    /// Items behind a place, with what became of them, and without their bodies.
    pub async fn reconcile_items(
        &self,
        id: ReconcileId,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<GapRow>, StoreError> {
        let sql = "select place, external_id, type, at_us, delivery, state, request_id, event_id,
                verdict, why, fetch, null
             from reconcile_item where reconcile_id = $1 and place > $2 order by place limit $3";
        self.gap_rows(sql, id, behind, limit).await
    }

    /// The next items that are to be taken in, with their bodies.
    pub(crate) async fn open_items(
        &self,
        id: ReconcileId,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<GapRow>, StoreError> {
        let sql =
            "select i.place, i.external_id, i.type, i.at_us, i.delivery, i.state, i.request_id,
                i.event_id, i.verdict, i.why, i.fetch, b.body
             from reconcile_item i
             left join reconcile_body b on b.reconcile_id = i.reconcile_id and b.place = i.place
             where i.reconcile_id = $1 and i.place > $2 and i.verdict is null
                and i.state != 'unreadable'
             order by i.place limit $3";
        self.gap_rows(sql, id, behind, limit).await
    }

    async fn gap_rows(
        &self,
        sql: &'static str,
        id: ReconcileId,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<GapRow>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(sql)
            .bind(id.bytes().as_slice()).bind(behind)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter()
            .map(|row| {
                let maybe = |i| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
                let bytes = |i| row.try_get::<Option<Vec<u8>>, _>(i).map_err(StoreError::Read);
                Ok(GapRow {
                    place: row.try_get(0).map_err(StoreError::Read)?,
                    external_id: text(row, 1)?,
                    event_type: text(row, 2)?,
                    at_us: row.try_get(3).map_err(StoreError::Read)?,
                    delivery: maybe(4)?,
                    state: text(row, 5)?,
                    request_id: bytes(6)?.and_then(|b| RequestId::from_bytes(&b)),
                    event_id: bytes(7)?.and_then(|b| EventId::from_bytes(&b)),
                    verdict: maybe(8)?,
                    why: maybe(9)?,
                    fetch: maybe(10)?,
                    body: maybe(11)?,
                })
            })
            .collect()
    }

    /// Which of a source's events have arrived, by type and the provider's own id.
    pub(crate) async fn arrived(
        &self,
        source: &str,
        provider: &str,
        ids: &[(String, String)],
    ) -> Result<Vec<bool>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for (event_type, external_id) in ids {
            let row = on_db!(self.db(), pool => sqlx::query(
                "select 1 from event_key
                 where source = $1 and provider = $2 and type = $3 and external_id = $4")
                .bind(source).bind(provider).bind(event_type).bind(external_id)
                .fetch_optional(pool).await.map_err(StoreError::Read)?);
            found.push(row.is_some());
        }
        Ok(found)
    }

    /// Requests of a source that were turned away, from `since_us` on, behind `after`.
    pub(crate) async fn rejected_since(
        &self,
        source: &str,
        since_us: i64,
        after: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let after = after.map_or_else(|| vec![0; 16], |id| id.bytes().to_vec());
        let sql = super::requests::select(
            "r.source = $1 and r.status = 'rejected' and r.id > $2 and r.received_us >= $3
             order by r.id limit $4",
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(source).bind(after).bind(since_us)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        rows.iter().map(super::requests::read).collect()
    }

    /// Adds a page of the vendor's list to a set that is being made.
    pub(crate) async fn add_to_reconcile(
        &self,
        id: ReconcileId,
        counts: GapCounts,
        items: Vec<GapRow>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            for item in &items {
                tx.run(
                    "insert into reconcile_item (reconcile_id, place, external_id, type, at_us, delivery,
                        fetch, state, request_id, why)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    params![
                        id.bytes(),
                        item.place,
                        item.external_id,
                        item.event_type,
                        item.at_us,
                        item.delivery,
                        item.fetch,
                        item.state,
                        item.request_id.as_ref().map(|id| id.bytes().as_slice()),
                        item.why,
                    ],
                )?;
                if let Some(body) = &item.body {
                    tx.run(
                        "insert into reconcile_body (reconcile_id, place, body) values ($1, $2, $3)",
                        params![id.bytes(), item.place, body],
                    )?;
                }
            }
            tx.run(
                "update reconcile set pages = pages + 1, listed = listed + $1, arrived = arrived + $2,
                    rejected = rejected + $3, missing = missing + $4, unreadable = unreadable + $5,
                    ignored = ignored + $6
                 where id = $7",
                params![
                    counts.listed,
                    counts.arrived,
                    counts.rejected,
                    counts.missing,
                    counts.unreadable,
                    counts.ignored,
                    id.bytes()
                ],
            )
            .map(drop)
        })
        .await
    }

    /// Begins the list anew: whoever read it before is gone.
    pub(crate) async fn empty_reconcile(&self, id: ReconcileId) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run("delete from reconcile_body where reconcile_id = $1", params![id.bytes()])?;
            tx.run("delete from reconcile_item where reconcile_id = $1", params![id.bytes()])?;
            tx.run(
                "update reconcile set pages = 0, listed = 0, arrived = 0, rejected = 0, missing = 0,
                    unreadable = 0, ignored = 0 where id = $1 and status = 'listing'",
                params![id.bytes()],
            )
            .map(drop)
        })
        .await
    }

    /// The list is at its end: from now on the set is frozen.
    pub(crate) async fn freeze_reconcile(
        &self,
        id: ReconcileId,
        hash: String,
        who: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run(
                "update reconcile set status = 'planned', hash = $1 where id = $2 and status = 'listing'",
                params![hash, id.bytes()],
            )?;
            timeline::append(
                tx,
                &Row {
                    detail: Some(timeline::detail(&[
                        ("who", who.as_str().into()),
                        ("mode", "reconcile".into()),
                        ("reconcile", id.to_string().into()),
                    ])),
                    ..Row::new(What::Planned)
                },
            )
        })
        .await
    }

    /// It could not be listed, or not be carried out to its end. What was taken in stays.
    pub(crate) async fn fail_reconcile(
        &self,
        id: ReconcileId,
        code: &'static str,
        message: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run(
                "update reconcile set status = 'failed', error_code = $1, error = $2, ended_us = $3
                 where id = $4 and status in ('listing', 'running')",
                params![code, message, tx.now_us, id.bytes()],
            )
            .map(drop)
        })
        .await
    }

    /// Begins to take in what is missing. A set that was begun and failed may be begun again.
    pub(crate) async fn begin_reconcile(
        &self,
        id: ReconcileId,
        hash: String,
        who: String,
        reason: Option<String>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let found = tx
                .row(
                    "select source, status, hash, expires_us from reconcile where id = $1",
                    params![id.bytes()],
                    |r| {
                        Ok((
                            r.get::<_, String>(0)?,
                            r.get::<_, String>(1)?,
                            r.get::<_, Option<String>>(2)?,
                            r.get::<_, i64>(3)?,
                        ))
                    },
                )?
                .ok_or_else(|| StoreError::NotFound { id: id.to_string() })?;
            let (source, status, kept, expires_us) = found;
            let refused = |why: String, code| Err(StoreError::Refused { why, code });
            if kept.as_deref() != Some(hash.as_str()) {
                return refused(
                    format!("`{id}` is not the set that was shown"),
                    Refusal::PlanChanged,
                );
            }
            if status != "planned" && status != "failed" {
                return refused(format!("`{id}` is {status} already"), Refusal::PlanUsed);
            }
            if expires_us < tx.now_us {
                return refused(format!("`{id}` has expired: list again"), Refusal::PlanExpired);
            }
            none_open(tx, &source)?;
            tx.run(
                "update reconcile set status = 'running', who = $1, reason = $2, error_code = null,
                    error = null, ended_us = null, failed = 0 where id = $3",
                params![who, reason, id.bytes()],
            )?;
            // What failed gets another try.
            tx.run(
                "update reconcile_item set verdict = null, why = null
                 where reconcile_id = $1 and verdict = 'failed'",
                params![id.bytes()],
            )?;
            timeline::append(
                tx,
                &Row {
                    detail: Some(timeline::detail(&[
                        ("who", who.as_str().into()),
                        ("reason", reason.as_deref().into()),
                        ("reconcile", id.to_string().into()),
                    ])),
                    ..Row::new(What::Reconciled)
                },
            )
        })
        .await
    }

    /// An item could not be taken in; the others go on.
    pub(crate) async fn fail_item(
        &self,
        id: ReconcileId,
        place: i64,
        why: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let done = tx.run(
                "update reconcile_item set verdict = 'failed', why = $1
                 where reconcile_id = $2 and place = $3 and verdict is null",
                params![why, id.bytes(), place],
            )?;
            if done == 1 {
                count_verdict(tx, id, "failed")?;
            }
            Ok(())
        })
        .await
    }

    /// All that could be taken in was.
    pub(crate) async fn end_reconcile(&self, id: ReconcileId) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run(
                "update reconcile set status = 'done', ended_us = $1 where id = $2 and status = 'running'",
                params![tx.now_us, id.bytes()],
            )
            .map(drop)
        })
        .await
    }

    /// Forgets bodies that nobody will ask for any more.
    pub(crate) async fn tidy_reconciles(&self) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.run(
                "delete from reconcile_body where reconcile_id in (select id from reconcile
                    where status != 'running' and status != 'listing' and expires_us < $1)",
                params![tx.now_us - KEPT_AFTER_US],
            )
            .map(drop)
        })
        .await
    }
}

fn none_open(tx: &Tx<'_>, source: &str) -> Result<(), StoreError> {
    let open = tx.row(
        "select id from reconcile where source = $1 and status in ('listing', 'running')",
        params![source],
        |r| r.get::<_, Vec<u8>>(0),
    )?;
    match open.and_then(|bytes| ReconcileId::from_bytes(&bytes)) {
        None => Ok(()),
        Some(id) => Err(StoreError::Refused {
            why: format!("`{source}` is being reconciled: {id}"),
            code: Refusal::State,
        }),
    }
}
