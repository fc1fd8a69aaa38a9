//! `GET /readyz`: the states in which a server is not ready.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sentor::http::{Analyze, BoxFuture};
use sentor_analysis::{AnalyzerStatistics, Document, ModelStatus, Options};
use sentor_engine::encode::{Sequence, SequenceSpan};
use sentor_engine::{
    BatchOutput, Caller, Engine, EngineSettings, EngineStatistics, Network, OutputLayout, RunError,
};
use sentor_store::SqliteStore;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::fake::{FakeAnalyzer, Outcomes};
use crate::support::{Setup, TestServer};

/// The reason in the answer of a server that is not ready.
fn reason(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert!(!answer.header("retry-after").is_empty());
    answer.json()["error"]["details"]["reason"].clone()
}

/// An analyzer whose engine has these statistics.
struct WithEngine(EngineStatistics);

impl Analyze for WithEngine {
    fn analyze(&self, documents: Vec<Document>, options: Options) -> BoxFuture<'_, Outcomes> {
        FakeAnalyzer.analyze(documents, options)
    }

    fn models(&self) -> Vec<ModelStatus> {
        FakeAnalyzer.models()
    }

    fn statistics(&self) -> AnalyzerStatistics {
        AnalyzerStatistics { engine: self.0.clone(), ..AnalyzerStatistics::default() }
    }
}

fn with_engine(engine: EngineStatistics) -> TestServer {
    let analyzer: Option<Arc<dyn Analyze>> = Some(Arc::new(WithEngine(engine)));
    TestServer::start_with(Setup { analyzer, ..Setup::default() })
}

#[test]
fn a_server_with_a_stalled_engine_is_not_ready() {
    let with = |seconds| {
        let stalled = Duration::from_secs(seconds);
        with_engine(EngineStatistics { workers: 1, workers_alive: 1, stalled, ..EngineStatistics::default() })
    };
    let stuck = with(60);
    assert_eq!(reason(&stuck.anonymous().get("/readyz")), "queue");
    assert_eq!(stuck.anonymous().get("/livez").status, 200);
    assert_eq!(with(1).anonymous().get("/readyz").status, 200, "a long run is none too long");
}

#[test]
fn a_server_without_workers_is_not_ready() {
    let with = |workers_alive| {
        with_engine(EngineStatistics { workers: 2, workers_alive, ..EngineStatistics::default() })
    };
    assert_eq!(reason(&with(0).anonymous().get("/readyz")), "workers");
    assert_eq!(with(1).anonymous().get("/readyz").status, 200, "one is replaced while the other works");
    assert_eq!(with(2).anonymous().get("/readyz").status, 200);
    let short_for = |seconds| {
        let short_of_workers = Duration::from_secs(seconds);
        with_engine(EngineStatistics {
            workers: 2,
            workers_alive: 1,
            short_of_workers,
            ..EngineStatistics::default()
        })
    };
    assert_eq!(short_for(1).anonymous().get("/readyz").status, 200, "it is being replaced");
    assert_eq!(reason(&short_for(6).anonymous().get("/readyz")), "workers");
}

#[test]
fn a_server_without_a_model_is_not_ready() {
    let server = TestServer::start_with(Setup { analyzer: None, ..Setup::default() });
    assert_eq!(reason(&server.anonymous().get("/readyz")), "models");
}

#[test]
fn a_server_whose_store_is_held_by_another_program_is_not_ready_until_it_is_free() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let store = SqliteStore::open(folder.path()).expect("a store can be made");
    let other = rusqlite::Connection::open(store.path()).expect("another program can open it");
    let server = TestServer::start_with(Setup { changed_store: Some(Arc::new(store)), ..Setup::default() });
    let client = server.client();
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let refusal = client.get("/readyz");
    assert_eq!(reason(&refusal), "store");
    let path = folder.path().to_string_lossy().into_owned();
    assert!(!refusal.json().to_string().contains(&path), "a stranger learns no path");
    assert_eq!(client.predict("", &json!([{"doc_id": "1", "doc": "Great."}])).status, 200, "scoring goes on");
    other.execute_batch("ROLLBACK").expect("it is held");
    // A result is reused for a moment only.
    while client.get("/readyz").status != 200 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs only when the test allows it.
struct Gate(Arc<Mutex<mpsc::Receiver<()>>>);

impl Network for Gate {
    fn run(&mut self, sequences: &[&Sequence], _: usize) -> Result<BatchOutput, RunError> {
        let _ = self.0.lock().expect("nobody panics").recv();
        let spans: usize = sequences.iter().map(|sequence| sequence.spans.len()).sum();
        Ok(BatchOutput::new(OutputLayout::per_span("logits", 3), vec![vec![0.0; 3 * spans]]))
    }
}

#[test]
fn an_engine_reports_for_how_long_it_has_stalled() {
    let (open, gate) = mpsc::channel();
    let gate = Arc::new(Mutex::new(gate));
    let settings = EngineSettings {
        workers: 1,
        max_batch_tokens: 8,
        max_queued_tokens: 4096,
        cache_bytes: 0,
        deduplicate: false,
        niceness: 0,
    };
    let engine = Engine::with_networks(&["gate"], settings, move || vec![Box::new(Gate(Arc::clone(&gate)))])
        .expect("a thread");
    let stalled = || engine.statistics().stalled;
    assert_eq!(stalled(), Duration::ZERO);
    let sequence = || (0, Sequence { ids: vec![1; 8], spans: vec![SequenceSpan::new(1, 6)] });
    let ticket =
        engine.submit(vec![sequence(), sequence()], &Caller::from("a"), None).expect("there is room");
    let mut longest = Duration::ZERO;
    while longest < Duration::from_millis(50) {
        assert!(stalled() >= longest, "it only grows");
        longest = stalled();
        std::thread::sleep(Duration::from_millis(5));
    }
    open.send(()).expect("the worker waits");
    open.send(()).expect("the worker waits");
    ticket.wait().expect("both are scored");
    assert_eq!(stalled(), Duration::ZERO);
}
