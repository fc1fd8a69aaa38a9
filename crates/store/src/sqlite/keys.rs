//! Keys in SQLite.

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::audit::add_entry;
use super::{LONG_WAIT, SHORT_WAIT, SqliteStore, WriteError, error, migrations, store_id};
use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::keys::{
    CurrentKey, Decide, KeyChanges, KeyDigest, KeyId, KeyPage, KeyRecord, KeyStore, KeyUpdate, Revision,
    Scope, Scopes, UnreadableKey, last_expiry,
};

/// A row of the table `keys`, as far as it can be read.
type KeyRow = Result<KeyRecord, UnreadableKey>;

impl KeyStore for SqliteStore {
    fn insert(&self, record: &KeyRecord, entry: &AuditEntry) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            insert(transaction, record)?;
            Ok(add_entry(transaction, entry)?)
        })
    }

    fn update(&self, id: &KeyId, decide: &mut Decide<'_>) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            let record = readable(find(transaction, id)?, id)?;
            let successor = match &record.replaced_by {
                Some(id) => find(transaction, id)?.and_then(Result::ok),
                None => None,
            };
            if let Some(update) = decide(&CurrentKey { record, successor })? {
                write_update(transaction, &update)?;
            }
            Ok(())
        })
    }

    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        readable(self.read(|connection| find(connection, id))?, id)
    }

    fn page(&self, after: Option<&KeyId>, limit: usize) -> Result<KeyPage, StoreError> {
        self.read(|connection| {
            let start: Option<i64> = match after {
                None => Some(i64::MIN),
                Some(id) => {
                    let mut statement = connection.prepare_cached("SELECT rowid FROM keys WHERE id = ?1")?;
                    statement.query_row([id.as_str()], |row| row.get(0)).optional()?
                }
            };
            let Some(start) = start else { return Ok(None) };
            // Rows are numbered in the order in which they were added. One more row than `limit` shows whether there is
            // a next page.
            let sql = format!("SELECT {COLUMNS} FROM keys WHERE rowid > ?1 ORDER BY rowid LIMIT ?2");
            let limit_and_one = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![start, limit_and_one], |row| Ok(read_row(row)))?;
            let mut rows = rows.collect::<rusqlite::Result<Vec<KeyRow>>>()?;
            let has_more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| has_more).map(|row| match row {
                Ok(record) => record.id.clone(),
                Err(row) => row.id.clone(),
            });
            let (records, unreadable) = sort(rows);
            Ok(Some(KeyPage { records, unreadable, next }))
        })?
        .ok_or_else(|| StoreError::NoSuchKey(after.cloned().unwrap_or_else(|| KeyId::new(""))))
    }

    fn changes(&self, since: Option<Revision>) -> Result<KeyChanges, StoreError> {
        let found = self.read(|connection| {
            // One transaction, so that the revision and the rows are of one moment.
            let transaction = connection.unchecked_transaction()?;
            if migrations::application_id(&transaction)? != migrations::APPLICATION_ID
                || store_id(&transaction)? != self.store_id
            {
                return Ok(None);
            }
            let sql = "SELECT revision, removed_at FROM keys_revision";
            let (revision, removed_at): (i64, i64) =
                transaction.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let known = since.map_or(-1, |since| i64::try_from(since.0).unwrap_or(i64::MAX));
            if revision < known {
                return Ok(None);
            }
            let is_complete = known < 0 || removed_at > known;
            let after = if is_complete { -1 } else { known };
            let rows = if revision == known {
                Vec::new()
            } else {
                let sql = format!("SELECT {COLUMNS} FROM keys WHERE revision > ?1");
                let mut statement = transaction.prepare_cached(&sql)?;
                let rows = statement.query_map([after], |row| Ok(read_row(row)))?;
                rows.collect::<rusqlite::Result<Vec<KeyRow>>>()?
            };
            let (records, unreadable) = sort(rows);
            let revision = Revision(u64::try_from(revision).unwrap_or(0));
            Ok(Some(KeyChanges { revision, is_complete, records, unreadable }))
        })?;
        // Another store, or an earlier copy of this one, was copied into the file.
        found.ok_or_else(|| error::exchanged_error(self.path(), "overwritten"))
    }

    fn record_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        self.write(SHORT_WAIT, |transaction| {
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

    fn check_writable(&self) -> Result<(), StoreError> {
        self.write(SHORT_WAIT, |transaction| {
            // Writing the schema's number as it is writes a page to the disk like any change.
            let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok(transaction.pragma_update(None, "user_version", version)?)
        })
    }
}

fn find(connection: &Connection, id: &KeyId) -> rusqlite::Result<Option<KeyRow>> {
    let sql = format!("SELECT {COLUMNS} FROM keys WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([id.as_str()], |row| Ok(read_row(row))).optional()
}

fn readable(row: Option<KeyRow>, id: &KeyId) -> Result<KeyRecord, StoreError> {
    let row = row.ok_or_else(|| StoreError::NoSuchKey(id.clone()))?;
    row.map_err(|row| StoreError::Unreadable { id: row.id, problem: row.problem })
}

fn sort(rows: Vec<KeyRow>) -> (Vec<KeyRecord>, Vec<UnreadableKey>) {
    let (mut records, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match row {
            Ok(record) => records.push(record),
            Err(row) => unreadable.push(row),
        }
    }
    (records, unreadable)
}

fn insert(transaction: &Transaction<'_>, record: &KeyRecord) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO keys (id, account, name, prefix, digest, plan, scopes, created_at, expires_at,
             last_used_at, revoked_at, replaced_by, retires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            record.id.as_str(),
            record.account.as_str(),
            record.name,
            record.prefix,
            record.digest.bytes(),
            record.plan,
            record.scopes.names().join(" "),
            record.created_at.as_microsecond(),
            microseconds(record.expires_at),
            microseconds(record.last_used_at),
            microseconds(record.revoked_at),
            record.replaced_by.as_ref().map(KeyId::as_str),
            microseconds(record.retires_at),
        ],
    )?;
    Ok(())
}

fn write_update(transaction: &Transaction<'_>, update: &KeyUpdate) -> Result<(), WriteError> {
    if let Some(successor) = &update.successor {
        insert(transaction, successor)?;
    }
    let record = &update.record;
    transaction.execute(
        "UPDATE keys SET name = ?2, plan = ?3, scopes = ?4, expires_at = ?5, revoked_at = ?6, replaced_by = ?7,
             retires_at = ?8
         WHERE id = ?1",
        params![
            record.id.as_str(),
            record.name,
            record.plan,
            record.scopes.names().join(" "),
            microseconds(record.expires_at),
            microseconds(record.revoked_at),
            record.replaced_by.as_ref().map(KeyId::as_str),
            microseconds(record.retires_at),
        ],
    )?;
    Ok(add_entry(transaction, &update.entry)?)
}

/// Later times than the last one that can be read back count as that one.
fn microseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.min(last_expiry()).as_microsecond())
}

/// The columns that [`read_row`] reads, by number: reading by name takes twice as long.
const COLUMNS: &str = "id, account, name, prefix, digest, plan, scopes, created_at, expires_at, last_used_at, \
                       revoked_at, replaced_by, retires_at";

/// Reads a row. One that cannot be read must not hide the others.
fn read_row(row: &Row<'_>) -> KeyRow {
    read_record(row).map_err(|problem| UnreadableKey {
        id: KeyId::new(row.get(0).unwrap_or_else(|_| "unreadable".to_owned())),
        digest: row.get(4).ok().map(KeyDigest::from_bytes),
        problem,
    })
}

fn read_record(row: &Row<'_>) -> Result<KeyRecord, String> {
    let scopes: Result<Scopes, _> =
        column::<String>(row, 6)?.split_whitespace().map(str::parse::<Scope>).collect();
    Ok(KeyRecord {
        id: KeyId::new(column::<String>(row, 0)?),
        account: KeyId::new(column::<String>(row, 1)?),
        name: column(row, 2)?,
        prefix: column(row, 3)?,
        digest: KeyDigest::from_bytes(column(row, 4)?),
        plan: column(row, 5)?,
        scopes: scopes.map_err(|error| error.to_string())?,
        created_at: timestamp(column(row, 7)?)?,
        expires_at: column::<Option<i64>>(row, 8)?.map(timestamp).transpose()?,
        last_used_at: column::<Option<i64>>(row, 9)?.map(timestamp).transpose()?,
        revoked_at: column::<Option<i64>>(row, 10)?.map(timestamp).transpose()?,
        replaced_by: column::<Option<String>>(row, 11)?.map(KeyId::new),
        retires_at: column::<Option<i64>>(row, 12)?.map(timestamp).transpose()?,
    })
}

fn column<T: FromSql>(row: &Row<'_>, index: usize) -> Result<T, String> {
    row.get(index).map_err(|error| error.to_string())
}

fn timestamp(microseconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_microsecond(microseconds).map_err(|error| error.to_string())
}
