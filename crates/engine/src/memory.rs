//! What the C library's allocator, from which ONNX Runtime has its memory, keeps of blocks that are given back.
//!
//! Weights are to go back to the system with their model, and the blocks of a run are wanted again by the next one. glibc
//! can do either, by the size of the block, so that it is told which of the two is going on. Now and then a run is [`Lean`], so that what
//! is kept does not grow to the most that any run ever took. Other libraries are left alone.
//!
//! This is the one file with unsafe code: `mallopt` and `malloc_trim` take numbers, and may be called at any time from any
//! thread.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library's allocator has no other interface")
)]

/// While it lives, blocks of the size of weights have pages of their own.
pub(super) struct Loading(());

impl Loading {
    pub(super) fn begin() -> Self {
        set(Threshold::OwnPages, WEIGHTS_BYTES);
        Self(())
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        keep_freed();
        give_back();
    }
}

/// Smaller tensors than this are few and small beside the others.
const WEIGHTS_BYTES: i32 = 128 << 10;

/// The most that glibc keeps: 32 MiB, more than a run takes in one block.
const RUN_BYTES: i32 = 32 << 20;

/// Has blocks of the size of those of a run kept for the next one. Asking for them anew, page by page, is a fifth of the time of a run
/// of 512 tokens.
pub(super) fn keep_freed() {
    set(Threshold::OwnPages, RUN_BYTES);
    set(Threshold::Trim, 2 * RUN_BYTES);
}

/// While it lives, what a run frees goes back to the system at once, all that earlier runs have left as well.
pub(super) struct Lean(());

impl Lean {
    pub(super) fn begin() -> Self {
        set(Threshold::Trim, WEIGHTS_BYTES);
        Self(())
    }
}

impl Drop for Lean {
    fn drop(&mut self) {
        keep_freed();
    }
}

/// What glibc goes by, in bytes.
#[derive(Clone, Copy, Debug)]
enum Threshold {
    /// From this size on, a block has pages of its own, which go back to the system with it.
    OwnPages,
    /// What is free at the end of a heap goes back from this size on.
    Trim,
}

fn set(threshold: Threshold, bytes: i32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let parameter = match threshold {
            Threshold::OwnPages => libc::M_MMAP_THRESHOLD,
            Threshold::Trim => libc::M_TRIM_THRESHOLD,
        };
        // SAFETY: takes two numbers; the allocator's own lock guards what it sets.
        unsafe {
            libc::mallopt(parameter, bytes);
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = (threshold, bytes);
}

/// Gives back all whole pages that are free now.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has this line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn what_runs_have_left_goes_back_with_a_lean_one() {
        let run = || drop((0..40).map(|_| vec![1_u8; MIB]).collect::<Vec<_>>());
        let goes_back = move || {
            keep_freed();
            run();
            let kept = resident_kib();
            let lean = Lean::begin();
            run();
            drop(lean);
            kept.saturating_sub(resident_kib()) > 30 * 1024
        };
        // A thread has blocks of its own, as a worker has. Other tests take memory and give it back meanwhile.
        let seen = std::thread::spawn(move || (0..20).any(|_| goes_back())).join();
        assert!(seen.expect("no panic"));
    }
}
