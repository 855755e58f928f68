//! What a replay costs live traffic: dead letters are replayed while events come in at half of what the
//! machine takes. Rounds with the replay paused and under way take turns, so that what else the machine
//! does meets both; what counts is their ratio.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Plan as ReplayPlan, Replay, Stats, V};
use relayflow_core::secret::Secret;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::drift::middle;
use super::event::Events;
use super::load::{self, Plan};
use super::report::{per_second, us_to_ms};
use super::server::Server;
use super::{SECRET, STANDSTILL_MAX, write_config};
use crate::app::App;
use crate::args::BenchArgs;
use crate::backend::Api;
use crate::commands::destination::{Answer, Call, Destination};
use crate::commands::list::show_document;
use crate::failure::{Done, Failure};
use crate::output::time::{count, millis};
use crate::vendor::random_text;

/// How long the machine's capacity is looked for, and a round's half lasts unless it is told.
const CAPACITY_FOR: Duration = Duration::from_secs(6);
const ROUND_FOR: Duration = Duration::from_secs(8);
/// What comes between two rounds, so that one leaves nothing to the other.
const REST: Duration = Duration::from_millis(500);
const ASK_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize)]
struct Report {
    v: u32,
    object: &'static str,
    dead_letters: u64,
    /// Events a second, received and executed, with nothing else to do.
    capacity_per_second: f64,
    rate_per_second: f64,
    rounds: Vec<Round>,
    /// The middle of the rounds' ratios: ack p99 with the replay under way, over without.
    ratio_p99: f64,
    ratio_p50: f64,
    plan_ms: f64,
    replayed: u64,
    /// While the replay was under way.
    replayed_per_second: f64,
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Round {
    without_p50_ms: f64,
    without_p99_ms: f64,
    with_p50_ms: f64,
    with_p99_ms: f64,
    /// Items that were brought back meanwhile.
    moved: u64,
}

/// A daemon of its own with its API, and what it is loaded with.
struct Bench<'a> {
    server: Server,
    api: Api,
    destination: Destination,
    args: &'a BenchArgs,
}

pub(super) async fn compare(app: &App, args: &BenchArgs) -> Done {
    let refuses = Arc::new(AtomicBool::new(true));
    let policy = {
        let refuses = Arc::clone(&refuses);
        Arc::new(
            move |_: &Call| {
                if refuses.load(Ordering::Relaxed) { Answer::status(422) } else { Answer::OK }
            },
        )
    };
    let destination = Destination::start(policy).await?;
    let temporary = match &args.dir {
        Some(dir) => tempfile::Builder::new().prefix("relayflow-bench-").tempdir_in(dir)?,
        None => tempfile::Builder::new().prefix("relayflow-bench-").tempdir()?,
    };
    write_config(temporary.path(), destination.addr, false, true)?;
    let server = Server::start(temporary.path()).await?;
    let token = std::fs::read_to_string(temporary.path().join("relayflow.token"))?;
    let token = Secret::new(token.trim().as_bytes());
    let api = Api::new(&format!("http://{}", server.api), Some(token), ASK_MAX, app.out.clone())?;
    let mut bench = Bench { server, api, destination, args };

    app.out.notice(&format!("making {} dead letters", count(args.dead)));
    bench.die(args.dead).await?;
    refuses.store(false, Ordering::Relaxed);
    app.out.notice("looking for what the machine takes");
    let capacity = bench.capacity().await?;
    let rate = args.rate.unwrap_or(capacity / 2.0);
    let began = Instant::now();
    let wanted = json!({"action": "replay", "q": "status:dead"});
    let plan: ReplayPlan = bench.api.post(&["plans"], &wanted).await?;
    let plan_ms = began.elapsed().as_secs_f64() * 1000.0;
    let how = json!({"plan": plan.id, "hash": plan.hash, "late": "apply", "reason": "bench"});
    let replay: Replay = bench.api.post(&["replays"], &how).await?;
    bench.tell(&replay.id, "pause").await?;

    let mut rounds = Vec::new();
    let (mut moved, mut under_way) = (0, Duration::ZERO);
    let mut failed = 0;
    for number in 0..args.rounds.max(1) {
        app.out.notice(&format!("round {} of {}", number + 1, args.rounds.max(1)));
        let without = bench.round(rate).await?;
        let before = bench.moved(&replay.id).await?;
        bench.tell(&replay.id, "resume").await?;
        let from = Instant::now();
        let with = bench.round(rate).await?;
        under_way += from.elapsed();
        let now = bench.replay(&replay.id).await?;
        let is_over = now.status == "done";
        if !is_over {
            bench.tell(&replay.id, "pause").await?;
        }
        let of_round = bench.moved(&replay.id).await?.saturating_sub(before);
        moved += of_round;
        failed += without.failed + without.refused + with.failed + with.refused;
        let at = |outcome: &load::Outcome, q| us_to_ms(outcome.latency.value_at_quantile(q));
        rounds.push(Round {
            without_p50_ms: at(&without, 0.5),
            without_p99_ms: at(&without, 0.99),
            with_p50_ms: at(&with, 0.5),
            with_p99_ms: at(&with, 0.99),
            moved: of_round,
        });
        if is_over {
            break;
        }
    }
    let ratio = |of: fn(&Round) -> (f64, f64)| {
        let ratios = rounds.iter().map(of).filter(|(_, without)| *without > 0.0);
        middle(ratios.map(|(with, without)| with / without)).unwrap_or(0.0)
    };
    let report = Report {
        v: V,
        object: "bench_replay",
        dead_letters: args.dead,
        capacity_per_second: capacity,
        rate_per_second: rate,
        ratio_p99: ratio(|r| (r.with_p99_ms, r.without_p99_ms)),
        ratio_p50: ratio(|r| (r.with_p50_ms, r.without_p50_ms)),
        plan_ms,
        replayed: moved,
        replayed_per_second: per_second(moved, under_way),
        failed,
        rounds,
    };
    bench.server.stop().await;
    if !show_document(&app.out, &report, "bench_replay")? {
        app.out.print(&lines(&report))?;
    }
    Ok(if report.failed == 0 && 0 < report.replayed { Exit::Ok } else { Exit::Partial })
}

impl Bench<'_> {
    fn events(&self) -> Result<Events, Failure> {
        let host = self.server.ingest.to_string();
        Events::new(&host, "/in/bench", SECRET.as_bytes(), &random_text(8))
    }

    fn plan(&self) -> Plan {
        Plan {
            addr: self.server.ingest,
            count: u64::MAX,
            connections: self.args.concurrency.clamp(1, 4096),
            rate: None,
            duration: None,
            duplicates: 0.0,
        }
    }

    /// Sends so many events, and waits until all of their tasks have died.
    async fn die(&mut self, dead: u64) -> Result<(), Failure> {
        load::run(Plan { count: dead, ..self.plan() }, self.events()?).await?;
        let mut moved = (0, Instant::now());
        loop {
            let stats: Stats = self.api.get(&["stats"]).await?;
            let now = u64::try_from(stats.dead_letters).unwrap_or(0);
            if dead <= now {
                return Ok(());
            }
            if now != moved.0 {
                moved = (now, Instant::now());
            }
            if STANDSTILL_MAX < moved.1.elapsed() {
                return Err(Failure::error(format!("only {now} of {dead} events died")));
            }
            self.server.check()?;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Events a second, until the last of them was executed.
    async fn capacity(&mut self) -> Result<f64, Failure> {
        let before = self.destination.record().succeeded;
        let plan = Plan { duration: Some(CAPACITY_FOR), ..self.plan() };
        let outcome = load::run(plan, self.events()?).await?;
        let mut seen = (0, Instant::now());
        loop {
            let record = {
                let record = self.destination.record();
                (record.succeeded, record.last_success)
            };
            let executed = record.0 - before;
            if outcome.distinct <= executed || STANDSTILL_MAX < seen.1.elapsed() {
                let elapsed = record.1.map_or(outcome.elapsed, |last| last - outcome.started);
                return Ok(per_second(executed, elapsed));
            }
            if executed != seen.0 {
                seen = (executed, Instant::now());
            }
            self.server.check()?;
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Half of a round.
    async fn round(&mut self, rate: f64) -> Result<load::Outcome, Failure> {
        sleep(REST).await;
        let duration = self.args.duration.map(Duration::try_from).transpose();
        let duration = duration.map_err(|_| Failure::usage("--duration is negative"))?;
        let duration = Some(duration.unwrap_or(ROUND_FOR));
        let outcome =
            load::run(Plan { rate: Some(rate), duration, ..self.plan() }, self.events()?).await?;
        self.server.check()?;
        Ok(outcome)
    }

    async fn replay(&self, id: &str) -> Result<Replay, Failure> {
        self.api.get(&["replays", id]).await
    }

    async fn tell(&self, id: &str, verb: &str) -> Result<Replay, Failure> {
        self.api.post(&["replays", id, verb], &json!({})).await
    }

    /// How many items were brought back up to now.
    async fn moved(&self, id: &str) -> Result<u64, Failure> {
        let replay = self.replay(id).await?;
        Ok(replay.items.total.saturating_sub(replay.items.pending))
    }
}

fn lines(report: &Report) -> String {
    let mut out = String::new();
    for (number, round) in report.rounds.iter().enumerate() {
        let _ = writeln!(
            out,
            "round {}   without  p50 {}  p99 {}   with  p50 {}  p99 {}   {} replayed",
            number + 1,
            millis(round.without_p50_ms),
            millis(round.without_p99_ms),
            millis(round.with_p50_ms),
            millis(round.with_p99_ms),
            count(round.moved),
        );
    }
    let _ = writeln!(
        out,
        "live      {:.0}/s of {:.0}/s that the machine takes",
        report.rate_per_second, report.capacity_per_second
    );
    let _ = writeln!(
        out,
        "plan      {} dead letters in {}",
        count(report.dead_letters),
        millis(report.plan_ms)
    );
    let _ = writeln!(
        out,
        "replay    {} at {:.0}/s",
        count(report.replayed),
        report.replayed_per_second
    );
    let _ = writeln!(
        out,
        "ratio     ack p99 {:.2}   p50 {:.2}   with the replay, over without",
        report.ratio_p99, report.ratio_p50
    );
    if 0 < report.failed {
        let _ = writeln!(out, "not taken {}", count(report.failed));
    }
    out
}
