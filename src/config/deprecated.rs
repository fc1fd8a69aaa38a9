//! Deprecated setting names.
//!
//! A renamed setting keeps its old name for one release: the file, the environment and the flags accept it, and the
//! program logs a warning that names the new one. To rename a setting, change its row in the table of its section and
//! add a row here; remove the row a release later.

use std::fmt;

use super::setting::Setting;
use super::settings;
use super::sources::Origin;

/// A name that a setting had before.
#[derive(Debug)]
pub(crate) struct DeprecatedName {
    /// The name that is going away.
    pub(crate) old: &'static str,
    /// The name of the setting now.
    pub(crate) new: &'static str,
}

/// All deprecated names.
pub(crate) const DEPRECATED_NAMES: &[DeprecatedName] = &[
    // Since 0.2.0.
    DeprecatedName { old: "run_tokens", new: "max_batch_tokens" },
    DeprecatedName { old: "queue_tokens", new: "max_queued_tokens" },
    DeprecatedName { old: "queue_bytes", new: "max_buffered_bytes" },
];

impl DeprecatedName {
    /// The setting that the name stands for.
    pub(crate) fn setting(&self) -> Option<&'static Setting> {
        settings().find(|setting| setting.name == self.new)
    }
}

/// Looks up a deprecated name.
pub(super) fn find(name: &str) -> Option<&'static DeprecatedName> {
    DEPRECATED_NAMES.iter().find(|deprecated| deprecated.old == name)
}

/// A deprecated name in use; reads as a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// The source that uses it.
    pub origin: Origin,
    /// The deprecated name.
    pub old: &'static str,
    /// The name to use.
    pub new: &'static str,
}

impl fmt::Display for Deprecation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, old, new } = self;
        write!(formatter, "{origin}: `{old}` is deprecated and goes in the next release; use `{new}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deprecated_name_stands_for_a_setting_and_is_none_itself() {
        for deprecated in DEPRECATED_NAMES {
            assert!(deprecated.setting().is_some(), "{}", deprecated.new);
            assert!(settings().all(|setting| setting.name != deprecated.old), "{}", deprecated.old);
        }
    }
}
