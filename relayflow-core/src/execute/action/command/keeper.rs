//! Who ends what a command started, when the daemon cannot: one process of our own binary that is
//! told of every process group that runs, and kills those that are left when the daemon's end of the
//! pipe closes, however that comes about. The kernel's death signal reaches a program; this reaches
//! its children too.

use std::collections::HashSet;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal};

/// The first argument by which our own binary is asked to be the keeper.
pub(super) const KEEPER: &str = "__keeper";

/// The keeper's life: a line `+pid` for each group that began, `-pid` for each that ended.
pub(super) fn keep() -> ! {
    let mut groups = HashSet::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let (sign, id) = line.split_at_checked(1).unwrap_or_default();
        let Some(id) = id.parse().ok().and_then(Pid::from_raw) else { continue };
        match sign {
            "+" => groups.insert(id),
            _ => groups.remove(&id),
        };
    }
    for id in groups {
        // An error means that the group is gone, which is what is wanted.
        let _ = rustix::process::kill_process_group(id, Signal::KILL);
    }
    std::process::exit(0)
}

/// The daemon's end of the pipe; `None` until the first command, and where there is no keeper.
static PIPE: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// A group that the keeper knows of, until this is dropped.
pub(super) struct Kept(Pid);

impl Kept {
    /// Tells the keeper, started from `binary` if it does not run.
    ///
    /// # Errors
    ///
    /// When it cannot be started: the group would outlive a killed daemon.
    pub(super) fn new(id: Pid, binary: &Path) -> io::Result<Self> {
        let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = pipe.as_mut().is_some_and(|pipe| say(pipe, '+', id).is_ok());
        if !is_told {
            say(pipe.insert(start(binary)?), '+', id)?;
        }
        Ok(Self(id))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
        // A keeper that is gone has ended the group already.
        let _ = pipe.as_mut().map(|pipe| say(pipe, '-', self.0));
    }
}

fn say(pipe: &mut ChildStdin, sign: char, id: Pid) -> io::Result<()> {
    pipe.write_all(format!("{sign}{}\n", id.as_raw_nonzero()).as_bytes())
}

/// In a group of its own, so that what a terminal sends to ours does not end it before us.
fn start(binary: &Path) -> io::Result<ChildStdin> {
    let mut keeper = Command::new(binary)
        .arg(KEEPER)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    keeper.stdin.take().ok_or_else(|| io::Error::other("the keeper has no stdin"))
}
