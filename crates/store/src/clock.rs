//! The present moment, passed in so that a test can set it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A source of the present moment.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Moment + Send + Sync>);

/// A moment by two clocks: the wall clock, which can jump, and the monotonic clock, which cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Date and time: for days, months, and everything that is stored or shown.
    pub wall: Timestamp,
    /// The time since an arbitrary start: for spans such as the minute of a rate limit.
    pub monotonic: Duration,
}

/// The monotonic time at which a process starts, so that what happened shortly before also has one.
const MONOTONIC_START: Duration = Duration::from_hours(1);

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        let started = Instant::now();
        Self::from_moments(move || Moment {
            wall: Timestamp::now(),
            monotonic: MONOTONIC_START + started.elapsed(),
        })
    }

    /// A wall clock that shows what `now` returns, with a monotonic clock that runs along with it.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self::from_moments(move || {
            let wall = now();
            let since_1970 = wall.duration_since(Timestamp::UNIX_EPOCH);
            Moment { wall, monotonic: Duration::try_from(since_1970).unwrap_or_default() }
        })
    }

    /// Two clocks that show what `now` returns.
    pub fn from_moments(now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the present moment by both clocks.
    pub fn moment(&self) -> Moment {
        (self.0)()
    }

    /// Returns the present date and time.
    pub fn now(&self) -> Timestamp {
        self.moment().wall
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// Writes a moment as answers show it: ISO 8601, UTC, in milliseconds, which every client can read.
pub fn iso_8601(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_milliseconds_and_a_zone() {
        let moment: Timestamp = "2026-01-02T03:04:05.678901Z".parse().expect("a valid time");
        assert_eq!(iso_8601(moment), "2026-01-02T03:04:05.678Z");
        assert_eq!(iso_8601(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
