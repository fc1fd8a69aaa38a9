//! The SQLite file: its schemas, its owner, other programs, and kills.

use std::time::Duration;

use sentor_store::keys::{KeyId, KeyState, KeyStore as _, NewKey};
use sentor_store::metering::{DayUsage, Usage, UsageBatch, UsageQuery, UsageStore as _};
use sentor_store::{FailureKind, SqliteStore};
use tempfile::TempDir;

use super::conformance::check_usage;
use super::{add, later, open};

#[test]
fn a_file_keeps_its_records_for_the_next_program() {
    let folder = TempDir::new().expect("a folder");
    let (_, record) = add(&open(&folder), NewKey::named("kept"));
    assert_eq!(open(&folder).records().expect("it can be read"), [record]);
}

#[cfg(unix)]
#[test]
fn a_file_is_private_to_its_owner_and_contains_no_key() {
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
fn a_file_that_is_not_a_store_is_not_modified() {
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
fn a_file_of_every_earlier_schema_is_migrated() {
    let schemas = ["tests/data/schema-1.sql", "tests/data/schema-2.sql", "tests/data/schema-3.sql"];
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
fn the_writer_process_of_another_test() {
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
fn acknowledged_writes_survive_a_hundred_kills() {
    use std::io::{BufRead as _, BufReader};
    let folder = TempDir::new().expect("a folder");
    let program = std::env::current_exe().expect("this program has a file");
    let (mut acknowledged, mut uses) = (Vec::new(), 0);
    for round in 0..100 {
        let mut writer = std::process::Command::new(&program)
            .args(["--exact", "file::the_writer_process_of_another_test", "--nocapture"])
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
fn a_database_of_another_program_is_not_modified() {
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
