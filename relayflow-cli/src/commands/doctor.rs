//! `relayflow doctor`: what is wrong, and the command that mends it. The daemon looks itself over; the
//! way to it, and what a store says without one, are looked at from here.

use std::time::Instant;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Check, DoctorReport};
use relayflow_core::store::Store;
use relayflow_core::text;
use relayflow_core::view::doctor::{self, fail, ok, shell, warn};

use super::list::{print_rows, show_document};
use crate::app::App;
use crate::args::Format;
use crate::backend::{self, Api, Backend};
use crate::context::{self, Target, Way};
use crate::failure::{Done, Failure};
use crate::output::style::Tone;
use crate::output::{Out, time};

/// Clocks that are further apart are worth a look: a signature's time may be off by five minutes.
const SKEW_MAX_SECONDS: f64 = 60.0;
/// Where the second column begins, and the text.
const TEXT_AT: usize = 16;

pub(crate) async fn doctor(app: &App) -> Done {
    let checks = examine(app).await?;
    let report = doctor::report(app.now(), env!("CARGO_PKG_VERSION"), checks);
    print(&app.out, app, &report)?;
    Ok(if 0 < report.problems { Exit::Findings } else { Exit::Ok })
}

/// Looks at everything that can be reached.
///
/// # Errors
///
/// A context that does not exist: then it is not known what to look at.
async fn examine(app: &App) -> Result<Vec<Check>, Failure> {
    let target = match app.target() {
        Ok(target) => target,
        Err(failure) if failure.exit() == Exit::NotFound => return Err(failure),
        Err(failure) => return Ok(vec![no_target(&failure)]),
    };
    match &target.way {
        Way::Store { url } => Ok(of_store(app, url).await),
        Way::Api { endpoint, .. } => match app.connect_to(&target).await? {
            Backend::Api(api) => Ok(of_daemon(app, &target, &api, endpoint).await),
            Backend::Store(_) => Ok(Vec::new()),
        },
    }
}

/// The way to a daemon is not known, or must not be gone.
fn no_target(failure: &Failure) -> Check {
    let is_token = failure.exit() == Exit::Auth;
    let code = if is_token { "token.refused" } else { "config.broken" };
    let fix = failure.hint.clone().or_else(|| {
        Some(if is_token { "relayflow version" } else { "relayflow config check" }.to_owned())
    });
    fail(code, said(failure), fix.map(|fix| fix.replace("set ", "export ")))
}

fn said(failure: &Failure) -> String {
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    match &failure.why {
        Some(why) => format!("{}: {}", first(&failure.message), first(why)),
        None => first(&failure.message),
    }
}

async fn of_store(app: &App, url: &str) -> Vec<Check> {
    let store = match Store::open_read_only(url).await {
        Ok(store) => store,
        Err(error) => {
            let text = format!("{url} does not open: {}", crate::failure::chain(&error));
            return vec![fail("store.unopened", text, Some("relayflow up".to_owned()))];
        }
    };
    let mut checks = found(doctor::of_store(&store, None, false).await);
    let loaded = context::load_config(None, &|name| app.env(name));
    let in_force = loaded.ok().and_then(|(config, _)| relayflow_daemon::in_force(&config).ok());
    if let Some(in_force) = in_force {
        checks.extend(found(doctor::of_config(&store, &in_force).await));
    }
    checks
}

fn found(checks: Result<Vec<Check>, relayflow_core::view::ViewError>) -> Vec<Check> {
    checks.unwrap_or_else(|error| {
        let failure = backend::failure(&error);
        vec![fail("store.unread", said(&failure), Some("relayflow up".to_owned()))]
    })
}

async fn of_daemon(app: &App, target: &Target, api: &Api, endpoint: &str) -> Vec<Check> {
    let shown = api.endpoint().to_owned();
    let begun = Instant::now();
    let health = match api.health().await {
        Ok(health) => health,
        Err(failure) => return without_daemon(app, target, endpoint, &failure).await,
    };
    let took = time::millis(begun.elapsed().as_secs_f64() * 1e3);
    let mut checks = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    let version = text::line(&health.version).into_owned();
    let asked = app.now();
    let report: Result<DoctorReport, Failure> = api.get(&["doctor"]).await;
    let between = app.now();
    match report {
        Ok(report) => {
            let middle = asked + between.duration_since(asked) / 2;
            let skew = report.at.parse::<jiff::Timestamp>().map(|at| at.duration_since(middle));
            let skew = skew.map_or(0.0, |skew| skew.as_secs_f64());
            let text = format!("{version} at {shown}, {took}, clock skew {:.1} s", skew.abs());
            checks.push(ok("daemon", text));
            if SKEW_MAX_SECONDS < skew.abs() {
                let which = if skew < 0.0 { "behind" } else { "ahead of" };
                let text = format!("the daemon's clock is {:.0} s {which} this one", skew.abs());
                checks.push(warn("clock.skew", text, Some("timedatectl status".to_owned())));
            }
            if version != own {
                checks.push(differs(own, &version));
            }
            checks.extend(report.checks);
        }
        Err(failure) if failure.code == "not_found.route" => {
            checks.push(ok("daemon", format!("{version} at {shown}, {took}")));
            let text =
                format!("the daemon is too old to look itself over: cli {own}, daemon {version}");
            checks.push(fail("version.old", text, Some("relayflow version".to_owned())));
        }
        Err(failure) => {
            checks.push(ok("daemon", format!("{version} at {shown}, {took}")));
            if version != own {
                checks.push(differs(own, &version));
            }
            let is_token = failure.exit() == Exit::Auth;
            let code = if is_token { "token.refused" } else { "daemon.failing" };
            let fix = failure.hint.clone().unwrap_or_else(|| "relayflow stats -vv".to_owned());
            checks.push(fail(code, said(&failure), Some(fix)));
        }
    }
    checks
}

fn differs(own: &str, daemon: &str) -> Check {
    let text = format!("cli {own}, daemon {daemon}");
    warn("version.differs", text, Some("relayflow version".to_owned()))
}

/// Nothing answers: how to start one, and what its store says meanwhile, where that is in reach.
async fn without_daemon(
    app: &App,
    target: &Target,
    endpoint: &str,
    failure: &Failure,
) -> Vec<Check> {
    let host = url::Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    let is_here =
        host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
    let why = failure.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    let text = format!("{}: {}{why}", target.shown(), failure.message);
    let fix = if is_here {
        "relayflow up".to_owned()
    } else {
        format!("curl -sS {}", shell(&format!("{}/healthz", endpoint.trim_end_matches('/'))))
    };
    let mut checks = vec![fail("daemon.unreachable", text, Some(fix))];
    if is_here
        && let Ok((config, _)) = context::load_config(None, &|name| app.env(name))
        && let Ok(path) = relayflow_core::store::sqlite_path(&config.store.url)
        && path.exists()
    {
        checks.extend(of_store(app, &config.store.url).await);
    }
    checks
}

fn print(out: &Out, app: &App, report: &DoctorReport) -> Result<(), Failure> {
    match out.format {
        Format::Csv | Format::Name => print_rows(app, &report.checks),
        Format::Wide => print_rows(app, &report.checks),
        Format::Table
        | Format::Json
        | Format::Ndjson
        | Format::Yaml
        | Format::Junit
        | Format::Sarif => {
            if !show_document(out, report, &report.object)? {
                out.print(&describe(out, report))?;
            }
            Ok(())
        }
    }
}

fn describe(out: &Out, report: &DoctorReport) -> String {
    let mut shown = String::new();
    for check in &report.checks {
        let (word, tone) = match check.level.as_str() {
            "fail" => ("FAIL", Tone::Bad),
            "warn" => ("warn", Tone::Warn),
            level => (level, Tone::Good),
        };
        let word = out.style.paint(&format!("{word:4}"), tone);
        let about = text::line(&check.about);
        let room = out.width.map_or(usize::MAX, |width| width.saturating_sub(TEXT_AT).max(20));
        for (place, line) in wrap(&text::line(&check.text), room).iter().enumerate() {
            if place == 0 {
                shown.push_str(&format!("{word}  {about:9} {line}\n"));
            } else {
                shown.push_str(&format!("{:TEXT_AT$}{line}\n", ""));
            }
        }
        // Whole in one line, so that it can be copied.
        if let Some(fix) = &check.fix {
            shown.push_str(&format!("{:TEXT_AT$}fix: {}\n", "", text::line(fix)));
        }
    }
    shown.push_str(&match (report.problems, report.warnings) {
        (0, 0) => "nothing is wrong\n".to_owned(),
        (problems, 0) => format!("{}\n", time::things(problems.into(), "problem")),
        (0, warnings) => format!("{}\n", time::things(warnings.into(), "warning")),
        (problems, warnings) => format!(
            "{}, {}\n",
            time::things(problems.into(), "problem"),
            time::things(warnings.into(), "warning")
        ),
    });
    shown
}

/// Lines of at most `room` columns, broken between words.
fn wrap(text: &str, room: usize) -> Vec<String> {
    use unicode_width::UnicodeWidthStr as _;
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().map_or(0, |line| line.width());
        if last != 0 && room <= last + word.width() {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_report_is_a_line_for_each_check_and_its_fix_below() {
        let checks = vec![
            ok("daemon", "0.1.0 at http://127.0.0.1:8788, 1.0 ms, clock skew 0.0 s"),
            warn("version.differs", "cli 0.3.1, daemon 0.3.0", Some("relayflow version".into())),
            fail(
                "source.rejected",
                "github: 100% rejected in the last 53m (212), signature\u{1b}[2J and so on",
                Some("relayflow requests explain req_01J9Z7".into()),
            ),
        ];
        let report = doctor::report(jiff::Timestamp::UNIX_EPOCH, "0.1.0", checks);
        let shown = describe(&Out::test(Format::Table, Some(60)), &report);
        insta::assert_snapshot!(shown, @r"
        ok    daemon    0.1.0 at http://127.0.0.1:8788, 1.0 ms,
                        clock skew 0.0 s
        warn  version   cli 0.3.1, daemon 0.3.0
                        fix: relayflow version
        FAIL  source    github: 100% rejected in the last 53m (212),
                        signature␛[2J and so on
                        fix: relayflow requests explain req_01J9Z7
        1 problem, 1 warning
        ");
    }

    #[test]
    fn without_a_way_to_a_daemon_there_is_one_finding() {
        let open = Failure::new("auth.token", "others can read x.token")
            .why("a token file that others can read is not used")
            .hint("chmod 600 x.token");
        let check = no_target(&open);
        assert_eq!(
            (check.code.as_str(), check.fix.as_deref()),
            ("token.refused", Some("chmod 600 x.token"))
        );
        let broken =
            Failure::new("usage.config", "the config does not load").why("line 3\nand more");
        let check = no_target(&broken);
        assert_eq!(check.text, "the config does not load: line 3");
        assert_eq!(check.fix.as_deref(), Some("relayflow config check"));
    }

    #[test]
    fn every_command_that_mends_something_is_one() {
        let core = include_str!("../../../relayflow-core/src/view/doctor.rs");
        let daemon = include_str!("../../../relayflow-daemon/src/http/doctor.rs");
        let (core, own) = (core.to_owned(), include_str!("doctor.rs").to_owned());
        let mut seen = 0;
        for source in [&core, &daemon.to_owned(), &own] {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for rest in code.split("\"relayflow ").skip(1) {
                let line = rest.split('"').next().unwrap_or_default();
                // What is filled in stands for a word.
                let mut words = Vec::new();
                for word in line.split(' ') {
                    words.push(if word.contains('{') { "evt_1" } else { word });
                }
                let all = std::iter::once("relayflow").chain(words);
                assert!(Cli::try_parse_from(all.clone()).is_ok(), "{line}");
                seen += 1;
            }
        }
        assert!(15 <= seen, "{seen} commands were found");
    }
}
