//! What vendors say they sent against what arrived, as documents.

use super::{Page, ViewError, cursor, cut, list, reconcile_id};
use crate::api::{List, Reconcile, ReconcileCounts, ReconcileError, ReconcileItem, V};
use crate::clock::from_micros;
use crate::event::micros;
use crate::store::{GapRow, ReconcileRow, Store};

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// One comparison.
pub async fn reconcile(store: &Store, id: &str) -> Result<Reconcile, ViewError> {
    let found = reconcile_id(store, id).await?;
    let row = store.reconcile(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    Ok(document(row, store.clock().now_us()))
}

fn document(row: ReconcileRow, now_us: i64) -> Reconcile {
    let moment = |us| micros(from_micros(us));
    let ended = row.taken + row.duplicate + row.failed;
    let is_expired = row.status == "planned" && row.expires_us < now_us;
    Reconcile {
        v: V,
        object: "reconcile".to_owned(),
        id: row.id.to_string(),
        hash: row.hash,
        source: row.source,
        provider: row.provider,
        since_at: moment(row.since_us),
        until_at: moment(row.until_us),
        types: row.types,
        who: row.who,
        reason: row.reason,
        created_at: moment(row.created_us),
        expires_at: moment(row.expires_us),
        ended_at: row.ended_us.map(moment),
        status: if is_expired { "expired".to_owned() } else { row.status },
        pages: count(row.pages),
        items: ReconcileCounts {
            listed: count(row.counts.listed),
            arrived: count(row.counts.arrived),
            missing: count(row.counts.missing),
            rejected: count(row.counts.rejected),
            unreadable: count(row.counts.unreadable),
            ignored: count(row.counts.ignored),
            pending: count(row.counts.gap() - ended),
            taken: count(row.taken),
            duplicate: count(row.duplicate),
            failed: count(row.failed),
        },
        error: row.error.map(|(code, message)| ReconcileError { code, message }),
    }
}

/// A page of the gap, in the vendor's order.
pub async fn reconcile_items(
    store: &Store,
    id: &str,
    page: &Page,
) -> Result<List<ReconcileItem>, ViewError> {
    let found = reconcile_id(store, id).await?;
    let behind = cursor(page)?.unwrap_or(-1);
    let mut rows = store.reconcile_items(found, behind, page.limit + 1).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|row| row.place.to_string());
    Ok(list("reconcile_item_list", rows.into_iter().map(item).collect(), next, None))
}

fn item(row: GapRow) -> ReconcileItem {
    ReconcileItem {
        v: V,
        object: "reconcile_item".to_owned(),
        place: row.place,
        external_id: row.external_id,
        event_type: row.event_type,
        occurred_at: micros(from_micros(row.at_us)),
        delivery: row.delivery,
        state: row.state,
        verdict: row.verdict,
        why: row.why,
        request_id: row.request_id.map(|id| id.to_string()),
        event_id: row.event_id.map(|id| id.to_string()),
    }
}
