//! ONNX Runtime alone, with the network and the session options of the engine, for comparison. A process has one
//! environment of it, so this and the engine cannot be in the same benchmark.

use std::path::Path;

use ort::environment::Environment;
use ort::ep::CPU;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use sentor_engine::NetworkSource;
use sentor_engine::encode::{Sequence, SequenceSpan};
use sentor_engine::registry::ModelFolder;

/// One session of a span model.
pub(crate) struct Bare {
    pub(crate) session: Session,
    pub(crate) inputs: Inputs,
}

/// The inputs of a run, as the engine lays them out.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(crate) rows: usize,
    pub(crate) tokens: usize,
    pub(crate) input_ids: Vec<i64>,
    pub(crate) attention_mask: Vec<i64>,
    pub(crate) span_row: Vec<i64>,
    pub(crate) span_start: Vec<i64>,
    pub(crate) span_end: Vec<i64>,
}

/// The library's environment; a process has one.
pub(crate) fn environment() -> Environment {
    sentor_engine::disable_telemetry();
    let library = sentor_engine::default_library().expect("there is a cache folder");
    let builder = ort::init_from(&library).expect("ONNX Runtime has been fetched");
    builder.with_telemetry(false).build().expect("the first environment of this process")
}

/// Builds a sequence of this many tokens, special ones included, with two spans: a sentence and a mention.
pub(crate) fn sequence(folder: &ModelFolder, tokens: usize) -> Sequence {
    let special = folder.manifest().tokens;
    let mut ids: Vec<u32> = (0..tokens).map(|index| 1000 + u32::try_from(index).unwrap_or(0)).collect();
    (ids[0], ids[tokens - 1]) = (special.cls, special.sep);
    Sequence { ids, spans: vec![SequenceSpan::new(1, tokens - 2), SequenceSpan::new(2, 2)] }
}

impl Bare {
    /// Loads the network at `path` for runs on `threads` threads.
    pub(crate) fn load(environment: &Environment, path: &Path, threads: usize) -> ort::Result<Self> {
        let mut builder = Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_memory_pattern(false)?
            .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?;
        let session = match NetworkSource::prepare(path).expect("the network is readable") {
            NetworkSource::File(path) => builder.commit_from_file(path)?,
            NetworkSource::Memory(bytes) => builder.commit_from_memory(&bytes)?,
        };
        Ok(Self { session, inputs: Inputs::default() })
    }

    /// Runs sequences of one length with views of reused buffers, as the engine does.
    pub(crate) fn run(&mut self, rows: &[Sequence]) -> ort::Result<Vec<[f32; 3]>> {
        self.inputs.fill(rows);
        let Inputs { rows, tokens, input_ids, attention_mask, span_row, span_start, span_end } = &self.inputs;
        let (ids, spans) = ([*rows, *tokens], [span_row.len()]);
        let inputs = ort::inputs![
            NAMES[0] => TensorRef::from_array_view((ids, &input_ids[..]))?,
            NAMES[1] => TensorRef::from_array_view((ids, &attention_mask[..]))?,
            NAMES[2] => TensorRef::from_array_view((spans, &span_row[..]))?,
            NAMES[3] => TensorRef::from_array_view((spans, &span_start[..]))?,
            NAMES[4] => TensorRef::from_array_view((spans, &span_end[..]))?,
        ];
        let outputs = self.session.run(inputs)?;
        let (_, logits) = outputs["logits"].try_extract_tensor::<f32>()?;
        Ok(logits.as_chunks::<3>().0.to_vec())
    }
}

impl Inputs {
    pub(crate) fn fill(&mut self, rows: &[Sequence]) {
        (self.rows, self.tokens) = (rows.len(), rows.first().map_or(0, |row| row.ids.len()));
        for buffer in [
            &mut self.input_ids,
            &mut self.attention_mask,
            &mut self.span_row,
            &mut self.span_start,
            &mut self.span_end,
        ] {
            buffer.clear();
        }
        for (row, index) in rows.iter().zip(0_i64..) {
            self.input_ids.extend(row.ids.iter().map(|&id| i64::from(id)));
            self.attention_mask.extend(std::iter::repeat_n(1, row.ids.len()));
            for span in &row.spans {
                self.span_row.push(index);
                self.span_start.push(i64::from(span.first));
                self.span_end.push(i64::from(span.last));
            }
        }
    }
}

pub(crate) const NAMES: [&str; 5] = ["input_ids", "attention_mask", "span_row", "span_start", "span_end"];
