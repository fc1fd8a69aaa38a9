//! Plans, limits and usage.
//!
//! A [`Plan`] holds the limits of a key. The [`Meter`] admits each request ([`Meter::admit`]); the counting itself is
//! in `account.rs`, and the sliding minute in `minute.rs`. Counters live in memory. A thread writes them to a
//! [`UsageStore`] twice a second, and a restart restores them from there. A key and its successors by rotation are one
//! account.

mod plan;

mod meter;

mod account;
mod minute;

mod usage;

pub use account::{LimitError, Quota, RateLimitStatus};
pub use meter::{Admission, DEFAULT_USAGE_RETENTION_DAYS, Meter};
pub use plan::{Limit, Plan, Plans};
pub use usage::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};
