//! Distinguishes a busy engine from one that hangs.

use std::time::{Duration, Instant};

/// Start times of the batches under way, and the last time that the queue moved. `B` identifies a batch.
#[derive(Debug)]
pub(super) struct StallDetector<B> {
    /// The batches under way, at most one for each worker.
    batches: Vec<(B, Instant)>,
    /// When the queue last moved: it became non-empty, or a batch was taken from it.
    moved: Option<Instant>,
}

impl<B> Default for StallDetector<B> {
    fn default() -> Self {
        Self { batches: Vec::new(), moved: None }
    }
}

impl<B> StallDetector<B> {
    /// Records that an empty queue got sequences.
    pub(super) fn queue_filled(&mut self, now: Instant) {
        self.moved = Some(now);
    }

    /// Records that a batch was taken from the queue.
    pub(super) fn batch_started(&mut self, batch: B, now: Instant) {
        self.batches.push((batch, now));
        self.moved = Some(now);
    }

    /// Records that the batch for which `is_it` holds is over, well or not.
    pub(super) fn batch_ended(&mut self, is_it: impl Fn(&B) -> bool) {
        self.batches.retain(|(batch, _)| !is_it(batch));
    }

    /// How long the oldest batch has been under way, or, if that is longer, how long a non-empty queue has not moved.
    pub(super) fn stalled_for(&self, is_queue_filled: bool, now: Instant) -> Duration {
        let oldest = self.batches.iter().map(|(_, began)| *began).min();
        let since = [oldest, self.moved.filter(|_| is_queue_filled)].into_iter().flatten().min();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_batch_and_a_queue_that_does_not_move_are_reported() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let stalled = |detector: &StallDetector<u8>, is_queue_filled, seconds| {
            detector.stalled_for(is_queue_filled, at(seconds)).as_secs()
        };
        let mut detector = StallDetector::default();
        assert_eq!((stalled(&detector, false, 9), stalled(&detector, true, 9)), (0, 0), "nothing came yet");
        detector.queue_filled(at(10));
        assert_eq!((stalled(&detector, false, 15), stalled(&detector, true, 15)), (0, 5), "nobody takes it");
        detector.batch_started(1, at(20));
        detector.batch_started(2, at(23));
        assert_eq!((stalled(&detector, false, 25), stalled(&detector, true, 25)), (5, 5), "batch 1 goes on");
        detector.batch_ended(|batch| *batch == 1);
        assert_eq!((stalled(&detector, false, 25), stalled(&detector, true, 25)), (2, 2), "batch 2 goes on");
        detector.batch_ended(|batch| *batch == 2);
        assert_eq!(
            (stalled(&detector, false, 90), stalled(&detector, true, 25)),
            (0, 2),
            "idle is not stalled"
        );
    }
}
