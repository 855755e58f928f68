//! Which RelayFlow to talk to (`cli.md`, 9).

mod daemon;
mod edit;
mod explain;
mod layer;
mod token;
mod user;

use std::path::Path;

use relayflow_core::secret::Secret;
use relayflow_core::text::nearest;

use crate::args::Global;
use crate::failure::Failure;

pub(crate) use daemon::{in_force, load_config, reachable};
pub(crate) use edit::Editor;
pub(crate) use explain::{Said, explain};
pub(crate) use layer::{Chosen, Layer, choose};
pub(crate) use token::TokenFrom;
pub(crate) use user::{CONTEXT_FIELDS, Context, TuiSettings, UserConfig, previous, set_previous};

/// The environment, handed in.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One RelayFlow, and how careful to be with it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As in `--yes=NAME`.
    pub(crate) name: String,
    /// Shown in every prompt.
    pub(crate) label: Option<String>,
    pub(crate) is_protected: bool,
    /// The default of `--max`.
    pub(crate) max_bulk: Option<u64>,
    pub(crate) way: Way,
}

/// How it is reached.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Api { endpoint: String, token: Option<Secret> },
    Store { url: String },
}

impl Way {
    /// Whether both lead to one RelayFlow, whatever token they bear.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Api { endpoint, .. }, Self::Api { endpoint: other, .. }) => endpoint == other,
            (Self::Store { url }, Self::Store { url: other }) => url == other,
            (Self::Api { .. }, Self::Store { .. }) | (Self::Store { .. }, Self::Api { .. }) => {
                false
            }
        }
    }
}

impl Target {
    fn named(name: &str, way: Way) -> Self {
        Self { name: name.to_owned(), label: None, is_protected: false, max_bulk: None, way }
    }

    /// `prod (PROD)`.
    pub(crate) fn shown(&self) -> String {
        match &self.label {
            Some(label) => format!("{} ({label})", self.name),
            None => self.name.clone(),
        }
    }
}

/// What the TUI takes from the CLI's own config file.
pub(crate) struct Settings {
    pub(crate) tui: TuiSettings,
    pub(crate) contexts: Vec<ContextName>,
}

/// A context as one chooses it.
#[derive(Debug, Clone)]
pub(crate) struct ContextName {
    pub(crate) name: String,
    /// A colour for its label.
    pub(crate) accent: Option<String>,
}

/// The settings of the TUI.
///
/// # Errors
///
/// The file does not parse.
pub(crate) fn tui_settings(global: &Global, env: Env<'_>) -> Result<Settings, Failure> {
    let config = UserConfig::read(global, env)?;
    let contexts = config.contexts.into_iter();
    let contexts = contexts.map(|(name, context)| ContextName { name, accent: context.accent });
    Ok(Settings { tui: config.tui, contexts: contexts.collect() })
}

/// Finds the RelayFlow that this command is about.
///
/// # Errors
///
/// No such context, a config that does not load, a token that must not or cannot be read.
pub(crate) fn resolve(global: &Global, env: Env<'_>, dir: &Path) -> Result<Target, Failure> {
    resolve_with(global, env, dir, TokenFrom::Anywhere)
}

/// The same, but the token is taken only from where `from` allows.
///
/// # Errors
///
/// As of [`resolve`].
pub(crate) fn resolve_with(
    global: &Global,
    env: Env<'_>,
    dir: &Path,
    from: TokenFrom,
) -> Result<Target, Failure> {
    let user = UserConfig::read(global, env)?;
    match choose(global, env, dir, &user).won {
        Chosen::Store(url) => Ok(Target::named("store", Way::Store { url })),
        Chosen::Url(endpoint) => {
            let token = env("RELAYFLOW_TOKEN").map(Secret::new);
            Ok(Target::named("env", Way::Api { endpoint, token }))
        }
        Chosen::Context(name) => of_context(&name, &user, env, from),
        Chosen::InReach => daemon::in_reach(env),
    }
}

/// The context of this name, of the CLI's own config file.
///
/// # Errors
///
/// There is none; it says neither or both of how it is reached; its token cannot be had.
pub(crate) fn of_context(
    name: &str,
    user: &UserConfig,
    env: Env<'_>,
    from: TokenFrom,
) -> Result<Target, Failure> {
    let context = user.contexts.get(name).ok_or_else(|| unknown(name, user))?;
    let way = match (&context.endpoint, &context.db) {
        (Some(endpoint), None) => {
            let own = context.token(name, env, from)?;
            let token = own.or_else(|| daemon::token_of_endpoint(endpoint, env));
            Way::Api { endpoint: endpoint.clone(), token }
        }
        (None, Some(url)) => Way::Store { url: url.clone() },
        _ => {
            return Err(Failure::usage(format!(
                "context '{name}' needs either an endpoint or a db, and not both"
            ))
            .hint(format!("edit {}", user.shown_path())));
        }
    };
    Ok(Target {
        name: name.to_owned(),
        label: context.label.clone(),
        is_protected: context.protected,
        max_bulk: context.max_bulk,
        way,
    })
}

/// There is no such context, and which was probably meant.
pub(crate) fn unknown(name: &str, user: &UserConfig) -> Failure {
    let failure = Failure::new("not_found.context", format!("there is no context '{name}'"));
    let names = || user.contexts.keys().map(String::as_str);
    if user.contexts.is_empty() {
        return failure
            .why(format!("{} has none", user.shown_path()))
            .hint(format!("relayflow context add {name} --endpoint URL"));
    }
    let failure = failure.why(format!("contexts: {}", names().collect::<Vec<_>>().join(" ")));
    match nearest(name, names()) {
        Some(near) => failure.hint(format!("--context {near}")),
        None => failure.hint("relayflow context ls"),
    }
}

#[cfg(test)]
mod tests;
