//! Settings of the data folder, the static key, and how long usage is kept.

use std::fmt;
use std::path::PathBuf;

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// The data folder and the static key.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// The folder of the server's own files: keys, usage, audit.
    pub data_dir: PathBuf,
    /// Days for which usage is kept.
    pub usage_retention_days: u32,
    /// A key that is valid beside those in the store.
    pub api_key: Option<Secret>,
    /// A file that holds such a key.
    pub api_key_file: Option<PathBuf>,
}

/// A text that `Debug` hides. Clients read `SENTOR_API_KEY` too, and the key may belong to another server, so only
/// `sentor serve` parses it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "data_dir",
        kind: Kind::Path,
        default: Fallback::Unset("the user's data folder, mostly ~/.local/share/sentor"),
        help: "Folder of the server's own files: keys, usage and audit; created if it is missing.",
    },
    Setting {
        name: "usage_retention_days",
        kind: Kind::Count { least: 31, most: 36_500 },
        default: Fallback::Value("400"),
        help: "Days for which usage is kept; older days are deleted. The default is a year, and a month to bill it.",
    },
    Setting {
        name: "api_key",
        kind: Kind::Secret,
        default: Fallback::Unset("only keys of the store are valid"),
        help: "A static key, valid beside those of the store, for containers. It has the scopes predict, cluster and jobs. \
               If the store has the same key, the store's record counts.",
    },
    Setting {
        name: "api_key_file",
        kind: Kind::Path,
        default: Fallback::Unset("only keys of the store are valid"),
        help: "A file that holds the static key, as secret managers mount one; read at start and at SIGHUP. It overrides api_key.",
    },
];

impl KeysConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let data_dir = reader.path("data_dir").or_else(|| reader.environment().data_home());
        Self {
            data_dir: data_dir.unwrap_or_else(|| PathBuf::from(".sentor")),
            usage_retention_days: u32::try_from(reader.count("usage_retention_days")).unwrap_or(u32::MAX),
            api_key: reader.text_or_unset("api_key").map(Secret),
            api_key_file: reader.path("api_key_file"),
        }
    }
}
