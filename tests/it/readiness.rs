//! `GET /readyz`: what makes a server say that no request should be sent to it.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sentor::http::{Analyze, BoxFuture};
use sentor_analysis::{AnalyzerStatistics, Document, ModelStatus, Options};
use sentor_engine::encode::{Row, RowSpan};
use sentor_engine::{Caller, Engine, EngineSettings, Network, RunError};
use sentor_store::SqliteStore;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::fake::{FakeAnalyzer, Outcomes};
use crate::support::{Setup, TestServer};

/// Why a server is not ready, as it says.
fn reason(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert!(!answer.header("retry-after").is_empty());
    answer.json()["error"]["details"]["reason"].clone()
}

/// Has done nothing for so long.
struct Stalled(Duration);

impl Analyze for Stalled {
    fn analyze(&self, documents: Vec<Document>, options: Options) -> BoxFuture<'_, Outcomes> {
        FakeAnalyzer.analyze(documents, options)
    }

    fn models(&self) -> Vec<ModelStatus> {
        FakeAnalyzer.models()
    }

    fn statistics(&self) -> AnalyzerStatistics {
        let mut statistics = AnalyzerStatistics::default();
        statistics.engine.stalled = self.0;
        statistics
    }
}

#[test]
fn a_server_whose_engine_stands_still_is_not_ready() {
    let with = |stalled| {
        let analyzer: Option<Arc<dyn Analyze>> = Some(Arc::new(Stalled(Duration::from_secs(stalled))));
        TestServer::start_with(Setup { analyzer, ..Setup::default() })
    };
    let stuck = with(60);
    assert_eq!(reason(&stuck.anonymous().get("/readyz")), "queue");
    assert_eq!(stuck.anonymous().get("/livez").status, 200);
    assert_eq!(with(1).anonymous().get("/readyz").status, 200, "a long run is none too long");
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
    // What was found counts for a moment; it must not count for ever.
    while client.get("/readyz").status != 200 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs only when it is let.
struct Gate(Arc<Mutex<mpsc::Receiver<()>>>);

impl Network for Gate {
    fn run(&mut self, rows: &[&Row], _: usize) -> Result<Vec<[f32; 3]>, RunError> {
        let _ = self.0.lock().expect("nobody panics").recv();
        Ok(vec![[0.0; 3]; rows.iter().map(|row| row.spans.len()).sum()])
    }
}

#[test]
fn an_engine_tells_how_long_it_has_stood_still() {
    let (open, gate) = mpsc::channel();
    let gate = Arc::new(Mutex::new(gate));
    let settings = EngineSettings {
        workers: 1,
        run_tokens: 8,
        queue_tokens: 4096,
        cache_bytes: 0,
        deduplicate: false,
        niceness: 0,
    };
    let engine = Engine::with_networks(&["gate"], settings, move || vec![Box::new(Gate(Arc::clone(&gate)))])
        .expect("a thread");
    let stalled = || engine.statistics().stalled;
    assert_eq!(stalled(), Duration::ZERO);
    let row = || (0, Row { ids: vec![1; 8], spans: vec![RowSpan::new(1, 6)] });
    let ticket = engine.submit(vec![row(), row()], &Caller::from("a"), None).expect("there is room");
    let mut longest = Duration::ZERO;
    while longest < Duration::from_millis(50) {
        assert!(stalled() >= longest, "it only grows");
        longest = stalled();
        std::thread::sleep(Duration::from_millis(5));
    }
    open.send(()).expect("the worker waits");
    open.send(()).expect("the worker waits");
    ticket.wait().expect("both rows are done");
    assert_eq!(stalled(), Duration::ZERO);
}
