//! What every command may use.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use relayflow_core::clock::Clock;
use relayflow_core::filter::Now;
use relayflow_core::in_force::InForce;

use crate::args::{Global, Select};
use crate::backend::Backend;
use crate::context::{self, Target};
use crate::failure::Failure;
use crate::output::Out;
use crate::selection::{self, Selection};

/// One run of the program.
pub(crate) struct App {
    pub(crate) out: Out,
    pub(crate) global: Global,
    pub(crate) dir: PathBuf,
    /// The first RelayFlow that was connected to: what footers ask.
    pub(crate) connected: OnceLock<Backend>,
}

impl App {
    #[expect(clippy::unused_self, reason = "the environment is reached through the one who runs")]
    pub(crate) fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    pub(crate) fn target(&self) -> Result<Target, Failure> {
        context::resolve(&self.global, &|name| self.env(name), &self.dir)
    }

    pub(crate) async fn connect(&self) -> Result<Backend, Failure> {
        self.connect_to(&self.target()?).await
    }

    pub(crate) async fn connect_to(&self, target: &Target) -> Result<Backend, Failure> {
        let timeout = Duration::try_from(self.global.request_timeout)
            .map_err(|_| Failure::usage("--request-timeout is negative"))?;
        let backend = Backend::connect(target, timeout, &self.out).await?;
        let _ = self.connected.set(backend.clone());
        Ok(backend)
    }

    pub(crate) fn connected(&self) -> Option<&Backend> {
        self.connected.get()
    }

    /// The definitions of the config in reach, for a store that is read without its daemon; the
    /// built-in ones where there is none that loads.
    pub(crate) fn in_force(&self) -> InForce {
        context::in_force(&|name| self.env(name)).unwrap_or_else(|failure| {
            self.out.notice(&format!("{}: only what is built in is known", failure.message));
            InForce::bare()
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        Clock::Wall.now()
    }

    pub(crate) fn at(&self) -> Now {
        selection::now(&self.out.zone)
    }

    /// Reads a selection and says which window it came to.
    pub(crate) fn select(&self, select: &Select, base: Option<&str>) -> Result<Selection, Failure> {
        let at = self.at();
        let selection = selection::read(select, base, &at)?;
        if selection.is_window_assumed {
            self.out.notice("contents are searched within a window: since:24h is applied");
        }
        if let Some(window) = &selection.window {
            self.out.notice(&window.show(&at));
        }
        Ok(selection)
    }
}
