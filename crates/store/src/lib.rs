//! Where keys and their usage are kept: in a SQLite file ([`SqliteStore`]), or in memory ([`MemoryStore`]).
//!
//! Both are a [`KeyStore`] and a [`UsageStore`] and pass one test suite (`tests/store.rs`), so that another
//! database can stand in for them.

pub mod audit;
pub mod clock;
pub mod keys;
mod memory;
pub mod metering;
mod migrations;
mod sqlite;

use crate::keys::KeyStore;
use crate::metering::UsageStore;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// A place for all that a server keeps.
pub trait Store: KeyStore + UsageStore {}

impl<S: KeyStore + UsageStore> Store for S {}
