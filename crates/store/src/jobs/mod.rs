//! Jobs: what is stored of them, their life cycle, and the queue of their chunks.
//!
//! A job is cut into chunks of rows. A worker claims a chunk for the time of a lease, renews the lease while it works, and
//! completes the chunk. Each claim raises the chunk's attempt number, and only the latest attempt can complete the chunk: a
//! worker that was taken for dead changes nothing. No transaction lasts while texts are scored.

mod memory;
mod record;
mod store;

pub(crate) use memory::JobTables;
pub use record::{Ending, JobId, JobRecord, JobStatus, JobStep, StepError};
pub use store::{
    ChunkClaim, ChunkOutcome, ChunkRecord, ClaimTime, IdempotencyKey, JobError, JobLimits, JobPage, JobQuery,
    JobQueueStatistics, JobStore, JobUsage, NewChunk, Submission,
};
