//! `relayflow version`.

use relayflow_core::api::Health;
use relayflow_core::api::codes::Exit;
use serde::Serialize;

use super::list::show_document;
use crate::app::App;
use crate::backend::Backend;
use crate::failure::Done;

#[derive(Debug, Serialize)]
struct Versions {
    v: u32,
    object: &'static str,
    cli: &'static str,
    /// `null` where none answers.
    daemon: Option<String>,
    api: u32,
    /// Of the store that this program writes.
    schema: i64,
}

pub(crate) async fn version(app: &App) -> Done {
    let versions = Versions {
        v: relayflow_core::api::V,
        object: "version",
        cli: env!("CARGO_PKG_VERSION"),
        daemon: daemon(app).await,
        api: relayflow_core::api::V,
        schema: relayflow_core::store::schema_version(),
    };
    if !show_document(&app.out, &versions, versions.cli)? {
        let daemon = versions.daemon.as_deref().unwrap_or("none answers");
        let (cli, api, schema) = (versions.cli, versions.api, versions.schema);
        let line = format!("relayflow {cli}   daemon {daemon}   api v{api}   schema {schema}");
        app.out.line(&relayflow_core::text::line(&line))?;
    }
    Ok(Exit::Ok)
}

/// The daemon's version; that there is none is not worth an error here.
async fn daemon(app: &App) -> Option<String> {
    match app.connect().await.ok()? {
        Backend::Api(api) => api.health().await.ok().map(|health: Health| health.version),
        Backend::Store(_) => None,
    }
}
