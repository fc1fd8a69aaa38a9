//! Settings of how much work runs and waits.

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// How much work runs and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Worker threads; `None`: one for each physical core that the process may use.
    pub workers: Option<usize>,
    /// How far they give way to the server's other threads.
    pub worker_niceness: u8,
    /// Most padded tokens in one run of a model; `None`: as is learnt of each.
    pub run_tokens: Option<usize>,
    /// Most tokens that wait in the queue.
    pub queue_tokens: usize,
    /// Most bytes of bodies that are read or answered at one time.
    pub queue_bytes: usize,
    /// Memory for texts that were scored before.
    pub cache_bytes: usize,
    /// Whether equal texts are run once.
    pub deduplicate: bool,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "workers",
        kind: Kind::Count { least: 1, most: 1024 },
        default: Fallback::Unset("one for each physical core that the process may use"),
        help: "Threads that run the model, each with a copy of it.",
    },
    Setting {
        name: "worker_niceness",
        kind: Kind::Count { least: 0, most: 19 },
        default: Fallback::Value("10"),
        help: "How far these threads of a server give way to others of its control group, as nice(1) has it, so that requests are \
               taken in and refused at once however busy the models are. 0 where the server shares its control group with \
               programs that are to have no more of the processors than it. Linux only.",
    },
    Setting {
        name: "run_tokens",
        kind: Kind::Count { least: 1, most: 1 << 20 },
        default: Fallback::Unset(
            "learnt for each model when a server is idle after its first start; 256 until then",
        ),
        help: "Most padded tokens in one run of a model. More gains little on a CPU and makes short requests \
               wait. What is learnt is kept in learnt.json in the data folder.",
    },
    Setting {
        name: "queue_tokens",
        kind: Kind::Count { least: 1, most: 1 << 40 },
        default: Fallback::Value("2000000"),
        help: "Most tokens that wait; more work is refused with 503 and Retry-After. One key may hold three \
               quarters of what the others leave, so that none shuts out the rest. A request is let in \
               whole or not at all; where nothing waits, one may be larger than this.",
    },
    Setting {
        name: "queue_bytes",
        kind: Kind::Count { least: 1, most: 1 << 40 },
        default: Fallback::Value("268435456"),
        help: "Most bytes of request bodies that are read, wait or are answered at one time; more are refused \
               with 503 before they are read. The default of 256 MiB holds 16 requests of the largest size.",
    },
    Setting {
        name: "cache_bytes",
        kind: Kind::Count { least: 0, most: 1 << 40 },
        default: Fallback::Value("33554432"),
        help: "Memory for the scores of texts that were scored before; 0 keeps none. The default of 32 MiB \
               remembers some 80,000 sentences.",
    },
    Setting {
        name: "deduplicate",
        kind: Kind::Switch,
        default: Fallback::Value("true"),
        help: "Whether equal texts that wait or run at the same time are run once.",
    },
];

impl EngineConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            workers: reader.count_or_unset("workers"),
            // No more than 19, as the setting says.
            worker_niceness: u8::try_from(reader.count("worker_niceness")).unwrap_or_default(),
            run_tokens: reader.count_or_unset("run_tokens"),
            queue_tokens: reader.count("queue_tokens"),
            queue_bytes: reader.count("queue_bytes"),
            cache_bytes: reader.count("cache_bytes"),
            deduplicate: reader.switch("deduplicate"),
        }
    }
}
