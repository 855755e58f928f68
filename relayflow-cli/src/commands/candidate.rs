//! A candidate config, and the definitions of providers beside it, as the daemon is sent them.

use std::path::Path;

use relayflow_core::api::ProviderFile;

use crate::failure::Failure;

/// What `--config` names.
pub(crate) struct Candidate {
    pub(crate) text: String,
    /// The definitions in its `providers.dir`.
    pub(crate) providers: Vec<ProviderFile>,
}

/// Reads the file, and the folder of definitions that it names.
///
/// # Errors
///
/// What cannot be read. Whether it is right is the daemon's to say.
pub(crate) fn read(path: &Path) -> Result<Candidate, Failure> {
    let text = text_of(path)?;
    let mut providers = Vec::new();
    let dir = toml::from_str::<toml::Table>(&text).ok().and_then(|config| {
        let dir = config.get("providers")?.get("dir")?.as_str()?.to_owned();
        Some(path.parent().unwrap_or(Path::new("")).join(dir))
    });
    for file in dir.iter().map(|dir| files(dir)).next().unwrap_or(Ok(vec![]))? {
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        providers.push(ProviderFile { name, text: text_of(&file)? });
    }
    Ok(Candidate { text, providers })
}

fn files(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let read = std::fs::read_dir(dir).map_err(|e| unreadable(dir, &e))?;
    let mut files: Vec<_> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    Ok(files)
}

fn text_of(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("--config: {}: {error}", path.display()))
}
