//! What else came to a source, near one of its requests.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, on_db};
use crate::id::{EventId, RequestId};

/// So many requests are looked at to each side: more would take longer than it is worth.
const NEAR_MAX: i64 = 2000;

impl Store {
    /// The last verified request of `source` before `id`, and the first one after, if they are near;
    /// each with its arrival in microseconds.
    pub async fn verified_near(
        &self,
        source: &str,
        id: RequestId,
    ) -> Result<[Option<(RequestId, i64)>; 2], StoreError> {
        let mut found = [None, None];
        for (place, (comparison, order)) in [("<", "desc"), (">", "asc")].into_iter().enumerate() {
            let sql = format!(
                "select id, received_us from (
                     select id, source, status, received_us from request
                     where id {comparison} $1 order by id {order} limit $2)
                 where source = $3 and status in ('accepted', 'duplicate')
                 order by id {order} limit 1"
            );
            let row = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(id.bytes().as_slice()).bind(NEAR_MAX).bind(source)
                .fetch_optional(pool).await.map_err(StoreError::Read)?);
            found[place] = row.as_ref().map(read).transpose()?;
        }
        Ok(found)
    }

    /// The event that has this key, if one was taken in.
    pub async fn event_of_key(
        &self,
        source: &str,
        provider: &str,
        event_type: &str,
        external_id: &str,
    ) -> Result<Option<EventId>, StoreError> {
        let id: Option<Vec<u8>> = on_db!(self.db(), pool => sqlx::query_scalar(
            "select event_id from event_key
             where source = $1 and provider = $2 and type = $3 and external_id = $4")
            .bind(source).bind(provider).bind(event_type).bind(external_id)
            .fetch_optional(pool).await.map_err(StoreError::Read)?);
        Ok(id.and_then(|id| EventId::from_bytes(&id)))
    }

    /// [`Store::digest_key`] as the store has it, for who only reads it.
    pub async fn kept_digest_key(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let text: Option<String> = on_db!(self.db(), pool => sqlx::query_scalar(
            "select value from meta where name = 'digest_key'")
            .fetch_optional(pool).await.map_err(StoreError::Read)?);
        let mut key = [0; 32];
        Ok(text.and_then(|text| hex::decode_to_slice(text, &mut key).ok().map(|()| key)))
    }
}

fn read(row: &SqliteRow) -> Result<(RequestId, i64), StoreError> {
    let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
    let id = RequestId::from_bytes(&id).ok_or(StoreError::Value { what: "a request's id" })?;
    Ok((id, row.try_get(1).map_err(StoreError::Read)?))
}
