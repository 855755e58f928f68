//! A store's file, opened to be read only: whatever lies beside it, and wherever it lies.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;
use super::db::{MIGRATIONS, schema_version, with_suffix};

/// What a SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How a store's file is read.
#[derive(Debug)]
pub(super) struct Readable {
    pub(super) path: PathBuf,
    /// Nobody writes it: it is read without a log.
    pub(super) is_immutable: bool,
    /// Where the copy is that is read in its place.
    copy: Option<tempfile::TempDir>,
}

impl Readable {
    /// The store that this process writes.
    pub(super) fn own(path: &Path) -> Self {
        Self { path: path.to_owned(), is_immutable: false, copy: None }
    }

    /// Finds out how the file at `path` can be read, and that it is a store of this version.
    ///
    /// # Errors
    ///
    /// It is not there, is something else, or of another version.
    pub(super) fn find(path: &Path) -> Result<Self, StoreError> {
        check_magic(path)?;
        let readable = Self::first_that_opens(path)?;
        check_version(&readable.connect()?).map_err(|error| {
            if let StoreError::NotAStore { why, .. } = error {
                return StoreError::NotAStore { path: path.to_owned(), why };
            }
            error
        })?;
        Ok(readable)
    }

    fn first_that_opens(path: &Path) -> Result<Self, StoreError> {
        let plain = Self::own(path);
        let error = match plain.try_out() {
            Ok(()) => return Ok(plain),
            Err(error) => error,
        };
        let wants_to_write = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
        );
        if !wants_to_write {
            return Err(StoreError::Write(error));
        }
        // A log that was not emptied holds what was committed last: it is needed, and reading it needs
        // a file beside it.
        let log = with_suffix(path, "-wal");
        let has_log = std::fs::metadata(&log).is_ok_and(|meta| 0 < meta.len());
        let other = if has_log { Self::copied(path, &log)? } else { Self::unwritten(path) };
        other.try_out()?;
        Ok(other)
    }

    /// The file alone.
    fn unwritten(path: &Path) -> Self {
        Self { path: path.to_owned(), is_immutable: true, copy: None }
    }

    /// A copy of the file and its log, in a private folder that goes with this.
    fn copied(path: &Path, log: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::File { path: path.to_owned(), source };
        let dir = tempfile::Builder::new().prefix("relayflow-").tempdir().map_err(failed)?;
        let to = dir.path().join("relayflow.db");
        // The log last: what was moved from it into the file meanwhile is in both.
        copy_privately(path, &to).map_err(failed)?;
        copy_privately(log, &with_suffix(&to, "-wal")).map_err(failed)?;
        Ok(Self { path: to, is_immutable: false, copy: Some(dir) })
    }

    pub(super) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    fn try_out(&self) -> Result<(), rusqlite::Error> {
        let connection = self.open()?;
        connection
            .query_row("select count(*) from sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(())
    }

    /// A connection that can change nothing.
    pub(super) fn connect(&self) -> Result<Connection, StoreError> {
        Ok(self.open()?)
    }

    fn open(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if self.is_immutable {
            let path = percent_encoding::utf8_percent_encode(
                &self.path.to_string_lossy(),
                percent_encoding::NON_ALPHANUMERIC,
            )
            .to_string()
            .replace("%2F", "/");
            let uri = format!("file:{path}?immutable=1");
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(&self.path, flags)?
        };
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "query_only", "on")?;
        Ok(connection)
    }
}

fn copy_privately(from: &Path, to: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut source = std::fs::File::open(from)?;
    let mut target =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut source, &mut target)
}

/// Whether the file is SQLite's at all, before SQLite is asked.
fn check_magic(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::File { path: path.to_owned(), source };
    let not = |why| StoreError::NotAStore { path: path.to_owned(), why };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(not(": it is no file"));
    }
    let mut head = Vec::with_capacity(MAGIC.len());
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut head).map_err(failed)?;
    match head.as_slice() {
        [] => Err(not(": it is empty")),
        head if head == MAGIC => Ok(()),
        [0x1f, 0x8b, ..] => {
            Err(not(" but compressed: a bundle is opened by its name alone, without sqlite:"))
        }
        _ => Err(not(": it is no SQLite file")),
    }
}

/// Brings a copy that nobody else has up to date.
pub(crate) async fn migrate_copy(path: &Path) -> Result<(), StoreError> {
    super::db::migrate(path).await?;
    // One file again, which needs nothing beside it.
    let path = path.to_owned();
    let settled = tokio::task::spawn_blocking(move || -> Result<(), StoreError> {
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "delete")?;
        Ok(())
    });
    settled.await.map_err(|_| StoreError::Closed)?
}

/// The version of a store.
pub(super) fn version_of(connection: &Connection) -> Result<i64, StoreError> {
    let found = connection.query_row(
        "select max(version) from _sqlx_migrations where success = 1",
        [],
        |row| row.get::<_, Option<i64>>(0),
    );
    match found {
        Ok(Some(version)) => Ok(version),
        Ok(None) => Err(not_ours()),
        Err(rusqlite::Error::SqliteFailure(error, Some(text)))
            if error.code == ErrorCode::Unknown && text.contains("no such table") =>
        {
            Err(not_ours())
        }
        Err(error) => Err(error.into()),
    }
}

fn not_ours() -> StoreError {
    StoreError::NotAStore { path: PathBuf::new(), why: ": it is some other SQLite database" }
}

/// Refuses a store of another version.
pub(super) fn check_version(connection: &Connection) -> Result<(), StoreError> {
    let version = version_of(connection)?;
    match version.cmp(&schema_version()) {
        std::cmp::Ordering::Less => Err(StoreError::Older { version }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { version }),
    }
}

/// Makes the tables, without a mark of when: as the migrations would.
pub(super) fn lay_out(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "create table _sqlx_migrations (
            version bigint primary key,
            description text not null,
            installed_on timestamp not null default current_timestamp,
            success boolean not null,
            checksum blob not null,
            execution_time bigint not null
        );",
    )?;
    for migration in MIGRATIONS.iter() {
        connection.execute_batch(migration.sql.as_str())?;
        connection.execute(
            "insert into _sqlx_migrations
                (version, description, installed_on, success, checksum, execution_time)
             values ($1, $2, '1970-01-01 00:00:00', 1, $3, 0)",
            rusqlite::params![
                migration.version,
                migration.description.as_ref(),
                migration.checksum.as_ref()
            ],
        )?;
    }
    Ok(())
}
