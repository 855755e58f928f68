//! The README's first command.

use std::time::{Duration, Instant};

use crate::harness::{Home, program};

/// Twenty seconds by itself; here it shares two cores with other tests, unoptimised.
const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn the_demo_shows_the_whole_job_and_what_it_shows_is_true() {
    let home = Home::new("");
    assert!(program("relayflow").exists());
    let began = Instant::now();
    let ran = home.relayflow(&["demo"]).ended(0);
    let took = began.elapsed();
    assert!(took < WITHIN, "{took:?}");
    let said = format!("{}{}", ran.out, ran.err);
    for word in ["accepted", "duplicate", "rejected", "executed", "retried", "dead", "recovered"] {
        assert!(said.to_lowercase().contains(word), "no word of `{word}` in: {said}");
    }
    assert!(said.contains("relayflow "), "it says what to try next: {said}");
    assert!(!said.contains("panicked"), "{said}");
}
