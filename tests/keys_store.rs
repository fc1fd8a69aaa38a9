//! One suite for every store, and what only a file can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sentor::keys::{
    ApiKey, KeyId, KeyRecord, KeyRing, KeyState, KeyStore, MemoryStore, NewKey, Refusal, Scope, Scopes,
    SqliteStore, StoreError, rotate,
};
use tempfile::TempDir;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a valid time")
}

fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn add(store: &dyn KeyStore, new: NewKey) -> (ApiKey, KeyRecord) {
    let (key, record) = new.generate(now(), &mut rand::rng());
    store.insert(&record).expect("a record can be added");
    (key, record)
}

/// What every store must do.
fn check_store(store: &dyn KeyStore) {
    assert_eq!(store.records().expect("it can be read"), []);
    let scopes: Scopes = [Scope::Admin, Scope::Metrics].into_iter().collect();
    let (_, one) = add(store, NewKey { scopes, expires_at: Some(later(5)), ..NewKey::named("één 'quoted'") });
    let (_, two) = add(store, NewKey { plan: "starter".to_owned(), ..NewKey::named("twee") });
    assert_eq!(
        store.records().expect("it can be read"),
        [one.clone(), two.clone()],
        "all comes back, in order"
    );
    check_revision(store, true, |store| drop(add(store, NewKey::named("drie"))));

    let uses = [(one.id.clone(), later(1)), (KeyId::new("kgone"), later(1))];
    check_revision(store, false, |store| store.note_uses(&uses).expect("uses can be noted"));
    store.note_uses(&[(one.id.clone(), now())]).expect("uses can be noted");
    let record = |id: &KeyId| {
        store
            .records()
            .expect("it can be read")
            .into_iter()
            .find(|record| record.id == *id)
            .expect("it is there")
    };
    assert_eq!(record(&one.id).last_used_at, Some(later(1)), "an earlier use does not count");

    let (_, successor) = rotate(store, &one.id, later(1), now(), &mut rand::rng()).expect("one is active");
    assert_eq!((&successor.name, successor.scopes), (&one.name, scopes));
    assert_eq!(successor.expires_at, one.expires_at);
    assert_eq!(record(&one.id).expires_at, Some(later(1)), "the old one lasts for the overlap");
    rotate(store, &successor.id, later(100), now(), &mut rand::rng()).expect("the successor is active");
    assert_eq!(record(&successor.id).expires_at, Some(later(5)), "and never longer than it would have");

    let mut revoked = None;
    check_revision(store, true, |store| revoked = store.revoke(&two.id, later(2)).ok());
    assert_eq!(revoked.map(|record| record.state(now())), Some(KeyState::Revoked { at: later(2) }));
    let again = store.revoke(&two.id, later(3)).expect("it is still there");
    assert_eq!(again.revoked_at, Some(later(2)), "the first time stands");
    let dead = rotate(store, &two.id, later(1), now(), &mut rand::rng());
    assert!(matches!(dead, Err(StoreError::NotActive { state: "revoked", .. })));

    let nobody = KeyId::new("knobody");
    assert!(matches!(store.revoke(&nobody, now()), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(store.replace(&nobody, &one, now()), Err(StoreError::NoSuchKey(_))));
    assert_eq!(store.records().expect("it can be read").len(), 5, "nothing was added on the way");
}

fn check_revision(store: &dyn KeyStore, moves: bool, change: impl FnOnce(&dyn KeyStore)) {
    let before = store.revision().expect("it can be read");
    change(store);
    assert_eq!(store.revision().expect("it can be read") > before, moves);
}

fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path()).expect("a store can be made")
}

#[test]
fn the_memory_store_does_what_a_store_must() {
    check_store(&MemoryStore::default());
}

#[test]
fn the_sqlite_store_does_what_a_store_must() {
    let folder = TempDir::new().expect("a folder");
    check_store(&open(&folder));
}

#[test]
fn a_file_keeps_its_records_for_the_next_program() {
    let folder = TempDir::new().expect("a folder");
    let (_, record) = add(&open(&folder), NewKey::named("kept"));
    assert_eq!(open(&folder).records().expect("it can be read"), [record]);
}

#[cfg(unix)]
#[test]
fn a_file_is_its_owners_alone_and_holds_no_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    let below = folder.path().join("new/data");
    let store = SqliteStore::open(&below).expect("a store can be made");
    let (key, _) = add(&store, NewKey::named("secret"));
    for entry in std::fs::read_dir(&below).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        let mode = entry.metadata().expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
        let bytes = std::fs::read(entry.path()).expect("its owner can read it");
        let random = &key.expose().as_bytes()[20..];
        assert!(!bytes.windows(random.len()).any(|window| window == random));
    }
    assert_eq!(std::fs::metadata(&below).expect("the folder is there").permissions().mode() & 0o077, 0);
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("sentor.db"), "not a database at all, but a text").expect("a file");
    let error = SqliteStore::open(folder.path()).expect_err("it is no store");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");

    let folder = TempDir::new().expect("a folder");
    let path = open(&folder).path().to_owned();
    let connection = rusqlite::Connection::open(&path).expect("it is a database");
    connection.pragma_update(None, "user_version", 99).expect("it can be written");
    drop(connection);
    let error = SqliteStore::open(folder.path()).expect_err("it is too new");
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error:?}");
}

#[test]
fn many_programs_can_open_and_write_at_once() {
    let folder = TempDir::new().expect("a folder");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let folder = &folder;
            scope.spawn(move || {
                let store = open(folder);
                for _ in 0..5 {
                    add(&store, NewKey::named(format!("writer {number}")));
                }
            });
        }
    });
    assert_eq!(open(&folder).records().expect("it can be read").len(), 40);
}

#[test]
fn a_ring_follows_what_another_program_does_within_a_second() {
    let folder = TempDir::new().expect("a folder");
    let ring = KeyRing::follow(Arc::new(open(&folder)), None).expect("the store can be read");
    let elsewhere = open(&folder);
    let (key, record) = add(&elsewhere, NewKey::named("new"));
    assert_eq!(wait_for(|| ring.authenticate(&key, now()).is_ok()), Some(()));
    elsewhere.revoke(&record.id, now()).expect("the key is there");
    let refused = || ring.authenticate(&key, now()).err() == Some(Refusal::Revoked { at: now() });
    assert_eq!(wait_for(refused), Some(()));
}

fn wait_for(condition: impl Fn() -> bool) -> Option<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        if condition() {
            return Some(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

#[test]
fn a_ring_tells_why_a_key_does_not_let_in() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (key, record) = add(store.as_ref(), NewKey { expires_at: Some(later(1)), ..NewKey::named("short") });
    let outside = NewKey::named("outside").generate(now(), &mut rand::rng()).0;
    let unknown = NewKey::named("unknown").generate(now(), &mut rand::rng()).0;
    let ring = KeyRing::follow(Arc::clone(&store), Some(&outside)).expect("memory can be read");
    assert_eq!(ring.authenticate(&key, now()).map(|found| found.id.clone()), Ok(record.id.clone()));
    assert_eq!(ring.authenticate(&key, later(1)).err(), Some(Refusal::Expired { at: later(1) }));
    assert_eq!(ring.authenticate(&unknown, now()).err(), Some(Refusal::Unknown));
    let found = ring.authenticate(&outside, now()).expect("it is configured");
    assert!(found.scopes.contains(Scope::Predict) && !found.scopes.contains(Scope::Admin));
    ring.close();
    let records = store.records().expect("memory can be read");
    assert_eq!(records[0].last_used_at, Some(now()), "uses are written by the end");
}

#[test]
fn the_store_outweighs_a_configured_key() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (key, record) = add(store.as_ref(), NewKey::named("both"));
    store.revoke(&record.id, now()).expect("it is there");
    let ring = KeyRing::follow(store, Some(&key)).expect("memory can be read");
    assert_eq!(ring.authenticate(&key, now()).err(), Some(Refusal::Revoked { at: now() }));
}
