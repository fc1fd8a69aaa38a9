//! Which threads go first where more of them want to run than there are processors.

/// Has the calling thread give way to others of its process and control group, as far as `niceness` says (0 to 19, `nice(1)`). Does
/// nothing on systems where that would be the whole process, and where it is not allowed.
pub(super) fn give_way(niceness: u8) {
    #[cfg(target_os = "linux")]
    if niceness > 0
        // Without a number it is the caller, and to Linux a thread is one.
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
    fn it_is_the_thread_alone_that_gives_way() {
        let own = || rustix::process::getpriority_process(None).expect("a thread may look at itself");
        let before = own();
        let given_way = std::thread::spawn(move || {
            give_way(19);
            own()
        });
        assert_eq!(given_way.join().expect("no panic"), 19);
        assert_eq!(own(), before);
    }
}
