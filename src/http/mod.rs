//! The server: routes, middleware, and the shapes of requests and answers.
//!
//! [`App`] is what handlers share, `router.rs` shows every route and all middleware, and [`run`]
//! serves them on a listener until it is told to stop. [`ApiError`] is the one way to refuse a request.

mod app;
mod auth;
mod body;
mod budget;
mod error;
mod headers;
mod health;
mod malformed;
mod observe;
mod predict;
mod problems;
mod query;
mod router;
mod server;
mod timeout;

pub use app::{Analyze, App, AppSettings, BoxFuture};
pub use error::{ApiError, ErrorCode};
pub(crate) use predict::document_result;
pub use server::{Patience, Stop, run};
