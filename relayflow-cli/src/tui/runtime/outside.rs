//! What touches this machine: files, the clipboard, an editor, a command.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::execute;

use crate::failure::Failure;
use crate::tui::msg::Msg;

/// What terminals take over OSC 52.
const COPY_MAX: usize = 74_000;
/// A command of the palette that does not end is ended.
const RUN_MAX: Duration = Duration::from_secs(30);
/// As much of what it prints is kept.
const PRINT_MAX: usize = 1 << 20;

/// Copies through the terminal, which works over ssh.
pub(super) fn copy(out: &mut impl io::Write, what: &str, text: &str) -> Result<String, Failure> {
    if COPY_MAX < text.len() {
        return Err(Failure::usage(format!(
            "{} bytes are more than a terminal copies; x writes them to a file",
            text.len()
        )));
    }
    execute!(out, CopyToClipboard::to_clipboard_from(text))?;
    let shown: String = text.chars().take(60).collect();
    Ok(format!("copied {what} {shown}"))
}

/// Writes a new file in this folder; never over one.
pub(super) fn write(name: &str, text: &str) -> Result<String, Failure> {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    for number in 1..1000 {
        let path = if number == 1 { name.clone() } else { format!("{number}-{name}") };
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                return Ok(format!("wrote {path}"));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::error(format!("{path}: {e}"))),
        }
    }
    Err(Failure::error(format!("there are too many files named {name}")))
}

/// Runs the user's editor on a copy of the text, to its end.
pub(super) fn edit(name: &str, text: &str) -> Result<ExitStatus, Failure> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = var("VISUAL").or_else(|| var("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let folder = tempfile::tempdir()?;
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let path: PathBuf = folder.path().join(name.chars().map(safe).collect::<String>());
    // To look at only, and by nobody else.
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
    file.write_all(framed(text).as_bytes())?;
    drop(file);
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    std::process::Command::new(program)
        .args(words)
        .arg(&path)
        .status()
        .map_err(|e| Failure::error(format!("the editor `{program}` does not start: {e}")))
}

/// A text between six lines of ours: editors look for commands in a file's first and last lines, and
/// the text is anybody's.
fn framed(text: &str) -> String {
    let lines = "// To look at: what is changed here goes nowhere.\n//\n//\n//\n//\n//\n";
    let text = relayflow_core::text::block(text);
    format!("{lines}{}\n{lines}", text.trim_end())
}

/// Runs this program with other arguments, about the same RelayFlow, and gives what it printed.
pub(super) async fn run(words: Vec<String>, about: Vec<String>, columns: u16) -> Msg {
    let title = format!("relayflow {}", words.join(" "));
    let text = match try_run(words, about, columns).await {
        Ok(text) if text.trim().is_empty() => "(it printed nothing)".to_owned(),
        Ok(text) => text,
        Err(failure) => failure.lines(("", "")),
    };
    Msg::Printed { title, text }
}

async fn try_run(words: Vec<String>, about: Vec<String>, columns: u16) -> Result<String, Failure> {
    let program = std::env::current_exe()?;
    let mut command = tokio::process::Command::new(program);
    command
        .args(about)
        .args(words)
        .env("RELAYFLOW_FORCE_TTY", columns.saturating_sub(6).max(40).to_string())
        .env("RELAYFLOW_NO_INPUT", "1")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(RUN_MAX, command.output()).await {
        Ok(output) => output?,
        Err(_) => return Err(Failure::new("pending.command", "it did not end within 30 s")),
    };
    let mut bytes = output.stderr;
    bytes.extend(output.stdout);
    bytes.truncate(PRINT_MAX);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
