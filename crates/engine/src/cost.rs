//! What a token costs a worker, as measured on its batches.

use std::time::Duration;

/// Median cost of a token over a model's latest batches.
///
/// Every caller's batches count, so the estimate must not follow a few of them: the fixed cost of a batch is taken out, and
/// the median ignores outliers. A caller that sends odd texts changes little for the admission of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenCost {
    /// Picoseconds a token of the latest batches, as a ring.
    recent: Vec<u64>,
    /// Place of the oldest measurement, once the ring is full.
    oldest: usize,
    median_ps: u64,
    least_ps: u64,
}

impl TokenCost {
    /// How many batches are remembered.
    const BATCHES: usize = 31;

    /// Fixed cost of a batch, in tokens, on the models and processors that were measured. Without it a batch of one
    /// short sequence would look several times as dear a token as a full one.
    pub(crate) const OVERHEAD_TOKENS: usize = 8;

    /// Adds the time that a worker took for a batch of so many tokens, padding and spans included.
    pub(crate) fn record(&mut self, tokens: usize, took: Duration) {
        let tokens = (tokens + Self::OVERHEAD_TOKENS) as u128;
        let measured = u64::try_from(took.as_nanos() * 1000 / tokens).unwrap_or(u64::MAX).max(1);
        if self.recent.len() < Self::BATCHES {
            self.recent.push(measured);
        } else {
            self.recent[self.oldest] = measured;
            self.oldest = (self.oldest + 1) % Self::BATCHES;
        }
        let mut sorted = self.recent.clone();
        let middle = sorted.len() / 2;
        self.median_ps = *sorted.select_nth_unstable(middle).1;
        self.least_ps = sorted.into_iter().min().unwrap_or_default();
    }

    /// Picoseconds a token; 0 before the first batch.
    pub(crate) fn picoseconds(&self) -> u64 {
        self.median_ps
    }

    /// Time of one worker for so many tokens.
    pub(crate) fn time_of(&self, tokens: usize) -> Duration {
        Duration::from_nanos(self.median_ps.saturating_mul(tokens as u64) / 1000)
    }

    /// Time of one worker for so many tokens at the pace of the quickest of the latest batches.
    pub(crate) fn least_time_of(&self, tokens: usize) -> Duration {
        Duration::from_nanos(self.least_ps.saturating_mul(tokens as u64) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch takes a fixed time and a time for each token.
    fn micros(tokens: usize) -> Duration {
        Duration::from_micros(40 * (tokens as u64 + 8))
    }

    #[test]
    fn short_and_long_batches_give_one_cost() {
        let mut cost = TokenCost::default();
        assert_eq!(cost.time_of(100), Duration::ZERO, "nothing is known yet");
        for tokens in [4, 256, 32, 8, 128] {
            cost.record(tokens, micros(tokens));
            assert_eq!(cost.time_of(100), Duration::from_millis(4), "after {tokens}");
        }
    }

    #[test]
    fn outliers_do_not_change_the_cost() {
        let mut cost = TokenCost::default();
        for turn in 0..200 {
            // A third of the batches take a thousand times as long.
            let odd = if turn % 3 == 2 { 1000 } else { 1 };
            cost.record(64, micros(64) * odd);
            assert!(turn < 2 || cost.time_of(1000) == Duration::from_millis(40), "{turn}");
            assert_eq!(cost.least_time_of(1000), Duration::from_millis(40), "{turn}");
        }
        // A machine that is slower from now on is noticed.
        for _ in 0..TokenCost::BATCHES {
            cost.record(64, micros(64) * 3);
        }
        assert_eq!(cost.time_of(1000), Duration::from_millis(120));
    }
}
