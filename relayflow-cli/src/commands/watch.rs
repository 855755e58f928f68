//! `--watch`: the same again and again, until it is interrupted. A daemon that is away for a while is
//! waited for, and that is said.

use std::cell::Cell;
use std::time::Duration;

use jiff::SignedDuration;
use relayflow_core::api::codes::Exit;
use tokio::time::{Instant, sleep};

use crate::app::App;
use crate::failure::{Done, Failure};
use crate::output::{Out, time};

/// How long a daemon may be away before it is given up.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Nobody reads faster.
const EVERY_MIN: Duration = Duration::from_millis(200);

/// One round of a watch, or the only one.
pub(crate) struct Frame {
    is_watched: bool,
    is_begun: Cell<bool>,
}

impl Frame {
    /// Before the first output of a round, once its data are there: a terminal is cleared, so that
    /// nothing flickers while the daemon is asked.
    pub(crate) fn begin(&self, out: &Out) -> Result<(), Failure> {
        if self.is_begun.replace(true) || !self.redraws(out) {
            return Ok(());
        }
        out.print("\u{1b}[H\u{1b}[2J")
    }

    fn redraws(&self, out: &Out) -> bool {
        self.is_watched && out.width.is_some() && out.is_for_people()
    }
}

/// Runs `round` once, or every so often until it is interrupted.
///
/// # Errors
///
/// Those of the first round; later ones are tried again while the daemon is away. 130 in the end.
pub(crate) async fn watch(
    app: &App,
    every: Option<SignedDuration>,
    round: impl AsyncFn(&Frame) -> Done,
) -> Done {
    let frame = || Frame { is_watched: every.is_some(), is_begun: Cell::new(false) };
    let Some(every) = every else {
        return round(&frame()).await;
    };
    let every = Duration::try_from(every).unwrap_or(EVERY_MIN).max(EVERY_MIN);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut away_since: Option<Instant> = None;
    let mut is_first = true;
    loop {
        let frame = frame();
        let done = tokio::select! {
            done = round(&frame) => done,
            _ = &mut interrupt => return Err(Failure::signalled(130)),
        };
        match done {
            Ok(_) => {
                if away_since.take().is_some() {
                    app.out.notice(&format!("-- resumed at {}", clock(app)));
                }
            }
            Err(failure) if !is_first && failure.exit() == Exit::Unreachable => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if AWAY_MAX < since.elapsed() {
                    return Err(failure);
                }
                app.out.notice(&format!("-- {}: asking again", failure.message));
            }
            Err(failure) => return Err(failure),
        }
        is_first = false;
        if frame.redraws(&app.out) {
            let shown = time::amount(SignedDuration::try_from(every).unwrap_or_default());
            app.out.notice(&format!("{}   again in {shown}, ctrl-c ends", clock(app)));
        }
        tokio::select! {
            () = sleep(every) => {}
            _ = &mut interrupt => return Err(Failure::signalled(130)),
        }
    }
}

fn clock(app: &App) -> String {
    app.now().to_zoned_datetime(app.out.zone.clone()).strftime("%H:%M:%S").to_string()
}
