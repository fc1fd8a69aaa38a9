//! Settings: one table of names that the file, the environment and the flags share.
//!
//! Each setting has one flat name. `listen`, say, is `listen = "…"` in the TOML file, the variable
//! `SENTOR_LISTEN` and the flag `--listen`; a flag counts more than a variable, that more than the file,
//! and that more than the default. The tables stand in the sections' files, each beside the struct that it
//! fills, and are all there is to add to for a new setting.

mod engine;
mod error;
mod keys;
mod limits;
mod log;
mod models;
mod plans;
mod print;
mod reader;
mod server;
mod setting;
mod sources;
mod surroundings;

pub use engine::EngineConfig;
pub use error::{ConfigError, Problem};
pub use keys::{KeysConfig, Secret};
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat};
pub use models::ModelsConfig;
pub use print::reference;
pub use server::{Listen, ServerConfig, TlsConfig};
pub use setting::{Fallback, Kind, Setting};
pub use sources::Place;
pub use surroundings::Surroundings;

use std::path::PathBuf;

use reader::Reader;
use sources::{Gathered, Values};

use sentor_store::keys::{ApiKey, ApiKeyError};
use sentor_store::metering::Plans;
use sentor_text::language::Language;

/// All settings, typed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener, and how long things may take.
    pub server: ServerConfig,
    /// How large a request may be.
    pub limits: LimitsConfig,
    /// Where keys are kept.
    pub keys: KeysConfig,
    /// How much a key may use, by the name of its plan.
    pub plans: Plans,
    /// Where the models are.
    pub models: ModelsConfig,
    /// How much work runs and waits.
    pub engine: EngineConfig,
    /// What is logged, and where traces go.
    pub log: LogConfig,
    values: Shown,
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// Settings by name, as given.
    pub flags: Vec<(String, String)>,
}

/// A group of settings, as they are documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The listener, and how long things may take.
    Server,
    /// How large a request may be.
    Limits,
    /// Where keys are kept.
    Keys,
    /// Where the models are.
    Models,
    /// How much work runs and waits.
    Engine,
    /// What is logged, and where traces go.
    Log,
}

impl Section {
    /// All of them, in the order of the reference.
    pub const ALL: [Section; 6] =
        [Self::Server, Self::Limits, Self::Keys, Self::Models, Self::Engine, Self::Log];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Limits => "Limits of a request",
            Self::Keys => "Keys",
            Self::Models => "Models",
            Self::Engine => "Engine",
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
    /// If the file cannot be read or is not TOML, or for settings that are unknown or cannot be: all of
    /// those at once, each with its place.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::load_in(overrides, &Surroundings::of_process())
    }

    /// Reads the configuration that a process would have in `surroundings`; fails as [`Config::load`] does.
    pub fn load_in(overrides: &Overrides, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let Gathered { values, plans, problems } = sources::gather(overrides, surroundings)?;
        let mut reader = Reader::new(&values, surroundings, problems);
        let config = Self {
            server: ServerConfig::read(&mut reader),
            limits: LimitsConfig::read(&mut reader),
            keys: KeysConfig::read(&mut reader),
            plans,
            models: ModelsConfig::read(&mut reader),
            engine: EngineConfig::read(&mut reader),
            log: LogConfig::read(&mut reader),
            values: Shown(values.clone()),
        };
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
    }

    /// What an [`sentor_analysis::Analyzer`] is started with.
    pub fn analyzer_settings(&self) -> sentor_analysis::Settings {
        sentor_analysis::Settings {
            onnxruntime: self.models.onnxruntime.clone(),
            models: vec![
                (Language::English, self.models.model_en.clone()),
                (Language::Dutch, self.models.model_nl.clone()),
            ],
            fallback_language: self.models.fallback_language,
            workers: self.engine.workers,
            run_tokens: self.engine.run_tokens,
            learnt_file: Some(self.keys.data_dir.join("learnt.json")),
            queue_tokens: self.engine.queue_tokens,
            cache_bytes: self.engine.cache_bytes,
            deduplicate: self.engine.deduplicate,
            worker_niceness: self.engine.worker_niceness,
        }
    }

    /// The key from outside the store, if one is configured; reads `api_key_file`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or what is configured is no key.
    pub fn outside_key(&self) -> Result<Option<ApiKey>, ConfigError> {
        if let Some(path) = &self.keys.api_key_file {
            let fail = |problem: String| ConfigError::KeyFile { path: path.clone(), problem };
            let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            return text.trim().parse().map(Some).map_err(|error: ApiKeyError| fail(error.to_string()));
        }
        let Some(secret) = &self.keys.api_key else { return Ok(None) };
        secret.expose().trim().parse().map(Some).map_err(|_: ApiKeyError| {
            let place = self.values.0.get("api_key").map_or(Place::Default, |given| given.place.clone());
            let expected = Kind::Secret.expected();
            ConfigError::Invalid(vec![Problem::Invalid {
                place,
                setting: "api_key".to_owned(),
                value: None,
                expected,
            }])
        })
    }

    /// The effective configuration as TOML, each setting with where it comes from; secrets are hidden.
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
