//! Ctrl-C: the first ends a run between two batches, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Time that a run has to end after the first Ctrl-C. It may wait for standard input, which nothing wakes.
const GRACE: Duration = Duration::from_secs(2);

/// Whether the run is to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C from now on. Where that is impossible, Ctrl-C ends the program as it does without.
    pub(super) fn listen() -> Self {
        let interrupt = Self::default();
        let of_thread = interrupt.clone();
        let listener = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                of_thread.0.store(true, Ordering::Relaxed);
                // Whichever comes first.
                let _ = tokio::time::timeout(GRACE, tokio::signal::ctrl_c()).await;
                std::process::exit(i32::from(crate::cli::Exit::Interrupted.code()));
            });
        };
        // The thread ends with the program.
        let _ = thread::Builder::new().name("interrupt".to_owned()).spawn(listener);
        interrupt
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
