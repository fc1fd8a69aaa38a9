//! The ONNX Runtime backend: the only module that uses `ort`.

mod concurrent;
mod graph;
mod session;
mod signature;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

pub use graph::NetworkSource;
pub(crate) use session::{LoadedModel, SessionNetwork};

/// Version of ONNX Runtime that `make onnxruntime` fetches.
pub const ONNXRUNTIME_VERSION: &str = "1.31.1";

/// The loaded library and its process-wide state.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// The one environment that ONNX Runtime allows in a process, and the path of its library.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library at `path`, or at [`default_library`]. Later calls share what the first has loaded.
    ///
    /// # Errors
    ///
    /// If there is no file, it is not a usable ONNX Runtime, or another one is loaded.
    pub fn load(path: Option<&Path>) -> Result<Self, RuntimeError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => default_library().ok_or(RuntimeError::NoCache)?,
        };
        if !path.is_file() {
            return Err(RuntimeError::Missing { path });
        }
        let unusable = |problem: String| RuntimeError::Unusable { path: path.clone(), problem };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((loaded_path, environment)) = &*loaded {
            if *loaded_path != path {
                return Err(unusable(format!("this process has loaded {}", loaded_path.display())));
            }
            return Ok(Self { environment: environment.clone() });
        }
        disable_telemetry();
        let environment = ort::init_from(&path)
            .map_err(|error| unusable(error.to_string()))?
            .with_name("sentor")
            .with_telemetry(false)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        *loaded = Some((path.clone(), environment.clone()));
        Ok(Self { environment })
    }
}

/// Keeps ONNX Runtime from reporting to its vendor. A program calls this first in `main`; [`Runtime::load`] does it too.
///
/// `with_telemetry(false)` is not enough: version 1.31 writes a device identifier below the home folder and looks up the
/// vendor's host while its environment is made, before that call takes effect. It reads this variable first.
#[expect(unsafe_code, reason = "the library reads the choice from the environment, and nowhere else")]
pub fn disable_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none_or(|value| value != "1") {
        // SAFETY: `main` calls this before it starts a thread. A program that does not, and loads the library while
        // other threads run, must not read the environment from C code at that moment; Rust code takes a lock.
        unsafe {
            std::env::set_var(VARIABLE, "1");
        }
    }
}

/// Path of the library that `make onnxruntime` fetches: in `SENTOR_CACHE_DIR`, else `sentor` in the user's cache folder.
pub fn default_library() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("SENTOR_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("sentor")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("sentor")))?;
    let file = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    Some(cache.join(format!("onnxruntime-{ONNXRUNTIME_VERSION}")).join(file))
}

/// Why ONNX Runtime or a network could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The library is not where it should be.
    #[error(
        "ONNX Runtime is not at {}; run `make onnxruntime` to fetch it, or point the setting `onnxruntime` \
         (SENTOR_ONNXRUNTIME) to a copy of version {ONNXRUNTIME_VERSION}",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no cache folder.
    #[error(
        "there is no folder to look for ONNX Runtime in, since neither SENTOR_CACHE_DIR, XDG_CACHE_HOME nor HOME is set; \
         point the setting `onnxruntime` (SENTOR_ONNXRUNTIME) to a copy of version {ONNXRUNTIME_VERSION}"
    )]
    NoCache,
    /// The library is not usable.
    #[error(
        "{} is not a usable ONNX Runtime ({problem}); delete it and run `make onnxruntime` to fetch \
         version {ONNXRUNTIME_VERSION}",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Message of the loader.
        problem: String,
    },
    /// A network cannot be loaded.
    #[error("cannot use the network {}: {problem}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}
