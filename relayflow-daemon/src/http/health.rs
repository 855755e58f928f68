//! `/healthz` and `/readyz`.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use relayflow_core::api::codes::Code;
use relayflow_core::api::{Health, V};

use super::body::Body;
use super::json::{Json, ascii};
use super::problem::Problem;
use crate::app::App;

fn ok() -> Health {
    Health {
        v: V,
        object: "health".to_owned(),
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        detail: None,
    }
}

pub(crate) async fn healthz() -> Json<Health> {
    Json::ok(ok())
}

/// 200 while requests are taken; 503 while starting and stopping, and without a store to write to.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    match app.unready() {
        None => Json::ok(ok()).into_response(),
        Some(code) => Problem::of(code).into_response(),
    }
}

/// The same as [`healthz`], for the ingest listener.
pub(crate) fn live(method: &Method) -> http::Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Problem::of(Code::Method).allow("GET, HEAD".to_owned()).answer();
    }
    let mut response = http::Response::new(Body::from(ascii(&ok())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
