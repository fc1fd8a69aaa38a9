//! The operator's view of the running program: its log, and `sentor health`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::program::{Server, run, sentor, text};

#[test]
fn an_unread_log_blocks_no_request() {
    let data = TempDir::new().expect("a folder");
    let mut command = sentor(data.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    // Piped and never read: with some 64 KiB the pipe is full.
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("stdout can be read");
    let url = line.trim().strip_prefix("listening on ").expect("the server is ready").to_owned();
    let client = Client::new(&url, None);
    for _ in 0..1000 {
        assert_eq!(client.get("/livez").status, 200);
    }
    let mut head = vec![0; 64 << 10];
    child.stderr.as_mut().expect("stderr is piped").read_exact(&mut head).expect("the pipe was full");
    assert!(text(&head).matches("\"message\":\"request answered\"").count() > 10);
    child.kill().expect("the server runs");
    child.wait().expect("the server ends");
}

#[test]
fn no_log_level_logs_a_text() {
    /// Letters that appear in this order in no other text of a log.
    const SECRET: &str = "qzxjvkwyqzjxvk";

    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "x"]).stdout).trim().to_owned();
    let server = Server::start_with(data.path(), &[], &[]);
    let documents =
        json!({"docs": [{"doc_id": "1", "doc": format!("{SECRET} is great."), "entities": [SECRET]}]});
    let answer = server.client(&key).post("/api/predicts", documents.to_string());
    assert_eq!(answer.status, 200, "{}", text(&answer.bytes));
    let (_, _, log) = server.stop("-TERM");
    assert!(log.contains("\"level\":\"DEBUG\"") || log.contains("request answered"), "{log}");
    assert!(!log.contains(SECRET));
    // Single letters in other lines, such as `Replacing char 'V'`, leak the text if it is a subsequence of them.
    let pieces = log.split(|letter: char| !letter.is_alphanumeric());
    let mut letters = pieces.filter(|piece| piece.chars().count() == 1).flat_map(str::chars);
    let spelled = SECRET.chars().take_while(|&letter| letters.any(|found| found == letter)).count();
    assert!(spelled < SECRET.len() / 2, "the log spells {spelled} letters of {SECRET}");
}

#[test]
fn sighup_reloads_plans_limits_and_cors_and_names_settings_that_need_a_restart() {
    let data = TempDir::new().expect("a folder");
    let file = data.path().join("sentor.toml");
    std::fs::write(&file, "max_documents = 5\n").expect("a file");
    let config = ("SENTOR_CONFIG", file.to_str().expect("a path of text"));
    let server = Server::start_with(data.path(), &[], &[config]);
    let key_of = |plan: &str| {
        let output = sentor(data.path())
            .env(config.0, config.1)
            .args(["keys", "create", "x", "--plan", plan])
            .output();
        text(&output.expect("the program starts").stdout).trim().to_owned()
    };
    let client = server.client(&key_of("free"));
    let documents =
        json!({"docs": [{"doc_id": "1", "doc": "Great."}, {"doc_id": "2", "doc": "Bad."}]}).to_string();
    let origin = [("origin", "https://a.example")];
    let allowed =
        |client: &Client| client.get_with("/livez", &origin).header("access-control-allow-origin").to_owned();
    assert_eq!(client.post("/api/predicts", documents.clone()).status, 200);
    assert_eq!(allowed(&client), "");

    let changed = "max_documents = 1\nmax_connections = 100\ncors_origins = [\"https://a.example\"]\n\
                   [plans.free]\ncharacters_per_call = 10\n[plans.gold]\n";
    std::fs::write(&file, changed).expect("a file");
    server.signal("-HUP");
    server.wait_for_log("take effect only at a restart");
    let refused = client.post("/api/predicts", documents.clone());
    assert_eq!(refused.status / 100, 4, "{}", text(&refused.bytes));
    assert_eq!(allowed(&client), "https://a.example");
    let longer = json!({"docs": [{"doc_id": "1", "doc": "Great and good."}]}).to_string();
    assert_eq!(client.post("/api/predicts", longer.clone()).status / 100, 4, "the plan allows 10 characters");
    assert_eq!(server.client(&key_of("gold")).post("/api/predicts", longer).status, 200);

    // An invalid configuration changes nothing.
    std::fs::write(&file, "max_documents = 5\nnonsense = 1\n").expect("a file");
    server.signal("-HUP");
    server.wait_for_log("there is no setting `nonsense`");
    assert_eq!(client.post("/api/predicts", documents).status / 100, 4);
    let (code, _, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{log}");
    let line = |words: &str| log.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned();
    assert!(
        line("models are reloaded").contains("\"settings\":\"cors_origins, max_documents, plans\""),
        "{log}"
    );
    assert!(line("take effect only at a restart").contains("\"settings\":\"max_connections\""), "{log}");
}

#[test]
fn a_hang_up_reads_the_file_of_the_static_key_again() {
    let (data, other) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let [first, second] = ["first", "second"].map(|name| {
        let made = run(other.path(), &["keys", "create", name]);
        text(&made.stdout).trim().to_owned()
    });
    let file = data.path().join("key");
    std::fs::write(&file, &first).expect("a file");
    let server = Server::start_with(
        data.path(),
        &[],
        &[("SENTOR_API_KEY_FILE", file.to_str().expect("a path of text"))],
    );
    let status = |key: &str| {
        let documents = json!({"docs": [{"doc_id": "1", "doc": "Great."}]}).to_string();
        server.client(key).post("/api/predicts", documents).status
    };
    assert_eq!((status(&first), status(&second)), (200, 401));
    std::fs::write(&file, &second).expect("a file");
    server.signal("-HUP");
    server.wait_for_log("models are reloaded");
    assert_eq!((status(&first), status(&second)), (401, 200));
    // What is no key leaves all as it was.
    std::fs::write(&file, "no key").expect("a file");
    server.signal("-HUP");
    server.wait_for_log("cannot reload the models");
    assert_eq!((status(&first), status(&second)), (401, 200));
    let (code, _, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(&first) && !log.contains(&second), "{log}");
}

#[test]
fn health_asks_the_server_of_the_same_configuration() {
    let data = TempDir::new().expect("a folder");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let certified =
        rcgen::generate_simple_self_signed(["sentor.internal".to_owned()]).expect("a certificate");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| data.path().join(name));
    std::fs::write(&certificate, certified.cert.pem()).expect("a file");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("a file");
    let file = data.path().join("sentor.toml");
    let write = |tls: bool| {
        let mut settings = format!("listen = \"0.0.0.0:{port}\"\n");
        if tls {
            settings += "tls_certificate = \"cert.pem\"\ntls_private_key = \"key.pem\"\n";
        }
        std::fs::write(&file, settings).expect("a file");
    };
    let health = || {
        let output = sentor(data.path()).env("SENTOR_CONFIG", &file).arg("health").output();
        let output = output.expect("the program starts");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    for tls in [false, true] {
        write(tls);
        let (code, stdout, stderr) = health();
        assert_eq!((code, &*stdout), (Some(1), ""), "nobody listens: {stderr}");
        assert!(stderr.contains(&format!("127.0.0.1:{port}")), "{stderr}");
        let mut command = sentor(data.path());
        let server = Server::spawn(command.arg("serve").env("SENTOR_CONFIG", &file));
        assert_eq!(health(), (Some(0), "ready\n".to_owned(), String::new()), "with TLS: {tls}");
        server.stop("-TERM");
    }
    // A listener that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let started = std::time::Instant::now();
    let output = run(data.path(), &["health", "--url", &url, "--timeout-ms", "100"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("did not answer within 100 ms"), "{}", text(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(30));
}
