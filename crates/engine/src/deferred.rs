//! Models that are loaded when they are first used.

use std::sync::{Arc, Mutex, OnceLock};

use super::lock;
use super::network::{Network, RunError};
use super::onnx::{LoadedModel, Runtime, RuntimeError, SessionNetwork};
use crate::encode::Sequence;
use crate::output::BatchOutput;
use crate::registry::{Manifest, ModelFolder};

/// A model folder, and the model once it is loaded.
pub(super) struct Source {
    runtime: Runtime,
    folder: ModelFolder,
    loaded: OnceLock<Arc<LoadedModel>>,
    /// Held while the model is loaded, so that it is loaded once.
    loading: Mutex<()>,
}

impl Source {
    pub(super) fn new(runtime: Runtime, folder: ModelFolder) -> Self {
        Self { runtime, folder, loaded: OnceLock::new(), loading: Mutex::new(()) }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        self.folder.manifest()
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    /// The model; loads it the first time.
    pub(super) fn load(&self) -> Result<Arc<LoadedModel>, RuntimeError> {
        let _loading = lock(&self.loading);
        if let Some(loaded) = self.loaded.get() {
            return Ok(Arc::clone(loaded));
        }
        let loaded = Arc::new(LoadedModel::load(&self.runtime, &self.folder)?);
        Ok(Arc::clone(self.loaded.get_or_init(|| loaded)))
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A model of one worker that is loaded with its first batch, unless [`super::Engine::load`] did that before.
pub(super) struct DeferredNetwork {
    sources: Arc<[Source]>,
    model: usize,
    network: Option<SessionNetwork>,
}

impl DeferredNetwork {
    pub(super) fn new(sources: Arc<[Source]>, model: usize) -> Self {
        Self { sources, model, network: None }
    }
}

impl Network for DeferredNetwork {
    fn run(&mut self, sequences: &[&Sequence], padded_tokens: usize) -> Result<BatchOutput, RunError> {
        if self.network.is_none() {
            let loaded = self.sources[self.model].load().map_err(|error| RunError::new(error.to_string()))?;
            self.network = Some(SessionNetwork::new(loaded));
        }
        let network = self.network.as_mut().ok_or_else(|| RunError::new("the model is not loaded"))?;
        network.run(sequences, padded_tokens)
    }
}
