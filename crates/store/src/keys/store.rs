//! The trait of a store of keys.

use jiff::Timestamp;

use super::api_key::KeyDigest;
use super::record::{KeyId, KeyRecord};
use crate::audit::AuditEntry;
use crate::error::StoreError;

/// A store of keys. All backends pass one test suite (`tests/store/conformance.rs`). Every method may block on a disk or network.
///
/// What a change of a key means is decided outside the backends ([`super::KeyAdmin`]); a backend gives the transaction.
pub trait KeyStore: Send + Sync + std::fmt::Debug {
    /// Adds a record and its audit entry, in one transaction.
    fn insert(&self, record: &KeyRecord, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Reads and changes a record in one transaction that no other change of this key can overlap: calls `decide` with
    /// the key as it is, and writes the update and its audit entry. Writes nothing if `decide` returns `None` or an error.
    fn update(&self, id: &KeyId, decide: &mut Decide<'_>) -> Result<(), StoreError>;

    /// Returns one record.
    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError>;

    /// Returns up to `limit` records in the order in which they were added, from the first after the key `after` on.
    fn page(&self, after: Option<&KeyId>, limit: usize) -> Result<KeyPage, StoreError>;

    /// Returns the records that changed after `since`, by any process; all records if `since` is `None` or records were
    /// removed. A change must never be missed: a backend whose changes can become visible out of order returns them again.
    fn changes(&self, since: Option<Revision>) -> Result<KeyChanges, StoreError>;

    /// Writes when keys were last used. An earlier time than the stored one is ignored. This is no change of a key.
    fn record_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError>;

    /// Checks whether a change can be made now: takes the path of one, as far as the disk, and changes nothing.
    fn check_writable(&self) -> Result<(), StoreError>;

    /// Returns all readable records in the order in which they were added.
    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let mut records = Vec::new();
        let mut after: Option<KeyId> = None;
        loop {
            let mut page = self.page(after.as_ref(), 1000)?;
            records.append(&mut page.records);
            after = page.next;
            if after.is_none() {
                return Ok(records);
            }
        }
    }
}

/// Decides in a transaction how a key changes; `None` for no change.
pub type Decide<'a> = dyn FnMut(&CurrentKey) -> Result<Option<KeyUpdate>, StoreError> + 'a;

/// A key as it is in a transaction.
#[derive(Debug)]
pub struct CurrentKey {
    /// The key.
    pub record: KeyRecord,
    /// The key in `replaced_by`, if it exists and is readable.
    pub successor: Option<KeyRecord>,
}

/// A change of a key.
#[derive(Debug)]
pub struct KeyUpdate {
    /// The key after the change. Identifier, account, digest and prefix stay.
    pub record: KeyRecord,
    /// A new key to insert.
    pub successor: Option<KeyRecord>,
    /// The audit entry of the change.
    pub entry: AuditEntry,
}

/// A part of all keys.
#[derive(Debug, Default)]
pub struct KeyPage {
    /// The readable records.
    pub records: Vec<KeyRecord>,
    /// The unreadable rows of this part.
    pub unreadable: Vec<UnreadableKey>,
    /// The last key of this part, if there are more.
    pub next: Option<KeyId>,
}

/// A position in the history of a store's keys. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// What changed in a store.
#[derive(Debug)]
pub struct KeyChanges {
    /// The position up to which these are all changes.
    pub revision: Revision,
    /// Whether these are all keys of the store, not only changed ones.
    pub is_complete: bool,
    /// The changed records.
    pub records: Vec<KeyRecord>,
    /// Changed rows that cannot be read.
    pub unreadable: Vec<UnreadableKey>,
}

/// A stored key that cannot be read, such as one with a scope that this program does not know. It counts as revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableKey {
    /// Identifies the key.
    pub id: KeyId,
    /// The SHA-256 of the key, if that is readable.
    pub digest: Option<KeyDigest>,
    /// What cannot be read.
    pub problem: String,
}
