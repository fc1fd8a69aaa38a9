//! The commands beside `sentor serve`: keys, usage, completions, and their exit codes.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{Server, reaches_status, run, text};

#[test]
fn keys_made_on_the_command_line_work_on_a_running_server() {
    let data = TempDir::new().expect("a folder");
    let server = Server::start(data.path());
    let created = run(data.path(), &["keys", "create", "shop", "--expires", "30d"]);
    let key = text(&created.stdout);
    assert_eq!(key.lines().count(), 1, "the key stands alone");
    let client = server.client(key.trim());
    assert!(reaches_status(&client, 200), "a new key lets in");

    let list = || -> Value {
        let output = run(data.path(), &["keys", "list", "--json"]);
        serde_json::from_slice(&output.stdout).expect("a list prints JSON")
    };
    let keys = list();
    let id = keys[1]["id"].as_str().expect("every key has an id");
    assert_eq!(
        (&keys[1]["name"], &keys[1]["scopes"]),
        (&json!("shop"), &json!(["predict", "cluster", "jobs"]))
    );
    assert!(!keys.to_string().contains(key.trim()));

    let rotated = run(data.path(), &["keys", "rotate", id, "--overlap", "1h", "--json"]);
    let rotated: Value = serde_json::from_slice(&rotated.stdout).expect("JSON was asked for");
    let successor = server.client(rotated["key"].as_str().expect("the new key"));
    assert!(
        reaches_status(&successor, 200) && reaches_status(&client, 200),
        "both let in during the overlap"
    );

    assert!(run(data.path(), &["keys", "revoke", id]).status.success());
    assert!(reaches_status(&client, 401), "a revoked key is out");
    assert_eq!(client.get("/api/health").code(), "revoked_key");
    assert!(reaches_status(&successor, 200));
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
    // A query of the key itself would count in its minute, which is used up.
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

#[test]
fn errors_are_one_sentence_and_an_exit_code() {
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
        (&["keys", "create", "x", "--scope", "root"], 2, "predict, cluster, jobs, admin"),
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
