//! What every store of jobs must do.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sentor_store::jobs::{
    ChunkClaim, ChunkOutcome, ClaimTime, Ending, IdempotencyKey, JobError, JobId, JobLimits, JobQuery,
    JobRecord, JobStatus, JobStep, JobStore, NewChunk, Submission,
};
use sentor_store::keys::KeyId;
use sentor_store::{MemoryStore, SqliteStore};

use super::{now, open};

/// Checks what every store of jobs must do. The store is new.
pub(crate) fn check_jobs(store: &dyn JobStore) {
    check_submissions(store);
    check_a_whole_job(store);
    check_leases_and_fences(store);
    check_halves(store);
    check_turns(store);
    check_steps(store);
    check_ends(store);
}

#[test]
fn memory_keeps_jobs() {
    check_jobs(&MemoryStore::default());
}

#[test]
fn a_file_keeps_jobs_for_the_next_program() {
    let folder = tempfile::TempDir::new().expect("a folder");
    check_jobs(&open(&folder));
    let store = open(&folder);
    add(&store, &job("kfile", 1));
    let claim = cut(&store, &[4]);
    // The program is killed, and the next one starts.
    drop(store);
    let store = open(&folder);
    assert_eq!(store.claim_chunk(at(1)).expect("it can be read"), None, "the lease still runs");
    store.release_all_claims().expect("it can be written");
    let again = store.claim_chunk(at(1)).expect("it can be read").expect("nobody has it");
    assert_eq!((again.attempt, again.failures), (claim.attempt + 1, 1));
    assert!(!complete(&store, &claim, 4, at(2).now), "the killed program's claim counts no more");
    assert!(complete(&store, &again, 4, at(2).now));
}

#[test]
fn two_programs_claim_each_chunk_once() {
    let folder = tempfile::TempDir::new().expect("a folder");
    add(&open(&folder), &job("kboth", 1));
    let first = cut(&open(&folder), &[1; 40]);
    let claim_all = |path: std::path::PathBuf| {
        std::thread::spawn(move || {
            let store = SqliteStore::open(&path).expect("the store opens");
            let claims = std::iter::from_fn(|| store.claim_chunk(at(0)).expect("it can be claimed"));
            claims.map(|claim| claim.first_row).collect::<Vec<u64>>()
        })
    };
    let threads = [0, 1, 2].map(|_| claim_all(folder.path().to_owned()));
    let claims = threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic"));
    let mut claims: Vec<u64> = claims.chain([first.first_row]).collect();
    claims.sort_unstable();
    assert!(claims.into_iter().eq(0..40));
}

fn check_submissions(store: &dyn JobStore) {
    let key = |digest: &str, hours| IdempotencyKey {
        key: "upload-1".to_owned(),
        digest: digest.to_owned(),
        counts_since: now() + SignedDuration::from_hours(hours),
    };
    let limits = JobLimits { active_jobs: Some(2), ..JobLimits::default() };
    let insert = |job: &JobRecord, key: Option<&IdempotencyKey>| {
        store.insert_job(job, &limits, key).expect("it can be added")
    };
    let first = job("kidem", 1);
    assert_eq!(insert(&first, Some(&key("a", 0))), Submission::Added);
    let again = insert(&job("kidem", 2), Some(&key("a", 0)));
    assert_eq!(again, Submission::Known(Box::new(first.clone())), "the same submission");
    assert_eq!(insert(&job("kidem", 2), Some(&key("b", 0))), Submission::KeyReused);
    let others = insert(&job("kother", 2), Some(&key("b", 0)));
    assert_eq!(others, Submission::Added, "keys are an account's own");
    assert_eq!(insert(&job("kidem", 3), Some(&key("b", 1))), Submission::Added, "the key is too old");
    assert_eq!(insert(&job("kidem", 4), None), Submission::TooManyJobs { limit: 2 });
    let usage = store.job_usage(&KeyId::new("kidem")).expect("it can be read");
    assert_eq!((usage.active_jobs, usage.rows_waiting, usage.stored_bytes), (2, 0, 2000));

    assert_eq!(found(store, &first.id), first);
    assert_eq!(store.job(&JobId::new("job_none")).expect("it can be read"), None);
    let page = |after: Option<&JobId>, status| {
        let query = JobQuery { account: KeyId::new("kidem"), status, after: after.cloned(), limit: 1 };
        store.jobs(&query).expect("it can be read")
    };
    let newest = page(None, None);
    assert_eq!((newest.jobs[0].id.clone(), newest.has_more), (job("kidem", 3).id, true));
    assert_eq!((page(Some(&newest.jobs[0].id), None).jobs[0].id.clone()), first.id);
    assert!(page(Some(&first.id), None).jobs.is_empty());
    assert!(page(None, Some(JobStatus::Running)).jobs.is_empty());
    for id in [first.id, job("kidem", 3).id, job("kother", 2).id] {
        store.remove_job(&id).expect("it can be removed");
        assert_eq!(store.job(&id).expect("it can be read"), None);
    }
    assert_eq!(insert(&job("kidem", 1), Some(&key("z", 0))), Submission::Added, "its keys went with it");
    store.remove_job(&job("kidem", 1).id).expect("it can be removed");
}

fn check_a_whole_job(store: &dyn JobStore) {
    let submitted = job("kwhole", 1);
    add(store, &submitted);
    assert_eq!(store.claim_chunk(at(0)).expect("it can be read"), None, "nothing is cut yet");
    let (claimed, attempt) = store.claim_job(at(0)).expect("it can be claimed").expect("its input waits");
    assert_eq!(claimed.id, submitted.id);
    assert!(store.claim_job(at(1)).expect("it can be read").is_none(), "it is claimed");
    for (rows, bytes, is_last) in [(3, 400, false), (2, 1000, true)] {
        let chunk = NewChunk { rows, split_bytes: bytes };
        assert!(store.add_chunk(&submitted.id, attempt, chunk, is_last, at(2).now).expect("it is written"));
        assert_eq!(found(store, &submitted.id).split_bytes, bytes);
    }
    assert_eq!(found(store, &submitted.id).status, JobStatus::Queued);
    let statistics = store.job_statistics().expect("it can be read");
    assert_eq!((statistics.active_jobs, statistics.rows_waiting), (1, 5));
    assert_eq!((statistics.chunks_waiting, statistics.chunks_leased), (2, 0));
    assert_eq!(statistics.oldest_queued, Some(submitted.created_at));

    let first = claim(store, 3).expect("the first chunk");
    let second = claim(store, 4).expect("the second chunk");
    assert_eq!((first.first_row, first.rows, first.input_row, first.failures), (0, 3, 0, 0));
    assert_eq!((second.first_row, second.rows, second.input_row), (3, 2, 3));
    assert_eq!(claim(store, 5), None);
    assert_eq!(found(store, &submitted.id).started_at, Some(at(3).now));

    assert!(complete(store, &second, 2, at(6).now));
    assert_eq!(store.available_rows(&submitted.id).expect("it can be read"), 0, "results come in order");
    assert!(store.done_chunks(&submitted.id, 0, 9).expect("it can be read").is_empty());
    let outcome = ChunkOutcome { succeeded: 2, failed: 1, result_bytes: 20, ..outcome("a") };
    assert!(store.complete_chunk(&first, &outcome, at(7).now).expect("it is written"));
    assert!(!complete(store, &first, 3, at(8).now), "it is complete already");
    let chunks = store.done_chunks(&submitted.id, 0, 9).expect("it can be read");
    assert_eq!((chunks.len(), &chunks[0].outcome), (2, &outcome));
    assert_eq!(store.done_chunks(&submitted.id, 0, 1).expect("it can be read").len(), 1);
    for (row, firsts) in [(2, vec![0, 3]), (3, vec![3]), (4, vec![3]), (5, vec![])] {
        let chunks = store.done_chunks(&submitted.id, row, 9).expect("it can be read");
        assert_eq!(chunks.iter().map(|chunk| chunk.first_row).collect::<Vec<_>>(), firsts, "from row {row}");
    }
    assert_eq!(store.available_rows(&submitted.id).expect("it can be read"), 5);

    let done = found(store, &submitted.id);
    assert_eq!((done.succeeded, done.failed, done.result_bytes), (4, 1, 30));
    assert_eq!((done.status, done.ending), (JobStatus::Finalizing, Some(Ending::Completed)));
    let (closing, _) =
        store.claim_job(at(9)).expect("it can be claimed").expect("its input is to be removed");
    assert_eq!(closing.id, submitted.id);
    let finish = &mut |job: &mut JobRecord| {
        job.finish(at(10).now);
        Ok(())
    };
    let finished = store.update_job(&submitted.id, finish).expect("it can be changed");
    assert_eq!((finished.status, finished.finished_at), (JobStatus::Completed, Some(at(10).now)));
    assert!(finished.revision > done.revision);
    assert!(store.claim_job(at(999)).expect("it can be read").is_none(), "nothing is left to do");
    let usage = store.job_usage(&submitted.account).expect("it can be read");
    assert_eq!((usage.active_jobs, usage.stored_bytes), (0, 30), "the input is gone");
}

fn check_leases_and_fences(store: &dyn JobStore) {
    add(store, &job("klease", 1));
    let stale = cut(store, &[5, 5]);
    let id = stale.job.id.clone();
    assert!(store.renew_chunk(&stale, at(30)).expect("it is written"));
    let other = claim(store, 59).expect("the second chunk");
    assert_eq!(other.first_row, 5, "the first one was renewed");
    let taken = claim(store, 91).expect("the first lease ran out");
    assert_eq!((taken.first_row, taken.failures), (0, 1));
    assert!(!store.renew_chunk(&stale, at(92)).expect("it is written"), "it is another's");
    assert!(!complete(store, &stale, 5, at(92).now));
    store.release_chunk(&stale, true, at(0).now).expect("it is ignored");
    store.halve_chunk(&stale).expect("it is ignored");
    assert!(store.renew_chunk(&taken, at(92)).expect("it is written"));

    store.release_chunk(&taken, false, at(100).now).expect("it is written");
    assert_eq!(claim(store, 99), None, "it must wait");
    let again = claim(store, 100).expect("it waited");
    assert_eq!((again.first_row, again.failures), (0, 1), "a chunk that was given back did not fail");
    store.release_chunk(&again, true, at(100).now).expect("it is written");
    let again = claim(store, 101).expect("it can be tried again");
    assert_eq!(again.failures, 2);
    assert!(complete(store, &again, 5, at(102).now));

    // A job's own claim is fenced as well.
    let cutting = job("klease", 2);
    add(store, &cutting);
    let (_, late) = store.claim_job(at(0)).expect("it can be claimed").expect("its input waits");
    assert!(store.renew_job(&cutting.id, late, at(30)).expect("it is written"));
    assert!(store.claim_job(at(61)).expect("it can be read").is_none());
    let (_, latest) = store.claim_job(at(91)).expect("it can be claimed").expect("the lease ran out");
    let chunk = NewChunk { rows: 1, split_bytes: 1 };
    assert!(!store.add_chunk(&cutting.id, late, chunk, false, at(92).now).expect("it is ignored"));
    assert!(!store.renew_job(&cutting.id, late, at(92)).expect("it is ignored"));
    assert!(store.add_chunk(&cutting.id, latest, chunk, false, at(92).now).expect("it is written"));
    store.release_job(&cutting.id, latest).expect("it is written");
    let next = store.claim_job(at(93)).expect("it can be claimed").expect("it was released");
    assert_eq!(next.0.rows, 1);
    for id in [id, cutting.id] {
        store.remove_job(&id).expect("it can be removed");
    }
    assert!(!complete(store, &other, 5, at(93).now), "its job is gone");
}

fn check_halves(store: &dyn JobStore) {
    add(store, &job("khalf", 1));
    let whole = cut(store, &[5, 1]);
    store.halve_chunk(&whole).expect("it is written");
    assert!(!complete(store, &whole, 5, at(1).now), "it is no longer one chunk");
    let [first, second, last] = [1, 2, 3].map(|second| claim(store, second).expect("a chunk"));
    assert_eq!((first.first_row, first.rows, first.input_row), (0, 2, 0));
    assert_eq!((second.first_row, second.rows, second.input_row), (2, 3, 0));
    assert_eq!((last.first_row, last.rows, last.input_row), (5, 1, 5));
    assert!(first.attempt > whole.attempt, "a claim of the whole is not taken for one of a half");
    store.halve_chunk(&last).expect("one row has no halves");
    for (claim, rows) in [(first, 2), (second, 3), (last, 1)] {
        assert!(complete(store, &claim, rows, at(4).now));
    }
    assert_eq!(found(store, &whole.job.id).status, JobStatus::Finalizing);
    store.remove_job(&whole.job.id).expect("it can be removed");
}

fn check_turns(store: &dyn JobStore) {
    let mut jobs = [job("kturn1", 1), job("kturn1", 2), job("kturn2", 3)];
    jobs[1].priority = 1;
    for job in &jobs {
        add(store, job);
        let (claimed, attempt) = store.claim_job(at(0)).expect("it can be claimed").expect("its input waits");
        for last in [false, true] {
            let chunk = NewChunk { rows: 1, split_bytes: 1 };
            assert!(store.add_chunk(&claimed.id, attempt, chunk, last, at(0).now).expect("it is written"));
        }
    }
    let turns = (1..=6).map(|second| claim(store, second).expect("a chunk").job.id);
    let turns: Vec<JobId> = turns.collect();
    let expected = [1, 2, 1, 2, 0, 0].map(|index| jobs[index].id.clone());
    assert_eq!(turns, expected, "accounts take turns, and the urgent job of an account is first");
    for job in jobs {
        store.remove_job(&job.id).expect("it can be removed");
    }
}

fn check_steps(store: &dyn JobStore) {
    add(store, &job("kstep", 1));
    let running = cut(store, &[2, 2]);
    let id = &running.job.id;
    let take = |step: JobStep, second| {
        store.update_job(id, &mut |job| job.take(step, at(second).now)).map(|job| job.status)
    };
    assert_eq!(take(JobStep::Pause, 10).expect("it runs"), JobStatus::Paused);
    assert_eq!(claim(store, 11), None, "it is paused");
    assert!(store.renew_chunk(&running, at(11)).expect("it is written"));
    assert!(complete(store, &running, 2, at(12).now), "what was under way is kept");
    assert_eq!(take(JobStep::Resume, 20).expect("it is paused"), JobStatus::Running);
    assert_eq!(found(store, id).paused_for, SignedDuration::from_secs(10));
    let under_way = claim(store, 21).expect("it goes on");
    assert_eq!(take(JobStep::Cancel, 22).expect("it runs"), JobStatus::Cancelling);
    assert_eq!(take(JobStep::Cancel, 23).expect("it is cancelled already"), JobStatus::Cancelling);
    assert!(matches!(take(JobStep::Resume, 24), Err(JobError::Step(_))));
    assert!(!store.renew_chunk(&under_way, at(24)).expect("it is ignored"));
    assert!(!complete(store, &under_way, 2, at(24).now), "it is too late");
    assert_eq!(store.available_rows(id).expect("it can be read"), 2, "what was done is kept");
    assert!(store.claim_job(at(24)).expect("it can be claimed").is_some());
    store.remove_job(id).expect("it can be removed");
    assert!(matches!(take(JobStep::Pause, 25), Err(JobError::NoSuchJob(_))));
}

fn check_ends(store: &dyn JobStore) {
    let due = |second| {
        let due = store.due_jobs(at(second).now, 10).expect("it can be read");
        due.into_iter()
            .filter(|job| job.account == KeyId::new("kend"))
            .map(|job| job.status)
            .collect::<Vec<_>>()
    };
    let record =
        JobRecord { expires_at: at(100).now, keep_results: SignedDuration::from_secs(50), ..job("kend", 1) };
    add(store, &record);
    assert_eq!(due(99), []);
    assert_eq!(due(100), [JobStatus::Validating]);
    let end = |change: fn(&mut JobRecord)| {
        store
            .update_job(&record.id, &mut |job| {
                change(job);
                Ok(())
            })
            .expect("it can be changed")
    };
    end(|job| job.end(Ending::Expired, at(100).now));
    assert_eq!(due(110), [], "it is ending");
    assert_eq!(end(|job| job.finish(at(101).now)).status, JobStatus::Expired);
    assert_eq!(due(150), []);
    assert_eq!(due(151), [JobStatus::Expired], "its results are no longer kept");
    store.remove_job(&record.id).expect("it can be removed");
}

/// A job of an account; `number` orders the jobs by submission.
fn job(account: &str, number: u64) -> JobRecord {
    JobRecord {
        id: JobId::new(format!("job_{number:04}{account}")),
        account: KeyId::new(account),
        plan: "unlimited".to_owned(),
        spec: "{}".to_owned(),
        priority: 0,
        status: JobStatus::Validating,
        ending: None,
        failure: None,
        created_at: now(),
        started_at: None,
        paused_at: None,
        paused_for: SignedDuration::ZERO,
        finished_at: None,
        expires_at: at(86_400).now,
        keep_results: SignedDuration::from_hours(24),
        input_bytes: 1000,
        split_bytes: 0,
        rows: 0,
        is_split: false,
        succeeded: 0,
        failed: 0,
        result_bytes: 0,
        revision: 0,
    }
}

fn add(store: &dyn JobStore, job: &JobRecord) {
    let added = store.insert_job(job, &JobLimits::default(), None).expect("it can be added");
    assert_eq!(added, Submission::Added);
}

/// Cuts the one job that waits for it into chunks, and claims the first.
fn cut(store: &dyn JobStore, rows: &[u64]) -> ChunkClaim {
    let (job, attempt) = store.claim_job(at(0)).expect("it can be claimed").expect("its input waits");
    for rows in rows {
        let chunk = NewChunk { rows: *rows, split_bytes: 1 };
        assert!(store.add_chunk(&job.id, attempt, chunk, false, at(0).now).expect("it is written"));
    }
    let end = NewChunk { rows: 0, split_bytes: 1 };
    assert!(store.add_chunk(&job.id, attempt, end, true, at(0).now).expect("it is written"));
    claim(store, 0).expect("the first chunk")
}

fn claim(store: &dyn JobStore, second: i64) -> Option<ChunkClaim> {
    store.claim_chunk(at(second)).expect("it can be claimed")
}

fn complete(store: &dyn JobStore, claim: &ChunkClaim, rows: u64, now: Timestamp) -> bool {
    let outcome = ChunkOutcome { succeeded: rows, result_bytes: 10, ..outcome("b") };
    store.complete_chunk(claim, &outcome, now).expect("it can be written")
}

fn outcome(name: &str) -> ChunkOutcome {
    ChunkOutcome {
        result_object: Some(name.to_owned()),
        result_sha256: "0123".to_owned(),
        error_object: None,
        ..ChunkOutcome::default()
    }
}

fn found(store: &dyn JobStore, id: &JobId) -> JobRecord {
    store.job(id).expect("it can be read").expect("it is there")
}

/// A moment in seconds, with leases of a minute.
fn at(second: i64) -> ClaimTime {
    ClaimTime { now: now() + SignedDuration::from_secs(second), lease: Duration::from_mins(1) }
}
