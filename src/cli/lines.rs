//! Reads files of any size as numbered lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

/// The path for standard input.
pub(super) const STDIN: &str = "-";

/// Maximum length of a line, so that a file without line breaks cannot fill the memory.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Room for the reads of a whole batch of short documents.
const BUFFER_BYTES: usize = 256 << 10;

/// A source of lines or records.
pub(super) type Reader = Box<dyn BufRead + Send>;

/// Opens a file, or standard input for [`STDIN`], and decompresses gzip. Bytes read from the disk advance `progress`.
pub(super) fn open(path: &Path, progress: &ProgressBar) -> anyhow::Result<Reader> {
    let mut reader: Reader = if path.as_os_str() == STDIN {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, io::stdin()))
    } else {
        let context = || format!("failed to open {}", path.display());
        let file = File::open(path).with_context(context)?;
        let metadata = file.metadata().with_context(context)?;
        anyhow::ensure!(!metadata.is_dir(), "failed to open {}: it is a folder", path.display());
        if metadata.is_file() {
            progress.inc_length(metadata.len());
        }
        Box::new(BufReader::with_capacity(BUFFER_BYTES, progress.wrap_read(file)))
    };
    let head = reader.fill_buf().with_context(|| format!("failed to read {}", name(path)))?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader))));
    }
    Ok(reader)
}

/// The file's name in messages.
pub(super) fn name(path: &Path) -> String {
    if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() }
}

/// A line and its number, from 1. The text has no line break and no byte order mark.
#[derive(Debug)]
pub(super) struct Line {
    /// Counts blank lines too.
    pub(super) number: u64,
    /// The text, or why it is not usable.
    pub(super) text: Result<String, BadText>,
}

/// Why a line is not usable text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadText {
    #[error("the line is longer than {} MiB", MAX_LINE_BYTES >> 20)]
    TooLong,
    #[error("the line is not valid UTF-8")]
    NotUtf8,
}

/// Reads line after line.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    max_bytes: u64,
}

impl<R: BufRead> Lines<R> {
    /// Starts at line 1.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0, max_bytes: MAX_LINE_BYTES }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        if self.reader.by_ref().take(self.max_bytes + 1).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = bytes.ends_with(b"\n");
        if ended {
            bytes.pop();
        } else if bytes.len() as u64 > self.max_bytes {
            self.reader.skip_until(b'\n')?;
            return Ok(Some(Line { number: self.number, text: Err(BadText::TooLong) }));
        }
        if ended && bytes.ends_with(b"\r") {
            bytes.pop();
        }
        if self.number == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(..'\u{feff}'.len_utf8());
        }
        let text = String::from_utf8(bytes).map_err(|_| BadText::NotUtf8);
        Ok(Some(Line { number: self.number, text }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The message of a JSON error without its line number, which is always 1 and would contradict the file's.
pub(super) fn json_problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.split(" at line 1 column").next().unwrap_or_default();
    if error.column() == 0 { reason.to_owned() } else { format!("{reason} (column {})", error.column()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(bytes: &[u8], max_bytes: u64) -> Vec<(u64, Result<String, BadText>)> {
        let lines = Lines { max_bytes, ..Lines::new(bytes) };
        lines.map(|line| line.map(|line| (line.number, line.text)).expect("memory can be read")).collect()
    }

    #[test]
    fn line_ends_and_the_byte_order_mark_are_removed_and_blank_lines_are_counted() {
        let read = lines("\u{feff}één\r\n\ntwee\r".as_bytes(), 100);
        let texts: Vec<_> = read.iter().map(|(number, text)| (*number, text.as_deref())).collect();
        assert_eq!(texts, [(1, Ok("één")), (2, Ok("")), (3, Ok("twee\r"))]);
    }

    #[test]
    fn the_line_after_a_bad_one_is_read() {
        let read = lines(b"\xff\nabcdef\nabc\nabcde", 4);
        assert_eq!(
            read,
            [
                (1, Err(BadText::NotUtf8)),
                (2, Err(BadText::TooLong)),
                (3, Ok("abc".to_owned())),
                (4, Err(BadText::TooLong)),
            ]
        );
    }

    #[test]
    fn compressed_files_are_decompressed() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::default());
        encoder.write_all(b"a\nb\n").expect("a temporary file can be written");
        encoder.finish().expect("a temporary file can be written");
        let reader = open(file.path(), &ProgressBar::hidden()).expect("the file is there");
        assert_eq!(Lines::new(reader).count(), 2);
    }
}
