//! Settings: one table of names for the file, the environment and the flags.
//!
//! Each setting has one flat name. `listen`, say, is `listen = "…"` in the TOML file, the variable `SENTOR_LISTEN` and
//! the flag `--listen`. A flag overrides a variable, a variable overrides the file, the file overrides the default.
//!
//! To add a setting, add a row to the table in the file of its section, and a field to the struct beside it. To rename
//! one, see [`Deprecation`].

mod deprecated;
mod engine;
mod environment;
mod error;
mod jobs;
mod keys;
mod limits;
mod log;
mod models;
mod network;
mod plans;
mod print;
mod reader;
mod server;
mod setting;
mod sources;

pub(crate) use deprecated::DEPRECATED_NAMES;
pub use deprecated::Deprecation;
pub use engine::EngineConfig;
pub use environment::Environment;
pub use error::{ConfigError, Problem};
pub use jobs::JobsConfig;
pub use keys::{KeysConfig, Secret};
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat};
pub use models::ModelsConfig;
pub use network::Network;
pub use print::reference;
pub use server::{Listen, ServerConfig, TlsConfig};
pub use setting::{Fallback, Kind, Setting};
pub use sources::Origin;

use std::path::PathBuf;

use reader::Reader;
use sources::{Gathered, Values};

use sentor_store::keys::{ApiKey, ApiKeyError};
use sentor_store::metering::Plans;
use sentor_text::language::Language;

/// All settings, typed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, TLS, CORS and timeouts.
    pub server: ServerConfig,
    /// Limits of a request's size.
    pub limits: LimitsConfig,
    /// The data folder and the static key.
    pub keys: KeysConfig,
    /// Limits of a key's use, by the name of its plan.
    pub plans: Plans,
    /// Paths of the models and of ONNX Runtime.
    pub models: ModelsConfig,
    /// Workers, batches, queue and cache.
    pub engine: EngineConfig,
    /// Jobs.
    pub jobs: JobsConfig,
    /// The log, and the collector of traces.
    pub log: LogConfig,
    values: Shown,
    deprecations: Vec<Deprecation>,
}

/// Settings of the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// Settings by name, as given.
    pub flags: Vec<(String, String)>,
}

/// A group of settings: one file of code, one table of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Listeners, TLS, CORS and timeouts.
    Server,
    /// Limits of a request's size.
    Limits,
    /// The data folder and the static key.
    Keys,
    /// Paths of the models and of ONNX Runtime.
    Models,
    /// Workers, batches, queue and cache.
    Engine,
    /// Jobs.
    Jobs,
    /// The log, and the collector of traces.
    Log,
}

impl Section {
    /// All of them, in the order of the reference.
    pub const ALL: [Section; 7] =
        [Self::Server, Self::Limits, Self::Keys, Self::Models, Self::Engine, Self::Jobs, Self::Log];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Limits => "Limits of a request",
            Self::Keys => "Keys",
            Self::Models => "Models",
            Self::Engine => "Engine",
            Self::Jobs => "Jobs",
            Self::Log => "Log and traces",
        }
    }

    /// Its settings.
    pub fn settings(self) -> &'static [Setting] {
        match self {
            Self::Server => server::SETTINGS,
            Self::Limits => limits::SETTINGS,
            Self::Keys => keys::SETTINGS,
            Self::Models => models::SETTINGS,
            Self::Engine => engine::SETTINGS,
            Self::Jobs => jobs::SETTINGS,
            Self::Log => log::SETTINGS,
        }
    }
}

/// Every setting there is.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    Section::ALL.into_iter().flat_map(Section::settings)
}

impl Config {
    /// Reads the configuration of this process.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not TOML, or for unknown or invalid settings: all of those at once, each with
    /// its source.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::load_in(overrides, &Environment::from_process())
    }

    /// Reads the configuration of a process with this environment; fails as [`Config::load`] does.
    pub fn load_in(overrides: &Overrides, environment: &Environment) -> Result<Self, ConfigError> {
        let Gathered { values, plans, deprecations, problems } = sources::gather(overrides, environment)?;
        let mut reader = Reader::new(&values, environment, problems);
        let config = Self {
            server: ServerConfig::read(&mut reader),
            limits: LimitsConfig::read(&mut reader),
            keys: KeysConfig::read(&mut reader),
            plans,
            models: ModelsConfig::read(&mut reader),
            engine: EngineConfig::read(&mut reader),
            jobs: JobsConfig::read(&mut reader),
            log: LogConfig::read(&mut reader),
            values: Shown(values.clone()),
            deprecations,
        };
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
    }

    /// Returns the settings of the analyzer.
    pub fn analyzer_settings(&self) -> sentor_analysis::Settings {
        sentor_analysis::Settings {
            onnxruntime: self.models.onnxruntime.clone(),
            models: vec![
                (Language::English, self.models.model_en.clone()),
                (Language::Dutch, self.models.model_nl.clone()),
            ],
            embedding_models: vec![
                (Language::English, self.models.embed_en.clone()),
                (Language::Dutch, self.models.embed_nl.clone()),
            ],
            load_embeddings: self.models.load_embeddings,
            fallback_language: self.models.fallback_language,
            workers: self.engine.workers,
            max_batch_tokens: self.engine.max_batch_tokens,
            max_queued_tokens: self.engine.max_queued_tokens,
            max_mentions: self.limits.max_mentions,
            max_answer_bytes: self.engine.max_answer_bytes,
            cache_bytes: self.engine.cache_bytes,
            deduplicate: self.engine.deduplicate,
            worker_niceness: self.engine.worker_niceness,
        }
    }

    /// The deprecated names in use; the program logs a warning for each.
    pub fn deprecations(&self) -> &[Deprecation] {
        &self.deprecations
    }

    /// The static key: the one of `api_key_file`, or else of `api_key`, if one is set.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or the text is not a key.
    pub fn static_key(&self) -> Result<Option<ApiKey>, ConfigError> {
        if let Some(path) = &self.keys.api_key_file {
            let fail = |problem: String| ConfigError::KeyFile { path: path.clone(), problem };
            let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            return text.trim().parse().map(Some).map_err(|error: ApiKeyError| fail(error.to_string()));
        }
        let Some(secret) = &self.keys.api_key else { return Ok(None) };
        secret.expose().trim().parse().map(Some).map_err(|_: ApiKeyError| {
            let origin = self.values.0.get("api_key").map_or(Origin::Default, |given| given.origin.clone());
            let expected = Kind::Secret.expected();
            ConfigError::Invalid(vec![Problem::Invalid {
                origin,
                setting: "api_key".to_owned(),
                value: None,
                expected,
            }])
        })
    }

    /// The settings whose values differ between the two configurations, in the order of the reference.
    pub fn differing_settings(&self, other: &Self) -> Vec<&'static Setting> {
        settings().filter(|setting| print::value(self, setting) != print::value(other, setting)).collect()
    }

    /// The effective configuration as TOML, each setting with its source; secrets are hidden.
    pub fn to_toml(&self) -> String {
        print::effective(self)
    }
}

/// The gathered values, kept for [`Config::to_toml`]; they hold secrets.
#[derive(Clone)]
struct Shown(Values);

impl std::fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("…")
    }
}
