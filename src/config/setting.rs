//! What a setting is: its name, what it may hold, and what it holds when nobody says.

/// One row of the table that files, variables, flags, `sentor config` and the reference all follow.
#[derive(Debug)]
pub struct Setting {
    /// Its name in a file; `SENTOR_` and the name in capitals is its variable, with dashes it is its flag.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it holds when no source names it.
    pub default: Fallback,
    /// One sentence on what it does, and why the default is what it is.
    pub help: &'static str,
}

/// What a setting holds when no source names it.
#[derive(Debug)]
pub enum Fallback {
    /// This text, read as if it came from a variable.
    Value(&'static str),
    /// Nothing; the words say what happens then.
    Unset(&'static str),
}

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `HOST:PORT`.
    Address,
    /// A file or folder. A relative one starts at the folder of the file that names it, or else at the
    /// working directory.
    Path,
    /// Any text that is not empty.
    Text,
    /// A text that must not be shown.
    Secret,
    /// A whole number within bounds, both included.
    Count {
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// True or false.
    Switch,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// Texts; with commas between them where the source is not a file.
    List,
    /// A level, or directives such as `info,sentor::http=debug`.
    LogFilter,
}

impl Kind {
    /// What to say that the setting must be.
    pub fn expected(self) -> String {
        match self {
            Self::Address => "HOST:PORT, such as 127.0.0.1:8080".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Text => "a text that is not empty".to_owned(),
            Self::Secret => "a Sentor key as `sentor keys create` prints it".to_owned(),
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::Switch => "one of true, false".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List => "a list of texts".to_owned(),
            Self::LogFilter => "error, warn, info, debug, trace, off, or target=level directives".to_owned(),
        }
    }
}

impl Setting {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }

    /// The long flag that sets it, without its dashes; a secret has none, for flags show in process lists.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret()).then(|| self.name.replace('_', "-"))
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// What the names of all variables start with.
pub(super) const VARIABLE_PREFIX: &str = "SENTOR_";
