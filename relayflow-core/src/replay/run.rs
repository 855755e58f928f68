//! The job that carries plans out, item by item.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ReplayError;
use crate::id::{ReplayId, RequestId};
use crate::ingest::{Ingest, ReadmitError};
use crate::store::{Item, ItemRow, ReplayRow, Reread, Store, StoreError};

/// Items moved in one transaction: so few that live commits which share it hardly notice.
const MOVE_MAX: usize = 50;
/// How many items of all replays may be under way: fewer than a destination's lane has places, so
/// that what else waits in the store can be claimed beside them.
const UNDER_WAY_MAX: i64 = 500;
/// How far ahead of the cursor items may pass each other with order `received`.
const AHEAD: i64 = 2_000;
const TICK: Duration = Duration::from_millis(100);
/// Of the writer's time a replay takes no more than a third: after each move it rests twice as long.
const REST: u32 = 2;

/// Carries out every replay that is not over, until it is told to stop. What it was doing goes on
/// where it stood when the daemon is back.
pub async fn run(ingest: Arc<Ingest>, stop: CancellationToken) {
    let mut budgets: HashMap<ReplayId, f64> = HashMap::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let open = match ingest.store.open_replays().await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "open replays could not be read");
                continue;
            }
        };
        let running: Vec<&ReplayRow> = open.iter().filter(|r| r.status == "running").collect();
        let share = UNDER_WAY_MAX / i64::try_from(running.len().max(1)).unwrap_or(1);
        for replay in running {
            let budget = budgets.entry(replay.id).or_insert(0.0);
            if let Some(rate) = replay.rate {
                *budget = (*budget + rate * TICK.as_secs_f64()).min(rate.max(1.0));
            }
            let mut turn = Turn { ingest: &ingest, budget, stop: &stop, share: share.max(1) };
            if let Err(error) = turn.take(replay).await {
                tracing::warn!(replay_id = %replay.id, %error, "a replay could not go on");
            }
        }
        budgets.retain(|id, _| open.iter().any(|r| r.id == *id));
        if let Err(error) = tell_the_others(&ingest.store).await {
            tracing::warn!(%error, "replays that stand still could not be told how their items ended");
        }
    }
}

/// A replay that was paused or cancelled still learns how those of its items ended that had moved.
async fn tell_the_others(store: &Store) -> Result<(), StoreError> {
    for id in store.unsettled_replays().await? {
        store.settle_items(id).await?;
    }
    Ok(())
}

/// What a replay may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Move so many.
    Move(usize),
    Wait,
    CanaryIsOver,
    Stop {
        by: &'static str,
        detail: String,
    },
}

/// What follows from where a replay stands, with so many of its items under way and room for `share`.
/// It never has more under way than may still fail: so it stops exactly where it was told to.
fn next_step(replay: &ReplayRow, under_way: i64, share: i64) -> Step {
    let how = &replay.how;
    let failed = replay.failed - replay.forgiven;
    if let Some(most) = how.stop_after
        && most <= failed
    {
        let detail = format!("{failed} of {} failed", replay.moved);
        return Step::Stop { by: "stop_after", detail };
    }
    let mut room = how.concurrency.unwrap_or(share).min(share) - under_way;
    if let Some(canary) = how.canary.filter(|_| !replay.canary_is_over) {
        if canary <= replay.moved {
            return match (under_way, replay.failed) {
                (0, 0) if how.after_canary == "ask" => {
                    let detail = format!("canary: {canary} of {canary} ok; resume it to go on");
                    Step::Stop { by: "canary", detail }
                }
                (0, 0) => Step::CanaryIsOver,
                (0, failed) => {
                    let detail = format!("canary: {failed} of {canary} failed");
                    Step::Stop { by: "canary_failed", detail }
                }
                _ => Step::Wait,
            };
        }
        room = room.min(canary - replay.moved);
    }
    if let Some(most) = how.stop_after {
        room = room.min(most - failed - under_way);
    }
    match usize::try_from(room) {
        Ok(room) if 0 < room => Step::Move(room),
        _ => Step::Wait,
    }
}

/// One turn of one replay.
struct Turn<'a> {
    ingest: &'a Ingest,
    /// How many items its rate allows now.
    budget: &'a mut f64,
    stop: &'a CancellationToken,
    share: i64,
}

impl Turn<'_> {
    /// Moves what may be moved now, and gives verdicts to what has ended.
    async fn take(&mut self, replay: &ReplayRow) -> Result<(), ReplayError> {
        let store = &self.ingest.store;
        let ends_at = Instant::now() + TICK;
        let mut under_way = store.settle_items(replay.id).await?;
        loop {
            // Read anew each time: its counts have changed, and somebody may have paused it.
            let Some(now) = store.replay(replay.id).await?.filter(|r| r.status == "running") else {
                return Ok(());
            };
            if now.total <= now.cursor && under_way == 0 {
                store.end_replay(now.id).await?;
                return Ok(());
            }
            let room = match next_step(&now, under_way, self.share) {
                Step::Move(room) => room,
                Step::Wait => return Ok(()),
                Step::CanaryIsOver => {
                    store.end_canary(now.id).await?;
                    continue;
                }
                Step::Stop { by, detail } => {
                    return Ok(store.stop_replay(now.id, by, detail).await?);
                }
            };
            let room = if now.rate.is_some() { room.min(whole(*self.budget)) } else { room };
            if room == 0 || now.total <= now.cursor || self.stop.is_cancelled() {
                return Ok(());
            }
            let began = Instant::now();
            let moved = self.some(&now, room).await?;
            if moved == 0 || ends_at <= Instant::now() {
                return Ok(());
            }
            tokio::time::sleep(began.elapsed() * REST).await;
            under_way = store.settle_items(now.id).await?;
        }
    }

    /// Moves up to `room` items, and passes over what does not move. Answers how many were looked at.
    async fn some(&mut self, replay: &ReplayRow, room: usize) -> Result<usize, ReplayError> {
        let store = &self.ingest.store;
        let items = if replay.how.order == "received" {
            store.next_in_order(replay, AHEAD, MOVE_MAX).await?
        } else {
            store.plan_items(replay.plan_id, replay.cursor, MOVE_MAX).await?
        };
        let mut movers = 0;
        let may_move = |item: &ItemRow| {
            movers += usize::from(item.moves);
            movers <= room
        };
        let items: Vec<ItemRow> = items.into_iter().take_while(may_move).collect();
        let count = items.len();
        if replay.rate.is_some() {
            let movers = items.iter().filter(|item| item.moves).count();
            *self.budget -= f64::from(u32::try_from(movers).unwrap_or(u32::MAX));
        }
        let mut tasks: Vec<ItemRow> = Vec::new();
        for item in items {
            let Item::Request(id) = item.item else {
                tasks.push(item);
                continue;
            };
            // Items move in their order, so that the cursor never passes one that has not.
            if !self.move_tasks(replay, &mut tasks).await? || self.stop.is_cancelled() {
                return Ok(0);
            }
            self.reread(replay, item, id).await?;
        }
        let goes_on = self.move_tasks(replay, &mut tasks).await?;
        Ok(if goes_on { count } else { 0 })
    }

    async fn move_tasks(
        &self,
        replay: &ReplayRow,
        tasks: &mut Vec<ItemRow>,
    ) -> Result<bool, ReplayError> {
        if tasks.is_empty() {
            return Ok(true);
        }
        Ok(self.ingest.store.move_items(replay.clone(), std::mem::take(tasks)).await?)
    }

    /// Reads an unreadable request again, and notes what became of it.
    async fn reread(
        &self,
        replay: &ReplayRow,
        item: ItemRow,
        id: RequestId,
    ) -> Result<(), ReplayError> {
        let store = &self.ingest.store;
        if !item.moves {
            let why = item.why.clone().unwrap_or_else(|| format!("was {}", item.status));
            return Ok(store.end_request_item(replay.clone(), item, "skipped", why).await?);
        }
        let by = Reread {
            who: replay.who.clone(),
            reason: replay.reason.clone(),
            replay_id: Some(replay.id),
        };
        let (state, verdict) = match self.ingest.read_again(id, by).await {
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
        Ok(store.end_request_item(replay.clone(), item, state, verdict).await?)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a budget is between 0 and the rate; what is beyond usize saturates"
)]
fn whole(budget: f64) -> usize {
    budget.max(0.0).floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PlanId;
    use crate::store::How;

    fn replay(how: How, moved: i64, failed: i64) -> ReplayRow {
        ReplayRow {
            id: ReplayId::next(),
            plan_id: PlanId::next(),
            action: "replay".to_owned(),
            mode: "resume".to_owned(),
            q: None,
            who: "ana".to_owned(),
            reason: None,
            created_us: 0,
            ended_us: None,
            status: "running".to_owned(),
            detail: None,
            rate: None,
            cursor: 0,
            total: 100,
            how,
            moved,
            failed,
            forgiven: 0,
            canary_is_over: false,
            paused_by: None,
        }
    }

    #[track_caller]
    fn check(how: How, (moved, failed, under_way): (i64, i64, i64), wanted: &Step) {
        let told = next_step(&replay(how, moved, failed), under_way, 500);
        assert_eq!(told, *wanted, "{moved} moved, {failed} failed, {under_way} under way");
    }

    #[test]
    fn room_is_what_concurrency_canary_and_failures_leave() {
        let stop = |by, detail: &str| Step::Stop { by, detail: detail.to_owned() };
        check(How::default(), (0, 0, 0), &Step::Move(500));
        check(How::default(), (600, 0, 500), &Step::Wait);
        let narrow = || How { concurrency: Some(3), ..How::default() };
        check(narrow(), (5, 0, 2), &Step::Move(1));
        check(narrow(), (5, 0, 3), &Step::Wait);

        let canary =
            |after: &str| How { canary: Some(5), after_canary: after.to_owned(), ..How::default() };
        check(canary("go"), (0, 0, 0), &Step::Move(5));
        check(canary("go"), (3, 0, 1), &Step::Move(2));
        check(canary("go"), (5, 0, 1), &Step::Wait);
        check(canary("go"), (5, 0, 0), &Step::CanaryIsOver);
        let ask = "canary: 5 of 5 ok; resume it to go on";
        check(canary("ask"), (5, 0, 0), &stop("canary", ask));
        check(canary("ask"), (5, 2, 0), &stop("canary_failed", "canary: 2 of 5 failed"));

        let stops = || How { stop_after: Some(4), ..How::default() };
        check(stops(), (0, 0, 0), &Step::Move(4));
        check(stops(), (6, 1, 2), &Step::Move(1));
        check(stops(), (7, 1, 3), &Step::Wait);
        check(stops(), (9, 4, 0), &stop("stop_after", "4 of 9 failed"));
    }

    #[test]
    fn whoever_resumes_it_has_forgiven_what_failed() {
        let how = How { stop_after: Some(4), ..How::default() };
        let resumed = ReplayRow { forgiven: 4, ..replay(how, 9, 4) };
        assert_eq!(next_step(&resumed, 0, 500), Step::Move(4));
    }
}
