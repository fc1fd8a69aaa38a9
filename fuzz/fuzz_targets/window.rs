//! Windows: every token is in one, none is too long, and every mention that fits is whole in one.

#![no_main]

use std::ops::Range;

use sentor_text::window::{Limits, assign, windows};

// Three bytes of limits, then a byte for each token: bit 0 ends a sentence, bit 1 a clause; bits 2 to 4 are the length of
// a mention that starts there, in steps of three tokens.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [best, max, overlap, tokens @ ..] = bytes else { return };
    let limits = Limits {
        best_tokens: usize::from(*best),
        max_tokens: usize::from(*max),
        overlap_tokens: usize::from(*overlap),
    };
    let count = tokens.len();
    let ends = (1..=count).filter(|&end| end == count || tokens[end - 1] & 1 != 0);
    let sentences: Vec<Range<usize>> =
        ends.scan(0, |start, end| Some(std::mem::replace(start, end)..end)).collect();
    let mentions: Vec<Range<usize>> = (0..count)
        .map(|start| start..(start + 3 * usize::from(tokens[start] >> 2 & 7)).min(count))
        .filter(|mention| !mention.is_empty())
        .collect();

    let windows = windows(&sentences, &mentions, |token| tokens[token] & 2 != 0, limits);
    let longest = limits.max_tokens.max(1);
    let mut read = vec![false; count];
    for window in &windows {
        assert!(!window.tokens.is_empty() && window.tokens.len() <= longest, "{window:?} of {bytes:?}");
        read[window.tokens.clone()].fill(true);
    }
    assert!(read.into_iter().all(|is_read| is_read), "a token is in no window of {bytes:?}");
    assert!(windows.is_sorted_by_key(|window| window.tokens.start), "{bytes:?}");
    for (mention, window) in mentions.iter().zip(assign(&windows, &mentions)) {
        match window.map(|window| &windows[window].tokens) {
            Some(tokens) => assert!(tokens.start <= mention.start && mention.end <= tokens.end, "{bytes:?}"),
            None => assert!(mention.len() > longest, "{mention:?} is whole in no window of {bytes:?}"),
        }
    }
});
