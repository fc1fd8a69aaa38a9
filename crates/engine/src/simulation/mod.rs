//! Simulates the scheduler state under traffic, with a clock and a model that are plain numbers: hours pass in a
//! moment, and every property of the queue can be checked from outside.

mod traffic;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::in_flight::{Claimant, InFlight, JobOutputs, SequenceKey};
use super::scheduler::{Batch, BatchShape, LengthBucket};
use super::state::{BatchOutcome, ExpectedTokens, SchedulerState, deliver};
use super::{
    BatchOutput, Caller, EngineSettings, EngineStatistics, OutputLayout, SequenceOutput, SubmitError,
};
use crate::encode::{Sequence, SequenceSpan};

/// Time of a batch: a fixed part, and a part for each padded token, by model.
const OVERHEAD: [Duration; 2] = [Duration::from_micros(300), Duration::from_micros(2850)];
const TOKEN: [Duration; 2] = [Duration::from_micros(40), Duration::from_micros(150)];

const SETTINGS: EngineSettings = EngineSettings {
    workers: 2,
    max_batch_tokens: 256,
    max_queued_tokens: 6000,
    cache_bytes: 0,
    deduplicate: true,
    niceness: 0,
};

/// Callers from this number on are in the background.
const BACKGROUND: usize = 100;

/// A request, and when it comes.
#[derive(Clone, Debug)]
struct Arrival {
    at: Duration,
    caller: usize,
    weight: u32,
    sequences: Vec<Spec>,
    /// How long the client waits.
    timeout: Option<Duration>,
    /// Whether the engine knows the timeout as a deadline.
    has_deadline: bool,
}

/// Model, length in tokens and text number of a sequence. Sequences with equal numbers are equal.
type Spec = (usize, usize, u32);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Rejected,
    Answered { at: Duration },
    Withdrawn,
}

/// The fixed part of a batch in tokens, by model, rounded.
const OVERHEAD_TOKENS: [usize; 2] = [8, 19];

/// Result of a simulation.
struct Outcome {
    fates: Vec<Fate>,
    statistics: EngineStatistics,
    /// When the last batch ended.
    end: Duration,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    BatchEnds(usize),
    Withdraw(usize),
    Arrive(usize),
}

struct Simulation<'a> {
    arrivals: &'a [Arrival],
    state: SchedulerState,
    start: Instant,
    now: Duration,
    /// By time and order of planning.
    events: BTreeMap<(Duration, usize), Event>,
    planned: usize,
    workers: Vec<Option<(Batch<Arc<InFlight>>, Duration)>>,
    open: HashMap<usize, (Claimant, oneshot::Receiver<JobOutputs>)>,
    fates: Vec<Option<Fate>>,
    settings: EngineSettings,
}

fn sequence(&(_, length, text): &Spec) -> Sequence {
    let mut ids = vec![text; length];
    ids[0] = 101;
    Sequence { ids, spans: vec![SequenceSpan::new(0, length - 1), SequenceSpan::new(0, 0)] }
}

/// The model's output for a sequence: everything that it depends on, so that a mix-up is visible.
fn output(sequence: &Sequence) -> SequenceOutput {
    let text = sequence.ids.last().copied().unwrap_or_default();
    let row = |span: &SequenceSpan| [sequence.ids.len() as f32, text as f32, span.last as f32];
    let values: Vec<f32> = sequence.spans.iter().flat_map(row).collect();
    let batch = BatchOutput::new(OutputLayout::per_span("logits", 3), vec![values]);
    batch.split(&[sequence]).expect("a row for each span").remove(0)
}

fn simulate(arrivals: &[Arrival], settings: EngineSettings, fails: impl Fn(u64) -> bool) -> Outcome {
    simulate_merging(arrivals, settings, OVERHEAD_TOKENS, fails)
}

/// [`simulate`] with length buckets that are merged as `overhead_tokens` allow.
fn simulate_merging(
    arrivals: &[Arrival],
    settings: EngineSettings,
    overhead_tokens: [usize; 2],
    fails: impl Fn(u64) -> bool,
) -> Outcome {
    let mut simulation = Simulation {
        arrivals,
        state: SchedulerState::new(&["cheap".to_owned(), "dear".to_owned()], settings),
        start: Instant::now(),
        now: Duration::ZERO,
        events: BTreeMap::new(),
        planned: 0,
        workers: (0..settings.workers).map(|_| None).collect(),
        open: HashMap::new(),
        fates: vec![None; arrivals.len()],
        settings,
    };
    for (model, overhead_tokens) in overhead_tokens.into_iter().enumerate() {
        let shape = BatchShape { max_tokens: settings.max_batch_tokens, overhead_tokens };
        simulation.state.set_shape(model, shape);
    }
    for (index, arrival) in arrivals.iter().enumerate() {
        simulation.plan(arrival.at, Event::Arrive(index));
    }
    simulation.run(fails)
}

impl Simulation<'_> {
    fn plan(&mut self, at: Duration, event: Event) {
        self.events.insert((at, self.planned), event);
        self.planned += 1;
    }

    fn run(mut self, fails: impl Fn(u64) -> bool) -> Outcome {
        let mut batches = 0;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            match event {
                Event::Arrive(index) => self.arrive(index),
                Event::Withdraw(index) => {
                    if let Some((claimant, _)) = self.open.remove(&index) {
                        self.state.withdraw(&claimant);
                        self.fates[index] = Some(Fate::Withdrawn);
                    }
                }
                Event::BatchEnds(worker) => {
                    batches += 1;
                    self.end_batch(worker, fails(batches));
                }
            }
            self.start_batches();
            self.check_bounds();
        }
        assert!(self.open.is_empty(), "{} requests were lost", self.open.len());
        assert_eq!(self.state.queued_sequences(), 0);
        Outcome {
            fates: self.fates.into_iter().map(|fate| fate.expect("every arrival has a fate")).collect(),
            statistics: self.state.statistics(self.start + self.now),
            end: self.now,
        }
    }

    fn arrive(&mut self, index: usize) {
        let arrival = &self.arrivals[index];
        let weight = NonZeroU32::new(arrival.weight).expect("weights start at 1");
        let caller = Caller::from(arrival.caller.to_string().as_str()).with_weight(weight);
        let caller = if arrival.caller >= BACKGROUND { caller.in_background() } else { caller };
        let keys = arrival.sequences.iter().map(|spec| SequenceKey::new(spec.0, Arc::new(sequence(spec))));
        let keys = keys.collect();
        let now = self.start + self.now;
        let deadline = arrival.timeout.filter(|_| arrival.has_deadline).map(|timeout| now + timeout);
        match self.state.submit(keys, &caller, deadline, now) {
            Ok(taken) => {
                self.open.insert(index, taken);
                if let Some(timeout) = arrival.timeout {
                    self.plan(self.now + timeout, Event::Withdraw(index));
                }
                self.collect();
            }
            Err(SubmitError::Overloaded { retry_after }) => {
                assert!(retry_after < Duration::from_hours(1), "{retry_after:?}");
                self.fates[index] = Some(Fate::Rejected);
            }
            Err(SubmitError::TooLong { needed }) => {
                assert!(arrival.timeout.is_some_and(|timeout| needed > timeout), "{needed:?}");
                self.fates[index] = Some(Fate::Rejected);
            }
            Err(SubmitError::ShuttingDown) => panic!("nobody shuts it down"),
        }
    }

    fn start_batches(&mut self) {
        for worker in 0..self.workers.len() {
            if self.workers[worker].is_some() {
                continue;
            }
            let idle = self.workers.iter().filter(|batch| batch.is_none()).count();
            let Some(batch) = self.state.next_batch(idle, self.start + self.now) else { return };
            let LengthBucket { model, padded_tokens } = batch.bucket;
            let tokens = batch.sequences.len() * padded_tokens;
            assert!(batch.sequences.len() == 1 || tokens <= self.settings.max_batch_tokens);
            assert!(batch.sequences.iter().all(|one| one.sequence().ids.len() <= padded_tokens));
            let took = OVERHEAD[model] + TOKEN[model] * u32::try_from(tokens).expect("a small batch");
            self.plan(self.now + took, Event::BatchEnds(worker));
            self.workers[worker] = Some((batch, took));
        }
    }

    fn end_batch(&mut self, worker: usize, fails: bool) {
        let (batch, took) = self.workers[worker].take().expect("the worker has a batch");
        let outputs = batch.sequences.iter().map(|one| (!fails).then(|| output(one.sequence()))).collect();
        let outcome = BatchOutcome { outputs, failed_as_batch: fails, took, occupied: took };
        deliver(self.state.complete_batch(batch, outcome));
        self.collect();
    }

    /// Collects the answers that have come, and checks them.
    fn collect(&mut self) {
        let (now, arrivals, fates) = (self.now, self.arrivals, &mut self.fates);
        self.open.retain(|&index, (_, receiver)| match receiver.try_recv() {
            Ok(answers) => {
                assert_eq!(answers.len(), arrivals[index].sequences.len());
                for (answer, spec) in answers.iter().zip(&arrivals[index].sequences) {
                    if let Some(answer) = answer {
                        assert_eq!(*answer, output(&sequence(spec)), "the output of another sequence");
                    }
                }
                assert_eq!(fates[index].replace(Fate::Answered { at: now }), None, "answered twice");
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(error) => panic!("an answer was dropped: {error}"),
        });
    }

    /// Checks the bound of the queue. A request that came to an idle engine counts as a caller's share at most.
    fn check_bounds(&self) {
        let share = self.settings.max_queued_tokens * 3 / 4;
        let held: usize = self.state.backlogs().map(|load| load.iter().sum::<usize>().min(share)).sum();
        assert!(held <= self.settings.max_queued_tokens, "{held} tokens are queued");
    }
}
