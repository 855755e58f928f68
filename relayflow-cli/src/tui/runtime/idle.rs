//! For tests: says on a pipe that nothing is under way, so that nobody who drives this has to guess how
//! long to wait.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use crate::app::App;

/// The name of the variable with the number of the file descriptor.
const VARIABLE: &str = "RELAYFLOW_TUI_IDLE_FD";

/// Where to say it, and what was said.
#[derive(Debug, Default)]
pub(super) struct Idle {
    to: Option<File>,
    /// Keys, clicks and pastes that were taken in, counted round: which state it is that is at rest.
    keys: u8,
    was_idle: bool,
}

impl Idle {
    pub(super) fn new(app: &App) -> Self {
        let number = app.env(VARIABLE).and_then(|text| text.parse::<u16>().ok());
        let open = |number| OpenOptions::new().append(true).open(format!("/dev/fd/{number}")).ok();
        Self { to: number.and_then(open), ..Self::default() }
    }

    pub(super) fn key(&mut self) {
        self.keys = self.keys.wrapping_add(1);
        self.was_idle = false;
    }

    /// Writes one byte, how many keys there were, when nothing is pending any more.
    pub(super) fn see(&mut self, is_idle: bool) {
        if is_idle
            && !self.was_idle
            && let Some(to) = &mut self.to
        {
            // Whoever listens may have gone.
            let _ = to.write_all(&[self.keys]);
        }
        self.was_idle = is_idle;
    }
}
