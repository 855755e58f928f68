//! stub
use std::collections::HashMap;
use std::sync::Arc;

use crate::api;
use crate::execute::Lanes;
use crate::id::RequestId;
use crate::provider::{Catalog, Reply, Source, VerifyError};
use crate::request::Request;
use crate::store::{Store, StoreError};
use crate::workflow::Workflows;

pub struct Current(std::sync::RwLock<Arc<InForce>>);
pub struct InForce {
    pub catalog: Arc<Catalog>,
    pub sources: HashMap<String, Arc<Source>>,
    pub workflows: Arc<Workflows>,
}
impl Current {
    pub fn new(in_force: InForce) -> Self {
        Self(std::sync::RwLock::new(Arc::new(in_force)))
    }
    pub fn get(&self) -> Arc<InForce> {
        self.0.read().expect("stub").clone()
    }
    pub fn set(&self, new: InForce) {
        *self.0.write().expect("stub") = Arc::new(new);
    }
}
pub struct Ingest {
    pub store: Store,
    pub current: Arc<Current>,
    pub lanes: Arc<Lanes>,
    pub digest_key: [u8; 32],
}
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("malformed")]
    Malformed(VerifyError),
    #[error("unverified")]
    Unverified,
    #[error("busy")]
    Busy,
    #[error("store")]
    Store(#[source] StoreError),
}
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ReadmitError;
impl ReadmitError {
    pub fn code(&self) -> api::codes::Code {
        api::codes::Code::NoSuchObject
    }
}
impl Ingest {
    pub async fn receive(
        &self,
        _source: &Arc<Source>,
        request: Request,
    ) -> Result<Reply, IngestError> {
        Ok(Reply {
            status: 200,
            content_type: Some("application/json".into()),
            headers: vec![],
            body: format!("{} {}", request.id, request.body.len()).into_bytes(),
        })
    }
    pub async fn readmit(
        &self,
        _id: RequestId,
        _who: &str,
        _reason: Option<String>,
    ) -> Result<api::Readmitted, ReadmitError> {
        Err(ReadmitError)
    }
}
