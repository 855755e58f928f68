//! `/metrics`.

use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use relayflow_core::api::codes::Code;
use relayflow_core::view;

use super::problem::Problem;
use crate::app::App;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn text(State(app): State<App>) -> Result<Response, Problem> {
    let stats = view::stats(&app.store).await?;
    let queues = super::queues::seen(&app).await?.items;
    let passed_over = app.ingest.watcher.as_ref().map_or(0, |watcher| watcher.passed_over());
    let text =
        app.metrics.text(&stats, &queues, passed_over).map_err(|_| Problem::of(Code::Internal))?;
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    Ok(response)
}
