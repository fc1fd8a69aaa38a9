//! The extension module `sentor._native`: the scoring pipeline inside a Python process.
//!
//! It does not change its host: it sets no allocator, no signal handler, no log and no global thread pool, and nothing in it
//! outlives a `fork`.
//!
//! 1. `engine` has what Python sees: an engine that is started from paths, and answers to wait for.
//! 2. `core` has the pipeline with its threads.
//! 3. `stream` scores Arrow streams, and `columns` writes scores as Arrow columns.

mod engine;

mod core;

mod columns;
mod stream;

use pyo3::prelude::*;

/// Scoring inside this process. The package `sentor` is its interface.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::engine::{Answer, Engine, load_runtime};
    #[pymodule_export]
    use super::stream::ArrowStream;
}
