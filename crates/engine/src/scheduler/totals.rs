//! How much is queued over all callers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::LengthBucket;

/// What is queued over all callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueTotals {
    /// Sequences.
    pub(crate) sequences: usize,
    /// Sequences, by model.
    pub(crate) sequences_by_model: Vec<usize>,
    /// Padded tokens, by model.
    pub(crate) tokens: Vec<usize>,
    /// Sequences, by length bucket; only buckets that have some.
    pub(super) buckets: BTreeMap<LengthBucket, usize>,
}

impl QueueTotals {
    pub(super) fn new(models: usize) -> Self {
        let (sequences_by_model, tokens) = (vec![0; models], vec![0; models]);
        Self { sequences: 0, sequences_by_model, tokens, buckets: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, bucket: LengthBucket) {
        self.sequences += 1;
        self.sequences_by_model[bucket.model] += 1;
        self.tokens[bucket.model] += bucket.padded_tokens;
        *self.buckets.entry(bucket).or_default() += 1;
    }

    pub(super) fn remove(&mut self, bucket: LengthBucket) {
        self.sequences -= 1;
        self.sequences_by_model[bucket.model] -= 1;
        self.tokens[bucket.model] -= bucket.padded_tokens;
        if let Entry::Occupied(mut sequences) = self.buckets.entry(bucket) {
            *sequences.get_mut() -= 1;
            if *sequences.get() == 0 {
                sequences.remove();
            }
        }
    }
}
