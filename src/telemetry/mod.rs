//! What an operator sees of a running server: its log, its metrics and its traces.

mod engine;
mod json_lines;
mod keys;
mod log;
mod metrics;
mod otlp;
mod threads;
mod trace;

pub use keys::{KeyRefusal, StoreFailures};
pub use log::{Audience, start, write_held_lines};
pub use metrics::{InFlight, Metrics, Phase, Readings, RequestOutcome, ScoredDocument, TEXT_FORMAT};
pub use otlp::{EndpointError, Exporter, Step};
pub use threads::{ThreadTimes, process_time};
pub use trace::{SpanId, TraceContext, TraceId};
