//! Settings of how much work runs and waits.

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// How much work runs and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Worker threads; `None`: one for each core that the process may use.
    pub workers: Option<usize>,
    /// Most padded tokens in one run of the model.
    pub run_tokens: usize,
    /// Most tokens that wait in the queue.
    pub queue_tokens: usize,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "workers",
        kind: Kind::Count { least: 1, most: 1024 },
        default: Fallback::Unset("one for each core that the process may use"),
        help: "Threads that run the model, each with a copy of it.",
    },
    Setting {
        name: "run_tokens",
        kind: Kind::Count { least: 1, most: 1 << 20 },
        default: Fallback::Value("256"),
        help: "Most padded tokens in one run of the model. More gains little on a CPU and makes short \
               requests wait.",
    },
    Setting {
        name: "queue_tokens",
        kind: Kind::Count { least: 1, most: 1 << 40 },
        default: Fallback::Value("2000000"),
        help: "Most tokens that wait; more work is refused with 503 and Retry-After. A request is let in \
               whole or not at all; where nothing waits, one may be larger than this.",
    },
];

impl EngineConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            workers: reader.count_or_unset("workers"),
            run_tokens: reader.count("run_tokens"),
            queue_tokens: reader.count("queue_tokens"),
        }
    }
}
