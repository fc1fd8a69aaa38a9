//! Numbered lines, of bounded length.

use std::io::{self, BufRead, Read as _};

use crate::error::{BadRow, ReadError};

/// Maximum length of a line and of a record, so that a file without line breaks cannot fill the memory.
pub(crate) const MAX_RECORD_BYTES: usize = 16 << 20;

/// A line with its break, and its number from 1.
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Reads line after line.
pub(crate) struct Lines<R> {
    reader: R,
    pub(crate) number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, number: 0 }
    }

    /// The next line, or that it is too long; `None` at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Result<Line, BadRow>>, ReadError> {
        let mut bytes = Vec::new();
        let max = MAX_RECORD_BYTES as u64;
        let failed = |line: u64| move |source: io::Error| ReadError::Io { line, source };
        let read = self.reader.by_ref().take(max + 1).read_until(b'\n', &mut bytes);
        if read.map_err(failed(self.number))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.len() > MAX_RECORD_BYTES && bytes.last() != Some(&b'\n') {
            self.reader.skip_until(b'\n').map_err(failed(self.number))?;
            let reason = format!("the line is longer than {} MiB", MAX_RECORD_BYTES >> 20);
            return Ok(Some(Err(BadRow::new(self.number, reason))));
        }
        Ok(Some(Ok(Line { number: self.number, bytes })))
    }
}

impl Line {
    /// The text without its line break; refused where it is not text.
    pub(crate) fn into_text(mut self) -> Result<String, BadRow> {
        if self.bytes.ends_with(b"\n") {
            self.bytes.pop();
            if self.bytes.ends_with(b"\r") {
                self.bytes.pop();
            }
        }
        let text = String::from_utf8(self.bytes)
            .map_err(|error| bad_bytes(self.number, "the line", error.utf8_error().valid_up_to()))?;
        if text.contains('\0') {
            return Err(BadRow::new(self.number, NUL));
        }
        Ok(text)
    }
}

/// The reason where a text holds NUL characters.
pub(crate) const NUL: &str =
    "it holds NUL characters; --encoding utf-16le helps where the file is UTF-16, else remove them";

/// The refusal of bytes that are not UTF-8.
pub(crate) fn bad_bytes(line: u64, what: &str, at: usize) -> BadRow {
    BadRow::new(
        line,
        format!("{what} is not valid UTF-8 (byte {}); --encoding names another encoding", at + 1),
    )
}
