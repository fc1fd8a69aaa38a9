//! Keys, plans, limits, usage, audit and jobs, in a SQLite file ([`SqliteStore`]) or in memory ([`MemoryStore`]).
//!
//! ```text
//! request ─▶ KeyRing (keys/ring.rs): looks up an active key in memory ─▶ Meter (metering/meter.rs): admits and counts it
//!                  ▲ follows, four times a second                             │ writes, twice a second
//!                  └──────────────────────────── store ◀──────────────────────┘
//! admin ─▶ KeyAdmin (keys/admin.rs): a change and its audit entry ─▶ store ─▶ AuditLog (audit/log.rs) ─▶ audit.jsonl
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | where a limit is counted | `metering/account.rs`: `Account::admit`; the minute in `metering/minute.rs` |
//! | what a plan limits | `metering/plan.rs` |
//! | the format of a key | `keys/api_key.rs` |
//! | what is stored of a key | `keys/record.rs` |
//! | who may change a key, and how | `keys/admin.rs` |
//! | lines of the audit file | `audit/entry.rs`; the file itself in `audit/file.rs` |
//! | the life of a job, and the queue of its chunks | `jobs/record.rs`, `jobs/store.rs` |
//! | tables and migrations | `sqlite/migrations.rs` |
//!
//! Every backend is a [`Store`] and passes one test suite (`tests/store/conformance.rs`).

pub mod clock;
mod error;
pub mod heartbeat;

pub mod keys;

pub mod metering;

pub mod jobs;

pub mod audit;

mod memory;
mod sqlite;
mod sync;

use crate::audit::AuditStore;
use crate::jobs::JobStore;
use crate::keys::KeyStore;
use crate::metering::UsageStore;
pub use error::{BackendError, FailureKind, StoreError};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// All that a server stores.
pub trait Store: KeyStore + UsageStore + AuditStore + JobStore {}

impl<S: KeyStore + UsageStore + AuditStore + JobStore> Store for S {}
