//! Tests of the server, the engine and the command line from outside, in one binary that links once.

mod admin_api;
mod bounds;
mod config_sources;
mod engine;
mod engine_stress;
mod hostile;
mod http_api;
mod http_bodies;
mod http_raw;
mod http_serve;
mod limits;
mod models;
mod mutations;
mod observability;
mod operation;
mod packaging;
mod pair;
mod privacy;
mod readiness;
mod support;
