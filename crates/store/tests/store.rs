//! One suite for every store, and what only a file can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sentor_store::audit::{Actor, AuditLog, RefusedCall};
use sentor_store::clock::Clock;
use sentor_store::keys::{
    ApiKey, AuthError, KeyAdmin, KeyId, KeyRecord, KeyRing, KeyState, KeyStore, NewKey, Scope, Scopes,
};
use sentor_store::metering::{
    DayUsage, Meter, Plans, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore as _,
};
use sentor_store::{FailureKind, MemoryStore, SqliteStore, Store, StoreError};
use tempfile::TempDir;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a valid time")
}

fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn add<S: KeyStore>(store: &S, new: NewKey) -> (ApiKey, KeyRecord) {
    add_to(store, new)
}

fn add_to(store: &dyn KeyStore, new: NewKey) -> (ApiKey, KeyRecord) {
    at(now(), store, |admin| admin.create(new, &mut rand::rng())).expect("a record can be added")
}

/// Changes keys at a moment, in the name of the command line.
fn at<T>(time: Timestamp, store: &dyn KeyStore, change: impl FnOnce(KeyAdmin<'_>) -> T) -> T {
    change(KeyAdmin::new(store, &Clock::from_fn(move || time), Actor::CommandLine))
}

fn rotate(
    store: &dyn KeyStore,
    id: &KeyId,
    retires_at: Timestamp,
    time: Timestamp,
) -> Result<(ApiKey, KeyRecord), StoreError> {
    at(time, store, |admin| admin.rotate(id, retires_at, &mut rand::rng()))
}

fn revoke(store: &dyn KeyStore, id: &KeyId, time: Timestamp) -> Result<KeyRecord, StoreError> {
    at(time, store, |admin| admin.revoke(id))
}

/// Checks what every store must do. The store is new.
fn check_store(store: &dyn Store) {
    check_keys(store);
    check_pages(store);
    check_rotation(store);
    check_audit(store);
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
    let add = |days: &[DayUsage], recent: &[RecentRequests], from| {
        let batch = UsageBatch { days: days.to_vec(), recent: recent.to_vec(), keep_recent: from..=later(3) };
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
    add(&[], &[recent(4, 1)], now());
    assert_eq!(
        store.recent_requests(now()).expect("it can be read"),
        [recent(2, 7)],
        "nor is the future kept"
    );

    store.forget_usage_before(day("2026-03-01")).expect("usage can be deleted");
    assert_eq!(found(&all).len(), 2, "February is past its retention");
    assert_eq!(found(&march).len(), 2);
}

fn check_keys(store: &dyn Store) {
    assert_eq!(store.records().expect("it can be read"), []);
    let scopes: Scopes = [Scope::Admin, Scope::Metrics].into_iter().collect();
    let (_, one) =
        add_to(store, NewKey { scopes, expires_at: Some(later(5)), ..NewKey::named("één 'quoted'") });
    let (_, two) = add_to(store, NewKey { plan: "starter".to_owned(), ..NewKey::named("twee") });
    assert_eq!(
        store.records().expect("it can be read"),
        [one.clone(), two.clone()],
        "all comes back, in order"
    );
    check_changes(store, 1, |store| drop(add_to(store, NewKey::named("drie"))));

    let uses = [(one.id.clone(), later(1)), (KeyId::new("kgone"), later(1))];
    check_changes(store, 0, |store| store.record_uses(&uses).expect("uses can be written"));
    check_changes(store, 0, |store| store.check_writable().expect("it can be written"));
    store.record_uses(&[(one.id.clone(), now())]).expect("uses can be written");
    let record = |id: &KeyId| store.record(id).expect("it is there");
    assert_eq!(record(&one.id).last_used_at, Some(later(1)), "an earlier use does not count");

    let mut made = None;
    check_changes(store, 2, |store| made = rotate(store, &one.id, later(1), now()).ok());
    let (_, successor) = made.expect("one is active");
    assert_eq!((&successor.name, successor.scopes), (&one.name, scopes));
    assert_eq!((&one.account, &successor.account), (&one.id, &one.id), "a successor shares the account");
    assert_eq!(successor.expires_at, one.expires_at);
    assert_eq!(record(&one.id).ends_at(), Some(later(1)), "the old one lasts for the overlap");
    assert_eq!(record(&one.id).expires_at, one.expires_at, "its own expiry is kept");
    rotate(store, &successor.id, later(100), now()).expect("the successor is active");
    assert_eq!(record(&successor.id).ends_at(), Some(later(5)), "and never longer than it would have");

    let mut revoked = None;
    check_changes(store, 1, |store| revoked = revoke(store, &two.id, later(2)).ok());
    assert_eq!(revoked.map(|record| record.state(now())), Some(KeyState::Revoked { at: later(2) }));
    check_changes(store, 0, |store| {
        let again = revoke(store, &two.id, later(3)).expect("it is still there");
        assert_eq!(again.revoked_at, Some(later(2)), "the first time stands");
    });
    let dead = rotate(store, &two.id, later(1), now());
    assert!(matches!(dead, Err(StoreError::NotActive { state: "revoked", .. })));

    let nobody = KeyId::new("knobody");
    assert_eq!(record(&one.id).id, one.id);
    assert!(matches!(store.record(&nobody), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(revoke(store, &nobody, now()), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(rotate(store, &nobody, now(), now()), Err(StoreError::NoSuchKey(_))));
    assert_eq!(store.records().expect("it can be read").len(), 5, "nothing was added on the way");
}

/// Checks how many records a change moves, and that the changes since then are those.
fn check_changes(store: &dyn Store, moved: usize, change: impl FnOnce(&dyn Store)) {
    let changes = |since| store.changes(since).expect("it can be read");
    let all = changes(None);
    assert!(all.is_complete);
    change(store);
    let since = changes(Some(all.revision));
    assert_eq!((since.records.len(), since.is_complete), (moved, false));
    assert_eq!(since.revision > all.revision, moved > 0);
    assert_eq!(changes(Some(since.revision)).records, []);
    assert_eq!(changes(None).records.len(), store.records().expect("it can be read").len());
}

fn check_pages(store: &dyn Store) {
    let all = store.records().expect("it can be read");
    for limit in 1..=all.len() + 1 {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.page(after.as_ref(), limit).expect("it can be read");
            assert!(page.records.len() <= limit && page.unreadable.is_empty());
            found.extend(page.records);
            pages += 1;
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!((&found, pages), (&all, all.len().div_ceil(limit)), "pages of {limit}");
    }
    assert!(matches!(store.page(Some(&KeyId::new("knobody")), 1), Err(StoreError::NoSuchKey(_))));
}

/// A key has one live successor, whatever happens at once.
fn check_rotation(store: &dyn Store) {
    let (_, old) = add_to(store, NewKey { expires_at: Some(later(9)), ..NewKey::named("old") });
    let (_, lost) = rotate(store, &old.id, later(1), now()).expect("it is active");
    assert_eq!(store.record(&old.id).expect("it is there").replaced_by.as_ref(), Some(&lost.id));
    let again = rotate(store, &old.id, later(2), now());
    assert!(matches!(again, Err(StoreError::Replaced { successor, .. }) if successor == lost.id));
    // The answer with the successor was lost: it is revoked, and the old key rotated again.
    revoke(store, &lost.id, now()).expect("it is there");
    let (_, second) = rotate(store, &old.id, later(2), now()).expect("it has no live successor");
    assert_eq!(second.expires_at, Some(later(9)), "the successor does not die with the overlap");
    assert_eq!(store.record(&old.id).expect("it is there").ends_at(), Some(later(2)));
    // A successor that was itself replaced has a live one further on.
    rotate(store, &second.id, later(3), now()).expect("it is active");
    revoke(store, &second.id, now()).expect("it is there");
    assert!(matches!(rotate(store, &old.id, later(2), now()), Err(StoreError::Replaced { .. })));

    let (_, busy) = add_to(store, NewKey::named("busy"));
    let made = std::thread::scope(|scope| {
        let rotations: Vec<_> =
            (0..8).map(|_| scope.spawn(|| rotate(store, &busy.id, later(1), now()).is_ok())).collect();
        rotations.into_iter().filter_map(|rotation| rotation.join().ok()).filter(|is_ok| *is_ok).count()
    });
    assert_eq!(made, 1, "of eight rotations at once");

    // Each reading of this clock is a microsecond later, so times tell the order of transactions.
    let ticks = AtomicI64::new(0);
    let clock = Clock::from_fn({
        let ticks = Arc::new(ticks);
        move || {
            Timestamp::from_microsecond(now().as_microsecond() + ticks.fetch_add(1, Ordering::Relaxed))
                .expect("a valid time")
        }
    });
    let admin = KeyAdmin::new(store, &clock, Actor::CommandLine);
    for round in 0..20 {
        let (_, raced) = admin.create(NewKey::named("raced"), &mut rand::rng()).expect("it can be added");
        let (rotated, revoked) = std::thread::scope(|scope| {
            let rotation = scope.spawn(|| admin.rotate(&raced.id, later(1), &mut rand::rng()));
            let revocation = scope.spawn(|| admin.revoke(&raced.id).expect("it is there"));
            (rotation.join().expect("no panic"), revocation.join().expect("no panic"))
        });
        let record = store.record(&raced.id).expect("it is there");
        assert_eq!(record.revoked_at, revoked.revoked_at, "round {round}: a rotation undoes no revocation");
        match rotated {
            Ok((_, successor)) => {
                assert_eq!(record.replaced_by, Some(successor.id));
                assert!(
                    Some(successor.created_at) < revoked.revoked_at,
                    "round {round}: made before, not after"
                );
            }
            Err(error) => assert!(matches!(error, StoreError::NotActive { state: "revoked", .. })),
        }
    }
}

/// Each change has an entry, and only changes have one.
fn check_audit(store: &dyn Store) {
    let entries = |after| store.audit_entries(after, 1000).expect("it can be read");
    let last = entries(0).last().expect("there were changes").sequence;
    let (_, record) = add_to(store, NewKey::named("audited"));
    revoke(store, &record.id, now()).expect("it is there");
    revoke(store, &record.id, now()).expect("it is there");
    rotate(store, &record.id, later(1), now()).expect_err("it is revoked");
    let new = entries(last);
    let events: Vec<serde_json::Value> = new
        .iter()
        .map(|stored| serde_json::from_str(stored.entry.as_json()).expect("an entry is JSON"))
        .collect();
    assert_eq!(
        events.iter().map(|event| &event["event"]).collect::<Vec<_>>(),
        ["key_created", "key_revoked"]
    );
    assert!(events.iter().all(|event| event["key_id"] == record.id.as_str()));
    assert!(new[0].sequence > last && new[1].sequence > new[0].sequence);
    assert_eq!(store.audit_entries(last, 1).expect("it can be read"), new[..1]);
    assert_eq!(store.audit_position().expect("it can be read"), 0);
    store.set_audit_position(new[1].sequence).expect("it can be written");
    store.set_audit_position(1).expect("it can be written");
    assert_eq!(store.audit_position().expect("it can be read"), new[1].sequence, "it never goes back");
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
    assert_eq!(error.failure_kind(), Some(FailureKind::Corrupt), "{error:?}");

    let folder = TempDir::new().expect("a folder");
    let path = open(&folder).path().to_owned();
    let connection = rusqlite::Connection::open(&path).expect("it is a database");
    connection.pragma_update(None, "user_version", 99).expect("it can be written");
    drop(connection);
    let error = SqliteStore::open(folder.path()).expect_err("it is too new");
    assert_eq!(error.failure_kind(), Some(FailureKind::TooNew), "{error:?}");
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[test]
fn a_file_of_every_earlier_schema_is_brought_up_to_date() {
    let schemas = ["tests/data/schema-1.sql", "tests/data/schema-2.sql"];
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
            assert_eq!(records[2].scopes.names(), ["admin", "metrics"], "{path}");
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
    let batch = UsageBatch::default();
    let error = store.add_usage(&batch).expect_err("it is held");
    assert_eq!(error.failure_kind(), Some(FailureKind::Locked), "{error:?}");
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
    revoke(&elsewhere, &record.id, now()).expect("the key is there");
    let refused = || ring.authenticate(&key, now()).err() == Some(AuthError::Revoked { at: now() });
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
    assert_eq!(ring.authenticate(&gone, now()).err(), Some(AuthError::Unknown));
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
fn a_ring_says_why_a_key_is_refused() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (key, record) =
        add_to(store.as_ref(), NewKey { expires_at: Some(later(1)), ..NewKey::named("short") });
    let static_key = NewKey::named("static").generate(now(), &mut rand::rng()).0;
    let unknown = NewKey::named("unknown").generate(now(), &mut rand::rng()).0;
    let ring = KeyRing::follow(Arc::clone(&store), Some(&static_key)).expect("memory can be read");
    assert_eq!(ring.authenticate(&key, now()).map(|found| found.id.clone()), Ok(record.id.clone()));
    assert_eq!(ring.authenticate(&key, later(1)).err(), Some(AuthError::Expired { at: later(1) }));
    assert_eq!(ring.authenticate(&unknown, now()).err(), Some(AuthError::Unknown));
    let found = ring.authenticate(&static_key, now()).expect("it is configured");
    assert!(found.scopes.contains(Scope::Predict) && !found.scopes.contains(Scope::Admin));
    ring.close();
    let records = store.records().expect("memory can be read");
    assert_eq!(records[0].last_used_at, Some(now()), "uses are written by the end");
}

#[test]
fn the_store_outweighs_a_configured_key() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (key, record) = add_to(store.as_ref(), NewKey::named("both"));
    revoke(store.as_ref(), &record.id, now()).expect("it is there");
    let ring = KeyRing::follow(store, Some(&key)).expect("memory can be read");
    assert_eq!(ring.authenticate(&key, now()).err(), Some(AuthError::Revoked { at: now() }));
}

/// Opens the file of a store as another program would.
fn by_hand(store: &SqliteStore) -> rusqlite::Connection {
    rusqlite::Connection::open(store.path()).expect("it is a database")
}

#[test]
fn an_unreadable_row_counts_as_revoked_and_hides_no_later_revocation() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let (good, good_record) = add(store.as_ref(), NewKey::named("good"));
    let (bad, bad_record) = add(store.as_ref(), NewKey::named("bad"));
    let ring = KeyRing::follow(Arc::clone(&store) as _, None).expect("the store can be read");
    assert!(ring.authenticate(&bad, now()).is_ok());
    let set = |column: &str, value: &str| {
        let sql = format!("UPDATE keys SET {column} = {value} WHERE id = ?1");
        by_hand(&store).execute(&sql, [bad_record.id.as_str()]).expect("it can be written");
        ring.refresh().expect("one bad row is no failure");
    };
    for (column, wrong, right) in [
        ("scopes", "'predict root'", "'predict'"),
        ("digest", "x'00'", "''"),
        ("expires_at", "9223372036854775807", "NULL"),
    ] {
        let digest = bad_record.digest;
        set(column, wrong);
        assert_eq!(ring.authenticate(&bad, now()).err(), Some(AuthError::Unreadable), "{column}");
        assert_eq!(ring.unreadable_keys(), 1, "{column}");
        let fresh = KeyRing::follow(Arc::clone(&store) as _, None).expect("a start is no different");
        assert!(fresh.authenticate(&bad, now()).is_err(), "{column}");
        assert_eq!(fresh.unreadable_keys(), 1, "{column}");
        let page = store.page(None, 10).expect("a listing is no different");
        assert_eq!((page.records.len(), page.unreadable.len()), (1, 1), "{column}");
        assert_eq!(page.unreadable[0].id, bad_record.id);
        if column == "digest" {
            let sql = "UPDATE keys SET digest = ?2 WHERE id = ?1";
            by_hand(&store)
                .execute(sql, (bad_record.id.as_str(), digest.bytes()))
                .expect("it can be written");
            ring.refresh().expect("the store can be read");
        } else {
            set(column, right);
        }
        assert!(ring.authenticate(&bad, now()).is_ok(), "{column} is mended");
        assert_eq!(ring.unreadable_keys(), 0);
    }
    set("scopes", "'root'");
    let error = revoke(store.as_ref(), &bad_record.id, now()).expect_err("it cannot be read");
    assert!(matches!(error, StoreError::Unreadable { id, .. } if id == bad_record.id));
    revoke(store.as_ref(), &good_record.id, now()).expect("it is there");
    ring.refresh().expect("the store can be read");
    assert_eq!(ring.authenticate(&good, now()).err(), Some(AuthError::Revoked { at: now() }));
}

#[cfg(unix)]
#[test]
fn a_store_that_is_removed_or_exchanged_is_noticed_and_its_keys_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let (key, record) = add(store.as_ref(), NewKey::named("key"));
    let static_key = NewKey::named("static").generate(now(), &mut rand::rng()).0;
    let ring = KeyRing::follow(Arc::clone(&store) as _, Some(&static_key)).expect("the store can be read");
    let check = |is_exchanged: bool| {
        let outcome = ring.refresh();
        let kind = outcome.as_ref().err().and_then(StoreError::failure_kind);
        assert_eq!(kind, is_exchanged.then_some(FailureKind::Exchanged), "{outcome:?}");
        let refused = ring.authenticate(&key, now()).err();
        assert_eq!(refused, is_exchanged.then_some(AuthError::StoreExchanged));
        assert!(ring.authenticate(&static_key, now()).is_ok(), "the configuration is still known");
    };
    check(false);
    let (path, aside) = (store.path().to_owned(), folder.path().join("aside.db"));
    std::fs::rename(&path, &aside).expect("it is there");
    check(true);
    let error = revoke(store.as_ref(), &record.id, now()).expect_err("no change goes into a lost file");
    assert_eq!(error.failure_kind(), Some(FailureKind::Exchanged));
    assert!(store.check_writable().is_err());
    std::fs::rename(&aside, &path).expect("it is there");
    check(false);
    // Another store's rows in the same file: it is noticed by its identifier.
    let id: String = by_hand(&store)
        .query_row("SELECT store_id FROM keys_revision", [], |row| row.get(0))
        .expect("it is there");
    by_hand(&store).execute("UPDATE keys_revision SET store_id = 'other'", []).expect("it can be written");
    check(true);
    by_hand(&store).execute("UPDATE keys_revision SET store_id = ?1", [&id]).expect("it can be written");
    check(false);
    // An earlier copy of the same store: revocations would be undone.
    by_hand(&store).execute("UPDATE keys_revision SET revision = 0", []).expect("it can be written");
    check(true);
    // Another program makes a new file at the same path, and its changes would be missed.
    std::fs::remove_file(&path).expect("it is there");
    std::fs::write(&path, "").expect("a file can be made");
    check(true);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("sentor.db");
    let connection = rusqlite::Connection::open(&path).expect("a file can be made");
    connection.execute_batch("CREATE TABLE theirs (x); PRAGMA application_id = 42").expect("it is SQL");
    drop(connection);
    let error = SqliteStore::open(folder.path()).expect_err("it is no store");
    assert_eq!(error.failure_kind(), Some(FailureKind::Corrupt));
    assert!(error.to_string().contains("another program"), "{error}");
    let connection = rusqlite::Connection::open(&path).expect("it is there");
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .expect("it can be read");
    assert_eq!(tables, 1);
}

#[test]
fn a_key_of_another_program_works_at_once() {
    let folder = TempDir::new().expect("a folder");
    let ring = KeyRing::follow(Arc::new(open(&folder)), None).expect("the store can be read");
    let elsewhere = open(&folder);
    for number in 0..50 {
        let (key, record) = add(&elsewhere, NewKey::named(format!("key {number}")));
        let found = ring.authenticate(&key, now()).or_else(|_| ring.look_up(&key, now()));
        assert_eq!(found.map(|found| found.id.clone()), Ok(record.id), "key {number}");
    }
    let unknown = NewKey::named("unknown").generate(now(), &mut rand::rng()).0;
    for _ in 0..3 {
        assert_eq!(ring.look_up(&unknown, now()).err(), Some(AuthError::Unknown));
    }
}

#[test]
fn a_ring_that_cannot_follow_says_for_how_long() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let ring = KeyRing::follow(Arc::clone(&store) as _, None).expect("the store can be read");
    std::fs::rename(store.path(), folder.path().join("aside.db")).expect("it is there");
    assert_eq!(wait_for(|| ring.behind_for() > Duration::from_secs(1)), Some(()));
    assert!(!ring.is_following());
    assert!(ring.heartbeat().age() < Duration::from_secs(1), "its thread lives");
}

#[test]
fn usage_past_its_retention_is_deleted_and_the_month_is_kept() {
    let store = Arc::new(MemoryStore::default());
    let day = |text: &str| text.parse().expect("a valid day");
    let usage = Usage { requests: 1, ..Usage::default() };
    let days = ["2025-01-01", "2025-12-31", "2026-02-27", "2026-03-01"];
    let days = days.map(|on| DayUsage { account: KeyId::new("kone"), day: day(on), usage });
    store.add_usage(&UsageBatch { days: days.to_vec(), ..UsageBatch::default() }).expect("it can be added");
    let kept = || {
        let all = UsageQuery { from: day("0001-01-01"), to: day("9999-12-31"), account: None };
        store.usage(&all).expect("it can be read").len()
    };
    let start = || {
        Meter::start(Arc::clone(&store) as _, Plans::default(), Clock::from_fn(now)).expect("it can be read")
    };
    drop(start());
    assert_eq!(kept(), 3, "400 days, unless told otherwise");
    let meter = start();
    meter.set_usage_retention(1);
    drop(meter);
    assert_eq!(kept(), 1, "the month is kept");
}

#[test]
fn every_change_is_in_the_audit_file_once_whoever_made_it() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let clock = Clock::from_fn(now);
    let read = || std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("the file is there");
    add(store.as_ref(), NewKey::named("before the start"));
    let log = AuditLog::start(Arc::clone(&store) as _, folder.path(), clock.clone()).expect("a log");
    let elsewhere = open(&folder);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (elsewhere, folder, log) = (&elsewhere, &folder, &log);
            scope.spawn(move || {
                for _ in 0..5 {
                    add(elsewhere, NewKey::named(format!("writer {number}")));
                    log.changed();
                    sentor_store::audit::export(elsewhere, folder.path()).expect("the file can be written");
                }
            });
        }
    });
    let admin = KeyId::new("kadmin");
    let call = RefusedCall {
        caller: Some(&admin),
        request_id: "r1",
        method: "GET",
        route: "/api/admin/keys",
        id: None,
        code: "insufficient_scope",
    };
    for _ in 0..1000 {
        log.refused(call);
        log.refused(RefusedCall { caller: None, code: "missing_key", ..call });
    }
    log.flush();
    log.close();
    let lines: Vec<serde_json::Value> =
        read().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let sequences: Vec<u64> = lines.iter().filter_map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=21).collect::<Vec<u64>>());
    let refused = lines.iter().filter(|line| line["event"] == "admin_refused").count();
    assert_eq!(refused, 30, "of one key in a minute");
    let counted = lines.last().expect("there are lines");
    assert_eq!(counted["event"], "admin_refusals_counted");
    assert_eq!((&counted["without_key"], &counted["with_key"]), (&1000.into(), &970.into()));
    let again = AuditLog::start(store as _, folder.path(), clock).expect("a log");
    again.flush();
    again.close();
    assert_eq!(read().lines().count(), lines.len(), "a restart writes nothing twice");
}
