//! The format of a key: `sentor_<environment>_<random>_<checksum>`.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters of a new key: 32 of 62 are 190 bits.
const RANDOM_LENGTH: usize = 32;

/// A CRC-32 takes six base-62 digits.
const CHECKSUM_LENGTH: usize = 6;

/// Longer than any key. Longer texts are refused before they are parsed.
const MAX_LENGTH: usize = 160;

/// Random characters that a listing shows. The other 26 cannot be guessed.
const SHOWN_LENGTH: usize = 6;

/// A key whose form and checksum are right. The store knows whether it was issued.
///
/// ```
/// use sentor_store::keys::{ApiKey, ApiKeyError, Environment};
///
/// let key = ApiKey::generate(Environment::Live, &mut rand::rng());
/// assert_eq!(key.expose().parse(), Ok(key.clone()));
/// assert!(!format!("{key:?}").contains(key.expose()));
/// assert_eq!("sentor_live_x".parse::<ApiKey>(), Err(ApiKeyError::Form));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// The environment of a key. Both work alike; the name helps people and secret scanners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// `sentor_live_…`
    Live,
    /// `sentor_test_…`: development.
    Test,
}

impl Environment {
    /// Its name in a key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// Reads the environment from a key or its prefix.
    pub(super) fn from_prefix(key: &str) -> Self {
        if key.starts_with("sentor_test_") { Self::Test } else { Self::Live }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Live, Self::Test].into_iter().find(|environment| environment.name() == word)
    }
}

/// Why a text is no key. The message does not quote the text, which may be another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// Longer than any key.
    #[error("it is longer than any Sentor key")]
    TooLong,
    /// The text has not the parts of a key.
    #[error("it does not look like sentor_live_… or sentor_test_… with all its characters")]
    Form,
    /// The checksum does not fit.
    #[error("its checksum is wrong: a character was lost or changed")]
    Checksum,
}

impl ApiKey {
    /// Makes a random key.
    pub fn generate(environment: Environment, random: &mut impl rand::CryptoRng) -> Self {
        let characters: String = (0..RANDOM_LENGTH)
            .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
            .collect();
        let body = format!("sentor_{}_{characters}", environment.name());
        let checksum = checksum(&body);
        Self(format!("{body}_{checksum}"))
    }

    /// Makes a key of `body` and its checksum.
    ///
    /// # Errors
    ///
    /// If `body` is not of the form `sentor_<environment>_<random>`.
    pub fn with_checksum(body: &str) -> Result<Self, ApiKeyError> {
        format!("{body}_{}", checksum(body)).parse()
    }

    /// The key as text. Only for showing it once, to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the SHA-256 that the store keeps.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// Returns the first characters, enough to recognise the key.
    pub fn shown_prefix(&self) -> &str {
        let random_start = "sentor_live_".len();
        &self.0[..random_start + SHOWN_LENGTH]
    }

    /// Returns the environment.
    pub fn environment(&self) -> Environment {
        Environment::from_prefix(&self.0)
    }
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        if text.is_empty() {
            return Err(ApiKeyError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(ApiKeyError::TooLong);
        }
        let (body, given) = text.rsplit_once('_').ok_or(ApiKeyError::Form)?;
        let (environment, random) =
            body.strip_prefix("sentor_").and_then(|rest| rest.split_once('_')).ok_or(ApiKeyError::Form)?;
        let is_base62 = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let has_form = Environment::parse(environment).is_some()
            && random.len() >= RANDOM_LENGTH
            && is_base62(random)
            && given.len() == CHECKSUM_LENGTH
            && is_base62(given);
        if !has_form {
            return Err(ApiKeyError::Form);
        }
        if checksum(body) != given {
            return Err(ApiKeyError::Checksum);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(…)")
    }
}

/// Returns the CRC-32 of the text before the last underscore, in base 62.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = ['0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = char::from(ALPHABET[rest % ALPHABET.len()]);
        rest /= ALPHABET.len();
    }
    digits.iter().collect()
}

/// The SHA-256 of a key. Keys are random, so no slower hash is needed.
///
/// It is compared in constant time, and never shown.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Makes a digest of stored bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl std::hash::Hash for KeyDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> ApiKey {
        ApiKey::generate(Environment::Test, &mut rand::rng())
    }

    #[test]
    fn a_key_has_its_parts() {
        let key = key();
        assert!(key.expose().starts_with("sentor_test_"));
        assert_eq!(key.expose().len(), "sentor_test_".len() + RANDOM_LENGTH + 1 + CHECKSUM_LENGTH);
        assert_eq!(key.environment(), Environment::Test);
        assert_eq!(key.shown_prefix().len(), "sentor_test_".len() + SHOWN_LENGTH);
    }

    #[test]
    fn texts_that_are_not_keys_are_rejected() {
        let wrong_environment = key().expose().replace("_test_", "_prod_");
        let too_long = "s".repeat(MAX_LENGTH + 1);
        let cases = [
            ("", ApiKeyError::Empty),
            (too_long.as_str(), ApiKeyError::TooLong),
            ("geheim", ApiKeyError::Form),
            ("sentor_live__", ApiKeyError::Form),
            ("sentor_live_é_000000", ApiKeyError::Form),
            (wrong_environment.as_str(), ApiKeyError::Form),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<ApiKey>(), Err(error), "{text}");
        }
    }

    #[test]
    fn nothing_shows_a_key_or_its_digest() {
        let key = key();
        assert_eq!(format!("{key:?} {:?}", key.digest()), "ApiKey(…) KeyDigest(…)");
    }

    proptest! {
        #[test]
        fn one_changed_character_fails_the_checksum(at in 0_usize..51, to in "[0-9A-Za-z_]") {
            let key = key();
            let mut changed = key.expose().to_owned();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != key.expose());
            prop_assert!(changed.parse::<ApiKey>().is_err());
        }

        #[test]
        fn no_text_panics_the_parser(text in "\\PC{0,200}") {
            let _ = text.parse::<ApiKey>();
        }
    }
}
