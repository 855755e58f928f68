//! Every screen in every state at every size: the live one whole, the others by the lines in which they
//! differ from it; and how it is told without colour and on a light background.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde_json::json;

use super::support::{Desk, ago, doc, id, reply, reply_of_nothing, setup, stats, who};
use super::views::SCREENS;
use crate::failure::Failure;
use crate::tui::msg::{Msg, Question, Reply, TailNews};
use crate::tui::theme::Theme;

const SIZES: [(u16, u16); 4] = [(80, 24), (140, 40), (60, 16), (39, 9)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    Connecting,
    Loading,
    Empty,
    Paused,
    Stale,
    Lost,
    Expired,
    Refused,
    Mismatch,
    Dropped,
}

const STATES: [State; 11] = [
    State::Live,
    State::Connecting,
    State::Loading,
    State::Empty,
    State::Paused,
    State::Stale,
    State::Lost,
    State::Expired,
    State::Refused,
    State::Mismatch,
    State::Dropped,
];

/// The detail beside a list waits for a cursor that rests.
const REST: Duration = Duration::from_millis(200);

fn entries(count: i64) -> Vec<relayflow_core::api::TimelineEntry> {
    let entry = |n: i64| {
        doc(json!({"v": 1, "object": "timeline_entry", "seq": n, "at": ago(9 - n), "what":
            if n % 2 == 0 { "dead" } else { "retrying" }, "correlation_id": "7c1e90d2",
            "request_id": null, "event_id": id("evt", 1), "task_id": id("tsk", 1),
            "replay_id": null, "source": "stripe", "type": "charge.failed", "workflow": "crm",
            "step": "upsert", "destination": "api.hubspot.com", "attempt": n,
            "detail": {"http_status": 503, "latency_ms": 9.0}}))
    };
    (1..=count).map(entry).collect()
}

/// A desk at which everything is answered and some of the timeline was seen.
fn live(theme: Theme, size: (u16, u16), words: &str, keys: &str) -> Desk {
    let mut setup = setup(true);
    setup.theme = theme;
    let mut desk = Desk::of(setup, size, words);
    desk.settle();
    desk.pass(REST);
    desk.settle();
    desk.tell(Msg::Tail(TailNews::Opened));
    desk.tell(Msg::Tail(TailNews::Entries { entries: entries(4), dropped: 0 }));
    for key in keys.split(' ').filter(|key| !key.is_empty()) {
        desk.press(key);
    }
    desk.pass(REST);
    desk.settle();
    desk
}

/// A desk at which only what `says` answers is answered, again and again.
fn begun(size: (u16, u16), words: &str, keys: &str, says: fn(&Question) -> Option<Reply>) -> Desk {
    let mut desk = Desk::of(setup(true), size, words);
    let settle = |desk: &mut Desk| {
        for _ in 0..8 {
            desk.answer_some(|question| says(question).map(Ok));
        }
    };
    settle(&mut desk);
    for key in keys.split(' ') {
        desk.press_alone(key);
        settle(&mut desk);
    }
    for _ in 0..3 {
        desk.pass(REST);
        settle(&mut desk);
    }
    desk
}

fn pulse_alone(question: &Question) -> Option<Reply> {
    let is_pulse = matches!(question, Question::Stats | Question::Minutes | Question::Who);
    is_pulse.then(|| reply(question, 412))
}

fn nothing(_: &Question) -> Option<Reply> {
    None
}

fn of_nothing(question: &Question) -> Option<Reply> {
    Some(reply_of_nothing(question))
}

/// The next look at the numbers comes to this.
fn next_stats(desk: &mut Desk, result: impl Fn() -> Result<Reply, Failure>) {
    desk.pass(Duration::from_secs(2));
    desk.answer_some(|question| match question {
        Question::Stats => Some(result()),
        other => Some(Ok(reply(other, 412))),
    });
}

fn desk(state: State, size: (u16, u16), words: &str, keys: &str) -> Desk {
    match state {
        State::Connecting => return begun(size, words, keys, nothing),
        State::Loading => return begun(size, words, keys, pulse_alone),
        State::Empty => return begun(size, words, keys, of_nothing),
        State::Live
        | State::Paused
        | State::Stale
        | State::Lost
        | State::Expired
        | State::Refused
        | State::Mismatch
        | State::Dropped => {}
    }
    let mut desk = live(Theme::auto(), size, words, keys);
    match state {
        State::Paused => {
            desk.press_alone("p");
            desk.tell(Msg::Tail(TailNews::Entries { entries: entries(3), dropped: 0 }));
            desk.now.run += Duration::from_secs(42);
            desk.now.wall += Duration::from_secs(42);
            desk.answer_some(|question| pulse_alone(question).map(Ok));
            desk.tell(Msg::Tick);
        }
        State::Stale => desk.pass(Duration::from_secs(9)),
        State::Lost => {
            desk.pass(Duration::from_secs(2));
            desk.lose();
            desk.tell(Msg::Tail(TailNews::Lost("Connection refused (os error 111)".to_owned())));
            desk.now.wall += Duration::from_secs(32);
            desk.now.run += Duration::from_millis(500);
        }
        State::Expired => {
            next_stats(&mut desk, || Err(Failure::new("auth.token", "the token is not known")));
        }
        State::Refused => {
            let viewer = who("eve", "viewer");
            desk.state.ctx.who = Some(viewer);
            desk.tell(Msg::Tick);
        }
        State::Mismatch => next_stats(&mut desk, || {
            let mut stats = stats(412);
            stats["v"] = json!(3);
            Ok(Reply::Stats(doc(stats)))
        }),
        State::Dropped => {
            let entries = entries(4);
            desk.tell(Msg::Tail(TailNews::Entries { entries, dropped: 1204 }));
        }
        State::Live | State::Connecting | State::Loading | State::Empty => {}
    }
    desk
}

/// The lines of a screen that differ from another's, with their numbers.
fn difference(from: &str, to: &str) -> String {
    let mut out = String::new();
    let rows = from.lines().count().max(to.lines().count());
    for row in 0..rows {
        let (before, now) = (from.lines().nth(row), to.lines().nth(row));
        if before != now {
            let _ = writeln!(out, "{:2}|{}", row + 1, now.unwrap_or_default());
        }
    }
    out
}

#[test]
fn every_screen_in_every_state_at_every_size() {
    for (name, words, keys) in SCREENS {
        let mut text = String::new();
        for (columns, rows) in SIZES {
            let whole = desk(State::Live, (columns, rows), words, keys).screen();
            let _ = writeln!(text, "━━ {columns}x{rows}\n{whole}");
            for state in STATES.into_iter().filter(|state| *state != State::Live) {
                let other = desk(state, (columns, rows), words, keys).screen();
                let _ = write!(text, "── {state:?}\n{}", difference(&whole, &other));
            }
        }
        insta::assert_snapshot!(format!("states_{name}"), text);
    }
}

fn words_of(cell: &ratatui::buffer::Cell) -> String {
    let mut words = Vec::new();
    for (modifier, word) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::REVERSED, "reversed"),
        (Modifier::UNDERLINED, "underlined"),
    ] {
        if cell.modifier.contains(modifier) {
            words.push(word.to_owned());
        }
    }
    if cell.fg != Color::Reset {
        words.push(cell.fg.to_string().to_lowercase());
    }
    if cell.bg != Color::Reset {
        words.push(format!("on {}", cell.bg));
    }
    words.join(" ")
}

/// Where a row is not plain text: `row: from-to how`.
fn styles(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let mut out = String::new();
    for (row, cells) in buffer.content().chunks(width).enumerate() {
        let mut runs: Vec<(usize, usize, String)> = Vec::new();
        for (column, cell) in cells.iter().enumerate() {
            let words = words_of(cell);
            match runs.last_mut() {
                Some((_, to, last)) if *last == words => *to = column,
                _ => runs.push((column, column, words)),
            }
        }
        let runs = runs.iter().filter(|(.., words)| !words.is_empty());
        let runs: Vec<_> = runs.map(|(from, to, words)| format!("{from}-{to} {words}")).collect();
        if !runs.is_empty() {
            let _ = writeln!(out, "{:2}: {}", row + 1, runs.join(", "));
        }
    }
    out
}

#[test]
fn without_colour_and_on_a_light_background() {
    let mut text = String::new();
    for (name, words, keys) in SCREENS {
        for (theme, styled) in [("mono", Theme::mono()), ("light", Theme::light())] {
            let desk = live(styled, (80, 24), words, keys);
            let _ = write!(text, "━━ {name}, {theme}\n{}", styles(&desk.buffer()));
        }
    }
    insta::assert_snapshot!("styles", text);
}

#[test]
fn without_colour_the_selected_row_differs_from_its_neighbours() {
    for (name, words, keys) in SCREENS {
        if ["tail", "request", "charts", "charts_job", "errors", "confirm"].contains(&name) {
            // Nothing is selected there.
            continue;
        }
        let buffer = live(Theme::mono(), (80, 24), words, keys).buffer();
        let reversed = |row: u16| {
            let cell = |column| buffer.cell((column, row)).unwrap();
            [10, 30, 50].iter().all(|column| cell(*column).modifier.contains(Modifier::REVERSED))
        };
        let rows: Vec<u16> = (3..22).filter(|row| reversed(*row)).collect();
        assert_eq!(rows.len(), 1, "{name}: rows {rows:?}");
        let colours =
            buffer.content().iter().filter(|c| (c.fg, c.bg) != (Color::Reset, Color::Reset));
        assert_eq!(colours.count(), 0, "{name}");
    }
}

#[test]
fn every_state_says_itself() {
    for (state, text) in [
        (State::Connecting, "◌ connecting"),
        (State::Connecting, "waiting for 127.0.0.1:8788"),
        (State::Loading, "loading dead letters"),
        (State::Empty, "no dead letters"),
        (State::Empty, "14 are retrying: enter shows them"),
        (State::Paused, "‖ paused 42s, 3 behind"),
        (State::Stale, "◌ 9s old"),
        (State::Lost, "○ lost"),
        (State::Lost, "as of 14:03:1"),
        (State::Expired, "! token expired"),
        (State::Expired, "enter asks for a new token"),
        (State::Refused, "! role viewer"),
        (State::Mismatch, "! api v3, this is v1"),
    ] {
        desk(state, (80, 24), "dlq", "").shows(text);
    }
    desk(State::Dropped, (80, 24), "tail", "").shows("dropped 1,204");
}
