//! Tests of the stores: one suite for every backend, and tests of the SQLite file.

mod conformance;

mod file;
mod jobs;
mod ring;
mod trail;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sentor_store::audit::Actor;
use sentor_store::clock::Clock;
use sentor_store::keys::{ApiKey, KeyAdmin, KeyId, KeyRecord, KeyStore, NewKey};
use sentor_store::{SqliteStore, StoreError};
use tempfile::TempDir;

pub(crate) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a valid time")
}

pub(crate) fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

pub(crate) fn add<S: KeyStore>(store: &S, new: NewKey) -> (ApiKey, KeyRecord) {
    add_to(store, new)
}

pub(crate) fn add_to(store: &dyn KeyStore, new: NewKey) -> (ApiKey, KeyRecord) {
    at(now(), store, |admin| admin.create(new, &mut rand::rng())).expect("a record can be added")
}

/// Changes keys at a moment, in the name of the command line.
pub(crate) fn at<T>(time: Timestamp, store: &dyn KeyStore, change: impl FnOnce(KeyAdmin<'_>) -> T) -> T {
    change(KeyAdmin::new(store, &Clock::from_fn(move || time), Actor::CommandLine))
}

pub(crate) fn rotate(
    store: &dyn KeyStore,
    id: &KeyId,
    retires_at: Timestamp,
    time: Timestamp,
) -> Result<(ApiKey, KeyRecord), StoreError> {
    at(time, store, |admin| admin.rotate(id, retires_at, &mut rand::rng()))
}

pub(crate) fn revoke(store: &dyn KeyStore, id: &KeyId, time: Timestamp) -> Result<KeyRecord, StoreError> {
    at(time, store, |admin| admin.revoke(id))
}

pub(crate) fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path()).expect("a store can be made")
}

/// Opens the file of a store as another program would.
pub(crate) fn by_hand(store: &SqliteStore) -> rusqlite::Connection {
    rusqlite::Connection::open(store.path()).expect("it is a database")
}

pub(crate) fn wait_for(condition: impl Fn() -> bool) -> Option<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if condition() {
            return Some(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}
