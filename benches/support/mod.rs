//! The models for benchmarks.

use std::path::PathBuf;

/// The model folders of the repository.
pub(crate) fn models_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models")
}
