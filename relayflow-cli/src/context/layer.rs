//! Who decides which RelayFlow is meant: the one list of it, in the order in which they are asked.

use std::path::{Path, PathBuf};

use super::user::UserConfig;
use super::{Env, daemon};
use crate::args::Global;

/// Something that may say which RelayFlow is meant. What stands first in [`Layer::ALL`] wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    DbFlag,
    ContextFlag,
    UrlVariable,
    DbVariable,
    ContextVariable,
    Folder,
    Default,
    InReach,
}

/// What a layer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chosen {
    Store(String),
    Context(String),
    Url(String),
    /// The daemon of the config in reach.
    InReach,
}

/// Which layer won, and which others would have had a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) won: Chosen,
    /// Such as `--context` or `relayflow.toml:1`.
    pub(crate) from: String,
    /// Those that it won over, in their order.
    pub(crate) over: Vec<String>,
}

impl Layer {
    pub(crate) const ALL: [Self; 8] = [
        Self::DbFlag,
        Self::ContextFlag,
        Self::UrlVariable,
        Self::DbVariable,
        Self::ContextVariable,
        Self::Folder,
        Self::Default,
        Self::InReach,
    ];

    /// What it is, for `help contexts`.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::DbFlag => "--db URL: a store, opened directly",
            Self::ContextFlag => "--context NAME",
            Self::UrlVariable => "RELAYFLOW_URL, with RELAYFLOW_TOKEN",
            Self::DbVariable => "RELAYFLOW_DB",
            Self::ContextVariable => "RELAYFLOW_CONTEXT",
            Self::Folder => "context = \"NAME\" in the nearest relayflow.toml",
            Self::Default => "default_context of the CLI's own config file",
            Self::InReach => "the daemon of the config in reach, with its token file",
        }
    }

    /// What it says, and where.
    fn says(
        self,
        global: &Global,
        env: Env<'_>,
        dir: &Path,
        user: &UserConfig,
    ) -> Option<(Chosen, String)> {
        let flag = |value: &Option<String>, name: &str| Some((value.clone()?, name.to_owned()));
        let variable = |name: &str| {
            let value = env(name).filter(|value| !value.is_empty())?;
            Some((value, format!("env {name}")))
        };
        let (make, said): (fn(String) -> Chosen, _) = match self {
            Self::DbFlag => (Chosen::Store, flag(&global.db, "--db")),
            Self::ContextFlag => (Chosen::Context, flag(&global.context, "--context")),
            Self::UrlVariable => (Chosen::Url, variable("RELAYFLOW_URL")),
            Self::DbVariable => (Chosen::Store, variable("RELAYFLOW_DB")),
            Self::ContextVariable => (Chosen::Context, variable("RELAYFLOW_CONTEXT")),
            Self::Folder => (Chosen::Context, of_folder(dir)),
            Self::Default => (Chosen::Context, user.default_at()),
            Self::InReach => return Some((Chosen::InReach, daemon::named(env))),
        };
        said.map(|(value, from)| (make(value), from))
    }
}

/// What decides, and what would have.
pub(crate) fn choose(global: &Global, env: Env<'_>, dir: &Path, user: &UserConfig) -> Choice {
    let mut said = Layer::ALL.into_iter().filter_map(|layer| layer.says(global, env, dir, user));
    let last = (Chosen::InReach, String::new());
    let (won, from) = said.next().unwrap_or(last);
    let over = said.filter(|(chosen, _)| *chosen != Chosen::InReach).map(|(_, from)| from);
    Choice { won, from, over: over.collect() }
}

/// The `context` that the nearest `relayflow.toml` names, and its place.
fn of_folder(dir: &Path) -> Option<(String, String)> {
    let (path, text) = dir.ancestors().find_map(|folder| {
        let path = folder.join("relayflow.toml");
        Some((path.clone(), std::fs::read_to_string(&path).ok()?))
    })?;
    let table = toml::de::DeTable::parse(&text).ok()?;
    let value = table.get_ref().get("context")?;
    let line = line_of(&text, value.span().start);
    Some((value.get_ref().as_str()?.to_owned(), format!("{}:{line}", shown(&path, dir))))
}

/// The line, from 1, on which the byte `at` stands.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// A path as one would type it in `dir`.
fn shown(path: &Path, dir: &Path) -> String {
    let short: PathBuf = path.strip_prefix(dir).map_or_else(|_| path.into(), Path::to_path_buf);
    short.display().to_string()
}
