//! Measures the engine with one worker on typical shapes of requests.
//!
//! With one worker, the figure is the rate of one core; `pipeline` measures all cores. A shape's rate relative to
//! `8x32` shows the cost of its batching.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sentor_engine::encode::{Sequence, SequenceSpan};
use sentor_engine::registry::ModelFolder;
use sentor_engine::{Caller, Engine, EngineSettings, Runtime};

#[path = "support/mod.rs"]
mod support;

fn runs(criterion: &mut Criterion) {
    let runtime = Runtime::load(None).expect("ONNX Runtime has been fetched");
    let mut group = criterion.benchmark_group("engine");
    let caller = Caller::from("bench");
    for model in ["sentor-en", "sentor-nl"] {
        let folder = ModelFolder::open(&support::models_dir().join(model))
            .expect("the model folder is in the repository");
        let settings = EngineSettings {
            workers: 1,
            max_batch_tokens: 256,
            max_queued_tokens: 1 << 20,
            cache_bytes: 0,
            deduplicate: false,
            niceness: 0,
        };
        let special = folder.manifest().tokens;
        let engine = Engine::start(&runtime, &[folder], |_| false, settings).expect("the model loads");
        for (count, tokens) in [(1, 16), (1, 32), (4, 32), (8, 32), (32, 32), (8, 128)] {
            let mut ids: Vec<u32> = (0..tokens).map(|index| 1000 + index).collect();
            (ids[0], ids[tokens as usize - 1]) = (special.cls, special.sep);
            let sequence = Sequence { ids, spans: vec![SequenceSpan::new(1, tokens as usize - 2)] };
            group.throughput(Throughput::Elements(u64::from(count * tokens)));
            group.bench_function(BenchmarkId::new(model, format!("{count}x{tokens}")), |bencher| {
                bencher.iter_batched(
                    || vec![(0, sequence.clone()); count as usize],
                    |sequences| {
                        let ticket = engine.submit(sequences, &caller, None).expect("the queue is empty");
                        ticket.wait().expect("the engine is up")
                    },
                    criterion::BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = runs
}
criterion_main!(benches);
