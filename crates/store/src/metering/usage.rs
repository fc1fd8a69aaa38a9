//! What was used, and where that is kept.

use std::ops::AddAssign;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::keys::{KeyId, StoreError};

/// Sums of what was used. As a change, `requests` is below zero where one is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Requests that were let in.
    pub requests: i64,
    /// Documents that were scored.
    pub documents: i64,
    /// Unicode characters of their texts.
    pub characters: i64,
    /// Model tokens of their texts and entities.
    pub tokens: i64,
    /// Entities that they were scored toward.
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

/// What an account used on a day, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUsage {
    /// Whose: a key and those that followed it by rotation.
    pub account: KeyId,
    /// The day, in UTC.
    pub day: Date,
    /// How much.
    pub usage: Usage,
}

/// Requests of an account that count toward its last minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentRequests {
    /// Whose.
    pub account: KeyId,
    /// When they came, or a little later.
    pub at: Timestamp,
    /// How many.
    pub requests: u64,
}

/// What is to be added to a store.
#[derive(Clone, Debug, Default)]
pub struct UsageBatch {
    /// Additions to the sums of days.
    pub days: Vec<DayUsage>,
    /// Additions to the requests of the last minute.
    pub recent: Vec<RecentRequests>,
    /// Recent requests from before this moment are no longer needed.
    pub forget_before: Timestamp,
}

/// Which sums to look up.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// The first day.
    pub from: Date,
    /// The last day, included.
    pub to: Date,
    /// Only those of this account.
    pub account: Option<KeyId>,
}

/// A place where usage is kept. All stores pass one test suite (`tests/store.rs`).
///
/// Every method may block on a disk.
pub trait UsageStore: Send + Sync + std::fmt::Debug {
    /// Adds what was used: all of it or nothing.
    fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError>;

    /// Sums by account, then by day. Days without use are left out.
    fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError>;

    /// Requests that came at `since` or later, the oldest first.
    fn recent_requests(&self, since: Timestamp) -> Result<Vec<RecentRequests>, StoreError>;
}
