//! Providers: vendors' webhook dialects, as data.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use http::Method;
use jiff::{SignedDuration, Timestamp};

use crate::config::SourceConfig;
use crate::diagnostic::Diagnostic;
use crate::request::Request;

pub mod definition;
pub mod normalize;
pub mod reply;
pub mod sign;
pub mod split;
pub mod verify;

pub struct Catalog(HashMap<String, Arc<Provider>>);
impl Catalog {
    pub fn built_in() -> Catalog {
        let generic = Provider {
            name: "generic".into(),
            title: "Generic".into(),
            contract: "generic@1".into(),
            built_in: true,
            is_confirmed: true,
            body_bytes_max: None,
        };
        Catalog([("generic".to_owned(), Arc::new(generic))].into())
    }
    pub fn with_dir(_dir: &Path) -> Result<Catalog, Vec<Diagnostic>> {
        Ok(Self::built_in())
    }
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.0.get(name)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values()
    }
}
pub struct Provider {
    pub name: Arc<str>,
    pub title: String,
    pub contract: Arc<str>,
    pub built_in: bool,
    pub is_confirmed: bool,
    pub body_bytes_max: Option<usize>,
}
impl Provider {
    pub fn scheme(&self) -> &str {
        "none"
    }
    pub fn types(&self) -> Vec<(String, Option<Arc<str>>)> {
        vec![]
    }
}
pub struct Source {
    pub name: Arc<str>,
    pub provider: Arc<Provider>,
    pub scheme_label: Arc<str>,
    pub accept_identical: bool,
    pub derived_window: SignedDuration,
    pub public_url: Option<String>,
}
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct SourceError;
impl Source {
    pub fn new(
        config: &SourceConfig,
        _ingest_public_url: Option<&str>,
        catalog: &Catalog,
    ) -> Result<Source, SourceError> {
        Ok(Source {
            name: config.name.as_str().into(),
            provider: catalog.get(&config.provider).ok_or(SourceError)?.clone(),
            scheme_label: "generic none".into(),
            accept_identical: false,
            derived_window: SignedDuration::ZERO,
            public_url: None,
        })
    }
    pub fn secret_fingerprints(&self) -> Vec<String> {
        vec![]
    }
    pub fn tolerance_label(&self) -> String {
        "none".into()
    }
}
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct VerifyError;
impl VerifyError {
    pub fn is_malformed(&self) -> bool {
        false
    }
}
pub fn handshake(_source: &Source, _request: &Request, _now: Timestamp) -> Option<Reply> {
    None
}
pub fn takes_method(_source: &Source, method: &Method) -> bool {
    method == Method::POST
}
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}
