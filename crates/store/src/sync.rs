//! Locks that survive a panic, and background threads that end with their owner.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Locks a mutex whose value changes in single steps, so a panic elsewhere leaves nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that runs until it is closed or dropped.
#[derive(Debug)]
pub(crate) struct BackgroundThread {
    /// `None` if the thread was closed, or could not be started.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl BackgroundThread {
    /// Runs `work` on a thread. It must return soon after its receiver is disconnected. If the system allows no thread,
    /// logs `consequence` and continues without it.
    pub(crate) fn start(
        name: &'static str,
        consequence: &'static str,
        work: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped));
        let running = match thread {
            Ok(thread) => Some(Running { stop, thread }),
            Err(error) => {
                tracing::error!(%error, thread = name, "{consequence}");
                None
            }
        };
        Self { running: Mutex::new(running) }
    }

    /// Stops the thread and waits for its end. Calling it again is harmless.
    pub(crate) fn close(&self) {
        if let Some(Running { stop, thread }) = lock(&self.running).take() {
            drop(stop);
            // If the thread panicked, the panic hook has logged it.
            let _ = thread.join();
        }
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        self.close();
    }
}
