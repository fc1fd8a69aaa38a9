//! The counters of one account: where every limit is counted. Pure: the time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::minute::MinuteWindow;
use super::plan::{Limit, Plan};
use super::usage::Usage;
use crate::clock::Moment;

/// A calendar period in UTC whose requests a plan limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// From midnight to midnight.
    Day,
    /// From the first to the last.
    Month,
}

impl Quota {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The limit of a plan for this period.
    pub fn limit(self) -> Limit {
        match self {
            Self::Day => Limit::RequestsPerDay,
            Self::Month => Limit::RequestsPerMonth,
        }
    }

    /// Returns the end of the period that contains `today`.
    fn end(self, today: Date) -> Timestamp {
        let next = match self {
            Self::Day => today.checked_add(1.day()),
            Self::Month => today.first_of_month().checked_add(1.month()),
        };
        let midnight = next.and_then(|day| day.to_zoned(TimeZone::UTC));
        midnight.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    }
}

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// The plan's limit; `None` for no limit.
    pub limit: Option<u64>,
    /// The number of requests that count.
    pub used: u64,
    /// The time at which more will be available.
    pub reset: Timestamp,
}

impl RateLimitStatus {
    /// Returns what is left of the limit, if there is one.
    pub fn remaining(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }
}

/// Why the plan of a key does not admit a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// The last minute had as many requests as the plan allows.
    Minute(RateLimitStatus),
    /// The account has as many requests in flight as the plan allows.
    Concurrent {
        /// The plan's limit.
        limit: u64,
    },
    /// The day's or the month's requests are used up.
    Quota(Quota, RateLimitStatus),
    /// The configuration does not know the key's plan.
    UnknownPlan,
}

/// The counters of an account, and their changes that are not yet in the store.
#[derive(Debug)]
pub(super) struct Account {
    minute: MinuteWindow,
    /// The day of `used_in_day`. It never goes back, so a wall clock that is put back frees no second day.
    today: Date,
    used_in_day: u64,
    used_in_month: u64,
    in_flight: u64,
    pending: Pending,
}

/// Changes that are not yet in the store.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Additions to the sums of days; almost always of one day.
    pub(super) days: BTreeMap<Date, Usage>,
    /// Requests since the last flush.
    pub(super) recent: u64,
}

impl Account {
    /// An unused account.
    pub(super) fn new(today: Date) -> Self {
        Self {
            minute: MinuteWindow::default(),
            today,
            used_in_day: 0,
            used_in_month: 0,
            in_flight: 0,
            pending: Pending::default(),
        }
    }

    /// Adds the stored requests of a day of this month.
    pub(super) fn restore_day(&mut self, day: Date, requests: i64) {
        let requests = u64::try_from(requests).unwrap_or(0);
        self.used_in_month += requests;
        if day == self.today {
            self.used_in_day += requests;
        }
    }

    /// Adds stored requests of the last minute, at a monotonic time.
    pub(super) fn restore_recent(&mut self, at: Duration, requests: u64) {
        self.minute.add(at, requests);
    }

    /// Admits a request and counts it in every limit of `plan`, or says which limit is used up. Returns the day for which
    /// the request counts.
    pub(super) fn admit(&mut self, plan: &Plan, now: Moment) -> Result<Date, LimitError> {
        // The longest wait first: a caller that waits for a minute should not learn then that the day is used up.
        for quota in [Quota::Month, Quota::Day] {
            let status = self.quota(quota, plan, now.wall);
            if status.remaining() == Some(0) {
                return Err(LimitError::Quota(quota, status));
            }
        }
        self.check_minute(plan, now)?;
        if let Some(limit) = plan.limit(Limit::ConcurrentRequests).filter(|limit| self.in_flight >= *limit) {
            return Err(LimitError::Concurrent { limit });
        }
        self.count_in_minute(now);
        self.used_in_day += 1;
        self.used_in_month += 1;
        self.in_flight += 1;
        self.add_usage(self.today, Usage { requests: 1, ..Usage::default() });
        Ok(self.today)
    }

    /// Admits a request that costs no scoring, such as a look at one's usage, and counts it in the minute alone.
    pub(super) fn admit_query(&mut self, plan: &Plan, now: Moment) -> Result<RateLimitStatus, LimitError> {
        self.check_minute(plan, now)?;
        self.count_in_minute(now);
        Ok(self.minute(plan, now))
    }

    /// Counts `documents` of a job in the day and the month, all or none of them. Returns the day for which they count.
    pub(super) fn charge(&mut self, plan: &Plan, documents: u64, now: Timestamp) -> Result<Date, LimitError> {
        for quota in [Quota::Month, Quota::Day] {
            let status = self.quota(quota, plan, now);
            if status.remaining().is_some_and(|remaining| remaining < documents) {
                return Err(LimitError::Quota(quota, status));
            }
        }
        self.used_in_day += documents;
        self.used_in_month += documents;
        let requests = i64::try_from(documents).unwrap_or(i64::MAX);
        self.add_usage(self.today, Usage { requests, ..Usage::default() });
        Ok(self.today)
    }

    /// Takes documents of a job that were charged and not scored back out of this day and month.
    pub(super) fn refund_charge(&mut self, documents: u64, now: Timestamp) {
        self.roll_over(utc_date(now));
        // Of what was charged on a day before, nothing is left in this day.
        let documents = documents.min(self.used_in_day);
        self.used_in_day -= documents;
        self.used_in_month = self.used_in_month.saturating_sub(documents);
        let requests = i64::try_from(documents).unwrap_or(i64::MAX);
        self.add_usage(self.today, Usage { requests: -requests, ..Usage::default() });
    }

    /// Adds to the usage of the present day.
    pub(super) fn add_usage_now(&mut self, usage: Usage, now: Timestamp) {
        self.roll_over(utc_date(now));
        self.add_usage(self.today, usage);
    }

    fn check_minute(&mut self, plan: &Plan, now: Moment) -> Result<(), LimitError> {
        let status = self.minute(plan, now);
        if status.remaining() == Some(0) { Err(LimitError::Minute(status)) } else { Ok(()) }
    }

    fn count_in_minute(&mut self, now: Moment) {
        self.minute.add(now.monotonic, 1);
        self.pending.recent += 1;
    }

    /// Ends an admitted request.
    pub(super) fn finish(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Adds to the usage of a day.
    pub(super) fn add_usage(&mut self, day: Date, usage: Usage) {
        *self.pending.days.entry(day).or_default() += usage;
    }

    /// Removes a request from its day and month. It still counts in the minute, since it caused load.
    pub(super) fn refund(&mut self, day: Date) {
        if day == self.today {
            self.used_in_day = self.used_in_day.saturating_sub(1);
        }
        if day.first_of_month() == self.today.first_of_month() {
            self.used_in_month = self.used_in_month.saturating_sub(1);
        }
        self.add_usage(day, Usage { requests: -1, ..Usage::default() });
    }

    /// Returns how much of the last minute is used.
    pub(super) fn minute(&mut self, plan: &Plan, now: Moment) -> RateLimitStatus {
        let limit = plan.limit(Limit::RequestsPerMinute);
        let used = self.minute.used(now.monotonic);
        let wait = self.minute.next_free(limit.unwrap_or(u64::MAX)).saturating_sub(now.monotonic);
        RateLimitStatus { limit, used, reset: now.wall.checked_add(wait).unwrap_or(Timestamp::MAX) }
    }

    /// Returns how much of the day or the month is used.
    pub(super) fn quota(&mut self, quota: Quota, plan: &Plan, now: Timestamp) -> RateLimitStatus {
        self.roll_over(utc_date(now));
        let used = match quota {
            Quota::Day => self.used_in_day,
            Quota::Month => self.used_in_month,
        };
        RateLimitStatus { limit: plan.limit(quota.limit()), used, reset: quota.end(self.today) }
    }

    /// Changes of days' sums that are not yet in the store.
    pub(super) fn pending_days(&self) -> impl Iterator<Item = (Date, Usage)> {
        self.pending.days.iter().map(|(day, usage)| (*day, *usage))
    }

    /// Whether there are changes that are not yet in the store.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.recent > 0 || !self.pending.days.is_empty()
    }

    /// Takes the changes that are not yet in the store.
    pub(super) fn take_pending(&mut self, now: Moment) -> Pending {
        let mut pending = std::mem::take(&mut self.pending);
        // Requests that waited for more than a minute no longer count.
        pending.recent = pending.recent.min(self.minute.used(now.monotonic));
        pending
    }

    /// Puts back changes that the store did not take.
    pub(super) fn put_back(&mut self, pending: Pending) {
        for (day, usage) in pending.days {
            self.add_usage(day, usage);
        }
        self.pending.recent += pending.recent;
    }

    /// Starts the counters of a new day or month.
    fn roll_over(&mut self, today: Date) {
        if today <= self.today {
            return;
        }
        self.used_in_day = 0;
        if today.first_of_month() != self.today.first_of_month() {
            self.used_in_month = 0;
        }
        self.today = today;
    }
}

/// Returns the day in UTC.
pub(super) fn utc_date(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn at(text: &str) -> Moment {
        moment(text.parse().expect("a valid time"))
    }

    fn moment(wall: Timestamp) -> Moment {
        Clock::from_fn(move || wall).moment()
    }

    fn plan(limit: Limit, most: u64) -> Plan {
        Plan::UNLIMITED.with(limit, Some(most))
    }

    fn account(now: Moment) -> Account {
        Account::new(utc_date(now.wall))
    }

    #[test]
    fn a_day_ends_at_midnight_in_utc_and_a_month_with_its_last_day() {
        let evening = at("2028-02-29T23:59:59.9Z");
        let mut account = account(evening);
        let plan = plan(Limit::RequestsPerDay, 2).with(Limit::RequestsPerMonth, Some(3));
        for _ in 0..2 {
            account.admit(&plan, evening).expect("two a day");
        }
        let Err(LimitError::Quota(Quota::Day, status)) = account.admit(&plan, evening) else {
            panic!("the day is used up")
        };
        assert_eq!((status.limit, status.used, status.remaining()), (Some(2), 2, Some(0)));
        assert_eq!(status.reset, at("2028-03-01T00:00:00Z").wall);
        let midnight = status.reset;
        assert_eq!(account.quota(Quota::Month, &plan, midnight).used, 0, "the month is over too");
        for day in ["2028-03-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-03-02T00:00:00Z"] {
            account.admit(&plan, at(day)).expect("three a month");
        }
        let Err(LimitError::Quota(Quota::Month, status)) = account.admit(&plan, at("2028-03-31T23:59:59Z"))
        else {
            panic!("the month is used up")
        };
        assert_eq!(status.reset, at("2028-04-01T00:00:00Z").wall);
        account.admit(&plan, moment(status.reset)).expect("a caller that waits as told is admitted");
        assert_eq!(account.quota(Quota::Day, &plan, status.reset).used, 1);
    }

    #[test]
    fn a_clock_that_is_set_back_grants_no_second_day() {
        let morning = at("2026-03-02T00:00:00Z");
        let mut account = account(morning);
        let plan = plan(Limit::RequestsPerDay, 1);
        account.admit(&plan, morning).expect("one a day");
        assert!(account.admit(&plan, at("2026-03-01T23:59:00Z")).is_err());
    }

    #[test]
    fn a_plan_limits_concurrent_requests() {
        let now = at("2026-03-01T12:00:00Z");
        let mut account = account(now);
        let plan = plan(Limit::ConcurrentRequests, 2);
        account.admit(&plan, now).expect("the first");
        account.admit(&plan, now).expect("the second");
        assert_eq!(account.admit(&plan, now), Err(LimitError::Concurrent { limit: 2 }));
        account.finish();
        account.admit(&plan, now).expect("another may follow");
        assert_eq!(account.minute(&plan, now).used, 3, "what was refused does not count");
    }

    #[test]
    fn refunded_requests_can_be_used_again_and_pending_changes_are_right() {
        let now = at("2026-03-01T12:00:00Z");
        let mut account = account(now);
        let plan = plan(Limit::RequestsPerDay, 1);
        let day = account.admit(&plan, now).expect("one a day");
        let pending = account.take_pending(now);
        assert_eq!((pending.days[&day].requests, pending.recent), (1, 1));
        account.refund(day);
        account.admit(&plan, now).expect("it was refunded");
        let pending = account.take_pending(now);
        assert_eq!((pending.days[&day].requests, pending.recent), (0, 1));
        account.put_back(pending);
        assert!(account.has_pending());
        assert_eq!(account.take_pending(at("2026-03-01T12:05:00Z")).recent, 0, "over a minute ago");
    }

    #[test]
    fn a_wall_clock_jump_does_not_affect_the_minute() {
        let plan = plan(Limit::RequestsPerMinute, 1);
        let start = at("2026-03-01T12:00:00Z");
        let later = |seconds| start.monotonic + Duration::from_secs(seconds);
        for jumped in ["2026-03-01T10:00:00Z", "2026-03-01T14:00:00Z"] {
            let wall = at(jumped).wall;
            let mut account = account(start);
            account.admit(&plan, start).expect("one a minute");
            let Err(LimitError::Minute(status)) = account.admit(&plan, Moment { wall, monotonic: later(1) })
            else {
                panic!("{jumped}: only a second has passed")
            };
            let wait = status.reset.duration_since(wall).as_secs();
            assert!((58..=60).contains(&wait), "{jumped}: {wait} s");
            account.admit(&plan, Moment { wall, monotonic: later(61) }).expect("a minute has passed");
        }
    }

    #[test]
    fn documents_of_a_job_count_in_the_day_all_or_none_and_not_in_the_minute() {
        let now = at("2026-03-01T12:00:00Z");
        let mut account = account(now);
        let plan = plan(Limit::RequestsPerMinute, 1).with(Limit::RequestsPerDay, Some(10));
        account.charge(&plan, 8, now.wall).expect("eight of ten");
        assert!(matches!(account.charge(&plan, 3, now.wall), Err(LimitError::Quota(Quota::Day, _))));
        assert_eq!(account.quota(Quota::Day, &plan, now.wall).used, 8);
        account.refund_charge(2, now.wall);
        account.charge(&plan, 4, now.wall).expect("two were given back");
        account.admit(&plan, now).expect_err("the day is used up");
        assert_eq!(account.minute(&plan, now).used, 0);
        let tomorrow = at("2026-03-02T00:00:00Z");
        account.refund_charge(5, tomorrow.wall);
        assert_eq!(account.quota(Quota::Day, &plan, tomorrow.wall).used, 0);
    }

    #[test]
    fn a_query_counts_in_the_minute_only() {
        let now = at("2026-03-01T12:00:00Z");
        let mut account = account(now);
        let plan = plan(Limit::RequestsPerMinute, 2).with(Limit::RequestsPerDay, Some(1));
        account.admit_query(&plan, now).expect("the first of two");
        account.admit(&plan, now).expect("the day has one, and the minute two");
        assert!(matches!(account.admit_query(&plan, now), Err(LimitError::Minute(_))));
        assert_eq!(account.quota(Quota::Day, &plan, now.wall).used, 1);
    }
}
