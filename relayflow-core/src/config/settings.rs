//! The sections that are no workflows: store, ingest, api, egress, retry, providers, sources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use toml::de::DeValue;

use super::reader::{Origin, Reader, Section, Setting};
use super::secrets::{Known, is_secret_name};
use super::units::{self, Raw};
use super::{
    ApiConfig, DriftConfig, EgressConfig, IngestConfig, Role, SourceConfig, StoreConfig, Tls, Token,
};
use crate::backoff::Backoff;
use crate::filter::show_duration;
use crate::provider::Catalog;
use crate::secret::Secret;
use crate::text::nearest;

/// Within which equal bytes without an id are the same event, unless a source says otherwise.
const DERIVED_WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// How many secrets of a source are tried (`guarantees.md`, 10).
const SECRETS_MAX: usize = 4;

impl Reader<'_> {
    pub(super) fn store(&mut self, root: &mut Section<'_>, dirs: &Dirs) -> Option<StoreConfig> {
        let mut section = self.section(root, "store");
        let url = self.setting(&mut section, "url");
        let url = url.and_then(|setting| {
            let url = self.read(&setting, |raw| store_url(&units::text(raw)?, dirs.of(&setting)));
            self.explain(&setting, units::shown(&setting.raw));
            url
        });
        let unsafe_durability = self.get(&mut section, "unsafe_durability", units::boolean);
        self.finish(&section);
        Some(StoreConfig { url: url?, unsafe_durability: unsafe_durability? })
    }

    pub(super) fn ingest(&mut self, root: &mut Section<'_>, dirs: &Dirs) -> Option<IngestConfig> {
        let mut section = self.section(root, "ingest");
        let s = &mut section;
        let listen = self.get(s, "listen", units::address);
        let public_url = self.get(s, "public_url", units::public_url);
        let behind_proxy = self.get(s, "behind_proxy", units::boolean);
        let tls = self.tls(s, dirs);
        let body_bytes_max = self.get(s, "body_bytes_max", units::size);
        let bodies_bytes_max = self.get(s, "bodies_bytes_max", units::size);
        let requests_max = self.get(s, "requests_max", units::count);
        let connections_max = self.get(s, "connections_max", units::count);
        let per_address = self.get(s, "connections_per_address_max", units::count);
        if let (Some(one), Some(all)) = (body_bytes_max, bodies_bytes_max)
            && all < one
        {
            let message = "`ingest.bodies_bytes_max` is less than `ingest.body_bytes_max`";
            self.error(&section.from, message.to_owned(), None);
        }
        self.finish(&section);
        Some(IngestConfig {
            listen: listen?,
            public_url,
            behind_proxy: behind_proxy?,
            tls: tls?,
            body_bytes_max: body_bytes_max?,
            bodies_bytes_max: bodies_bytes_max?,
            requests_max: to_usize(requests_max?),
            connections_max: to_usize(connections_max?),
            connections_per_address_max: to_usize(per_address?),
        })
    }

    pub(super) fn api(&mut self, root: &mut Section<'_>, dirs: &Dirs) -> Option<ApiConfig> {
        let mut section = self.section(root, "api");
        let s = &mut section;
        let place = self.setting(s, "listen");
        let listen = self.get(s, "listen", units::address);
        let public_url = self.get(s, "public_url", units::public_url);
        let behind_proxy = self.get(s, "behind_proxy", units::boolean);
        let tls = self.tls(s, dirs);
        let tokens = self.tokens(s, dirs);
        self.finish(&section);
        let (listen, behind_proxy, tls) = (listen?, behind_proxy?, tls?);
        if !listen.ip().is_loopback() && !behind_proxy && tls.is_none() {
            let from = place.map_or(section.from, |setting| setting.from);
            let message = format!("the API on {listen} would send tokens in the clear");
            let fix = "listen on 127.0.0.1, set `tls`, or `behind_proxy = true` if a proxy has TLS";
            self.error(&from, message, Some(fix.to_owned()));
        }
        Some(ApiConfig { listen, public_url, behind_proxy, tls, tokens })
    }

    fn tokens(&mut self, api: &mut Section<'_>, dirs: &Dirs) -> Vec<Token> {
        let mut tokens = Vec::new();
        for (name, mut section) in self.named(api, "tokens") {
            let role = self.require(&mut section, "role", role);
            let setting = self.setting(&mut section, "token");
            if setting.is_none() {
                let message = format!("{} has no `token`", section.title());
                self.error(&section.from.clone(), message, None);
            }
            let token =
                setting.and_then(|setting| self.secret(&setting, dirs.of(&setting), Known::Secret));
            self.finish(&section);
            if let (Some(role), Some(token)) = (role, token) {
                tokens.push(Token { name, role, token });
            }
        }
        tokens
    }

    /// `None` for a mistake; `Some(None)` where there is no `tls`.
    fn tls(&mut self, of: &mut Section<'_>, dirs: &Dirs) -> Option<Option<Tls>> {
        let mut section = self.section(of, "tls");
        let (cert, key) = (self.setting(&mut section, "cert"), self.setting(&mut section, "key"));
        self.finish(&section);
        match (cert, key) {
            (None, None) => Some(None),
            (Some(cert), Some(key)) => {
                let cert = self.file(&cert, dirs.of(&cert));
                let key = self.file(&key, dirs.of(&key));
                Some(Some(Tls { cert: cert?, key: key? }))
            }
            (Some(_), None) | (None, Some(_)) => {
                let message = format!("{} wants both `cert` and `key`", section.title());
                self.error(&section.from, message, None);
                None
            }
        }
    }

    pub(super) fn egress(&mut self, root: &mut Section<'_>) -> Option<EgressConfig> {
        let mut section = self.section(root, "egress");
        let allow = self.get(&mut section, "allow", units::networks);
        self.finish(&section);
        Some(EgressConfig { allow: allow? })
    }

    pub(super) fn drift(&mut self, root: &mut Section<'_>) -> Option<DriftConfig> {
        let mut section = self.section(root, "drift");
        let is_enabled = self.get(&mut section, "enabled", units::boolean);
        self.finish(&section);
        Some(DriftConfig { is_enabled: is_enabled? })
    }

    pub(super) fn retry(&mut self, root: &mut Section<'_>) -> Option<Backoff> {
        let mut section = self.section(root, "retry");
        let backoff = self.backoff(&mut section, None);
        self.finish(&section);
        backoff
    }

    /// A retry policy; what it leaves out is as in `general`.
    pub(super) fn backoff(
        &mut self,
        section: &mut Section<'_>,
        general: Option<Backoff>,
    ) -> Option<Backoff> {
        let general = general.unwrap_or_default();
        let errors = self.errors.len();
        let attempts = self.get(section, "attempts", units::count);
        let first = self.get(section, "first", units::duration);
        let longest = self.get(section, "longest", units::duration);
        let give_up_after = self.get(section, "give_up_after", units::duration);
        let inherited = [
            ("attempts", attempts.is_none(), general.attempts.to_string()),
            ("first", first.is_none(), show_duration(general.first)),
            ("longest", longest.is_none(), show_duration(general.longest)),
            ("give_up_after", give_up_after.is_none(), show_duration(general.give_up_after)),
        ];
        for (key, is_inherited, shown) in inherited {
            if is_inherited && section.path != "retry" {
                self.explain_unsaid(section, key, shown, Origin::As(format!("retry.{key}")));
            }
        }
        let backoff = Backoff {
            attempts: attempts.unwrap_or(general.attempts),
            first: first.unwrap_or(general.first),
            longest: longest.unwrap_or(general.longest),
            give_up_after: give_up_after.unwrap_or(general.give_up_after),
        };
        if backoff.longest < backoff.first {
            let message = format!("{}: `longest` is shorter than `first`", section.title());
            self.error(&section.from.clone(), message, None);
        }
        (errors == self.errors.len()).then_some(backoff)
    }

    pub(super) fn providers(&mut self, root: &mut Section<'_>, dirs: &Dirs) -> Option<PathBuf> {
        let mut section = self.section(root, "providers");
        let setting = self.setting(&mut section, "dir");
        self.finish(&section);
        if setting.is_none() {
            self.unset.push(section.key("dir"));
        }
        let setting = setting?;
        let text = self.read(&setting, units::text)?;
        let dir = dirs.of(&setting).join(&text);
        self.explain(&setting, text);
        if !dir.is_dir() {
            let message = format!("`providers.dir`: there is no folder `{}`", dir.display());
            self.error(&setting.from, message, None);
            return None;
        }
        Some(dir)
    }

    pub(super) fn sources(
        &mut self,
        root: &mut Section<'_>,
        dirs: &Dirs,
        ingest_public_url: Option<&str>,
        catalog: &Catalog,
    ) -> Vec<SourceConfig> {
        let mut sources = Vec::new();
        for (name, mut section) in self.named(root, "sources") {
            let source = self.source(name, &mut section, dirs, catalog);
            self.finish(&section);
            let Some(source) = source else { continue };
            let compiled = if self.is_candidate {
                crate::provider::Source::for_reading(&source, catalog)
            } else {
                crate::provider::Source::new(&source, ingest_public_url, catalog)
            };
            if let (Ok(prepared), None) = (&compiled, source.tolerance) {
                let from = Origin::As(format!("provider {}", source.provider));
                self.explain_unsaid(&section, "tolerance", prepared.tolerance_label(), from);
            }
            match compiled {
                Ok(prepared) if prepared.trusts_published_key => {
                    let message = format!(
                        "source `{}` trusts RelayFlow's own test key: anyone can sign with it",
                        source.name
                    );
                    self.warn(&section.from, message, None);
                }
                Ok(_) => {}
                Err(e) => {
                    let message = format!("source `{}`: {}", source.name, chain(&e));
                    self.error(&section.from, message, None);
                }
            }
            sources.push(source);
        }
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        sources
    }

    fn source(
        &mut self,
        name: String,
        section: &mut Section<'_>,
        dirs: &Dirs,
        catalog: &Catalog,
    ) -> Option<SourceConfig> {
        let errors = self.errors.len();
        let place = section.from.clone();
        let provider_at = self.setting(section, "provider").map(|s| s.from);
        let provider = self.require(section, "provider", units::text);
        let tolerance = self.get(section, "tolerance", units::tolerance);
        let public_url = self.get(section, "public_url", units::public_url);
        let no = (false, "false".to_owned());
        let accept_identical = self.get_or(section, "accept_identical", units::boolean, no);
        let window = (DERIVED_WINDOW, show_duration(DERIVED_WINDOW));
        let derived_window = self.get_or(section, "derived_window", units::duration, window);
        let redact = self.get(section, "redact", units::texts);
        let secrets_at = self.setting(section, "secrets");
        let definition = provider.as_ref().and_then(|provider| catalog.get(provider));
        let settings = self.source_settings(section, dirs);
        let is_public = definition.is_some_and(|known| known.takes_public_keys(&settings));
        let known = if is_public { Known::Public } else { Known::Secret };
        let secrets = self.secrets(secrets_at.as_ref(), dirs, known);
        let reconcile = self.reconcile(section, dirs, definition.map(|known| &**known));

        if let Some(redact) = redact {
            self.redact.insert(name.clone(), redact);
        }
        let provider = provider?;
        let Some(definition) = definition else {
            let known = catalog.iter().map(|p| &*p.name);
            let fix = nearest(&provider, known).map_or_else(
                || format!("known are {}", names(catalog)),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("unknown provider `{provider}`");
            self.error(&provider_at.unwrap_or(place), message, Some(fix));
            return None;
        };
        // `none` only by name: as the definition's scheme, or as a setting that chooses it.
        let is_unsigned =
            definition.scheme() == "none" || settings.values().any(|value| value == "none");
        let shows_keys = || definition.shows_keys(&settings);
        if secrets.is_empty() && definition.learns_secret() {
            let message = format!(
                "source `{name}` waits for the secret that its provider brings in its first request"
            );
            self.warn(&place, message, None);
        } else if secrets.is_empty()
            && errors == self.errors.len()
            && !is_unsigned
            && !shows_keys()
            && !self.is_candidate
        {
            let from = secrets_at.map_or(place, |setting| setting.from);
            let message = format!("source `{name}` has no secret: anyone could send to it");
            let fix = r#"secrets = [{ env = "NAME" }]"#.to_owned();
            self.error(&from, message, Some(fix));
        }
        (errors == self.errors.len()).then_some(SourceConfig {
            name,
            provider,
            secrets,
            tolerance,
            public_url,
            settings,
            accept_identical,
            derived_window,
            reconcile,
        })
    }

    fn secrets(&mut self, setting: Option<&Setting<'_>>, dirs: &Dirs, known: Known) -> Vec<Secret> {
        let Some(setting) = setting else { return Vec::new() };
        let dir = dirs.of(setting);
        let Raw::Toml(DeValue::Array(items)) = &setting.raw else {
            // One by itself, as in a variable.
            return self.secret(setting, dir, known).into_iter().collect();
        };
        if SECRETS_MAX < items.len() {
            let message = format!("`{}` has more than {SECRETS_MAX} secrets", setting.key);
            self.error(&setting.from, message, None);
        }
        let mut secrets = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let one = Setting {
                key: format!("{}.{number}", setting.key),
                raw: Raw::Toml(item.get_ref()),
                from: Origin::File(item.span()),
            };
            secrets.extend(self.secret(&one, dir, known));
        }
        secrets
    }

    /// What the provider's definition declares; a value may be fetched as a secret is.
    fn source_settings(&mut self, of: &mut Section<'_>, dirs: &Dirs) -> BTreeMap<String, String> {
        let section = self.section(of, "settings");
        let mut settings = BTreeMap::new();
        for (name, setting) in self.free(&section) {
            let is_elsewhere = matches!(setting.raw, Raw::Toml(DeValue::Table(_)));
            let is_secret = is_secret_name(&name);
            let value = if is_elsewhere || is_secret {
                let known = if is_secret { Known::Secret } else { Known::Public };
                let secret = self.secret(&setting, dirs.of(&setting), known);
                secret.and_then(|s| String::from_utf8(s.expose().to_vec()).ok())
            } else {
                let value = self.read(&setting, units::scalar);
                self.explain(&setting, units::shown(&setting.raw));
                value
            };
            settings.extend(value.map(|value| (name, value)));
        }
        settings
    }
}

/// What relative paths are relative to.
#[derive(Debug)]
pub(super) struct Dirs {
    /// The folder of the file.
    pub(super) file: PathBuf,
    /// The working directory, for flags and variables.
    pub(super) work: PathBuf,
}

impl Dirs {
    pub(super) fn of(&self, setting: &Setting<'_>) -> &Path {
        match setting.from {
            Origin::File(_) | Origin::Default(_) | Origin::As(_) | Origin::Unsaid => &self.file,
            Origin::Env(_) | Origin::Flag(_) => &self.work,
        }
    }
}

/// `sqlite:PATH`, the path made absolute.
fn store_url(url: &str, dir: &Path) -> Result<String, String> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Err("PostgreSQL is not there yet in this version: wanted sqlite:PATH".to_owned());
    }
    let path = url.strip_prefix("sqlite:").ok_or("wanted sqlite:PATH")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path == ":memory:" || path.contains(['?', '#', '\0']) {
        return Err("wanted sqlite:PATH, a file".to_owned());
    }
    let path = std::path::absolute(dir.join(path)).map_err(|e| e.to_string())?;
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    Ok(format!("sqlite:{path}"))
}

fn role(raw: &Raw<'_>) -> Result<Role, String> {
    match units::text(raw)?.as_str() {
        "viewer" => Ok(Role::Viewer),
        "operator" => Ok(Role::Operator),
        "admin" => Ok(Role::Admin),
        other => Err(format!("`{other}` is no role: wanted viewer, operator or admin")),
    }
}

fn names(catalog: &Catalog) -> String {
    let names: Vec<&str> = catalog.iter().map(|provider| &*provider.name).collect();
    names.join(", ")
}

/// An error and what it came from, joined once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Listeners that may be the same address only by mistake.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0 && a == b
}
