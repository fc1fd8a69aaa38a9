//! Keys: what a caller shows to be let in.
//!
//! A key is random text with a checksum ([`ApiKey`]); only its SHA-256 ([`KeyDigest`]) is ever stored, with
//! its name, scopes and life span ([`KeyRecord`]), in a [`KeyStore`]. A [`KeyRing`] holds all records of a
//! store in memory for the hot path, and follows the store within a second.

mod events;
mod key;
mod record;
mod ring;
mod store;

pub use events::KeyEvents;
pub use key::{ApiKey, ApiKeyError, Environment, KeyDigest};
pub use record::{KeyId, KeyRecord, KeyState, NewKey, Scope, Scopes, UnknownScope};
pub use ring::{KeyRing, Refusal};
pub use store::{KeyStore, StoreError, rotate};
