//! Jobs outlive the server: it is killed again and again, and every row has its result once. Needs the models and ONNX
//! Runtime.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::program::{Server, run, sentor, text};

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// Rows of a job: enough to be killed in the middle of it several times.
const ROWS: usize = 6000;

/// Kills, spread over the job.
const KILLS: usize = 12;

fn input() -> String {
    let parts = [
        ("The camera is superb", "camera"),
        ("The battery is a joke", "battery"),
        ("Delivery took three weeks", "delivery"),
        ("Nobody at the desk could help us", "desk"),
        ("I would buy this phone again tomorrow", "phone"),
    ];
    let line = |n: usize| {
        let ((first, entity), (second, _)) = (parts[n % 5], parts[n * 7 % 5]);
        // A row now and then cannot be scored.
        let doc = if n % 997 == 500 { " ".to_owned() } else { format!("{first}, number {n}. {second}.") };
        serde_json::json!({"doc": doc, "doc_id": format!("row {n}"), "entities": [entity]}).to_string() + "\n"
    };
    (0..ROWS).map(line).collect()
}

#[test]
fn a_job_outlives_kills_with_every_row_once_in_order_and_with_the_bytes_of_predict() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "jobs"]).stdout).trim().to_owned();
    let file = data.path().join("input.jsonl");
    std::fs::write(&file, input()).expect("the folder can be written");
    let start = || {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-level", "warn"];
        Server::spawn(sentor(data.path()).args(arguments))
    };

    let mut server = start();
    let job = server.client(&key).post_with("/api/jobs", &[NDJSON], input());
    assert_eq!(job.status, 202, "{}", text(&job.bytes));
    let path = format!("/api/jobs/{}", job.json()["id"].as_str().expect("an identifier"));
    let done = |client: &Client| {
        let job = client.get(&path).json();
        job["counts"]["succeeded"]
            .as_u64()
            .zip(job["counts"]["failed"].as_u64())
            .map(|(scored, failed)| scored + failed)
    };
    let mut kills = 0;
    for kill in 1..=KILLS {
        let client = server.client(&key);
        let goal = (ROWS * kill / (KILLS + 2)) as u64;
        let started = Instant::now();
        while done(&client).expect("numbers") < goal {
            assert!(started.elapsed() < Duration::from_mins(2), "the job stands still");
            std::thread::sleep(Duration::from_millis(5));
        }
        server.stop("-KILL");
        kills += 1;
        server = start();
    }
    let client = server.client(&key);
    let started = Instant::now();
    let ended = loop {
        let job = client.get(&format!("{path}?wait=30")).json();
        if job["finished_at"].is_string() {
            break job;
        }
        assert!(started.elapsed() < Duration::from_mins(5), "{job}");
    };
    assert_eq!((ended["status"].as_str(), kills), (Some("completed"), KILLS), "{ended}");
    let results = text(&client.get(&format!("{path}/results")).bytes);
    let errors = text(&client.get(&format!("{path}/errors")).bytes);
    server.stop("-TERM");

    let predicted =
        run(data.path(), &["predict", &file.display().to_string(), "--format", "jsonl", "--keep-going"]);
    let predicted = text(&predicted.stdout);
    let mut expected_rows = (1..=ROWS).filter(|row| (row - 1) % 997 != 500);
    let mut lines = results.lines();
    for predicted in predicted.lines() {
        let row = expected_rows.next().expect("no more lines than rows");
        let line = lines.next().expect("as many lines as predict has");
        let rest =
            line.strip_prefix(&format!("{{\"row\":{row},")).unwrap_or_else(|| panic!("row {row}: {line}"));
        assert_eq!(format!("{{{rest}"), predicted, "row {row}");
    }
    assert_eq!((lines.next(), expected_rows.next()), (None, None));
    let failed: Vec<u64> = errors
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).expect("JSON")["row"].as_u64())
        .collect();
    let expected: Vec<u64> = (1..=ROWS as u64).filter(|row| (row - 1) % 997 == 500).collect();
    assert_eq!(failed, expected);
}
