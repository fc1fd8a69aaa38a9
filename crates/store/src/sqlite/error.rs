//! Errors of the SQLite file, with its path and the operator's remedy.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::error::{BackendError, FailureKind, StoreError};

/// A failure of SQLite or of its file.
#[derive(Debug, thiserror::Error)]
enum SqliteError {
    #[error("cannot open the store {}; --data-dir or SENTOR_DATA_DIR moves it", .path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{} is not a readable store; restore it from a backup or move it away", .path.display())]
    Corrupt { path: PathBuf, source: rusqlite::Error },
    #[error("{} is a database of another program; move it away, or choose another --data-dir", .path.display())]
    Foreign { path: PathBuf },
    #[error("{} is of schema {found}, and this program knows up to {known}; use a newer Sentor", .path.display())]
    TooNew { path: PathBuf, found: i64, known: i64 },
    #[error("the store {} is locked by another program; end that program, or wait for it", .path.display())]
    Locked { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the store {} can be read but not written; sentor must own the file and its folder, on a disk that is \
         not read-only",
        .path.display()
    )]
    ReadOnly { path: PathBuf, source: rusqlite::Error },
    #[error("the disk of the store {} is full", .path.display())]
    Full { path: PathBuf, source: rusqlite::Error },
    #[error("the store {} was {problem} while the server used it; put it back, or restart the server", .path.display())]
    Exchanged { path: PathBuf, problem: &'static str },
    #[error("cannot use the store {}", .path.display())]
    Other { path: PathBuf, source: rusqlite::Error },
}

/// SQLite cannot give the index of the write-ahead log its size.
const IOERR_SHMSIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

/// The error of a file that cannot be opened or created.
pub(super) fn open_error(path: &Path, source: std::io::Error) -> StoreError {
    BackendError::new(FailureKind::Unavailable, SqliteError::Open { path: path.to_owned(), source }).into()
}

/// The error of a file with a schema that this program does not know.
pub(super) fn too_new_error(path: &Path, found: i64, known: i64) -> StoreError {
    let error = SqliteError::TooNew { path: path.to_owned(), found, known };
    BackendError::new(FailureKind::TooNew, error).into()
}

/// The error of a file that another program made.
pub(super) fn foreign_error(path: &Path) -> StoreError {
    BackendError::new(FailureKind::Corrupt, SqliteError::Foreign { path: path.to_owned() }).into()
}

/// The error of a file that is no longer the one that was opened.
pub(super) fn exchanged_error(path: &Path, problem: &'static str) -> StoreError {
    let error = SqliteError::Exchanged { path: path.to_owned(), problem };
    BackendError::new(FailureKind::Exchanged, error).into()
}

/// Classifies an error of SQLite by the operator's remedy.
pub(super) fn database_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    let (kind, error) = match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (FailureKind::Corrupt, SqliteError::Corrupt { path, source })
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (FailureKind::Locked, SqliteError::Locked { path, source })
        }
        Some(ErrorCode::ReadOnly) => (FailureKind::ReadOnly, SqliteError::ReadOnly { path, source }),
        Some(ErrorCode::DiskFull) => (FailureKind::Full, SqliteError::Full { path, source }),
        // A full disk, as seen by a process that opens an existing file.
        _ if source.sqlite_error().is_some_and(|error| error.extended_code == IOERR_SHMSIZE) => {
            (FailureKind::Full, SqliteError::Full { path, source })
        }
        _ => (FailureKind::Unavailable, SqliteError::Other { path, source }),
    };
    BackendError::new(kind, error).into()
}
