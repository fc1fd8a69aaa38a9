//! The store in a SQLite file, shared by the server and the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
};

use super::migrations;
use crate::keys::{KeyDigest, KeyId, KeyRecord, KeyStore, Scope, Scopes, StoreError};
use crate::metering::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};

/// The file's name in the data folder.
const FILE_NAME: &str = "sentor.db";

/// How long a change that somebody waits for waits for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a change waits that nobody waits for and that is tried again soon.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Keeps records in a SQLite file that only its owner can read.
///
/// Readers have a connection of their own: in write-ahead mode they need not wait for a writer, and so a key
/// is known to be revoked even while another program holds the file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
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
        let fail = |error| database_error(&path, error);
        let mut writer = connect(&path).map_err(fail)?;
        let found = migrations::migrate(&mut writer).map_err(fail)?;
        let known = migrations::newest();
        if found > known {
            return Err(StoreError::TooNew { path, found, known });
        }
        let reader = connect(&path).map_err(fail)?;
        Ok(Self { path, reader: Mutex::new(reader), writer: Mutex::new(writer) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on what has been committed.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&lock(&self.reader)).map_err(|error| database_error(&self.path, error))
    }

    /// Runs `work` in a transaction that is committed if it succeeds.
    fn write<T>(
        &self,
        patience: Duration,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = lock(&self.writer);
        let write = || {
            connection.busy_timeout(patience)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        write().map_err(|error| database_error(&self.path, error))
    }

    fn bad_record(&self, problem: impl Into<String>) -> StoreError {
        StoreError::BadRecord { path: self.path.clone(), problem: problem.into() }
    }

    fn time(&self, microseconds: i64) -> Result<Timestamp, StoreError> {
        Timestamp::from_microsecond(microseconds).map_err(|error| self.bad_record(error.to_string()))
    }

    fn parse(&self, raw: RawRecord) -> Result<KeyRecord, StoreError> {
        let time = |microseconds| self.time(microseconds);
        let scopes: Result<Scopes, _> = raw.scopes.split_whitespace().map(str::parse::<Scope>).collect();
        Ok(KeyRecord {
            id: KeyId::new(raw.id),
            account: KeyId::new(raw.account),
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
        self.write(PATIENCE, |transaction| insert(transaction, record))
    }

    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let mut raw: Vec<RawRecord> = self.read(|connection| {
            let sql = format!("SELECT {} FROM keys ORDER BY rowid", RawRecord::COLUMNS);
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map([], RawRecord::of)?.collect()
        })?;
        // They mostly are in order as they come, and sorting whole rows costs SQLite as much as reading them.
        raw.sort_by_key(|raw| raw.created_at);
        raw.into_iter().map(|raw| self.parse(raw)).collect()
    }

    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        let raw = self.read(|connection| find(connection, id))?;
        self.parse(raw.ok_or_else(|| StoreError::NoSuchKey(id.clone()))?)
    }

    fn revoke(&self, id: &KeyId, at: Timestamp) -> Result<KeyRecord, StoreError> {
        let raw = self.write(PATIENCE, |transaction| {
            transaction.execute(
                "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
                params![id.as_str(), at.as_microsecond()],
            )?;
            find(transaction, id)
        })?;
        self.parse(raw.ok_or_else(|| StoreError::NoSuchKey(id.clone()))?)
    }

    fn replace(
        &self,
        id: &KeyId,
        replacement: &KeyRecord,
        old_expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = self.write(PATIENCE, |transaction| {
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
        self.write(SHORT_PATIENCE, |transaction| {
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
        let revision: i64 = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT revision FROM keys_revision")?;
            statement.query_row([], |row| row.get(0))
        })?;
        u64::try_from(revision).map_err(|_| self.bad_record("the revision is negative"))
    }

    fn changed_since(&self, revision: u64) -> Result<Option<Vec<KeyRecord>>, StoreError> {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        let raw: Option<Vec<RawRecord>> = self.read(|connection| {
            // The removals first: one in between makes for a change of the revision, and so for another look.
            let removed_at: i64 =
                connection.query_row("SELECT removed_at FROM keys_revision", [], |row| row.get(0))?;
            if removed_at > revision {
                return Ok(None);
            }
            let sql = format!("SELECT {} FROM keys WHERE revision > ?1", RawRecord::COLUMNS);
            let mut statement = connection.prepare_cached(&sql)?;
            let changed: rusqlite::Result<_> = statement.query_map([revision], RawRecord::of)?.collect();
            changed.map(Some)
        })?;
        raw.map(|raw| raw.into_iter().map(|raw| self.parse(raw)).collect()).transpose()
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        self.write(SHORT_PATIENCE, |transaction| {
            // The schema's number, written as it is: a page that goes to the disk like any other.
            let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            transaction.pragma_update(None, "user_version", version)
        })
    }
}

impl UsageStore for SqliteStore {
    fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        self.write(SHORT_PATIENCE, |transaction| {
            let mut add_day = transaction.prepare_cached(
                "INSERT INTO usage (account, day, requests, documents, characters, tokens, entities)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (account, day) DO UPDATE SET
                     requests = requests + excluded.requests,
                     documents = documents + excluded.documents,
                     characters = characters + excluded.characters,
                     tokens = tokens + excluded.tokens,
                     entities = entities + excluded.entities",
            )?;
            for DayUsage { account, day, usage } in &batch.days {
                add_day.execute(params![
                    account.as_str(),
                    day.to_string(),
                    usage.requests,
                    usage.documents,
                    usage.characters,
                    usage.tokens,
                    usage.entities,
                ])?;
            }
            let mut add_recent = transaction
                .prepare_cached("INSERT INTO recent_requests (at, account, requests) VALUES (?1, ?2, ?3)")?;
            for RecentRequests { account, at, requests } in &batch.recent {
                let requests = i64::try_from(*requests).unwrap_or(i64::MAX);
                add_recent.execute(params![at.as_microsecond(), account.as_str(), requests])?;
            }
            transaction
                .prepare_cached("DELETE FROM recent_requests WHERE at < ?1")?
                .execute([batch.forget_before.as_microsecond()])?;
            Ok(())
        })
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError> {
        let account = query.account.as_ref().map(KeyId::as_str);
        let raw: Vec<(String, String, Usage)> = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM usage WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR account = ?3)
                 ORDER BY account, day",
            )?;
            let rows = statement.query_map(
                params![query.from.to_string(), query.to.to_string(), account],
                |row| {
                    let usage = Usage {
                        requests: row.get("requests")?,
                        documents: row.get("documents")?,
                        characters: row.get("characters")?,
                        tokens: row.get("tokens")?,
                        entities: row.get("entities")?,
                    };
                    Ok((row.get("account")?, row.get("day")?, usage))
                },
            )?;
            rows.collect()
        })?;
        let parse = |(account, day, usage): (String, String, Usage)| {
            let day = day.parse().map_err(|_| self.bad_record(format!("{day:?} is no day")))?;
            Ok(DayUsage { account: KeyId::new(account), day, usage })
        };
        raw.into_iter().map(parse).collect()
    }

    fn recent_requests(&self, since: Timestamp) -> Result<Vec<RecentRequests>, StoreError> {
        let raw: Vec<(i64, String, i64)> = self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT at, account, requests FROM recent_requests WHERE at >= ?1 ORDER BY at",
            )?;
            let rows = statement.query_map([since.as_microsecond()], |row| {
                Ok((row.get("at")?, row.get("account")?, row.get("requests")?))
            })?;
            rows.collect()
        })?;
        let parse = |(at, account, requests): (i64, String, i64)| {
            let requests = u64::try_from(requests).map_err(|_| self.bad_record("a count is negative"))?;
            Ok(RecentRequests { account: KeyId::new(account), at: self.time(at)?, requests })
        };
        raw.into_iter().map(parse).collect()
    }
}

/// SQLite cannot give the index of the write-ahead log its size.
const IOERR_SHMSIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A key that was shown must be there after a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic in the middle of a transaction rolled it back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(connection: &Connection, id: &KeyId) -> rusqlite::Result<Option<RawRecord>> {
    let sql = format!("SELECT {} FROM keys WHERE id = ?1", RawRecord::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([id.as_str()], RawRecord::of).optional()
}

fn insert(transaction: &Transaction<'_>, record: &KeyRecord) -> rusqlite::Result<()> {
    let microseconds = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    transaction.execute(
        "INSERT INTO keys (id, account, name, prefix, digest, plan, scopes, created_at, expires_at,
             last_used_at, revoked_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            record.id.as_str(),
            record.account.as_str(),
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
    account: String,
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
    /// In the order of the fields. They are read by number: by name costs as much again as the reading itself.
    const COLUMNS: &str = "id, account, name, prefix, digest, plan, scopes, created_at, expires_at, \
                           last_used_at, revoked_at";

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            account: row.get(1)?,
            name: row.get(2)?,
            prefix: row.get(3)?,
            digest: row.get(4)?,
            plan: row.get(5)?,
            scopes: row.get(6)?,
            created_at: row.get(7)?,
            expires_at: row.get(8)?,
            last_used_at: row.get(9)?,
            revoked_at: row.get(10)?,
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
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path, source },
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path, source },
        Some(ErrorCode::DiskFull) => StoreError::Full { path, source },
        // What a full disk looks like to who opens a file that is there: the index of its changes finds no room.
        _ if source.sqlite_error().is_some_and(|error| error.extended_code == IOERR_SHMSIZE) => {
            StoreError::Full { path, source }
        }
        _ => StoreError::Database { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::NewKey;

    fn add(store: &SqliteStore) -> Result<(), StoreError> {
        let new = NewKey::named("x".repeat(2000));
        store.insert(&new.generate(Timestamp::UNIX_EPOCH, &mut rand::rng()).1)
    }

    #[test]
    fn a_full_disk_and_a_read_only_file_are_told_apart_and_cost_nothing_that_was_there() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let store = SqliteStore::open(folder.path()).expect("a store can be made");
        add(&store).expect("there is room");
        let set = |name, value: i64| lock(&store.writer).pragma_update(None, name, value);
        set("max_page_count", 30).expect("a limit that SQLite takes for the disk's");
        let added = (0..1000).take_while(|_| add(&store).is_ok()).count();
        let error = add(&store).expect_err("there is no room");
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_eq!(store.records().expect("it can be read").len(), 1 + added);

        set("max_page_count", 10_000).expect("there is room again");
        set("query_only", 1).expect("what SQLite takes for a read-only file");
        let error = add(&store).expect_err("it cannot be written");
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
        let error = store.check_writable().expect_err("it cannot be written");
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
        set("query_only", 0).expect("it can be written again");
        add(&store).expect("it can be written again");
        store.check_writable().expect("it can be written again");
    }
}
