//! The server: routes, middleware, and the formats of requests and answers.
//!
//! [`App`] holds what handlers share. `router.rs` lists every route and all middleware, and [`run`] serves them on a listener
//! until it is told to stop. [`ApiError`] is the one way to reject a request.

mod admin;
mod answer;
mod app;
mod auth;
mod body;
mod budget;
mod connection;
mod demo;
mod embeddings;
mod error;
mod files;
mod head;
mod headers;
mod health;
mod jobs;
mod malformed;
mod metrics;
mod observe;
mod openapi;
mod pages;
mod predict;
mod problems;
mod query;
mod readiness;
mod router;
mod server;
mod timeout;
mod tls;
mod topics;
mod usage;

pub(crate) use admin::{KeyView, NewKeyView};
pub use app::{Analyze, App, AppSettings, BoxFuture, Services};
pub use error::{ApiError, ErrorCode};
pub use jobs::{JobHost, JobService};
pub use openapi::document as openapi_document;
#[cfg(fuzzing)]
pub use predict::read_predict_body;
pub use router::ListenerRole;
pub use server::{Endpoint, Stop, Timeouts, run};
pub use tls::{Tls, TlsError, TlsFiles};

/// Runs `work` on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    // The panic hook logs a panic, inside this request's span.
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|_| ApiError::server())
}
