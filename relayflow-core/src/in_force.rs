//! The configuration in force: what a request, a plan or a view is made by.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::provider::forensics::{Spare, Standing};
use crate::provider::{self, Catalog, Source};
use crate::workflow::Workflows;

/// What is in force. Replaced whole by a reload, so that a request sees one configuration.
#[derive(Debug, Default)]
pub struct InForce {
    pub catalog: Arc<Catalog>,
    pub sources: HashMap<String, Arc<Source>>,
    pub workflows: Arc<Workflows>,
}

impl InForce {
    /// The built-in definitions, no source and no workflow: what a store is read with where there
    /// is no configuration.
    #[must_use]
    pub fn bare() -> Self {
        Self {
            catalog: Arc::new(Catalog::built_in()),
            sources: HashMap::new(),
            workflows: Arc::new(Workflows::default()),
        }
    }
}

/// The configuration in force, for whoever needs it now.
#[derive(Debug)]
pub struct Current {
    in_force: RwLock<Arc<InForce>>,
    /// Secrets that a reload took out of force: what they signed can still be told.
    retired: RwLock<Vec<Spare>>,
}

/// So many former secrets are remembered.
const RETIRED_MAX: usize = 64;

impl Current {
    #[must_use]
    pub fn new(in_force: InForce) -> Self {
        Self { in_force: RwLock::new(Arc::new(in_force)), retired: RwLock::default() }
    }

    #[must_use]
    pub fn get(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration in force. The secrets that it does without are remembered, for as
    /// long as this process lives, to explain requests and for nothing else.
    pub fn set(&self, in_force: InForce) {
        let before = self.get();
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        for source in before.sources.values() {
            retired.extend(source.spares(Standing::Retired));
        }
        let is_in_force = |spare: &Spare| {
            in_force.sources.get(&*spare.source).is_some_and(|s| s.has_secret(&spare.secret))
        };
        retired.retain(|spare| !is_in_force(spare));
        let mut seen = HashSet::new();
        retired.reverse();
        retired.retain(|spare| {
            seen.insert((Arc::clone(&spare.source), provider::fingerprint(&spare.secret)))
        });
        retired.truncate(RETIRED_MAX);
        retired.reverse();
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
    }

    /// Secrets that were in force before.
    #[must_use]
    pub fn retired(&self) -> Vec<Spare> {
        self.retired.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
