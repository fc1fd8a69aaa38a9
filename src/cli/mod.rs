//! Stub; the real module comes from the branch `http`.

use clap::{Parser, Subcommand};

use crate::config::Config;

mod eval;
mod flow;
mod lines;
mod models;
mod predict;
mod session;

#[derive(Debug, Parser)]
#[command(name = "sentor", version)]
struct Arguments {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {}

impl GlobalArgs {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "stub")]
    pub(crate) fn load_config(&self) -> anyhow::Result<Config> {
        Ok(Config::default())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Predict(predict::PredictArgs),
    Eval(eval::EvalArgs),
    Models(models::ModelsArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Models = 4,
    SomeInputFailed = 5,
}

/// Stub.
pub fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Predict(args) => predict::run(args, &arguments.global),
        Command::Eval(args) => eval::run(args, &arguments.global),
        Command::Models(args) => models::run(args, &arguments.global),
    };
    match result {
        Ok(exit) => std::process::ExitCode::from(exit as u8),
        Err(error)
            if error.chain().any(|cause| {
                let io = cause.downcast_ref::<std::io::Error>();
                io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
            }) =>
        {
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
