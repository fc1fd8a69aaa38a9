//! Reloading of models on SIGHUP.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::program::{Server, run, text};

#[test]
fn a_stop_during_a_reload_is_clean() {
    let data = TempDir::new().expect("a folder");
    // ONNX Runtime crashes if the process ends while it loads. When that is depends on the machine.
    for delay in [20, 150, 400] {
        let server = Server::start_with(data.path(), &[], &[]);
        server.signal("-HUP");
        std::thread::sleep(Duration::from_millis(delay));
        let (code, _, log) = server.stop("-TERM");
        assert_eq!(code, Some(0), "{delay} ms: {log}");
    }
}

#[test]
fn a_failed_reload_changes_nothing() {
    let data = TempDir::new().expect("a folder");
    let config = data.path().join("sentor.toml");
    std::fs::write(&config, "").expect("a file");
    let key = text(&run(data.path(), &["keys", "create", "reload"]).stdout);
    let server =
        Server::start_with(data.path(), &[], &[("SENTOR_CONFIG", config.to_str().expect("a plain path"))]);
    let client = server.client(key.trim());
    let document = json!([{"doc_id": "1", "doc": "It is great."}]);
    assert_eq!(client.predict("", &document).status, 200);
    std::fs::write(&config, "model_en = \"./nowhere\"\n").expect("a file");
    server.signal("-HUP");
    server.wait_for_log("cannot reload the models");
    assert_eq!(client.predict("", &document).status, 200);
    assert_eq!(client.get("/readyz").status, 200);
    let (code, _, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{log}");
    let line = log.lines().find(|line| line.contains("cannot reload the models"));
    assert!(line.is_some_and(|line| line.contains("nowhere/manifest.json")), "{log}");
}
