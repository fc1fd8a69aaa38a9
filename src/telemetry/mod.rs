//! The log, metrics and traces of a running server.

mod engine;
mod jobs;
mod keys;
mod log;
mod metrics;
mod otlp;
mod threads;
mod trace;

pub use jobs::JobReadings;
pub use keys::{KeyRefusal, StoreFailures};
pub use log::{Audience, LogGuard, start};
pub use metrics::{InFlight, Metrics, Phase, Readings, RequestOutcome, ScoredDocument, TEXT_FORMAT};
pub use otlp::{EndpointError, Exporter, FinishedSpan};
pub use threads::{ThreadTimes, process_time};
pub use trace::{SpanId, TraceContext, TraceId};
