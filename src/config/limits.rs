//! Settings that limit the size of a request.

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// Limits of a request's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Maximum bytes of a request body, as sent and after decompression.
    pub body_limit_bytes: usize,
    /// Maximum documents in a request.
    pub max_documents: usize,
    /// Maximum documents in a request to cluster.
    pub max_cluster_documents: usize,
    /// Maximum UTF-8 bytes of a document's text.
    pub max_document_bytes: usize,
    /// Maximum entities of a document.
    pub max_entities: usize,
    /// Maximum entities of all documents of a request together.
    pub max_request_entities: usize,
    /// Maximum UTF-8 bytes of an entity's name.
    pub max_entity_bytes: usize,
    /// Maximum mentions of a document that are scored and listed.
    pub max_mentions: usize,
}

const GIB: u64 = 1 << 30;

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "body_limit_bytes",
        kind: Kind::Count { least: 1, most: 4 * GIB },
        default: Fallback::Value("16777216"),
        help: "Maximum request body, as sent and after decompression. The default of 16 MiB holds 10,000 \
               reviews of 1,600 bytes.",
    },
    Setting {
        name: "max_documents",
        kind: Kind::Count { least: 1, most: 10_000_000 },
        default: Fallback::Value("10000"),
        help: "Maximum documents in one request.",
    },
    Setting {
        name: "max_cluster_documents",
        kind: Kind::Count { least: 5, most: 100_000 },
        default: Fallback::Value("5000"),
        help: "Maximum documents in one request to cluster. Published clients wait 30 seconds for the answer.",
    },
    Setting {
        name: "max_document_bytes",
        kind: Kind::Count { least: 1, most: GIB },
        default: Fallback::Value("10485760"),
        help: "Maximum text of one document, in bytes of UTF-8. The default of 10 MiB is longer than any book.",
    },
    Setting {
        name: "max_entities",
        kind: Kind::Count { least: 1, most: 1_000_000 },
        default: Fallback::Value("1000"),
        help: "Maximum entities of one document.",
    },
    Setting {
        name: "max_request_entities",
        kind: Kind::Count { least: 1, most: 10_000_000 },
        default: Fallback::Value("100000"),
        help: "Maximum entities of all documents of a request together. The default is ten for each of 10,000 \
               documents; each is an item of some 300 bytes in the answer.",
    },
    Setting {
        name: "max_entity_bytes",
        kind: Kind::Count { least: 1, most: 1 << 20 },
        default: Fallback::Value("1024"),
        help: "Maximum name of an entity, in bytes of UTF-8; no real name comes near the default.",
    },
    Setting {
        name: "max_mentions",
        kind: Kind::Count { least: 1, most: 10_000_000 },
        default: Fallback::Value("10000"),
        help: "Maximum mentions of one document that are scored and listed, beside the first of each entity; a \
               warning counts the others. 10,000 make an answer of about two megabytes.",
    },
];

impl LimitsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            body_limit_bytes: reader.count("body_limit_bytes"),
            max_documents: reader.count("max_documents"),
            max_cluster_documents: reader.count("max_cluster_documents"),
            max_document_bytes: reader.count("max_document_bytes"),
            max_entities: reader.count("max_entities"),
            max_request_entities: reader.count("max_request_entities"),
            max_entity_bytes: reader.count("max_entity_bytes"),
            max_mentions: reader.count("max_mentions"),
        }
    }
}
