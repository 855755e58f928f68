//! The database itself: opened, locked, checked, migrated. SQLite for now; PostgreSQL will be a
//! second arm of each `match` on the URL's scheme.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use super::StoreError;
use super::readable::Readable;

/// SQLite before this corrupts its log in rare resets (guarantees: the store).
pub(super) const SQLITE_FLOOR: i32 = 3_051_003;
/// Large enough that a row with its body fits, small enough that one row is no large write.
const PAGE_BYTES: u32 = 8192;
/// What the writer caches: the pages that random keys fall on.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READERS: u32 = 3;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Above this the log is emptied by the writer itself.
pub(super) const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long an inline check after an unclean stop may take is bounded by the size of the file.
const CHECK_INLINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The path in a `sqlite:` URL.
///
/// # Errors
///
/// [`StoreError::Url`] for any other URL: PostgreSQL is not supported yet.
pub fn sqlite_path(url: &str) -> Result<PathBuf, StoreError> {
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .filter(|path| !path.is_empty() && !path.starts_with(":memory:"))
        .ok_or_else(|| StoreError::Url { url: scheme_only(url) })?;
    Ok(PathBuf::from(path))
}

/// A URL may hold a password: errors name its scheme alone.
fn scheme_only(url: &str) -> String {
    url.split_once(':').map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme}:…"))
}

/// An exclusive lock for this process's life: whoever holds it knows that every lease in the store
/// belongs to a dead process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(store: &Path) -> Result<Self, StoreError> {
        let path = with_suffix(store, ".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| StoreError::File { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
        }
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the store's folder (0700) and file (0600) if they are not there.
pub(super) fn prepare_files(path: &Path) -> Result<(), StoreError> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|source| StoreError::File { path: parent.to_owned(), source })?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)))
        .map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// The steps that lead to the schema of today.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// The version of the schema that this RelayFlow writes; it reads every earlier one.
#[must_use]
pub fn schema_version() -> i64 {
    MIGRATIONS.iter().map(|step| step.version).max().unwrap_or(0)
}

/// Brings the schema up to date.
///
/// # Errors
///
/// [`StoreError::Newer`] if a later RelayFlow has written this store.
pub(super) async fn migrate(path: &Path) -> Result<(), StoreError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(StoreError::Read)?;
    let migrated = MIGRATIONS.run(&mut connection).await;
    sqlx::Connection::close(connection).await.map_err(StoreError::Read)?;
    migrated.map_err(|error| {
        if let sqlx::migrate::MigrateError::VersionMissing(version) = error {
            return StoreError::Newer { version };
        }
        StoreError::Migrate(error)
    })
}

/// The pool that reads: it can change nothing, and no reader keeps the log for longer than a second
/// or so.
pub(super) async fn readers(from: &Readable) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(&from.path)
        .read_only(true)
        .immutable(from.is_immutable)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("query_only", "on")
        .pragma("cache_size", "-8192")
        // Rows that go from the connection's thread to the reader at once: fewer changes of threads.
        .row_buffer_size(1024)
        .with_regexp()
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(3))
        .connect_with(options)
        .await
        .map_err(StoreError::Read)
}

/// The one connection that writes.
pub(super) fn writer(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = connect(path)?;
    if rusqlite::version_number() < SQLITE_FLOOR {
        return Err(StoreError::OldSqlite { found: rusqlite::version().to_owned() });
    }
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// A connection that moves the log's pages into the file, beside the writer.
pub(super) fn checkpointer(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(
        None,
        "journal_size_limit",
        i64::try_from(WAL_BYTES_MAX).unwrap_or(0),
    )?;
    connection.pragma_update(None, "mmap_size", 0)?;
    // Read back: a setting that did not take would lose acknowledged commits in a power loss.
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if synchronous != 2 || journal != "wal" {
        return Err(StoreError::NotDurable {
            found: format!("journal_mode={journal}, synchronous={synchronous}"),
        });
    }
    Ok(connection)
}

/// Whether the file is sound, where that can be said quickly; `None` if it is too large to wait for.
pub(super) fn quick_check_inline(path: &Path) -> Result<Option<()>, StoreError> {
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    if CHECK_INLINE_BYTES_MAX < bytes {
        return Ok(None);
    }
    quick_check(path).map(Some)
}

/// Reads the whole file and says whether it is sound.
pub(super) fn quick_check(path: &Path) -> Result<(), StoreError> {
    let connection = rusqlite::Connection::open_with_flags(
        path,
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let found: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt { found }) }
}
