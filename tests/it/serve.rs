//! `sentor serve`: keys, listeners, connections and the log of a running program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::program::{Server, key_in, run, sentor, text};

#[test]
fn the_first_start_makes_a_key_and_later_ones_do_not() {
    let data = TempDir::new().expect("a folder");
    let server = Server::start(data.path());
    let documents =
        json!({"docs": [{"doc_id": "1", "doc": "Verklapmenietdit is great.", "entities": ["dit"]}]});
    let url = server.url.clone();
    let (code, stdout, stderr) = {
        assert_eq!(Client::new(&url, None).get("/readyz").status, 200, "ready once it says so");
        server.stop("-TERM")
    };
    assert_eq!(code, Some(0), "{stderr}");
    let key = key_in(&stdout).expect("the first start prints a key");
    assert!(key.starts_with("sentor_test_"));
    assert!(stdout.contains(&format!("curl '{url}/api/predicts' -H \"x-api-key: {key}\"")), "{stdout}");
    assert!(!stderr.contains(&key), "no key is logged");

    let server = Server::start(data.path());
    let answer = server.client(&key).post("/api/predicts", documents.to_string());
    assert_eq!(answer.status, 200, "{}", text(&answer.bytes));
    let refused = server.client(&format!("{key}x")).post("/api/predicts", documents.to_string());
    assert_eq!(refused.status, 401);
    let (code, stdout, stderr) = server.stop("-INT");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(key_in(&stdout), None, "a key is shown once");
    assert!(stdout.contains("$SENTOR_API_KEY") && stdout.contains("sentor keys create"), "{stdout}");
    for secret in [key.as_str(), "Verklapmenietdit"] {
        assert!(!stderr.contains(secret), "the log, at its chattiest, holds no key and no text");
    }
    let lines: Vec<Value> = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), stderr.lines().count(), "every line is JSON");
    let line = lines.iter().find(|line| line["status"] == 200).expect("a line for the request");
    assert_eq!((&line["route"], &line["documents"]), (&json!("/api/predicts"), &json!(1)));
    assert!(line["request_id"].is_string() && line["duration_ms"].is_number() && line["key_id"].is_string());
}

#[test]
fn the_admin_interface_can_have_an_address_of_its_own() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "ops", "--scope", "admin"]).stdout);
    let mut server = Server::start_with(data.path(), &["--admin-listen", "127.0.0.1:0"], &[]);
    let mut line = String::new();
    server.stdout.read_line(&mut line).expect("stdout can be read");
    let url = line.trim().strip_prefix("admin interface on ").expect("it says where").to_owned();
    let admin = Client::new(&url, Some(key.trim()));
    let made = admin.post("/api/admin/keys", json!({"name": "made over HTTP"}).to_string());
    assert_eq!(made.status, 201);
    let made = made.json();
    let client = server.client(made["key"].as_str().expect("the key"));
    assert_eq!(client.get("/api/health").status, 200);
    assert_eq!((client.get("/api/admin/keys").status, admin.get("/api/health").status), (404, 404));
    let (code, _, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "both listeners end: {log}");
    let list = text(&run(data.path(), &["keys", "list"]).stdout);
    assert!(list.contains("made over HTTP"), "{list}");
}

#[test]
fn hundreds_of_connections_wait_in_the_backlog_and_are_served() {
    const CROWD: usize = 300;
    // Skipped if the system allows fewer; its default is higher.
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    if allowed.is_some_and(|most: usize| most < CROWD) {
        return;
    }
    let data = TempDir::new().expect("a folder");
    let server = Server::start(data.path());
    let address = server.url.strip_prefix("http://").and_then(|at| at.parse().ok()).expect("an address");
    // A halted server accepts nothing, so new connections wait in the backlog.
    server.signal("-STOP");
    let connect =
        |_| TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the system takes it");
    let crowd: Vec<TcpStream> = (0..CROWD).map(connect).collect();
    server.signal("-CONT");
    for mut stream in crowd {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("it is connected");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    server.stop("-TERM");
}

#[test]
fn the_line_of_a_request_is_written_without_another_request() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let client = Client::new(&server.url, None);
    assert_eq!(client.get_with("/livez", &[("x-request-id", "the-last-one")]).status, 200);
    server.wait_for_log("\"message\":\"request answered\",\"request_id\":\"the-last-one\"");
    server.stop("-TERM");
}

#[test]
fn plain_http_beyond_loopback_is_warned_of() {
    let data = TempDir::new().expect("a folder");
    let warned = |address: &str| {
        // It ends by itself, since there are no models.
        let output = run(data.path(), &["serve", "--listen", address, "--models-dir", "/nowhere"]);
        text(&output.stderr).matches("travel unencrypted").count()
    };
    assert_eq!((warned("0.0.0.0:0"), warned("127.0.0.1:0")), (1, 0));
}

#[test]
fn a_configured_key_is_accepted_and_no_other_key_is_made() {
    let (elsewhere, data) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let key = text(&run(elsewhere.path(), &["keys", "create", "container"]).stdout);
    let file = elsewhere.path().join("key");
    std::fs::write(&file, &key).expect("a file");
    let mut child = sentor(data.path())
        .args(["serve", "--listen", "localhost:0", "--api-key-file"])
        .arg(&file)
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("stdout can be read");
    let url = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
    let server = Server { child, stdout, log: Arc::default(), reader: std::thread::spawn(|| ()), url };
    assert_eq!(server.client(key.trim()).get("/api/health").status, 200);
    let (_, stdout, _) = server.stop("-TERM");
    assert_eq!(key_in(&stdout), None);
}

#[test]
fn metrics_can_have_a_listener_of_their_own() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "shop"]).stdout);
    let id = serde_json::from_slice::<Value>(&run(data.path(), &["keys", "list", "--json"]).stdout)
        .expect("JSON")[0]["id"]
        .as_str()
        .expect("a key has an identifier")
        .to_owned();
    let mut server = Server::start_with(data.path(), &["--metrics-listen", "127.0.0.1:0"], &[]);
    let mut line = String::new();
    server.stdout.read_line(&mut line).expect("stdout can be read");
    let url = line.trim().strip_prefix("metrics on ").expect("the second line says where").to_owned();
    let monitor = Client::new(url.strip_suffix("/metrics").expect("with its path"), None);
    let metrics = || text(&monitor.get("/metrics").bytes);

    assert_eq!(monitor.get("/api/health").status, 404, "nothing else is there");
    let client = server.client(key.trim());
    assert_eq!(client.get("/metrics").code(), "insufficient_scope", "where callers are, it needs a key");
    let document = json!([{"doc_id": "1", "doc": "It is great.", "entities": ["it"]}]);
    assert_eq!(client.predict("", &document).status, 200);
    let read = metrics();
    for series in [
        "sentor_documents_total{language=\"en\"} 1",
        "sentor_engine_batches_total{model=\"sentor-en\"} ",
        "sentor_key_events_total{event=\"revoked\"} 0",
        "sentor_key_refusals_total{reason=\"scope\"} 1",
        "sentor_store_failing{part=\"usage\"} 0",
        "sentor_engine_stalled_seconds 0",
    ] {
        assert!(read.contains(series), "{series} is not in {read}");
    }
    // Another process revokes the key, and the server counts that.
    assert!(run(data.path(), &["keys", "revoke", &id]).status.success());
    let revoked = "sentor_key_events_total{event=\"revoked\"} 1";
    let started = Instant::now();
    while !metrics().contains(revoked) {
        assert!(started.elapsed() < Duration::from_mins(1), "the revocation is never counted");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, _, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{log}");
}
