//! Compares two ways to pass inputs to ONNX Runtime, without the engine: views of reused buffers, as in the engine, and
//! an IO binding that is made once for a shape and overwritten. The latter is the best case of a binding, since the
//! engine's shapes differ from run to run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::Tensor;
use sentor_engine::encode::Sequence;
use sentor_engine::registry::ModelFolder;

#[path = "support/bare.rs"]
mod bare;
#[path = "support/mod.rs"]
mod support;

use bare::{Bare, Inputs, NAMES};

fn runs(criterion: &mut Criterion) {
    let environment = bare::environment();
    let mut group = criterion.benchmark_group("binding");
    for model in ["sentor-en", "sentor-nl"] {
        let folder = ModelFolder::open(&support::models_dir().join(model))
            .expect("the model folder is in the repository");
        let mut session = Bare::load(&environment, &folder.network(), 1).expect("the model loads");
        for (count, tokens) in [(1, 16), (1, 32), (8, 32)] {
            let rows = vec![bare::sequence(&folder, tokens); count];
            let shape = format!("{count}x{tokens}");
            group.throughput(Throughput::Elements((count * tokens) as u64));
            group.bench_function(BenchmarkId::new(format!("{model}/views"), &shape), |bencher| {
                bencher.iter(|| session.run(&rows).expect("the model runs"));
            });
            let by_view = session.run(&rows).expect("the model runs");
            let mut bound = Bound::new(&mut session, &rows).expect("it can be bound");
            assert_eq!(bound.run(&rows).expect("the model runs"), by_view, "both ways give the same bits");
            group.bench_function(BenchmarkId::new(format!("{model}/bound"), &shape), |bencher| {
                bencher.iter(|| bound.run(&rows).expect("the model runs"));
            });
        }
    }
    group.finish();
}

/// A session whose inputs and output are bound for one shape, so that a run looks up no names and allocates no tensors.
struct Bound<'a> {
    bare: &'a mut Bare,
    binding: IoBinding,
    tensors: [Tensor<i64>; 5],
}

impl<'a> Bound<'a> {
    /// Binds inputs for sequences of this shape.
    fn new(bare: &'a mut Bare, rows: &[Sequence]) -> ort::Result<Self> {
        bare.inputs.fill(rows);
        let inputs = &bare.inputs;
        let (ids, spans) = ([inputs.rows, inputs.tokens], [inputs.span_row.len()]);
        let [input_ids, attention_mask, span_row, span_start, span_end] = sources(inputs);
        let tensors = [
            Tensor::from_array((ids, input_ids.clone()))?,
            Tensor::from_array((ids, attention_mask.clone()))?,
            Tensor::from_array((spans, span_row.clone()))?,
            Tensor::from_array((spans, span_start.clone()))?,
            Tensor::from_array((spans, span_end.clone()))?,
        ];
        let mut binding = bare.session.create_binding()?;
        for (name, tensor) in NAMES.iter().zip(&tensors) {
            binding.bind_input(*name, tensor)?;
        }
        let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        binding.bind_output_to_device("logits", &memory)?;
        Ok(Self { bare, binding, tensors })
    }

    /// Overwrites the inputs with sequences of the bound shape, and runs them.
    fn run(&mut self, rows: &[Sequence]) -> ort::Result<Vec<[f32; 3]>> {
        self.bare.inputs.fill(rows);
        for (tensor, source) in self.tensors.iter_mut().zip(sources(&self.bare.inputs)) {
            tensor.extract_tensor_mut().1.copy_from_slice(source);
        }
        let outputs = self.bare.session.run_binding(&self.binding)?;
        let (_, logits) = outputs["logits"].try_extract_tensor::<f32>()?;
        Ok(logits.as_chunks::<3>().0.to_vec())
    }
}

fn sources(inputs: &Inputs) -> [&Vec<i64>; 5] {
    [&inputs.input_ids, &inputs.attention_mask, &inputs.span_row, &inputs.span_start, &inputs.span_end]
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = runs
}
criterion_main!(benches);
