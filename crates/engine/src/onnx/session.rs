//! A loaded model, and its use by one worker.

use std::ffi::CStr;
use std::iter::repeat_n;
use std::sync::Arc;

use ort::ep::CPU;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorRef, TensorRefMut};

use super::concurrent::ConcurrentSession;
use super::graph::NetworkSource;
use super::signature::Inputs;
use super::{Runtime, RuntimeError};
use crate::encode::Sequence;
use crate::network::{Network, RunError};
use crate::output::{BatchOutput, OutputField, OutputLayout, RowsPer};
use crate::registry::{ModelFolder, SpecialTokens, Task};

/// A model in memory. All workers share it.
pub(crate) struct LoadedModel {
    session: ConcurrentSession,
    inputs: Inputs,
    layout: Arc<OutputLayout>,
    special: SpecialTokens,
}

impl LoadedModel {
    /// Loads the network of a model folder.
    ///
    /// # Errors
    ///
    /// If ONNX Runtime cannot load it, or its inputs and outputs are not those of its signature.
    pub(crate) fn load(runtime: &Runtime, folder: &ModelFolder) -> Result<Self, RuntimeError> {
        let path = folder.network();
        let model = |problem: String| RuntimeError::Model { path: path.clone(), problem };
        let source = NetworkSource::prepare(&path).map_err(|error| model(error.to_string()))?;
        let session = build(runtime, &source).map_err(|error| model(error.to_string()))?;
        let inputs = Inputs::check(&session, folder.manifest().signature).map_err(model)?;
        let layout = match inputs {
            Inputs::Spans | Inputs::Pairs { .. } => OutputLayout::per_span(Task::LOGITS, Task::CLASSES),
            Inputs::Texts { width } => {
                let name = Task::EMBEDDING.to_owned();
                OutputLayout::new(vec![OutputField { name, rows: RowsPer::Sequence, width }])
            }
        };
        let session = ConcurrentSession::new(session);
        Ok(Self { session, inputs, layout, special: folder.manifest().tokens })
    }
}

fn build(runtime: &Runtime, source: &NetworkSource) -> ort::Result<ort::session::Session> {
    // One thread a run and no spinning: the workers are the parallelism, and an idle one must not take a core from
    // another. Shapes differ from batch to batch: a memory pattern would be made and thrown away, and an arena would keep
    // blocks for shapes that do not come again.
    let mut builder = ort::session::Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?;
    match source {
        NetworkSource::File(path) => builder.commit_from_file(path),
        NetworkSource::Memory(bytes) => builder.commit_from_memory(bytes),
    }
}

/// A loaded model with the buffers of one worker.
pub(crate) struct SessionNetwork {
    model: Arc<LoadedModel>,
    buffers: Buffers,
}

/// Inputs of a batch, reused from batch to batch.
#[derive(Default)]
struct Buffers {
    input_ids: Vec<i64>,
    attention_mask: Vec<i64>,
    token_type_ids: Vec<i64>,
    span_row: Vec<i64>,
    span_start: Vec<i64>,
    span_end: Vec<i64>,
}

pub(super) const IDS: &CStr = c"input_ids";
pub(super) const MASK: &CStr = c"attention_mask";
pub(super) const TYPES: &CStr = c"token_type_ids";
pub(super) const SPANS: [&CStr; 3] = [c"span_row", c"span_start", c"span_end"];
pub(super) const LOGITS: &CStr = c"logits";
pub(super) const EMBEDDING: &CStr = c"embedding";

impl SessionNetwork {
    pub(crate) fn new(model: Arc<LoadedModel>) -> Self {
        Self { model, buffers: Buffers::default() }
    }
}

impl Network for SessionNetwork {
    /// Fails if ONNX Runtime does, or if its output has an unexpected shape. Panics if a sequence is longer than
    /// `padded_tokens`.
    fn run(&mut self, sequences: &[&Sequence], padded_tokens: usize) -> Result<BatchOutput, RunError> {
        let LoadedModel { session, inputs, layout, special } = &*self.model;
        self.buffers.fill(sequences, padded_tokens, *inputs, *special);
        let Buffers { input_ids, attention_mask, token_type_ids, span_row, span_start, span_end } =
            &self.buffers;
        let spans = span_row.len();
        let (name, rows, width) = match *inputs {
            Inputs::Spans => (LOGITS, spans, Task::CLASSES),
            // Without spans, nobody asks for the result of a pair.
            Inputs::Pairs { .. } if spans == 0 => (LOGITS, 0, Task::CLASSES),
            Inputs::Pairs { .. } => (LOGITS, sequences.len(), Task::CLASSES),
            Inputs::Texts { width } => (EMBEDDING, sequences.len(), width),
        };
        let mut values = vec![0.0; rows * width];
        if rows > 0 {
            let shape = [sequences.len(), padded_tokens];
            let ids = (IDS, TensorRef::from_array_view((shape, &input_ids[..]))?);
            let mask = (MASK, TensorRef::from_array_view((shape, &attention_mask[..]))?);
            let output = TensorRefMut::from_array_view_mut(([rows, width], &mut values[..]))?;
            let output = &mut [(name, output)];
            match inputs {
                Inputs::Spans => {
                    let row = (SPANS[0], TensorRef::from_array_view(([spans], &span_row[..]))?);
                    let start = (SPANS[1], TensorRef::from_array_view(([spans], &span_start[..]))?);
                    let end = (SPANS[2], TensorRef::from_array_view(([spans], &span_end[..]))?);
                    session.run(&[ids, mask, row, start, end], output)?;
                }
                Inputs::Pairs { with_types: true } => {
                    let types = (TYPES, TensorRef::from_array_view((shape, &token_type_ids[..]))?);
                    session.run(&[ids, mask, types], output)?;
                }
                Inputs::Pairs { with_types: false } | Inputs::Texts { .. } => {
                    session.run(&[ids, mask], output)?;
                }
            }
        }
        if matches!(inputs, Inputs::Pairs { .. }) {
            // A pair has one result, which counts for all of its spans.
            let pairs = sequences.iter().zip(values.chunks_exact(Task::CLASSES));
            let repeated = pairs.flat_map(|(sequence, pair)| repeat_n(pair, sequence.spans.len()));
            values = repeated.flatten().copied().collect();
        }
        Ok(BatchOutput::new(Arc::clone(layout), vec![values]))
    }
}

impl Buffers {
    fn fill(
        &mut self,
        sequences: &[&Sequence],
        padded_tokens: usize,
        inputs: Inputs,
        special: SpecialTokens,
    ) {
        for buffer in [
            &mut self.input_ids,
            &mut self.attention_mask,
            &mut self.token_type_ids,
            &mut self.span_row,
            &mut self.span_start,
            &mut self.span_end,
        ] {
            buffer.clear();
        }
        let pad = i64::from(special.pad);
        for (sequence, index) in sequences.iter().zip(0_i64..) {
            let length = sequence.ids.len();
            let padding =
                padded_tokens.checked_sub(length).expect("the batch is as long as its longest sequence");
            self.input_ids.extend(sequence.ids.iter().map(|&id| i64::from(id)));
            self.input_ids.extend(repeat_n(pad, padding));
            self.attention_mask.extend(repeat_n(1, length));
            self.attention_mask.extend(repeat_n(0, padding));
            if inputs == (Inputs::Pairs { with_types: true }) {
                // A separator in the text is encoded as text, so the first separator ends the text.
                let separator = sequence.ids.iter().position(|&id| id == special.sep);
                let text = separator.map_or(length, |at| at + 1);
                self.token_type_ids.extend(repeat_n(0, text));
                self.token_type_ids.extend(repeat_n(1, length - text));
                self.token_type_ids.extend(repeat_n(0, padding));
            }
            for span in &sequence.spans {
                self.span_row.push(index);
                self.span_start.push(i64::from(span.first));
                self.span_end.push(i64::from(span.last));
            }
        }
    }
}

impl From<ort::Error> for RunError {
    fn from(error: ort::Error) -> Self {
        Self::new(error.to_string())
    }
}
