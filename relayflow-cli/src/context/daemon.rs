//! The daemon of the config in reach: where it listens, and the token that it made.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use relayflow_core::config::{Config, Overrides};
use relayflow_core::diagnostic::Diagnostic;
use relayflow_core::in_force::InForce;
use relayflow_core::secret::Secret;

use super::token::read_token;
use super::{Env, Target, Way};
use crate::failure::Failure;

/// The daemon of the config in reach, and its token.
pub(super) fn in_reach(env: Env<'_>) -> Result<Target, Failure> {
    let (config, _) = load_config(None, env)?;
    let token = match env("RELAYFLOW_TOKEN") {
        Some(token) => Some(Secret::new(token)),
        None => token_in_reach(&config)?,
    };
    let endpoint = endpoint_of(&config);
    Ok(Target::named("local", Way::Api { endpoint, token }))
}

/// The config in reach, as a place.
pub(super) fn named(env: Env<'_>) -> String {
    let path = Config::path_in_force(None, env);
    path.map_or_else(|| "default".to_owned(), |path| path.display().to_string())
}

/// The token of the daemon in reach, if `endpoint` is its own: a context may say only that.
pub(super) fn token_of_endpoint(endpoint: &str, env: Env<'_>) -> Option<Secret> {
    let (config, _) = load_config(None, env).ok()?;
    let is_same = endpoint.trim_end_matches('/') == endpoint_of(&config);
    if is_same { token_in_reach(&config).ok().flatten() } else { None }
}

fn token_in_reach(config: &Config) -> Result<Option<Secret>, Failure> {
    match config.api.tokens.as_slice() {
        [] => read_token(&token_path(config)),
        [only] => Ok(Some(only.token.clone())),
        _ => Err(Failure::new("auth.token", "the config in reach has several tokens")
            .hint("set RELAYFLOW_TOKEN to yours")),
    }
}

/// Where the daemon keeps the token that it made.
pub(crate) fn token_path(config: &Config) -> PathBuf {
    let beside = config
        .store
        .url
        .strip_prefix("sqlite:")
        .and_then(|path| Path::new(path).parent())
        .unwrap_or(&config.dir);
    beside.join("relayflow.token")
}

pub(super) fn endpoint_of(config: &Config) -> String {
    let scheme = if config.api.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", reachable(config.api.listen))
}

/// Where a program on this machine finds what listens at `listen`.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], listen.port()))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => listen,
    }
}

/// The daemon's config, as the daemon would read it.
///
/// # Errors
///
/// Everything that is wrong with it, as a usage error.
pub(crate) fn load_config(
    path: Option<&Path>,
    env: Env<'_>,
) -> Result<(Config, Vec<Diagnostic>), Failure> {
    Config::load(path, &Overrides::default(), env).map_err(|wrong| {
        let shown: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        let shown = shown.join("\n");
        Failure::new("usage.config", "the daemon's config does not load")
            .why(shown.replace('\n', "\n  "))
            .hint("relayflow config check")
    })
}

/// What the daemon's config in reach would put in force.
///
/// # Errors
///
/// Everything that is wrong with it, as a usage error.
pub(crate) fn in_force(env: Env<'_>) -> Result<InForce, Failure> {
    let (config, _) = load_config(None, env)?;
    relayflow_daemon::in_force(&config)
        .map_err(|why| Failure::new("usage.config", "the daemon's config does not hold").why(why))
}
