//! `/api/v1/whoami`: whose token it is, and what it may do.

use axum::Extension;
use relayflow_core::api::{Identity, V};

use super::auth::{Who, role_name};
use super::json::Json;

pub(crate) async fn whoami(Extension(who): Extension<Who>) -> Json<Identity> {
    Json::ok(Identity {
        v: V,
        object: "identity".to_owned(),
        name: who.0.to_string(),
        role: role_name(who.1).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
