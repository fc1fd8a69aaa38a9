//! The `sentor` program.

fn main() -> std::process::ExitCode {
    sentor::cli::run()
}
