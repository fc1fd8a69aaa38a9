//! Settings of where keys are kept.

use std::path::PathBuf;

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};
use crate::keys::ApiKey;

/// Where keys are kept, and the one that comes from outside.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// The folder of the server's own files.
    pub data_dir: PathBuf,
    /// A key that is accepted beside those in the store.
    pub api_key: Option<ApiKey>,
    /// A file whose one line is such a key.
    pub api_key_file: Option<PathBuf>,
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
        help: "A file that holds such a key, as secret managers mount one; read at start.",
    },
];

impl KeysConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let data_dir = reader.path("data_dir").or_else(|| reader.surroundings().data_home());
        Self {
            data_dir: data_dir.unwrap_or_else(|| PathBuf::from(".sentor")),
            api_key: reader.key("api_key"),
            api_key_file: reader.path("api_key_file"),
        }
    }
}
