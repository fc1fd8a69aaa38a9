//! A real server on a free port, clients for it, and an analyzer that needs no model.
#![expect(dead_code, reason = "each test file uses another part")]
#![expect(unreachable_pub, reason = "a test file is a crate of its own")]

pub mod client;
pub mod fake;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use sentor::clock::Clock;
use sentor::config::{Config, Overrides, Surroundings};
use sentor::http::{Analyze, App, AppSettings, Patience, Stop};
use sentor::keys::{ApiKey, KeyRing, KeyStore, MemoryStore, NewKey};
use tokio::sync::watch;

use client::Client;
use fake::FakeAnalyzer;

/// The time on the server's clock.
pub const NOW: &str = "2026-03-01T12:00:00Z";

/// How a test server differs from the default one.
pub struct Setup {
    pub settings: AppSettings,
    pub patience: Patience,
    pub analyzer: Option<Arc<dyn Analyze>>,
}

impl Default for Setup {
    fn default() -> Self {
        let nowhere = Surroundings { working_directory: "/nowhere".into(), ..Surroundings::default() };
        let config = Config::load_in(&Overrides::default(), &nowhere).expect("the defaults are valid");
        let patience = Patience {
            header_timeout: config.server.header_timeout,
            shutdown_grace: config.server.shutdown_grace,
        };
        Self { settings: AppSettings::of(&config), patience, analyzer: Some(Arc::new(FakeAnalyzer)) }
    }
}

/// A running server; it ends with the value.
pub struct TestServer {
    pub address: SocketAddr,
    pub app: Arc<App>,
    store: Arc<MemoryStore>,
    keys: Arc<KeyRing>,
    stop: watch::Sender<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    pub fn start_with(setup: Setup) -> Self {
        let store = Arc::new(MemoryStore::default());
        let keys =
            KeyRing::follow(Arc::clone(&store) as Arc<dyn KeyStore>, None).expect("memory can be read");
        let keys = Arc::new(keys);
        let app = Arc::new(App::new(setup.settings, Arc::clone(&keys), Clock::from_fn(now)));
        if let Some(analyzer) = setup.analyzer {
            app.make_ready(analyzer);
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("the listener takes settings");
        let address = listener.local_addr().expect("the listener has an address");
        let (stop, told) = watch::channel(Stop::No);
        let served = Arc::clone(&app);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                sentor::http::run(listener, served, setup.patience, told).await;
            });
            runtime.shutdown_background();
        });
        Self { address, app, store, keys, stop, thread: Mutex::new(Some(thread)) }
    }

    /// Makes a key that the server knows at once.
    pub fn issue(&self, new: NewKey) -> ApiKey {
        let (key, record) = new.generate(now(), &mut rand::rng());
        self.store.insert(&record).expect("memory can be written");
        self.keys.refresh().expect("memory can be read");
        key
    }

    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    pub fn refresh_keys(&self) {
        self.keys.refresh().expect("memory can be read");
    }

    /// A client without a key.
    pub fn anonymous(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None)
    }

    /// A client with a key that may send documents.
    pub fn client(&self) -> Client {
        self.client_with(self.issue(NewKey::named("test")).expose())
    }

    pub fn client_with(&self, key: &str) -> Client {
        Client::new(&format!("http://{}", self.address), Some(key))
    }

    /// A bare connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes settings");
        stream
    }

    /// Sends `bytes` as they are, and returns all that comes back until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has heard enough may close before all is sent.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    pub fn tell(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// Waits until the server has ended.
    pub fn join(&self) {
        let thread = self.thread.lock().expect("no test panics here").take();
        if let Some(thread) = thread {
            thread.join().expect("the server ends without a panic");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.tell(Stop::Now);
        if !std::thread::panicking() {
            self.join();
        }
    }
}

pub fn now() -> Timestamp {
    NOW.parse().expect("a valid time")
}

/// All that comes until the other side closes or falls silent.
pub fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    let _ = stream.shutdown(Shutdown::Both);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status and the JSON body of an answer that came raw.
pub fn status_and_body(answer: &str) -> (u16, serde_json::Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, serde_json::from_str(body).unwrap_or(serde_json::Value::Null))
}
