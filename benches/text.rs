//! Measures the text logic by length of text: language, sentences, mentions.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sentor_text::language::{Language, detect};
use sentor_text::mention::EntityMatcher;
use sentor_text::segment::sentences;

#[path = "support/texts.rs"]
mod texts;

fn text_logic(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    for (language, sentence) in [(Language::English, texts::ENGLISH), (Language::Dutch, texts::DUTCH)] {
        for count in [1, 16, 1024] {
            let text = vec![sentence; count].join(" ");
            group.throughput(Throughput::Bytes(text.len() as u64));
            let id = |what| BenchmarkId::new(format!("{what}/{}", language.code()), count);
            group.bench_with_input(id("detect"), &text, |bencher, text| bencher.iter(|| detect(text)));
            group.bench_with_input(id("sentences"), &text, |bencher, text| {
                bencher.iter(|| sentences(text, language));
            });
            group.bench_with_input(id("mentions"), &text, |bencher, text| {
                bencher.iter(|| EntityMatcher::new(&["camera", "service", "bediening"], language).find(text));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, text_logic);
criterion_main!(benches);
