//! The engine with a shipped model: rejection, withdrawal, shutdown, and damaged files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sentor_analysis::{Analyzer, Document, Options, Settings, StartError};
use sentor_engine::encode::{Sequence, SequenceSpan};
use sentor_engine::registry::{ModelFolder, RegistryError};
use sentor_engine::{
    Caller, Engine, EngineSettings, ExpectedTokens, Runtime, RuntimeError, SequenceOutput, SubmitError,
};
use sentor_text::language::{Language, LanguageChoice};

/// Without the cache and sharing, since the sequences of these tests are all equal.
const SETTINGS: EngineSettings = EngineSettings {
    workers: 1,
    max_batch_tokens: 64,
    max_queued_tokens: 4096,
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
    Engine::start(&runtime, &[model], |_| false, SETTINGS).expect("the model loads")
}

fn sequences(count: usize, tokens: usize) -> Vec<(usize, Sequence)> {
    let mut ids = vec![2000; tokens];
    (ids[0], ids[tokens - 1]) = (101, 102);
    vec![(0, Sequence { ids, spans: vec![SequenceSpan::new(1, tokens - 2)] }); count]
}

fn caller(name: &str) -> Caller {
    Caller::from(name)
}

#[test]
fn every_sequence_is_answered_in_its_place() {
    let engine = engine();
    let mut mixed: Vec<(usize, Sequence)> = (0..40).flat_map(|index| sequences(1, 8 + index)).collect();
    mixed[3].1.spans.clear();
    let spans: Vec<usize> = mixed.iter().map(|(_, sequence)| sequence.spans.len()).collect();
    let answers = engine.submit(mixed, &caller("a"), None).expect("there is room").wait().expect("it is up");
    let rows = |output: &SequenceOutput| output.rows("logits").expect("a sentiment model has logits").len();
    let answered: Vec<usize> = answers.iter().map(|output| output.as_ref().map_or(99, rows)).collect();
    assert_eq!(answered, spans);
    let done = engine.statistics();
    let model = &done.models[0];
    assert_eq!((model.sequences, model.queued_sequences, model.failed_batches), (40, 0, 0));
    assert_eq!(model.tokens, (8..48).sum::<u64>());
    assert_eq!(model.spans, spans.iter().sum::<usize>() as u64);
    assert!(model.padded_tokens >= model.tokens && model.batches <= 40 && model.busy > Duration::ZERO);
    assert_eq!((done.batches.count(), done.waits.count()), (model.batches, 40));
    assert!(
        engine.submit(Vec::new(), &caller("a"), None).expect("nothing fits").wait().expect("is").is_empty()
    );
}

#[test]
fn a_full_queue_rejects_the_whole_request_with_a_time_to_retry() {
    let engine = engine();
    let first = engine
        .submit(sequences(200, 64), &caller("bulk"), None)
        .expect("an idle engine accepts any one request");
    match engine.submit(sequences(1, 64), &caller("bulk"), None) {
        Err(SubmitError::Overloaded { retry_after }) => assert!(retry_after > Duration::ZERO),
        other => panic!("expected a rejection, got {other:?}"),
    }
    let single = engine.submit(sequences(1, 64), &caller("single"), None);
    single.expect("one caller leaves room for another").wait().expect("it is up");
    assert!(engine.precheck(ExpectedTokens::Guessed(1), &caller("bulk"), None).is_err());
    assert!(engine.precheck(ExpectedTokens::Guessed(1), &caller("single"), None).is_ok());
    assert_eq!(engine.statistics().rejections.queue_full, 2);
    drop(first);
    // The sequences that were not scored have left the queue with their ticket.
    engine
        .submit(sequences(4, 64), &caller("bulk"), None)
        .expect("there is room again")
        .wait()
        .expect("it is up");
}

#[test]
fn work_that_would_miss_its_deadline_is_rejected_at_once() {
    let engine = engine();
    let waiting = engine.submit(sequences(60, 64), &caller("bulk"), None).expect("there is room");
    let deadline = Some(Instant::now() + Duration::from_micros(1));
    let refused = engine.submit(sequences(1, 64), &caller("bulk"), deadline);
    assert!(matches!(refused, Err(SubmitError::Overloaded { .. } | SubmitError::TooLong { .. })));
    waiting.wait().expect("the accepted work is done");
}

#[test]
fn equal_sequences_are_scored_once_and_score_the_same() {
    let runtime = Runtime::load(None).expect("ONNX Runtime has been fetched");
    let model = ModelFolder::open(&folder()).expect("the model folder is in the repository");
    let settings = EngineSettings { cache_bytes: 1 << 20, deduplicate: true, ..SETTINGS };
    let engine = Engine::start(&runtime, &[model], |_| false, settings).expect("the model loads");
    let score = |sequences: Vec<(usize, Sequence)>| {
        let ticket = engine.submit(sequences, &caller("a"), None).expect("there is room");
        let answers = ticket.wait().expect("it is up");
        answers.into_iter().map(|output| output.expect("the batch succeeds")).collect::<Vec<_>>()
    };
    let first = score([sequences(20, 24), sequences(20, 40)].concat());
    let done = engine.statistics();
    assert_eq!((done.models[0].sequences, done.deduplicated_sequences), (2, 38));
    let again = score([sequences(3, 40), sequences(3, 24)].concat());
    let done = engine.statistics();
    assert_eq!((done.models[0].sequences, done.cache.hits, done.cache.entries), (2, 6, 2));
    assert_eq!((&again[..3], &again[3..]), (&first[20..23], &first[..3]));
    assert_ne!(first[0], first[20]);
}

#[test]
fn shutdown_finishes_the_queue_and_accepts_nothing_new() {
    let engine = engine();
    let waiting = engine.submit(sequences(30, 32), &caller("a"), None).expect("there is room");
    engine.shutdown(Instant::now() + Duration::from_mins(1));
    assert!(waiting.wait().expect("what waited was finished").iter().all(Option::is_some));
    assert_eq!(engine.submit(sequences(1, 32), &caller("a"), None).err(), Some(SubmitError::ShuttingDown));
    engine.shutdown(Instant::now());
}

#[test]
fn shutdown_past_its_deadline_drops_what_is_queued() {
    let engine = engine();
    let waiting = engine
        .submit(sequences(500, 64), &caller("a"), None)
        .expect("an idle engine accepts any one request");
    engine.shutdown(Instant::now());
    waiting.wait().expect_err("the work was dropped");
}

/// One caller's dense document does not change how long the requests of another are expected to take.
#[test]
fn unusual_texts_of_one_caller_do_not_affect_the_precheck_of_others() {
    let settings = Settings {
        models: vec![(Language::English, folder())],
        workers: Some(1),
        max_queued_tokens: 40_000,
        ..Settings::default()
    };
    let analyzer = Analyzer::start(&settings).expect("the model loads");
    let analyze = |name: &str, documents: Vec<Document>| {
        let options = Options {
            language: LanguageChoice::Fixed(Language::English),
            caller: caller(name),
            deadline: None,
        };
        // Some are rejected, and some dropped at the end.
        let _ = analyzer.analyze_blocking(documents, options);
    };
    std::thread::scope(|scope| {
        let bulk = (0..1000).map(|number| Document {
            text: format!("The {number}. camera is superb, but the staff in the shop were rude and slow. ")
                .repeat(4),
            ..Document::default()
        });
        let bulk: Vec<Document> = bulk.collect();
        scope.spawn(move || analyze("bulk", bulk));
        let planned = |requests| {
            while analyzer.statistics().plans.count() < requests {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        planned(1);
        while analyzer.statistics().engine.models[0].queued_tokens == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let accepts = || analyzer.precheck(40_000, &caller("victim"), None);
        assert_eq!(accepts(), Ok(()), "there is room beside the other caller");
        let entities = (0..100).map(|number| format!("a name of many words that nobody has {number}"));
        let dense = Document { text: "ok.".to_owned(), entities: entities.collect(), ..Document::default() };
        scope.spawn(move || analyze("dense", vec![dense]));
        planned(2);
        assert_eq!(accepts(), Ok(()), "three bytes with a thousand tokens are no measure for others");
        assert!(analyzer.statistics().engine.models[0].queued_tokens > 0, "the first caller is still queued");
        analyzer.shutdown(Instant::now());
    });
}

#[test]
fn a_missing_or_wrong_library_is_a_clear_error() {
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
