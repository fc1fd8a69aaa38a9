//! Why a store did not do its work.

use std::error::Error;
use std::fmt;

use crate::keys::KeyId;

/// Why a store did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend could not read or write.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The key's row cannot be read, so the key counts as revoked.
    #[error("the key {id} is unreadable and counts as revoked: {problem}")]
    Unreadable {
        /// The key.
        id: KeyId,
        /// The unreadable field.
        problem: String,
    },
    /// The store has no such key.
    #[error("there is no key {0}; `sentor keys list` shows all")]
    NoSuchKey(KeyId),
    /// The key is not in the state that the change requires.
    #[error("the key {id} is {state}")]
    NotActive {
        /// The key.
        id: KeyId,
        /// The name of its state.
        state: &'static str,
    },
    /// The key already has a successor.
    #[error("the key {id} is already replaced by {successor}; rotate or revoke that key")]
    Replaced {
        /// The key.
        id: KeyId,
        /// Its successor.
        successor: KeyId,
    },
}

/// A failure of a backend: what kind of failure it is, and the backend's own error.
///
/// The backend's error has the text: it knows the file or address, and what an operator can do about it.
#[derive(Debug)]
pub struct BackendError {
    kind: FailureKind,
    source: Box<dyn Error + Send + Sync>,
}

/// What kind of failure a backend had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The store is damaged, or is no store.
    Corrupt,
    /// A later version of the program wrote the store.
    TooNew,
    /// The store is gone, or another one is in its place.
    Exchanged,
    /// Another program holds the store.
    Locked,
    /// The store can be read and not written.
    ReadOnly,
    /// There is no room left.
    Full,
    /// Any other failure.
    Unavailable,
}

impl BackendError {
    /// A failure with the backend's own error as its cause.
    pub fn new(kind: FailureKind, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, source: Box::new(source) }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl StoreError {
    /// The kind of the backend's failure, where the backend failed.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Self::Backend(error) => Some(error.kind()),
            _ => None,
        }
    }
}
