//! All keys in memory, for the hot path, kept as the store has them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;

use super::events::KeyEvents;
use super::key::{ApiKey, KeyDigest};
use super::record::{KeyId, KeyRecord, KeyState, Scopes};
use super::store::{KeyStore, StoreError};

/// How often the store is asked whether it changed: a revoked key is out in well under a second.
const POLL: Duration = Duration::from_millis(250);

/// After how many polls the times of last use are written.
const POLLS_BETWEEN_NOTES: u32 = 40;

/// Tells whose a key is, without a look into the store.
///
/// A thread of its own follows the store, until the ring is dropped.
#[derive(Debug)]
pub struct KeyRing {
    shared: Arc<Shared>,
    follower: Mutex<Option<Follower>>,
}

#[derive(Debug)]
struct Follower {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn KeyStore>,
    /// A key from outside the store.
    outside: Option<KeyRecord>,
    snapshot: RwLock<Snapshot>,
    /// Held while the store is read: a slow reader must not put old records in over newer ones.
    refreshing: Mutex<()>,
    /// Whether the last look into the store succeeded.
    healthy: AtomicBool,
}

/// The keys as they were at a revision of the store.
#[derive(Debug)]
struct Snapshot {
    revision: u64,
    entries: HashMap<KeyDigest, Entry>,
    /// How the keys came to be as they are, from the first snapshot on.
    events: KeyEvents,
}

#[derive(Debug)]
struct Entry {
    record: Arc<KeyRecord>,
    /// Microseconds since 1970 of a use that is not yet written to the store; 0 for none.
    used_at: AtomicI64,
}

/// Why a key does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody issued it.
    Unknown,
    /// Its time is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// It was taken back.
    Revoked {
        /// Since when.
        at: Timestamp,
    },
}

impl KeyRing {
    /// Takes the keys of `store`, and `outside` beside them, and follows the store from then on.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn follow(store: Arc<dyn KeyStore>, outside: Option<&ApiKey>) -> Result<Self, StoreError> {
        let outside = outside.map(outside_record);
        let snapshot = RwLock::new(Snapshot::take(store.as_ref(), outside.as_ref())?);
        let shared = Arc::new(Shared {
            store,
            outside,
            snapshot,
            refreshing: Mutex::default(),
            healthy: AtomicBool::new(true),
        });
        let (stop, stopped) = mpsc::channel();
        let follower = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("key-ring".to_owned()).spawn(move || follower.follow(&stopped));
        let follower = match thread {
            Ok(thread) => Some(Follower { stop, thread }),
            Err(error) => {
                tracing::error!(%error, "cannot follow the key store: new and revoked keys count after a restart");
                None
            }
        };
        Ok(Self { shared, follower: Mutex::new(follower) })
    }

    /// Whose `key` is, if it lets in at `now`.
    ///
    /// # Errors
    ///
    /// Why it does not let in.
    pub fn authenticate(&self, key: &ApiKey, now: Timestamp) -> Result<Arc<KeyRecord>, Refusal> {
        let digest = key.digest();
        let snapshot = self.shared.snapshot();
        let entry = snapshot.entries.get(&digest).ok_or(Refusal::Unknown)?;
        match entry.record.state(now) {
            KeyState::Active => {
                entry.used_at.store(now.as_microsecond(), Ordering::Relaxed);
                Ok(Arc::clone(&entry.record))
            }
            KeyState::Expired { at } => Err(Refusal::Expired { at }),
            KeyState::Revoked { at } => Err(Refusal::Revoked { at }),
        }
    }

    /// What became of keys since the ring began to follow the store.
    pub fn events(&self) -> KeyEvents {
        self.shared.snapshot().events
    }

    /// Whether no key at all would let in.
    pub fn is_empty(&self) -> bool {
        self.shared.snapshot().entries.is_empty()
    }

    /// The plans of the keys that let in at `now`, and how many keys each has.
    pub fn plans_in_use(&self, now: Timestamp) -> BTreeMap<String, usize> {
        let mut plans = BTreeMap::new();
        for entry in self.shared.snapshot().entries.values() {
            if entry.record.state(now) == KeyState::Active {
                *plans.entry(entry.record.plan.clone()).or_default() += 1;
            }
        }
        plans
    }

    /// Whether the store could be read when the ring last looked.
    pub fn is_following(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// Looks into the store now, for who cannot wait for the ring to do so by itself.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn refresh(&self) -> Result<(), StoreError> {
        if self.shared.refresh()? {
            self.shared.note_uses();
        }
        Ok(())
    }

    /// Stops following and writes the last times of use.
    pub fn close(&self) {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Follower { stop, thread }) = follower {
            drop(stop);
            // The thread cannot panic other than by a bug, and then has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        // A snapshot is changed in single steps, so a panic elsewhere leaves none half done.
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until `stopped` hangs up.
    fn follow(&self, stopped: &mpsc::Receiver<()>) {
        let mut polls = 0;
        loop {
            let stop = stopped.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout);
            polls += 1;
            let outcome = self.refresh();
            if stop || matches!(outcome, Ok(true)) || polls % POLLS_BETWEEN_NOTES == 0 {
                self.note_uses();
            }
            let was_healthy = self.healthy.swap(outcome.is_ok(), Ordering::Relaxed);
            match outcome {
                Ok(_) if !was_healthy => tracing::info!("the key store can be used again"),
                // Said once, not four times a second; keys in memory go on working.
                Err(error) if was_healthy => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the key store fails: keys stay as they were last read");
                }
                _ => {}
            }
            if stop {
                return;
            }
        }
    }

    /// Takes up what changed in the store; whether anything did.
    fn refresh(&self) -> Result<bool, StoreError> {
        let _refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.snapshot().revision;
        // The revision first: a change in between is read twice, and never missed.
        let revision = self.store.revision()?;
        if revision == known {
            return Ok(false);
        }
        // Of a hundred thousand keys mostly one has changed, and readers wait only while it is put in.
        if let Some(records) = self.store.changed_since(known)? {
            self.snapshot_mut().update(revision, records);
        } else {
            let fresh = Snapshot::take(self.store.as_ref(), self.outside.as_ref())?;
            let mut snapshot = self.snapshot_mut();
            let events = snapshot.events_until(&fresh);
            *snapshot = Snapshot { events, ..fresh };
        }
        Ok(true)
    }

    /// Writes when keys were last used. What cannot be written is kept for the next time.
    fn note_uses(&self) {
        let unwritten = self.snapshot().unwritten_uses();
        let uses: Vec<(KeyId, Timestamp)> = unwritten.iter().map(|(_, id, at)| (id.clone(), *at)).collect();
        match self.store.note_uses(&uses) {
            Ok(()) => {
                let snapshot = self.snapshot();
                for (digest, _, at) in unwritten {
                    snapshot.forget_use(&digest, at);
                }
            }
            // Of a store that cannot be written the meter tells, and loudly.
            Err(error) => tracing::debug!(%error, "cannot note when keys were last used"),
        }
    }
}

impl Snapshot {
    fn take(store: &dyn KeyStore, outside: Option<&KeyRecord>) -> Result<Self, StoreError> {
        // The revision first: a change in between makes for one needless reload, not for a missed one.
        let revision = store.revision()?;
        let entry = |record: KeyRecord| (record.digest, Entry::new(record, 0));
        // The store's records come last, so that they count more than the key from outside.
        let entries = outside.cloned().into_iter().chain(store.records()?).map(entry).collect();
        Ok(Self { revision, entries, events: KeyEvents::default() })
    }

    /// Puts in records that were added or changed.
    fn update(&mut self, revision: u64, records: Vec<KeyRecord>) {
        self.revision = revision;
        for record in records {
            let old = self.entries.get(&record.digest);
            self.events.note(old.map(|old| old.record.as_ref()), &record);
            let used_at = old.map_or(0, |old| old.used_at.load(Ordering::Relaxed));
            self.entries.insert(record.digest, Entry::new(record, used_at));
        }
    }

    /// What became of keys when `later` takes the place of this.
    fn events_until(&self, later: &Self) -> KeyEvents {
        let mut events = self.events;
        for (digest, entry) in &later.entries {
            events.note(self.entries.get(digest).map(|old| old.record.as_ref()), &entry.record);
        }
        events
    }

    /// The times of use that have not been written yet.
    fn unwritten_uses(&self) -> Vec<(KeyDigest, KeyId, Timestamp)> {
        let unwritten = self.entries.iter().filter_map(|(digest, entry)| {
            let microseconds = entry.used_at.load(Ordering::Relaxed);
            let at = Timestamp::from_microsecond(microseconds).ok().filter(|_| microseconds != 0)?;
            Some((*digest, entry.record.id.clone(), at))
        });
        unwritten.collect()
    }

    /// Takes it that a use is written, unless there was a later one.
    fn forget_use(&self, digest: &KeyDigest, at: Timestamp) {
        if let Some(entry) = self.entries.get(digest) {
            let at = at.as_microsecond();
            // It fails where there was a later one, and that is to be written next time.
            let _ = entry.used_at.compare_exchange(at, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Entry {
    fn new(record: KeyRecord, used_at: i64) -> Self {
        Self { record: Arc::new(record), used_at: AtomicI64::new(used_at) }
    }
}

fn outside_record(key: &ApiKey) -> KeyRecord {
    KeyRecord {
        id: KeyId::configured(),
        account: KeyId::configured(),
        name: "from the configuration".to_owned(),
        prefix: key.shown_prefix().to_owned(),
        digest: key.digest(),
        plan: KeyRecord::UNLIMITED.to_owned(),
        scopes: Scopes::caller(),
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}
