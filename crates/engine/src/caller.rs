//! Callers of the engine, as the fair queue distinguishes them.

use std::num::NonZeroU32;
use std::sync::Arc;

/// A caller: its requests share one place in the order of service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    name: Arc<str>,
    weight: NonZeroU32,
    priority: Priority,
}

/// Whether somebody waits for the answers to a caller. A name has one priority for as long as it has work queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits.
    #[default]
    Online,
    /// Nobody waits: this work is served while no online work is queued.
    Background,
}

impl Caller {
    /// Whether somebody waits for its answers.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The same caller as one whose answers nobody waits for.
    #[must_use]
    pub fn in_background(self) -> Self {
        Self { priority: Priority::Background, ..self }
    }

    /// Share relative to a caller of weight 1, while both have work queued.
    pub fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    /// The same caller with another weight. The weight of its latest request counts.
    #[must_use]
    pub fn with_weight(self, weight: NonZeroU32) -> Self {
        Self { weight, ..self }
    }

    /// Its identity: the account of the key over HTTP, one constant elsewhere.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl From<&str> for Caller {
    /// A caller of weight 1.
    fn from(name: &str) -> Self {
        Self { name: Arc::from(name), weight: NonZeroU32::MIN, priority: Priority::Online }
    }
}
