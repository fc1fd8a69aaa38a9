//! Stub; the real one comes from the branch `http`.
fn main() -> std::process::ExitCode {
    sentor::cli::main()
}
