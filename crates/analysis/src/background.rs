//! The background pool: threads for the bodies, texts and answers of large requests.
//!
//! All requests share one pool, with a thread for each core. Its threads have a lower priority than those of workers
//! and connections, so one caller's thousand documents do not delay another's sentence.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use sentor_engine::{Caller, available_cores};

/// Prefix of the threads' names.
pub const THREAD_NAME: &str = "planning";

/// Niceness of the threads, as in `nice(1)`: beside a thread of normal priority, one gets a tenth of a core.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Starts the threads. A program that does not call it uses rayon's own threads, at normal priority.
pub fn start_threads() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(available_cores())
        .thread_name(|number| format!("{THREAD_NAME}-{number}"))
        .start_handler(|_| lower_priority());
    if let Err(error) = pool.build_global() {
        tracing::debug!(%error, "the threads for large requests were started before");
    }
}

/// On Linux this applies to the calling thread only; elsewhere it would apply to the whole process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a background thread");
    }
}

/// Runs `work` on one of the threads. Callers take turns: one with a hundred large requests does not hold up another's one.
///
/// # Errors
///
/// Where it panics, with what.
pub async fn run<T: Send + 'static>(
    caller: &Caller,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::Result<T> {
    let (tell, told) = oneshot::channel();
    let job = move || {
        // Nobody listens where the request was given up, maybe long before its turn.
        if !tell.is_closed() {
            let _ = tell.send(catch_unwind(AssertUnwindSafe(work)));
        }
    };
    turns().push(caller.name(), Box::new(job));
    // One for each job, so that each job is run.
    rayon::spawn(|| {
        let next = turns().pop();
        if let Some(job) = next {
            job();
        }
    });
    told.await.unwrap_or_else(|closed| Err(Box::new(closed)))
}

type Job = Box<dyn FnOnce() + Send>;

/// The jobs of each caller, and whose turn it is.
#[derive(Default)]
struct Turns {
    jobs: HashMap<Arc<str>, VecDeque<Job>>,
    /// Callers with jobs, each once; the first is next.
    order: VecDeque<Arc<str>>,
}

impl Turns {
    fn push(&mut self, caller: &Arc<str>, job: Job) {
        let own = self.jobs.entry(Arc::clone(caller)).or_default();
        if own.is_empty() {
            self.order.push_back(Arc::clone(caller));
        }
        own.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let caller = self.order.pop_front()?;
        let own = self.jobs.get_mut(&caller)?;
        let job = own.pop_front();
        if own.is_empty() {
            self.jobs.remove(&caller);
        } else {
            self.order.push_back(caller);
        }
        job
    }
}

/// Jobs run without the lock, and its holders do not panic.
fn turns() -> MutexGuard<'static, Turns> {
    static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that takes long to drop, such as a million strings; one of the threads drops it.
#[derive(Debug)]
pub struct DropInBackground<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> DropInBackground<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Returns the value, for a caller that drops it elsewhere.
    #[expect(
        clippy::missing_panics_doc,
        reason = "it does not panic: only this method and drop take the value"
    )]
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("only this method and drop take the value")
    }
}

impl<T: Send + 'static> Deref for DropInBackground<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only into_inner and drop take the value")
    }
}

impl<T: Send + 'static> DerefMut for DropInBackground<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only into_inner and drop take the value")
    }
}

impl<T: Send + 'static> Drop for DropInBackground<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            rayon::spawn(move || drop(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_take_turns() {
        let done = Arc::new(Mutex::new(String::new()));
        let mut turns = Turns::default();
        for name in ["a1", "a2", "a3", "b1", "c1", "b2"] {
            let done = Arc::clone(&done);
            let job = move || done.lock().expect("no panic").push_str(name);
            turns.push(&Arc::from(&name[..1]), Box::new(job));
        }
        while let Some(job) = turns.pop() {
            job();
        }
        assert_eq!(*done.lock().expect("no panic"), "a1b1c1a2b2a3");
        assert!(turns.jobs.is_empty() && turns.order.is_empty());
    }

    #[test]
    fn a_panic_is_told_and_the_thread_lives_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let caller = Caller::from("any");
        for turn in 0..20 {
            let panicked = runtime.block_on(run(&caller, || -> usize { panic!("on purpose") }));
            let words = *panicked.expect_err("it panics").downcast::<&str>().expect("its words");
            assert_eq!(words, "on purpose");
            assert_eq!(runtime.block_on(run(&caller, move || turn)).expect("it does not"), turn);
        }
    }
}
