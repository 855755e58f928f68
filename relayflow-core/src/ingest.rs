//! stub: thrown away at the merge
use std::sync::{Arc, PoisonError, RwLock};

use crate::workflow::Workflows;

#[derive(Debug)]
pub struct InForce {
    pub workflows: Arc<Workflows>,
}

#[derive(Debug)]
pub struct Current(RwLock<Arc<InForce>>);

impl Current {
    pub fn new(in_force: InForce) -> Self {
        Self(RwLock::new(Arc::new(in_force)))
    }
    pub fn get(&self) -> Arc<InForce> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
