//! What every screen may know and ask for: the present, the connection, and the outside as effects.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::style::Color;
use relayflow_core::api::{Identity, TimelineEntry, V};
use relayflow_core::filter::Now;

use super::keys::Keymap;
use super::msg::{Effect, Moment, Question, Ticket};
use super::popup::Popup;
use super::route::Route;
use super::theme::{Glyphs, Role, Theme};
use crate::args::Select;
use crate::context::{ContextName, Target, Way};
use crate::failure::Failure;
use crate::output::time;
use crate::selection::{self, Selection};

/// Failures of this session that are kept.
const ERRORS_MAX: usize = 200;
/// Timeline entries that are kept.
pub(crate) const TAIL_MAX: usize = 1024;
/// What the live timeline follows where no screen asks for another.
pub(crate) const FAILURES: &str = "status:retrying,dead";
/// How long a message stays.
const NOTE: Duration = Duration::from_secs(8);
/// Data is live up to this age.
const FRESH: Duration = Duration::from_secs(4);

/// The connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Connecting {
        since: Duration,
    },
    Live {
        heard: Duration,
    },
    /// Nobody answers: since when, when the last was heard, the retry and when it comes, and why.
    Lost {
        since: Duration,
        heard: Option<Timestamp>,
        retry: u32,
        at: Duration,
        why: String,
    },
    /// Somebody answers, and not to us.
    Refused {
        what: String,
        at: Duration,
    },
}

/// A word on the message line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) role: Role,
    pub(crate) at: Duration,
}

/// Where to go when this update is over.
#[derive(Debug)]
pub(crate) enum Go {
    /// Onto this screen; Esc comes back.
    Push(Route),
    /// To this screen, from nowhere.
    Root(Route),
    Back,
    /// The wizard, for what was selected.
    Plan(Box<PlanAsk>),
    /// The job that was begun, in place of the wizard.
    Begun(String),
    /// The next or previous failure of the list that this event was opened from.
    Neighbour {
        forward: bool,
    },
}

/// What a plan is wanted of.
#[derive(Debug, Clone)]
pub(crate) struct PlanAsk {
    pub(crate) selection: Selection,
    /// `replay` or `discard`.
    pub(crate) action: &'static str,
    pub(crate) reason: Option<String>,
    /// The command that asks for the same.
    pub(crate) command: String,
    /// Whether it runs what was just edited, which is meant to run however late it is.
    pub(crate) is_edit: bool,
}

/// The live timeline.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) entries: VecDeque<TimelineEntry>,
    pub(crate) q: Option<String>,
    pub(crate) dropped: u64,
    pub(crate) is_open: bool,
    pub(crate) lost: Option<String>,
    /// Whether it is open again after it was lost, and what was missed has not come yet.
    pub(crate) is_catching_up: bool,
    /// Came while the view stood still.
    hidden: VecDeque<TimelineEntry>,
    pub(crate) behind: u64,
}

impl Tail {
    /// One that begins.
    pub(crate) fn of(q: Option<String>) -> Self {
        Self { q, ..Self::default() }
    }

    pub(crate) fn push(&mut self, entries: Vec<TimelineEntry>, is_paused: bool) {
        if is_paused {
            self.behind += u64::try_from(entries.len()).unwrap_or(0);
        }
        let to = if is_paused { &mut self.hidden } else { &mut self.entries };
        to.extend(entries);
        while TAIL_MAX < to.len() {
            to.pop_front();
        }
    }

    pub(crate) fn resume(&mut self) {
        self.behind = 0;
        let hidden = std::mem::take(&mut self.hidden);
        self.push(hidden.into(), false);
    }
}

/// One failure of this session.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) at: Timestamp,
    pub(crate) failure: Failure,
}

#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) now: Moment,
    /// How far the daemon's clock is ahead of this machine's.
    pub(crate) skew: SignedDuration,
    pub(crate) size: (u16, u16),
    pub(crate) link: Link,
    /// Who the daemon takes us for, and the version of its documents, once it has told.
    pub(crate) who: Option<Identity>,
    pub(crate) speaks: u32,
    pub(crate) target: Target,
    pub(crate) is_read_only: bool,
    pub(crate) is_calm: bool,
    /// In which times are shown, and the one to return to.
    pub(crate) zone: TimeZone,
    pub(crate) local_zone: TimeZone,
    pub(crate) theme: Theme,
    pub(crate) glyphs: Glyphs,
    pub(crate) keymap: Keymap,
    pub(crate) contexts: Vec<ContextName>,
    pub(crate) tail: Tail,
    pub(crate) paused: Option<Duration>,
    pub(crate) errors: VecDeque<Trouble>,
    pub(crate) note: Option<Note>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) go: Option<Go>,
    pub(crate) popup: Option<Popup>,
    /// An edited payload that was not taken yet, and the event that it is of.
    pub(crate) draft: Option<(String, String)>,
    next_ticket: Ticket,
}

/// What a `Ctx` begins with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) target: Target,
    pub(crate) is_read_only: bool,
    /// Nothing moves that need not.
    pub(crate) is_calm: bool,
    pub(crate) zone: TimeZone,
    pub(crate) theme: Theme,
    pub(crate) glyphs: Glyphs,
    pub(crate) keymap: Keymap,
    pub(crate) contexts: Vec<ContextName>,
}

impl Ctx {
    pub(crate) fn new(setup: Setup, now: Moment, size: (u16, u16)) -> Self {
        Self {
            now,
            skew: SignedDuration::ZERO,
            size,
            link: Link::Connecting { since: now.run },
            who: None,
            speaks: V,
            target: setup.target,
            is_read_only: setup.is_read_only,
            is_calm: setup.is_calm,
            zone: setup.zone.clone(),
            local_zone: setup.zone,
            theme: setup.theme,
            glyphs: setup.glyphs,
            keymap: setup.keymap,
            contexts: setup.contexts,
            tail: Tail::default(),
            paused: None,
            errors: VecDeque::new(),
            note: None,
            effects: Vec::new(),
            go: None,
            popup: None,
            draft: None,
            next_ticket: 1,
        }
    }

    // the outside

    pub(crate) fn ask(&mut self, question: Question) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.effects.push(Effect::Ask { ticket, question: Box::new(question) });
        ticket
    }

    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.effects.push(Effect::Forget(ticket));
    }

    pub(crate) fn copy(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.effects.push(Effect::Copy { what: what.into(), text: text.into() });
    }

    // words

    pub(crate) fn say(&mut self, text: impl Into<String>, role: Role) {
        self.note = Some(Note { text: text.into(), role, at: self.now.run });
    }

    pub(crate) fn fail(&mut self, failure: &Failure) {
        let why = failure.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        self.say(format!("{}{why}", failure.message), Role::Bad);
        self.log(failure);
    }

    /// Keeps a failure for the screen of them.
    pub(crate) fn log(&mut self, failure: &Failure) {
        if ERRORS_MAX <= self.errors.len() {
            self.errors.pop_front();
        }
        self.errors.push_back(Trouble { at: self.now.wall, failure: failure.clone() });
    }

    pub(crate) fn drop_old_note(&mut self) {
        if self.note.as_ref().is_some_and(|note| note.at + NOTE < self.now.run) {
            self.note = None;
        }
    }

    // the connection

    pub(crate) fn is_up(&self) -> bool {
        match self.link {
            Link::Connecting { .. } | Link::Live { .. } => true,
            Link::Lost { .. } | Link::Refused { .. } => false,
        }
    }

    pub(crate) fn heard(&mut self) {
        if self.is_up() {
            self.link = Link::Live { heard: self.now.run };
        }
    }

    /// How old what is shown is, where that is worth a word.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        match self.link {
            Link::Live { heard } => Some(self.now.run.saturating_sub(heard)).filter(|a| FRESH < *a),
            Link::Connecting { .. } | Link::Lost { .. } | Link::Refused { .. } => None,
        }
    }

    pub(crate) fn is_store(&self) -> bool {
        matches!(self.target.way, Way::Store { .. })
    }

    /// Why nothing can be changed now, if so.
    pub(crate) fn why_not(&self) -> Option<&'static str> {
        if self.is_store() {
            return Some("a store opened directly is for reading");
        }
        if self.is_read_only {
            return Some("--read-only");
        }
        match self.link {
            Link::Live { .. } if self.is_viewer() => Some("role viewer"),
            Link::Live { .. } if self.speaks != V => Some("the daemon speaks another version"),
            Link::Live { .. } => None,
            Link::Connecting { .. } => Some("not connected yet"),
            Link::Lost { .. } => Some("not connected"),
            Link::Refused { .. } => Some("the daemon refuses the token"),
        }
    }

    /// Whether the token is for looking only.
    pub(crate) fn is_viewer(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.role == "viewer")
    }

    /// Whether something may be changed; says why not.
    pub(crate) fn may_act(&mut self) -> bool {
        let why = self.why_not();
        if let Some(why) = why {
            self.say(format!("off: {why}"), Role::Warn);
        }
        why.is_none()
    }

    // time

    /// The daemon's clock.
    pub(crate) fn clock(&self) -> Timestamp {
        self.now.wall.checked_add(self.skew).unwrap_or(self.now.wall)
    }

    /// How long ago, in one unit; the time of day beyond an hour, the days beyond a day.
    pub(crate) fn age(&self, at: Timestamp) -> String {
        let seconds = self.clock().duration_since(at).as_secs().max(0);
        match seconds {
            ..60 => format!("{seconds}s"),
            60..3600 => format!("{}m", seconds / 60),
            3600..86_400 => at.to_zoned_datetime(self.zone.clone()).strftime("%H:%M").to_string(),
            _ => format!("{}d", seconds / 86_400),
        }
    }

    pub(crate) fn age_of(&self, wire: &str) -> String {
        wire.parse().map_or_else(|_| self.glyphs.none().to_owned(), |at| self.age(at))
    }

    /// The time of day of a moment of the wire.
    pub(crate) fn time_of(&self, wire: &str) -> String {
        time::clock(wire, &self.zone)
    }

    pub(crate) fn hour(&self, wire: &str) -> String {
        self.time_of(wire).chars().take(5).collect()
    }

    /// A sign that something is under way, before its words; nothing where movement is unwelcome.
    pub(crate) fn spinner(&self) -> String {
        if self.is_calm {
            return String::new();
        }
        let signs = &self.glyphs.spinner;
        let turn = usize::try_from(self.now.run.as_millis() / 150).unwrap_or(0);
        format!("{} ", signs[turn % signs.len()])
    }

    // filters

    pub(crate) fn at(&self) -> Now {
        Now { now: self.clock(), zone: self.zone.clone() }
    }

    /// A filter as typed, read as the CLI reads one.
    pub(crate) fn select(&self, text: &str, base: Option<&str>) -> Result<Selection, Failure> {
        let terms = if text.trim().is_empty() { vec![] } else { vec![text.trim().to_owned()] };
        selection::read(&Select { terms, ..Select::default() }, base, &self.at())
    }

    /// The colour of this context's label.
    pub(crate) fn accent(&self) -> Option<Color> {
        let context = self.contexts.iter().find(|context| context.name == self.target.name)?;
        context.accent.as_ref()?.parse().ok()
    }

    // room

    /// Whether list and detail stand side by side.
    pub(crate) fn is_wide(&self) -> bool {
        120 <= self.size.0 && 16 <= self.size.1
    }
}
