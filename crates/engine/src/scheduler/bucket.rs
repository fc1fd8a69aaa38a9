//! Length buckets: which sequences may share a batch, and what padding that costs.

use super::Scheduler;
use crate::Engine;

/// Sequences of one model that are padded to one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LengthBucket {
    /// Index of the model.
    pub(crate) model: usize,
    /// Length that the sequences are padded to, in tokens.
    pub(crate) padded_tokens: usize,
}

/// Size of a model's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchShape {
    /// Most padded tokens, unless a single sequence has more.
    pub(crate) max_tokens: usize,
    /// Fixed cost of a batch, in tokens; 0 if sequences must not be padded beyond their own bucket.
    pub(crate) overhead_tokens: usize,
}

impl BatchShape {
    /// Returns the length bucket of a sequence. If padding is free of side effects, the bucket is the exact length.
    /// Otherwise lengths are rounded up, so that the padding of a sequence depends on its own length alone.
    pub(crate) fn bucket(self, model: usize, tokens: usize) -> LengthBucket {
        let step = if self.overhead_tokens > 0 { 1 } else { Engine::PADDING_STEP };
        LengthBucket { model, padded_tokens: tokens.next_multiple_of(step) }
    }

    /// Most padded tokens in a batch while several callers are active. A sequence waits for the batch under way and for
    /// its own, so batches are as short as they can be with at most a fifth of their time lost to the fixed cost.
    pub(super) fn max_shared_tokens(self) -> usize {
        (self.max_tokens / 4).max(4 * self.overhead_tokens).min(self.max_tokens)
    }
}

impl<T> Scheduler<T> {
    /// Returns `first` and the buckets that fill a batch of up to `max_tokens` together with it, the nearest first.
    ///
    /// No sequence is padded by [`Engine::PADDING_STEP`] or more. The exception is a bucket that the batch empties while
    /// no other worker is idle: that saves the fixed cost of a batch, and is done if the padding costs less.
    pub(super) fn buckets_to_merge(
        &self,
        first: LengthBucket,
        max_tokens: usize,
        idle_workers: usize,
    ) -> Vec<LengthBucket> {
        let overhead_tokens = self.shapes[first.model].overhead_tokens;
        let mut buckets = vec![first];
        if overhead_tokens == 0 {
            return buckets;
        }
        let near = Engine::PADDING_STEP - 1;
        let reach = near.max(overhead_tokens);
        let at = |padded_tokens| LengthBucket { padded_tokens, ..first };
        let (mut lowest, mut longest) = (first.padded_tokens, first.padded_tokens);
        let queued = &self.totals.buckets;
        let mut sequences = queued.get(&first).copied().unwrap_or_default();
        let mut below = queued.range(at(lowest.saturating_sub(reach))..first).rev().peekable();
        let mut above = queued.range(at(longest + 1)..=at(longest + reach)).peekable();
        while (sequences + 1) * longest <= max_tokens {
            // Padding that each added sequence costs: its own, or that of the sequences already chosen.
            let down = below.peek().map(|(bucket, _)| longest - bucket.padded_tokens);
            let up = above
                .peek()
                .map(|(bucket, count)| (sequences * (bucket.padded_tokens - longest)).div_ceil(**count));
            let goes_up = match (down, up) {
                (None, None) => break,
                (down, Some(up)) => down.is_none_or(|down| up < down),
                (Some(_), None) => false,
            };
            let next = if goes_up { above.next() } else { below.next() };
            let Some((&bucket, &count)) = next else { break };
            let length = bucket.padded_tokens;
            let padding = if goes_up { sequences * (length - longest) } else { count * (longest - length) };
            let is_near = longest.max(length) - lowest.min(length) <= near;
            let fits_one = (sequences + 1) * longest.max(length) <= max_tokens;
            let fits_all = (sequences + count) * longest.max(length) <= max_tokens;
            let saves_a_batch = idle_workers <= 1 && fits_all && padding < overhead_tokens;
            if saves_a_batch || (is_near && fits_one) {
                buckets.push(bucket);
                sequences += count;
                (lowest, longest) = (lowest.min(length), longest.max(length));
            }
        }
        buckets
    }
}
