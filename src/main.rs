//! The `sentor` program.

/// Sequences, texts and answers are allocated on one thread and freed on another. With the system's allocator, threads
/// contend for locks there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before any other thread exists: this sets an environment variable, which ONNX Runtime reads.
    sentor_engine::disable_telemetry();
    sentor::cli::run()
}
