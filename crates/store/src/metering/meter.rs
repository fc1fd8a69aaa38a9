//! The counters of all accounts, and the thread that writes them.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::account::{Account, Pending, Quota, Refusal, Standing, utc_date};
use super::plan::{Plan, Plans};
use super::usage::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery, UsageStore};
use crate::clock::Clock;
use crate::keys::{KeyId, KeyRecord, StoreError};

/// How often counters are written: what a killed process loses is well under a second of them.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// How long recent requests are kept: their minute, and a little for slots and a slow clock.
const RECENT_FOR: SignedDuration = SignedDuration::from_secs(70);

/// Lets requests in against the plans of their keys, and keeps account of what they use.
///
/// Everything is decided in memory. A thread of its own writes to the store, until the meter is dropped.
#[derive(Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    flusher: Mutex<Option<Flusher>>,
}

#[derive(Debug)]
struct Flusher {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    plans: Plans,
    clock: Clock,
    store: Arc<dyn UsageStore>,
    accounts: RwLock<HashMap<KeyId, Arc<Cell>>>,
    /// Accounts with something to write, each once.
    dirty: Mutex<Vec<Arc<Cell>>>,
    /// Since when nothing could be written.
    failing_since: Mutex<Option<Timestamp>>,
    /// Held while writing, so that who asks for it knows afterwards that all before has been written.
    writing: Mutex<()>,
}

/// An account and its lock.
#[derive(Debug)]
struct Cell {
    id: KeyId,
    account: Mutex<Account>,
}

impl Meter {
    /// Goes on from what `store` knows of this month and minute, and writes to it from then on.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn start(store: Arc<dyn UsageStore>, plans: Plans, clock: Clock) -> Result<Self, StoreError> {
        let accounts = restore(store.as_ref(), clock.now())?;
        let shared = Arc::new(Shared {
            plans,
            clock,
            store,
            accounts: RwLock::new(accounts),
            dirty: Mutex::default(),
            failing_since: Mutex::default(),
            writing: Mutex::default(),
        });
        let (stop, stopped) = mpsc::channel();
        let flushing = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("meter".to_owned()).spawn(move || flushing.flush_until(&stopped));
        let flusher = match thread {
            Ok(thread) => Some(Flusher { stop, thread }),
            Err(error) => {
                tracing::error!(%error, "cannot start the meter's thread: usage is written at the end only");
                None
            }
        };
        Ok(Self { shared, flusher: Mutex::new(flusher) })
    }

    /// Lets a request of the holder of `key` in, and counts it, or says why not.
    ///
    /// # Errors
    ///
    /// Why it is not let in. It does not count then.
    pub fn admit(&self, key: &KeyRecord) -> Result<Admission, Refusal> {
        let plan = *self.plan(key).ok_or(Refusal::UnknownPlan)?;
        let cell = self.shared.cell(&key.account);
        let now = self.shared.clock.now();
        let (day, standing) = self.shared.change(&cell, |account| {
            let day = account.admit(&plan, now)?;
            Ok((day, account.minute(&plan, now)))
        })?;
        Ok(Admission { shared: Arc::clone(&self.shared), cell, plan, day, standing })
    }

    /// How far the last minute of `key` is used; `None` where the configuration does not know its plan.
    pub fn minute(&self, key: &KeyRecord) -> Option<Standing> {
        let plan = self.plan(key)?;
        let cell = self.shared.cell(&key.account);
        Some(lock(&cell.account).minute(plan, self.shared.clock.now()))
    }

    /// How far the day or month of `key` is used; `None` where the configuration does not know its plan.
    pub fn quota(&self, key: &KeyRecord, quota: Quota) -> Option<Standing> {
        let plan = self.plan(key)?;
        let cell = self.shared.cell(&key.account);
        Some(lock(&cell.account).quota(quota, plan, self.shared.clock.now()))
    }

    /// The plan of `key`, where the configuration knows it.
    pub fn plan(&self, key: &KeyRecord) -> Option<&Plan> {
        self.shared.plans.find(&key.plan)
    }

    /// All plans.
    pub fn plans(&self) -> &Plans {
        &self.shared.plans
    }

    /// What was used, up to this moment. Blocks on the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be written or read.
    pub fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError> {
        self.flush()?;
        self.shared.store.usage(query)
    }

    /// Writes now what has not been written. Blocks on the store.
    ///
    /// # Errors
    ///
    /// If the store cannot be written; nothing is lost, and the next writing has it all.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared.flush()
    }

    /// Since when nothing could be written, if the last attempt failed.
    pub fn failing_since(&self) -> Option<Timestamp> {
        *lock(&self.shared.failing_since)
    }

    /// Stops the thread and writes what is left.
    pub fn close(&self) {
        if let Some(Flusher { stop, thread }) = lock(&self.flusher).take() {
            drop(stop);
            // The thread cannot panic other than by a bug, and then has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.close();
    }
}

/// A request that was let in, until it is answered.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    plan: Plan,
    day: Date,
    standing: Standing,
}

impl Admission {
    /// How far the last minute was used with this request.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The plan that let it in.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Adds what the request used, beside having been a request.
    pub fn note(&self, usage: Usage) {
        self.shared.change(&self.cell, |account| account.note(self.day, usage));
    }

    /// Takes the request back out of its day and month, for which it is called once: it was not answered, by no fault of its
    /// sender.
    pub fn give_back(&self) {
        self.shared.change(&self.cell, |account| account.give_back(self.day));
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

    /// Changes an account, and sees to it that the change is written.
    fn change<T>(&self, cell: &Arc<Cell>, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = lock(&cell.account);
        let was_pending = account.has_pending();
        let value = change(&mut account);
        // Still under the account's lock, so that an account with something pending is always in the list.
        if !was_pending && account.has_pending() {
            lock(&self.dirty).push(Arc::clone(cell));
        }
        value
    }

    /// Runs until `stopped` hangs up.
    fn flush_until(&self, stopped: &mpsc::Receiver<()>) {
        loop {
            let stop = stopped.recv_timeout(FLUSH_EVERY) != Err(RecvTimeoutError::Timeout);
            // A failure has been logged, and is tried again with the next.
            let _ = self.flush();
            if stop {
                return;
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        let now = self.clock.now();
        let cells = std::mem::take(&mut *lock(&self.dirty));
        if cells.is_empty() {
            return Ok(());
        }
        let outcome = self.write(&cells, now);
        let mut failing_since = lock(&self.failing_since);
        match &outcome {
            Ok(()) if failing_since.take().is_some() => tracing::info!("usage can be written again"),
            // Said once, not twice a second.
            Err(error) if failing_since.is_none() => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(%error, cause, "cannot write usage: it is kept in memory, and tried again");
                *failing_since = Some(now);
            }
            _ => {}
        }
        outcome
    }

    fn write(&self, cells: &[Arc<Cell>], now: Timestamp) -> Result<(), StoreError> {
        let forget_before = now.checked_sub(RECENT_FOR).unwrap_or(Timestamp::MIN);
        let mut batch = UsageBatch { forget_before, ..UsageBatch::default() };
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
                batch.recent.push(RecentRequests { account: account(), at: now, requests: pending.recent });
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
}

impl Cell {
    fn new(id: &KeyId, account: Account) -> Arc<Self> {
        Arc::new(Self { id: id.clone(), account: Mutex::new(account) })
    }
}

/// The counters as a store knows them.
fn restore(store: &dyn UsageStore, now: Timestamp) -> Result<HashMap<KeyId, Arc<Cell>>, StoreError> {
    let today = utc_date(now);
    let mut accounts: HashMap<KeyId, Account> = HashMap::new();
    let month = UsageQuery { from: today.first_of_month(), to: today.last_of_month(), account: None };
    for DayUsage { account, day, usage } in store.usage(&month)? {
        accounts.entry(account).or_insert_with(|| Account::new(today)).restore_day(day, usage.requests);
    }
    let minute_ago = now.checked_sub(RECENT_FOR).unwrap_or(Timestamp::MIN);
    for RecentRequests { account, at, requests } in store.recent_requests(minute_ago)? {
        accounts.entry(account).or_insert_with(|| Account::new(today)).restore_recent(at, requests);
    }
    let cells = accounts.into_iter().map(|(id, account)| {
        let cell = Cell::new(&id, account);
        (id, cell)
    });
    Ok(cells.collect())
}

/// What these locks guard is changed in single steps, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
