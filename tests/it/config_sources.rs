//! Sources of settings, deprecated names, and messages about wrong settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sentor::config::{Config, ConfigError, Environment, LogFormat, Overrides, reference, settings};
use sentor_store::metering::Limit;
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
    environment: Environment,
    overrides: Overrides,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let environment =
            Environment { working_directory: folder.path().to_owned(), ..Environment::default() };
        Self { folder, environment, overrides: Overrides::default() }
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        self.environment.variables.insert("HOME".to_owned(), self.path("home"));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        self.overrides.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, path: &str) -> String {
        self.folder.path().join(path).to_string_lossy().into_owned()
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load_in(&self.overrides, &self.environment)
    }

    fn config(&self) -> Config {
        self.load().expect("a valid configuration")
    }

    /// The error message, without the folder of this run.
    fn complaint(&self) -> String {
        let error = self.load().expect_err("a wrong configuration");
        error.to_string().replace(&self.path(""), "")
    }
}

#[test]
fn a_boolean_needs_no_quotes() {
    for (written, deduplicates) in [("false", false), ("true", true), ("\"false\"", false)] {
        let config = Scene::new().file("sentor.toml", &format!("deduplicate = {written}")).config();
        assert_eq!(config.engine.deduplicate, deduplicates, "{written}");
    }
}

#[test]
fn the_defaults_are_valid() {
    let config = Scene::new().config();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.limits.body_limit_bytes, 16 << 20);
    assert_eq!(config.engine.workers, None);
    assert_eq!(config.log.format, None);
    let settings = config.analyzer_settings();
    assert!(settings.models[1].1.ends_with("models/sentor-nl"));
    assert_eq!((settings.max_batch_tokens, settings.max_queued_tokens), (256, 2_000_000));
}

#[test]
fn a_later_source_overrides_an_earlier_one() {
    let of = |config: &Config| config.engine.max_batch_tokens;
    let scene = Scene::new().file("sentor.toml", "max_batch_tokens = 1_000\nlog_format = \"json\"");
    assert_eq!(of(&scene.config()), 1000);
    let scene = scene.variable("SENTOR_MAX_BATCH_TOKENS", "2_000");
    assert_eq!(of(&scene.config()), 2000);
    let scene = scene.flag("max_batch_tokens", "3000");
    assert_eq!(of(&scene.config()), 3000);
    assert_eq!(
        scene.config().log.format,
        Some(LogFormat::Json),
        "the file still counts for what it alone says"
    );
    let empty = Scene::new().variable("SENTOR_MAX_BATCH_TOKENS", "");
    assert_eq!(of(&empty.config()), 256, "an empty variable counts as not set");
}

#[test]
fn a_deprecated_name_works_with_a_warning() {
    let sources = [
        (Scene::new().file("sentor.toml", "\nrun_tokens = 300"), "sentor.toml:2"),
        (Scene::new().variable("SENTOR_RUN_TOKENS", "300"), "variable SENTOR_RUN_TOKENS"),
        (Scene::new().flag("run_tokens", "300"), "flag --run-tokens"),
    ];
    for (scene, origin) in sources {
        let config = scene.config();
        assert_eq!(config.engine.max_batch_tokens, 300, "{origin}");
        let warnings: Vec<String> = config.deprecations().iter().map(ToString::to_string).collect();
        let [warning] = &warnings[..] else { panic!("one warning, not {warnings:?}") };
        let warning = warning.replace(&scene.path(""), "");
        assert_eq!(
            warning,
            format!(
                "{origin}: `run_tokens` is deprecated and goes in the next release; use `max_batch_tokens`"
            )
        );
        assert!(config.to_toml().contains("max_batch_tokens = 300"), "{}", config.to_toml());
    }
    assert!(Scene::new().variable("SENTOR_MAX_BATCH_TOKENS", "300").config().deprecations().is_empty());
}

#[test]
fn among_deprecated_names_the_strongest_source_wins() {
    let scene = Scene::new()
        .file("sentor.toml", "run_tokens = 100")
        .variable("SENTOR_RUN_TOKENS", "200")
        .flag("run_tokens", "300");
    assert_eq!(scene.config().engine.max_batch_tokens, 300);
    assert_eq!(scene.config().deprecations().len(), 3, "each use is named");
}

#[test]
fn a_setting_by_its_old_and_its_new_name_is_an_error() {
    let scenes = [
        Scene::new().file("sentor.toml", "run_tokens = 100\nmax_batch_tokens = 100"),
        Scene::new().file("sentor.toml", "run_tokens = 100").flag("max_batch_tokens", "200"),
    ];
    let new = ["sentor.toml:2", "flag --max-batch-tokens"];
    for (scene, new) in scenes.iter().zip(new) {
        assert_eq!(
            scene.complaint(),
            format!(
                "sentor.toml:1: `run_tokens` is the old name of `max_batch_tokens`, which is set too ({new}); remove \
                 `run_tokens`"
            )
            .replace(&scene.path(""), "")
        );
    }
    let wrong = Scene::new().flag("run_tokens", "many").complaint();
    assert!(wrong.starts_with("flag --run-tokens: `max_batch_tokens` is \"many\""), "{wrong}");
}

#[test]
fn the_file_is_found_in_order() {
    let workers = |scene: &Scene| scene.config().engine.workers;
    let scene = Scene::new().file("home/.config/sentor/sentor.toml", "workers = 1");
    assert_eq!(workers(&scene), Some(1));
    let scene = scene.file("sentor.toml", "workers = 2");
    assert_eq!(workers(&scene), Some(2));
    let scene = scene.file("by variable.toml", "workers = 3").variable("SENTOR_CONFIG", "by variable.toml");
    assert_eq!(workers(&scene), Some(3));
    let mut scene = scene.file("by flag.toml", "workers = 4");
    scene.overrides.file = Some("by flag.toml".into());
    assert_eq!(workers(&scene), Some(4));
    scene.overrides.file = Some("none.toml".into());
    assert!(scene.complaint().contains("none.toml"), "a file that was named must be there");
}

#[test]
fn every_kind_of_value_is_read_from_every_source() {
    let file = Scene::new().file(
        "sentor.toml",
        "listen = \"[::1]:0\"\ncors_origins = [\"https://a.example\", \"*\"]\nbody_timeout_ms = 0x10\n\
         fallback_language = 'nl'\nlog_level = \"warn,sentor::http=debug\"",
    );
    let variables = Scene::new()
        .variable("SENTOR_LISTEN", "[::1]:0")
        .variable("SENTOR_CORS_ORIGINS", "https://a.example, *")
        .variable("SENTOR_BODY_TIMEOUT_MS", "16")
        .variable("SENTOR_FALLBACK_LANGUAGE", "nl")
        .variable("SENTOR_LOG_LEVEL", "warn,sentor::http=debug");
    for config in [file.config(), variables.config()] {
        assert_eq!(config.server.listen.host, "::1");
        assert_eq!(config.server.cors_origins, ["https://a.example", "*"]);
        assert_eq!(config.server.body_timeout, Duration::from_millis(16));
        assert_eq!(config.models.fallback_language.code(), "nl");
        assert_eq!(config.log.level, "warn,sentor::http=debug");
    }
}

#[test]
fn a_relative_path_starts_at_the_folder_of_its_source() {
    let scene = Scene::new()
        .file("etc/sentor.toml", "data_dir = \"data\"\nmodel_nl = \"./mine\"\nmodel_en = \"plain\"")
        .variable("SENTOR_CONFIG", "etc/sentor.toml")
        .variable("SENTOR_MODELS_DIR", "shelf");
    let config = scene.config();
    assert_eq!(config.keys.data_dir, PathBuf::from(scene.path("etc/data")));
    assert_eq!(config.models.model_nl, PathBuf::from(scene.path("etc/./mine")));
    assert_eq!(config.models.model_en, PathBuf::from(scene.path("shelf/plain")), "a plain name is looked up");
}

#[test]
fn folders_are_found_in_the_documented_places() {
    let scene = Scene::new().variable("HOME", "/home/ann");
    assert_eq!(scene.config().keys.data_dir, Path::new("/home/ann/.local/share/sentor"));
    let scene = scene.variable("XDG_DATA_HOME", "/data");
    assert_eq!(scene.config().keys.data_dir, Path::new("/data/sentor"));

    let mut scene = Scene::new().file("bin/sentor", "").file("share/sentor/models/x", "");
    scene.environment.executable = Some(scene.path("bin/sentor").into());
    assert_eq!(scene.config().models.models_dir, Path::new(&scene.path("bin/../share/sentor/models")));
    assert_eq!(scene.config().models.onnxruntime, None);
    let scene = scene.file("lib/sentor/libonnxruntime.so", "").file("lib/sentor/libonnxruntime.dylib", "");
    let found = scene.config().models.onnxruntime.expect("the library beside the program");
    assert!(found.starts_with(scene.path("bin/../lib/sentor")), "{}", found.display());
    let scene = scene.file("bin/models/x", "");
    assert_eq!(scene.config().models.models_dir, Path::new(&scene.path("bin/models")));
    let scene = scene.file("models/x", "");
    assert_eq!(scene.config().models.models_dir, Path::new(&scene.path("models")));
}

#[test]
fn all_problems_are_reported_at_once_with_their_place() {
    let scene = Scene::new()
        .file("sentor.toml", "# a comment\nlisten = 8080\nlisen = \"x\"\n\n[server]\nworkers = 1\n")
        .variable("SENTOR_WORKERS", "many")
        .variable("SENTOR_BODY_LIMITS_BYTES", "1")
        .variable("SENTOR_BASE_URL", "https://somewhere.example")
        .variable("SENTOR_zz", "1")
        .flag("fallback_language", "fr")
        .flag("max_batch_tokens", "0")
        .flag("log_level", "loud");
    insta::assert_snapshot!(scene.complaint());
}

#[test]
fn plans_are_tables_of_the_file() {
    let scene = Scene::new().file(
        "sentor.toml",
        "workers = 1\n[plans.free]\nrequests_per_day = 200\ncharacters_per_call = \"unlimited\"\n\
         [plans.\"très gold\"]\nweight = 3\nconcurrent_requests = 5\n",
    );
    let plans = scene.config().plans;
    let free = plans.find("free").expect("a preset");
    let limits = [Limit::RequestsPerMinute, Limit::RequestsPerDay, Limit::CharactersPerCall];
    assert_eq!(limits.map(|limit| free.limit(limit)), [Some(5), Some(200), None], "the rest stays");
    let gold = plans.find("très gold").expect("a new plan");
    assert_eq!((gold.limit(Limit::ConcurrentRequests), gold.weight.get()), (Some(5), 3));
    assert_eq!(gold.limit(Limit::RequestsPerMinute), None);
    let again = Scene::new().file("sentor.toml", &scene.config().to_toml()).config();
    assert_eq!(again.plans, plans, "what is shown reads back");

    let wrong = Scene::new().file(
        "sentor.toml",
        "[plans]\nx = 5\n[plans.gold]\nweigth = 2\nweight = 101\nrequests_per_minute = 0\nrequests_per_day = \"many\"",
    );
    insta::assert_snapshot!(wrong.complaint());
}

#[test]
fn settings_that_require_each_other_are_checked() {
    let scene = Scene::new().flag("admin_client_ca", "ca.pem").flag("tls_private_key", "key.pem");
    let complaint = scene.complaint();
    for words in [
        "`tls_private_key` must be set together with tls_certificate",
        "`admin_client_ca` must be set together with admin_listen",
    ] {
        assert!(complaint.contains(words), "{complaint}");
    }
    let whole = scene.flag("tls_certificate", "cert.pem").flag("admin_listen", "127.0.0.1:1").config();
    assert!(whole.server.tls.is_some_and(|tls| tls.admin_client_ca.is_some()));
}

#[test]
fn wrong_toml_is_shown_with_line_and_column() {
    let scene = Scene::new().file("sentor.toml", "workers = 1\nlisten = = 2");
    let complaint = scene.complaint();
    assert!(complaint.starts_with("sentor.toml:2:"), "{complaint}");
    let twice = Scene::new().file("sentor.toml", "workers = 1\nworkers = 2").complaint();
    assert!(twice.starts_with("sentor.toml:2:1: ") && twice.contains("duplicate"), "{twice}");
}

#[test]
fn the_printed_configuration_parses_back_and_hides_secrets() {
    let key = "sentor_live_0123456789abcdefghijABCDEFGHIJKL_000000";
    let scene = Scene::new()
        .file("sentor.toml", "workers = 2\ncors_origins = [\"https://a.example\"]")
        .variable("SENTOR_API_KEY", key)
        .variable("SENTOR_LISTEN", "localhost:1")
        .flag("log_level", "debug");
    let shown = scene.config().to_toml();
    assert!(
        !shown.contains(key) && shown.contains("# api_key is hidden # variable SENTOR_API_KEY"),
        "{shown}"
    );
    let debug = format!("{:?}", scene.config());
    assert!(!debug.contains(key), "{debug}");
    for line in [
        "listen = \"localhost:1\" # variable SENTOR_LISTEN",
        "log_level = \"debug\" # flag --log-level",
        "max_queued_tokens = 2000000 # default",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(shown.contains(&format!("workers = 2 # {}:1", scene.path("sentor.toml"))), "{shown}");
    let again = Scene::new().file("sentor.toml", &shown).config();
    assert_eq!(again.server.listen, scene.config().server.listen);
    assert_eq!(again.server.cors_origins, scene.config().server.cors_origins);
    assert_eq!(again.models.model_nl, scene.config().models.model_nl);
    assert_eq!(again.engine, scene.config().engine);
}

#[test]
fn a_configured_key_is_parsed_only_by_the_server() {
    let scene = Scene::new().variable("SENTOR_API_KEY", "a key of some other service");
    let error = scene.config().static_key().expect_err("it is no Sentor key").to_string();
    assert!(error.starts_with("variable SENTOR_API_KEY: `api_key` must be"), "{error}");
    assert!(!error.contains("other service"));
    let missing = Scene::new().flag("api_key_file", "none").config().static_key();
    assert!(matches!(missing, Err(ConfigError::KeyFile { .. })));
    let key = sentor_store::keys::ApiKey::generate(sentor_store::keys::Environment::Live, &mut rand::rng());
    let scene = Scene::new().file("key", &format!("{}\n", key.expose())).flag("api_key_file", "key");
    assert_eq!(scene.config().static_key().expect("the file holds a key"), Some(key));
}

#[test]
fn the_reference_matches_the_code() {
    let page = std::fs::read_to_string("docs/configuration.md").expect("the page is there");
    assert!(page.contains(&reference()), "docs/configuration.md must hold:\n{}", reference());
    let names: Vec<&str> = settings().map(|setting| setting.name).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "a name stands for one setting");
}
