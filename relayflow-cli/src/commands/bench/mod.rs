//! `relayflow bench`: how much this machine takes. A load generator and a destination in this
//! process; the daemon is a child, or any server that takes the same requests.

mod drift;
mod event;
mod load;
mod replay;
mod report;
mod server;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use tokio::time::{Instant, sleep};
use url::Url;

use self::event::Events;
use self::load::{Outcome, Plan};
use self::report::{Executed, Report};
use self::server::Server;
use super::destination::{Answer, Call, Destination, Policy};
use super::list::show_document;
use crate::app::App;
use crate::args::BenchArgs;
use crate::failure::{Done, Failure};
use crate::vendor::random_text;

/// What the bench signs with, unless it is told otherwise.
const SECRET: &str = "whsec_relayflow_bench_secret";
const COUNT: u64 = 20_000;
/// How long the daemon is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_millis(300);
/// How long nothing may be executed before the rest counts as missing.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn bench(app: &App, args: &BenchArgs) -> Done {
    if args.tui {
        return tui(app);
    }
    if args.drift {
        return drift::compare(app, args).await;
    }
    if args.replay {
        return replay::compare(app, args).await;
    }
    let report = match &args.target {
        Some(target) => against(app, args, target).await?,
        None => own(app, args, true).await?,
    };
    if !show_document(&app.out, &report, "bench")? {
        app.out.print(&report.lines())?;
    }
    if let Some(why) = &report.first_failure {
        app.out.notice(&format!("the first failure: {why}"));
    }
    Ok(if report.is_whole() { Exit::Ok } else { Exit::Partial })
}

/// What the TUI's promises come to.
fn tui(app: &App) -> Done {
    let report = crate::tui::bench()?;
    if !show_document(&app.out, &report, "bench")? {
        app.out.print(&report.text())?;
    }
    if report.is_debug_build {
        app.out.notice("a debug build: the promises are those of a release build");
    }
    Ok(if report.is_kept() { Exit::Ok } else { Exit::Findings })
}

/// Any server that takes Stripe's webhooks.
async fn against(app: &App, args: &BenchArgs, target: &str) -> Result<Report, Failure> {
    let (addr, host, path) = locate(target)?;
    let secret = match &args.secret_env {
        Some(name) => app.env(name).ok_or_else(|| {
            Failure::usage(format!("${name} is not set")).why("it should hold the target's secret")
        })?,
        None => SECRET.to_owned(),
    };
    let events = Events::new(&host, &path, secret.as_bytes(), &random_text(8))?;
    app.out.notice(&format!("loading {target}"));
    let outcome = load::run(plan(args, addr)?, events).await?;
    Ok(Report::new(args, &outcome))
}

fn locate(target: &str) -> Result<(SocketAddr, String, String), Failure> {
    let bad = || Failure::usage(format!("`{target}` is not an http URL to load"));
    let url = Url::parse(target).ok().filter(|url| url.scheme() == "http").ok_or_else(bad)?;
    let (host, port) = (url.host_str().ok_or_else(bad)?, url.port().unwrap_or(80));
    let addr = (host.trim_matches(['[', ']']), port).to_socket_addrs();
    let addr = addr
        .ok()
        .and_then(|mut all| all.next())
        .ok_or_else(|| Failure::new("unreachable.ingest", format!("{host} has no address")))?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok((addr, format!("{host}:{port}"), path))
}

fn plan(args: &BenchArgs, addr: SocketAddr) -> Result<Plan, Failure> {
    let duration = args.duration.map(Duration::try_from).transpose();
    let duration = duration.map_err(|_| Failure::usage("--duration is negative"))?;
    let unlimited = if duration.is_some() { u64::MAX } else { COUNT };
    Ok(Plan {
        addr,
        count: args.count.unwrap_or(unlimited),
        connections: args.concurrency.clamp(1, 4096),
        rate: args.rate,
        duration,
        duplicates: args.duplicates.unwrap_or(0.0),
    })
}

/// A daemon, a store and a destination of its own.
///
/// `finds_drift`: whether what comes is held against what is expected of it.
async fn own(app: &App, args: &BenchArgs, finds_drift: bool) -> Result<Report, Failure> {
    let destination = Destination::start(policy(args.fail.unwrap_or(0.0))).await?;
    let temporary = match &args.dir {
        Some(dir) => tempfile::Builder::new().prefix("relayflow-bench-").tempdir_in(dir)?,
        None => tempfile::Builder::new().prefix("relayflow-bench-").tempdir()?,
    };
    let dir = temporary.path();
    write_config(dir, destination.addr, args.ingest_only, finds_drift)?;
    let mut server = Server::start(dir).await?;
    sleep(SETTLE).await;
    let before = server.usage();
    app.out.notice(&format!(
        "a daemon of its own at {}, store in {}",
        server.ingest,
        dir.display()
    ));
    let host = server.ingest.to_string();
    let events = Events::new(&host, "/in/bench", SECRET.as_bytes(), &random_text(8))?;
    let outcome = load::run(plan(args, server.ingest)?, events).await?;
    server.check()?;
    let executed = if args.ingest_only {
        None
    } else {
        Some(wait_executed(&destination, &mut server, &outcome).await?)
    };
    let mut report = Report::new(args, &outcome);
    report.start_ms = Some(server.start_ms);
    report.executed = executed;
    if let (Some(before), Some(after)) = (before, server.usage()) {
        report.set_usage(before, after, outcome.acknowledged);
    }
    server.stop().await;
    Ok(report)
}

/// Every so many calls fail, evenly spread.
fn policy(fail: f64) -> Policy {
    let calls = AtomicU64::new(0);
    Arc::new(move |_: &Call| {
        if fail <= 0.0 {
            return Answer::OK;
        }
        let number = u32::try_from(calls.fetch_add(1, Ordering::Relaxed) % 1_000_000).unwrap_or(0);
        let failures = |n: u32| (f64::from(n) * fail).floor();
        if failures(number) < failures(number + 1) { Answer::status(503) } else { Answer::OK }
    })
}

fn write_config(
    dir: &Path,
    destination: SocketAddr,
    ingest_only: bool,
    finds_drift: bool,
) -> std::io::Result<()> {
    let mut config = include_str!("config.toml").replace("<secret>", SECRET);
    if !finds_drift {
        config.push_str("\n[drift]\nenabled = false\n");
    }
    if !ingest_only {
        let workflow = include_str!("workflow.toml");
        config.push_str(&workflow.replace("<destination>", &destination.to_string()));
    }
    std::fs::write(dir.join("relayflow.toml"), config)
}

/// Waits until every acknowledged event was executed, or nothing moves any more.
async fn wait_executed(
    destination: &Destination,
    server: &mut Server,
    outcome: &Outcome,
) -> Result<Executed, Failure> {
    let mut seen = 0;
    let mut moved = Instant::now();
    loop {
        let succeeded = destination.record().succeeded;
        if outcome.distinct <= succeeded || STANDSTILL_MAX < moved.elapsed() {
            break;
        }
        if succeeded != seen {
            seen = succeeded;
            moved = Instant::now();
        }
        server.check()?;
        sleep(Duration::from_millis(5)).await;
    }
    let record = destination.record();
    let elapsed = record.last_success.map_or(Duration::ZERO, |last| last - outcome.started);
    let doubles = record.keys.values().filter(|key| 1 < key.successes).count();
    Ok(Executed {
        events: record.succeeded,
        expected: outcome.distinct,
        per_second: report::per_second(record.succeeded, elapsed),
        calls: record.calls,
        failed_calls: record.failures,
        doubles: u64::try_from(doubles).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_fails_as_often_as_told() {
        let call = Call { path: String::new(), key: String::new(), attempt: 1 };
        for (share, expected) in [(0.0, 0), (0.1, 100), (0.25, 250), (1.0, 1000)] {
            let policy = policy(share);
            let failed = (0..1000).filter(|_| !policy(&call).is_success()).count();
            assert_eq!(failed, expected, "{share}");
        }
    }

    #[test]
    fn a_target_is_a_url() {
        let (addr, host, path) = locate("http://127.0.0.1:8787/in/bench?x=1").unwrap();
        assert_eq!(addr.port(), 8787);
        assert_eq!((host.as_str(), path.as_str()), ("127.0.0.1:8787", "/in/bench?x=1"));
        for bad in ["https://x/in/bench", "127.0.0.1:8787", "", "http://"] {
            assert_eq!(locate(bad).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }
}
