//! Plans and replays, as documents.

use super::sorted::{page_of, sort_whole};
use super::{Page, ViewError, convert, cursor, cut, list, plan_id, replay_id};
use crate::api::{List, Plan, PlanCounts, PlanItem, Replay, ReplayCounts, ReplayItem, Total, V};
use crate::event::micros;
use crate::store::Store;

/// One plan.
pub async fn plan(store: &Store, id: &str) -> Result<Plan, ViewError> {
    let found = plan_id(store, id).await?;
    let row = store.plan(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let summary: Option<crate::replay::Summary> = serde_json::from_str(&row.summary).ok();
    let now = store.clock().now_us();
    let status = match row.used_us {
        Some(_) => "used",
        None if row.expires_us < now => "expired",
        None => "planned",
    };
    let moment = |us| micros(crate::clock::from_micros(us));
    Ok(Plan {
        v: V,
        object: "plan".to_owned(),
        id: row.id.to_string(),
        hash: row.hash,
        action: row.action,
        mode: row.mode,
        q: row.q,
        created_at: moment(row.created_us),
        expires_at: moment(row.expires_us),
        status: status.to_owned(),
        items: summary.as_ref().map_or_else(PlanCounts::default, |s| s.counts),
        oldest_at: summary.as_ref().and_then(|s| s.oldest_at.clone()),
        newest_at: summary.as_ref().and_then(|s| s.newest_at.clone()),
        events: summary.as_ref().map_or(0, |s| s.events),
        order: row.order,
        late: summary.as_ref().map(|s| s.late).unwrap_or_default(),
        is_candidate: summary.as_ref().is_some_and(|s| s.is_candidate),
        difference: summary.as_ref().and_then(|s| s.difference.clone()),
        routing: summary.as_ref().map(|s| s.routing.clone()).unwrap_or_default(),
        contract: summary.as_ref().map(|s| s.contract).unwrap_or_default(),
        time: summary.as_ref().and_then(|s| s.time.clone()),
        edit: summary.as_ref().and_then(|s| s.edit.clone()),
        needs_reason: summary.as_ref().is_some_and(|s| s.needs_reason),
        groups: summary.map(|s| s.groups).unwrap_or_default(),
    })
}

/// Members of a plan in their order, with what would become of each and how its payload is mended.
pub async fn plan_items(store: &Store, id: &str, page: &Page) -> Result<List<PlanItem>, ViewError> {
    let found = plan_id(store, id).await?;
    let row = store.plan(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let behind: i64 = cursor(page)?.unwrap_or(0);
    let mut rows = store.plan_items_with_changes(row.id, behind, page.limit + 1).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|(item, _)| item.place.to_string());
    let items = rows.into_iter().map(|(item, changes)| convert::plan_item(item, changes)).collect();
    let summary: Option<crate::replay::Summary> = serde_json::from_str(&row.summary).ok();
    let total = summary.map(|s| Total { value: s.counts.total, exact: true });
    Ok(list("plan_item_list", items, next, total))
}

/// A page of replays, newest first.
pub async fn replays(store: &Store, page: &Page) -> Result<List<Replay>, ViewError> {
    if let Some(sort) = &page.sort {
        return replays_sorted(store, page, sort).await;
    }
    let mut rows = store.replays(cursor(page)?, page.limit + 1).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(convert::replay(row, replay_counts(store, row).await?));
    }
    Ok(list("replay_list", items, next, None))
}

/// The newest replays that are put in another order.
const SORTED_MAX: usize = 1000;

async fn replays_sorted(store: &Store, page: &Page, sort: &str) -> Result<List<Replay>, ViewError> {
    let mut items = Vec::new();
    for row in &store.replays(None, SORTED_MAX).await? {
        items.push(convert::replay(row, replay_counts(store, row).await?));
    }
    let mut items = sort_whole(items, sort)?;
    let next = page_of(&mut items, page, |replay| &replay.id)?;
    Ok(list("replay_list", items, next, None))
}

/// One replay.
pub async fn replay(store: &Store, id: &str) -> Result<Replay, ViewError> {
    let found = replay_id(store, id).await?;
    let row = store.replay(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let mut replay = convert::replay(&row, replay_counts(store, &row).await?);
    replay.errors = Some(store.replay_errors(found).await?.iter().map(convert::errors).collect());
    Ok(replay)
}

pub(crate) async fn replay_counts(
    store: &Store,
    row: &crate::store::ReplayRow,
) -> Result<ReplayCounts, ViewError> {
    let total = u64::try_from(row.total).unwrap_or(0);
    let mut counts = ReplayCounts { total, ..ReplayCounts::default() };
    let mut seen = 0;
    for (state, verdict, count) in store.replay_counts(row.id).await? {
        let count = u64::try_from(count).unwrap_or(0);
        seen += count;
        match (state.as_str(), verdict.as_deref()) {
            ("moved", _) => counts.moved += count,
            ("ended", Some("ok")) => counts.ok += count,
            ("ended", Some("discarded")) => counts.discarded += count,
            ("ended", Some("skipped")) | ("skipped", _) => counts.skipped += count,
            ("cancelled", _) => counts.cancelled += count,
            _ => counts.dead += count,
        }
    }
    let left = total.saturating_sub(seen);
    if row.status == "cancelled" {
        counts.cancelled += left;
    } else {
        counts.pending = left;
    }
    Ok(counts)
}

/// Items of a replay with their verdicts, in the plan's order.
pub async fn replay_items(
    store: &Store,
    id: &str,
    page: &Page,
) -> Result<List<ReplayItem>, ViewError> {
    let found = replay_id(store, id).await?;
    let row = store.replay(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let behind: i64 = cursor(page)?.unwrap_or(0);
    let mut rows = store.replay_items(&row, behind, page.limit + 1).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|item| item.place.to_string());
    let items = rows.iter().map(convert::replay_item).collect();
    let total = Total { value: u64::try_from(row.total).unwrap_or(0), exact: true };
    Ok(list("replay_item_list", items, next, Some(total)))
}
