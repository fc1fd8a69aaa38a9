//! What the C library's allocator, from which ONNX Runtime has its memory, keeps of blocks that are given back.
//!
//! Weights are to go back to the system with their model, and the blocks of a run are wanted again by the next one. glibc
//! can do either, by the size of the block, so that it is told which of the two is going on. Other libraries are left alone.
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
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: takes two numbers; the allocator's own lock guards what it sets.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, WEIGHTS_BYTES);
        }
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
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const WEIGHTS_BYTES: libc::c_int = 128 << 10;

/// The most that glibc keeps: 32 MiB, more than a run takes in one block.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RUN_BYTES: libc::c_int = 32 << 20;

/// Has blocks of the size of those of a run kept for the next one. Asking for them anew, page by page, is a fifth of the time of a run
/// of 512 tokens.
pub(super) fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: as above.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RUN_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * RUN_BYTES);
    }
}

/// Gives back all whole pages that are free now.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
