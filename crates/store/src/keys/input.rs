//! Checks of the input for a new key.

use jiff::civil;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Longest name of a key, in characters; listings show it.
pub const MAX_NAME_CHARACTERS: usize = 200;

/// Why a text is no name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty, blank or too long.
    #[error("must be 1 to {MAX_NAME_CHARACTERS} characters and not white space only")]
    Length,
    /// The name has characters that change how a terminal or a log shows it.
    #[error("must not hold control characters, line separators or marks of writing direction")]
    Control,
}

/// Checks the name of a key: listings, logs and terminals show it.
///
/// # Errors
///
/// If it is blank, too long, or has characters that a terminal or log does not show as they are.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARACTERS {
        return Err(NameError::Length);
    }
    if name.chars().any(is_control) { Err(NameError::Control) } else { Ok(()) }
}

/// Returns `true` for characters that steer a terminal, break a line or turn the writing direction.
pub fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{061C}')
        || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The last expiry that a store can hold, in microseconds, and read back: 9999-12-30T22:00:00Z.
pub fn last_expiry() -> Timestamp {
    Timestamp::from_second(Timestamp::MAX.as_second()).unwrap_or(Timestamp::MAX)
}

/// Parses an expiry: a time with its zone, or a date, which stands for its start in UTC.
///
/// Later moments than [`last_expiry`] count as that one, up to the end of the year 9999, so that a far expiry such as
/// `9999-12-31` is accepted.
pub fn parse_expiry(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.min(last_expiry()));
    }
    let pieces = Pieces::parse(text).ok()?;
    let has_zone = pieces.offset().is_some() || pieces.time_zone_annotation().is_some();
    // A time without a zone is ambiguous.
    if pieces.time().is_some() && !has_zone {
        return None;
    }
    let date = pieces.date();
    match date.to_zoned(TimeZone::UTC) {
        Ok(midnight) if pieces.time().is_none() => Some(midnight.timestamp().min(last_expiry())),
        _ => is_at_the_end(date).then(last_expiry),
    }
}

/// Returns `true` for the dates on which the representable time can end, depending on the zone.
fn is_at_the_end(date: civil::Date) -> bool {
    let end = Timestamp::MAX.to_zoned(TimeZone::UTC).date();
    date >= end.saturating_sub(SignedDuration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_control_characters() {
        assert_eq!(check_name("winkel „één” 店"), Ok(()));
        for name in ["", " ", "\t", &"x".repeat(201)] {
            assert_eq!(check_name(name), Err(NameError::Length), "{name:?}");
        }
        for name in
            ["a\u{1b}[31m\nroot", "a\0", "a\u{9b}31m", "a\u{2028}b", "a\u{202e}b", "tab\tbed", "\u{7f}x"]
        {
            assert_eq!(check_name(name), Err(NameError::Control), "{name:?}");
        }
    }

    #[test]
    fn far_expiries_are_allowed_and_invalid_ones_are_not() {
        let parsed = |text: &str| parse_expiry(text);
        assert_eq!(parsed("2030-01-31T12:00:00Z"), "2030-01-31T12:00:00Z".parse().ok());
        assert_eq!(parsed("2030-01-31"), "2030-01-31T00:00:00Z".parse().ok());
        for far in
            ["9999-12-31T23:59:59Z", "9999-12-31", "9999-12-31T00:00:00+01:00", "9999-12-30T22:00:00.5Z"]
        {
            assert_eq!(parsed(far), Some(last_expiry()), "{far}");
        }
        let stored = Timestamp::from_microsecond(last_expiry().as_microsecond());
        assert_eq!(stored.ok(), Some(last_expiry()));
        for text in [
            "",
            "soon",
            "2030-01-31T12:00:00",
            "9999-12-31T23:59:59",
            "+262143-01-01T00:00:00Z",
            "2030-02-30",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
