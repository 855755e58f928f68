//! Tokens: where one is found, and that a file which others can read is not used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use relayflow_core::secret::Secret;

use super::Env;
use super::user::Context;
use crate::failure::Failure;

/// From where a token may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenFrom {
    Anywhere,
    /// Not from a command: it may ask something, or take its time.
    Still,
}

impl Context {
    /// The token that the context itself says where to find; `None` if it says nothing.
    ///
    /// # Errors
    ///
    /// It is not there, the file can be read by others, or the command fails.
    pub(crate) fn token(
        &self,
        name: &str,
        env: Env<'_>,
        from: TokenFrom,
    ) -> Result<Option<Secret>, Failure> {
        if let Some(variable) = &self.token_env {
            return env(variable).map(|token| Some(Secret::new(token))).ok_or_else(|| {
                Failure::new("auth.token", format!("context '{name}' wants a token in ${variable}"))
                    .why("the variable is not set")
                    .hint(format!("export {variable}=…"))
            });
        }
        if let Some(path) = &self.token_file {
            let path = at_home(path, env);
            return match read_token(&path)? {
                Some(token) => Ok(Some(token)),
                None => Err(Failure::new("auth.token", format!("there is no {}", path.display()))
                    .why(format!("it should hold the token of context '{name}'"))),
            };
        }
        match (&self.token_cmd, from) {
            (Some(argv), TokenFrom::Anywhere) => of_command(argv).map(Some),
            (Some(_), TokenFrom::Still) | (None, _) => Ok(None),
        }
    }
}

/// `~/…` is below the home folder, as a shell has it.
fn at_home(path: &Path, env: Env<'_>) -> PathBuf {
    match (path.strip_prefix("~"), env("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_path_buf(),
    }
}

fn of_command(argv: &[String]) -> Result<Secret, Failure> {
    let [program, args @ ..] = argv else {
        return Err(Failure::usage("token_cmd is empty"));
    };
    let failed =
        |why: String| Failure::new("auth.token", format!("`{program}` gave no token")).why(why);
    let output = Command::new(program)
        .args(args)
        .stderr(Stdio::inherit())
        .stdin(Stdio::inherit())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    let token = output.stdout.trim_ascii();
    if !output.status.success() || token.is_empty() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    Ok(Secret::new(token))
}

/// A token file that nobody else can read; `None` if there is none.
///
/// # Errors
///
/// It does not open, or others can read it.
pub(crate) fn read_token(path: &Path) -> Result<Option<Secret>, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(Failure::new("auth.token", format!("{} does not open", path.display()))
                .why(e.to_string()));
        }
    };
    if is_open_to_others(path) {
        return Err(Failure::new("auth.token", format!("others can read {}", path.display()))
            .why("a token file that others can read is not used")
            .hint(format!("chmod 600 {}", path.display())));
    }
    Ok(Some(Secret::new(bytes.trim_ascii())))
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn a_token_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;

        use super::*;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relayflow.token");
        assert!(read_token(&path).unwrap().is_none());
        std::fs::write(&path, "secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_token(&path).unwrap_err().exit().code(), 4);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_token(&path).unwrap().unwrap().is(b"secret"));
    }
}
