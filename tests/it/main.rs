//! Tests of the server, the engine and the command line from outside, in one binary that links once.

mod admin_api;
mod bounds;
mod commands;
mod config_sources;
#[cfg(target_os = "linux")]
mod disk;
mod engine;
mod engine_stress;
mod hostile;
mod http_bodies;
mod http_bounds;
mod http_errors;
mod http_health;
mod http_keys;
mod http_predict;
mod http_raw;
mod jobs;
mod jobs_kill;
mod limits;
mod models;
mod mutations;
mod names;
mod observability;
mod operation;
mod packaging;
mod pair;
mod predict_files;
mod privacy;
mod readiness;
mod reload;
mod scores;
mod serve;
mod support;
mod tls;
mod topics;
mod worst;
