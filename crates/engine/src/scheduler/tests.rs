//! The queue with numbers in place of sequences.

use super::*;
use proptest::prelude::*;

const COST: [u64; 2] = [1, 4];
const CLAIMED: Claim = Claim::Claimed { also_queued_by: Vec::new() };

fn claim_all<T>(_: &T, _: &Arc<str>) -> Claim {
    CLAIMED
}

fn caller(name: &str) -> Caller {
    Caller::from(name)
}

fn cost_of(bucket: LengthBucket) -> i64 {
    i64::try_from(COST[bucket.model] * bucket.padded_tokens as u64).expect("a short sequence")
}

/// Queues a sequence that is charged its padded length.
fn push<T>(scheduler: &mut Scheduler<T>, caller: &Caller, bucket: LengthBucket, sequence: T) {
    scheduler.push(caller, bucket, bucket.padded_tokens, sequence);
}

/// A queue that does not merge buckets.
fn scheduler<T>(models: usize, max_tokens: usize) -> Scheduler<T> {
    Scheduler::new(vec![BatchShape { max_tokens, overhead_tokens: 0 }; models])
}

fn bucket(model: usize, padded_tokens: usize) -> LengthBucket {
    LengthBucket { model, padded_tokens }
}

#[test]
fn a_batch_has_one_bucket_and_at_most_its_tokens() {
    let mut scheduler = scheduler(2, 64);
    let one = caller("one");
    for sequence in 0..5 {
        push(&mut scheduler, &one, bucket(0, 32), sequence);
        push(&mut scheduler, &one, bucket(1, 32), 100 + sequence);
    }
    push(&mut scheduler, &one, bucket(0, 512), 200);
    let mut batches = Vec::new();
    while let Some(batch) = scheduler.next_batch(&COST, 1, claim_all) {
        batches.push(batch.sequences);
    }
    assert_eq!(batches[..3], [vec![0, 1], vec![100, 101], vec![2, 3]]);
    assert!(batches.contains(&vec![200]), "a sequence longer than a batch goes alone: {batches:?}");
    assert_eq!(*scheduler.totals(), QueueTotals::new(2));
}

#[test]
fn one_sequence_does_not_wait_for_a_thousand_of_another_caller() {
    let mut scheduler = scheduler(1, 64);
    let (bulk, single) = (caller("bulk"), caller("single"));
    for sequence in 0..1000 {
        push(&mut scheduler, &bulk, bucket(0, 32), sequence);
    }
    scheduler.next_batch(&COST[..1], 1, claim_all);
    push(&mut scheduler, &single, bucket(0, 16), 5000);
    let position = std::iter::from_fn(|| scheduler.next_batch(&COST[..1], 1, claim_all))
        .position(|batch| batch.sequences.contains(&5000))
        .expect("the single sequence is served");
    assert_eq!(position, 0, "who wants less than its share is served next");
}

#[test]
fn a_caller_that_returns_often_gets_no_more_than_its_share() {
    let mut scheduler = scheduler(1, 32);
    let (bulk, eager) = (caller("bulk"), caller("eager"));
    for sequence in 0..1000 {
        push(&mut scheduler, &bulk, bucket(0, 32), sequence);
    }
    let mut served = [0_i32; 2];
    for _ in 0..100 {
        if scheduler.backlogs(Priority::Background).count() < 2 {
            push(&mut scheduler, &eager, bucket(0, 32), 5000);
        }
        let batch = scheduler.next_batch(&COST[..1], 1, claim_all).expect("there is always a sequence");
        served[usize::from(batch.sequences[0] == 5000)] += 1;
    }
    assert!(served[1].abs_diff(served[0]) <= 1, "{served:?}");
}

#[test]
fn idle_callers_are_forgotten() {
    let mut scheduler = scheduler(1, 64);
    for name in 0..100 {
        for sequence in 0..name % 3 {
            push(&mut scheduler, &caller(&name.to_string()), bucket(0, 8 + 8 * sequence), name);
        }
    }
    while scheduler.next_batch(&COST[..1], 1, claim_all).is_some() {}
    assert!(scheduler.callers.is_empty() && scheduler.turns.is_empty());
    assert!(scheduler.idle_turns.iter().all(BTreeSet::is_empty));
}

#[test]
fn batches_are_short_while_there_are_several_callers() {
    let shape = BatchShape { max_tokens: 256, overhead_tokens: 20 };
    let mut scheduler = Scheduler::new(vec![shape]);
    let next_size = |scheduler: &mut Scheduler<i32>| {
        scheduler.next_batch(&COST[..1], 1, claim_all).map_or(0, |batch| batch.sequences.len())
    };
    for sequence in 0..10_000 {
        push(&mut scheduler, &caller("bulk"), bucket(0, 8), sequence);
    }
    assert_eq!(next_size(&mut scheduler), 32);
    push(&mut scheduler, &caller("single"), bucket(0, 8), -1);
    // The fixed cost is a fifth of such a batch.
    assert_eq!(next_size(&mut scheduler), 80 / 8);
    for _ in 1..Scheduler::<i32>::SHARED_BATCHES {
        assert_eq!(next_size(&mut scheduler), 80 / 8);
    }
    assert_eq!(next_size(&mut scheduler), 32, "the other has not come for a while");
}

#[test]
fn the_rest_of_a_batch_is_filled_by_other_callers() {
    let mut scheduler = scheduler(1, 4 * 96);
    for (name, sequence) in [("a", 1), ("b", 2), ("c", 3)] {
        push(&mut scheduler, &caller(name), bucket(0, 32), sequence);
    }
    assert_eq!(
        scheduler.next_batch(&COST[..1], 1, claim_all).map(|batch| batch.sequences),
        Some(vec![1, 2, 3])
    );
}

/// Padded length and sequences of each batch of one caller that queues sequences of these lengths.
fn batches(lengths: &[usize], shape: BatchShape, idle: usize) -> Vec<(usize, Vec<usize>)> {
    let mut scheduler = Scheduler::new(vec![shape]);
    for &length in lengths {
        push(&mut scheduler, &caller("one"), bucket(0, length), length);
    }
    let batches = std::iter::from_fn(|| scheduler.next_batch(&COST[..1], idle, claim_all));
    let batches = batches.map(|batch| (batch.bucket.padded_tokens, batch.sequences)).collect();
    assert_eq!(*scheduler.totals(), QueueTotals::new(1));
    batches
}

#[test]
fn a_batch_merges_buckets_if_padding_costs_less_than_another_batch() {
    let shape = BatchShape { max_tokens: 128, overhead_tokens: 17 };
    assert_eq!(batches(&[32, 24, 16, 8], shape, 1), [(32, vec![32, 24, 16]), (8, vec![8])]);
    // The oldest is the shorter one.
    assert_eq!(batches(&[24, 32], shape, 1), [(32, vec![24, 32])]);
    assert_eq!(batches(&[24, 24, 32], shape, 1), [(32, vec![24, 24, 32])]);
    // Three sequences would be padded by 24 tokens.
    assert_eq!(batches(&[32, 24, 24, 24], shape, 1), [(32, vec![32]), (24, vec![24; 3])]);
    // A bucket that does not fit whole would need another batch all the same.
    let full = batches(&[32, 32, 32, 24, 24], shape, 1);
    assert_eq!(full, [(32, vec![32; 3]), (24, vec![24; 2])]);
    let unmixed = batches(&[32, 24], BatchShape { overhead_tokens: 0, ..shape }, 1);
    assert_eq!(unmixed, [(32, vec![32]), (24, vec![24])]);
}

#[test]
fn a_batch_is_filled_with_the_nearest_lengths() {
    let shape = BatchShape { max_tokens: 100, overhead_tokens: 1 };
    let lengths = [25, 30, 24, 20, 26, 33, 23];
    assert_eq!(batches(&lengths, shape, 1)[0], (25, vec![25, 24, 23, 20]));
    assert_eq!(batches(&[25, 33], shape, 1), [(25, vec![25]), (33, vec![33])], "a step apart");
    assert_eq!(batches(&[25, 32], shape, 1), [(32, vec![25, 32])]);
    assert_eq!(batches(&[25, 29, 21], shape, 1)[0].1.len(), 2, "none is padded by a step");
}

#[test]
fn the_queue_is_spread_over_idle_workers() {
    let shape = BatchShape { max_tokens: 128, overhead_tokens: 16 };
    let sizes = |lengths: &[usize], idle| -> Vec<usize> {
        batches(lengths, shape, idle).into_iter().map(|(_, sequences)| sequences.len()).collect()
    };
    assert_eq!(sizes(&[24; 4], 2)[0], 2);
    assert_eq!(sizes(&[24; 3], 2)[0], 2);
    assert_eq!(sizes(&[24; 40], 2)[0], 5, "a batch is never longer than it may be");
    assert_eq!(sizes(&[24; 3], 8)[0], 1);
    // Another length is left to another worker.
    assert_eq!(batches(&[32, 24], shape, 2)[0], (32, vec![32]));
}

#[test]
fn stale_entries_cost_nothing_and_are_removed() {
    let mut scheduler = scheduler(1, 128);
    let one = caller("one");
    for sequence in 0..200 {
        push(&mut scheduler, &one, bucket(0, 8 + 8 * (sequence % 2)), sequence);
    }
    let is_stale = |sequence: &usize| *sequence >= 3;
    for sequence in 3..200 {
        scheduler.mark_stale(one.name(), bucket(0, 8 + 8 * (sequence % 2)), 8 + 8 * (sequence % 2));
    }
    let buckets = BTreeMap::from([(bucket(0, 8), 2), (bucket(0, 16), 1)]);
    assert_eq!(
        *scheduler.totals(),
        QueueTotals { sequences: 3, sequences_by_model: vec![3], tokens: vec![32], buckets }
    );
    scheduler.remove_stale(|sequence| !is_stale(sequence));
    let claim = |sequence: &usize, _: &Arc<str>| if is_stale(sequence) { Claim::Stale } else { CLAIMED };
    assert_eq!(scheduler.next_batch(&COST[..1], 1, claim).map(|batch| batch.sequences), Some(vec![0, 2]));
    assert_eq!(scheduler.next_batch(&COST[..1], 1, claim).map(|batch| batch.sequences), Some(vec![1]));
    assert_eq!(scheduler.next_batch(&COST[..1], 1, claim), None);
}

#[test]
fn a_sequence_in_two_queues_is_scored_once_and_with_the_shorter_queue() {
    let mut scheduler = scheduler(1, 32);
    let (bulk, single) = (caller("bulk"), caller("single"));
    for sequence in 0..50 {
        push(&mut scheduler, &bulk, bucket(0, 32), sequence);
    }
    push(&mut scheduler, &single, bucket(0, 32), 49);
    let mut scored = Vec::new();
    while let Some(batch) = scheduler.next_batch(&COST[..1], 1, |sequence, by| {
        let elsewhere =
            [&bulk, &single].map(Caller::name).into_iter().filter(|&name| *sequence == 49 && name != by);
        if scored.contains(sequence) {
            Claim::Stale
        } else {
            Claim::Claimed { also_queued_by: elsewhere.cloned().collect() }
        }
    }) {
        scored.extend(batch.sequences);
    }
    assert_eq!(scored.len(), 50);
    assert!(scored.iter().position(|&sequence| sequence == 49) < Some(3), "{scored:?}");
    assert_eq!(*scheduler.totals(), QueueTotals::new(1));
}

#[test]
fn a_sequence_is_charged_its_load_and_fills_a_batch_by_it() {
    let mut scheduler = scheduler(1, 128);
    let (dense, plain) = (caller("dense"), caller("plain"));
    for sequence in 0..4 {
        // Short, but with many spans to score.
        scheduler.push(&dense, bucket(0, 8), 100, sequence);
    }
    assert_eq!(scheduler.backlogs(Priority::Background).map(|(_, _, load)| load[0]).sum::<usize>(), 400);
    assert_eq!(scheduler.totals().tokens, [32]);
    let next = |scheduler: &mut Scheduler<i32>| scheduler.next_batch(&COST[..1], 1, claim_all);
    let batch = next(&mut scheduler).expect("there are four");
    assert_eq!((batch.load, batch.sequences), (100, vec![0]), "two would be more than a batch");
    scheduler.mark_stale(dense.name(), bucket(0, 8), 100);
    assert_eq!(scheduler.backlogs(Priority::Background).map(|(_, _, load)| load[0]).sum::<usize>(), 200);
    // The other caller is served until it has had as much.
    for sequence in 10..40 {
        scheduler.push(&plain, bucket(0, 16), 16, sequence);
    }
    let batch = next(&mut scheduler).expect("both have some");
    assert_eq!((batch.load, batch.sequences.len()), (32, 2), "short batches, of the caller that had less");
}

proptest! {
    /// Nothing is lost or doubled, and no batch is over its bound.
    #[test]
    fn every_sequence_is_scored_once(
        sequences in prop::collection::vec((0_usize..4, 0_usize..2, 1_usize..40), 0..300),
        max_tokens in 1_usize..400,
        overhead_tokens in 0_usize..40,
        idle in 1_usize..4,
        pause in 1_usize..20,
    ) {
        let mut scheduler = Scheduler::new(vec![BatchShape { max_tokens, overhead_tokens }; 2]);
        let mut seen = Vec::new();
        let mut take = |scheduler: &mut Scheduler<usize>| {
            let Some(batch) = scheduler.next_batch(&COST, idle, claim_all) else { return false };
            assert!(batch.sequences.len() == 1 || batch.sequences.len() * batch.bucket.padded_tokens <= max_tokens);
            for sequence in batch.sequences {
                let (model, length) = (sequences[sequence].1, sequences[sequence].2 * 8);
                assert_eq!(model, batch.bucket.model);
                let padded = batch.bucket.padded_tokens;
                assert!(length <= padded && padded - length <= overhead_tokens.max(7));
                seen.push(sequence);
            }
            true
        };
        for (index, &(name, model, eights)) in sequences.iter().enumerate() {
            push(&mut scheduler, &caller(&name.to_string()), bucket(model, eights * 8), index);
            if index % pause == 0 {
                take(&mut scheduler);
            }
        }
        while take(&mut scheduler) {}
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..sequences.len()).collect::<Vec<_>>());
        prop_assert_eq!(scheduler.totals(), &QueueTotals::new(2));
    }

    /// While two callers both have sequences queued, what they were served for their weight differs by at most two
    /// batches.
    #[test]
    fn callers_share_by_cost(
        long in 1_usize..16,
        short in 1_usize..16,
        models in (0_usize..2, 0_usize..2),
        weight in 1_u32..5,
    ) {
        let max_tokens = 128;
        let heavy = NonZeroU32::new(weight).expect("weights start at 1");
        let mut scheduler = scheduler(2, max_tokens);
        let buckets = [bucket(models.0, long * 8), bucket(models.1, short * 8)];
        for _ in 0..400 {
            push(&mut scheduler, &caller("0"), buckets[0], 0);
            push(&mut scheduler, &caller("1").with_weight(heavy), buckets[1], 1);
        }
        let (mut given, mut left) = ([0_i64; 2], [400_usize; 2]);
        while let Some(batch) = scheduler.next_batch(&COST, 1, claim_all) {
            for &sequence in &batch.sequences {
                given[sequence] += cost_of(batch.bucket);
                left[sequence] -= 1;
            }
            if left.contains(&0) {
                break;
            }
            let bound = 2 * 4 * i64::try_from(max_tokens).expect("a short batch");
            let fair = (given[0] - given[1] / i64::from(weight)).abs();
            prop_assert!(fair <= bound, "{given:?} at weight {weight}");
        }
    }
}

#[test]
fn work_in_the_background_waits_for_all_others_and_then_takes_turns_itself() {
    let mut scheduler = scheduler(1, 64);
    let [first, second] = ["first", "second"].map(|name| caller(name).in_background());
    for sequence in 0..4 {
        push(&mut scheduler, &first, bucket(0, 64), sequence);
        push(&mut scheduler, &second, bucket(0, 64), 10 + sequence);
    }
    push(&mut scheduler, &caller("online"), bucket(0, 16), 100);
    let served = |scheduler: &mut Scheduler<i32>| {
        scheduler.next_batch(&COST[..1], 1, claim_all).map(|batch| batch.sequences)
    };
    assert_eq!(served(&mut scheduler), Some(vec![100]));
    let order: Vec<i32> = (0..4).filter_map(|_| served(&mut scheduler)).flatten().collect();
    assert_eq!(order, [0, 10, 1, 11], "equal shares in the background");
    push(&mut scheduler, &caller("late"), bucket(0, 16), 101);
    assert_eq!(served(&mut scheduler), Some(vec![101]), "it passes all that waits in the background");
    assert_eq!(scheduler.backlogs(Priority::Online).count(), 0);
    assert_eq!(scheduler.backlogs(Priority::Background).count(), 2);
}

#[test]
fn background_work_has_long_batches_only_while_nobody_is_online() {
    let mut scheduler = scheduler(1, 256);
    let job = caller("job").in_background();
    for sequence in 0..100 {
        push(&mut scheduler, &job, bucket(0, 16), sequence);
    }
    let sizes = |scheduler: &mut Scheduler<i32>| {
        let batch = scheduler.next_batch(&COST[..1], 1, claim_all).expect("there is always a sequence");
        batch.sequences.len()
    };
    assert_eq!(sizes(&mut scheduler), 16);
    push(&mut scheduler, &caller("online"), bucket(0, 32), 1000);
    assert_eq!(sizes(&mut scheduler), 1);
    assert_eq!(sizes(&mut scheduler), 4, "another may come soon");
}

proptest! {
    /// Whatever is queued, a batch begins with an online sequence if there is one, and holds one of the background only
    /// where no online sequence of its length is left.
    #[test]
    fn background_work_never_comes_before_online_work(
        pushes in prop::collection::vec((0_usize..6, 1_usize..5, prop::bool::ANY), 1..200),
        drained in 1_usize..6,
    ) {
        let mut scheduler = scheduler(1, 64);
        let mut queued: Vec<(bool, usize)> = Vec::new();
        for (index, (name, steps, serves)) in pushes.into_iter().enumerate() {
            let is_online = name % 2 == 0;
            let by = caller(&format!("{name}"));
            let by = if is_online { by } else { by.in_background() };
            let sequence = (index, is_online, steps * 16);
            push(&mut scheduler, &by, bucket(0, steps * 16), sequence);
            queued.push((is_online, steps * 16));
            if !serves {
                continue;
            }
            for _ in 0..drained {
                let any_online = queued.iter().any(|(is_online, _)| *is_online);
                let Some(batch) = scheduler.next_batch(&COST[..1], 1, claim_all) else { break };
                prop_assert_eq!(batch.sequences[0].1, any_online);
                for (_, is_online, length) in &batch.sequences {
                    let place = queued.iter().position(|entry| *entry == (*is_online, *length));
                    queued.remove(place.expect("it was queued"));
                }
                let holds_background = batch.sequences.iter().any(|(_, is_online, _)| !is_online);
                let length = batch.bucket.padded_tokens;
                prop_assert!(!holds_background || !queued.contains(&(true, length)));
            }
        }
    }
}
