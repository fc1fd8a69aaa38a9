//! One suite for every store, and what only a file can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sentor_store::keys::{
    ApiKey, KeyId, KeyRecord, KeyRing, KeyState, KeyStore, NewKey, Refusal, Scope, Scopes, StoreError, rotate,
};
use sentor_store::metering::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore as _};
use sentor_store::{MemoryStore, SqliteStore, Store};
use tempfile::TempDir;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a valid time")
}

fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn add<S: KeyStore + ?Sized>(store: &S, new: NewKey) -> (ApiKey, KeyRecord) {
    let (key, record) = new.generate(now(), &mut rand::rng());
    store.insert(&record).expect("a record can be added");
    (key, record)
}

/// What every store must do.
fn check_store(store: &dyn Store) {
    check_keys(store);
    check_usage(store);
}

fn check_usage(store: &dyn Store) {
    let day = |text: &str| text.parse().expect("a valid day");
    let of = |account: &str, on: &str, requests| DayUsage {
        account: KeyId::new(account),
        day: day(on),
        usage: Usage { requests, documents: 2, characters: 3, tokens: 4, entities: 5 },
    };
    let recent = |hours, requests| RecentRequests { account: KeyId::new("kone"), at: later(hours), requests };
    let add = |days: &[DayUsage], recent: &[RecentRequests], forget_before| {
        let batch = UsageBatch { days: days.to_vec(), recent: recent.to_vec(), forget_before };
        store.add_usage(&batch).expect("usage can be added");
    };
    let all = UsageQuery { from: day("0001-01-01"), to: day("9999-12-31"), account: None };
    let found = |query: &UsageQuery| store.usage(query).expect("it can be read");
    assert_eq!(found(&all), []);

    add(
        &[of("ktwo", "2026-03-01", 1), of("kone", "2026-03-02", 10), of("kone", "2026-02-28", 1)],
        &[recent(2, 7), recent(1, 5)],
        now(),
    );
    let sorted = [of("kone", "2026-02-28", 1), of("kone", "2026-03-02", 10), of("ktwo", "2026-03-01", 1)];
    assert_eq!(found(&all), sorted, "by account, then by day");
    assert_eq!(store.recent_requests(now()).expect("it can be read"), [recent(1, 5), recent(2, 7)]);
    assert_eq!(store.recent_requests(later(2)).expect("it can be read"), [recent(2, 7)]);

    add(&[of("kone", "2026-03-02", -1)], &[], later(2));
    let one =
        UsageQuery { from: day("2026-03-02"), to: day("2026-03-02"), account: Some(KeyId::new("kone")) };
    let sum = Usage { requests: 9, documents: 4, characters: 6, tokens: 8, entities: 10 };
    assert_eq!(found(&one), [DayUsage { usage: sum, ..of("kone", "2026-03-02", 0) }], "sums add up");
    let march = UsageQuery { from: day("2026-03-01"), to: day("2026-03-31"), account: None };
    assert_eq!(found(&march).len(), 2, "both ends are included");
    assert_eq!(
        store.recent_requests(now()).expect("it can be read"),
        [recent(2, 7)],
        "the older is forgotten"
    );
}

fn check_keys(store: &dyn Store) {
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
    check_revision(store, false, |store| store.check_writable().expect("it can be written"));
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
    assert_eq!((&one.account, &successor.account), (&one.id, &one.id), "a successor shares the account");
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
    assert_eq!(store.record(&one.id).expect("it is there").id, one.id);
    assert!(matches!(store.record(&nobody), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(store.revoke(&nobody, now()), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(store.replace(&nobody, &one, now()), Err(StoreError::NoSuchKey(_))));
    assert_eq!(store.records().expect("it can be read").len(), 5, "nothing was added on the way");
}

/// Whether a change moves the revision, and is found by it.
fn check_revision(store: &dyn Store, moves: bool, change: impl FnOnce(&dyn Store)) {
    let before = store.revision().expect("it can be read");
    change(store);
    assert_eq!(store.revision().expect("it can be read") > before, moves);
    let changed = store.changed_since(before).expect("it can be read").expect("nothing was removed");
    assert_eq!(changed.len(), usize::from(moves));
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
fn a_file_of_every_earlier_schema_is_brought_up_to_date() {
    let schemas = ["tests/data/schema-1.sql"];
    for path in schemas {
        let folder = TempDir::new().expect("a folder");
        let connection =
            rusqlite::Connection::open(folder.path().join("sentor.db")).expect("a file can be made");
        let sql = std::fs::read_to_string(path).expect("the schema is in the repository");
        connection.execute_batch(&sql).expect("it is SQL");
        drop(connection);
        for _ in 0..2 {
            let store = open(&folder);
            let records = store.records().expect("it can be read");
            let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
            assert_eq!(ids, ["kfirst", "ksecond", "kthird"], "{path}");
            assert!(records.iter().all(|record| record.account == record.id), "{path}");
            assert_eq!(records[0].last_used_at, Some(later(1)), "{path}");
            assert_eq!(records[1].state(later(9)), KeyState::Revoked { at: later(1) }, "{path}");
            assert_eq!(records[2].scopes.words(), ["admin", "metrics"], "{path}");
        }
        check_usage(&open(&folder));
    }
    let newest = TempDir::new().expect("a folder");
    let connection = rusqlite::Connection::open(open(&newest).path()).expect("it is a database");
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("it has a version");
    assert_eq!(
        i64::try_from(schemas.len()).expect("few") + 1,
        version,
        "every schema but the newest has a file here"
    );
}

#[test]
fn a_file_that_another_program_holds_can_be_read_and_is_written_later() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder);
    add(&store, NewKey::named("before"));
    let holder = rusqlite::Connection::open(store.path()).expect("it is a database");
    holder.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let batch = UsageBatch { forget_before: now(), ..UsageBatch::default() };
    let error = store.add_usage(&batch).expect_err("it is held");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert_eq!(store.records().expect("reading waits for nobody").len(), 1);
    holder.execute_batch("ROLLBACK").expect("it was begun");
    store.add_usage(&batch).expect("it is free again");
}

/// Runs as a program of its own, in the folder that this variable names, until it is killed.
const WRITER: &str = "SENTOR_TEST_WRITER";

#[test]
fn a_writer_for_another_test() {
    let Some(folder) = std::env::var_os(WRITER) else { return };
    let store = SqliteStore::open(folder.as_ref()).expect("the store opens");
    for number in 1.. {
        let (_, record) = add(&store, NewKey::named("written"));
        let usage = Usage { requests: 1, ..Usage::default() };
        let days =
            vec![DayUsage { account: KeyId::new("all"), day: "2026-03-01".parse().expect("a day"), usage }];
        store.add_usage(&UsageBatch { days, ..UsageBatch::default() }).expect("usage is added");
        println!("acknowledged {number} {}", record.id);
    }
}

#[cfg(unix)]
#[test]
fn what_was_acknowledged_outlives_a_hundred_kills() {
    use std::io::{BufRead as _, BufReader};
    let folder = TempDir::new().expect("a folder");
    let program = std::env::current_exe().expect("this program has a file");
    let (mut acknowledged, mut uses) = (Vec::new(), 0);
    for round in 0..100 {
        let mut writer = std::process::Command::new(&program)
            .args(["--exact", "a_writer_for_another_test", "--nocapture"])
            .env(WRITER, folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(writer.stdout.take().expect("stdout is piped")).lines();
        let mut lines = lines.map_while(Result::ok).filter(|line| line.contains("acknowledged "));
        // At least one write each round, and then the kill at some moment of a later one.
        let first = lines.next().expect("it writes");
        std::thread::sleep(Duration::from_micros(137 * round));
        writer.kill().expect("it runs");
        writer.wait().expect("it ends");
        for line in std::iter::once(first).chain(lines) {
            let mut words = line.split(' ').skip_while(|word| *word != "acknowledged").skip(1);
            // The kill may have cut the last line short.
            if let (Some(_), Some(id)) = (words.next(), words.next().filter(|id| id.len() == 13)) {
                acknowledged.push(KeyId::new(id));
                uses += 1;
            }
        }
        let store = open(&folder);
        let known: std::collections::HashSet<KeyId> =
            store.records().expect("it can be read").into_iter().map(|record| record.id).collect();
        let lost = acknowledged.iter().filter(|id| !known.contains(*id)).count();
        assert_eq!(lost, 0, "of {} keys after round {round}", acknowledged.len());
    }
    let store = open(&folder);
    let day = "2026-03-01".parse().expect("a day");
    let usage = store.usage(&UsageQuery { from: day, to: day, account: None }).expect("it can be read");
    let counted = usage[0].usage.requests;
    // A write of each round may have been committed and not said.
    assert!((uses..=uses + 100).contains(&counted), "{counted} counted of {uses}");
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

#[test]
fn a_ring_follows_a_removal_that_somebody_made_by_hand() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder);
    let (gone, record) = add(&store, NewKey::named("gone"));
    let (kept, _) = add(&store, NewKey::named("kept"));
    let by_hand = rusqlite::Connection::open(store.path()).expect("it is a database");
    let ring = KeyRing::follow(Arc::new(store), None).expect("the store can be read");
    assert!(ring.authenticate(&gone, now()).is_ok());
    by_hand.execute("DELETE FROM keys WHERE id = ?1", [record.id.as_str()]).expect("it is there");
    ring.refresh().expect("the store can be read");
    assert_eq!(ring.authenticate(&gone, now()).err(), Some(Refusal::Unknown));
    assert!(ring.authenticate(&kept, now()).is_ok());
}

fn wait_for(condition: impl Fn() -> bool) -> Option<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
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
