//! What the benchmarks share: texts, and where the models are.

use std::path::PathBuf;

/// An English review sentence of ordinary length.
pub const ENGLISH: &str =
    "The camera is superb and the battery lasts two days, but the service at the shop was slow.";
/// The same in Dutch.
pub const DUTCH: &str =
    "De camera is geweldig en de batterij gaat twee dagen mee, maar de bediening in de winkel was traag.";

/// The model folders of the repository.
pub fn models_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models")
}
