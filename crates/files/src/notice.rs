//! What a reader found out or guessed, to be shown to the caller.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something that was found out: a delimiter, the columns in use.
    Found,
    /// A guess that can be wrong, or content that was read otherwise than it stands there.
    Warning,
}

/// A sentence about a file, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub kind: NoticeKind,
    /// The line that it is about, from 1.
    pub line: Option<u64>,
    /// The sentence.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{line}: {}", self.text),
            None => formatter.write_str(&self.text),
        }
    }
}

/// The notices of one file, shared by the layers of its reader.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    /// Those since the last call.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn found(&self, text: impl Into<String>) {
        self.add(NoticeKind::Found, None, text.into());
    }

    pub(crate) fn warn(&self, line: Option<u64>, text: impl Into<String>) {
        self.add(NoticeKind::Warning, line, text.into());
    }

    fn add(&self, kind: NoticeKind, line: Option<u64>, text: String) {
        /// More would fill the memory of a file that is all warnings, if nobody takes them.
        const MOST: usize = 1000;

        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < MOST {
            notices.push(Notice { kind, line, text });
        }
    }
}
