//! Who asks, as the fair queue sees it.

use std::num::NonZeroU32;
use std::sync::Arc;

/// Whose work it is: the rows of one caller share its turns in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    name: Arc<str>,
    weight: NonZeroU32,
}

impl Caller {
    /// How many times the share of a caller of weight 1 this one gets while both wait.
    pub fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    /// The same caller with another share. What it last came with counts.
    #[must_use]
    pub fn with_weight(self, weight: NonZeroU32) -> Self {
        Self { weight, ..self }
    }

    /// What tells it from others: the key's identifier over HTTP, one constant elsewhere.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl From<&str> for Caller {
    /// A caller of weight 1.
    fn from(name: &str) -> Self {
        Self { name: Arc::from(name), weight: NonZeroU32::MIN }
    }
}
