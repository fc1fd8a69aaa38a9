//! Settings of where keys are kept.

use std::fmt;
use std::path::PathBuf;

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// Where keys are kept, and the one that comes from outside.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// The folder of the server's own files.
    pub data_dir: PathBuf,
    /// A key that is accepted beside those in the store.
    pub api_key: Option<Secret>,
    /// A file whose one line is such a key.
    pub api_key_file: Option<PathBuf>,
}

/// A text that is not shown. Clients go by `SENTOR_API_KEY` too, with a key that need not be of this
/// server, so it is only read as a key where a server starts.
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
        help: "Folder of the server's own files, such as its keys; made if it is missing.",
    },
    Setting {
        name: "api_key",
        kind: Kind::Secret,
        default: Fallback::Unset("only keys of the store are accepted"),
        help: "A key that is accepted beside those of the store, for containers. It has the scopes predict \
               and cluster. A key that the store knows too follows the store.",
    },
    Setting {
        name: "api_key_file",
        kind: Kind::Path,
        default: Fallback::Unset("only keys of the store are accepted"),
        help: "A file that holds such a key, as secret managers mount one; read at start, and counts more than \
               api_key.",
    },
];

impl KeysConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let data_dir = reader.path("data_dir").or_else(|| reader.surroundings().data_home());
        Self {
            data_dir: data_dir.unwrap_or_else(|| PathBuf::from(".sentor")),
            api_key: reader.text_or_unset("api_key").map(Secret),
            api_key_file: reader.path("api_key_file"),
        }
    }
}
