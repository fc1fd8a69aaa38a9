//! The worst that one key may send: it is refused where it is hopeless, and while it is at work others are answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentor_analysis::{AnalysisError, Analyzer, Document, Options, Settings, local_caller};
use sentor_store::keys::NewKey;
use sentor_text::language::{Language, LanguageChoice};
use serde_json::{Value, json};

use crate::hostile::{Occupied, begin, echo, wait_until};
use crate::support::client::Answer;
use crate::support::{Setup, TestServer, gzip};

fn analyzer() -> Analyzer {
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models");
    let languages = [(Language::English, "sentor-en"), (Language::Dutch, "sentor-nl")];
    let settings = Settings {
        models: languages.map(|(language, name)| (language, models.join(name))).to_vec(),
        workers: Some(1),
        ..Settings::default()
    };
    Analyzer::start(&settings).expect("the models are in the repository")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{} {number}", "qwertyuiop zxcvbnm ".repeat(4))).collect()
}

#[test]
fn work_that_is_too_long_in_itself_is_refused_before_it_is_laid_out() {
    let analyzer = analyzer();
    // A text of some 30,000 tokens, read once for each of some tens of groups of names.
    let text = "The screen is bright. ".repeat(6_000);
    let document = Document { text, entities: names(60), ..Document::default() };
    let options = Options {
        language: LanguageChoice::Fixed(Language::English),
        caller: local_caller(),
        deadline: Some(Instant::now() + Duration::from_secs(4)),
    };
    let refused =
        analyzer.analyze_blocking(vec![document.clone()], options.clone()).map(|answers| answers.len());
    let Err(AnalysisError::TooLong { needed }) = refused else { panic!("{refused:?}") };
    assert!(needed > Duration::from_secs(4), "{needed:?}");
    let engine = analyzer.statistics().engine;
    let sequences: u64 = engine.models.iter().map(|model| model.sequences).sum();
    assert_eq!((sequences, engine.rejections.deadline), (0, 1), "the engine saw nothing of it");

    let small = Document { text: "The screen is bright.".to_owned(), ..document };
    let few = Document { entities: names(2), ..small };
    assert!(analyzer.analyze_blocking(vec![few], options).is_ok(), "what can be done is done");
}

/// Requests of every kind whose cost is not bounded by a few sentences: query, content-encoding, and body.
fn worst_requests() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let docs = |docs: Value| json!({ "docs": docs }).to_string().into_bytes();
    let one =
        |text: &str, entities: Vec<String>| docs(json!([{"doc_id": "1", "doc": text, "entities": entities}]));
    let many = |count: usize, entities: Vec<String>| -> Vec<u8> {
        let of = |id: usize| json!({"doc_id": id.to_string(), "doc": format!("Great {id}."), "entities": entities});
        docs((0..count).map(of).collect())
    };
    let wrong = format!("{{\"entities\":[{}]}}", vec!["1"; 98].join(","));
    let wrong = format!("{{\"docs\":[{}]}}", vec![wrong; 1000].join(","));
    let nested: Vec<String> = (1..100).map(|count| "ab ".repeat(count)).collect();
    vec![
        ("mentions x entities", "", "", one(&"ab ".repeat(4000), vec!["ab".to_owned(); 1000])),
        ("nested names", "", "", one(&"ab ".repeat(4000), nested)),
        ("a megabyte of names", "", "", many(1000, names(10))),
        ("ellipses", "", "", one(&"... ".repeat(100_000), Vec::new())),
        ("brackets", "", "", one(&"(. ".repeat(100_000), Vec::new())),
        ("a short text of many sentences", "", "", one(&"A! ".repeat(2_000), Vec::new())),
        ("a long word", "", "", one(&"a".repeat(500_000), Vec::new())),
        ("combining marks", "", "", one(&format!("e{}", "\u{301}".repeat(200_000)), Vec::new())),
        (
            "pronouns",
            "?pronouns=true",
            "",
            one(&format!("Jan {}", "he saw it. ".repeat(20_000)), vec!["Jan".to_owned()]),
        ),
        ("unknown language", "?language=auto", "", one(&"lorem ipsum dolor ".repeat(20_000), Vec::new())),
        ("wrong values", "?partial=true", "", wrong.clone().into_bytes()),
        ("wrong values, packed", "?partial=true", "gzip", gzip(wrong.as_bytes())),
        ("a small packed body", "", "gzip", gzip(&one("Great.", Vec::new()))),
    ]
}

#[test]
fn others_are_answered_while_each_worst_request_is_at_work() {
    let mut setup = Setup { analyzer: Some(Arc::new(analyzer())), ..Setup::default() };
    setup.settings.max_answer_bytes = 1 << 30;
    let server = TestServer::start_with(setup);
    let occupied = Occupied::all();
    let heavy = server.client();
    let requests: Vec<_> = worst_requests()
        .into_iter()
        .map(|(kind, query, encoding, body)| {
            let client = heavy.clone();
            let send = move || -> Answer {
                let json = ("content-type", "application/json");
                let packed = [json, ("content-encoding", encoding)];
                let headers = if encoding.is_empty() { &packed[..1] } else { &packed[..] };
                client.post_with(&format!("/api/predicts{query}"), headers, body)
            };
            (kind, std::thread::spawn(send))
        })
        .collect();
    // Each of them waits for the background, where its work belongs, so none can be finished. What would run on one of the two
    // connection threads would hold up the questions below, or be finished.
    let other = server.client();
    for number in 0..20 {
        assert_eq!(server.anonymous().get("/livez").status, 200);
        let docs = json!([{"doc_id": "1", "doc": format!("Question {number} is great.")}]);
        assert_eq!(other.predict("", &docs).status, 200);
    }
    for (kind, request) in &requests {
        assert!(!request.is_finished(), "{kind}: its work runs on a connection thread");
    }
    drop(occupied);
    for (kind, request) in requests {
        let status = request.join().expect("the client does not panic").status;
        assert!([200, 503].contains(&status), "{kind}: {status}");
    }
}

#[test]
fn a_small_request_with_many_sentences_is_answered_in_the_background() {
    let server = TestServer::start();
    let occupied = Occupied::all();
    let client = server.client();
    let request =
        std::thread::spawn(move || client.predict("", &json!([{"doc_id": "1", "doc": "A! ".repeat(1000)}])));
    for _ in 0..10 {
        assert_eq!(server.anonymous().get("/livez").status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!request.is_finished());
    drop(occupied);
    assert_eq!(request.join().expect("no panic").status, 200);
}

#[test]
fn unread_answers_of_one_key_leave_room_for_the_next() {
    let mut setup = Setup::default();
    setup.settings.max_answer_bytes = 80_000_000;
    setup.timeouts.write_timeout = Duration::from_mins(10);
    let server = TestServer::start_with(setup);
    let (greedy, modest) = (server.issue(NewKey::named("greedy")), server.issue(NewKey::named("modest")));
    // Some ten megabytes each, of which sockets take a few.
    let large = echo(2000, 24);
    let mut unread = Vec::new();
    let client = server.client_with(greedy.expose());
    while unread.len() < 20 && client.predict("", &large).status == 200 {
        unread.push(begin(&server, greedy.expose(), &large));
    }
    assert!((2..20).contains(&unread.len()), "{} answers are held", unread.len());
    let answer = server.client_with(modest.expose()).predict("", &large);
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.bytes[..answer.bytes.len().min(300)])
    );
    drop(unread);
    wait_until("what was held stays held", || client.predict("", &large).status == 200);
}

#[test]
fn a_request_that_is_too_long_says_what_it_takes() {
    let server = TestServer::start();
    let refused = server.client().predict("", &json!([{"doc_id": "1", "doc": "[too long]"}]));
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    assert_eq!(refused.json()["error"]["details"]["needed_ms"], 90_000);
}

#[test]
fn links_in_errors_keep_the_path_prefix_of_a_proxy() {
    let server = TestServer::start();
    let link = |prefix: &str| {
        let headers = [("x-forwarded-prefix", prefix)];
        let answer = server.anonymous().get_with("/nothing", &headers);
        answer.json()["error"]["documentation_url"].as_str().expect("a link").to_owned()
    };
    assert_eq!(link("/sentor"), "/sentor/docs/errors#not_found");
    assert_eq!(link("/a/b/"), "/a/b/docs/errors#not_found");
    for strange in ["//evil.example", "https://evil.example", "sentor", "/a\"b", "/a b", "/"] {
        assert_eq!(link(strange), "/docs/errors#not_found", "{strange}");
    }
}
