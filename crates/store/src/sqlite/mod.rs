//! The store in a SQLite file, shared by the server and the command line.

mod audit;
mod error;
mod job_rows;
mod jobs;
mod keys;
mod migrations;
mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::StoreError;
use migrations::Unsuitable;

/// The file's name in the data folder.
const FILE_NAME: &str = "sentor.db";

/// How long a change of keys waits for another process that writes.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// How long a background write waits for another process that writes. It is retried soon.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// A store in a SQLite file that only its owner can read.
///
/// Readers have a connection of their own: in write-ahead mode they do not wait for a writer, so a revocation is seen
/// while another program holds the file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    file: FileIdentity,
    /// The store's own identifier, which a copy of another store does not have.
    store_id: String,
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the store in the folder `data_dir`, and makes both if they are missing.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or made, is no store, or is of a newer schema than this program knows.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE_NAME);
        create_private(data_dir, &path).map_err(|source| error::open_error(&path, source))?;
        let file = FileIdentity::from_path(&path).map_err(|source| error::open_error(&path, source))?;
        let fail = |source| error::database_error(&path, source);
        let mut writer = connect(&path).map_err(fail)?;
        migrations::migrate(&mut writer).map_err(fail)?.map_err(|unsuitable| match unsuitable {
            Unsuitable::TooNew(found) => error::too_new_error(&path, found, migrations::newest()),
            Unsuitable::Foreign => error::foreign_error(&path),
        })?;
        let reader = connect(&path).map_err(fail)?;
        let store_id = store_id(&reader).map_err(fail)?;
        let store = Self { path, file, store_id, reader: Mutex::new(reader), writer: Mutex::new(writer) };
        store.check_file()?;
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on committed data.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.check_file()?;
        work(&lock(&self.reader)).map_err(|source| error::database_error(&self.path, source))
    }

    /// Runs `work` in a transaction that is committed if it succeeds.
    fn write<T>(
        &self,
        wait: Duration,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        let mut connection = lock(&self.writer);
        self.check_file()?;
        let write = || {
            connection.busy_timeout(wait)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        let value = write().map_err(|error| match error {
            WriteError::Database(source) => error::database_error(&self.path, source),
            WriteError::Store(error) => error,
        })?;
        // If the file was removed meanwhile, the commit went into a file that no process will open again.
        self.check_file()?;
        Ok(value)
    }

    /// Checks that the path still names the file that was opened; costs one system call.
    fn check_file(&self) -> Result<(), StoreError> {
        match FileIdentity::from_path(&self.path) {
            Ok(found) if found == self.file => Ok(()),
            Ok(_) => Err(error::exchanged_error(&self.path, "exchanged")),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(error::exchanged_error(&self.path, "removed"))
            }
            Err(source) => Err(error::open_error(&self.path, source)),
        }
    }
}

/// Why a transaction failed.
enum WriteError {
    Database(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Identifies a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    #[cfg(unix)]
    fn from_path(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    #[cfg(not(unix))]
    fn from_path(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|_| Self { device: 0, inode: 0 })
    }
}

/// Returns the identifier of the store in the file.
fn store_id(connection: &Connection) -> rusqlite::Result<String> {
    connection.prepare_cached("SELECT store_id FROM keys_revision")?.query_row([], |row| row.get(0))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LONG_WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A key that was shown must be there after a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic in the middle of a transaction rolled it back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the folder and the file if they are missing, for their owner alone.
fn create_private(folder: &Path, file: &Path) -> io::Result<()> {
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        folders.mode(0o700);
        options.mode(0o600);
    }
    folders.create(folder)?;
    options.open(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Actor;
    use crate::clock::Clock;
    use crate::error::FailureKind;
    use crate::keys::{KeyAdmin, KeyStore as _, NewKey};
    use jiff::Timestamp;

    fn add(store: &SqliteStore) -> Result<(), StoreError> {
        let new = NewKey::named("x".repeat(2000));
        let clock = Clock::from_fn(|| Timestamp::UNIX_EPOCH);
        KeyAdmin::new(store, &clock, Actor::CommandLine).create(new, &mut rand::rng()).map(drop)
    }

    #[test]
    fn a_full_disk_and_a_read_only_file_are_distinguished_and_lose_no_data() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let store = SqliteStore::open(folder.path()).expect("a store can be made");
        add(&store).expect("there is room");
        let set = |name, value: i64| lock(&store.writer).pragma_update(None, name, value);
        set("max_page_count", 30).expect("a limit that SQLite takes for the disk's");
        let added = (0..1000).take_while(|_| add(&store).is_ok()).count();
        let error = add(&store).expect_err("there is no room");
        assert_eq!(error.failure_kind(), Some(FailureKind::Full), "{error:?}");
        assert_eq!(store.records().expect("it can be read").len(), 1 + added);

        set("max_page_count", 10_000).expect("there is room again");
        set("query_only", 1).expect("what SQLite takes for a read-only file");
        let error = add(&store).expect_err("it cannot be written");
        assert_eq!(error.failure_kind(), Some(FailureKind::ReadOnly), "{error:?}");
        let error = store.check_writable().expect_err("it cannot be written");
        assert_eq!(error.failure_kind(), Some(FailureKind::ReadOnly), "{error:?}");
        set("query_only", 0).expect("it can be written again");
        add(&store).expect("it can be written again");
        store.check_writable().expect("it can be written again");
    }
}
