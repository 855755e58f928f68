//! How the store itself stands: its file, its disk, the engine, and who was turned away last.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError, db, on_db, room};
use crate::clock::from_micros;
use crate::id::RequestId;

/// How the store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// SQLite, as linked in.
    pub engine: String,
    /// Whether that is one which may lose its log.
    pub is_too_old: bool,
    pub path: PathBuf,
    /// Of the file and its log.
    pub bytes: u64,
    /// The first thing that is on record.
    pub since: Option<Timestamp>,
    pub disk: Option<Disk>,
    /// Whether this process may write the file and its folder.
    pub is_writable: bool,
}

/// The disk that the store is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub bytes: u64,
    pub free_bytes: u64,
    /// Below this nothing new is taken in.
    pub reserve_bytes: u64,
    pub is_read_only: bool,
}

/// The last request of a source that was turned away and is still kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    pub id: RequestId,
    pub reason: String,
}

impl Store {
    /// How the store stands. Reads a row and asks the file system.
    pub async fn health(&self) -> Result<Health, StoreError> {
        let first: Option<i64> = on_db!(self.db(), pool => sqlx::query_scalar(
            "select at_us from timeline order by seq limit 1")
            .fetch_optional(pool).await.map_err(StoreError::Read)?);
        let path = self.path().to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).to_owned();
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let may_write =
            |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        let disk =
            room::disk_of(&folder).map(|(bytes, free_bytes, reserve_bytes, is_read_only)| Disk {
                bytes,
                free_bytes,
                reserve_bytes,
                is_read_only,
            });
        Ok(Health {
            engine: format!("SQLite {}", rusqlite::version()),
            is_too_old: rusqlite::version_number() < db::SQLITE_FLOOR,
            bytes: length(&path) + length(&db::with_suffix(&path, "-wal")),
            since: first.map(from_micros),
            disk,
            is_writable: may_write(&path) && may_write(&folder),
            path,
        })
    }

    /// The last request of `source` that was turned away, if its ring still has it.
    pub async fn last_rejected(&self, source: &str) -> Result<Option<Turned>, StoreError> {
        let row = on_db!(self.db(), pool => sqlx::query(
            "select id, reason from request where source = $1 and status = 'rejected'
             order by id desc limit 1")
            .bind(source).fetch_optional(pool).await.map_err(StoreError::Read)?);
        let Some(row) = row else { return Ok(None) };
        let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
        let reason: Option<String> = row.try_get(1).map_err(StoreError::Read)?;
        let id = RequestId::from_bytes(&id).ok_or(StoreError::Value { what: "a request's id" })?;
        Ok(Some(Turned { id, reason: reason.unwrap_or_default() }))
    }

    /// The newest event.
    pub async fn newest_event(&self) -> Result<Option<crate::id::EventId>, StoreError> {
        let id: Option<Vec<u8>> = on_db!(self.db(), pool => sqlx::query_scalar(
            "select id from event order by id desc limit 1")
            .fetch_optional(pool).await.map_err(StoreError::Read)?);
        Ok(id.and_then(|id| crate::id::EventId::from_bytes(&id)))
    }
}
