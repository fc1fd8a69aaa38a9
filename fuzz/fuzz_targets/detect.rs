//! Language detection: any text has a valid confidence and the same result each time.

#![no_main]

use sentor_text::language::detect;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let found = detect(text);
    assert!((0.0..=1.0).contains(&found.confidence), "{found:?}");
    assert!(found.language.is_none_or(|language| language.code() == found.code), "{found:?}");
    assert_eq!(found, detect(text));
});
