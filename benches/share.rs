//! Measures the shares of text logic and tokenizer in the processor time of a document.
//!
//! With one worker, the time of a whole request is its processor time. The three are measured in turns, so that noise
//! affects all of them equally. The table has the medians.

use std::time::{Duration, Instant};

use sentor_analysis::{Analyzer, Document, Options, Settings, local_caller};
use sentor_engine::encode::Encoder;
use sentor_engine::registry::ModelFolder;
use sentor_text::language::{Language, LanguageChoice, detect};
use sentor_text::mention::EntityMatcher;
use sentor_text::segment::sentences;

#[path = "support/mod.rs"]
mod support;
#[path = "support/texts.rs"]
mod texts;

/// Minimum time of a measurement; short documents are repeated.
const SHORTEST: Duration = Duration::from_millis(5);
const ROUNDS: usize = 15;

fn main() {
    println!("lang  sentences  entities     text us   tokens us    whole us  text share");
    for (language, model, sentence) in
        [(Language::English, "sentor-en", texts::ENGLISH), (Language::Dutch, "sentor-nl", texts::DUTCH)]
    {
        let path = support::models_dir().join(model);
        let settings = Settings {
            models: vec![(language, path.clone())],
            workers: Some(1),
            max_queued_tokens: 1 << 20,
            // The cache is off.
            cache_bytes: 0,
            deduplicate: false,
            ..Settings::default()
        };
        let analyzer = Analyzer::start(&settings).expect("ONNX Runtime has been fetched and the model loads");
        let folder = ModelFolder::open(&path).expect("the model folder is in the repository");
        let encoder = Encoder::open(&folder).expect("the tokenizer is in the model folder");
        for (count, entities) in [(1, 1), (1, 10), (8, 3), (64, 3), (64, 50)] {
            let names = ["camera", "service", "bediening"].into_iter().map(str::to_owned);
            let others = (0..).map(|number| format!("brand{number}"));
            let document = Document {
                text: vec![sentence; count].join(" "),
                entities: names.chain(others).take(entities).collect(),
                ..Document::default()
            };
            let [text, tokens, whole] = measure(&document, language, &encoder, &analyzer);
            println!(
                "{:4}  {count:>9}  {entities:>8}  {:>10.1}  {:>10.1}  {:>10.1}  {:>9.2}%",
                language.code(),
                text.as_secs_f64() * 1e6,
                tokens.as_secs_f64() * 1e6,
                whole.as_secs_f64() * 1e6,
                100.0 * text.as_secs_f64() / whole.as_secs_f64()
            );
        }
    }
}

/// Median times of text logic, tokenizer and the whole request.
fn measure(document: &Document, language: Language, encoder: &Encoder, analyzer: &Analyzer) -> [Duration; 3] {
    let text = document.text.as_str();
    let options =
        Options { language: LanguageChoice::Fixed(language), caller: local_caller(), deadline: None };
    let borders: Vec<usize> = sentences(text, language).iter().map(|sentence| sentence.end).collect();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(time(|| {
            let found = EntityMatcher::new(&document.entities, language).find(text);
            (detect(text), sentences(text, language), found)
        }));
        times[1].push(time(|| encoder.tokens(text, borders.iter().copied())));
        times[2].push(time(|| {
            let answers = analyzer.analyze_blocking(vec![document.clone()], options.clone());
            answers.expect("the queue has room")
        }));
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    })
}

/// Returns the mean time of a call.
fn time<T>(call: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < SHORTEST {
        std::hint::black_box(call());
        calls += 1;
    }
    start.elapsed() / calls
}
