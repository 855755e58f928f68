//! A RelayFlow of its own for each test: a folder, its config, the real `relayflowd` in it, and the real
//! `relayflow` beside it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::vendor::Signed;
use crate::wire::{self, Answer, fetch, query};

/// How long anything that must happen may take, on a busy machine of two cores.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// Quick retries, so that a test of them is quick.
pub(crate) const RETRY: &str = "[retry]\nattempts = 3\nfirst = \"50ms\"\nlongest = \"1s\"\n";

/// Waits until `ask` has an answer, at most [`WITHIN`].
#[track_caller]
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(WITHIN, what, ask)
}

#[track_caller]
pub(crate) fn until_within<T>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A built program of the workspace.
pub(crate) fn program(name: &str) -> PathBuf {
    // target/debug/deps/it-… → target/debug/name
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is not built: run tests/run, or `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A command that sees nothing of this machine but its `PATH`.
fn command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.env_clear().env("HOME", dir).env("TZ", "UTC").env("LANG", "C.UTF-8").current_dir(dir);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null());
    command
}

/// A port that was free a moment ago, for the tests that must know it beforehand.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder with a `relayflow.toml`.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// A store, listeners on free ports, and loopback open as a destination; then `config`.
    pub(crate) fn new(config: &str) -> Self {
        Self::bare(&format!("[egress]\nallow = [\"127.0.0.0/8\"]\n{config}"))
    }

    /// The same without an open destination.
    pub(crate) fn bare(config: &str) -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        home.configure(config);
        home
    }

    /// Writes the config anew, whole.
    pub(crate) fn configure(&self, config: &str) {
        let config = format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n\
             [api]\nlisten = \"127.0.0.1:0\"\n{config}"
        );
        self.write("relayflow.toml", &config);
    }

    /// What `new` writes, with `config` in place of its own.
    pub(crate) fn reconfigure(&self, config: &str) {
        self.configure(&format!("[egress]\nallow = [\"127.0.0.0/8\"]\n{config}"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a program of its own.
    pub(crate) fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// `relayflowd`, not started.
    pub(crate) fn daemon_command(&self) -> Command {
        let mut command = command("relayflowd", self.dir.path());
        command.arg("--config").arg(self.path("relayflow.toml"));
        command
    }

    /// Starts `relayflowd` and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Daemon {
        let mut daemon = self.launch();
        daemon.wait_ready();
        daemon
    }

    /// The same with variables in its environment.
    #[track_caller]
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.daemon_command();
        command.envs(variables.iter().copied());
        let mut daemon = Daemon::spawn(command, self.path("relayflow.token"));
        daemon.wait_ready();
        daemon
    }

    /// Starts `relayflowd` and waits for nothing.
    pub(crate) fn launch(&self) -> Daemon {
        Daemon::spawn(self.daemon_command(), self.path("relayflow.token"))
    }

    /// `relayflow ARGS` without a daemon to talk to but what the config says.
    pub(crate) fn relayflow(&self, args: &[&str]) -> Ran {
        run(self.cli(args), None)
    }

    /// The same with variables in its environment.
    pub(crate) fn relayflow_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.cli(args);
        command.envs(variables.iter().copied());
        run(command, None)
    }

    /// `relayflow ARGS`, not started.
    pub(crate) fn cli(&self, args: &[&str]) -> Command {
        let mut command = command("relayflow", self.dir.path());
        command.args(args);
        command
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.out) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {self:?}"),
        }
    }

    /// One document per line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Fails unless it ended so.
    #[track_caller]
    pub(crate) fn ended(self, exit: i32) -> Self {
        assert_eq!(self.exit, exit, "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

/// Runs to the end, at most two minutes; what it reads on stdin is `input`.
#[track_caller]
pub(crate) fn run(mut command: Command, input: Option<&str>) -> Ran {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        let _closed_early = stdin.write_all(input.as_bytes());
    }
    let out = drain(child.stdout.take().unwrap());
    let err = drain(child.stderr.take().unwrap());
    let status = wait(&mut child, WITHIN * 2).unwrap_or_else(|| {
        let _gone = child.kill();
        panic!("{command:?} does not end");
    });
    let text = |bytes: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&bytes.join().unwrap()).into_owned()
    };
    Ran { exit: status.code().unwrap_or(-1), out: text(out), err: text(err) }
}

fn drain(mut from: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _cut_short = from.read_to_end(&mut bytes);
        bytes
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if end < Instant::now() {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running `relayflowd`. Dropped, it is killed; a panic in its log fails the test.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    token_file: PathBuf,
    /// Where vendors post to.
    pub(crate) ingest: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) token: String,
}

impl Daemon {
    /// Runs `command`, which is to become ready sooner or later.
    pub(crate) fn spawn(mut command: Command, token_file: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().unwrap();
        let for_reader = Arc::clone(&log);
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).is_ok_and(|n| 0 < n) {
                for_reader.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end().into());
                line.clear();
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        Self { child, log, token_file, ingest: nowhere, api: nowhere, token: String::new() }
    }

    /// Waits for the readiness line, and learns from it where the daemon listens.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        let line = until("the readiness line", || {
            let ready = self.ready_line();
            if ready.is_none()
                && let Some(status) = self.child.try_wait().unwrap()
            {
                panic!("relayflowd ended with {status}: {:#?}", self.log());
            }
            ready
        });
        self.ingest = address_after(&line, "ingest http://");
        self.api = address_after(&line, "api http://");
        self.token = fs::read_to_string(&self.token_file).unwrap_or_default().trim().to_owned();
    }

    pub(crate) fn ready_line(&self) -> Option<String> {
        let log = self.log.lock().unwrap();
        log.iter().find(|l| l.starts_with("relayflow ") && l.contains(" ready ")).cloned()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> i32 {
        let status = wait(&mut self.child, WITHIN)
            .unwrap_or_else(|| panic!("does not end: {:#?}", self.log()));
        status.code().unwrap_or(-1)
    }

    /// TERM, and a clean end.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let exit = self.exit();
        assert_eq!(exit, 0, "{:#?}", self.log());
    }

    /// Resident memory in KiB, where the system tells.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    // ingest

    /// Posts a vendor's request.
    #[track_caller]
    pub(crate) fn post(&self, signed: &Signed) -> Answer {
        fetch(self.ingest, "POST", &signed.target, &signed.headers, &signed.body).unwrap()
    }

    /// Posts a request that must be taken, and gives its events as (id, duplicate).
    #[track_caller]
    pub(crate) fn deliver(&self, signed: &Signed) -> Vec<(String, bool)> {
        let answer = self.post(signed);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["status"], "accepted", "{json}");
        let events = json["events"].as_array().unwrap().iter();
        events.map(|e| (text(&e["id"]).to_owned(), e["duplicate"].as_bool().unwrap())).collect()
    }

    /// The one event of a request that must be new.
    #[track_caller]
    pub(crate) fn deliver_new(&self, signed: &Signed) -> String {
        let events = self.deliver(signed);
        assert_eq!(events.len(), 1, "{events:?}");
        let (id, is_duplicate) = events.into_iter().next().unwrap();
        assert!(!is_duplicate, "{id} was known");
        id
    }

    // operator API

    fn bearer(&self) -> Vec<(String, String)> {
        wire::headers(&[("authorization", &format!("Bearer {}", self.token))])
    }

    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> Answer {
        fetch(self.api, "GET", path, &self.bearer(), b"").unwrap()
    }

    /// The document at `path`, below `/api/v1`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.ask(&format!("/api/v1{path}"));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    #[track_caller]
    pub(crate) fn tell(&self, path: &str, body: &Value) -> Answer {
        let mut headers = self.bearer();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        fetch(self.api, "POST", &format!("/api/v1{path}"), &headers, &body).unwrap()
    }

    /// The items of a list, narrowed by `q`.
    #[track_caller]
    pub(crate) fn list(&self, path: &str, q: &str) -> Vec<Value> {
        let list = self.get(&format!("{path}?limit=1000&q={}", query(q)));
        list["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn stats(&self) -> Value {
        self.get("/stats")
    }

    /// Waits until the event has this status, and gives it whole.
    #[track_caller]
    pub(crate) fn event_becomes(&self, id: &str, status: &str) -> Value {
        until(&format!("{id} is {status}"), || {
            let event = self.get(&format!("/events/{id}"));
            (event["status"] == status).then_some(event)
        })
    }

    /// The names of what happened to an event, in order.
    #[track_caller]
    pub(crate) fn timeline(&self, id: &str) -> Vec<String> {
        let entries = self.get(&format!("/events/{id}/timeline?limit=1000"));
        entries["items"].as_array().unwrap().iter().map(|e| text(&e["what"]).to_owned()).collect()
    }

    /// Waits until nothing is queued, running or retrying.
    #[track_caller]
    pub(crate) fn drained(&self) -> Value {
        until("nothing is queued, running or retrying", || {
            let stats = self.stats();
            let tasks = &stats["tasks"];
            let open = ["queued", "running", "retrying"].iter().all(|s| tasks[*s] == 0);
            open.then_some(stats)
        })
    }

    // CLI

    /// `relayflow ARGS` against this daemon, in `home`.
    #[track_caller]
    pub(crate) fn relayflow(&self, home: &Home, args: &[&str]) -> Ran {
        run(self.cli(home, args), None)
    }

    #[track_caller]
    pub(crate) fn relayflow_reading(&self, home: &Home, args: &[&str], input: &str) -> Ran {
        run(self.cli(home, args), Some(input))
    }

    pub(crate) fn cli(&self, home: &Home, args: &[&str]) -> Command {
        let mut command = home.cli(args);
        command
            .env("RELAYFLOW_URL", format!("http://{}", self.api))
            .env("RELAYFLOW_TOKEN", &self.token);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if thread::panicking() {
            let from = log.len().saturating_sub(40);
            eprintln!("--- the daemon's last lines\n{}\n---", log.get(from..).unwrap().join("\n"));
        } else {
            let panic = log.iter().find(|line| line.contains("panicked"));
            assert!(panic.is_none(), "{panic:?}");
        }
    }
}

fn address_after(line: &str, mark: &str) -> SocketAddr {
    let rest = line.split_once(mark).unwrap_or_else(|| panic!("no `{mark}` in {line}")).1;
    let end = rest.find(['/', ' ']).unwrap_or(rest.len());
    rest.get(..end).unwrap().parse().unwrap_or_else(|e| panic!("{e} in {line}"))
}

/// The text of a JSON string.
#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}
