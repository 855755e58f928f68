//! The files that `init` writes.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use relayflow_core::config::EXAMPLE;
use relayflow_core::secret::Secret;

use super::{SECRETS, Start};

/// What matches everything, and needs nothing but a shell.
const WORKFLOW: &str = r#"
# What is to be done about events: this writes each into received.ndjson. `relayflow help filters` and the
# guides tell of conditions; in place of a command, a step may call a URL:
#   http = { url = "https://api.example.com/contacts/{{ event.subject }}" }
[workflows.keep]
on = ["*"]                             # kinds such as "payment.failed", types as "provider:type", or "*"

[[workflows.keep.steps]]
name = "write"
command = { argv = ["sh", "-c", "cat >> received.ndjson"], env = ["PATH"] }   # the event on stdin
"#;

/// The whole config.
pub(super) fn text(starts: &[Start]) -> String {
    let mut text = general();
    for start in starts {
        source(&mut text, start);
    }
    text.push_str(WORKFLOW);
    text
}

/// The settings that concern no source and no workflow, each as a comment that shows its default.
fn general() -> String {
    let lines = EXAMPLE.lines().take_while(|line| !line.starts_with("# [providers]"));
    let mut text = String::new();
    for line in lines {
        if line.starts_with(|c: char| c.is_ascii_lowercase()) {
            // What stands behind it stays below the others.
            let _ = writeln!(text, "# {}", line.replacen("    #", "  #", 1));
        } else {
            let _ = writeln!(text, "{line}");
        }
    }
    format!("{}\n", text.trim_end())
}

fn source(text: &mut String, start: &Start) {
    let provider = &start.provider;
    let about = provider.describe();
    let name = start.name();
    let _ = writeln!(text, "\n# {}: POST /in/{name}", one_line(&provider.title));
    let _ = writeln!(text, "[sources.{name}]\nprovider = {}", quoted(name));
    if !start.is_open() {
        let file = format!("{SECRETS}/{}", start.verifying_file());
        if start.signing.is_some() {
            let _ = writeln!(
                text,
                "# A key of your own, to try things out: the private half is in {SECRETS}/{name}.key. Put the\n\
                 # vendor's public key in its place before real events come."
            );
        } else {
            let _ = writeln!(
                text,
                "# Made for you. Give it to the vendor, or put what the vendor shows you in its place:\n# {}.",
                one_line(&about.secret)
            );
        }
        let _ = writeln!(text, "secrets = [{{ file = {} }}]", quoted(&file));
    }
    if start.needs_public_url {
        let _ = writeln!(
            text,
            "public_url = \"http://127.0.0.1:8787/in/{name}\"   # what the vendor calls: it is signed"
        );
    }
    if provider.examples.is_empty() {
        return;
    }
    let _ = writeln!(text, "[sources.{name}.settings]");
    for (setting, example) in &provider.examples {
        let about = about.settings.iter().find(|known| known.name == *setting);
        let about = about.map(|known| format!("   # {}", one_line(&known.about)));
        let _ = writeln!(text, "{setting} = {}{}", quoted(example), about.unwrap_or_default());
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// # Errors
///
/// It cannot be written; it is there and must not be written over.
pub(super) fn config(path: &Path, text: &str, is_forced: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    if is_forced {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.write(true).open(path)?.write_all(text.as_bytes())
}

/// Writes a secret that nobody else may read; `false` where there is one already, which stays.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn secret(folder: &Path, name: &str, secret: &Secret) -> io::Result<bool> {
    let is_new = !folder.exists();
    fs::create_dir_all(folder)?;
    if is_new {
        only_mine(folder, 0o700)?;
        // Secrets have no place in a repository.
        fs::write(folder.join(".gitignore"), "*\n")?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = match options.open(folder.join(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(e),
    };
    file.write_all(secret.expose())?;
    if !secret.expose().ends_with(b"\n") {
        file.write_all(b"\n")?;
    }
    Ok(true)
}

#[cfg(unix)]
fn only_mine(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn only_mine(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}
