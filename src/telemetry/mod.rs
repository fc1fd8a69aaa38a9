//! What an operator sees of a running server: its log, its metrics and its traces.

mod engine;
mod log;
mod metrics;
mod otlp;
mod threads;
mod trace;

pub use log::{Audience, start};
pub use metrics::{InFlight, Metrics, Phase, RequestOutcome, ScoredDocument, TEXT_FORMAT};
pub use otlp::{EndpointError, Exporter, Step};
pub use threads::{ThreadTimes, process_time};
pub use trace::{SpanId, TraceContext, TraceId};
