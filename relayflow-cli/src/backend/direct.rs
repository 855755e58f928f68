//! A store opened without its daemon: a dead daemon's, a backup, or the one in a bundle. What only a
//! daemon knows comes from the bundle, or from the config in reach, or is said to be unknown.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use relayflow_core::api::{
    Contract, Drift, Explain, Explanation, List, Provider, Queue, Source, Stats, Worker, Workflow,
};
use relayflow_core::bundle::{self, Bundle, BundleError, Manifest};
use relayflow_core::config::Config;
use relayflow_core::in_force::InForce;
use relayflow_core::replay;
use relayflow_core::store::{By, Store, StoreError};
use relayflow_core::view;

use super::failure;
use crate::commands::replay_failure;
use crate::context;
use crate::failure::{Failure, chain};
use crate::output::Out;

/// What a queue's state is where nobody works it.
const UNKNOWN: &str = "unknown";

/// The store, and what is known beside it.
pub(crate) struct Direct {
    pub(crate) store: Store,
    bundle: Option<Bundle>,
    reach: OnceLock<Reach>,
    out: Out,
}

/// The config in reach of who looks at a store; it need not be the daemon's that wrote it.
pub(crate) struct Reach {
    /// `None`: there is no file, or it does not load.
    pub(crate) config: Option<Config>,
    pub(crate) in_force: Arc<InForce>,
}

impl Direct {
    /// Opens a store's URL, or a bundle's file.
    ///
    /// # Errors
    ///
    /// It is neither, of another version, or does not open.
    pub(crate) async fn open(url: &str, out: &Out) -> Result<Self, Failure> {
        let path = Path::new(url.strip_prefix("file:").unwrap_or(url));
        if !url.starts_with("sqlite:") && bundle::is_bundle(path) {
            let bundle = Bundle::open(path).await.map_err(|e| bundle_failure(url, &e))?;
            out.notice(&about(&bundle.manifest));
            return Ok(Self {
                store: bundle.store.clone(),
                bundle: Some(bundle),
                reach: OnceLock::new(),
                out: out.clone(),
            });
        }
        let store = Store::open_read_only(url).await.map_err(|e| store_failure(url, &e))?;
        if store.reads_a_copy() {
            out.notice("nothing can be written beside the store: a copy of it is read");
        }
        Ok(Self { store, bundle: None, reach: OnceLock::new(), out: out.clone() })
    }

    pub(crate) fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// The configuration in reach, read once.
    pub(crate) fn reach(&self) -> &Reach {
        self.reach.get_or_init(|| {
            if self.bundle.is_some() {
                return Reach { config: None, in_force: Arc::new(InForce::bare()) };
            }
            let loaded = context::load_config(None, &|name| std::env::var(name).ok());
            let loaded = loaded.and_then(|(config, _)| {
                let in_force = relayflow_daemon::in_force(&config).map_err(|why| {
                    Failure::new("usage.config", "the daemon's config does not hold").why(why)
                })?;
                Ok((config, in_force))
            });
            match loaded {
                Ok((config, in_force)) if config.path.is_some() => {
                    if let Some(path) = &config.path {
                        self.out.notice(&format!("the config in reach is {}", path.display()));
                    }
                    Reach { config: Some(config), in_force: Arc::new(in_force) }
                }
                Ok((_, in_force)) => Reach { config: None, in_force: Arc::new(in_force) },
                Err(failure) => {
                    let message = failure.message;
                    self.out.notice(&format!("{message}: only what is built in is known"));
                    Reach { config: None, in_force: Arc::new(InForce::bare()) }
                }
            }
        })
    }

    /// The configuration in reach, for what is nowhere else.
    fn configured(&self, what: &str) -> Result<(&Config, &InForce), Failure> {
        let reach = self.reach();
        let config = reach.config.as_ref().ok_or_else(|| {
            Failure::new("not_found.config", format!("{what} are unknown: a store does not say"))
                .why("they are in the daemon's config, and none is in reach")
                .hint("RELAYFLOW_DAEMON_CONFIG=relayflow.toml, and this command again")
        })?;
        Ok((config, &reach.in_force))
    }

    pub(crate) async fn stats(&self) -> Result<Stats, Failure> {
        match &self.bundle {
            Some(bundle) => Ok(bundle.documents.stats.clone()),
            None => view::stats(&self.store).await.map_err(|e| failure(&e)),
        }
    }

    pub(crate) async fn queues(&self) -> Result<List<Queue>, Failure> {
        if let Some(bundle) = &self.bundle {
            return Ok(bundle.documents.queues.clone());
        }
        let mut queues = view::queues(&self.store).await.map_err(|e| failure(&e))?;
        for queue in queues.items.iter_mut().filter(|queue| queue.state == "open") {
            UNKNOWN.clone_into(&mut queue.state);
        }
        Ok(queues)
    }

    /// The numbers, with what came and went in so many seconds; of a bundle, as they were then.
    pub(super) async fn stats_since(&self, seconds: i64, by: Option<By>) -> Result<Stats, Failure> {
        let mut stats = self.stats().await?;
        if self.bundle.is_none() {
            let flow = view::flow(&self.store, seconds, by).await;
            stats.flow = Some(flow.map_err(|e| failure(&e))?);
        }
        Ok(stats)
    }

    pub(super) async fn worker(&self, id: &str) -> Result<Worker, Failure> {
        if self.bundle.is_some() {
            return crate::commands::find(self.workers().await?, id);
        }
        view::worker(&self.store, id).await.map_err(|e| failure(&e))
    }

    /// Who executes, as the store has it; of a bundle, as the daemon knew it.
    pub(crate) async fn workers(&self) -> Result<List<Worker>, Failure> {
        match self.bundle.as_ref().and_then(|bundle| bundle.documents.workers.clone()) {
            Some(workers) => Ok(workers),
            None => view::workers(&self.store).await.map_err(|e| failure(&e)),
        }
    }

    pub(crate) fn sources(&self) -> Result<List<Source>, Failure> {
        if let Some(bundle) = &self.bundle {
            return bundle.documents.sources.clone().ok_or_else(|| unknown("the sources"));
        }
        let (config, in_force) = self.configured("the sources")?;
        let base = config.ingest.public_url.clone().unwrap_or_else(|| {
            let scheme = if config.ingest.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", config.ingest.listen)
        });
        let learned = relayflow_daemon::learned_fingerprints(self.store.path());
        Ok(view::setup::sources(in_force, &base, learned))
    }

    pub(crate) fn workflows(&self) -> Result<List<Workflow>, Failure> {
        if let Some(bundle) = &self.bundle {
            return bundle.documents.workflows.clone().ok_or_else(|| unknown("the workflows"));
        }
        let (_, in_force) = self.configured("the workflows")?;
        Ok(view::setup::workflows(in_force))
    }

    pub(crate) fn providers(&self) -> List<Provider> {
        match &self.bundle {
            Some(bundle) => bundle.documents.providers.clone(),
            None => view::setup::providers(&self.reach().in_force),
        }
    }

    pub(super) async fn explain(&self, asked: &Explain) -> Result<Explanation, Failure> {
        let in_force = match (&asked.config, &self.bundle) {
            (Some(_), _) => Arc::clone(&self.reach().in_force),
            (None, Some(_)) => {
                return Err(unknown("today's workflows").hint("--config relayflow.toml"));
            }
            (None, None) => {
                self.configured("today's workflows")?;
                Arc::clone(&self.reach().in_force)
            }
        };
        let told = replay::explain(&self.store, in_force, asked).await;
        told.map_err(|error| replay_failure(&error))
    }

    /// Who reads a finding's field is the configuration's to say.
    pub(super) fn complete(&self, drift: &mut Drift) {
        let Some(bundle) = &self.bundle else { return };
        if let Some(known) = bundle.documents.drift.iter().find(|known| known.id == drift.id) {
            drift.read_by.clone_from(&known.read_by);
        }
    }

    /// The contracts as the daemon listed them.
    pub(super) fn contracts(&self) -> Option<List<Contract>> {
        let mut items = self.bundle.as_ref()?.documents.contracts.clone();
        items.iter_mut().for_each(|contract| contract.schema = None);
        Some(view::setup::whole("contract_list", items))
    }

    /// A contract that came with a definition of the daemon's own.
    pub(super) fn contract(
        &self,
        of: &str,
        event_type: &str,
        version: Option<i64>,
    ) -> Option<Contract> {
        let documents = &self.bundle.as_ref()?.documents;
        let provider = documents.sources.iter().flat_map(|sources| &sources.items);
        let provider = provider.into_iter().find(|source| source.name == of);
        let provider = provider.map_or(of, |source| &source.provider);
        let is_it = |contract: &&Contract| {
            contract.source.is_none()
                && contract.provider == provider
                && contract.event_type == event_type
                && version.is_none_or(|version| contract.version == Some(version))
                && contract.schema.is_some()
        };
        documents.contracts.iter().find(is_it).cloned()
    }
}

fn unknown(what: &str) -> Failure {
    Failure::new("not_found.config", format!("{what} are unknown: this bundle does not say"))
        .why("it was made from a store without its daemon and config")
}

/// `bundle of 2026-11-24T…: 12 events, 3 requests, masked`.
fn about(manifest: &Manifest) -> String {
    use crate::output::time::things;
    let counts = &manifest.counts;
    let masked = if manifest.masked.is_some() { "masked" } else { "not masked" };
    format!(
        "bundle of {}: {}, {}, {masked}; numbers and queues are as they were then",
        manifest.created_at.get(..19).unwrap_or_default(),
        things(counts.events, "event"),
        things(counts.requests, "request"),
    )
}

fn store_failure(url: &str, error: &StoreError) -> Failure {
    if matches!(error, StoreError::NotAStore { .. }) {
        return Failure::new("usage.db", chain(error));
    }
    if matches!(error, StoreError::Url { .. }) {
        let failure = Failure::new("usage.db", chain(error))
            .why("wanted sqlite:PATH, or the file of a bundle");
        let is_file = Path::new(url).is_file();
        return if is_file { failure.hint(format!("--db sqlite:{url}")) } else { failure };
    }
    Failure::new("unreachable.store", format!("{url} does not open")).why(chain(error))
}

/// Why a bundle does not open.
pub(crate) fn bundle_failure(path: &str, error: &BundleError) -> Failure {
    let is_none = matches!(error, BundleError::NotABundle(_));
    let code = if is_none { "usage.bundle" } else { "unreachable.bundle" };
    Failure::new(code, format!("{path} does not open")).why(chain(error))
}
