//! The engine's threads with networks that are quick, slow, wrong and panicking, under callers that wait, give up and
//! come in crowds: whoever is taken is told, and what comes back is their own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sentor_engine::encode::{Row, RowSpan};
use sentor_engine::{Caller, Engine, EngineSettings, Network, RunError, SubmitError};

const SETTINGS: EngineSettings = EngineSettings {
    workers: 3,
    run_tokens: 128,
    queue_tokens: 4000,
    cache_bytes: 0,
    deduplicate: true,
    niceness: 0,
};

/// Token numbers from here on make the run of a row panic, fail, or come back with too few logits.
const PANICS: u32 = 90_000;
const FAILS: u32 = 91_000;
const FORGETS: u32 = 92_000;

struct FakeNetwork {
    runs: Arc<AtomicUsize>,
}

impl Network for FakeNetwork {
    fn run(&mut self, rows: &[&Row], padded_tokens: usize) -> Result<Vec<[f32; 3]>, RunError> {
        let turn = self.runs.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(7) {
            std::thread::sleep(Duration::from_micros(300));
        }
        let has = |from: u32| rows.iter().any(|row| (from..from + 1000).contains(&row.ids[0]));
        assert!(!has(PANICS), "as asked");
        if has(FAILS) {
            return Err(RunError::new("as asked"));
        }
        assert!(rows.iter().all(|row| row.ids.len() <= padded_tokens));
        let mut logits: Vec<_> = rows.iter().flat_map(|row| logits_of(row)).collect();
        if has(FORGETS) {
            logits.pop();
        }
        Ok(logits)
    }
}

fn logits_of(row: &Row) -> Vec<[f32; 3]> {
    row.spans.iter().map(|span| [row.ids[0] as f32, row.ids.len() as f32, span.last as f32]).collect()
}

fn row(text: u32, length: usize) -> Row {
    Row { ids: vec![text; length], spans: vec![RowSpan::new(0, length - 1), RowSpan::new(0, 0)] }
}

fn engine(settings: EngineSettings) -> (Engine, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let make = move || -> Vec<Box<dyn Network>> {
        (0..2).map(|_| Box::new(FakeNetwork { runs: Arc::clone(&counter) }) as _).collect()
    };
    (Engine::with_networks(&["one", "two"], settings, make).expect("threads can be had"), runs)
}

/// What became of the requests of a thread.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    refused: AtomicU64,
    given_up: AtomicU64,
    dropped: AtomicU64,
}

fn storm(engine: &Engine, seed: u64, requests: usize, tally: &Tally) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..requests {
        let rows: Vec<(usize, Row)> = (0..random.random_range(1..30))
            .map(|_| {
                let text = match random.random_range(0..200) {
                    0 => PANICS + random.random_range(0..5),
                    1 => FAILS + random.random_range(0..5),
                    2 => FORGETS + random.random_range(0..5),
                    _ => random.random_range(0..500),
                };
                (random.random_range(0..2), row(text, random.random_range(1..60)))
            })
            .collect();
        let caller = Caller::from(format!("caller {}", seed % 3).as_str());
        let deadline = random.random_bool(0.3).then(|| Instant::now() + Duration::from_millis(20));
        let ticket = match engine.submit(rows.clone(), &caller, deadline) {
            Ok(ticket) => ticket,
            Err(SubmitError::Overloaded { .. }) => {
                tally.refused.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            Err(SubmitError::ShuttingDown) => return,
        };
        if random.random_bool(0.25) {
            std::thread::sleep(Duration::from_micros(random.random_range(0..300)));
            drop(ticket);
            tally.given_up.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let Ok(answers) = ticket.wait() else {
            tally.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        assert_eq!(answers.len(), rows.len());
        for (answer, (_, row)) in answers.iter().zip(&rows) {
            // Whatever shares a run with a row that fails fails with it, and has no logits.
            if let Some(logits) = answer {
                assert_eq!(logits[..], logits_of(row)[..], "another row's logits");
            }
            assert!(answer.is_none() || row.ids[0] < PANICS, "a run that failed was answered");
        }
        tally.answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nobody_is_left_waiting_through_panics_failures_and_cancellation() {
    // The panics are meant; their traces would hide others.
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("as asked") {
            eprintln!("{info}");
        }
    }));
    for (cache_bytes, deduplicate) in [(0, false), (0, true), (1 << 16, true)] {
        let (engine, _) = engine(EngineSettings { cache_bytes, deduplicate, ..SETTINGS });
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for seed in 0..6 {
                let (engine, tally) = (&engine, &tally);
                scope.spawn(move || storm(engine, seed, 300, tally));
            }
        });
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        assert_eq!(count(&tally.dropped), 0, "the engine was not stopped");
        let all = count(&tally.answered) + count(&tally.refused) + count(&tally.given_up);
        assert_eq!(all, 6 * 300);
        assert!(count(&tally.answered) > 100 && count(&tally.given_up) > 100);
        // All workers are still there, and the queue is empty.
        let rows = (0..50).map(|text| (0, row(text + 600, 50))).collect();
        let answers = engine.submit(rows, &Caller::from("after"), None).expect("nothing waits");
        assert!(answers.wait().expect("it is up").iter().all(Option::is_some));
        let statistics = engine.statistics();
        assert!(statistics.models.iter().all(|model| model.waiting_rows == 0 && model.waiting_tokens == 0));
        assert!(statistics.models.iter().any(|model| model.failed_runs > 0));
    }
}

#[test]
fn a_shutdown_in_the_middle_of_it_tells_everyone() {
    for seed in 0..20 {
        let (engine, runs) = engine(SETTINGS);
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (engine, tally) = (&engine, &tally);
                scope.spawn(move || storm(engine, seed * 10 + number, usize::MAX, tally));
            }
            let engine = &engine;
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(3 + seed));
                let patience = if seed % 2 == 0 { Duration::ZERO } else { Duration::from_secs(30) };
                engine.shutdown(Instant::now() + patience);
            });
        });
        // The storms have ended, so all were told; with patience, all that was taken was also done.
        assert!(seed % 2 == 0 || tally.dropped.load(Ordering::Relaxed) == 0);
        let after = runs.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(runs.load(Ordering::Relaxed), after, "a worker outlived the engine");
    }
}

/// Engines replaced under load, as a reload does: whoever has the old one gets its answer from that.
#[test]
fn an_engine_that_is_replaced_finishes_what_it_took() {
    let current = Mutex::new(Arc::new(engine(SETTINGS).0));
    let lengths = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (current, lengths) = (&current, &lengths);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                for turn in 0..400 {
                    let engine = Arc::clone(&current.lock().expect("no thread panics"));
                    let length = random.random_range(1..50);
                    let rows = vec![(0, row(turn, length)), (1, row(turn, 1 + turn as usize % 40))];
                    let ticket = engine.submit(rows, &Caller::from("a"), None);
                    let answers = ticket.expect("few wait").wait().expect("it is not stopped while in use");
                    assert!(answers.iter().all(Option::is_some));
                    lengths.lock().expect("no thread panics").insert(length);
                }
            });
        }
        for _ in 0..15 {
            std::thread::sleep(Duration::from_millis(2));
            *current.lock().expect("no thread panics") = Arc::new(engine(SETTINGS).0);
        }
    });
    assert!(lengths.into_inner().expect("no thread panics").len() > 20);
}
