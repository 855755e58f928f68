//! `relayflow tui`: a screen that stays open. It does nothing that the commands cannot, with their
//! filters, their plans, their questions and their words.
//!
//! `app::update` takes a message into the state and gives back effects; `frame::view` paints a state;
//! both touch nothing else. `runtime` is the edge: terminal, backend, files.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a screen answers the keys, actions and replies that it knows, and leaves the others"
)]

mod app;
mod bench;
mod ctx;
pub(crate) mod draw;
mod frame;
pub(crate) mod keys;
mod list;
mod msg;
mod pane;
mod popup;
mod pulse;
mod route;
mod runtime;
mod screens;
mod theme;

use std::io::IsTerminal as _;

use crate::app::App;
use crate::args::TuiArgs;
use crate::failure::{Done, Failure};
use crate::output::Out;
use ctx::Setup;
use keys::Keymap;
use route::Route;
use theme::{Glyphs, Theme};

pub(crate) use bench::bench;

pub(crate) async fn tui(app: &App, args: &TuiArgs) -> Done {
    let settings = crate::context::tui_settings(&app.global, &|name| app.env(name))?;
    let keys = settings.tui.keys.iter().map(|(name, key)| (name.as_str(), key.as_str()));
    let keymap = Keymap::new(keys).map_err(Failure::usage)?;
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage("the TUI needs a terminal")
            .why("stdin or stdout is none")
            .hint("relayflow stats -w, or relayflow tail"));
    }
    let route = Route::read(&args.words)?;
    let target = app.target()?;
    let backend = {
        let quiet = quiet(app);
        let timeout = std::time::Duration::try_from(app.global.request_timeout)
            .map_err(|_| Failure::usage("--request-timeout is negative"))?;
        crate::backend::Backend::connect(&target, timeout, &quiet).await?
    };
    let setup = Setup {
        target,
        is_read_only: args.read_only,
        is_calm: settings.tui.prefers_reduced_motion,
        zone: app.out.zone.clone(),
        theme: theme(app, &settings.tui)?,
        glyphs: Glyphs::new(app.out.style.ascii),
        keymap,
        contexts: settings.contexts,
    };
    let has_mouse = settings.tui.mouse;
    let inject = args.inject.clone();
    runtime::run(app, backend, runtime::Begin { setup, route, has_mouse, inject }).await
}

/// Without colour the attributes alone must do, and not one colour command may be sent: crossterm would
/// write it as a full reset, which takes the attributes with it.
fn theme(app: &App, settings: &crate::context::TuiSettings) -> Result<Theme, Failure> {
    crossterm::style::force_color_output(true);
    let coloured = match settings.theme.as_deref() {
        Some("mono") => Theme::mono(),
        Some("light") => Theme::light(),
        Some("auto") | None => Theme::auto(),
        Some(other) => {
            let text = format!("[tui] theme `{other}`: wanted auto, light or mono");
            return Err(Failure::usage(text));
        }
    };
    let mut theme = if app.out.style.color { coloured } else { Theme::mono() };
    for (role, colour) in &settings.colors {
        if !theme.set(role, colour) {
            return Err(Failure::usage(format!(
                "[tui.colors] {role} = \"{colour}\" is no role, or no colour of a terminal"
            )));
        }
    }
    Ok(theme)
}

/// The API writes of itself on stderr, which is the screen here.
fn quiet(app: &App) -> Out {
    Out { quiet: true, verbose: 0, ..app.out.clone() }
}

#[cfg(test)]
mod tests;
