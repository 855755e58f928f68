//! What screens look like.

use std::time::Duration;

use ratatui::style::Modifier;

use super::support::{Desk, setup};
use crate::tui::msg::Msg;
use crate::tui::theme::{Glyphs, Theme};

const SIZES: [(u16, u16); 4] = [(80, 24), (140, 40), (60, 16), (39, 9)];

/// Every screen, and the keys that lead there.
pub(super) const SCREENS: [(&str, &str, &str); 20] = [
    ("overview", "", ""),
    ("events", "events", ""),
    ("requests", "requests", ""),
    ("dlq", "dlq error:e_41c9", "space space j space"),
    ("groups", "dlq", "b enter"),
    ("timeline", "tsk_upsert", ""),
    ("trace", "tsk_upsert", "c"),
    ("payload", "tsk_upsert", "o"),
    ("request", "tsk_upsert", "i"),
    ("replays", "replays", ""),
    ("job", "rpl_01J9ZD", ""),
    ("queues", "queues", ""),
    ("sources", "sources", ""),
    ("drift", "drift", ""),
    ("tail", "tail", ""),
    ("charts", "charts api.hubspot.com", ""),
    ("charts_job", "charts rpl_01J9ZD", "z"),
    ("errors", "errors", ""),
    ("plan", "dlq", "R"),
    ("confirm", "dlq", "R enter"),
];

fn at(size: (u16, u16), words: &str, keys: &str) -> Desk {
    let mut desk = Desk::sized(size, words);
    // The detail beside a list waits for a cursor that rests.
    desk.pass(Duration::from_millis(200));
    desk.settle();
    if !keys.is_empty() {
        desk.press(keys);
    }
    desk.pass(Duration::from_millis(200));
    desk.settle();
    desk
}

#[test]
fn popups() {
    for (name, words, keys) in [
        ("palette", "dlq", ": r e p"),
        ("keys", "dlq", "?"),
        ("filter", "dlq", "/ s o u"),
        ("copy", "dlq", "y"),
        ("discard", "dlq", "d"),
        ("pause", "queues", "P"),
        ("contexts", "dlq", "@"),
        ("search", "tsk_upsert", "o /"),
    ] {
        insta::assert_snapshot!(name, at((80, 24), words, keys).screen());
    }
}

#[test]
fn a_screen_in_ascii_is_ascii() {
    for (_, words, keys) in SCREENS {
        let mut setup = setup(true);
        setup.glyphs = Glyphs::new(true);
        let mut desk = Desk::of(setup, (140, 40), words);
        desk.settle();
        if !keys.is_empty() {
            desk.press(keys);
        }
        // What a vendor wrote may be anything, and a masked value is the API's.
        let screen = desk.screen().replace("␛", "").replace("•••", "");
        let wrong: Vec<_> = screen.lines().filter(|line| !line.is_ascii()).collect();
        assert!(wrong.is_empty(), "{words} {keys}: {wrong:#?}");
    }
}

#[test]
fn nothing_of_a_vendor_acts_on_the_terminal() {
    for (_, words, keys) in SCREENS {
        for size in SIZES {
            let desk = at(size, words, keys);
            let buffer = desk.buffer();
            let is_safe = |c: char| !c.is_control() && c != '\u{202e}';
            for cell in buffer.content() {
                assert!(cell.symbol().chars().all(is_safe), "{words} {keys}: {:?}", cell.symbol());
            }
        }
    }
    at((80, 24), "tsk_upsert", "o").shows("<U+202E>");
}

#[test]
fn without_colour_the_selected_row_still_differs() {
    let mut setup = setup(true);
    setup.theme = Theme::mono();
    let mut desk = Desk::of(setup, (80, 24), "dlq");
    desk.settle();
    let buffer = desk.buffer();
    let modifier = |row| buffer.cell((20, row)).unwrap().modifier;
    assert!(modifier(4).contains(Modifier::REVERSED) && !modifier(5).contains(Modifier::REVERSED));
    let colours = buffer.content().iter().filter(|cell| {
        cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset
    });
    assert_eq!(colours.count(), 0);
}

#[test]
fn every_size_is_painted_within_its_area() {
    for (_, words, keys) in SCREENS {
        let mut desk = Desk::new(words);
        if !keys.is_empty() {
            desk.press(keys);
        }
        for columns in [0, 1, 2, 5, 39, 40, 59, 60, 79, 80, 100, 119, 120, 200] {
            for rows in [0, 1, 2, 3, 9, 10, 15, 16, 24, 60] {
                desk.tell(Msg::Size(columns, rows));
                let _ = desk.buffer();
            }
        }
    }
}

#[test]
fn a_context_has_its_colour_and_its_word() {
    let desk = Desk::new("");
    let buffer = desk.buffer();
    assert_eq!(buffer.cell((12, 0)).unwrap().fg, ratatui::style::Color::Red);
    desk.shows("▌PROD▐");
    let mut setup = setup(true);
    setup.theme = Theme::mono();
    let plain = Desk::of(setup, (80, 24), "").buffer();
    assert_eq!(plain.cell((12, 0)).unwrap().fg, ratatui::style::Color::Reset);
}
