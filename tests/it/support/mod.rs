//! A real server on a free port, clients for it, and an analyzer that needs no model.

pub(crate) mod client;
pub(crate) mod contract;
pub(crate) mod fake;
pub(crate) mod folder;
pub(crate) mod onnx;
pub(crate) mod program;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use sentor::config::{Config, Environment, Overrides};
use sentor::http::{
    Analyze, App, AppSettings, Endpoint, JobHost, JobService, ListenerRole, Services, Stop, Timeouts, Tls,
};
use sentor_jobs::{Objects, Runner, RunnerSettings};
use sentor_store::audit::{Actor, AuditLog};
use sentor_store::clock::Clock;
use sentor_store::keys::{ApiKey, KeyAdmin, KeyRing, KeyStore, NewKey};
use sentor_store::metering::{Meter, Plans, UsageStore};
use sentor_store::{MemoryStore, Store};
use tempfile::TempDir;
use tokio::sync::watch;

use client::Client;
use fake::{FakeAnalyzer, Gate};

/// The time on the server's clock.
pub(crate) const NOW: &str = "2026-03-01T12:00:00Z";

/// Differences of a test server from the default one.
pub(crate) struct Setup {
    pub(crate) settings: AppSettings,
    pub(crate) timeouts: Timeouts,
    pub(crate) analyzer: Option<Arc<dyn Analyze>>,
    pub(crate) plans: Plans,
    pub(crate) clock: Clock,
    pub(crate) role: ListenerRole,
    pub(crate) tls: Option<Arc<Tls>>,
    /// The store of usage; `None`: that of the keys.
    pub(crate) usage_store: Option<Arc<dyn UsageStore>>,
    /// The store that the admin interface changes; `None`: that of the keys.
    pub(crate) changed_store: Option<Arc<dyn Store>>,
    /// Wraps the store of keys for the key ring.
    pub(crate) ring_store: fn(Arc<MemoryStore>) -> Arc<dyn KeyStore>,
}

impl Default for Setup {
    fn default() -> Self {
        let nowhere = Environment { working_directory: "/nowhere".into(), ..Environment::default() };
        let config = Config::load_in(&Overrides::default(), &nowhere).expect("the defaults are valid");
        let timeouts = Timeouts {
            header_timeout: config.server.header_timeout,
            write_timeout: config.server.write_timeout,
            shutdown_grace: config.server.shutdown_grace,
        };
        Self {
            settings: AppSettings::from_config(&config),
            timeouts,
            analyzer: Some(Arc::new(FakeAnalyzer)),
            plans: Plans::default(),
            clock: Clock::from_fn(now),
            role: ListenerRole::All,
            tls: None,
            usage_store: None,
            changed_store: None,
            ring_store: |store| store,
        }
    }
}

/// A running server, which ends when it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    store: Arc<MemoryStore>,
    services: Services,
    data_dir: TempDir,
    stop: watch::Sender<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::start_with(Setup::default())
    }

    pub(crate) fn start_with(setup: Setup) -> Self {
        let store = Arc::new(MemoryStore::default());
        let keys = KeyRing::follow((setup.ring_store)(Arc::clone(&store)), None).expect("memory can be read");
        let usage_store = setup.usage_store.unwrap_or_else(|| Arc::clone(&store) as _);
        let meter = Meter::start(usage_store, setup.plans, setup.clock.clone()).expect("it can be read");
        let data_dir = TempDir::new().expect("a temporary folder");
        let changed_store = setup.changed_store.unwrap_or_else(|| Arc::clone(&store) as _);
        let audit = AuditLog::start(Arc::clone(&changed_store) as _, data_dir.path(), setup.clock.clone())
            .expect("the folder can be written");
        let services = Services {
            keys: Arc::new(keys),
            meter: Arc::new(meter),
            store: changed_store,
            audit: Arc::new(audit),
            clock: setup.clock,
        };
        let app = Arc::new(App::new(setup.settings, services.clone()));
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
                let endpoint = Endpoint { listener, tls: setup.tls, role: setup.role };
                sentor::http::run(endpoint, served, setup.timeouts, told).await;
            });
            runtime.shutdown_background();
        });
        Self { address, app, store, services, data_dir, stop, thread: Mutex::new(Some(thread)) }
    }

    /// Takes jobs from now on, and runs them until the returned value is dropped.
    pub(crate) fn run_jobs(&self) -> Runner {
        let objects = Objects::in_folder(&self.jobs_folder()).expect("the folder can be made");
        let service = JobService {
            store: Arc::clone(&self.store) as _,
            objects: objects.clone(),
            max_input_bytes: 1 << 20,
            expires_after: Duration::from_hours(48),
            keep_results: Duration::from_hours(48),
            counters: Arc::default(),
        };
        let counters = Arc::clone(&service.counters);
        self.app.serve_jobs(service);
        let host = Arc::new(JobHost(Arc::clone(&self.app)));
        let settings =
            RunnerSettings { retry_after: jiff::SignedDuration::ZERO, ..RunnerSettings::default() };
        let store = Arc::clone(&self.store) as _;
        Runner::start(store, objects, host, self.services.clock.clone(), counters, settings)
            .expect("a thread")
    }

    /// Where the objects of jobs are.
    pub(crate) fn jobs_folder(&self) -> std::path::PathBuf {
        self.data_dir.path().join("jobs")
    }

    /// Starts a server that holds texts with `[held]`, and returns its gate.
    pub(crate) fn gated(setup: Setup) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        (Self::start_with(Setup { analyzer: Some(Arc::clone(&gate) as _), ..setup }), gate)
    }

    /// Makes a key that the server knows at once.
    pub(crate) fn issue(&self, new: NewKey) -> ApiKey {
        let made = self.change_keys(|keys| keys.create(new, &mut rand::rng()));
        let (key, _) = made.expect("memory can be written");
        self.services.keys.refresh().expect("memory can be read");
        key
    }

    /// Changes keys directly in the store, as another process would.
    pub(crate) fn change_keys<T>(&self, change: impl FnOnce(KeyAdmin<'_>) -> T) -> T {
        let clock = Clock::from_fn(now);
        change(KeyAdmin::new(self.store.as_ref(), &clock, Actor::CommandLine))
    }

    pub(crate) fn store(&self) -> &MemoryStore {
        &self.store
    }

    pub(crate) fn refresh_keys(&self) {
        self.services.keys.refresh().expect("memory can be read");
    }

    /// A meter restored from the store, as in the next process.
    pub(crate) fn restarted_meter(&self) -> Meter {
        let (plans, clock) = (self.meter().plans().as_ref().clone(), self.services.clock.clone());
        Meter::start(Arc::clone(&self.store) as _, plans, clock).expect("memory can be read")
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.services.meter
    }

    /// The lines of the audit file, without those of [`TestServer::issue`].
    pub(crate) fn audit_lines(&self) -> Vec<serde_json::Value> {
        self.services.audit.flush();
        let text =
            std::fs::read_to_string(self.data_dir.path().join("audit.jsonl")).expect("there is a file");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
        lines.filter(|line: &serde_json::Value| line["actor"] != "command_line").collect()
    }

    /// Stops the audit thread, which then writes its counts.
    pub(crate) fn close_audit(&self) {
        self.services.audit.close();
    }

    /// A client without a key.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None)
    }

    /// A client with a key that may send documents.
    pub(crate) fn client(&self) -> Client {
        self.client_with(self.issue(NewKey::named("test")).expose())
    }

    pub(crate) fn client_with(&self, key: &str) -> Client {
        Client::new(&format!("http://{}", self.address), Some(key))
    }

    /// A TCP connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes settings");
        stream
    }

    /// Sends raw `bytes`, and returns everything that the server sends until it closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close the connection before everything is sent.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    pub(crate) fn tell(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// Waits until the server has ended.
    pub(crate) fn join(&self) {
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

/// A clock that a test sets.
#[derive(Clone)]
pub(crate) struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    pub(crate) fn at(time: &str) -> Self {
        Self(Arc::new(Mutex::new(time.parse().expect("a valid time"))))
    }

    pub(crate) fn set(&self, time: &str) {
        *self.0.lock().expect("no reader panics") = time.parse().expect("a valid time");
    }

    pub(crate) fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::from_fn(move || *hands.0.lock().expect("no setter panics"))
    }
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().expect("a valid time")
}

/// Returns everything that the peer sends until it closes or pauses.
pub(crate) fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    let _ = stream.shutdown(Shutdown::Both);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Parses the status and the JSON body of a raw answer.
pub(crate) fn status_and_body(answer: &str) -> (u16, serde_json::Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, serde_json::from_str(body).unwrap_or(serde_json::Value::Null))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
