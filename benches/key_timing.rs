//! Whether the time to refuse a key tells which of its characters is wrong.
//!
//! The method is that of dudect (Reparaz, Balasch and Verbauwhede, 2017): two kinds of wrong keys are refused in random
//! order, the slowest tenth is left out as noise of the machine, and Welch's t-test says whether the two means
//! differ. Beyond 4.5 they do. For comparison, the same is done with an early exit, which must be found out.
//!
//! Each kind has a wrong key for each of many right ones: of one pair the test would find what any two keys differ in,
//! such as where their digests fall in the table.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rand::RngExt as _;
use sentor_store::MemoryStore;
use sentor_store::audit::Actor;
use sentor_store::clock::Clock;
use sentor_store::keys::{ApiKey, KeyAdmin, KeyRing, NewKey};

#[path = "support/wrong_key.rs"]
mod wrong_key;
use wrong_key::wrong_at;

const SAMPLES: usize = 400_000;

/// Right keys, each with one wrong key of either kind.
const KEYS: usize = 500;

/// Above this, two samples differ by more than chance.
const BOUND: f64 = 4.5;

fn main() {
    let store = Arc::new(MemoryStore::default());
    let clock = Clock::from_fn(|| Timestamp::UNIX_EPOCH);
    let admin = KeyAdmin::new(store.as_ref(), &clock, Actor::CommandLine);
    let right: Vec<ApiKey> = (0..KEYS)
        .map(|_| {
            let (key, _) =
                admin.create(NewKey::named("right"), &mut rand::rng()).expect("memory can be written");
            key
        })
        .collect();
    let ring = KeyRing::follow(Arc::clone(&store) as _, None).expect("memory can be read");
    let kinds = [0, 31].map(|place| {
        right.iter().map(|key| wrong_at(key, place).expose().to_owned()).collect::<Vec<String>>()
    });

    let t = welch(&measure(&kinds, |_, text| {
        let key: ApiKey = text.parse().expect("it has the form of a key");
        ring.authenticate(&key, Timestamp::UNIX_EPOCH).is_ok()
    }));
    report("first character wrong against last", t);
    let control = welch(&measure(&kinds, |number, text| naive(text, right[number].expose())));
    report("the same with an early exit", control);
    if control.abs() < BOUND {
        println!("the early exit was not found out: this machine is too busy for the test to tell anything");
    }
}

fn report(what: &str, t: f64) {
    let verdict = if t.abs() < BOUND { "no difference" } else { "a difference" };
    println!("{what}: t = {t:.2}, {verdict} (bound {BOUND})");
}

/// Compares as no server should.
fn naive(one: &str, other: &str) -> bool {
    one.bytes().zip(other.bytes()).all(|(one, other)| black_box(one) == black_box(other))
}

/// Nanoseconds that `refuse` takes for each kind, of wrong keys and the numbers of the right ones beside them.
fn measure(kinds: &[Vec<String>; 2], refuse: impl Fn(usize, &str) -> bool) -> [Vec<f64>; 2] {
    let mut samples = [Vec::new(), Vec::new()];
    let mut random = rand::rng();
    let mut text = String::new();
    for _ in 0..SAMPLES {
        let kind = random.random_range(0..2);
        let number = random.random_range(0..KEYS);
        // Always at one place in memory, so that both kinds are as near.
        text.clear();
        text.push_str(&kinds[kind][number]);
        let text = black_box(&text);
        let started = Instant::now();
        black_box(refuse(number, text));
        samples[kind].push(started.elapsed().as_secs_f64() * 1e9);
    }
    let mut all: Vec<f64> = samples.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let slowest = all[all.len() * 9 / 10];
    samples.map(|kind| kind.into_iter().filter(|sample| *sample <= slowest).collect())
}

/// Welch's t of two samples.
fn welch(samples: &[Vec<f64>; 2]) -> f64 {
    let moments = samples.each_ref().map(|sample| {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (moments[0].0 - moments[1].0) / (moments[0].1 + moments[1].1).sqrt()
}
