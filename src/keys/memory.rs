//! A store that forgets: for tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::record::{KeyId, KeyRecord};
use super::store::{KeyStore, StoreError};

/// Keeps records in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<KeyRecord>,
    revision: u64,
}

impl Inner {
    fn find(&mut self, id: &KeyId) -> Result<&mut KeyRecord, StoreError> {
        let found = self.records.iter_mut().find(|record| record.id == *id);
        found.ok_or_else(|| StoreError::NoSuchKey(id.clone()))
    }
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is a single step, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryStore {
    fn insert(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.records.push(record.clone());
        inner.revision += 1;
        Ok(())
    }

    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.lock().records.clone())
    }

    fn revoke(&self, id: &KeyId, at: Timestamp) -> Result<KeyRecord, StoreError> {
        let mut inner = self.lock();
        let record = inner.find(id)?;
        record.revoked_at.get_or_insert(at);
        let record = record.clone();
        inner.revision += 1;
        Ok(record)
    }

    fn replace(
        &self,
        id: &KeyId,
        replacement: &KeyRecord,
        old_expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.find(id)?.expires_at = Some(old_expires_at);
        inner.records.push(replacement.clone());
        inner.revision += 1;
        Ok(())
    }

    fn note_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        for (id, at) in uses {
            if let Ok(record) = inner.find(id) {
                record.last_used_at = record.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    fn revision(&self) -> Result<u64, StoreError> {
        Ok(self.lock().revision)
    }
}
