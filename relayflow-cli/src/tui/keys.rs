//! Every action: its name, its keys, where it works, and what it is for. Keys, footer, help, palette
//! and documentation come from this one table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Up,
    Down,
    Left,
    Right,
    Top,
    Bottom,
    PageUp,
    PageDown,
    Overview,
    Events,
    Dlq,
    Replays,
    Queues,
    Drift,
    Sources,
    Open,
    Back,
    Previous,
    NextPane,
    PrevPane,
    Zoom,
    Chart,
    PrevWindow,
    NextWindow,
    Filter,
    NextFailure,
    PrevFailure,
    Mark,
    Fold,
    FailuresOnly,
    Range,
    MarkAll,
    Timeline,
    Trace,
    Payload,
    Request,
    Group,
    Wide,
    Pause,
    Follow,
    Replay,
    ReplayAll,
    Discard,
    Mend,
    Accept,
    PauseJob,
    ResumeJob,
    CancelJob,
    PauseQueue,
    ResumeQueue,
    Copy,
    Export,
    Editor,
    Palette,
    Keys,
    Contexts,
    Errors,
    Tail,
    Utc,
    Redraw,
    Suspend,
    Quit,
    QuitNow,
}

/// Where one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Overview,
    List,
    Groups,
    Event,
    Replays,
    Job,
    Queues,
    Drift,
    Sources,
    Tail,
    Chart,
    Wizard,
    Errors,
}

impl Place {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 13] = [
        Self::Overview,
        Self::List,
        Self::Groups,
        Self::Event,
        Self::Replays,
        Self::Job,
        Self::Queues,
        Self::Drift,
        Self::Sources,
        Self::Tail,
        Self::Chart,
        Self::Wizard,
        Self::Errors,
    ];
}

use Place as P;

const ROWS: &[Place] = &[
    P::Overview,
    P::List,
    P::Groups,
    P::Replays,
    P::Queues,
    P::Drift,
    P::Sources,
    P::Job,
    P::Tail,
    P::Event,
    P::Chart,
    P::Wizard,
];
const LISTS: &[Place] = &[P::List];
/// Where `/` filters; in an event it searches the payload.
const FILTERED: &[Place] = &[P::List, P::Groups, P::Tail, P::Drift, P::Event];
const WINDOWED: &[Place] = &[P::Overview, P::Chart, P::Event, P::Tail];
const PANES: &[Place] = &[P::Overview, P::List, P::Event, P::Chart, P::Wizard];
const ZOOMS: &[Place] = &[P::Overview, P::List, P::Event, P::Chart];
const CHARTED: &[Place] = &[P::Overview, P::List, P::Event, P::Queues, P::Replays, P::Job];
const MAKES_PLANS: &[Place] = &[P::Overview, P::List, P::Groups, P::Event];

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) action: Action,
    /// As `[tui.keys]` and the documentation name it.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static str],
    pub(crate) help: &'static str,
    /// Empty: everywhere.
    pub(crate) places: &'static [Place],
    /// Whether it changes something, so that it may be off.
    pub(crate) is_deed: bool,
}

const fn entry(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
    places: &'static [Place],
) -> Entry {
    Entry { action, name, keys, help, places, is_deed: false }
}

const fn deed(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
    places: &'static [Place],
) -> Entry {
    Entry { action, name, keys, help, places, is_deed: true }
}

use Action as A;

/// The table. Lower case looks or acts on what is marked or under the cursor; upper case acts on more
/// than you see.
pub(crate) const ACTIONS: &[Entry] = &[
    entry(A::Open, "open", &["enter"], "open", ROWS),
    deed(A::Replay, "replay", &["r"], "replay", &[P::List, P::Event]),
    deed(A::ReplayAll, "replay_all", &["R"], "replay all", MAKES_PLANS),
    entry(A::Mark, "mark", &["space"], "mark", &[P::List]),
    entry(A::Fold, "fold", &["space"], "fold, unfold", &[P::Event]),
    entry(A::FailuresOnly, "failures_only", &["space"], "failures only", &[P::Tail]),
    entry(A::Timeline, "timeline", &["t"], "timeline", &[P::Event]),
    entry(A::Trace, "trace", &["c"], "trace", &[P::Event, P::List]),
    entry(A::Payload, "payload", &["o"], "payload", &[P::Event, P::List]),
    entry(A::Request, "request", &["i"], "request", &[P::Event, P::List]),
    deed(A::Discard, "discard", &["d"], "discard", &[P::List, P::Event]),
    deed(A::Mend, "edit", &["e"], "edit and replay", &[P::Event]),
    deed(A::Accept, "accept", &["a"], "accept", &[P::Drift]),
    deed(A::PauseJob, "pause_job", &["P"], "pause job", &[P::Job, P::Replays]),
    deed(A::ResumeJob, "resume_job", &["U"], "resume job", &[P::Job, P::Replays]),
    deed(A::CancelJob, "cancel_job", &["C"], "cancel job", &[P::Job, P::Replays]),
    deed(A::PauseQueue, "pause_queue", &["P"], "pause queue", &[P::Queues, P::Overview]),
    deed(A::ResumeQueue, "resume_queue", &["U"], "resume queue", &[P::Queues, P::Overview]),
    entry(A::MarkAll, "mark_all", &["A"], "mark all", LISTS),
    entry(A::Range, "range", &["v"], "range", LISTS),
    entry(A::Group, "group", &["b"], "group by", &[P::List, P::Groups]),
    entry(A::NextFailure, "next_failure", &["n"], "next failure", &[P::List, P::Event]),
    entry(A::PrevFailure, "previous_failure", &["N"], "previous failure", &[P::List, P::Event]),
    entry(A::Wide, "wide", &["w"], "wide columns", LISTS),
    entry(A::Filter, "filter", &["/"], "filter", FILTERED),
    entry(A::Follow, "follow", &["f"], "newest, and follow", &[P::List, P::Tail]),
    entry(A::PrevWindow, "previous_window", &["["], "shorter window, page back", WINDOWED),
    entry(A::NextWindow, "next_window", &["]"], "longer window, page on", WINDOWED),
    entry(A::Pause, "pause", &["p"], "pause", &[]),
    entry(A::NextPane, "next_pane", &["tab"], "next pane", PANES),
    entry(A::PrevPane, "previous_pane", &["backtab"], "the pane before", PANES),
    entry(A::Zoom, "zoom", &["z"], "zoom", ZOOMS),
    entry(A::Chart, "charts", &[], "charts: latency, tries, rate", CHARTED),
    entry(A::Copy, "copy", &["y"], "copy", &[]),
    entry(A::Export, "export", &["x"], "export", &[P::Event, P::Job, P::List, P::Chart]),
    entry(A::Editor, "editor", &["E"], "open in $EDITOR", &[P::Event]),
    entry(A::Palette, "palette", &[":", "ctrl-p"], "commands", &[]),
    entry(A::Keys, "keys", &["?"], "keys", &[]),
    entry(A::Contexts, "contexts", &["@"], "context", &[]),
    entry(A::Errors, "errors", &["!"], "errors", &[]),
    entry(A::Tail, "tail", &["T"], "tail", &[]),
    entry(A::Overview, "overview", &["1"], "Overview", &[]),
    entry(A::Events, "events", &["2"], "Events", &[]),
    entry(A::Dlq, "dlq", &["3"], "DLQ", &[]),
    entry(A::Replays, "replays", &["4"], "Replays", &[]),
    entry(A::Queues, "queues", &["5"], "Queues", &[]),
    entry(A::Drift, "drift", &["6"], "Drift", &[]),
    entry(A::Sources, "sources", &["7"], "Sources", &[]),
    entry(A::Up, "up", &["k", "up"], "up", &[]),
    entry(A::Down, "down", &["j", "down"], "down", &[]),
    entry(A::Left, "left", &["h", "left"], "left, fold", &[]),
    entry(A::Right, "right", &["l", "right"], "right, unfold", &[]),
    entry(A::Top, "top", &["g", "home"], "first", &[]),
    entry(A::Bottom, "bottom", &["G", "end"], "last", &[]),
    entry(A::PageUp, "page_up", &["pageup", "ctrl-u"], "a page up", &[]),
    entry(A::PageDown, "page_down", &["pagedown", "ctrl-d"], "a page down", &[]),
    entry(A::Back, "back", &["esc"], "back", &[]),
    entry(A::Previous, "previous", &["-"], "the view before", &[]),
    entry(A::Utc, "utc", &[], "UTC or local times", &[]),
    entry(A::Redraw, "redraw", &["ctrl-l"], "redraw", &[]),
    entry(A::Suspend, "suspend", &["ctrl-z"], "suspend", &[]),
    entry(A::Quit, "quit", &["q"], "quit", &[]),
    entry(A::QuitNow, "quit_now", &["ctrl-c"], "quit from anywhere", &[]),
];

/// The keys in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keymap {
    /// Of the user's configuration.
    own: Vec<(Action, String)>,
}

impl Keymap {
    /// Reads `name = "key"` pairs; what is wrong with them otherwise.
    pub(crate) fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut own = Vec::new();
        for (name, key) in pairs {
            let Some(entry) = ACTIONS.iter().find(|entry| entry.name == name) else {
                return Err(format!("[tui.keys] has no action `{name}`"));
            };
            if !is_key(key) {
                return Err(format!("[tui.keys] {name}: `{key}` is no key"));
            }
            own.push((entry.action, key.to_owned()));
        }
        let map = Self { own };
        for (place, entry) in ACTIONS.iter().enumerate() {
            for other in &ACTIONS[place + 1..] {
                if meets(entry, other)
                    && let Some(key) =
                        map.keys(entry).find(|key| map.keys(other).any(|k| k == *key))
                {
                    let names = (entry.name, other.name);
                    return Err(format!("[tui.keys] {} and {} are both `{key}`", names.0, names.1));
                }
            }
        }
        Ok(map)
    }

    /// The keys of an action.
    pub(crate) fn keys<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a str> {
        let own = self.own.iter().find(|(action, _)| *action == entry.action);
        let own = own.map(|(_, key)| key.as_str());
        let default = entry.keys.iter().copied().filter(move |_| own.is_none());
        own.into_iter().chain(default)
    }

    /// What a key does at a place.
    pub(crate) fn action(&self, key: &KeyEvent, place: Place) -> Option<Action> {
        let name = name_of(key)?;
        let at = |entry: &&Entry| works(entry, place) && self.keys(entry).any(|key| key == name);
        ACTIONS.iter().find(at).map(|entry| entry.action)
    }

    /// The key to show for an action.
    pub(crate) fn shown(&self, action: Action) -> String {
        let entry = ACTIONS.iter().find(|entry| entry.action == action);
        let key = entry.and_then(|entry| self.keys(entry).next()).unwrap_or_default();
        match key {
            "enter" => "↵".to_owned(),
            "space" => "spc".to_owned(),
            "backtab" => "shift-tab".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// Whether an action works at a place.
pub(crate) fn works(entry: &Entry, place: Place) -> bool {
    entry.places.is_empty() || entry.places.contains(&place)
}

/// Whether two actions work at one place.
fn meets(a: &Entry, b: &Entry) -> bool {
    a.places.is_empty()
        || b.places.is_empty()
        || a.places.iter().any(|place| b.places.contains(place))
}

/// A key as the table names it.
pub(crate) fn name_of(key: &KeyEvent) -> Option<String> {
    let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    let named = |code: KeyCode| NAMED.iter().find(|(_, known)| *known == code).map(|(n, _)| *n);
    let name = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        other => named(other)?.to_owned(),
    };
    Some(if is_ctrl { format!("ctrl-{name}") } else { name })
}

const NAMED: [(&str, KeyCode); 14] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

/// Whether a text names a key that every terminal can send and tmux lets through.
fn is_key(text: &str) -> bool {
    let plain = text.strip_prefix("ctrl-").unwrap_or(text);
    let is_named = plain == "space" || NAMED.iter().any(|(name, _)| *name == plain);
    let is_eaten =
        text.starts_with("ctrl-") && ["a", "b", "s", "q", "h", "j", "m", "i"].contains(&plain);
    !is_eaten && (is_named || (plain.chars().count() == 1 && !plain.contains(char::is_whitespace)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> KeyEvent {
        let (plain, modifiers) = match text.strip_prefix("ctrl-") {
            Some(rest) => (rest, KeyModifiers::CONTROL),
            None => (text, KeyModifiers::NONE),
        };
        let code = NAMED.iter().find(|(name, _)| *name == plain).map(|(_, code)| *code);
        let code = code.unwrap_or_else(|| KeyCode::Char(plain.chars().next().unwrap()));
        KeyEvent::new(if plain == "space" { KeyCode::Char(' ') } else { code }, modifiers)
    }

    #[test]
    fn no_key_has_two_meanings_at_one_place() {
        Keymap::new(std::iter::empty()).unwrap();
    }

    #[test]
    fn every_action_stands_once_in_the_table_and_every_key_is_one() {
        for (place, entry) in ACTIONS.iter().enumerate() {
            assert!(ACTIONS[..place].iter().all(|e| e.action != entry.action), "{}", entry.name);
            assert!(ACTIONS[..place].iter().all(|e| e.name != entry.name), "{}", entry.name);
            assert!(entry.keys.iter().all(|key| is_key(key)), "{}", entry.name);
        }
    }

    #[test]
    fn keys_mean_what_the_table_says_where_it_says() {
        let map = Keymap::default();
        for place in Place::ALL {
            assert_eq!(map.action(&key("q"), place), Some(Action::Quit), "{place:?}");
            assert_eq!(map.action(&key("ctrl-c"), place), Some(Action::QuitNow), "{place:?}");
        }
        for (k, place, action) in [
            ("R", Place::List, Some(Action::ReplayAll)),
            ("R", Place::Queues, None),
            ("space", Place::List, Some(Action::Mark)),
            ("ctrl-d", Place::List, Some(Action::PageDown)),
            ("d", Place::List, Some(Action::Discard)),
            ("d", Place::Job, None),
        ] {
            assert_eq!(map.action(&key(k), place), action, "{k} at {place:?}");
        }
    }

    #[test]
    fn a_users_key_takes_the_place_of_ours_and_may_not_collide() {
        let map = Keymap::new([("replay_all", "X")].into_iter()).unwrap();
        assert_eq!(map.action(&key("X"), Place::List), Some(Action::ReplayAll));
        assert_eq!(map.action(&key("R"), Place::List), None);
        for (name, k) in [("replay_all", "r"), ("nothing", "x"), ("copy", "ctrl-s"), ("copy", "")] {
            assert!(Keymap::new([(name, k)].into_iter()).is_err(), "{name} {k}");
        }
    }

    /// The page of the documentation, whose table this one is.
    #[test]
    fn the_documentation_lists_every_action() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/tui.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- keys: generated -->\n", "<!-- /keys -->");
        let mut table = "\n| key | action | |\n| --- | --- | --- |\n".to_owned();
        for entry in ACTIONS {
            let keys: Vec<_> = entry.keys.iter().map(|key| format!("`{key}`")).collect();
            let keys = if keys.is_empty() { "in the palette".to_owned() } else { keys.join(" ") };
            table.push_str(&format!("| {keys} | `{}` | {} |\n", entry.name, entry.help));
        }
        let (before, rest) = page.split_once(begin).unwrap();
        let (found, after) = rest.split_once(end).unwrap();
        let table = format!("{table}\n");
        if std::env::var_os("RELAYFLOW_UPDATE").is_some() {
            std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
            return;
        }
        assert_eq!(found, table, "RELAYFLOW_UPDATE=1 tests/run documentation writes it");
    }
}
