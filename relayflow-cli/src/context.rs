//! Which RelayFlow to talk to (`cli.md`, 9).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use relayflow_core::config::{Config, Overrides};
use relayflow_core::diagnostic::Diagnostic;
use relayflow_core::ingest::InForce;
use relayflow_core::secret::Secret;
use serde::Deserialize;

use crate::args::Global;
use crate::failure::Failure;

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

/// `[tui]` of the CLI's own config file.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TuiSettings {
    /// `auto` or `mono`.
    pub(crate) theme: Option<String>,
    /// Wheel and click; off, since it takes the terminal's own selection away.
    #[serde(default)]
    pub(crate) mouse: bool,
    /// An action's key, by the action's name.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, String>,
    /// A role's colour.
    #[serde(default)]
    pub(crate) colors: BTreeMap<String, String>,
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
    let config = read_user_config(global, env)?;
    let contexts = config.contexts.into_iter();
    let contexts = contexts.map(|(name, context)| ContextName { name, accent: context.accent });
    Ok(Settings { tui: config.tui, contexts: contexts.collect() })
}

/// The CLI's own config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserConfig {
    default_context: Option<String>,
    #[serde(default)]
    tui: TuiSettings,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    endpoint: Option<String>,
    db: Option<String>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    token_cmd: Option<Vec<String>>,
    #[serde(default)]
    protected: bool,
    label: Option<String>,
    accent: Option<String>,
    max_bulk: Option<u64>,
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

/// What decides, in the order of `cli.md`.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Store(String),
    Context(String),
    Url(String),
    InReach,
}

fn choose(
    global: &Global,
    env: Env<'_>,
    folder: Option<String>,
    default: Option<String>,
) -> Choice {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    None.or_else(|| global.db.clone().map(Choice::Store))
        .or_else(|| global.context.clone().map(Choice::Context))
        .or_else(|| env("RELAYFLOW_URL").map(Choice::Url))
        .or_else(|| env("RELAYFLOW_DB").map(Choice::Store))
        .or_else(|| env("RELAYFLOW_CONTEXT").map(Choice::Context))
        .or_else(|| folder.map(Choice::Context))
        .or_else(|| default.map(Choice::Context))
        .unwrap_or(Choice::InReach)
}

/// Finds the RelayFlow that this command is about.
///
/// # Errors
///
/// No such context, a config that does not load, a token that must not or cannot be read.
pub(crate) fn resolve(global: &Global, env: Env<'_>, dir: &Path) -> Result<Target, Failure> {
    let user = read_user_config(global, env)?;
    let choice = choose(global, env, context_of_folder(dir), user.default_context.clone());
    match choice {
        Choice::Store(url) => Ok(Target::named("store", Way::Store { url })),
        Choice::Url(endpoint) => {
            let token = env("RELAYFLOW_TOKEN").map(Secret::new);
            Ok(Target::named("env", Way::Api { endpoint, token }))
        }
        Choice::Context(name) => of_context(&name, &user, env),
        Choice::InReach => in_reach(env),
    }
}

fn of_context(name: &str, user: &UserConfig, env: Env<'_>) -> Result<Target, Failure> {
    let Some(context) = user.contexts.get(name) else {
        let known: Vec<_> = user.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(" ") };
        return Err(Failure::new("not_found.context", format!("there is no context '{name}'"))
            .why(format!("contexts: {known}")));
    };
    let way = match (&context.endpoint, &context.db) {
        (Some(endpoint), None) => {
            Way::Api { endpoint: endpoint.clone(), token: token_of(name, context, env)? }
        }
        (None, Some(url)) => Way::Store { url: url.clone() },
        _ => {
            return Err(Failure::usage(format!(
                "context '{name}' needs either an endpoint or a db, and not both"
            )));
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

fn token_of(name: &str, context: &Context, env: Env<'_>) -> Result<Option<Secret>, Failure> {
    if let Some(variable) = &context.token_env {
        return env(variable).map(|token| Some(Secret::new(token))).ok_or_else(|| {
            Failure::new("auth.token", format!("context '{name}' wants a token in ${variable}"))
                .why("the variable is not set")
        });
    }
    if let Some(path) = &context.token_file {
        return match read_token(path)? {
            Some(token) => Ok(Some(token)),
            None => Err(Failure::new("auth.token", format!("there is no {}", path.display()))
                .why(format!("it should hold the token of context '{name}'"))),
        };
    }
    context.token_cmd.as_deref().map(token_of_command).transpose()
}

fn token_of_command(argv: &[String]) -> Result<Secret, Failure> {
    let [program, args @ ..] = argv else {
        return Err(Failure::usage("token_cmd is empty"));
    };
    let failed =
        |why: String| Failure::new("auth.token", format!("`{program}` gave no token")).why(why);
    let output = std::process::Command::new(program)
        .args(args)
        .stderr(std::process::Stdio::inherit())
        .stdin(std::process::Stdio::inherit())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    let token = output.stdout.trim_ascii();
    if !output.status.success() || token.is_empty() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    Ok(Secret::new(token))
}

/// A token file that nobody else can read; `None` if there is none.
fn read_token(path: &Path) -> Result<Option<Secret>, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(Failure::new("auth.token", format!("{} does not open", path.display()))
                .why(e.to_string()));
        }
    };
    if is_open_to_others(path) {
        return Err(Failure::new("auth.token", format!("others can read {}", path.display()))
            .why("a token file that others can read is not used")
            .hint(format!("chmod 600 {}", path.display())));
    }
    Ok(Some(Secret::new(bytes.trim_ascii())))
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_path: &Path) -> bool {
    false
}

fn read_user_config(global: &Global, env: Env<'_>) -> Result<UserConfig, Failure> {
    let home = || env("HOME").map(|home| PathBuf::from(home).join(".config"));
    let path = global.user_config.clone().or_else(|| {
        let base = env("XDG_CONFIG_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
        base.or_else(home).map(|base| base.join("relayflow").join("config.toml"))
    });
    let Some(path) = path else { return Ok(UserConfig::default()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && global.user_config.is_none() => {
            return Ok(UserConfig::default());
        }
        Err(e) => {
            return Err(Failure::new("usage.config", format!("{} does not open", path.display()))
                .why(e.to_string()));
        }
    };
    toml::from_str(&text).map_err(|e| {
        Failure::new("usage.config", format!("{} does not parse", path.display()))
            .why(e.to_string())
    })
}

/// The `context` that the nearest `relayflow.toml` names.
fn context_of_folder(dir: &Path) -> Option<String> {
    let text = dir
        .ancestors()
        .find_map(|folder| std::fs::read_to_string(folder.join("relayflow.toml")).ok())?;
    let table: toml::Table = toml::from_str(&text).ok()?;
    table.get("context")?.as_str().map(str::to_owned)
}

/// The daemon of the config in reach, and its token.
fn in_reach(env: Env<'_>) -> Result<Target, Failure> {
    let (config, _) = load_config(None, env)?;
    let token = match env("RELAYFLOW_TOKEN") {
        Some(token) => Some(Secret::new(token)),
        None => token_in_reach(&config)?,
    };
    let endpoint = endpoint_of(&config);
    Ok(Target::named("local", Way::Api { endpoint, token }))
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

fn endpoint_of(config: &Config) -> String {
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn chosen(line: &str, env: &[(&str, &str)], folder: Option<&str>) -> Choice {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let env =
            |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        choose(&cli.global, &env, folder.map(str::to_owned), Some("default".to_owned()))
    }

    #[test]
    fn what_is_nearer_to_the_command_wins() {
        let all = [
            ("RELAYFLOW_URL", "http://ci"),
            ("RELAYFLOW_DB", "sqlite:env.db"),
            ("RELAYFLOW_CONTEXT", "env"),
        ];
        let line = "relayflow stats --db sqlite:flag.db -c flag";
        assert_eq!(chosen(line, &all, Some("folder")), Choice::Store("sqlite:flag.db".into()));
        let line = "relayflow stats -c flag";
        assert_eq!(chosen(line, &all, Some("folder")), Choice::Context("flag".into()));
        let line = "relayflow stats";
        assert_eq!(chosen(line, &all, Some("folder")), Choice::Url("http://ci".into()));
        assert_eq!(chosen(line, &all[1..], None), Choice::Store("sqlite:env.db".into()));
        assert_eq!(chosen(line, &all[2..], Some("folder")), Choice::Context("env".into()));
        assert_eq!(chosen(line, &[], Some("folder")), Choice::Context("folder".into()));
        assert_eq!(chosen(line, &[], None), Choice::Context("default".into()));
    }

    #[test]
    fn a_context_has_its_token_from_one_of_three_places() {
        let user: UserConfig = toml::from_str(
            r#"
            [contexts.prod]
            endpoint = "https://relayflow.example.com"
            token_env = "T"
            protected = true
            label = "PROD"
            accent = "red"
            max_bulk = 5000
            [contexts.cmd]
            endpoint = "http://localhost"
            token_cmd = ["printf", "secret\n"]
            "#,
        )
        .unwrap();
        let env = |name: &str| (name == "T").then(|| "token".to_owned());
        let prod = of_context("prod", &user, &env).unwrap();
        assert!(prod.is_protected && prod.shown() == "prod (PROD)" && prod.max_bulk == Some(5000));
        let Way::Api { token: Some(token), .. } = prod.way else { panic!("no token") };
        assert!(token.is(b"token"));
        let Way::Api { token: Some(token), .. } = of_context("cmd", &user, &env).unwrap().way
        else {
            panic!("no token")
        };
        assert!(token.is(b"secret"));
        assert_eq!(of_context("nope", &user, &env).unwrap_err().exit().code(), 3);
        assert_eq!(of_context("prod", &user, &|_| None).unwrap_err().exit().code(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relayflow.token");
        assert!(read_token(&path).unwrap().is_none());
        std::fs::write(&path, "secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_token(&path).unwrap_err().exit().code(), 4);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_token(&path).unwrap().unwrap().is(b"secret"));
    }
}
