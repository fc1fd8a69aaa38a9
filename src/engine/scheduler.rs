//! Which rows run next: a queue for each caller, served in turn by cost, and rows of like length put together.
//!
//! Pure: no thread, no clock, no model. The queue between callers is surplus round robin, the form of deficit
//! round robin (Shreedhar and Varghese, 1995) for items whose cost is known only by the batch: a caller whose
//! credit is used up goes to the back and is given new credit when its turn comes, so over any stretch of time
//! two callers that both have work waiting get equal cost, to within one batch.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::Caller;

/// Rows that may share a run: of one model, padded to one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    /// Index of the model.
    pub(super) model: usize,
    /// Length that the rows are padded to, in tokens.
    pub(super) padded_tokens: usize,
}

/// What is to be done with an entry that has come to its turn.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nothing: it runs or ran through another caller's queue, or nobody wants it any more.
    Void,
    /// It is to be run, and so not by these callers, in whose queues it stands too.
    Run { elsewhere: Vec<Arc<str>> },
}

/// Rows to run together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch<T> {
    pub(super) lane: Lane,
    pub(super) rows: Vec<T>,
}

/// The waiting rows of all callers.
#[derive(Debug)]
pub(super) struct Scheduler<T> {
    callers: HashMap<Arc<str>, CallerQueue<T>>,
    /// Callers that have rows waiting, the next to be served first.
    turns: VecDeque<Arc<str>>,
    /// Numbers the rows in order of arrival.
    arrivals: u64,
    waiting: Waiting,
    /// Entries that are not to be run any more; `waiting` does not count them.
    void_rows: usize,
    run_tokens: usize,
}

/// How much waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Rows.
    pub(super) rows: usize,
    /// Rows, by model.
    pub(super) rows_by_model: Vec<usize>,
    /// Padded tokens, by model.
    pub(super) tokens: Vec<usize>,
}

impl Waiting {
    fn none(models: usize) -> Self {
        Self { rows: 0, rows_by_model: vec![0; models], tokens: vec![0; models] }
    }

    fn add(&mut self, lane: Lane) {
        self.rows += 1;
        self.rows_by_model[lane.model] += 1;
        self.tokens[lane.model] += lane.padded_tokens;
    }

    fn remove(&mut self, lane: Lane, rows: usize) {
        self.rows -= rows;
        self.rows_by_model[lane.model] -= rows;
        self.tokens[lane.model] -= rows * lane.padded_tokens;
    }
}

#[derive(Debug)]
struct CallerQueue<T> {
    /// How many times the credit of a caller of weight 1 this one is given.
    weight: NonZeroU32,
    /// What the caller may still be given before the turn goes on, in units of cost; below zero after a batch
    /// that cost more than was left.
    credit: i64,
    /// Padded tokens that wait, by model.
    tokens: Vec<usize>,
    lanes: BTreeMap<Lane, VecDeque<(u64, T)>>,
}

impl<T> Scheduler<T> {
    /// A queue for `models` models whose batches have up to `run_tokens` padded tokens, or one row.
    pub(super) fn new(models: usize, run_tokens: usize) -> Self {
        Self {
            callers: HashMap::new(),
            turns: VecDeque::new(),
            arrivals: 0,
            waiting: Waiting::none(models),
            void_rows: 0,
            run_tokens,
        }
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Puts a row of `caller` at the end of its queue.
    pub(super) fn push(&mut self, caller: &Caller, lane: Lane, row: T) {
        let queue = match self.callers.entry(Arc::clone(caller.name())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.turns.push_back(Arc::clone(caller.name()));
                entry.insert(CallerQueue {
                    weight: caller.weight(),
                    credit: 0,
                    tokens: vec![0; self.waiting.tokens.len()],
                    lanes: BTreeMap::new(),
                })
            }
        };
        queue.weight = caller.weight();
        queue.tokens[lane.model] += lane.padded_tokens;
        queue.lanes.entry(lane).or_default().push_back((self.arrivals, row));
        self.arrivals += 1;
        self.waiting.add(lane);
    }

    /// The next rows to run; `None` where nothing waits. `cost_per_token` of each model is in any one unit.
    /// `claim` says of an entry in the queue of a caller whether it is still to be run.
    ///
    /// The caller whose turn it is chooses the lane, that of its oldest row, and fills the batch as far as it
    /// can; what is left is filled by the others in their order, who pay for it from their own credit.
    pub(super) fn next_batch(
        &mut self,
        cost_per_token: &[u64],
        mut claim: impl FnMut(&T, &Arc<str>) -> Claim,
    ) -> Option<Batch<T>> {
        loop {
            let lane = self.next_lane(cost_per_token)?;
            let rows = self.take(lane, cost_per_token[lane.model], &mut claim);
            self.forget_idle_callers();
            if !rows.is_empty() {
                return Some(Batch { lane, rows });
            }
        }
    }

    /// Gives the turn to a caller with credit, and returns the lane that it chooses.
    fn next_lane(&mut self, cost_per_token: &[u64]) -> Option<Lane> {
        let dearest = cost_per_token.iter().copied().max().unwrap_or(1).max(1);
        let new_credit = signed(dearest.saturating_mul(self.run_tokens as u64));
        while let Some(first) = self.turns.front() {
            let queue = self.callers.get_mut(first).expect("a caller with a turn has a queue");
            if queue.credit > 0 {
                break;
            }
            let weighted = new_credit.saturating_mul(queue.weight.get().into());
            queue.credit = queue.credit.saturating_add(weighted);
            self.turns.rotate_left(1);
        }
        self.callers.get(self.turns.front()?)?.oldest_lane()
    }

    /// Takes rows of `lane` until a batch is full, from the callers in their order.
    fn take(
        &mut self,
        lane: Lane,
        cost_per_token: u64,
        claim: &mut impl FnMut(&T, &Arc<str>) -> Claim,
    ) -> Vec<T> {
        let capacity = (self.run_tokens / lane.padded_tokens.max(1)).max(1);
        let cost = signed(cost_per_token.max(1).saturating_mul(lane.padded_tokens as u64));
        let mut rows = Vec::with_capacity(capacity);
        for turn in 0..self.turns.len() {
            let caller = Arc::clone(&self.turns[turn]);
            while rows.len() < capacity {
                let queue = self.callers.get_mut(&caller).expect("a caller with a turn has a queue");
                let Some(waiting) = queue.lanes.get_mut(&lane) else { break };
                let front = waiting.pop_front();
                if waiting.is_empty() {
                    queue.lanes.remove(&lane);
                }
                let Some((_, row)) = front else { break };
                match claim(&row, &caller) {
                    Claim::Void => self.void_rows -= 1,
                    Claim::Run { elsewhere } => {
                        queue.credit = queue.credit.saturating_sub(cost);
                        queue.tokens[lane.model] -= lane.padded_tokens;
                        self.waiting.remove(lane, 1);
                        for other in elsewhere {
                            self.note_void(&other, lane);
                        }
                        rows.push(row);
                    }
                }
            }
        }
        rows
    }

    /// Notes that an entry in the queue of `caller` is not to be run any more. It is taken out when it comes to its
    /// turn, or by [`Scheduler::sweep`].
    pub(super) fn note_void(&mut self, caller: &Arc<str>, lane: Lane) {
        if let Some(queue) = self.callers.get_mut(caller) {
            queue.tokens[lane.model] -= lane.padded_tokens;
            self.waiting.remove(lane, 1);
            self.void_rows += 1;
        }
    }

    /// Takes out the entries that are not wanted any more, once they are more than those that are: so their number is
    /// bounded, and the work of taking them out is in proportion to theirs.
    pub(super) fn sweep(&mut self, mut is_wanted: impl FnMut(&T) -> bool) {
        const WORTH_IT: usize = 64;
        if self.void_rows < self.waiting.rows.max(WORTH_IT) {
            return;
        }
        for queue in self.callers.values_mut() {
            queue.lanes.retain(|_, rows| {
                rows.retain(|(_, row)| is_wanted(row));
                !rows.is_empty()
            });
        }
        self.void_rows = 0;
        self.forget_idle_callers();
    }

    /// What waits of each caller that has anything waiting: its weight, and its padded tokens by model.
    pub(super) fn backlogs(&self) -> impl Iterator<Item = (&Arc<str>, NonZeroU32, &[usize])> {
        let some = self.callers.iter().filter(|(_, queue)| queue.tokens.iter().any(|&tokens| tokens > 0));
        some.map(|(name, queue)| (name, queue.weight, &queue.tokens[..]))
    }

    /// Takes out all rows and gives them back, in no order.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.turns.clear();
        self.waiting = Waiting::none(self.waiting.tokens.len());
        self.void_rows = 0;
        let lanes = self.callers.drain().flat_map(|(_, queue)| queue.lanes.into_values());
        lanes.flatten().map(|(_, row)| row).collect()
    }

    fn forget_idle_callers(&mut self) {
        let callers = &mut self.callers;
        self.turns.retain(|caller| {
            let busy = callers.get(caller).is_some_and(|queue| !queue.lanes.is_empty());
            if !busy {
                callers.remove(caller);
            }
            busy
        });
    }
}

impl<T> CallerQueue<T> {
    fn oldest_lane(&self) -> Option<Lane> {
        let oldest =
            |(lane, rows): (&Lane, &VecDeque<(u64, T)>)| rows.front().map(|&(arrival, _)| (arrival, *lane));
        self.lanes.iter().filter_map(oldest).min().map(|(_, lane)| lane)
    }
}

fn signed(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COST: [u64; 2] = [1, 4];
    const RUN: Claim = Claim::Run { elsewhere: Vec::new() };

    fn run<T>(_: &T, _: &Arc<str>) -> Claim {
        RUN
    }

    fn caller(name: &str) -> Caller {
        Caller::from(name)
    }

    fn lane(model: usize, padded_tokens: usize) -> Lane {
        Lane { model, padded_tokens }
    }

    #[test]
    fn a_batch_has_one_lane_and_at_most_its_tokens() {
        let mut scheduler = Scheduler::new(2, 64);
        let one = caller("one");
        for row in 0..5 {
            scheduler.push(&one, lane(0, 32), row);
            scheduler.push(&one, lane(1, 32), 100 + row);
        }
        scheduler.push(&one, lane(0, 512), 200);
        let mut batches = Vec::new();
        while let Some(batch) = scheduler.next_batch(&COST, run) {
            batches.push(batch.rows);
        }
        assert_eq!(batches[..3], [vec![0, 1], vec![100, 101], vec![2, 3]]);
        assert!(batches.contains(&vec![200]), "a row longer than a run goes alone: {batches:?}");
        assert_eq!(*scheduler.waiting(), Waiting::none(2));
    }

    #[test]
    fn a_single_row_does_not_wait_for_a_thousand() {
        let mut scheduler = Scheduler::new(1, 64);
        let (bulk, single) = (caller("bulk"), caller("single"));
        for row in 0..1000 {
            scheduler.push(&bulk, lane(0, 32), row);
        }
        scheduler.next_batch(&COST[..1], run);
        scheduler.push(&single, lane(0, 16), 5000);
        let position = std::iter::from_fn(|| scheduler.next_batch(&COST[..1], run))
            .position(|batch| batch.rows.contains(&5000))
            .expect("the single row is served");
        assert!(position <= 1, "served after {position} batches");
    }

    #[test]
    fn what_is_left_of_a_batch_is_filled_by_others() {
        let mut scheduler = Scheduler::new(1, 128);
        for (name, row) in [("a", 1), ("b", 2), ("c", 3)] {
            scheduler.push(&caller(name), lane(0, 32), row);
        }
        assert_eq!(scheduler.next_batch(&COST[..1], run).map(|batch| batch.rows), Some(vec![1, 2, 3]));
    }

    #[test]
    fn void_entries_cost_nothing_and_are_swept() {
        let mut scheduler = Scheduler::new(1, 128);
        let one = caller("one");
        for row in 0..200 {
            scheduler.push(&one, lane(0, 8 + 8 * (row % 2)), row);
        }
        let void = |row: &usize| *row >= 3;
        for row in 3..200 {
            scheduler.note_void(one.name(), lane(0, 8 + 8 * (row % 2)));
        }
        assert_eq!(*scheduler.waiting(), Waiting { rows: 3, rows_by_model: vec![3], tokens: vec![32] });
        scheduler.sweep(|row| !void(row));
        let claim = |row: &usize, _: &Arc<str>| if void(row) { Claim::Void } else { RUN };
        assert_eq!(scheduler.next_batch(&COST[..1], claim).map(|batch| batch.rows), Some(vec![0, 2]));
        assert_eq!(scheduler.next_batch(&COST[..1], claim).map(|batch| batch.rows), Some(vec![1]));
        assert_eq!(scheduler.next_batch(&COST[..1], claim), None);
    }

    #[test]
    fn a_row_in_two_queues_runs_once_and_comes_with_the_shorter() {
        let mut scheduler = Scheduler::new(1, 32);
        let (bulk, single) = (caller("bulk"), caller("single"));
        for row in 0..50 {
            scheduler.push(&bulk, lane(0, 32), row);
        }
        scheduler.push(&single, lane(0, 32), 49);
        let mut ran = Vec::new();
        while let Some(batch) = scheduler.next_batch(&COST[..1], |row, by| {
            let elsewhere =
                [&bulk, &single].map(Caller::name).into_iter().filter(|&name| *row == 49 && name != by);
            if ran.contains(row) {
                Claim::Void
            } else {
                Claim::Run { elsewhere: elsewhere.cloned().collect() }
            }
        }) {
            ran.extend(batch.rows);
        }
        assert_eq!(ran.len(), 50);
        assert!(ran.iter().position(|&row| row == 49) < Some(3), "{ran:?}");
        assert_eq!(*scheduler.waiting(), Waiting::none(1));
    }

    proptest! {
        /// Nothing is lost or doubled, and no batch is over its bound.
        #[test]
        fn every_row_runs_once(
            rows in prop::collection::vec((0_usize..4, 0_usize..2, 1_usize..40), 0..300),
            run_tokens in 1_usize..400,
            pause in 1_usize..20,
        ) {
            let mut scheduler = Scheduler::new(2, run_tokens);
            let mut seen = Vec::new();
            let mut take = |scheduler: &mut Scheduler<usize>| {
                let Some(batch) = scheduler.next_batch(&COST, run) else { return false };
                assert!(batch.rows.len() == 1 || batch.rows.len() * batch.lane.padded_tokens <= run_tokens);
                for row in batch.rows {
                    assert_eq!(lane(rows[row].1, rows[row].2 * 8), batch.lane);
                    seen.push(row);
                }
                true
            };
            for (index, &(name, model, eights)) in rows.iter().enumerate() {
                scheduler.push(&caller(&name.to_string()), lane(model, eights * 8), index);
                if index % pause == 0 {
                    take(&mut scheduler);
                }
            }
            while take(&mut scheduler) {}
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..rows.len()).collect::<Vec<_>>());
            prop_assert_eq!(scheduler.waiting(), &Waiting::none(2));
        }

        /// While two callers both have rows waiting, what they have been given for their weight differs by at most two
        /// batches.
        #[test]
        fn callers_share_by_cost(
            long in 1_usize..16,
            short in 1_usize..16,
            models in (0_usize..2, 0_usize..2),
            weight in 1_u32..5,
        ) {
            let run_tokens = 128;
            let heavy = NonZeroU32::new(weight).expect("weights start at 1");
            let mut scheduler = Scheduler::new(2, run_tokens);
            let lanes = [lane(models.0, long * 8), lane(models.1, short * 8)];
            for _ in 0..400 {
                scheduler.push(&caller("0"), lanes[0], 0);
                scheduler.push(&caller("1").with_weight(heavy), lanes[1], 1);
            }
            let (mut given, mut left) = ([0_i64; 2], [400_usize; 2]);
            while let Some(batch) = scheduler.next_batch(&COST, run) {
                for &row in &batch.rows {
                    given[row] += signed(COST[batch.lane.model]) * signed(batch.lane.padded_tokens as u64);
                    left[row] -= 1;
                }
                if left.contains(&0) {
                    break;
                }
                let bound = 2 * 4 * signed(run_tokens as u64);
                let fair = (given[0] - given[1] / i64::from(weight)).abs();
                prop_assert!(fair <= bound, "{given:?} at weight {weight}");
            }
        }
    }
}
