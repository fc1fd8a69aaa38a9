//! Model folders on disk, checked against their manifests.
//!
//! A folder holds `manifest.json`, `model.onnx`, `tokenizer.json` and a model card. Nothing here runs a
//! model; [`crate::Engine`] does.

mod manifest;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use manifest::{Manifest, QuantisationScheme, Signature, SpecialTokens, Task};

/// A model folder whose manifest has been read.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    manifest: Manifest,
}

impl ModelFolder {
    /// Name of the manifest in a model folder.
    pub const MANIFEST: &str = "manifest.json";
    /// Name of the network in a model folder.
    pub const NETWORK: &str = "model.onnx";
    /// Name of the tokenizer in a model folder.
    pub const TOKENIZER: &str = "tokenizer.json";
    /// Name of the list of aspect words in the folder of a model that does not read names.
    pub const ASPECT_WORDS: &str = "aspect-words.txt";

    /// Reads the manifest in `path`, and no other file.
    ///
    /// # Errors
    ///
    /// If there is no folder or manifest, or this version does not understand the manifest.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let file = path.join(Self::MANIFEST);
        let text = std::fs::read_to_string(&file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RegistryError::Missing { path: file.clone() },
            _ => RegistryError::Read { path: file.clone(), source },
        })?;
        let manifest =
            Manifest::parse(&text).map_err(|problem| RegistryError::Manifest { path: file, problem })?;
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The network, `model.onnx`.
    pub fn network(&self) -> PathBuf {
        self.path.join(Self::NETWORK)
    }

    /// The tokenizer, `tokenizer.json`.
    pub fn tokenizer(&self) -> PathBuf {
        self.path.join(Self::TOKENIZER)
    }

    /// Words that are not names, `aspect-words.txt`; `None` for a model that reads names.
    pub fn aspect_words(&self) -> Option<PathBuf> {
        self.manifest.files.contains_key(Self::ASPECT_WORDS).then(|| self.path.join(Self::ASPECT_WORDS))
    }

    /// Size of all files that the manifest lists, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.manifest.files.values().map(|file| file.size_bytes).sum()
    }

    /// Compares every file that the manifest lists with its size and SHA-256.
    ///
    /// # Errors
    ///
    /// For the first file that is missing, cannot be read or differs.
    pub fn verify(&self) -> Result<(), RegistryError> {
        for (name, expected) in &self.manifest.files {
            let path = self.path.join(name);
            let read = |source| RegistryError::Read { path: path.clone(), source };
            let mut file = File::open(&path).map_err(read)?;
            let actual_bytes = file.metadata().map_err(read)?.len();
            if actual_bytes != expected.size_bytes {
                let expected_bytes = expected.size_bytes;
                return Err(RegistryError::Size { path, expected_bytes, actual_bytes });
            }
            let actual = sha256_hex(&mut file).map_err(read)?;
            if actual != expected.sha256 {
                return Err(RegistryError::Checksum { path, expected: expected.sha256.clone(), actual });
            }
        }
        Ok(())
    }
}

/// Lower-case hexadecimal SHA-256 of the rest of `reader`.
fn sha256_hex(reader: &mut impl Read) -> io::Result<String> {
    use std::fmt::Write as _;

    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // Writing to a string cannot fail.
        hex
    }))
}

/// What is wrong with a model folder.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The folder is missing or has no manifest.
    #[error(
        "there is no model: {} is missing; put a model's folder there, or point the setting models_dir (SENTOR_MODELS_DIR), \
         model_en or model_nl to one",
        path.display()
    )]
    Missing {
        /// The manifest.
        path: PathBuf,
    },
    /// A file is missing or unreadable.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The manifest is not JSON, lacks a field or contradicts itself.
    #[error("{} is not a usable manifest: {problem}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file is longer or shorter than the manifest says.
    #[error(
        "{} has {actual_bytes} bytes where its manifest says {expected_bytes}; fetch the model folder again",
        path.display()
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Size by the manifest.
        expected_bytes: u64,
        /// Size on disk.
        actual_bytes: u64,
    },
    /// A file has other content than the manifest says.
    #[error("{} has SHA-256 {actual} where its manifest says {expected}; fetch the model folder again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// SHA-256 by the manifest.
        expected: String,
        /// SHA-256 on disk.
        actual: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_fails_verification() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let manifest = manifest::tests::example().replace("SHA", hello).replace("\"SIZE\"", "5");
        std::fs::write(folder.path().join("manifest.json"), manifest).expect("write the manifest");
        std::fs::write(folder.path().join("model.onnx"), "hello").expect("write the network");
        std::fs::write(folder.path().join("tokenizer.json"), "hello").expect("write the tokenizer");

        let opened = ModelFolder::open(folder.path()).expect("the manifest is good");
        opened.verify().expect("all files are as listed");

        std::fs::write(folder.path().join("model.onnx"), "hallo").expect("change the network");
        assert!(matches!(opened.verify(), Err(RegistryError::Checksum { .. })));
        std::fs::write(folder.path().join("model.onnx"), "hell").expect("shorten the network");
        assert!(matches!(opened.verify(), Err(RegistryError::Size { actual_bytes: 4, .. })));
        std::fs::remove_file(folder.path().join("model.onnx")).expect("remove the network");
        assert!(matches!(opened.verify(), Err(RegistryError::Read { .. })));
    }
}
