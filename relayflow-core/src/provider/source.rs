//! A configured endpoint: a definition, its secrets and settings, prepared once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::catalog::{Catalog, Provider};
use super::definition::{self, Scheme};
use super::endpoint::Endpoint;
use super::forensics::{Spare, Standing};
use super::keep::KeptHeaders;
use super::key::{Key, sha256};
use super::rules::Rules;
use super::settings;
use crate::config::{SourceConfig, Tolerance};
use crate::secret::Secret;

/// The most secrets that are tried on one request.
const SECRETS_MAX: usize = 4;
/// The setting by which a source trusts a certificate in place of the vendor's own chain.
const AUTHORITY: &str = "ca";
/// A secret shorter than this, in bytes, can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// A configured endpoint of a provider.
pub struct Source {
    pub name: Arc<str>,
    pub provider: Arc<Provider>,
    /// The scheme, for lists of requests.
    pub scheme_label: Arc<str>,
    /// Equal bytes are separate events.
    pub accept_identical: bool,
    /// How long an equal body without an id is a duplicate.
    pub derived_window: SignedDuration,
    /// The whole URL that the vendor calls.
    pub public_url: Option<String>,
    /// What an operator should know, such as a secret that is too short.
    pub warnings: Vec<String>,
    /// Whether a secret is the public half of the key that RelayFlow publishes for tests.
    pub trusts_published_key: bool,
    /// Its vendor's API, where the config gives access to it.
    pub endpoint: Option<Endpoint>,
    /// `None`: as the definition has it; `Some(None)`: not checked.
    pub(super) tolerance: Option<Option<SignedDuration>>,
    pub(super) rules: Arc<Rules>,
    /// For each way of the rules, the keys that fit it.
    pub(super) keys: Vec<Vec<Key>>,
    pub(super) kept: KeptHeaders,
    /// As they are configured, to try them in other ways when a request is not verified.
    pub(super) secrets: Vec<Secret>,
    fingerprints: Vec<String>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("provider", &self.provider.name)
            .field("secrets", &self.fingerprints)
            .finish_non_exhaustive()
    }
}

/// Why a source cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("there is no provider `{given}`{}", suggestion(.near))]
    UnknownProvider { given: String, near: Vec<String> },
    #[error("`{provider}` needs a secret: {wanted}")]
    NoSecret { provider: String, wanted: &'static str },
    #[error("a secret is empty")]
    EmptySecret,
    #[error("there are {count} secrets; at most {SECRETS_MAX} are tried")]
    TooManySecrets { count: usize },
    #[error("secret {number} is not one of `{provider}`: {why}")]
    BadSecret { provider: String, number: usize, why: String },
    #[error("`{provider}` does not check who sends; it takes no secret")]
    NeedsNoSecret { provider: String },
    #[error("{0}")]
    Setting(String),
}

fn suggestion(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

impl Source {
    /// Prepares a source. `ingest_public_url` is what stands before `/in/{source}` where the source
    /// has no URL of its own.
    ///
    /// # Errors
    ///
    /// What in the source's section must be mended.
    pub fn new(
        config: &SourceConfig,
        ingest_public_url: Option<&str>,
        catalog: &Catalog,
    ) -> Result<Self, SourceError> {
        let provider = catalog.get(&config.provider).ok_or_else(|| unknown(config, catalog))?;
        let rules = rules(provider, &config.settings)?;
        let name = || provider.name.to_string();
        let with_authority = with_authority(config);
        let config = with_authority.as_ref().unwrap_or(config);
        if SECRETS_MAX < config.secrets.len() {
            return Err(SourceError::TooManySecrets { count: config.secrets.len() });
        }
        if config.secrets.iter().any(crate::secret::Secret::is_empty) {
            return Err(SourceError::EmptySecret);
        }
        let keys = keys(&rules, provider, config)?;
        let has_key = keys.iter().any(|keys| !keys.is_empty());
        let is_fetched = rules.ways.iter().any(|way| way.keys_at.is_some());
        if !has_key && !is_fetched && !rules.is_open() && !rules.learns() {
            return Err(SourceError::NoSecret { provider: name(), wanted: wanted(&rules) });
        }
        Self::of(config, ingest_public_url, catalog, rules, keys)
    }

    /// A source that can split and normalize what was verified before, and verify nothing: it has no
    /// secret.
    ///
    /// # Errors
    ///
    /// What in the source's section must be mended.
    pub fn for_reading(config: &SourceConfig, catalog: &Catalog) -> Result<Self, SourceError> {
        let provider = catalog.get(&config.provider).ok_or_else(|| unknown(config, catalog))?;
        let rules = rules(provider, &config.settings)?;
        let keys = rules.ways.iter().map(|_| Vec::new()).collect();
        Self::of(config, None, catalog, rules, keys)
    }

    fn of(
        config: &SourceConfig,
        ingest_public_url: Option<&str>,
        catalog: &Catalog,
        rules: Arc<Rules>,
        keys: Vec<Vec<Key>>,
    ) -> Result<Self, SourceError> {
        let provider = catalog.get(&config.provider).ok_or_else(|| unknown(config, catalog))?;
        let public_url = config.public_url.clone().or_else(|| {
            let base = ingest_public_url?.trim_end_matches('/');
            Some(format!("{base}/in/{}", config.name))
        });
        let mut warnings = warnings(config);
        let has_key = keys.iter().any(|keys: &Vec<Key>| !keys.is_empty());
        if !has_key && rules.learns() {
            warnings.push(format!(
                "it waits for the secret that `{}` brings in its first request, and refuses every \
                 event until then",
                provider.name
            ));
        }
        if public_url.is_none() && rules.ways.iter().any(super::way::Way::signs_url) {
            warnings.push(format!(
                "`{}` signs the URL that it calls: set `public_url` here or under `[ingest]`",
                provider.name
            ));
        }
        let endpoint = config
            .reconcile
            .as_ref()
            .map(|access| Endpoint::new(rules.listing.as_ref(), access))
            .transpose()?;
        let scheme = rules
            .ways
            .iter()
            .zip(&keys)
            .find(|(way, keys)| !keys.is_empty() || way.keys_at.is_some());
        let scheme = scheme.map_or(Scheme::None, |(way, _)| way.scheme);
        Ok(Self {
            name: config.name.as_str().into(),
            provider: Arc::clone(provider),
            scheme_label: scheme.name().into(),
            accept_identical: config.accept_identical || rules.accepts_identical,
            derived_window: config.derived_window,
            public_url,
            warnings,
            trusts_published_key: config
                .secrets
                .iter()
                .any(|secret| super::keypair::is_published(secret, &rules)),
            tolerance: config.tolerance.map(|tolerance| match tolerance {
                Tolerance::Off => None,
                Tolerance::Within(duration) => Some(duration),
            }),
            kept: KeptHeaders::new(&rules, catalog),
            endpoint,
            rules,
            keys,
            secrets: config.secrets.clone(),
            fingerprints: config.secrets.iter().map(fingerprint).collect(),
        })
    }

    /// An endpoint of a provider with that one's example settings and no secret: to see whether a
    /// request is that provider's. `None` where the definition does not compile so.
    pub(crate) fn stand_in(
        name: &str,
        public_url: Option<&str>,
        provider: &Provider,
        catalog: &Catalog,
    ) -> Option<Self> {
        let config = SourceConfig {
            name: name.to_owned(),
            provider: provider.name.to_string(),
            secrets: Vec::new(),
            tolerance: None,
            public_url: public_url.map(str::to_owned),
            settings: provider.examples.clone(),
            accept_identical: false,
            derived_window: SignedDuration::ZERO,
            reconcile: None,
        };
        Self::for_reading(&config, catalog).ok()
    }

    /// The beginning of each secret's digest, to tell secrets apart without showing them:
    /// `sha256:9c1f03ab`.
    #[must_use]
    pub fn secret_fingerprints(&self) -> Vec<String> {
        self.fingerprints.clone()
    }

    /// How long the vendor waits for an answer: `3s`, or `none` where it does not say.
    #[must_use]
    pub fn reply_within_label(&self) -> String {
        self.provider.reply_within_label()
    }

    /// The source's secrets, for when they are not in force.
    pub(crate) fn spares(&self, standing: Standing) -> Vec<Spare> {
        let spare = |secret: &Secret| Spare {
            source: Arc::clone(&self.name),
            secret: secret.clone(),
            standing,
        };
        self.secrets.iter().map(spare).collect()
    }

    /// Whether this is one of the source's secrets, as far as their fingerprints tell.
    #[must_use]
    pub fn has_secret(&self, secret: &Secret) -> bool {
        self.fingerprints.contains(&fingerprint(secret))
    }

    /// How far a signed time may lie from ours: `5m`, `off` where it is not checked, `none` where
    /// the provider signs none.
    #[must_use]
    pub fn tolerance_label(&self) -> String {
        let way =
            self.rules.ways.iter().find(|w| w.timestamp.as_ref().is_some_and(|t| t.is_signed));
        let Some(way) = way else { return "none".to_owned() };
        match self.tolerance.unwrap_or(way.tolerance) {
            Some(duration) => format!("{duration:#}"),
            None => "off".to_owned(),
        }
    }
}

/// `sha256:` and the first eight digits of a secret's digest.
#[must_use]
pub fn fingerprint(secret: &Secret) -> String {
    format!("sha256:{}", hex::encode(&sha256(&[secret.expose()])[..4]))
}

fn unknown(config: &SourceConfig, catalog: &Catalog) -> SourceError {
    let given = config.provider.clone();
    let is_near = |name: &str| {
        let same = name.bytes().zip(given.bytes()).take_while(|(a, b)| a == b).count();
        3 <= same && same * 2 >= given.len()
    };
    let near = catalog.iter().map(|p| p.name.to_string()).filter(|n| is_near(n)).take(3).collect();
    SourceError::UnknownProvider { given, near }
}

impl Provider {
    /// Whether a source with these settings needs no secret, because the vendor shows the key that it
    /// signs with on a host of its own.
    #[must_use]
    pub fn shows_keys(&self, settings: &BTreeMap<String, String>) -> bool {
        rules(self, settings).is_ok_and(|rules| rules.ways.iter().any(|way| way.keys_at.is_some()))
    }

    /// Whether what a source with these settings holds are public keys, which need no hiding.
    #[must_use]
    pub fn takes_public_keys(&self, settings: &BTreeMap<String, String>) -> bool {
        rules(self, settings).is_ok_and(|rules| rules.ways.iter().all(super::keypair::is_of_pair))
    }
}

/// A certificate that a source's settings name is as good as one among its secrets.
fn with_authority(config: &SourceConfig) -> Option<SourceConfig> {
    let pem = config.settings.get(AUTHORITY).filter(|pem| !pem.is_empty())?;
    let mut config = config.clone();
    config.secrets.push(Secret::new(pem.clone()));
    Some(config)
}

fn rules(
    provider: &Provider,
    settings: &BTreeMap<String, String>,
) -> Result<Arc<Rules>, SourceError> {
    if provider.settings.is_empty() && settings.is_empty() {
        return Ok(Arc::clone(&provider.rules));
    }
    let text = settings::fill_in(&provider.text, Some(settings))
        .map_err(|flaw| SourceError::Setting(flaw.message))?;
    let file = definition::read(&text).map_err(|flaw| SourceError::Setting(flaw.message))?;
    let rules = Rules::new(&file).map_err(|flaws| {
        let messages: Vec<_> = flaws.into_iter().map(|f| f.message).collect();
        SourceError::Setting(messages.join("; "))
    })?;
    Ok(Arc::new(rules))
}

/// The keys for each way. A secret that fits no way is a mistake.
fn keys(
    rules: &Rules,
    provider: &Provider,
    config: &SourceConfig,
) -> Result<Vec<Vec<Key>>, SourceError> {
    let mut keys: Vec<Vec<Key>> = rules.ways.iter().map(|_| Vec::new()).collect();
    for (number, secret) in config.secrets.iter().enumerate() {
        if rules.ways.iter().all(|way| way.scheme == Scheme::None) {
            return Err(SourceError::NeedsNoSecret { provider: provider.name.to_string() });
        }
        let mut fits = false;
        let mut why = String::new();
        for (way, keys) in rules.ways.iter().zip(&mut keys) {
            match Key::of(way, secret) {
                Ok(Some(key)) => {
                    keys.push(key);
                    fits = true;
                }
                Ok(None) => {}
                Err(reason) => why = reason,
            }
        }
        if !fits {
            let provider = provider.name.to_string();
            return Err(SourceError::BadSecret { provider, number: number + 1, why });
        }
    }
    Ok(keys)
}

/// What a secret is, in words.
pub(super) fn wanted(rules: &Rules) -> &'static str {
    if rules.ways.first().is_some_and(|way| way.keys_at.is_some()) {
        return "none: the vendor's key is fetched; or its public key, or its authority's certificate";
    }
    match rules.ways.first().map(|way| way.scheme) {
        Some(Scheme::Basic) => "`user:password`",
        Some(Scheme::Ed25519 | Scheme::EcdsaP256 | Scheme::Rsa) => "the vendor's public key",
        Some(Scheme::Jwt | Scheme::HttpSignature) => {
            "the signing secret, or the vendor's public key where that is what it has"
        }
        Some(Scheme::Token | Scheme::Bearer) => "the token that the vendor sends",
        Some(
            Scheme::HmacSha1
            | Scheme::HmacSha256
            | Scheme::HmacSha384
            | Scheme::HmacSha512
            | Scheme::Sha256
            | Scheme::None,
        )
        | None => "the signing secret that the vendor shows",
    }
}

fn warnings(config: &SourceConfig) -> Vec<String> {
    config
        .secrets
        .iter()
        .enumerate()
        .filter(|(_, secret)| secret.len() < SECRET_BYTES_MIN)
        .map(|(number, _)| {
            format!(
                "secret {} has fewer than {SECRET_BYTES_MIN} bytes: it can be guessed",
                number + 1
            )
        })
        .collect()
}
