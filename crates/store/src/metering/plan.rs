//! Plans: named limits.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::keys::KeyRecord;

/// A quantity that a plan can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests in any 60 seconds.
    RequestsPerMinute,
    /// Requests in a day of UTC.
    RequestsPerDay,
    /// Requests in a calendar month of UTC.
    RequestsPerMonth,
    /// Unicode characters of all texts of one request.
    CharactersPerCall,
    /// Documents of one request.
    DocumentsPerCall,
    /// Requests in flight at a time.
    ConcurrentRequests,
    /// Jobs that have not ended.
    ActiveJobs,
    /// Rows of one job.
    RowsPerJob,
    /// Rows that wait, of all jobs.
    JobRowsWaiting,
    /// Bytes of inputs of active jobs, and of results.
    JobBytes,
}

impl Limit {
    /// All limits.
    pub const ALL: [Limit; 10] = [
        Self::RequestsPerMinute,
        Self::RequestsPerDay,
        Self::RequestsPerMonth,
        Self::CharactersPerCall,
        Self::DocumentsPerCall,
        Self::ConcurrentRequests,
        Self::ActiveJobs,
        Self::RowsPerJob,
        Self::JobRowsWaiting,
        Self::JobBytes,
    ];

    /// Its name in configurations and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::RequestsPerDay => "requests_per_day",
            Self::RequestsPerMonth => "requests_per_month",
            Self::CharactersPerCall => "characters_per_call",
            Self::DocumentsPerCall => "documents_per_call",
            Self::ConcurrentRequests => "concurrent_requests",
            Self::ActiveJobs => "active_jobs",
            Self::RowsPerJob => "rows_per_job",
            Self::JobRowsWaiting => "job_rows_waiting",
            Self::JobBytes => "job_bytes",
        }
    }
}

/// The limits of a key, and its share while other keys wait too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    limits: [Option<u64>; Limit::ALL.len()],
    /// While several keys have work waiting, they are served in proportion to their weights.
    pub weight: NonZeroU32,
}

impl Plan {
    /// A plan without any limit.
    pub const UNLIMITED: Plan = Plan { limits: [None; Limit::ALL.len()], weight: NonZeroU32::MIN };

    /// Returns the plan with one limit changed; `None` removes the limit.
    #[must_use]
    pub fn with(mut self, limit: Limit, most: Option<u64>) -> Self {
        self.limits[limit as usize] = most;
        self
    }

    /// Returns a limit; `None` for no limit.
    pub fn limit(&self, limit: Limit) -> Option<u64> {
        self.limits[limit as usize]
    }
}

/// Plans by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plans(BTreeMap<String, Plan>);

impl Plans {
    /// Looks up a plan.
    pub fn find(&self, name: &str) -> Option<&Plan> {
        self.0.get(name)
    }

    /// Adds or replaces a plan.
    pub fn set(&mut self, name: &str, plan: Plan) {
        self.0.insert(name.to_owned(), plan);
    }

    /// Iterates over names and plans, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plan)> {
        self.0.iter().map(|(name, plan)| (name.as_str(), plan))
    }

    /// Returns all names.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Default for Plans {
    /// The published plans, and the plan of a self-hosted key.
    fn default() -> Self {
        let published = |minute, day, month| {
            Plan::UNLIMITED
                .with(Limit::RequestsPerMinute, Some(minute))
                .with(Limit::RequestsPerDay, Some(day))
                .with(Limit::RequestsPerMonth, Some(month))
        };
        // A job's documents count for the day and the month; these only bound what waits and is stored.
        let with_jobs = |plan: Plan, jobs, rows, mebibytes: u64| {
            plan.with(Limit::ActiveJobs, Some(jobs))
                .with(Limit::RowsPerJob, Some(rows))
                .with(Limit::JobRowsWaiting, Some(2 * rows))
                .with(Limit::JobBytes, Some(mebibytes << 20))
        };
        let free = published(5, 100, 1000).with(Limit::CharactersPerCall, Some(1000));
        let plans = [
            (KeyRecord::UNLIMITED, Plan::UNLIMITED),
            ("free", with_jobs(free, 1, 1000, 16)),
            ("starter", with_jobs(published(60, 1000, 10_000), 2, 10_000, 256)),
            ("growth", with_jobs(published(200, 3000, 30_000), 4, 30_000, 1024)),
            ("business", with_jobs(published(500, 10_000, 100_000), 8, 100_000, 4096)),
            // The limits of each customer are set in the configuration.
            ("enterprise", Plan::UNLIMITED),
        ];
        Self(plans.into_iter().map(|(name, plan)| (name.to_owned(), plan)).collect())
    }
}
