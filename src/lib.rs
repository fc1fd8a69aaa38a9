//! The sentor server and command line: everything that delivers scores to a caller.
//!
//! The pipeline itself is in the crates below, each of which depends only on those before it:
//!
//! - [`sentor_text`]: sentences, mentions, masking, windows and aggregation, without I/O;
//! - [`sentor_engine`]: model folders, encoding, batching and ONNX Runtime workers;
//! - [`sentor_analysis`]: documents in, scored documents out;
//! - [`sentor_topics`]: clusters of texts and their words, from vectors alone;
//! - [`sentor_store`]: keys, plans, limits, usage and audit, in memory or SQLite.
//!
//! This crate adds [`config`], [`telemetry`], [`topics`], [`http`] and [`cli`].

pub mod config;

pub mod telemetry;

pub mod topics;

pub mod http;

pub mod cli;
