//! Makes a store of many events, to measure with (`docs/operating/measure.md`):
//!
//! ```text
//! cargo run --release -p relayflow-tests --example bigstore -- DIR [COUNT]
//! ```
#![expect(clippy::print_stderr, reason = "how far it is, for who waits")]

#[path = "../bigstore/mod.rs"]
mod bigstore;

use std::path::PathBuf;
use std::time::Instant;

use relayflow_core::clock::Clock;

/// Events that are made unless another number is given.
const COUNT: u64 = 5_000_000;

#[tokio::main]
async fn main() -> Result<(), bigstore::Failure> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("give a folder, and how many events")?);
    let count = args.next().map_or(Ok(COUNT), |text| text.replace(['_', ','], "").parse())?;
    let began = Instant::now();
    let told = |events: u64| {
        let seconds = began.elapsed().as_secs();
        eprintln!("{events} events after {seconds} s");
    };
    let made = bigstore::make(&dir, count, Clock::Wall.now(), &told).await?;
    eprintln!("{made:#?}\nafter {} s, in {}", began.elapsed().as_secs(), dir.display());
    Ok(())
}
