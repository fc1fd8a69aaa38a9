//! Where inputs and results are kept.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use sentor_store::jobs::JobId;

/// Level of compression: fast, for objects that are read once or twice.
const ZSTD_LEVEL: i32 = 1;

/// Parts of an upload under way at a time.
const PARTS_UNDER_WAY: usize = 2;

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The place for objects cannot be used.
    #[error("cannot keep jobs in {place}: {problem}; job_objects names another place")]
    Place {
        /// The folder or URL.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The place failed.
    #[error("cannot use the objects of jobs")]
    Store(#[from] object_store::Error),
    /// An object is damaged.
    #[error("the object {0} is damaged")]
    Damaged(String),
}

impl ObjectError {
    /// Whether the object is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

/// Inputs and results of jobs, in a folder or in an object store.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    root: ObjectPath,
}

/// The object with the input as it was sent.
const UPLOAD: &str = "upload";

impl Objects {
    /// Keeps objects in a folder, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or used.
    pub fn in_folder(folder: &Path) -> Result<Self, ObjectError> {
        let fail = |problem: String| ObjectError::Place { place: folder.display().to_string(), problem };
        let mut folders = std::fs::DirBuilder::new();
        folders.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
        folders.create(folder).map_err(|error| fail(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| fail(error.to_string()))?;
        // A chunk that the store calls done must be there after a power failure.
        let store = store.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), root: ObjectPath::default() })
    }

    /// Keeps objects at a URL such as `s3://bucket/folder`, with credentials from `options` (such as `aws_access_key_id`).
    ///
    /// # Errors
    ///
    /// If the URL has another scheme, or its options are wrong.
    #[cfg(feature = "clouds")]
    pub fn at_url(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ObjectError> {
        let fail = |problem: String| ObjectError::Place { place: url.to_owned(), problem };
        let parsed = reqwest::Url::parse(url).map_err(|error| fail(error.to_string()))?;
        let (store, root) =
            object_store::parse_url_opts(&parsed, options).map_err(|error| fail(error.to_string()))?;
        Ok(Self { store: Arc::from(store), root })
    }

    /// Starts to keep the input of a job.
    ///
    /// # Errors
    ///
    /// If the place for objects fails.
    pub async fn upload(&self, job: &JobId) -> Result<Upload, ObjectError> {
        let parts = self.store.put_multipart(&self.path(job, UPLOAD)).await?;
        Ok(Upload { parts: WriteMultipart::new(parts) })
    }

    /// The input of a job as it was sent, in pieces.
    pub(crate) async fn read_upload(
        &self,
        job: &JobId,
    ) -> Result<futures_util::stream::BoxStream<'static, object_store::Result<Bytes>>, ObjectError> {
        Ok(self.store.get(&self.path(job, UPLOAD)).await?.into_stream())
    }

    /// Keeps an object, compressed.
    pub(crate) async fn put(&self, job: &JobId, name: &str, content: &[u8]) -> Result<(), ObjectError> {
        let packed =
            zstd::encode_all(content, ZSTD_LEVEL).map_err(|_| ObjectError::Damaged(name.to_owned()))?;
        self.store.put(&self.path(job, name), packed.into()).await?;
        Ok(())
    }

    /// Returns an object that [`Objects::put`] kept.
    pub(crate) async fn get(&self, job: &JobId, name: &str) -> Result<Vec<u8>, ObjectError> {
        let packed = self.store.get(&self.path(job, name)).await?.bytes().await?;
        zstd::decode_all(&packed[..]).map_err(|_| ObjectError::Damaged(name.to_owned()))
    }

    /// Removes the input of a job, and keeps its results.
    pub(crate) async fn remove_input(&self, job: &JobId) -> Result<(), ObjectError> {
        self.remove_all(&self.path(job, "input")).await?;
        self.remove_one(&self.path(job, UPLOAD)).await
    }

    /// Removes all objects of a job.
    ///
    /// # Errors
    ///
    /// If the place for objects fails. Some may be removed then.
    pub async fn remove_job(&self, job: &JobId) -> Result<(), ObjectError> {
        self.remove_all(&self.root.clone().join(job.as_str())).await
    }

    /// The jobs that have objects.
    pub(crate) async fn jobs(&self) -> Result<Vec<JobId>, ObjectError> {
        let listed = self.store.list_with_delimiter(Some(&self.root)).await?;
        let names = listed.common_prefixes.iter().filter_map(ObjectPath::filename);
        Ok(names.filter_map(JobId::parse).collect())
    }

    async fn remove_all(&self, prefix: &ObjectPath) -> Result<(), ObjectError> {
        let mut listed = self.store.list(Some(prefix));
        while let Some(object) = listed.next().await {
            self.remove_one(&object?.location).await?;
        }
        Ok(())
    }

    async fn remove_one(&self, path: &ObjectPath) -> Result<(), ObjectError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn path(&self, job: &JobId, name: &str) -> ObjectPath {
        name.split('/').fold(self.root.clone().join(job.as_str()), ObjectPath::join)
    }
}

/// An input that is being sent.
#[derive(Debug)]
pub struct Upload {
    parts: WriteMultipart,
}

impl Upload {
    /// Adds bytes. Waits while earlier ones are on their way.
    ///
    /// # Errors
    ///
    /// If the place for objects fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.parts.wait_for_capacity(PARTS_UNDER_WAY).await?;
        self.parts.write(bytes);
        Ok(())
    }

    /// Completes the object. It is not there before.
    ///
    /// # Errors
    ///
    /// If the place for objects fails.
    pub async fn finish(self) -> Result<(), ObjectError> {
        self.parts.finish().await?;
        Ok(())
    }

    /// Gives the upload up.
    pub async fn abort(self) {
        // What is left is removed with the other objects that no job has.
        let _ = self.parts.abort().await;
    }
}
