//! The payload in a person's editor.

use std::io::Write as _;
use std::process::Command;

use crate::app::App;
use crate::failure::Failure;

/// Opens `$VISUAL` or `$EDITOR` on the payload and gives what was saved. JSON that no longer parses is
/// an error; nothing has been sent then.
pub(super) fn edit(app: &App, payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let set = |name: &str| app.env(name).filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).ok_or_else(|| {
        Failure::usage("--edit needs an editor: neither VISUAL nor EDITOR is set")
            .hint("--set PATH=VALUE, or --data @FILE")
    })?;
    let json: Option<Box<serde_json::value::RawValue>> = serde_json::from_slice(&payload).ok();
    let shown = match &json {
        Some(json) => crate::output::document::indent(json.get())?.into_bytes(),
        None => payload,
    };
    let ending = if json.is_some() { ".json" } else { ".txt" };
    let mut file = tempfile::Builder::new().prefix("relayflow-").suffix(ending).tempfile()?;
    file.write_all(&shown)?;
    file.flush()?;
    // As git does: the variable may hold flags.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .status()
        .map_err(|e| Failure::error(format!("`{editor}` does not start")).why(e.to_string()))?;
    if !status.success() {
        return Err(Failure::new("refused.editor", format!("`{editor}` ended with {status}"))
            .why("nothing was sent"));
    }
    let edited = std::fs::read(file.path())?;
    if json.is_some()
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&edited)
    {
        return Err(Failure::usage("what was saved is not JSON").why(error.to_string()));
    }
    if edited == shown {
        app.out.notice("the payload was not changed");
    }
    Ok(edited)
}
