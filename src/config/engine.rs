//! Settings of the engine: workers, batches, queue and cache.

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// Workers, batches, queue and cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Worker threads; `None`: one for each physical core that the process may use.
    pub workers: Option<usize>,
    /// Niceness of the worker threads, 0 to 19.
    pub worker_niceness: u8,
    /// Maximum padded tokens per batch.
    pub max_batch_tokens: usize,
    /// Maximum tokens in the queue.
    pub max_queued_tokens: usize,
    /// Maximum bytes of request bodies in memory at one time.
    pub max_buffered_bytes: usize,
    /// Maximum bytes of answers in memory at one time.
    pub max_answer_bytes: usize,
    /// Maximum bytes of the score cache.
    pub cache_bytes: usize,
    /// Whether equal texts in the queue are scored once.
    pub deduplicate: bool,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "workers",
        kind: Kind::Count { least: 1, most: 1024 },
        default: Fallback::Unset("one for each physical core that the process may use"),
        help: "Threads that run the models, which are in memory once for all of them.",
    },
    Setting {
        name: "worker_niceness",
        kind: Kind::Count { least: 0, most: 19 },
        default: Fallback::Value("10"),
        help: "Niceness of the worker threads of a server, as in nice(1): the threads that accept and reject requests stay \
               quick while the models are busy. Set 0 where the server shares its control group with programs that should \
               not get more processor time than it. Linux only.",
    },
    Setting {
        name: "max_batch_tokens",
        kind: Kind::Count { least: 1, most: 1 << 20 },
        default: Fallback::Value("256"),
        help: "Maximum padded tokens per batch. Larger batches gain little on a CPU and make short requests wait.",
    },
    Setting {
        name: "max_queued_tokens",
        kind: Kind::Count { least: 1, most: 1 << 40 },
        default: Fallback::Value("2000000"),
        help: "Maximum tokens in the queue; the server refuses more work with 503 and Retry-After. Each sentence, mention \
               and entity of an answer counts as 4 tokens at least. One key may hold three \
               quarters of the free space, so that no key shuts out the others. A request is queued whole or not at all; an \
               empty queue accepts one request that is larger than this.",
    },
    Setting {
        name: "max_buffered_bytes",
        kind: Kind::Count { least: 1, most: 1 << 40 },
        default: Fallback::Value("100663296"),
        help: "Maximum bytes of request bodies in memory at one time, from the first byte read to the answer; the server \
               refuses more with 503 before it reads them. One key may hold three quarters of what the others leave. The \
               default of 96 MiB holds 6 requests of the largest size.",
    },
    Setting {
        name: "max_answer_bytes",
        kind: Kind::Count { least: 1, most: 1 << 40 },
        default: Fallback::Value("100663296"),
        help: "Maximum bytes of answers in memory at one time, from writing them to the last byte sent; the server \
               refuses more with 503, and a request whose answer alone is larger with 413. One key may hold three quarters \
               of what the others leave. The default of 96 MiB holds the answer to 10,000 reviews of 1,600 bytes.",
    },
    Setting {
        name: "cache_bytes",
        kind: Kind::Count { least: 0, most: 1 << 40 },
        default: Fallback::Value("33554432"),
        help: "Maximum memory for the scores of texts seen before; 0 turns the cache off. The default of 32 MiB holds some \
               80,000 sentences.",
    },
    Setting {
        name: "deduplicate",
        kind: Kind::Switch,
        default: Fallback::Value("true"),
        help: "Whether equal texts that wait or run at the same time are scored once.",
    },
];

impl EngineConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            workers: reader.count_or_unset("workers"),
            // The setting allows no more than 19.
            worker_niceness: u8::try_from(reader.count("worker_niceness")).unwrap_or_default(),
            max_batch_tokens: reader.count("max_batch_tokens"),
            max_queued_tokens: reader.count("max_queued_tokens"),
            max_buffered_bytes: reader.count("max_buffered_bytes"),
            max_answer_bytes: reader.count("max_answer_bytes"),
            cache_bytes: reader.count("cache_bytes"),
            deduplicate: reader.switch("deduplicate"),
        }
    }
}
