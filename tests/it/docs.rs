//! The documentation is held to the code: what can be listed is listed from it, what links must resolve, what
//! shows a config or a session is run.
//!
//! Generated parts stand between `<!-- NAME: generated -->` and `<!-- /NAME -->`. `RELAYFLOW_UPDATE=1 tests/run
//! docs` writes them anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use relayflow_core::api::codes::{Code, Exit};
use relayflow_core::timeline::What;
use saphyr::LoadableYamlNode as _;

use crate::harness::{Daemon, Home, free_port, program};
use crate::tidy::{files, read, root};
use crate::vendor::{self, stripe};

fn pages() -> Vec<String> {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned));
    pages
}

/// Fails unless the page's part `name` is `text`, or writes it when told to.
#[track_caller]
pub(crate) fn generated(page: &str, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- /{name} -->"));
    let whole = read(page);
    let (before, rest) = whole.split_once(&begin).unwrap_or_else(|| panic!("{page}: no {begin}"));
    let (inside, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{page}: no {end}"));
    if std::env::var_os("RELAYFLOW_UPDATE").is_some() {
        fs::write(root().join(page), format!("{before}{begin}{text}{end}{after}")).unwrap();
        return;
    }
    assert!(
        inside == text,
        "{page}: {name} is not what the code says; RELAYFLOW_UPDATE=1 tests/run docs writes it"
    );
}

/// The fenced blocks of a page: what stands behind the fence, and the text.
pub(crate) fn blocks(page: &str) -> Vec<(String, String)> {
    let text = read(page);
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap().to_owned();
        for (at, _) in text.match_indices("](") {
            let target: String = text[at + 2..].chars().take_while(|c| *c != ')').collect();
            if target.starts_with("http") || target.is_empty() {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let linked =
                if file.is_empty() { Path::new(&page).to_owned() } else { folder.join(file) };
            let Ok(linked_text) = fs::read_to_string(root().join(&linked)) else {
                if !root().join(&linked).is_dir() {
                    wrong.push(format!("{page}: {target}"));
                }
                continue;
            };
            let found = linked_text
                .lines()
                .filter_map(|line| line.strip_prefix('#'))
                .any(|heading| slug(heading.trim_start_matches('#')) == anchor);
            if !anchor.is_empty() && !found {
                wrong.push(format!("{page}: {target} (no such heading)"));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

fn slug(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn the_table_of_contents_lists_every_page() {
    let summary = read("docs/SUMMARY.md");
    for page in files("docs", ".md") {
        let name = page.strip_prefix("docs/").unwrap();
        if name != "SUMMARY.md" {
            assert!(summary.contains(&format!("({name})")), "docs/SUMMARY.md does not list {name}");
        }
    }
}

#[test]
fn what_changes_is_written_down_for_those_who_upgrade() {
    assert!(read("CHANGELOG.md").contains("\n## Unreleased\n"));
}

#[test]
fn every_error_code_has_its_heading() {
    let page = read("docs/reference/error-codes.md");
    for code in Code::ALL {
        let heading = format!("\n### `{code}`\n");
        assert!(page.contains(&heading), "docs/reference/error-codes.md has no `{code}`");
    }
}

#[test]
fn every_exit_code_has_its_row() {
    let rows: String = Exit::ALL
        .iter()
        .map(|exit| {
            let (code, name) = (exit.code(), exit.name());
            format!("| {code} | `{name}` | {} | {} |\n", exit.when(), exit.another_try())
        })
        .collect();
    let table = format!(
        "| code | name | when | worth another try |\n| --- | --- | --- | --- |\n{rows}\
         | 129, 130, 143 | | hung up, interrupted, terminated | |\n"
    );
    generated("docs/reference/exit-codes.md", "exits", &table);
}

#[test]
fn every_word_of_the_timeline_has_its_row() {
    let page = read("docs/reference/timeline.md");
    for what in What::ALL {
        assert!(page.contains(&format!("\n| `{what}` |")), "no `{what}` in the timeline's page");
    }
}

#[test]
fn every_route_is_documented() {
    let routes = read("relayflow-daemon/src/http/mod.rs");
    let page = read("docs/reference/api.md");
    let paths: Vec<&str> = routes
        .match_indices("\"/")
        .filter_map(|(at, _)| routes[at + 1..].split('"').next())
        .filter(|path| !path.contains(char::is_whitespace))
        .collect();
    for path in &paths {
        assert!(page.contains(&format!(" {path}`")), "docs/reference/api.md does not name {path}");
    }
    assert!(20 <= paths.len(), "only {paths:?} were found");
}

#[test]
fn the_config_page_is_the_example_file() {
    let example = read("relayflow-core/relayflow.example.toml");
    generated("docs/reference/config.md", "example", &format!("```toml\n{example}```\n"));
}

/// The commands that a help names.
fn below(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let listed = listed.split_once("\n\n").map_or(listed, |(listed, _)| listed);
    let names = listed.lines().filter_map(|line| line.strip_prefix("  "));
    names.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next())
}

#[test]
fn the_cli_page_is_the_help() {
    let home = Home::new("");
    let mut text = String::new();
    // The whole tree, a command before what is below it.
    let mut rest = vec![String::new()];
    while let Some(command) = rest.pop() {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = home.relayflow(&words).ended(0).out;
        let mut below: Vec<String> =
            below(&help).map(|name| format!("{command} {name}")).filter(|c| c != " help").collect();
        rest.extend(below.drain(..).rev());
        // What every command takes is told once, by the first.
        let own = match help.split_once("\nGlobal options:") {
            Some((own, _)) if !command.is_empty() => own,
            _ => &help,
        };
        let own: Vec<&str> = own.lines().map(str::trim_end).collect();
        let own = own.join("\n");
        text.push_str(&format!("## `relayflow{command}`\n\n```text\n{}\n```\n\n", own.trim_end()));
    }
    generated("docs/reference/cli.md", "help", &text);
    for topic in ["filters", "time", "contexts", "output", "environment"] {
        let told = home.relayflow(&["help", topic]).ended(0).out;
        generated("docs/reference/cli.md", topic, &format!("```text\n{told}```\n"));
    }
}

#[test]
fn the_metrics_page_lists_what_is_measured() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let metrics = daemon.ask("/metrics").text();
    let kind = |name: &str| {
        let mark = format!("# TYPE {name} ");
        metrics.lines().find_map(|l| l.strip_prefix(mark.as_str())).unwrap_or("").to_owned()
    };
    let mut rows: Vec<String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '))
        .map(|(name, help)| format!("| `{name}` | {} | {help} |\n", kind(name)))
        .collect();
    rows.sort();
    let table = format!("| metric | type | meaning |\n| --- | --- | --- |\n{}", rows.concat());
    generated("docs/reference/metrics.md", "metrics", &table);
}

/// A block that is marked `toml relayflow.toml` is a whole config: it must check.
#[test]
fn every_config_in_the_docs_checks() {
    let mut count = 0;
    for page in pages() {
        for (info, text) in blocks(&page) {
            if info != "toml relayflow.toml" {
                continue;
            }
            count += 1;
            let home = Home::new("");
            home.write("relayflow.toml", &text);
            home.script("notify.sh", "#!/bin/sh\n");
            let mut command = Command::new(program("relayflow"));
            command.env_clear().current_dir(home.path(""));
            for name in ["STRIPE_WEBHOOK_SECRET", "GITHUB_WEBHOOK_SECRET", "ACME_SECRET"] {
                command.env(name, "a-secret-of-enough-bytes-0123456789");
            }
            let ran = command.args(["config", "check", "relayflow.toml"]).output().unwrap();
            assert!(
                ran.status.success(),
                "{page}: {}{}",
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            );
        }
    }
    assert!(2 <= count, "{count} configs were found");
}

/// `docs/start.md`, typed from top to bottom: its files are written, its commands run, each ends with 0.
#[test]
fn the_five_minute_start_works_as_it_is_written() {
    let home = Home::new("");
    let (ingest, api) = (free_port(), free_port());
    let mut daemon: Option<Daemon> = None;
    let path = format!(
        "{}:{}",
        program("relayflow").parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut ran = 0;
    for (info, text) in blocks("docs/start.md") {
        match info.as_str() {
            "toml relayflow.toml" => {
                // Only the ports are others, since the usual ones may be taken here.
                let ports = format!(
                    "[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n"
                );
                home.write("relayflow.toml", &format!("{ports}{text}"));
            }
            "sh notify.sh" => home.script("notify.sh", &text),
            "sh" => {
                for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
                    if line.starts_with("cargo ") || line.starts_with("chmod ") {
                        continue;
                    }
                    let mut command = Command::new("sh");
                    command.env_clear().env("PATH", &path).env("HOME", home.path(""));
                    command.env("CI", "true").current_dir(home.path(""));
                    if line.starts_with("relayflow up") {
                        command.args(["-c", &format!("exec {line}")]);
                        let mut up = Daemon::spawn(command, home.path("relayflow.token"));
                        up.wait_ready();
                        daemon = Some(up);
                        continue;
                    }
                    if let Some(daemon) = &daemon {
                        daemon.drained();
                    }
                    let output = command.args(["-c", line]).output().unwrap();
                    ran += 1;
                    assert!(
                        output.status.success(),
                        "`{line}` ended with {}: {}{}",
                        output.status,
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr)
                    );
                }
            }
            _ => {}
        }
    }
    assert!(5 <= ran, "only {ran} commands were found");
    let daemon = daemon.expect("the page starts a daemon");
    let stats = daemon.drained();
    assert_eq!(stats["dead_letters"], 0, "at the end everything is executed: {stats}");
    assert!(home.read("notified.ndjson").is_some_and(|text| !text.is_empty()));
}

/// `docs/guides/ci-gate.md`: its examples for CI are YAML, and what they run is run here, in a repository
/// such as the page speaks of, against a daemon.
#[test]
fn the_ci_examples_are_yaml_and_their_commands_run() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    for n in 0..6 {
        let id = format!("evt_{n}");
        daemon.deliver_new(&stripe(&id, "charge.failed"));
        let body = vendor::stripe_body(&id, "charge.failed");
        home.write(&format!("fixtures/stripe/{n}.json"), &body);
    }
    let path = format!(
        "{}:{}",
        program("relayflow").parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let run = |line: &str| {
        let mut command = Command::new("sh");
        command.env_clear().env("PATH", &path).env("HOME", home.path("")).env("CI", "true");
        command.env("RELAYFLOW_URL", format!("http://{}", daemon.api));
        command.env("RELAYFLOW_TOKEN", &daemon.token).current_dir(home.path(""));
        let output = command.args(["-c", line]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "`{line}` ended with {}: {said}", output.status);
    };
    let mut commands = Vec::new();
    let mut documents = 0;
    for (info, text) in blocks("docs/guides/ci-gate.md") {
        match info.as_str() {
            "sh" => commands.extend(text.lines().map(str::to_owned)),
            "yaml github" | "yaml gitlab" => {
                documents += 1;
                let yaml = saphyr::Yaml::load_from_str(&text).unwrap();
                let [document] = yaml.as_slice() else { panic!("{info}: not one document") };
                let before = commands.len();
                if info == "yaml github" {
                    for (_, job) in document["jobs"].as_mapping().unwrap() {
                        let steps = job["steps"].as_sequence().unwrap().iter();
                        let runs = steps.filter_map(|step| step.as_mapping_get("run")?.as_str());
                        commands.extend(runs.map(str::to_owned));
                    }
                } else {
                    let script = document["vendors"]["script"].as_sequence().unwrap().iter();
                    commands.extend(script.map(|line| line.as_str().unwrap().to_owned()));
                }
                assert!(before < commands.len(), "{info}: nothing is run");
            }
            _ => {}
        }
    }
    assert_eq!(documents, 2);
    for line in commands {
        assert!(line.starts_with("relayflow "), "{line}");
        run(&line);
    }
    let sarif = home.read("contracts.sarif").unwrap();
    assert!(sarif.contains("\"version\": \"2.1.0\""), "{sarif}");
    for report in ["contracts.xml", "drift.xml", "events.xml"] {
        assert!(home.read(report).unwrap().starts_with("<?xml"), "{report}");
    }
}
