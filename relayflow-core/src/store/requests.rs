//! Requests as they are kept: accepted, dead and rejected ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::events::correlation;
use super::query::{After, Found, Page, Selection, Sort, Way};
use super::{Store, StoreError, on_db};
use crate::id::{EventId, RequestId};
use crate::request::CorrelationId;

/// A request with what became of it, without its body.
#[derive(Debug, Clone)]
pub struct RequestRow {
    pub id: RequestId,
    pub source: String,
    pub provider: String,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body_bytes: i64,
    pub correlation_id: CorrelationId,
    pub received_us: i64,
    pub status: String,
    pub events: i64,
    pub first_event: Option<EventId>,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub ended_us: Option<i64>,
}

/// A request as it came in.
#[derive(Debug)]
pub(crate) struct RequestWithBody {
    pub(crate) row: RequestRow,
    pub(crate) body: Bytes,
}

/// A statement that gives what [`read`] takes.
pub(super) fn select(condition: &str) -> String {
    format!("select {COLUMNS} from request r where {condition}")
}

const COLUMNS: &str = "
    r.id, r.source, r.provider, r.method, r.target, r.headers, r.body_bytes, r.correlation_id,
    r.received_us, r.status, r.events, r.first_event_id, r.reason, r.detail, r.ended_us";

pub(super) fn read(row: &SqliteRow) -> Result<RequestRow, StoreError> {
    let get = |i| row.try_get::<Option<String>, _>(i).map_err(StoreError::Read);
    let text = |i| get(i).map(Option::unwrap_or_default);
    let number = |i| row.try_get::<Option<i64>, _>(i).map_err(StoreError::Read);
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    let id = RequestId::from_bytes(&id).ok_or(StoreError::Value { what: "a request's id" })?;
    let first: Option<Vec<u8>> = row.try_get(11).map_err(StoreError::Read)?;
    Ok(RequestRow {
        id,
        source: text(1)?,
        provider: text(2)?,
        method: text(3)?,
        target: text(4)?,
        headers: serde_json::from_str(&text(5)?).unwrap_or_default(),
        body_bytes: number(6)?.unwrap_or(0),
        correlation_id: correlation(get(7)?, id),
        received_us: number(8)?.unwrap_or(0),
        status: text(9)?,
        events: number(10)?.unwrap_or(0),
        first_event: first.and_then(|b| EventId::from_bytes(&b)),
        reason: get(12)?,
        detail: get(13)?,
        ended_us: number(14)?,
    })
}

impl Store {
    /// A page of requests, newest first; what is found of it `within` a time.
    pub async fn requests(
        &self,
        selection: &Selection,
        way: Way,
        behind: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let mut query = selection.select(COLUMNS);
        if let Some(behind) = behind {
            query.and(&format!("r.id {} ", way.beyond()), behind.bytes().to_vec());
        }
        let order = format!(" order by r.id {}", way.order());
        let rows = query.fetch(self.db(), &order, limit).await?;
        rows.iter().map(read).collect()
    }

    /// A page of requests, newest first; what is found of it `within` a time.
    pub async fn requests_within(
        &self,
        selection: &Selection,
        before: Option<RequestId>,
        limit: usize,
        within: Duration,
    ) -> Result<Found<RequestRow, RequestId>, StoreError> {
        let before = before.map(|id| id.bytes().to_vec());
        let page = Page { columns: COLUMNS, order: "", limit };
        self.search(selection, page, before, within)
            .await?
            .read(|row| read(&row), RequestId::from_bytes)
    }

    /// A page of requests that are dead letters, the latest first.
    pub async fn dead_requests(
        &self,
        selection: &Selection,
        way: Way,
        behind: Option<(i64, RequestId)>,
        limit: usize,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let mut query = selection.select(COLUMNS);
        query.push(" and r.status in ('dead', 'discarded')");
        if let Some((ended, id)) = behind {
            let beyond = format!("(r.ended_us, r.id) {} ", way.beyond());
            query.and_pair(&beyond, ended, id.bytes().to_vec());
        }
        let order = format!(" order by r.ended_us {0}, r.id {0}", way.order());
        let rows = query.fetch(self.db(), &order, limit).await?;
        rows.iter().map(read).collect()
    }

    /// A page of requests in another order, each with its place in it; with `are_dead` those that are
    /// dead letters.
    pub async fn requests_sorted(
        &self,
        selection: &Selection,
        sort: Sort,
        after: Option<After>,
        (limit, are_dead): (usize, bool),
    ) -> Result<Vec<(RequestRow, After)>, StoreError> {
        let only = are_dead.then(|| selection.and(" and r.status in ('dead', 'discarded')"));
        let selection = only.as_ref().unwrap_or(selection);
        let rows = self.sorted_rows(selection, (COLUMNS, "r.id"), sort, after, limit).await?;
        rows.into_iter().map(|(row, place)| Ok((read(&row)?, place))).collect()
    }

    /// One request.
    pub async fn request(&self, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
        let sql = format!("select {COLUMNS} from request r where r.id = $1");
        let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        row.as_ref().map(read).transpose()
    }

    /// Requests with their bodies, each once; at most [`Self::KEPT_MAX`] ids.
    pub(crate) async fn requests_with_bodies(
        &self,
        ids: &[RequestId],
    ) -> Result<HashMap<RequestId, Arc<RequestWithBody>>, StoreError> {
        let Some(last) = ids.last() else {
            return Ok(HashMap::new());
        };
        let sql = format!(
            "select {COLUMNS}, b.bytes from request r join body b on b.id = r.body_id
             where r.id in ({})",
            (1..=Self::KEPT_MAX).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
        );
        let rows = on_db!(self.db(), pool => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for place in 0..Self::KEPT_MAX {
                query = query.bind(ids.get(place).unwrap_or(last).bytes().to_vec());
            }
            query.fetch_all(pool).await.map_err(StoreError::Read)?
        });
        rows.iter()
            .map(|row| {
                let body: Vec<u8> = row.try_get(15).map_err(StoreError::Read)?;
                let row = read(row)?;
                Ok((row.id, Arc::new(RequestWithBody { row, body: body.into() })))
            })
            .collect()
    }

    /// A request's exact body.
    pub async fn body(&self, id: RequestId) -> Result<Option<Bytes>, StoreError> {
        let bytes: Option<Vec<u8>> = on_db!(self.db(), pool => sqlx::query_scalar(
            "select b.bytes from request r join body b on b.id = r.body_id where r.id = $1")
            .bind(id.bytes().as_slice()).fetch_optional(pool).await.map_err(StoreError::Read)?);
        Ok(bytes.map(Bytes::from))
    }

    /// Requests under a correlation id, the oldest first.
    pub async fn requests_correlated(
        &self,
        id: &CorrelationId,
        limit: usize,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let sql = format!(
            "select {COLUMNS} from request r where r.correlation_id = $1 order by r.id limit $2"
        );
        let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.as_str()).bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut requests = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some(own) = RequestId::from_trace_id(id.as_str()) {
            let found = self.request(own).await?.filter(|r| r.correlation_id == *id);
            requests.extend(found);
        }
        Ok(requests)
    }

    /// Takes dead requests out of the queue, with a reason. Answers how many were.
    pub async fn discard_requests(
        &self,
        ids: Vec<RequestId>,
        who: String,
        reason: String,
    ) -> Result<u64, StoreError> {
        self.write(move |tx| {
            let mut done = 0;
            for id in &ids {
                done += u64::from(discard_request(tx, *id, &reason, &who)?);
            }
            Ok(done)
        })
        .await
    }
}

pub(super) fn discard_request(
    tx: &mut super::writer::Tx<'_>,
    id: RequestId,
    reason: &str,
    who: &str,
) -> Result<bool, StoreError> {
    use super::timeline::{Row, append, detail};
    let found = tx.run(
        "update request set status = 'discarded', ended_us = $1 where id = $2 and status = 'dead'",
        rusqlite::params![tx.now_us, id.bytes()],
    )?;
    if found == 0 {
        return Ok(false);
    }
    tx.count("dead_requests", "", -1);
    append(
        tx,
        &Row {
            request_id: Some(id),
            detail: Some(detail(&[("who", who.into()), ("reason", reason.into())])),
            ..Row::new(crate::timeline::What::Discarded)
        },
    )?;
    Ok(true)
}
