//! Where records are kept: what every store can do.

use std::path::PathBuf;

use jiff::Timestamp;

use super::key::ApiKey;
use super::record::{KeyId, KeyRecord, KeyState, NewKey};

/// A place where records are kept. All stores pass one test suite (`tests/store.rs`).
///
/// Every method may block on a disk.
pub trait KeyStore: Send + Sync + std::fmt::Debug {
    /// Adds a record, once and for good.
    fn insert(&self, record: &KeyRecord) -> Result<(), StoreError>;

    /// All records, the oldest first.
    fn records(&self) -> Result<Vec<KeyRecord>, StoreError>;

    /// The record of one key.
    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError>;

    /// Marks a record as revoked; one that already was keeps its time.
    fn revoke(&self, id: &KeyId, at: Timestamp) -> Result<KeyRecord, StoreError>;

    /// Adds `replacement` and lets the record `id` expire at `old_expires_at`: both or neither.
    fn replace(
        &self,
        id: &KeyId,
        replacement: &KeyRecord,
        old_expires_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Notes when keys were last used. An earlier time than the stored one is ignored.
    fn note_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError>;

    /// A number that grows with every change but those of [`KeyStore::note_uses`], whoever made it.
    fn revision(&self) -> Result<u64, StoreError>;

    /// The records that were added or changed after `revision`, and perhaps some before; `None` where records were
    /// removed, so that all must be read.
    fn changed_since(&self, revision: u64) -> Result<Option<Vec<KeyRecord>>, StoreError>;

    /// Whether a change could be made now: goes the way of one, as far as the disk, and changes nothing.
    fn check_writable(&self) -> Result<(), StoreError>;
}

/// Makes a new key that follows the key `id`: same name, plan, scopes and account. The old one expires at
/// `old_expires_at` or at its own time, whichever is first.
///
/// # Errors
///
/// If there is no such key, or it is revoked or expired: such a key has no successor.
pub fn rotate(
    store: &dyn KeyStore,
    id: &KeyId,
    old_expires_at: Timestamp,
    now: Timestamp,
    random: &mut impl rand::CryptoRng,
) -> Result<(ApiKey, KeyRecord), StoreError> {
    let old = store.record(id)?;
    let state = old.state(now);
    if state != KeyState::Active {
        return Err(StoreError::NotActive { id: id.clone(), state: state.word() });
    }
    let successor = NewKey {
        name: old.name.clone(),
        environment: old.environment(),
        plan: old.plan.clone(),
        scopes: old.scopes,
        expires_at: old.expires_at,
    };
    let (key, mut record) = successor.generate(now, random);
    // A new key must not be a second helping of the same plan.
    record.account = old.account;
    let old_expires_at = old.expires_at.map_or(old_expires_at, |own| own.min(old_expires_at));
    store.replace(id, &record, old_expires_at)?;
    Ok((key, record))
}

/// Why a store did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the store {}; --data-dir or SENTOR_DATA_DIR moves it", .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is there and is no store, or is a broken one.
    #[error("{} is not a readable store; restore it from a backup or move it away", .path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A later version of Sentor wrote the file.
    #[error("{} is of schema {found}, and this program knows up to {known}; use a newer Sentor", .path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// The file's schema.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// Another program has the file to itself.
    #[error("the store {} is locked by another program; end that program, or wait for it", .path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file or its folder cannot be written.
    #[error(
        "the store {} can be read but not written; sentor must own the file and its folder, on a disk that is \
         not read-only",
        .path.display()
    )]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is no room left.
    #[error("the disk of the store {} is full", .path.display())]
    Full {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// SQLite could not read or write, for another reason.
    #[error("cannot use the store {}", .path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// A stored record makes no sense.
    #[error("the store {} holds a record that makes no sense: {problem}", .path.display())]
    BadRecord {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The store has no such key.
    #[error("there is no key {0}; `sentor keys list` shows all")]
    NoSuchKey(KeyId),
    /// The key is past the state that the step needs.
    #[error("the key {id} is {state}")]
    NotActive {
        /// Which key.
        id: KeyId,
        /// Its state.
        state: &'static str,
    },
}
