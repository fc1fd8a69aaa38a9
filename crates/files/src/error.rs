//! What can be wrong with a file, with the place and what to do about it.

use std::fmt;
use std::io;

use crate::row::Row;

/// A file cannot be opened or understood at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No such file.
    #[error("there is no file {0}")]
    Missing(String),
    /// A folder.
    #[error("{0} is a folder; name a file in it")]
    Folder(String),
    /// Reading failed.
    #[error("failed to read {name}")]
    Io {
        /// The file's name.
        name: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// A known format that is not read.
    #[error("{name} is {what}; {remedy}")]
    Unsupported {
        /// The file's name.
        name: String,
        /// What it seems to be.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The content is not what the format says.
    #[error("failed to read {name} as {format}: {reason}")]
    Malformed {
        /// The file's name.
        name: String,
        /// The format it was read as.
        format: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An option has a value that cannot be.
    #[error("{0}")]
    Option(String),
    /// The column of the text, or a column that was named, is not there.
    #[error("{0}")]
    Column(String),
}

/// A file cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("failed to read after line {line}: {source}")]
    Io {
        /// The last line that was read.
        line: u64,
        /// What the system or the decompressor says.
        source: io::Error,
    },
    /// The content breaks off or makes no sense.
    #[error("line {line}: {reason}")]
    Malformed {
        /// Where.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// A row that cannot be used; reads as `line: reason` or `line:column: reason`, to stand behind a file's name and a colon.
#[derive(Clone, Debug)]
pub struct BadRow {
    /// The row's first line, from 1.
    pub line: u64,
    /// The place in the line, in characters from 1, where it is known.
    pub column: Option<u64>,
    /// What is wrong, and what to do where that is not plain.
    pub reason: String,
    /// The cells, where the row can be read but has no text to score.
    pub row: Option<Box<Row>>,
}

impl BadRow {
    pub(crate) fn new(line: u64, reason: impl Into<String>) -> Self {
        Self { line, column: None, reason: reason.into(), row: None }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(formatter, "{}:{column}: {}", self.line, self.reason),
            None => write!(formatter, "{}: {}", self.line, self.reason),
        }
    }
}
