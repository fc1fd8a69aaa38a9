//! All that an engine knows, without its threads: what waits, what runs, what was scored, what it cost.
//!
//! Time is passed in and nothing blocks, so that a simulation can drive it through hours in a moment.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::{Admission, Backlog, Refusal, Request};
use super::cache::ScoreCache;
use super::calibration::{Calibration, TrialOutcome, Trials};
use super::pulse::Pulse;
use super::scheduler::{Batch, Claim, Lane, RunShape, Scheduler};
use super::statistics::{EngineStatistics, ModelStatistics};
use super::{Caller, EngineSettings, SubmitError, lock};
use crate::encode::Row;

/// Logits (negative, neutral, positive) of each span of a row.
pub(super) type SpanLogits = Arc<[[f32; 3]]>;

/// Logits of each span of a row, or `None` where the model failed on it.
pub type RowLogits = Option<SpanLogits>;

/// All that the logits of a row depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    pub(super) model: usize,
    pub(super) row: Arc<Row>,
}

#[derive(Debug)]
pub(super) struct Board {
    pub(super) phase: Phase,
    /// Workers that wait for something to do.
    pub(super) idle_workers: usize,
    scheduler: Scheduler<Arc<Flight>>,
    /// Rows that wait or run, so that an equal one joins them; empty unless `deduplicate`.
    flights: HashMap<RowKey, Arc<Flight>>,
    cache: Option<ScoreCache>,
    /// Measured time of a worker for a padded token, all that it does for it, in picoseconds, by model.
    token_cost_ps: Vec<u64>,
    learning: Learning,
    statistics: EngineStatistics,
    /// A run is known by its first row.
    pulse: Pulse<Arc<Flight>>,
    settings: EngineSettings,
}

/// Trial runs that are still to be made.
#[derive(Debug, Default)]
struct Learning {
    /// One for each model that is to be learnt.
    trials: VecDeque<Trials>,
    /// Who hears of what was learnt.
    listener: Option<mpsc::Sender<(usize, Calibration)>>,
    /// Whether a trial is under way, and whether nothing else has run since it began.
    is_trying: bool,
    is_undisturbed: bool,
}

/// A run that is made to learn how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) model: usize,
    /// Padded tokens of all its rows together.
    pub(super) tokens: usize,
}

/// The life of an engine: it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Takes nothing new, finishes what waits.
    Draining,
    /// Finishes the runs under way only.
    Stopped,
}

/// A row on its way through the model, and who waits for it.
///
/// It waits in the queue of every caller that asks for it: otherwise a caller's only row could stand behind another's
/// ten thousand because they happen to have it in common. Whichever comes first runs it.
#[derive(Debug)]
pub(super) struct Flight {
    key: RowKey,
    lane: Lane,
    taken: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// It runs, or nobody wants it any more: it must not be run again.
    is_claimed: bool,
    /// Whose queues it waits in.
    callers: Vec<Caller>,
    waiters: Vec<Waiter>,
}

/// A place in a job's results.
#[derive(Debug)]
struct Waiter {
    job: Arc<Job>,
    index: usize,
}

/// The rows of one request.
#[derive(Debug)]
struct Job {
    results: Mutex<Results>,
}

#[derive(Debug)]
struct Results {
    rows: Vec<RowLogits>,
    open: usize,
    /// Taken when the last row is done.
    reply: Option<oneshot::Sender<Vec<RowLogits>>>,
}

/// What a ticket holds of the board.
#[derive(Debug)]
pub(super) struct Claimant {
    job: Arc<Job>,
    flights: Vec<Arc<Flight>>,
}

/// How a run went.
#[derive(Debug)]
pub(super) struct RunOutcome {
    /// Logits of all spans of the batch; `None` where the run failed.
    pub(super) logits: Option<Vec<[f32; 3]>>,
    pub(super) took: Duration,
    /// How much of the worker's time went by for it: also until it got the rows and could tell of the run before.
    pub(super) occupied: Duration,
}

impl Flight {
    pub(super) fn row(&self) -> &Row {
        &self.key.row
    }

    /// Takes it out of the queue to run it; `None` where that has happened.
    fn claim(&self, by: &Arc<str>) -> Claim {
        let mut progress = lock(&self.progress);
        if std::mem::replace(&mut progress.is_claimed, true) {
            return Claim::Void;
        }
        let others = progress.callers.drain(..).map(|caller| Arc::clone(caller.name()));
        Claim::Run { elsewhere: others.filter(|name| name != by).collect() }
    }

    /// Answers all that wait for it, once.
    fn land(&self, logits: &RowLogits) {
        let waiters = std::mem::take(&mut lock(&self.progress).waiters);
        for Waiter { job, index } in waiters {
            job.complete(index, logits.clone());
        }
    }
}

impl Job {
    /// Notes what became of a row; answers the ticket when it was the last one.
    fn complete(&self, index: usize, logits: RowLogits) {
        let mut results = lock(&self.results);
        results.rows[index] = logits;
        results.open -= 1;
        results.answer_if_done();
    }
}

impl Results {
    fn answer_if_done(&mut self) {
        if self.open == 0
            && let Some(reply) = self.reply.take()
        {
            // A ticket that has been dropped wants no answer.
            let _ = reply.send(std::mem::take(&mut self.rows));
        }
    }
}

impl Board {
    pub(super) fn new(models: &[String], settings: EngineSettings) -> Self {
        let of = |name: &String| ModelStatistics { name: name.clone(), ..ModelStatistics::default() };
        Self {
            phase: Phase::Open,
            idle_workers: 0,
            scheduler: Scheduler::new(vec![
                RunShape { run_tokens: settings.run_tokens, start_tokens: 0 };
                models.len()
            ]),
            flights: HashMap::new(),
            cache: ScoreCache::new(settings.cache_bytes),
            token_cost_ps: vec![0; models.len()],
            learning: Learning::default(),
            statistics: EngineStatistics {
                workers: settings.workers,
                models: models.iter().map(of).collect(),
                ..EngineStatistics::default()
            },
            pulse: Pulse::default(),
            settings,
        }
    }

    /// Takes rows, each with the number of its model, all or none of them.
    pub(super) fn submit(
        &mut self,
        rows: Vec<(usize, Row)>,
        caller: &Caller,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(Claimant, oneshot::Receiver<Vec<RowLogits>>), SubmitError> {
        if self.phase != Phase::Open {
            self.statistics.refusals.shutting_down += 1;
            return Err(SubmitError::ShuttingDown);
        }
        let keys: Vec<RowKey> =
            rows.into_iter().map(|(model, row)| RowKey { model, row: Arc::new(row) }).collect();
        let known: Vec<RowLogits> = match &mut self.cache {
            Some(cache) => keys.iter().map(|key| cache.find(key)).collect(),
            None => vec![None; keys.len()],
        };
        let mut tokens = vec![0; self.token_cost_ps.len()];
        for key in keys.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| key) {
            if !self.flights.contains_key(key) {
                tokens[key.model] += self.lane_of(key).padded_tokens;
            }
        }
        self.admit(&tokens, caller, deadline, now)?;

        let open = known.iter().filter(|known| known.is_none()).count();
        let (reply, receiver) = oneshot::channel();
        let results = Results { rows: known, open, reply: Some(reply) };
        let waiting: Vec<usize> = (0..keys.len()).filter(|&index| results.rows[index].is_none()).collect();
        let job = Arc::new(Job { results: Mutex::new(results) });
        lock(&job.results).answer_if_done();
        if self.waiting_rows() == 0 && !waiting.is_empty() {
            self.pulse.fill(now);
        }
        let mut flights: Vec<Arc<Flight>> = Vec::with_capacity(waiting.len());
        for index in waiting {
            let waiter = Waiter { job: Arc::clone(&job), index };
            flights.push(self.board_flight(keys[index].clone(), waiter, caller, now));
        }
        Ok((Claimant { job, flights }, receiver))
    }

    /// Whether work of at least `tokens` of any model would be refused now.
    pub(super) fn foresee_refusal(
        &mut self,
        tokens: usize,
        caller: &Caller,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(), SubmitError> {
        let mut least = vec![0; self.token_cost_ps.len()];
        // The cheapest model, since the request's is not known yet.
        let cheapest = (0..least.len()).min_by_key(|&model| self.token_cost_ps[model]);
        if let Some(cheapest) = cheapest {
            least[cheapest] = tokens;
        }
        self.admit(&least, caller, deadline, now)
    }

    fn admit(
        &mut self,
        tokens: &[usize],
        caller: &Caller,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(), SubmitError> {
        if tokens.iter().all(|&tokens| tokens == 0) {
            return Ok(());
        }
        let mut own = Backlog { tokens: 0, work: Duration::ZERO, weight: f64::from(caller.weight().get()) };
        let mut others = Vec::new();
        for (name, weight, waiting) in self.scheduler.backlogs() {
            let backlog = Backlog {
                tokens: waiting.iter().sum(),
                work: self.work_of(waiting),
                weight: f64::from(weight.get()),
            };
            if name == caller.name() {
                own = Backlog { weight: own.weight, ..backlog };
            } else {
                others.push(backlog);
            }
        }
        let request = Request {
            tokens: tokens.iter().sum(),
            work: self.work_of(tokens),
            time_left: deadline.map(|deadline| deadline.saturating_duration_since(now)),
            own,
            others: &others,
        };
        let admission =
            Admission { workers: self.settings.workers, queue_tokens: self.settings.queue_tokens };
        admission.decide(&request).map_err(|refusal| {
            let refusals = &mut self.statistics.refusals;
            let (count, retry_after) = match refusal {
                Refusal::QueueFull { retry_after } => (&mut refusals.queue_full, retry_after),
                Refusal::Deadline { retry_after } => (&mut refusals.deadline, retry_after),
            };
            *count += 1;
            SubmitError::Overloaded { retry_after }
        })
    }

    /// Time of one worker for so many tokens of each model.
    fn work_of(&self, tokens: &[usize]) -> Duration {
        let picoseconds = tokens
            .iter()
            .zip(&self.token_cost_ps)
            .map(|(&tokens, &cost)| cost.saturating_mul(tokens as u64))
            .fold(0, u64::saturating_add);
        Duration::from_nanos(picoseconds / 1000)
    }

    /// Puts a row into the queue of `caller`, or joins an equal one.
    fn board_flight(&mut self, key: RowKey, waiter: Waiter, caller: &Caller, now: Instant) -> Arc<Flight> {
        let lane = self.lane_of(&key);
        let new = |key| Arc::new(Flight { key, lane, taken: now, progress: Mutex::default() });
        let flight = if !self.settings.deduplicate {
            new(key)
        } else if let Some(flight) = self.flights.get(&key) {
            self.statistics.deduplicated_rows += 1;
            Arc::clone(flight)
        } else {
            let flight = new(key.clone());
            self.flights.insert(key, Arc::clone(&flight));
            flight
        };
        let mut progress = lock(&flight.progress);
        progress.waiters.push(waiter);
        let queues = &mut progress.callers;
        let waits_already = queues.iter().any(|other| other.name() == caller.name());
        if !progress.is_claimed && !waits_already {
            progress.callers.push(caller.clone());
            self.scheduler.push(caller, lane, Arc::clone(&flight));
        }
        drop(progress);
        flight
    }

    /// The next rows to run; `None` where nothing waits. `free` says how many workers have nothing to do, the one
    /// that asks included.
    pub(super) fn next_batch(&mut self, free: usize, now: Instant) -> Option<Batch<Arc<Flight>>> {
        let batch = self.scheduler.next_batch(&self.token_cost_ps, free, |flight, by| flight.claim(by))?;
        self.learning.is_undisturbed = false;
        for flight in &batch.rows {
            self.statistics.waits.note(now.saturating_duration_since(flight.taken));
        }
        if let Some(first) = batch.rows.first() {
            self.pulse.begin(Arc::clone(first), now);
        }
        Some(batch)
    }

    /// Takes the outcome of a run, and returns who is to be told, which needs no board.
    pub(super) fn note_run(
        &mut self,
        batch: Batch<Arc<Flight>>,
        outcome: &RunOutcome,
    ) -> Vec<(Arc<Flight>, RowLogits)> {
        let Batch { lane, rows } = batch;
        if let Some(first) = rows.first() {
            self.pulse.end(|run| Arc::ptr_eq(run, first));
        }
        if outcome.logits.is_some() {
            self.note_cost(lane, rows.len(), outcome.occupied);
        }
        self.statistics.runs.note(outcome.took);
        let model = &mut self.statistics.models[lane.model];
        model.runs += 1;
        model.failed_runs += u64::from(outcome.logits.is_none());
        model.rows += rows.len() as u64;
        model.spans += rows.iter().map(|flight| flight.row().spans.len() as u64).sum::<u64>();
        model.tokens += rows.iter().map(|flight| flight.row().ids.len() as u64).sum::<u64>();
        model.padded_tokens += (rows.len() * lane.padded_tokens) as u64;
        model.busy += outcome.took;

        let mut rest = outcome.logits.as_deref();
        rows.into_iter()
            .map(|flight| {
                let own: RowLogits = rest.map(|all| {
                    let (own, others) = all.split_at(flight.row().spans.len());
                    rest = Some(others);
                    own.into()
                });
                self.flights.remove(&flight.key);
                if let (Some(cache), Some(logits)) = (&mut self.cache, &own) {
                    cache.keep(flight.key.clone(), Arc::clone(logits));
                }
                (flight, own)
            })
            .collect()
    }

    /// Folds the time of a run into the cost of the model's tokens.
    pub(super) fn note_cost(&mut self, lane: Lane, rows: usize, took: Duration) {
        let tokens = (lane.padded_tokens * rows).max(1) as u128;
        let measured = u64::try_from(took.as_nanos() * 1000 / tokens).unwrap_or(u64::MAX).max(1);
        let cost = &mut self.token_cost_ps[lane.model];
        // The first measurement counts whole, the later ones for a sixteenth.
        *cost = if *cost == 0 { measured } else { *cost - *cost / 16 + measured / 16 }.max(1);
    }

    /// What a run of a model is to be like, from now on.
    pub(super) fn set_shape(&mut self, model: usize, shape: RunShape) {
        self.scheduler.set_shape(model, shape);
    }

    fn lane_of(&self, key: &RowKey) -> Lane {
        self.shape(key.model).lane_of(key.model, key.row.ids.len())
    }

    /// What a run of a model is to be like.
    pub(super) fn shape(&self, model: usize) -> RunShape {
        self.scheduler.shapes()[model]
    }

    /// Has these models be learnt when there is time, and `listener` be told.
    pub(super) fn learn(
        &mut self,
        models: impl Iterator<Item = usize>,
        listener: mpsc::Sender<(usize, Calibration)>,
    ) {
        let cost = |model| Duration::from_nanos(self.token_cost_ps[model] / 1000);
        self.learning.trials = models.map(|model| Trials::new(model, cost(model))).collect();
        self.learning.listener = (!self.learning.trials.is_empty()).then_some(listener);
    }

    /// A trial run to make, where all workers but the one that asks are idle and no trial is under way.
    pub(super) fn next_trial(&mut self, free: usize) -> Option<Trial> {
        if free < self.settings.workers || self.learning.is_trying || self.phase != Phase::Open {
            return None;
        }
        while let Some(trials) = self.learning.trials.front() {
            if let Some(tokens) = trials.next() {
                (self.learning.is_trying, self.learning.is_undisturbed) = (true, true);
                return Some(Trial { model: trials.model, tokens });
            }
            self.conclude_trials();
        }
        None
    }

    /// Takes the outcome of a trial. One beside which rows were run says nothing either, and is made again.
    pub(super) fn note_trial(&mut self, outcome: TrialOutcome) {
        self.learning.is_trying = false;
        let Some(trials) = self.learning.trials.front_mut() else { return };
        match outcome {
            TrialOutcome::Took(took) if self.learning.is_undisturbed => trials.note(took),
            // Rows that come and go are no reason to give up.
            TrialOutcome::Took(_) => {}
            TrialOutcome::Disturbed => trials.note_disturbed(),
            // Its model is not learnt.
            TrialOutcome::Failed => drop(self.learning.trials.pop_front()),
        }
        self.end_learning();
    }

    /// Puts what the trials at the front have shown into force, and tells of it.
    fn conclude_trials(&mut self) {
        let Some(trials) = self.learning.trials.pop_front() else { return };
        if let Some(calibration) = trials.conclude() {
            self.apply(trials.model, calibration);
            if let Some(listener) = &self.learning.listener {
                // Nobody need listen.
                let _ = listener.send((trials.model, calibration));
            }
        }
        self.end_learning();
    }

    /// Lets the listener go where there is nothing more to tell.
    fn end_learning(&mut self) {
        if self.learning.trials.is_empty() {
            self.learning.listener = None;
        }
    }

    /// Has runs of a model be as was learnt. Where rows must not be padded further than their lane, that stays so.
    pub(super) fn apply(&mut self, model: usize, calibration: Calibration) {
        let mixes = self.shape(model).start_tokens > 0;
        let start_tokens = if mixes { calibration.start_tokens.max(1) } else { 0 };
        self.set_shape(model, RunShape { run_tokens: calibration.run_tokens, start_tokens });
    }

    /// Takes the rows of a ticket that was given up out of the queue, where nobody else waits for them.
    pub(super) fn abandon(&mut self, claimant: &Claimant) {
        for flight in &claimant.flights {
            let mut progress = lock(&flight.progress);
            let before = progress.waiters.len();
            progress.waiters.retain(|waiter| !Arc::ptr_eq(&waiter.job, &claimant.job));
            let was_wanted = before > progress.waiters.len();
            if !was_wanted || !progress.waiters.is_empty() || progress.is_claimed {
                continue;
            }
            progress.is_claimed = true;
            self.statistics.abandoned_rows += 1;
            for caller in progress.callers.drain(..) {
                self.scheduler.note_void(caller.name(), flight.lane);
            }
            drop(progress);
            self.flights.remove(&flight.key);
        }
        self.scheduler.sweep(|flight| !lock(&flight.progress).is_claimed);
    }

    /// How many rows wait.
    pub(super) fn waiting_rows(&self) -> usize {
        self.scheduler.waiting().rows
    }

    /// Padded tokens that wait of each caller, by model.
    #[cfg(test)]
    pub(super) fn backlogs(&self) -> impl Iterator<Item = &[usize]> {
        self.scheduler.backlogs().map(|(_, _, tokens)| tokens)
    }

    /// Gives up all that waits; who waits learns that there will be no answer.
    pub(super) fn give_up(&mut self) {
        for flight in self.scheduler.drain() {
            let mut progress = lock(&flight.progress);
            if std::mem::replace(&mut progress.is_claimed, true) {
                continue;
            }
            self.flights.remove(&flight.key);
            for Waiter { job, .. } in progress.waiters.drain(..) {
                lock(&job.results).reply = None;
            }
        }
    }

    pub(super) fn statistics(&self, now: Instant) -> EngineStatistics {
        let mut statistics = self.statistics.clone();
        statistics.stalled = self.pulse.stalled(self.waiting_rows() > 0, now);
        let waiting = self.scheduler.waiting();
        for (index, model) in statistics.models.iter_mut().enumerate() {
            model.waiting_rows = waiting.rows_by_model[index];
            model.waiting_tokens = waiting.tokens[index];
            model.run_tokens = self.scheduler.shapes()[index].run_tokens;
            model.token_cost = Duration::from_nanos(self.token_cost_ps[index] / 1000);
        }
        statistics.cache = self.cache.as_ref().map(ScoreCache::statistics).unwrap_or_default();
        statistics
    }
}

impl Claimant {
    /// Whether an answer is still to come.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.job.results).open > 0
    }
}

/// Tells who waits what became of the rows of a run.
pub(super) fn land(flights: Vec<(Arc<Flight>, RowLogits)>) {
    for (flight, logits) in flights {
        flight.land(&logits);
    }
}
