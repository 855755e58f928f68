//! The job that carries plans out, item by item.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ReplayError;
use crate::id::{ReplayId, RequestId};
use crate::ingest::{Ingest, ReadmitError};
use crate::store::{Item, ItemRow, ReplayRow, Reread, Store, StoreError};

/// Items moved at once, and how many may be under way before more are moved.
const MOVE_MAX: usize = 500;
const UNDER_WAY_MAX: i64 = 2_000;
const TICK: Duration = Duration::from_millis(100);

/// Carries out every replay that is not over, until it is told to stop. What it was doing goes on
/// where it stood when the daemon is back.
pub async fn run(ingest: Arc<Ingest>, stop: CancellationToken) {
    let mut budgets: std::collections::HashMap<ReplayId, f64> = std::collections::HashMap::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut idle_ticks = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // Without a replay a look each second is enough, unless the counters say otherwise.
        idle_ticks = idle_ticks.saturating_add(1);
        let open = match ingest.store.open_replays().await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "open replays could not be read");
                continue;
            }
        };
        for replay in open.iter().filter(|r| r.status == "running") {
            idle_ticks = 0;
            let budget = budgets.entry(replay.id).or_insert(0.0);
            if let Err(error) = advance(&ingest, replay, budget, &stop).await {
                tracing::warn!(replay_id = %replay.id, %error, "a replay could not go on");
            }
        }
        budgets.retain(|id, _| open.iter().any(|r| r.id == *id));
    }
}

/// Moves what may be moved now, and gives verdicts to what has ended.
async fn advance(
    ingest: &Ingest,
    replay: &ReplayRow,
    budget: &mut f64,
    stop: &CancellationToken,
) -> Result<(), ReplayError> {
    let store = &ingest.store;
    let under_way = store.settle_items(replay.id).await?;
    if replay.total <= replay.cursor {
        if under_way == 0 {
            store.end_replay(replay.id).await?;
        }
        return Ok(());
    }
    let room = usize::try_from(UNDER_WAY_MAX - under_way).unwrap_or(0).min(MOVE_MAX);
    let allowed = match replay.rate {
        None => room,
        Some(rate) => {
            *budget = (*budget + rate * TICK.as_secs_f64()).min(rate.max(1.0));
            whole(*budget).min(room)
        }
    };
    if allowed == 0 {
        return Ok(());
    }
    let items = store.plan_items(replay.plan_id, replay.cursor, allowed).await?;
    if replay.rate.is_some() {
        *budget -= f64::from(u32::try_from(items.len()).unwrap_or(u32::MAX));
    }
    let mut tasks: Vec<ItemRow> = Vec::new();
    for item in items {
        let Item::Request(id) = item.item else {
            tasks.push(item);
            continue;
        };
        // Items move in their order, so that the cursor never passes one that has not.
        if !move_tasks(store, replay.id, &mut tasks).await? || stop.is_cancelled() {
            return Ok(());
        }
        reread(ingest, replay, item, id).await?;
    }
    move_tasks(store, replay.id, &mut tasks).await?;
    Ok(())
}

async fn move_tasks(
    store: &Store,
    replay: ReplayId,
    tasks: &mut Vec<ItemRow>,
) -> Result<bool, ReplayError> {
    if tasks.is_empty() {
        return Ok(true);
    }
    Ok(store.move_items(replay, std::mem::take(tasks)).await?)
}

/// Reads an unreadable request again, and notes what became of it.
async fn reread(
    ingest: &Ingest,
    replay: &ReplayRow,
    item: ItemRow,
    id: RequestId,
) -> Result<(), ReplayError> {
    if !item.would.starts_with("run") {
        let why = format!("was {}", item.status);
        return Ok(ingest.store.end_request_item(replay.id, item, "skipped", why).await?);
    }
    let by = Reread {
        who: replay.who.clone(),
        reason: replay.reason.clone(),
        replay_id: Some(replay.id),
    };
    let (state, verdict) = match ingest.read_again(id, by).await {
        Ok(read) if read.status == "dead" || read.status == "rejected" => {
            ("ended", "dead".to_owned())
        }
        Ok(_) => ("ended", "ok".to_owned()),
        Err(ReadmitError::NotKept { status, .. }) => ("skipped", format!("was {status}")),
        Err(ReadmitError::Store(StoreError::Changed { found, .. })) => {
            ("skipped", format!("was {found}"))
        }
        Err(ReadmitError::Store(error)) => return Err(error.into()),
        Err(other) => ("skipped", other.to_string()),
    };
    Ok(ingest.store.end_request_item(replay.id, item, state, verdict).await?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a budget is between 0 and the rate; what is beyond usize saturates"
)]
fn whole(budget: f64) -> usize {
    budget.max(0.0).floor() as usize
}
