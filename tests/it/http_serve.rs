//! The program itself: `sentor serve` and the commands round it. Needs the models and ONNX Runtime.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;

/// The program with an environment of the test's own.
pub(crate) fn sentor(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentor"));
    surround(&mut command, data_dir);
    command
}

/// Gives a command the environment of the test, and nothing of that which the test was started in.
fn surround(command: &mut Command, data_dir: &Path) {
    for (name, _) in std::env::vars_os() {
        // What says where ONNX Runtime is must reach the program.
        if name.to_string_lossy().starts_with("SENTOR_") && name != "SENTOR_ONNXRUNTIME" {
            command.env_remove(name);
        }
    }
    command
        .env("SENTOR_DATA_DIR", data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

pub(crate) fn run(data_dir: &Path, args: &[&str]) -> Output {
    sentor(data_dir).args(args).output().expect("the program starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that has said that it listens.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What has been logged so far.
    log: Arc<Mutex<Vec<u8>>>,
    /// Reads the log as it comes: a full pipe would hold the server up.
    reader: std::thread::JoinHandle<()>,
    url: String,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[], &[])
    }

    pub(crate) fn start_with(data_dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = sentor(data_dir);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "trace"]);
        Self::of(command.envs(variables.iter().copied()).args(args))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout can be read");
        let Some(url) = line.trim().strip_prefix("listening on ").map(str::to_owned) else {
            let mut stderr = String::new();
            let _ = child.kill();
            if let Some(mut pipe) = child.stderr.take() {
                let _ = pipe.read_to_string(&mut stderr);
            }
            panic!("the server did not get ready: {line:?} {stderr}");
        };
        let mut pipe = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 1 << 13];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                written.lock().expect("no reader panics").extend_from_slice(&piece[..length]);
            }
        });
        Self { child, stdout, log, reader, url }
    }

    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&self.url, Some(key))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits until the log holds `words`; a minute is for a machine that has much else to do.
    pub(crate) fn wait_for_log(&self, words: &str) {
        let started = Instant::now();
        while !text(&self.log.lock().expect("no reader panics")).contains(words) {
            assert!(started.elapsed() < Duration::from_mins(1), "the log never says {words:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal, and returns the exit code and all that was printed and logged.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, String, String) {
        self.signal(signal);
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("stdout is text");
        let status = self.child.wait().expect("the server ends");
        self.reader.join().expect("the log is read");
        let log = text(&self.log.lock().expect("no reader panics"));
        assert_eq!(key_in(&log), None, "no log holds a key, not even at its chattiest");
        (status.code(), stdout, log)
    }
}

fn key_in(text: &str) -> Option<String> {
    let found = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    found.filter(|word| word.starts_with("sentor_")).map(str::to_owned).find(|word| word.len() > 40)
}

/// Calls until the answer has this status. On a machine with nothing to spare that may take longer than the second that is promised.
fn becomes(client: &Client, status: u16) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if client.get("/api/health").status == status {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

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
fn keys_of_the_command_line_count_on_a_running_server() {
    let data = TempDir::new().expect("a folder");
    let server = Server::start(data.path());
    let created = run(data.path(), &["keys", "create", "shop", "--expires", "30d"]);
    let key = text(&created.stdout);
    assert_eq!(key.lines().count(), 1, "the key stands alone");
    let client = server.client(key.trim());
    assert!(becomes(&client, 200), "a new key lets in");

    let list = || -> Value {
        let output = run(data.path(), &["keys", "list", "--json"]);
        serde_json::from_slice(&output.stdout).expect("a list prints JSON")
    };
    let keys = list();
    let id = keys[1]["id"].as_str().expect("every key has an id");
    assert_eq!((&keys[1]["name"], &keys[1]["scopes"]), (&json!("shop"), &json!(["predict", "cluster"])));
    assert!(!keys.to_string().contains(key.trim()));

    let rotated = run(data.path(), &["keys", "rotate", id, "--overlap", "1h", "--json"]);
    let rotated: Value = serde_json::from_slice(&rotated.stdout).expect("JSON was asked for");
    let successor = server.client(rotated["key"].as_str().expect("the new key"));
    assert!(becomes(&successor, 200) && becomes(&client, 200), "both let in during the overlap");

    assert!(run(data.path(), &["keys", "revoke", id]).status.success());
    assert!(becomes(&client, 401), "a revoked key is out");
    assert_eq!(client.get("/api/health").code(), "revoked_key");
    assert!(becomes(&successor, 200));
    let unknown = run(data.path(), &["keys", "revoke", "knix"]);
    assert_eq!(unknown.status.code(), Some(1));
    let table = text(&run(data.path(), &["keys", "list"]).stdout);
    assert!(table.contains("revoked") && table.contains("active"), "{table}");
    server.stop("-TERM");
    assert!(!list()[2]["last_used_at"].is_null(), "uses are written by the end");
}

#[test]
fn limits_and_usage_outlive_a_killed_server() {
    let data = TempDir::new().expect("a folder");
    let config = data.path().join("sentor.toml");
    std::fs::write(&config, "[plans.small]\nrequests_per_minute = 4\nrequests_per_day = 6\n")
        .expect("a file");
    let config = config.to_string_lossy();
    let created =
        run(data.path(), &["keys", "create", "shop", "--plan", "small", "--config", &config, "--json"]);
    let created: Value = serde_json::from_slice(&created.stdout).expect("JSON was asked for");
    let key = created["key"].as_str().expect("the key");
    let id = created["id"].as_str().expect("its id");
    let admin = text(&run(data.path(), &["keys", "create", "ops", "--scope", "admin"]).stdout);
    let documents = json!([{"doc_id": "1", "doc": "Great product!", "entities": ["product"]}]);

    let server = Server::start_with(data.path(), &["--config", &config], &[]);
    let client = server.client(key);
    for _ in 0..3 {
        assert_eq!(client.predict("", &documents).status, 200);
    }
    // A second of counts may be lost, and these are older by the time of the kill.
    std::thread::sleep(Duration::from_millis(1200));
    server.stop("-KILL");

    let server = Server::start_with(data.path(), &["--config", &config], &[]);
    let client = server.client(key);
    let fourth = client.predict("", &documents);
    assert_eq!((fourth.status, fourth.header("x-ratelimit-remaining")), (200, "0"));
    let fifth = client.predict("", &documents);
    assert_eq!((fifth.status, fifth.code().as_str()), (429, "rate_limit_exceeded"));
    // The key's own question would count in its minute, which is spent.
    let usage = server.client(admin.trim()).get(&format!("/api/usage?key={id}")).json();
    assert_eq!((&usage["total"]["requests"], &usage["key"]["day"]["remaining"]), (&json!(4), &json!(2)));
    server.stop("-TERM");

    let csv = text(&run(data.path(), &["usage", "--format", "csv"]).stdout);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("day,key_id,name,plan,requests,documents,characters,tokens,entities"));
    let cells: Vec<&str> = lines.next().expect("a line for the day").split(',').collect();
    assert_eq!(cells[1..7], [created["id"].as_str().expect("its id"), "shop", "small", "4", "4", "56"]);
    assert_eq!((cells[8], lines.next()), ("4", None));
    let table = text(&run(data.path(), &["usage", "--key", cells[1]]).stdout);
    assert!(
        table.contains("shop") && table.lines().last().is_some_and(|line| line.starts_with("total")),
        "{table}"
    );
    let none = text(
        &run(data.path(), &["usage", "--to", "2020-01-01", "--from", "2020-01-01", "--format", "csv"]).stdout,
    );
    assert_eq!(none.lines().count(), 1, "{none}");
    let audit = std::fs::read_to_string(data.path().join("audit.jsonl")).expect("the log is there");
    assert!(audit.contains("\"key_created\"") && !audit.contains(key), "{audit}");
}

/// A file system of `size` in memory at `folder`, and then `script`, a shell's, with the program as `$0`. Only what the
/// script starts sees the file system, and it is gone with it. `None`, with a word on stderr, where this machine does not
/// let a test make one.
#[cfg(target_os = "linux")]
fn on_a_disk_of(size: &str, folder: &Path, script: &str) -> Option<Command> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let of = |way: &[&str], script: &str| {
        let script = format!("mount -t tmpfs -o size={size} none \"$SENTOR_DATA_DIR\" && {script}");
        let mut command = Command::new("unshare");
        surround(&mut command, folder);
        command.args(way).args(["sh", "-ec", &script, env!("CARGO_BIN_EXE_sentor")]);
        command
    };
    let works = |way: &&&[&str]| of(way, "true").output().is_ok_and(|output| output.status.success());
    let way = ways.iter().find(works);
    if way.is_none() {
        eprintln!(
            "skipped: this machine lets no test make a file system of its own (unshare, mount -t tmpfs)"
        );
    }
    Some(of(way?, script))
}

#[cfg(target_os = "linux")]
#[test]
fn where_the_disk_is_full_scoring_goes_on_and_usage_is_written_once_there_is_room() {
    let data = TempDir::new().expect("a folder");
    let serve = "\"$0\" keys create shop >\"$SENTOR_DATA_DIR/key\" && \
                 exec \"$0\" serve --listen 127.0.0.1:0 --log-level trace";
    let Some(mut serve) = on_a_disk_of("2m", data.path(), serve) else { return };
    let server = Server::of(&mut serve);
    // The disk as the server sees it.
    let disk = Path::new("/proc")
        .join(server.child.id().to_string())
        .join("root")
        .join(data.path().strip_prefix("/").expect("temporary folders have absolute paths"));
    let key = std::fs::read_to_string(disk.join("key")).expect("the key was written");
    let client = server.client(key.trim());
    let documents = json!([{"doc_id": "1", "doc": "Great product!", "entities": ["product"]}]);
    assert_eq!(client.predict("", &documents).status, 200);
    let usage_is = |word: &str| {
        let started = Instant::now();
        while client.get("/api/health").json()["store"]["usage"] != word {
            assert!(started.elapsed() < Duration::from_mins(1), "usage never is {word}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    usage_is("ok");

    let filler = std::fs::write(disk.join("filler"), vec![0; 4 << 20]);
    let error = filler.expect_err("four megabytes do not fit on two");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    // What the log of changes still has room for is used up by and by.
    let started = Instant::now();
    while client.get("/api/health").json()["store"]["usage"] == "ok" {
        assert!(started.elapsed() < Duration::from_mins(1), "a full disk is never noticed");
        assert_eq!(client.predict("", &documents).status, 200, "scoring goes on");
    }
    assert_eq!(client.get("/api/health").json()["status"], "healthy");
    server.wait_for_log("is full");
    let usage = client.get("/api/usage").json();
    assert_eq!(usage["total"]["requests"], usage["key"]["month"]["used"], "asking writes nothing");

    std::fs::remove_file(disk.join("filler")).expect("the filler is there");
    usage_is("ok");
    let usage = client.get("/api/usage").json();
    assert_eq!(usage["total"]["requests"], usage["key"]["month"]["used"], "nothing was lost");
    server.stop("-TERM");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_and_a_read_only_disk_are_named_at_start() {
    let data = TempDir::new().expect("a folder");
    let full =
        "cat /dev/zero >\"$SENTOR_DATA_DIR/filler\" 2>/dev/null || exec \"$0\" serve --listen 127.0.0.1:0";
    let read_only = "mount -o remount,ro none \"$SENTOR_DATA_DIR\" && exec \"$0\" serve --listen 127.0.0.1:0";
    let filled_later = format!("\"$0\" keys create shop >/dev/null && {{ {full}; }}");
    let locked_later = format!("\"$0\" keys create shop >/dev/null && {read_only}");
    let cases = [
        (full, "is full"),
        (&filled_later, "is full"),
        (read_only, "Read-only file system"),
        (&locked_later, "Read-only file system"),
    ];
    for (script, words) in cases {
        let Some(mut serve) = on_a_disk_of("1m", data.path(), script) else { return };
        let output = serve.output().expect("it starts");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {stderr}");
        assert!(stderr.contains(words) && stderr.contains("sentor.db"), "{script}: {stderr}");
    }
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
fn a_crowd_of_connections_waits_with_the_system_and_is_served() {
    const CROWD: usize = 300;
    // Where the system allows so many; it always does unless it was told otherwise.
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    if allowed.is_some_and(|most: usize| most < CROWD) {
        return;
    }
    let data = TempDir::new().expect("a folder");
    let server = Server::start(data.path());
    let address = server.url.strip_prefix("http://").and_then(|at| at.parse().ok()).expect("an address");
    // A server that is halted accepts nothing: what has connected meanwhile waits with the system.
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
fn the_line_of_a_request_is_written_before_the_next_one_comes() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let client = Client::new(&server.url, None);
    assert_eq!(client.get_with("/livez", &[("x-request-id", "the-last-one")]).status, 200);
    server.wait_for_log("\"message\":\"request answered\",\"request_id\":\"the-last-one\"");
    server.stop("-TERM");
}

#[test]
fn plain_http_where_others_can_reach_it_is_warned_of() {
    let data = TempDir::new().expect("a folder");
    let warned = |address: &str| {
        // It ends by itself, for want of models.
        let output = run(data.path(), &["serve", "--listen", address, "--models-dir", "/nowhere"]);
        text(&output.stderr).matches("travel unencrypted").count()
    };
    assert_eq!((warned("0.0.0.0:0"), warned("127.0.0.1:0")), (1, 0));
}

#[test]
fn a_configured_key_lets_in_and_makes_no_other() {
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

/// Texts of many lengths in both languages, each with the query that it is asked with.
fn mixed_documents() -> Vec<(&'static str, Value)> {
    let english = "The camera is superb, but the battery is a joke. ";
    let dutch = "De camera is prachtig, maar de batterij is waardeloos. ";
    (0..24)
        .map(|number| {
            let (query, sentence, price) = match number % 2 {
                0 => ("?language=en", english, "price"),
                _ => ("?language=nl", dutch, "prijs"),
            };
            let mut text = format!("Number {number}. {}", sentence.repeat(1 + number % 4));
            // Lengths that are no multiple of anything.
            text.truncate(text.len() - number);
            let entities = &["camera", "batterij", "battery", price][..number % 5];
            (query, json!({"doc_id": number.to_string(), "doc": text, "entities": entities}))
        })
        .collect()
}

/// Scores documents that were asked for in one request.
fn results(client: &Client, query: &str, docs: &[&Value]) -> Vec<Value> {
    let answer = client.predict(query, &json!(docs));
    assert_eq!(answer.status, 200, "{}", text(&answer.bytes));
    answer.json()["results"].as_array().expect("results are a list").clone()
}

#[test]
fn pronouns_are_mentions_only_where_they_are_asked_for() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "shop"]).stdout);
    let server = Server::start(data.path());
    let client = server.client(key.trim());
    let said = "This is my new phone. It breaks all the time.";
    let document = json!({"doc_id": "1", "doc": said, "entities": ["phone"]});
    let forms = |result: &Value| {
        let mentions = result["entity_sentiments"][0]["mentions"].as_array().expect("a list").clone();
        let shown = |mention: &Value| format!("{} {}", mention["form"], mention["text"]).replace('"', "");
        mentions.iter().map(shown).collect::<Vec<_>>()
    };
    for query in ["", "?pronouns=false"] {
        assert_eq!(forms(&results(&client, query, &[&document])[0]), ["exact phone"], "{query}");
    }
    let followed = &results(&client, "?pronouns=true", &[&document])[0];
    assert_eq!(forms(followed), ["exact phone", "pronoun It"]);
    let entity = &followed["entity_sentiments"][0];
    assert_eq!((&entity["match"], &entity["mentions"][1]["sentence_index"]), (&json!("explicit"), &json!(1)));
    server.stop("-TERM");

    for (flags, expected) in [(&[][..], 1), (&["--pronouns"], 2)] {
        let predict = ["predict", "--text", said, "--entity", "phone", "--format", "jsonl"];
        let printed = run(data.path(), &[&predict, flags].concat()).stdout;
        let result: Value = serde_json::from_slice(&printed).expect("a line of JSON");
        assert_eq!(forms(&result).len(), expected, "{flags:?}");
    }
}

#[test]
fn a_text_scores_the_same_whatever_else_is_going_on_and_no_request_is_dropped_by_a_reload() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "load"]).stdout);
    for remembers in [false, true] {
        let off: &[(&str, &str)] = &[("SENTOR_CACHE_BYTES", "0"), ("SENTOR_DEDUPLICATE", "false")];
        let server = Server::start_with(data.path(), &[], if remembers { &[] } else { off });
        let client = server.client(key.trim());
        let documents = mixed_documents();
        let alone: Vec<Value> = documents
            .iter()
            .map(|(query, document)| results(&client, query, &[document]).remove(0))
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (client, documents, alone) = (client.clone(), &documents, &alone);
                scope.spawn(move || {
                    for turn in 0..3 {
                        // Batches of one language, of sizes and in orders of their own.
                        let size = 1 + (thread * 5 + turn * 3) % 9;
                        let chosen: Vec<usize> = (0..size)
                            .map(|place| (place * 2 * (thread + 1) + turn * 2 + thread % 2) % documents.len())
                            .collect();
                        let docs: Vec<&Value> = chosen.iter().map(|&index| &documents[index].1).collect();
                        let scored = results(&client, documents[chosen[0]].0, &docs);
                        for (result, &index) in scored.iter().zip(&chosen) {
                            assert_eq!(*result, alone[index], "beside {size} others");
                        }
                    }
                });
            }
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(150));
                server.signal("-HUP");
            }
        });
        // Two signals that come close together may count as one.
        server.wait_for_log("models are loaded anew");
        let (code, _, log) = server.stop("-TERM");
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("dynamically quantised"), "the shipped models are not");
    }
}

#[test]
fn a_stop_while_models_are_loaded_anew_is_a_clean_end() {
    let data = TempDir::new().expect("a folder");
    // ONNX Runtime crashes where the process ends beneath it; when it is loading, depends on the machine.
    for delay in [20, 150, 400] {
        let server = Server::start_with(data.path(), &[], &[]);
        server.signal("-HUP");
        std::thread::sleep(Duration::from_millis(delay));
        let (code, _, log) = server.stop("-TERM");
        assert_eq!(code, Some(0), "{delay} ms: {log}");
    }
}

#[test]
fn what_cannot_be_loaded_anew_leaves_all_as_it_was() {
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
    server.wait_for_log("cannot load the models anew");
    assert_eq!(client.predict("", &document).status, 200);
    assert_eq!(client.get("/readyz").status, 200);
    let (code, _, log) = server.stop("-TERM");
    assert_eq!(code, Some(0), "{log}");
    let line = log.lines().find(|line| line.contains("cannot load the models anew"));
    assert!(line.is_some_and(|line| line.contains("nowhere/manifest.json")), "{log}");
}

#[test]
fn metrics_have_a_listener_of_their_own_where_one_is_set() {
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
    // Another process does it, and the server counts it.
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

#[test]
fn a_model_whose_scores_depend_on_its_company_is_named_at_start() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentor-en");
    let (data, copy) = (TempDir::new().expect("a folder"), crate::support::folder::copy_of(&shipped));
    let manifest = std::fs::read_to_string(shipped.join("manifest.json")).expect("the manifest");
    let manifest = manifest.replacen("\"static\"", "\"dynamic\"", 1);
    std::fs::write(copy.path().join("manifest.json"), manifest).expect("a file");
    let model = format!("{}/", copy.path().display());
    let (_, _, log) = Server::start_with(data.path(), &[], &[("SENTOR_MODEL_EN", &model)]).stop("-TERM");
    let line = log.lines().find(|line| line.contains("dynamically quantised")).expect("a warning");
    assert!(line.contains(&copy.path().join("model.onnx").display().to_string()), "{line}");
}

#[test]
fn what_cannot_be_is_one_clear_sentence_and_its_exit_code() {
    let data = TempDir::new().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    let broken = data.path().join("broken");
    std::fs::create_dir(&broken).expect("a folder");
    std::fs::write(broken.join("sentor.db"), "no database, and long enough to tell").expect("a file");
    let broken = broken.to_string_lossy();
    let cases: [(&[&str], i32, &str); 13] = [
        (&["serve", "--listen", &taken], 1, "cannot listen on"),
        (&["serve", "--listen", "nowhere"], 3, "flag --listen"),
        (&["serve", "--listen", "127.0.0.1:0", "--models-dir", "/nowhere"], 4, ""),
        (&["serve", "--lisen", "x"], 2, "--listen"),
        (&["config", "--config", "/nowhere.toml"], 3, "/nowhere.toml"),
        (&["keys", "list", "--data-dir", &broken], 1, "not a readable store"),
        (&["keys", "create", "x", "--data-dir", "/dev/null/x"], 1, "/dev/null/x/sentor.db"),
        (&["keys", "create", "x", "--scope", "root"], 2, "predict, cluster, admin"),
        (&["keys", "create", "x", "--plan", "gold"], 1, "business, enterprise, free"),
        (&["usage", "--key", "knobody"], 1, "there is no key knobody"),
        (&["eval", "x.jsonl", "--pronouns"], 1, "--pronouns needs --mentions found"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--tls-certificate", "/x"],
            3,
            "together with tls_private_key",
        ),
        (
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--tls-certificate",
                "/nowhere",
                "--tls-private-key",
                "/nowhere",
            ],
            3,
            "/nowhere",
        ),
    ];
    for (args, code, words) in cases {
        let output = run(data.path(), args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "stdout is for data");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let data = TempDir::new().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(data.path(), &["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("sentor"), "{shell}");
    }
    assert!(text(&run(data.path(), &["--help"]).stdout).contains("Exit codes:"));
}
