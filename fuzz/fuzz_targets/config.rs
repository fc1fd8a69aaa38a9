//! The configuration, as a file and as variables: any input is read, or rejected with at least one problem. The printed
//! configuration parses again.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use sentor::config::{Config, ConfigError, Environment, Overrides};

/// In memory, if the system has such a folder.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("sentor-fuzz-{}.toml", std::process::id()))
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    let overrides = Overrides { file: Some(FILE.clone()), ..Overrides::default() };
    let load = |text: &str, environment: &Environment| {
        fs::write(&*FILE, text).expect("the file can be written");
        Config::load_in(&overrides, environment)
    };
    match load(text, &Environment::default()) {
        Ok(config) => {
            let printed = config.to_toml();
            let again = load(&printed, &Environment::default());
            assert!(again.is_ok(), "{again:?}\n{printed}");
        }
        Err(error) => assert!(says_something(&error), "{error:?}"),
    }
    let variables = text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((format!("SENTOR_{}", name.trim().to_uppercase()), value.trim().to_owned()))
    });
    let environment = Environment { variables: variables.collect(), ..Environment::default() };
    if let Err(error) = load("", &environment) {
        assert!(says_something(&error), "{error:?}");
    }
});

fn says_something(error: &ConfigError) -> bool {
    match error {
        ConfigError::Invalid(problems) => !problems.is_empty(),
        other => !other.to_string().is_empty(),
    }
}
