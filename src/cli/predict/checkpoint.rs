//! How far a run is, in a small file beside its output, so that `--resume` can go on after any end.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::summary::Summary;

/// The state of a run after a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Path and length of the input.
    pub(super) input: (String, u64),
    /// The flags that the output depends on.
    pub(super) options: String,
    /// Documents and bad rows of the input that are done.
    pub(super) entries: u64,
    /// The last line that is done.
    pub(super) line: u64,
    /// Length of the output; what stands behind it is half a batch.
    pub(super) output_bytes: u64,
    /// The counts so far.
    pub(super) summary: Summary,
}

impl Checkpoint {
    /// The file for an output.
    pub(super) fn path(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".progress");
        PathBuf::from(name)
    }

    /// Reads the state of an unfinished run; `None` without one.
    pub(super) fn load(output: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(output);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let checkpoint = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; delete it and begin anew", path.display()))?;
        Ok(Some(checkpoint))
    }

    /// Refuses to go on with another input or other flags.
    pub(super) fn check(&self, current: &Self, output: &Path) -> anyhow::Result<()> {
        let begin_anew = format!("delete {} to begin anew", Self::path(output).display());
        ensure!(self.input.0 == current.input.0, "the unfinished run reads {}; {begin_anew}", self.input.0);
        ensure!(
            self.input.1 == current.input.1,
            "{} has changed since the run began; {begin_anew}",
            self.input.0
        );
        ensure!(
            self.options == current.options,
            "the unfinished run has other flags ({}); use the same ones, or {begin_anew}",
            self.options
        );
        Ok(())
    }

    /// Replaces the file whole, so that it is never half written.
    pub(super) fn save(&self, output: &Path) -> io::Result<()> {
        let path = Self::path(output);
        let mut new = path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        fs::rename(&new, &path)
    }

    /// Removes the file of a run that is finished.
    pub(super) fn remove(output: &Path) {
        // A file that stays would only stop the next run, with a message that says so.
        let _ = fs::remove_file(Self::path(output));
    }
}
