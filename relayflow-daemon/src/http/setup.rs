//! What is configured: sources, providers, workflows, and the configuration whole, without secrets.

use axum::extract::State;
use relayflow_core::api::{
    Explain, Explanation, List, Provider, Source, V, Workflow, WorkflowStep,
};
use relayflow_core::provider;
use relayflow_core::replay;
use relayflow_core::workflow::{Action, On, Step};
use serde_json::{Value, json};

use super::auth::role_name;
use super::json::{Json, Sent};
use super::problem::Problem;
use super::queues::whole;
use crate::app::App;
use crate::start::store_label;

pub(crate) async fn sources(State(app): State<App>) -> Json<List<Source>> {
    let config = app.config();
    let base = config.ingest.public_url.clone().unwrap_or_else(|| {
        let scheme = if config.ingest.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", app.ingest_addr)
    });
    let in_force = app.current.get();
    let mut sources: Vec<_> = in_force.sources.values().collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let list = sources.into_iter().map(|source| source_document(&app, source, &base)).collect();
    Json::ok(whole("source_list", list))
}

fn source_document(app: &App, source: &provider::Source, base: &str) -> Source {
    Source {
        v: V,
        object: "source".to_owned(),
        name: source.name.to_string(),
        provider: source.provider.name.to_string(),
        provider_status: source.provider.status.name().to_owned(),
        scheme: source.scheme_label.to_string(),
        url: source.public_url.clone().unwrap_or_else(|| format!("{base}/in/{}", source.name)),
        secrets: source.secret_fingerprints(),
        tolerance: source.tolerance_label(),
        reply_within: source.reply_within_label(),
        learned: app.learned.fingerprints(&source.name),
    }
}

pub(crate) async fn providers(State(app): State<App>) -> Json<List<Provider>> {
    let in_force = app.current.get();
    let list = in_force.catalog.iter().map(|provider| provider.document());
    Json::ok(whole("provider_list", list.collect()))
}

/// Which workflows would match an event, with today's configuration or a candidate.
pub(crate) async fn explain(
    State(app): State<App>,
    Sent(asked): Sent<Explain>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json::ok(replay::explain(&app.store, app.current.get(), &asked).await?))
}

pub(crate) async fn workflows(State(app): State<App>) -> Json<List<Workflow>> {
    let in_force = app.current.get();
    let list = in_force.workflows.list.iter().map(|workflow| Workflow {
        v: V,
        object: "workflow".to_owned(),
        name: workflow.name.to_string(),
        on: workflow.on.iter().map(on_text).collect(),
        when: workflow.when.as_ref().map(|when| when.text().to_owned()),
        steps: workflow.steps.iter().map(|step| step_document(step)).collect(),
    });
    Json::ok(whole("workflow_list", list.collect()))
}

fn on_text(on: &On) -> String {
    match on {
        On::Any => "*".to_owned(),
        On::Kind(kind) => kind.clone(),
        On::Type { provider, event_type } => format!("{provider}:{event_type}"),
    }
}

fn step_document(step: &Step) -> WorkflowStep {
    WorkflowStep {
        name: step.name.to_string(),
        needs: step.needs.iter().map(ToString::to_string).collect(),
        action: match &step.action {
            Action::Http(_) => "http".to_owned(),
            Action::Command(_) => "command".to_owned(),
        },
        destination: step.destination.as_deref().unwrap_or("as the event says").to_owned(),
    }
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
