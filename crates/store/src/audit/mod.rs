//! The audit trail: who made, rotated and revoked keys, and which calls of the admin interface were refused.
//!
//! The store writes an [`AuditEntry`] in the same transaction as its change ([`AuditStore`]). The thread `audit` of the
//! [`AuditLog`] copies the entries to `audit.jsonl`, each once and in order, and adds refused calls, of which there can
//! be any number: those are rate-limited (`throttle`), and the file is rotated. No line holds a key.

mod entry;

mod store;

mod log;

mod file;
mod throttle;

pub use entry::{Actor, AuditEntry, Event};
pub use file::AuditError;
pub use log::{AuditLog, RefusedCall, export};
pub use store::{AuditStore, StoredEntry};
