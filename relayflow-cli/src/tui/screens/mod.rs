//! The screens. None imports another: where to go is said with a `Route`.

pub(crate) mod chart;
pub(crate) mod drift;
pub(crate) mod errors;
pub(crate) mod event;
pub(crate) mod groups;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod overview;
pub(crate) mod queues;
pub(crate) mod replays;
pub(crate) mod sources;
pub(crate) mod table;
pub(crate) mod tail;
pub(crate) mod wizard;

use crossterm::event::KeyEvent;

use super::ctx::{Ctx, PlanAsk};
use super::draw::Canvas;
use super::keys::{Action, Place};
use super::msg::Answer;
use super::pulse::Pulse;
use super::route::{Noun, Route};
use crate::failure::Failure;

/// One screen, of a closed set.
#[derive(Debug)]
pub(crate) enum Screen {
    Overview(Box<overview::Overview>),
    List(Box<list::ListScreen>),
    Groups(groups::GroupsScreen),
    Event(Box<event::EventScreen>),
    Replays(replays::ReplaysScreen),
    Job(Box<job::JobScreen>),
    Queues(queues::QueuesScreen),
    Sources(sources::SourcesScreen),
    Drift(drift::DriftScreen),
    Tail(tail::TailScreen),
    Chart(chart::ChartScreen),
    Errors(errors::ErrorsScreen),
    Wizard(Box<wizard::Wizard>),
}

/// What every screen can do.
pub(crate) trait Part {
    fn place(&self) -> Place;
    /// Its words in the path.
    fn crumb(&self) -> String;
    /// What opens it again.
    fn route(&self) -> Option<Route>;
    /// The right side of the path: how many, how old.
    fn status(&self, ctx: &Ctx) -> String;
    /// Time went by, or something changed: asks for what is missing.
    fn wake(&mut self, ctx: &mut Ctx);
    fn act(&mut self, ctx: &mut Ctx, action: Action);
    /// Takes an answer that is its own.
    fn answer(&mut self, ctx: &mut Ctx, answer: &mut Option<Answer>);
    fn view(&self, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>);
    /// It is left for good: nothing is waited for any more.
    fn close(&mut self, ctx: &mut Ctx);

    /// A key that is no action here: text in a field. Whether it was taken.
    fn key(&mut self, _ctx: &mut Ctx, _key: &KeyEvent) -> bool {
        false
    }
    fn paste(&mut self, _ctx: &mut Ctx, _text: &str) {}
    /// A click at a row of the body.
    fn click(&mut self, _ctx: &mut Ctx, _row: usize) {}
    /// What `y` offers: what it is, and the text.
    fn copies(&self, _ctx: &Ctx) -> Vec<(String, String)> {
        Vec::new()
    }
    /// The filter in force, where it has one.
    fn filter(&self) -> Option<&str> {
        None
    }
    fn set_filter(&mut self, _ctx: &mut Ctx, _text: &str) {}
    /// What is looked for in what it shows, where `/` searches.
    fn searched(&self) -> Option<&str> {
        None
    }
    fn search(&mut self, _ctx: &mut Ctx, _text: &str) {}
    /// Moves to the next failure of its list: where it would open it.
    fn neighbour(&mut self, _ctx: &mut Ctx, _forward: bool) -> Option<Route> {
        None
    }
    /// Undoes one level of its own; `false` if there is none, so that it is left.
    fn back(&mut self, _ctx: &mut Ctx) -> bool {
        false
    }
    /// Its own line of keys, where the table of actions would say it badly.
    fn keys(&self) -> Option<&'static str> {
        None
    }
    /// What keeps a part of it from being up to date, while the rest is.
    fn trouble(&self) -> Option<&Failure> {
        None
    }
    /// Whether it changes by itself, many times a second.
    fn is_lively(&self) -> bool {
        false
    }
    /// What to say on the message line when nothing else is.
    fn tip(&self, _ctx: &Ctx) -> String {
        String::new()
    }
}

impl Screen {
    /// The screen of a route.
    pub(crate) fn open(route: Route, ctx: &Ctx) -> Self {
        match route {
            Route::Overview => Self::Overview(Box::default()),
            Route::List { noun, filter } => {
                Self::List(Box::new(list::ListScreen::new(ctx, noun, &filter)))
            }
            Route::Groups { by, filter } => {
                Self::Groups(groups::GroupsScreen::new(ctx, by, &filter))
            }
            Route::Event { id, task, tab } => {
                Self::Event(Box::new(event::EventScreen::new(id, task, tab)))
            }
            Route::Replays => Self::Replays(replays::ReplaysScreen::default()),
            Route::Job(id) => Self::Job(Box::new(job::JobScreen::new(id))),
            Route::Queues => Self::Queues(queues::QueuesScreen::default()),
            Route::Sources => Self::Sources(sources::SourcesScreen::default()),
            Route::Drift { filter } => Self::Drift(drift::DriftScreen::new(ctx, &filter)),
            Route::Tail { filter } => Self::Tail(tail::TailScreen::new(ctx, &filter)),
            Route::Chart(of) => Self::Chart(chart::ChartScreen::new(of)),
            Route::Errors => Self::Errors(errors::ErrorsScreen::default()),
        }
    }

    pub(crate) fn plan(ask: PlanAsk) -> Self {
        Self::Wizard(Box::new(wizard::Wizard::new(ask)))
    }

    pub(crate) fn part(&self) -> &dyn Part {
        match self {
            Self::Overview(s) => &**s,
            Self::List(s) => &**s,
            Self::Groups(s) => s,
            Self::Event(s) => &**s,
            Self::Replays(s) => s,
            Self::Job(s) => &**s,
            Self::Queues(s) => s,
            Self::Sources(s) => s,
            Self::Drift(s) => s,
            Self::Tail(s) => s,
            Self::Chart(s) => s,
            Self::Errors(s) => s,
            Self::Wizard(s) => &**s,
        }
    }

    pub(crate) fn part_mut(&mut self) -> &mut dyn Part {
        match self {
            Self::Overview(s) => &mut **s,
            Self::List(s) => &mut **s,
            Self::Groups(s) => s,
            Self::Event(s) => &mut **s,
            Self::Replays(s) => s,
            Self::Job(s) => &mut **s,
            Self::Queues(s) => s,
            Self::Sources(s) => s,
            Self::Drift(s) => s,
            Self::Tail(s) => s,
            Self::Chart(s) => s,
            Self::Errors(s) => s,
            Self::Wizard(s) => &mut **s,
        }
    }

    /// The tab that stands for it: 1 to 7; 0 for none.
    pub(crate) fn tab(&self) -> usize {
        match self {
            Self::Overview(_) => 1,
            Self::List(list) => match list.noun() {
                Noun::Events => 2,
                Noun::DeadLetters => 3,
                Noun::Requests => 7,
            },
            Self::Groups(_) => 3,
            Self::Replays(_) | Self::Job(_) => 4,
            Self::Queues(_) => 5,
            Self::Drift(_) => 6,
            Self::Sources(_) => 7,
            Self::Event(_) | Self::Tail(_) | Self::Chart(_) | Self::Errors(_) | Self::Wizard(_) => {
                0
            }
        }
    }
}
