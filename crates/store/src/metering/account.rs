//! The counters of one account. Pure: the time is passed in.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::plan::{Limit, Plan};
use super::usage::Usage;
use super::window::MinuteWindow;

/// A calendar period that a plan limits the requests of, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// From midnight to midnight.
    Day,
    /// From the first to the last.
    Month,
}

impl Quota {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// What of a plan sets it.
    pub fn limit(self) -> Limit {
        match self {
            Self::Day => Limit::RequestsPerDay,
            Self::Month => Limit::RequestsPerMonth,
        }
    }

    /// When the period that `today` is in will be over.
    fn end(self, today: Date) -> Timestamp {
        let next = match self {
            Self::Day => today.checked_add(1.day()),
            Self::Month => today.first_of_month().checked_add(1.month()),
        };
        let midnight = next.and_then(|day| day.to_zoned(TimeZone::UTC));
        midnight.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    }
}

/// How far something that is limited has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How much the plan allows; `None` for any amount.
    pub limit: Option<u64>,
    /// How much of it is used.
    pub used: u64,
    /// When there will be more.
    pub reset: Timestamp,
}

impl Standing {
    /// How much is left, where there is a limit.
    pub fn remaining(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The last minute had as many requests as the plan allows.
    Minute(Standing),
    /// As many requests as the plan allows are being answered.
    Concurrent {
        /// How many that is.
        limit: u64,
    },
    /// The day's or the month's requests are used up.
    Quota(Quota, Standing),
    /// The configuration does not know the key's plan.
    UnknownPlan,
}

/// Counters of an account, and what of them has not been written yet.
#[derive(Debug)]
pub(super) struct Account {
    minute: MinuteWindow,
    /// The day that `used_in_day` is of. It never goes back, so neither do the counters if the clock does.
    today: Date,
    used_in_day: u64,
    used_in_month: u64,
    running: u64,
    pending: Pending,
}

/// What has not been written yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Additions to the sums of days; almost always of one day.
    pub(super) days: BTreeMap<Date, Usage>,
    /// Requests since the last writing.
    pub(super) recent: u64,
}

impl Account {
    /// An account that has not been used.
    pub(super) fn new(today: Date) -> Self {
        Self {
            minute: MinuteWindow::default(),
            today,
            used_in_day: 0,
            used_in_month: 0,
            running: 0,
            pending: Pending::default(),
        }
    }

    /// Takes up what a store knows of a day of this month.
    pub(super) fn restore_day(&mut self, day: Date, requests: i64) {
        let requests = u64::try_from(requests).unwrap_or(0);
        self.used_in_month += requests;
        if day == self.today {
            self.used_in_day += requests;
        }
    }

    /// Takes up what a store knows of the last minute.
    pub(super) fn restore_recent(&mut self, at: Timestamp, requests: u64) {
        self.minute.add(at, requests);
    }

    /// Counts a request and returns the day that it counts for, or says why it is not let in.
    pub(super) fn admit(&mut self, plan: &Plan, now: Timestamp) -> Result<Date, Refusal> {
        // The longest wait first: who waits for a minute should not learn then that the day is used up.
        for quota in [Quota::Month, Quota::Day] {
            let standing = self.quota(quota, plan, now);
            if standing.remaining() == Some(0) {
                return Err(Refusal::Quota(quota, standing));
            }
        }
        let standing = self.minute(plan, now);
        if standing.remaining() == Some(0) {
            return Err(Refusal::Minute(standing));
        }
        if let Some(limit) = plan.limit(Limit::ConcurrentRequests).filter(|limit| self.running >= *limit) {
            return Err(Refusal::Concurrent { limit });
        }
        self.minute.add(now, 1);
        self.used_in_day += 1;
        self.used_in_month += 1;
        self.running += 1;
        self.pending.recent += 1;
        self.note(self.today, Usage { requests: 1, ..Usage::default() });
        Ok(self.today)
    }

    /// A request that was let in is over.
    pub(super) fn finish(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Adds to what was used on a day.
    pub(super) fn note(&mut self, day: Date, usage: Usage) {
        *self.pending.days.entry(day).or_default() += usage;
    }

    /// Takes a request back out of its day and month. The minute keeps it, for the load was there.
    pub(super) fn give_back(&mut self, day: Date) {
        if day == self.today {
            self.used_in_day = self.used_in_day.saturating_sub(1);
        }
        if day.first_of_month() == self.today.first_of_month() {
            self.used_in_month = self.used_in_month.saturating_sub(1);
        }
        self.note(day, Usage { requests: -1, ..Usage::default() });
    }

    /// How far the last minute is used.
    pub(super) fn minute(&mut self, plan: &Plan, now: Timestamp) -> Standing {
        let limit = plan.limit(Limit::RequestsPerMinute);
        let used = self.minute.used(now);
        Standing { limit, used, reset: self.minute.next_free(limit.unwrap_or(u64::MAX)).max(now) }
    }

    /// How far the day or the month is used.
    pub(super) fn quota(&mut self, quota: Quota, plan: &Plan, now: Timestamp) -> Standing {
        self.turn_to(utc_date(now));
        let used = match quota {
            Quota::Day => self.used_in_day,
            Quota::Month => self.used_in_month,
        };
        Standing { limit: plan.limit(quota.limit()), used, reset: quota.end(self.today) }
    }

    /// Whether there is something to write.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.recent > 0 || !self.pending.days.is_empty()
    }

    /// Takes what has not been written yet.
    pub(super) fn take_pending(&mut self, now: Timestamp) -> Pending {
        let mut pending = std::mem::take(&mut self.pending);
        // Requests that could not be written for longer than a minute count no more.
        pending.recent = pending.recent.min(self.minute.used(now));
        pending
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&mut self, pending: Pending) {
        for (day, usage) in pending.days {
            self.note(day, usage);
        }
        self.pending.recent += pending.recent;
    }

    fn turn_to(&mut self, today: Date) {
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

/// The day in UTC.
pub(super) fn utc_date(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a valid time")
    }

    fn plan(limit: Limit, most: u64) -> Plan {
        Plan::UNLIMITED.with(limit, Some(most))
    }

    fn account(now: Timestamp) -> Account {
        Account::new(utc_date(now))
    }

    #[test]
    fn a_day_ends_at_midnight_in_utc_and_a_month_with_its_last_day() {
        let evening = at("2028-02-29T23:59:59.9Z");
        let mut account = account(evening);
        let plan = plan(Limit::RequestsPerDay, 2).with(Limit::RequestsPerMonth, Some(3));
        for _ in 0..2 {
            account.admit(&plan, evening).expect("two a day");
        }
        let Err(Refusal::Quota(Quota::Day, standing)) = account.admit(&plan, evening) else {
            panic!("the day is used up")
        };
        assert_eq!((standing.limit, standing.used, standing.remaining()), (Some(2), 2, Some(0)));
        assert_eq!(standing.reset, at("2028-03-01T00:00:00Z"));
        let midnight = standing.reset;
        assert_eq!(account.quota(Quota::Month, &plan, midnight).used, 0, "the month is over too");
        for day in ["2028-03-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-03-02T00:00:00Z"] {
            account.admit(&plan, at(day)).expect("three a month");
        }
        let Err(Refusal::Quota(Quota::Month, standing)) = account.admit(&plan, at("2028-03-31T23:59:59Z"))
        else {
            panic!("the month is used up")
        };
        assert_eq!(standing.reset, at("2028-04-01T00:00:00Z"));
        account.admit(&plan, standing.reset).expect("who waits as told gets in");
        assert_eq!(account.quota(Quota::Day, &plan, standing.reset).used, 1);
    }

    #[test]
    fn a_clock_that_is_put_back_gives_no_second_day() {
        let morning = at("2026-03-02T00:00:00Z");
        let mut account = account(morning);
        let plan = plan(Limit::RequestsPerDay, 1);
        account.admit(&plan, morning).expect("one a day");
        assert!(account.admit(&plan, at("2026-03-01T23:59:00Z")).is_err());
    }

    #[test]
    fn no_more_run_at_once_than_the_plan_says() {
        let now = at("2026-03-01T12:00:00Z");
        let mut account = account(now);
        let plan = plan(Limit::ConcurrentRequests, 2);
        account.admit(&plan, now).expect("the first");
        account.admit(&plan, now).expect("the second");
        assert_eq!(account.admit(&plan, now), Err(Refusal::Concurrent { limit: 2 }));
        account.finish();
        account.admit(&plan, now).expect("another may follow");
        assert_eq!(account.minute(&plan, now).used, 3, "what was refused does not count");
    }

    #[test]
    fn what_is_given_back_can_be_used_again_and_what_is_written_is_right() {
        let now = at("2026-03-01T12:00:00Z");
        let mut account = account(now);
        let plan = plan(Limit::RequestsPerDay, 1);
        let day = account.admit(&plan, now).expect("one a day");
        let pending = account.take_pending(now);
        assert_eq!((pending.days[&day].requests, pending.recent), (1, 1));
        account.give_back(day);
        account.admit(&plan, now).expect("it was given back");
        let pending = account.take_pending(now);
        assert_eq!((pending.days[&day].requests, pending.recent), (0, 1));
        account.put_back(pending);
        assert!(account.has_pending());
        assert_eq!(account.take_pending(at("2026-03-01T12:05:00Z")).recent, 0, "over a minute ago");
    }
}
