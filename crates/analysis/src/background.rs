//! Threads for what may take its time: bodies, texts and answers of large requests.
//!
//! There is one for each core, for all requests together. They give way to the threads that run models and talk to
//! clients, so that a caller's thousand documents do not hold up another's sentence.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::oneshot;

use sentor_engine::available_cores;

/// What the names of the threads begin with.
pub const THREAD_NAME: &str = "planning";

/// How far the threads give way, on the scale of `nice`: beside a thread that does not, one of them gets a tenth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Starts the threads. Programs that do not call it have those of rayon, which do not give way.
pub fn start_threads() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(available_cores())
        .thread_name(|number| format!("{THREAD_NAME}-{number}"))
        .start_handler(|_| lower_priority());
    if let Err(error) = pool.build_global() {
        tracing::debug!(%error, "the threads for large requests were started before");
    }
}

/// On Linux, this is of the calling thread alone; elsewhere it would be of the whole process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread for large requests does not give way");
    }
}

/// Runs `work` on one of the threads.
///
/// # Errors
///
/// Where it panics, with what.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::Result<T> {
    let (tell, told) = oneshot::channel();
    rayon::spawn(move || {
        // Nobody listens where the request was given up.
        let _ = tell.send(catch_unwind(AssertUnwindSafe(work)));
    });
    told.await.unwrap_or_else(|closed| Err(Box::new(closed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_and_the_thread_lives_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for turn in 0..20 {
            let panicked = runtime.block_on(run(|| -> usize { panic!("on purpose") }));
            let words = *panicked.expect_err("it panics").downcast::<&str>().expect("its words");
            assert_eq!(words, "on purpose");
            assert_eq!(runtime.block_on(run(move || turn)).expect("it does not"), turn);
        }
    }
}
