//! What is known of a key, and the states that it goes through.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rand::RngExt as _;

use super::key::{ApiKey, Environment, KeyDigest};

/// Names a key in listings and logs, and tells nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The identifier that a text names; any text may.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The identifier that a text from outside may be; `None` for others, such as a whole key that somebody took
    /// for one: those must not be echoed.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_plain && !text.is_empty()).then(|| Self::new(text))
    }

    /// That of the key from outside the store.
    pub fn configured() -> Self {
        Self::new("configured")
    }

    fn generate(random: &mut impl rand::CryptoRng) -> Self {
        // No letters that read as digits or as each other.
        const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
        let letters = (0..12).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
        Self(std::iter::once('k').chain(letters).collect())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Something that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Score documents.
    Predict,
    /// Cluster documents and name topics.
    Cluster,
    /// Manage keys.
    Admin,
    /// Read metrics.
    Metrics,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] = [Self::Predict, Self::Cluster, Self::Admin, Self::Metrics];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Cluster => "cluster",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

/// There is no such scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}; the scopes are predict, cluster, admin and metrics")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.word() == word).ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// All that a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// What a caller needs who only sends documents; what a key gets unless told otherwise.
    pub fn caller() -> Self {
        [Scope::Predict, Scope::Cluster].into_iter().collect()
    }

    /// Whether `scope` is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// Their words.
    pub fn words(self) -> Vec<&'static str> {
        self.iter().map(Scope::word).collect()
    }

    fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// What it is for.
    pub environment: Environment,
    /// Which limits hold for it.
    pub plan: String,
    /// What it may do.
    pub scopes: Scopes,
    /// From when on it is no longer valid.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key without limits that scores documents for ever.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            environment: Environment::Live,
            plan: KeyRecord::UNLIMITED.to_owned(),
            scopes: Scopes::caller(),
            expires_at: None,
        }
    }

    /// Makes the key, and what shall be stored of it.
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
        };
        (key, record)
    }
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Names it.
    pub id: KeyId,
    /// Whose limits and usage it shares: the first key of a line of rotations, mostly the key itself.
    pub account: KeyId,
    /// For people.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it is found by.
    pub digest: KeyDigest,
    /// Which limits hold for it.
    pub plan: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer valid.
    pub expires_at: Option<Timestamp>,
    /// When it last let someone in; written some seconds late.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It lets in.
    Active,
    /// Its time is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// Someone took it back.
    Revoked {
        /// Since when.
        at: Timestamp,
    },
}

impl KeyState {
    /// Its word.
    pub fn word(self) -> &'static str {
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

    /// What the key is for, as its own text says.
    pub fn environment(&self) -> Environment {
        Environment::of_key(&self.prefix)
    }

    /// Where the key is in its life at `now`. A revoked key stays revoked when its time is over too.
    pub fn state(&self, now: Timestamp) -> KeyState {
        match (self.revoked_at, self.expires_at) {
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
    fn a_key_is_not_taken_for_an_identifier() {
        let (key, record) = NewKey::named("test").generate(Timestamp::UNIX_EPOCH, &mut rand::rng());
        assert_eq!(KeyId::parse(record.id.as_str()), Some(record.id));
        assert_eq!(KeyId::parse(key.expose()), None);
        assert_eq!(KeyId::parse(""), None);
    }

    #[test]
    fn scopes_hold_what_they_were_given() {
        let scopes: Scopes = [Scope::Metrics, Scope::Predict].into_iter().collect();
        assert_eq!(scopes.words(), ["predict", "metrics"]);
        assert!(!scopes.contains(Scope::Admin));
        assert_eq!("root".parse::<Scope>(), Err(UnknownScope("root".to_owned())));
    }

    #[test]
    fn a_key_expires_at_its_moment_and_revocation_outweighs_that() {
        let now = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(10).expect("a valid time");
        let (_, mut record) = NewKey::named("test").generate(now, &mut rand::rng());
        assert_eq!(record.state(later), KeyState::Active);
        record.expires_at = Some(later);
        assert_eq!(record.state(now), KeyState::Active);
        assert_eq!(record.state(later), KeyState::Expired { at: later });
        record.revoked_at = Some(now);
        assert_eq!(record.state(later), KeyState::Revoked { at: now });
    }
}
