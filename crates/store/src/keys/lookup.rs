//! Bounds the look-ups of unknown keys in the store.
//!
//! A key that another process made is in memory after the next poll. Until then an unknown key is worth one look. A
//! caller that sends random keys must not turn each into a read of the store.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::api_key::KeyDigest;

/// Look-ups per second, over all callers: each reads one row, some tens of microseconds.
const PER_SECOND: f64 = 100.0;

/// Maximum burst of look-ups.
const BURST: f64 = 100.0;

/// Maximum number of remembered unknown keys. A poll brings in a key that is made later, so none has to be forgotten.
const REMEMBERED: usize = 4096;

/// Decides which unknown keys are looked up. Pure: the time is passed in.
#[derive(Debug)]
pub(super) struct LookupGate {
    tokens: f64,
    filled_at: Duration,
    unknown: HashSet<KeyDigest>,
    /// The keys in `unknown`, the oldest first.
    order: VecDeque<KeyDigest>,
}

impl LookupGate {
    pub(super) fn new(now: Duration) -> Self {
        Self { tokens: BURST, filled_at: now, unknown: HashSet::new(), order: VecDeque::new() }
    }

    /// Returns `true` if the key may be looked up now, and takes a token for it.
    pub(super) fn admit(&mut self, digest: &KeyDigest, now: Duration) -> bool {
        if self.unknown.contains(digest) {
            return false;
        }
        let refill = now.saturating_sub(self.filled_at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + refill).min(BURST);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Remembers a key that the store does not have.
    pub(super) fn remember_unknown(&mut self, digest: KeyDigest) {
        if !self.unknown.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.unknown.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> KeyDigest {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        KeyDigest::from_bytes(bytes)
    }

    #[test]
    fn random_keys_cost_a_bounded_number_of_look_ups() {
        let mut gate = LookupGate::new(Duration::ZERO);
        let admitted = (0..10_000)
            .filter(|number| gate.admit(&digest(*number), Duration::from_millis(u64::from(*number) / 10)))
            .count();
        assert!((199..=201).contains(&admitted), "a burst of 100, and 100 in a second: {admitted}");
    }

    #[test]
    fn an_unknown_key_is_looked_up_once_and_few_are_remembered() {
        let mut gate = LookupGate::new(Duration::ZERO);
        assert!(gate.admit(&digest(0), Duration::ZERO));
        gate.remember_unknown(digest(0));
        assert!(!gate.admit(&digest(0), Duration::from_secs(10)));
        for number in 0..10_000 {
            gate.remember_unknown(digest(number));
        }
        assert_eq!((gate.unknown.len(), gate.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!gate.admit(&digest(9_999), Duration::from_secs(20)));
    }
}
