//! How many tokens a run is best given, found out by a few runs of each size.
//!
//! Pure: which run to try next, and what follows from how long they took. Workers make the runs, in moments in which
//! nothing waits.

use std::time::Duration;

/// What has been learnt of a model on a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Calibration {
    /// Most padded tokens that a run is best given.
    pub run_tokens: usize,
    /// What the start of a run costs, in tokens: what it takes whatever it is given.
    pub start_tokens: usize,
}

impl Calibration {
    /// Most padded tokens in a run where nothing was set or learnt: such a run stays in a core's cache.
    pub const USUAL_RUN_TOKENS: usize = Trials::SIZES[Trials::USUAL];
}

/// Trial runs of one model.
#[derive(Debug)]
pub(super) struct Trials {
    pub(super) model: usize,
    /// What a token is thought to cost before anything was tried.
    token_cost: Duration,
    /// For each size, in the order of [`Trials::SIZES`], the quickest run so far.
    quickest: [Option<Duration>; Trials::SIZES.len()],
    /// Which size is next.
    size: usize,
    /// How often all of them were tried.
    turns: usize,
    spent: Duration,
    /// How many runs said nothing.
    disturbed: usize,
}

/// What became of a run that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialOutcome {
    /// It took so long.
    Took(Duration),
    /// Something else ran meanwhile, so that it says nothing.
    Disturbed,
    /// The model failed.
    Failed,
}

impl Trials {
    /// Tokens of the runs that are tried, in rows of [`Trials::ROW_TOKENS`]: a single row tells what a start costs.
    pub(super) const SIZES: [usize; 5] = [32, 64, 128, 256, 512];

    /// Length of the rows: that of a sentence.
    pub(super) const ROW_TOKENS: usize = 32;

    /// How often each size is tried; the quickest counts, since noise only ever adds.
    const TURNS: usize = 3;

    /// Time for all runs of a model.
    const MOST: Duration = Duration::from_millis(300);

    /// No run is tried that is foreseen to take longer: a request could come meanwhile. On a model this slow, large runs
    /// would keep others waiting in service too.
    const MOST_OF_ONE: Duration = Duration::from_millis(100);

    /// So many runs that say nothing, and it is given up: the machine has other things to do.
    const MOST_DISTURBED: usize = 30;

    /// The shortest run that is chosen where larger ones could be tried, by its place in [`Trials::SIZES`]: a shorter one
    /// is seldom right, and costs a tenth where noise chose it.
    const SHORTEST: usize = 2;

    /// The usual size is preferred to one that is quicker by no more than this, which may be noise; and where it is slower, a
    /// smaller one to a larger.
    const TOLERANCE: f64 = 0.04;

    /// The usual size, by its place in [`Trials::SIZES`].
    const USUAL: usize = 3;

    pub(super) fn new(model: usize, token_cost: Duration) -> Self {
        let quickest = [None; Self::SIZES.len()];
        Self { model, token_cost, quickest, size: 0, turns: 0, spent: Duration::ZERO, disturbed: 0 }
    }

    /// Tokens of the next run to try; `None` where enough is known.
    pub(super) fn next(&self) -> Option<usize> {
        let is_time_left = self.spent + self.foreseen(self.size) <= Self::MOST;
        let goes_on = self.turns < Self::TURNS && self.disturbed < Self::MOST_DISTURBED;
        (goes_on && is_time_left).then_some(Self::SIZES[self.size])
    }

    /// What a run of a size will take at most: in proportion to the largest that was tried.
    fn foreseen(&self, size: usize) -> Duration {
        let tried = (0..=size).rev().find_map(|index| Some((Self::SIZES[index], self.quickest[index]?)));
        match tried {
            Some((tokens, took)) => took.mul_f64(Self::SIZES[size] as f64 / tokens as f64),
            None => self.token_cost.mul_f64(Self::SIZES[size] as f64),
        }
    }

    /// Takes how long the run of [`Trials::next`] took.
    pub(super) fn note(&mut self, took: Duration) {
        let quickest = &mut self.quickest[self.size];
        *quickest = Some(quickest.map_or(took, |quickest| quickest.min(took)));
        self.spent += took;
        self.size += 1;
        if self.size == Self::SIZES.len() || self.foreseen(self.size) > Self::MOST_OF_ONE {
            (self.size, self.turns) = (0, self.turns + 1);
        }
    }

    /// Takes that the run of [`Trials::next`] says nothing.
    pub(super) fn note_disturbed(&mut self) {
        self.disturbed += 1;
    }

    /// What follows; `None` where fewer than two sizes could be tried, or too much came between.
    pub(super) fn conclude(&self) -> Option<Calibration> {
        if self.disturbed >= Self::MOST_DISTURBED {
            return None;
        }
        let tried: Vec<(f64, f64)> = Self::SIZES
            .iter()
            .zip(self.quickest)
            .filter_map(|(&size, took)| Some((size as f64, took?.as_secs_f64())))
            .collect();
        let [(single, single_took), .., (_, _)] = tried[..] else { return None };
        let lowest = tried.iter().map(|(size, took)| took / size).fold(f64::INFINITY, f64::min);
        let is_good = |(size, took): &(f64, f64)| took / size <= lowest * (1.0 + Self::TOLERANCE);
        let usual = tried.get(Self::USUAL).filter(|usual| is_good(usual)).map(|_| Self::USUAL);
        let good = usual.or_else(|| tried.iter().position(is_good))?;
        let chosen = good.max(Self::SHORTEST.min(tried.len() - 1));
        let (size, took) = tried[chosen];
        let per_token = (took - single_took) / (size - single);
        let start = if per_token > 0.0 { single_took / per_token - single } else { 0.0 };
        Some(Calibration { run_tokens: Self::SIZES[chosen], start_tokens: bounded(start) })
    }
}

/// A whole number of tokens, up to two rows: more would be an error of measurement.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 64")]
fn bounded(tokens: f64) -> usize {
    tokens.round().clamp(0.0, 2.0 * Trials::ROW_TOKENS as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries a model whose runs take `micros` for so many tokens.
    fn learn(micros: impl Fn(usize) -> f64) -> (Option<Calibration>, Duration) {
        let mut trials = Trials::new(0, Duration::from_secs_f64(micros(32) / 32e6));
        while let Some(size) = trials.next() {
            trials.note(Duration::from_secs_f64(micros(size) / 1e6));
        }
        (trials.conclude(), trials.spent)
    }

    #[test]
    fn the_smallest_run_that_is_nearly_best_is_chosen() {
        // A start of eight tokens: 8 in 128 is 6 %, 8 in 256 3 %, 8 in 512 1.6 %.
        let (found, _) = learn(|tokens| 40.0 * (tokens + 8) as f64);
        assert_eq!(found, Some(Calibration { run_tokens: 256, start_tokens: 8 }));
        // Beyond 128 tokens the cache is too small.
        let (found, _) = learn(|tokens| 40.0 * tokens as f64 * if tokens > 128 { 1.2 } else { 1.0 } + 10.0);
        assert_eq!(found, Some(Calibration { run_tokens: 128, start_tokens: 0 }));
        // Batching helps a lot.
        let (found, _) = learn(|tokens| 10.0 * (tokens + 40) as f64);
        assert_eq!(found, Some(Calibration { run_tokens: 512, start_tokens: 40 }));
    }

    #[test]
    fn a_slow_model_is_not_tried_for_long() {
        let (found, spent) = learn(|tokens| 1000.0 * (tokens + 10) as f64);
        assert!(spent <= Trials::MOST, "{spent:?}");
        assert_eq!(found, Some(Calibration { run_tokens: 64, start_tokens: 10 }));
        // So slow that there is no time for any.
        assert_eq!(learn(|tokens| 20_000.0 * tokens as f64), (None, Duration::ZERO));
    }

    #[test]
    fn on_a_busy_machine_nothing_is_learnt() {
        let mut trials = Trials::new(0, Duration::from_micros(40));
        let mut made = 0;
        while trials.next().is_some() {
            made += 1;
            if made % 2 == 0 { trials.note(Duration::from_micros(1)) } else { trials.note_disturbed() }
        }
        assert!(trials.conclude().is_some(), "half of them are enough");
        let mut trials = Trials::new(0, Duration::from_micros(40));
        while trials.next().is_some() {
            trials.note_disturbed();
        }
        assert_eq!(trials.conclude(), None);
    }

    #[test]
    fn noise_adds_nothing() {
        let turn = std::cell::Cell::new(0);
        let (found, _) = learn(|tokens| {
            turn.set(turn.get() + 1);
            let noise = if turn.get() % 4 == 1 { 1.5 } else { 1.0 };
            40.0 * (tokens + 8) as f64 * noise
        });
        assert_eq!(found, Some(Calibration { run_tokens: 256, start_tokens: 8 }));
    }
}
