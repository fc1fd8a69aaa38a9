//! Audit entries in SQLite.

use rusqlite::{Transaction, params};

use super::{SHORT_WAIT, SqliteStore};
use crate::audit::{AuditEntry, AuditStore, StoredEntry};
use crate::error::StoreError;

impl AuditStore for SqliteStore {
    fn audit_entries(&self, after: u64, limit: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, entry FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![signed(after), limit], |row| {
                let sequence = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
                Ok(StoredEntry { sequence, entry: AuditEntry::from_json(row.get(1)?) })
            })?;
            rows.collect()
        })
    }

    fn audit_position(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT position FROM audit_position")?;
            let position: i64 = statement.query_row([], |row| row.get(0))?;
            Ok(u64::try_from(position).unwrap_or(0))
        })
    }

    fn set_audit_position(&self, position: u64) -> Result<(), StoreError> {
        self.write(SHORT_WAIT, |transaction| {
            let sql = "UPDATE audit_position SET position = max(position, ?1)";
            transaction.execute(sql, [signed(position)])?;
            Ok(())
        })
    }
}

/// Adds an entry to the transaction of its change.
pub(super) fn add_entry(transaction: &Transaction<'_>, entry: &AuditEntry) -> rusqlite::Result<()> {
    transaction.execute("INSERT INTO audit (entry) VALUES (?1)", [entry.as_json()])?;
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
