//! Fetches the keys that vendors show on hosts of their own, once each, and visits the addresses by
//! which some of them learn that somebody listens.
//!
//! What is asked for is chosen by requests that nobody has verified yet. So only hosts of the
//! definition's are asked, over TLS and through the egress check; a key is asked for once at a time; a
//! failure is remembered; and each source has a budget, so that forged requests cannot make anybody
//! hammer its vendor.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::egress::Connector;
use crate::provider::{FetchedKeys, KeyId, KeyWanted};

/// How long one answer may take, from resolving its host to its last byte.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How many are fetched at once, and how many keys are held.
const AT_ONCE_MAX: usize = 4;
const KEYS_MAX: usize = 256;
/// How long a failure stands before the same key is asked for again.
const FAILED_FOR: Duration = Duration::from_secs(30);
/// A source may ask for so many keys in a row, and after that for one in this time.
const BUDGET: u32 = 10;
const BUDGET_REFILL: Duration = Duration::from_secs(6);

/// Why a key is not there. Whoever sent the request should send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it could not be fetched: {0}")]
    Fetch(String),
    #[error("what is there cannot be used: {0}")]
    Unusable(String),
    #[error("its source has asked for too many keys that do not exist")]
    TooMany,
}

/// The keys of vendors' hosts.
pub struct Keys {
    connector: Connector,
    /// Read when first used, which takes a while.
    trust: OnceLock<Trust>,
    held: RwLock<Arc<FetchedKeys>>,
    doors: Mutex<HashMap<KeyId, Arc<Door>>>,
    budgets: Mutex<HashMap<Arc<str>, Budget>>,
    at_once: Semaphore,
}

type HttpClient = Client<hyper_rustls::HttpsConnector<Connector>, Empty<Bytes>>;

/// Whom this system trusts, and the client that trusts them.
struct Trust {
    roots: Vec<CertificateDer<'static>>,
    client: HttpClient,
}

/// One key's: who comes while it is fetched waits here.
#[derive(Default)]
struct Door {
    /// How often somebody has come back from fetching.
    tries: AtomicU64,
    failed: tokio::sync::Mutex<Option<(Instant, KeyError)>>,
}

struct Budget {
    left: u32,
    since: Instant,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("held", &self.held()).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys that are fetched through `connector`, from whom the system trusts.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            trust: OnceLock::new(),
            held: RwLock::default(),
            doors: Mutex::default(),
            budgets: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE_MAX),
        }
    }

    /// The same, trusting `roots` alone.
    #[must_use]
    pub fn trusting(connector: Connector, roots: Vec<CertificateDer<'static>>) -> Self {
        let trust = Trust::new(roots, connector.clone());
        Self { trust: OnceLock::from(trust), ..Self::new(connector) }
    }

    /// The keys that there are.
    #[must_use]
    pub fn held(&self) -> Arc<FetchedKeys> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches a key, unless somebody else just did. Afterwards it is among [`Keys::held`].
    ///
    /// # Errors
    ///
    /// See [`KeyError`]: nothing is known of the request then.
    pub async fn fetch(&self, wanted: &KeyWanted, now: Timestamp) -> Result<(), KeyError> {
        let id = wanted.id();
        let door = self.door(&id);
        let tries = door.tries.load(Ordering::Acquire);
        let mut failed = door.failed.lock().await;
        let is_done = door.tries.load(Ordering::Acquire) != tries;
        match &*failed {
            Some((at, error)) if is_done || at.elapsed() < FAILED_FOR => return Err(error.clone()),
            None if is_done => return Ok(()),
            Some(_) | None => {}
        }
        self.spend(&wanted.source)?;
        let fetched = match self.get(&wanted.url).await {
            Ok(bytes) => {
                let roots = &self.trust().roots;
                wanted.read(&bytes, roots, now).map_err(|e| KeyError::Unusable(e.to_string()))
            }
            Err(error) => Err(error),
        };
        let outcome = match fetched {
            Ok(key) => {
                let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                *held = Arc::new(held.with(id, key, KEYS_MAX));
                tracing::info!(source = %wanted.source, url = %wanted.url, "fetched a key");
                Ok(())
            }
            Err(error) => {
                let (source, url) = (&wanted.source, &wanted.url);
                tracing::warn!(%source, %url, %error, "a key cannot be used");
                Err(error)
            }
        };
        *failed = outcome.as_ref().err().map(|error| (Instant::now(), error.clone()));
        door.tries.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    /// Asks for an address once, so that the vendor knows that somebody listens.
    ///
    /// # Errors
    ///
    /// No answer, or one that is not a 2xx.
    pub async fn visit(&self, source: &Arc<str>, url: &str) -> Result<(), KeyError> {
        self.spend(source)?;
        self.get(url).await?;
        // Its query is a credential.
        let shown = url.split('?').next().unwrap_or_default();
        tracing::info!(%source, url = %shown, "visited what a handshake named");
        Ok(())
    }

    fn door(&self, id: &KeyId) -> Arc<Door> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if KEYS_MAX < doors.len() {
            // Who waits has a hold of its own. What stands here of others can be learnt again.
            doors.retain(|_, door| 1 < Arc::strong_count(door));
        }
        Arc::clone(doors.entry(id.clone()).or_default())
    }

    fn spend(&self, source: &Arc<str>) -> Result<(), KeyError> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let budget =
            budgets.entry(Arc::clone(source)).or_insert(Budget { left: BUDGET, since: now });
        let waited = now.saturating_duration_since(budget.since).as_secs();
        let earned = u32::try_from(waited / BUDGET_REFILL.as_secs()).unwrap_or(BUDGET);
        if 0 < earned {
            budget.left = budget.left.saturating_add(earned).min(BUDGET);
            budget.since = now;
        }
        budget.left = budget.left.checked_sub(1).ok_or(KeyError::TooMany)?;
        Ok(())
    }

    fn trust(&self) -> &Trust {
        self.trust.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                tracing::error!("no certificate authorities on this system");
            }
            Trust::new(found.certs, self.connector.clone())
        })
    }

    async fn get(&self, url: &str) -> Result<Bytes, KeyError> {
        let uri: Uri = url.parse().map_err(|_| KeyError::Fetch("it has no address".to_owned()))?;
        let fetching = async {
            let _place = self.at_once.acquire().await;
            ask(&self.trust().client, uri).await
        };
        let answer = timeout(FETCH_TIME, fetching).await;
        answer
            .unwrap_or_else(|_| Err(format!("no answer within {}s", FETCH_TIME.as_secs())))
            .map_err(KeyError::Fetch)
    }
}

/// What is at `uri`. A redirect is an answer, and not the one that was wanted.
async fn ask(client: &HttpClient, uri: Uri) -> Result<Bytes, String> {
    let request = Request::get(uri)
        .header(header::USER_AGENT, concat!("relayflow/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    let answer = client.request(request).await.map_err(|e| story(&e))?;
    if !answer.status().is_success() || answer.status() == StatusCode::NO_CONTENT {
        return Err(format!("it answers {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes()).map_err(|e| e.to_string())
}

/// An error with what led to it.
fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text = format!("{text}: {error}");
        at = error.source();
    }
    text
}

impl Trust {
    fn new(roots: Vec<CertificateDer<'static>>, connector: Connector) -> Self {
        let mut store = rustls::RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(store)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https);
        Self { roots, client }
    }
}

#[cfg(test)]
mod tests;
