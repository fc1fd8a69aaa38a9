//! The state of an engine without its threads: what is queued, under way and cached, and what it cost.
//!
//! Time is passed in and nothing blocks, so that a simulation can run hours of traffic in a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::{Admission, Backlog, Rejection, Request};
use super::cache::OutputCache;
#[cfg(test)]
use super::caller::Priority;
use super::cost::TokenCost;
use super::in_flight::{Claimant, InFlight, Job, JobOutputs, SequenceKey, Waiter};
use super::scheduler::{Batch, BatchShape, LengthBucket, Scheduler};
use super::stall::StallDetector;
use super::statistics::{EngineStatistics, ModelStatistics};
use super::{Caller, EngineSettings, SequenceOutput, SubmitError};
use crate::encode::Sequence;

#[derive(Debug)]
pub(super) struct SchedulerState {
    pub(super) phase: Phase,
    /// Workers that wait for a batch.
    pub(super) idle_workers: usize,
    scheduler: Scheduler<Arc<InFlight>>,
    /// Sequences that are queued or under way, so that an equal one joins them; empty unless `deduplicate`.
    in_flight: HashMap<SequenceKey, Arc<InFlight>>,
    cache: Option<OutputCache>,
    /// Measured cost of a token, by model.
    token_costs: Vec<TokenCost>,
    statistics: EngineStatistics,
    /// Since when fewer workers than configured are alive, after all of them were.
    short_of_workers_since: Option<Instant>,
    /// A batch is identified by its first sequence.
    stall_detector: StallDetector<Arc<InFlight>>,
    settings: EngineSettings,
}

/// The life of an engine, which only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Accepts nothing new, finishes what is queued.
    Draining,
    /// Finishes only the batches under way.
    Stopped,
}

/// The outcome of a batch.
#[derive(Debug)]
pub(super) struct BatchOutcome {
    /// Output of each sequence; `None` for those that the model failed on.
    pub(super) outputs: Vec<Option<SequenceOutput>>,
    /// Whether the model failed on the batch as a whole, so that its sequences were scored one by one.
    pub(super) failed_as_batch: bool,
    /// Time in the model.
    pub(super) took: Duration,
    /// Time of the worker for it, including what it spent on the queue and on delivering the batch before.
    pub(super) occupied: Duration,
}

impl BatchOutcome {
    /// The outcome of a batch that a worker lost.
    pub(super) fn lost(sequences: usize) -> Self {
        let (outputs, none) = (vec![None; sequences], Duration::ZERO);
        Self { outputs, failed_as_batch: true, took: none, occupied: none }
    }
}

/// Tokens of a request that is not laid out yet.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedTokens {
    /// Guessed from the size of its body. It may be refused because of what is queued, but not for its own sake.
    Guessed(usize),
    /// Counted in its texts; the models read at least so many.
    Counted(usize),
}

/// Size of a request.
struct RequestSize {
    /// What it is charged, in tokens of each model.
    load: Vec<usize>,
    /// Tokens of work of each model, without padding.
    tokens: Vec<usize>,
}

impl RequestSize {
    fn none(models: usize) -> Self {
        Self { load: vec![0; models], tokens: vec![0; models] }
    }
}

/// Sequences with their outputs, to be delivered without the lock of the state.
pub(super) type Completed = Vec<(Arc<InFlight>, Option<SequenceOutput>)>;

/// Delivers the outputs of a batch to the requests that wait for them.
pub(super) fn deliver(completed: Completed) {
    for (in_flight, output) in completed {
        in_flight.complete(output.as_ref());
    }
}

impl SchedulerState {
    /// Tokens that a span is charged at least. Its place in the answer takes some 200 bytes, and the queue counts on
    /// about 50 bytes for a token.
    const SPAN_LOAD_TOKENS: usize = 4;

    /// Spans that take a worker as long as a token: 7 were measured with `sentor-en`, 28 with `sentor-nl`.
    const SPANS_PER_TOKEN_OF_WORK: usize = 16;

    pub(super) fn new(models: &[String], settings: EngineSettings) -> Self {
        let shape = BatchShape { max_tokens: settings.max_batch_tokens, overhead_tokens: 0 };
        let model_statistics =
            |name: &String| ModelStatistics { name: name.clone(), ..ModelStatistics::default() };
        Self {
            phase: Phase::Open,
            idle_workers: 0,
            scheduler: Scheduler::new(vec![shape; models.len()]),
            in_flight: HashMap::new(),
            cache: OutputCache::new(settings.cache_bytes),
            token_costs: vec![TokenCost::default(); models.len()],
            statistics: EngineStatistics {
                workers: settings.workers,
                models: models.iter().map(model_statistics).collect(),
                ..EngineStatistics::default()
            },
            short_of_workers_since: None,
            stall_detector: StallDetector::default(),
            settings,
        }
    }

    /// Accepts sequences, all or none of them.
    pub(super) fn submit(
        &mut self,
        keys: Vec<SequenceKey>,
        caller: &Caller,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(Claimant, oneshot::Receiver<JobOutputs>), SubmitError> {
        if self.phase != Phase::Open {
            self.statistics.rejections.shutting_down += 1;
            return Err(SubmitError::ShuttingDown);
        }
        let known: JobOutputs = match &mut self.cache {
            Some(cache) => keys.iter().map(|key| cache.find(key)).collect(),
            None => vec![None; keys.len()],
        };
        let mut size = RequestSize::none(self.token_costs.len());
        for key in keys.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| key) {
            if !self.in_flight.contains_key(key) {
                let Sequence { ids, spans } = &*key.sequence;
                size.load[key.model] += self.place(key).1;
                size.tokens[key.model] += ids.len() + spans.len() / Self::SPANS_PER_TOKEN_OF_WORK;
            }
        }
        self.admit(&size, caller, deadline, now)?;

        let is_unknown = known.iter().map(Option::is_none).collect::<Vec<_>>();
        let (reply, receiver) = oneshot::channel();
        let job = Arc::new(Job::new(known, reply));
        if self.queued_sequences() == 0 && is_unknown.contains(&true) {
            self.stall_detector.queue_filled(now);
        }
        let mut sequences = Vec::new();
        for (index, key) in keys.into_iter().enumerate().filter(|&(index, _)| is_unknown[index]) {
            let waiter = Waiter { job: Arc::clone(&job), index };
            sequences.push(self.enqueue(key, waiter, caller, now));
        }
        Ok((Claimant { job, sequences }, receiver))
    }

    /// Whether a request of at least `tokens` of any model would be rejected now.
    pub(super) fn precheck(
        &mut self,
        tokens: ExpectedTokens,
        caller: &Caller,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(), SubmitError> {
        let mut size = RequestSize::none(self.token_costs.len());
        // The cheapest model, since the request's own is not known yet. A model that is not loaded has no cost yet.
        let cheapest = (0..size.load.len())
            .filter(|&model| self.token_costs[model].picoseconds() > 0)
            .min_by_key(|&model| self.token_costs[model].picoseconds())
            .or((!size.load.is_empty()).then_some(0));
        if let Some(cheapest) = cheapest {
            (size.load[cheapest], size.tokens[cheapest]) = match tokens {
                ExpectedTokens::Guessed(tokens) => (tokens, 0),
                ExpectedTokens::Counted(tokens) => (tokens, tokens),
            };
        }
        self.admit(&size, caller, deadline, now)
    }

    fn admit(
        &mut self,
        RequestSize { load, tokens }: &RequestSize,
        caller: &Caller,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(), SubmitError> {
        if load.iter().all(|&load| load == 0) {
            return Ok(());
        }
        let weight = f64::from(caller.weight().get());
        let mut own = Backlog { tokens: 0, work: Duration::ZERO, weight };
        let mut others = Vec::new();
        for (name, weight, queued) in self.scheduler.backlogs(caller.priority()) {
            let (tokens, work) = (queued.iter().sum(), self.work(queued));
            if name == caller.name() {
                own = Backlog { tokens, work, ..own };
            } else {
                others.push(Backlog { tokens, work, weight: f64::from(weight.get()) });
            }
        }
        let request = Request {
            tokens: load.iter().sum(),
            work: self.work(load),
            least_work: self.least_work(tokens),
            time_left: deadline.map(|deadline| deadline.saturating_duration_since(now)),
            own,
            others: &others,
        };
        let EngineSettings { workers, max_queued_tokens, .. } = self.settings;
        Admission { workers, max_queued_tokens }.decide(&request).map_err(|rejection| {
            let rejections = &mut self.statistics.rejections;
            let (count, error) = match rejection {
                Rejection::QueueFull { retry_after } => {
                    (&mut rejections.queue_full, SubmitError::Overloaded { retry_after })
                }
                Rejection::Deadline { retry_after } => {
                    (&mut rejections.deadline, SubmitError::Overloaded { retry_after })
                }
                Rejection::TooLong { needed } => (&mut rejections.deadline, SubmitError::TooLong { needed }),
            };
            *count += 1;
            error
        })
    }

    /// Time of one worker for this load of each model.
    fn work(&self, load: &[usize]) -> Duration {
        let times = load.iter().zip(&self.token_costs).map(|(&load, cost)| cost.time_of(load));
        times.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Least time of one worker for so many tokens of each model.
    fn least_work(&self, tokens: &[usize]) -> Duration {
        let times = tokens.iter().zip(&self.token_costs).map(|(&tokens, cost)| cost.least_time_of(tokens));
        times.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Returns the length bucket of a sequence, and its load in tokens: its padded length, or its share of the answer
    /// if that is more.
    fn place(&self, key: &SequenceKey) -> (LengthBucket, usize) {
        let Sequence { ids, spans } = &*key.sequence;
        let bucket = self.shape(key.model).bucket(key.model, ids.len());
        (bucket, bucket.padded_tokens.max(spans.len() * Self::SPAN_LOAD_TOKENS))
    }

    /// Pushes a sequence to the queue of `caller`, or joins an equal one.
    fn enqueue(&mut self, key: SequenceKey, waiter: Waiter, caller: &Caller, now: Instant) -> Arc<InFlight> {
        let (bucket, load) = self.place(&key);
        let new = |key| Arc::new(InFlight::new(key, bucket, load, now));
        let in_flight = if !self.settings.deduplicate {
            new(key)
        } else if let Some(in_flight) = self.in_flight.get(&key) {
            self.statistics.deduplicated_sequences += 1;
            Arc::clone(in_flight)
        } else {
            let in_flight = new(key.clone());
            self.in_flight.insert(key, Arc::clone(&in_flight));
            in_flight
        };
        if in_flight.add_waiter(waiter, caller) {
            // The bucket of the first submission, in case the shape has changed since.
            self.scheduler.push(caller, in_flight.bucket, in_flight.load, Arc::clone(&in_flight));
        }
        in_flight
    }

    /// Forms the next batch; `None` if nothing is queued. `idle_workers` includes the one that asks.
    pub(super) fn next_batch(&mut self, idle_workers: usize, now: Instant) -> Option<Batch<Arc<InFlight>>> {
        let costs: Vec<u64> = self.token_costs.iter().map(TokenCost::picoseconds).collect();
        let batch = self.scheduler.next_batch(&costs, idle_workers, |in_flight, by| in_flight.claim(by))?;
        for in_flight in &batch.sequences {
            self.statistics.waits.record(now.saturating_duration_since(in_flight.submitted));
        }
        if let Some(first) = batch.sequences.first() {
            self.stall_detector.batch_started(Arc::clone(first), now);
        }
        Some(batch)
    }

    /// Records the outcome of a batch, and returns the outputs to deliver.
    pub(super) fn complete_batch(&mut self, batch: Batch<Arc<InFlight>>, outcome: BatchOutcome) -> Completed {
        let Batch { bucket, sequences, .. } = batch;
        if let Some(first) = sequences.first() {
            self.stall_detector.batch_ended(|batch| Arc::ptr_eq(batch, first));
        }
        let padded_tokens = sequences.len() * bucket.padded_tokens;
        let spans: usize = sequences.iter().map(|one| one.sequence().spans.len()).sum();
        if !outcome.failed_as_batch {
            let tokens = padded_tokens + spans / Self::SPANS_PER_TOKEN_OF_WORK;
            self.record_cost(bucket.model, tokens, outcome.occupied);
        }
        self.statistics.batches.record(outcome.took);
        let model = &mut self.statistics.models[bucket.model];
        model.batches += 1;
        model.failed_batches += u64::from(outcome.failed_as_batch);
        model.failed_sequences += outcome.outputs.iter().filter(|output| output.is_none()).count() as u64;
        model.sequences += sequences.len() as u64;
        model.spans += spans as u64;
        model.tokens += sequences.iter().map(|one| one.sequence().ids.len() as u64).sum::<u64>();
        model.padded_tokens += padded_tokens as u64;
        model.busy += outcome.took;

        let completed: Completed = sequences.into_iter().zip(outcome.outputs).collect();
        for (in_flight, output) in &completed {
            self.in_flight.remove(&in_flight.key);
            if let (Some(cache), Some(output)) = (&mut self.cache, output) {
                cache.insert(in_flight.key.clone(), output.clone());
            }
        }
        completed
    }

    /// Adds the time of a batch of so many tokens to the measured cost of the model's tokens.
    pub(super) fn record_cost(&mut self, model: usize, tokens: usize, took: Duration) {
        self.token_costs[model].record(tokens, took);
    }

    /// Sets the shape of a model's batches from now on.
    pub(super) fn set_shape(&mut self, model: usize, shape: BatchShape) {
        self.scheduler.set_shape(model, shape);
    }

    /// Shape of a model's batches.
    pub(super) fn shape(&self, model: usize) -> BatchShape {
        self.scheduler.shapes()[model]
    }

    /// Withdraws a request: its sequences leave the queue unless another request waits for them too.
    pub(super) fn withdraw(&mut self, claimant: &Claimant) {
        for in_flight in &claimant.sequences {
            let Some(callers) = in_flight.remove_waiters(&claimant.job) else { continue };
            self.statistics.abandoned_sequences += 1;
            for caller in callers {
                self.scheduler.mark_stale(caller.name(), in_flight.bucket, in_flight.load);
            }
            self.in_flight.remove(&in_flight.key);
        }
        self.scheduler.remove_stale(|in_flight| !in_flight.is_claimed());
    }

    /// How many sequences are queued.
    pub(super) fn queued_sequences(&self) -> usize {
        self.scheduler.totals().sequences
    }

    /// Queued load of each caller, by model.
    #[cfg(test)]
    pub(super) fn backlogs(&self) -> impl Iterator<Item = &[usize]> {
        self.scheduler.backlogs(Priority::Background).map(|(_, _, load)| load)
    }

    /// Empties the queue. The requests that wait learn that there will be no answer.
    pub(super) fn drop_queue(&mut self) {
        for in_flight in self.scheduler.drain() {
            if in_flight.drop_waiters() {
                self.in_flight.remove(&in_flight.key);
            }
        }
    }

    /// Records that a worker is ready for batches.
    pub(super) fn worker_started(&mut self) {
        self.statistics.workers_alive += 1;
        if self.statistics.workers_alive == self.settings.workers {
            self.short_of_workers_since = None;
        }
    }

    /// Records that a worker that was ready ended or panicked.
    pub(super) fn worker_ended(&mut self, now: Instant) {
        self.statistics.workers_alive -= 1;
        self.short_of_workers_since.get_or_insert(now);
    }

    /// Records that a worker panicked outside the model, or before it was ready, and is replaced.
    pub(super) fn worker_replaced(&mut self) {
        self.statistics.worker_replacements += 1;
    }

    pub(super) fn statistics(&self, now: Instant) -> EngineStatistics {
        let mut statistics = self.statistics.clone();
        statistics.short_of_workers =
            self.short_of_workers_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        statistics.stalled = self.stall_detector.stalled_for(self.queued_sequences() > 0, now);
        let totals = self.scheduler.totals();
        for (index, model) in statistics.models.iter_mut().enumerate() {
            model.queued_sequences = totals.sequences_by_model[index];
            model.queued_tokens = totals.tokens[index];
            model.max_batch_tokens = self.shape(index).max_tokens;
            model.token_cost = Duration::from_nanos(self.token_costs[index].picoseconds() / 1000);
        }
        statistics.cache = self.cache.as_ref().map(OutputCache::statistics).unwrap_or_default();
        statistics
    }
}
