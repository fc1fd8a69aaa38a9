//! Clients that no HTTP library can play, and the shutdown of the server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::fake::FORESEEN_BYTES;
use crate::support::{Setup, TestServer, read_all, status_and_body};
use sentor::http::Stop;
use sentor_store::keys::NewKey;

const BODY: &str = r#"{"docs":[{"doc_id":"1","doc":"Great."}]}"#;

/// A predict request with these headers besides its own.
fn predict(version: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /api/predicts {version}\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn key(server: &TestServer) -> String {
    server.issue(NewKey::named("raw")).expose().to_owned()
}

/// A request that a gated server holds.
fn held(server: &TestServer) -> Vec<u8> {
    let headers = format!("x-api-key: {}\r\n", key(server));
    predict("HTTP/1.1", &headers, r#"{"docs":[{"doc_id":"1","doc":"[held]"}]}"#)
}

fn works(server: &TestServer) {
    assert_eq!(server.client().predict("", &json!([{"doc_id": "1", "doc": "Great."}])).status, 200);
}

#[test]
fn http_1_0_is_supported() {
    let server = TestServer::start();
    let key = key(&server);
    let answer = server.raw(&predict("HTTP/1.0", &format!("x-api-key: {key}\r\n"), BODY));
    let (status, body) = status_and_body(&answer);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(body["results"][0]["predicted_label"], "positive");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "HTTP/1.0 knows no chunks");
    let answer = server.raw(b"GET /api/health HTTP/1.0\r\n\r\n");
    assert_eq!(status_and_body(&answer).0, 200, "not even a host");
}

#[test]
fn odd_key_headers_get_a_401_with_the_reason() {
    let server = TestServer::start();
    let key = key(&server);
    let long = "k".repeat(10_000);
    let cases: [(String, &str, &str); 7] = [
        (format!("x-api-key: {key}\r\nx-api-key: {key}\r\n"), "invalid_key", "2 times"),
        ("x-api-key:\r\n".to_owned(), "missing_key", "empty"),
        ("x-api-key:   \r\n".to_owned(), "missing_key", "empty"),
        ("x-api-key: sleutél\r\n".to_owned(), "invalid_key", "characters"),
        (format!("x-api-key: {long}\r\n"), "invalid_key", "longer"),
        ("authorization: Bearer \r\n".to_owned(), "missing_key", "x-api-key"),
        ("authorization: Bearer a\r\nauthorization: Bearer b\r\n".to_owned(), "invalid_key", "2 times"),
    ];
    for (headers, code, word) in cases {
        let (status, body) = status_and_body(&server.raw(&predict("HTTP/1.1", &headers, BODY)));
        assert_eq!((status, body["error"]["code"].as_str()), (401, Some(code)), "{headers}");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{body}");
    }
    works(&server);
}

#[test]
fn malformed_http_gets_an_error_body() {
    let server = TestServer::start();
    let many_headers = "a: b\r\n".repeat(150);
    let cases: [(Vec<u8>, u16, &str); 6] = [
        (b"hello\r\n\r\n".to_vec(), 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(), 400, "bad_request"),
        (predict("HTTP/1.1", &many_headers, BODY), 431, "headers_too_large"),
        (predict("HTTP/1.1", &format!("a: {}\r\n", "b".repeat(1 << 20)), BODY), 431, "headers_too_large"),
        (predict("HTTP/1.1", &format!("a: {}\r\n", "b".repeat(66_000)), BODY), 431, "headers_too_large"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)).into_bytes(), 414, "uri_too_long"),
    ];
    for (bytes, status, code) in cases {
        let answer = server.raw(&bytes);
        let (got, body) = status_and_body(&answer);
        assert_eq!((got, body["error"]["code"].as_str()), (status, Some(code)), "{answer}");
        assert_eq!(body["status_code"], status.to_string());
        assert!(answer.contains("x-request-id: "));
    }
    works(&server);
}

#[test]
fn a_slow_body_times_out() {
    let mut setup = Setup::default();
    setup.settings.body_timeout = Duration::from_millis(700);
    let server = TestServer::start_with(setup);
    let head = predict("HTTP/1.1", &format!("x-api-key: {}\r\n", key(&server)), BODY);
    let mut stream = server.connect();
    let started = Instant::now();
    stream.write_all(&head[..head.len() - 20]).expect("the server listens");
    let mut writer = stream.try_clone().expect("a socket can be cloned");
    std::thread::spawn(move || {
        // A byte at a time, until the server closes the connection.
        while writer.write_all(b" ").is_ok() && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let answer = read_all(&mut stream);
    let (status, body) = status_and_body(&answer);
    assert_eq!((status, body["error"]["code"].as_str()), (408, Some("request_timeout")), "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(700));
    works(&server);
}

#[test]
fn a_slow_head_times_out() {
    let mut setup = Setup::default();
    setup.timeouts.header_timeout = Duration::from_millis(500);
    let server = TestServer::start_with(setup);
    let started = Instant::now();
    let answer = server.raw(b"POST /api/predicts HTTP/1.1\r\nHost:");
    assert_eq!(status_and_body(&answer).0, 0, "{answer}");
    assert!(started.elapsed() < Duration::from_secs(5));
    works(&server);
}

#[test]
fn connections_beyond_the_limit_wait_for_room() {
    let mut setup = Setup::default();
    setup.settings.max_connections = 2;
    setup.timeouts.header_timeout = Duration::from_secs(30);
    let server = TestServer::start_with(setup);
    let held = [server.connect(), server.connect()];
    let mut third = server.connect();
    third
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("the system takes it");
    third.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket takes settings");
    assert_eq!(read_one(&mut third), None, "there is no room");
    drop(held);
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes settings");
    assert_eq!(read_one(&mut third), Some(b'H'), "its answer begins");
}

fn read_one(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok().map(|()| byte[0])
}

#[test]
fn work_for_a_disconnected_client_is_withdrawn() {
    let server = TestServer::start();
    let request = predict("HTTP/1.1", &format!("x-api-key: {}\r\n", key(&server)), BODY);
    for length in [5, request.len() / 2, request.len() - 1, request.len()] {
        let mut stream = server.connect();
        stream.write_all(&request[..length]).expect("the server listens");
        stream.shutdown(Shutdown::Both).expect("a socket can be closed");
    }
    works(&server);
}

#[test]
fn work_for_a_client_that_went_away_is_dropped() {
    let (server, gate) = TestServer::gated(Setup::default());
    let mut stream = server.connect();
    stream.write_all(&held(&server)).expect("the server listens");
    gate.until_it_holds(1);
    drop(stream);
    gate.until_it_holds(0);
}

#[test]
fn a_client_sees_the_rejection_of_a_large_body() {
    let server = TestServer::start();
    let key = key(&server);
    let length = 100 << 20;
    let head = |headers: &str| {
        format!(
            "POST /api/predicts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\
             x-api-key: {key}\r\nConnection: close\r\n"
        )
    };
    let announced = format!("{}Content-Length: {length}\r\n\r\n", head(""));
    let mut stream = server.connect();
    stream.write_all(announced.as_bytes()).expect("the server listens");
    let piece = vec![b' '; 1 << 20];
    for _ in 0..100 {
        stream.write_all(&piece).expect("the server reads on, so that its answer gets through");
    }
    let (status, body) = status_and_body(&read_all(&mut stream));
    assert_eq!((status, body["error"]["code"].as_str()), (413, Some("payload_too_large")));

    // Without a length, the size is noticed while reading.
    let mut stream = server.connect();
    let chunked = format!("{}Transfer-Encoding: chunked\r\n\r\n", head(""));
    stream.write_all(chunked.as_bytes()).expect("the server listens");
    for _ in 0..20 {
        write!(stream, "{:x}\r\n", piece.len()).expect("the server reads on");
        stream.write_all(&piece).expect("the server reads on");
        stream.write_all(b"\r\n").expect("the server reads on");
    }
    stream.write_all(b"0\r\n\r\n").expect("the server reads on");
    assert_eq!(status_and_body(&read_all(&mut stream)).0, 413);

    // A client with `Expect: 100-continue` gets the rejection only.
    let expecting = format!("{}Content-Length: {length}\r\n\r\n", head("Expect: 100-continue\r\n"));
    let mut stream = server.connect();
    stream.write_all(expecting.as_bytes()).expect("the server listens");
    let answer = read_all(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(!answer.contains("100 Continue"));
    works(&server);
}

#[test]
fn a_rejected_body_leaves_its_connection_open() {
    let server = TestServer::start();
    let key = key(&server);
    let mut stream = server.connect();
    let request = |key: &str, length: usize| {
        format!(
            "POST /api/predicts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             x-api-key: {key}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    // In the packet of the head, in the next one, and in many.
    for (together, length) in [(true, 1), (true, 4000), (false, 4000), (true, 1 << 20), (false, 1 << 20)] {
        let (head, body) = (request("wrong", length), " ".repeat(length));
        if together {
            stream.write_all((head + &body).as_bytes()).expect("the connection is open");
            assert_eq!(read_answer(&mut stream), 401, "{length} bytes with the head");
        } else {
            stream.write_all(head.as_bytes()).expect("the connection is open");
            assert_eq!(read_answer(&mut stream), 401, "{length} bytes after the answer");
            stream.write_all(body.as_bytes()).expect("the connection is open");
        }
    }
    stream.write_all((request(&key, BODY.len()) + BODY).as_bytes()).expect("the connection is open");
    assert_eq!(read_answer(&mut stream), 200);
}

/// Reads one answer, with its body, and no further; returns its status.
fn read_answer(stream: &mut TcpStream) -> u16 {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(read_one(stream).expect("the connection is open"));
    }
    let head = String::from_utf8(bytes).expect("a head is ASCII").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    stream.read_exact(&mut vec![0; length.expect("answers have a length")]).expect("the connection is open");
    status_and_body(&head).0
}

#[test]
fn a_soft_stop_finishes_requests_and_accepts_no_more() {
    let (server, gate) = TestServer::gated(Setup::default());
    let client = server.client();
    let running =
        std::thread::spawn(move || client.predict("", &json!([{"doc_id": "1", "doc": "[held]"}])).status);
    gate.until_it_holds(1);
    server.tell(Stop::Softly);
    let told = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(told.elapsed() < Duration::from_mins(1), "nobody new comes in");
        std::thread::sleep(Duration::from_millis(10));
    }
    gate.open();
    assert_eq!(running.join().expect("the client does not panic"), 200);
    server.join();
}

#[test]
fn a_stop_is_hard_after_the_grace_time_or_a_second_signal() {
    for (grace, second_word) in
        [(Duration::from_millis(100), None), (Duration::from_mins(1), Some(Stop::Now))]
    {
        let mut setup = Setup::default();
        setup.timeouts.shutdown_grace = grace;
        let (server, gate) = TestServer::gated(setup);
        let mut stream = server.connect();
        stream.write_all(&held(&server)).expect("the server listens");
        gate.until_it_holds(1);
        let started = Instant::now();
        server.tell(Stop::Softly);
        if let Some(stop) = second_word {
            server.tell(stop);
        }
        server.join();
        assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
        assert_eq!(status_and_body(&read_all(&mut stream)).0, 0, "the request was cut off");
    }
}

#[test]
fn overload_rejects_requests_before_their_body_is_read() {
    let server = TestServer::start();
    let key = server.issue(NewKey::named("test"));
    // The head alone: the answer comes although the body never does.
    let head = |bytes: usize| {
        format!(
            "POST /api/predicts HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n",
            key.expose()
        )
    };
    let answer = server.raw(head(FORESEEN_BYTES).as_bytes());
    let (status, body) = status_and_body(&answer);
    assert_eq!((status, body["error"]["code"].as_str()), (503, Some("overloaded")), "{answer}");
    assert_eq!(body["retry_after"], 7);
    assert!(!answer.contains("100 Continue"), "{answer}");
}

#[test]
fn http_1_1_needs_one_host() {
    let server = TestServer::start();
    for (hosts, status) in
        [("", 400), ("Host: x\r\n", 200), ("Host: x\r\nHost: x\r\n", 400), ("Host: x\r\nHost: y\r\n", 400)]
    {
        let answer =
            server.raw(format!("GET /livez HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n").as_bytes());
        let (got, body) = status_and_body(&answer);
        assert_eq!(got, status, "{hosts:?}: {answer}");
        assert!(status == 200 || body["error"]["code"] == "bad_request", "{answer}");
    }
    assert_eq!(status_and_body(&server.raw(b"GET /livez HTTP/1.0\r\n\r\n")).0, 200);
}
