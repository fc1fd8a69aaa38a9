//! Tests whether the time to reject a key reveals which of its characters is wrong.
//!
//! The method is that of dudect (Reparaz, Balasch and Verbauwhede, 2017): two kinds of wrong keys are rejected in
//! random order, the slowest tenth is discarded as noise, and Welch's t-test decides whether the means differ. Beyond
//! 4.5 they do. As a control, a comparison with an early exit must be detected.
//!
//! Each kind has a wrong key for each of many right ones. With one pair, the test would detect any difference of two
//! keys, such as the place of their digests in the table.

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

/// Number of right keys, each with one wrong key of either kind.
const KEYS: usize = 500;

/// Above this t value, two samples differ by more than chance.
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

/// A comparison that leaks time, for control.
fn naive(one: &str, other: &str) -> bool {
    one.bytes().zip(other.bytes()).all(|(one, other)| black_box(one) == black_box(other))
}

/// Returns the nanoseconds that `refuse` takes for each kind. Each wrong key comes with the index of its right key.
fn measure(kinds: &[Vec<String>; 2], refuse: impl Fn(usize, &str) -> bool) -> [Vec<f64>; 2] {
    let mut samples = [Vec::new(), Vec::new()];
    let mut random = rand::rng();
    let mut text = String::new();
    for _ in 0..SAMPLES {
        let kind = random.random_range(0..2);
        let number = random.random_range(0..KEYS);
        // Always at one place in memory, so that both kinds have the same cache distance.
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
