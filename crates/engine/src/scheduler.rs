//! Which rows run next: a queue for each caller, served in turn by cost, and rows of like length put together.
//!
//! Rows of one lane share a run. Where rows may be padded, a run that is not full takes in those of the nearest lanes.
//!
//! Pure: no thread, no clock, no model. The queue between callers is start-time fair queueing (Goyal, Vin and Cheng,
//! 1996): each caller has a virtual time, which its rows push on by their cost over its weight, and the one that is
//! furthest behind is served next. Over any stretch of time two callers that both have work waiting get equal cost for
//! their weight, to within a run each; and one that asks for less than its share is always served next.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;

use super::{Caller, Engine};

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
    /// The places of the callers that have rows waiting, the next to be served first.
    turns: BTreeSet<Turn>,
    /// The places of those that have none, and are ahead of the others: where they come back, they wait as long.
    resting: BTreeSet<Turn>,
    /// Where the caller stood that was served last. Whoever comes anew starts here.
    now: VirtualTime,
    /// Numbers the rows in order of arrival.
    arrivals: u64,
    /// Who last came with a row.
    last_caller: Option<Arc<str>>,
    /// For so many runs more there are several callers, as far as can be told from who came lately.
    shared_runs: usize,
    waiting: Waiting,
    /// Entries that are not to be run any more; `waiting` does not count them.
    void_rows: usize,
    /// What a run of each model is to be like.
    shapes: Vec<RunShape>,
}

/// Cost over weight of all that a caller has been served, with what it let pass while it wanted nothing.
type VirtualTime = u128;

/// A caller's place among the others; of two with the same time, the one that came there first is served first.
type Turn = (VirtualTime, u64, Arc<str>);

/// What a run of a model is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunShape {
    /// Most padded tokens, unless a single row has more.
    pub(super) run_tokens: usize,
    /// What the start of a run costs, in tokens; 0 where rows must not be padded further than their lane.
    pub(super) start_tokens: usize,
}

impl RunShape {
    /// The lane of a row of so many tokens. Where rows may be padded it is that of its very length; else lengths are
    /// rounded up, so that enough rows have one lane, and what a row is padded to depends on the row alone.
    pub(super) fn lane_of(self, model: usize, tokens: usize) -> Lane {
        let step = if self.start_tokens > 0 { 1 } else { Engine::PADDING_STEP };
        Lane { model, padded_tokens: tokens.next_multiple_of(step) }
    }

    /// Most padded tokens in a run while there are several callers. A row waits for a run that is under way and for the
    /// rest of its own, so runs are made as short as they can be with no more than a fifth lost to their starts.
    fn shared_tokens(self) -> usize {
        (self.run_tokens / 4).max(4 * self.start_tokens).min(self.run_tokens)
    }
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
    /// Rows, by lane; only lanes that have some.
    lanes: BTreeMap<Lane, usize>,
}

impl Waiting {
    fn none(models: usize) -> Self {
        Self { rows: 0, rows_by_model: vec![0; models], tokens: vec![0; models], lanes: BTreeMap::new() }
    }

    fn add(&mut self, lane: Lane) {
        self.rows += 1;
        self.rows_by_model[lane.model] += 1;
        self.tokens[lane.model] += lane.padded_tokens;
        *self.lanes.entry(lane).or_default() += 1;
    }

    fn remove(&mut self, lane: Lane) {
        self.rows -= 1;
        self.rows_by_model[lane.model] -= 1;
        self.tokens[lane.model] -= lane.padded_tokens;
        if let Entry::Occupied(mut rows) = self.lanes.entry(lane) {
            *rows.get_mut() -= 1;
            if *rows.get() == 0 {
                rows.remove();
            }
        }
    }
}

#[derive(Debug)]
struct CallerQueue<T> {
    /// How many times the share of a caller of weight 1 this one gets.
    weight: NonZeroU32,
    /// Its place, in `turns` or in `resting`.
    turn: Turn,
    /// Padded tokens that wait, by model.
    tokens: Vec<usize>,
    lanes: BTreeMap<Lane, VecDeque<(u64, T)>>,
}

impl<T> Scheduler<T> {
    /// A queue for models whose runs have these shapes.
    pub(super) fn new(shapes: Vec<RunShape>) -> Self {
        Self {
            callers: HashMap::new(),
            turns: BTreeSet::new(),
            resting: BTreeSet::new(),
            now: 0,
            arrivals: 0,
            last_caller: None,
            shared_runs: 0,
            waiting: Waiting::none(shapes.len()),
            void_rows: 0,
            shapes,
        }
    }

    /// What a run of each model is to be like.
    pub(super) fn shapes(&self) -> &[RunShape] {
        &self.shapes
    }

    /// Has runs of a model be otherwise from now on.
    pub(super) fn set_shape(&mut self, model: usize, shape: RunShape) {
        self.shapes[model] = shape;
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// For how many runs after another caller's row the runs are short: a few seconds.
    const SHARED_RUNS: usize = 512;

    /// Puts a row of `caller` at the end of its queue.
    pub(super) fn push(&mut self, caller: &Caller, lane: Lane, row: T) {
        let name = caller.name();
        if self.last_caller.as_ref() != Some(name) && self.last_caller.replace(Arc::clone(name)).is_some() {
            self.shared_runs = Self::SHARED_RUNS;
        }
        let models = self.waiting.tokens.len();
        let queue = self.callers.entry(Arc::clone(name)).or_insert_with(|| CallerQueue {
            weight: caller.weight(),
            turn: (self.now, self.arrivals, Arc::clone(name)),
            tokens: vec![0; models],
            lanes: BTreeMap::new(),
        });
        if queue.lanes.is_empty() {
            self.resting.remove(&queue.turn);
            queue.turn.0 = queue.turn.0.max(self.now);
            queue.turn.1 = self.arrivals;
            self.turns.insert(queue.turn.clone());
        }
        queue.weight = caller.weight();
        queue.tokens[lane.model] += lane.padded_tokens;
        queue.lanes.entry(lane).or_default().push_back((self.arrivals, row));
        self.arrivals += 1;
        self.waiting.add(lane);
    }

    /// The next rows to run; `None` where nothing waits. `cost_per_token` of each model is in any one unit, `free`
    /// says how many workers have nothing to do, the one that asks included. `claim` says of an entry in the queue
    /// of a caller whether it is still to be run.
    ///
    /// The caller whose turn it is chooses the lane, that of its oldest row, and fills the batch as far as it
    /// can; what is left is filled by the others in their order, who are served by it as by any other. Where
    /// several workers are free, what waits is spread over them.
    pub(super) fn next_batch(
        &mut self,
        cost_per_token: &[u64],
        free: usize,
        mut claim: impl FnMut(&T, &Arc<str>) -> Claim,
    ) -> Option<Batch<T>> {
        loop {
            let lane = self.next_lane()?;
            let all: usize = self.waiting.tokens.iter().sum();
            let of_model = self.shapes[lane.model];
            let is_shared = self.shared_runs > 0;
            let run_tokens = if is_shared { of_model.shared_tokens() } else { of_model.run_tokens };
            let share = all.div_ceil(free.max(1)).next_multiple_of(lane.padded_tokens.max(1));
            let most_tokens = if free > 1 { run_tokens.min(share) } else { run_tokens };
            let lanes = self.lanes_to_mix(lane, most_tokens, free);
            let padded_tokens = lanes.iter().map(|lane| lane.padded_tokens).max().unwrap_or_default();
            let capacity = (most_tokens / padded_tokens.max(1)).max(1);
            let mut rows = Vec::with_capacity(capacity);
            for lane in lanes {
                self.take(lane, capacity, cost_per_token[lane.model], &mut rows, &mut claim);
            }
            self.rest_idle_callers();
            if !rows.is_empty() {
                self.shared_runs = self.shared_runs.saturating_sub(1);
                return Some(Batch { lane: Lane { padded_tokens, ..lane }, rows });
            }
        }
    }

    /// `first`, and the lanes whose rows fill a run of up to `most_tokens` with its own, the nearest first.
    ///
    /// No row is padded by a step or more, but for a lane that the run empties where no other worker is free: that saves
    /// the start of a run, and is done where the padding costs less.
    fn lanes_to_mix(&self, first: Lane, most_tokens: usize, free: usize) -> Vec<Lane> {
        let start_tokens = self.shapes[first.model].start_tokens;
        let mut lanes = vec![first];
        if start_tokens == 0 {
            return lanes;
        }
        let near = Engine::PADDING_STEP - 1;
        let reach = near.max(start_tokens);
        let at = |padded_tokens| Lane { padded_tokens, ..first };
        let (mut lowest, mut longest) = (first.padded_tokens, first.padded_tokens);
        let mut rows = self.waiting.lanes.get(&first).copied().unwrap_or_default();
        let mut below = self.waiting.lanes.range(at(lowest.saturating_sub(reach))..first).rev().peekable();
        let mut above = self.waiting.lanes.range(at(longest + 1)..=at(longest + reach)).peekable();
        while (rows + 1) * longest <= most_tokens {
            // What each row that joins costs in padding, its own or that of the others.
            let down = below.peek().map(|(lane, _)| longest - lane.padded_tokens);
            let up =
                above.peek().map(|(lane, count)| (rows * (lane.padded_tokens - longest)).div_ceil(**count));
            let goes_up = match (down, up) {
                (None, None) => break,
                (down, Some(up)) => down.is_none_or(|down| up < down),
                (Some(_), None) => false,
            };
            let next = if goes_up { above.next() } else { below.next() };
            let Some((&lane, &count)) = next else { break };
            let length = lane.padded_tokens;
            let padding = if goes_up { rows * (length - longest) } else { count * (longest - length) };
            let is_near = longest.max(length) - lowest.min(length) <= near;
            let fits_one = (rows + 1) * longest.max(length) <= most_tokens;
            let fits_all = (rows + count) * longest.max(length) <= most_tokens;
            let saves_a_start = free <= 1 && fits_all && padding < start_tokens;
            if saves_a_start || (is_near && fits_one) {
                lanes.push(lane);
                rows += count;
                (lowest, longest) = (lowest.min(length), longest.max(length));
            }
        }
        lanes
    }

    /// Gives the turn to the caller that is furthest behind, and returns the lane that it chooses.
    fn next_lane(&mut self) -> Option<Lane> {
        let (time, _, caller) = self.turns.first()?;
        self.now = self.now.max(*time);
        self.callers[caller].oldest_lane()
    }

    /// Takes rows of `lane`, from the callers in their order, until there are `capacity`.
    fn take(
        &mut self,
        lane: Lane,
        capacity: usize,
        cost_per_token: u64,
        rows: &mut Vec<T>,
        claim: &mut impl FnMut(&T, &Arc<str>) -> Claim,
    ) {
        let cost = u128::from(cost_per_token.max(1)) * lane.padded_tokens as u128;
        let mut next = self.turns.first().cloned();
        while let Some(turn) = next.filter(|_| rows.len() < capacity) {
            let caller = &turn.2;
            let mut taken = 0;
            while rows.len() < capacity {
                let queue = self.callers.get_mut(caller).expect("a caller with a turn has a queue");
                let Some(waiting) = queue.lanes.get_mut(&lane) else { break };
                let front = waiting.pop_front();
                if waiting.is_empty() {
                    queue.lanes.remove(&lane);
                }
                let Some((_, row)) = front else { break };
                match claim(&row, caller) {
                    Claim::Void => self.void_rows -= 1,
                    Claim::Run { elsewhere } => {
                        queue.tokens[lane.model] -= lane.padded_tokens;
                        self.waiting.remove(lane);
                        for other in elsewhere {
                            self.note_void(&other, lane);
                        }
                        taken += 1;
                        rows.push(row);
                    }
                }
            }
            // One that is served moves back, and may be met again there, with no row of this lane left.
            next = self.turns.range((Bound::Excluded(&turn), Bound::Unbounded)).next().cloned();
            if taken > 0 {
                self.move_back(&turn, taken * cost);
            }
        }
    }

    /// Pushes a caller back by what it was served.
    fn move_back(&mut self, turn: &Turn, cost: u128) {
        let queue = self.callers.get_mut(&turn.2).expect("a caller with a turn has a queue");
        queue.turn.0 += cost / u128::from(queue.weight.get());
        self.turns.remove(turn);
        self.turns.insert(queue.turn.clone());
    }

    /// Notes that an entry in the queue of `caller` is not to be run any more. It is taken out when it comes to its
    /// turn, or by [`Scheduler::sweep`].
    pub(super) fn note_void(&mut self, caller: &Arc<str>, lane: Lane) {
        if let Some(queue) = self.callers.get_mut(caller) {
            queue.tokens[lane.model] -= lane.padded_tokens;
            self.waiting.remove(lane);
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
        self.rest_idle_callers();
    }

    /// What waits of each caller that has anything waiting: its weight, and its padded tokens by model.
    pub(super) fn backlogs(&self) -> impl Iterator<Item = (&Arc<str>, NonZeroU32, &[usize])> {
        let some = self.callers.iter().filter(|(_, queue)| queue.tokens.iter().any(|&tokens| tokens > 0));
        some.map(|(name, queue)| (name, queue.weight, &queue.tokens[..]))
    }

    /// Takes out all rows and gives them back, in no order.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.turns.clear();
        self.resting.clear();
        self.waiting = Waiting::none(self.shapes.len());
        self.void_rows = 0;
        let lanes = self.callers.drain().flat_map(|(_, queue)| queue.lanes.into_values());
        lanes.flatten().map(|(_, row)| row).collect()
    }

    /// Takes those out of the turns who want nothing, and forgets them once nothing sets them apart from newcomers.
    fn rest_idle_callers(&mut self) {
        let callers = &mut self.callers;
        let resting = &mut self.resting;
        self.turns.retain(|turn| {
            let is_busy = !callers[&turn.2].lanes.is_empty();
            if !is_busy {
                resting.insert(turn.clone());
            }
            is_busy
        });
        let nobody_waits = self.turns.is_empty();
        while let Some(turn) = resting.pop_first() {
            if turn.0 > self.now && !nobody_waits {
                resting.insert(turn);
                break;
            }
            callers.remove(&turn.2);
        }
    }
}

impl<T> CallerQueue<T> {
    fn oldest_lane(&self) -> Option<Lane> {
        let oldest =
            |(lane, rows): (&Lane, &VecDeque<(u64, T)>)| rows.front().map(|&(arrival, _)| (arrival, *lane));
        self.lanes.iter().filter_map(oldest).min().map(|(_, lane)| lane)
    }
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

    fn cost_of(lane: Lane) -> i64 {
        i64::try_from(COST[lane.model] * lane.padded_tokens as u64).expect("a short row")
    }

    /// A queue that does not mix lanes.
    fn scheduler<T>(models: usize, run_tokens: usize) -> Scheduler<T> {
        Scheduler::new(vec![RunShape { run_tokens, start_tokens: 0 }; models])
    }

    fn lane(model: usize, padded_tokens: usize) -> Lane {
        Lane { model, padded_tokens }
    }

    #[test]
    fn a_batch_has_one_lane_and_at_most_its_tokens() {
        let mut scheduler = scheduler(2, 64);
        let one = caller("one");
        for row in 0..5 {
            scheduler.push(&one, lane(0, 32), row);
            scheduler.push(&one, lane(1, 32), 100 + row);
        }
        scheduler.push(&one, lane(0, 512), 200);
        let mut batches = Vec::new();
        while let Some(batch) = scheduler.next_batch(&COST, 1, run) {
            batches.push(batch.rows);
        }
        assert_eq!(batches[..3], [vec![0, 1], vec![100, 101], vec![2, 3]]);
        assert!(batches.contains(&vec![200]), "a row longer than a run goes alone: {batches:?}");
        assert_eq!(*scheduler.waiting(), Waiting::none(2));
    }

    #[test]
    fn a_single_row_does_not_wait_for_a_thousand() {
        let mut scheduler = scheduler(1, 64);
        let (bulk, single) = (caller("bulk"), caller("single"));
        for row in 0..1000 {
            scheduler.push(&bulk, lane(0, 32), row);
        }
        scheduler.next_batch(&COST[..1], 1, run);
        scheduler.push(&single, lane(0, 16), 5000);
        let position = std::iter::from_fn(|| scheduler.next_batch(&COST[..1], 1, run))
            .position(|batch| batch.rows.contains(&5000))
            .expect("the single row is served");
        assert_eq!(position, 0, "who wants less than its share is served next");
    }

    #[test]
    fn who_comes_back_all_the_time_gets_no_more_than_its_share() {
        let mut scheduler = scheduler(1, 32);
        let (bulk, eager) = (caller("bulk"), caller("eager"));
        for row in 0..1000 {
            scheduler.push(&bulk, lane(0, 32), row);
        }
        let mut served = [0_i32; 2];
        for _ in 0..100 {
            if scheduler.backlogs().count() < 2 {
                scheduler.push(&eager, lane(0, 32), 5000);
            }
            let batch = scheduler.next_batch(&COST[..1], 1, run).expect("there is always a row");
            served[usize::from(batch.rows[0] == 5000)] += 1;
        }
        assert!(served[1].abs_diff(served[0]) <= 1, "{served:?}");
    }

    #[test]
    fn nobody_is_remembered_once_all_is_done() {
        let mut scheduler = scheduler(1, 64);
        for name in 0..100 {
            for row in 0..name % 3 {
                scheduler.push(&caller(&name.to_string()), lane(0, 8 + 8 * row), name);
            }
        }
        while scheduler.next_batch(&COST[..1], 1, run).is_some() {}
        assert!(scheduler.callers.is_empty() && scheduler.turns.is_empty() && scheduler.resting.is_empty());
    }

    #[test]
    fn runs_are_short_while_there_are_several_callers() {
        let shape = RunShape { run_tokens: 256, start_tokens: 20 };
        let mut scheduler = Scheduler::new(vec![shape]);
        let rows_of_next = |scheduler: &mut Scheduler<i32>| {
            scheduler.next_batch(&COST[..1], 1, run).map_or(0, |batch| batch.rows.len())
        };
        for row in 0..10_000 {
            scheduler.push(&caller("bulk"), lane(0, 8), row);
        }
        assert_eq!(rows_of_next(&mut scheduler), 32);
        scheduler.push(&caller("single"), lane(0, 8), -1);
        // The start is a fifth of such a run.
        assert_eq!(rows_of_next(&mut scheduler), 80 / 8);
        for _ in 1..Scheduler::<i32>::SHARED_RUNS {
            assert_eq!(rows_of_next(&mut scheduler), 80 / 8);
        }
        assert_eq!(rows_of_next(&mut scheduler), 32, "the other has not come for long");
    }

    #[test]
    fn what_is_left_of_a_batch_is_filled_by_others() {
        let mut scheduler = scheduler(1, 4 * 96);
        for (name, row) in [("a", 1), ("b", 2), ("c", 3)] {
            scheduler.push(&caller(name), lane(0, 32), row);
        }
        assert_eq!(scheduler.next_batch(&COST[..1], 1, run).map(|batch| batch.rows), Some(vec![1, 2, 3]));
    }

    /// The batches of one caller's rows of these lengths, as numbers of rows by length in a run.
    fn batches(lengths: &[usize], shape: RunShape, free: usize) -> Vec<(usize, Vec<usize>)> {
        let mut scheduler = Scheduler::new(vec![shape]);
        for &length in lengths {
            scheduler.push(&caller("one"), lane(0, length), length);
        }
        let batches = std::iter::from_fn(|| scheduler.next_batch(&COST[..1], free, run));
        let batches = batches.map(|batch| (batch.lane.padded_tokens, batch.rows)).collect();
        assert_eq!(*scheduler.waiting(), Waiting::none(1));
        batches
    }

    #[test]
    fn a_run_takes_in_neighbours_where_that_costs_less_than_a_start() {
        let shape = RunShape { run_tokens: 128, start_tokens: 17 };
        assert_eq!(batches(&[32, 24, 16, 8], shape, 1), [(32, vec![32, 24, 16]), (8, vec![8])]);
        // The oldest is the shorter one.
        assert_eq!(batches(&[24, 32], shape, 1), [(32, vec![24, 32])]);
        assert_eq!(batches(&[24, 24, 32], shape, 1), [(32, vec![24, 24, 32])]);
        // Three rows would be padded by 24 tokens.
        assert_eq!(batches(&[32, 24, 24, 24], shape, 1), [(32, vec![32]), (24, vec![24; 3])]);
        // What does not fit whole would need a run of its own all the same.
        let full = batches(&[32, 32, 32, 24, 24], shape, 1);
        assert_eq!(full, [(32, vec![32; 3]), (24, vec![24; 2])]);
        let unmixed = batches(&[32, 24], RunShape { start_tokens: 0, ..shape }, 1);
        assert_eq!(unmixed, [(32, vec![32]), (24, vec![24])]);
    }

    #[test]
    fn a_run_is_filled_with_the_nearest_lengths() {
        let shape = RunShape { run_tokens: 100, start_tokens: 1 };
        let lengths = [25, 30, 24, 20, 26, 33, 23];
        assert_eq!(batches(&lengths, shape, 1)[0], (25, vec![25, 24, 23, 20]));
        assert_eq!(batches(&[25, 33], shape, 1), [(25, vec![25]), (33, vec![33])], "a step apart");
        assert_eq!(batches(&[25, 32], shape, 1), [(32, vec![25, 32])]);
        assert_eq!(batches(&[25, 29, 21], shape, 1)[0].1.len(), 2, "none is padded by a step");
    }

    #[test]
    fn what_waits_is_spread_over_free_workers() {
        let shape = RunShape { run_tokens: 128, start_tokens: 16 };
        let sizes = |lengths: &[usize], free| -> Vec<usize> {
            batches(lengths, shape, free).into_iter().map(|(_, rows)| rows.len()).collect()
        };
        assert_eq!(sizes(&[24; 4], 2)[0], 2);
        assert_eq!(sizes(&[24; 3], 2)[0], 2);
        assert_eq!(sizes(&[24; 40], 2)[0], 5, "a run is never longer than it may be");
        assert_eq!(sizes(&[24; 3], 8)[0], 1);
        // Another length is left to another worker.
        assert_eq!(batches(&[32, 24], shape, 2)[0], (32, vec![32]));
    }

    #[test]
    fn void_entries_cost_nothing_and_are_swept() {
        let mut scheduler = scheduler(1, 128);
        let one = caller("one");
        for row in 0..200 {
            scheduler.push(&one, lane(0, 8 + 8 * (row % 2)), row);
        }
        let void = |row: &usize| *row >= 3;
        for row in 3..200 {
            scheduler.note_void(one.name(), lane(0, 8 + 8 * (row % 2)));
        }
        let lanes = BTreeMap::from([(lane(0, 8), 2), (lane(0, 16), 1)]);
        assert_eq!(
            *scheduler.waiting(),
            Waiting { rows: 3, rows_by_model: vec![3], tokens: vec![32], lanes }
        );
        scheduler.sweep(|row| !void(row));
        let claim = |row: &usize, _: &Arc<str>| if void(row) { Claim::Void } else { RUN };
        assert_eq!(scheduler.next_batch(&COST[..1], 1, claim).map(|batch| batch.rows), Some(vec![0, 2]));
        assert_eq!(scheduler.next_batch(&COST[..1], 1, claim).map(|batch| batch.rows), Some(vec![1]));
        assert_eq!(scheduler.next_batch(&COST[..1], 1, claim), None);
    }

    #[test]
    fn a_row_in_two_queues_runs_once_and_comes_with_the_shorter() {
        let mut scheduler = scheduler(1, 32);
        let (bulk, single) = (caller("bulk"), caller("single"));
        for row in 0..50 {
            scheduler.push(&bulk, lane(0, 32), row);
        }
        scheduler.push(&single, lane(0, 32), 49);
        let mut ran = Vec::new();
        while let Some(batch) = scheduler.next_batch(&COST[..1], 1, |row, by| {
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
            start_tokens in 0_usize..40,
            free in 1_usize..4,
            pause in 1_usize..20,
        ) {
            let mut scheduler = Scheduler::new(vec![RunShape { run_tokens, start_tokens }; 2]);
            let mut seen = Vec::new();
            let mut take = |scheduler: &mut Scheduler<usize>| {
                let Some(batch) = scheduler.next_batch(&COST, free, run) else { return false };
                assert!(batch.rows.len() == 1 || batch.rows.len() * batch.lane.padded_tokens <= run_tokens);
                for row in batch.rows {
                    let (model, length) = (rows[row].1, rows[row].2 * 8);
                    assert_eq!(model, batch.lane.model);
                    let padded = batch.lane.padded_tokens;
                    assert!(length <= padded && padded - length <= start_tokens.max(7));
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
            let mut scheduler = scheduler(2, run_tokens);
            let lanes = [lane(models.0, long * 8), lane(models.1, short * 8)];
            for _ in 0..400 {
                scheduler.push(&caller("0"), lanes[0], 0);
                scheduler.push(&caller("1").with_weight(heavy), lanes[1], 1);
            }
            let (mut given, mut left) = ([0_i64; 2], [400_usize; 2]);
            while let Some(batch) = scheduler.next_batch(&COST, 1, run) {
                for &row in &batch.rows {
                    given[row] += cost_of(batch.lane);
                    left[row] -= 1;
                }
                if left.contains(&0) {
                    break;
                }
                let bound = 2 * 4 * i64::try_from(run_tokens).expect("a short run");
                let fair = (given[0] - given[1] / i64::from(weight)).abs();
                prop_assert!(fair <= bound, "{given:?} at weight {weight}");
            }
        }
    }
}
