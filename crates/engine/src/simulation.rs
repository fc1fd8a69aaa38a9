//! The board under traffic, with a clock and a model that are only numbers: hours pass in a moment, and every property
//! of the queue can be looked at from outside.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::board::{self, Board, Claimant, Flight, RowLogits, RunOutcome};
use super::calibration::TrialOutcome;
use super::scheduler::{Batch, RunShape};
use super::{Calibration, Caller, EngineSettings, EngineStatistics, SubmitError};
use crate::encode::{Row, RowSpan};

/// What a run takes: a start, and a time for each padded token, by model.
const START: [Duration; 2] = [Duration::from_micros(300), Duration::from_micros(2850)];
const TOKEN: [Duration; 2] = [Duration::from_micros(40), Duration::from_micros(150)];

const SETTINGS: EngineSettings = EngineSettings {
    workers: 2,
    run_tokens: 256,
    queue_tokens: 6000,
    cache_bytes: 0,
    deduplicate: true,
    niceness: 0,
};

/// A request, and when it comes.
#[derive(Clone, Debug)]
struct Arrival {
    at: Duration,
    caller: usize,
    weight: u32,
    /// Model and length in tokens of each row; rows of one length and text number are equal.
    rows: Vec<(usize, usize, u32)>,
    /// How long the client waits.
    patience: Option<Duration>,
    /// Whether the engine is told so.
    says_so: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Refused,
    Answered { at: Duration },
    GivenUp,
}

/// What the start of a run costs in tokens, by model, rounded.
const START_TOKENS: [usize; 2] = [8, 19];

/// What a simulation comes to.
struct Outcome {
    fates: Vec<Fate>,
    statistics: EngineStatistics,
    /// When the last run ended.
    end: Duration,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    RunEnds(usize),
    GiveUp(usize),
    Arrive(usize),
}

struct Simulation<'a> {
    arrivals: &'a [Arrival],
    board: Board,
    start: Instant,
    now: Duration,
    /// By time and order of making.
    events: BTreeMap<(Duration, usize), Event>,
    made: usize,
    workers: Vec<Option<(Batch<Arc<Flight>>, Duration)>>,
    open: HashMap<usize, (Claimant, oneshot::Receiver<Vec<RowLogits>>)>,
    fates: Vec<Option<Fate>>,
    settings: EngineSettings,
}

/// The row of an arrival.
fn row(&(_, length, text): &(usize, usize, u32)) -> Row {
    let mut ids = vec![text; length];
    ids[0] = 101;
    Row { ids, spans: vec![RowSpan::new(0, length - 1), RowSpan::new(0, 0)] }
}

/// What the model says of a row: all that it depends on, so that a mix-up shows.
fn logits_of(row: &Row) -> Vec<[f32; 3]> {
    let text = row.ids.last().copied().unwrap_or_default();
    row.spans.iter().map(|span| [row.ids.len() as f32, text as f32, span.last as f32]).collect()
}

fn simulate(arrivals: &[Arrival], settings: EngineSettings, fails: impl Fn(u64) -> bool) -> Outcome {
    simulate_mixing(arrivals, settings, START_TOKENS, fails)
}

/// [`simulate`] with rows that may be padded for what `start_tokens` say.
fn simulate_mixing(
    arrivals: &[Arrival],
    settings: EngineSettings,
    start_tokens: [usize; 2],
    fails: impl Fn(u64) -> bool,
) -> Outcome {
    let mut simulation = Simulation {
        arrivals,
        board: Board::new(&["cheap".to_owned(), "dear".to_owned()], settings),
        start: Instant::now(),
        now: Duration::ZERO,
        events: BTreeMap::new(),
        made: 0,
        workers: (0..settings.workers).map(|_| None).collect(),
        open: HashMap::new(),
        fates: vec![None; arrivals.len()],
        settings,
    };
    for (model, start_tokens) in start_tokens.into_iter().enumerate() {
        let shape = RunShape { run_tokens: settings.run_tokens, start_tokens };
        simulation.board.set_shape(model, shape);
    }
    for (index, arrival) in arrivals.iter().enumerate() {
        simulation.plan(arrival.at, Event::Arrive(index));
    }
    simulation.run(fails)
}

impl Simulation<'_> {
    fn plan(&mut self, at: Duration, event: Event) {
        self.events.insert((at, self.made), event);
        self.made += 1;
    }

    fn run(mut self, fails: impl Fn(u64) -> bool) -> Outcome {
        let mut runs = 0;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            match event {
                Event::Arrive(index) => self.arrive(index),
                Event::GiveUp(index) => {
                    if let Some((claimant, _)) = self.open.remove(&index) {
                        self.board.abandon(&claimant);
                        self.fates[index] = Some(Fate::GivenUp);
                    }
                }
                Event::RunEnds(worker) => {
                    runs += 1;
                    self.end_run(worker, fails(runs));
                }
            }
            self.start_runs();
            self.check_bounds();
        }
        assert!(self.open.is_empty(), "{} requests were lost", self.open.len());
        assert_eq!(self.board.waiting_rows(), 0);
        Outcome {
            fates: self.fates.into_iter().map(|fate| fate.expect("every arrival has a fate")).collect(),
            statistics: self.board.statistics(self.start + self.now),
            end: self.now,
        }
    }

    fn arrive(&mut self, index: usize) {
        let arrival = &self.arrivals[index];
        let weight = NonZeroU32::new(arrival.weight).expect("weights start at 1");
        let caller = Caller::from(arrival.caller.to_string().as_str()).with_weight(weight);
        let rows = arrival.rows.iter().map(|spec| (spec.0, row(spec))).collect();
        let now = self.start + self.now;
        let deadline = arrival.patience.filter(|_| arrival.says_so).map(|patience| now + patience);
        match self.board.submit(rows, &caller, deadline, now) {
            Ok(taken) => {
                self.open.insert(index, taken);
                if let Some(patience) = arrival.patience {
                    self.plan(self.now + patience, Event::GiveUp(index));
                }
                self.collect();
            }
            Err(SubmitError::Overloaded { retry_after }) => {
                assert!(retry_after < Duration::from_hours(1), "{retry_after:?}");
                self.fates[index] = Some(Fate::Refused);
            }
            Err(SubmitError::ShuttingDown) => panic!("nobody shuts it down"),
        }
    }

    fn start_runs(&mut self) {
        for worker in 0..self.workers.len() {
            if self.workers[worker].is_some() {
                continue;
            }
            let free = self.workers.iter().filter(|run| run.is_none()).count();
            let Some(batch) = self.board.next_batch(free, self.start + self.now) else { return };
            let tokens = batch.rows.len() * batch.lane.padded_tokens;
            assert!(batch.rows.len() == 1 || tokens <= self.settings.run_tokens);
            assert!(batch.rows.iter().all(|flight| flight.row().ids.len() <= batch.lane.padded_tokens));
            let took = START[batch.lane.model]
                + TOKEN[batch.lane.model] * u32::try_from(tokens).expect("a small run");
            self.plan(self.now + took, Event::RunEnds(worker));
            self.workers[worker] = Some((batch, took));
        }
    }

    fn end_run(&mut self, worker: usize, fails: bool) {
        let (batch, took) = self.workers[worker].take().expect("the worker has a run");
        let logits = batch.rows.iter().flat_map(|flight| logits_of(flight.row())).collect();
        let outcome = RunOutcome { logits: (!fails).then_some(logits), took, occupied: took };
        board::land(self.board.note_run(batch, &outcome));
        self.collect();
    }

    /// Looks for answers, and at them.
    fn collect(&mut self) {
        let (now, arrivals, fates) = (self.now, self.arrivals, &mut self.fates);
        self.open.retain(|&index, (_, receiver)| match receiver.try_recv() {
            Ok(answers) => {
                assert_eq!(answers.len(), arrivals[index].rows.len());
                for (answer, spec) in answers.iter().zip(&arrivals[index].rows) {
                    if let Some(logits) = answer {
                        assert_eq!(logits[..], logits_of(&row(spec))[..], "another row's logits");
                    }
                }
                assert_eq!(fates[index].replace(Fate::Answered { at: now }), None, "answered twice");
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(error) => panic!("an answer was dropped: {error}"),
        });
    }

    /// The queue's bound, of which a request that came to an idle engine counts as a caller's share at most.
    fn check_bounds(&self) {
        let share = self.settings.queue_tokens * 3 / 4;
        let held: usize = self.board.backlogs().map(|tokens| tokens.iter().sum::<usize>().min(share)).sum();
        assert!(held <= self.settings.queue_tokens, "{held} tokens wait");
    }
}

fn arrivals(most: usize) -> impl Strategy<Value = Vec<Arrival>> {
    let row = (0_usize..2, 2_usize..140, 0_u32..40);
    let rows = prop_oneof![
        8 => prop::collection::vec(row.clone(), 1..4),
        1 => prop::collection::vec(row, 30..120),
    ];
    let arrival = (0_u64..30_000, 0_usize..4, rows, prop::option::weighted(0.3, 1_u64..400), any::<bool>());
    prop::collection::vec(arrival, 1..most).prop_map(|gaps| {
        let mut at = Duration::ZERO;
        gaps.into_iter()
            .map(|(gap_us, caller, rows, patience_ms, says_so)| {
                at += Duration::from_micros(gap_us);
                let weight = [1, 1, 2, 4][caller];
                Arrival {
                    at,
                    caller,
                    weight,
                    rows,
                    patience: patience_ms.map(Duration::from_millis),
                    says_so,
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing is lost, doubled or mixed up, and no bound is exceeded, whatever comes, fails and is given up, with and
    /// without sharing of equal rows.
    #[test]
    fn every_request_has_one_fate(
        arrivals in arrivals(120),
        deduplicate in any::<bool>(),
        cache_bytes in prop_oneof![Just(0_usize), Just(20_000), Just(10_000_000)],
        failing in 2_u64..20,
    ) {
        let settings = EngineSettings { cache_bytes, deduplicate, ..SETTINGS };
        let Outcome { fates, statistics, .. } = simulate(&arrivals, settings, |run| run % failing == 0);
        let rows = |fate: fn(&Fate) -> bool| -> u64 {
            let chosen = arrivals.iter().zip(&fates).filter(|(_, of)| fate(of));
            chosen.map(|(arrival, _)| arrival.rows.len() as u64).sum()
        };
        let run: u64 = statistics.models.iter().map(|model| model.rows).sum();
        let saved = statistics.deduplicated_rows + statistics.cache.hits;
        let answered = rows(|fate| matches!(fate, Fate::Answered { .. }));
        let taken = answered + rows(|fate| *fate == Fate::GivenUp);
        prop_assert!(run <= taken && run + saved >= answered, "{run} run, {saved} saved, {answered} answered");
        if !deduplicate && cache_bytes == 0 {
            prop_assert_eq!(saved, 0);
            prop_assert_eq!(run + statistics.abandoned_rows, taken);
        }
    }

    /// Whoever is taken is served after a time that what comes later cannot stretch.
    #[test]
    fn nobody_starves(arrivals in arrivals(120)) {
        // Without sharing, so that the bound can be told from what was asked.
        let settings = EngineSettings { deduplicate: false, ..SETTINGS };
        let Outcome { fates, .. } = simulate(&arrivals, settings, |_| false);
        let run = START[1] + TOKEN[1] * 256;
        for (index, (arrival, fate)) in arrivals.iter().zip(&fates).enumerate() {
            let Fate::Answered { at } = *fate else { continue };
            let before = arrivals[..=index].iter().zip(&fates).filter(|(other, fate)| {
                let gone = matches!(**fate, Fate::Answered { at } if at < arrival.at);
                other.caller == arrival.caller && **fate != Fate::Refused && !gone
            });
            let own_rows: usize = before.map(|(other, _)| other.rows.len()).sum();
            // Each turn of the caller runs its oldest row; between two turns the others have theirs, whose weights
            // are 8 together, and a run that was under way or went over its credit.
            let turns = u32::try_from(own_rows).expect("few rows");
            let (bound, waited) = (run * (turns + 2) * 10, at.saturating_sub(arrival.at));
            prop_assert!(waited <= bound, "{index} waited {waited:?}, over {bound:?}");
        }
    }
}

/// The arrivals of `tests/data/arrivals.csv`, so many times as quick.
fn recorded(speed: f64) -> Vec<Arrival> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/arrivals.csv");
    let text = std::fs::read_to_string(path).expect("the recording is in the repository");
    let lines = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    let mut texts = 0;
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [at_ms, caller, language, documents, tokens] = fields[..] else { panic!("{line}") };
            let number = |field: &str| field.parse::<f64>().expect("a number");
            let caller = ["application", "shop", "batch"].iter().position(|name| *name == caller);
            let model = usize::from(language == "nl");
            let documents: usize = documents.parse().expect("a number");
            let mut left = tokens.parse::<usize>().expect("a number") / documents;
            // Windows of at most 120 tokens, as an analyzer makes them.
            let mut windows = Vec::new();
            while left > 0 {
                windows.push(left.min(120) + 2);
                left = left.saturating_sub(120);
            }
            let rows = windows.iter().cycle().take(windows.len() * documents).map(|&length| {
                texts += 1;
                (model, length, texts)
            });
            Arrival {
                at: Duration::from_secs_f64(number(at_ms) / 1000.0 / speed),
                caller: caller.expect("a known caller"),
                weight: 1,
                rows: rows.collect(),
                patience: None,
                says_so: false,
            }
        })
        .collect()
}

/// What came to a real server, at its own speed and at some that are far beyond the workers.
#[test]
fn recorded_arrivals_are_served_fairly_at_any_speed() {
    let settings = EngineSettings { queue_tokens: 10_000_000, ..SETTINGS };
    for (speed, keeps_up) in [(1.0, true), (5.0, true), (100.0, false)] {
        let arrivals = recorded(speed);
        assert!(arrivals.len() > 100);
        let Outcome { fates, statistics, .. } = simulate(&arrivals, settings, |_| false);
        let run: u64 = statistics.models.iter().map(|model| model.rows).sum();
        assert_eq!(run, arrivals.iter().map(|arrival| arrival.rows.len() as u64).sum::<u64>());
        // The application sends single sentences: it waits for a turn of each other caller, not for what they queue.
        let waits =
            arrivals.iter().zip(&fates).filter(|(arrival, _)| arrival.caller == 0).map(|(arrival, fate)| {
                let Fate::Answered { at } = *fate else { panic!("there is room for all") };
                at.saturating_sub(arrival.at)
            });
        let longest = waits.max().expect("it sends some");
        let dearest_run = START[1] + TOKEN[1] * 256;
        assert!(!keeps_up || longest <= dearest_run * 6, "{longest:?} at {speed} times the speed");
    }
}

/// A caller that keeps thousands of rows waiting, and one that sends a sentence now and then.
#[test]
fn a_sentence_waits_for_a_few_runs_whatever_another_has_queued() {
    let bulk = (0..40).map(|turn| Arrival {
        at: Duration::from_millis(turn * 50),
        caller: 0,
        weight: 1,
        rows: (0..100).map(|text| (0, 40, u32::try_from(turn).unwrap_or(0) * 100 + text)).collect(),
        patience: None,
        says_so: false,
    });
    let singles = (0..60).map(|turn| Arrival {
        at: Duration::from_micros(13_000 + turn * 31_700),
        caller: 1,
        weight: 1,
        rows: vec![(0, 24, 100_000 + u32::try_from(turn).unwrap_or(0))],
        patience: None,
        says_so: false,
    });
    let arrivals: Vec<Arrival> = bulk.chain(singles).collect();
    let settings = EngineSettings { queue_tokens: 1_000_000, ..SETTINGS };
    let Outcome { fates, end, .. } = simulate(&arrivals, settings, |_| false);
    let run = START[0] + TOKEN[0] * 256;
    for (arrival, fate) in arrivals.iter().zip(&fates).filter(|(arrival, _)| arrival.caller == 1) {
        let Fate::Answered { at } = *fate else { panic!("there is room for all") };
        // A run under way on each worker, what is left of the other's turn, and its own.
        let waited = at.saturating_sub(arrival.at);
        assert!(waited <= run * 4, "waited {waited:?}, a run takes {run:?}");
    }
    assert!(end > Duration::from_secs(3), "the bulk took until {end:?}, long after the last sentence");
}

/// Ten times what can be done is asked for, by callers who say how long they wait.
#[test]
fn overload_does_not_keep_the_workers_from_useful_work() {
    let arrivals: Vec<Arrival> = (0..20_000_u32)
        .map(|turn| Arrival {
            at: Duration::from_micros(100) * turn,
            caller: turn as usize % 3,
            weight: 1,
            rows: vec![(0, 40, turn)],
            patience: Some(Duration::from_millis(200)),
            says_so: true,
        })
        .collect();
    let settings = EngineSettings { queue_tokens: 60_000, ..SETTINGS };
    let Outcome { fates, statistics, .. } = simulate(&arrivals, settings, |_| false);
    let answered = fates.iter().filter(|fate| matches!(fate, Fate::Answered { .. })).count() as f64;
    // Six rows of 40 tokens in a run of two workers, over two seconds.
    let run = START[0] + TOKEN[0] * 240;
    let capacity = 2.0 * 6.0 * 2.0 / run.as_secs_f64();
    assert!(capacity < 3000.0, "the load is many times the capacity of {capacity}");
    assert!(answered >= 0.9 * capacity, "{answered} answered of a capacity of {capacity}");
    let given_up = fates.iter().filter(|fate| **fate == Fate::GivenUp).count() as f64;
    assert!(given_up <= 0.02 * answered, "{given_up} were taken and not done in time");
    assert!(statistics.refusals.deadline > 0);
}

/// A caller's only row is not held up by standing in another's long queue too.
#[test]
fn a_row_in_common_comes_with_the_shorter_queue() {
    let bulk = Arrival {
        at: Duration::ZERO,
        caller: 0,
        weight: 1,
        rows: (0..130).map(|text| (0, 40, text)).collect(),
        patience: None,
        says_so: false,
    };
    let single =
        Arrival { at: Duration::from_millis(1), caller: 1, rows: vec![(0, 40, 129)], ..bulk.clone() };
    let Outcome { fates, statistics, .. } = simulate(&[bulk, single], SETTINGS, |_| false);
    let [Fate::Answered { at: all }, Fate::Answered { at: one }] = fates[..] else { panic!("{fates:?}") };
    assert!(one * 3 < all, "{one:?} against {all:?}");
    assert_eq!((statistics.models[0].rows, statistics.deduplicated_rows), (130, 1));
}

/// Lanes of their very length that fill runs together, against lanes of eight lengths that keep apart: small queues of single
/// sentences, as so many callers keep them up.
#[test]
fn mixing_lanes_saves_padding_and_starts() {
    let lengths = [14, 22, 27, 30, 33, 41, 24, 19, 36, 28];
    for (model, callers) in [0, 1].into_iter().flat_map(|model| [2, 4, 8, 16].map(|callers| (model, callers)))
    {
        let burst = |burst: u32| {
            (0..callers).map(move |caller: u32| {
                let length = lengths[(burst * 7 + caller * 3) as usize % lengths.len()];
                Arrival {
                    at: Duration::from_millis(150) * burst,
                    caller: caller as usize,
                    weight: 1,
                    rows: vec![(model, length, burst * 100 + caller)],
                    patience: None,
                    says_so: false,
                }
            })
        };
        let arrivals: Vec<Arrival> = (0..200).flat_map(burst).collect();
        let settings = EngineSettings { workers: 1, queue_tokens: 1_000_000, ..SETTINGS };
        let [apart, mixed] = [[0; 2], START_TOKENS].map(|start_tokens| {
            let outcome = simulate_mixing(&arrivals, settings, start_tokens, |_| false);
            outcome.statistics.models[model].clone()
        });
        assert_eq!((apart.rows, mixed.rows), (arrivals.len() as u64, arrivals.len() as u64));
        let saved = 1.0 - mixed.busy.as_secs_f64() / apart.busy.as_secs_f64();
        println!(
            "a start of {} tokens, {callers} callers: {} runs and {}, padded tokens {} and {}, time saved {:.1} %",
            START_TOKENS[model],
            apart.runs,
            mixed.runs,
            apart.padded_tokens,
            mixed.padded_tokens,
            saved * 100.0
        );
        assert!(saved > 0.0, "{saved}");
    }
}

/// Trials are made while nothing waits, again where something came between, and never beside one another.
#[test]
fn trials_fill_idle_moments_and_wait_for_no_one() {
    let mut board = Board::new(&["cheap".to_owned(), "dear".to_owned()], SETTINGS);
    let (tell, told) = std::sync::mpsc::channel();
    board.learn([0].into_iter(), tell);
    assert_eq!(board.next_trial(1), None, "the other worker is busy");
    let first = board.next_trial(2).expect("all are idle");
    assert_eq!(board.next_trial(2), None, "one at a time");

    let start = Instant::now();
    let spec = (0, 40, 1);
    let taken = board.submit(vec![(0, row(&spec))], &Caller::from("a"), None, start).expect("it is idle");
    let batch = board.next_batch(1, start).expect("a row waits");
    board.note_trial(TrialOutcome::Took(START[0]));
    assert_eq!(board.next_trial(2), Some(first), "what was disturbed is made again");
    board.note_trial(TrialOutcome::Took(Duration::from_millis(2)));
    let outcome = RunOutcome { logits: Some(logits_of(&row(&spec))), took: START[0], occupied: START[0] };
    board::land(board.note_run(batch, &outcome));
    drop(taken);

    while let Some(trial) = board.next_trial(2) {
        assert_eq!(trial.model, 0);
        let tokens = u32::try_from(trial.tokens).expect("a small run");
        board.note_trial(TrialOutcome::Took(START[0] + TOKEN[0] * tokens));
    }
    let learnt: Vec<(usize, Calibration)> = told.iter().collect();
    let [(0, Calibration { run_tokens, start_tokens })] = learnt[..] else { panic!("{learnt:?}") };
    assert!([128, 256].contains(&run_tokens), "{run_tokens}");
    assert_eq!(start_tokens, 8);
    assert_eq!(board.shape(0), RunShape { run_tokens, start_tokens: 0 }, "rows stay in their lanes");
    assert_eq!(board.shape(1).run_tokens, SETTINGS.run_tokens);
}

/// A trial that fails ends the learning of its model alone.
#[test]
fn a_model_whose_trial_fails_keeps_its_shape() {
    let mut board = Board::new(&["cheap".to_owned(), "dear".to_owned()], SETTINGS);
    let (tell, told) = std::sync::mpsc::channel();
    board.learn(0..2, tell);
    assert_eq!(board.next_trial(2).map(|trial| trial.model), Some(0));
    board.note_trial(TrialOutcome::Failed);
    while let Some(trial) = board.next_trial(2) {
        assert_eq!(trial.model, 1);
        board.note_trial(TrialOutcome::Took(Duration::from_millis(1)));
    }
    assert_eq!(told.iter().map(|(model, _)| model).collect::<Vec<_>>(), [1]);
    assert_eq!(board.shape(0).run_tokens, SETTINGS.run_tokens);
}
