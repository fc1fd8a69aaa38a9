//! The process environment as a value, so that a test can set it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Environment variables and folders of a process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Environment variables. Bytes that are not Unicode are replaced.
    pub variables: BTreeMap<String, String>,
    /// The folder that relative paths start at.
    pub working_directory: PathBuf,
    /// The running program's file.
    pub executable: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self {
            variables,
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            executable: std::env::current_exe().ok(),
        }
    }

    /// The value of a variable; `None` where it is unset or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns Sentor's folder for a user's data.
    pub(super) fn data_home(&self) -> Option<PathBuf> {
        self.user_folder("XDG_DATA_HOME", ".local/share")
    }

    /// Sentor's folder for a user's configuration.
    pub(super) fn config_home(&self) -> Option<PathBuf> {
        self.user_folder("XDG_CONFIG_HOME", ".config")
    }

    /// The XDG base directory specification requires programs to ignore a relative folder.
    fn user_folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self.variable(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folder = named.or_else(|| self.variable("HOME").map(|home| Path::new(home).join(below_home)))?;
        Some(folder.join("sentor"))
    }
}
