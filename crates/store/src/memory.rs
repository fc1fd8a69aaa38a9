//! A store that forgets: for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::keys::{KeyId, KeyRecord, KeyStore, StoreError};
use crate::metering::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};

/// Keeps records in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<KeyRecord>,
    revision: u64,
    /// The revision of each record's last change.
    changes: BTreeMap<KeyId, u64>,
    usage: BTreeMap<(KeyId, Date), Usage>,
    recent: Vec<RecentRequests>,
}

impl Inner {
    fn find(&mut self, id: &KeyId) -> Result<&mut KeyRecord, StoreError> {
        let found = self.records.iter_mut().find(|record| record.id == *id);
        found.ok_or_else(|| StoreError::NoSuchKey(id.clone()))
    }

    fn note_change(&mut self, id: &KeyId) {
        self.revision += 1;
        self.changes.insert(id.clone(), self.revision);
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
        inner.note_change(&record.id);
        Ok(())
    }

    fn records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.lock().records.clone())
    }

    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        self.lock().find(id).cloned()
    }

    fn revoke(&self, id: &KeyId, at: Timestamp) -> Result<KeyRecord, StoreError> {
        let mut inner = self.lock();
        let record = inner.find(id)?;
        record.revoked_at.get_or_insert(at);
        let record = record.clone();
        inner.note_change(id);
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
        inner.note_change(id);
        inner.note_change(&replacement.id);
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

    fn changed_since(&self, revision: u64) -> Result<Option<Vec<KeyRecord>>, StoreError> {
        let inner = self.lock();
        let changed = inner.records.iter().filter(|record| inner.changes.get(&record.id) > Some(&revision));
        Ok(Some(changed.cloned().collect()))
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl UsageStore for MemoryStore {
    fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        let mut inner = self.lock();
        for DayUsage { account, day, usage } in &batch.days {
            *inner.usage.entry((account.clone(), *day)).or_default() += *usage;
        }
        inner.recent.extend_from_slice(&batch.recent);
        inner.recent.retain(|recent| recent.at >= batch.forget_before);
        Ok(())
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError> {
        let is_asked = |account: &KeyId, day: Date| {
            (query.from..=query.to).contains(&day)
                && query.account.as_ref().is_none_or(|asked| asked == account)
        };
        let inner = self.lock();
        let asked = inner.usage.iter().filter(|((account, day), _)| is_asked(account, *day));
        Ok(asked
            .map(|((account, day), usage)| DayUsage { account: account.clone(), day: *day, usage: *usage })
            .collect())
    }

    fn recent_requests(&self, since: Timestamp) -> Result<Vec<RecentRequests>, StoreError> {
        let mut recent: Vec<_> =
            self.lock().recent.iter().filter(|recent| recent.at >= since).cloned().collect();
        recent.sort_by_key(|recent| recent.at);
        Ok(recent)
    }
}
