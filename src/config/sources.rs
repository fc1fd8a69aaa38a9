//! Gathers what the file, the environment and the flags say.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::setting::{Fallback, Setting, VARIABLE_PREFIX};
use super::surroundings::Surroundings;
use super::{Overrides, plans, settings};
use sentor_store::metering::Plans;

/// Variables that start like a setting's and are none: the file's place, what clients go by, and
/// where the set-up step puts ONNX Runtime.
const OTHER_VARIABLES: &[&str] = &["SENTOR_CONFIG", "SENTOR_BASE_URL", "SENTOR_CACHE_DIR"];

/// The file's name in the working directory and in the user's configuration folder.
const FILE_NAME: &str = "sentor.toml";

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody set it.
    Default,
    /// A line of the file, counted from 1.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, without its dashes.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(formatter, "default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => write!(formatter, "variable {name}"),
            Self::Flag(name) => write!(formatter, "flag --{name}"),
        }
    }
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// Untyped text, of a variable, a flag or a default.
    Untyped(String),
    /// Typed values of a file.
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
    /// Anything that no setting is, in the words of the file.
    Other(String),
}

impl fmt::Display for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) | Self::Text(text) => write!(formatter, "{text:?}"),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::List(items) => write!(formatter, "{items:?}"),
            Self::Other(kind) => write!(formatter, "{kind}"),
        }
    }
}

/// The value of a setting, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) place: Place,
    /// Where a relative path in it starts.
    pub(super) root: PathBuf,
}

/// The settings that have a value, by name.
pub(super) type Values = BTreeMap<&'static str, Given>;

/// What all sources say together.
pub(super) struct Gathered {
    pub(super) values: Values,
    /// Of the file, which alone can name plans.
    pub(super) plans: Plans,
    /// What was said of things that do not exist.
    pub(super) problems: Vec<Problem>,
}

/// Takes each setting from the source that counts most.
pub(super) fn gather(overrides: &Overrides, surroundings: &Surroundings) -> Result<Gathered, ConfigError> {
    let mut gathered =
        Gathered { values: defaults(surroundings), plans: Plans::default(), problems: Vec::new() };
    if let Some(path) = file_path(overrides, surroundings) {
        read_file(&path, &mut gathered)?;
    }
    let Gathered { values, problems, .. } = &mut gathered;
    read_variables(surroundings, values, problems);
    for (name, text) in &overrides.flags {
        if let Some(setting) = find(name) {
            let place = Place::Flag(setting.flag().unwrap_or_else(|| name.clone()));
            let root = surroundings.working_directory.clone();
            values.insert(setting.name, Given { raw: Raw::Untyped(text.clone()), place, root });
        }
    }
    Ok(gathered)
}

fn defaults(surroundings: &Surroundings) -> Values {
    let root = &surroundings.working_directory;
    settings()
        .filter_map(|setting| match setting.default {
            Fallback::Value(text) => {
                let raw = Raw::Untyped(text.to_owned());
                Some((setting.name, Given { raw, place: Place::Default, root: root.clone() }))
            }
            Fallback::Unset(_) => None,
        })
        .collect()
}

fn file_path(overrides: &Overrides, surroundings: &Surroundings) -> Option<PathBuf> {
    let root = &surroundings.working_directory;
    let named = overrides.file.clone().or_else(|| surroundings.variable("SENTOR_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        return Some(root.join(path));
    }
    let candidates =
        [Some(root.join(FILE_NAME)), surroundings.config_home().map(|home| home.join(FILE_NAME))];
    candidates.into_iter().flatten().find(|path| path.is_file())
}

fn read_file(path: &Path, gathered: &mut Gathered) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let table = DeTable::parse(&text).map_err(|error| {
        let (line, column) = error.span().map_or((1, 1), |span| line_and_column(&text, span.start));
        ConfigError::Syntax { path: path.to_owned(), line, column, problem: error.message().to_owned() }
    })?;
    let root = path.parent().unwrap_or(Path::new("."));
    let place = |at: usize| Place::File { path: path.to_owned(), line: line_and_column(&text, at).0 };
    for (key, value) in table.get_ref() {
        if key.get_ref() == plans::TABLE {
            plans::read(value, &place, &mut gathered.plans, &mut gathered.problems);
            continue;
        }
        let place = place(key.span().start);
        match find(key.get_ref()) {
            Some(setting) => {
                let given = Given { raw: typed(value.get_ref()), place, root: root.to_owned() };
                gathered.values.insert(setting.name, given);
            }
            None => gathered.problems.push(unknown(place, key.get_ref())),
        }
    }
    Ok(())
}

pub(super) fn typed(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Raw::Other("a number out of range".to_owned()), Raw::Integer),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .map_or_else(|| Raw::Other("a list of other things than texts".to_owned()), Raw::List),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Float(number) => Raw::Other(number.as_str().to_owned()),
        DeValue::Datetime(_) => Raw::Other("a date".to_owned()),
        DeValue::Table(_) => Raw::Other("a table".to_owned()),
    }
}

fn read_variables(surroundings: &Surroundings, values: &mut Values, problems: &mut Vec<Problem>) {
    for (name, text) in &surroundings.variables {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        // An empty variable is how a container file says "not set".
        if text.is_empty() || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let place = Place::Variable(name.clone());
        match find(&rest.to_lowercase()).filter(|setting| setting.variable() == *name) {
            Some(setting) => {
                let root = surroundings.working_directory.clone();
                values.insert(setting.name, Given { raw: Raw::Untyped(text.clone()), place, root });
            }
            None => problems.push(unknown(place, &rest.to_lowercase())),
        }
    }
}

fn find(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.name == name)
}

fn unknown(place: Place, name: &str) -> Problem {
    let nearest = nearest(name, settings().map(|setting| setting.name));
    Problem::Unknown { place, name: name.to_owned(), nearest }
}

/// The known name that was probably meant.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let likeness = known.map(|known| (strsim::jaro_winkler(known, name), known));
    let likely = likeness.filter(|(likeness, _)| *likeness > 0.7);
    likely.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}

fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
