//! A terminal: the other end of a pty, and the screen that its bytes come to.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::harness::{WITHIN, until};

/// A running `relayflow tui`, and its screen. Dropped, it is killed.
pub(crate) struct Tui {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    /// After how many keys, counted round, it last said that nothing is pending.
    idle: Arc<(Mutex<Option<u8>>, Condvar)>,
    keys: u8,
    /// The pipe on which it says so.
    _pipe: tempfile::TempDir,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
    changed: Instant,
    is_over: bool,
}

/// As many keys as a terminal makes of these bytes.
fn count_keys(keys: &str) -> u8 {
    let mut count = 0_u8;
    let mut chars = keys.chars().peekable();
    while let Some(c) = chars.next() {
        count = count.wrapping_add(1);
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // A sequence ends with its first letter.
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() || c == '~' {
                    break;
                }
            }
        }
    }
    count
}

fn pty_size((columns, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

impl Tui {
    /// Runs a command on a terminal of its own.
    #[track_caller]
    pub(crate) fn start(command: Command, size: (u16, u16), env: &[(&str, &str)]) -> Self {
        let pipe = tempfile::tempdir().unwrap();
        let path = pipe.path().join("idle");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // A pty's child gets no other descriptor: a shell that becomes it opens the pipe.
        let mut on_pty = CommandBuilder::new("sh");
        on_pty.args(["-c", r#"exec 9>"$IDLE_PIPE"; exec "$0" "$@""#]);
        on_pty.arg(command.get_program());
        on_pty.args(command.get_args());
        on_pty.env_clear();
        on_pty.env("IDLE_PIPE", &path);
        on_pty.env("RELAYFLOW_TUI_IDLE_FD", "9");
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                on_pty.env(name, value);
            }
        }
        on_pty.env("TERM", "xterm-256color");
        if let Some(path) = std::env::var_os("PATH") {
            on_pty.env("PATH", path);
        }
        for (name, value) in env {
            on_pty.env(name, value);
        }
        if let Some(dir) = command.get_current_dir() {
            on_pty.cwd(dir);
        }
        let pair = native_pty_system().openpty(pty_size(size)).unwrap();
        let child = pair.slave.spawn_command(on_pty).unwrap();
        drop(pair.slave);
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(cells(size.1), cells(size.0), 0),
            bytes: Vec::new(),
            changed: Instant::now(),
            is_over: false,
        }));
        let idle = Arc::new((Mutex::new(None), Condvar::new()));
        let for_pipe = Arc::clone(&idle);
        thread::spawn(move || {
            // Opens when the other side does.
            let Ok(mut pipe) = File::open(path) else { return };
            let mut byte = [0];
            while pipe.read_exact(&mut byte).is_ok() {
                *for_pipe.0.lock().unwrap() = Some(byte[0]);
                for_pipe.1.notify_all();
            }
        });
        let mut reader = pair.master.try_clone_reader().unwrap();
        let for_reader = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                let bytes = buffer.get(..count).unwrap_or_default();
                let mut seen = for_reader.lock().unwrap();
                seen.screen.process(bytes);
                seen.bytes.extend_from_slice(bytes);
                seen.changed = Instant::now();
            }
            for_reader.lock().unwrap().is_over = true;
        });
        let keyboard = pair.master.take_writer().unwrap();
        Self { child, master: pair.master, keyboard, seen, idle, keys: 0, _pipe: pipe }
    }

    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// Every byte that was written to the terminal, as text.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).into_owned()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.becomes(text, true);
    }

    #[track_caller]
    pub(crate) fn shows_not(&self, text: &str) {
        self.becomes(text, false);
    }

    #[track_caller]
    fn becomes(&self, text: &str, wanted: bool) {
        let end = Instant::now() + WITHIN;
        while self.screen().contains(text) != wanted {
            let screen = self.screen();
            assert!(Instant::now() < end, "`{text}`: wanted {wanted}, on\n{screen}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys = self.keys.wrapping_add(count_keys(keys));
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until every key that was pressed is taken in and nothing is under way any more.
    #[track_caller]
    pub(crate) fn settles(&self) {
        let (last, changed) = &*self.idle;
        let wanted = Some(self.keys);
        let guard = last.lock().unwrap();
        let (last, timeout) =
            changed.wait_timeout_while(guard, WITHIN, |last| *last != wanted).unwrap();
        let (last, is_late) = (*last, timeout.timed_out());
        assert!(!is_late, "idle after {last:?} keys of {wanted:?}, on\n{}", self.screen());
    }

    /// What the screen shows now, cell by cell.
    pub(crate) fn with_screen<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.seen.lock().unwrap().screen.screen())
    }

    pub(crate) fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.seen.lock().unwrap().screen.screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(pty_size((columns, rows))).unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.process_id().unwrap();
        let kill = format!("kill -{name} {pid}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end, and for all that it wrote.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> u32 {
        let status = until("the end of the TUI", || self.child.try_wait().unwrap());
        until("its last words", || self.seen.lock().unwrap().is_over.then_some(()));
        status.exit_code()
    }

    /// Whether nothing was written for so long.
    pub(crate) fn quiet_for(&self, time: Duration) -> bool {
        time <= self.seen.lock().unwrap().changed.elapsed()
    }

    /// Watches it for so long; whether it still runs.
    pub(crate) fn stays(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The terminal is as a shell wants it: its own screen, a cursor, and lines.
    #[track_caller]
    pub(crate) fn is_restored(&self) {
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        drop(seen);
        if let Some(modes) = self.master.get_termios() {
            let modes = format!("{:?}", modes.local_flags);
            assert!(modes.contains("ICANON") && modes.contains("ECHO"), "{modes}");
        }
    }

    /// The commands that set a colour.
    pub(crate) fn colours(&self) -> Vec<String> {
        let written = self.written();
        let commands = written.split("\u{1b}[").skip(1).filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            (rest.get(end..=end)? == "m").then(|| rest.get(..end).unwrap_or_default().to_owned())
        });
        let is_colour = |command: &String| {
            command.is_empty()
                || command.starts_with(';')
                || command.split(';').any(|code| {
                    matches!(code.parse::<u32>(), Ok(30..=38 | 40..=48 | 90..=97 | 100..=107))
                })
        };
        commands.filter(is_colour).collect()
    }

    /// What it has used of a processor, where the system tells.
    pub(crate) fn cpu_ticks(&self) -> Option<u64> {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.process_id()?)).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the screen\n{}\n---", self.screen());
        }
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
