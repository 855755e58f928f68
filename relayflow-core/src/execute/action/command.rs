//! A program of a step: an argv, the event on its stdin, and what its exit means.
//!
//! It runs in a process group of its own, so that it can be ended with all that it started. On Linux
//! it also dies with the daemon, however that dies: the daemon's own binary, run once more as a
//! guard, asks the kernel for that and then becomes the program ([`run_guard_if_asked`]); what the
//! program started is ended by a keeper (`keeper.rs`).

mod keeper;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::SignedDuration;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use self::keeper::{KEEPER, Kept};
use super::{KEPT_BYTES_MAX, Report, Work, kept, trace::traceparent};
use crate::execute::gate::Call;
use crate::task::{DeadReason, Outcome};
use crate::workflow::CommandAction;

/// How long a group has between TERM and KILL.
const TERM_FOR: Duration = Duration::from_secs(5);
/// How long output is still read after the program's end: something that it started may hold on.
const DRAIN_FOR: Duration = Duration::from_millis(200);
/// `EX_TEMPFAIL` of sysexits.h: try again.
const EXIT_RETRY: i32 = 75;

/// The first argument by which our own binary is asked to be a guard.
const GUARD: &str = "__guard";

/// The binary that can be a guard, once it has said so.
static GUARD_BINARY: OnceLock<PathBuf> = OnceLock::new();

/// To be called first thing in `main` by every binary that runs commands: if this process is a
/// guard, it becomes the program that it guards and does not return. Otherwise commands of this
/// process are guarded from here on.
pub fn run_guard_if_asked() {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == GUARD => guard(args),
        Some(first) if first == KEEPER => keeper::keep(),
        Some(_) | None => {}
    }
    if cfg!(target_os = "linux") {
        // Stays right when the file is replaced by an upgrade while this process runs.
        let _ = GUARD_BINARY.set(PathBuf::from("/proc/self/exe"));
    }
}

/// What a guard reads on its stdin before it becomes its program: its group is known to the keeper.
/// A program that ran before could be left over when the daemon is killed at just that moment.
const GO: &[u8] = b"\n";

/// `<parent's pid> <program> <argument>…`
fn guard(mut args: impl Iterator<Item = OsString>) -> ! {
    let parent = args.next();
    let Some(program) = args.next() else { std::process::exit(64) };
    #[cfg(target_os = "linux")]
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        std::process::exit(71);
    }
    // If the parent was gone before the kernel was asked, nothing will ever be sent.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref().and_then(OsStr::to_str) != now.as_deref() {
        std::process::exit(71);
    }
    // Unbuffered: the next byte is the program's.
    if !matches!(rustix::io::read(io::stdin(), &mut [0; GO.len()]), Ok(1)) {
        std::process::exit(71);
    }
    let error = std::process::Command::new(&program).args(args).exec();
    let _ = io::Write::write_all(
        &mut io::stderr(),
        format!("cannot run `{}`: {error}\n", program.to_string_lossy()).as_bytes(),
    );
    std::process::exit(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Runs the program of `work` to its end, or until `timeout`. When this future is dropped, its
/// process group is ended in the background.
pub(in crate::execute) async fn run(
    action: &CommandAction,
    work: Work<'_>,
    timeout: Duration,
) -> Report {
    let program = match program(action, work) {
        Ok(program) => program,
        Err(report) => return *report,
    };
    let mut group = match spawn(program).await {
        Ok(group) => group,
        Err(error) => return not_started(work.destination, &error),
    };
    let input = work.event.event.to_cloudevent();
    let ended = tokio::time::timeout(timeout, group.talk(input.as_bytes())).await;
    match ended {
        Ok(Ok(end)) => end.report(work.destination),
        Ok(Err(error)) => {
            group.end().await;
            Report::failed(&format!("{}: {error}", work.destination))
        }
        Err(_) => {
            group.end().await;
            let after = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
            Report::failed(&format!("{}: ended after {after:#}", work.destination))
        }
    }
}

fn program(action: &CommandAction, work: Work<'_>) -> Result<std::process::Command, Box<Report>> {
    let scope = work.scope();
    let mut argv = Vec::with_capacity(action.argv.len());
    for template in &action.argv {
        argv.push(template.render(&scope).map_err(|e| Report::expression("argv", &e))?);
    }
    let Some((name, args)) = argv.split_first() else {
        return Err(Box::new(Report::rejected(DeadReason::Unretryable, "argv is empty")));
    };
    let Some(path) = find(name, &action.dir) else {
        let error = format!("{}: no program `{name}`", work.destination);
        return Err(Box::new(Report::rejected(DeadReason::Unretryable, &error)));
    };
    let mut command = match GUARD_BINARY.get() {
        Some(binary) => {
            let mut command = std::process::Command::new(binary);
            command.arg(GUARD).arg(std::process::id().to_string()).arg(path);
            command
        }
        None => std::process::Command::new(path),
    };
    command.args(args).current_dir(&action.dir).env_clear();
    for name in &action.env {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let correlation_id = &work.event.event.correlation_id;
    command
        .env("RELAYFLOW_IDEMPOTENCY_KEY", work.task.id.to_string())
        .env("RELAYFLOW_ATTEMPT", work.task.attempt.to_string())
        .env("RELAYFLOW_CORRELATION_ID", correlation_id.as_str())
        .env("TRACEPARENT", traceparent(correlation_id, work.task))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// Where the program `name` is: as it stands, from `dir`, or on the daemon's own `PATH`. The answer
/// is absolute, since the program will start in another folder.
fn find(name: &str, dir: &Path) -> Option<PathBuf> {
    let path = if name.contains('/') {
        dir.join(name)
    } else {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())?
    };
    std::path::absolute(path).ok().filter(|path| path.is_file())
}

/// Starts `command` on a thread that lives as long as this process: the kernel ends a guarded
/// program when the *thread* that started it ends, and the runtime's own threads come and go.
async fn spawn(command: std::process::Command) -> io::Result<Group> {
    type Order = (
        std::process::Command,
        tokio::runtime::Handle,
        tokio::sync::oneshot::Sender<io::Result<Child>>,
    );
    static STARTER: OnceLock<Option<std::sync::mpsc::Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = std::sync::mpsc::channel::<Order>();
        let start = move || {
            for (command, runtime, started) in orders {
                let _inside = runtime.enter();
                let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
                let _ = started.send(child);
            }
        };
        std::thread::Builder::new().name("commands".to_owned()).spawn(start).ok().map(|_| sender)
    });
    let gone = || io::Error::other("the thread that starts commands is gone");
    let (sender, started) = tokio::sync::oneshot::channel();
    let order = (command, tokio::runtime::Handle::current(), sender);
    starter.as_ref().ok_or_else(gone)?.send(order).map_err(|_| gone())?;
    let mut child = started.await.map_err(|_| gone())??;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let kept = match (id, GUARD_BINARY.get()) {
        (Some(id), Some(binary)) => Some(Kept::new(id, binary)?),
        (None, _) | (_, None) => None,
    };
    if GUARD_BINARY.get().is_some()
        && let Some(stdin) = &mut child.stdin
    {
        // A guard that is gone says so by its exit code.
        let _ = stdin.write_all(GO).await;
    }
    Ok(Group { child: Some(child), id, kept })
}

fn not_started(destination: &str, error: &io::Error) -> Report {
    use io::ErrorKind::{ArgumentListTooLong, InvalidInput, NotFound, PermissionDenied};
    let text = format!("{destination}: cannot be started: {error}");
    // Anything else (out of processes, memory or descriptors) passes.
    let is_final =
        matches!(error.kind(), NotFound | PermissionDenied | InvalidInput | ArgumentListTooLong);
    if is_final { Report::rejected(DeadReason::Unretryable, &text) } else { Report::failed(&text) }
}

/// A running program and all that it started.
struct Group {
    /// `None` once it was waited for.
    child: Option<Child>,
    id: Option<Pid>,
    kept: Option<Kept>,
}

struct End {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Group {
    /// Gives the program its input, takes what it says, and waits for its end. A program need not
    /// read its input, nor keep its output open.
    async fn talk(&mut self, input: &[u8]) -> io::Result<End> {
        let Some(child) = &mut self.child else { return Err(io::Error::other("it has ended")) };
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input).await;
            }
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = {
            let talk = async {
                tokio::join!(write, read(stdout, &mut out), read(stderr, &mut err));
            };
            let mut talk = std::pin::pin!(talk);
            tokio::select! {
                // It said all that it will say: what is left is its end.
                () = &mut talk => child.wait().await?,
                status = child.wait() => {
                    let _ = tokio::time::timeout(DRAIN_FOR, talk).await;
                    status?
                }
            }
        };
        self.child = None;
        self.kept = None;
        Ok(End { status, stdout: out, stderr: err })
    }

    /// TERM to the whole group, KILL after [`TERM_FOR`] or when the program has gone.
    async fn end(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, self.id, self.kept.take()).await;
        }
    }
}

/// The keeper forgets the group last: what is under way here may be cut short by our own end.
async fn end(mut child: Child, group: Option<Pid>, _kept: Option<Kept>) {
    // An error means that the group is gone, which is what is wanted.
    let _ = group.map(|id| rustix::process::kill_process_group(id, Signal::TERM));
    let _ = tokio::time::timeout(TERM_FOR, child.wait()).await;
    let _ = group.map(|id| rustix::process::kill_process_group(id, Signal::KILL));
    let _ = child.wait().await;
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(end(child, self.id, self.kept.take()))),
            // `kill_on_drop` does what can be done without a runtime.
            Err(_) => drop(child),
        }
    }
}

/// Keeps the first [`KEPT_BYTES_MAX`] and reads on, so that a talkative program is not held up.
async fn read(from: Option<impl AsyncRead + Unpin>, keep: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; KEPT_BYTES_MAX];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let room = KEPT_BYTES_MAX.saturating_sub(keep.len());
        keep.extend_from_slice(&buffer[..count.min(room)]);
    }
}

impl End {
    fn report(self, destination: &str) -> Report {
        let (outcome, call) = classify(self.status.code());
        let error = (outcome != Outcome::Done).then(|| {
            let said = String::from_utf8_lossy(&self.stderr);
            let said = said.lines().map(str::trim).find(|line| !line.is_empty());
            let said = said.map_or(String::new(), |line| format!(": {line}"));
            super::one_line(&match (self.status.code(), self.status.signal()) {
                (Some(code), _) => format!("{destination}: exit {code}{said}"),
                (None, Some(signal)) => format!("{destination}: ended by signal {signal}{said}"),
                (None, None) => format!("{destination}: ended{said}"),
            })
        });
        Report { outcome, call, http_status: None, error, response: kept(&self.stdout) }
    }
}

/// What an exit code means; `None` is a signal.
fn classify(code: Option<i32>) -> (Outcome, Call) {
    match code {
        Some(0) => (Outcome::Done, Call::Alive),
        None | Some(EXIT_RETRY) => {
            (Outcome::Failed { wait_at_least: SignedDuration::ZERO }, Call::Failed)
        }
        Some(_) => (Outcome::Rejected(DeadReason::Unretryable), Call::Alive),
    }
}

#[cfg(test)]
mod tests;
