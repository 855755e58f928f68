//! `relayflow init`: a `relayflow.toml` to start from, with keys that nobody else has.

mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relayflow_core::api::V;
use relayflow_core::api::codes::Exit;
use relayflow_core::provider::sign::key_pair;
use relayflow_core::provider::{Catalog, Provider, Sample, Source};
use relayflow_core::secret::Secret;
use serde::Serialize;

use super::list::show_document;
use super::send::no_provider;
use crate::app::App;
use crate::args::InitArgs;
use crate::failure::{Done, Failure};
use crate::vendor::source_config;

/// What one starts with who names no provider: any sender with an HMAC.
const USUAL: &str = "generic";
const FILE: &str = "relayflow.toml";
const SECRETS: &str = "secrets";

/// What was written, and what to type next.
#[derive(Debug, Serialize)]
struct Written {
    v: u32,
    object: &'static str,
    dir: String,
    files: Vec<String>,
    /// Files that were there and stay as they are.
    kept: Vec<String>,
    next: Vec<String>,
}

/// A source of the file.
struct Start {
    provider: Arc<Provider>,
    /// What the source verifies with.
    verifying: Secret,
    /// What signs, where that is another key.
    signing: Option<Secret>,
    /// Needed where the vendor signs the URL that it calls.
    needs_public_url: bool,
}

pub(crate) fn init(app: &App, args: &InitArgs) -> Done {
    let catalog = Catalog::built_in();
    let mut starts = Vec::new();
    for provider in chosen(&catalog, &args.provider)? {
        starts.push(Start::new(provider, &catalog)?);
    }
    let dir = app.dir.join(&args.dir);
    let place = dir.join(FILE);
    if place.exists() && !args.force {
        return Err(Failure::new("refused.exists", format!("there is a {}", shown(&place, app)))
            .why("nothing was changed")
            .hint("relayflow init --force writes over it"));
    }
    let mut written = Written {
        v: V,
        object: "init",
        dir: args.dir.display().to_string(),
        files: Vec::new(),
        kept: Vec::new(),
        next: next(&starts),
    };
    std::fs::create_dir_all(&dir)?;
    for (name, secret) in starts.iter().flat_map(Start::files) {
        let is_new = write::secret(&dir.join(SECRETS), &name, &secret)?;
        let list = if is_new { &mut written.files } else { &mut written.kept };
        list.push(shown(&dir.join(SECRETS).join(&name), app));
    }
    write::config(&place, &write::text(&starts), args.force)?;
    written.files.insert(0, shown(&place, app));
    tell(app, &written)
}

fn tell(app: &App, written: &Written) -> Done {
    if show_document(&app.out, written, written.files.first().map_or("", String::as_str))? {
        return Ok(Exit::Ok);
    }
    for file in &written.files {
        app.out.notice(&format!("wrote {file}"));
    }
    for file in &written.kept {
        app.out.notice(&format!("kept  {file}"));
    }
    if written.dir != "." {
        app.out.notice(&format!("next, in {}:", written.dir));
    } else {
        app.out.notice("next:");
    }
    for command in &written.next {
        app.out.line(command)?;
    }
    Ok(Exit::Ok)
}

/// The providers that were asked for, each once.
fn chosen(catalog: &Catalog, asked: &[String]) -> Result<Vec<Arc<Provider>>, Failure> {
    let usual = [USUAL.to_owned()];
    let asked = if asked.is_empty() { &usual } else { asked };
    let mut chosen: Vec<Arc<Provider>> = Vec::new();
    for name in asked.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        let provider = catalog.get(name).ok_or_else(|| no_provider(catalog, name))?;
        if chosen.iter().all(|known| known.name != provider.name) {
            chosen.push(Arc::clone(provider));
        }
    }
    Ok(chosen)
}

impl Start {
    fn new(provider: Arc<Provider>, catalog: &Catalog) -> Result<Self, Failure> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Failure::error(format!("no randomness: {e}")))?;
        let keys = key_pair(&provider, seed);
        let is_shared = keys.signing.expose() == keys.verifying.expose();
        let config = source_config(&provider, keys.verifying.clone());
        let needs_public_url = Source::new(&config, None, catalog).is_err();
        Ok(Self {
            signing: (!is_shared).then_some(keys.signing),
            verifying: keys.verifying,
            provider,
            needs_public_url,
        })
    }

    fn name(&self) -> &str {
        &self.provider.name
    }

    /// Anyone may send: there is nothing to keep.
    fn is_open(&self) -> bool {
        self.provider.is_open()
    }

    /// The file that the config names; a public key is one by its name.
    fn verifying_file(&self) -> String {
        let end = if self.signing.is_some() { ".pub" } else { "" };
        format!("{}{end}", self.name())
    }

    fn signing_file(&self) -> Option<String> {
        self.signing.as_ref().map(|_| format!("{}.key", self.name()))
    }

    fn files(&self) -> Vec<(String, Secret)> {
        if self.is_open() {
            return Vec::new();
        }
        let mut files = vec![(self.verifying_file(), self.verifying.clone())];
        files.extend(self.signing_file().zip(self.signing.clone()));
        files
    }
}

/// The three commands to type next.
fn next(starts: &[Start]) -> Vec<String> {
    let send = starts.iter().find_map(|start| {
        // One that means something: others may be answered without being an event at all.
        let samples = start.provider.samples();
        let has_kind = |sample: &&Sample| start.provider.kind_of(&sample.event_type).is_some();
        let sample = samples.iter().find(has_kind).or_else(|| samples.first())?;
        let key = start.signing_file().map(|file| format!(" --key-file {SECRETS}/{file}"));
        let (name, event_type) = (start.name(), shell(&sample.event_type));
        Some(format!("relayflow send {name} {event_type} --follow{}", key.unwrap_or_default()))
    });
    let check = "relayflow config check".to_owned();
    let send = send.unwrap_or_else(|| "relayflow send --list".to_owned());
    vec![check, "relayflow up".to_owned(), send]
}

/// As a word of a shell.
fn shell(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}

fn shown(path: &Path, app: &App) -> String {
    let short: PathBuf = path.strip_prefix(&app.dir).unwrap_or(path).components().collect();
    short.display().to_string()
}

#[cfg(test)]
mod tests {
    use relayflow_core::config::Config;

    use super::*;

    /// Every built-in provider has a start that the daemon takes.
    #[test]
    fn every_provider_can_be_started_with() {
        let catalog = Catalog::built_in();
        for provider in catalog.iter() {
            let start = Start::new(Arc::clone(provider), &catalog).unwrap();
            let dir = tempfile::tempdir().unwrap();
            for (name, secret) in start.files() {
                assert!(write::secret(&dir.path().join(SECRETS), &name, &secret).unwrap());
            }
            let text = write::text(&[start]);
            let read = Config::parse(&text, FILE, dir.path(), &catalog, &|_| None);
            let read = read.map_err(|wrong| {
                wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            });
            let (config, _) = read.unwrap_or_else(|wrong| panic!("{}: {wrong}", provider.name));
            assert_eq!(config.sources.len(), 1, "{}", provider.name);
        }
    }

    #[test]
    fn a_start_is_read_by_a_person() {
        let catalog = Catalog::built_in();
        let starts: Vec<Start> = chosen(&catalog, &["stripe".into(), "discord".into()])
            .unwrap()
            .into_iter()
            .map(|provider| Start::new(provider, &catalog).unwrap())
            .collect();
        insta::assert_snapshot!(write::text(&starts));
        insta::assert_snapshot!(next(&starts).join("\n"), @"
        relayflow config check
        relayflow up
        relayflow send stripe charge.failed --follow
        ");
    }

    #[test]
    fn a_provider_that_is_asked_for_twice_is_there_once() {
        let catalog = Catalog::built_in();
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            chosen(&catalog, &asked).map(|found| found.iter().map(|p| p.name.to_string()).collect())
        };
        let found: Vec<String> = names(&["github", " stripe", "github"]).unwrap();
        assert_eq!(found, ["github", "stripe"]);
        let usual: Vec<String> = names(&[]).unwrap();
        assert_eq!(usual, [USUAL]);
        let wrong: Result<Vec<String>, _> = names(&["stirpe"]);
        assert_eq!(wrong.unwrap_err().exit().code(), 3);
    }
}
