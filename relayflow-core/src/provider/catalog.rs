//! The list of all providers: the built-in ones, and a folder of the user's own.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::contracts::Contracts;
use super::definition::{self, Definition, Scheme, Status};
use super::explain;
use super::rules::{Place, Rules};
use super::settings;
use super::template::{Piece, atoms};
use crate::diagnostic::Diagnostic;

struct BuiltIn {
    name: &'static str,
    definition: &'static str,
    samples: &'static str,
    contracts: &'static [(&'static str, &'static str)],
}

const BUILT_IN: &[BuiltIn] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// Every provider, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    providers: BTreeMap<Arc<str>, Arc<Provider>>,
    kept: HashSet<String>,
}

impl Catalog {
    /// The providers that are compiled in; read once.
    #[must_use]
    pub fn built_in() -> Self {
        static READ: LazyLock<Catalog> = LazyLock::new(|| {
            let providers = BUILT_IN.iter().map(|file| {
                let provider = Provider::new(file.name, file.definition, file.samples, true);
                let mut provider = provider.expect("what is compiled in was checked by a test");
                provider.contracts = Contracts::built_in(file.contracts);
                Arc::new(provider)
            });
            Catalog::of(providers)
        });
        READ.clone()
    }

    /// The built-in ones and those of a folder's `*.toml`, which replace a built-in one of the same
    /// name. A file's samples are in `<name>/samples.toml` beside it, its contracts in
    /// `<name>/contracts/<type>.json`.
    ///
    /// # Errors
    ///
    /// Every mistake in every file.
    pub fn with_dir(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut mistakes = Vec::new();
        let mut providers: Vec<_> = Self::built_in().providers.into_values().collect();
        match files(dir) {
            Err(error) => mistakes.push(unreadable(dir, &error)),
            Ok(paths) => {
                for path in paths {
                    match Provider::load(&path) {
                        Ok(provider) => providers.push(Arc::new(provider)),
                        Err(more) => mistakes.extend(more),
                    }
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self::of(providers))
    }

    /// The built-in ones and these definitions: name and text of each.
    ///
    /// # Errors
    ///
    /// Every mistake in every text.
    pub fn with_texts<'t>(
        texts: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut mistakes = Vec::new();
        let mut providers: Vec<_> = Self::built_in().providers.into_values().collect();
        for (name, text) in texts {
            match Provider::new(name, text, "", false) {
                Ok(provider) => providers.push(Arc::new(provider)),
                Err(more) => mistakes.extend(more),
            }
        }
        if mistakes.is_empty() { Ok(Self::of(providers)) } else { Err(mistakes) }
    }

    /// The same with one more, which replaces one of the same name.
    #[must_use]
    pub fn with(self, provider: Arc<Provider>) -> Self {
        Self::of(self.providers.into_values().chain([provider]))
    }

    fn of(providers: impl IntoIterator<Item = Arc<Provider>>) -> Self {
        let providers: BTreeMap<_, _> =
            providers.into_iter().map(|p| (Arc::clone(&p.name), p)).collect();
        let kept = providers.values().flat_map(|p| p.header_names()).collect();
        Self { providers, kept }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Every header that any definition reads, in lower case.
    #[must_use]
    pub fn kept_header_names(&self) -> &HashSet<String> {
        &self.kept
    }
}

fn files(dir: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic {
        file: path.display().to_string(),
        text: String::new(),
        span: 0..0,
        message: format!("cannot be read: {error}"),
        fix: None,
        is_warning: false,
    }
}

/// A vendor's webhook dialect.
#[derive(Debug)]
pub struct Provider {
    /// As sources name it: one word.
    pub name: Arc<str>,
    /// As people write it.
    pub title: String,
    pub category: String,
    /// The definition's name and version: `acme@1`.
    pub contract: Arc<str>,
    /// What the definition was written from, and when it was last held against that.
    pub source: String,
    pub checked: String,
    pub built_in: bool,
    /// How sure the definition is of the way to sign.
    pub status: Status,
    /// The largest body that the vendor sends, in bytes, where that is more than the general limit.
    pub body_bytes_max: Option<usize>,
    /// How long the vendor waits for an answer, where it says.
    pub reply_within: Option<Duration>,
    /// The names of what a source may set, and what each is about.
    pub settings: BTreeMap<String, String>,
    /// An example of each setting that a source must make, for the demo and for tests.
    pub examples: BTreeMap<String, String>,
    /// What its events are expected to look like, by type.
    pub contracts: Contracts,
    pub(super) text: String,
    pub(super) rules: Arc<Rules>,
    samples: Vec<Sample>,
}

/// One payload of the project's own, for `send` and `demo`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    #[serde(rename = "type")]
    pub event_type: String,
    /// Headers beyond those that signing adds.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    #[serde(default)]
    sample: Vec<Sample>,
}

impl Sample {
    /// The body for the `serial`-th event: `<n>` in it becomes twelve digits, `<now>`, `<now_ms>`
    /// and `<now_iso>` the time.
    #[must_use]
    pub fn body(&self, serial: u64, now: Timestamp) -> Vec<u8> {
        self.body
            .replace("<n>", &format!("{serial:012}"))
            .replace("<now>", &now.as_second().to_string())
            .replace("<now_ms>", &now.as_millisecond().to_string())
            .replace("<now_iso>", &format!("{now:.3}"))
            .into_bytes()
    }
}

/// The file beside a definition with payloads for `send`.
const SAMPLES: &str = "samples.toml";

impl Provider {
    /// Reads and checks the definition at `path` with its samples.
    ///
    /// # Errors
    ///
    /// Every mistake, with its place.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let whole = |path: &Path, message: String| {
            vec![Diagnostic {
                file: path.display().to_string(),
                text: String::new(),
                span: 0..0,
                message,
                fix: None,
                is_warning: false,
            }]
        };
        let read =
            |path: &Path| std::fs::read_to_string(path).map_err(|e| vec![unreadable(path, &e)]);
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(is_word) {
            let message = format!(
                "`{name}` is no name of a provider: wanted lower-case letters, digits and `-`, since \
                 sources name it so"
            );
            return Err(whole(path, message));
        }
        let beside = path.with_extension("").join(SAMPLES);
        let samples = if beside.exists() { read(&beside)? } else { String::new() };
        let new = Self::new(name, &read(path)?, &samples, false);
        let mut provider = new.map_err(|mut mistakes| {
            for mistake in &mut mistakes {
                let of_samples = mistake.file.ends_with(SAMPLES);
                let path = if of_samples { &beside } else { path };
                mistake.file = path.display().to_string();
            }
            mistakes
        })?;
        provider.contracts = Contracts::of_dir(&path.with_extension("").join("contracts"))?;
        Ok(provider)
    }

    /// Reads and checks a definition. `name` is the file's, without its ending.
    ///
    /// # Errors
    ///
    /// Every mistake, with its place.
    pub fn new(
        name: &str,
        text: &str,
        samples: &str,
        built_in: bool,
    ) -> Result<Self, Vec<Diagnostic>> {
        let file = if built_in { "<built-in>".to_owned() } else { format!("{name}.toml") };
        let told = |filled: &str, flaws: Vec<definition::Flaw>| -> Vec<Diagnostic> {
            flaws.into_iter().map(|f| explain::diagnostic(&file, text, filled, f)).collect()
        };
        let filled = settings::fill_in(text, None).map_err(|flaw| told(text, vec![flaw]))?;
        let (read, mut flaws) = explain::read_all::<Definition>(&filled);
        let Some(definition) = read else { return Err(told(&filled, flaws)) };
        let rules = Rules::new(&definition).map_err(|more| flaws.extend(more)).ok();
        let Some(rules) = rules.filter(|_| flaws.is_empty()) else {
            flaws.sort_by_key(|flaw| flaw.span.start);
            return Err(told(&filled, flaws));
        };
        let samples: Samples = explain::read(&format!("{name}/{SAMPLES}"), samples)
            .map_err(|mistake| vec![mistake])?;
        let file = definition;
        Ok(Self {
            name: name.into(),
            title: file.title,
            category: file.category,
            contract: format!("{name}@{}", file.version).into(),
            source: file.source,
            checked: file.checked.into_inner(),
            built_in,
            status: file.status,
            body_bytes_max: file.body_bytes_max,
            reply_within: rules.reply_within.and_then(|time| time.try_into().ok()),
            examples: file
                .settings
                .iter()
                .filter(|(_, setting)| setting.default.is_none())
                .filter_map(|(name, setting)| Some((name.clone(), setting.example.clone()?)))
                .collect(),
            settings: file.settings.into_iter().map(|(name, s)| (name, s.about)).collect(),
            contracts: Contracts::default(),
            text: text.to_owned(),
            rules: Arc::new(rules),
            samples: samples.sample,
        })
    }

    /// The scheme of the preferred way: `hmac-sha256`, `ed25519`, `basic` …
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.rules.ways.first().map_or("none", |way| way.scheme.name())
    }

    /// Whether a source needs no secret: anyone may send.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rules.ways.iter().any(|way| way.scheme == Scheme::None)
    }

    /// Whether the vendor brings the secret itself in its first request, so that a source may wait
    /// for it.
    #[must_use]
    pub fn learns_secret(&self) -> bool {
        self.rules.learns()
    }

    /// How its vendor's API lists what it sent, where the definition says so.
    pub(crate) fn listing(&self) -> Option<&super::listing::Listing> {
        self.rules.listing.as_deref()
    }

    /// How long the vendor waits for an answer: `3s`, or `none` where it does not say.
    #[must_use]
    pub fn reply_within_label(&self) -> String {
        self.rules.reply_within.map_or_else(|| "none".to_owned(), |time| format!("{time:#}"))
    }

    /// The kind of a type; of one whose kind follows from the payload, that of the plain case.
    #[must_use]
    pub fn kind_of(&self, event_type: &str) -> Option<&Arc<str>> {
        self.rules.kinds.get(event_type)?.last().map(|k| &k.kind)
    }

    /// Every type that the definition or a sample names, with its kind; by name.
    #[must_use]
    pub fn types(&self) -> Vec<(String, Option<Arc<str>>)> {
        let mut names: Vec<&String> = self.rules.kinds.keys().filter(|name| *name != "*").collect();
        names.extend(self.samples.iter().map(|s| &s.event_type));
        names.sort();
        names.dedup();
        names.into_iter().map(|name| (name.clone(), self.kind_of(name).cloned())).collect()
    }

    /// The project's own payloads, each of another type; the plainest first.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Every header that the definition reads, in lower case.
    fn header_names(&self) -> Vec<String> {
        header_names(&self.rules)
    }
}

/// Every header that these rules read, in lower case.
pub(super) fn header_names(rules: &Rules) -> Vec<String> {
    let mut names: Vec<String> = rules
        .ways
        .iter()
        .flat_map(|way| way.headers().into_iter().map(ToString::to_string))
        .collect();
    let readings: Vec<&Vec<Piece<Place>>> = rules
        .id
        .iter()
        .chain(&rules.event_type)
        .chain(&rules.subject)
        .chain(rules.at.iter().map(|(reading, _)| reading))
        .chain(
            rules
                .kinds
                .values()
                .flatten()
                .flat_map(|kind| kind.attributes.iter().flat_map(|a| &a.from)),
        )
        .collect();
    for reading in readings {
        for place in atoms(reading) {
            if let Place::Header(name) = place {
                names.push(name.to_string());
            }
        }
    }
    names.extend(rules.handshakes.iter().filter_map(|s| Some(s.when.header.as_ref()?.to_string())));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_is_whole() {
        for file in BUILT_IN {
            if let Err(mistakes) = Provider::new(file.name, file.definition, file.samples, true) {
                let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
                panic!("{}:\n{}", file.name, shown.join("\n"));
            }
        }
    }

    #[test]
    fn every_definition_has_a_status_and_only_the_vendors_word_confirms() {
        let catalog = Catalog::built_in();
        let mut counts = BTreeMap::new();
        for file in BUILT_IN {
            let table: toml::Table = file.definition.parse().unwrap();
            let status = table.get("status").map_or("confirmed", |s| s.as_str().unwrap());
            *counts.entry(status.to_owned()).or_insert(0) += 1;
            let provider = catalog.get(file.name).unwrap();
            assert_eq!(provider.status.name(), status, "{}", file.name);
        }
        let names: Vec<&str> = counts.keys().map(String::as_str).collect();
        assert_eq!(names, ["confirmed", "partial", "unconfirmed"]);
    }
}
