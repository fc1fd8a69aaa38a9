//! The engine with a shipped model: what it refuses, what it gives up, how it ends, and what it says of files that are
//! not what they should be.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sentor_analysis::{Analyzer, Settings, StartError};
use sentor_engine::encode::{Row, RowSpan};
use sentor_engine::registry::{ModelFolder, RegistryError};
use sentor_engine::{Calibration, Caller, Engine, EngineSettings, Runtime, RuntimeError, SubmitError};
use sentor_text::language::Language;

/// Without the cache and sharing, since the rows of these tests are all equal.
const SETTINGS: EngineSettings = EngineSettings {
    workers: 1,
    run_tokens: 64,
    queue_tokens: 4096,
    cache_bytes: 0,
    deduplicate: false,
    niceness: 0,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentor-en")
}

fn engine() -> Engine {
    let runtime = Runtime::load(None).expect("ONNX Runtime has been fetched");
    let model = ModelFolder::open(&folder()).expect("the model folder is in the repository");
    Engine::start(&runtime, &[model], SETTINGS).expect("the model loads")
}

fn rows(count: usize, tokens: usize) -> Vec<(usize, Row)> {
    let mut ids = vec![2000; tokens];
    (ids[0], ids[tokens - 1]) = (101, 102);
    vec![(0, Row { ids, spans: vec![RowSpan::new(1, tokens - 2)] }); count]
}

fn caller(name: &str) -> Caller {
    Caller::from(name)
}

#[test]
fn every_row_is_answered_in_its_place() {
    let engine = engine();
    let mut mixed: Vec<(usize, Row)> = (0..40).flat_map(|index| rows(1, 8 + index)).collect();
    mixed[3].1.spans.clear();
    let spans: Vec<usize> = mixed.iter().map(|(_, row)| row.spans.len()).collect();
    let answers = engine.submit(mixed, &caller("a"), None).expect("there is room").wait().expect("it is up");
    let answered: Vec<usize> =
        answers.iter().map(|row| row.as_ref().map_or(99, |logits| logits.len())).collect();
    assert_eq!(answered, spans);
    let done = engine.statistics();
    let model = &done.models[0];
    assert_eq!((model.rows, model.waiting_rows, model.failed_runs), (40, 0, 0));
    assert_eq!(model.tokens, (8..48).sum::<u64>());
    assert_eq!(model.spans, spans.iter().sum::<usize>() as u64);
    assert!(model.padded_tokens >= model.tokens && model.runs <= 40 && model.busy > Duration::ZERO);
    assert_eq!((done.runs.count(), done.waits.count()), (model.runs, 40));
    assert!(
        engine.submit(Vec::new(), &caller("a"), None).expect("nothing fits").wait().expect("is").is_empty()
    );
}

#[test]
fn a_full_queue_refuses_the_whole_request_and_says_when() {
    let engine = engine();
    let first =
        engine.submit(rows(200, 64), &caller("bulk"), None).expect("an idle engine takes any one request");
    match engine.submit(rows(1, 64), &caller("bulk"), None) {
        Err(SubmitError::Overloaded { retry_after }) => assert!(retry_after > Duration::ZERO),
        other => panic!("expected a refusal, got {other:?}"),
    }
    let single = engine.submit(rows(1, 64), &caller("single"), None);
    single.expect("one caller leaves room for another").wait().expect("it is up");
    assert!(engine.foresee_refusal(1, &caller("bulk"), None).is_err());
    assert!(engine.foresee_refusal(1, &caller("single"), None).is_ok());
    assert_eq!(engine.statistics().refusals.queue_full, 2);
    drop(first);
    // The rows that have not run are gone from the queue with their ticket.
    engine.submit(rows(4, 64), &caller("bulk"), None).expect("there is room again").wait().expect("it is up");
}

#[test]
fn work_that_would_miss_its_deadline_is_refused_at_once() {
    let engine = engine();
    let waiting = engine.submit(rows(60, 64), &caller("bulk"), None).expect("there is room");
    let deadline = Some(Instant::now() + Duration::from_micros(1));
    assert!(matches!(
        engine.submit(rows(1, 64), &caller("bulk"), deadline),
        Err(SubmitError::Overloaded { .. })
    ));
    waiting.wait().expect("the work that was taken is done");
}

#[test]
fn equal_rows_run_once_and_score_the_same() {
    let runtime = Runtime::load(None).expect("ONNX Runtime has been fetched");
    let model = ModelFolder::open(&folder()).expect("the model folder is in the repository");
    let settings = EngineSettings { cache_bytes: 1 << 20, deduplicate: true, ..SETTINGS };
    let engine = Engine::start(&runtime, &[model], settings).expect("the model loads");
    let score = |rows: Vec<(usize, Row)>| {
        let ticket = engine.submit(rows, &caller("a"), None).expect("there is room");
        let answers = ticket.wait().expect("it is up");
        answers.into_iter().map(|row| row.expect("the run succeeds").to_vec()).collect::<Vec<_>>()
    };
    let first = score([rows(20, 24), rows(20, 40)].concat());
    let done = engine.statistics();
    assert_eq!((done.models[0].rows, done.deduplicated_rows), (2, 38));
    let again = score([rows(3, 40), rows(3, 24)].concat());
    let done = engine.statistics();
    assert_eq!((done.models[0].rows, done.cache.hits, done.cache.entries), (2, 6, 2));
    assert_eq!((&again[..3], &again[3..]), (&first[20..23], &first[..3]));
    assert_ne!(first[0], first[20]);
}

#[test]
fn how_a_model_is_run_best_is_learnt_while_nothing_waits() {
    let engine = engine();
    assert_eq!(engine.statistics().models[0].run_tokens, 64);
    let (tell, told) = mpsc::channel();
    engine.learn(&[0], tell);
    // A request among the trials is served as ever.
    let ticket = engine.submit(rows(3, 24), &caller("a"), None).expect("there is room");
    assert!(ticket.wait().expect("it is up").iter().all(Option::is_some));
    let learnt: Vec<(usize, Calibration)> = told.iter().collect();
    // On a machine too slow for two trials nothing is learnt.
    let expected = learnt.first().map_or(64, |(_, calibration)| calibration.run_tokens);
    assert!([64, 128, 256, 512].contains(&expected) && learnt.len() <= 1, "{learnt:?}");
    let done = engine.statistics();
    assert_eq!((done.models[0].run_tokens, done.models[0].rows), (expected, 3), "trials are not counted");
}

#[test]
fn shutdown_finishes_what_waits_and_takes_nothing_new() {
    let engine = engine();
    let waiting = engine.submit(rows(30, 32), &caller("a"), None).expect("there is room");
    engine.shutdown(Instant::now() + Duration::from_mins(1));
    assert!(waiting.wait().expect("what waited was finished").iter().all(Option::is_some));
    assert_eq!(engine.submit(rows(1, 32), &caller("a"), None).err(), Some(SubmitError::ShuttingDown));
    engine.shutdown(Instant::now());
}

#[test]
fn shutdown_past_its_deadline_tells_those_who_wait() {
    let engine = engine();
    let waiting =
        engine.submit(rows(500, 64), &caller("a"), None).expect("an idle engine takes any one request");
    engine.shutdown(Instant::now());
    waiting.wait().expect_err("the work was given up");
}

#[test]
fn a_missing_or_wrong_library_is_one_clear_sentence() {
    let missing =
        Runtime::load(Some(Path::new("/nowhere/libonnxruntime.so"))).expect_err("there is no such file");
    assert!(matches!(missing, RuntimeError::Missing { .. }));
    assert!(missing.to_string().contains("make onnxruntime") && missing.to_string().contains("/nowhere/"));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrong = folder.path().join("libonnxruntime.so");
    std::fs::write(&wrong, "this is no library").expect("write a file");
    let unusable = Runtime::load(Some(&wrong)).expect_err("this is no library");
    assert!(matches!(unusable, RuntimeError::Unusable { .. }), "{unusable}");
    assert!(unusable.to_string().contains("make onnxruntime"), "{unusable}");
}

#[test]
fn a_damaged_model_is_named() {
    let copy = crate::support::folder::copy_of(&folder());
    let network = copy.path().join("model.onnx");
    let mut bytes = std::fs::read(&network).expect("read the network");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&network, bytes).expect("damage the network");

    let models = vec![(Language::English, copy.path().to_owned())];
    let error = Analyzer::start(&Settings { models, workers: Some(1), ..Settings::default() });
    let error = error.expect_err("one bit of the network is wrong");
    assert!(matches!(error, StartError::Registry(RegistryError::Checksum { .. })), "{error}");
    assert!(error.to_string().contains("model.onnx"), "{error}");
}
