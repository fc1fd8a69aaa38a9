//! Holds the direction of the imports: a module uses only modules that stand above it in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order of `src/lib.rs`, from the words of the domain down to delivery.
fn layers() -> Vec<String> {
    let map = fs::read_to_string("src/lib.rs").expect("src/lib.rs is readable");
    let names = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a folder entry is readable").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level module that a source file belongs to.
fn module_of(path: &Path) -> String {
    let first = path.strip_prefix("src").expect("the file is under src").components().next();
    let name = first.expect("the path is not empty").as_os_str().to_string_lossy().into_owned();
    name.trim_end_matches(".rs").to_owned()
}

#[test]
fn a_module_uses_only_those_above_it() {
    let layers = layers();
    assert!(layers.len() > 5, "src/lib.rs lists the modules: {layers:?}");
    let rank = |module: &str| layers.iter().position(|layer| layer == module);
    let mut files = Vec::new();
    rust_files(Path::new("src"), &mut files);

    let mut wrong = Vec::new();
    for path in files {
        let module = module_of(&path);
        let Some(own) = rank(&module) else { continue };
        let source = fs::read_to_string(&path).expect("a source file is readable");
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (start, _) in code.match_indices("crate::") {
                let name: String = code[start + "crate::".len()..]
                    .chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect();
                if rank(&name).is_some_and(|other| other > own) {
                    wrong.push(format!("{}:{}: {module} uses {name}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the direction of src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn only_one_file_knows_onnx_runtime() {
    let mut files = Vec::new();
    rust_files(Path::new("src"), &mut files);
    let names_it = |source: &str| {
        source
            .match_indices("ort::")
            .any(|(at, _)| !source[..at].ends_with(|before: char| before.is_alphanumeric()))
    };
    let knows = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|source| names_it(&source));
    let knowing: Vec<_> = files.into_iter().filter(knows).collect();
    assert_eq!(knowing, [PathBuf::from("src/engine/runtime.rs")]);
}
