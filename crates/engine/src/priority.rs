//! Scheduling priority of the worker threads.

/// Sets the niceness (0 to 19, `nice(1)`) of the calling thread, so that it yields to other threads of its control group.
/// Does nothing if the system would apply it to the whole process, or does not allow it.
pub(super) fn set_niceness(niceness: u8) {
    #[cfg(target_os = "linux")]
    if niceness > 0
        // `None` is the calling thread: Linux counts threads as processes here.
        && let Err(error) = rustix::process::setpriority_process(None, i32::from(niceness))
    {
        tracing::debug!(%error, "a worker keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_yields() {
        let own = || rustix::process::getpriority_process(None).expect("a thread may read its own");
        let before = own();
        let lowered = std::thread::spawn(move || {
            set_niceness(19);
            own()
        });
        assert_eq!(lowered.join().expect("no panic"), 19);
        assert_eq!(own(), before);
    }
}
