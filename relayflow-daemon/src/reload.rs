//! What can be replaced while running: sources, workflows, providers and tokens.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use relayflow_core::config::Config;
use relayflow_core::diagnostic::Diagnostic;
use relayflow_core::in_force::InForce;
use relayflow_core::provider::{Catalog, Source};
use relayflow_core::store::Store;
use relayflow_core::workflow::Workflows;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::http::problem::chain;
use crate::start::tokens;

/// Reads the configuration again, as it was read at the start.
pub type Reload = Arc<dyn Fn() -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync>;

/// Everything that the configuration puts in force, compiled.
///
/// # Errors
///
/// All that is wrong, a mistake a paragraph.
pub fn in_force(config: &Config) -> Result<InForce, String> {
    let catalog = match &config.providers_dir {
        None => Catalog::built_in(),
        Some(dir) => Catalog::with_dir(dir).map_err(|mistakes| text(&mistakes))?,
    };
    let mut sources = HashMap::new();
    let mut mistakes = Vec::new();
    for source in &config.sources {
        match Source::new(source, config.ingest.public_url.as_deref(), &catalog) {
            Ok(compiled) => {
                sources.insert(source.name.clone(), Arc::new(compiled));
            }
            Err(error) => mistakes.push(format!("sources.{}: {}", source.name, chain(&error))),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes.join("\n"));
    }
    let workflows = Arc::clone(&config.workflows);
    Ok(InForce { catalog: Arc::new(catalog), sources, workflows })
}

/// Puts it on the timeline that a configuration is in force.
pub(crate) async fn note(store: &Store, sources: usize, workflows: &Workflows) {
    if let Err(error) = store.note_config_loaded(sources, workflows).await {
        tracing::warn!(error = %chain(&error), "the timeline does not show the configuration");
    }
}

/// Reloads at each HUP, for ever.
pub(crate) async fn on_hangup(app: &App) -> Infallible {
    let reload = app.reload.as_ref();
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "HUP cannot be heard");
            return std::future::pending().await;
        }
    };
    loop {
        if hangups.recv().await.is_none() {
            return std::future::pending().await;
        }
        match reload {
            None => tracing::warn!("nothing to reload: there is no configuration file"),
            Some(reload) => match apply(app, reload).await {
                Ok(()) => tracing::info!("the configuration was loaded again"),
                Err(mistakes) => {
                    tracing::error!(%mistakes, "the configuration does not check; nothing changed");
                }
            },
        }
    }
}

/// All of the new configuration that can change, or nothing of it.
pub(crate) async fn apply(app: &App, reload: &Reload) -> Result<(), String> {
    let (config, warnings) = reload().map_err(|mistakes| text(&mistakes))?;
    for warning in &warnings {
        tracing::warn!(%warning, "the configuration has a weak spot");
    }
    let in_force = in_force(&config)?;
    let tokens = tokens(&config).map_err(|error| error.whole())?;
    let before = app.config();
    let is_same = before.store.url == config.store.url
        && before.ingest.listen == config.ingest.listen
        && before.api.listen == config.api.listen;
    if !is_same {
        tracing::warn!("store and listeners stay as they are until a restart");
    }
    app.learned.sweep(app.store.clock().now());
    app.auth.set_tokens(&tokens);
    let (sources, workflows) = (in_force.sources.len(), Arc::clone(&in_force.workflows));
    app.current.set(in_force);
    // Behind the change: what is routed from now on is surely routed by it.
    note(&app.store, sources, &workflows).await;
    app.set_config(Arc::new(config));
    Ok(())
}

fn text(mistakes: &[Diagnostic]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
