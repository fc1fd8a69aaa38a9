//! Well-formed keys that were never issued.

use sentor_store::keys::ApiKey;

/// Returns `key` with another character at `place` of its random part, and a matching checksum.
pub(crate) fn wrong_at(key: &ApiKey, place: usize) -> ApiKey {
    let (body, _) = key.expose().rsplit_once('_').expect("a key has a checksum");
    let at = "sentor_live_".len() + place;
    let other = if &body[at..=at] == "a" { "b" } else { "a" };
    let body = format!("{}{other}{}", &body[..at], &body[at + 1..]);
    ApiKey::with_checksum(&body).expect("it has the form of a key")
}
