//! What holds for any text: nothing is lost, nothing panics, and no text is slow.

use proptest::prelude::*;
use sentor::language::{self, Language};
use sentor::mention::EntityMatcher;
use sentor::segment;
use std::time::{Duration, Instant};

/// Pieces that the rules look at, to meet each other in every order.
const PIECES: [&str; 64] = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    ".",
    "...",
    "…",
    ". . .",
    "!",
    "?!",
    "? ",
    "。",
    ",",
    ":",
    ";",
    "\"",
    " \"",
    "'",
    "''",
    "’",
    "“",
    "”",
    "(",
    ")",
    "[",
    "]",
    "[1]",
    "-",
    "-----",
    "=====",
    "•",
    "1.",
    "2)",
    "a.",
    "@",
    "#",
    "_",
    "😀",
    "👍🏽",
    "🇳🇱",
    ":)",
    "<3",
    "\u{ad}",
    "\u{200b}",
    "\u{301}",
    "\u{a0}",
    "ß",
    "ﬁ",
    "é",
    "İ",
    "Apple",
    "apple",
    "'s",
    "batterij",
    "duur",
    "dhr",
    "U.S",
    "etc",
    "'t",
    "Het",
    "12,50",
    "http://a.b/c.d",
];

fn any_text() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..40)
        .prop_map(|pieces| pieces.concat());
    prop_oneof![4 => pieces, 1 => "\\PC{0,80}", 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn sentences_tile_the_text(text in any_text()) {
        for language in Language::ALL {
            let sentences = segment::sentences(&text, language);
            prop_assert_eq!(sentences.iter().map(|sentence| sentence.slice(&text)).collect::<String>(), text.as_str());
            let mut end = 0;
            for (index, sentence) in sentences.iter().enumerate() {
                prop_assert_eq!(sentence.start, end);
                end = sentence.end;
                prop_assert!(!sentence.is_empty());
                if index > 0 {
                    let first = sentence.slice(&text).chars().next();
                    prop_assert!(!first.is_some_and(char::is_whitespace), "white space belongs to the sentence before");
                }
            }
        }
    }

    #[test]
    fn mentions_are_in_order_and_in_the_text(text in any_text(), entities in prop::collection::vec(any_text(), 0..5)) {
        for language in Language::ALL {
            let mentions = EntityMatcher::new(&entities, language).find(&text);
            prop_assert!(mentions.is_sorted_by_key(|mention| (mention.span.start, mention.entity)));
            let mut free_from = vec![0; entities.len()];
            for mention in &mentions {
                prop_assert!(!mention.span.slice(&text).is_empty());
                prop_assert!(mention.span.start >= free_from[mention.entity], "mentions of one entity do not overlap");
                free_from[mention.entity] = mention.span.end;
            }
        }
    }

    #[test]
    fn an_entity_is_found_where_it_stands_between_spaces(entity in "[A-Za-zéß0-9]{1,8}( [A-Za-z0-9]{1,8}){0,2}") {
        let text = format!("dit is {entity} hoor");
        let start = "dit is ".len();
        let mentions = EntityMatcher::new(&[&entity], Language::Dutch).find(&text);
        prop_assert!(
            mentions.iter().any(|mention| mention.span.start == start && mention.span.slice(&text) == entity),
            "{entity:?} in {mentions:?}"
        );
    }

    #[test]
    fn a_language_has_a_code_and_a_confidence(text in any_text()) {
        let detection = language::detect(&text);
        prop_assert!((0.0..=1.0).contains(&detection.confidence));
        prop_assert!(detection.language.is_none_or(|language| language.code() == detection.code));
    }
}

/// These take milliseconds each; anything quadratic takes minutes.
#[test]
fn no_text_is_slow() {
    let patterns = [
        ".",
        " ",
        "\n",
        "a",
        "😀",
        "\"",
        "(",
        "[",
        "'",
        "-",
        "=",
        "•",
        "\u{301}",
        "\u{200b}",
        "\u{ad}",
        "é",
        "a.",
        ". ",
        "a. ",
        "A. ",
        "? ",
        "?)",
        ". . ",
        "1. ",
        "1) ",
        "a\n",
        "\n(",
        "😀 ",
        ":) ",
        "a\u{301}",
        "a\u{200b}",
        "appel",
        "appel ",
        "appel's ",
        "appel-",
        "#appel",
        "x.Appel",
        "en ",
        "\"a. ",
        "a-----",
        "www.",
        "A.B",
        " ''",
        "een twee. Drie? ",
        "a  b",
    ];
    let entities =
        ["a", "appel", "appel appel", "aa", "aaa", "\u{301}", "-", "(", ".", "😀", "x", "en", "A.B", "é"];
    for pattern in patterns {
        let text = pattern.repeat(300_000 / pattern.len());
        for language in Language::ALL {
            let start = Instant::now();
            let sentences = segment::sentences(&text, language);
            let mentions = EntityMatcher::new(&entities, language).find(&text);
            language::detect(&text);
            let elapsed = start.elapsed();
            assert!(
                elapsed < Duration::from_secs(10),
                "{pattern:?}: {} sentences, {} mentions, {elapsed:?}",
                sentences.len(),
                mentions.len()
            );
        }
    }
}
