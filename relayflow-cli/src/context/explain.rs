//! What is in force of the CLI's own, and which layer said so.

use std::path::Path;

use relayflow_core::config::fingerprint;
use relayflow_core::secret::Secret;

use super::daemon::{load_config, token_path};
use super::user::{Context, UserConfig};
use super::{Chosen, Env, TokenFrom, choose, daemon, of_context, resolve_with};
use super::{Target, Way};
use crate::args::Global;
use crate::failure::Failure;

/// One thing that is in force, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) key: &'static str,
    /// `None` where there is none.
    pub(crate) value: Option<String>,
    pub(crate) from: String,
    /// The variable that would say it.
    pub(crate) env: Option<&'static str>,
    /// The layers that would have had a say.
    pub(crate) over: Vec<String>,
}

impl Said {
    fn new(key: &'static str, value: Option<String>, from: impl Into<String>) -> Self {
        Self { key, value, from: from.into(), env: None, over: Vec::new() }
    }
}

/// Everything about the context in force. No command is run for its token.
///
/// # Errors
///
/// The CLI's own config file does not parse; the context that was chosen is not there.
pub(crate) fn explain(global: &Global, env: Env<'_>, dir: &Path) -> Result<Vec<Said>, Failure> {
    let user = UserConfig::read(global, env)?;
    let choice = choose(global, env, dir, &user);
    let target = match &choice.won {
        Chosen::Context(name) => of_context(name, &user, env, TokenFrom::Still),
        Chosen::Store(_) | Chosen::Url(_) | Chosen::InReach => {
            resolve_with(global, env, dir, TokenFrom::Still)
        }
    };
    // A token that cannot be had is told as such; that there is no such context is an error.
    let target = match target {
        Ok(target) => Ok(target),
        Err(failure) if failure.code == "auth.token" => Err(failure.message),
        Err(failure) => return Err(failure),
    };
    let file = UserFile { user: &user, name: named(&choice.won) };
    let mut said = vec![user_config(global, env, &user)];
    said.push(Said {
        env: Some("RELAYFLOW_CONTEXT").filter(|_| choice.from.starts_with("default")),
        over: choice.over.clone(),
        ..Said::new("context", Some(name_of(&choice.won, &target)), choice.from.clone())
    });
    said.extend(reached(&choice.won, &target, &choice.from, &file));
    said.extend(token(&choice.won, &target, env, &file));
    let context = file.context().cloned().unwrap_or_default();
    let or_default = |key: &'static str, value: Option<String>| {
        let from = if value.is_some() { file.place(key) } else { "default".to_owned() };
        Said::new(key, value, from)
    };
    said.push(or_default("label", context.label.clone()));
    let protected = or_default("protected", context.protected.then(|| "true".to_owned()));
    said.push(Said { value: Some(context.protected.to_string()), ..protected });
    said.push(or_default("max_bulk", context.max_bulk.map(|max| max.to_string())));
    Ok(said)
}

/// The context's entry in the file.
struct UserFile<'u> {
    user: &'u UserConfig,
    name: Option<String>,
}

impl UserFile<'_> {
    fn context(&self) -> Option<&Context> {
        self.user.contexts.get(self.name.as_ref()?)
    }

    fn place(&self, key: &str) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        self.user.place(&["contexts", name, key])
    }
}

fn named(won: &Chosen) -> Option<String> {
    match won {
        Chosen::Context(name) => Some(name.clone()),
        Chosen::Store(_) | Chosen::Url(_) | Chosen::InReach => None,
    }
}

fn name_of(won: &Chosen, target: &Result<Target, String>) -> String {
    match (target, won) {
        (Ok(target), _) => target.name.clone(),
        (Err(_), Chosen::Context(name)) => name.clone(),
        (Err(_), Chosen::Store(_)) => "store".to_owned(),
        (Err(_), Chosen::Url(_)) => "env".to_owned(),
        (Err(_), Chosen::InReach) => "local".to_owned(),
    }
}

fn user_config(global: &Global, env: Env<'_>, user: &UserConfig) -> Said {
    let path = user.path.as_ref().map(|path| path.display().to_string());
    let is_of_env = env("RELAYFLOW_CONFIG").is_some_and(|given| Some(given) == path);
    let from = match &global.user_config {
        Some(_) if is_of_env => "env RELAYFLOW_CONFIG",
        Some(_) => "--user-config",
        None => "default",
    };
    Said { env: Some("RELAYFLOW_CONFIG"), ..Said::new("user_config", path, from) }
}

/// How the daemon or store is reached.
fn reached(
    won: &Chosen,
    target: &Result<Target, String>,
    from: &str,
    file: &UserFile<'_>,
) -> Option<Said> {
    let (key, value) = match (target, won) {
        (Ok(Target { way: Way::Api { endpoint, .. }, .. }), _) => ("endpoint", endpoint.clone()),
        (Ok(Target { way: Way::Store { url }, .. }), _) => ("db", url.clone()),
        (Err(_), Chosen::Url(url)) => ("endpoint", url.clone()),
        (Err(_), _) => ("endpoint", file.context()?.endpoint.clone()?),
    };
    let from = match won {
        Chosen::Context(_) => file.place(key),
        Chosen::InReach => "api.listen".to_owned(),
        Chosen::Store(_) | Chosen::Url(_) => from.to_owned(),
    };
    Some(Said::new(key, Some(value), from))
}

fn token(
    won: &Chosen,
    target: &Result<Target, String>,
    env: Env<'_>,
    file: &UserFile<'_>,
) -> Option<Said> {
    let found = match target {
        Ok(Target { way: Way::Store { .. }, .. }) => return None,
        Ok(Target { way: Way::Api { token, .. }, .. }) => token.as_ref(),
        Err(_) => None,
    };
    let from = match won {
        Chosen::Context(_) => of_context_file(file, env),
        Chosen::Url(_) => "env RELAYFLOW_TOKEN".to_owned(),
        Chosen::InReach if env("RELAYFLOW_TOKEN").is_some() => "env RELAYFLOW_TOKEN".to_owned(),
        Chosen::InReach | Chosen::Store(_) => of_daemon(env),
    };
    let is_command = file.context().is_some_and(|context| context.token_cmd.is_some());
    let shown = |token: &Secret| fingerprint(token.expose());
    Some(match (found, target) {
        (Some(token), _) => Said::new("token", Some(shown(token)), from),
        (None, Err(why)) => Said::new("token", None, format!("{from}   ({why})")),
        (None, Ok(_)) if is_command => Said::new("token", Some("•••".to_owned()), from),
        (None, Ok(_)) => Said::new("token", None, "nothing"),
    })
}

fn of_context_file(file: &UserFile<'_>, env: Env<'_>) -> String {
    let Some(context) = file.context() else { return String::new() };
    if let Some(variable) = &context.token_env {
        return format!("env {variable}, by {}", file.place("token_env"));
    }
    if context.token_file.is_some() {
        return format!("the file at {}", file.place("token_file"));
    }
    if context.token_cmd.is_some() {
        return format!("the command at {}", file.place("token_cmd"));
    }
    of_daemon(env)
}

/// Where the token of the daemon in reach stands.
fn of_daemon(env: Env<'_>) -> String {
    match load_config(None, env) {
        Ok((config, _)) if config.api.tokens.is_empty() => {
            token_path(&config).display().to_string()
        }
        Ok(_) => format!("api.tokens of {}", daemon::named(env)),
        Err(_) => "nothing".to_owned(),
    }
}
