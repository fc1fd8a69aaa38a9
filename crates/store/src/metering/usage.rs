//! Usage by account and day, and the trait of its store.

use std::ops::{AddAssign, RangeInclusive};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::error::StoreError;
use crate::keys::KeyId;

/// Sums of usage. In a change, `requests` is negative if a request is refunded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Admitted requests.
    pub requests: i64,
    /// Scored documents.
    pub documents: i64,
    /// Unicode characters of their texts.
    pub characters: i64,
    /// Model tokens of their texts and entities.
    pub tokens: i64,
    /// Entities of the scored documents.
    pub entities: i64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.documents = self.documents.saturating_add(more.documents);
        self.characters = self.characters.saturating_add(more.characters);
        self.tokens = self.tokens.saturating_add(more.tokens);
        self.entities = self.entities.saturating_add(more.entities);
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

/// The usage of an account on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUsage {
    /// A key and its successors by rotation.
    pub account: KeyId,
    /// The day, in UTC.
    pub day: Date,
    /// The sums.
    pub usage: Usage,
}

/// Requests of an account that count toward its last minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentRequests {
    /// A key and its successors by rotation.
    pub account: KeyId,
    /// When they came, by the wall clock, or up to a flush later.
    pub at: Timestamp,
    /// Their number.
    pub requests: u64,
}

/// Changes for a store.
#[derive(Clone, Debug)]
pub struct UsageBatch {
    /// Additions to the sums of days.
    pub days: Vec<DayUsage>,
    /// Additions to the requests of the last minute.
    pub recent: Vec<RecentRequests>,
    /// Recent requests of other times are deleted.
    pub keep_recent: RangeInclusive<Timestamp>,
}

impl Default for UsageBatch {
    fn default() -> Self {
        Self { days: Vec::new(), recent: Vec::new(), keep_recent: Timestamp::MIN..=Timestamp::MAX }
    }
}

/// Selects days of usage.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// The first day.
    pub from: Date,
    /// The last day, included.
    pub to: Date,
    /// One account; `None` for all.
    pub account: Option<KeyId>,
}

/// A store of usage. All backends pass one test suite (`tests/store/conformance.rs`). Every method may block on a disk or network.
pub trait UsageStore: Send + Sync + std::fmt::Debug {
    /// Adds a batch: all of it or nothing.
    fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError>;

    /// Returns the sums by account, then by day. Days without usage are left out.
    fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError>;

    /// Returns the requests that came at `since` or later, the oldest first.
    fn recent_requests(&self, since: Timestamp) -> Result<Vec<RecentRequests>, StoreError>;

    /// Deletes the sums of all days before `day`.
    fn forget_usage_before(&self, day: Date) -> Result<(), StoreError>;
}
