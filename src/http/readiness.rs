//! Readiness: whether a load balancer should send requests here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::app::{App, Services};
use super::error::{ApiError, ErrorCode};
use sentor_store::heartbeat::Heartbeat;
use sentor_store::{Store, StoreError};

/// Maximum time without a finished batch. A batch takes a fraction of a second, so such an engine hangs or gets no
/// processor time.
const STALLED_AFTER: Duration = Duration::from_secs(15);

/// A worker that panics once is replaced in a fraction of a second. One that is not is a lasting fault, and admission counts on
/// all workers.
const REPLACED_WITHIN: Duration = Duration::from_secs(5);

/// The longest time for which the keys in memory may differ from the store; they follow it four times a second.
const FOLLOWING_WITHIN: Duration = Duration::from_secs(5);

/// The longest round of a background thread: those that write can wait a few seconds for the store.
const ALIVE_WITHIN: Duration = Duration::from_secs(15);

/// Time for which the result of a check of the store is reused: orchestrators ask every few seconds, and each check
/// costs a write.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// Maximum time to write a page; longer than the store waits for a lock.
const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// Checks whether requests should be sent here; the error has the reason. Does not wait for a model.
pub(super) async fn check(app: &App) -> Result<(), ApiError> {
    let not_ready = |reason: &str, message: &str, seconds| {
        ApiError::new(ErrorCode::NotReady, message).detail("reason", reason).retry_after(seconds)
    };
    let Some(analyzer) = app.analyzer() else {
        return Err(not_ready("models", "the models are still being loaded", 1));
    };
    if !analyzer.models().iter().any(|model| model.ready) {
        return Err(not_ready("models", "no model is ready", 1));
    }
    let engine = analyzer.statistics().engine;
    if engine.workers > 0 && engine.workers_alive == 0 {
        return Err(not_ready("workers", "no worker of the engine is alive", 5));
    }
    if engine.short_of_workers > REPLACED_WITHIN {
        return Err(not_ready("workers", "a worker of the engine ended and cannot be replaced", 5));
    }
    if engine.stalled > STALLED_AFTER {
        return Err(not_ready("queue", "the engine has not finished anything for too long", 5));
    }
    let Services { keys, meter, audit, .. } = &app.services;
    if keys.behind_for() > FOLLOWING_WITHIN {
        return Err(not_ready("keys", "the keys in memory are not up to date; the log tells why", 5));
    }
    let ages = [keys.heartbeat(), meter.heartbeat(), audit.heartbeat()].map(Heartbeat::age);
    if !all_alive(ages) {
        return Err(not_ready("threads", "a background thread has stopped; the log tells why", 5));
    }
    if !app.store_probe.is_writable(&app.services.store).await {
        return Err(not_ready(
            "store",
            "the store of keys and usage cannot be written; the log tells why",
            5,
        ));
    }
    Ok(())
}

/// Whether every background thread has a recent heartbeat.
fn all_alive(ages: [Duration; 3]) -> bool {
    ages.into_iter().all(|age| age <= ALIVE_WITHIN)
}

/// Checks whether the store can be written: at most every two seconds, and one attempt at a time.
#[derive(Debug, Default)]
pub(super) struct StoreProbe {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last result, and its time.
    found: Option<(Instant, bool)>,
    /// A check under way. It outlives its caller, so a hanging disk does not accumulate threads.
    running: Option<JoinHandle<Result<(), StoreError>>>,
}

impl StoreProbe {
    /// Whether `store` could be written lately.
    async fn is_writable(&self, store: &Arc<dyn Store>) -> bool {
        let mut state = self.state.lock().await;
        let State { found, running } = &mut *state;
        let was_writable = match found {
            Some((at, is_writable)) if at.elapsed() < FRESH_FOR => return *is_writable,
            Some((_, is_writable)) => *is_writable,
            None => true,
        };
        let attempt = running.get_or_insert_with(|| {
            let store = Arc::clone(store);
            tokio::task::spawn_blocking(move || store.check_writable())
        });
        let outcome = tokio::time::timeout(STORE_PATIENCE, &mut *attempt).await;
        if outcome.is_ok() {
            *running = None;
        }
        let problem = match outcome {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => Some(with_cause(&error)),
            // The panic hook has logged it.
            Ok(Err(_)) => Some("the attempt panicked".to_owned()),
            Err(_) => Some(format!("no answer within {} s", STORE_PATIENCE.as_secs())),
        };
        *found = Some((Instant::now(), problem.is_none()));
        match &problem {
            // Logged once, not at each check.
            Some(error) if was_writable => {
                tracing::error!(error, "the store cannot be written: /readyz says so until it can");
            }
            None if !was_writable => tracing::info!("the store can be written again"),
            _ => {}
        }
        problem.is_none()
    }
}

fn with_cause(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentor_store::{MemoryStore, SqliteStore};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn a_store_that_another_program_holds_cannot_be_written() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let store = SqliteStore::open(folder.path()).expect("a store can be made");
        let other = rusqlite::Connection::open(store.path()).expect("another program can open it");
        let store: Arc<dyn Store> = Arc::new(store);
        let ask = |probe: &StoreProbe| runtime().block_on(probe.is_writable(&store));
        assert!(ask(&StoreProbe::default()));
        other.execute_batch("BEGIN IMMEDIATE").expect("it is free");
        let probe = StoreProbe::default();
        assert!(!ask(&probe));
        other.execute_batch("ROLLBACK").expect("it is held");
        assert!(!ask(&probe), "what was found counts for a moment");
        assert!(ask(&StoreProbe::default()));
    }

    #[test]
    fn one_stopped_thread_makes_the_server_unready() {
        let alive = Duration::from_millis(500);
        assert!(all_alive([alive; 3]));
        for index in 0..3 {
            let mut ages = [alive; 3];
            ages[index] = ALIVE_WITHIN + alive;
            assert!(!all_alive(ages), "thread {index}");
        }
    }

    #[test]
    fn concurrent_checks_share_one_attempt() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let probe = StoreProbe::default();
        runtime().block_on(async {
            let (first, second) = tokio::join!(probe.is_writable(&store), probe.is_writable(&store));
            assert!(first && second);
            let found = probe.state.lock().await.found;
            assert!(probe.is_writable(&store).await);
            assert_eq!(probe.state.lock().await.found, found, "nobody looked again");
        });
    }
}
