//! What an engine has done and holds: plain numbers, for metrics.

use std::time::Duration;

/// An engine at one moment. Counters begin at its start and only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStatistics {
    /// Worker threads.
    pub workers: usize,
    /// One for each model, in the order in which they were given.
    pub models: Vec<ModelStatistics>,
    /// Requests that were not taken.
    pub refusals: RefusalStatistics,
    /// The store of rows that were scored before.
    pub cache: CacheStatistics,
    /// Rows that were not run because an equal one waited or ran already.
    pub deduplicated_rows: u64,
    /// Rows whose callers gave up before they ran.
    pub abandoned_rows: u64,
    /// How long the oldest run under way has taken so far, or, if that is longer, how long rows have waited without one
    /// of them being taken; zero while nothing runs or waits.
    pub stalled: Duration,
    /// From the moment that a row was taken until its run began.
    pub waits: DurationStatistics,
    /// From the beginning to the end of a run.
    pub runs: DurationStatistics,
}

/// What one model has done, and what waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelStatistics {
    /// Its name, from the manifest.
    pub name: String,
    /// Rows that wait.
    pub waiting_rows: usize,
    /// Padded tokens that wait.
    pub waiting_tokens: usize,
    /// Runs that were made.
    pub runs: u64,
    /// Of these, how many failed.
    pub failed_runs: u64,
    /// Rows that were run.
    pub rows: u64,
    /// Spans that were read in them.
    pub spans: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Their tokens with the padding that the runs needed.
    pub padded_tokens: u64,
    /// Time that workers spent in its runs, all workers together.
    pub busy: Duration,
    /// Most padded tokens that its runs are given now, unless a single row has more.
    pub run_tokens: usize,
    /// What the engine reckons that a padded token costs one worker.
    pub token_cost: Duration,
}

/// Requests that were not taken, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalStatistics {
    /// Too much waited.
    pub queue_full: u64,
    /// The work would not have been done by its deadline.
    pub deadline: u64,
    /// The engine was about to stop.
    pub shutting_down: u64,
}

/// The store of rows that were scored before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Rows that were found in it.
    pub hits: u64,
    /// Rows that were looked for and not found; none while the cache is off.
    pub misses: u64,
    /// Rows that it holds.
    pub entries: usize,
    /// What they take, in bytes.
    pub bytes: u64,
}

/// How long something took, each time that it happened: a histogram with fixed bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurationStatistics {
    /// How many took at most as long as the bound of the same place, and longer than the one before; the last
    /// counts what is beyond all bounds.
    counts: [u64; DurationStatistics::BOUNDS_SECONDS.len() + 1],
    sum: Duration,
}

impl DurationStatistics {
    /// Upper bounds of the buckets: from a run of one short row to the longest wait that a client sits out.
    pub const BOUNDS_SECONDS: [f64; 18] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0, 30.0, 120.0,
    ];

    /// Counts one more.
    pub fn note(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[Self::BOUNDS_SECONDS.partition_point(|&bound| bound < seconds)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound in seconds, with how many took at most as long.
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
            durations.note(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = durations.cumulative().map(|(_, count)| count).collect();
        let at =
            |bound: f64| counts[DurationStatistics::BOUNDS_SECONDS.partition_point(|&other| other < bound)];
        assert_eq!([at(0.0005), at(0.001), at(0.0025), at(120.0)], [0, 1, 2, 2]);
        assert_eq!((durations.count(), durations.sum()), (3, Duration::from_millis(200_003)));
    }
}
