//! Charts: attempts over time and by how long they took, and the minutes of the whole.

use super::{ViewError, list, replay_id};
use crate::api::{Bucket, Chart, Distribution, List, Minute, Slice, V};
use crate::clock::from_micros;
use crate::event::micros;
use crate::store::{Sample, Sampled, Store};
use crate::task::TaskStatus;

/// The parts of a chart's time.
const SLICES: usize = 60;
/// Attempts with this number and above are counted as one.
const ATTEMPTS: usize = 10;
/// Attempts that are looked at.
const SAMPLES_MAX: usize = 20_000;
/// The ends of the buckets, in milliseconds.
const ENDS_MS: [i64; 15] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
/// The shortest time that is drawn, so that a part is no instant.
const SHORTEST_US: i64 = 60_000_000;

/// The shortest and the longest window of a destination's chart, in seconds.
pub const WINDOW_SECONDS: std::ops::RangeInclusive<i64> = 60..=86_400;

/// Attempts at a destination in the last `seconds`.
pub async fn of_destination(
    store: &Store,
    destination: &str,
    seconds: i64,
) -> Result<Chart, ViewError> {
    let seconds = seconds.clamp(*WINDOW_SECONDS.start(), *WINDOW_SECONDS.end());
    let to = store.clock().now_us();
    let from = to - seconds * 1_000_000;
    let sampled = store.attempts_at(destination, from, SAMPLES_MAX).await?;
    Ok(chart(destination, from, to, &sampled))
}

/// Attempts that a replay led to, from its begin to its end.
pub async fn of_replay(store: &Store, id: &str) -> Result<Chart, ViewError> {
    let found = replay_id(store, id).await?;
    let row = store.replay(found).await?.ok_or_else(|| ViewError::NotFound(id.to_owned()))?;
    let to = row.ended_us.unwrap_or_else(|| store.clock().now_us());
    let sampled = store.attempts_of(found, to, SAMPLES_MAX).await?;
    let to = to.max(row.created_us + SHORTEST_US);
    Ok(chart(&row.id.to_string(), row.created_us, to, &sampled))
}

/// The last hour, minute by minute.
pub async fn minutes(store: &Store) -> Result<List<Minute>, ViewError> {
    let rows = store.minutes().await?;
    let counters = store.counters().await?;
    let mut dead = counters.tasks(TaskStatus::Dead) + counters.total("dead_requests");
    let mut items: Vec<Minute> = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        items.push(Minute {
            v: V,
            object: "minute".to_owned(),
            at: micros(from_micros(row.at_us)),
            events: row.events,
            ok: row.ok.max(0),
            attempts: row.attempts,
            retries: row.retries,
            dead: dead.max(0),
        });
        dead -= row.died;
    }
    items.reverse();
    Ok(list("minute_list", items, None, None))
}

fn chart(of: &str, from: i64, to: i64, sampled: &Sampled) -> Chart {
    Chart {
        v: V,
        object: "chart".to_owned(),
        of: of.to_owned(),
        from: micros(from_micros(from)),
        to: micros(from_micros(to)),
        attempts: u64::try_from(sampled.samples.len()).unwrap_or(u64::MAX),
        is_whole: sampled.is_whole,
        latency: latency(&sampled.samples),
        slices: slices(from, to, &sampled.samples),
    }
}

fn ms(us: i64) -> f64 {
    std::time::Duration::from_micros(u64::try_from(us).unwrap_or(0)).as_secs_f64() * 1000.0
}

fn latency(samples: &[Sample]) -> Distribution {
    let mut all: Vec<i64> = samples.iter().map(|sample| sample.latency_us).collect();
    all.sort_unstable();
    // The smallest value that so many of a hundred do not exceed.
    let percentile = |of_hundred: usize| {
        let place = (all.len() * of_hundred).div_ceil(100).saturating_sub(1);
        all.get(place).map(|us| ms(*us))
    };
    let mut buckets: Vec<Bucket> = ENDS_MS
        .iter()
        .map(|end| Some(ms(end * 1000)))
        .chain([None])
        .map(|up_to_ms| Bucket { up_to_ms, ok: 0, failed: 0 })
        .collect();
    for sample in samples {
        let place = ENDS_MS.partition_point(|end| end * 1000 < sample.latency_us);
        let bucket = &mut buckets[place];
        let count = if sample.is_ok { &mut bucket.ok } else { &mut bucket.failed };
        *count += 1;
    }
    let has = |bucket: &Bucket| 0 < bucket.ok + bucket.failed;
    let first = buckets.iter().position(has).unwrap_or(0);
    let end = buckets.iter().rposition(has).map_or(0, |last| last + 1);
    Distribution {
        p50_ms: percentile(50),
        p90_ms: percentile(90),
        p99_ms: percentile(99),
        max_ms: all.last().map(|us| ms(*us)),
        buckets: buckets.drain(first..end.max(first)).collect(),
    }
}

fn slices(from: i64, to: i64, samples: &[Sample]) -> Vec<Slice> {
    let count = i64::try_from(SLICES).unwrap_or(1);
    let long = ((to - from) / count).max(1);
    let mut slices: Vec<Slice> = (0..count)
        .map(|place| Slice {
            at: micros(from_micros(from + place * long)),
            ok: 0,
            failed: 0,
            by_attempt: vec![0; ATTEMPTS],
        })
        .collect();
    for sample in samples.iter().filter(|s| from <= s.ended_us) {
        let place = usize::try_from((sample.ended_us - from) / long).unwrap_or(0);
        let slice = &mut slices[place.min(SLICES - 1)];
        let count = if sample.is_ok { &mut slice.ok } else { &mut slice.failed };
        *count += 1;
        let number = usize::try_from(sample.attempt).unwrap_or(ATTEMPTS).clamp(1, ATTEMPTS);
        slice.by_attempt[number - 1] += 1;
    }
    slices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(attempt: u32, ended_us: i64, latency_ms: i64, is_ok: bool) -> Sample {
        Sample { attempt, ended_us, latency_us: latency_ms * 1000, is_ok }
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let samples: Vec<_> = (1..=100).map(|n| sample(1, 0, n, true)).collect();
        let latency = latency(&samples);
        assert_eq!((latency.p50_ms, latency.p90_ms), (Some(50.0), Some(90.0)));
        assert_eq!((latency.p99_ms, latency.max_ms), (Some(99.0), Some(100.0)));
        assert_eq!(latency.buckets.first().unwrap().up_to_ms, Some(1.0));
        assert_eq!(latency.buckets.last().unwrap().up_to_ms, Some(100.0));
    }

    #[test]
    fn of_nothing_there_is_no_number() {
        assert_eq!(latency(&[]), Distribution::default());
        assert_eq!(slices(0, 60, &[]).len(), SLICES);
    }

    #[test]
    fn what_took_longest_is_in_the_open_bucket() {
        let latency = latency(&[sample(1, 0, 90_000, false), sample(1, 0, 60_000, true)]);
        let ends: Vec<_> = latency.buckets.iter().map(|b| (b.up_to_ms, b.ok, b.failed)).collect();
        assert_eq!(ends, [(Some(60_000.0), 1, 0), (None, 0, 1)]);
    }

    proptest! {
        #[test]
        fn every_attempt_is_in_one_bucket_and_one_slice(
            all in prop::collection::vec((0_u32..50, 0_i64..10_000, 0_i64..200_000, any::<bool>()), 0..200)
        ) {
            let samples: Vec<_> = all.iter().map(|(a, e, l, ok)| sample(*a, *e, *l, *ok)).collect();
            let latency = latency(&samples);
            let in_buckets: u64 = latency.buckets.iter().map(|b| b.ok + b.failed).sum();
            let slices = slices(0, 9_000, &samples);
            let in_slices: u64 = slices.iter().map(|s| s.ok + s.failed).sum();
            let by_attempt: u64 = slices.iter().flat_map(|s| &s.by_attempt).sum();
            let count = u64::try_from(samples.len()).unwrap();
            prop_assert_eq!((in_buckets, in_slices, by_attempt), (count, count, count));
        }
    }
}
