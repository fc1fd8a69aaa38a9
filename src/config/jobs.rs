//! Settings of jobs.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// Where jobs are kept, how many chunks run, and how long inputs and results stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobsConfig {
    /// A folder or the URL of an object store; `None`: the folder `jobs` in the data folder.
    pub objects: Option<String>,
    /// Chunks that this process scores at a time; 0: none.
    pub workers: usize,
    /// Largest input, in bytes as it is sent.
    pub max_input_bytes: u64,
    /// How long a job may take.
    pub expires_after: Duration,
    /// How long results are kept.
    pub keep_results: Duration,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "job_objects",
        kind: Kind::Text,
        default: Fallback::Unset("the folder jobs in data_dir"),
        help: "Where inputs and results of jobs are kept: a folder, or s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or \
               az://CONTAINER/FOLDER with credentials from the usual variables, such as AWS_ACCESS_KEY_ID.",
    },
    Setting {
        name: "job_workers",
        kind: Kind::Count { least: 0, most: 256 },
        default: Fallback::Value("3"),
        help: "Chunks of jobs that this process scores at a time. One more than there are worker threads keeps them busy; 0 \
               takes jobs and runs none.",
    },
    Setting {
        name: "max_job_bytes",
        kind: Kind::Count { least: 1, most: 1 << 50 },
        default: Fallback::Value("10737418240"),
        help: "Maximum size of the input of a job, compressed as it is sent; 10 GiB unless set.",
    },
    Setting {
        name: "job_expires_hours",
        kind: Kind::Count { least: 1, most: 24 * 365 },
        default: Fallback::Value("168"),
        help: "Hours after which a job ends even if it is not done; a caller can ask for less.",
    },
    Setting {
        name: "job_results_hours",
        kind: Kind::Count { least: 0, most: 24 * 3650 },
        default: Fallback::Value("168"),
        help: "Hours for which the results of an ended job are kept; a caller can ask for less.",
    },
];

impl JobsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut hours = |name| Duration::from_hours(reader.count(name) as u64);
        let (expires_after, keep_results) = (hours("job_expires_hours"), hours("job_results_hours"));
        Self {
            objects: reader.text_or_unset("job_objects"),
            workers: reader.count("job_workers"),
            max_input_bytes: reader.count("max_job_bytes") as u64,
            expires_after,
            keep_results,
        }
    }
}
