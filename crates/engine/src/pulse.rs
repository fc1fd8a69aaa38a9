//! Tells an engine that is busy from one that hangs.

use std::time::{Duration, Instant};

/// When runs began and rows last left the queue. `R` is what a run is known by.
#[derive(Debug)]
pub(super) struct Pulse<R> {
    /// The runs under way, at most one for each worker.
    runs: Vec<(R, Instant)>,
    /// When the queue last moved: a row came into an empty one, or a run took some out.
    moved: Option<Instant>,
}

impl<R> Default for Pulse<R> {
    fn default() -> Self {
        Self { runs: Vec::new(), moved: None }
    }
}

impl<R> Pulse<R> {
    /// Rows came into an empty queue.
    pub(super) fn fill(&mut self, now: Instant) {
        self.moved = Some(now);
    }

    /// A run took rows out of the queue.
    pub(super) fn begin(&mut self, run: R, now: Instant) {
        self.runs.push((run, now));
        self.moved = Some(now);
    }

    /// The run that `is_it` knows is over, well or not.
    pub(super) fn end(&mut self, is_it: impl Fn(&R) -> bool) {
        self.runs.retain(|(run, _)| !is_it(run));
    }

    /// For how long the oldest run has gone on, or, if that is longer, rows have waited (where any wait) without one of
    /// them being taken.
    pub(super) fn stalled(&self, rows_wait: bool, now: Instant) -> Duration {
        let oldest = self.runs.iter().map(|(_, began)| *began).min();
        let since = [oldest, self.moved.filter(|_| rows_wait)].into_iter().flatten().min();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_and_a_queue_that_stands_are_told() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let stalled = |pulse: &Pulse<u8>, rows_wait, seconds| pulse.stalled(rows_wait, at(seconds)).as_secs();
        let mut pulse = Pulse::default();
        assert_eq!((stalled(&pulse, false, 9), stalled(&pulse, true, 9)), (0, 0), "nothing has come yet");
        pulse.fill(at(10));
        assert_eq!(
            (stalled(&pulse, false, 15), stalled(&pulse, true, 15)),
            (0, 5),
            "nobody takes what waits"
        );
        pulse.begin(1, at(20));
        pulse.begin(2, at(23));
        assert_eq!((stalled(&pulse, false, 25), stalled(&pulse, true, 25)), (5, 5), "the first run goes on");
        pulse.end(|run| *run == 1);
        assert_eq!((stalled(&pulse, false, 25), stalled(&pulse, true, 25)), (2, 2), "the second run goes on");
        pulse.end(|run| *run == 2);
        assert_eq!((stalled(&pulse, false, 90), stalled(&pulse, true, 25)), (0, 2), "an idle engine is well");
    }
}
