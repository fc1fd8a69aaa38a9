//! Outputs of sequences that were scored before, as many as fit into a number of bytes.

use std::mem::size_of;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::SequenceOutput;
use super::in_flight::SequenceKey;
use super::statistics::CacheStatistics;
use crate::encode::{Sequence, SequenceSpan};

/// Outputs by everything that they depend on: the model, the tokens and the spans.
///
/// The least requested entries are evicted first (S3-FIFO), so millions of texts that come once do not evict the few
/// that come often.
pub(super) struct OutputCache {
    entries: Cache<SequenceKey, SequenceOutput, Bytes>,
    hits: u64,
    misses: u64,
}

/// Weighs an entry by its memory.
#[derive(Clone)]
struct Bytes;

impl Bytes {
    /// What the map adds to an entry: three reference counts, the key, the queue, the hash.
    const OVERHEAD: usize = 160;
}

impl Weighter<SequenceKey, SequenceOutput> for Bytes {
    fn weight(&self, key: &SequenceKey, output: &SequenceOutput) -> u64 {
        let Sequence { ids, spans } = &*key.sequence;
        let sequence = ids.len() * size_of::<u32>() + spans.len() * size_of::<SequenceSpan>();
        (Self::OVERHEAD + size_of::<Sequence>() + sequence + output.size_bytes()) as u64
    }
}

impl OutputCache {
    /// Memory of an ordinary entry: a sequence of 30 tokens with 3 spans.
    const USUAL_BYTES: usize = 400;

    /// A cache of up to `bytes`; `None` for 0, which switches it off.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let entries = Cache::with_weighter(bytes / Self::USUAL_BYTES, bytes as u64, Bytes);
        (bytes > 0).then_some(Self { entries, hits: 0, misses: 0 })
    }

    pub(super) fn find(&mut self, key: &SequenceKey) -> Option<SequenceOutput> {
        let found = self.entries.get(key).cloned();
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    pub(super) fn insert(&mut self, key: SequenceKey, output: SequenceOutput) {
        self.entries.insert(key, output);
    }

    pub(super) fn statistics(&self) -> CacheStatistics {
        CacheStatistics {
            hits: self.hits,
            misses: self.misses,
            entries: self.entries.len(),
            bytes: self.entries.weight(),
        }
    }
}

impl std::fmt::Debug for OutputCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OutputCache").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::{BatchOutput, OutputLayout};

    #[test]
    fn the_cache_stays_within_its_bytes_and_keeps_frequent_entries() {
        let mut cache = OutputCache::new(100_000).expect("it is on");
        let sequence = |id: u32| Sequence { ids: vec![id; 30], spans: vec![SequenceSpan::new(1, 2)] };
        let key = |id: u32| SequenceKey::new(0, Arc::new(sequence(id)));
        let scored = BatchOutput::new(OutputLayout::per_span("logits", 3), vec![vec![0.0, 1.0, 2.0]]);
        let outputs = scored.split(&[&key(0).sequence]).expect("one span");
        cache.insert(key(0), outputs[0].clone());
        for id in 1..5000 {
            assert!(
                cache.find(&key(0)).is_some(),
                "a sequence that is asked for all the time stays, at {id}"
            );
            cache.insert(key(id), outputs[0].clone());
            assert!(cache.statistics().bytes <= 100_000);
        }
        let CacheStatistics { hits, misses, entries, .. } = cache.statistics();
        assert_eq!((hits, misses), (4999, 0));
        assert!(entries > 100, "{entries} sequences of some 370 bytes fit");
        let other_spans = Sequence { spans: vec![SequenceSpan::new(1, 3)], ..sequence(0) };
        assert!(cache.find(&SequenceKey::new(0, Arc::new(other_spans))).is_none());
        assert!(cache.find(&SequenceKey::new(1, Arc::new(sequence(0)))).is_none());
        assert!(OutputCache::new(0).is_none());
    }
}
