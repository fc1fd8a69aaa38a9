//! Copies of model folders, which tests can change.

use std::path::Path;

use tempfile::TempDir;

/// A copy of all files of a folder.
pub(crate) fn copy_of(folder: &Path) -> TempDir {
    let copy = TempDir::new().expect("a temporary folder");
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("the file is copied");
    }
    copy
}
