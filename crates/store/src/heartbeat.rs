//! Signs of life of a background thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A sign of life that a background thread gives once a round and that readiness reads.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    /// A heartbeat whose first beat is now.
    pub fn start() -> Self {
        Self { started: Instant::now(), last_ms: Arc::default() }
    }

    /// Gives a sign of life.
    pub fn beat(&self) {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(elapsed_ms, Ordering::Relaxed);
    }

    /// Returns the time since the last beat.
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_starts_again_with_each_beat() {
        let heartbeat = Heartbeat::start();
        std::thread::sleep(Duration::from_millis(30));
        assert!(heartbeat.age() >= Duration::from_millis(30));
        let thread = heartbeat.clone();
        thread.beat();
        assert!(heartbeat.age() < Duration::from_millis(30));
    }
}
