//! The token file: where a machine's own CLI finds its way in, without anybody setting anything up.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use relayflow_core::config::Config;
use relayflow_core::secret::Secret;

const NAME: &str = "relayflow.token";
const RANDOM_BYTES: usize = 32;
const PRIVATE: u32 = 0o600;

/// Beside the store, or beside the configuration where the store is not a file.
pub(crate) fn path(config: &Config) -> PathBuf {
    let store = config.store.url.strip_prefix("sqlite:").map(Path::new);
    store.and_then(Path::parent).unwrap_or(&config.dir).join(NAME)
}

/// The token in the file, which is made if it is not there, and made private if it is not.
///
/// # Errors
///
/// When it can be neither read nor written, or holds something else.
pub(crate) fn keep(path: &Path) -> io::Result<Secret> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(path),
        Err(error) => return Err(error),
    };
    let token = text.trim();
    if token.len() < RANDOM_BYTES || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let what = "it holds no token; remove it, and a new one is made";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!("the token file could be read by others; now it cannot");
        fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
    }
    Ok(Secret::new(token))
}

/// Written whole under another name first, so that a crash leaves no half token.
fn make(path: &Path) -> io::Result<Secret> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = hex::encode(random);
    let draft = path.with_extension(format!("token.{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(&draft)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let first = keep(&path).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(keep(&path).unwrap().is(first.expose()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for bad in ["", "short\n", &"tok en".repeat(10)] {
            fs::write(&path, bad).unwrap();
            assert_eq!(keep(&path).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bad:?}");
        }
    }
}
