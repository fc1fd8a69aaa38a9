//! A store in memory: for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::audit::{AuditEntry, AuditStore, StoredEntry};
use crate::error::StoreError;
use crate::jobs::JobTables;
use crate::keys::{CurrentKey, Decide, KeyChanges, KeyId, KeyPage, KeyRecord, KeyStore, Revision};
use crate::metering::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// In the order in which they were added.
    records: Vec<KeyRecord>,
    revision: u64,
    /// The revision of each record's last change.
    changes: BTreeMap<KeyId, u64>,
    usage: BTreeMap<(KeyId, Date), Usage>,
    recent: Vec<RecentRequests>,
    audit: Vec<AuditEntry>,
    audit_position: u64,
    pub(crate) jobs: JobTables,
}

impl Inner {
    fn index(&self, id: &KeyId) -> Result<usize, StoreError> {
        let found = self.records.iter().position(|record| record.id == *id);
        found.ok_or_else(|| StoreError::NoSuchKey(id.clone()))
    }

    fn mark_changed(&mut self, id: &KeyId) {
        self.revision += 1;
        self.changes.insert(id.clone(), self.revision);
    }

    fn add(&mut self, record: KeyRecord) {
        self.mark_changed(&record.id);
        self.records.push(record);
    }
}

impl MemoryStore {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is a single step, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryStore {
    fn insert(&self, record: &KeyRecord, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.add(record.clone());
        inner.audit.push(entry.clone());
        Ok(())
    }

    fn update(&self, id: &KeyId, decide: &mut Decide<'_>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let index = inner.index(id)?;
        let record = inner.records[index].clone();
        let successor = record.replaced_by.as_ref().and_then(|id| inner.index(id).ok());
        let successor = successor.map(|index| inner.records[index].clone());
        if let Some(update) = decide(&CurrentKey { record, successor })? {
            inner.records[index] = update.record;
            inner.mark_changed(id);
            if let Some(successor) = update.successor {
                inner.add(successor);
            }
            inner.audit.push(update.entry);
        }
        Ok(())
    }

    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        let inner = self.lock();
        inner.index(id).map(|index| inner.records[index].clone())
    }

    fn page(&self, after: Option<&KeyId>, limit: usize) -> Result<KeyPage, StoreError> {
        let inner = self.lock();
        let start = after.map(|id| inner.index(id)).transpose()?.map_or(0, |index| index + 1);
        let rest = &inner.records[start..];
        let records: Vec<KeyRecord> = rest.iter().take(limit).cloned().collect();
        let next = records.last().filter(|_| rest.len() > limit).map(|record| record.id.clone());
        Ok(KeyPage { records, unreadable: Vec::new(), next })
    }

    fn changes(&self, since: Option<Revision>) -> Result<KeyChanges, StoreError> {
        let inner = self.lock();
        let is_changed = |record: &&KeyRecord| {
            since.is_none_or(|since| inner.changes.get(&record.id).is_some_and(|at| *at > since.0))
        };
        Ok(KeyChanges {
            revision: Revision(inner.revision),
            is_complete: since.is_none(),
            records: inner.records.iter().filter(is_changed).cloned().collect(),
            unreadable: Vec::new(),
        })
    }

    fn record_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        for (id, at) in uses {
            if let Ok(index) = inner.index(id) {
                let record = &mut inner.records[index];
                record.last_used_at = record.last_used_at.max(Some(*at));
            }
        }
        Ok(())
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
        inner.recent.retain(|recent| batch.keep_recent.contains(&recent.at));
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

    fn forget_usage_before(&self, day: Date) -> Result<(), StoreError> {
        self.lock().usage.retain(|(_, kept), _| *kept >= day);
        Ok(())
    }
}

impl AuditStore for MemoryStore {
    fn audit_entries(&self, after: u64, limit: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let inner = self.lock();
        let numbered = (1..).zip(&inner.audit).filter(|(sequence, _)| *sequence > after);
        Ok(numbered
            .take(limit)
            .map(|(sequence, entry)| StoredEntry { sequence, entry: entry.clone() })
            .collect())
    }

    fn audit_position(&self) -> Result<u64, StoreError> {
        Ok(self.lock().audit_position)
    }

    fn set_audit_position(&self, position: u64) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.audit_position = inner.audit_position.max(position);
        Ok(())
    }
}
