//! The terminal as we found it: entered once, left once, whatever ends us.

use std::io::{self, Write as _};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{cursor, queue};
use tokio::sync::mpsc::UnboundedSender;

use crate::tui::msg::Msg;

/// Whether the terminal is ours now.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Whether a panic of the UI thread is caught and told in an orderly way.
static IS_CAUGHT: AtomicBool = AtomicBool::new(false);

/// Takes the terminal.
pub(super) fn enter(has_mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    ACTIVE.store(true, Ordering::SeqCst);
    let mut stdout = io::stdout().lock();
    queue!(stdout, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if has_mouse {
        queue!(stdout, EnableMouseCapture)?;
    }
    stdout.flush()
}

/// Gives it back, once; nothing of it may fail, as the terminal may be gone.
pub(super) fn leave() {
    if !ACTIVE.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut stdout = io::stdout().lock();
    let _ = queue!(stdout, EndSynchronizedUpdate);
    let _ = queue!(stdout, DisableBracketedPaste);
    let _ = queue!(stdout, DisableMouseCapture);
    let _ = queue!(stdout, LeaveAlternateScreen);
    let _ = queue!(stdout, cursor::Show);
    let _ = stdout.flush();
    let _ = disable_raw_mode();
}

/// While it lives, the terminal is given back at its end.
pub(super) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

/// From now on a panic draws over nothing: one in a task becomes a message, one of the UI's own thread
/// is caught where updates and frames are made, and elsewhere gives the terminal back first.
pub(super) fn hook_panics(to_ui: UnboundedSender<Msg>) {
    let ui = thread::current().id();
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !ACTIVE.load(Ordering::SeqCst) {
            return previous(info);
        }
        let is_ui = thread::current().id() == ui;
        if is_ui && !IS_CAUGHT.load(Ordering::SeqCst) {
            leave();
            return previous(info);
        }
        let _ = to_ui.send(Msg::Panicked(info.to_string()));
    }));
}

/// Runs a part of the UI that may have a bug: `None` if it panicked, with its report sent to the UI.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    IS_CAUGHT.store(true, Ordering::SeqCst);
    let done = panic::catch_unwind(panic::AssertUnwindSafe(work));
    IS_CAUGHT.store(false, Ordering::SeqCst);
    done.ok()
}
