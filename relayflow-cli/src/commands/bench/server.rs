//! A daemon of the bench's own: this binary as a child process, so that its CPU time and memory are
//! the server's alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::failure::Failure;

/// How long it may take to be ready.
const START_MAX: Duration = Duration::from_secs(20);
/// Clock ticks a second, as Linux counts CPU time in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// The daemon at work. Dropping it kills it: nobody needs its store any more.
pub(crate) struct Server {
    child: Child,
    pub(crate) ingest: SocketAddr,
    /// Where its API is.
    pub(crate) api: SocketAddr,
    /// From its start to its readiness.
    pub(crate) start_ms: f64,
    log: PathBuf,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_bytes: u64,
    /// The most that it ever had.
    pub(crate) rss_bytes_max: u64,
}

impl Server {
    /// Starts one with the config `relayflow.toml` in `dir`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It ends, or is not ready in time; its log says why.
    pub(crate) async fn start(dir: &Path) -> Result<Self, Failure> {
        let (ready, log) = (dir.join("ready"), dir.join("daemon.log"));
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command
            .arg("up")
            .arg("--config")
            .arg(dir.join("relayflow.toml"))
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true);
        // Settings of the one who measures must not become the measured one's.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("RELAYFLOW_")) {
                command.env_remove(name);
            }
        }
        command.env("RELAYFLOW_LOG", "warn");
        let started = Instant::now();
        let mut child = command.spawn()?;
        loop {
            let line = std::fs::read_to_string(&ready).unwrap_or_default();
            if let (Some(ingest), Some(api)) = (address(&line, "ingest"), address(&line, "api")) {
                let start_ms = started.elapsed().as_secs_f64() * 1000.0;
                return Ok(Self { child, ingest, api, start_ms, log });
            }
            if let Some(status) = child.try_wait()? {
                return Err(failed(&log, &format!("it ended with {status}")));
            }
            if START_MAX < started.elapsed() {
                return Err(failed(&log, "it was not ready within 20 s"));
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// What it has used up to now; `None` where the system does not say.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let process = format!("/proc/{}", self.child.id()?);
        let stat = std::fs::read_to_string(format!("{process}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("{process}/status")).ok()?;
        parse_usage(&stat, &status)
    }

    /// Ends it, and waits until it is gone: its store is about to be removed.
    pub(crate) async fn stop(mut self) {
        // An error says that it was gone already.
        let _ = self.child.kill().await;
    }

    /// Says why, if it is there no more.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(failed(&self.log, &format!("it ended with {status}"))),
        }
    }
}

fn failed(log: &Path, why: &str) -> Failure {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let last: Vec<_> = log.lines().rev().take(5).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    Failure::error("the bench's daemon failed").why(format!("{why}\n  {}", last.join("\n  ")))
}

/// Where the daemon listens for `what`, from the readiness line.
fn address(line: &str, what: &str) -> Option<SocketAddr> {
    let url = line.split(&format!("  {what} ")).nth(1)?;
    url.split("://").nth(1)?.split(['/', ' ', '\n']).next()?.parse().ok()
}

fn parse_usage(stat: &str, status: &str) -> Option<Usage> {
    // The name of the program stands in parentheses and may hold anything; the rest are numbers.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some(Usage {
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        rss_bytes: kib("VmRSS:")? * 1024,
        rss_bytes_max: kib("VmHWM:")? * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readiness_line_says_where_it_listens() {
        let line = "relayflow 0.1.0 ready  ingest http://127.0.0.1:4411/in/{source}  api http://127.0.0.1:4412  store sqlite:x.db  sources 1  workflows 1\n";
        assert_eq!(address(line, "ingest").unwrap().port(), 4411);
        assert_eq!(address(line, "api").unwrap().port(), 4412);
        assert_eq!(address("relayflow 0.1.0 ready", "api"), None);
    }

    #[test]
    fn usage_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) R 1 1 1 0 -1 0 9 0 0 0 250 50 0 0 20 0 5 0 1 1 1";
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        let usage = parse_usage(stat, status).unwrap();
        assert_eq!(usage, Usage { cpu_seconds: 3.0, rss_bytes: 1 << 20, rss_bytes_max: 2 << 20 });
        assert_eq!(parse_usage("", ""), None);
    }
}
