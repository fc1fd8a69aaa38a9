//! Texts of ten megabytes take linear time. Only a hang or quadratic work exceeds the generous bound.

use sentor_text::language::{self, Language};
use sentor_text::mention::EntityMatcher;
use sentor_text::segment;
use std::time::Duration;

use crate::clock::thread_time;

const TEXT_BYTES: usize = 10_000_000;

/// Every byte ends hundreds of entities here, and each occurrence is examined.
const NESTED_BYTES: usize = 20_000;

/// In processor time. Quadratic work would take hours.
const HANG: Duration = Duration::from_mins(2);

#[test]
fn ten_megabytes_of_dots() {
    split_and_search(&".".repeat(TEXT_BYTES), &[".", "..."]);
}

#[test]
fn one_word_of_ten_megabytes() {
    split_and_search(&"a".repeat(TEXT_BYTES), &["a", "aa", "aaaa"]);
    split_and_search(&"batterij".repeat(TEXT_BYTES / 8), &["batterij", "batterijbatterij"]);
}

#[test]
fn ten_megabytes_of_quotes() {
    split_and_search(&"\"".repeat(TEXT_BYTES), &["\""]);
    split_and_search(&"'' \"' “".repeat(TEXT_BYTES / 9), &["'", "\"'"]);
    split_and_search(&"\" Ja. \" ".repeat(TEXT_BYTES / 8), &["ja"]);
}

#[test]
fn a_thousand_entities_in_ten_megabytes() {
    let entities: Vec<String> = (0..1000).map(|number| format!("merk{number}")).collect();
    let line = entities.join(" en ") + ". ";
    let times = TEXT_BYTES / line.len();
    assert_eq!(split_and_search(&line.repeat(times), &entities), times * entities.len());
}

#[test]
fn a_thousand_entities_inside_each_other() {
    let entities: Vec<String> = (1..=1000).map(|length| "a".repeat(length)).collect();
    split_and_search(&"a".repeat(NESTED_BYTES), &entities);
    let entities: Vec<String> = (1..=500).map(|count| "a ".repeat(count)).collect();
    split_and_search(&"a ".repeat(NESTED_BYTES / 2), &entities);
}

fn split_and_search<S: AsRef<str>>(text: &str, entities: &[S]) -> usize {
    let mut found = 0;
    for language in Language::ALL {
        let start = thread_time();
        let sentences = segment::sentences(text, language);
        assert_eq!(sentences.last().map(|last| last.end), Some(text.len()));
        found = EntityMatcher::new(entities, language).find(text).len();
        language::detect(text);
        let elapsed = thread_time().saturating_sub(start);
        assert!(elapsed < HANG, "{:?}… took {elapsed:?}", &text[..20]);
    }
    found
}
