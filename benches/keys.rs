//! Measures start-up and look-up by number of keys, authentication, and rejection of wrong keys.
//!
//! `look-up` and `wrong` must not depend on the number of keys, nor `wrong` on the position of the wrong character. The
//! groups compare these.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use sentor_store::audit::Actor;
use sentor_store::clock::Clock;
use sentor_store::keys::{ApiKey, KeyAdmin, KeyRecord, KeyRing, KeyStore, NewKey};
use sentor_store::metering::{Meter, Plans};
use sentor_store::{MemoryStore, SqliteStore};

#[path = "support/wrong_key.rs"]
mod wrong_key;
use wrong_key::wrong_at;

const COUNTS: [usize; 2] = [100, 100_000];

fn fill(store: &dyn KeyStore, count: usize) -> (ApiKey, KeyRecord) {
    let clock = Clock::from_fn(|| Timestamp::UNIX_EPOCH);
    let admin = KeyAdmin::new(store, &clock, Actor::CommandLine);
    let make = || admin.create(NewKey::named("bench"), &mut rand::rng()).expect("the store can be written");
    for _ in 1..count {
        make();
    }
    make()
}

fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keys");
    for count in COUNTS {
        let store = Arc::new(MemoryStore::default());
        let (key, _) = fill(store.as_ref(), count);
        let ring = KeyRing::follow(store, None).expect("memory can be read");
        let now = Timestamp::UNIX_EPOCH;
        let text = key.expose().to_owned();
        group.bench_function(BenchmarkId::new("look-up", count), |bencher| {
            bencher.iter(|| ring.authenticate(&text.parse().expect("a key"), now).expect("it is known"));
        });
        for (name, place) in [("wrong first character", 0), ("wrong last character", 31)] {
            let text = wrong_at(&key, place).expose().to_owned();
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| ring.authenticate(&text.parse().expect("a key"), now).expect_err("nobody's"));
            });
        }
        let mistyped = format!("{}{}", &text[..text.len() - 1], if text.ends_with('a') { 'b' } else { 'a' });
        group.bench_function(BenchmarkId::new("mistyped", count), |bencher| {
            bencher.iter(|| mistyped.parse::<ApiKey>().expect_err("the checksum is wrong"));
        });
    }
    group.finish();
}

fn start_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keys");
    group.sample_size(10);
    for count in COUNTS {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = SqliteStore::open(folder.path()).expect("a store can be made").path().to_owned();
        // One transaction for all keys: the store would use one for each, with a sync to disk.
        let mut connection = rusqlite::Connection::open(path).expect("it is a database");
        let transaction = connection.transaction().expect("nobody else writes");
        for number in 0..i64::try_from(count).expect("it fits") {
            let (_, record) = NewKey::named("bench").generate(Timestamp::UNIX_EPOCH, &mut rand::rng());
            transaction
                .execute(
                    "INSERT INTO keys (id, account, name, prefix, digest, plan, scopes, created_at)
                     VALUES (?1, ?1, 'bench', ?2, ?3, 'unlimited', 'predict', ?4)",
                    rusqlite::params![record.id.as_str(), record.prefix, record.digest.bytes(), number],
                )
                .expect("a row can be added");
        }
        transaction.commit().expect("it can be written");
        group.bench_function(BenchmarkId::new("start-up", count), |bencher| {
            bencher.iter(|| {
                let store = Arc::new(SqliteStore::open(folder.path()).expect("the store opens"));
                KeyRing::follow(store, None).expect("it can be read")
            });
        });
    }
    group.finish();
}

fn authenticate(criterion: &mut Criterion) {
    let store = Arc::new(MemoryStore::default());
    let meter = Meter::start(store, Plans::default(), Clock::system()).expect("memory can be read");
    let (_, key) = NewKey::named("bench").generate(Timestamp::UNIX_EPOCH, &mut rand::rng());
    criterion.bench_function("keys/let in", |bencher| {
        bencher.iter(|| drop(meter.admit(&key).expect("no limit")));
    });
}

criterion_group!(benches, look_up, start_up, authenticate);
criterion_main!(benches);
