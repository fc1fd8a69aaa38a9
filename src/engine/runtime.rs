//! ONNX Runtime: the one file that knows `ort`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{NoSelectedOutputs, RunOptions};
use ort::value::TensorRef;

use super::network::{Network, RunError};
use crate::encode::Row;
use crate::registry::{ModelFolder, Signature};

/// Version of ONNX Runtime that the set-up step fetches.
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

impl Runtime {
    /// Loads the library at `path`, or where the set-up step puts it. Later calls share what the first has loaded.
    ///
    /// # Errors
    ///
    /// Where there is no file, it is not an ONNX Runtime that this program can use, or another one is loaded.
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

/// The one environment that ONNX Runtime allows in a process, for good, with the library that it is of.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Where the set-up step puts the library: in `SENTOR_CACHE_DIR`, else `sentor` in the user's cache folder.
pub fn default_library() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("SENTOR_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("sentor")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("sentor")))?;
    let file = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    Some(cache.join(format!("onnxruntime-{ONNXRUNTIME_VERSION}")).join(file))
}

/// One loaded network with its own buffers; runs on the thread that calls it.
pub(super) struct Session {
    network: ort::session::Session,
    /// Options of a run, and of one that gives memory back afterwards.
    plain: RunOptions<NoSelectedOutputs>,
    shrinking: RunOptions<NoSelectedOutputs>,
    runs: u64,
    pad: i64,
    input_ids: Vec<i64>,
    attention_mask: Vec<i64>,
    span_row: Vec<i64>,
    span_start: Vec<i64>,
    span_end: Vec<i64>,
}

impl Session {
    /// Loads the network of `folder`.
    ///
    /// # Errors
    ///
    /// Where ONNX Runtime cannot load it, or its inputs and outputs are not those of the span signature.
    pub(super) fn load(runtime: &Runtime, folder: &ModelFolder) -> Result<Self, RuntimeError> {
        let path = folder.network();
        let model = |problem: String| RuntimeError::Model { path: path.clone(), problem };
        if folder.manifest().signature != Signature::Span {
            let name = folder.manifest().signature.name();
            return Err(model(format!(
                "signature {name:?} is not supported yet; use a model of signature \"span\""
            )));
        }
        let session = build(runtime, &path).map_err(|error| model(error.to_string()))?;
        let names = |outlets: &[ort::value::Outlet]| -> Vec<String> {
            outlets.iter().map(|outlet| outlet.name().to_owned()).collect()
        };
        for (what, actual, expected) in [
            ("inputs", names(session.inputs()), &INPUTS[..]),
            ("outputs", names(session.outputs()), &["logits"][..]),
        ] {
            if expected.iter().any(|name| !actual.iter().any(|actual| actual == name))
                || actual.len() != expected.len()
            {
                return Err(model(format!("its {what} are {actual:?}, and must be {expected:?}")));
            }
        }
        Ok(Self {
            network: session,
            plain: RunOptions::new().map_err(|error| model(error.to_string()))?,
            shrinking: shrinking_options().map_err(|error| model(error.to_string()))?,
            runs: 0,
            pad: i64::from(folder.manifest().tokens.pad),
            input_ids: Vec::new(),
            attention_mask: Vec::new(),
            span_row: Vec::new(),
            span_start: Vec::new(),
            span_end: Vec::new(),
        })
    }

    /// Each so many runs, the memory that ONNX Runtime keeps for the next run is given back to the system. It grows
    /// with every shape that fits into no free piece of it, so over hours of mixed shapes it would creep up; one run
    /// of a thousand that must allocate anew bounds that.
    const SHRINK_EVERY: u64 = 1024;
}

impl Network for Session {
    /// Fails where ONNX Runtime does, or gives another shape than asked for; panics if a row is longer than
    /// `padded_tokens`.
    fn run(&mut self, rows: &[&Row], padded_tokens: usize) -> Result<Vec<[f32; 3]>, RunError> {
        self.fill(rows, padded_tokens);
        let spans = self.span_row.len();
        if spans == 0 {
            return Ok(Vec::new());
        }
        let ids = [rows.len(), padded_tokens];
        self.runs += 1;
        let options =
            if self.runs.is_multiple_of(Self::SHRINK_EVERY) { &self.shrinking } else { &self.plain };
        let inputs = ort::inputs![
            INPUTS[0] => TensorRef::from_array_view((ids, &self.input_ids[..]))?,
            INPUTS[1] => TensorRef::from_array_view((ids, &self.attention_mask[..]))?,
            INPUTS[2] => TensorRef::from_array_view(([spans], &self.span_row[..]))?,
            INPUTS[3] => TensorRef::from_array_view(([spans], &self.span_start[..]))?,
            INPUTS[4] => TensorRef::from_array_view(([spans], &self.span_end[..]))?,
        ];
        let outputs = self.network.run_with_options(inputs, options)?;
        let (shape, logits) = outputs["logits"].try_extract_tensor::<f32>()?;
        let (logits, rest) = logits.as_chunks::<3>();
        if logits.len() != spans || !rest.is_empty() {
            return Err(RunError::new(format!(
                "logits have the shape {shape:?}, and must have [{spans}, 3]"
            )));
        }
        Ok(logits.to_vec())
    }
}

impl Session {
    fn fill(&mut self, rows: &[&Row], padded_tokens: usize) {
        for buffer in [
            &mut self.input_ids,
            &mut self.attention_mask,
            &mut self.span_row,
            &mut self.span_start,
            &mut self.span_end,
        ] {
            buffer.clear();
        }
        for (row, index) in rows.iter().zip(0_i64..) {
            let padding =
                padded_tokens.checked_sub(row.ids.len()).expect("the batch is as long as its longest row");
            self.input_ids.extend(row.ids.iter().map(|&id| i64::from(id)));
            self.input_ids.extend(std::iter::repeat_n(self.pad, padding));
            self.attention_mask.extend(std::iter::repeat_n(1, row.ids.len()));
            self.attention_mask.extend(std::iter::repeat_n(0, padding));
            for span in &row.spans {
                self.span_row.push(index);
                self.span_start.push(i64::from(span.first));
                self.span_end.push(i64::from(span.last));
            }
        }
    }
}

const INPUTS: [&str; 5] = ["input_ids", "attention_mask", "span_row", "span_start", "span_end"];

fn build(runtime: &Runtime, path: &Path) -> ort::Result<ort::session::Session> {
    // One thread a session and no spinning: the workers are the parallelism, and a waiting one must not take
    // a core from another. Shapes differ from run to run, so a memory pattern would be made and thrown away.
    let mut builder = ort::session::Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?;
    builder.commit_from_file(path)
}

fn shrinking_options() -> ort::Result<RunOptions<NoSelectedOutputs>> {
    let mut options = RunOptions::new()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// Why ONNX Runtime or a network could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The library is not where it should be.
    #[error(
        "ONNX Runtime is not at {}; run `make onnxruntime` to fetch it, or point the setting `onnxruntime` \
         (SENTOR_ONNXRUNTIME) to a copy of version {ONNXRUNTIME_VERSION}",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no folder to look for the library in.
    #[error(
        "ONNX Runtime cannot be looked for, since neither SENTOR_CACHE_DIR, XDG_CACHE_HOME nor HOME is set; \
         point the setting `onnxruntime` (SENTOR_ONNXRUNTIME) to a copy of version {ONNXRUNTIME_VERSION}"
    )]
    NoCache,
    /// The library is not one that can be used.
    #[error(
        "{} is not an ONNX Runtime that can be used ({problem}); delete it and run `make onnxruntime` to fetch \
         version {ONNXRUNTIME_VERSION}",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the loader says.
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

impl From<ort::Error> for RunError {
    fn from(error: ort::Error) -> Self {
        Self::new(error.to_string())
    }
}
