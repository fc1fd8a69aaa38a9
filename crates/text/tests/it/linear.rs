//! All text logic takes linear time, whatever the text.
//!
//! Each shape is a text that some rule could read again and again. It is processed at one length and at eight times
//! that length: linear work takes about eight times as long, quadratic work 64 times. The test measures processor time
//! of the thread, which other load hardly affects, and a ratio counts only if several tries confirm it.

use std::ops::Range;
use std::time::Duration;

use sentor_text::aggregate;
use sentor_text::language::{self, Language};
use sentor_text::masking::AspectWords;
use sentor_text::mention::EntityMatcher;
use sentor_text::pronoun;
use sentor_text::segment;
use sentor_text::sentiment::Distribution;
use sentor_text::span::{OffsetMap, OffsetUnit};
use sentor_text::window::{Limits, assign, windows};

use crate::clock::thread_time;

const SHORT_BYTES: usize = 8 << 10;
const FACTOR: usize = 8;

/// Between the 8 of linear and the 64 of quadratic work.
const MOST_RATIO: f64 = 24.0;

/// Minimum time to compare: loading a table may take as long.
const LEAST: Duration = Duration::from_micros(100);

const TRIES: usize = 4;

/// Maximum mentions, as in a server.
const MOST_MENTIONS: usize = 10_000;

/// A text with a repeated part between a beginning and an end, and the entities to find.
struct Shape {
    begin: &'static str,
    repeat: &'static str,
    entities: &'static [&'static str],
}

const fn shape(repeat: &'static str) -> Shape {
    Shape { begin: "", repeat, entities: &["a", "Jan", "foto", "e.g."] }
}

const fn naming(repeat: &'static str, entities: &'static [&'static str]) -> Shape {
    Shape { begin: "", repeat, entities }
}

const fn after(begin: &'static str, repeat: &'static str) -> Shape {
    Shape { begin, repeat, entities: &["a", "Jan"] }
}

const SHAPES: [Shape; 72] = [
    // Stops that end nothing.
    shape("... "),
    shape("(. "),
    shape("(... "),
    shape(". . . "),
    shape("!? "),
    shape("[...] "),
    shape(".)"),
    shape(". )"),
    shape("? ''"),
    shape(".[12]"),
    shape("e.g. "),
    shape("e.g."),
    shape("a.b.c"),
    shape("p. 5 "),
    shape("J. de "),
    shape("1.234,50 "),
    shape("1. "),
    shape("1) 2) "),
    shape("。"),
    // Openers and closers that are never closed.
    shape("("),
    shape("\""),
    shape("\"a "),
    shape("\" a. \" "),
    shape("«“‘"),
    shape("(\"['"),
    shape("'' "),
    shape("¿¡"),
    after("((((", "e.g. ("),
    // Lines.
    shape("\n"),
    shape("\r\n"),
    shape("a\r\n"),
    shape("a\u{b}"),
    shape("a\u{2028}"),
    shape("a, \n"),
    shape("- a\n"),
    shape(" \t"),
    shape("     "),
    shape("a     "),
    shape("-----"),
    shape("----- "),
    shape("= = "),
    shape("• "),
    // Emoji, marks, invisible characters.
    shape("😀"),
    shape("a😀"),
    after("1111111111", "1😀 A"),
    shape("1😀 A"),
    shape("😀 "),
    shape("🇳🇱"),
    shape(":) "),
    shape(":)))))"),
    shape("\u{301}"),
    shape("a\u{301}\u{323}"),
    shape("a\u{200b}"),
    shape("\u{200b}\u{ad}"),
    shape("é\u{fe0f}"),
    // Words.
    shape("a"),
    shape("a-"),
    naming("a1", &["a", "a1", "1"]),
    naming("_1", &["_1", "_1_1", "_1_1_1_1_1_1_1_1", "1"]),
    naming("aB", &["a b a b", "a", "B", "#aB"]),
    naming("#aB ", &["a b", "a", "B"]),
    naming("foto-", &["foto", "foto-foto"]),
    naming("foto's", &["foto", "fotos"]),
    naming("batterij", &["batterij", "batterijduur"]),
    naming("Merkels beleid ", &["Merkel", "beleid"]),
    naming("a - ", &["a-a-a-a-a", "a"]),
    naming("a@b.c ", &["a", "b.c"]),
    naming("İẞ", &["i̇ss", "İẞ"]),
    // Entities inside each other, and pronouns.
    naming("a ", &["a", "a a", "a a a", "a a a a", "a a a a a a a a", "a a a a a a a a a a a a a a a a"]),
    naming("aaaa", &["a", "aa", "aaa", "aaaaaaaaaaaaaaaa", "b"]),
    naming("Jan he ", &["Jan", "jan", "JAN"]),
    naming("Hij zag Jan. It works. ", &["Jan", "jan", "Piet"]),
];

#[test]
fn every_step_is_linear_in_any_text() {
    let mut slow = Vec::new();
    for language in Language::ALL {
        for Shape { begin, repeat, entities } in &SHAPES {
            let text = |bytes: usize| format!("{begin}{}", repeat.repeat(bytes.div_ceil(repeat.len())));
            for (step, run) in STEPS {
                let ratio = ratio(|bytes| {
                    let text = text(bytes);
                    run(&text, entities, language)
                });
                if ratio > MOST_RATIO {
                    slow.push(format!("{step} of {begin:?}{repeat:?} in {}: {ratio:.0}", language.code()));
                }
            }
        }
    }
    assert!(slow.is_empty(), "more than {MOST_RATIO} times as long for {FACTOR} times the text: {slow:#?}");
}

type Step = fn(&str, &[&str], Language) -> Duration;

const STEPS: [(&str, Step); 6] = [
    ("sentences", |text, _, language| timed(|| segment::sentences(text, language))),
    ("mentions", |text, entities, language| {
        timed(|| EntityMatcher::new(entities, language).find_first(text, MOST_MENTIONS, || true))
    }),
    ("pronouns", |text, entities, language| {
        let sentences = segment::sentences(text, language);
        let found = EntityMatcher::new(entities, language).find_first(text, MOST_MENTIONS, || true);
        let found = found.unwrap_or_default();
        timed(|| pronoun::follow_first(text, language, &sentences, found, MOST_MENTIONS))
    }),
    ("language", |text, _, _| timed(|| language::detect(text))),
    ("masking", |text, _, _| timed(|| AspectWords::parse("battery screen").is_name(text))),
    ("offsets", |text, _, _| {
        timed(|| {
            let map = OffsetMap::new(text, OffsetUnit::Utf16);
            text.char_indices().step_by(16).map(|(at, _)| map.from_bytes(at)).sum::<usize>()
        })
    }),
];

/// Token ranges of mentions that overlap, nest and cross sentences, by their starts.
type Mentions = fn(usize) -> Vec<Range<usize>>;

#[test]
fn windows_and_their_mentions_are_linear() {
    let limits = Limits { best_tokens: 126, max_tokens: 254, overlap_tokens: 24 };
    let kinds: [(&str, Mentions); 5] = [
        ("none", |_| Vec::new()),
        ("single tokens", |tokens| (0..tokens).map(|start| start..start + 1).collect()),
        ("overlapping", |tokens| (0..tokens - 20).map(|start| start..start + 20).collect()),
        ("as long as a window", |tokens| {
            (0..tokens - 254).step_by(3).map(|start| start..start + 254).collect()
        }),
        ("longer than a window", |tokens| {
            (0..tokens - 900).step_by(7).map(|start| start..start + 900).collect()
        }),
    ];
    for (name, mentions) in kinds {
        for sentence_tokens in [1, 7, 300, usize::MAX] {
            let ratio = ratio(|bytes| {
                let tokens = bytes / 4;
                let step = sentence_tokens.min(tokens);
                let sentences: Vec<_> =
                    (0..tokens).step_by(step).map(|start| start..(start + step).min(tokens)).collect();
                let mentions = mentions(tokens);
                timed(|| {
                    let packed = windows(&sentences, &mentions, |token| token % 11 == 0, limits);
                    assign(&packed, &mentions)
                })
            });
            assert!(ratio <= MOST_RATIO, "mentions {name}, sentences of {sentence_tokens}: {ratio:.0}");
        }
    }
}

#[test]
fn aggregation_is_linear() {
    let ratio = ratio(|parts| {
        let one = Distribution::from_weights([0.2, 0.3, 0.5]);
        let parts = vec![(one, 3); parts];
        timed(|| aggregate::document(&parts))
    });
    assert!(ratio <= MOST_RATIO, "{ratio:.0}");
}

/// Returns the factor by which eight times the size takes longer; the lowest of several tries.
fn ratio(run: impl Fn(usize) -> Duration) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        let short = run(SHORT_BYTES).max(LEAST);
        let long = run(SHORT_BYTES * FACTOR);
        least = least.min(long.as_secs_f64() / short.as_secs_f64());
        if least <= MOST_RATIO {
            break;
        }
    }
    least
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = thread_time();
    std::hint::black_box(work());
    thread_time().saturating_sub(start)
}
