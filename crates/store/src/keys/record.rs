//! The stored record of a key, and its states.

use std::fmt;

use jiff::Timestamp;
use rand::RngExt as _;

use super::api_key::{ApiKey, Environment, KeyDigest};
use super::scope::Scopes;

/// Identifies a key in listings and logs. It reveals nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Makes an identifier of any text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Parses an identifier that a caller sent. Returns `None` for other texts, such as a whole key sent by mistake,
    /// which must not be echoed.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_plain && !text.is_empty()).then(|| Self::new(text))
    }

    /// The identifier of the static key, which the configuration sets.
    pub fn static_key() -> Self {
        Self::new("configured")
    }

    fn generate(random: &mut impl rand::CryptoRng) -> Self {
        // No letters that read as digits or as each other.
        const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
        let letters = (0..12).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
        Self(std::iter::once('k').chain(letters).collect())
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The properties of a key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// A name for people. [`super::check_name`] checks one from outside.
    pub name: String,
    /// Live or test.
    pub environment: Environment,
    /// The name of the plan with its limits.
    pub plan: String,
    /// Its permissions.
    pub scopes: Scopes,
    /// The end of its validity.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key without limits that scores documents and never expires.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            environment: Environment::Live,
            plan: KeyRecord::UNLIMITED.to_owned(),
            scopes: Scopes::caller(),
            expires_at: None,
        }
    }

    /// Makes the key and its record.
    pub fn generate(self, now: Timestamp, random: &mut impl rand::CryptoRng) -> (ApiKey, KeyRecord) {
        let key = ApiKey::generate(self.environment, random);
        let id = KeyId::generate(random);
        let record = KeyRecord {
            account: id.clone(),
            id,
            name: self.name,
            prefix: key.shown_prefix().to_owned(),
            digest: key.digest(),
            plan: self.plan,
            scopes: self.scopes,
            created_at: now,
            expires_at: self.expires_at,
            last_used_at: None,
            revoked_at: None,
            replaced_by: None,
            retires_at: None,
        };
        (key, record)
    }
}

/// The stored record of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Identifies the key.
    pub id: KeyId,
    /// Identifies the account, which has the limits and the usage: the first key of a line of rotations, mostly the key
    /// itself.
    pub account: KeyId,
    /// A name for people.
    pub name: String,
    /// The first characters of the key.
    pub prefix: String,
    /// The SHA-256 of the key.
    pub digest: KeyDigest,
    /// The name of the plan with its limits.
    pub plan: String,
    /// Its permissions.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// The end of its validity, as it was set when the key was made. [`KeyRecord::ends_at`] also knows of a rotation.
    pub expires_at: Option<Timestamp>,
    /// When it last admitted a request; written some seconds late.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key that a rotation put in its place.
    pub replaced_by: Option<KeyId>,
    /// The end of the overlap in which the key and its successor both work.
    pub retires_at: Option<Timestamp>,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It works.
    Active,
    /// It has expired.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// It was revoked.
    Revoked {
        /// Since when.
        at: Timestamp,
    },
}

impl KeyState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired { .. } => "expired",
            Self::Revoked { .. } => "revoked",
        }
    }
}

impl KeyRecord {
    /// The plan without limits.
    pub const UNLIMITED: &str = "unlimited";

    /// A record without name, plan and scopes, for a key outside the store or with an unreadable row.
    pub(super) fn bare(id: KeyId, digest: KeyDigest) -> Self {
        Self {
            account: id.clone(),
            id,
            name: String::new(),
            prefix: String::new(),
            digest,
            plan: String::new(),
            scopes: Scopes::default(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
            replaced_by: None,
            retires_at: None,
        }
    }

    /// Returns the environment, which the prefix names.
    pub fn environment(&self) -> Environment {
        Environment::from_prefix(&self.prefix)
    }

    /// Returns the end of its validity: its expiry or the end of the overlap, whichever is first.
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.expires_at, self.retires_at].into_iter().flatten().min()
    }

    /// Returns the state at `now`. A revoked key stays revoked after its expiry.
    pub fn state(&self, now: Timestamp) -> KeyState {
        match (self.revoked_at, self.ends_at()) {
            (Some(at), _) => KeyState::Revoked { at },
            (None, Some(at)) if at <= now => KeyState::Expired { at },
            _ => KeyState::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_an_identifier() {
        let (key, record) = NewKey::named("test").generate(Timestamp::UNIX_EPOCH, &mut rand::rng());
        assert_eq!(KeyId::parse(record.id.as_str()), Some(record.id));
        assert_eq!(KeyId::parse(key.expose()), None);
        assert_eq!(KeyId::parse(""), None);
    }

    #[test]
    fn a_key_expires_on_time_and_revocation_has_precedence() {
        let now = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(10).expect("a valid time");
        let (_, mut record) = NewKey::named("test").generate(now, &mut rand::rng());
        assert_eq!(record.state(later), KeyState::Active);
        record.expires_at = Some(later);
        assert_eq!(record.state(now), KeyState::Active);
        assert_eq!(record.state(later), KeyState::Expired { at: later });
        record.retires_at = Some(now);
        assert_eq!(record.state(later), KeyState::Expired { at: now });
        record.revoked_at = Some(now);
        assert_eq!(record.state(later), KeyState::Revoked { at: now });
    }
}
