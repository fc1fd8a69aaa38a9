//! The keys in memory, as they were at a revision of the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::api_key::KeyDigest;
use super::events::KeyEvents;
use super::record::{KeyId, KeyRecord, KeyState};
use super::store::{KeyChanges, Revision, UnreadableKey};

#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) revision: Revision,
    pub(super) entries: HashMap<KeyDigest, Entry>,
    /// The changes since the first snapshot.
    pub(super) events: KeyEvents,
    /// Keys whose rows cannot be read.
    unreadable: BTreeSet<KeyId>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<KeyRecord>,
    /// Whether the row can be read. If not, the record is an older one, and the key counts as revoked.
    pub(super) is_readable: bool,
    /// Microseconds since 1970 of a use that is not yet in the store; 0 for none.
    used_at: AtomicI64,
}

impl Snapshot {
    /// Makes a snapshot of all keys and of the static key. If the store has the same key, its record has precedence.
    pub(super) fn new(all: KeyChanges, static_key: Option<&KeyRecord>) -> Self {
        let mut snapshot = Self {
            revision: all.revision,
            entries: HashMap::with_capacity(all.records.len() + 1),
            events: KeyEvents::default(),
            unreadable: BTreeSet::new(),
        };
        if let Some(record) = static_key {
            snapshot.entries.insert(record.digest, Entry::new(record.clone(), 0));
        }
        snapshot.apply(all);
        snapshot.events = KeyEvents::default();
        snapshot
    }

    /// Applies changed records, and returns the rows that have become unreadable.
    pub(super) fn apply(&mut self, changes: KeyChanges) -> Vec<UnreadableKey> {
        self.revision = changes.revision;
        for record in changes.records {
            self.put(record);
        }
        changes.unreadable.into_iter().filter(|row| self.mark_unreadable(row)).collect()
    }

    /// Inserts or replaces a record.
    pub(super) fn put(&mut self, record: KeyRecord) {
        self.unreadable.remove(&record.id);
        let old = self.entries.get(&record.digest);
        self.events.count(old.map(|old| old.record.as_ref()), &record);
        let used_at = old.map_or(0, |old| old.used_at.load(Ordering::Relaxed));
        self.entries.insert(record.digest, Entry::new(record, used_at));
    }

    /// Takes over the history of the snapshot that this one replaces, and returns the rows that have become unreadable.
    pub(super) fn succeed(&mut self, old: &Self, unreadable: Vec<UnreadableKey>) -> Vec<UnreadableKey> {
        let mut events = old.events;
        for (digest, entry) in &self.entries {
            events.count(old.entries.get(digest).map(|old| old.record.as_ref()), &entry.record);
        }
        self.events = events;
        unreadable.into_iter().filter(|row| !old.unreadable.contains(&row.id)).collect()
    }

    /// Marks a key as unreadable, so that it counts as revoked. Returns `true` if it was readable before.
    fn mark_unreadable(&mut self, row: &UnreadableKey) -> bool {
        match row.digest {
            Some(digest) => {
                // A key that was never readable has no older record.
                let bare = || Entry::new(KeyRecord::bare(row.id.clone(), digest), 0);
                let entry = self.entries.entry(digest).or_insert_with(bare);
                entry.is_readable = false;
            }
            None => {
                for entry in self.entries.values_mut().filter(|entry| entry.record.id == row.id) {
                    entry.is_readable = false;
                }
            }
        }
        self.unreadable.insert(row.id.clone())
    }

    /// Returns the number of keys whose rows cannot be read.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// Counts the active keys of each plan.
    pub(super) fn plans_in_use(&self, now: Timestamp) -> BTreeMap<String, usize> {
        let mut plans = BTreeMap::new();
        let is_active = |entry: &&Entry| entry.is_readable && entry.record.state(now) == KeyState::Active;
        for entry in self.entries.values().filter(is_active) {
            *plans.entry(entry.record.plan.clone()).or_default() += 1;
        }
        plans
    }

    /// Returns the uses that are not yet in the store.
    pub(super) fn unwritten_uses(&self) -> Vec<(KeyDigest, KeyId, Timestamp)> {
        let unwritten = self.entries.iter().filter_map(|(digest, entry)| {
            let microseconds = entry.used_at.load(Ordering::Relaxed);
            let at = Timestamp::from_microsecond(microseconds).ok().filter(|_| microseconds != 0)?;
            Some((*digest, entry.record.id.clone(), at))
        });
        unwritten.collect()
    }

    /// Marks a use as written, unless there was a later one.
    pub(super) fn forget_use(&self, digest: &KeyDigest, at: Timestamp) {
        if let Some(entry) = self.entries.get(digest) {
            let at = at.as_microsecond();
            // It fails if there was a later use, which the next write takes.
            let _ = entry.used_at.compare_exchange(at, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Entry {
    fn new(record: KeyRecord, used_at: i64) -> Self {
        Self { record: Arc::new(record), is_readable: true, used_at: AtomicI64::new(used_at) }
    }

    /// Records a use.
    pub(super) fn use_at(&self, now: Timestamp) {
        self.used_at.store(now.as_microsecond(), Ordering::Relaxed);
    }
}
