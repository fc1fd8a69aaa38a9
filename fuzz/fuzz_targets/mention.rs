//! Mentions: on character boundaries, in order, without overlap for one entity, and with offsets that convert back from
//! any unit.

#![no_main]

use sentor_fuzz::split_line;
use sentor_text::language::Language;
use sentor_text::mention::EntityMatcher;
use sentor_text::span::{OffsetMap, OffsetUnit};

// The first line has the entities, with `|` between them.
libfuzzer_sys::fuzz_target!(|input: &str| {
    let (entities, text) = split_line(input);
    let entities: Vec<&str> = entities.split('|').collect();
    let units =
        [OffsetUnit::CodePoint, OffsetUnit::Utf16, OffsetUnit::Utf8].map(|unit| OffsetMap::new(text, unit));
    for language in Language::ALL {
        let mentions = EntityMatcher::new(&entities, language).find(text);
        assert!(mentions.is_sorted_by_key(|mention| (mention.span.start, mention.entity)), "{input:?}");
        let mut free_from = vec![0; entities.len()];
        for mention in mentions {
            let span = mention.span;
            // Panics where an end is inside a character.
            assert!(!span.slice(text).is_empty(), "{input:?}");
            assert!(span.start >= free_from[mention.entity], "{input:?}");
            free_from[mention.entity] = span.end;
            for map in &units {
                assert_eq!(map.to_bytes(map.from_bytes(span.start)), Some(span.start), "{input:?}");
                assert_eq!(map.to_bytes(map.from_bytes(span.end)), Some(span.end), "{input:?}");
            }
        }
    }
});
