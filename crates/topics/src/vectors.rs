//! Distinct texts in a fixed order, with their vectors.

use ndarray::{Array2, ArrayView1};

use crate::Document;

/// The distinct texts of a request, sorted, each with its vector and its places in the request.
#[derive(Debug)]
pub(crate) struct Distinct {
    /// Unit vectors, a row for each text.
    pub(crate) rows: Array2<f32>,
    /// Indices of the documents with this text, in request order.
    pub(crate) documents: Vec<Vec<usize>>,
}

impl Distinct {
    /// Sorts the documents by a hash of their texts, so that any leading part of them is a fair sample.
    pub(crate) fn of(documents: &[Document<'_>]) -> Self {
        let mut order: Vec<usize> = (0..documents.len()).collect();
        let key = |index: usize| (fingerprint(documents[index].text), documents[index].text);
        order.sort_by(|&a, &b| key(a).cmp(&key(b)).then(a.cmp(&b)));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for index in order {
            match groups.last_mut() {
                Some(group) if documents[group[0]].text == documents[index].text => group.push(index),
                _ => groups.push(vec![index]),
            }
        }
        let width = documents.first().map_or(0, |document| document.vector.len());
        let mut rows = Array2::zeros((groups.len(), width));
        for (mut row, group) in rows.outer_iter_mut().zip(&groups) {
            row.assign(&ArrayView1::from(documents[group[0]].vector));
        }
        Self { rows, documents: groups }
    }

    /// Number of distinct texts.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }
}

/// FNV-1a, which is the same on every machine and in every version.
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Inner product, in the order of the coordinates.
pub(crate) fn dot<'v>(a: impl IntoIterator<Item = &'v f32>, b: impl IntoIterator<Item = &'v f32>) -> f64 {
    a.into_iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Scales a vector to length 1; leaves one of zeros as it is.
pub(crate) fn normalise(values: &mut [f64]) {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm > 0.0 {
        for value in values {
            *value /= norm;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a coordinate of a unit vector")]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}
