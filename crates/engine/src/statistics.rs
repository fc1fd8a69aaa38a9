//! Counters and gauges of an engine as plain numbers, for metrics.

use std::time::Duration;

/// An engine at one moment. Counters begin at its start and only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStatistics {
    /// Configured worker threads.
    pub workers: usize,
    /// Workers that are ready for batches or at work.
    pub workers_alive: usize,
    /// How long fewer workers than configured have been alive; zero while all are.
    pub short_of_workers: Duration,
    /// Workers that panicked, outside the model or before they were ready, and were replaced.
    pub worker_replacements: u64,
    /// One for each model, in the order in which they were given.
    pub models: Vec<ModelStatistics>,
    /// Requests that were rejected.
    pub rejections: RejectionStatistics,
    /// The cache of outputs.
    pub cache: CacheStatistics,
    /// Sequences that joined an equal one in place of being scored.
    pub deduplicated_sequences: u64,
    /// Sequences whose requests were withdrawn before they were scored.
    pub abandoned_sequences: u64,
    /// How long the oldest batch has been under way, or, if that is longer, how long the queue has not moved; zero while
    /// nothing is queued or under way.
    pub stalled: Duration,
    /// Time from the submission of a sequence to the start of its batch.
    pub waits: DurationStatistics,
    /// Time of a batch in the model.
    pub batches: DurationStatistics,
}

/// What one model has done, and what is queued for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelStatistics {
    /// Its name, from the manifest.
    pub name: String,
    /// Queued sequences.
    pub queued_sequences: usize,
    /// Queued padded tokens.
    pub queued_tokens: usize,
    /// Batches that the model was given.
    pub batches: u64,
    /// Batches that the model failed on as a whole; their sequences were then scored one by one.
    pub failed_batches: u64,
    /// Sequences that the model failed on.
    pub failed_sequences: u64,
    /// Sequences in all batches.
    pub sequences: u64,
    /// Spans in these sequences.
    pub spans: u64,
    /// Tokens in these sequences.
    pub tokens: u64,
    /// Tokens with the padding of the batches.
    pub padded_tokens: u64,
    /// Time in the model, all workers together.
    pub busy: Duration,
    /// Most padded tokens in a batch, unless a single sequence has more.
    pub max_batch_tokens: usize,
    /// Estimated time of one worker for a token.
    pub token_cost: Duration,
}

/// Rejected requests, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectionStatistics {
    /// Too much was queued.
    pub queue_full: u64,
    /// The request would not have been answered by its deadline.
    pub deadline: u64,
    /// The engine was shutting down.
    pub shutting_down: u64,
}

/// The cache of outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Lookups that found an output.
    pub hits: u64,
    /// Lookups that found none; zero while the cache is off.
    pub misses: u64,
    /// Cached sequences.
    pub entries: usize,
    /// Their memory in bytes.
    pub bytes: u64,
}

/// A histogram of durations with fixed bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurationStatistics {
    /// Durations up to the bound of the same index and above the one before; the last counts those above all bounds.
    counts: [u64; DurationStatistics::BOUNDS_SECONDS.len() + 1],
    sum: Duration,
}

impl DurationStatistics {
    /// Upper bounds of the buckets: from a batch of one short sequence to the longest wait of a client.
    pub const BOUNDS_SECONDS: [f64; 18] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0, 30.0, 120.0,
    ];

    /// Adds a duration.
    pub fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[Self::BOUNDS_SECONDS.partition_point(|&bound| bound < seconds)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all durations.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound in seconds, with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        Self::BOUNDS_SECONDS.into_iter().zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_under_their_bounds() {
        let mut durations = DurationStatistics::default();
        for millis in [1, 2, 200_000] {
            durations.record(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = durations.cumulative().map(|(_, count)| count).collect();
        let at =
            |bound: f64| counts[DurationStatistics::BOUNDS_SECONDS.partition_point(|&other| other < bound)];
        assert_eq!([at(0.0005), at(0.001), at(0.0025), at(120.0)], [0, 1, 2, 2]);
        assert_eq!((durations.count(), durations.sum()), (3, Duration::from_millis(200_003)));
    }
}
