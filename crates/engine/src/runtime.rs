//! ONNX Runtime: the one file that knows `ort`.

use std::iter::repeat_n;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::CPU;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, TensorRef};

use super::graph::NetworkSource;
use super::memory;
use super::network::{Network, RunError};
use crate::encode::Row;
use crate::registry::{ModelFolder, Signature, SpecialTokens};

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

    /// Has memory that runs give back kept for the next ones, as [`Engine::start`](super::Engine::start) does once its models are
    /// loaded: for programs that run networks beside it.
    pub fn keep_freed_memory() {
        memory::keep_freed();
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
    inputs: Inputs,
    special: SpecialTokens,
    input_ids: Vec<i64>,
    attention_mask: Vec<i64>,
    token_type_ids: Vec<i64>,
    span_row: Vec<i64>,
    span_start: Vec<i64>,
    span_end: Vec<i64>,
}

/// What a network takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inputs {
    /// Rows and spans in them; logits for each span.
    Spans,
    /// Rows, with or without the number of the segment that each token is in; logits for each row.
    Pairs { with_types: bool },
}

impl Session {
    /// Loads the network of `folder` from `source`.
    ///
    /// # Errors
    ///
    /// Where ONNX Runtime cannot load it, or its inputs and outputs are not those of its signature.
    pub(super) fn load(
        runtime: &Runtime,
        folder: &ModelFolder,
        source: &NetworkSource,
    ) -> Result<Self, RuntimeError> {
        let path = folder.network();
        let model = |problem: String| RuntimeError::Model { path: path.clone(), problem };
        let network = build(runtime, source).map_err(|error| model(error.to_string()))?;
        let inputs = Inputs::of(&network, folder.manifest().signature).map_err(model)?;
        Ok(Self {
            network,
            inputs,
            special: folder.manifest().tokens,
            input_ids: Vec::new(),
            attention_mask: Vec::new(),
            token_type_ids: Vec::new(),
            span_row: Vec::new(),
            span_start: Vec::new(),
            span_end: Vec::new(),
        })
    }
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
        let input_ids = TensorRef::from_array_view((ids, &self.input_ids[..]))?;
        let attention_mask = TensorRef::from_array_view((ids, &self.attention_mask[..]))?;
        let (expected, outputs) = match self.inputs {
            Inputs::Spans => {
                let inputs = ort::inputs![
                    IDS => input_ids,
                    MASK => attention_mask,
                    SPANS[0] => TensorRef::from_array_view(([spans], &self.span_row[..]))?,
                    SPANS[1] => TensorRef::from_array_view(([spans], &self.span_start[..]))?,
                    SPANS[2] => TensorRef::from_array_view(([spans], &self.span_end[..]))?,
                ];
                (spans, self.network.run(inputs)?)
            }
            Inputs::Pairs { with_types } => {
                let mut inputs = ort::inputs![IDS => input_ids, MASK => attention_mask];
                if with_types {
                    let types = TensorRef::from_array_view((ids, &self.token_type_ids[..]))?;
                    inputs.push((TYPES.into(), types.into()));
                }
                (rows.len(), self.network.run(inputs)?)
            }
        };
        let (shape, logits) = outputs[LOGITS].try_extract_tensor::<f32>()?;
        let (logits, rest) = logits.as_chunks::<3>();
        if logits.len() != expected || !rest.is_empty() {
            return Err(RunError::new(format!(
                "logits have the shape {shape:?}, and must have [{expected}, 3]"
            )));
        }
        Ok(match self.inputs {
            Inputs::Spans => logits.to_vec(),
            // All that is read of a pair is the pair.
            Inputs::Pairs { .. } => {
                rows.iter().zip(logits).flat_map(|(row, &one)| repeat_n(one, row.spans.len())).collect()
            }
        })
    }
}

impl Session {
    fn fill(&mut self, rows: &[&Row], padded_tokens: usize) {
        for buffer in [
            &mut self.input_ids,
            &mut self.attention_mask,
            &mut self.token_type_ids,
            &mut self.span_row,
            &mut self.span_start,
            &mut self.span_end,
        ] {
            buffer.clear();
        }
        let pad = i64::from(self.special.pad);
        for (row, index) in rows.iter().zip(0_i64..) {
            let length = row.ids.len();
            let padding = padded_tokens.checked_sub(length).expect("the batch is as long as its longest row");
            self.input_ids.extend(row.ids.iter().map(|&id| i64::from(id)));
            self.input_ids.extend(repeat_n(pad, padding));
            self.attention_mask.extend(repeat_n(1, length));
            self.attention_mask.extend(repeat_n(0, padding));
            if self.inputs == (Inputs::Pairs { with_types: true }) {
                // A separator that somebody types is encoded as text, so the first one ends the text.
                let separator = row.ids.iter().position(|&id| id == self.special.sep);
                let text = separator.map_or(length, |at| at + 1);
                self.token_type_ids.extend(repeat_n(0, text));
                self.token_type_ids.extend(repeat_n(1, length - text));
                self.token_type_ids.extend(repeat_n(0, padding));
            }
            for span in &row.spans {
                self.span_row.push(index);
                self.span_start.push(i64::from(span.first));
                self.span_end.push(i64::from(span.last));
            }
        }
    }
}

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
const SPANS: [&str; 3] = ["span_row", "span_start", "span_end"];
const LOGITS: &str = "logits";

impl Inputs {
    /// What a network takes; the error says how it differs from `signature`.
    fn of(network: &ort::session::Session, signature: Signature) -> Result<Self, String> {
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let mut expected: Vec<(&str, usize)> = vec![(IDS, 2), (MASK, 2)];
        let taken = match signature {
            Signature::Span => {
                expected.extend(SPANS.map(|name| (name, 1)));
                Self::Spans
            }
            Signature::Pair => {
                let with_types = inputs.iter().any(|input| input.name() == TYPES);
                if with_types {
                    expected.push((TYPES, 2));
                }
                Self::Pairs { with_types }
            }
        };
        check_names("inputs", inputs, &expected, signature)?;
        check_names("outputs", outputs, &[(LOGITS, 2)], signature)?;
        for &(name, dimensions) in &expected {
            let shape = shape_of(inputs, name, TensorElementType::Int64)?;
            if shape.len() != dimensions {
                return Err(format!(
                    "its input {name} has {} dimensions, and must have {dimensions}",
                    shape.len()
                ));
            }
            if let Some(fixed) = shape.iter().find(|&&size| size >= 0) {
                return Err(format!(
                    "a dimension of its input {name} is fixed to {fixed}; export it with dynamic axes, since rows \
                     differ in number and length"
                ));
            }
        }
        match shape_of(outputs, LOGITS, TensorElementType::Float32)?[..] {
            [-1, 3 | -1] => Ok(taken),
            [-1, classes] => Err(format!(
                "its output {LOGITS} has {classes} classes, and must have 3: negative, neutral, positive"
            )),
            ref shape => Err(format!("its output {LOGITS} has the shape {shape:?}, and must have [-1, 3]")),
        }
    }
}

/// Whether the names are those that are expected, in any order.
fn check_names(
    what: &str,
    outlets: &[Outlet],
    expected: &[(&str, usize)],
    signature: Signature,
) -> Result<(), String> {
    let actual: Vec<&str> = outlets.iter().map(Outlet::name).collect();
    if actual.len() == expected.len() && expected.iter().all(|(name, _)| actual.contains(name)) {
        return Ok(());
    }
    let expected: Vec<&str> = expected.iter().map(|&(name, _)| name).collect();
    let hint = match signature {
        Signature::Pair if what == "inputs" => ", with token_type_ids or without",
        _ => "",
    };
    Err(format!(
        "its {what} are {actual:?}, and those of signature {:?} are {expected:?}{hint}",
        signature.name()
    ))
}

/// The dimensions of a tensor, -1 for one that is not fixed; the error says where it is none of `kind`.
fn shape_of(outlets: &[Outlet], name: &str, kind: TensorElementType) -> Result<Vec<i64>, String> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name);
    let dtype = outlet.ok_or_else(|| format!("it has no {name}"))?.dtype();
    match (dtype.tensor_type(), dtype.tensor_shape()) {
        (Some(actual), Some(shape)) if actual == kind => Ok(shape.to_vec()),
        (Some(actual), _) => Err(format!("{name} holds {actual}, and must hold {kind}")),
        _ => Err(format!("{name} is no tensor")),
    }
}

/// Reads the network of `folder`, and makes it as quick as can be.
///
/// # Errors
///
/// Where it cannot be read.
pub(super) fn source_of(folder: &ModelFolder) -> Result<NetworkSource, RuntimeError> {
    let path = folder.network();
    NetworkSource::prepare(&path).map_err(|error| RuntimeError::Model { path, problem: error.to_string() })
}

fn build(runtime: &Runtime, source: &NetworkSource) -> ort::Result<ort::session::Session> {
    // One thread a session and no spinning: the workers are the parallelism, and a waiting one must not take
    // a core from another. Shapes differ from run to run, so a memory pattern would be made and thrown away, and an
    // arena would keep pieces for shapes that do not come again: the memory of a run goes back to the system's allocator.
    let mut builder = ort::session::Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?;
    match source {
        NetworkSource::File(path) => builder.commit_from_file(path),
        NetworkSource::Memory(bytes) => builder.commit_from_memory(bytes),
    }
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
