//! What a bench found, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::load::Outcome;
use super::server::Usage;
use crate::args::BenchArgs;
use crate::output::time::{count, millis};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    v: u32,
    object: &'static str,
    target: Option<String>,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    load_loop: &'static str,
    concurrency: u32,
    rate_per_second: Option<f64>,
    seconds: f64,
    acknowledged: u64,
    pub(crate) acknowledged_per_second: f64,
    distinct: u64,
    refused: u64,
    failed: u64,
    pub(crate) first_failure: Option<String>,
    ack_ms: Latency,
    pub(crate) executed: Option<Executed>,
    cpu_seconds: Option<f64>,
    pub(crate) cpu_seconds_per_1000: Option<f64>,
    rss_bytes_idle: Option<u64>,
    rss_bytes_max: Option<u64>,
    pub(crate) start_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// By the destination's own record.
#[derive(Debug, Serialize)]
pub(crate) struct Executed {
    pub(crate) events: u64,
    pub(crate) expected: u64,
    pub(crate) per_second: f64,
    pub(crate) calls: u64,
    pub(crate) failed_calls: u64,
    /// Keys that the destination answered with success more than once.
    pub(crate) doubles: u64,
}

impl Report {
    pub(crate) fn new(args: &BenchArgs, outcome: &Outcome) -> Self {
        let at = |quantile| us_to_ms(outcome.latency.value_at_quantile(quantile));
        Self {
            v: relayflow_core::api::V,
            object: "bench",
            target: args.target.clone(),
            load_loop: if args.rate.is_some() { "open" } else { "closed" },
            concurrency: args.concurrency,
            rate_per_second: args.rate,
            seconds: outcome.elapsed.as_secs_f64(),
            acknowledged: outcome.acknowledged,
            acknowledged_per_second: per_second(outcome.acknowledged, outcome.elapsed),
            distinct: outcome.distinct,
            refused: outcome.refused,
            failed: outcome.failed,
            first_failure: outcome.first_failure.clone(),
            ack_ms: Latency {
                p50: at(0.5),
                p99: at(0.99),
                p999: at(0.999),
                max: us_to_ms(outcome.latency.max()),
            },
            executed: None,
            cpu_seconds: None,
            cpu_seconds_per_1000: None,
            rss_bytes_idle: None,
            rss_bytes_max: None,
            start_ms: None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of events in a report")]
    pub(crate) fn set_usage(&mut self, before: Usage, after: Usage, events: u64) {
        let cpu = after.cpu_seconds - before.cpu_seconds;
        self.cpu_seconds = Some(cpu);
        self.cpu_seconds_per_1000 = (0 < events).then(|| cpu / events as f64 * 1000.0);
        self.rss_bytes_idle = Some(before.rss_bytes);
        self.rss_bytes_max = Some(after.rss_bytes_max);
    }

    /// Whether everything that was acknowledged was executed, and nothing failed.
    pub(crate) fn is_whole(&self) -> bool {
        let is_executed = self.executed.as_ref().is_none_or(|e| e.events == e.expected);
        self.failed == 0 && 0 < self.acknowledged && is_executed
    }

    pub(crate) fn lines(&self) -> String {
        let mut out = String::new();
        let how = match self.rate_per_second {
            Some(rate) => format!("open loop at {rate:.0}/s, latency from the intended time"),
            None => "closed loop".to_owned(),
        };
        let sent = self.acknowledged + self.refused + self.failed;
        let _ = writeln!(
            out,
            "sent          {} in {}   {} connections, {how}",
            count(sent),
            millis(self.seconds * 1000.0),
            self.concurrency
        );
        let ack = &self.ack_ms;
        let _ = writeln!(
            out,
            "acknowledged  {:.0}/s   p50 {}   p99 {}   p99.9 {}   max {}",
            self.acknowledged_per_second,
            millis(ack.p50),
            millis(ack.p99),
            millis(ack.p999),
            millis(ack.max)
        );
        if 0 < self.refused + self.failed {
            let _ = writeln!(
                out,
                "not taken     {} refused (429, 503)   {} failed",
                count(self.refused),
                count(self.failed)
            );
        }
        let repeated = self.acknowledged - self.distinct;
        if 0 < repeated {
            let _ = writeln!(out, "duplicates    {}", count(repeated));
        }
        if let Some(executed) = &self.executed {
            let _ = writeln!(
                out,
                "executed      {:.0}/s   {} of {}   {} calls, {} of them failed, {} keys twice",
                executed.per_second,
                count(executed.events),
                count(executed.expected),
                count(executed.calls),
                count(executed.failed_calls),
                count(executed.doubles)
            );
        }
        if let Some(cpu) = self.cpu_seconds_per_1000 {
            let _ = writeln!(out, "cpu           {cpu:.3} s per 1,000 events");
        }
        if let (Some(idle), Some(most)) = (self.rss_bytes_idle, self.rss_bytes_max) {
            let _ =
                writeln!(out, "memory        idle {} MiB   most {} MiB", idle >> 20, most >> 20);
        }
        if let Some(start) = self.start_ms {
            let _ = writeln!(out, "start         ready after {}", millis(start));
        }
        out
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a latency in a report")]
pub(super) fn us_to_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of events in a report")]
pub(crate) fn per_second(events: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { events as f64 / elapsed.as_secs_f64() }
}
