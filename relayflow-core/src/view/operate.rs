//! Queues, workers and the numbers of the present.

use std::time::Duration;

use super::convert::counts;
use super::{ViewError, list};
use crate::api::{
    DriftTotals, Latency, List, Queue, QueuePause, ReplayTotals, Stats, StatsFlow, StatsRow,
    StatsSeries, V, Worker,
};
use crate::event::micros;
use crate::execute::BEAT_EVERY;
use crate::id::WorkerId;
use crate::store::{self, By, Counters, Flow, Percentiles, SLOT_SECONDS, Store, WorkerRow};
use crate::task::TaskStatus;

/// What rates look back over, in seconds.
const RATE_SECONDS: i64 = 60;
/// A worker that was not heard of for so long is silent.
const SILENT_AFTER: Duration = Duration::from_secs(BEAT_EVERY.as_secs() * 3);

/// The queue of each destination, as the store has it; breaker and `concurrency` are the daemon's to
/// say.
pub async fn queues(store: &Store) -> Result<List<Queue>, ViewError> {
    let counters = store.counters().await?;
    let flow = store.flow(RATE_SECONDS, Some(By::Dest)).await?;
    let pauses = store.queue_pauses().await?;
    let mut names = counters.destinations();
    names.extend(pauses.iter().map(|pause| pause.name.clone()));
    names.sort();
    names.dedup();
    let now = store.clock().now_us();
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        let oldest = store.oldest_queued(&counters, Some(&name)).await?;
        let oldest = oldest.map(|us| seconds(now - us));
        let pause = pauses.iter().find(|pause| pause.name == name);
        items.push(queue(name, &counters, &flow, oldest, pause));
    }
    Ok(list("queue_list", items, None, None))
}

fn queue(
    name: String,
    counters: &Counters,
    flow: &Flow,
    oldest_queued_seconds: Option<f64>,
    pause: Option<&store::QueuePause>,
) -> Queue {
    let of = |status| counters.tasks_of(&name, status);
    let lately = |what: &str| flow.count(By::Dest, Some(&name), what);
    let per_second = |count: i64| float(count) / flow.seconds();
    let depth = of(TaskStatus::Queued) + of(TaskStatus::Retrying);
    let (came, went) = (lately("in"), lately("ok") + lately("dead"));
    let attempts = lately("attempt");
    Queue {
        v: V,
        object: "queue".to_owned(),
        depth,
        running: of(TaskStatus::Running),
        retrying: of(TaskStatus::Retrying),
        dead: of(TaskStatus::Dead),
        oldest_queued_seconds,
        state: if pause.is_some() { "paused" } else { "open" }.to_owned(),
        concurrency: 0,
        breaker: None,
        next_probe_seconds: None,
        pause: pause.map(queue_pause),
        in_per_second: per_second(came),
        out_per_second: per_second(went),
        retry_ratio: (0 < attempts).then(|| float(lately("retry")) / float(attempts)),
        drain_seconds: drains_in(depth, pause.is_some(), per_second(went) - per_second(came)),
        name,
    }
}

/// When a queue is empty that grows shorter by `rate` each second.
fn drains_in(depth: i64, is_paused: bool, rate: f64) -> Option<f64> {
    if depth <= 0 {
        return Some(0.0);
    }
    (!is_paused && 0.0 < rate).then(|| float(depth) / rate)
}

fn float(count: i64) -> f64 {
    f64::from(i32::try_from(count).unwrap_or(i32::MAX))
}

fn seconds(us: i64) -> f64 {
    Duration::from_micros(u64::try_from(us).unwrap_or(0)).as_secs_f64()
}

/// A pause, as it crosses the wire.
#[must_use]
pub fn queue_pause(pause: &store::QueuePause) -> QueuePause {
    QueuePause {
        name: pause.name.clone(),
        who: pause.who.clone(),
        reason: pause.reason.clone(),
        since: micros(pause.since),
        until: pause.until.map(micros),
    }
}

/// Everybody who runs tasks or holds leases.
pub async fn workers(store: &Store) -> Result<List<Worker>, ViewError> {
    let now = store.clock().now_us();
    let workers = store.workers().await?;
    let items = workers.iter().map(|row| document(row, now)).collect();
    Ok(list("worker_list", items, None, None))
}

/// One of them, by its id or the beginning of it.
pub async fn worker(store: &Store, id: &str) -> Result<Worker, ViewError> {
    let wanted = id.to_ascii_uppercase();
    let starts = |worker: &Worker| worker.id.to_ascii_uppercase().starts_with(&wanted);
    let mut found = workers(store).await?.items;
    found.retain(starts);
    if 1 < found.len() {
        return Err(ViewError::Ambiguous(id.to_owned()));
    }
    found.pop().ok_or_else(|| ViewError::NotFound(id.to_owned()))
}

fn document(row: &WorkerRow, now_us: i64) -> Worker {
    let silent_for = now_us - row.beat.as_microsecond();
    let is_silent = i64::try_from(SILENT_AFTER.as_micros()).unwrap_or(i64::MAX) < silent_for;
    let state = if row.version.is_empty() {
        "gone"
    } else if is_silent {
        "silent"
    } else {
        "live"
    };
    Worker {
        v: V,
        object: "worker".to_owned(),
        id: WorkerId::to_string(&row.id),
        state: state.to_owned(),
        leases: row.leases,
        ended_leases: row.ended_leases,
        running: row.leases,
        heartbeat_seconds: seconds(silent_for),
        started_at: micros(row.started),
        version: row.version.clone(),
        pid: row.pid,
    }
}

/// The numbers.
pub async fn stats(store: &Store) -> Result<Stats, ViewError> {
    let counters = store.counters().await?;
    let pauses = store.queue_pauses().await?;
    let now = store.clock().now();
    let oldest = store.oldest_queued(&counters, None).await?;
    let by = TaskStatus::ALL.iter().map(|status| counters.tasks(*status));
    let mut tasks = [0; 7];
    tasks.iter_mut().zip(by).for_each(|(slot, count)| *slot = count);
    Ok(Stats {
        v: V,
        object: "stats".to_owned(),
        at: micros(now),
        events: counters.total("events"),
        requests: counters.total("requests"),
        rejected: counters.total("rejected"),
        duplicates: counters.total("duplicates"),
        tasks: counts(tasks),
        dead_letters: counters.tasks(TaskStatus::Dead) + counters.total("dead_requests"),
        oldest_queued_seconds: oldest.map(|us| seconds(now.as_microsecond() - us)),
        retry_rate: counters.retry_rate(),
        replays: ReplayTotals {
            running: counters.total("replay.running"),
            paused: counters.total("replay.paused"),
            done: counters.total("replay.done"),
            cancelled: counters.total("replay.cancelled"),
        },
        drift: DriftTotals {
            breaking: counters.of("drift", "breaking"),
            additive: counters.of("drift", "additive"),
        },
        paused_queues: pauses.iter().map(queue_pause).collect(),
        flow: None,
    })
}

/// What came and went in the last `seconds`, of everything or by one of [`By`].
pub async fn flow(store: &Store, seconds: i64, by: Option<By>) -> Result<StatsFlow, ViewError> {
    let flow = store.flow(seconds, by.or(Some(By::Source))).await?;
    let rows = match by {
        // Every request and every event has one source: their sum is everything.
        None => vec![stats_row(&flow, By::Source, None)],
        Some(by) => flow.names(by).iter().map(|name| stats_row(&flow, by, Some(name))).collect(),
    };
    Ok(StatsFlow {
        since: micros(flow.since),
        until: micros(flow.until),
        by: by.map(|by| by.as_str().to_owned()),
        step_seconds: u32::try_from(SLOT_SECONDS).unwrap_or(0),
        rows,
    })
}

fn stats_row(flow: &Flow, by: By, name: Option<&str>) -> StatsRow {
    let count = |what: &str| flow.count(by, name, what);
    let series = |what: &str| flow.series(by, name, what);
    let (received, received_series) = match by {
        By::Source => {
            let both = series("received").into_iter().zip(series("rejected"));
            (count("received") + count("rejected"), both.map(|(a, b)| a + b).collect())
        }
        By::Workflow | By::Dest => (count("in"), series("in")),
    };
    StatsRow {
        name: name.unwrap_or("all").to_owned(),
        received,
        rejected: count("rejected"),
        duplicates: count("duplicate"),
        ok: count("ok"),
        retries: count("retry"),
        dead: count("dead"),
        attempts: count("attempt"),
        ack: latency(flow.latency(by, name, "ack")),
        end_to_end: latency(flow.latency(by, name, "done")),
        series: StatsSeries {
            received: received_series,
            ok: series("ok"),
            retries: series("retry"),
            dead: series("dead"),
        },
    }
}

fn latency(found: Percentiles) -> Latency {
    Latency { count: found.count, p50_ms: found.p50, p95_ms: found.p95, p99_ms: found.p99 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_drains_if_more_goes_than_comes() {
        assert_eq!(drains_in(0, true, -1.0), Some(0.0));
        assert_eq!(drains_in(100, false, 2.0), Some(50.0));
        assert_eq!(drains_in(100, false, 0.0), None);
        assert_eq!(drains_in(100, true, 2.0), None);
    }
}
