//! The `sentor` program.

/// Sequences, texts and answers are allocated on one thread and freed on another, where threads of the system's allocator
/// wait for one another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // First, while there is one thread: ONNX Runtime reads the choice from the environment.
    sentor_engine::disable_telemetry();
    sentor::cli::run()
}
