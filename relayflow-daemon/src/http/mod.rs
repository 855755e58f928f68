//! Two doors: vendors' ([`inbound`]) and operators' (every path of it on this page).

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod guard;
pub(crate) mod inbound;
pub(crate) mod json;
pub(crate) mod problem;
pub(crate) mod server;

mod charts;
mod dead_letters;
mod doctor;
mod drift;
mod events;
pub(crate) mod export;
mod health;
mod metrics;
pub(crate) mod openapi;
mod plans;
mod queues;
mod reconcile;
mod replays;
mod requests;
mod schema;
mod setup;
mod stats;
mod tail;
mod tasks;
mod whoami;

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Request};
use hyper::body::Incoming;
use relayflow_core::api;
use relayflow_core::api::codes::Code;
use relayflow_core::config::Role;
use relayflow_core::reconcile::ReconcileError;
use relayflow_core::replay::ReplayError;
use relayflow_core::view::ViewError;
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt as _;

use self::body::Body;
use self::problem::Problem;
use self::schema::Schema;
use self::server::{Handler, Peer};
use crate::app::App;

/// How long a request of an operator may take; a tail only begins within it.
const API_TIME: Duration = Duration::from_secs(15);
/// How long a plan may take: it may read and route a hundred thousand events again.
const PLAN_TIME: Duration = Duration::from_secs(60);

/// One path and method: who may use it, and what the document says of it.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `None`: nobody has to say who they are.
    pub(crate) needs: Option<Role>,
    pub(crate) about: &'static str,
    /// The query's parameters.
    pub(crate) params: &'static [&'static str],
    /// The body that is sent, if any.
    pub(crate) takes: Option<Schema>,
    pub(crate) status: u16,
    pub(crate) gives: Gives,
    handler: MethodRouter<App>,
}

/// What a route answers.
pub(crate) enum Gives {
    Document(Schema),
    List(Schema),
    Other(&'static str),
}

impl Route {
    fn get(path: &'static str, about: &'static str, handler: MethodRouter<App>) -> Self {
        let (needs, gives) = (Some(Role::Viewer), Gives::Other("application/json"));
        let (method, params) = (Method::GET, &[][..]);
        Self { method, path, needs, about, params, takes: None, status: 200, gives, handler }
    }

    fn post(path: &'static str, about: &'static str, handler: MethodRouter<App>) -> Self {
        let (method, needs) = (Method::POST, Some(Role::Operator));
        Self { method, needs, ..Self::get(path, about, handler) }
    }

    fn needs(self, needs: Option<Role>) -> Self {
        Self { needs, ..self }
    }

    fn params(self, params: &'static [&'static str]) -> Self {
        Self { params, ..self }
    }

    fn takes<T: serde::de::DeserializeOwned>(self) -> Self {
        Self { takes: Some(Schema::of::<T>()), ..self }
    }

    fn gives<T: serde::de::DeserializeOwned>(self) -> Self {
        Self { gives: Gives::Document(Schema::of::<T>()), ..self }
    }

    fn lists<T: serde::de::DeserializeOwned>(self) -> Self {
        Self { gives: Gives::List(Schema::of::<T>()), ..self }
    }

    fn sends(self, media_type: &'static str) -> Self {
        Self { gives: Gives::Other(media_type), ..self }
    }

    fn creates(self) -> Self {
        Self { status: 201, ..self }
    }
}

const PAGE: &[&str] = &["q", "limit", "cursor", "sort"];
const JSON: &str = "application/json";
const GZIP: &str = "application/gzip";
const BYTES: &str = "application/octet-stream";
const EVENT_STREAM: &str = "text/event-stream";
const OPENMETRICS: &str = "application/openmetrics-text";

/// Every path of the operator API, and the role that it takes. A test walks this table, and the
/// document is made from it.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = about_itself();
    routes.extend(what_came_in());
    routes.extend(what_waits());
    routes.extend(bulk());
    routes.extend(missed());
    routes.extend(contracts());
    routes.extend(taken_out());
    routes
}

fn about_itself() -> Vec<Route> {
    vec![
        Route::get("/healthz", "Whether the process lives", get(health::healthz))
            .needs(None)
            .gives::<api::Health>(),
        Route::get("/readyz", "Whether it takes requests now", get(health::readyz))
            .needs(None)
            .gives::<api::Health>(),
        Route::get("/metrics", "Counters and gauges", get(metrics::text)).sends(OPENMETRICS),
        Route::get("/openapi.json", "This document", get(openapi::document)).sends(JSON),
        Route::get("/api/v1/sources", "Configured endpoints", get(setup::sources))
            .lists::<api::Source>(),
        Route::get("/api/v1/providers", "Definitions", get(setup::providers))
            .lists::<api::Provider>(),
        Route::get("/api/v1/workflows", "Workflows in force", get(setup::workflows))
            .lists::<api::Workflow>(),
        Route::post(
            "/api/v1/workflows/explain",
            "Which would match, and why",
            post(setup::explain),
        )
        .needs(Some(Role::Viewer))
        .takes::<api::Explain>()
        .gives::<api::Explanation>(),
        Route::get("/api/v1/config", "The configuration in force", get(setup::config))
            .needs(Some(Role::Admin))
            .gives::<Value>(),
        Route::get("/api/v1/whoami", "Whose token it is", get(whoami::whoami))
            .gives::<api::Identity>(),
        Route::get("/api/v1/stats", "The numbers", get(stats::stats))
            .params(&["since", "by"])
            .gives::<api::Stats>(),
        Route::get("/api/v1/stats/minutes", "The last hour", get(charts::minutes))
            .lists::<api::Minute>(),
        Route::get("/api/v1/charts", "Attempts over time", get(charts::chart))
            .params(&["dest", "replay", "window"])
            .gives::<api::Chart>(),
        Route::get("/api/v1/doctor", "What is wrong, and what mends it", get(doctor::report))
            .gives::<api::DoctorReport>(),
        Route::get("/api/v1/workers", "Who executes", get(queues::workers)).lists::<api::Worker>(),
        Route::get("/api/v1/workers/{id}", "One of them", get(queues::worker))
            .gives::<api::Worker>(),
    ]
}

fn what_came_in() -> Vec<Route> {
    vec![
        Route::get("/api/v1/events", "Events, newest first", get(events::list))
            .params(PAGE)
            .lists::<api::Event>(),
        Route::get("/api/v1/events/{id}", "One event", get(events::show)).gives::<api::Event>(),
        Route::get("/api/v1/events/{id}/raw", "Its request's exact bytes", get(events::raw))
            .params(&["headers"])
            .sends(BYTES),
        Route::post("/api/v1/events/{id}/revisions", "Mend its payload", post(events::revise))
            .creates()
            .takes::<api::NewRevision>()
            .gives::<api::Revised>(),
        Route::get("/api/v1/events/{id}/timeline", "What happened", get(events::timeline))
            .lists::<api::TimelineEntry>(),
        Route::get("/api/v1/requests", "Requests, rejected ones too", get(requests::list))
            .params(PAGE)
            .lists::<api::Request>(),
        Route::get("/api/v1/requests/{id}", "One request", get(requests::show))
            .gives::<api::Request>(),
        Route::get("/api/v1/requests/{id}/raw", "Its exact bytes", get(requests::raw))
            .params(&["headers"])
            .sends(BYTES),
        Route::get("/api/v1/requests/{id}/timeline", "What happened", get(requests::timeline))
            .lists::<api::TimelineEntry>(),
        Route::get("/api/v1/requests/{id}/explain", "Why it fails", get(requests::explain))
            .gives::<api::Verification>(),
        Route::post("/api/v1/requests/{id}/readmit", "Verify it again", post(requests::readmit))
            .takes::<requests::Why>()
            .gives::<api::Readmitted>(),
        Route::get("/api/v1/trace/{id}", "Everything under a correlation id", get(events::trace))
            .gives::<api::Trace>(),
        Route::get("/api/v1/tail", "The timeline as it grows", get(tail::tail))
            .params(&["q", "after"])
            .sends(EVENT_STREAM),
    ]
}

fn what_waits() -> Vec<Route> {
    vec![
        Route::get("/api/v1/tasks", "Tasks, newest first", get(tasks::list))
            .params(PAGE)
            .lists::<api::Task>(),
        Route::get("/api/v1/tasks/{id}", "One task", get(tasks::show)).gives::<api::Task>(),
        Route::get("/api/v1/tasks/{id}/timeline", "What happened", get(tasks::timeline))
            .lists::<api::TimelineEntry>(),
        Route::get("/api/v1/queues", "What waits, by destination", get(queues::list))
            .lists::<api::Queue>(),
        Route::get("/api/v1/queues/{id}", "One, by its name", get(queues::show))
            .gives::<api::Queue>(),
        Route::post("/api/v1/queues/{id}/pause", "Start nothing new", post(queues::pause))
            .takes::<api::NewPause>()
            .gives::<api::Queue>(),
        Route::post("/api/v1/queues/{id}/resume", "Go on", post(queues::resume))
            .takes::<api::Resume>()
            .gives::<api::Queue>(),
        Route::get("/api/v1/dead-letters", "Dead letters, or groups", get(dead_letters::list))
            .params(&["q", "limit", "cursor", "by", "sort"])
            .lists::<api::DeadLetter>(),
        Route::post("/api/v1/dead-letters/discard", "Give up", post(dead_letters::discard))
            .takes::<api::Discard>(),
    ]
}

fn bulk() -> Vec<Route> {
    vec![
        Route::post("/api/v1/plans", "What a replay would do", post(plans::create))
            .creates()
            .takes::<api::NewPlan>()
            .gives::<api::Plan>(),
        Route::get("/api/v1/plans/{id}", "One plan", get(plans::show)).gives::<api::Plan>(),
        Route::get("/api/v1/plans/{id}/items", "What it would do with each", get(plans::items))
            .params(PAGE)
            .lists::<api::PlanItem>(),
        Route::post("/api/v1/replays", "Carry out a plan", post(replays::create))
            .creates()
            .takes::<api::NewReplay>()
            .gives::<api::Replay>(),
        Route::get("/api/v1/replays", "Replays, newest first", get(replays::list))
            .params(PAGE)
            .lists::<api::Replay>(),
        Route::get("/api/v1/replays/{id}", "One replay", get(replays::show)).gives::<api::Replay>(),
        Route::get("/api/v1/replays/{id}/items", "Its items", get(replays::items))
            .params(PAGE)
            .lists::<api::ReplayItem>(),
        Route::get("/api/v1/replays/{id}/timeline", "What happened", get(replays::timeline))
            .lists::<api::TimelineEntry>(),
        Route::post("/api/v1/replays/{id}/pause", "Hold it", post(replays::pause))
            .takes::<api::ReplayControl>()
            .gives::<api::Replay>(),
        Route::post("/api/v1/replays/{id}/resume", "Go on", post(replays::resume))
            .takes::<api::ReplayControl>()
            .gives::<api::Replay>(),
        Route::post("/api/v1/replays/{id}/cancel", "Stop it for good", post(replays::cancel))
            .takes::<api::ReplayControl>()
            .gives::<api::Replay>(),
    ]
}

fn missed() -> Vec<Route> {
    vec![
        Route::post("/api/v1/reconciles", "List what a vendor sent", post(reconcile::create))
            .creates()
            .takes::<api::NewReconcile>()
            .gives::<api::Reconcile>(),
        Route::get("/api/v1/reconciles/{id}", "How far it is", get(reconcile::show))
            .gives::<api::Reconcile>(),
        Route::get("/api/v1/reconciles/{id}/items", "What is missing", get(reconcile::items))
            .params(PAGE)
            .lists::<api::ReconcileItem>(),
        Route::post("/api/v1/reconciles/{id}/run", "Take that in", post(reconcile::run))
            .takes::<api::RunReconcile>()
            .gives::<api::Reconcile>(),
    ]
}

fn taken_out() -> Vec<Route> {
    vec![
        Route::post("/api/v1/export", "A masked incident bundle", post(export::masked))
            .takes::<api::NewExport>()
            .sends(GZIP),
        Route::post("/api/v1/export/unmasked", "With payloads as they are", post(export::unmasked))
            .needs(Some(Role::Admin))
            .takes::<api::NewExport>()
            .sends(GZIP),
    ]
}

fn contracts() -> Vec<Route> {
    vec![
        Route::get("/api/v1/drift", "How payloads differ from contracts", get(drift::list))
            .params(PAGE)
            .lists::<api::Drift>(),
        Route::get("/api/v1/drift/{id}", "One finding", get(drift::show)).gives::<api::Drift>(),
        Route::post("/api/v1/drift/{id}/accept", "Into the contract", post(drift::accept))
            .takes::<api::AcceptDrift>()
            .gives::<api::Drift>(),
        Route::get("/api/v1/contracts", "What is expected of payloads", get(drift::contracts))
            .lists::<api::Contract>(),
        Route::get("/api/v1/contracts/{of}/{type}", "One, with its schema", get(drift::contract))
            .params(&["version"])
            .gives::<api::Contract>(),
        Route::post("/api/v1/contracts/check", "Hold events against them", post(drift::check))
            .needs(Some(Role::Viewer))
            .takes::<api::CheckContracts>()
            .gives::<api::ContractCheck>(),
        Route::post("/api/v1/contracts/learn", "Infer one from events", post(drift::learn))
            .takes::<api::LearnContract>()
            .gives::<api::Contract>(),
    ]
}

/// The operator listener's requests.
pub(crate) struct Api {
    app: App,
    router: Router,
}

impl Api {
    pub(crate) fn new(app: App) -> Self {
        let mut router = Router::new();
        for route in routes() {
            let mut handler = route.handler;
            if let Some(needs) = route.needs {
                let gate = Gate { app: app.clone(), needs };
                handler = handler.route_layer(from_fn_with_state(gate, authorize));
            }
            router = router.route(route.path, handler);
        }
        let router = router
            .fallback(async || Problem::of(Code::NoSuchRoute))
            .method_not_allowed_fallback(async || Problem::of(Code::Method))
            .with_state(app.clone());
        Self { app, router }
    }

    async fn routed(&self, request: Request<Incoming>, peer: &Peer) -> Result<Response, Problem> {
        let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
        if !is_probe && !self.app.auth.serves_host(request.headers(), peer.local.ip()) {
            return Err(Problem::of(Code::Host));
        }
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(peer.clone());
        let is_plan = request.method() == Method::POST && request.uri().path() == "/api/v1/plans";
        let within = if is_plan { PLAN_TIME } else { API_TIME };
        match timeout(within, self.router.clone().oneshot(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => Err(Problem::of(Code::Store)),
        }
    }
}

impl Handler for Api {
    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> http::Response<Body> {
        let response = self.routed(request, peer).await.unwrap_or_else(|p| p.into_response());
        as_problem(response).map(Body::Routed)
    }
}

/// An error that is no problem yet: an extractor's own.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == PROBLEM);
    if !is_error || is_problem {
        return response;
    }
    let code = if status.is_server_error() { Code::Internal } else { Code::BadRequest };
    Problem::of(code).into_response()
}

const PROBLEM: &str = "application/problem+json";

#[derive(Clone)]
struct Gate {
    app: App,
    needs: Role,
}

async fn authorize(
    State(gate): State<Gate>,
    mut request: axum::extract::Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().ok_or_else(|| Problem::of(Code::Internal))?;
    let judged = gate.app.auth.judge(request.headers(), peer.addr.ip(), gate.needs);
    let who = judged.inspect_err(|problem| {
        if problem.code == Code::NoToken {
            gate.app.metrics.token_failures.inc();
        }
    })?;
    request.extensions_mut().insert(who);
    Ok(next.run(request).await)
}

/// The id in the path, whole or a beginning of one.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::of(Code::BadId))
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        Self::from_error(error.code(), &error)
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        Self::from_error(error.code(), &error)
    }
}

impl From<ReconcileError> for Problem {
    fn from(error: ReconcileError) -> Self {
        Self::from_error(error.code(), &error)
    }
}
