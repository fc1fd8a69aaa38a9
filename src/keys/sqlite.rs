//! The store in a SQLite file, shared by the server and the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, TransactionBehavior, params};

use super::key::KeyDigest;
use super::record::{KeyId, KeyRecord, Scope, Scopes};
use super::store::{KeyStore, StoreError};

/// The file's name in the data folder.
const FILE_NAME: &str = "sentor.db";

/// How long to wait for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Each brings a file from the schema of its index to the next; they only ever grow in number.
///
/// Times are microseconds since 1970. `revision` lets a running server see cheaply that keys changed; its
/// triggers leave `last_used_at` out, which changes all the time.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        prefix TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        plan TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        last_used_at INTEGER,
        revoked_at INTEGER
    ) STRICT;
    CREATE TABLE keys_revision (revision INTEGER NOT NULL) STRICT;
    INSERT INTO keys_revision VALUES (1);
    CREATE TRIGGER keys_added AFTER INSERT ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1; END;
    CREATE TRIGGER keys_removed AFTER DELETE ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1; END;
    CREATE TRIGGER keys_changed
        AFTER UPDATE OF name, digest, plan, scopes, expires_at, revoked_at ON keys
        BEGIN UPDATE keys_revision SET revision = revision + 1; END;
"];

/// Keeps records in a SQLite file that only its owner can read.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the store in the folder `data_dir`, and makes both where they are missing.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or made, is no store, or is of a newer schema than this program knows.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE_NAME);
        create_private(data_dir, &path).map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(|error| database_error(&path, error))?;
        let store = Self { path, connection: Mutex::new(connection) };
        store.prepare()?;
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let mut prepare = || {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // A key that was shown must be there after a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for (version, migration) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
                transaction.execute_batch(migration)?;
                transaction.pragma_update(None, "user_version", version)?;
            }
            transaction.commit()?;
            Ok(found)
        };
        let found = prepare().map_err(|error| database_error(&self.path, error))?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreError::TooNew { path: self.path.clone(), found, known });
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolled it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in a transaction that is committed if it succeeds.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let result =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let value = work(&transaction)?;
                transaction.commit()?;
                Ok(value)
            });
        result.map_err(|error| database_error(&self.path, error))
    }

    fn bad_record(&self, problem: impl Into<String>) -> StoreError {
        StoreError::BadRecord { path: self.path.clone(), problem: problem.into() }
    }

    fn record(&self, raw: RawRecord) -> Result<KeyRecord, StoreError> {
        let time = |microseconds: i64| {
            Timestamp::from_microsecond(microseconds).map_err(|error| self.bad_record(error.to_string()))
        };
        let scopes: Result<Scopes, _> = raw.scopes.split_whitespace().map(str::parse::<Scope>).collect();
        Ok(KeyRecord {
            id: KeyId::new(raw.id),
            name: raw.name,
            prefix: raw.prefix,
            digest: KeyDigest::from_bytes(raw.digest),
            plan: raw.plan,
            scopes: scopes.map_err(|error| self.bad_record(error.to_string()))?,
            created_at: time(raw.created_at)?,
            expires_at: raw.expires_at.map(time).transpose()?,
            last_used_at: raw.last_used_at.map(time).transpose()?,
            revoked_at: raw.revoked_at.map(time).transpose()?,
        })
    }
}

impl KeyStore for SqliteStore {
    fn insert(&self, record: &KeyRecord) -> Result<(), StoreError> {
        self.write(|transaction| insert(transaction, record))
    }

    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let connection = self.lock();
        let raw: rusqlite::Result<Vec<RawRecord>> = connection
            .prepare_cached("SELECT * FROM keys ORDER BY created_at, rowid")
            .and_then(|mut statement| statement.query_map([], RawRecord::of)?.collect());
        let raw = raw.map_err(|error| database_error(&self.path, error))?;
        raw.into_iter().map(|raw| self.record(raw)).collect()
    }

    fn revoke(&self, id: &KeyId, at: Timestamp) -> Result<KeyRecord, StoreError> {
        let raw = self.write(|transaction| {
            transaction.execute(
                "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
                params![id.as_str(), at.as_microsecond()],
            )?;
            let mut statement = transaction.prepare("SELECT * FROM keys WHERE id = ?1")?;
            let mut rows = statement.query_map([id.as_str()], RawRecord::of)?;
            rows.next().transpose()
        })?;
        self.record(raw.ok_or_else(|| StoreError::NoSuchKey(id.clone()))?)
    }

    fn replace(
        &self,
        id: &KeyId,
        replacement: &KeyRecord,
        old_expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = self.write(|transaction| {
            let changed = transaction.execute(
                "UPDATE keys SET expires_at = ?2 WHERE id = ?1",
                params![id.as_str(), old_expires_at.as_microsecond()],
            )?;
            if changed == 1 {
                insert(transaction, replacement)?;
            }
            Ok(changed)
        })?;
        if changed == 1 { Ok(()) } else { Err(StoreError::NoSuchKey(id.clone())) }
    }

    fn note_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE keys SET last_used_at = ?2
                 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
            )?;
            for (id, at) in uses {
                statement.execute(params![id.as_str(), at.as_microsecond()])?;
            }
            Ok(())
        })
    }

    fn revision(&self) -> Result<u64, StoreError> {
        let revision: rusqlite::Result<i64> = self
            .lock()
            .prepare_cached("SELECT revision FROM keys_revision")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)));
        let revision = revision.map_err(|error| database_error(&self.path, error))?;
        u64::try_from(revision).map_err(|_| self.bad_record("the revision is negative"))
    }
}

fn insert(transaction: &Transaction<'_>, record: &KeyRecord) -> rusqlite::Result<()> {
    let microseconds = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    transaction.execute(
        "INSERT INTO keys (id, name, prefix, digest, plan, scopes, created_at, expires_at, last_used_at,
             revoked_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            record.id.as_str(),
            record.name,
            record.prefix,
            record.digest.bytes(),
            record.plan,
            record.scopes.words().join(" "),
            record.created_at.as_microsecond(),
            microseconds(record.expires_at),
            microseconds(record.last_used_at),
            microseconds(record.revoked_at),
        ],
    )?;
    Ok(())
}

/// A row of the table `keys`, in SQLite's types.
struct RawRecord {
    id: String,
    name: String,
    prefix: String,
    digest: [u8; 32],
    plan: String,
    scopes: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl RawRecord {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            prefix: row.get("prefix")?,
            digest: row.get("digest")?,
            plan: row.get("plan")?,
            scopes: row.get("scopes")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            last_used_at: row.get("last_used_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    }
}

/// Makes the folder and the file, where they are missing, for their owner alone.
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

fn database_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { path, source },
        _ => StoreError::Database { path, source },
    }
}
