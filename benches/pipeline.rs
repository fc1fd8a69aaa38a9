//! Measures the whole pipeline on all cores, without HTTP.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sentor_analysis::{Analyzer, Document, Options, Settings, local_caller};
use sentor_text::language::{Language, LanguageChoice};

#[path = "support/mod.rs"]
mod support;
#[path = "support/texts.rs"]
mod texts;

fn documents(criterion: &mut Criterion) {
    let models = support::models_dir();
    let settings = Settings {
        models: vec![
            (Language::English, models.join("sentor-en")),
            (Language::Dutch, models.join("sentor-nl")),
        ],
        // The cache is off, so the model is measured.
        cache_bytes: 0,
        deduplicate: false,
        ..Settings::default()
    };
    let analyzer = Analyzer::start(&settings).expect("ONNX Runtime has been fetched and the models load");
    let mut group = criterion.benchmark_group("pipeline");
    for (language, sentence) in [(Language::English, texts::ENGLISH), (Language::Dutch, texts::DUTCH)] {
        let options =
            Options { language: LanguageChoice::Fixed(language), caller: local_caller(), deadline: None };
        for (count, entities) in [(1, 0), (1, 1), (1, 3), (1, 10), (32, 3), (1000, 3)] {
            let names = [
                "camera", "service", "battery", "price", "screen", "shop", "sound", "size", "brand", "weight",
            ];
            let entities_of_each: Vec<String> =
                names[..entities].iter().map(|&name| name.to_owned()).collect();
            let document =
                Document { text: sentence.to_owned(), entities: entities_of_each, ..Document::default() };
            let documents = vec![document; count];
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(
                BenchmarkId::new(language.code(), format!("{count} documents, {entities} entities")),
                |bencher| {
                    bencher.iter(|| {
                        let answers = analyzer.analyze_blocking(documents.clone(), options.clone());
                        answers.expect("the queue has room")
                    });
                },
            );
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = documents
}
criterion_main!(benches);
