//! Jobs in SQLite.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::job_rows::{COLUMNS, read_chunk, read_job, signed, unsigned, write_job};
use super::{LONG_WAIT, SqliteStore};
use crate::error::StoreError;
use crate::jobs::{
    ChunkClaim, ChunkOutcome, ChunkRecord, ClaimTime, IdempotencyKey, JobError, JobId, JobLimits, JobPage,
    JobQuery, JobQueueStatistics, JobRecord, JobStatus, JobStore, JobUsage, NewChunk, StepError, Submission,
};
use crate::keys::KeyId;

/// States of a chunk; 2 is done.
const READY: i64 = 0;
const LEASED: i64 = 1;

impl JobStore for SqliteStore {
    fn insert_job(
        &self,
        job: &JobRecord,
        limits: &JobLimits,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Submission, StoreError> {
        self.write(LONG_WAIT, |transaction| {
            if let Some(given) = idempotency {
                transaction.execute(
                    "DELETE FROM job_keys WHERE created_at < ?1",
                    [given.counts_since.as_microsecond()],
                )?;
                let known: Option<(String, String)> = transaction
                    .prepare_cached("SELECT digest, job FROM job_keys WHERE account = ?1 AND key = ?2")?
                    .query_row(params![job.account.as_str(), given.key], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                if let Some((digest, id)) = known {
                    let known = if digest == given.digest { find(transaction, &id)? } else { None };
                    return Ok(known.map_or(Submission::KeyReused, |job| Submission::Known(Box::new(job))));
                }
            }
            if let Some(limit) = limits.active_jobs
                && usage(transaction, &job.account)?.active_jobs >= limit
            {
                return Ok(Submission::TooManyJobs { limit });
            }
            write_job(transaction, job)?;
            if let Some(given) = idempotency {
                transaction.execute(
                    "INSERT INTO job_keys (account, key, digest, job, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        job.account.as_str(),
                        given.key,
                        given.digest,
                        job.id.as_str(),
                        job.created_at.as_microsecond()
                    ],
                )?;
            }
            Ok(Submission::Added)
        })
    }

    fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        self.read(|connection| find(connection, id.as_str()))
    }

    fn jobs(&self, query: &JobQuery) -> Result<JobPage, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE account = ?1 AND (?2 IS NULL OR status = ?2)
                 AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4"
            );
            let status = query.status.map(JobStatus::name);
            let after = query.after.as_ref().map(JobId::as_str);
            // One more tells whether there is a next page.
            let limit_and_one = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement
                .query_map(params![query.account.as_str(), status, after, limit_and_one], read_job)?;
            let mut jobs = rows.collect::<rusqlite::Result<Vec<JobRecord>>>()?;
            let has_more = jobs.len() > query.limit;
            jobs.truncate(query.limit);
            Ok(JobPage { jobs, has_more })
        })
    }

    fn job_usage(&self, account: &KeyId) -> Result<JobUsage, StoreError> {
        self.read(|connection| usage(connection, account))
    }

    fn update_job(
        &self,
        id: &JobId,
        change: &mut dyn FnMut(&mut JobRecord) -> Result<(), StepError>,
    ) -> Result<JobRecord, JobError> {
        let outcome = self.write(LONG_WAIT, |transaction| {
            let Some(job) = find(transaction, id.as_str())? else {
                return Ok(Err(JobError::NoSuchJob(id.clone())));
            };
            let mut changed = job.clone();
            if let Err(error) = change(&mut changed) {
                return Ok(Err(error.into()));
            }
            if changed != job {
                changed.revision += 1;
                write_job(transaction, &changed)?;
            }
            Ok(Ok(changed))
        });
        outcome?
    }

    fn remove_job(&self, id: &JobId) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            transaction.execute("DELETE FROM jobs WHERE id = ?1", [id.as_str()])?;
            Ok(())
        })
    }

    fn claim_job(&self, time: ClaimTime) -> Result<Option<(JobRecord, u64)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE finished_at IS NULL AND lease_until <= ?1
             AND (status IN ('finalizing', 'cancelling')
                 OR NOT is_split AND status IN ('validating', 'queued', 'running'))
             ORDER BY id LIMIT 1"
        );
        let now = time.now.as_microsecond();
        let has_one = self.read(|connection| connection.prepare_cached(&sql)?.exists([now]))?;
        if !has_one {
            return Ok(None);
        }
        self.write(LONG_WAIT, |transaction| {
            let job = transaction.prepare_cached(&sql)?.query_row([now], read_job).optional()?;
            let Some(job) = job else { return Ok(None) };
            let attempt: i64 = transaction.query_row(
                "UPDATE jobs SET attempt = attempt + 1, lease_until = ?2 WHERE id = ?1 RETURNING attempt",
                params![job.id.as_str(), time.lease_until().as_microsecond()],
                |row| row.get(0),
            )?;
            Ok(Some((job, unsigned(attempt))))
        })
    }

    fn renew_job(&self, id: &JobId, attempt: u64, time: ClaimTime) -> Result<bool, StoreError> {
        self.write(LONG_WAIT, |transaction| {
            let changed = transaction.execute(
                "UPDATE jobs SET lease_until = ?3 WHERE id = ?1 AND attempt = ?2",
                params![id.as_str(), signed(attempt), time.lease_until().as_microsecond()],
            )?;
            Ok(changed == 1)
        })
    }

    fn release_job(&self, id: &JobId, attempt: u64) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            let sql = "UPDATE jobs SET lease_until = 0 WHERE id = ?1 AND attempt = ?2";
            transaction.execute(sql, params![id.as_str(), signed(attempt)])?;
            Ok(())
        })
    }

    fn add_chunk(
        &self,
        id: &JobId,
        attempt: u64,
        chunk: NewChunk,
        is_last: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(LONG_WAIT, |transaction| {
            let claimed: bool = transaction
                .prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND attempt = ?2")?
                .exists(params![id.as_str(), signed(attempt)])?;
            let Some(mut job) = find(transaction, id.as_str())?.filter(|job| claimed && job.status.is_open())
            else {
                return Ok(false);
            };
            if chunk.rows > 0 {
                transaction.execute(
                    "INSERT INTO job_chunks (job, first_row, rows, input_row) VALUES (?1, ?2, ?3, ?2)",
                    params![id.as_str(), signed(job.rows), signed(chunk.rows)],
                )?;
            }
            job.add_rows(chunk.rows, chunk.split_bytes, is_last, now);
            job.revision += 1;
            write_job(transaction, &job)?;
            if is_last {
                transaction.execute("UPDATE jobs SET lease_until = 0 WHERE id = ?1", [id.as_str()])?;
            }
            Ok(true)
        })
    }

    fn claim_chunk(&self, time: ClaimTime) -> Result<Option<ChunkClaim>, StoreError> {
        const SQL: &str = "SELECT j.id FROM jobs j LEFT JOIN job_accounts a ON a.account = j.account
             WHERE j.finished_at IS NULL AND j.status IN ('queued', 'running') AND EXISTS (
                 SELECT 1 FROM job_chunks c WHERE c.job = j.id AND c.state < 2 AND c.free_at <= ?1)
             ORDER BY a.served_at NULLS FIRST, j.priority DESC, j.id LIMIT 1";
        let now = time.now.as_microsecond();
        // Without a transaction first: an idle server asks every second.
        let has_one = self.read(|connection| connection.prepare_cached(SQL)?.exists([now]))?;
        if !has_one {
            return Ok(None);
        }
        self.write(LONG_WAIT, |transaction| {
            let id: Option<String> =
                transaction.prepare_cached(SQL)?.query_row([now], |row| row.get(0)).optional()?;
            let Some(id) = id else { return Ok(None) };
            let Some(mut job) = find(transaction, &id)? else { return Ok(None) };
            job.start(time.now);
            job.revision += 1;
            write_job(transaction, &job)?;
            transaction.execute(
                "INSERT INTO job_accounts (account, served_at) VALUES (?1, ?2)
                 ON CONFLICT (account) DO UPDATE SET served_at = excluded.served_at",
                params![job.account.as_str(), now],
            )?;
            // A lease that ran out is a failure of whoever had it.
            let claim = transaction
                .prepare_cached(
                    "UPDATE job_chunks SET attempt = attempt + 1, failures = failures + (state = 1),
                         state = 1, free_at = ?3
                     WHERE job = ?1 AND first_row = (
                         SELECT first_row FROM job_chunks
                         WHERE job = ?1 AND state < 2 AND free_at <= ?2 ORDER BY first_row LIMIT 1)
                     RETURNING first_row, rows, input_row, attempt, failures",
                )?
                .query_row(params![id, now, time.lease_until().as_microsecond()], |row| {
                    Ok(ChunkClaim {
                        job,
                        first_row: unsigned(row.get(0)?),
                        rows: unsigned(row.get(1)?),
                        input_row: unsigned(row.get(2)?),
                        attempt: unsigned(row.get(3)?),
                        failures: unsigned(row.get(4)?),
                    })
                })?;
            Ok(Some(claim))
        })
    }

    fn renew_chunk(&self, claim: &ChunkClaim, time: ClaimTime) -> Result<bool, StoreError> {
        self.write(LONG_WAIT, |transaction| {
            let until = time.lease_until().as_microsecond();
            let changed = transaction.execute(
                "UPDATE job_chunks SET free_at = ?4
                 WHERE job = ?1 AND first_row = ?2 AND attempt = ?3 AND state = 1 AND EXISTS (
                     SELECT 1 FROM jobs WHERE id = ?1
                     AND status IN ('validating', 'queued', 'running', 'paused'))",
                params![claim.job.id.as_str(), signed(claim.first_row), signed(claim.attempt), until],
            )?;
            Ok(changed == 1)
        })
    }

    fn release_chunk(
        &self,
        claim: &ChunkClaim,
        is_failure: bool,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            transaction.execute(
                "UPDATE job_chunks SET state = 0, free_at = ?4, failures = failures + ?5
                 WHERE job = ?1 AND first_row = ?2 AND attempt = ?3 AND state = 1",
                params![
                    claim.job.id.as_str(),
                    signed(claim.first_row),
                    signed(claim.attempt),
                    not_before.as_microsecond(),
                    is_failure
                ],
            )?;
            Ok(())
        })
    }

    fn halve_chunk(&self, claim: &ChunkClaim) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            if !is_claimed(transaction, claim)? || claim.rows < 2 {
                return Ok(());
            }
            let half = claim.rows / 2;
            let id = claim.job.id.as_str();
            transaction.execute(
                "UPDATE job_chunks SET rows = ?3, failures = 0, state = 0, free_at = 0
                 WHERE job = ?1 AND first_row = ?2",
                params![id, signed(claim.first_row), signed(half)],
            )?;
            transaction.execute(
                "INSERT INTO job_chunks (job, first_row, rows, input_row) VALUES (?1, ?2, ?3, ?4)",
                params![
                    id,
                    signed(claim.first_row + half),
                    signed(claim.rows - half),
                    signed(claim.input_row)
                ],
            )?;
            Ok(())
        })
    }

    fn complete_chunk(
        &self,
        claim: &ChunkClaim,
        outcome: &ChunkOutcome,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(LONG_WAIT, |transaction| {
            let job = find(transaction, claim.job.id.as_str())?.filter(|job| job.status.is_open());
            let Some(mut job) = job else { return Ok(false) };
            if !is_claimed(transaction, claim)? {
                return Ok(false);
            }
            transaction.execute(
                "UPDATE job_chunks SET state = 2, succeeded = ?3, failed = ?4, result_object = ?5, result_bytes = ?6,
                     result_sha256 = ?7, error_object = ?8 WHERE job = ?1 AND first_row = ?2",
                params![
                    job.id.as_str(),
                    signed(claim.first_row),
                    signed(outcome.succeeded),
                    signed(outcome.failed),
                    outcome.result_object,
                    signed(outcome.result_bytes),
                    outcome.result_sha256,
                    outcome.error_object
                ],
            )?;
            job.add_outcome(&outcome.into(), now);
            job.revision += 1;
            write_job(transaction, &job)?;
            Ok(true)
        })
    }

    fn done_chunks(&self, id: &JobId, from_row: u64, limit: usize) -> Result<Vec<ChunkRecord>, StoreError> {
        self.read(|connection| {
            let open = first_open(connection, id)?.unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(
                "SELECT first_row, rows, succeeded, failed, result_object, result_bytes, result_sha256, error_object
                 FROM job_chunks WHERE job = ?1 AND first_row < ?2 AND first_row >= coalesce(
                     (SELECT max(first_row) FROM job_chunks WHERE job = ?1 AND first_row <= ?3), 0)
                 ORDER BY first_row LIMIT ?4",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![id.as_str(), open, signed(from_row), limit], read_chunk)?;
            let chunks = rows.collect::<rusqlite::Result<Vec<ChunkRecord>>>()?;
            Ok(chunks.into_iter().filter(|chunk| chunk.first_row + chunk.rows > from_row).collect())
        })
    }

    fn available_rows(&self, id: &JobId) -> Result<u64, StoreError> {
        self.read(|connection| {
            let open = first_open(connection, id)?;
            let rows = || find(connection, id.as_str()).map(|job| job.map_or(0, |job| job.rows));
            open.map_or_else(rows, |open| Ok(unsigned(open)))
        })
    }

    fn due_jobs(&self, now: Timestamp, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs
                 WHERE finished_at IS NULL AND expires_at <= ?1
                     AND status IN ('validating', 'queued', 'running', 'paused')
                 UNION ALL SELECT {COLUMNS} FROM jobs
                 WHERE finished_at IS NOT NULL AND finished_at <= ?1 - keep_results LIMIT ?2"
            );
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(params![now.as_microsecond(), limit], read_job)?.collect()
        })
    }

    fn release_all_claims(&self) -> Result<(), StoreError> {
        self.write(LONG_WAIT, |transaction| {
            transaction.execute("UPDATE jobs SET lease_until = 0 WHERE finished_at IS NULL", [])?;
            let sql = "UPDATE job_chunks SET state = 0, free_at = 0, failures = failures + 1 WHERE state = 1";
            transaction.execute(sql, [])?;
            Ok(())
        })
    }

    fn job_statistics(&self) -> Result<JobQueueStatistics, StoreError> {
        self.read(|connection| {
            let mut statistics = connection
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(rows - succeeded - failed), 0),
                         min(CASE WHEN status IN ('validating', 'queued') THEN created_at END)
                     FROM jobs WHERE finished_at IS NULL",
                )?
                .query_row([], |row| {
                    let oldest: Option<i64> = row.get(2)?;
                    Ok(JobQueueStatistics {
                        active_jobs: unsigned(row.get(0)?),
                        rows_waiting: unsigned(row.get(1)?),
                        oldest_queued: oldest.and_then(|at| Timestamp::from_microsecond(at).ok()),
                        ..JobQueueStatistics::default()
                    })
                })?;
            let mut statement = connection.prepare_cached(
                "SELECT state, count(*) FROM job_chunks WHERE state < 2
                 AND job IN (SELECT id FROM jobs WHERE finished_at IS NULL) GROUP BY state",
            )?;
            let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for count in counts {
                match count? {
                    (READY, count) => statistics.chunks_waiting = unsigned(count),
                    (LEASED, count) => statistics.chunks_leased = unsigned(count),
                    _ => {}
                }
            }
            Ok(statistics)
        })
    }
}

/// Whether a claim is the latest of its chunk.
fn is_claimed(transaction: &Transaction<'_>, claim: &ChunkClaim) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "SELECT 1 FROM job_chunks WHERE job = ?1 AND first_row = ?2 AND attempt = ?3 AND state = 1",
        )?
        .exists(params![claim.job.id.as_str(), signed(claim.first_row), signed(claim.attempt)])
}

/// The first row of the first chunk that is not done.
fn first_open(connection: &Connection, id: &JobId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT min(first_row) FROM job_chunks WHERE job = ?1 AND state < 2")?
        .query_row([id.as_str()], |row| row.get(0))
}

fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<JobRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id], read_job).optional()
}

fn usage(connection: &Connection, account: &KeyId) -> rusqlite::Result<JobUsage> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE finished_at IS NULL),
                 coalesce(sum(rows - succeeded - failed) FILTER (WHERE finished_at IS NULL), 0),
                 coalesce(sum(result_bytes), 0)
                     + coalesce(sum(input_bytes) FILTER (WHERE finished_at IS NULL), 0)
             FROM jobs WHERE account = ?1",
        )?
        .query_row([account.as_str()], |row| {
            Ok(JobUsage {
                active_jobs: unsigned(row.get(0)?),
                rows_waiting: unsigned(row.get(1)?),
                stored_bytes: unsigned(row.get(2)?),
            })
        })
}
