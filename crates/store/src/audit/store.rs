//! The trait of a store of audit entries.

use super::entry::AuditEntry;
use crate::error::StoreError;

/// A store of audit entries, which the changes of keys write. All backends pass one test suite (`tests/store/conformance.rs`).
pub trait AuditStore: Send + Sync + std::fmt::Debug {
    /// Returns up to `limit` entries with a sequence number above `after`, in order. An entry never becomes visible below
    /// a number that was already returned.
    fn audit_entries(&self, after: u64, limit: usize) -> Result<Vec<StoredEntry>, StoreError>;

    /// Returns the sequence number up to which entries are in the file.
    fn audit_position(&self) -> Result<u64, StoreError>;

    /// Sets the sequence number up to which entries are in the file. It never goes back.
    fn set_audit_position(&self, position: u64) -> Result<(), StoreError>;
}

/// An entry and its place in the order of all changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// The sequence number; the first is 1, and later entries have higher ones.
    pub sequence: u64,
    /// The entry.
    pub entry: AuditEntry,
}
