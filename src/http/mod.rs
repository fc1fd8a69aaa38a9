//! The server: routes, middleware, and the shapes of requests and answers.
//!
//! [`app::App`] is what handlers share, [`router::router`] shows every route and all middleware, and
//! [`server::run`] serves it on a listener until it is told to stop. [`error::ApiError`] is the one way to
//! refuse a request.

mod app;
mod auth;
mod body;
mod error;
mod headers;
mod health;
mod observe;
mod predict;
mod query;
mod router;
mod server;

pub use app::{Analyze, App, AppSettings, BoxFuture};
pub use error::{ApiError, ErrorCode};
pub use router::router;
pub use server::{Patience, Stop, run};
