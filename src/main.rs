//! The `sentor` program.

/// Rows, texts and answers are made on one thread and dropped on another, where the system's allocator has threads wait for
/// one another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sentor::cli::run()
}
