//! No client can block another by what it sends or does not read: large work leaves the connection threads, answers are
//! bounded, and useless connections are closed.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sentor::http::{Tls, TlsFiles};
use sentor_analysis::{Caller, background};
use sentor_store::keys::NewKey;
use sentor_store::metering::{Limit, Plan, Plans};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Answer;
use crate::support::{Setup, TestServer, gzip};

const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `is_so`; panics where it takes a minute.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Occupies all background threads until it is dropped. Only one at a time does.
pub(crate) struct Occupied {
    gate: Arc<(Mutex<bool>, Condvar)>,
    /// Work that nobody waits for is not done.
    _waiting: Vec<Pin<Box<dyn Future<Output = std::thread::Result<()>>>>>,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Occupied {
    pub(crate) fn all() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let running = Arc::new(AtomicUsize::new(0));
        let caller = Caller::from("occupant");
        let job = |_| -> Pin<Box<dyn Future<Output = std::thread::Result<()>>>> {
            let (gate, running, caller) = (Arc::clone(&gate), Arc::clone(&running), caller.clone());
            let block = move || {
                running.fetch_add(1, Ordering::SeqCst);
                let (is_open, opened) = &*gate;
                let is_open = is_open.lock().expect("no holder panics");
                drop(opened.wait_while(is_open, |is_open| !*is_open).expect("no holder panics"));
            };
            let mut job = Box::pin(async move { background::run(&caller, block).await });
            // Its first poll hands the work over.
            assert!(job.as_mut().now_or_never().is_none());
            job
        };
        let waiting = (0..threads).map(job).collect();
        wait_until("the threads never all work", || running.load(Ordering::SeqCst) == threads);
        Self { gate, _waiting: waiting, _one_at_a_time: one_at_a_time }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let (is_open, opened) = &*self.gate;
        *is_open.lock().expect("no holder panics") = true;
        opened.notify_all();
    }
}

fn sentence() -> Value {
    json!([{"doc_id": "1", "doc": "Great."}])
}

/// About a megabyte of entity names, in several documents.
fn entities() -> String {
    let names: Vec<String> = (0..90).map(|number| format!("name{number}")).collect();
    let docs: Vec<Value> =
        (0..1000).map(|id| json!({"doc_id": id.to_string(), "doc": "Great.", "entities": names})).collect();
    json!({ "docs": docs }).to_string()
}

/// A small request with an answer of some megabytes.
pub(crate) fn echo(words: usize, entities: usize) -> Value {
    let names: Vec<&str> = std::iter::repeat_n("ab", entities).collect();
    json!([{"doc_id": "1", "doc": "ab ".repeat(words), "entities": names}])
}

#[test]
fn large_requests_do_not_block_the_connection_threads() {
    let mut setup = Setup::default();
    // Room for the answers of all of them.
    setup.settings.max_answer_bytes = 1 << 30;
    let server = TestServer::start_with(setup);
    let occupied = Occupied::all();
    let heavy = server.client();
    let body = entities();
    let packed = gzip(body.as_bytes());
    let json = ("content-type", "application/json");
    let mut requests: Vec<JoinHandle<Answer>> = Vec::new();
    for _ in 0..4 {
        let (client, body) = (heavy.clone(), body.clone());
        requests.push(std::thread::spawn(move || client.post("/api/predicts", body)));
    }
    let client = heavy.clone();
    requests.push(std::thread::spawn(move || {
        client.post_with("/api/predicts", &[json, ("content-encoding", "gzip")], packed)
    }));
    let client = heavy.clone();
    requests.push(std::thread::spawn(move || client.predict("", &echo(1000, 20))));
    // All of them wait for the background pool, and the connection threads keep serving. Work on a connection thread
    // would not need the pool and would be answered, so this does not depend on timing.
    let other = server.client();
    for _ in 0..20 {
        assert_eq!(server.anonymous().get("/livez").status, 200);
        assert_eq!(other.predict("", &sentence()).status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(requests.iter().all(|request| !request.is_finished()), "large work runs in the background");
    drop(occupied);
    for request in requests {
        assert_eq!(request.join().expect("the client does not panic").status, 200);
    }
}

#[test]
fn a_request_does_not_wait_for_the_background_beyond_its_deadline() {
    let server = TestServer::start();
    let client = server.client();
    let occupied = Occupied::all();
    let headers = [("content-type", "application/json"), ("x-request-timeout-ms", "300")];
    let answer = client.post_with("/api/predicts", &headers, entities());
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    drop(occupied);
}

/// Sends a request to score documents, and reads the first bytes of its answer.
pub(crate) fn begin(server: &TestServer, key: &str, docs: &Value) -> TcpStream {
    let body = json!({ "docs": docs }).to_string();
    let mut stream = server.connect();
    let request = format!(
        "POST /api/predicts HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the server listens");
    let mut start = [0; 12];
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes settings");
    stream.read_exact(&mut start).expect("an answer begins");
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

/// One request of a key at a time.
fn one_at_a_time() -> Plans {
    let mut plans = Plans::default();
    plans.set("single", Plan::UNLIMITED.with(Limit::ConcurrentRequests, Some(1)));
    plans
}

#[test]
fn an_unread_answer_times_out() {
    let mut setup = Setup { plans: one_at_a_time(), ..Setup::default() };
    setup.timeouts.write_timeout = Duration::from_secs(4);
    let server = TestServer::start_with(setup);
    let key = server.issue(NewKey { plan: "single".to_owned(), ..NewKey::named("slow") });
    let client = server.client_with(key.expose());
    // More than the buffers of two sockets hold.
    let large = echo(2000, 80);

    let unread = begin(&server, key.expose(), &large);
    let refused = client.predict("", &sentence());
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
    wait_until("an unread answer holds its place for ever", || client.predict("", &sentence()).status == 200);
    drop(unread);

    let mut read = begin(&server, key.expose(), &large);
    let mut rest = Vec::new();
    read.read_to_end(&mut rest).expect("the whole answer arrives");
    assert!(rest.ends_with(b"}]}]}") || rest.ends_with(b"]}"), "to its last byte");
    wait_until("a read answer holds its place", || client.predict("", &sentence()).status == 200);
}

#[test]
fn the_bytes_of_all_answers_together_are_bounded() {
    let mut setup = Setup::default();
    setup.settings.max_answer_bytes = 60_000_000;
    let server = TestServer::start_with(setup);
    let key = server.issue(NewKey::named("large"));
    let client = server.client_with(key.expose());
    let too_large = client.predict("", &echo(2000, 200));
    assert_eq!((too_large.status, too_large.code().as_str()), (413, "payload_too_large"));
    assert_eq!(too_large.json()["error"]["details"]["max_answer_bytes"], 60_000_000);

    let large = echo(2000, 80);
    let unread = begin(&server, key.expose(), &large);
    let refused = client.predict("", &large);
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(client.predict("", &sentence()).status, 200, "a small answer fits");
    drop(unread);
    wait_until("what an answer held stays held", || client.predict("", &large).status == 200);
}

#[test]
fn wrong_values_under_partial_cost_little() {
    let server = TestServer::start();
    let document = format!("{{\"entities\":[{}]}}", vec!["1"; 98].join(","));
    let body = format!("{{\"docs\":[{}]}}", vec![document; 1000].join(","));
    let answer = server.client().post("/api/predicts?partial=true", body);
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].as_array().expect("a list").clone();
    assert_eq!(results.len(), 1000);
    for result in &results {
        let details = &result["error"]["details"];
        let listed = details["fields"].as_array().expect("a list").len();
        let more = details["more"].as_u64().unwrap_or(0);
        assert!(listed >= 1, "each says at least one");
        // And the two missing members.
        assert_eq!(listed as u64 + more, 100);
    }
    assert!(answer.bytes.len() < 1_000_000, "{}", answer.bytes.len());
}

#[test]
fn the_entities_of_a_request_are_bounded_together() {
    let mut setup = Setup::default();
    setup.settings.limits.max_request_entities = 5;
    let server = TestServer::start_with(setup);
    let docs = |counts: [usize; 2]| -> Value {
        counts
            .iter()
            .map(|count| json!({"doc_id": "1", "doc": "Great.", "entities": vec!["a"; *count]}))
            .collect()
    };
    assert_eq!(server.client().predict("", &docs([2, 3])).status, 200);
    for query in ["", "?partial=true"] {
        let refused = server.client().predict(query, &docs([3, 3]));
        assert_eq!((refused.status, refused.code().as_str()), (422, "validation_error"));
        assert_eq!(refused.json()["error"]["details"]["fields"][0]["path"], "docs");
    }
}

#[test]
fn a_plan_counts_the_characters_of_entities() {
    let mut plans = Plans::default();
    plans.set("short", Plan::UNLIMITED.with(Limit::CharactersPerCall, Some(20)));
    let server = TestServer::start_with(Setup { plans, ..Setup::default() });
    let key = server.issue(NewKey { plan: "short".to_owned(), ..NewKey::named("short") });
    let client = server.client_with(key.expose());
    let docs = |entity: &str| json!([{"doc_id": "1", "doc": "Great text", "entities": [entity]}]);
    assert_eq!(client.predict("", &docs("ten lette.")).status, 200);
    let refused = client.predict("", &docs("eleven lett"));
    assert_eq!((refused.status, refused.code().as_str()), (413, "payload_too_large"));
    assert_eq!(refused.json()["error"]["details"]["characters"], 21);
}

#[test]
fn health_probes_work_when_all_connections_are_taken() {
    let mut setup = Setup::default();
    setup.settings.max_connections = 100;
    setup.timeouts.header_timeout = Duration::from_mins(10);
    let server = TestServer::start_with(setup);
    let key = server.issue(NewKey::named("late"));
    let silent: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    let request = |head: &str| server.raw(format!("{head} HTTP/1.1\r\nhost: x\r\n{}\r\n", "").as_bytes());
    assert!(request("GET /livez").starts_with("HTTP/1.1 200"), "a probe has a place");
    assert!(request("GET /readyz").starts_with("HTTP/1.1 200"), "and its connection closes");
    let refused = request("POST /api/predicts");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    // A silent connection holds the place for probes for a few seconds only.
    let mut idle = server.connect();
    idle.set_read_timeout(Some(PATIENCE)).expect("a socket takes settings");
    assert_eq!(idle.read(&mut [0; 1]).ok(), Some(0), "it is closed");
    drop(silent);
    let client = server.client_with(key.expose());
    wait_until("nobody comes in", || client.predict("", &sentence()).status == 200);
}

/// A server that speaks TLS, and a client's settings for HTTP/2 with it.
fn tls_server(header_timeout: Duration, write_timeout: Duration) -> (TestServer, Arc<ClientConfig>, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, private_key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    std::fs::write(&certificate, signed.cert.pem()).expect("a file");
    std::fs::write(&private_key, signed.signing_key.serialize_pem()).expect("a file");
    let tls =
        Tls::load(TlsFiles { certificate, private_key, client_ca: None }).expect("the files are in order");
    let mut setup = Setup { tls: Some(Arc::new(tls)), ..Setup::default() };
    setup.timeouts.header_timeout = header_timeout;
    setup.timeouts.write_timeout = write_timeout;
    let mut roots = RootCertStore::empty();
    roots.add(signed.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        config.expect("the defaults are there").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (TestServer::start_with(setup), Arc::new(config), folder)
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

fn connect_tls(server: &TestServer, config: &Arc<ClientConfig>) -> TlsStream {
    let name = ServerName::try_from("localhost").expect("a valid name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a valid session");
    let mut stream = StreamOwned::new(session, server.connect());
    stream.sock.set_read_timeout(Some(PATIENCE)).expect("a socket takes settings");
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("the handshake succeeds");
    }
    stream
}

/// Answers pings until the server closes the connection.
fn answer_pings_until_closed(stream: &mut TlsStream) {
    const PING: u8 = 6;
    let mut head = [0; 9];
    loop {
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) => {
                let is_timeout = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_timeout, "the connection is never closed");
                return;
            }
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            return;
        }
        if head[3] == PING && head[4] == 0 {
            let mut pong = head;
            pong[4] = 1;
            // The server may have closed by now.
            let _ = stream.write_all(&pong).and_then(|()| stream.write_all(&payload));
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// The peer accepts no byte of any body.
const NO_WINDOW: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
/// The start of a request's head, without the rest.
const HALF_HEAD: &[u8] = b"\0\0\x04\x01\0\0\0\0\x01\x82\x87\x84\x41";
/// `GET /`, with the host `x`.
const START_PAGE: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01x";

#[test]
fn silent_http_2_peers_are_closed() {
    let (server, config, _folder) = tls_server(Duration::from_millis(500), Duration::from_mins(10));
    let silences: [&[&[u8]]; 5] =
        [&[], &[&PREFACE[..10]], &[PREFACE], &[PREFACE, SETTINGS], &[PREFACE, SETTINGS, HALF_HEAD]];
    let mut streams = silences.map(|sent| {
        let mut stream = connect_tls(&server, &config);
        for bytes in sent {
            stream.write_all(bytes).expect("the server listens");
        }
        stream
    });
    // They answer pings, so their silence is the only reason to close them.
    streams.iter_mut().for_each(answer_pings_until_closed);
}

#[test]
fn an_http_2_peer_that_reads_no_answer_is_closed() {
    let (server, config, _folder) = tls_server(Duration::from_mins(10), Duration::from_millis(500));
    let mut stream = connect_tls(&server, &config);
    for bytes in [PREFACE, NO_WINDOW, START_PAGE] {
        stream.write_all(bytes).expect("the server listens");
    }
    answer_pings_until_closed(&mut stream);
}
