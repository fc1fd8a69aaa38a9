//! Jobs over HTTP, against an analyzer that needs no model.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::{Setup, TestServer};
use sentor_store::keys::{NewKey, Scope};
use sentor_store::metering::{Limit, Plan, Plans, UsageQuery};

/// Names and values of headers.
type Headers<'h> = &'h [(&'h str, &'h str)];

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

fn submit(client: &Client, query: &str, lines: &str) -> Value {
    let answer = client.post_with(&format!("/api/jobs{query}"), &[NDJSON], lines);
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.bytes));
    let job = answer.json();
    assert_eq!(
        answer.header("location"),
        format!("/api/jobs/{}", job["id"].as_str().expect("an identifier"))
    );
    job
}

fn path(job: &Value, name: &str) -> String {
    let id = job["id"].as_str().expect("an identifier");
    if name.is_empty() { format!("/api/jobs/{id}") } else { format!("/api/jobs/{id}/{name}") }
}

/// The job once it has ended.
fn ended(client: &Client, job: &Value) -> Value {
    let job = client.get(&format!("{}?wait=60", path(job, ""))).json();
    assert!(
        ["completed", "failed", "cancelled", "expired"].contains(&job["status"].as_str().expect("a status")),
        "{job}"
    );
    job
}

/// Waits until a job is as `is_so` says; panics where it takes a minute.
fn until(client: &Client, job: &Value, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let job = client.get(&path(job, "")).json();
        if is_so(&job) {
            return job;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{job}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lines(answer: &Answer) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn rows(answer: &Answer) -> Vec<u64> {
    lines(answer).iter().map(|line| line["row"].as_u64().expect("a number")).collect()
}

fn input(rows: usize) -> String {
    let line = |n| format!("{{\"doc\": \"Great camera {n}.\", \"doc_id\": \"d{n}\"}}\n");
    (0..rows).map(line).collect::<Vec<String>>().concat()
}

#[test]
fn a_job_scores_every_row_in_order_as_a_request_does_and_lists_those_it_cannot() {
    let server = TestServer::start();
    let _runner = server.run_jobs();
    let client = server.client();
    let text = "{\"doc\": \"Great camera.\", \"doc_id\": \"a\", \"entities\": [\"camera\"]}\n\n\
                not json\n{\"text\": \"A bad day. [model]\", \"id\": 7}\n{\"doc\": \"Poor battery.\"}\n{\"dok\": 1}";
    let job = submit(&client, "?entity=battery&entity=camera", text);
    assert_eq!((&job["status"], &job["counts"]["total"]), (&json!("validating"), &json!(0)));
    let job = ended(&client, &job);
    assert_eq!((&job["status"], &job["progress"]), (&json!("completed"), &json!(1.0)));
    let counts = json!({"total": 5, "succeeded": 2, "failed": 3, "expired": 0, "cancelled": 0});
    assert_eq!(job["counts"], counts);
    assert_eq!(job["results"]["available_rows"], 5);
    assert_eq!(job["results"]["complete"], true);

    let results = client.get(&path(&job, "results"));
    assert_eq!(
        (results.header("content-type"), results.header("x-available-rows")),
        ("application/x-ndjson", "5")
    );
    let results = lines(&results);
    let numbered: Vec<_> = results.iter().map(|line| (&line["row"], &line["doc_id"])).collect();
    assert_eq!(numbered, [(&json!(1), &json!("a")), (&json!(4), &json!("5"))], "without an id, the line");
    let asked = json!([
        {"doc_id": "a", "doc": "Great camera.", "entities": ["camera", "battery"]},
        {"doc_id": "5", "doc": "Poor battery.", "entities": ["battery", "camera"]},
    ]);
    for (line, expected) in
        results.iter().zip(client.predict("", &asked).json()["results"].as_array().expect("a list"))
    {
        let mut line = line.clone();
        line.as_object_mut().expect("an object").remove("row");
        assert_eq!(line, *expected);
    }
    let errors = lines(&client.get(&path(&job, "errors")));
    let errors: Vec<_> = errors
        .iter()
        .map(|line| {
            (line["row"].as_u64(), line["line"].as_u64(), line["doc_id"].as_str(), line["code"].as_str())
        })
        .collect();
    assert_eq!(errors[0], (Some(2), Some(3), None, Some("bad_row")));
    assert_eq!(errors[1], (Some(3), Some(4), Some("7"), Some("server_error")));
    assert_eq!(errors[2], (Some(5), Some(6), Some("6"), Some("bad_row")));
    let kept: Vec<_> = walk(&server.jobs_folder());
    assert!(kept.iter().all(|name| name.contains("/results/") || name.contains("/errors/")), "{kept:?}");
}

/// Names of all files below a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] })
        .collect()
}

#[test]
fn documents_can_be_sent_inline_and_a_repetition_is_the_same_job() {
    let server = TestServer::start();
    let _runner = server.run_jobs();
    let client = server.client();
    let body = |doc: &str| {
        json!({"docs": [{"doc_id": "x", "doc": doc}], "language": "nl", "offsets": "utf8", "priority": "high",
               "expires_after": "1h", "keep_results": "2d", "metadata": {"order": "7"}})
        .to_string()
    };
    let send = |key: &str, body: String| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        client.post_with("/api/jobs", &headers, body)
    };
    let first = send("one", body("Geweldig."));
    assert_eq!(first.status, 202, "{}", String::from_utf8_lossy(&first.bytes));
    let again = send("one", body("Geweldig."));
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]));
    let other = send("one", body("Slecht."));
    assert_eq!((other.status, other.code().as_str()), (422, "validation_error"));
    assert_ne!(send("two", body("Geweldig.")).json()["id"], first.json()["id"]);

    let job = ended(&client, &first.json());
    assert_eq!(job["expires_at"], "2026-03-01T13:00:00.000Z");
    assert_eq!(job["deleted_at"], "2026-03-03T12:00:00.000Z");
    assert_eq!(job["metadata"], json!({"order": "7"}));
    assert_eq!((&job["options"]["language"], &job["options"]["priority"]), (&json!("nl"), &json!("high")));
    assert_eq!(lines(&client.get(&path(&job, "results")))[0]["language"], "nl");
    let folders = std::fs::read_dir(server.jobs_folder()).expect("there are jobs").count();
    assert_eq!(folders, 2, "what was sent again is not kept");
}

#[test]
fn wrong_submissions_say_what_is_wrong() {
    let server = TestServer::start();
    let client = server.client();
    assert_eq!(client.get("/api/jobs").code(), "not_ready");
    let _runner = server.run_jobs();
    let problem = |headers: &[(&str, &str)], query: &str, body: &str| {
        let answer = client.post_with(&format!("/api/jobs{query}"), headers, body);
        (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
    };
    let json_type = ("content-type", "application/json");
    let cases: [(Headers<'_>, &str, &str, u16, &str); 12] = [
        (&[("content-type", "text/plain")], "", "a", 415, "application/x-ndjson"),
        (&[NDJSON], "", "", 400, "the body is empty"),
        (&[NDJSON], "?langage=nl", "{}", 400, "no parameter \"langage\""),
        (&[NDJSON], "?language=fr", "{}", 422, "one of en, nl, auto"),
        (&[NDJSON], "?language=en&language=nl", "{}", 400, "stands twice"),
        (&[NDJSON], "?expires_after=2w", "{}", 422, "90s, 30m, 24h or 7d"),
        (&[NDJSON], "?expires_after=49h", "{}", 422, "48h at most"),
        (&[NDJSON], "?entity=%20", "{}", 422, "entities[0]"),
        (&[NDJSON, ("idempotency-key", "")], "", "{}", 400, "idempotency-key"),
        (&[json_type], "", "{", 400, "not JSON"),
        (&[json_type], "", "{\"docs\": []}", 422, "at least one"),
        (&[json_type], "", "{\"docs\": [1], \"webhok\": 1}", 422, "webhok"),
    ];
    for (headers, query, body, status, words) in cases {
        let (found, detail) = problem(headers, query, body);
        assert!(found == status && detail.contains(words), "{query} {body}: {found} {detail}");
    }
    let (status, _) = problem(&[NDJSON], "", &"x".repeat((1 << 20) + 1));
    assert_eq!(status, 413);
    assert!(walk(&server.jobs_folder()).is_empty(), "{:?}", walk(&server.jobs_folder()));

    let job = ended(&client, &submit(&client, "", "\n \n"));
    assert_eq!((&job["status"], &job["failure"]), (&json!("failed"), &json!("the input holds no rows")));
    let job = ended(&client, &submit(&client, "?on_error=fail", "{\"doc\": \"Great.\"}\nno json\n"));
    assert_eq!(job["status"], "failed");
    assert!(job["failure"].as_str().is_some_and(|failure| failure.starts_with("line 2: ")), "{job}");
}

#[test]
fn a_job_is_seen_by_its_account_with_the_scope_jobs_alone() {
    let server = TestServer::start();
    let _runner = server.run_jobs();
    let (owner, stranger) = (server.client(), server.client());
    let job = submit(&owner, "", &input(1));
    let unscoped = NewKey { scopes: [Scope::Predict].into_iter().collect(), ..NewKey::named("x") };
    let unscoped = server.client_with(server.issue(unscoped).expose());
    for (method, name) in [
        ("GET", ""),
        ("GET", "results"),
        ("GET", "errors"),
        ("GET", "events"),
        ("POST", "pause"),
        ("POST", "resume"),
        ("POST", "cancel"),
        ("DELETE", ""),
    ] {
        let ask = |client: &Client| {
            let answer = client.request(method, &path(&job, name), &[], Vec::new());
            (answer.status, answer.code())
        };
        assert_eq!(ask(&stranger), (404, "not_found".to_owned()), "{method} {name}");
        assert_eq!(ask(&unscoped), (403, "insufficient_scope".to_owned()), "{method} {name}");
        assert_eq!(ask(&server.anonymous()), (401, "missing_key".to_owned()), "{method} {name}");
    }
    assert_eq!(stranger.get("/api/jobs").json(), json!({"jobs": [], "next": null}));
    assert_eq!(owner.get("/api/jobs/no-such-job").status, 404);
    assert_eq!(ended(&owner, &job)["status"], "completed");
}

#[test]
fn results_can_be_read_while_a_job_runs_and_in_parts() {
    let (server, gate) = TestServer::gated(Setup::default());
    let _runner = server.run_jobs();
    let client = server.client();
    // The first chunks are short: the last row alone is held.
    let text = input(1000) + "{\"doc\": \"[held]\"}\n";
    let job = submit(&client, "", &text);
    gate.until_it_holds(1);
    let running = until(&client, &job, |job| job["results"]["available_rows"].as_u64() > Some(500));
    assert_eq!((&running["status"], &running["results"]["complete"]), (&json!("running"), &json!(false)));
    let early = client.get(&path(&job, "results"));
    let available: u64 = early.header("x-available-rows").parse().expect("a number");
    assert!(available < 1001 && rows(&early).into_iter().eq(1..=available), "{available}");
    assert_eq!(early.header("accept-ranges"), "bytes");

    let after = client.get(&path(&job, "results?after=137"));
    assert!(rows(&after).into_iter().eq(138..=available));
    assert!(rows(&client.get(&path(&job, "results?after=5000"))).is_empty());
    let whole = early.bytes;
    let ask = |range: &str| {
        client.get_with(&path(&job, "results"), &[("range", range), ("accept-encoding", "identity")])
    };
    for (range, expected) in
        [("bytes=0-99", 0..100), ("bytes=70000-90000", 70_000..90_001), ("bytes=100-", 100..whole.len())]
    {
        let part = ask(range);
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {}-{}/{}", expected.start, expected.end - 1, whole.len())
        );
        assert!(part.bytes == whole[expected], "{range}");
    }
    let behind = ask("bytes=99999999-");
    assert_eq!(
        (behind.status, behind.header("content-range").to_owned()),
        (416, format!("bytes */{}", whole.len()))
    );
    gate.open();
    assert_eq!(ended(&client, &job)["counts"]["succeeded"], 1001);
    let all = client.get(&path(&job, "results"));
    assert!(
        rows(&all).into_iter().eq(1..=1001) && all.bytes.starts_with(&whole),
        "what was read stays as it was"
    );
}

#[test]
fn a_job_can_be_paused_resumed_cancelled_and_deleted() {
    let (server, gate) = TestServer::gated(Setup::default());
    let _runner = server.run_jobs();
    let client = server.client();
    // Every chunk has a text that is held, so that three of them take all places.
    let line = |n| if n % 200 == 0 { "{\"doc\": \"[held]\"}\n".to_owned() } else { input(1) };
    let text: String = (0..6000).map(line).collect();
    let job = submit(&client, "", &text);
    gate.until_it_holds(3);
    until(&client, &job, |job| job["input"]["is_read"] == true);
    let step = |job: &Value, step: &str| client.post(&path(job, step), "");
    assert_eq!(step(&job, "pause").json()["status"], "paused");
    assert_eq!(step(&job, "pause").json()["status"], "paused", "it is paused already");
    gate.open();
    // What is under way is finished, and nothing more is begun.
    std::thread::sleep(Duration::from_millis(500));
    let paused = client.get(&path(&job, "")).json();
    let (done, total) = (&paused["counts"]["succeeded"], &paused["counts"]["total"]);
    assert!(done.as_u64() < total.as_u64() && paused["status"] == "paused", "{paused}");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(client.get(&path(&job, "")).json()["counts"], paused["counts"]);
    let resumed = step(&job, "resume").json();
    assert_eq!(resumed["status"], "running", "{resumed}");
    let complete = ended(&client, &job);
    assert_eq!((&complete["status"], &complete["counts"]["succeeded"]), (&json!("completed"), &json!(6000)));
    let refused = step(&job, "pause");
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));
    assert_eq!(client.request("DELETE", &path(&job, ""), &[], Vec::new()).status, 204);
    assert_eq!(client.get(&path(&job, "")).status, 404);
    assert!(walk(&server.jobs_folder()).is_empty());
}

#[test]
fn a_cancelled_job_keeps_what_is_done_and_gives_the_rest_of_the_quota_back() {
    let plans = {
        let mut plans = Plans::default();
        plans.set("unlimited", Plan::UNLIMITED.with(Limit::RequestsPerDay, Some(1000)));
        plans
    };
    let (server, gate) = TestServer::gated(Setup { plans, ..Setup::default() });
    let _runner = server.run_jobs();
    let key = server.issue(NewKey::named("test"));
    let client = server.client_with(key.expose());
    let job = submit(&client, "", &(input(500) + &"{\"doc\": \"[held]\"}\n".repeat(100)));
    until(&client, &job, |job| {
        job["results"]["available_rows"].as_u64() >= Some(480) && job["input"]["is_read"] == true
    });
    let used = |client: &Client| client.get("/api/usage").json()["key"]["day"]["used"].clone();
    assert_eq!(used(&client), 600, "all rows count while the job runs");
    let cancelled = client.post(&path(&job, "cancel"), "").json();
    assert_eq!(cancelled["status"], "cancelling");
    let cancelled = ended(&client, &job);
    let counts = &cancelled["counts"];
    let done = counts["succeeded"].as_u64().expect("a number");
    assert_eq!((&cancelled["status"], counts["cancelled"].as_u64()), (&json!("cancelled"), Some(600 - done)));
    assert_eq!(rows(&client.get(&path(&job, "results"))).len() as u64, done);
    assert_eq!(used(&client), done);
    gate.open();

    let job = ended(&client, &submit(&client, "", &input(800)));
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job["failure"].as_str().is_some_and(|failure| failure.contains("1000 documents a day")), "{job}");
    let day = "2026-03-01".parse().expect("a day");
    let usage =
        server.meter().usage(&UsageQuery { from: day, to: day, account: None }).expect("it can be read");
    assert_eq!(
        usage[0].usage.documents.cast_unsigned(),
        done + job["counts"]["succeeded"].as_u64().expect("a number")
    );
}

#[test]
fn plans_bound_what_jobs_use() {
    let mut plans = Plans::default();
    let plan = Plan::UNLIMITED.with(Limit::ActiveJobs, Some(1)).with(Limit::RowsPerJob, Some(700));
    plans.set("unlimited", plan);
    plans.set("small", Plan::UNLIMITED.with(Limit::JobBytes, Some(1000)));
    let (server, gate) = TestServer::gated(Setup { plans, ..Setup::default() });
    let _runner = server.run_jobs();
    let client = server.client();
    let job = submit(&client, "", "{\"doc\": \"[held]\"}");
    let refused = client.post_with("/api/jobs", &[NDJSON], input(1));
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(refused.json()["error"]["details"]["window"], "active_jobs");
    gate.open();
    ended(&client, &job);
    let long = ended(&client, &submit(&client, "", &input(701)));
    assert_eq!(long["status"], "failed");
    assert!(long["failure"].as_str().is_some_and(|failure| failure.contains("700 rows")), "{long}");

    let small = server.issue(NewKey { plan: "small".to_owned(), ..NewKey::named("small") });
    let client = server.client_with(small.expose());
    let job = ended(&client, &submit(&client, "", &input(10)));
    let refused = client.post_with("/api/jobs", &[NDJSON], input(1));
    assert_eq!((refused.status, &refused.json()["error"]["details"]["window"]), (429, &json!("job_bytes")));
    client.request("DELETE", &path(&job, ""), &[], Vec::new());
    ended(&client, &submit(&client, "", &input(1)));
}

#[test]
fn a_row_that_no_worker_survives_stands_alone_in_the_error_file() {
    let server = TestServer::start();
    let _runner = server.run_jobs();
    let client = server.client();
    let text = input(9) + "{\"doc\": \"[panic]\", \"doc_id\": \"guilty\"}\n" + &input(90);
    let job = ended(&client, &submit(&client, "", &text));
    assert_eq!(
        (&job["status"], &job["counts"]["succeeded"], &job["counts"]["failed"]),
        (&json!("completed"), &json!(99), &json!(1))
    );
    let errors = lines(&client.get(&path(&job, "errors")));
    assert_eq!((&errors[0]["row"], &errors[0]["doc_id"]), (&json!(10), &json!("guilty")));
    let numbers = rows(&client.get(&path(&job, "results")));
    assert!(numbers.into_iter().eq((1..=100).filter(|row| *row != 10)));
}

#[test]
fn jobs_are_listed_by_status_and_page() {
    let server = TestServer::start();
    let _runner = server.run_jobs();
    let client = server.client();
    let jobs: Vec<Value> = (1..=3).map(|rows| ended(&client, &submit(&client, "", &input(rows)))).collect();
    let page = client.get("/api/jobs?limit=2&status=completed").json();
    let ids = |page: &Value| -> Vec<Value> {
        page["jobs"].as_array().expect("a list").iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(ids(&page), [jobs[2]["id"].clone(), jobs[1]["id"].clone()], "the newest first");
    let next = page["next"].as_str().expect("there are more");
    assert_eq!(ids(&client.get(&format!("/api/jobs?after={next}")).json()), [jobs[0]["id"].clone()]);
    assert_eq!(client.get("/api/jobs?status=paused").json()["jobs"], json!([]));
    for wrong in ["?status=done", "?limit=0", "?limit=101"] {
        assert_eq!(client.get(&format!("/api/jobs{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn a_job_can_be_followed_by_events_and_by_its_tag() {
    let (server, gate) = TestServer::gated(Setup::default());
    let _runner = server.run_jobs();
    let key = server.issue(NewKey::named("test"));
    let client = server.client_with(key.expose());
    let job = submit(&client, "", "{\"doc\": \"[held]\"}\n");
    gate.until_it_holds(1);
    until(&client, &job, |job| job["input"]["is_read"] == true);
    let first = client.get(&path(&job, ""));
    let tag = first.header("etag").to_owned();
    let same = client.get_with(&path(&job, "?wait=0"), &[("if-none-match", &tag)]);
    assert_eq!((same.status, same.bytes.len()), (304, 0));

    let mut stream = server.connect();
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nlast-event-id: 0\r\nconnection: close\r\n\r\n",
        path(&job, "events"),
        key.expose()
    );
    stream.write_all(head.as_bytes()).expect("the server listens");
    let mut seen = String::new();
    let mut piece = [0; 4096];
    let mut read_until = |words: &str| {
        while !seen.contains(words) {
            let read = stream.read(&mut piece).expect("the stream goes on");
            assert!(read > 0, "the stream ended without {words:?}: {seen}");
            seen += &String::from_utf8_lossy(&piece[..read]);
        }
    };
    read_until("event: progress");
    gate.open();
    let changed = client.get_with(&path(&job, "?wait=60"), &[("if-none-match", &tag)]);
    assert!(changed.status == 200 && changed.header("etag") != tag);
    read_until("event: end");
    read_until("\"status\":\"completed\"");
}
