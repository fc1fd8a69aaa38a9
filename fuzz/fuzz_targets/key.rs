//! Keys: a text that parses is a valid key, and no other text is the same key.

#![no_main]

use sentor_store::keys::ApiKey;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // Chance never hits a checksum, so each text is also tried with the right one.
    for key in [text.parse::<ApiKey>(), ApiKey::with_checksum(text)].into_iter().flatten() {
        let exposed = key.expose();
        assert!(
            exposed == text || exposed.strip_prefix(text).is_some_and(|rest| rest.len() == 7),
            "{text:?}"
        );
        assert_eq!(exposed.parse(), Ok(key.clone()));
        assert!(exposed.starts_with(key.shown_prefix()) && exposed.is_ascii());
        assert!(!format!("{key:?} {:?}", key.digest()).contains(exposed));
    }
});
