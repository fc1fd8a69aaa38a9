//! Jobs: large inputs are scored in chunks, beneath online traffic, and their results can be read in order meanwhile.
//!
//! ```text
//! submission ─▶ objects: JOB/upload ─▶ cut.rs: chunks of about a second of work ─▶ objects: JOB/input/ROW
//!                                                                                     │
//!                store (sentor-store): jobs, and the queue of chunks with leases ◀────┘
//!                  ▲ claims, renews, completes                        │
//! runner/ ─────────┴─▶ score.rs: one chunk ─▶ objects: JOB/results/… ─┴▶ results.rs: rows in input order
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | what can be asked of a job | `spec.rs` |
//! | names of objects, and where they are kept | `objects.rs` |
//! | how rows of an input are read | `rows.rs` |
//! | what happens to a chunk that keeps failing | `runner/mod.rs`: `work_on_chunk` |
//!
//! A text's scores do not depend on what is scored beside it. A chunk that two workers score therefore gives the same bytes
//! twice, and whichever is recorded is right: chunks run at least once, and each row has its result exactly once.

mod spec;

mod objects;

mod rows;

mod cut;

mod score;

mod runner;

mod results;

pub use objects::{ObjectError, Objects, Upload};
pub use results::{ByteRange, RowStream, result_bytes, stream_errors, stream_results};
pub use runner::{Runner, RunnerCounters, RunnerSettings, RunnerStatistics};
pub use score::{ErrorLine, Host, hexadecimal};
pub use spec::{Columns, InputFormat, JobSpec, OnError, new_job_id};
