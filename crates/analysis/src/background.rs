//! The background pool: threads for the bodies, texts and answers of large requests.
//!
//! All requests share one pool, with a thread for each core. Its threads have a lower priority than those of workers
//! and connections, so one caller's thousand documents do not delay another's sentence.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::oneshot;

use sentor_engine::available_cores;

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

/// Runs `work` on the pool.
///
/// # Errors
///
/// If `work` panics, with the panic's payload.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::Result<T> {
    let (tell, told) = oneshot::channel();
    rayon::spawn(move || {
        // The receiver is gone if the request was cancelled.
        let _ = tell.send(catch_unwind(AssertUnwindSafe(work)));
    });
    told.await.unwrap_or_else(|closed| Err(Box::new(closed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_and_the_thread_survives() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for turn in 0..20 {
            let panicked = runtime.block_on(run(|| -> usize { panic!("on purpose") }));
            let words = *panicked.expect_err("it panics").downcast::<&str>().expect("its words");
            assert_eq!(words, "on purpose");
            assert_eq!(runtime.block_on(run(move || turn)).expect("it does not"), turn);
        }
    }
}
