//! Bounds the lines of refused calls, since anyone who can reach the admin interface can cause any number of them.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::entry::Event;
use crate::clock::Moment;
use crate::keys::KeyId;

/// The window in which lines are counted, and the shortest time between two lines with counts.
const WINDOW: Duration = Duration::from_mins(1);

/// Lines of one key in a window.
const LINES_PER_KEY: u32 = 30;

/// Lines of all keys in a window: about 100 kB.
const LINES: u32 = 300;

/// Decides which refused calls get a line of their own, and counts the others. Pure: the time is passed in.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    window_start: Duration,
    lines: u32,
    by_key: HashMap<KeyId, u32>,
    counted: Option<Counted>,
}

/// Refusals without a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    since: Timestamp,
    first: Duration,
    without_key: u64,
    with_key: u64,
}

impl Throttle {
    /// Returns `true` if the refused call of `key` gets a line. Otherwise it is counted, as are all calls without a key.
    pub(super) fn admit(&mut self, key: Option<&KeyId>, now: Moment) -> bool {
        if now.monotonic.saturating_sub(self.window_start) >= WINDOW {
            *self = Self { window_start: now.monotonic, counted: self.counted, ..Self::default() };
        }
        if let Some(key) = key
            && self.lines < LINES
        {
            let lines = self.by_key.entry(key.clone()).or_default();
            if *lines < LINES_PER_KEY {
                *lines += 1;
                self.lines += 1;
                return true;
            }
        }
        let counted = self.counted.get_or_insert(Counted {
            since: now.wall,
            first: now.monotonic,
            without_key: 0,
            with_key: 0,
        });
        *if key.is_some() { &mut counted.with_key } else { &mut counted.without_key } += 1;
        false
    }

    /// Returns the counts of a window that is over, and starts to count anew.
    pub(super) fn take_counted(&mut self, now: Moment) -> Option<Counted> {
        self.counted.take_if(|counted| now.monotonic.saturating_sub(counted.first) >= WINDOW)
    }

    /// Returns the counts so far, at the end of the process.
    pub(super) fn take_rest(&mut self) -> Option<Counted> {
        self.counted.take()
    }
}

impl Counted {
    pub(super) fn event(&self) -> Event<'static> {
        Event::RefusalsCounted { since: self.since, without_key: self.without_key, with_key: self.with_key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::from_secs(seconds) }
    }

    #[test]
    fn calls_without_a_key_get_no_line() {
        let mut throttle = Throttle::default();
        assert!((0..1000).all(|_| !throttle.admit(None, at(0))));
        assert_eq!(throttle.take_counted(at(59)), None);
        let counted = throttle.take_counted(at(60)).expect("a minute is over");
        assert_eq!((counted.without_key, counted.with_key), (1000, 0));
        assert_eq!(throttle.take_rest(), None, "they are counted once");
    }

    #[test]
    fn lines_are_bounded_per_key_and_in_total() {
        let mut throttle = Throttle::default();
        let mut lines = |number: u64, seconds| {
            let id = KeyId::new(format!("k{number}"));
            (0..100).filter(|_| throttle.admit(Some(&id), at(seconds))).count()
        };
        assert_eq!((lines(0, 0), lines(0, 30), lines(0, 60)), (30, 0, 30));
        assert_eq!((1..100).map(|number| lines(number, 61)).sum::<usize>(), 270);
        assert_eq!(
            throttle.take_rest().map(|counted| counted.with_key),
            Some(70 + 100 + 70 + 99 * 100 - 270)
        );
    }
}
