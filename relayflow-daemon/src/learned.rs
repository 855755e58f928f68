//! Secrets that vendors brought in a handshake, kept for the operator: a file each, beside the store,
//! that only its owner may read.
//!
//! Nobody has proven such a secret, so nothing here puts one in force: the operator compares it with
//! what the vendor shows, and moves the file to where the configuration names it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use relayflow_core::config::Config;
use relayflow_core::provider::forensics::{Spare, Standing};
use relayflow_core::provider::{Source, fingerprint};
use relayflow_core::secret::Secret;

use crate::http::problem::chain;

/// The folder's name.
const NAME: &str = "learned";
/// The most secrets of one source that wait. Those that came first stay: whoever sends many pushes
/// none away, and writes no more.
const SECRETS_MAX: usize = 4;
/// How long one waits.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder of what was learned.
#[derive(Debug)]
pub(crate) struct Learned {
    dir: PathBuf,
    /// One writes at a time.
    writing: Mutex<()>,
}

/// What became of a secret.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    New(PathBuf),
    Known,
    /// There are as many as may wait.
    Full,
}

/// What handshakes brought a source of the store at this path, and waits to be proven.
pub fn learned_fingerprints(store: &Path) -> impl Fn(&str) -> Vec<String> + use<> {
    let dir = store.parent().unwrap_or(Path::new("")).join(NAME);
    let learned = Learned { dir, writing: Mutex::default() };
    move |source| learned.fingerprints(source)
}

impl Learned {
    /// Beside the store, or beside the configuration where the store is not a file.
    pub(crate) fn new(config: &Config) -> Self {
        let store = config.store.url.strip_prefix("sqlite:").map(Path::new);
        let dir = store.and_then(Path::parent).unwrap_or(&config.dir);
        Self { dir: dir.join(NAME), writing: Mutex::default() }
    }

    /// Keeps what a handshake brought, and tells the operator. It is answered whatever becomes of
    /// this: the vendor shows the secret once more to who asked it for the webhook.
    pub(crate) async fn offer(
        self: &Arc<Self>,
        source: &Arc<Source>,
        secret: Secret,
        at: Timestamp,
    ) {
        if source.has_secret(&secret) {
            return;
        }
        let (this, name) = (Arc::clone(self), Arc::clone(&source.name));
        let shown = fingerprint(&secret);
        let kept = tokio::task::spawn_blocking(move || {
            this.sweep(at);
            this.keep(&name, &secret)
        });
        match kept.await {
            Ok(Ok(Kept::New(path))) => tracing::warn!(
                source = &*source.name,
                secret = shown,
                path = %path.display(),
                "a handshake brought a secret; nobody has proven it: compare it with what the vendor \
                 shows, move the file to where the source's `secrets` name it, and reload"
            ),
            Ok(Ok(Kept::Known)) => {}
            Ok(Ok(Kept::Full)) => tracing::warn!(
                source = &*source.name,
                dir = %self.dir.display(),
                "a handshake brought one secret too many; remove those that are not the vendor's"
            ),
            Ok(Err(error)) => tracing::error!(
                source = &*source.name,
                error = %chain(&error),
                "a handshake's secret cannot be kept"
            ),
            Err(error) => tracing::error!(%error, "a handshake's secret cannot be kept"),
        }
    }

    /// The secrets that wait, of all these sources: to explain requests, not to put them in force.
    pub(crate) fn spares<'s>(&self, sources: impl Iterator<Item = &'s Arc<str>>) -> Vec<Spare> {
        sources
            .flat_map(|source| {
                self.places(source).filter_map(|path| fs::read(path).ok()).map(|bytes| Spare {
                    source: Arc::clone(source),
                    secret: Secret::new(bytes.trim_ascii_end()),
                    standing: Standing::Learned,
                })
            })
            .collect()
    }

    /// The fingerprints of a source's secrets that wait.
    pub(crate) fn fingerprints(&self, source: &str) -> Vec<String> {
        let paths = self.places(source).filter_map(|path| fs::read(path).ok());
        paths.map(|bytes| fingerprint(&Secret::new(bytes.trim_ascii_end()))).collect()
    }

    /// Removes those that have waited too long.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let since_1970 = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        let oldest = SystemTime::UNIX_EPOCH + since_1970.saturating_sub(KEPT);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|meta| meta.modified()).ok();
            if modified.is_some_and(|at| at < oldest) && fs::remove_file(entry.path()).is_ok() {
                tracing::info!(path = %entry.path().display(), "a learned secret was not fetched");
            }
        }
    }

    fn places(&self, source: &str) -> impl Iterator<Item = PathBuf> {
        (1..=SECRETS_MAX).map(move |number| self.dir.join(format!("{source}.{number}")))
    }

    fn keep(&self, source: &str, secret: &Secret) -> io::Result<Kept> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut free = None;
        for path in self.places(source) {
            match fs::read(&path) {
                Ok(bytes) if secret.is(bytes.trim_ascii_end()) => return Ok(Kept::Known),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    free = free.or(Some(path));
                }
                Err(error) => return Err(error),
            }
        }
        let Some(path) = free else { return Ok(Kept::Full) };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(secret.expose())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(Kept::New(path))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(number: usize) -> Secret {
        Secret::new(format!("the vendor's secret {number}"))
    }

    #[test]
    fn the_first_few_wait_and_only_their_owner_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let learned = Learned { dir: dir.path().join(NAME), writing: Mutex::default() };
        assert!(learned.fingerprints("one").is_empty());
        for number in 1..=SECRETS_MAX {
            let path = learned.dir.join(format!("one.{number}"));
            assert_eq!(learned.keep("one", &secret(number)).unwrap(), Kept::New(path.clone()));
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&learned.dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(learned.keep("one", &secret(9)).unwrap(), Kept::Full);
        assert_eq!(learned.keep("one", &secret(2)).unwrap(), Kept::Known);
        let text = fs::read_to_string(learned.dir.join("one.1")).unwrap();
        assert_eq!(text, "the vendor's secret 1\n");
        let wanted: Vec<_> = (1..=SECRETS_MAX).map(|n| fingerprint(&secret(n))).collect();
        assert_eq!(learned.fingerprints("one"), wanted);

        fs::remove_file(learned.dir.join("one.2")).unwrap();
        let path = learned.dir.join("one.2");
        assert_eq!(learned.keep("one", &secret(9)).unwrap(), Kept::New(path));
        assert!(matches!(learned.keep("two", &secret(9)).unwrap(), Kept::New(_)));
    }

    #[test]
    fn what_nobody_fetches_is_gone_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let learned = Learned { dir: dir.path().join(NAME), writing: Mutex::default() };
        learned.keep("one", &secret(1)).unwrap();
        let path = learned.dir.join("one.1");
        let made = fs::metadata(&path).unwrap().modified().unwrap();
        let made = made.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let after = |hours: u64| {
            Timestamp::from_second(i64::try_from(made + hours * 3600).unwrap()).unwrap()
        };
        learned.sweep(after(23));
        assert!(path.exists());
        learned.sweep(after(25));
        assert!(!path.exists());
    }
}
