//! How long the operator's commands take on a big store, each from its start to its end
//! (`docs/operating/measure.md`):
//!
//! ```text
//! cargo build --release --bins && cargo run --release -p relayflow-tests --example reads -- DIR [ROUNDS]
//! ```
//!
//! `DIR` is what the example `bigstore` has made. It ends with 1 where a command takes longer than it may.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(clippy::print_stderr, reason = "which command is at work, for who waits")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 7;
/// What a read may take, and the large ones.
const READ_MS: f64 = 100.0;
const PLAN_MS: f64 = 2_000.0;
const BACKTEST_MS: f64 = 30_000.0;

/// One command at work.
struct Ran {
    took: Duration,
    /// The most memory that it had.
    rss_kib: u64,
    out: Vec<u8>,
    err: String,
    exit: i32,
}

fn main() -> Result<ExitCode, Failure> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("give the folder of a big store")?);
    let rounds = args.next().map_or(Ok(ROUNDS), |text| text.parse())?;
    let only = args.next();
    let dir = std::fs::canonicalize(dir)?;
    let db = format!("sqlite:{}", dir.join("relayflow.db").display());
    let mut daemon = Daemon::start(&dir)?;
    let reads = reads(&dir, &db)?;
    let mut slow = 0;
    println!(
        "{:<58} {:>9} {:>9} {:>9} {:>9}  FOUND",
        "COMMAND", "P50", "MAX", "--db P50", "--db MAX"
    );
    for read in reads
        .iter()
        .filter(|read| only.as_ref().is_none_or(|o| read.join(" ").contains(o.as_str())))
    {
        let args: Vec<&str> = read.iter().map(String::as_str).collect();
        eprint!("{}\r", read.join(" "));
        let over_api = times(rounds, || run(&dir, &args))?;
        let direct: Vec<&str> = args.iter().copied().chain(["--db", &db]).collect();
        let over_db = times(rounds, || run(&dir, &direct))?;
        let is_slow = over_api.p50.max(over_db.p50) > READ_MS;
        slow += usize::from(is_slow);
        println!(
            "{:<58} {:>6.1} ms {:>6.1} ms {:>6.1} ms {:>6.1} ms  {}{}",
            shortened(&read.join(" "), 58),
            over_api.p50,
            over_api.max,
            over_db.p50,
            over_db.max,
            over_api.found,
            if is_slow { "  SLOW" } else { "" }
        );
    }
    if only.is_none() {
        slow += large(&dir, &db)?;
    }
    daemon.stop();
    Ok(if slow == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The commands, with values that are there, are rare, and are not.
fn reads(dir: &Path, db: &str) -> Result<Vec<Vec<String>>, Failure> {
    let first = |args: &[&str]| -> Result<Value, Failure> {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json", "--db", db]).collect();
        let ran = run(dir, &args)?;
        let list: Value = serde_json::from_slice(&ran.out)?;
        Ok(list["items"][0].clone())
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or("none").to_owned();
    let event = first(&["events", "ls", "type:charge.failed", "--until", "10d", "-n", "1"])?;
    let correlated = first(&["events", "ls", "corr:order-*", "-n", "1"])?;
    let letter = first(&["dlq", "ls", "-n", "1"])?;
    let id = text(&event, "id");
    let mut reads: Vec<String> = [
        "--help".to_owned(),
        format!("timeline {id}"),
        format!("trace {id}"),
        format!("trace {}", text(&correlated, "correlation_id")),
        format!("events show {id}"),
        format!("requests show {}", text(&event, "request")),
        format!("dlq show {}", text(&letter, "id")),
        "stats".to_owned(),
        "queue ls".to_owned(),
        "replay ls".to_owned(),
        "requests ls".to_owned(),
        "requests ls status:rejected".to_owned(),
        "requests ls sig:invalid source:shop".to_owned(),
        "requests ls status:duplicate".to_owned(),
        "requests ls source:legacy".to_owned(),
        "dlq ls".to_owned(),
        format!("dlq ls error:{}", text(&letter, "error_id")),
        "dlq ls error:e_00000000".to_owned(),
        "dlq ls source:legacy".to_owned(),
        "dlq ls source:shop".to_owned(),
        "dlq ls workflow:meter".to_owned(),
        "dlq ls dest:pager.example.com".to_owned(),
        "dlq ls http:404 source:code".to_owned(),
        "dlq ls reason:exhausted type:push".to_owned(),
        "dlq ls status:discarded".to_owned(),
        "dlq ls --since 20d --until 19d".to_owned(),
    ]
    .into();
    for by in ["error", "dest", "workflow", "step", "reason", "source", "type"] {
        reads.push(format!("dlq ls --by {by}"));
    }
    let of_event = |field: &str, name: &str| format!("{field}:{}", text(&event, name));
    for terms in [
        "",
        "source:shop",
        "source:legacy",
        "source:nowhere",
        "provider:hubspot",
        "type:charge",
        "type:charge.failed",
        "type:v1.billing.meter",
        "type:nothing.of.it",
        "kind:payment.failed",
        "kind:payment",
        "kind:nothing",
        "status:dead",
        "status:failed",
        "status:open",
        "status:retrying",
        "status:running",
        "status:discarded",
        "status:skipped",
        "status:ok",
        &of_event("external", "external_id"),
        "external:evt_nothing",
        &of_event("key", "idempotency_key"),
        &of_event("subject", "subject"),
        "subject:nobody",
        &of_event("corr", "correlation_id"),
        "corr:order-nothing",
        &of_event("request", "request"),
        "workflow:dunning",
        "workflow:meter",
        "workflow:nothing",
        "step:notify",
        "step:page",
        "dest:pager.example.com",
        "dest:nowhere.example.com",
        &format!("error:{}", text(&letter, "error_id")),
        "error:e_00000000",
        "http:200",
        "http:503",
        "http:500..",
        "http:418",
        "reason:exhausted",
        "drift:breaking",
        "source:legacy status:dead",
        "type:push status:dead http:404",
        "workflow:meter status:retrying",
        "source:shop not type:charge kind:payment",
        "status:dead type:nothing",
        "since:1h",
        "since:7d",
        "since:20d until:19d",
        "since:20d until:19d status:dead source:code",
        "since:20d until:19d type:v1.billing.meter",
        "since:2d source:legacy",
        "attempts:3..",
        "external:~^evt_00000000001",
        "(source:legacy or type:v1.billing.meter)",
    ] {
        reads.push(format!("events ls {terms}"));
    }
    Ok(reads.iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
}

/// What takes longer: plans, the back-test, and everything as lines.
fn large(dir: &Path, db: &str) -> Result<usize, Failure> {
    let mut slow = 0;
    let next = dir.join("next.toml");
    let config = std::fs::read_to_string(dir.join("relayflow.toml"))?;
    std::fs::write(
        &next,
        config.replace("on = [\"payment.failed\"]", "on = [\"payment.failed\", \"github:ping\"]"),
    )?;
    let next = next.display().to_string();
    println!("\n{:<66} {:>12} {:>10}", "COMMAND", "TOOK", "MEMORY");
    let dead = ["replay", "create", "status:dead", "--all-time", "--limit", "100000", "--dry-run"];
    let backtest = [
        "replay",
        "create",
        "source:*",
        "--all-time",
        "--limit",
        "100000",
        "--mode",
        "reroute",
        "--config",
        &next,
        "--dry-run",
        "--request-timeout",
        "120s",
    ];
    let lines = |n: &'static str| ["events", "ls", "-n", n, "-o", "ndjson"];
    for (args, most) in [
        (dead.to_vec(), PLAN_MS),
        (backtest.to_vec(), BACKTEST_MS),
        ([&lines("100000")[..], &["--db", db]].concat(), f64::MAX),
        ([&lines("100000")[..]].concat(), f64::MAX),
        (vec!["events", "ls", "--all", "-o", "ndjson", "--db", db], f64::MAX),
    ] {
        let ran = run(dir, &args)?;
        let ms = ran.took.as_secs_f64() * 1000.0;
        let is_slow = most < ms || ran.exit != 0;
        slow += usize::from(is_slow);
        println!(
            "{:<66} {:>9.0} ms {:>6} MiB{}",
            shortened(&args.join(" ").replace(&dir.display().to_string(), "."), 66),
            ms,
            ran.rss_kib / 1024,
            if is_slow { "  SLOW" } else { "" }
        );
        if ran.exit != 0 {
            println!("  exit {}: {}", ran.exit, ran.err.trim());
        }
    }
    Ok(slow)
}

struct Times {
    p50: f64,
    max: f64,
    found: String,
}

fn times(rounds: usize, mut work: impl FnMut() -> Result<Ran, Failure>) -> Result<Times, Failure> {
    let mut all = Vec::new();
    let mut found = String::new();
    for _ in 0..rounds.max(1) {
        let ran = work()?;
        all.push(ran.took.as_secs_f64() * 1000.0);
        let lines = String::from_utf8_lossy(&ran.out).lines().count();
        found = format!("{lines} lines");
        if let Some(told) = ran.err.lines().find(|line| line.contains("searched back")) {
            found = format!("{found}, {}", told.split("   ").next().unwrap_or_default());
        }
        if ran.exit != 0 {
            found = format!("exit {}: {}", ran.exit, ran.err.lines().next().unwrap_or_default());
        }
    }
    all.sort_by(f64::total_cmp);
    let max = all.last().copied().unwrap_or_default();
    Ok(Times { p50: all[all.len() / 2], max, found })
}

fn program() -> Result<PathBuf, Failure> {
    // target/release/examples/reads → target/release/relayflow
    let here = std::env::current_exe()?;
    let path = here.parent().and_then(Path::parent).ok_or("no folder of programs")?;
    Ok(path.join("relayflow"))
}

fn run(dir: &Path, args: &[&str]) -> Result<Ran, Failure> {
    let token = std::fs::read_to_string(dir.join("relayflow.token")).unwrap_or_default();
    let began = Instant::now();
    let mut child = Command::new(program()?)
        .args(args)
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env("RELAYFLOW_URL", std::fs::read_to_string(dir.join("api-url")).unwrap_or_default())
        .env("RELAYFLOW_TOKEN", token.trim())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut stdout, mut stderr) =
        (child.stdout.take().ok_or("no stdout")?, child.stderr.take().ok_or("no stderr")?);
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _cut_short = stderr.read_to_string(&mut text);
        text
    });
    let status = format!("/proc/{}/status", child.id());
    let (mut out, mut rss_kib) = (Vec::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    // Lines are counted and let go: what is measured is the command's memory, not ours.
    let mut kept = 0;
    loop {
        let count = stdout.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        if kept < 1 << 20 {
            out.extend_from_slice(&buffer[..count]);
        }
        kept += count;
        if kept % 7 == 0 {
            rss_kib = rss(&status).max(rss_kib);
        }
    }
    let exit = child.wait()?.code().unwrap_or(-1);
    let took = began.elapsed();
    let err = errors.join().map_err(|_| "a reader panicked")?;
    Ok(Ran { took, rss_kib, out, err, exit })
}

/// The most memory that a process had, in KiB.
fn rss(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn shortened(text: &str, width: usize) -> String {
    let cut: String = text.chars().take(width - 1).collect();
    if text.chars().count() < width { text.to_owned() } else { format!("{cut}…") }
}

struct Daemon(Child);

impl Daemon {
    fn start(dir: &Path) -> Result<Self, Failure> {
        let ready = dir.join("ready");
        let _stale = std::fs::remove_file(&ready);
        let child = Command::new(program()?)
            .args(["up", "--config"])
            .arg(dir.join("relayflow.toml"))
            .arg("--ready-file")
            .arg(&ready)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("daemon.log"))?)
            .spawn()?;
        let mut daemon = Self(child);
        let began = Instant::now();
        loop {
            let line = std::fs::read_to_string(&ready).unwrap_or_default();
            if let Some(api) = line.split("  api ").nth(1).and_then(|rest| rest.split(' ').next()) {
                println!("a daemon on it was ready after {} ms", began.elapsed().as_millis());
                // The config says port 0: the CLI is told which it became.
                std::fs::write(dir.join("api-url"), api)?;
                return Ok(daemon);
            }
            if let Some(status) = daemon.0.try_wait()? {
                let log = std::fs::read_to_string(dir.join("daemon.log"))?;
                return Err(format!("the daemon ended with {status}: {log}").into());
            }
            if began.elapsed() > Duration::from_secs(1800) {
                return Err("the daemon is not ready within half an hour".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}
