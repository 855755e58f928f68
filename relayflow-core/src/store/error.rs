//! What can go wrong with the store, as far as callers treat it differently.

use std::path::PathBuf;

/// Why the store did not do what was asked. Nothing was written then, unless it says `Unknown`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{url}` is not a store: wanted sqlite:PATH (PostgreSQL comes in a later version)")]
    Url { url: String },
    #[error("`{}` could not be opened", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("another daemon has this store open (`{}` is locked); stop it, or give this one a store of its own", path.display())]
    Locked { path: PathBuf },
    #[error("the store was written by a newer RelayFlow (schema {version}); upgrade this one")]
    Newer { version: i64 },
    /// Opened to read it, so it stays as it is.
    #[error(
        "the store was written by an older RelayFlow (schema {version}) and is not changed by reading; its daemon, started once, brings it up to date"
    )]
    Older { version: i64 },
    #[error("`{}` is not a RelayFlow store{}", path.display(), why)]
    NotAStore { path: PathBuf, why: &'static str },
    #[error("the schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("SQLite {found} is too old: 3.51.3 is the first that keeps its log safely")]
    OldSqlite { found: String },
    #[error("the store would not be durable ({found})")]
    NotDurable { found: String },
    #[error("the store is damaged: {found}")]
    Corrupt { found: String },
    #[error("the store could not be written")]
    Write(#[from] rusqlite::Error),
    #[error("the store could not be read")]
    Read(#[source] sqlx::Error),
    #[error("the store holds a value that RelayFlow does not write: {what}")]
    Value { what: &'static str },
    /// More waits for the writer than it can take; nothing of this was written.
    #[error("the store is busy")]
    Busy,
    /// The disk has no room for it; nothing of this was written.
    #[error("the disk is full")]
    Full,
    /// The writer stopped while this was with it: it may have been written.
    #[error("the store was closed, or failed")]
    Closed,
    /// Somebody changed it first; nothing was written.
    #[error("`{id}` is {found}, no longer {wanted}")]
    Changed { id: String, found: String, wanted: String },
    #[error("`{id}` does not exist")]
    NotFound { id: String },
    #[error("{why}")]
    Refused { why: String, code: crate::store::Refusal },
}

/// Why a plan or a replay was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    PlanUsed,
    PlanExpired,
    PlanChanged,
    Empty,
    State,
}

impl StoreError {
    /// Whether going on could make it worse: a corrupt page, a failed sync. The daemon stops.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        if let Self::Write(error) = self {
            let code = error.sqlite_error_code();
            return matches!(code, Some(DatabaseCorrupt | NotADatabase | SystemIoFailure));
        }
        matches!(self, Self::Corrupt { .. } | Self::NotDurable { .. })
    }

    /// Says a full disk by its own name.
    pub(super) fn sorted(self) -> Self {
        let is_full = matches!(&self, Self::Write(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull));
        if is_full { Self::Full } else { self }
    }
}
