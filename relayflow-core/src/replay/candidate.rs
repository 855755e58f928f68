//! A candidate configuration: what stored events are read and routed with, to see what it would do.

use std::collections::HashMap;
use std::sync::Arc;

use super::ReplayError;
use crate::api::ProviderFile;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::in_force::InForce;
use crate::provider::{Catalog, Source};

/// The most definitions that come with a candidate.
const PROVIDERS_MAX: usize = 200;

/// What the candidate would put in force, but for its secrets. Nothing of this machine is read.
pub(super) fn candidate(text: &str, providers: &[ProviderFile]) -> Result<InForce, ReplayError> {
    if PROVIDERS_MAX < providers.len() {
        let text = format!("at most {PROVIDERS_MAX} definitions come with a candidate");
        return Err(ReplayError::BadRequest(text));
    }
    let texts = providers.iter().map(|file| (file.name.as_str(), file.text.as_str()));
    let catalog = Catalog::with_texts(texts).map_err(|mistakes| wrong(&mistakes))?;
    let config =
        Config::candidate(text, "candidate", &catalog).map_err(|mistakes| wrong(&mistakes))?;
    let mut sources = HashMap::new();
    for source in &config.sources {
        let compiled = Source::for_reading(source, &catalog)
            .map_err(|e| ReplayError::Candidate(format!("sources.{}: {e}", source.name)))?;
        sources.insert(source.name.clone(), Arc::new(compiled));
    }
    let workflows = Arc::clone(&config.workflows);
    Ok(InForce { catalog: Arc::new(catalog), sources, workflows })
}

fn wrong(mistakes: &[Diagnostic]) -> ReplayError {
    let all = mistakes.iter().filter(|m| !m.is_warning).map(ToString::to_string);
    ReplayError::Candidate(all.collect::<Vec<_>>().join("\n"))
}
