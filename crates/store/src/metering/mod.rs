//! What keys may use and have used: plans, limits and accounting.
//!
//! A [`Plan`] says how much a key may use. The [`Meter`] lets requests in against it ([`Meter::admit`]) from
//! counters in memory, sums up what they use, and writes both to a [`UsageStore`] twice a second, from which
//! it goes on after a restart. A key and those that follow it by rotation are one account.

mod account;
mod meter;
mod plan;
mod usage;
mod window;

pub use account::{Quota, Refusal, Standing};
pub use meter::{Admission, Meter};
pub use plan::{Limit, Plan, Plans};
pub use usage::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};
