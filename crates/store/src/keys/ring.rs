//! Authenticates requests from memory, and follows the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::api_key::ApiKey;
use super::events::KeyEvents;
use super::lookup::LookupGate;
use super::record::{KeyId, KeyRecord, KeyState};
use super::scope::Scopes;
use super::snapshot::Snapshot;
use super::store::{KeyChanges, KeyStore, UnreadableKey};
use crate::error::{FailureKind, StoreError};
use crate::heartbeat::Heartbeat;
use crate::sync::{BackgroundThread, lock};

/// The interval between polls of the store: a revoked key is refused well within a second.
const POLL: Duration = Duration::from_millis(250);

/// Polls between writes of the times of last use.
const POLLS_BETWEEN_USES: u32 = 40;

/// How long the look-up of an unknown key waits for a poll that is under way.
const LOOKUP_WAIT: Duration = Duration::from_millis(50);

/// All keys in memory. The thread `key-ring` follows the store until the ring is closed or dropped.
#[derive(Debug)]
pub struct KeyRing {
    shared: Arc<Shared>,
    follower: BackgroundThread,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn KeyStore>,
    /// The key of the configuration, which no store holds.
    static_key: Mutex<Option<KeyRecord>>,
    snapshot: RwLock<Snapshot>,
    /// Held while the store is read: a slow reader must not replace newer records by older ones.
    refreshing: Mutex<()>,
    /// Whether the last poll succeeded.
    is_healthy: AtomicBool,
    /// Whether the store is gone or exchanged, so that the state of every key is unknown.
    is_exchanged: AtomicBool,
    lookups: Mutex<LookupGate>,
    started: Instant,
    /// Beats at each poll, whether it succeeds or not.
    heartbeat: Heartbeat,
    /// Beats when the ring is as the store.
    followed: Heartbeat,
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The store has no such key.
    Unknown,
    /// The key has expired.
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// The key was revoked.
    Revoked {
        /// When it was revoked.
        at: Timestamp,
    },
    /// The key's row in the store cannot be read, so the key counts as revoked.
    Unreadable,
    /// The store is gone or exchanged, so no key's state is known.
    StoreExchanged,
}

impl KeyRing {
    /// Reads the keys of `store`, adds the static key, and starts to follow the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn follow(store: Arc<dyn KeyStore>, static_key: Option<&ApiKey>) -> Result<Self, StoreError> {
        let static_key = static_key.map(static_record);
        let all = store.changes(None)?;
        report_unreadable(&all.unreadable);
        let started = Instant::now();
        let shared = Arc::new(Shared {
            store,
            snapshot: RwLock::new(Snapshot::new(all, static_key.as_ref())),
            static_key: Mutex::new(static_key),
            refreshing: Mutex::default(),
            is_healthy: AtomicBool::new(true),
            is_exchanged: AtomicBool::new(false),
            lookups: Mutex::new(LookupGate::new(Duration::ZERO)),
            started,
            heartbeat: Heartbeat::start(),
            followed: Heartbeat::start(),
        });
        let following = Arc::clone(&shared);
        let follower = BackgroundThread::start(
            "key-ring",
            "cannot follow the key store: new and revoked keys count after a restart",
            move |stopped| following.follow(stopped),
        );
        Ok(Self { shared, follower })
    }

    /// Looks up an active key in memory.
    ///
    /// # Errors
    ///
    /// Why the key is refused.
    pub fn authenticate(&self, key: &ApiKey, now: Timestamp) -> Result<Arc<KeyRecord>, AuthError> {
        let digest = key.digest();
        let is_exchanged = self.shared.is_exchanged.load(Ordering::Relaxed);
        let snapshot = self.shared.snapshot();
        let Some(entry) = snapshot.entries.get(&digest) else {
            return Err(if is_exchanged { AuthError::StoreExchanged } else { AuthError::Unknown });
        };
        if is_exchanged && entry.record.id != KeyId::static_key() {
            return Err(AuthError::StoreExchanged);
        }
        if !entry.is_readable {
            return Err(AuthError::Unreadable);
        }
        match entry.record.state(now) {
            KeyState::Active => {
                entry.use_at(now);
                Ok(Arc::clone(&entry.record))
            }
            KeyState::Expired { at } => Err(AuthError::Expired { at }),
            KeyState::Revoked { at } => Err(AuthError::Revoked { at }),
        }
    }

    /// Looks up a key that is not in memory, because another process may have made it since the last poll: brings the ring
    /// up to date with the store, once for each unknown key and within a bounded rate. Blocks on the store.
    ///
    /// # Errors
    ///
    /// Why the key is refused.
    pub fn look_up(&self, key: &ApiKey, now: Timestamp) -> Result<Arc<KeyRecord>, AuthError> {
        let digest = key.digest();
        let elapsed = self.shared.started.elapsed();
        if !lock(&self.shared.lookups).admit(&digest, elapsed) {
            return Err(AuthError::Unknown);
        }
        let is_current = self.shared.refresh_within(LOOKUP_WAIT);
        let outcome = self.authenticate(key, now);
        if is_current && outcome == Err(AuthError::Unknown) {
            lock(&self.shared.lookups).remember_unknown(digest);
        }
        outcome
    }

    /// Returns the counts of changes of keys.
    pub fn events(&self) -> KeyEvents {
        self.shared.snapshot().events
    }

    /// Returns `true` if there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.shared.snapshot().entries.is_empty()
    }

    /// Counts the active keys of each plan.
    pub fn plans_in_use(&self, now: Timestamp) -> BTreeMap<String, usize> {
        self.shared.snapshot().plans_in_use(now)
    }

    /// Returns the number of keys whose rows cannot be read, and which count as revoked.
    pub fn unreadable_keys(&self) -> usize {
        self.shared.snapshot().unreadable()
    }

    /// Returns `true` if the last poll succeeded.
    pub fn is_following(&self) -> bool {
        self.shared.is_healthy.load(Ordering::Relaxed)
    }

    /// Returns the time for which the ring has not been up to date with the store; well under a second if all is well.
    pub fn behind_for(&self) -> Duration {
        self.shared.followed.age()
    }

    /// The heartbeat of the thread that follows the store, four times a second.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.shared.heartbeat
    }

    /// Brings the ring up to date with the store. Blocks on the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn refresh(&self) -> Result<(), StoreError> {
        if self.shared.refresh()? {
            self.shared.write_uses();
        }
        Ok(())
    }

    /// Replaces the static key, and returns `true` if it is another one: the one before is unknown from then on. Blocks on
    /// the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be read; the static key then stays as it is.
    pub fn replace_static_key(&self, static_key: Option<&ApiKey>) -> Result<bool, StoreError> {
        let refreshing = lock(&self.shared.refreshing);
        let digest = |record: &Option<KeyRecord>| record.as_ref().map(|record| record.digest);
        let record = static_key.map(static_record);
        if digest(&record) == digest(&lock(&self.shared.static_key)) {
            return Ok(false);
        }
        self.shared.write_uses();
        let all = self.shared.store.changes(None)?;
        *lock(&self.shared.static_key) = record;
        report_unreadable(&self.shared.replace_snapshot(all));
        drop(refreshing);
        Ok(true)
    }

    /// Puts in a record that this process just committed, where [`KeyRing::refresh`] fails after the change.
    pub fn put(&self, record: KeyRecord) {
        self.shared.snapshot_mut().put(record);
    }

    /// Stops following and writes the last times of use.
    pub fn close(&self) {
        self.follower.close();
    }
}

impl Shared {
    fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        // A snapshot changes in single steps, so a panic elsewhere leaves nothing half done.
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the store until `stopped` hangs up.
    fn follow(&self, stopped: &mpsc::Receiver<()>) {
        let mut polls = 0;
        loop {
            let stop = stopped.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout);
            polls += 1;
            let outcome = self.refresh();
            if stop || matches!(outcome, Ok(true)) || polls % POLLS_BETWEEN_USES == 0 {
                self.write_uses();
            }
            let was_healthy = self.is_healthy.swap(outcome.is_ok(), Ordering::Relaxed);
            match outcome {
                Ok(_) if !was_healthy => tracing::info!("the key store can be used again"),
                // Once, not four times a second.
                Err(error) if was_healthy => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the key store fails: keys stay as they were last read");
                }
                _ => {}
            }
            self.heartbeat.beat();
            if stop {
                return;
            }
        }
    }

    /// Brings the snapshot up to date, and returns `true` if anything changed.
    fn refresh(&self) -> Result<bool, StoreError> {
        self.refresh_locked(&lock(&self.refreshing))
    }

    /// Brings the snapshot up to date unless another refresh takes too long, and returns `true` if it is.
    fn refresh_within(&self, wait: Duration) -> bool {
        let started = Instant::now();
        loop {
            match self.refreshing.try_lock() {
                Ok(guard) => return self.refresh_locked(&guard).is_ok(),
                Err(TryLockError::Poisoned(poisoned)) => {
                    return self.refresh_locked(&poisoned.into_inner()).is_ok();
                }
                Err(TryLockError::WouldBlock) if started.elapsed() < wait => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return false,
            }
        }
    }

    fn refresh_locked(&self, _refreshing: &MutexGuard<'_, ()>) -> Result<bool, StoreError> {
        let known = self.snapshot().revision;
        let changes = match self.store.changes(Some(known)) {
            Ok(changes) => {
                self.set_exchanged(false);
                changes
            }
            Err(error) => {
                if error.failure_kind() == Some(FailureKind::Exchanged) {
                    self.set_exchanged(true);
                }
                return Err(error);
            }
        };
        self.followed.beat();
        if !changes.is_complete && changes.revision == known {
            return Ok(false);
        }
        let unreadable = if changes.is_complete {
            self.replace_snapshot(changes)
        } else {
            self.snapshot_mut().apply(changes)
        };
        report_unreadable(&unreadable);
        Ok(true)
    }

    /// Replaces the snapshot by one of all keys, and returns the rows that have become unreadable.
    fn replace_snapshot(&self, all: KeyChanges) -> Vec<UnreadableKey> {
        // Made before the lock is taken: readers wait only for the swap.
        let rows = all.unreadable.clone();
        let mut fresh = Snapshot::new(all, lock(&self.static_key).as_ref());
        let mut snapshot = self.snapshot_mut();
        let unreadable = fresh.succeed(&snapshot, rows);
        *snapshot = fresh;
        unreadable
    }

    /// Refuses every key of the store while the store is exchanged.
    fn set_exchanged(&self, is_exchanged: bool) {
        let was_exchanged = self.is_exchanged.swap(is_exchanged, Ordering::Relaxed);
        if is_exchanged && !was_exchanged {
            tracing::error!(
                "the key store was removed or exchanged under the server: every key of it is refused until the file is \
                 back or the server is restarted"
            );
        } else if was_exchanged && !is_exchanged {
            tracing::info!("the key store is back: its keys are accepted again");
        }
    }

    /// Writes when keys were last used. Uses that cannot be written stay for the next time.
    fn write_uses(&self) {
        let unwritten = self.snapshot().unwritten_uses();
        let uses: Vec<(KeyId, Timestamp)> = unwritten.iter().map(|(_, id, at)| (id.clone(), *at)).collect();
        match self.store.record_uses(&uses) {
            Ok(()) => {
                let snapshot = self.snapshot();
                for (digest, _, at) in unwritten {
                    snapshot.forget_use(&digest, at);
                }
            }
            // The meter logs it when the store cannot be written.
            Err(error) => tracing::debug!(%error, "cannot write when keys were last used"),
        }
    }
}

fn report_unreadable(rows: &[UnreadableKey]) {
    for row in rows {
        tracing::error!(
            key_id = row.id.as_str(),
            problem = row.problem,
            "a key's row in the store cannot be read: the key counts as revoked"
        );
    }
}

fn static_record(key: &ApiKey) -> KeyRecord {
    KeyRecord {
        name: "from the configuration".to_owned(),
        prefix: key.shown_prefix().to_owned(),
        plan: KeyRecord::UNLIMITED.to_owned(),
        scopes: Scopes::caller(),
        ..KeyRecord::bare(KeyId::static_key(), key.digest())
    }
}
