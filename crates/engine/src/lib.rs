//! Encoded sequences in, outputs out: admission, the queue, batching, and the workers that run the models.
//!
//! 1. [`registry`] reads model folders, and [`encode`] turns text into a model's sequences.
//! 2. [`Engine::submit`] accepts the sequences of a request or rejects them all (`admission`). Sequences that are equal to
//!    one that is queued, under way or cached are not scored again (`state`, `in_flight`, `cache`).
//! 3. A sequence waits in its caller's queue until a worker is free. Only then `scheduler` forms a batch from it and
//!    others of similar length.
//! 4. A `worker` runs the batch through the model (`onnx`), and the [`Ticket`] of each request receives its outputs
//!    (`output`).

pub mod encode;
pub mod registry;

mod engine;
mod ticket;

mod admission;
mod caller;
mod cost;
mod in_flight;
mod scheduler;
#[cfg(test)]
mod simulation;
mod state;

mod cache;
mod deferred;
mod network;
mod onnx;
mod output;
mod worker;

mod cores;
mod priority;
mod stall;
mod statistics;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use caller::{Caller, Priority};
pub use cores::available_cores;
pub use engine::{Engine, EngineError, EngineSettings, SubmitError};
pub use network::{Network, RunError};
pub use onnx::{
    NetworkSource, ONNXRUNTIME_VERSION, Runtime, RuntimeError, default_library, disable_telemetry,
};
pub use output::{BatchOutput, OutputField, OutputLayout, RowsPer, SequenceOutput};
pub use state::ExpectedTokens;
pub use statistics::{
    CacheStatistics, DurationStatistics, EngineStatistics, ModelStatistics, RejectionStatistics,
};
pub use ticket::{Dropped, Ticket};

/// Locks a mutex whose data is never left half changed, so that a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
