//! Inputs that are nearly valid: seeds with pieces changed, removed, doubled and inserted. Nothing may panic or hang,
//! and nothing invalid may be accepted.
//!
//! `fuzz/` has the same parsers for a coverage-guided fuzzer, which needs a nightly compiler. This runs with the stable
//! one, on every change. `PROPTEST_CASES=20000 cargo test --release --workspace --test it mutations` runs longer.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::{Setup, TestServer, now, read_all};
use sentor::config::{Config, Environment, Overrides};
use sentor::telemetry::TraceContext;
use sentor_engine::registry::ModelFolder;
use sentor_store::keys::{ApiKey, NewKey};

const BODIES: [&str; 4] = [
    r#"{"docs":[{"doc_id":"1","doc":"Great. Poor!","entities":["a","b"]},{"doc_id":"2","doc":"😀 é"}]}"#,
    r#"{"language":"nl","docs":[{"doc_id":"","doc":"\u00e9\ud83d\ude00","entities":null,"x":[1,-2.5e9,true]}]}"#,
    r#"[[[[{"docs":{}}]]]]"#,
    "\u{feff}{\"docs\": [] }",
];

const REQUEST: &str = "POST /api/predicts?language=en HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                       x-api-key: KEY\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
                       Content-Length: 40\r\nConnection: close\r\n\r\n{\"docs\":[{\"doc_id\":\"1\",\"doc\":\"Great.\"}]}";

const SETTINGS: &str = "listen = \"[::1]:0\"\ncors_origins = [\"https://a.example\", \"*\"]\nworkers = 0x10\n\
                        log_level = \"info,sentor::http=debug\"\n[plans.gold]\nrequests_per_minute = 10\nweight = 4\n";

/// Pieces that parsers treat specially.
const PIECES: [&str; 24] = [
    "\"", "\\", "\\u", "\\ud800", "{", "}", "[", "]", ":", ",", "null", "1e999", "-", "\r\n", "\r\n\r\n",
    "\0", "\u{202e}", "😀", "é", "=", "#", "%00", "../", "docs",
];

/// A change at a place, given as a share of the length.
#[derive(Clone, Debug)]
enum Change {
    Flip(u8),
    Lose(usize),
    Double(usize),
    Put(usize),
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Flip),
        (1..20_usize).prop_map(Change::Lose),
        (1..40_usize).prop_map(Change::Double),
        (0..PIECES.len()).prop_map(Change::Put),
    ];
    vec((any::<prop::sample::Index>(), change), 1..8)
}

fn changed(seed: &[u8], changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (place, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        let end = |length: usize| (at + length).min(bytes.len());
        match change {
            Change::Flip(bits) => bytes[at] ^= bits,
            Change::Lose(length) => drop(bytes.drain(at..end(*length))),
            Change::Double(length) => {
                let piece = bytes[at..end(*length)].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Put(piece) => drop(bytes.splice(at..at, PIECES[*piece].bytes())),
        }
    }
    bytes
}

static SERVER: LazyLock<(TestServer, Client, String)> = LazyLock::new(|| {
    let mut setup = Setup::default();
    setup.timeouts.header_timeout = Duration::from_millis(200);
    setup.settings.body_timeout = Duration::from_millis(200);
    let server = TestServer::start_with(setup);
    let key = server.issue(NewKey::named("mutations")).expose().to_owned();
    let client = server.client_with(&key);
    (server, client, key)
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(200)) })]

    #[test]
    fn random_bodies_are_scored_or_rejected(seed in 0..BODIES.len(), changes in changes()) {
        let (_, client, _) = &*SERVER;
        let answer = client.post("/api/predicts", changed(BODIES[seed].as_bytes(), &changes));
        prop_assert!([200, 400, 422].contains(&answer.status), "{}", answer.status);
        let body = answer.json();
        prop_assert!(body["results"].is_array() || body["error"]["code"].is_string());
    }

    #[test]
    fn random_keys_are_parsed_exactly_or_rejected(changes in changes()) {
        let (key, _) = NewKey::named("test").generate(now(), &mut rand::rng());
        let bytes = changed(key.expose().as_bytes(), &changes);
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(text.parse::<ApiKey>().is_err() || text == key.expose());
    }

    #[test]
    fn random_trace_headers_are_continued_or_replaced(changes in changes()) {
        let bytes = changed(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &changes);
        let own = TraceContext::follow(Some(&String::from_utf8_lossy(&bytes))).traceparent();
        prop_assert!(TraceContext::follow(Some(&own)).parent_id.is_some());
    }

    #[test]
    fn random_configurations_are_read_or_rejected(changes in changes()) {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("sentor.toml"), changed(SETTINGS.as_bytes(), &changes)).expect("a file");
        let environment = Environment { working_directory: folder.path().to_owned(), ..Environment::default() };
        if let Err(error) = Config::load_in(&Overrides::default(), &environment) {
            prop_assert!(error.to_string().contains("sentor.toml"), "the message names the file: {error}");
        }
    }

    #[test]
    fn random_manifests_are_read_or_rejected(changes in changes()) {
        static SEED: LazyLock<Vec<u8>> =
            LazyLock::new(|| std::fs::read("models/sentor-en/manifest.json").expect("the model is there"));
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("manifest.json"), changed(&SEED, &changes)).expect("a file");
        // A mutated file may still be valid: any letters are a valid name.
        if let Err(error) = ModelFolder::open(folder.path()) {
            prop_assert!(error.to_string().contains("manifest.json"), "the message names the file: {error}");
        }
    }

    #[test]
    fn random_paths_are_found_or_rejected(changes in changes(), seed in 0..4_usize) {
        let (server, _, _) = &*SERVER;
        let seed = ["/docs/errors", "/web/app.js", "/api/health", "/openapi.json"][seed];
        let path = changed(seed.as_bytes(), &changes);
        let mut request = b"GET ".to_vec();
        request.extend(path.iter().filter(|byte| byte.is_ascii_graphic()));
        request.extend(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = server.raw(&request);
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        // `/docs` redirects to its first page.
        prop_assert!(
            ["200", "302", "400", "404"].contains(&&*status),
            "{} {answer}",
            String::from_utf8_lossy(&request)
        );
    }
}

proptest! {
    // Some of these wait for a timeout of the server.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(60)) })]

    #[test]
    fn random_requests_are_answered_or_closed(changes in changes()) {
        let (server, client, key) = &*SERVER;
        let mut stream = server.connect();
        // The server may close the connection before everything is sent.
        let _ = stream.write_all(&changed(REQUEST.replace("KEY", key).as_bytes(), &changes));
        let answer = read_all(&mut stream);
        prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "{answer}");
        prop_assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
        prop_assert_eq!(client.get("/livez").status, 200);
    }
}

/// The number in `PROPTEST_CASES`, or else one that takes seconds.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}
