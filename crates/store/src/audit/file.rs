//! The file `audit.jsonl`: appends lines, each entry of the store once, and rotates.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::store::{AuditStore, StoredEntry};
use crate::error::StoreError;

/// The file's name in the data folder.
const FILE_NAME: &str = "audit.jsonl";

/// The file that processes lock while they write; the other is renamed when it is rotated.
const LOCK_NAME: &str = "audit.lock";

/// Size from which the file is rotated.
const ROTATE_BYTES: u64 = 16 << 20;

/// Rotated files that are kept, `audit.1.jsonl` being the newest. The store keeps the entries of all changes.
const KEPT: u32 = 4;

/// Entries that are written at a time.
const BATCH: usize = 1000;

/// The audit file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file failed.
    #[error("cannot write the audit file {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The store with the entries failed.
    #[error("cannot read the audit entries of the store")]
    Store(#[from] StoreError),
}

/// The place of the audit file.
#[derive(Clone, Debug)]
pub(super) struct AuditFile {
    folder: PathBuf,
    rotate_bytes: u64,
}

impl AuditFile {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), rotate_bytes: ROTATE_BYTES }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Opens the file, to see that it can be written.
    pub(super) fn check(&self) -> Result<(), AuditError> {
        open_private(&self.path()).map(drop).map_err(|source| self.error(source))
    }

    /// Writes the entries of the store that are not yet in the file, and then `lines`.
    ///
    /// Exactly once: a line holds the sequence number of its entry, so after a kill between the write and the new position
    /// in the store, the end of the file tells which entries it has.
    pub(super) fn export(&self, store: &dyn AuditStore, lines: &[String]) -> Result<(), AuditError> {
        let lock = open_private(&self.folder.join(LOCK_NAME)).map_err(|source| self.error(source))?;
        lock.lock().map_err(|source| self.error(source))?;
        let mut position = store.audit_position()?;
        let mut is_first = true;
        loop {
            let mut entries = store.audit_entries(position, BATCH)?;
            let is_last = entries.len() < BATCH;
            if entries.is_empty() && (!is_first || lines.is_empty()) {
                return Ok(());
            }
            let mut file = open_private(&self.path()).map_err(|source| self.error(source))?;
            let written = (|| {
                cut_torn_line(&mut file)?;
                if entries.is_empty() { Ok(None) } else { last_sequence(&mut file, self.rotate_bytes) }
            })();
            if let Some(written) =
                written.map_err(|source| self.error(source))?.filter(|last| *last > position)
            {
                entries.retain(|stored| stored.sequence > written);
                position = written;
                store.set_audit_position(position)?;
            }
            let newest = entries.last().map(|stored| stored.sequence);
            let text = text_of(&entries, if is_first { lines } else { &[] });
            self.append(file, &text, newest.is_some()).map_err(|source| self.error(source))?;
            if let Some(newest) = newest {
                position = newest;
                store.set_audit_position(position)?;
            }
            if is_last {
                return Ok(());
            }
            is_first = false;
        }
    }

    fn append(&self, mut file: File, text: &[u8], must_last: bool) -> io::Result<()> {
        if file.metadata()?.len() >= self.rotate_bytes {
            self.rotate()?;
            file = open_private(&self.path())?;
        }
        file.write_all(text)?;
        if must_last { file.sync_data() } else { Ok(()) }
    }

    fn rotate(&self) -> io::Result<()> {
        let rotated = |number: u32| self.folder.join(format!("audit.{number}.jsonl"));
        for number in (1..KEPT).rev() {
            match fs::rename(rotated(number), rotated(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(self.path(), rotated(1))
    }

    fn error(&self, source: io::Error) -> AuditError {
        AuditError::File { path: self.path(), source }
    }
}

/// The entries with their sequence numbers, then the other lines.
fn text_of(entries: &[StoredEntry], lines: &[String]) -> Vec<u8> {
    let mut text = Vec::new();
    for StoredEntry { sequence, entry } in entries {
        // The entry is a JSON object with members.
        let members = entry.as_json().strip_prefix('{').unwrap_or("}");
        text.extend_from_slice(format!("{SEQUENCE}{sequence},{members}\n").as_bytes());
    }
    for line in lines {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text
}

/// The start of a line of an entry.
const SEQUENCE: &str = "{\"sequence\":";

/// Removes the part of a line that a killed process left at the end.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let end = read_end(file, length.min(1))?;
    if length == 0 || end == b"\n" {
        return Ok(());
    }
    let tail = read_end(file, length.min(64 << 10))?;
    let torn = tail.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
    file.set_len(length - torn)
}

/// Returns the sequence number of the last line that has one, in the last `limit` bytes of the file.
fn last_sequence(file: &mut File, limit: u64) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    // Nearly always one of the last lines has it. After many refused calls, the rest of the file is searched.
    for window in [64 << 10, limit.saturating_mul(2)] {
        let window = length.min(window);
        let end = read_end(file, window)?;
        let text = String::from_utf8_lossy(&end);
        let sequence = text.lines().rev().find_map(|line| {
            let rest = line.strip_prefix(SEQUENCE)?;
            rest.split(',').next()?.parse().ok()
        });
        if sequence.is_some() || window == length {
            return Ok(sequence);
        }
    }
    Ok(None)
}

fn read_end(file: &mut File, count: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(count)))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::audit::AuditEntry;

    /// Entries 1 to `newest`, and a position that may be lost, as when a process is killed after a write.
    #[derive(Debug, Default)]
    struct Entries {
        newest: AtomicU64,
        position: AtomicU64,
        loses_position: AtomicBool,
    }

    impl AuditStore for Entries {
        fn audit_entries(&self, after: u64, limit: usize) -> Result<Vec<StoredEntry>, StoreError> {
            let all = after + 1..=self.newest.load(Ordering::Relaxed);
            let entry = |sequence| AuditEntry::from_json(format!("{{\"event\":\"e{sequence}\"}}"));
            Ok(all.take(limit).map(|sequence| StoredEntry { sequence, entry: entry(sequence) }).collect())
        }

        fn audit_position(&self) -> Result<u64, StoreError> {
            Ok(self.position.load(Ordering::Relaxed))
        }

        fn set_audit_position(&self, position: u64) -> Result<(), StoreError> {
            if !self.loses_position.load(Ordering::Relaxed) {
                self.position.store(position, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    fn read(folder: &TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).unwrap_or_default()
    }

    fn sequences(text: &str) -> Vec<u64> {
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
        lines.filter_map(|line: serde_json::Value| line["sequence"].as_u64()).collect()
    }

    #[test]
    fn each_entry_is_written_once_whenever_a_process_is_killed() {
        let folder = TempDir::new().expect("a folder");
        let (file, store) = (AuditFile::new(folder.path()), Entries::default());
        let export = |lines: &[String]| file.export(&store, lines).expect("the file can be written");
        store.newest.store(3, Ordering::Relaxed);
        // Killed after the write and before the position is in the store, three times.
        store.loses_position.store(true, Ordering::Relaxed);
        for newest in [3, 4, 4] {
            store.newest.store(newest, Ordering::Relaxed);
            export(&[]);
        }
        store.loses_position.store(false, Ordering::Relaxed);
        // Killed in the middle of a line.
        let mut torn = open_private(&folder.path().join(FILE_NAME)).expect("the file is there");
        torn.write_all(b"{\"sequence\":5,\"ev").expect("it can be written");
        store.newest.store(2500, Ordering::Relaxed);
        export(&["{\"event\":\"refused\"}".to_owned()]);
        let text = read(&folder, FILE_NAME);
        assert_eq!(sequences(&text), (1..=2500).collect::<Vec<_>>());
        assert_eq!(text.lines().filter(|line| line.contains("refused")).count(), 1);
    }

    #[test]
    fn a_moved_file_is_started_anew() {
        let folder = TempDir::new().expect("a folder");
        let (file, store) = (AuditFile::new(folder.path()), Entries::default());
        for newest in [2, 4] {
            store.newest.store(newest, Ordering::Relaxed);
            file.export(&store, &[]).expect("the file can be written");
            let moved = folder.path().join(format!("{newest}.moved"));
            fs::rename(folder.path().join(FILE_NAME), moved).expect("it is there");
        }
        assert_eq!(
            (sequences(&read(&folder, "2.moved")), sequences(&read(&folder, "4.moved"))),
            (vec![1, 2], vec![3, 4])
        );
    }

    #[test]
    fn the_file_is_rotated_and_bounded_and_no_entry_is_doubled() {
        let folder = TempDir::new().expect("a folder");
        let file = AuditFile { rotate_bytes: 1000, ..AuditFile::new(folder.path()) };
        let store = Entries::default();
        for newest in 1..=40 {
            store.newest.store(newest, Ordering::Relaxed);
            // The position is lost now and then, also just before a rotation.
            store.loses_position.store(newest % 3 != 0, Ordering::Relaxed);
            file.export(&store, &[" ".repeat(300) + "{}"]).expect("the file can be written");
        }
        let names = ["audit.4.jsonl", "audit.3.jsonl", "audit.2.jsonl", "audit.1.jsonl", FILE_NAME];
        let texts = names.map(|name| read(&folder, name));
        assert!(texts.iter().all(|text| text.len() < 1500));
        let kept: Vec<u64> = texts.iter().flat_map(|text| sequences(text)).collect();
        assert!(kept.len() > 10 && kept.is_sorted_by(|one, next| one + 1 == *next), "{kept:?}");
        assert_eq!(kept.last(), Some(&40));
        assert!(!folder.path().join("audit.5.jsonl").exists());
    }
}
