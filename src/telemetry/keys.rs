//! What becomes of keys and of those who show them, as metrics.

use prometheus::proto::MetricFamily;

use super::engine::{counters, gauges, label};
use sentor_store::keys::{self, KeyEvents};
use sentor_store::metering::{self, Quota};

/// Why a key, or the lack of one, did not let a request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// There was none where one is needed.
    Missing,
    /// It is no key, by its form or its checksum.
    Malformed,
    /// It is a key that nobody issued here.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// It is for something else.
    Scope,
    /// Its requests of a minute are used up.
    Minute,
    /// As many of its requests as its plan allows are being answered.
    Concurrent,
    /// Its requests of a day are used up.
    Day,
    /// Its requests of a month are used up.
    Month,
    /// The configuration does not know its plan.
    Plan,
    /// The store of keys is gone, so no key can be checked.
    Store,
}

impl KeyRefusal {
    /// All of them.
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

    /// Its word.
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

    /// What the refusal of a key counts as.
    pub fn from_auth_error(error: keys::AuthError) -> Self {
        match error {
            keys::AuthError::Unknown => Self::Unknown,
            keys::AuthError::Expired { .. } => Self::Expired,
            keys::AuthError::Revoked { .. } | keys::AuthError::Unreadable => Self::Revoked,
            keys::AuthError::StoreExchanged => Self::Store,
        }
    }

    /// What the refusal by a plan counts as.
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

/// What does not work of the place where keys and usage are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFailures {
    /// Keys could not be read when that was last tried.
    pub keys: bool,
    /// Usage could not be written when that was last tried.
    pub usage: bool,
    /// Keys whose rows in the store cannot be read; they count as revoked.
    pub unreadable_keys: usize,
}

/// The families of keys and of their store at one moment.
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
