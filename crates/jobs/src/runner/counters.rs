//! Counters of a runner, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a runner counts.
#[derive(Debug, Default)]
pub struct RunnerCounters {
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// What a runner has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunnerStatistics {
    /// Chunks whose outcome was recorded.
    pub completed_chunks: u64,
    /// Chunks that failed, and were given back.
    pub failed_chunks: u64,
    /// Chunks whose claim ran out or whose job ended meanwhile.
    pub lost_chunks: u64,
}

impl RunnerCounters {
    /// Returns what has been counted.
    pub fn read(&self) -> RunnerStatistics {
        RunnerStatistics {
            completed_chunks: self.completed.load(Ordering::Relaxed),
            failed_chunks: self.failed.load(Ordering::Relaxed),
            lost_chunks: self.lost.load(Ordering::Relaxed),
        }
    }
}
