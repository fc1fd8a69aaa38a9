//! Admits requests against plans: the accounts of all keys, and the thread that writes them to the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::account::{Account, LimitError, Pending, Quota, RateLimitStatus, utc_date};
use super::plan::{Plan, Plans};
use super::usage::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};
use crate::clock::{Clock, Moment};
use crate::error::StoreError;
use crate::heartbeat::Heartbeat;
use crate::keys::{KeyId, KeyRecord};
use crate::sync::{BackgroundThread, lock};

/// The interval between flushes: a killed process loses well under a second of counts.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// How long the store keeps recent requests: a minute, and some slack for slots and clock differences.
const RECENT_FOR: SignedDuration = SignedDuration::from_secs(70);

/// The interval between deletions of usage that is past its retention.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// How long usage is kept unless [`Meter::set_usage_retention`] says otherwise: a year, and a month to bill it.
pub const DEFAULT_USAGE_RETENTION_DAYS: u32 = 400;

/// Admits requests against the plans of their keys, and counts what they use.
///
/// Every decision is made in memory, under the lock of one account. The thread `meter` writes to the store until the
/// meter is closed or dropped.
#[derive(Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    flusher: BackgroundThread,
}

#[derive(Debug)]
struct Shared {
    plans: RwLock<Arc<Plans>>,
    /// Unknown plans that were logged since the plans were last replaced.
    reported_plans: Mutex<HashSet<String>>,
    clock: Clock,
    store: Arc<dyn UsageStore>,
    retention_days: AtomicU32,
    accounts: RwLock<HashMap<KeyId, Arc<Cell>>>,
    /// Accounts with changes that are not in the store, each once.
    dirty: Mutex<Vec<Arc<Cell>>>,
    /// The start of an outage of the store.
    failing_since: Mutex<Option<Timestamp>>,
    /// Held during a flush. While it is locked elsewhere, no change is in transit between an account and the store.
    writing: Mutex<()>,
    heartbeat: Heartbeat,
}

/// An account and its lock.
#[derive(Debug)]
struct Cell {
    id: KeyId,
    account: Mutex<Account>,
}

impl Meter {
    /// Restores the counters of this month and minute from `store`, and starts to write to it.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn start(store: Arc<dyn UsageStore>, plans: Plans, clock: Clock) -> Result<Self, StoreError> {
        let accounts = restore(store.as_ref(), clock.moment())?;
        let shared = Arc::new(Shared {
            plans: RwLock::new(Arc::new(plans)),
            reported_plans: Mutex::default(),
            clock,
            store,
            retention_days: AtomicU32::new(DEFAULT_USAGE_RETENTION_DAYS),
            accounts: RwLock::new(accounts),
            dirty: Mutex::default(),
            failing_since: Mutex::default(),
            writing: Mutex::default(),
            heartbeat: Heartbeat::start(),
        });
        let flushing = Arc::clone(&shared);
        let flusher = BackgroundThread::start(
            "meter",
            "cannot start the meter's thread: usage is written at the end only",
            move |stopped| flushing.flush_until(stopped),
        );
        Ok(Self { shared, flusher })
    }

    /// Admits a request of `key` and counts it, or says which limit is used up.
    ///
    /// # Errors
    ///
    /// The limit that is used up. The request does not count then.
    pub fn admit(&self, key: &KeyRecord) -> Result<Admission, LimitError> {
        let plan = self.known_plan(key)?;
        let cell = self.shared.cell(&key.account);
        let now = self.shared.clock.moment();
        let (day, minute) = self.shared.change(&cell, |account| {
            let day = account.admit(&plan, now)?;
            Ok((day, account.minute(&plan, now)))
        })?;
        Ok(Admission { shared: Arc::clone(&self.shared), cell, plan, day, minute })
    }

    /// Admits a request of `key` that scores nothing, and counts it in the minute alone.
    ///
    /// # Errors
    ///
    /// If the minute is used up.
    pub fn admit_query(&self, key: &KeyRecord) -> Result<RateLimitStatus, LimitError> {
        let plan = self.known_plan(key)?;
        let cell = self.shared.cell(&key.account);
        let now = self.shared.clock.moment();
        self.shared.change(&cell, |account| account.admit_query(&plan, now))
    }

    /// Counts documents of a job in the day and month of an account, all or none of them.
    ///
    /// # Errors
    ///
    /// The limit of `plan` that does not allow them.
    pub fn charge_documents(&self, account: &KeyId, plan: &str, documents: u64) -> Result<(), LimitError> {
        let plan = self.plans().find(plan).copied().ok_or(LimitError::UnknownPlan)?;
        let (cell, now) = (self.shared.cell(account), self.shared.clock.now());
        self.shared.change(&cell, |account| account.charge(&plan, documents, now)).map(drop)
    }

    /// Takes documents of a job back that were counted and not scored.
    pub fn refund_documents(&self, account: &KeyId, documents: u64) {
        if documents > 0 {
            let (cell, now) = (self.shared.cell(account), self.shared.clock.now());
            self.shared.change(&cell, |account| account.refund_charge(documents, now));
        }
    }

    /// Adds to the usage of an account, outside any request.
    pub fn add_usage(&self, account: &KeyId, usage: Usage) {
        let (cell, now) = (self.shared.cell(account), self.shared.clock.now());
        self.shared.change(&cell, |account| account.add_usage_now(usage, now));
    }

    /// Returns how much of the last minute `key` has used; `None` if its plan is unknown.
    pub fn minute(&self, key: &KeyRecord) -> Option<RateLimitStatus> {
        let plan = self.plan(key)?;
        let cell = self.shared.cell(&key.account);
        Some(lock(&cell.account).minute(&plan, self.shared.clock.moment()))
    }

    /// Returns how much of the day or month `key` has used; `None` if its plan is unknown.
    pub fn quota(&self, key: &KeyRecord, quota: Quota) -> Option<RateLimitStatus> {
        let plan = self.plan(key)?;
        let cell = self.shared.cell(&key.account);
        Some(lock(&cell.account).quota(quota, &plan, self.shared.clock.now()))
    }

    /// Returns the plan of `key`, if the configuration has it.
    pub fn plan(&self, key: &KeyRecord) -> Option<Plan> {
        self.plans().find(&key.plan).copied()
    }

    /// Returns the plans in force.
    pub fn plans(&self) -> Arc<Plans> {
        Arc::clone(&self.shared.plans.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other plans in force. Counters stay; admitted requests keep the plan that admitted them.
    pub fn replace_plans(&self, plans: Plans) {
        *self.shared.plans.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plans);
        lock(&self.shared.reported_plans).clear();
    }

    /// Sets for how many days usage is kept. The current month is always kept, because quotas count it.
    pub fn set_usage_retention(&self, days: u32) {
        self.shared.retention_days.store(days, Ordering::Relaxed);
    }

    /// Returns the usage up to this moment: what the store has, and what is not yet in it. Writes nothing. Blocks on the
    /// store.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError> {
        let _writing = lock(&self.shared.writing);
        let stored = self.shared.store.usage(query)?;
        let mut days: BTreeMap<(KeyId, Date), Usage> =
            stored.into_iter().map(|DayUsage { account, day, usage }| ((account, day), usage)).collect();
        let dirty = lock(&self.shared.dirty).clone();
        for cell in dirty.iter().filter(|cell| query.account.as_ref().is_none_or(|id| *id == cell.id)) {
            for (day, usage) in lock(&cell.account).pending_days() {
                if (query.from..=query.to).contains(&day) {
                    *days.entry((cell.id.clone(), day)).or_default() += usage;
                }
            }
        }
        Ok(days.into_iter().map(|((account, day), usage)| DayUsage { account, day, usage }).collect())
    }

    /// Writes all changes to the store now. Blocks on the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be written. Nothing is lost: the next flush writes the changes.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared.flush()
    }

    /// Returns the start of the outage, if the last flush failed.
    pub fn failing_since(&self) -> Option<Timestamp> {
        *lock(&self.shared.failing_since)
    }

    /// The heartbeat of the thread that writes to the store, twice a second.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.shared.heartbeat
    }

    /// Stops the thread and writes what is left.
    pub fn close(&self) {
        self.flusher.close();
    }

    /// Returns the plan of a key. Logs an unknown plan once, not at each request.
    fn known_plan(&self, key: &KeyRecord) -> Result<Plan, LimitError> {
        self.plan(key).ok_or_else(|| {
            if lock(&self.shared.reported_plans).insert(key.plan.clone()) {
                tracing::error!(
                    plan = key.plan,
                    key_id = key.id.as_str(),
                    "the plan of a key is not in the configuration, so its requests are refused; add [plans.NAME]"
                );
            }
            LimitError::UnknownPlan
        })
    }
}

/// An admitted request. It ends when this is dropped.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    plan: Plan,
    day: Date,
    minute: RateLimitStatus,
}

impl Admission {
    /// How much of the last minute was used, this request included.
    pub fn rate_limit(&self) -> RateLimitStatus {
        self.minute
    }

    /// The plan that admitted the request.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Adds what the request used, beside the request itself.
    pub fn add_usage(&self, usage: Usage) {
        self.shared.change(&self.cell, |account| account.add_usage(self.day, usage));
    }

    /// Takes the request back out of its day and month, because the server failed it. Call it once at most.
    pub fn refund(&self) {
        self.shared.change(&self.cell, |account| account.refund(self.day));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.cell.account).finish();
    }
}

impl Shared {
    fn cell(&self, id: &KeyId) -> Arc<Cell> {
        let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known.unwrap_or_else(|| {
            let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Cell::new(id, Account::new(utc_date(self.clock.now())));
            Arc::clone(accounts.entry(id.clone()).or_insert_with(new))
        })
    }

    /// Changes an account, and puts it on the list of accounts to write.
    fn change<T>(&self, cell: &Arc<Cell>, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = lock(&cell.account);
        let was_pending = account.has_pending();
        let value = change(&mut account);
        // Still under the account's lock: an account with pending changes is always on the list.
        if !was_pending && account.has_pending() {
            lock(&self.dirty).push(Arc::clone(cell));
        }
        value
    }

    /// Flushes until `stopped` hangs up.
    fn flush_until(&self, stopped: &mpsc::Receiver<()>) {
        let mut forget_at = Duration::ZERO;
        loop {
            let stop = stopped.recv_timeout(FLUSH_EVERY) != Err(RecvTimeoutError::Timeout);
            // A failure is logged, and the next flush tries again.
            let _ = self.flush();
            let now = self.clock.moment();
            if now.monotonic >= forget_at && self.forget_usage(now.wall) {
                forget_at = now.monotonic + FORGET_EVERY;
            }
            self.heartbeat.beat();
            if stop {
                return;
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        let now = self.clock.moment();
        let cells = std::mem::take(&mut *lock(&self.dirty));
        if cells.is_empty() {
            return Ok(());
        }
        let outcome = self.write(&cells, now);
        let mut failing_since = lock(&self.failing_since);
        match &outcome {
            Ok(()) if failing_since.take().is_some() => tracing::info!("usage can be written again"),
            // Once, not twice a second.
            Err(error) if failing_since.is_none() => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(%error, cause, "cannot write usage: it is kept in memory, and tried again");
                *failing_since = Some(now.wall);
            }
            _ => {}
        }
        outcome
    }

    fn write(&self, cells: &[Arc<Cell>], now: Moment) -> Result<(), StoreError> {
        let mut batch = UsageBatch { keep_recent: recent_range(now.wall), ..UsageBatch::default() };
        let mut taken: Vec<Pending> = Vec::with_capacity(cells.len());
        for cell in cells {
            let pending = lock(&cell.account).take_pending(now);
            let account = || cell.id.clone();
            batch.days.extend(pending.days.iter().map(|(&day, &usage)| DayUsage {
                account: account(),
                day,
                usage,
            }));
            if pending.recent > 0 {
                let (at, requests) = (now.wall, pending.recent);
                batch.recent.push(RecentRequests { account: account(), at, requests });
            }
            taken.push(pending);
        }
        let outcome = self.store.add_usage(&batch);
        if outcome.is_err() {
            for (cell, pending) in cells.iter().zip(taken) {
                self.change(cell, |account| account.put_back(pending));
            }
        }
        outcome
    }

    /// Deletes usage that is past its retention, and returns whether that succeeded.
    fn forget_usage(&self, now: Timestamp) -> bool {
        let today = utc_date(now);
        let days = i64::from(self.retention_days.load(Ordering::Relaxed));
        let oldest_kept = today.checked_sub(days.days()).unwrap_or(Date::MIN).min(today.first_of_month());
        let outcome = self.store.forget_usage_before(oldest_kept);
        if let Err(error) = &outcome {
            tracing::debug!(%error, "cannot delete usage that is past its retention");
        }
        outcome.is_ok()
    }
}

impl Cell {
    fn new(id: &KeyId, account: Account) -> Arc<Self> {
        Arc::new(Self { id: id.clone(), account: Mutex::new(account) })
    }
}

/// The times of recent requests that the store keeps. Those far in the future are of a clock that was put back.
fn recent_range(now: Timestamp) -> std::ops::RangeInclusive<Timestamp> {
    let from = now.checked_sub(RECENT_FOR).unwrap_or(Timestamp::MIN);
    let to = now.checked_add(RECENT_FOR).unwrap_or(Timestamp::MAX);
    from..=to
}

/// Reads the counters of this month and minute.
fn restore(store: &dyn UsageStore, now: Moment) -> Result<HashMap<KeyId, Arc<Cell>>, StoreError> {
    let today = utc_date(now.wall);
    let mut accounts: HashMap<KeyId, Account> = HashMap::new();
    let month = UsageQuery { from: today.first_of_month(), to: today.last_of_month(), account: None };
    for DayUsage { account, day, usage } in store.usage(&month)? {
        accounts.entry(account).or_insert_with(|| Account::new(today)).restore_day(day, usage.requests);
    }
    for RecentRequests { account, at, requests } in store.recent_requests(*recent_range(now.wall).start())? {
        // Requests in the future were written before the clock was set back: they count as if they came now.
        let age = Duration::try_from(now.wall.duration_since(at)).unwrap_or_default();
        let at = now.monotonic.saturating_sub(age);
        accounts.entry(account).or_insert_with(|| Account::new(today)).restore_recent(at, requests);
    }
    let cells = accounts.into_iter().map(|(id, account)| {
        let cell = Cell::new(&id, account);
        (id, cell)
    });
    Ok(cells.collect())
}
