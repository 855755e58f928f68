//! Whether contexts answer: all at once, and within a bounded time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use relayflow_core::api::{Health, Identity, V};
use relayflow_core::secret::Secret;
use relayflow_core::store::Store;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Row;
use crate::app::App;
use crate::backend::Api;
use crate::context::{Target, TokenFrom, UserConfig, Way, of_context};
use crate::failure::{Failure, chain};
use crate::output::Out;

/// How long a context may take, with the command that gives its token.
const WITHIN: Duration = Duration::from_secs(3);

/// What is asked about one context, and all that is needed to ask it.
struct Ask {
    row: Row,
    target: Option<Target>,
    token_cmd: Option<Vec<String>>,
    within: Duration,
    out: Out,
}

/// Every context of the file, in its order.
pub(super) async fn all(app: &App, user: &UserConfig, current: Option<&str>) -> Vec<Row> {
    let mut asks = JoinSet::new();
    for (place, name) in user.contexts.keys().enumerate() {
        let target = of_context(name, user, &|name| app.env(name), TokenFrom::Still);
        let ask = ask(app, user, name, target, current == Some(name));
        asks.spawn(async move { (place, ask.answered().await) });
    }
    let mut rows: Vec<_> = asks.join_all().await;
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(super) async fn one(app: &App, user: &UserConfig, target: Target, is_current: bool) -> Row {
    let name = target.name.clone();
    ask(app, user, &name, Ok(target), is_current).answered().await
}

fn ask(
    app: &App,
    user: &UserConfig,
    name: &str,
    target: Result<Target, Failure>,
    is_current: bool,
) -> Ask {
    let written = user.contexts.get(name).cloned().unwrap_or_default();
    let reached = |target: &Target| match &target.way {
        Way::Api { endpoint, .. } => (Some(endpoint.clone()), None),
        Way::Store { url } => (None, Some(url.clone())),
    };
    let (endpoint, db) =
        target.as_ref().map_or_else(|_| (written.endpoint.clone(), written.db.clone()), reached);
    let row = Row {
        v: V,
        object: "context",
        name: name.to_owned(),
        current: is_current,
        label: written.label,
        endpoint,
        db,
        state: "wrong",
        took_ms: None,
        role: None,
        version: None,
        protected: written.protected,
        accent: written.accent,
        max_bulk: written.max_bulk,
        detail: target.as_ref().err().map(|failure| failure.message.clone()),
    };
    let asked = Duration::try_from(app.global.request_timeout).unwrap_or(WITHIN);
    // What is tried or repeated on the way is nobody's concern here.
    let out = Out { quiet: true, verbose: 0, ..app.out.clone() };
    let target = target.ok();
    Ask { row, target, token_cmd: written.token_cmd, within: asked.min(WITHIN), out }
}

impl Ask {
    async fn answered(self) -> Row {
        let Self { mut row, target, token_cmd, within, out } = self;
        match target.map(|target| target.way) {
            None => {}
            Some(Way::Store { url }) => match timeout(within, Store::open_read_only(&url)).await {
                Ok(Ok(_)) => row.state = "ok",
                Ok(Err(e)) => is_not_there(&mut row, chain(&e)),
                Err(_) => is_not_there(&mut row, "it does not open in time".to_owned()),
            },
            Some(Way::Api { endpoint, token }) => {
                let asked = daemon(&mut row, &endpoint, token, token_cmd, within, out);
                if timeout(within, asked).await.is_err() && row.state != "no token" {
                    is_not_there(&mut row, "it does not answer in time".to_owned());
                }
            }
        }
        row
    }
}

fn is_not_there(row: &mut Row, detail: String) {
    row.state = "unreachable";
    row.detail = Some(detail);
}

async fn daemon(
    row: &mut Row,
    endpoint: &str,
    token: Option<Secret>,
    token_cmd: Option<Vec<String>>,
    within: Duration,
    out: Out,
) {
    let bare = match Api::new(endpoint, None, within, out.clone()) {
        Ok(api) => api,
        Err(failure) => {
            row.detail = Some(failure.message);
            return;
        }
    };
    let health = async {
        let started = Instant::now();
        let health = bare.health().await;
        note(row, &health, started.elapsed());
        health.is_ok()
    };
    let own = async {
        match (token, token_cmd) {
            (Some(token), _) => Ok(Some(token)),
            (None, Some(argv)) => of_command(&argv).await.map(Some),
            (None, None) => Ok(None),
        }
    };
    // The command of a token takes its time; whether the daemon is there is known before.
    let (is_there, token) = tokio::join!(health, own);
    if !is_there {
        return;
    }
    let token = match token {
        Ok(Some(token)) => token,
        Ok(None) => return,
        Err(why) => {
            row.detail = Some(why);
            return;
        }
    };
    let Ok(api) = Api::new(endpoint, Some(token), within, out) else { return };
    match api.get::<Identity>(&["whoami"]).await {
        Ok(identity) => {
            row.state = "ok";
            row.detail = None;
            row.role = Some(identity.role);
        }
        // A daemon from before it could say whose token it is.
        Err(failure) if failure.code == "not_found.route" => row.state = "ok",
        Err(failure) => {
            row.state = "refused";
            row.detail = Some(failure.why.unwrap_or(failure.message));
        }
    }
}

fn note(row: &mut Row, health: &Result<Health, Failure>, took: Duration) {
    match health {
        Ok(health) => {
            row.state = "no token";
            row.took_ms = u64::try_from(took.as_millis()).ok();
            row.version = Some(health.version.clone());
        }
        Err(failure) => {
            is_not_there(row, failure.why.clone().unwrap_or_else(|| failure.message.clone()));
        }
    }
}

/// The token that a command prints. It is not asked at a terminal: several run at once.
async fn of_command(argv: &[String]) -> Result<Secret, String> {
    let [program, args @ ..] = argv else { return Err("token_cmd is empty".to_owned()) };
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| format!("`{program}`: {e}"))?;
    let token = output.stdout.trim_ascii();
    if !output.status.success() || token.is_empty() {
        return Err(format!("`{program}` gave no token: it ended with {}", output.status));
    }
    Ok(Secret::new(token))
}
