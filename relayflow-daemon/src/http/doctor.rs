//! `/api/v1/doctor`: what is wrong here, as far as this process can say.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::extract::State;
use relayflow_core::api::{Check, DoctorReport};
use relayflow_core::config::Config;
use relayflow_core::diagnostic::Diagnostic;
use relayflow_core::in_force::InForce;
use relayflow_core::view::doctor::{self, fail, ok, shell, warn};

use super::json::Json;
use super::problem::Problem;
use super::queues;
use crate::app::App;
use crate::reload;
use crate::token;

/// As many settings or mistakes are named.
const NAMED_MAX: usize = 5;

pub(crate) async fn report(State(app): State<App>) -> Result<Json<DoctorReport>, Problem> {
    let mut checks = Vec::new();
    if let Some(code) = app.unready() {
        let text = format!("it takes nothing in now: {code}");
        checks.push(fail("daemon.not_ready", text, None));
    }
    let queues = queues::seen(&app).await?.items;
    checks.extend(doctor::of_store(&app.store, Some(queues), true).await?);
    let in_force = app.current.get();
    checks.extend(doctor::of_config(&app.store, &in_force).await?);
    let for_files = App::clone(&app);
    // Files are read and a configuration is compiled: beside what serves others.
    let files = tokio::task::spawn_blocking(move || {
        let mut checks = config_checks(&for_files, &in_force);
        checks.extend(token_check(&for_files.config()));
        checks
    });
    checks.extend(files.await.unwrap_or_default());
    let now = app.store.clock().now();
    Ok(Json::ok(doctor::report(now, env!("CARGO_PKG_VERSION"), checks)))
}

/// What is on disk against what is in force.
fn config_checks(app: &App, in_force: &InForce) -> Vec<Check> {
    let config = app.config();
    let (Some(path), Some(reload)) = (&config.path, &app.reload) else {
        return vec![ok("config", "built-in defaults")];
    };
    // As it is found from wherever somebody types it.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let shown = path.display().to_string();
    let check = format!("relayflow config check {}", shell(&shown));
    let (on_disk, warnings) = match reload() {
        Ok(read) => read,
        Err(mistakes) => {
            let text = format!("{shown} does not check any more: {}", brief(&mistakes));
            return vec![fail("config.broken", text, Some(check))];
        }
    };
    let mut checks: Vec<Check> = warnings
        .iter()
        .take(NAMED_MAX)
        .map(|warning| warn("config.weak", warning.message.clone(), Some(check.clone())))
        .collect();
    let changed = differences(&config, &on_disk, in_force);
    if config.digest == on_disk.digest && changed.is_empty() {
        checks.push(ok("config", format!("{shown} as loaded, {}", &config.digest[..12])));
        return checks;
    }
    let what = match changed.as_slice() {
        [] => "its text".to_owned(),
        some => some.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", "),
    };
    let text = format!("{shown} changed since it was loaded ({what}); in force is what was loaded");
    checks.push(warn("config.drifted", text, Some(format!("kill -HUP {}", std::process::id()))));
    checks
}

/// The settings, sources, secrets and workflows that differ.
fn differences(loaded: &Config, on_disk: &Config, in_force: &InForce) -> Vec<String> {
    let mut changed = Vec::new();
    for one in &on_disk.explained {
        let before = loaded.explained.iter().find(|other| other.key == one.key);
        if before.is_none_or(|before| before.value != one.value) {
            changed.push(one.key.clone());
        }
    }
    for gone in &loaded.explained {
        if on_disk.explained.iter().all(|other| other.key != gone.key) {
            changed.push(gone.key.clone());
        }
    }
    if let Ok(next) = reload::in_force(on_disk) {
        for (name, source) in &next.sources {
            let before = in_force.sources.get(name);
            if before.is_some_and(|b| b.secret_fingerprints() != source.secret_fingerprints()) {
                changed.push(format!("the secrets of {name}"));
            }
        }
    }
    changed.sort();
    changed.dedup();
    changed
}

fn brief(mistakes: &[Diagnostic]) -> String {
    let first = mistakes.first().map_or("it cannot be read", |mistake| mistake.message.as_str());
    match mistakes.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first}, and {} more", count - 1),
    }
}

/// Who may read the token that the daemon made.
fn token_check(config: &Config) -> Option<Check> {
    let path = token::path(config);
    config.api.tokens.is_empty().then(|| private(&path))?
}

fn private(path: &Path) -> Option<Check> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let shown = path.display().to_string();
    Some(if mode & 0o077 == 0 {
        ok("token", format!("{shown} is its owner's alone"))
    } else {
        let text = format!("others can read {shown}");
        fail("token.open", text, Some(format!("chmod 600 {}", shell(&shown))))
    })
}
