//! What is configured: sources, providers, workflows, and the configuration whole, without secrets.

use axum::extract::State;
use relayflow_core::api::{Explain, Explanation, List, Provider, Source, V, Workflow};
use relayflow_core::replay;
use relayflow_core::view::setup as view;
use serde_json::{Value, json};

use super::auth::role_name;
use super::json::{Json, Sent};
use super::problem::Problem;
use crate::app::App;
use crate::start::store_label;

pub(crate) async fn sources(State(app): State<App>) -> Json<List<Source>> {
    Json::ok(sources_of(&app))
}

pub(super) fn sources_of(app: &App) -> List<Source> {
    let config = app.config();
    let base = config.ingest.public_url.clone().unwrap_or_else(|| {
        let scheme = if config.ingest.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", app.ingest_addr)
    });
    view::sources(&app.current.get(), &base, |source| app.learned.fingerprints(source))
}

pub(crate) async fn providers(State(app): State<App>) -> Json<List<Provider>> {
    Json::ok(view::providers(&app.current.get()))
}

/// Which workflows would match an event, with today's configuration or a candidate.
pub(crate) async fn explain(
    State(app): State<App>,
    Sent(asked): Sent<Explain>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json::ok(replay::explain(&app.store, app.current.get(), &asked).await?))
}

pub(crate) async fn workflows(State(app): State<App>) -> Json<List<Workflow>> {
    Json::ok(view::workflows(&app.current.get()))
}

/// The settings in force. Secrets and tokens are named, never shown.
pub(crate) async fn config(State(app): State<App>) -> Json<Value> {
    let config = app.config();
    let tokens = config.api.tokens.iter();
    let tokens = tokens.map(|token| json!({ "name": token.name, "role": role_name(token.role) }));
    Json::ok(json!({
        "v": V,
        "object": "config",
        "path": config.path.as_ref().map(|path| path.display().to_string()),
        "store": {
            "url": store_label(&config.store.url),
            "unsafe_durability": config.store.unsafe_durability,
        },
        "ingest": {
            "listen": app.ingest_addr.to_string(),
            "public_url": config.ingest.public_url,
            "behind_proxy": config.ingest.behind_proxy,
            "tls": config.ingest.tls.is_some(),
            "body_bytes_max": config.ingest.body_bytes_max,
            "bodies_bytes_max": config.ingest.bodies_bytes_max,
            "requests_max": config.ingest.requests_max,
            "connections_max": config.ingest.connections_max,
            "connections_per_address_max": config.ingest.connections_per_address_max,
        },
        "api": {
            "listen": app.api_addr.to_string(),
            "public_url": config.api.public_url,
            "behind_proxy": config.api.behind_proxy,
            "tls": config.api.tls.is_some(),
            "tokens": tokens.collect::<Vec<_>>(),
        },
        "egress": {
            "allow": config.egress.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "sources": config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(),
        "workflows":
            config.workflows.list.iter().map(|workflow| &*workflow.name).collect::<Vec<_>>(),
    }))
}
