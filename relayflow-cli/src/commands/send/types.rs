//! `send --list`: what can be sent.

use relayflow_core::api::{List, V};
use relayflow_core::provider::Catalog;
use serde::Serialize;

use super::no_provider;
use crate::app::App;
use crate::args::ListArgs;
use crate::commands::list::{Listed, list};
use crate::failure::Done;
use crate::output::table::{Column, Datum};

/// One payload of the project's own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sendable {
    v: u32,
    /// `sample`.
    object: &'static str,
    provider: String,
    #[serde(rename = "type")]
    event_type: String,
    kind: Option<String>,
    scheme: String,
    /// How sure the definition is of the way to sign.
    status: &'static str,
}

impl Listed for Sendable {
    const COLUMNS: &'static [Column<Self>] = &[
        column("provider", "PROVIDER", 0, |s| Datum::Id(s.provider.clone())),
        column("type", "TYPE", 0, |s| Datum::Id(s.event_type.clone())),
        column("kind", "KIND", 1, |s| Datum::text(&s.kind)),
        column("scheme", "SCHEME", 3, |s| Datum::Text(s.scheme.clone())),
        column("status", "STATUS", 2, |s| Datum::Text(s.status.to_owned())),
    ];

    fn name(&self) -> &str {
        &self.event_type
    }
}

const fn column(
    field: &'static str,
    name: &'static str,
    rank: u8,
    get: fn(&Sendable) -> Datum,
) -> Column<Sendable> {
    Column { field, name, rank, wide: false, get }
}

/// Of one provider, or of all where `provider` is empty.
pub(super) async fn types(app: &App, catalog: &Catalog, provider: &str) -> Done {
    if !provider.is_empty() && catalog.get(provider).is_none() {
        return Err(no_provider(catalog, provider));
    }
    let chosen = catalog.iter().filter(|p| provider.is_empty() || &*p.name == provider);
    let items: Vec<Sendable> = chosen
        .flat_map(|known| {
            known.samples().iter().map(|sample| Sendable {
                v: V,
                object: "sample",
                provider: known.name.to_string(),
                event_type: sample.event_type.clone(),
                kind: known.kind_of(&sample.event_type).map(|kind| kind.to_string()),
                scheme: known.scheme().to_owned(),
                status: known.status.name(),
            })
        })
        .collect();
    list(app, &ListArgs::default(), None, async |_| {
        Ok(List {
            v: V,
            kind: "sample_list".to_owned(),
            items: items.clone(),
            next_cursor: None,
            searched_to: None,
            total: None,
        })
    })
    .await
}
