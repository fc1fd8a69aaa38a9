//! The sliding minute of a rate limit. Times are monotonic: a wall clock that jumps neither frees nor blocks a caller.

use std::collections::VecDeque;
use std::time::Duration;

/// The step of the window. A request counts for 60 to 60.1 seconds: never less than a minute, so no 60 seconds
/// hold more requests than the limit.
const SLOT_MS: u64 = 100;

/// Slots in a minute.
const MINUTE_SLOTS: u64 = 60_000 / SLOT_MS;

/// The requests of the last 60 seconds.
///
/// Empty slots are not stored, so there are at most 601 of them, whatever the limit.
#[derive(Clone, Debug, Default)]
pub(super) struct MinuteWindow {
    slots: VecDeque<Slot>,
    used: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Slots since the clock's start.
    number: u64,
    requests: u64,
}

impl MinuteWindow {
    /// Returns the number of requests that count at `now`.
    pub(super) fn used(&mut self, now: Duration) -> u64 {
        let current = slot_at(now);
        while let Some(oldest) = self.slots.front()
            && oldest.number + MINUTE_SLOTS < current
        {
            self.used -= oldest.requests;
            self.slots.pop_front();
        }
        self.used
    }

    /// Adds requests. Threads read the clock before they take the lock, so `at` can be a little before the newest slot;
    /// the requests then count with that slot.
    pub(super) fn add(&mut self, at: Duration, requests: u64) {
        let number = slot_at(at);
        self.used += requests;
        match self.slots.back_mut() {
            Some(newest) if newest.number >= number => newest.requests += requests,
            _ => self.slots.push_back(Slot { number, requests }),
        }
    }

    /// Returns the time at which the next request stops counting or, if `limit` or more are used, at which one more
    /// fits. Zero if nothing is used. Call [`MinuteWindow::used`] first.
    pub(super) fn next_free(&self, limit: u64) -> Duration {
        let needed = self.used.saturating_sub(limit).saturating_add(1);
        let mut freed = 0;
        let freeing = self.slots.iter().find(|slot| {
            freed += slot.requests;
            freed >= needed
        });
        let leaves_ms =
            freeing.or(self.slots.back()).map_or(0, |slot| (slot.number + MINUTE_SLOTS + 1) * SLOT_MS);
        Duration::from_millis(leaves_ms)
    }
}

fn slot_at(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2) / SLOT_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(1_700_000_000_000 + milliseconds)
    }

    #[test]
    fn a_request_counts_for_a_minute() {
        let mut window = MinuteWindow::default();
        window.add(at(50), 3);
        assert_eq!(window.used(at(60_050)), 3);
        assert_eq!(window.next_free(3), at(60_100));
        assert_eq!(window.used(at(60_100)), 0);
        assert!(window.next_free(3) < at(0));
    }

    #[test]
    fn after_a_limit_is_lowered_enough_requests_must_age_out() {
        let mut window = MinuteWindow::default();
        for second in 0..10 {
            window.add(at(second * 1000), 1);
        }
        assert_eq!(window.used(at(10_000)), 10);
        assert_eq!(window.next_free(20), at(60_100), "the first to be given back");
        assert_eq!(window.next_free(4), at(66_100), "seven must leave before a fifth fits");
    }

    #[test]
    fn an_earlier_time_than_the_newest_counts_with_the_newest() {
        let mut window = MinuteWindow::default();
        window.add(at(30_000), 1);
        window.add(at(0), 1);
        assert_eq!(window.used(at(60_500)), 2);
        assert_eq!(window.used(at(90_100)), 0);
    }

    proptest! {
        /// If every request that fits is admitted, no 60 seconds hold more than the limit, and a caller that waits as
        /// told is admitted.
        #[test]
        fn no_minute_holds_more_than_the_limit(
            gaps in prop::collection::vec(prop_oneof![0_u64..50, 0_u64..3000, 0_u64..70_000], 1..400),
            limit in 1_u64..20,
        ) {
            let mut window = MinuteWindow::default();
            let mut passed: Vec<u64> = Vec::new();
            let mut time = 0;
            for gap in gaps {
                time += gap;
                let used = window.used(at(time));
                if used < limit {
                    window.add(at(time), 1);
                    passed.push(time);
                    let in_a_minute = passed.iter().filter(|&&other| other + 60_000 > time).count() as u64;
                    prop_assert!(in_a_minute <= limit, "{in_a_minute} within a minute");
                } else {
                    let wait = window.next_free(limit);
                    prop_assert!(wait > at(time) && wait <= at(time + 60_100));
                    prop_assert!(window.clone().used(wait) < limit);
                }
            }
        }
    }
}
