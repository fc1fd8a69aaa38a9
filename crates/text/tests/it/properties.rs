//! Properties of any text: nothing is lost, nothing panics, and no text is slow.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sentor_text::language::{self, Language};
use sentor_text::mention::{EntityMatcher, MatchForm, Mention};
use sentor_text::pronoun;
use sentor_text::segment;
use sentor_text::span::{OffsetMap, OffsetUnit, Span};
use std::time::{Duration, Instant};

use crate::clock::thread_time;

/// Pieces that the rules treat specially, combined in any order.
const PIECES: [&str; 70] = [
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
    " it ",
    " They ",
    " hij ",
    "Ze hebben",
    "the ",
    "de ",
];

fn any_text() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..40)
        .prop_map(|pieces| pieces.concat());
    prop_oneof![4 => pieces, 1 => "\\PC{0,80}", 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn sentences_and_mentions_are_sound(text in any_text(), entities in prop::collection::vec(any_text(), 0..5)) {
        check(&text, &entities)?;
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
}

/// Checks the properties of any text and any entities.
fn check(text: &str, entities: &[String]) -> Result<(), TestCaseError> {
    let detection = language::detect(text);
    prop_assert!((0.0..=1.0).contains(&detection.confidence));
    prop_assert!(detection.language.is_none_or(|language| language.code() == detection.code));
    for language in Language::ALL {
        let sentences = segment::sentences(text, language);
        check_sentences(text, &sentences)?;
        let mentions = EntityMatcher::new(entities, language).find(text);
        check_mentions(text, entities, &mentions)?;
        let followed = pronoun::follow(text, language, &sentences, mentions.clone());
        check_mentions(text, entities, &followed)?;
        let named = followed.iter().filter(|mention| mention.form != MatchForm::Pronoun);
        prop_assert!(named.eq(&mentions), "what was found stays as it was");
        let trimmed = sentences.iter().map(|sentence| sentence.trim(text));
        check_offsets(text, trimmed.chain(followed.iter().map(|mention| mention.span)))?;
    }
    Ok(())
}

fn check_sentences(text: &str, sentences: &[Span]) -> Result<(), TestCaseError> {
    prop_assert_eq!(sentences.iter().map(|sentence| sentence.slice(text)).collect::<String>(), text);
    let mut end = 0;
    for (index, sentence) in sentences.iter().enumerate() {
        prop_assert_eq!(sentence.start, end);
        end = sentence.end;
        prop_assert!(!sentence.is_empty());
        if index > 0 {
            let first = sentence.slice(text).chars().next();
            prop_assert!(
                !first.is_some_and(char::is_whitespace),
                "white space belongs to the sentence before"
            );
        }
    }
    Ok(())
}

fn check_mentions(text: &str, entities: &[String], mentions: &[Mention]) -> Result<(), TestCaseError> {
    prop_assert!(mentions.is_sorted_by_key(|mention| (mention.span.start, mention.entity)));
    let mut free_from = vec![0; entities.len()];
    for mention in mentions {
        prop_assert!(!mention.span.slice(text).is_empty());
        prop_assert!(
            mention.span.start >= free_from[mention.entity],
            "mentions of one entity do not overlap"
        );
        free_from[mention.entity] = mention.span.end;
    }
    Ok(())
}

/// Offsets on the wire select the same text in Python, in JavaScript and in Rust.
fn check_offsets(text: &str, spans: impl Iterator<Item = Span>) -> Result<(), TestCaseError> {
    let units =
        [OffsetUnit::CodePoint, OffsetUnit::Utf16, OffsetUnit::Utf8].map(|unit| OffsetMap::new(text, unit));
    let code_points: Vec<char> = text.chars().collect();
    let utf16: Vec<u16> = text.encode_utf16().collect();
    for span in spans {
        let [python, javascript, rust] =
            units.each_ref().map(|map| map.from_bytes(span.start)..map.from_bytes(span.end));
        let said = span.slice(text);
        prop_assert_eq!(code_points[python].iter().collect::<String>(), said);
        prop_assert_eq!(String::from_utf16_lossy(&utf16[javascript]), said);
        prop_assert_eq!(&text[rust], said);
    }
    Ok(())
}

/// Searches for texts that break [`check`] or take too long for their length, for `SENTOR_FUZZ_SECONDS`:
///
/// ```sh
/// SENTOR_FUZZ_SECONDS=600 cargo test --release --test text_properties -- --ignored --nocapture
/// ```
#[test]
#[ignore = "takes as long as it is told to"]
fn fuzz() {
    let seconds = std::env::var("SENTOR_FUZZ_SECONDS").expect("SENTOR_FUZZ_SECONDS says how long to fuzz");
    let end = Instant::now() + Duration::from_secs(seconds.parse().expect("seconds are a number"));
    let texts = prop::collection::vec(any_part(), 0..120).prop_map(|parts| parts.concat());
    let entities = prop::collection::vec(any_part(), 0..8);
    let mut cases = 0;
    while Instant::now() < end {
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) });
        let result = runner.run(&(&texts, &entities), |(text, entities)| {
            let start = Instant::now();
            check(&text, &entities)?;
            prop_assert!(start.elapsed() < HANG, "took {:?}", start.elapsed());
            Ok(())
        });
        if let Err(error) = result {
            panic!("after {cases} cases: {error}");
        }
        cases += 500;
    }
    println!("{cases} cases found nothing");
}

/// Texts of a few kilobytes take milliseconds.
const HANG: Duration = Duration::from_secs(20);

/// A piece, a line of the case files, or any characters.
fn any_part() -> impl Strategy<Value = String> {
    let lines: Vec<String> = [
        include_str!("../data/sentences.txt"),
        include_str!("../data/sentences-golden.txt"),
        include_str!("../data/mentions.txt"),
        include_str!("../data/pronouns.txt"),
        include_str!("../data/languages.txt"),
    ]
    .iter()
    .flat_map(|file| file.lines().map(|line| line.replace(" | ", " ").replace('⏎', "\n")))
    .collect();
    prop_oneof![
        8 => prop::sample::select(PIECES.as_slice()).prop_map(str::to_owned),
        2 => prop::sample::select(lines),
        1 => "\\PC{0,12}",
        1 => any::<char>().prop_map(String::from),
    ]
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
        "appel it hij ",
        "appel. It works. Hij doet ",
        "it ",
        "a  b",
    ];
    let entities =
        ["a", "appel", "appel appel", "aa", "aaa", "\u{301}", "-", "(", ".", "😀", "x", "en", "A.B", "é"];
    for pattern in patterns {
        let text = pattern.repeat(300_000 / pattern.len());
        for language in Language::ALL {
            let start = thread_time();
            let sentences = segment::sentences(&text, language);
            let mentions = EntityMatcher::new(&entities, language).find(&text);
            let mentions = pronoun::follow(&text, language, &sentences, mentions);
            language::detect(&text);
            let elapsed = thread_time().saturating_sub(start);
            assert!(
                elapsed < Duration::from_secs(10),
                "{pattern:?}: {} sentences, {} mentions, {elapsed:?}",
                sentences.len(),
                mentions.len()
            );
        }
    }
}
