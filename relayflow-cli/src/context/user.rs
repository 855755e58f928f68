//! The CLI's own config file and state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Env;
use super::layer::line_of;
use crate::args::Global;
use crate::failure::Failure;

/// `[tui]` of the CLI's own config file.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TuiSettings {
    /// `auto`, `light` or `mono`.
    pub(crate) theme: Option<String>,
    /// Wheel and click; off, since it takes the terminal's own selection away.
    #[serde(default)]
    pub(crate) mouse: bool,
    /// No spinner.
    #[serde(default)]
    pub(crate) prefers_reduced_motion: bool,
    /// An action's key, by the action's name.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, String>,
    /// A role's colour.
    #[serde(default)]
    pub(crate) colors: BTreeMap<String, String>,
}

/// The file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    default_context: Option<String>,
    #[serde(default)]
    tui: TuiSettings,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// The keys of a context, and what each is for. A test holds them against the type.
pub(crate) const CONTEXT_FIELDS: [(&str, &str); 9] = [
    ("endpoint", "its daemon's operator API, such as https://relayflow.example.com"),
    ("db", "in place of that, a store that is read directly"),
    ("token_env", "the variable with its token"),
    ("token_file", "the file with its token; one that others can read is refused"),
    ("token_cmd", "a command that prints its token: [\"op\", \"read\", \"op://…\"]"),
    ("protected", "true: bulk actions ask for the number of items, or want --yes=NAME"),
    ("label", "shown in every prompt and in the TUI's header"),
    ("accent", "the label's colour"),
    ("max_bulk", "the default of --max"),
];

/// One context, as written.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) endpoint: Option<String>,
    pub(crate) db: Option<String>,
    pub(crate) token_env: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) token_cmd: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) protected: bool,
    pub(crate) label: Option<String>,
    pub(crate) accent: Option<String>,
    pub(crate) max_bulk: Option<u64>,
}

/// The CLI's own config file.
#[derive(Debug, Default)]
pub(crate) struct UserConfig {
    /// Where it is, or would be; `None` where there is no home.
    pub(crate) path: Option<PathBuf>,
    /// Empty where there is none.
    pub(crate) text: String,
    pub(crate) default_context: Option<String>,
    pub(crate) tui: TuiSettings,
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl UserConfig {
    /// The file in force; without one all is empty.
    ///
    /// # Errors
    ///
    /// It does not open or parse; one that was named is not there.
    pub(crate) fn read(global: &Global, env: Env<'_>) -> Result<Self, Failure> {
        let Some(path) = path(global, env) else { return Ok(Self::default()) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(text, &path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && global.user_config.is_none() => {
                Ok(Self { path: Some(path), ..Self::default() })
            }
            Err(e) => {
                Err(Failure::new("usage.config", format!("{} does not open", path.display()))
                    .why(e.to_string()))
            }
        }
    }

    /// The file that is to be changed: one that was named need not be there yet.
    ///
    /// # Errors
    ///
    /// It does not open or parse, or there is no home to have one in.
    pub(crate) fn to_edit(global: &Global, env: Env<'_>) -> Result<Self, Failure> {
        let path = path(global, env).ok_or_else(|| {
            Failure::usage("there is no place for a config file")
                .why("neither HOME nor XDG_CONFIG_HOME is set")
                .hint("--user-config PATH")
        })?;
        if !path.exists() {
            return Ok(Self { path: Some(path), ..Self::default() });
        }
        Self::read(global, env)
    }

    /// # Errors
    ///
    /// The text does not parse.
    pub(crate) fn parse(text: String, path: &Path) -> Result<Self, Failure> {
        let written: Written = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(&text, span.start));
            Failure::new("usage.config", format!("{}:{line} does not parse", path.display()))
                .why(e.message().to_owned())
                .hint("relayflow help contexts")
        })?;
        let Written { default_context, tui, contexts } = written;
        Ok(Self { path: Some(path.to_owned()), text, default_context, tui, contexts })
    }

    /// The default context, and where it stands.
    pub(super) fn default_at(&self) -> Option<(String, String)> {
        Some((self.default_context.clone()?, self.place(&["default_context"])))
    }

    /// `PATH:LINE` of a value.
    pub(crate) fn place(&self, keys: &[&str]) -> String {
        let path = self.shown_path();
        match self.line(keys) {
            Some(line) => format!("{path}:{line}"),
            None => path,
        }
    }

    fn line(&self, keys: &[&str]) -> Option<usize> {
        let table = toml::de::DeTable::parse(&self.text).ok()?;
        let (last, sections) = keys.split_last()?;
        let mut place = table.get_ref();
        for section in sections {
            place = place.get(*section)?.get_ref().as_table()?;
        }
        Some(line_of(&self.text, place.get(*last)?.span().start))
    }

    /// The file's path, for messages.
    pub(crate) fn shown_path(&self) -> String {
        let path = self.path.as_ref();
        path.map_or_else(|| "the CLI's config file".to_owned(), |path| path.display().to_string())
    }
}

/// `--user-config`, else below `$XDG_CONFIG_HOME`, else below `~/.config`.
fn path(global: &Global, env: Env<'_>) -> Option<PathBuf> {
    let given = global.user_config.clone();
    given.or_else(|| Some(base(env, "XDG_CONFIG_HOME", ".config")?.join("config.toml")))
}

/// The program's folder below `variable`, or below `at` in the home folder.
fn base(env: Env<'_>, variable: &str, at: &str) -> Option<PathBuf> {
    let given = env(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || env("HOME").filter(|dir| !dir.is_empty()).map(|dir| PathBuf::from(dir).join(at));
    given.or_else(home).map(|dir| dir.join("relayflow"))
}

fn previous_path(env: Env<'_>) -> Option<PathBuf> {
    Some(base(env, "XDG_STATE_HOME", ".local/state")?.join("previous_context"))
}

/// The context that was the default before; `context use -` returns to it.
pub(crate) fn previous(env: Env<'_>) -> Option<String> {
    let text = std::fs::read_to_string(previous_path(env)?).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// # Errors
///
/// It cannot be written.
pub(crate) fn set_previous(env: Env<'_>, name: &str) -> std::io::Result<()> {
    let Some(path) = previous_path(env) else { return Ok(()) };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, format!("{name}\n"))
}
