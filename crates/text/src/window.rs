//! Packs tokens into windows, which the model reads in one pass each.
//!
//! Works on token indices only, not on the text.

use std::ops::Range;

/// Lengths of windows, in tokens of text (without special tokens).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The length with the best accuracy; sentences are packed up to it.
    pub best_tokens: usize,
    /// The maximum length that the model reads.
    pub max_tokens: usize,
    /// Number of tokens before a cut that the next window repeats; at most a quarter of `best_tokens`.
    pub overlap_tokens: usize,
}

/// One pass of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The tokens it reads; never empty.
    pub tokens: Range<usize>,
}

/// Packs sentences into windows, sorted by start.
///
/// `sentences` are token ranges that tile `0..n`; some may be empty. `mentions` are token ranges in it, in
/// any order; one may cross the border of two sentences. `is_clause_end(i)` says whether a clause ends with
/// token `i`.
///
/// - Every token is in at least one window, and no window is longer than `limits.max_tokens`.
/// - Every mention of at most `limits.max_tokens` lies whole in at least one window.
/// - Consecutive sentences are packed whole up to `best_tokens`. A longer sentence is read whole up to twice
///   `best_tokens`: that costs more for each token, but keeps its context. An even longer one is rarely a sentence (a
///   table, a list, a log). It is cut at clause ends, outside mentions where possible, and each part begins
///   `overlap_tokens` before the cut.
///
/// Takes time linear in the number of tokens, and n log n in that of mentions.
pub fn windows(
    sentences: &[Range<usize>],
    mentions: &[Range<usize>],
    is_clause_end: impl Fn(usize) -> bool,
    limits: Limits,
) -> Vec<Window> {
    let limits = limits.clamped();
    let tokens = sentences.last().map_or(0, |sentence| sentence.end);
    let cuts = CutsThroughMentions::new(tokens, mentions, limits.max_tokens);

    let mut windows: Vec<Window> = Vec::new();
    for unit in join_across_mentions(sentences, &cuts) {
        if unit.len() > limits.whole_tokens() {
            cut(&unit, &cuts, &is_clause_end, limits, &mut windows);
            continue;
        }
        match windows.last_mut() {
            Some(open) if open.tokens.len() + unit.len() <= limits.best_tokens => open.tokens.end = unit.end,
            _ => windows.push(Window { tokens: unit }),
        }
    }
    cover(mentions, tokens, limits, &mut windows);
    windows
}

/// Returns for each mention the window that contains it with the most context on its shorter side; `None` if no window
/// contains it.
///
/// `windows` must be sorted by start, as [`windows`] returns them.
pub fn assign(windows: &[Window], mentions: &[Range<usize>]) -> Vec<Option<usize>> {
    let longest = windows.iter().map(|window| window.tokens.len()).max().unwrap_or(0);
    let best = |mention: &Range<usize>| {
        let candidates = windows.partition_point(|window| window.tokens.start <= mention.start);
        let context = |window: &Range<usize>| {
            Some((mention.start - window.start).min(window.end.checked_sub(mention.end)?))
        };
        (0..candidates)
            .rev()
            .take_while(|&index| windows[index].tokens.start + longest >= mention.end)
            .filter_map(|index| context(&windows[index].tokens).map(|context| (context, index)))
            .max()
            .map(|(_, index)| index)
    };
    mentions.iter().map(best).collect()
}

impl Limits {
    /// Returns limits with `1 <= best <= max`, and with an overlap small enough that each cut is at least a quarter of
    /// a window after the last.
    fn clamped(self) -> Self {
        let max_tokens = self.max_tokens.max(1);
        let best_tokens = self.best_tokens.clamp(1, max_tokens);
        Self { best_tokens, max_tokens, overlap_tokens: self.overlap_tokens.min(best_tokens / 4) }
    }

    fn whole_tokens(self) -> usize {
        (2 * self.best_tokens).min(self.max_tokens)
    }
}

/// The cuts that would split a mention. Cut `i` falls before token `i`.
struct CutsThroughMentions(Vec<bool>);

impl CutsThroughMentions {
    /// Mentions longer than `max_tokens` must be split anyway and are ignored.
    fn new(tokens: usize, mentions: &[Range<usize>], max_tokens: usize) -> Self {
        let mut change = vec![0i64; tokens + 2];
        for mention in mentions.iter().filter(|mention| (2..=max_tokens).contains(&mention.len())) {
            change[mention.start + 1] += 1;
            change[mention.end] -= 1;
        }
        let mut open = 0;
        Self(
            change
                .into_iter()
                .map(|step| {
                    open += step;
                    open > 0
                })
                .collect(),
        )
    }

    fn contains(&self, cut: usize) -> bool {
        self.0[cut]
    }
}

/// Returns the sentences without empty ones. Sentences that share a mention are joined.
fn join_across_mentions(sentences: &[Range<usize>], cuts: &CutsThroughMentions) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::with_capacity(sentences.len());
    for sentence in sentences.iter().filter(|sentence| !sentence.is_empty()) {
        match units.last_mut() {
            Some(open) if cuts.contains(sentence.start) => open.end = sentence.end,
            _ => units.push(sentence.clone()),
        }
    }
    units
}

/// Cuts a long unit into windows of at most `best_tokens`. Each cut is the last clause end in the second half of the
/// window that splits no mention, or else the last place that splits none, or else the window's end.
fn cut(
    unit: &Range<usize>,
    cuts: &CutsThroughMentions,
    is_clause_end: impl Fn(usize) -> bool,
    limits: Limits,
    windows: &mut Vec<Window>,
) {
    let mut start = unit.start;
    while unit.end - start > limits.best_tokens {
        let latest = start + limits.best_tokens;
        let places =
            || (start + limits.best_tokens / 2 + 1..=latest).rev().filter(|&place| !cuts.contains(place));
        let end =
            places().find(|&place| is_clause_end(place - 1)).or_else(|| places().next()).unwrap_or(latest);
        windows.push(Window { tokens: start..end });
        start = end - limits.overlap_tokens;
    }
    windows.push(Window { tokens: start..unit.end });
}

/// Adds a window around each mention that no window contains, and restores the order.
///
/// Mentions that overlap all along a long unit leave no place for a cut. This covers the mentions that a cut splits.
fn cover(mentions: &[Range<usize>], tokens: usize, limits: Limits, windows: &mut Vec<Window>) {
    // Starts and ends of the windows so far both increase, so the last window that starts at or before a mention
    // reaches furthest.
    let covered = |mention: &Range<usize>| {
        let candidates = windows.partition_point(|window| window.tokens.start <= mention.start);
        candidates > 0 && mention.end <= windows[candidates - 1].tokens.end
    };
    let mut split: Vec<_> = mentions
        .iter()
        .filter(|mention| !mention.is_empty() && mention.len() <= limits.max_tokens && !covered(mention))
        .collect();
    if split.is_empty() {
        return;
    }
    split.sort_unstable_by_key(|mention| (mention.start, mention.end));
    let mut added: Vec<Window> = Vec::new();
    for mention in split {
        let holds =
            |window: &Window| window.tokens.start <= mention.start && mention.end <= window.tokens.end;
        if !added.last().is_some_and(holds) {
            let context = limits.best_tokens.saturating_sub(mention.len()) / 2;
            let start = mention.start.saturating_sub(context);
            let end = mention.end.max(start + limits.best_tokens).min(tokens);
            added.push(Window { tokens: start..end });
        }
    }
    windows.append(&mut added);
    windows.sort_by_key(|window| (window.tokens.start, window.tokens.end));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { best_tokens: 10, max_tokens: 30, overlap_tokens: 2 };

    fn ranges(windows: &[Window]) -> Vec<Range<usize>> {
        windows.iter().map(|window| window.tokens.clone()).collect()
    }

    #[test]
    fn sentences_are_packed_whole() {
        let packed = windows(&[0..4, 4..4, 4..9, 9..12, 12..13], &[], |_| false, LIMITS);
        assert_eq!(ranges(&packed), [0..9, 9..13]);
    }

    #[test]
    fn a_slightly_too_long_sentence_stays_whole() {
        let packed = windows(&[0..3, 3..20, 20..25], &[], |_| false, LIMITS);
        assert_eq!(ranges(&packed), [0..3, 3..20, 20..25]);
    }

    #[test]
    fn a_long_sentence_is_cut_at_clauses_outside_mentions() {
        // A clause ends after token 6; the mention 14..19 moves the second cut forward.
        let cut = windows(&[0..24, 24..27], std::slice::from_ref(&(14..19)), |token| token == 6, LIMITS);
        assert_eq!(ranges(&cut), [0..7, 5..14, 12..22, 20..27]);
    }

    #[test]
    fn a_mention_across_a_border_joins_its_sentences() {
        let joined = windows(&[0..8, 8..16], std::slice::from_ref(&(7..9)), |_| false, LIMITS);
        let whole = 0..16;
        assert_eq!(ranges(&joined), [whole]);
    }

    #[test]
    fn a_mention_is_assigned_to_the_window_with_the_most_context() {
        let found = [Window { tokens: 0..10 }, Window { tokens: 6..16 }, Window { tokens: 14..20 }];
        assert_eq!(
            assign(&found, &[8..9, 1..2, 9..11, 13..15, 0..20]),
            [Some(1), Some(0), Some(1), Some(1), None]
        );
    }

    fn any_case() -> impl Strategy<Value = (Vec<Range<usize>>, Vec<Range<usize>>, Limits, u64)> {
        let sentences = prop::collection::vec(prop_oneof![4 => 0..12usize, 1 => 12..150usize], 0..20);
        let limits = (0..40usize, 0..80usize, 0..40usize);
        (sentences, limits, any::<u64>()).prop_flat_map(|(lengths, (best, max, overlap), clauses)| {
            let mut end = 0;
            let sentences: Vec<_> = lengths
                .iter()
                .map(|length| {
                    let start = end;
                    end += length;
                    start..end
                })
                .collect();
            let tokens = end;
            let mention = (0..=tokens, prop_oneof![6 => 1..6usize, 1 => 1..90usize])
                .prop_map(move |(start, length)| start..(start + length).min(tokens));
            let limits = Limits { best_tokens: best, max_tokens: max, overlap_tokens: overlap };
            (Just(sentences), prop::collection::vec(mention, 0..40), Just(limits), Just(clauses))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_token_is_covered_and_no_mention_is_split((sentences, mentions, limits, clauses) in any_case()) {
            let tokens = sentences.last().map_or(0, |sentence| sentence.end);
            let found = windows(&sentences, &mentions, |token| clauses >> (token % 64) & 1 == 1, limits);
            let max = limits.max_tokens.max(1);

            prop_assert!(found.is_sorted_by_key(|window| window.tokens.start));
            let mut read = 0;
            for Window { tokens: window } in &found {
                prop_assert!(!window.is_empty() && window.len() <= max && window.end <= tokens);
                prop_assert!(window.start <= read, "tokens {read}..{} are in no window", window.start);
                read = read.max(window.end);
            }
            prop_assert_eq!(read, tokens);

            let homes = assign(&found, &mentions);
            for (mention, home) in mentions.iter().zip(homes) {
                if mention.is_empty() || mention.len() > max {
                    continue;
                }
                let home = home.map(|index| found[index].tokens.clone());
                prop_assert!(
                    home.as_ref().is_some_and(|home| home.start <= mention.start && mention.end <= home.end),
                    "{mention:?} is whole in no window of {found:?}"
                );
            }
        }

        #[test]
        fn without_mentions_windows_overlap_little((sentences, _, limits, clauses) in any_case()) {
            let tokens = sentences.last().map_or(0, |sentence| sentence.end);
            let found = windows(&sentences, &[], |token| clauses >> (token % 64) & 1 == 1, limits);
            let read: usize = found.iter().map(|window| window.tokens.len()).sum();
            prop_assert!(read <= 2 * tokens);
        }
    }
}
