//! Metrics of keys and of rejected requests.

use prometheus::proto::MetricFamily;

use super::engine::{counters, gauges, label};
use sentor_store::keys::{self, KeyEvents};
use sentor_store::metering::{self, Quota};

/// Why a request was rejected because of its key or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// The request has no key.
    Missing,
    /// The text is not a key: wrong form or checksum.
    Malformed,
    /// The key was never issued.
    Unknown,
    /// The key has expired.
    Expired,
    /// The key was revoked.
    Revoked,
    /// The key lacks the scope.
    Scope,
    /// The key's requests of the last minute are used up.
    Minute,
    /// The key has as many requests in flight as its plan allows.
    Concurrent,
    /// The key's requests of the day are used up.
    Day,
    /// The key's requests of the month are used up.
    Month,
    /// The configuration does not have the key's plan.
    Plan,
    /// The store of keys is gone or exchanged, so no key can be checked.
    Store,
}

impl KeyRefusal {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::Scope,
        Self::Minute,
        Self::Concurrent,
        Self::Day,
        Self::Month,
        Self::Plan,
        Self::Store,
    ];

    /// Its value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Scope => "scope",
            Self::Minute => "minute",
            Self::Concurrent => "concurrent",
            Self::Day => "day",
            Self::Month => "month",
            Self::Plan => "plan",
            Self::Store => "store",
        }
    }

    /// Converts an authentication error.
    pub fn from_auth_error(error: keys::AuthError) -> Self {
        match error {
            keys::AuthError::Unknown => Self::Unknown,
            keys::AuthError::Expired { .. } => Self::Expired,
            keys::AuthError::Revoked { .. } | keys::AuthError::Unreadable => Self::Revoked,
            keys::AuthError::StoreExchanged => Self::Store,
        }
    }

    /// Converts an error of a plan's limit.
    pub fn from_limit_error(error: metering::LimitError) -> Self {
        match error {
            metering::LimitError::Minute(_) => Self::Minute,
            metering::LimitError::Concurrent { .. } => Self::Concurrent,
            metering::LimitError::Quota(Quota::Day, _) => Self::Day,
            metering::LimitError::Quota(Quota::Month, _) => Self::Month,
            metering::LimitError::UnknownPlan => Self::Plan,
        }
    }
}

/// Failures of the store of keys and usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFailures {
    /// Whether the last read of keys failed.
    pub keys: bool,
    /// Whether the last write of usage failed.
    pub usage: bool,
    /// Number of keys whose rows cannot be read; they count as revoked.
    pub unreadable_keys: usize,
}

/// Returns the metric families of keys and of their store.
pub(super) fn families(events: KeyEvents, failures: StoreFailures) -> [MetricFamily; 3] {
    let unreadable_keys = failures.unreadable_keys as f64;
    let events = [("created", events.created), ("rotated", events.rotated), ("revoked", events.revoked)];
    let failures = [("keys", failures.keys), ("usage", failures.usage)];
    [
        counters(
            "sentor_key_events_total",
            "Keys made, replaced and taken back since the start, by whichever program.",
            events.map(|(event, count)| (vec![label("event", event)], count as f64)).to_vec(),
        ),
        gauges(
            "sentor_store_failing",
            "1 where keys could not be read, or usage not be written, when that was last tried.",
            failures.map(|(part, fails)| (vec![label("part", part)], f64::from(u8::from(fails)))).to_vec(),
        ),
        gauges(
            "sentor_unreadable_keys",
            "Keys whose rows in the store cannot be read; they count as revoked.",
            vec![(Vec::new(), unreadable_keys)],
        ),
    ]
}
