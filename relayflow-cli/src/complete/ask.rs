//! Names and ids from the daemon or the store, within a bound, or none.

use std::sync::mpsc;
use std::time::Duration;

use jiff::tz::TimeZone;
use relayflow_core::api::Drift;
use relayflow_core::provider::Catalog;
use relayflow_core::view::Page;

use super::line::Line;
use crate::args::Global;
use crate::backend::Backend;
use crate::context::{self, TokenFrom, UserConfig};
use crate::failure::Failure;
use crate::output::{Out, Surroundings};

/// How long the answer is waited for. With the start of the program it stays well below 300 ms.
const WITHIN: Duration = Duration::from_millis(150);
/// How many ids are offered.
const RECENT: usize = 20;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Contexts,
    Sources,
    Workflows,
    Queues,
    Providers,
    Settings,
    Topics,
    Events,
    Requests,
    DeadLetters,
    Replays,
    Drift,
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The names that are known; none where nobody says so in time.
pub(super) fn ask(what: What, begun: &str, line: &Line) -> Vec<String> {
    let Some(global) = line.global() else { return Vec::new() };
    match what {
        What::Contexts => {
            let user = UserConfig::read(&global, &env);
            user.map_or_else(|_| Vec::new(), |user| user.contexts.into_keys().collect())
        }
        What::Providers => Catalog::built_in().iter().map(|p| p.name.to_string()).collect(),
        What::Settings => settings(),
        What::Topics => Vec::new(),
        What::Sources
        | What::Workflows
        | What::Queues
        | What::Events
        | What::Requests
        | What::DeadLetters
        | What::Replays
        | What::Drift => within(what, begun.to_owned(), global),
    }
}

fn settings() -> Vec<String> {
    let loaded = context::load_config(None, &env);
    loaded.map_or_else(
        |_| Vec::new(),
        |(config, _)| {
            let set = config.explained.into_iter().map(|explained| explained.key);
            set.chain(config.unset).collect()
        },
    )
}

/// A thread of its own asks: what may hang in it, such as a name server, holds nobody up.
fn within(what: What, begun: String, global: Global) -> Vec<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        let names = runtime.block_on(names(what, &begun, &global));
        // Nobody may wait for it any more.
        let _ = tell.send(names.unwrap_or_default());
    });
    told.recv_timeout(WITHIN).unwrap_or_default()
}

async fn names(what: What, begun: &str, global: &Global) -> Result<Vec<String>, Failure> {
    let dir = std::env::current_dir().unwrap_or_default();
    // No command is run for a token: it may ask something, or take its time.
    let target = context::resolve_with(global, &env, &dir, TokenFrom::Still)?;
    let out = Out { quiet: true, ..Out::new(global, &Surroundings::default(), TimeZone::UTC) };
    let backend = Backend::connect(&target, WITHIN, &out).await?;
    let page = Page { limit: RECENT, q: begun_id(begun), ..Page::default() };
    Ok(match what {
        What::Sources => backend.sources().await?.items.into_iter().map(|s| s.name).collect(),
        What::Workflows => backend.workflows().await?.items.into_iter().map(|w| w.name).collect(),
        What::Queues => backend.queues().await?.items.into_iter().map(|queue| queue.name).collect(),
        What::Events => backend.events(&page).await?.items.into_iter().map(|e| e.id).collect(),
        What::Requests => backend.requests(&page).await?.items.into_iter().map(|r| r.id).collect(),
        What::DeadLetters => {
            backend.dead_letters(&page).await?.items.into_iter().map(|letter| letter.id).collect()
        }
        What::Replays => backend.replays(&page).await?.items.into_iter().map(|r| r.id).collect(),
        What::Drift => backend
            .api("drift")?
            .list::<Drift>("drift", &page)
            .await?
            .items
            .into_iter()
            .map(|d| d.id)
            .collect(),
        What::Contexts | What::Providers | What::Settings | What::Topics => Vec::new(),
    })
}

/// The beginning of an id as a filter, where enough of it is there to be one.
fn begun_id(begun: &str) -> Option<String> {
    let (kind, rest) = begun.split_once('_')?;
    let is_id = matches!(kind, "evt" | "tsk" | "req" | "rpl" | "drf") && !rest.is_empty();
    is_id.then(|| format!("id:{begun}"))
}
