//! Metrics, OpenAPI description, pages and traces of a running server.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::{Setup, TestServer, now};
use sentor::http::ListenerRole;
use sentor_store::keys::{KeyStore as _, NewKey, Scope};

fn metrics_client(server: &TestServer) -> Client {
    let new = NewKey { scopes: [Scope::Metrics].into_iter().collect(), ..NewKey::named("monitoring") };
    server.client_with(server.issue(new).expose())
}

fn metrics(server: &TestServer) -> String {
    let answer = metrics_client(server).get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    String::from_utf8(answer.bytes).expect("metrics are text")
}

/// The value of the series that a line starts with, as text.
fn value<'t>(text: &'t str, series: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

fn number(text: &str, series: &str) -> f64 {
    value(text, series).parse().expect("a number")
}

#[test]
fn metrics_need_their_scope() {
    let server = TestServer::start();
    assert_eq!(server.anonymous().get("/metrics").code(), "missing_key");
    assert_eq!(server.client().get("/metrics").code(), "insufficient_scope");
}

#[test]
fn requests_and_documents_are_counted() {
    let server = TestServer::start();
    let client = server.client();
    let docs = json!([
        {"doc_id": "1", "doc": "A great day.", "entities": ["day", "night"]},
        {"doc_id": "2", "doc": "Poor."},
    ]);
    assert_eq!(client.predict("", &docs).status, 200);
    assert_eq!(client.predict("?language=xx", &docs).status, 400);
    assert_eq!(client.get("/nowhere/at/all").status, 404);
    assert_eq!(server.raw(b"hello\r\n\r\n").split(' ').nth(1), Some("400"));

    let text = metrics(&server);
    let requests = |method: &str, plan: &str, route: &str, status: u16| {
        let labels = format!("method=\"{method}\",plan=\"{plan}\",route=\"{route}\",status=\"{status}\"");
        value(&text, &format!("sentor_http_requests_total{{{labels}}}"))
    };
    assert_eq!(requests("POST", "unlimited", "/api/predicts", 200), "1");
    assert_eq!(requests("POST", "unlimited", "/api/predicts", 400), "1");
    assert_eq!(requests("GET", "none", "unmatched", 404), "1", "a path that a client made up is no label");
    let counts = [
        ("sentor_http_request_duration_seconds_count{route=\"/api/predicts\"}", "2"),
        ("sentor_http_refusals_total{code=\"bad_request\"}", "2"),
        ("sentor_http_refusals_total{code=\"not_found\"}", "1"),
        ("sentor_documents_total{language=\"en\"}", "2"),
        ("sentor_entities_total{language=\"en\"}", "2"),
        ("sentor_characters_total{language=\"en\"}", "17"),
        ("sentor_tokens_total{language=\"en\"}", "4"),
        ("sentor_predict_request_documents_sum{language=\"en\"}", "2"),
        ("sentor_predict_phase_duration_seconds_count{phase=\"score\"}", "1"),
        ("sentor_http_requests_in_flight", "1"),
        ("sentor_model_ready{language=\"nl\",model=\"fake-nl\",version=\"1.0.0\"}", "1"),
    ];
    for (series, expected) in counts {
        assert_eq!(value(&text, series), expected, "{series}:\n{text}");
    }
    assert!(number(&text, "sentor_http_connections_open") >= 1.0);
    if cfg!(target_os = "linux") {
        assert!(number(&text, "process_resident_memory_bytes") > 0.0);
    }
}

#[test]
fn changes_of_keys_are_counted_whoever_made_them() {
    let server = TestServer::start();
    let monitor = metrics_client(&server);
    let new = NewKey { expires_at: Some(now()), ..NewKey::named("old") };
    let expired = server.issue(new);
    let revoked = server.issue(NewKey::named("lost"));
    let record = server.store().records().expect("memory can be read").pop().expect("it is the last");
    server.change_keys(|keys| keys.rotate(&record.id, now(), &mut rand::rng())).expect("it is active");
    server.change_keys(|keys| keys.revoke(&record.id)).expect("it is there");
    server.refresh_keys();

    let unknown =
        sentor_store::keys::ApiKey::generate(sentor_store::keys::Environment::Live, &mut rand::rng());
    for (key, code) in [
        (expired.expose(), "expired_key"),
        (revoked.expose(), "revoked_key"),
        (unknown.expose(), "invalid_key"),
        ("sentor_live_x", "invalid_key"),
        ("", "missing_key"),
    ] {
        assert_eq!(server.client_with(key).get("/api/usage").code(), code);
    }
    assert_eq!(server.anonymous().get("/api/usage").code(), "missing_key");
    assert_eq!(monitor.get("/api/admin/keys").code(), "insufficient_scope");

    let text = String::from_utf8(monitor.get("/metrics").bytes).expect("metrics are text");
    let events = |event: &str| value(&text, &format!("sentor_key_events_total{{event=\"{event}\"}}"));
    assert_eq!([events("created"), events("rotated"), events("revoked")], ["3", "1", "1"]);
    let refusals = |reason: &str| value(&text, &format!("sentor_key_refusals_total{{reason=\"{reason}\"}}"));
    let counts = [
        ("expired", "1"),
        ("revoked", "1"),
        ("unknown", "1"),
        ("malformed", "1"),
        ("missing", "2"),
        ("scope", "1"),
        ("minute", "0"),
    ];
    for (reason, expected) in counts {
        assert_eq!(refusals(reason), expected, "{reason}");
    }
    assert_eq!(value(&text, "sentor_store_failing{part=\"keys\"}"), "0");
}

#[test]
fn a_listener_for_metrics_shows_them_to_all_and_nothing_else() {
    let server = TestServer::start_with(Setup { role: ListenerRole::Metrics, ..Setup::default() });
    let client = server.anonymous();
    let answer = client.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.bytes).contains("sentor_build_info{"));
    assert_eq!(client.get("/livez").status, 200);
    for path in ["/", "/docs", "/api/health", "/api/usage", "/api/admin/keys", "/readyz", "/openapi.json"] {
        assert_eq!(client.get(path).code(), "not_found", "{path}");
    }
    assert_eq!(server.client().predict("", &json!([])).code(), "not_found");
}

/// The conventions that `promtool check metrics` checks, and those of this project.
#[test]
fn names_follow_the_conventions() {
    let server = TestServer::start();
    server.client().predict("", &json!([{"doc_id": "1", "doc": "Great."}]));
    let text = metrics(&server);
    let mut types = 0;
    for line in text.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        types += 1;
        assert!(name.starts_with("sentor_") || name.starts_with("process_"), "{name}");
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(!name.contains("_ms") && !name.contains("milliseconds"), "{name}: base units");
        let help = format!("# HELP {name} ");
        assert!(text.lines().any(|line| line.starts_with(&help) && line.len() > help.len()), "{name}");
    }
    assert!(types > 10);
}

/// Metric names in a text, without the endings that a histogram adds.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words
        .filter(|word| (word.starts_with("sentor_") || word.starts_with("process_")) && word.len() > 8)
        .map(|word| {
            let ending = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| word.strip_suffix(end));
            ending.unwrap_or(word).to_owned()
        })
        .collect()
}

/// Labels in a text's selectors and groups.
fn labels_in(text: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("=\"").chain(text.match_indices("=~\"")) {
        let start = text[..at].rfind(|letter| !is_name(letter)).map_or(0, |before| before + 1);
        found.insert(text[start..at].to_owned());
    }
    for group in text.split(" by (").skip(1).filter_map(|rest| rest.split(')').next()) {
        found.extend(group.split(',').map(|label| label.trim().to_owned()));
    }
    found
}

#[test]
fn documents_name_all_metrics_and_no_other() {
    let server = TestServer::start();
    let client = server.client();
    client.predict("", &json!([{"doc_id": "1", "doc": "Great."}]));
    client.get("/nowhere");
    let text = metrics(&server);
    let there: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    for path in ["docs/monitoring/alerts.yaml", "docs/monitoring/grafana.json"] {
        let page = std::fs::read_to_string(path).expect("the file is there");
        let unknown: Vec<_> = named(&page).difference(&there).cloned().collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
        assert!(named(&page).len() > 4, "{path}");
        // Labels that Prometheus itself adds.
        let given = ["job", "instance", "le"].map(str::to_owned);
        let known = labels_in(&text).into_iter().chain(given).collect();
        let unknown: Vec<_> = labels_in(&page.replace("\\\"", "\"")).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{path} selects by {unknown:?}");
    }
    let page = std::fs::read_to_string("docs/operations.md").expect("the page is there");
    for name in there.iter().filter(|name| name.starts_with("sentor_")) {
        assert!(page.contains(&format!("`{name}`")), "docs/operations.md says nothing of {name}");
    }
    let json: Value = serde_json::from_str(
        &std::fs::read_to_string("docs/monitoring/grafana.json").expect("the file is there"),
    )
    .expect("a dashboard is JSON");
    assert!(json["panels"].as_array().is_some_and(|panels| panels.len() > 5));
}

#[test]
fn the_openapi_document_matches_its_snapshot() {
    let server = TestServer::start();
    let answer = server.anonymous().get("/openapi.json");
    assert_eq!(answer.status, 200);
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_json_snapshot!("openapi", document, { ".info.version" => "[version]" });
}

#[test]
fn every_route_is_described_or_a_page() {
    let document: Value = serde_json::from_str(sentor::http::openapi_document()).expect("JSON");
    let source = std::fs::read_to_string("src/http/router.rs").expect("the router is readable");
    let routes: Vec<&str> =
        source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() > 8, "{routes:?}");
    let pages = ["/", "/web/{name}", "/docs", "/docs/{name}", "/openapi.json"];
    for route in routes.into_iter().filter(|route| !pages.contains(route)) {
        assert!(document["paths"][route].is_object(), "/openapi.json says nothing of {route}");
    }
}

#[test]
fn pages_are_served_with_a_strict_policy() {
    let server = TestServer::start();
    let client = server.anonymous();
    for path in ["/", "/web/app.js", "/docs", "/docs/errors", "/docs/errors.md", "/docs/reference"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        let again = client.get_with(path, &[("if-none-match", answer.header("etag"))]);
        assert_eq!((again.status, again.bytes.len()), (304, 0), "{path}");
    }
    for path in ["/web/nothing.js", "/web/..%2fsrc%2fmain.rs", "/docs/nothing", "/docs/%2e%2e"] {
        assert_eq!(client.get(path).code(), "not_found", "{path}");
    }
    let body = String::from_utf8(client.get("/docs/errors").bytes).expect("a page is text");
    assert!(body.contains("<h2 id=\"overloaded\">"), "the place that refusals name");
}

/// A collector that accepts one export.
fn collector() -> (String, std::sync::mpsc::Receiver<ExportTraceServiceRequest>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, delivery) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a delivery");
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).expect("the delivery arrives");
            bytes.extend_from_slice(&buffer[..count]);
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let (head, body) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 4..]);
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("the length is said").parse().expect("a number");
            if body.len() >= length {
                assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
                assert!(head.contains("content-type: application/x-protobuf"), "{head}");
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it waits");
                let request = ExportTraceServiceRequest::decode(body).expect("the message of OTLP");
                sender.send(request).expect("the test waits");
                return;
            }
        }
    });
    (address, delivery)
}

#[test]
fn traces_are_continued_and_exported() {
    let server = TestServer::start();
    let (address, delivery) = collector();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let exporter = {
        let _entered = runtime.enter();
        sentor::telemetry::Exporter::start(Some(&address)).expect("an address").expect("it is set")
    };
    server.app.export_traces(exporter);

    let body = json!({"docs": [{"doc_id": "1", "doc": "Secret great.", "entities": ["secret"]}]});
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers =
        [("content-type", "application/json"), ("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"))];
    let answer = server.client().post_with("/api/predicts", &headers, body.to_string());
    assert_eq!(answer.status, 200);
    let own = answer.header("traceparent");
    assert!(own.starts_with(&format!("00-{trace}-")), "{own}");

    // The server finishes the spans after the client has the whole answer, so closing the exporter here could lose them. The
    // SDK exports a batch after five seconds.
    let sent = delivery.recv_timeout(std::time::Duration::from_mins(1)).expect("a delivery");
    runtime.block_on(server.app.exporter().expect("it was given").close());
    assert!(!format!("{sent:?}").to_lowercase().contains("secret"), "no text leaves");
    let process_spans = &sent.resource_spans[0];
    let resource = format!("{:?}", process_spans.resource);
    assert!(resource.contains("service.name") && resource.contains("\"sentor\""), "{resource}");
    let spans = &process_spans.scope_spans[0].spans;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST /api/predicts", "receive", "score", "write"]);
    let hexadecimal = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert!(spans.iter().all(|span| hexadecimal(&span.trace_id) == trace));
    assert_eq!(hexadecimal(&spans[0].parent_span_id), "00f067aa0ba902b7");
    assert!(own.contains(&hexadecimal(&spans[0].span_id)));
    assert!(spans[1..].iter().all(|span| span.parent_span_id == spans[0].span_id));
    runtime.shutdown_background();
}
