//! Jobs in memory: for tests.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::record::{ChunkCounts, JobId, JobRecord, JobStatus, StepError};
use super::store::{
    ChunkClaim, ChunkOutcome, ChunkRecord, ClaimTime, IdempotencyKey, JobError, JobLimits, JobPage, JobQuery,
    JobQueueStatistics, JobStore, JobUsage, NewChunk, Submission,
};
use crate::error::StoreError;
use crate::keys::KeyId;
use crate::memory::MemoryStore;

/// All jobs of a store in memory.
#[derive(Debug, Default)]
pub(crate) struct JobTables {
    jobs: BTreeMap<JobId, Job>,
    /// By account and key: the digest, the job, and when it was submitted.
    keys: BTreeMap<(KeyId, String), (String, JobId, Timestamp)>,
    /// When an account's chunks were last claimed.
    served: BTreeMap<KeyId, Timestamp>,
}

#[derive(Debug)]
struct Job {
    record: JobRecord,
    attempt: u64,
    lease_until: Option<Timestamp>,
    /// By first row.
    chunks: BTreeMap<u64, Chunk>,
}

#[derive(Debug)]
struct Chunk {
    rows: u64,
    input_row: u64,
    state: State,
    attempt: u64,
    failures: u64,
}

#[derive(Debug)]
enum State {
    Ready { not_before: Timestamp },
    Leased { until: Timestamp },
    Done(ChunkOutcome),
}

impl Chunk {
    fn is_claimable(&self, now: Timestamp) -> bool {
        match self.state {
            State::Ready { not_before } => not_before <= now,
            State::Leased { until } => until <= now,
            State::Done(_) => false,
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }
}

impl Job {
    fn changed(&mut self) {
        self.record.revision += 1;
    }

    fn needs_a_claim(&self) -> bool {
        let status = self.record.status;
        let is_cut = status.is_open() && status != JobStatus::Paused && !self.record.is_split;
        is_cut || matches!(status, JobStatus::Finalizing | JobStatus::Cancelling)
    }

    /// The chunk of a claim, if the claim is the latest.
    fn claimed(&mut self, claim: &ChunkClaim) -> Option<&mut Chunk> {
        let chunk = self.chunks.get_mut(&claim.first_row)?;
        (chunk.attempt == claim.attempt && matches!(chunk.state, State::Leased { .. })).then_some(chunk)
    }
}

impl JobStore for MemoryStore {
    fn insert_job(
        &self,
        job: &JobRecord,
        limits: &JobLimits,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Submission, StoreError> {
        let mut inner = self.lock();
        let tables = &mut inner.jobs;
        if let Some(given) = idempotency {
            tables.keys.retain(|_, (_, id, at)| *at >= given.counts_since && tables.jobs.contains_key(id));
            if let Some((digest, id, _)) = tables.keys.get(&(job.account.clone(), given.key.clone())) {
                return Ok(match tables.jobs.get(id).filter(|_| *digest == given.digest) {
                    Some(known) => Submission::Known(Box::new(known.record.clone())),
                    None => Submission::KeyReused,
                });
            }
        }
        if let Some(limit) = limits.active_jobs
            && usage(tables, &job.account).active_jobs >= limit
        {
            return Ok(Submission::TooManyJobs { limit });
        }
        if let Some(given) = idempotency {
            let entry = (given.digest.clone(), job.id.clone(), job.created_at);
            tables.keys.insert((job.account.clone(), given.key.clone()), entry);
        }
        let new = Job { record: job.clone(), attempt: 0, lease_until: None, chunks: BTreeMap::new() };
        tables.jobs.insert(job.id.clone(), new);
        Ok(Submission::Added)
    }

    fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        Ok(self.lock().jobs.jobs.get(id).map(|job| job.record.clone()))
    }

    fn jobs(&self, query: &JobQuery) -> Result<JobPage, StoreError> {
        let inner = self.lock();
        let records = inner.jobs.jobs.values().rev().map(|job| &job.record);
        let mut asked = records.filter(|job| {
            job.account == query.account
                && query.status.is_none_or(|status| job.status == status)
                && query.after.as_ref().is_none_or(|after| job.id < *after)
        });
        let jobs = asked.by_ref().take(query.limit).cloned().collect();
        Ok(JobPage { jobs, has_more: asked.next().is_some() })
    }

    fn job_usage(&self, account: &KeyId) -> Result<JobUsage, StoreError> {
        Ok(usage(&self.lock().jobs, account))
    }

    fn update_job(
        &self,
        id: &JobId,
        change: &mut dyn FnMut(&mut JobRecord) -> Result<(), StepError>,
    ) -> Result<JobRecord, JobError> {
        let mut inner = self.lock();
        let job = inner.jobs.jobs.get_mut(id).ok_or_else(|| JobError::NoSuchJob(id.clone()))?;
        let mut changed = job.record.clone();
        change(&mut changed)?;
        if changed != job.record {
            job.record = changed;
            job.changed();
        }
        Ok(job.record.clone())
    }

    fn remove_job(&self, id: &JobId) -> Result<(), StoreError> {
        self.lock().jobs.jobs.remove(id);
        Ok(())
    }

    fn claim_job(&self, time: ClaimTime) -> Result<Option<(JobRecord, u64)>, StoreError> {
        let mut inner = self.lock();
        let free =
            |job: &&mut Job| job.needs_a_claim() && job.lease_until.is_none_or(|until| until <= time.now);
        Ok(inner.jobs.jobs.values_mut().find(free).map(|job| {
            job.attempt += 1;
            job.lease_until = Some(time.lease_until());
            (job.record.clone(), job.attempt)
        }))
    }

    fn renew_job(&self, id: &JobId, attempt: u64, time: ClaimTime) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let job = inner.jobs.jobs.get_mut(id).filter(|job| job.attempt == attempt);
        Ok(job.is_some_and(|job| {
            job.lease_until = Some(time.lease_until());
            true
        }))
    }

    fn release_job(&self, id: &JobId, attempt: u64) -> Result<(), StoreError> {
        if let Some(job) = self.lock().jobs.jobs.get_mut(id).filter(|job| job.attempt == attempt) {
            job.lease_until = None;
        }
        Ok(())
    }

    fn add_chunk(
        &self,
        id: &JobId,
        attempt: u64,
        chunk: NewChunk,
        is_last: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let job = inner.jobs.jobs.get_mut(id);
        let Some(job) = job.filter(|job| job.attempt == attempt && job.record.status.is_open()) else {
            return Ok(false);
        };
        if chunk.rows > 0 {
            let first_row = job.record.rows;
            let state = State::Ready { not_before: Timestamp::MIN };
            let new = Chunk { rows: chunk.rows, input_row: first_row, state, attempt: 0, failures: 0 };
            job.chunks.insert(first_row, new);
        }
        job.record.add_rows(chunk.rows, chunk.split_bytes, is_last, now);
        if is_last {
            job.lease_until = None;
        }
        job.changed();
        Ok(true)
    }

    fn claim_chunk(&self, time: ClaimTime) -> Result<Option<ChunkClaim>, StoreError> {
        let mut inner = self.lock();
        let JobTables { jobs, served, .. } = &mut inner.jobs;
        let claimable = jobs.values_mut().filter(|job| {
            job.record.status.is_claimable() && job.chunks.values().any(|chunk| chunk.is_claimable(time.now))
        });
        let next = claimable.min_by_key(|job| {
            let JobRecord { account, priority, id, .. } = &job.record;
            (served.get(account).copied(), -priority, id.clone())
        });
        let Some(job) = next else { return Ok(None) };
        served.insert(job.record.account.clone(), time.now);
        job.record.start(time.now);
        job.changed();
        let record = job.record.clone();
        let chunk = job.chunks.iter_mut().find(|(_, chunk)| chunk.is_claimable(time.now));
        Ok(chunk.map(|(first_row, chunk)| {
            let failures = chunk.failures;
            // A lease that ran out is a failure of whoever had it.
            let was_lost = matches!(chunk.state, State::Leased { .. });
            chunk.failures += u64::from(was_lost);
            chunk.attempt += 1;
            chunk.state = State::Leased { until: time.lease_until() };
            ChunkClaim {
                job: record,
                first_row: *first_row,
                rows: chunk.rows,
                input_row: chunk.input_row,
                attempt: chunk.attempt,
                failures: failures + u64::from(was_lost),
            }
        }))
    }

    fn renew_chunk(&self, claim: &ChunkClaim, time: ClaimTime) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let job = inner.jobs.jobs.get_mut(&claim.job.id).filter(|job| job.record.status.is_open());
        Ok(job.and_then(|job| job.claimed(claim)).is_some_and(|chunk| {
            chunk.state = State::Leased { until: time.lease_until() };
            true
        }))
    }

    fn release_chunk(
        &self,
        claim: &ChunkClaim,
        is_failure: bool,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let job = inner.jobs.jobs.get_mut(&claim.job.id);
        if let Some(chunk) = job.and_then(|job| job.claimed(claim)) {
            chunk.failures += u64::from(is_failure);
            chunk.state = State::Ready { not_before };
        }
        Ok(())
    }

    fn halve_chunk(&self, claim: &ChunkClaim) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let Some(job) = inner.jobs.jobs.get_mut(&claim.job.id) else { return Ok(()) };
        let Some(chunk) = job.claimed(claim).filter(|chunk| chunk.rows > 1) else { return Ok(()) };
        let half = chunk.rows / 2;
        let ready = || State::Ready { not_before: Timestamp::MIN };
        let (rows, input_row) = (chunk.rows - half, chunk.input_row);
        let second = Chunk { rows, input_row, state: ready(), attempt: 0, failures: 0 };
        (chunk.rows, chunk.failures, chunk.state) = (half, 0, ready());
        job.chunks.insert(claim.first_row + half, second);
        Ok(())
    }

    fn complete_chunk(
        &self,
        claim: &ChunkClaim,
        outcome: &ChunkOutcome,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let job = inner.jobs.jobs.get_mut(&claim.job.id).filter(|job| job.record.status.is_open());
        let Some(job) = job else { return Ok(false) };
        let Some(chunk) = job.claimed(claim) else { return Ok(false) };
        chunk.state = State::Done(outcome.clone());
        job.record.add_outcome(&ChunkCounts::from(outcome), now);
        job.changed();
        Ok(true)
    }

    fn done_chunks(&self, id: &JobId, from_row: u64, limit: usize) -> Result<Vec<ChunkRecord>, StoreError> {
        let inner = self.lock();
        let Some(job) = inner.jobs.jobs.get(id) else { return Ok(Vec::new()) };
        let open = job.chunks.iter().find(|(_, chunk)| !chunk.is_done()).map(|(row, _)| *row);
        let done = job.chunks.iter().filter_map(|(&first_row, chunk)| match &chunk.state {
            State::Done(outcome) => {
                Some(ChunkRecord { first_row, rows: chunk.rows, outcome: outcome.clone() })
            }
            _ => None,
        });
        let is_asked = |chunk: &ChunkRecord| {
            chunk.first_row + chunk.rows > from_row && open.is_none_or(|open| chunk.first_row < open)
        };
        Ok(done.filter(is_asked).take(limit).collect())
    }

    fn available_rows(&self, id: &JobId) -> Result<u64, StoreError> {
        let inner = self.lock();
        let Some(job) = inner.jobs.jobs.get(id) else { return Ok(0) };
        let open = job.chunks.iter().find(|(_, chunk)| !chunk.is_done()).map(|(row, _)| *row);
        Ok(open.unwrap_or(job.record.rows))
    }

    fn due_jobs(&self, now: Timestamp, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
        let inner = self.lock();
        let records = inner.jobs.jobs.values().map(|job| &job.record);
        let is_due = |job: &&JobRecord| {
            (job.status.is_open() && job.expires_at <= now) || job.deleted_at().is_some_and(|at| at <= now)
        };
        Ok(records.filter(is_due).take(limit).cloned().collect())
    }

    fn release_all_claims(&self) -> Result<(), StoreError> {
        for job in self.lock().jobs.jobs.values_mut() {
            job.lease_until = None;
            for chunk in job.chunks.values_mut() {
                if matches!(chunk.state, State::Leased { .. }) {
                    chunk.failures += 1;
                    chunk.state = State::Ready { not_before: Timestamp::MIN };
                }
            }
        }
        Ok(())
    }

    fn job_statistics(&self) -> Result<JobQueueStatistics, StoreError> {
        let inner = self.lock();
        let mut statistics = JobQueueStatistics::default();
        for job in inner.jobs.jobs.values().filter(|job| !job.record.status.is_final()) {
            statistics.active_jobs += 1;
            statistics.rows_waiting += job.record.rows - job.record.done();
            for chunk in job.chunks.values() {
                statistics.chunks_waiting += u64::from(matches!(chunk.state, State::Ready { .. }));
                statistics.chunks_leased += u64::from(matches!(chunk.state, State::Leased { .. }));
            }
            if matches!(job.record.status, JobStatus::Validating | JobStatus::Queued) {
                let at = job.record.created_at;
                statistics.oldest_queued = Some(statistics.oldest_queued.map_or(at, |oldest| oldest.min(at)));
            }
        }
        Ok(statistics)
    }
}

fn usage(tables: &JobTables, account: &KeyId) -> JobUsage {
    let mut usage = JobUsage::default();
    for job in tables.jobs.values().map(|job| &job.record).filter(|job| job.account == *account) {
        usage.stored_bytes += job.result_bytes;
        if !job.status.is_final() {
            usage.active_jobs += 1;
            usage.rows_waiting += job.rows - job.done();
            usage.stored_bytes += job.input_bytes;
        }
    }
    usage
}
