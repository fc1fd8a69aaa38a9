//! Stub; the real module comes with the engine.

use std::collections::BTreeMap;
use std::path::Path;

/// What a model folder says of itself.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Codes of the languages it was trained for.
    pub languages: Vec<String>,
    /// `span` or `pair`.
    pub signature: String,
    /// Its files.
    pub files: BTreeMap<String, FileEntry>,
}

/// One file of a model.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct FileEntry {
    /// Hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// Why a model folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Stub.
    #[error("{0}")]
    Other(String),
}

impl Manifest {
    /// Reads the manifest of a model folder.
    pub fn read(folder: &Path) -> Result<Self, RegistryError> {
        let path = folder.join("manifest.json");
        let text = std::fs::read(&path).map_err(|error| RegistryError::Other(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| RegistryError::Other(error.to_string()))
    }
}

/// Checks a folder's files against its manifest.
pub fn verify(folder: &Path) -> Result<(), RegistryError> {
    Manifest::read(folder).map(|_| ())
}
