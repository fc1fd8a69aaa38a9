//! What was learnt of models, kept on disk with what it holds for: the processor, the library and the network.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::runtime::ONNXRUNTIME_VERSION;
use crate::registry::ModelFolder;

/// A file of calibrations. One that is missing, damaged or of another version has none; one that cannot be written
/// costs nothing but to learn again.
#[derive(Clone, Debug)]
pub struct LearntFile {
    path: PathBuf,
    processor: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    schema: u32,
    learnt: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    processor: String,
    onnxruntime: String,
    network_sha256: String,
    #[serde(flatten)]
    calibration: Calibration,
}

impl LearntFile {
    const SCHEMA: u32 = 1;

    /// The file at `path`, of this processor.
    pub fn new(path: PathBuf) -> Self {
        let described = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| processor_of(&text));
        Self { path, processor: described.unwrap_or_else(|| std::env::consts::ARCH.to_owned()) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of a model.
    pub fn find(&self, folder: &ModelFolder) -> Option<Calibration> {
        let network = network_of(folder)?;
        let entry = self.read().learnt.into_iter().find(|entry| self.is_about(entry, network));
        entry.map(|entry| entry.calibration).filter(|known| known.run_tokens > 0)
    }

    /// Keeps what was learnt of a model in place of what was known.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn keep(&self, folder: &ModelFolder, calibration: Calibration) -> io::Result<()> {
        let Some(network) = network_of(folder) else { return Ok(()) };
        let mut document = self.read();
        document.schema = Self::SCHEMA;
        document.learnt.retain(|entry| !self.is_about(entry, network));
        document.learnt.push(Entry {
            processor: self.processor.clone(),
            onnxruntime: ONNXRUNTIME_VERSION.to_owned(),
            network_sha256: network.to_owned(),
            calibration,
        });
        // Written beside and renamed, so that nobody reads half of it.
        let beside = self.path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&beside, serde_json::to_vec_pretty(&document)?)?;
        fs::rename(&beside, &self.path).inspect_err(|_| {
            // Nothing is left to do where even that fails.
            let _ = fs::remove_file(&beside);
        })
    }

    fn read(&self) -> Document {
        let text = fs::read(&self.path).unwrap_or_default();
        let document = serde_json::from_slice(&text).unwrap_or_default();
        if matches!(document, Document { schema: Self::SCHEMA, .. }) { document } else { Document::default() }
    }

    fn is_about(&self, entry: &Entry, network: &str) -> bool {
        entry.processor == self.processor
            && entry.onnxruntime == ONNXRUNTIME_VERSION
            && entry.network_sha256 == network
    }
}

fn network_of(folder: &ModelFolder) -> Option<&str> {
    folder.manifest().files.get(ModelFolder::NETWORK).map(|file| file.sha256.as_str())
}

/// The first processor of `/proc/cpuinfo`: its name, which a virtual machine may make general, with its numbers.
fn processor_of(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| {
        let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    let numbers = ["cpu family", "model", "stepping"].map(|name| field(name).unwrap_or("?"));
    field("model name").map(|name| format!("{name}, {}", numbers.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> ModelFolder {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/sentor-en");
        ModelFolder::open(&path).expect("the model folder is in the repository")
    }

    #[test]
    fn what_is_kept_is_found_again_on_this_processor_alone() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let file = LearntFile::new(place.path().join("learnt.json"));
        let (folder, known) = (folder(), Calibration { run_tokens: 128, start_tokens: 9 });
        assert_eq!(file.find(&folder), None);
        file.keep(&folder, Calibration { run_tokens: 64, ..known }).expect("it can be written");
        file.keep(&folder, known).expect("it can be written");
        assert_eq!(file.find(&folder), Some(known));
        let other = LearntFile { processor: "another".to_owned(), ..file.clone() };
        assert_eq!(other.find(&folder), None);
        other.keep(&folder, Calibration { run_tokens: 512, ..known }).expect("it can be written");
        assert_eq!(file.find(&folder), Some(known));
        assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_file_has_nothing_and_is_written_anew() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let file = LearntFile::new(place.path().join("learnt.json"));
        let (folder, known) = (folder(), Calibration { run_tokens: 128, start_tokens: 9 });
        for text in ["", "{", "{\"schema\": 2, \"learnt\": []}", "[1]"] {
            fs::write(file.path(), text).expect("write a file");
            assert_eq!(file.find(&folder), None, "{text}");
            file.keep(&folder, known).expect("it can be written");
            assert_eq!(file.find(&folder), Some(known));
        }
        let nowhere = LearntFile::new(place.path().join("no/such/folder/learnt.json"));
        nowhere.keep(&folder, known).expect_err("there is no such folder");
        assert_eq!(nowhere.find(&folder), None);
    }

    #[test]
    fn a_processor_is_told_by_name_and_numbers() {
        let text = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 167\nmodel name\t: Some CPU @ 2 GHz\nstepping\t: 1\n";
        assert_eq!(processor_of(text).as_deref(), Some("Some CPU @ 2 GHz, 6/167/1"));
        assert_eq!(processor_of("Features : fp asimd\n"), None);
    }
}
