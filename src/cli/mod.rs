//! The command line: one file for each subcommand. stdout is data, stderr is everything else.

mod bench;
mod config;
mod eval;
mod flags;
mod flow;
mod health;
mod jobs;
mod keys;
mod lines;
mod models;
mod predict;
mod reload;
mod serve;
mod session;
mod table;
mod topics;
mod usage;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, ConfigError, Overrides};
use crate::http::TlsError;
use crate::telemetry::{self, EndpointError};
use sentor_analysis::StartError;
use sentor_store::StoreError;

/// The outcome of a command, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: success.
    Ok,
    /// 1: something failed.
    Failure,
    /// 3: the configuration is wrong.
    Configuration,
    /// 4: a model or ONNX Runtime is missing or wrong.
    Models,
    /// 5: some rows of the input could not be scored; the others were.
    SomeInputFailed,
    /// 130: Ctrl-C ended the run; what was scored by then is written.
    Interrupted,
}

// clap itself ends with 2 for a wrong command line.
const EXIT_CODES: &str = "Exit codes:
  0  all went well
  1  something failed; stderr says what
  2  wrong command line
  3  wrong configuration
  4  a model or ONNX Runtime is missing or wrong
  5  some rows of the input could not be scored; the others were
  130  Ctrl-C ended the run; what was scored by then is written";

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Configuration => 3,
            Self::Models => 4,
            Self::SomeInputFailed => 5,
            Self::Interrupted => 130,
        }
    }

    /// The exit code of an error, by its root cause.
    fn from_error(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if cause.is::<ConfigError>() || cause.is::<EndpointError>() || cause.is::<TlsError>() {
                return Self::Configuration;
            }
            if cause.is::<StartError>() {
                return Self::Models;
            }
            if cause.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) {
                return Self::Ok;
            }
        }
        Self::Failure
    }
}

/// Whether the reader of the output has closed the pipe, as `head` does: not a failure.
fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Scores sentiment toward named entities in English and Dutch text.
#[derive(Debug, Parser)]
#[command(name = "sentor", version, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Arguments of every subcommand.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Configuration file [default: sentor.toml here, or in the user's configuration folder]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    settings: flags::CommonFlags,
}

impl GlobalArgs {
    /// The configuration, without the settings that only `serve` takes as flags.
    pub(crate) fn load_config(&self) -> Result<Config, ConfigError> {
        Config::load(&self.overrides())
    }

    fn overrides(&self) -> Overrides {
        Overrides { file: self.config.clone(), flags: self.settings.given() }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests over HTTP
    Serve(serve::ServeArgs),
    // Without a comment for clap here, these three have the help of their own files, which is longer.
    Predict(predict::PredictArgs),
    Eval(eval::EvalArgs),
    Topics(topics::TopicsArgs),
    /// Put load on a running server and report rate and latency
    Bench(bench::BenchArgs),
    // Its help is that of its own file.
    Health(health::HealthArgs),
    // Its help is that of its own file.
    Jobs(jobs::JobsArgs),
    /// Make, list, revoke and rotate keys
    Keys(keys::KeysArgs),
    /// Show the usage of keys
    Usage(usage::UsageArgs),
    /// List and verify models
    Models(models::ModelsArgs),
    /// Show the effective configuration as TOML
    Config(config::ConfigArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, runs the command, and reports its error.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let exit = dispatch(&cli).unwrap_or_else(|error| {
        let exit = Exit::from_error(&error);
        if exit != Exit::Ok {
            // If stderr is closed too, nothing can be reported.
            let _ = writeln!(anstream::stderr(), "error: {}", message(&error));
        }
        exit
    });
    ExitCode::from(exit.code())
}

/// The error and its causes on one line. Some errors repeat their cause in their own message; it is left out then.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.ends_with(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    let is_denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
    let of_store = error.chain().any(<dyn std::error::Error>::is::<StoreError>);
    if of_store && error.chain().any(|cause| cause.downcast_ref().is_some_and(is_denied)) {
        message += "; another user owns it: run the command as the server's user, or give that user the data folder \
                    (`chown -R USER FOLDER`)";
    }
    message
}

fn dispatch(cli: &Cli) -> anyhow::Result<Exit> {
    let global = &cli.global;
    match &cli.command {
        Command::Serve(args) => serve::run(args, global),
        Command::Predict(args) => with_log(global, || predict::run(args, global)),
        Command::Eval(args) => with_log(global, || eval::run(args, global)),
        Command::Topics(args) => with_log(global, || topics::run(args, global)),
        Command::Bench(args) => with_log(global, || bench::run(args, global)),
        Command::Health(args) => health::run(args, global),
        Command::Jobs(args) => with_log(global, || jobs::run(args, global)),
        Command::Keys(args) => with_log(global, || keys::run(args, global)),
        Command::Usage(args) => with_log(global, || usage::run(args, global)),
        Command::Models(args) => with_log(global, || models::run(args, global)),
        Command::Config(args) => config::run(args, global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "sentor", &mut script);
            print(&script)?;
            Ok(Exit::Ok)
        }
    }
}

/// Starts the log, with warnings only unless the settings say otherwise, and runs a command.
fn with_log(global: &GlobalArgs, command: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let config = global.load_config()?;
    let _log = telemetry::start(&config.log, telemetry::Audience::Person);
    warn_of_deprecated_names(&config);
    command()
}

/// Logs each deprecated setting name in use.
fn warn_of_deprecated_names(config: &Config) {
    for deprecation in config.deprecations() {
        tracing::warn!("{deprecation}");
    }
}

/// Writes data to stdout.
fn print(data: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    stdout.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentor_store::{BackendError, FailureKind};

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Unopened(#[source] io::Error);

    #[test]
    fn the_command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_message_names_each_cause_once() {
        let cause = || io::Error::other("no space left");
        let error = anyhow::Error::from(cause()).context("cannot write a: no space left").context("failed");
        assert_eq!(message(&error), "failed: cannot write a: no space left");
        assert_eq!(message(&anyhow::Error::from(cause()).context("failed")), "failed: no space left");
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let backend = BackendError::new(FailureKind::Unavailable, Unopened(source));
        let denied = anyhow::Error::from(StoreError::from(backend));
        assert!(message(&denied).contains("permission denied; another user owns it"), "{}", message(&denied));
    }

    #[test]
    fn errors_have_their_exit_codes() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Exit::from_error(&anyhow::Error::from(broken)), Exit::Ok);
        let config = ConfigError::Invalid(Vec::new());
        assert_eq!(Exit::from_error(&anyhow::Error::from(config).context("starting")), Exit::Configuration);
        assert_eq!(Exit::from_error(&anyhow::anyhow!("no")), Exit::Failure);
    }
}
