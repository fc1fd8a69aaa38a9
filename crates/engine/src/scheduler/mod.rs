//! Forms batches: one queue for each caller, served in turn by cost, and sequences of similar length put together.
//!
//! [`Scheduler::next_batch`] is the place where requests become a batch. All sequences of a batch are padded to one
//! length; [`bucket`] says which lengths may share it.
//!
//! Pure: no thread, no clock, no model. The turns of the callers follow start-time fair queueing (Goyal, Vin and Cheng,
//! 1996): each caller has a virtual time, which advances by the cost of its sequences over its weight, and the caller
//! with the lowest virtual time is served next. Over any stretch of time two callers that both have work queued get
//! equal cost for their weight, to within a batch each. A caller that asks for less than its share is served next.
//!
//! Callers in the background come after all others: their sequences begin a batch only while no online sequence is queued, and
//! otherwise only fill what online sequences leave of a batch.

mod bucket;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::Arc;

use super::Caller;
use super::caller::Priority;
pub(super) use bucket::{BatchShape, LengthBucket};
pub(super) use totals::QueueTotals;

/// Whether a queue entry at its turn must still be scored.
#[derive(Debug)]
pub(super) enum Claim {
    /// No: another caller's queue has already served it, or every ticket for it was dropped.
    Stale,
    /// Yes, and its entries in the queues of these callers are stale from now on.
    Claimed { also_queued_by: Vec<Arc<str>> },
}

/// Sequences that are scored together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch<T> {
    pub(super) bucket: LengthBucket,
    pub(super) sequences: Vec<T>,
    /// Sum of the loads of the sequences, in tokens.
    pub(super) load: usize,
}

/// The queued sequences of all callers.
#[derive(Debug)]
pub(super) struct Scheduler<T> {
    callers: HashMap<Arc<str>, CallerQueue<T>>,
    /// Turns of the callers with queued sequences, the next to serve first.
    turns: BTreeSet<Turn>,
    /// Turns of callers without queued sequences that are ahead of the others, by priority: a caller that returns keeps its turn.
    idle_turns: [BTreeSet<Turn>; 2],
    /// Virtual time of the caller that was served last, by priority. New callers start here.
    virtual_now: [VirtualTime; 2],
    /// Numbers the entries in order of arrival.
    arrivals: u64,
    /// Caller of the latest online entry.
    last_caller: Option<Arc<str>>,
    /// Number of further batches that stay short because several callers were active lately.
    shared_batches: usize,
    totals: QueueTotals,
    /// Entries that are stale; `totals` does not count them.
    stale_entries: usize,
    /// Shape of a batch, by model.
    shapes: Vec<BatchShape>,
}

/// Cost over weight of everything that a caller was served, plus the time it skipped while it had nothing queued.
type VirtualTime = u128;

/// A caller's place in the order of service: online before background, then by time. Of two with equal time, the one with the
/// lower arrival number is first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    priority: Priority,
    time: VirtualTime,
    arrival: u64,
    caller: Arc<str>,
}

#[derive(Debug)]
struct CallerQueue<T> {
    /// Share of this caller relative to a caller of weight 1.
    weight: NonZeroU32,
    /// Its turn, which is in `turns` or in `idle_turns`.
    turn: Turn,
    /// Load of its queued sequences, in tokens, by model.
    load: Vec<usize>,
    buckets: BTreeMap<LengthBucket, VecDeque<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    arrival: u64,
    /// In tokens; at least the bucket's padded length.
    load: usize,
    sequence: T,
}

impl<T> Scheduler<T> {
    /// How many batches stay short after an entry of another caller: some seconds of work.
    const SHARED_BATCHES: usize = 512;

    /// Creates an empty queue; `shapes` are the batch shapes by model.
    pub(super) fn new(shapes: Vec<BatchShape>) -> Self {
        Self {
            callers: HashMap::new(),
            turns: BTreeSet::new(),
            idle_turns: [BTreeSet::new(), BTreeSet::new()],
            virtual_now: [0; 2],
            arrivals: 0,
            last_caller: None,
            shared_batches: 0,
            totals: QueueTotals::new(shapes.len()),
            stale_entries: 0,
            shapes,
        }
    }

    /// Batch shapes by model.
    pub(super) fn shapes(&self) -> &[BatchShape] {
        &self.shapes
    }

    /// Sets the shape of a model's batches from now on.
    pub(super) fn set_shape(&mut self, model: usize, shape: BatchShape) {
        self.shapes[model] = shape;
    }

    /// What is queued.
    pub(super) fn totals(&self) -> &QueueTotals {
        &self.totals
    }

    /// Appends a sequence to the queue of `caller`. `load` is what it is charged, in tokens.
    pub(super) fn push(&mut self, caller: &Caller, bucket: LengthBucket, load: usize, sequence: T) {
        let name = caller.name();
        if caller.priority() == Priority::Online {
            let is_another = self.last_caller.as_ref() != Some(name)
                && self.last_caller.replace(Arc::clone(name)).is_some();
            let is_beside_background =
                self.turns.last().is_some_and(|turn| turn.priority == Priority::Background);
            if is_another || is_beside_background {
                self.shared_batches = Self::SHARED_BATCHES;
            }
        }
        let models = self.shapes.len();
        let priority = caller.priority();
        let virtual_now = self.virtual_now[priority as usize];
        let queue = self.callers.entry(Arc::clone(name)).or_insert_with(|| CallerQueue {
            weight: caller.weight(),
            turn: Turn { priority, time: virtual_now, arrival: self.arrivals, caller: Arc::clone(name) },
            load: vec![0; models],
            buckets: BTreeMap::new(),
        });
        if queue.buckets.is_empty() {
            self.idle_turns[queue.turn.priority as usize].remove(&queue.turn);
            if queue.turn.priority != priority {
                // Times of the two priorities have nothing to do with each other.
                (queue.turn.priority, queue.turn.time) = (priority, virtual_now);
            }
            queue.turn.time = queue.turn.time.max(virtual_now);
            queue.turn.arrival = self.arrivals;
            self.turns.insert(queue.turn.clone());
        }
        queue.weight = caller.weight();
        queue.load[bucket.model] += load;
        let entry = Entry { arrival: self.arrivals, load, sequence };
        queue.buckets.entry(bucket).or_default().push_back(entry);
        self.arrivals += 1;
        self.totals.add(bucket);
    }

    /// Forms the next batch; `None` if nothing is queued.
    ///
    /// `cost_per_token` of each model is in any one unit. `idle_workers` counts the caller of this function too.
    /// `claim` says of an entry in the queue of a caller whether it is still to be scored.
    ///
    /// The caller with the first turn chooses the length bucket, that of its oldest sequence, and fills the batch as far
    /// as it can. The other callers fill the rest in the order of their turns, and are charged as for any batch. If
    /// several workers are idle, the queue is spread over them.
    pub(super) fn next_batch(
        &mut self,
        cost_per_token: &[u64],
        idle_workers: usize,
        mut claim: impl FnMut(&T, &Arc<str>) -> Claim,
    ) -> Option<Batch<T>> {
        loop {
            let bucket = self.bucket_of_next_caller()?;
            let shape = self.shapes[bucket.model];
            let max_tokens =
                if self.shared_batches > 0 { shape.max_shared_tokens() } else { shape.max_tokens };
            let queued: usize = self.totals.tokens.iter().sum();
            let per_worker =
                queued.div_ceil(idle_workers.max(1)).next_multiple_of(bucket.padded_tokens.max(1));
            let max_tokens = if idle_workers > 1 { max_tokens.min(per_worker) } else { max_tokens };
            let buckets = self.buckets_to_merge(bucket, max_tokens, idle_workers);
            let padded_tokens = buckets.iter().map(|bucket| bucket.padded_tokens).max().unwrap_or_default();
            let capacity =
                Capacity { sequences: (max_tokens / padded_tokens.max(1)).max(1), load: max_tokens };
            let bucket = LengthBucket { padded_tokens, ..bucket };
            let mut batch = Batch { bucket, sequences: Vec::with_capacity(capacity.sequences), load: 0 };
            for bucket in buckets {
                self.fill(&mut batch, bucket, capacity, cost_per_token[bucket.model], &mut claim);
            }
            self.retire_idle_callers();
            if !batch.sequences.is_empty() {
                self.shared_batches = self.shared_batches.saturating_sub(1);
                return Some(batch);
            }
        }
    }

    /// Returns the length bucket of the oldest sequence of the caller whose turn it is.
    fn bucket_of_next_caller(&mut self) -> Option<LengthBucket> {
        let Turn { priority, time, caller, .. } = self.turns.first()?;
        let virtual_now = &mut self.virtual_now[*priority as usize];
        *virtual_now = (*virtual_now).max(*time);
        self.callers[caller].oldest_bucket()
    }

    /// Moves sequences of `bucket` into the batch, from the callers in the order of their turns, until it is full.
    fn fill(
        &mut self,
        batch: &mut Batch<T>,
        bucket: LengthBucket,
        capacity: Capacity,
        cost_per_token: u64,
        claim: &mut impl FnMut(&T, &Arc<str>) -> Claim,
    ) {
        let mut next = self.turns.first().cloned();
        while let Some(turn) = next.filter(|_| batch.sequences.len() < capacity.sequences) {
            let caller = &turn.caller;
            let mut served = 0;
            while batch.sequences.len() < capacity.sequences {
                let queue = self.callers.get_mut(caller).expect("a caller with a turn has a queue");
                let Some(waiting) = queue.buckets.get_mut(&bucket) else { break };
                let fits = |entry: &Entry<T>| batch.load == 0 || batch.load + entry.load <= capacity.load;
                if !waiting.front().is_some_and(fits) {
                    break;
                }
                let front = waiting.pop_front();
                if waiting.is_empty() {
                    queue.buckets.remove(&bucket);
                }
                let Some(Entry { load, sequence, .. }) = front else { break };
                match claim(&sequence, caller) {
                    Claim::Stale => self.stale_entries -= 1,
                    Claim::Claimed { also_queued_by } => {
                        queue.load[bucket.model] -= load;
                        self.totals.remove(bucket);
                        for other in also_queued_by {
                            self.mark_stale(&other, bucket, load);
                        }
                        served += load;
                        batch.load += load;
                        batch.sequences.push(sequence);
                    }
                }
            }
            // A caller that is served moves back and may be met again there, with nothing left in this bucket.
            next = self.turns.range((Bound::Excluded(&turn), Bound::Unbounded)).next().cloned();
            if served > 0 {
                self.advance(&turn, u128::from(cost_per_token.max(1)) * served as u128);
            }
        }
    }

    /// Advances the virtual time of a caller by the cost of what it was served.
    fn advance(&mut self, turn: &Turn, cost: u128) {
        let queue = self.callers.get_mut(&turn.caller).expect("a caller with a turn has a queue");
        queue.turn.time += cost / u128::from(queue.weight.get());
        self.turns.remove(turn);
        self.turns.insert(queue.turn.clone());
    }

    /// Marks an entry in the queue of `caller` as stale. It is removed when its turn comes, or by
    /// [`Scheduler::remove_stale`].
    pub(super) fn mark_stale(&mut self, caller: &Arc<str>, bucket: LengthBucket, load: usize) {
        if let Some(queue) = self.callers.get_mut(caller) {
            queue.load[bucket.model] -= load;
            self.totals.remove(bucket);
            self.stale_entries += 1;
        }
    }

    /// Removes the stale entries once they outnumber the others. Their number is bounded this way, and the cost of
    /// removal is proportional to it.
    pub(super) fn remove_stale(&mut self, mut is_wanted: impl FnMut(&T) -> bool) {
        const MIN_STALE: usize = 64;
        if self.stale_entries < self.totals.sequences.max(MIN_STALE) {
            return;
        }
        for queue in self.callers.values_mut() {
            queue.buckets.retain(|_, entries| {
                entries.retain(|entry| is_wanted(&entry.sequence));
                !entries.is_empty()
            });
        }
        self.stale_entries = 0;
        self.retire_idle_callers();
    }

    /// Weight and queued load by model of each caller that has any and is not served after all callers of `priority`.
    pub(super) fn backlogs(
        &self,
        priority: Priority,
    ) -> impl Iterator<Item = (&Arc<str>, NonZeroU32, &[usize])> {
        let busy = self.callers.iter().filter(move |(_, queue)| {
            queue.turn.priority <= priority && queue.load.iter().any(|&load| load > 0)
        });
        busy.map(|(name, queue)| (name, queue.weight, &queue.load[..]))
    }

    /// Empties all queues and returns the sequences, in no order.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.turns.clear();
        self.idle_turns = [BTreeSet::new(), BTreeSet::new()];
        self.totals = QueueTotals::new(self.shapes.len());
        self.stale_entries = 0;
        let buckets = self.callers.drain().flat_map(|(_, queue)| queue.buckets.into_values());
        buckets.flatten().map(|entry| entry.sequence).collect()
    }

    /// Ends the turns of callers without queued sequences, and forgets those whose turn equals that of a new caller.
    fn retire_idle_callers(&mut self) {
        let callers = &mut self.callers;
        let idle_turns = &mut self.idle_turns;
        self.turns.retain(|turn| {
            let is_busy = !callers[&turn.caller].buckets.is_empty();
            if !is_busy {
                idle_turns[turn.priority as usize].insert(turn.clone());
            }
            is_busy
        });
        for priority in [Priority::Online, Priority::Background] {
            // Turns are in the order of their priorities.
            let nearest = if priority == Priority::Online { self.turns.first() } else { self.turns.last() };
            let nobody_waits = nearest.is_none_or(|turn| turn.priority != priority);
            let idle_turns = &mut idle_turns[priority as usize];
            while let Some(turn) = idle_turns.pop_first() {
                if turn.time > self.virtual_now[priority as usize] && !nobody_waits {
                    idle_turns.insert(turn);
                    break;
                }
                callers.remove(&turn.caller);
            }
        }
    }
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    sequences: usize,
    /// In tokens, unless a single sequence has more.
    load: usize,
}

impl<T> CallerQueue<T> {
    fn oldest_bucket(&self) -> Option<LengthBucket> {
        let fronts =
            self.buckets.iter().filter_map(|(bucket, entries)| Some((entries.front()?.arrival, *bucket)));
        fronts.min().map(|(_, bucket)| bucket)
    }
}
