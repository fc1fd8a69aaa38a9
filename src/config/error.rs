//! Errors of the configuration.

use std::fmt;
use std::path::PathBuf;

use super::sources::Origin;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: not valid TOML: {problem}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// The parser's message.
        problem: String,
    },
    /// Unknown or invalid settings: all of them.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The file of `api_key_file` does not hold a key.
    #[error("cannot take a key from {}, which api_key_file names: {problem}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The cause; never the content.
        problem: String,
    },
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no such setting.
    Unknown {
        /// The source that names it.
        origin: Origin,
        /// The name.
        name: String,
        /// The most similar setting, if one is similar.
        nearest: Option<&'static str>,
    },
    /// A setting has a value that it does not allow.
    Invalid {
        /// The source of the value.
        origin: Origin,
        /// The setting's name, with those of the tables that it is in.
        setting: String,
        /// The value, unless it is secret.
        value: Option<String>,
        /// The values that the setting allows.
        expected: String,
    },
    /// A setting is given by its old and its new name.
    GivenTwice {
        /// The source of the old name.
        origin: Origin,
        /// The deprecated name.
        old: &'static str,
        /// The name to use.
        new: &'static str,
        /// The source of the new name.
        other: Origin,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { origin, name, nearest } => {
                write!(formatter, "{origin}: there is no setting `{name}`")?;
                match nearest {
                    Some(nearest) => write!(formatter, "; did you mean `{nearest}`?"),
                    None => write!(formatter, "; `sentor config` lists all"),
                }
            }
            Self::Invalid { origin, setting, value, expected } => {
                write!(formatter, "{origin}: `{setting}` ")?;
                if let Some(value) = value {
                    write!(formatter, "is {value}, but ")?;
                }
                write!(formatter, "must be {expected}")
            }
            Self::GivenTwice { origin, old, new, other } => write!(
                formatter,
                "{origin}: `{old}` is the old name of `{new}`, which is set too ({other}); remove `{old}`"
            ),
        }
    }
}
