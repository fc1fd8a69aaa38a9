//! Settings of the models and of ONNX Runtime.

use std::path::{Component, Path, PathBuf};

use super::environment::Environment;
use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};
use sentor_text::language::Language;

/// Paths of the models and of ONNX Runtime.
#[derive(Clone, Debug)]
pub struct ModelsConfig {
    /// The ONNX Runtime library; `None`: the copy of `scripts/fetch-onnxruntime`.
    pub onnxruntime: Option<PathBuf>,
    /// The folder that holds models by name.
    pub models_dir: PathBuf,
    /// The English model's folder.
    pub model_en: PathBuf,
    /// The Dutch model's folder.
    pub model_nl: PathBuf,
    /// The English embedding model's folder.
    pub embed_en: PathBuf,
    /// The Dutch embedding model's folder.
    pub embed_nl: PathBuf,
    /// Whether embedding models are loaded at the start.
    pub load_embeddings: bool,
    /// Language of texts that `language=auto` cannot identify.
    pub fallback_language: Language,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "models_dir",
        kind: Kind::Path,
        default: Fallback::Unset(
            "the first that exists of ./models, models beside the program, ../share/sentor/models beside the \
             program, and models in the data folder",
        ),
        help: "Folder that holds models by name.",
    },
    Setting {
        name: "model_en",
        kind: Kind::Text,
        default: Fallback::Value("sentor-en"),
        help: "Model for English: a name in models_dir, or a path (with a separator in it) to a folder.",
    },
    Setting {
        name: "model_nl",
        kind: Kind::Text,
        default: Fallback::Value("sentor-nl"),
        help: "Model for Dutch: a name in models_dir, or a path (with a separator in it) to a folder.",
    },
    Setting {
        name: "embed_en",
        kind: Kind::Text,
        default: Fallback::Value("embed-en"),
        help: "Embedding model for English, for topics: a name in models_dir, or a path (with a separator in it) to a \
               folder. Without that folder, English texts are not clustered.",
    },
    Setting {
        name: "embed_nl",
        kind: Kind::Text,
        default: Fallback::Value("embed-nl"),
        help: "Embedding model for Dutch, for topics: a name in models_dir, or a path (with a separator in it) to a \
               folder. Without that folder, Dutch texts are not clustered.",
    },
    Setting {
        name: "load_embeddings",
        kind: Kind::Switch,
        default: Fallback::Value("false"),
        help: "Whether embedding models are loaded at the start. Without it, the first request for topics loads them \
               and waits for it.",
    },
    Setting {
        name: "fallback_language",
        kind: Kind::Choice(&["en", "nl"]),
        default: Fallback::Value("en"),
        help: "Language of texts that language=auto cannot identify.",
    },
    Setting {
        name: "onnxruntime",
        kind: Kind::Path,
        default: Fallback::Unset(
            "../lib/sentor beside the program, where `make install` puts it, or else the copy that \
             scripts/fetch-onnxruntime fetched",
        ),
        help: "The ONNX Runtime library to load.",
    },
];

impl ModelsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let models_dir = reader.path("models_dir").unwrap_or_else(|| find_models_dir(reader.environment()));
        let mut folder = |name| {
            let model = reader.text(name);
            if is_path(&model) { reader.resolve(name, &model) } else { models_dir.join(model) }
        };
        Self {
            model_en: folder("model_en"),
            model_nl: folder("model_nl"),
            embed_en: folder("embed_en"),
            embed_nl: folder("embed_nl"),
            load_embeddings: reader.switch("load_embeddings"),
            models_dir,
            fallback_language: Language::parse(&reader.text("fallback_language"))
                .unwrap_or(Language::English),
            onnxruntime: reader.path("onnxruntime").or_else(|| find_onnxruntime(reader.environment())),
        }
    }
}

/// Whether `model` is a path rather than a name.
fn is_path(model: &str) -> bool {
    let mut components = Path::new(model).components();
    !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        || model.ends_with(std::path::MAIN_SEPARATOR)
}

/// The copy that `make install` puts beside the program.
fn find_onnxruntime(environment: &Environment) -> Option<PathBuf> {
    let file = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    let folder = environment.executable.as_deref()?.parent()?.join("../lib/sentor");
    Some(folder.join(file)).filter(|path| path.is_file())
}

fn find_models_dir(environment: &Environment) -> PathBuf {
    let beside_program = environment.executable.as_deref().and_then(Path::parent);
    let candidates = [
        Some(environment.working_directory.join("models")),
        beside_program.map(|folder| folder.join("models")),
        beside_program.map(|folder| folder.join("../share/sentor/models")),
        environment.data_home().map(|folder| folder.join("models")),
    ];
    let found = candidates.into_iter().flatten().find(|folder| folder.is_dir());
    found.unwrap_or_else(|| environment.working_directory.join("models"))
}
