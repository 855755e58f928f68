//! TERM and INT.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// A token that TERM or INT cancels. A second INT ends the process at once, with 130.
///
/// # Errors
///
/// When signals cannot be heard.
pub fn stop_token() -> std::io::Result<CancellationToken> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    tokio::spawn(listen(terminate, interrupt, token.clone()));
    Ok(token)
}

async fn listen(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    let mut interrupts = 0;
    loop {
        tokio::select! {
            Some(()) = terminate.recv() => {}
            Some(()) = interrupt.recv() => interrupts += 1,
            else => return,
        }
        if 1 < interrupts {
            process::exit(INTERRUPTED);
        }
        token.cancel();
    }
}
