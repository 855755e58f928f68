//! A bundle, opened: unpacked into a private folder that goes with it, and read as a store.
//!
//! A bundle may come from anybody. Nothing of it chooses a name: its members are a closed list, each
//! once, each a plain file, of the size and digest that the manifest says, and the tables of its store
//! are exactly those that this version makes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::{
    BundleError, CONFIG, DOCUMENTS, Documents, FOLDER, FORMAT, MANIFEST, Manifest, REPORT, STORE,
};
use crate::store::{Store, check_whole, migrate_copy};

/// The most that a bundle may unpack to, however it is packed.
const UNPACKED_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// How many times its own size it may unpack to, beyond this.
const RATIO_MAX: u64 = 200;
const RATIO_FROM: u64 = 64 * 1024 * 1024;
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
const DOCUMENTS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// An open bundle. Its folder is removed when it is dropped.
#[derive(Debug)]
pub struct Bundle {
    pub manifest: Manifest,
    pub documents: Documents,
    pub store: Store,
    dir: tempfile::TempDir,
}

impl Bundle {
    /// Where it is unpacked, for as long as it is open.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Unpacks and opens the bundle at `path`.
    ///
    /// # Errors
    ///
    /// It is no bundle, a newer one, or not as it was written. Nothing is left behind then.
    pub async fn open(path: &Path) -> Result<Self, BundleError> {
        let file = path.to_owned();
        let gone = Arc::new(AtomicBool::new(false));
        let guard = Gone(Arc::clone(&gone));
        let unpacking = tokio::task::spawn_blocking(move || unpack(&file, &gone));
        let unpacked = unpacking.await;
        drop(guard);
        let (dir, manifest) = unpacked.map_err(|e| BundleError::Read(io::Error::other(e)))??;
        let db = dir.path().join(STORE);
        if manifest.schema < crate::store::schema_version() {
            // It is ours alone: an older one is brought up to date.
            migrate_copy(&db).await.map_err(broken)?;
        }
        let checked = db.clone();
        let checking = tokio::task::spawn_blocking(move || check_whole(&checked));
        let checked = checking.await;
        checked.map_err(|e| BundleError::Read(io::Error::other(e)))?.map_err(broken)?;
        let text = std::fs::read(dir.path().join(DOCUMENTS)).map_err(BundleError::Read)?;
        let documents = serde_json::from_slice(&text)
            .map_err(|e| BundleError::Damaged(format!("{DOCUMENTS}: {e}")))?;
        let store = Store::open_read_only(&format!("sqlite:{}", db.display())).await?;
        Ok(Self { manifest, documents, store, dir })
    }
}

/// Tells the one who unpacks that nobody waits any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn broken(error: crate::store::StoreError) -> BundleError {
    if let crate::store::StoreError::Newer { version } = error {
        return BundleError::Newer { version: format!("schema {version}") };
    }
    BundleError::Damaged(format!("{STORE}: {error}"))
}

/// Whether a file is packed as a bundle is. What it holds is another question.
#[must_use]
pub fn is_bundle(path: &Path) -> bool {
    let mut head = [0; 2];
    let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
    is_file
        && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head == [0x1f, 0x8b]
}

/// The manifest alone, with every member's size and digest checked and nothing written.
///
/// # Errors
///
/// As [`Bundle::open`].
pub fn read_manifest(path: &Path) -> Result<Manifest, BundleError> {
    walk(path, &AtomicBool::new(false), |_| Ok(Box::new(io::sink())))
}

fn unpack(path: &Path, gone: &AtomicBool) -> Result<(tempfile::TempDir, Manifest), BundleError> {
    let dir = tempfile::Builder::new()
        .prefix("relayflow-bundle-")
        .tempdir()
        .map_err(BundleError::Read)?;
    let manifest = walk(path, gone, |name| {
        let to = dir.path().join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        Ok(Box::new(file))
    })?;
    Ok((dir, manifest))
}

/// Goes through the members in order; `to` says where each one's bytes go.
fn walk(
    path: &Path,
    gone: &AtomicBool,
    to: impl Fn(&'static str) -> io::Result<Box<dyn io::Write>>,
) -> Result<Manifest, BundleError> {
    if !is_bundle(path) {
        return Err(BundleError::NotABundle("it is not a file in gzip"));
    }
    let file = File::open(path).map_err(BundleError::Read)?;
    let packed = file.metadata().map_err(BundleError::Read)?.len();
    let most = RATIO_FROM.saturating_add(packed.saturating_mul(RATIO_MAX)).min(UNPACKED_MAX);
    let inflating = Bounded { inner: GzDecoder::new(io::BufReader::new(file)), left: most };
    let mut archive = tar::Archive::new(inflating);
    // Raw: names and sizes are read from plain headers alone, never from entries that hold others'.
    let mut entries = archive.entries().map_err(read_error)?.raw(true);
    let mut manifest = first(&mut entries)?;
    for wanted in [STORE, DOCUMENTS, CONFIG, REPORT] {
        let Some(entry) = entries.next() else {
            return Err(BundleError::Truncated("members are missing"));
        };
        let mut entry = entry.map_err(read_error)?;
        let (name, bytes) = known(&entry)?;
        if name != wanted {
            return Err(BundleError::Damaged(format!("{name} is where {wanted} should be")));
        }
        let said = manifest.members.iter().find(|member| member.name == name);
        let Some(said) = said else {
            return Err(BundleError::Damaged(format!("{name} is not in the manifest")));
        };
        if said.bytes != bytes || (name != STORE && DOCUMENTS_BYTES_MAX < bytes) {
            return Err(BundleError::TooLarge(
                "a member is not of the size that the manifest says",
            ));
        }
        let mut out = to(name).map_err(BundleError::Read)?;
        let digest = copy(&mut entry, &mut out, bytes, gone)?;
        if digest != said.sha256 {
            return Err(BundleError::Damaged(format!("{name} has another digest")));
        }
    }
    if let Some(entry) = entries.next() {
        return Err(BundleError::Foreign(name_of(&entry.map_err(read_error)?)));
    }
    finish(archive.into_inner())?;
    manifest.members.retain(|member| [STORE, DOCUMENTS, CONFIG, REPORT].contains(&&*member.name));
    Ok(manifest)
}

/// What stands behind the last member: nothing, and the checksum of it all holds.
fn finish(mut rest: impl Read) -> Result<(), BundleError> {
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().all(|byte| *byte == 0) => {}
            Ok(_) => return Err(BundleError::Foreign("something behind its end".to_owned())),
            Err(error) => return Err(read_error(error)),
        }
    }
}

fn first<R: Read>(entries: &mut tar::Entries<'_, R>) -> Result<Manifest, BundleError> {
    let no_bundle = || BundleError::NotABundle("it does not begin with a manifest");
    let Some(entry) = entries.next() else { return Err(no_bundle()) };
    let entry = entry.map_err(|error| {
        let error = read_error(error);
        if matches!(error, BundleError::Read(_)) { no_bundle() } else { error }
    })?;
    match known(&entry) {
        Ok((MANIFEST, bytes)) if bytes <= MANIFEST_BYTES_MAX => {}
        Ok((MANIFEST, _)) => return Err(BundleError::TooLarge("its manifest")),
        Ok(_) | Err(BundleError::Foreign(_)) => return Err(no_bundle()),
        Err(other) => return Err(other),
    }
    let mut text = Vec::new();
    entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(read_error)?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|_| no_bundle())?;
    if value.get("object").and_then(serde_json::Value::as_str) != Some("bundle") {
        return Err(no_bundle());
    }
    // The version first: what a newer one says may not be understood.
    let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let schema = value.get("schema").and_then(serde_json::Value::as_i64).unwrap_or(0);
    if u64::from(FORMAT) < format || crate::store::schema_version() < schema {
        let version = value.get("version").and_then(serde_json::Value::as_str).unwrap_or("?");
        let version = crate::text::line(version).chars().take(40).collect();
        return Err(BundleError::Newer { version });
    }
    serde_json::from_value(value).map_err(|e| BundleError::Damaged(format!("{MANIFEST}: {e}")))
}

/// The member that an entry is, and its size.
fn known<R: Read>(entry: &tar::Entry<'_, R>) -> Result<(&'static str, u64), BundleError> {
    let foreign = || BundleError::Foreign(name_of(entry));
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(foreign());
    }
    let name = entry.path_bytes();
    let name = name.strip_prefix(FOLDER.as_bytes()).ok_or_else(foreign)?;
    let known = [MANIFEST, STORE, DOCUMENTS, CONFIG, REPORT];
    let name = known.into_iter().find(|known| known.as_bytes() == name).ok_or_else(foreign)?;
    Ok((name, entry.header().entry_size().map_err(read_error)?))
}

fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> String {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    crate::text::line(&name).chars().take(80).collect()
}

/// Copies exactly `bytes`, and answers their digest.
fn copy(
    from: &mut impl Read,
    to: &mut impl io::Write,
    bytes: u64,
    gone: &AtomicBool,
) -> Result<String, BundleError> {
    let mut hash = Sha256::new();
    let mut left = bytes;
    let mut buffer = vec![0; 64 * 1024];
    while 0 < left {
        if gone.load(Ordering::Relaxed) {
            return Err(BundleError::Truncated("nobody waits for it any more"));
        }
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = from.read(&mut buffer[..want]).map_err(read_error)?;
        if read == 0 {
            return Err(BundleError::Truncated("a member is shorter than it should be"));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(BundleError::Read)?;
        left -= read as u64;
    }
    to.flush().map_err(BundleError::Read)?;
    Ok(hex::encode(hash.finalize()))
}

/// Reads no more than so much.
struct Bounded<R> {
    inner: R,
    left: u64,
}

/// The text of an error of [`Bounded`].
const OVER: &str = "more than allowed";

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(OVER))?;
        Ok(read)
    }
}

fn read_error(error: io::Error) -> BundleError {
    let text = error.to_string();
    if text.contains(OVER) {
        return BundleError::TooLarge("for its own size");
    }
    let kind = error.kind();
    if kind == io::ErrorKind::UnexpectedEof || text.contains("failed to read entire block") {
        return BundleError::Truncated("its end is missing");
    }
    if matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) {
        return BundleError::Damaged("what is packed does not unpack".to_owned());
    }
    BundleError::Read(error)
}
