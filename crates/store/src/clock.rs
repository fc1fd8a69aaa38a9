//! What time it is: passed in, so that a test can say.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// A source of the present moment.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::from_fn(Timestamp::now)
    }

    /// A clock that shows whatever `now` says.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// A moment as it stands in answers: ISO 8601, UTC, in milliseconds (what every client can read).
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
