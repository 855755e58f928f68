//! Much of everything costs what little does.

use std::time::Duration;

use serde_json::json;

use super::support::{Desk, ago, id, setup};
use crate::tui::msg::Msg;

#[test]
fn a_flood_of_entries_is_taken_in_and_costs_no_more_room() {
    let mut desk = Desk::new("tail");
    let entry = json!({"v": 1, "object": "timeline_entry", "seq": 1, "at": ago(1), "what": "ok",
        "correlation_id": "7c1e90d2", "request_id": null, "event_id": id("evt", 1),
        "task_id": id("tsk", 1), "replay_id": null, "source": "stripe", "type": "charge.failed",
        "workflow": "crm", "step": "upsert", "destination": "api.hubspot.com", "attempt": 1,
        "detail": {"http_status": 200, "latency_ms": 9.0}});
    let batch: Vec<_> = (0..200).map(|_| entry.clone()).collect();
    let begun = std::time::Instant::now();
    for _ in 0..25 {
        desk.tail(batch.clone());
        desk.buffer();
    }
    println!("5,000 entries in {:?}, a debug build", begun.elapsed());
    assert!(desk.state.ctx.tail.entries.len() <= crate::tui::ctx::TAIL_MAX);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_frame_of_a_million_rows_costs_what_one_of_a_thousand_does() {
    let frames = |letters: usize| {
        let mut desk = Desk::of(setup(true), (140, 40), "dlq");
        desk.letters = letters;
        desk.settle();
        for _ in 0..letters / 200 {
            desk.tell(Msg::Key(super::support::key_of("G")));
            desk.settle();
        }
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            desk.buffer();
        }
        (desk, begun.elapsed() / 20)
    };
    let (_, few) = frames(1_000);
    let (desk, many) = frames(100_000);
    desk.shows("of 100,0");
    println!("a frame: {few:?} of 1,000 rows, {many:?} of 100,000");
    assert!(many < few * 5 + Duration::from_millis(20), "{few:?} and {many:?}");
}
