//! Logits of rows that were scored before, as many as fit into a number of bytes.

use std::mem::size_of;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::board::{RowKey, SpanLogits};
use super::statistics::CacheStatistics;
use crate::encode::{Row, RowSpan};

/// What a scored row is remembered by is all that its logits depend on: the model, its tokens and its spans.
///
/// The store drops first what has been asked for least (S3-FIFO), so that a batch of millions of texts that come once
/// does not push out the few that come again and again.
pub(super) struct ScoreCache {
    entries: Cache<RowKey, SpanLogits, Bytes>,
    hits: u64,
    misses: u64,
}

/// Weighs an entry by the memory that it takes.
#[derive(Clone)]
struct Bytes;

impl Bytes {
    /// The map's own part of an entry: two reference-counted blocks, the keys, the queue, the hash.
    const OVERHEAD: usize = 160;
}

impl Weighter<RowKey, SpanLogits> for Bytes {
    fn weight(&self, key: &RowKey, logits: &SpanLogits) -> u64 {
        let row = key.row.ids.len() * size_of::<u32>() + key.row.spans.len() * size_of::<RowSpan>();
        (Self::OVERHEAD + size_of::<Row>() + row + size_of_val(&**logits)) as u64
    }
}

impl ScoreCache {
    /// What an ordinary entry takes: a row of 30 tokens with 3 spans.
    const USUAL_BYTES: usize = 400;

    /// A store of up to `bytes`; `None` for 0, which switches it off.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let entries = Cache::with_weighter(bytes / Self::USUAL_BYTES, bytes as u64, Bytes);
        (bytes > 0).then_some(Self { entries, hits: 0, misses: 0 })
    }

    pub(super) fn find(&mut self, key: &RowKey) -> Option<SpanLogits> {
        let found = self.entries.get(key).map(Arc::clone);
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    pub(super) fn keep(&mut self, key: RowKey, logits: SpanLogits) {
        self.entries.insert(key, logits);
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

impl std::fmt::Debug for ScoreCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ScoreCache").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_stays_within_its_bytes_and_keeps_what_is_asked_for() {
        let mut cache = ScoreCache::new(100_000).expect("it is on");
        let key = |id: u32| RowKey {
            model: 0,
            row: Arc::new(Row { ids: vec![id; 30], spans: vec![RowSpan::new(1, 2)] }),
        };
        let logits: SpanLogits = Arc::new([[0.0, 1.0, 2.0]]);
        cache.keep(key(0), Arc::clone(&logits));
        for id in 1..5000 {
            assert!(cache.find(&key(0)).is_some(), "a row that is asked for all the time stays, at {id}");
            cache.keep(key(id), Arc::clone(&logits));
            assert!(cache.statistics().bytes <= 100_000);
        }
        let CacheStatistics { hits, misses, entries, .. } = cache.statistics();
        assert_eq!((hits, misses), (4999, 0));
        assert!(entries > 100, "{entries} rows of some 370 bytes fit");
        let other_spans = Row { spans: vec![RowSpan::new(1, 3)], ..(*key(0).row).clone() };
        assert!(cache.find(&RowKey { model: 0, row: Arc::new(other_spans) }).is_none());
        assert!(cache.find(&RowKey { model: 1, ..key(0) }).is_none());
        assert!(ScoreCache::new(0).is_none());
    }
}
