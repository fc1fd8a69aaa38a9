//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use super::sources::Place;

/// Why there is no configuration to go by.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: not valid TOML: {problem}", .path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What the parser says.
        problem: String,
    },
    /// Settings that cannot be: all of them.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
    /// The file that `api_key_file` names does not give a key.
    #[error("cannot take a key from {}, which api_key_file names: {problem}", .path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why not; never the content.
        problem: String,
    },
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// One thing that is wrong in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no such setting.
    Unknown {
        /// Where it is named.
        place: Place,
        /// The name.
        name: String,
        /// The known name that is most like it, where one is.
        nearest: Option<&'static str>,
    },
    /// A setting is what it cannot be.
    Invalid {
        /// Where it is set.
        place: Place,
        /// Its name, with those of the tables that it is in.
        setting: String,
        /// The value, where it may be shown.
        value: Option<String>,
        /// What it must be.
        expected: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { place, name, nearest } => {
                write!(formatter, "{place}: there is no setting `{name}`")?;
                match nearest {
                    Some(nearest) => write!(formatter, "; did you mean `{nearest}`?"),
                    None => write!(formatter, "; `sentor config` lists all"),
                }
            }
            Self::Invalid { place, setting, value, expected } => {
                write!(formatter, "{place}: `{setting}` ")?;
                if let Some(value) = value {
                    write!(formatter, "is {value}, but ")?;
                }
                write!(formatter, "must be {expected}")
            }
        }
    }
}
