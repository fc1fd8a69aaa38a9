//! The engine's threads with networks that are fast, slow, wrong or panicking, under many callers that wait or
//! withdraw: every accepted request is answered, with its own outputs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sentor_engine::encode::{Sequence, SequenceSpan};
use sentor_engine::{
    BatchOutput, Caller, Engine, EngineError, EngineSettings, EngineStatistics, Network, OutputLayout,
    RunError, SequenceOutput, SubmitError,
};

const SETTINGS: EngineSettings = EngineSettings {
    workers: 3,
    max_batch_tokens: 128,
    max_queued_tokens: 4000,
    cache_bytes: 0,
    deduplicate: true,
    niceness: 0,
};

/// Tokens from here on make the network panic, fail, or return too few numbers.
const PANICS: u32 = 90_000;
const FAILS: u32 = 91_000;
const FORGETS: u32 = 92_000;

struct FakeNetwork {
    runs: Arc<AtomicUsize>,
}

impl Network for FakeNetwork {
    fn run(&mut self, sequences: &[&Sequence], padded_tokens: usize) -> Result<BatchOutput, RunError> {
        let turn = self.runs.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(7) {
            std::thread::sleep(Duration::from_micros(300));
        }
        let has = |from: u32| sequences.iter().any(|one| (from..from + 1000).contains(&one.ids[0]));
        assert!(!has(PANICS), "as asked");
        if has(FAILS) {
            return Err(RunError::new("as asked"));
        }
        assert!(sequences.iter().all(|one| one.ids.len() <= padded_tokens));
        let mut logits: Vec<f32> = sequences.iter().flat_map(|one| logits_of(one)).flatten().collect();
        if has(FORGETS) {
            logits.pop();
        }
        Ok(BatchOutput::new(OutputLayout::per_span("logits", 3), vec![logits]))
    }
}

fn logits_of(sequence: &Sequence) -> Vec<[f32; 3]> {
    let Sequence { ids, spans } = sequence;
    spans.iter().map(|span| [ids[0] as f32, ids.len() as f32, span.last as f32]).collect()
}

fn rows_of(output: &SequenceOutput) -> Vec<&[f32]> {
    output.rows("logits").expect("the networks have them").collect()
}

fn sequence(text: u32, length: usize) -> Sequence {
    Sequence {
        ids: vec![text; length],
        spans: vec![SequenceSpan::new(0, length - 1), SequenceSpan::new(0, 0)],
    }
}

fn engine(settings: EngineSettings) -> (Engine, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let make = move || -> Vec<Box<dyn Network>> {
        (0..2).map(|_| Box::new(FakeNetwork { runs: Arc::clone(&counter) }) as _).collect()
    };
    (Engine::with_networks(&["one", "two"], settings, make).expect("threads can be had"), runs)
}

/// Outcomes of the requests of a thread.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    rejected: AtomicU64,
    withdrawn: AtomicU64,
    dropped: AtomicU64,
}

fn storm(engine: &Engine, seed: u64, requests: usize, tally: &Tally) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..requests {
        let sequences: Vec<(usize, Sequence)> = (0..random.random_range(1..30))
            .map(|_| {
                let text = match random.random_range(0..200) {
                    0 => PANICS + random.random_range(0..5),
                    1 => FAILS + random.random_range(0..5),
                    2 => FORGETS + random.random_range(0..5),
                    _ => random.random_range(0..500),
                };
                (random.random_range(0..2), sequence(text, random.random_range(1..60)))
            })
            .collect();
        let caller = Caller::from(format!("caller {}", seed % 3).as_str());
        let deadline = random.random_bool(0.3).then(|| Instant::now() + Duration::from_millis(20));
        let ticket = match engine.submit(sequences.clone(), &caller, deadline) {
            Ok(ticket) => ticket,
            Err(SubmitError::Overloaded { .. } | SubmitError::TooLong { .. }) => {
                tally.rejected.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            Err(SubmitError::ShuttingDown) => return,
        };
        if random.random_bool(0.25) {
            std::thread::sleep(Duration::from_micros(random.random_range(0..300)));
            drop(ticket);
            tally.withdrawn.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let Ok(answers) = ticket.wait() else {
            tally.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        assert_eq!(answers.len(), sequences.len());
        for (answer, (_, sequence)) in answers.iter().zip(&sequences) {
            // A sequence that the network fails on has no output, and takes none of its neighbours with it.
            assert_eq!(answer.is_none(), sequence.ids[0] >= PANICS, "{:?}", sequence.ids[0]);
            if let Some(output) = answer {
                assert_eq!(rows_of(output), logits_of(sequence), "the output of another sequence");
            }
        }
        tally.answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_request_is_answered_despite_panics_failures_and_cancellation() {
    // These panics are on purpose; their traces would hide others.
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
        let all = count(&tally.answered) + count(&tally.rejected) + count(&tally.withdrawn);
        assert_eq!(all, 6 * 300);
        assert!(count(&tally.answered) > 100 && count(&tally.withdrawn) > 100);
        // All workers are alive, and the queue is empty.
        let sequences = (0..50).map(|text| (0, sequence(text + 600, 50))).collect();
        let answers = engine.submit(sequences, &Caller::from("after"), None).expect("nothing waits");
        assert!(answers.wait().expect("it is up").iter().all(Option::is_some));
        let statistics = engine.statistics();
        assert!(
            statistics.models.iter().all(|model| (model.queued_sequences, model.queued_tokens) == (0, 0))
        );
        assert!(statistics.models.iter().any(|model| model.failed_batches > 0));
    }
}

/// A panic payload that panics again when it is dropped, outside the guard around a network.
struct Deadly;

impl Drop for Deadly {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

/// Answers with zeros, fails on [`FAILS`], and kills its worker on [`KILLS`].
struct Fragile;

const KILLS: u32 = 93_000;

impl Network for Fragile {
    fn run(&mut self, sequences: &[&Sequence], _: usize) -> Result<BatchOutput, RunError> {
        let has = |token| sequences.iter().any(|sequence| sequence.ids[0] == token);
        if has(KILLS) {
            std::panic::panic_any(Deadly);
        }
        if has(FAILS) {
            return Err(RunError::new("as asked"));
        }
        let logits: Vec<f32> = sequences.iter().flat_map(|one| logits_of(one)).flatten().collect();
        Ok(BatchOutput::new(OutputLayout::per_span("logits", 3), vec![logits]))
    }
}

fn fragile(workers: usize, make: impl Fn() -> Vec<Box<dyn Network>> + Send + Sync + 'static) -> Engine {
    let settings = EngineSettings { workers, ..SETTINGS };
    Engine::with_networks(&["one"], settings, make).expect("the workers start")
}

fn submit(engine: &Engine, texts: &[u32]) -> Vec<Option<SequenceOutput>> {
    let sequences = texts.iter().map(|&text| (0, sequence(text, 8))).collect();
    let ticket = engine.submit(sequences, &Caller::from("a"), None).expect("there is room");
    ticket.wait().expect("the engine is up")
}

#[test]
fn a_sequence_that_the_network_fails_on_fails_alone() {
    let engine = fragile(1, || vec![Box::new(Fragile)]);
    let texts = [1, 2, FAILS, 3, 4, 5];
    let answers = submit(&engine, &texts);
    for (answer, text) in answers.iter().zip(texts) {
        assert_eq!(answer.is_none(), text == FAILS, "{text}");
        if let Some(output) = answer {
            assert_eq!(rows_of(output), logits_of(&sequence(text, 8)), "{text}");
        }
    }
    let model = &engine.statistics().models[0];
    assert_eq!((model.sequences, model.failed_sequences), (6, 1));
    assert_eq!(model.failed_batches, 1, "of {} batches", model.batches);
}

#[test]
fn a_worker_that_panics_while_it_is_prepared_is_replaced() {
    let made = AtomicUsize::new(0);
    let engine = fragile(2, move || {
        assert!(made.fetch_add(1, Ordering::SeqCst) >= 2, "as asked");
        vec![Box::new(Fragile)]
    });
    let statistics = engine.statistics();
    assert_eq!((statistics.workers, statistics.workers_alive), (2, 2));
    assert_eq!(statistics.worker_replacements, 2);
    assert_eq!(statistics.short_of_workers, Duration::ZERO, "all workers are there");
    assert!(submit(&engine, &[1, 2, 3]).iter().all(Option::is_some));
}

#[test]
fn an_engine_whose_workers_always_panic_does_not_start() {
    let settings = EngineSettings { workers: 2, ..SETTINGS };
    let engine = Engine::with_networks(&["one"], settings, || panic!("as asked"));
    assert!(matches!(engine, Err(EngineError::WorkerPanicked)), "{engine:?}");
}

#[test]
fn a_panicked_worker_is_replaced_and_its_batch_is_answered() {
    let engine = fragile(1, || vec![Box::new(Fragile)]);
    assert_eq!(engine.statistics().workers_alive, 1);
    assert_eq!(submit(&engine, &[KILLS]), [None], "whoever waits hears of it");
    // The replacement answers.
    assert!(submit(&engine, &[1, 2, 3]).iter().all(Option::is_some));
    let statistics = engine.statistics();
    assert_eq!((statistics.workers_alive, statistics.worker_replacements), (1, 1));
    engine.shutdown(Instant::now() + Duration::from_secs(10));
    assert_eq!(engine.statistics().workers_alive, 0);
}

#[test]
fn an_engine_tells_how_long_it_has_been_short_of_workers() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let engine = fragile(2, move || {
        assert!(!broken.load(Ordering::SeqCst), "as asked");
        vec![Box::new(Fragile)]
    });
    is_broken.store(true, Ordering::SeqCst);
    assert_eq!(submit(&engine, &[KILLS]), [None]);
    let started = Instant::now();
    let until = |what: &str, is_so: fn(&EngineStatistics) -> bool| {
        while !is_so(&engine.statistics()) {
            assert!(started.elapsed() < Duration::from_mins(1), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until("it is short of one", |statistics| {
        statistics.workers_alive == 1 && statistics.short_of_workers >= Duration::from_millis(20)
    });
    is_broken.store(false, Ordering::SeqCst);
    until("it has all again", |statistics| statistics.workers_alive == 2);
    assert_eq!(engine.statistics().short_of_workers, Duration::ZERO);
}

#[test]
fn a_shutdown_answers_every_waiting_request() {
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
        // Every request was answered. Without deadlines, every accepted request was also scored.
        assert!(seed % 2 == 0 || tally.dropped.load(Ordering::Relaxed) == 0);
        let after = runs.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(runs.load(Ordering::Relaxed), after, "a worker outlived the engine");
    }
}

/// Engines replaced under load, as a reload does: a request that began with the old one is answered by it.
#[test]
fn an_engine_that_is_replaced_finishes_what_it_accepted() {
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
                    let other = sequence(turn, 1 + turn as usize % 40);
                    let sequences = vec![(0, sequence(turn, length)), (1, other)];
                    let ticket = engine.submit(sequences, &Caller::from("a"), None);
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
