//! The outputs of a model: rows of numbers under a name. The engine does not interpret them.
//!
//! The engine stores, shares and counts outputs; `sentor-analysis` interprets the numbers.

use std::sync::Arc;

use crate::encode::Sequence;

/// Names and shapes of a model's outputs. The sequences of a model share one layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLayout {
    fields: Vec<OutputField>,
}

/// Name and shape of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputField {
    /// Name of the output in the network.
    pub name: String,
    /// The unit that a row belongs to.
    pub rows: RowsPer,
    /// Numbers in a row.
    pub width: usize,
}

/// The unit that a row of an output belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsPer {
    /// A span of the sequence, in the order of [`Sequence::spans`].
    Span,
    /// The sequence as a whole.
    Sequence,
}

impl OutputLayout {
    /// The layout of a model with these outputs.
    pub fn new(fields: Vec<OutputField>) -> Arc<Self> {
        Arc::new(Self { fields })
    }

    /// The layout of a model with one output that has a row of `width` numbers for each span.
    pub fn per_span(name: &str, width: usize) -> Arc<Self> {
        Self::new(vec![OutputField { name: name.to_owned(), rows: RowsPer::Span, width }])
    }

    /// The outputs, in the order in which a [`BatchOutput`] has their values.
    pub fn fields(&self) -> &[OutputField] {
        &self.fields
    }
}

impl OutputField {
    /// Returns the count of numbers of this output for a sequence with this many spans.
    fn len(&self, spans: usize) -> usize {
        let rows = match self.rows {
            RowsPer::Span => spans,
            RowsPer::Sequence => 1,
        };
        rows * self.width
    }
}

/// Outputs of a model for the sequences of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOutput {
    layout: Arc<OutputLayout>,
    /// For each field its rows, in the order of the sequences.
    values: Vec<Vec<f32>>,
}

impl BatchOutput {
    /// Outputs whose `values` are the rows of each field of `layout`, in the order of the sequences.
    pub fn new(layout: Arc<OutputLayout>, values: Vec<Vec<f32>>) -> Self {
        Self { layout, values }
    }

    /// Splits the outputs by sequence. The error says which output has too few or too many numbers.
    pub(crate) fn split(&self, sequences: &[&Sequence]) -> Result<Vec<SequenceOutput>, String> {
        let fields = &self.layout.fields;
        if fields.len() != self.values.len() {
            return Err(format!("it returned {} outputs instead of {}", self.values.len(), fields.len()));
        }
        for (field, values) in fields.iter().zip(&self.values) {
            let expected: usize = sequences.iter().map(|sequence| field.len(sequence.spans.len())).sum();
            if values.len() != expected {
                let name = &field.name;
                return Err(format!("its output {name} has {} numbers instead of {expected}", values.len()));
            }
        }
        let mut starts = vec![0; fields.len()];
        let outputs = sequences.iter().map(|sequence| {
            let spans = sequence.spans.len();
            let mut own = Vec::with_capacity(fields.iter().map(|field| field.len(spans)).sum());
            for ((field, values), start) in fields.iter().zip(&self.values).zip(&mut starts) {
                let end = *start + field.len(spans);
                own.extend_from_slice(&values[*start..end]);
                *start = end;
            }
            SequenceOutput { layout: Arc::clone(&self.layout), spans, values: own.into() }
        });
        Ok(outputs.collect())
    }
}

/// Outputs of a model for one sequence. A clone shares the numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceOutput {
    layout: Arc<OutputLayout>,
    spans: usize,
    /// The rows of each field, one field after the other.
    values: Arc<[f32]>,
}

impl SequenceOutput {
    /// Returns the rows of the output with this name; `None` if the model has no such output.
    pub fn rows(&self, name: &str) -> Option<std::slice::ChunksExact<'_, f32>> {
        let mut start = 0;
        for field in &self.layout.fields {
            let end = start + field.len(self.spans);
            if field.name == name {
                return Some(self.values[start..end].chunks_exact(field.width.max(1)));
            }
            start = end;
        }
        None
    }

    /// Memory of the numbers, in bytes. Clones share it.
    pub(crate) fn size_bytes(&self) -> usize {
        size_of_val(&*self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::SequenceSpan;

    #[test]
    fn a_batch_is_split_by_sequence_and_read_by_name() {
        let field = |name: &str, rows, width| OutputField { name: name.to_owned(), rows, width };
        let layout = OutputLayout::new(vec![
            field("logits", RowsPer::Span, 3),
            field("embedding", RowsPer::Sequence, 2),
        ]);
        let sequence = |spans| Sequence { ids: vec![1; 4], spans: vec![SequenceSpan::new(0, 1); spans] };
        let (two, none, one) = (sequence(2), sequence(0), sequence(1));
        let logits: Vec<f32> = (0_u8..9).map(f32::from).collect();
        let embeddings: Vec<f32> = (10_u8..16).map(f32::from).collect();
        let batch = BatchOutput::new(Arc::clone(&layout), vec![logits.clone(), embeddings]);
        let outputs = batch.split(&[&two, &none, &one]).expect("all numbers are there");
        let rows = |output: &SequenceOutput, name| -> Vec<Vec<f32>> {
            output.rows(name).expect("the model has it").map(<[f32]>::to_vec).collect()
        };
        assert_eq!(rows(&outputs[0], "logits"), [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
        assert_eq!(rows(&outputs[0], "embedding"), [[10.0, 11.0]]);
        assert!(rows(&outputs[1], "logits").is_empty());
        assert_eq!(rows(&outputs[2], "logits"), [[6.0, 7.0, 8.0]]);
        assert_eq!(rows(&outputs[2], "embedding"), [[14.0, 15.0]]);
        assert!(outputs[0].rows("topics").is_none());
        assert_eq!(outputs[0].size_bytes(), 32);

        let short = BatchOutput::new(Arc::clone(&layout), vec![logits, vec![0.0; 5]]);
        let problem = short.split(&[&two, &none, &one]).expect_err("a number is missing");
        assert!(problem.contains("embedding"), "{problem}");
        assert!(BatchOutput::new(layout, Vec::new()).split(&[]).is_err(), "an output is missing");
    }
}
