//! Rows of the tables of jobs, read and written.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, ToSql, Transaction, named_params};

use super::WriteError;
use crate::jobs::{ChunkOutcome, ChunkRecord, Ending, JobId, JobRecord, JobStatus};
use crate::keys::KeyId;

/// Columns of [`read_job`], and of [`write_job`] as parameters of the same names.
pub(super) const COLUMNS: &str = "id, account, plan, spec, priority, status, ending, failure, created_at, started_at, paused_at,
    paused_for, finished_at, expires_at, keep_results, input_bytes, split_bytes, rows, is_split, succeeded, failed,
    result_bytes, revision";

/// Adds or replaces a job; its claim stays as it is.
pub(super) fn write_job(transaction: &Transaction<'_>, job: &JobRecord) -> Result<(), WriteError> {
    let names: Vec<&str> = COLUMNS.split(',').map(str::trim).collect();
    let values: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
    let changes: Vec<String> = names.iter().skip(1).map(|name| format!("{name} = :{name}")).collect();
    let sql = format!(
        "INSERT INTO jobs ({COLUMNS}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}",
        values.join(", "),
        changes.join(", ")
    );
    let at = |moment: Option<Timestamp>| moment.map(Timestamp::as_microsecond);
    let parameters: &[(&str, &dyn ToSql)] = named_params! {
        ":id": job.id.as_str(),
        ":account": job.account.as_str(),
        ":plan": job.plan,
        ":spec": job.spec,
        ":priority": job.priority,
        ":status": job.status.name(),
        ":ending": job.ending.map(|ending| ending.status().name()),
        ":failure": job.failure,
        ":created_at": job.created_at.as_microsecond(),
        ":started_at": at(job.started_at),
        ":paused_at": at(job.paused_at),
        ":paused_for": microseconds(job.paused_for),
        ":finished_at": at(job.finished_at),
        ":expires_at": job.expires_at.as_microsecond(),
        ":keep_results": microseconds(job.keep_results),
        ":input_bytes": signed(job.input_bytes),
        ":split_bytes": signed(job.split_bytes),
        ":rows": signed(job.rows),
        ":is_split": job.is_split,
        ":succeeded": signed(job.succeeded),
        ":failed": signed(job.failed),
        ":result_bytes": signed(job.result_bytes),
        ":revision": signed(job.revision),
    };
    transaction.prepare_cached(&sql)?.execute(parameters)?;
    Ok(())
}

pub(super) fn read_job(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    let at = |name: &str| -> rusqlite::Result<Option<Timestamp>> {
        let microseconds: Option<i64> = row.get(name)?;
        Ok(microseconds.map(|at| Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH)))
    };
    let count = |name: &str| row.get(name).map(unsigned);
    let status: String = row.get("status")?;
    let ending: Option<String> = row.get("ending")?;
    Ok(JobRecord {
        id: JobId::new(row.get::<_, String>("id")?),
        account: KeyId::new(row.get::<_, String>("account")?),
        plan: row.get("plan")?,
        spec: row.get("spec")?,
        priority: row.get("priority")?,
        // A row that another program changed counts as failed.
        status: JobStatus::parse(&status).unwrap_or(JobStatus::Failed),
        ending: ending.as_deref().and_then(Ending::parse),
        failure: row.get("failure")?,
        created_at: at("created_at")?.unwrap_or(Timestamp::UNIX_EPOCH),
        started_at: at("started_at")?,
        paused_at: at("paused_at")?,
        paused_for: SignedDuration::from_micros(row.get("paused_for")?),
        finished_at: at("finished_at")?,
        expires_at: at("expires_at")?.unwrap_or(Timestamp::MAX),
        keep_results: SignedDuration::from_micros(row.get("keep_results")?),
        input_bytes: count("input_bytes")?,
        split_bytes: count("split_bytes")?,
        rows: count("rows")?,
        is_split: row.get("is_split")?,
        succeeded: count("succeeded")?,
        failed: count("failed")?,
        result_bytes: count("result_bytes")?,
        revision: count("revision")?,
    })
}

pub(super) fn read_chunk(row: &Row<'_>) -> rusqlite::Result<ChunkRecord> {
    Ok(ChunkRecord {
        first_row: unsigned(row.get(0)?),
        rows: unsigned(row.get(1)?),
        outcome: ChunkOutcome {
            succeeded: unsigned(row.get(2)?),
            failed: unsigned(row.get(3)?),
            result_object: row.get(4)?,
            result_bytes: unsigned(row.get(5)?),
            result_sha256: row.get(6)?,
            error_object: row.get(7)?,
        },
    })
}

fn microseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
