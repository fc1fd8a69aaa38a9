//! Keys: their format, their records, and authentication.
//!
//! A key is random text with a checksum ([`ApiKey`]). A [`KeyStore`] keeps only its SHA-256 ([`KeyDigest`]), with its
//! name, scopes and life span ([`KeyRecord`]). [`KeyAdmin`] makes, rotates and revokes keys. A [`KeyRing`] holds all
//! records in memory, authenticates requests, and follows the store within a second.

mod api_key;
mod record;
mod scope;

mod store;

mod admin;
mod input;

mod lookup;
mod ring;
mod snapshot;

mod events;

pub use admin::KeyAdmin;
pub use api_key::{ApiKey, ApiKeyError, Environment, KeyDigest};
pub use events::KeyEvents;
pub use input::{MAX_NAME_CHARACTERS, NameError, check_name, is_control, last_expiry, parse_expiry};
pub use record::{KeyId, KeyRecord, KeyState, NewKey};
pub use ring::{AuthError, KeyRing};
pub use scope::{Scope, Scopes, UnknownScope};
pub use store::{CurrentKey, Decide, KeyChanges, KeyPage, KeyStore, KeyUpdate, Revision, UnreadableKey};
