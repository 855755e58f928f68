//! Whatever is pressed and whatever is answered: no panic, a cursor on a row or nowhere, and nothing is
//! done that was not shown and confirmed.

use std::time::Duration;

use proptest::prelude::*;

use super::support::{Desk, key_of, reply, setup};
use crate::failure::Failure;
use crate::tui::msg::{Msg, Question};
use crate::tui::screens::Screen;

const KEYS: [&str; 58] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "n", "o", "p", "r", "s", "t", "u",
    "v", "w", "x", "y", "z", "A", "C", "E", "G", "N", "P", "R", "T", "U", "1", "2", "3", "4", "5",
    "6", "7", "/", ":", "?", "@", "!", "-", "[", "]", "enter", "enter", "esc", "tab", "backtab",
    "up", "down", "left", "space", "pagedown",
];

#[derive(Debug, Clone)]
enum Step {
    Key(usize),
    /// Answers the oldest question: well, badly, or not at all.
    Answer(u8),
    Wait(u16),
    Size(u16, u16),
    Paste(String),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS.len()).prop_map(Step::Key),
        5 => (0_u8..4).prop_map(Step::Answer),
        1 => (0_u16..20_000).prop_map(Step::Wait),
        1 => (0_u16..200, 0_u16..60).prop_map(|(c, r)| Step::Size(c, r)),
        1 => ".{0,20}".prop_map(Step::Paste),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_done_that_was_not_shown(steps in prop::collection::vec(step(), 1..120)) {
        let mut desk = Desk::of(setup(true), (80, 24), "");
        desk.letters = 7;
        for step in steps {
            let before: Vec<_> = desk.asked.iter().map(|(ticket, _)| *ticket).collect();
            let confirms = matches!(desk.state.screens.last(), Some(Screen::Wizard(_)))
                || desk.state.ctx.popup.is_some();
            match step {
                Step::Key(at) => desk.tell(Msg::Key(key_of(KEYS[at]))),
                Step::Answer(how) => {
                    if let Some((ticket, question)) = desk.asked.first().cloned() {
                        let lost = Failure::new("unreachable.daemon", "gone");
                        let bad = Failure::new("error.internal", "a bug");
                        desk.answer(ticket, match how {
                            0 => Err(lost),
                            1 => Err(bad),
                            _ => Ok(reply(&question, 7)),
                        });
                    }
                }
                Step::Wait(ms) => desk.pass(Duration::from_millis(ms.into())),
                Step::Size(columns, rows) => desk.tell(Msg::Size(columns, rows)),
                Step::Paste(text) => desk.tell(Msg::Paste(text)),
            }
            prop_assert!(!desk.state.screens.is_empty());
            let _ = desk.buffer();
            for (ticket, question) in &desk.asked {
                let is_new = !before.contains(ticket);
                let is_bulk = matches!(question, Question::RunPlan(_));
                prop_assert!(!(is_new && question.is_deed()) || confirms, "{question:?}");
                if let (true, Question::RunPlan(new)) = (is_new && is_bulk, question) {
                    prop_assert_eq!(new.plan.as_str(), "pln_7QF2");
                }
            }
        }
    }
}
