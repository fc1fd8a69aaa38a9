//! Properties of the queue under random, recorded and hostile traffic.

use super::*;

fn arrivals(most: usize) -> impl Strategy<Value = Vec<Arrival>> {
    let spec = (0_usize..2, 2_usize..140, 0_u32..40);
    let sequences = prop_oneof![
        8 => prop::collection::vec(spec.clone(), 1..4),
        1 => prop::collection::vec(spec, 30..120),
    ];
    let arrival =
        (0_u64..30_000, 0_usize..4, sequences, prop::option::weighted(0.3, 1_u64..400), any::<bool>());
    prop::collection::vec(arrival, 1..most).prop_map(|gaps| {
        let mut at = Duration::ZERO;
        gaps.into_iter()
            .map(|(gap_us, caller, sequences, timeout_ms, has_deadline)| {
                at += Duration::from_micros(gap_us);
                let weight = [1, 1, 2, 4][caller];
                Arrival {
                    at,
                    caller,
                    weight,
                    sequences,
                    timeout: timeout_ms.map(Duration::from_millis),
                    has_deadline,
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A job that always has work queued holds up a single sentence by a batch at most, and never has it rejected.
    #[test]
    fn a_single_sentence_waits_for_one_batch_of_the_background_at_most(
        gaps in prop::collection::vec(40_u64..120, 1..40),
        length in 2_usize..60,
        job_length in 2_usize..140,
    ) {
        let online = gaps.iter().scan(Duration::ZERO, |at, gap| {
            *at += Duration::from_millis(*gap);
            let sequences = vec![(0, length, u32::try_from(at.as_micros()).unwrap_or(u32::MAX))];
            Some(Arrival { at: *at, caller: 0, weight: 1, sequences, timeout: None, has_deadline: false })
        });
        let end = Duration::from_millis(gaps.iter().sum());
        let mut text = 0;
        let job = (0..).map(|step| Duration::from_millis(step * 20)).take_while(|at| *at < end).map(|at| {
            let sequences = (0..2000 / job_length).map(|_| {
                text += 1;
                (0, job_length, 1_000_000_000 + text)
            });
            let sequences = sequences.collect();
            Arrival { at, caller: BACKGROUND, weight: 1, sequences, timeout: None, has_deadline: false }
        });
        let mut arrivals: Vec<Arrival> = online.chain(job).collect();
        arrivals.sort_by_key(|arrival| arrival.at);
        let settings = EngineSettings { deduplicate: false, ..SETTINGS };
        let Outcome { fates, .. } = simulate(&arrivals, settings, |_| false);
        let longest = |tokens: usize| OVERHEAD[0] + TOKEN[0] * u32::try_from(tokens).unwrap_or(u32::MAX);
        let bound = longest(SETTINGS.max_batch_tokens.max(job_length)) + longest(SETTINGS.max_batch_tokens);
        for (arrival, fate) in arrivals.iter().zip(&fates).filter(|(arrival, _)| arrival.caller == 0) {
            let Fate::Answered { at } = fate else { return Err(TestCaseError::fail(format!("{fate:?}"))) };
            let waited = at.saturating_sub(arrival.at);
            prop_assert!(waited <= bound, "{waited:?} after {:?}", arrival.at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing is lost, doubled or mixed up, and no bound is exceeded, whatever comes, fails and is withdrawn, with and
    /// without sharing of equal sequences.
    #[test]
    fn every_request_has_exactly_one_outcome(
        arrivals in arrivals(120),
        deduplicate in any::<bool>(),
        cache_bytes in prop_oneof![Just(0_usize), Just(20_000), Just(10_000_000)],
        failing in 2_u64..20,
    ) {
        let settings = EngineSettings { cache_bytes, deduplicate, ..SETTINGS };
        let Outcome { fates, statistics, .. } = simulate(&arrivals, settings, |batch| batch % failing == 0);
        let count = |is_counted: fn(&Fate) -> bool| -> u64 {
            let counted = arrivals.iter().zip(&fates).filter(|(_, fate)| is_counted(fate));
            counted.map(|(arrival, _)| arrival.sequences.len() as u64).sum()
        };
        let scored: u64 = statistics.models.iter().map(|model| model.sequences).sum();
        let saved = statistics.deduplicated_sequences + statistics.cache.hits;
        let answered = count(|fate| matches!(fate, Fate::Answered { .. }));
        let accepted = answered + count(|fate| *fate == Fate::Withdrawn);
        prop_assert!(scored <= accepted, "{scored} of {accepted} scored");
        prop_assert!(scored + saved >= answered, "{scored} scored, {saved} saved, {answered} answered");
        if !deduplicate && cache_bytes == 0 {
            prop_assert_eq!(saved, 0);
            prop_assert_eq!(scored + statistics.abandoned_sequences, accepted);
        }
    }

    /// Later arrivals cannot stretch the time until an accepted request is answered.
    #[test]
    fn no_caller_starves(arrivals in arrivals(120)) {
        // Without sharing, so that the bound follows from the requests alone.
        let settings = EngineSettings { deduplicate: false, ..SETTINGS };
        let Outcome { fates, .. } = simulate(&arrivals, settings, |_| false);
        let batch = OVERHEAD[1] + TOKEN[1] * 256;
        for (index, (arrival, fate)) in arrivals.iter().zip(&fates).enumerate() {
            let Fate::Answered { at } = *fate else { continue };
            let before = arrivals[..=index].iter().zip(&fates).filter(|(other, fate)| {
                let gone = matches!(**fate, Fate::Answered { at } if at < arrival.at);
                other.caller == arrival.caller && **fate != Fate::Rejected && !gone
            });
            let own: usize = before.map(|(other, _)| other.sequences.len()).sum();
            // Each turn of the caller scores its oldest sequence. Between two turns the others have theirs, whose weights
            // are 8 together, and a batch that was under way or went over its share.
            let turns = u32::try_from(own).expect("few sequences");
            let (bound, waited) = (batch * (turns + 2) * 10, at.saturating_sub(arrival.at));
            prop_assert!(waited <= bound, "{index} waited {waited:?}, over {bound:?}");
        }
    }
}

/// The arrivals of `tests/data/arrivals.csv`, `speed` times as fast.
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
            let sequences = windows.iter().cycle().take(windows.len() * documents).map(|&length| {
                texts += 1;
                (model, length, texts)
            });
            Arrival {
                at: Duration::from_secs_f64(number(at_ms) / 1000.0 / speed),
                caller: caller.expect("a known caller"),
                weight: 1,
                sequences: sequences.collect(),
                timeout: None,
                has_deadline: false,
            }
        })
        .collect()
}

/// The requests of a real server, at their own speed and far faster than the workers can follow.
#[test]
fn recorded_arrivals_are_served_fairly_at_any_speed() {
    let settings = EngineSettings { max_queued_tokens: 10_000_000, ..SETTINGS };
    for (speed, keeps_up) in [(1.0, true), (5.0, true), (100.0, false)] {
        let arrivals = recorded(speed);
        assert!(arrivals.len() > 100);
        let Outcome { fates, statistics, .. } = simulate(&arrivals, settings, |_| false);
        let scored: u64 = statistics.models.iter().map(|model| model.sequences).sum();
        assert_eq!(scored, arrivals.iter().map(|arrival| arrival.sequences.len() as u64).sum::<u64>());
        // The application sends single sentences: it waits for a turn of each other caller, not for what they queue.
        let waits =
            arrivals.iter().zip(&fates).filter(|(arrival, _)| arrival.caller == 0).map(|(arrival, fate)| {
                let Fate::Answered { at } = *fate else { panic!("there is room for all") };
                at.saturating_sub(arrival.at)
            });
        let longest = waits.max().expect("it sends some");
        let dearest_batch = OVERHEAD[1] + TOKEN[1] * 256;
        assert!(!keeps_up || longest <= dearest_batch * 6, "{longest:?} at {speed} times the speed");
    }
}

/// A caller that keeps thousands of sequences queued, and one that sends a sentence now and then.
#[test]
fn a_sentence_waits_for_a_few_batches_whatever_another_caller_has_queued() {
    let bulk = (0..40).map(|turn| Arrival {
        at: Duration::from_millis(turn * 50),
        caller: 0,
        weight: 1,
        sequences: (0..100).map(|text| (0, 40, u32::try_from(turn).unwrap_or(0) * 100 + text)).collect(),
        timeout: None,
        has_deadline: false,
    });
    let singles = (0..60).map(|turn| Arrival {
        at: Duration::from_micros(13_000 + turn * 31_700),
        caller: 1,
        weight: 1,
        sequences: vec![(0, 24, 100_000 + u32::try_from(turn).unwrap_or(0))],
        timeout: None,
        has_deadline: false,
    });
    let arrivals: Vec<Arrival> = bulk.chain(singles).collect();
    let settings = EngineSettings { max_queued_tokens: 1_000_000, ..SETTINGS };
    let Outcome { fates, end, .. } = simulate(&arrivals, settings, |_| false);
    let batch = OVERHEAD[0] + TOKEN[0] * 256;
    for (arrival, fate) in arrivals.iter().zip(&fates).filter(|(arrival, _)| arrival.caller == 1) {
        let Fate::Answered { at } = *fate else { panic!("there is room for all") };
        // A batch under way on each worker, the rest of the other caller's turn, and its own batch.
        let waited = at.saturating_sub(arrival.at);
        assert!(waited <= batch * 4, "waited {waited:?}, a batch takes {batch:?}");
    }
    assert!(end > Duration::from_secs(3), "the bulk took until {end:?}, long after the last sentence");
}

/// Callers with deadlines ask for ten times what the workers can do.
#[test]
fn overload_does_not_keep_the_workers_from_useful_work() {
    let arrivals: Vec<Arrival> = (0..20_000_u32)
        .map(|turn| Arrival {
            at: Duration::from_micros(100) * turn,
            caller: turn as usize % 3,
            weight: 1,
            sequences: vec![(0, 40, turn)],
            timeout: Some(Duration::from_millis(200)),
            has_deadline: true,
        })
        .collect();
    let settings = EngineSettings { max_queued_tokens: 60_000, ..SETTINGS };
    let Outcome { fates, statistics, .. } = simulate(&arrivals, settings, |_| false);
    let answered = fates.iter().filter(|fate| matches!(fate, Fate::Answered { .. })).count() as f64;
    // Six sequences of 40 tokens in a batch, two workers, two seconds.
    let batch = OVERHEAD[0] + TOKEN[0] * 240;
    let capacity = 2.0 * 6.0 * 2.0 / batch.as_secs_f64();
    assert!(capacity < 3000.0, "the load is many times the capacity of {capacity}");
    assert!(answered >= 0.9 * capacity, "{answered} answered of a capacity of {capacity}");
    let withdrawn = fates.iter().filter(|fate| **fate == Fate::Withdrawn).count() as f64;
    assert!(withdrawn <= 0.02 * answered, "{withdrawn} were accepted and not answered in time");
    assert!(statistics.rejections.deadline > 0);
}

/// A caller's only sequence does not wait for another caller's long queue that contains it too.
#[test]
fn a_shared_sequence_is_served_with_the_shorter_queue() {
    let bulk = Arrival {
        at: Duration::ZERO,
        caller: 0,
        weight: 1,
        sequences: (0..130).map(|text| (0, 40, text)).collect(),
        timeout: None,
        has_deadline: false,
    };
    let single =
        Arrival { at: Duration::from_millis(1), caller: 1, sequences: vec![(0, 40, 129)], ..bulk.clone() };
    let Outcome { fates, statistics, .. } = simulate(&[bulk, single], SETTINGS, |_| false);
    let [Fate::Answered { at: all }, Fate::Answered { at: one }] = fates[..] else { panic!("{fates:?}") };
    assert!(one * 3 < all, "{one:?} against {all:?}");
    assert_eq!((statistics.models[0].sequences, statistics.deduplicated_sequences), (130, 1));
}

/// Buckets of one length that are merged, against buckets of eight lengths that are not: short queues of single sentences, as
/// several callers keep them filled.
#[test]
fn merging_buckets_saves_padding_and_batches() {
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
                    sequences: vec![(model, length, burst * 100 + caller)],
                    timeout: None,
                    has_deadline: false,
                }
            })
        };
        let arrivals: Vec<Arrival> = (0..200).flat_map(burst).collect();
        let settings = EngineSettings { workers: 1, max_queued_tokens: 1_000_000, ..SETTINGS };
        let [apart, merged] = [[0; 2], OVERHEAD_TOKENS].map(|overhead_tokens| {
            let outcome = simulate_merging(&arrivals, settings, overhead_tokens, |_| false);
            outcome.statistics.models[model].clone()
        });
        assert_eq!((apart.sequences, merged.sequences), (arrivals.len() as u64, arrivals.len() as u64));
        let saved = 1.0 - merged.busy.as_secs_f64() / apart.busy.as_secs_f64();
        println!(
            "an overhead of {} tokens, {callers} callers: {} batches and {}, padded tokens {} and {}, time saved {:.1} %",
            OVERHEAD_TOKENS[model],
            apart.batches,
            merged.batches,
            apart.padded_tokens,
            merged.padded_tokens,
            saved * 100.0
        );
        assert!(saved > 0.0, "{saved}");
    }
}

/// Scores sequences that come alone, one after another.
fn score_each(state: &mut SchedulerState, sequence: &Sequence, times: usize, now: Instant) {
    for _ in 0..times {
        let submitted = state.submit(keys(sequence.clone()), &Caller::from("any"), None, now);
        let accepted = submitted.expect("nothing is queued");
        let batch = state.next_batch(1, now).expect("it is queued");
        let tokens = u32::try_from(batch.bucket.padded_tokens).expect("a short sequence");
        let spans = u32::try_from(sequence.spans.len()).expect("few spans");
        let took = OVERHEAD[0] + TOKEN[0] * tokens + TOKEN[0] / 16 * spans;
        let outputs = vec![Some(output(sequence))];
        let outcome = BatchOutcome { outputs, failed_as_batch: false, took, occupied: took };
        deliver(state.complete_batch(batch, outcome));
        drop(accepted);
    }
}

/// A request of one sequence of the first model.
fn keys(sequence: Sequence) -> Vec<SequenceKey> {
    vec![SequenceKey::new(0, Arc::new(sequence))]
}

/// A sequence is charged for its answer as well as for its text.
#[test]
fn spans_count_toward_the_bound_of_the_queue() {
    let now = Instant::now();
    let settings = EngineSettings { max_queued_tokens: 2000, ..SETTINGS };
    let mut state = SchedulerState::new(&["cheap".to_owned()], settings);
    let _queued = state.submit(keys(sequence(&(0, 16, 1))), &Caller::from("busy"), None, now);
    let mut submit = |spans| {
        let dense = Sequence { ids: vec![7; 16], spans: vec![SequenceSpan::new(0, 15); spans] };
        state.submit(keys(dense), &Caller::from("dense"), None, now)
    };
    assert!(matches!(submit(10_000), Err(SubmitError::Overloaded { .. })), "40,000 tokens of answer");
    submit(3).expect("three spans are few");
}

/// What one caller sends does not change what another is admitted for, though a batch of one short sequence takes twice as
/// long for each of its tokens as a full batch.
#[test]
fn odd_batches_do_not_change_the_admission_of_others() {
    let now = Instant::now();
    let ordinary = Sequence { ids: vec![1; 32], spans: vec![SequenceSpan::new(0, 1)] };
    let short = Sequence { ids: vec![1; 2], ..ordinary.clone() };
    let dense = Sequence { spans: vec![SequenceSpan::new(0, 1); 400], ..ordinary.clone() };
    for (what, odd) in [("nothing odd", None), ("short", Some(short)), ("dense", Some(dense))] {
        let settings = EngineSettings { max_queued_tokens: 1_000_000, ..SETTINGS };
        let mut state = SchedulerState::new(&["cheap".to_owned()], settings);
        score_each(&mut state, &ordinary, 40, now);
        if let Some(odd) = &odd {
            score_each(&mut state, odd, 60, now);
        }
        let _queued = state.submit(keys(ordinary.clone()), &Caller::from("busy"), None, now);
        let mut accepts = |tokens| {
            let deadline = Some(now + Duration::from_secs(1));
            state.precheck(ExpectedTokens::Guessed(tokens), &Caller::from("victim"), deadline, now).is_ok()
        };
        // Two workers at 40 µs a token, and six tenths of the second to plan with: 30,000 tokens.
        assert!(accepts(26_000) && !accepts(34_000), "after {what}");
    }
}
