//! Measures tokenization with both models: a tweet, a review, a long article.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sentor_engine::encode::Encoder;
use sentor_engine::registry::ModelFolder;

#[path = "support/mod.rs"]
mod support;
#[path = "support/texts.rs"]
mod texts;

fn tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (model, sentence) in [("sentor-en", texts::ENGLISH), ("sentor-nl", texts::DUTCH)] {
        let folder = ModelFolder::open(&support::models_dir().join(model))
            .expect("the model folder is in the repository");
        let encoder = Encoder::open(&folder).expect("the tokenizer is in the model folder");
        for sentences in [1, 8, 256] {
            let text = vec![sentence; sentences].join(" ");
            let borders: Vec<usize> = text.match_indices(". ").map(|(at, _)| at + 2).collect();
            group.throughput(Throughput::Elements(
                encoder.tokens(&text, borders.iter().copied()).len() as u64
            ));
            group.bench_with_input(BenchmarkId::new(model, sentences), &text, |bencher, text| {
                bencher.iter(|| encoder.tokens(text, borders.iter().copied()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, tokens);
criterion_main!(benches);
