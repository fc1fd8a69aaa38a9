//! Texts for benchmarks.

/// An English review sentence of ordinary length.
pub(crate) const ENGLISH: &str =
    "The camera is superb and the battery lasts two days, but the service at the shop was slow.";
/// The same in Dutch.
pub(crate) const DUTCH: &str =
    "De camera is geweldig en de batterij gaat twee dagen mee, maar de bediening in de winkel was traag.";
