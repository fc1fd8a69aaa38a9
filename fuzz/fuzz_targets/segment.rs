//! Sentences: they tile the text, none is empty, and white space belongs to the preceding one.

#![no_main]

use sentor_text::language::Language;
use sentor_text::segment::sentences;

libfuzzer_sys::fuzz_target!(|text: &str| {
    for language in Language::ALL {
        let mut end = 0;
        for span in sentences(text, language) {
            assert_eq!(span.start, end, "{text:?}");
            // Panics where an end is inside a character.
            let first = span.slice(text).chars().next();
            assert!(first.is_some_and(|first| end == 0 || !first.is_whitespace()), "{text:?}");
            end = span.end;
        }
        assert_eq!(end, text.len(), "{text:?}");
    }
});
