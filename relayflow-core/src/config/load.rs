//! Finds the file, reads it, and lets flags and environment override it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use toml::de::DeTable;

use super::reader::{Flags, Reader};
use super::secrets;
use super::settings::{Dirs, collide};
use super::units;
use super::{Config, EXAMPLE};
use crate::diagnostic::Diagnostic;
use crate::provider::Catalog;

/// Names the file where no flag does.
pub const CONFIG_VARIABLE: &str = "RELAYFLOW_DAEMON_CONFIG";
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const PLACES: [&str; 2] = ["relayflow.toml", "/etc/relayflow/relayflow.toml"];

/// What flags say: these beat the environment, which beats the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`: `ingest.listen`.
    pub listen: Option<String>,
    /// `--api`: `api.listen`.
    pub api: Option<String>,
    /// `--db`: `store.url`.
    pub db: Option<String>,
}

impl Overrides {
    fn flags(&self) -> Flags {
        let all = [
            ("ingest.listen", "--listen", &self.listen),
            ("api.listen", "--api", &self.api),
            ("store.url", "--db", &self.db),
        ];
        all.into_iter().filter_map(|(key, flag, v)| Some((key, flag, v.clone()?))).collect()
    }
}

/// A file, or none: what `Config` is read from.
struct Given<'a> {
    text: &'a str,
    /// As the person names it.
    name: &'a str,
    path: Option<PathBuf>,
    dirs: Dirs,
    flags: Flags,
}

impl Config {
    /// The configuration in force: the file at `explicit`, else the one that
    /// `RELAYFLOW_DAEMON_CONFIG` names, else `./relayflow.toml`, else
    /// `/etc/relayflow/relayflow.toml`, else the built-in defaults. Warnings beside it.
    ///
    /// # Errors
    ///
    /// Every mistake that was found.
    pub fn load(
        explicit: Option<&Path>,
        overrides: &Overrides,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let path = Self::path_in_force(explicit, env);
        let work = PathBuf::from(".");
        let Some(path) = path else {
            let file = std::path::absolute(&work).unwrap_or_else(|_| work.clone());
            let dirs = Dirs { file, work };
            let given =
                Given { text: "", name: "defaults", path: None, dirs, flags: overrides.flags() };
            return read(given, None, env);
        };
        let name = path.display().to_string();
        let text = read_file(&path).map_err(|message| vec![whole_file(&name, message)])?;
        let file = folder_of(&path);
        let (dirs, flags) = (Dirs { file, work }, overrides.flags());
        let given = Given { text: &text, name: &name, path: Some(path), dirs, flags };
        read(given, None, env)
    }

    /// The file that [`Config::load`] reads; `None` for the built-in defaults.
    #[must_use]
    pub fn path_in_force(
        explicit: Option<&Path>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Option<PathBuf> {
        let named =
            explicit.map(Path::to_path_buf).or_else(|| env(CONFIG_VARIABLE).map(Into::into));
        named.or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.is_file()))
    }

    /// From the text of a file that is called `file` and stands in `dir`.
    ///
    /// # Errors
    ///
    /// Every mistake that was found.
    pub fn parse(
        text: &str,
        file: &str,
        dir: &Path,
        catalog: &Catalog,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let dirs = Dirs { file: dir.to_path_buf(), work: PathBuf::from(".") };
        let given = Given { text, name: file, path: None, dirs, flags: Flags::new() };
        read(given, Some(catalog), env)
    }

    /// From the text of a candidate, which is there to be held against what happened, never to run:
    /// of this machine nothing is read, neither files nor environment nor secrets.
    ///
    /// # Errors
    ///
    /// Every mistake that was found.
    pub fn candidate(text: &str, file: &str, catalog: &Catalog) -> Result<Self, Vec<Diagnostic>> {
        let dirs = Dirs { file: PathBuf::from("."), work: PathBuf::from(".") };
        let given = Given { text, name: file, path: None, dirs, flags: Flags::new() };
        read_as(given, Some(catalog), &|_| None, true).map(|(config, _)| config)
    }

    /// The source `name`, if there is one.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&super::SourceConfig> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// Absolute, so that what is found from it is found wherever the process goes.
fn folder_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::path::absolute(parent).unwrap_or_else(|_| parent.to_path_buf())
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if FILE_BYTES_MAX < length {
        return Err("is larger than 4 MiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    String::from_utf8(bytes).map_err(|e| format!("is not UTF-8: {e}"))
}

fn whole_file(name: &str, message: String) -> Diagnostic {
    let (file, text, fix) = (name.to_owned(), String::new(), None);
    let message = format!("`{name}` {message}");
    Diagnostic { file, text, span: 0..0, message, fix, is_warning: false }
}

fn read(
    given: Given<'_>,
    catalog: Option<&Catalog>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    read_as(given, catalog, env, false)
}

fn read_as(
    given: Given<'_>,
    catalog: Option<&Catalog>,
    env: &dyn Fn(&str) -> Option<String>,
    is_candidate: bool,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let tree = syntax(given.text, given.name)?;
    let example = syntax(EXAMPLE, "<built-in>")?;
    let shown = secrets::blot(given.text, &tree);
    let mut reader = Reader::new(given.name, shown, env, given.flags);
    reader.is_candidate = is_candidate;
    let config = sections(&mut reader, &tree, &example, &given.dirs, catalog);
    let mut errors = std::mem::take(&mut reader.errors);
    let warnings = std::mem::take(&mut reader.warnings);
    match config {
        Some(config) if errors.is_empty() => {
            let digest = hex::encode(Sha256::digest(given.text));
            Ok((Config { path: given.path, digest, ..config }, warnings))
        }
        _ => {
            errors.sort_by_key(|error| (error.file.clone(), error.span.start));
            errors.dedup();
            errors.extend(warnings);
            Err(errors)
        }
    }
}

/// The tree of a TOML text, or everything that keeps it from being TOML.
fn syntax<'t>(text: &'t str, name: &str) -> Result<DeTable<'t>, Vec<Diagnostic>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(tree.into_inner());
    }
    let shown = secrets::blot_lines(text);
    let told = errors.iter().map(|error| Diagnostic {
        file: name.to_owned(),
        text: shown.clone(),
        span: error.span().filter(|s| shown.get(s.clone()).is_some()).unwrap_or(0..0),
        message: error.message().to_owned(),
        fix: None,
        is_warning: false,
    });
    Err(told.collect())
}

/// `None` only beside an error.
fn sections(
    reader: &mut Reader<'_>,
    tree: &DeTable<'_>,
    example: &DeTable<'_>,
    dirs: &Dirs,
    catalog: Option<&Catalog>,
) -> Option<Config> {
    let mut root = reader.root(tree, example);
    let context = reader.get(&mut root, "context", units::text);
    let store = reader.store(&mut root, dirs);
    let ingest = reader.ingest(&mut root, dirs);
    let api = reader.api(&mut root, dirs);
    let egress = reader.egress(&mut root);
    let drift = reader.drift(&mut root);
    let retry = reader.retry(&mut root);
    let providers_dir = reader.providers(&mut root, dirs);

    let own;
    let catalog = match (catalog, &providers_dir) {
        (Some(catalog), _) => catalog,
        (None, None) => {
            own = Catalog::built_in();
            &own
        }
        (None, Some(dir)) => {
            own = Catalog::with_dir(dir).unwrap_or_else(|errors| {
                reader.errors.extend(errors);
                Catalog::built_in()
            });
            &own
        }
    };
    let public_url = ingest.as_ref().and_then(|ingest| ingest.public_url.as_deref());
    let sources = reader.sources(&mut root, dirs, public_url, catalog);
    let workflows = reader.workflows(&mut root, dirs, retry.unwrap_or_default(), catalog);
    reader.not_yet(&mut root, &["connectors", "email", "limits", "retention"]);
    reader.finish(&root);

    let (ingest, api) = (ingest?, api?);
    if collide(ingest.listen, api.listen) {
        let message = format!("`ingest.listen` and `api.listen` are both {}", api.listen);
        reader.error(&root.from, message, None);
    }
    reader.explained.sort_by(|a, b| a.key.cmp(&b.key));
    let explained = std::mem::take(&mut reader.explained);
    let mut unset = std::mem::take(&mut reader.unset);
    unset.retain(|key| explained.iter().all(|explained| explained.key != *key));
    unset.sort();
    Some(Config {
        path: None,
        digest: String::new(),
        dir: dirs.file.clone(),
        context,
        store: store?,
        ingest,
        api,
        egress: egress?,
        drift: drift?,
        retry: retry?,
        providers_dir,
        sources,
        workflows: Arc::new(workflows),
        redact: std::mem::take(&mut reader.redact),
        fetched: std::mem::take(&mut reader.fetched),
        explained,
        unset,
    })
}
