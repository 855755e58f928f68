//! The guide to writing a provider, typed from top to bottom.

use std::fs;
use std::process::Command;

use crate::docs::blocks;
use crate::harness::{Daemon, Home, free_port, program};

/// Its files are written, its commands run, and what it says that they show is shown.
#[test]
fn the_guide_writes_a_provider_that_works() {
    let home = Home::new("");
    fs::remove_file(home.path("relayflow.toml")).unwrap();
    let ports = format!(
        "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:{}\"\n[api]\nlisten = \
         \"127.0.0.1:{}\"\n",
        free_port(),
        free_port()
    );
    let path = format!(
        "{}:{}",
        program("relayflow").parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut daemon: Option<Daemon> = None;
    let (mut ran, mut said) = (0, String::new());
    for (info, text) in blocks("docs/guides/write-a-provider.md") {
        if let Some(file) = info.split("write:").nth(1) {
            let file = home.path(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            // Only the ports are others, since the usual ones may be taken here.
            let is_config = file.ends_with("relayflow.toml");
            fs::write(file, format!("{}{text}", if is_config { &ports } else { "" })).unwrap();
            continue;
        }
        match info.as_str() {
            "text shows" => {
                for line in text.lines() {
                    assert!(said.contains(line), "`{line}` is not in what was shown:\n{said}");
                }
            }
            "sh" | "sh exits 10" => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    let mut command = Command::new("sh");
                    command.env_clear().env("PATH", &path).env("HOME", home.path(""));
                    command.env("CI", "true").current_dir(home.path(""));
                    if line == "relayflow up" {
                        command.args(["-c", &format!("exec {line}")]);
                        let mut up = Daemon::spawn(command, home.path("relayflow.token"));
                        up.wait_ready();
                        daemon = Some(up);
                        continue;
                    }
                    let output = command.args(["-c", line]).output().unwrap();
                    said = format!(
                        "{}{}",
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr)
                    );
                    ran += 1;
                    let wanted = if info == "sh" { 0 } else { 10 };
                    assert_eq!(output.status.code(), Some(wanted), "`{line}`: {said}");
                }
            }
            _ => {}
        }
    }
    assert!(10 <= ran, "only {ran} commands were found");
    let daemon = daemon.expect("the guide starts a daemon");
    let stats = daemon.stats();
    assert_eq!((&stats["events"], &stats["duplicates"]), (&2.into(), &1.into()), "{stats}");
}
